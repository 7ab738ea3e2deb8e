//! All-points membership vectors: how much each point belongs to each selected cluster.
//!
//! The soft clustering of the hdbscan package: nearness to a cluster's exemplars, times how late the point parts from
//! the cluster in the tree, times the probability that it belongs to any.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::tree::CondensedTree;
use crate::simd::vectorize;

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
    let exemplars = Exemplars::new(points, tree, clusters);
    let heights = Heights::new(tree, clusters);
    result
        .axis_chunks_iter_mut(Axis(0), CHUNK)
        .into_par_iter()
        .enumerate()
        .for_each(|(chunk, mut rows)| {
            let mut lateness: HashMap<u32, Lateness> = HashMap::new();
            let mut squares = vec![0.0; exemplars.count];
            let mut nearness = vec![0.0; k];
            for (i, mut row) in rows.outer_iter_mut().enumerate() {
                let point = chunk * CHUNK + i;
                let node = tree.point_parent[point];
                let late = lateness
                    .entry(node)
                    .or_insert_with(|| Lateness::new(tree, clusters, &heights, node as usize));
                let own = tree.point_lambda[point];
                let point = points.row(point);
                let point = point.as_slice().expect("standard layout");
                vectorize(
                    #[inline(always)]
                    || exemplars.near(point, &mut squares, &mut nearness),
                );
                let row = row.as_slice_mut().expect("standard layout");
                late.combine(own, &nearness, row);
            }
        });
    result
}

/// Rows that one task handles; what is kept of the tree's nodes is bounded by it.
const CHUNK: usize = 1024;

/// How late the points of one tree node part from each cluster.
struct Lateness {
    /// The scores exp(exp(-(max lambda + 1e-8) / height)) of clusters in other branches; 0 for the clusters above or
    /// below the node, whose height is each point's own lambda.
    scores: Vec<f64>,
    /// The largest height and least death of each of the two sorts of clusters.
    branch: (f64, f64),
    own_death: Option<f64>,
    /// The node's largest lambda + 1e-8.
    last: f64,
}

impl Lateness {
    fn new(tree: &CondensedTree, clusters: &[usize], heights: &Heights, node: usize) -> Self {
        let mut branch = vec![None; clusters.len()];
        heights.of(node, &mut branch);
        let mut late = Lateness {
            scores: Vec::with_capacity(clusters.len()),
            branch: (f64::NEG_INFINITY, 0.0),
            own_death: None,
            last: tree.death[node] + 1e-8,
        };
        for (&cluster, height) in clusters.iter().zip(branch) {
            let death = tree.death[cluster];
            match height {
                Some(height) => {
                    late.branch = later(late.branch, (height, death));
                    late.scores.push(late.score(height));
                }
                None => {
                    late.own_death = Some(late.own_death.map_or(death, |least| death.min(least)));
                    late.scores.push(0.0);
                }
            }
        }
        late
    }

    /// The scores lie in 0..1, so that their softmax needs no shift by the maximum.
    fn score(&self, height: f64) -> f64 {
        // Both are infinite among duplicates: they part at the same place.
        let ratio = if height == f64::INFINITY {
            1.0
        } else {
            self.last / height
        };
        libm::exp(libm::exp(-ratio))
    }

    /// Writes one row: normalise(nearness * lateness) * probability of being in some cluster.
    fn combine(&self, own: f64, nearness: &[f64], row: &mut [f64]) {
        let own_score = self.score(own);
        let late = |score: f64| if score == 0.0 { own_score } else { score };
        let late_sum: f64 = self.scores.iter().map(|&score| late(score)).sum();
        let mut sum = 0.0;
        for ((value, near), &score) in row.iter_mut().zip(nearness).zip(&self.scores) {
            *value = near * (late(score) / late_sum);
            sum += *value;
        }
        let (height, death) = match self.own_death {
            Some(death) => later(self.branch, (own, death)),
            None => self.branch,
        };
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
}

/// Of two clusters, as height and death, the one that a point parts from last. Of equally late ones the one of least
/// death: the reference takes the first in the order of its tree, which depends on the order of rows.
pub(super) fn later(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    if (b.0, -b.1) > (a.0, -a.1) { b } else { a }
}

/// For each selected cluster the points of highest lambda in each leaf below it, without repeats.
pub(super) struct Exemplars {
    /// How many there are.
    pub count: usize,
    /// Where each cluster's begin, and the end.
    begin: Vec<usize>,
    /// Coordinates, axis by axis, `[d, count]`.
    columns: Vec<f64>,
}

impl Exemplars {
    pub fn new(points: ArrayView2<f64>, tree: &CondensedTree, clusters: &[usize]) -> Self {
        let rows = exemplar_rows(points, tree, clusters);
        let all: Vec<usize> = rows.iter().flatten().copied().collect();
        let mut begin = vec![0];
        for rows in &rows {
            begin.push(begin[begin.len() - 1] + rows.len());
        }
        let columns = points
            .columns()
            .into_iter()
            .flat_map(|column| all.iter().map(move |&row| column[row]).collect::<Vec<_>>())
            .collect();
        Exemplars {
            count: all.len(),
            begin,
            columns,
        }
    }

    /// 1 / distance to the nearest exemplar of each cluster, normalised. A point that is an exemplar belongs there alone.
    #[inline(always)]
    pub fn near(&self, point: &[f64], squares: &mut [f64], into: &mut [f64]) {
        squares.fill(0.0);
        for (&x, column) in point.iter().zip(self.columns.chunks_exact(self.count)) {
            for (square, &y) in squares.iter_mut().zip(column) {
                let t = x - y;
                *square += t * t;
            }
        }
        let mut touching = 0;
        for (value, range) in into.iter_mut().zip(self.begin.windows(2)) {
            let least = least(&squares[range[0]..range[1]]);
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
}

/// The least of numbers none of which is NaN, by lanes: one after the other each comparison would wait for the last.
#[inline(always)]
fn least(values: &[f64]) -> f64 {
    const LANES: usize = 16;
    let lower = |a: f64, b: f64| if b < a { b } else { a };
    let mut lanes = [f64::INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = lower(*lane, value);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(f64::INFINITY, |least, &value| lower(least, value))
}

/// The exemplars' rows, by their place.
pub(super) fn exemplar_rows(
    points: ArrayView2<f64>,
    tree: &CondensedTree,
    clusters: &[usize],
) -> Vec<Vec<usize>> {
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
            rows
        })
        .collect()
}

/// The lambda at which a tree node and a selected cluster part, for one node at a time.
pub(super) struct Heights<'a> {
    tree: &'a CondensedTree,
    /// Whether each node is a selected cluster.
    selected: Vec<bool>,
    /// The selected clusters, as columns, in the order of a walk over the tree's branches.
    order: Vec<usize>,
    /// The part of `order` that lies below each node.
    below: Vec<(usize, usize)>,
}

impl<'a> Heights<'a> {
    pub fn new(tree: &'a CondensedTree, clusters: &[usize]) -> Self {
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
    pub fn of(&self, node: usize, into: &mut [Option<f64>]) {
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
