//! All-points membership vectors: how much each point belongs to each selected cluster.
//!
//! The soft clustering of the hdbscan package: nearness to a cluster's exemplars, times how late the point parts from
//! the cluster in the tree, times the probability that it belongs to any.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::tree::CondensedTree;

/// Membership `[n, K]` of each point in each of `clusters`. Rows sum to at most 1; nothing in it is NaN.
pub(super) fn membership(
    points: ArrayView2<f64>,
    tree: &CondensedTree,
    clusters: &[usize],
) -> Array2<f64> {
    let (n, k) = (points.nrows(), clusters.len());
    let mut result = Array2::zeros((n, k));
    if k == 0 {
        return result;
    }
    let exemplars = exemplars(points, tree, clusters);
    let heights = Heights::new(tree, clusters);
    result
        .axis_chunks_iter_mut(Axis(0), 128)
        .into_par_iter()
        .enumerate()
        .for_each(|(chunk, mut rows)| {
            let mut branch = vec![None; k];
            let mut branch_of = usize::MAX;
            let mut nearness = vec![0.0; k];
            for (i, mut row) in rows.outer_iter_mut().enumerate() {
                let point = chunk * 128 + i;
                let node = tree.point_parent[point] as usize;
                if node != branch_of {
                    heights.of(node, &mut branch);
                    branch_of = node;
                }
                let own = tree.point_lambda[point];
                let point = points.row(point);
                let point = point.as_slice().expect("standard layout");
                near(point, &exemplars, &mut nearness);
                let row = row.as_slice_mut().expect("standard layout");
                combine(tree, clusters, node, own, &branch, &nearness, row);
            }
        });
    result
}

/// Writes one row: normalise(nearness * lateness) * probability of being in some cluster.
fn combine(
    tree: &CondensedTree,
    clusters: &[usize],
    node: usize,
    own: f64,
    branch: &[Option<f64>],
    nearness: &[f64],
    row: &mut [f64],
) {
    let last = tree.death[node] + 1e-8;
    // The cluster from which the point parts last, and its death. Of several in one branch the one of least
    // death counts: the reference takes the first in the order of its tree, which depends on the order of rows.
    let mut best = (f64::NEG_INFINITY, 0.0);
    let mut late_sum = 0.0;
    for (column, value) in row.iter_mut().enumerate() {
        let height = branch[column].unwrap_or(own);
        let death = tree.death[clusters[column]];
        if (height, -death) > (best.0, -best.1) {
            best = (height, death);
        }
        // Both are infinite among duplicates: they part at the same place.
        let ratio = if height == f64::INFINITY {
            1.0
        } else {
            last / height
        };
        // The scores lie in 0..1, so that their softmax needs no shift by the maximum.
        *value = libm::exp(libm::exp(-ratio));
        late_sum += *value;
    }
    let mut sum = 0.0;
    for (value, near) in row.iter_mut().zip(nearness) {
        *value = near * (*value / late_sum);
        sum += *value;
    }
    let (height, death) = best;
    let highest = death.max(own);
    let probability = if height >= highest {
        1.0
    } else {
        height / highest
    };
    // Beside duplicates the probability is 0 in the limit. A trace of it keeps the order of the columns.
    let probability = probability.max(1e-300);
    for value in row {
        *value = *value / sum * probability;
    }
}

