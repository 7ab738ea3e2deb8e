//! Exact nearest neighbours by blocked, symmetric matrix products; never n² memory.
//!
//! Products in f32 find candidates, a few more than wanted. Distances of candidates are computed anew in f64, and where
//! the rounding of the products could have hidden a neighbour the row is searched again by brute force. So the result
//! is exact, and the same on machines whose products round differently.

use std::ops::Range;
use std::sync::Mutex;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{Neighbours, squared_distance};
use crate::simd::vectorize;

/// Rows in a block of the matrix product.
const BLOCK: usize = 256;
/// Candidates beyond the `k` wanted.
const SPARE: usize = 8;

/// Finds the `k` nearest others of each row of finite points `[n, d]`, with squared distances. `progress` is called with
/// each further part of the work that is done, all of it being 1.
pub(super) fn nearest(
    points: &Array2<f32>,
    k: usize,
    progress: &(dyn Fn(f64) + Sync),
) -> Neighbours {
    let (n, d) = points.dim();
    let exact = points
        .as_slice()
        .expect("owned arrays are in standard layout");
    let frame = Frame::of(&[points]);
    let (centred, norms) = frame.lay(points);
    let unit = frame.unit();
    let wanted = (k + SPARE).min(n - 1);
    let blocks: Vec<Mutex<Candidates>> = (0..n)
        .step_by(BLOCK)
        .map(|start| Mutex::new(Candidates::new(BLOCK.min(n - start), wanted)))
        .collect();
    let tiles: Vec<(usize, usize)> = (0..blocks.len())
        .flat_map(|a| (a..blocks.len()).map(move |b| (a, b)))
        .collect();
    tiles.par_iter().for_each_init(
        || vec![0f32; BLOCK * BLOCK],
        |products, &(a, b)| {
            let rows = |block: usize| block * BLOCK..((block + 1) * BLOCK).min(n);
            let (left, right) = (rows(a), rows(b));
            let (m, w) = (left.len(), right.len());
            let products = &mut products[..m * w];
            multiply((&centred, &left), (&centred, &right), d, products);
            let lock = |block: usize| blocks[block].lock().unwrap_or_else(|e| e.into_inner());
            vectorize(
                #[inline(always)]
                || {
                    for (row, i) in products.chunks_exact_mut(w).zip(left.clone()) {
                        for (value, norm) in row.iter_mut().zip(&norms[right.clone()]) {
                            *value = norms[i] + norm - 2.0 * *value;
                        }
                        if a == b {
                            row[i - left.start] = f32::INFINITY;
                        }
                    }
                    let mut of_left = lock(a);
                    for (i, row) in products.chunks_exact(w).enumerate() {
                        of_left.offer_row(i, row, right.start);
                    }
                    drop(of_left);
                    if a != b {
                        let mut of_right = lock(b);
                        for (i, row) in products.chunks_exact(w).enumerate() {
                            of_right.offer_each(row, left.start + i);
                        }
                    }
                },
            );
            progress(1.0 / tiles.len() as f64);
        },
    );
    let mut result = Neighbours {
        k,
        index: vec![0; n * k],
        distance: vec![0.0; n * k],
    };
    (result.index.par_chunks_mut(BLOCK * k))
        .zip(result.distance.par_chunks_mut(BLOCK * k))
        .zip(blocks)
        .enumerate()
        .for_each(|(block, ((index, distance), candidates))| {
            let mut candidates = candidates.into_inner().unwrap_or_else(|e| e.into_inner());
            vectorize(
                #[inline(always)]
                || {
                    for i in 0..candidates.length.len() {
                        let row = block * BLOCK + i;
                        let point = &exact[row * d..(row + 1) * d];
                        let found =
                            candidates.refine(i, point, Some(row), k, exact, norms[row], unit);
                        for (j, (distance_to, other)) in found.into_iter().enumerate() {
                            index[i * k + j] = other;
                            distance[i * k + j] = distance_to;
                        }
                    }
                },
            );
        });
    result
}

