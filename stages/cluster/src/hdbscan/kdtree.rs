//! A balanced k-d tree over f64 points: core distances, and the boxes that the spanning tree prunes with.

use crate::simd::vectorize;
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Points in a leaf. Their coordinates lie axis by axis, so that the distances to a leaf are computed in lanes; places
/// beyond a leaf's points hold infinity, so that the lanes are always as many.
pub(super) const LEAF: usize = 32;

/// A node; its points are `start..end` of the tree's order. The left child follows its parent.
#[derive(Clone, Copy, Default)]
pub(super) struct Node {
    pub start: u32,
    pub end: u32,
    /// The right child; 0 in a leaf.
    pub right: u32,
    /// In a leaf, where its coordinates begin.
    pub block: u32,
    /// The smallest row among the node's points: it decides between equal edges.
    pub least_row: u32,
}

pub(super) struct KdTree {
    /// Number of axes.
    pub d: usize,
    /// Nodes in preorder.
    pub nodes: Vec<Node>,
    /// Lower and upper corner of each node's box, `[nodes, 2, d]`.
    boxes: Vec<f64>,
    /// The row of the point at each position.
    pub rows: Vec<u32>,
    /// The leaf of each position.
    pub leaf_of: Vec<u32>,
    /// Coordinates: one entry for each axis of each leaf.
    coordinates: Vec<[f64; LEAF]>,
}

impl KdTree {
    /// Splits at the median of the widest axis; equal coordinates are ordered by row, so that the tree is unique.
    pub fn new(points: ArrayView2<f64>) -> Self {
        let (n, d) = points.dim();
        let points = points.as_standard_layout();
        let points = points.as_slice().expect("standard layout");
        let mut rows: Vec<u32> = (0..n as u32).collect();
        let count = count_nodes(n);
        let mut nodes = vec![Node::default(); count];
        let mut boxes = vec![0.0; count * 2 * d];
        build(points, d, 0, 0, &mut rows, &mut nodes, &mut boxes);
        let mut coordinates = Vec::new();
        let mut leaf_of = vec![0; n];
        for (number, node) in nodes.iter_mut().enumerate() {
            if node.right != 0 {
                continue;
            }
            node.block = coordinates.len() as u32;
            let own = node.start as usize..node.end as usize;
            leaf_of[own.clone()].fill(number as u32);
            for axis in 0..d {
                let mut column = [f64::INFINITY; LEAF];
                for (into, &row) in column.iter_mut().zip(&rows[own.clone()]) {
                    *into = points[row as usize * d + axis];
                }
                coordinates.push(column);
            }
        }
        KdTree {
            d,
            nodes,
            boxes,
            rows,
            leaf_of,
            coordinates,
        }
    }

    /// Copies the point at a position.
    pub fn point(&self, position: usize, into: &mut [f64]) {
        let node = self.nodes[self.leaf_of[position] as usize];
        for (axis, value) in into.iter_mut().enumerate() {
            *value = self.coordinates[node.block as usize + axis][position - node.start as usize];
        }
    }

    /// Squared distances from a point to the points of a leaf, in their order; infinity beyond.
    #[inline(always)]
    pub fn leaf_distances(&self, leaf: Node, point: &[f64]) -> [f64; LEAF] {
        let columns = &self.coordinates[leaf.block as usize..][..point.len()];
        let mut sums = [0.0; LEAF];
        for (&x, column) in point.iter().zip(columns) {
            for lane in 0..LEAF {
                let t = x - column[lane];
                sums[lane] += t * t;
            }
        }
        sums
    }

    /// Squared distance from a point to a node's box.
    #[inline(always)]
    pub fn box_distance(&self, node: usize, point: &[f64]) -> f64 {
        let corners = &self.boxes[node * 2 * self.d..(node + 1) * 2 * self.d];
        let (low, high) = corners.split_at(self.d);
        let mut sum = 0.0;
        for ((&x, &low), &high) in point.iter().zip(low).zip(high) {
            let t = larger(larger(low - x, x - high), 0.0);
            sum += t * t;
        }
        sum
    }

