//! The minimum spanning tree of the mutual reachability distance, by Borůvka's algorithm over a k-d tree.
//!
//! Edges are ordered totally by (mutual reachability, distance, lower row, higher row), so there is one tree, and it
//! does not depend on the number of threads. Distances stay squared until the end.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::kdtree::{KdTree, larger};
use crate::simd::vectorize;

/// An edge of the spanning tree; its fields, in this order, are its place in the total order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    /// Squared mutual reachability distance.
    pub reach: f64,
    /// Squared distance.
    pub distance: f64,
    /// The lower row.
    pub low: u32,
    /// The higher row.
    pub high: u32,
}

impl Edge {
    const NONE: Edge = Edge {
        reach: f64::INFINITY,
        distance: f64::INFINITY,
        low: u32::MAX,
        high: u32::MAX,
    };

    /// Whether `self` comes before `other`.
    #[inline(always)]
    fn before(&self, other: &Edge) -> bool {
        if self.reach != other.reach {
            return self.reach < other.reach;
        }
        if self.distance != other.distance {
            return self.distance < other.distance;
        }
        (self.low, self.high) < (other.low, other.high)
    }
}

/// A component of several components, in a node of the tree.
const MIXED: u32 = u32::MAX;

/// What is known of a point's best edge out of its component.
#[derive(Clone, Copy)]
struct Known {
    /// The best edge when it was last looked for, and the position at its other end.
    edge: Edge,
    to: u32,
    /// Squared mutual reachability below which the point certainly has no edge out of its component.
    least: f64,
}

/// The `n - 1` edges, sorted. `core` holds squared core distances by position of the tree. `progress` is called with each
/// further part of the work that is done, all of it being 1.
pub(super) fn spanning_tree(
    tree: &KdTree,
    core: &[f64],
    progress: &(dyn Fn(f64) + Sync),
) -> Vec<Edge> {
    let n = tree.rows.len();
    let least_core = least_core(tree, core);
    let mut component: Vec<u32> = (0..n as u32).collect();
    let mut known: Vec<Known> = core
        .iter()
        .map(|&core| Known {
            edge: Edge::NONE,
            to: u32::MAX,
            least: core,
        })
        .collect();
    let mut sets = Sets::new(n);
    let mut edges = Vec::with_capacity(n.saturating_sub(1));
    let mut components = n;
    while components > 1 {
        let uniform = uniform_nodes(tree, &component);
        // An upper bound on the reach of each component's best edge, as the bits of a non-negative f64.
        let bound: Vec<AtomicU64> = (0..components)
            .map(|_| AtomicU64::new(f64::INFINITY.to_bits()))
            .collect();
        for (position, known) in known.iter().enumerate() {
            if known.to != u32::MAX && component[known.to as usize] != component[position] {
                bound[component[position] as usize]
                    .fetch_min(known.edge.reach.to_bits(), Ordering::Relaxed);
            }
        }
        // How far a search has to go depends on which other search ended first; what it finds does not.
        known
            .par_chunks_mut(256)
            .enumerate()
            .for_each_init(Vec::new, |stack, (chunk, part)| {
                vectorize(
                    #[inline(always)]
                    || {
                        for (i, known) in part.iter_mut().enumerate() {
                            let position = chunk * 256 + i;
                            let own = component[position];
                            if known.to != u32::MAX && component[known.to as usize] != own {
                                continue;
                            }
                            let limit = f64::from_bits(bound[own as usize].load(Ordering::Relaxed));
                            if known.least > limit {
                                known.to = u32::MAX;
                                continue;
                            }
                            let search = Search {
                                tree,
                                core,
                                least_core: &least_core,
                                component: &component,
                                uniform: &uniform,
                            };
                            let (edge, to) = search.nearest(position, limit, stack);
                            known.edge = edge;
                            known.to = to;
                            known.least = if to == u32::MAX {
                                limit.next_up()
                            } else {
                                edge.reach
                            };
                            bound[own as usize].fetch_min(edge.reach.to_bits(), Ordering::Relaxed);
                        }
                    },
                );
            });
        let mut best = vec![Edge::NONE; components];
        for (position, known) in known.iter().enumerate() {
            let best = &mut best[component[position] as usize];
            if known.to != u32::MAX && known.edge.before(best) {
                *best = known.edge;
            }
        }
        for edge in best {
            if sets.join(edge.low as usize, edge.high as usize) {
                edges.push(edge);
            }
        }
        let before = components as f64;
        components = relabel(&mut sets, tree, &mut component);
        progress(libm::log(before / components as f64) / libm::log(n as f64));
    }
    edges.par_sort_unstable_by(|a, b| {
        (a.reach.total_cmp(&b.reach))
            .then(a.distance.total_cmp(&b.distance))
            .then(a.low.cmp(&b.low))
            .then(a.high.cmp(&b.high))
    });
    edges
}