/// Finds the `k` nearest of finite points `[n, d]` to each of `rows` `[m, d]`, with squared distances; `k` is at most n.
/// `progress` is called with each further part of the work that is done, all of it being 1.
pub(super) fn nearest_among(
    points: &Array2<f32>,
    rows: &Array2<f32>,
    k: usize,
    progress: &(dyn Fn(f64) + Sync),
) -> Neighbours {
    let ((n, d), m) = (points.dim(), rows.nrows());
    let exact = points
        .as_slice()
        .expect("owned arrays are in standard layout");
    let asked = rows
        .as_slice()
        .expect("owned arrays are in standard layout");
    let frame = Frame::of(&[points, rows]);
    let (base, base_norms) = frame.lay(points);
    let (centred, norms) = frame.lay(rows);
    let unit = frame.unit();
    let wanted = (k + SPARE).min(n);
    let mut result = Neighbours {
        k,
        index: vec![0; m * k],
        distance: vec![0.0; m * k],
    };
    (result.index.par_chunks_mut(BLOCK * k))
        .zip(result.distance.par_chunks_mut(BLOCK * k))
        .enumerate()
        .for_each(|(block, (index, distance))| {
            let left = block * BLOCK..((block + 1) * BLOCK).min(m);
            let mut candidates = Candidates::new(left.len(), wanted);
            let mut products = vec![0f32; BLOCK * BLOCK];
            for start in (0..n).step_by(BLOCK) {
                let right = start..(start + BLOCK).min(n);
                let products = &mut products[..left.len() * right.len()];
                multiply((&centred, &left), (&base, &right), d, products);
                vectorize(
                    #[inline(always)]
                    || {
                        for (i, row) in products.chunks_exact_mut(right.len()).enumerate() {
                            for (value, norm) in row.iter_mut().zip(&base_norms[right.clone()]) {
                                *value = norms[left.start + i] + norm - 2.0 * *value;
                            }
                            candidates.offer_row(i, row, start);
                        }
                    },
                );
            }
            vectorize(
                #[inline(always)]
                || {
                    for (i, row) in left.clone().enumerate() {
                        let point = &asked[row * d..(row + 1) * d];
                        let found = candidates.refine(i, point, None, k, exact, norms[row], unit);
                        for (j, (distance_to, other)) in found.into_iter().enumerate() {
                            index[i * k + j] = other;
                            distance[i * k + j] = distance_to;
                        }
                    }
                },
            );
            progress(left.len() as f64 / m as f64);
        });
    result
}

/// The products of some rows of one array with some of another, which lie as [`Frame::lay`] leaves them: both ranges are
/// blocks.
fn multiply(
    left: (&[f32], &Range<usize>),
    right: (&[f32], &Range<usize>),
    d: usize,
    into: &mut [f32],
) {
    let (a, b) = (columns(left, d), columns(right, d));
    let shape = (a.ncols(), b.ncols());
    let mut into = ArrayViewMut2::from_shape(shape, into).expect("a product for each pair");
    general_mat_mul(1.0, &a.t(), &b, 0.0, &mut into);
}

fn columns<'a>((values, rows): (&'a [f32], &Range<usize>), d: usize) -> ArrayView2<'a, f32> {
    let values = &values[rows.start * d..rows.end * d];
    ArrayView2::from_shape((d, rows.len()), values).expect("d values a row")
}

/// The candidates of one block of rows.
struct Candidates {
    wanted: usize,
    capacity: usize,
    /// `[rows, capacity]`: squared distance as the product gives it, and row.
    slots: Vec<(f32, u32)>,
    length: Vec<usize>,
    /// What a candidate may not exceed, once there are enough.
    threshold: Vec<f32>,
}

impl Candidates {
    fn new(rows: usize, wanted: usize) -> Self {
        let capacity = 2 * wanted + 16;
        Candidates {
            wanted,
            capacity,
            slots: vec![(0.0, 0); rows * capacity],
            length: vec![0; rows],
            threshold: vec![f32::INFINITY; rows],
        }
    }

    /// Offers the rows `first..` with these distances to row `i` of the block.
    #[inline(always)]
    fn offer_row(&mut self, i: usize, distances: &[f32], first: usize) {
        for (part, distances) in distances.chunks(16).enumerate() {
            let threshold = self.threshold[i];
            if distances
                .iter()
                .fold(false, |any, &x| any | (x <= threshold))
            {
                for (j, &distance) in distances.iter().enumerate() {
                    self.push(i, distance, first + part * 16 + j);
                }
            }
        }
    }

    /// Offers one row at these distances to each row of the block.
    #[inline(always)]
    fn offer_each(&mut self, distances: &[f32], row: usize) {
        for part in (0..distances.len()).step_by(16) {
            let end = (part + 16).min(distances.len());
            let thresholds = &self.threshold[part..end];
            let any = (distances[part..end].iter().zip(thresholds))
                .fold(false, |any, (x, threshold)| any | (x <= threshold));
            if any {
                for (i, &distance) in distances[part..end].iter().enumerate() {
                    self.push(part + i, distance, row);
                }
            }
        }
    }