    /// The squared distance from each point to its `k`-th neighbour, itself not counted, by position. `progress` is called
    /// with each further part of the work that is done, all of it being 1.
    pub fn core_distances(&self, k: usize, progress: &(dyn Fn(f64) + Sync)) -> Vec<f64> {
        let leaves: Vec<Node> = self
            .nodes
            .iter()
            .copied()
            .filter(|node| node.right == 0)
            .collect();
        let parts: Vec<Vec<f64>> = leaves
            .par_iter()
            .map_init(Scratch::default, |scratch, &leaf| {
                let found = vectorize(
                    #[inline(always)]
                    || self.leaf_core_distances(leaf, k, scratch),
                );
                progress(1.0 / leaves.len() as f64);
                found
            })
            .collect();
        parts.concat()
    }

    #[inline(always)]
    fn leaf_core_distances(&self, leaf: Node, k: usize, scratch: &mut Scratch) -> Vec<f64> {
        let mut point = vec![0.0; self.d];
        // The core distances that are known, by place in the leaf.
        let mut known = [f64::INFINITY; LEAF];
        let m = (leaf.end - leaf.start) as usize;
        let mut found = Vec::with_capacity(m);
        for place in 0..m {
            self.point(leaf.start as usize + place, &mut point);
            // Another point's core distance plus the way to it bounds this one's from above.
            let ways = self.leaf_distances(leaf, &point);
            let mut bound = f64::INFINITY;
            for (core, way) in known.iter().zip(&ways) {
                let sum = core + way.sqrt();
                bound = if sum < bound { sum } else { bound };
            }
            bound *= 1.0 + 1e-12;
            let core = self
                .kth_distance(&point, k, bound * bound, scratch)
                // Where squares underflow, the bound is no bound.
                .or_else(|| self.kth_distance(&point, k, f64::INFINITY, scratch))
                .unwrap_or(f64::INFINITY);
            known[place] = core.sqrt();
            found.push(core);
        }
        found
    }

    /// The squared distance to the `k`-th other point; none where fewer than `k` lie within `bound`.
    #[inline(always)]
    fn kth_distance(
        &self,
        point: &[f64],
        k: usize,
        mut bound: f64,
        scratch: &mut Scratch,
    ) -> Option<f64> {
        // The point itself is among the candidates, at distance 0: one more is wanted.
        let wanted = k + 1;
        let capacity = (2 * wanted).max(64) + LEAF;
        let Scratch { near, stack } = scratch;
        near.resize(capacity, 0);
        let mut count = 0;
        stack.clear();
        stack.push((0.0, 0));
        while let Some((away, number)) = stack.pop() {
            if away > bound {
                continue;
            }
            let node = self.nodes[number];
            if node.right != 0 {
                let (left, right) = (number + 1, node.right as usize);
                let (a, b) = (
                    self.box_distance(left, point),
                    self.box_distance(right, point),
                );
                let (near, far) = if a <= b {
                    ((a, left), (b, right))
                } else {
                    ((b, right), (a, left))
                };
                if far.0 <= bound {
                    stack.push(far);
                }
                stack.push(near);
                continue;
            }
            let distances = self.leaf_distances(node, point);
            let m = (node.end - node.start) as usize;
            // Written without a branch: which of them are near enough can't be foreseen.
            let slots: &mut [u64; LEAF] = (&mut near[count..count + LEAF])
                .try_into()
                .expect("there is room for a leaf");
            let mut more = 0;
            for &distance in &distances[..m] {
                slots[more & (LEAF - 1)] = distance.to_bits();
                more += usize::from(distance <= bound);
            }
            count += more;
            if count + LEAF > capacity {
                let kth = *near[..count].select_nth_unstable(wanted - 1).1;
                count = wanted;
                if kth == 0 {
                    return Some(0.0);
                }
                // Strictly nearer ones alone can change the result from here on.
                bound = f64::from_bits(kth - 1);
            }
        }
        (count >= wanted).then(|| f64::from_bits(*near[..count].select_nth_unstable(wanted - 1).1))
    }

