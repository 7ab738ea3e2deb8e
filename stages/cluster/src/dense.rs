//! Dense linear algebra whose results have the same bits for every number of threads and on every machine: products of
//! columns, and the eigenvectors of symmetric matrices.
//!
//! Written out here because libraries sum in an order that depends on the processor's vector unit, its caches, and the
//! number of threads.

use crate::simd::vectorize;
use rayon::prelude::*;

/// Columns in a tile of the product, and rows that a tile takes in at once.
const TILE: usize = 64;
const ROWS: usize = 32;

/// Xᵀ X `[d, d]` of rows `[n, d]`; each value is summed up in the order of the rows.
pub(crate) fn gram(rows: &[f64], d: usize) -> Vec<f64> {
    let blocks = d.div_ceil(TILE);
    let tiles: Vec<(usize, usize)> = (0..blocks)
        .flat_map(|a| (a..blocks).map(move |b| (a, b)))
        .collect();
    let sums: Vec<Vec<f64>> = tiles
        .par_iter()
        .map(|&(a, b)| {
            let mut sums = vec![0.0; TILE * TILE];
            let (mut left, mut right) = (vec![0.0; ROWS * TILE], vec![0.0; ROWS * TILE]);
            vectorize(
                #[inline(always)]
                || {
                    for part in rows.chunks(ROWS * d) {
                        pack(part, d, a * TILE, &mut left);
                        pack(part, d, b * TILE, &mut right);
                        add_products(&left, &right, &mut sums);
                    }
                },
            );
            sums
        })
        .collect();
    let mut product = vec![0.0; d * d];
    for (&(a, b), sums) in tiles.iter().zip(sums) {
        for i in a * TILE..d.min((a + 1) * TILE) {
            for j in b * TILE..d.min((b + 1) * TILE) {
                let sum = sums[(i - a * TILE) * TILE + j - b * TILE];
                product[i * d + j] = sum;
                product[j * d + i] = sum;
            }
        }
    }
    product
}

/// Copies a tile's columns of some rows; what lies beyond rows and columns is 0.
#[inline(always)]
fn pack(rows: &[f64], d: usize, first: usize, into: &mut [f64]) {
    let width = TILE.min(d - first);
    into.fill(0.0);
    for (into, row) in into.chunks_exact_mut(TILE).zip(rows.chunks_exact(d)) {
        into[..width].copy_from_slice(&row[first..first + width]);
    }
}

/// Adds, for each pair of columns, the products of their rows. In pieces of 4 by 8, which the registers hold.
#[inline(always)]
fn add_products(left: &[f64], right: &[f64], sums: &mut [f64]) {
    for i in (0..TILE).step_by(4) {
        for j in (0..TILE).step_by(8) {
            let mut piece = [[0.0; 8]; 4];
            for (k, piece) in piece.iter_mut().enumerate() {
                piece.copy_from_slice(&sums[(i + k) * TILE + j..][..8]);
            }
            for (left, right) in left.chunks_exact(TILE).zip(right.chunks_exact(TILE)) {
                let (left, right) = (&left[i..i + 4], &right[j..j + 8]);
                for k in 0..4 {
                    for lane in 0..8 {
                        piece[k][lane] += left[k] * right[lane];
                    }
                }
            }
            for (k, piece) in piece.iter().enumerate() {
                sums[(i + k) * TILE + j..][..8].copy_from_slice(piece);
            }
        }
    }
}

/// The `k` largest eigenvalues, descending, of a symmetric matrix `[n, n]`, and their eigenvectors as rows `[k, n]`.
///
/// Householder's reduction to a tridiagonal matrix, then QL with implicit shifts (Golub, Van Loan, Matrix Computations,
/// sections 8.3.1 and 8.3.3).
pub(crate) fn largest_eigen(mut matrix: Vec<f64>, n: usize, k: usize) -> (Vec<f64>, Vec<f64>) {
    let scale = matrix.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    if scale > 0.0 {
        matrix.iter_mut().for_each(|x| *x /= scale);
    }
    let (mut diagonal, mut beside, reflections) = tridiagonal(&mut matrix, n);
    let vectors = diagonalise(&mut diagonal, &mut beside);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]).then(i.cmp(&j)));
    let mut rows = vec![0.0; k * n];
    rows.par_chunks_mut(n).zip(&order).for_each(|(row, &i)| {
        for (part, row) in vectors.iter().zip(row.chunks_mut(TILE)) {
            row.copy_from_slice(&part[i * TILE..][..row.len()]);
        }
        for (first, reflection) in reflections.iter().enumerate().rev() {
            let row = &mut row[first + 1..];
            let along = dot(row, reflection);
            for (x, v) in row.iter_mut().zip(reflection) {
                *x -= 2.0 * along * v;
            }
        }
    });
    let values = order[..k].iter().map(|&i| diagonal[i] * scale).collect();
    (values, rows)
}