struct Search<'a> {
    tree: &'a KdTree,
    core: &'a [f64],
    least_core: &'a [f64],
    component: &'a [u32],
    uniform: &'a [u32],
}

impl Search<'_> {
    /// The first edge, in the total order, from the point to another component, where its reach is at most `limit`.
    #[inline(always)]
    fn nearest(&self, position: usize, limit: f64, stack: &mut Vec<(f64, u32)>) -> (Edge, u32) {
        let tree = self.tree;
        let (own, own_core) = (self.component[position], self.core[position]);
        let row = tree.rows[position];
        let mut few = [0.0; 16];
        let mut many;
        let point: &mut [f64] = if tree.d <= few.len() {
            &mut few[..tree.d]
        } else {
            many = vec![0.0; tree.d];
            &mut many
        };
        tree.point(position, point);
        let mut best = Edge {
            reach: limit,
            ..Edge::NONE
        };
        let mut to = u32::MAX;
        stack.clear();
        stack.push((0.0, 0));
        while let Some((away, number)) = stack.pop() {
            let number = number as usize;
            if self.uniform[number] == own {
                continue;
            }
            let node = tree.nodes[number];
            let least = Edge {
                reach: larger(larger(own_core, self.least_core[number]), away),
                distance: away,
                low: row.min(node.least_row),
                high: row.max(node.least_row),
            };
            if best.before(&least) {
                continue;
            }
            if node.right != 0 {
                let (left, right) = (number + 1, node.right as usize);
                let a = (tree.box_distance(left, point), left as u32);
                let b = (tree.box_distance(right, point), right as u32);
                if a.0 <= b.0 {
                    stack.push(b);
                    stack.push(a);
                } else {
                    stack.push(a);
                    stack.push(b);
                }
                continue;
            }
            let distances = tree.leaf_distances(node, point);
            let m = (node.end - node.start) as usize;
            for (i, &distance) in distances[..m].iter().enumerate() {
                if distance > best.reach {
                    continue;
                }
                let other = node.start as usize + i;
                let reach = larger(larger(distance, own_core), self.core[other]);
                if reach > best.reach || self.component[other] == own {
                    continue;
                }
                let edge = Edge {
                    reach,
                    distance,
                    low: row.min(tree.rows[other]),
                    high: row.max(tree.rows[other]),
                };
                if edge.before(&best) {
                    best = edge;
                    to = other as u32;
                }
            }
        }
        if to == u32::MAX {
            (Edge::NONE, to)
        } else {
            (best, to)
        }
    }
}

/// The smallest core distance in each node.
fn least_core(tree: &KdTree, core: &[f64]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; tree.nodes.len()];
    for number in (0..tree.nodes.len()).rev() {
        let node = tree.nodes[number];
        least[number] = if node.right == 0 {
            core[node.start as usize..node.end as usize]
                .iter()
                .copied()
                .fold(f64::INFINITY, f64::min)
        } else {
            least[number + 1].min(least[node.right as usize])
        };
    }
    least
}

/// The component of each node whose points all belong to one, and [`MIXED`] for the others.
fn uniform_nodes(tree: &KdTree, component: &[u32]) -> Vec<u32> {
    let mut uniform = vec![MIXED; tree.nodes.len()];
    for number in (0..tree.nodes.len()).rev() {
        let node = tree.nodes[number];
        uniform[number] = if node.right == 0 {
            let part = &component[node.start as usize..node.end as usize];
            if part.iter().all(|&c| c == part[0]) {
                part[0]
            } else {
                MIXED
            }
        } else if uniform[number + 1] == uniform[node.right as usize] {
            uniform[number + 1]
        } else {
            MIXED
        };
    }
    uniform
}

/// Numbers the components anew, densely; returns how many there are.
fn relabel(sets: &mut Sets, tree: &KdTree, component: &mut [u32]) -> usize {
    let mut number = vec![u32::MAX; component.len()];
    let mut count = 0;
    for (position, component) in component.iter_mut().enumerate() {
        let root = sets.find(tree.rows[position] as usize);
        if number[root] == u32::MAX {
            number[root] = count;
            count += 1;
        }
        *component = number[root];
    }
    count as usize
}

/// Disjoint sets with path halving, joined by size.
pub(super) struct Sets {
    parent: Vec<u32>,
    size: Vec<u32>,
}

impl Sets {
    pub fn new(n: usize) -> Self {
        Sets {
            parent: (0..n as u32).collect(),
            size: vec![1; n],
        }
    }

    pub fn find(&mut self, mut x: usize) -> usize {
        while self.parent[x] as usize != x {
            self.parent[x] = self.parent[self.parent[x] as usize];
            x = self.parent[x] as usize;
        }
        x
    }

    /// Joins two sets; false where they are one already.
    pub fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        let (a, b) = if self.size[a] < self.size[b] {
            (b, a)
        } else {
            (a, b)
        };
        self.parent[b] = a as u32;
        self.size[a] += self.size[b];
        true
    }
}