    /// The `k` points nearest to a place, nearest first, as squared distance and row; equal distances by row. `k` is 1 to n.
    pub fn nearest(&self, place: &[f64], k: usize, scratch: &mut Scratch) -> Vec<(f64, u32)> {
        vectorize(
            #[inline(always)]
            || {
                // A search for others finds one more, which would be the point itself.
                let bound = self
                    .kth_distance(place, k - 1, f64::INFINITY, scratch)
                    .unwrap_or(f64::INFINITY);
                let mut found = Vec::with_capacity(k);
                let stack = &mut scratch.stack;
                stack.clear();
                stack.push((0.0, 0));
                while let Some((_, number)) = stack.pop() {
                    let node = self.nodes[number];
                    if node.right != 0 {
                        for child in [number + 1, node.right as usize] {
                            if self.box_distance(child, place) <= bound {
                                stack.push((0.0, child));
                            }
                        }
                        continue;
                    }
                    let rows = &self.rows[node.start as usize..node.end as usize];
                    let near = self.leaf_distances(node, place);
                    let near = near.into_iter().zip(rows.iter().copied());
                    found.extend(near.filter(|&(distance, _)| distance <= bound));
                }
                found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                found.truncate(k);
                found
            },
        )
    }
}

/// The larger of two numbers, neither NaN: one instruction, where `f64::max` takes four.
#[inline(always)]
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// What searches write over, one after the other.
#[derive(Default)]
pub(super) struct Scratch {
    /// Squared distances as bits, which have the same order.
    near: Vec<u64>,
    stack: Vec<(f64, usize)>,
}

/// Points that go to the left of `n`: about half, and full leaves.
fn left(n: usize) -> usize {
    n.div_ceil(2 * LEAF) * LEAF
}

fn count_nodes(n: usize) -> usize {
    if n <= LEAF {
        1
    } else {
        1 + count_nodes(left(n)) + count_nodes(n - left(n))
    }
}

fn build(
    points: &[f64],
    d: usize,
    start: usize,
    number: usize,
    rows: &mut [u32],
    nodes: &mut [Node],
    boxes: &mut [f64],
) {
    let n = rows.len();
    let (corners, below) = boxes.split_at_mut(2 * d);
    let (low, high) = corners.split_at_mut(d);
    low.fill(f64::INFINITY);
    high.fill(f64::NEG_INFINITY);
    for &row in rows.iter() {
        for (axis, &x) in points[row as usize * d..(row as usize + 1) * d]
            .iter()
            .enumerate()
        {
            low[axis] = low[axis].min(x);
            high[axis] = high[axis].max(x);
        }
    }
    let (node, children) = nodes.split_first_mut().expect("a node for each call");
    *node = Node {
        start: start as u32,
        end: (start + n) as u32,
        right: 0,
        block: 0,
        least_row: rows.iter().copied().min().unwrap_or(0),
    };
    if n <= LEAF {
        rows.sort_unstable();
        return;
    }
    let widest = (0..d)
        .max_by(|&a, &b| {
            (high[a] - low[a])
                .total_cmp(&(high[b] - low[b]))
                .then(b.cmp(&a))
        })
        .unwrap_or(0);
    let half = left(n);
    let key = |row: u32| points[row as usize * d + widest];
    rows.select_nth_unstable_by(half, |&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)));
    let left_nodes = count_nodes(half);
    node.right = (number + 1 + left_nodes) as u32;
    let (left_rows, right_rows) = rows.split_at_mut(half);
    let (left_children, right_children) = children.split_at_mut(left_nodes);
    let (left_boxes, right_boxes) = below.split_at_mut(left_nodes * 2 * d);
    let mut on_left = || {
        build(
            points,
            d,
            start,
            number + 1,
            left_rows,
            left_children,
            left_boxes,
        )
    };
    let mut on_right = || {
        build(
            points,
            d,
            start + half,
            number + 1 + left_nodes,
            right_rows,
            right_children,
            right_boxes,
        );
    };
    if n > 4096 {
        rayon::join(on_left, on_right);
    } else {
        on_left();
        on_right();
    }
}