/// For each selected cluster the points of highest lambda in each leaf below it, without repeats, `[m * d]`.
fn exemplars(points: ArrayView2<f64>, tree: &CondensedTree, clusters: &[usize]) -> Vec<Vec<f64>> {
    let mut column_of_leaf = vec![u32::MAX; tree.len()];
    for (column, &cluster) in clusters.iter().enumerate() {
        tree.leaves_below(cluster, |leaf| column_of_leaf[leaf] = column as u32);
    }
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); clusters.len()];
    for (point, &parent) in tree.point_parent.iter().enumerate() {
        let parent = parent as usize;
        let column = column_of_leaf[parent];
        if column != u32::MAX && tree.point_lambda[point] == tree.death[parent] {
            rows[column as usize].push(point);
        }
    }
    rows.into_iter()
        .map(|mut rows| {
            // Thousands of duplicates are one exemplar.
            let by_place = |a: &usize, b: &usize| {
                (points.row(*a).iter().zip(points.row(*b)))
                    .map(|(x, y)| x.total_cmp(y))
                    .find(|order| order.is_ne())
                    .unwrap_or(std::cmp::Ordering::Equal)
            };
            rows.sort_by(by_place);
            rows.dedup_by(|a, b| by_place(a, b).is_eq());
            rows.iter()
                .flat_map(|&row| points.row(row).to_vec())
                .collect()
        })
        .collect()
}

/// 1 / distance to the nearest exemplar of each cluster, normalised. A point that is an exemplar belongs there alone.
fn near(point: &[f64], exemplars: &[Vec<f64>], into: &mut [f64]) {
    let mut touching = 0;
    for (value, exemplars) in into.iter_mut().zip(exemplars) {
        let mut least = f64::INFINITY;
        for exemplar in exemplars.chunks_exact(point.len()) {
            let distance: f64 = exemplar
                .iter()
                .zip(point)
                .map(|(a, b)| (a - b) * (a - b))
                .sum();
            least = least.min(distance);
        }
        touching += usize::from(least == 0.0);
        *value = least.sqrt();
    }
    let mut sum = 0.0;
    for value in into.iter_mut() {
        *value = match touching {
            0 => 1.0 / *value,
            // The reference gives these the largest finite number: the others vanish beside it.
            _ if *value == 0.0 => 1.0,
            _ => 0.0,
        };
        sum += *value;
    }
    for value in into {
        *value /= sum;
    }
}

/// The lambda at which a tree node and a selected cluster part, for one node at a time.
struct Heights<'a> {
    tree: &'a CondensedTree,
    /// Whether each node is a selected cluster.
    selected: Vec<bool>,
    /// The selected clusters, as columns, in the order of a walk over the tree's branches.
    order: Vec<usize>,
    /// The part of `order` that lies below each node.
    below: Vec<(usize, usize)>,
}

impl<'a> Heights<'a> {
    fn new(tree: &'a CondensedTree, clusters: &[usize]) -> Self {
        let mut column = vec![usize::MAX; tree.len()];
        for (i, &cluster) in clusters.iter().enumerate() {
            column[cluster] = i;
        }
        let mut order = Vec::with_capacity(clusters.len());
        let mut below = vec![(0, 0); tree.len()];
        let mut stack = vec![(0, false)];
        while let Some((node, seen)) = stack.pop() {
            if seen {
                below[node].1 = order.len();
                continue;
            }
            below[node].0 = order.len();
            if column[node] != usize::MAX {
                order.push(column[node]);
            }
            stack.push((node, true));
            if let Some([a, b]) = tree.children[node] {
                stack.extend([(b as usize, false), (a as usize, false)]);
            }
        }
        let selected = column.iter().map(|&column| column != usize::MAX).collect();
        Heights {
            tree,
            selected,
            order,
            below,
        }
    }

    /// For each column the lambda where `node` and the cluster part; none where one lies below the other.
    fn of(&self, node: usize, into: &mut [Option<f64>]) {
        into.fill(None);
        let mut at = node;
        while at != 0 {
            let parent = self.tree.parent[at] as usize;
            if self.selected[parent] {
                at = parent;
                continue;
            }
            let (from, to) = self.below[parent];
            let (own_from, own_to) = self.below[at];
            for &column in self.order[from..own_from]
                .iter()
                .chain(&self.order[own_to..to])
            {
                into[column] = Some(self.tree.birth[at]);
            }
            at = parent;
        }
    }
}