    #[inline(always)]
    fn push(&mut self, i: usize, distance: f32, row: usize) {
        // Infinity marks the row itself.
        if distance > self.threshold[i] || distance == f32::INFINITY {
            return;
        }
        let slots = &mut self.slots[i * self.capacity..(i + 1) * self.capacity];
        slots[self.length[i]] = (distance, row as u32);
        self.length[i] += 1;
        if self.length[i] == self.capacity {
            slots.select_nth_unstable_by(self.wanted - 1, by_distance_and_row);
            self.length[i] = self.wanted;
            self.threshold[i] = slots[self.wanted - 1].0;
        }
    }

    /// The `k` nearest to `point`, which is row `i` of the block, with their exact squared distances. Where it is one of
    /// `points`, `own` says which. `norm` is its squared length in the product, where squared distances are `unit` times the
    /// exact ones.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn refine(
        &mut self,
        i: usize,
        point: &[f32],
        own: Option<usize>,
        k: usize,
        points: &[f32],
        norm: f32,
        unit: f64,
    ) -> Vec<(f64, u32)> {
        let d = point.len();
        let n = points.len() / d;
        let slots = &mut self.slots[i * self.capacity..][..self.length[i]];
        let mut cut = f32::INFINITY;
        if slots.len() > self.wanted {
            slots.select_nth_unstable_by(self.wanted - 1, by_distance_and_row);
        }
        let slots = &slots[..slots.len().min(self.wanted)];
        if slots.len() < n - usize::from(own.is_some()) {
            cut = slots
                .iter()
                .map(|slot| slot.0)
                .fold(f32::NEG_INFINITY, f32::max);
        }
        let to = |other: u32| {
            (
                squared_distance(point, &points[other as usize * d..(other as usize + 1) * d]),
                other,
            )
        };
        let mut found: Vec<(f64, u32)> = slots.iter().map(|&(_, other)| to(other)).collect();
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(k);
        if cut == f32::INFINITY {
            return found;
        }
        // What a product of this length can be off by: the size of the terms, times the rounding of a random walk.
        let scale = (norm.sqrt() + cut.max(0.0).sqrt()).powi(2) + norm;
        let error = f64::from(scale) * f64::from(f32::EPSILON) * (8.0 + (d as f64).sqrt());
        let shrink = f64::from(cut) - error;
        let certain = found.len() == k && found[k - 1].0 * unit <= shrink;
        if !certain {
            found = (0..n as u32)
                .filter(|&other| own != Some(other as usize))
                .map(to)
                .collect();
            found.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            found.truncate(k);
            found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        found
    }
}

fn by_distance_and_row(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// Moves each column's median to 0 and scales by a power of two into -1..1, for small rounding in the product whatever
/// the data's place, outliers and size.
struct Frame {
    median: Vec<f32>,
    scale: f64,
}

impl Frame {
    /// The medians are those of the first array, and the scale fits all of them.
    fn of(arrays: &[&Array2<f32>]) -> Self {
        let points = arrays[0];
        let (n, d) = points.dim();
        let median: Vec<f32> = (0..d)
            .into_par_iter()
            .map(|column| {
                let mut values = points.column(column).to_vec();
                *values.select_nth_unstable_by(n / 2, f32::total_cmp).1
            })
            .collect();
        let largest = (arrays.iter().flat_map(|points| points.outer_iter()))
            .flat_map(|row| {
                row.into_iter()
                    .zip(&median)
                    .map(|(&x, &m)| difference(x, m).abs())
            })
            .fold(0.0, f64::max);
        let mut scale = 1.0;
        if largest > 0.0 {
            scale = libm::exp2(-libm::ceil(libm::log2(largest)));
        }
        Frame { median, scale }
    }

    /// The scale of squared distances.
    fn unit(&self) -> f64 {
        self.scale * self.scale
    }

    /// The points and their squared lengths. Those of each block lie column by column: a product reads them in that order.
    fn lay(&self, points: &Array2<f32>) -> (Vec<f32>, Vec<f32>) {
        let (n, d) = points.dim();
        let mut centred = vec![0f32; n * d];
        let mut norms = vec![0f32; n];
        (centred.par_chunks_mut(BLOCK * d))
            .zip(norms.par_chunks_mut(BLOCK))
            .zip(points.axis_chunks_iter(Axis(0), BLOCK).into_par_iter())
            .for_each(|((into, norms), rows)| {
                for (i, (norm, row)) in norms.iter_mut().zip(rows.outer_iter()).enumerate() {
                    let mut sum = 0.0;
                    let places = into[i..].iter_mut().step_by(rows.nrows());
                    for ((into, &x), &m) in places.zip(row).zip(&self.median) {
                        *into = (difference(x, m) * self.scale) as f32;
                        sum += f64::from(*into) * f64::from(*into);
                    }
                    *norm = sum as f32;
                }
            });
        (centred, norms)
    }
}

fn difference(x: f32, m: f32) -> f64 {
    f64::from(x) - f64::from(m)
}