/// Makes a symmetric matrix tridiagonal. Returns its diagonal, what stands beside it (with a 0 at the end), and the unit
/// vectors of the reflections that did it, of which the i-th begins at row i + 1.
fn tridiagonal(matrix: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>, Vec<Vec<f64>>) {
    let mut beside = vec![0.0; n];
    let mut reflections = Vec::with_capacity(n.saturating_sub(2));
    for step in 0..n.saturating_sub(2) {
        let (above, below) = matrix.split_at_mut((step + 1) * n);
        let mut v = above[step * n + step + 1..].to_vec();
        let length = dot(&v, &v).sqrt();
        beside[step] = if v[0] > 0.0 { -length } else { length };
        v[0] -= beside[step];
        let own = dot(&v, &v).sqrt();
        if own > 0.0 {
            v.iter_mut().for_each(|x| *x /= own);
            // A - 2 v wᵀ - 2 w vᵀ with w = A v - (vᵀ A v) v.
            let mut w: Vec<f64> = (below.par_chunks(n).with_min_len(64))
                .map(|row| {
                    vectorize(
                        #[inline(always)]
                        || dot(&row[step + 1..], &v),
                    )
                })
                .collect();
            let along = dot(&v, &w);
            w.iter_mut().zip(&v).for_each(|(w, v)| *w -= along * v);
            (below.par_chunks_mut(n).with_min_len(64))
                .zip(v.par_iter().zip(&w))
                .for_each(|(row, (&own_v, &own_w))| {
                    vectorize(
                        #[inline(always)]
                        || {
                            for ((x, v), w) in row[step + 1..].iter_mut().zip(&v).zip(&w) {
                                *x -= 2.0 * (own_v * w + own_w * v);
                            }
                        },
                    );
                });
        }
        reflections.push(v);
    }
    if n > 1 {
        beside[n - 2] = matrix[(n - 1) * n + n - 2];
    }
    let diagonal = (0..n).map(|i| matrix[i * n + i]).collect();
    (diagonal, beside, reflections)
}

/// Turns the diagonal of a tridiagonal matrix into its eigenvalues. Returns the eigenvectors as rows, in parts of
/// [`TILE`] columns each.
fn diagonalise(diagonal: &mut [f64], beside: &mut [f64]) -> Vec<Vec<f64>> {
    let n = diagonal.len();
    let mut parts: Vec<Vec<f64>> = (0..n.div_ceil(TILE))
        .map(|part| {
            let mut rows = vec![0.0; n * TILE];
            for i in part * TILE..n.min((part + 1) * TILE) {
                rows[i * TILE + i - part * TILE] = 1.0;
            }
            rows
        })
        .collect();
    let mut rotations = Vec::new();
    for first in 0..n {
        // Few steps are ever needed; a matrix that is not finite must not hold it here.
        for _ in 0..60 {
            let last = (first..n - 1)
                .find(|&i| {
                    beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs())
                })
                .unwrap_or(n - 1);
            if last == first {
                break;
            }
            let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
            let root = (half * half + 1.0).sqrt();
            let shift = half + if half < 0.0 { -root } else { root };
            let mut g = diagonal[last] - diagonal[first] + beside[first] / shift;
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            rotations.clear();
            let mut split = false;
            for i in (first..last).rev() {
                let (f, b) = (s * beside[i], c * beside[i]);
                let r = (f * f + g * g).sqrt();
                beside[i + 1] = r;
                if r == 0.0 {
                    diagonal[i + 1] -= p;
                    beside[last] = 0.0;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = diagonal[i + 1] - p;
                let t = (diagonal[i] - g) * s + 2.0 * c * b;
                p = s * t;
                diagonal[i + 1] = g + p;
                g = c * t - b;
                rotations.push((i, s, c));
            }
            if !split {
                diagonal[first] -= p;
                beside[first] = g;
                beside[last] = 0.0;
            }
            parts.par_iter_mut().for_each(|rows| {
                vectorize(
                    #[inline(always)]
                    || {
                        for &(i, s, c) in &rotations {
                            let (low, high) = rows[i * TILE..(i + 2) * TILE].split_at_mut(TILE);
                            for (x, y) in low.iter_mut().zip(high) {
                                (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                            }
                        }
                    },
                );
            });
        }
    }
    parts
}

/// In eight lanes, whose order of summation no machine changes.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += a * b;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn the_eigenvectors_of_a_small_matrix_are_known() {
        let matrix = vec![2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 7.0];
        let (values, vectors) = largest_eigen(matrix, 3, 3);
        for (value, wanted) in values.iter().zip([7.0, 3.0, 1.0]) {
            assert!((value - wanted).abs() < 1e-12, "{values:?}");
        }
        assert!((vectors[3].abs() - 0.5f64.sqrt()).abs() < 1e-12 && vectors[5].abs() < 1e-12);
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_satisfy_their_equation() {
        // Full rank, rank 3 (many equal values), zero, and one value.
        for (n, rank) in [(150, 200), (90, 3), (70, 0), (1, 1), (2, 2)] {
            let mut random = Stream::new(1, n as u64);
            let rows: Vec<f64> = (0..rank * n).map(|_| random.normal()).collect();
            let matrix = gram(&rows, n);
            let naive: f64 = (0..rank).map(|r| rows[r * n] * rows[r * n + n - 1]).sum();
            assert!((matrix[n - 1] - naive).abs() < 1e-12 * (1.0 + naive.abs()));
            let (values, vectors) = largest_eigen(matrix.clone(), n, n);
            assert!(values.is_sorted_by(|a, b| a >= b));
            let scale = values[0].max(1.0);
            for (i, v) in vectors.chunks(n).enumerate() {
                for (j, u) in vectors.chunks(n).enumerate() {
                    let wanted = f64::from(i == j);
                    assert!((dot(u, v) - wanted).abs() < 1e-12, "{n} {rank}: {i} {j}");
                }
                for (row, x) in matrix.chunks(n).zip(v) {
                    assert!((dot(row, v) - values[i] * x).abs() < 1e-12 * scale);
                }
            }
        }
    }
}
