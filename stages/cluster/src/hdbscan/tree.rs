//! From the spanning tree to the condensed tree (Campello, Moulavi, Sander 2013; McInnes, Healy 2017).

use super::mst::{Edge, Sets};

/// The single-linkage dendrogram: merge `i` makes node `n + i` of two nodes; nodes below `n` are points.
pub(super) struct Dendrogram {
    /// The two nodes that each merge joins.
    pub children: Vec<[u32; 2]>,
    /// The distance of each merge, ascending.
    pub height: Vec<f64>,
    /// Points below each merge.
    pub size: Vec<u32>,
}

impl Dendrogram {
    /// Joins along sorted edges.
    pub fn new(n: usize, edges: &[Edge]) -> Self {
        let mut sets = Sets::new(n);
        // The dendrogram's node for the set with this root.
        let mut node: Vec<u32> = (0..n as u32).collect();
        let mut dendrogram = Dendrogram {
            children: Vec::with_capacity(edges.len()),
            height: Vec::with_capacity(edges.len()),
            size: Vec::with_capacity(edges.len()),
        };
        for (i, edge) in edges.iter().enumerate() {
            let a = sets.find(edge.low as usize);
            let b = sets.find(edge.high as usize);
            let pair = [node[a], node[b]];
            sets.join(a, b);
            node[sets.find(a)] = (n + i) as u32;
            dendrogram
                .size
                .push(dendrogram.points(n, pair[0]) + dendrogram.points(n, pair[1]));
            dendrogram.children.push(pair);
            dendrogram.height.push(edge.reach.sqrt());
        }
        dendrogram
    }

    fn points(&self, n: usize, node: u32) -> u32 {
        if (node as usize) < n {
            1
        } else {
            self.size[node as usize - n]
        }
    }
}

/// The condensed tree. Cluster 0 is the root; a cluster's number is higher than its parent's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CondensedTree {
    /// The cluster that each point falls out of.
    pub point_parent: Vec<u32>,
    /// The lambda (1 / distance; infinite at 0) at which it does.
    pub point_lambda: Vec<f64>,
    /// Each cluster's parent; the root's is itself.
    pub parent: Vec<u32>,
    /// The lambda at which each cluster appears; 0 for the root.
    pub birth: Vec<f64>,
    /// Points in each cluster when it appears.
    pub size: Vec<u32>,
    /// The two clusters into which a cluster splits, where it does.
    pub children: Vec<Option<[u32; 2]>>,
    /// Sum over what leaves a cluster of (lambda - birth) * size.
    pub stability: Vec<f64>,
    /// The largest lambda at which anything leaves a cluster.
    pub death: Vec<f64>,
}

impl CondensedTree {
    /// Walks the dendrogram breadth first; a split counts where both sides hold `min_cluster_size` points.
    pub fn new(n: usize, dendrogram: &Dendrogram, min_cluster_size: usize) -> Self {
        let mut tree = CondensedTree {
            point_parent: vec![0; n],
            point_lambda: vec![0.0; n],
            parent: vec![0],
            birth: vec![0.0],
            size: vec![n as u32],
            children: vec![None],
            stability: vec![0.0],
            death: vec![0.0],
        };
        let big = |node: u32| dendrogram.points(n, node) as usize >= min_cluster_size;
        let mut level = Vec::new();
        if n > 1 {
            level.push(((2 * n - 2) as u32, 0));
        }
        let mut stack = Vec::new();
        while !level.is_empty() {
            let mut next = Vec::new();
            for (node, cluster) in level {
                if (node as usize) < n {
                    // Reached only where clusters of one point are allowed to go on.
                    continue;
                }
                let merge = node as usize - n;
                let [left, right] = dendrogram.children[merge];
                let lambda = lambda(dendrogram.height[merge]);
                if big(left) && big(right) {
                    let pair = [left, right].map(|side| {
                        let child = tree.grow(cluster, lambda, dendrogram.points(n, side));
                        next.push((side, child));
                        child
                    });
                    tree.children[cluster as usize] = Some(pair);
                    continue;
                }
                for side in [left, right] {
                    if big(side) {
                        next.push((side, cluster));
                        continue;
                    }
                    stack.push(side);
                    while let Some(below) = stack.pop() {
                        if below as usize >= n {
                            stack.extend(dendrogram.children[below as usize - n]);
                            continue;
                        }
                        tree.point_parent[below as usize] = cluster;
                        tree.point_lambda[below as usize] = lambda;
                        tree.leave(cluster, lambda, 1);
                    }
                }
            }
            level = next;
        }
        tree
    }

    /// Adds a cluster that leaves `parent` at `lambda`.
    fn grow(&mut self, parent: u32, lambda: f64, size: u32) -> u32 {
        self.leave(parent, lambda, size);
        self.parent.push(parent);
        self.birth.push(lambda);
        self.size.push(size);
        self.children.push(None);
        self.stability.push(0.0);
        self.death.push(0.0);
        (self.parent.len() - 1) as u32
    }

    fn leave(&mut self, cluster: u32, lambda: f64, size: u32) {
        let cluster = cluster as usize;
        self.stability[cluster] += (lambda - self.birth[cluster]) * f64::from(size);
        self.death[cluster] = self.death[cluster].max(lambda);
    }

    /// Number of clusters, the root included.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Calls `each` for the clusters below `cluster` that do not split.
    pub fn leaves_below(&self, cluster: usize, mut each: impl FnMut(usize)) {
        let mut stack = vec![cluster];
        while let Some(cluster) = stack.pop() {
            match self.children[cluster] {
                None => each(cluster),
                Some([a, b]) => stack.extend([b as usize, a as usize]),
            }
        }
    }
}

/// 1 / distance. Finite for every positive distance: two clusters never part at an infinite lambda then, because
/// points at distance 0 join one at a time in the total order of edges.
fn lambda(distance: f64) -> f64 {
    if distance > 0.0 {
        (1.0 / distance).min(f64::MAX)
    } else {
        f64::INFINITY
    }
}
