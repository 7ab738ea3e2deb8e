//! Eigenvectors of a graph's Laplacian by restarted Lanczos.

use rayon::prelude::*;

use super::graph::Graph;
use crate::dense::largest_eigen;
use crate::random::Stream;
use crate::simd::vectorize;

/// Vectors kept over a restart beyond those wanted, vectors in the basis, and restarts.
const KEEP: usize = 8;
const BASIS: usize = 40;
const RESTARTS: usize = 150;
/// What the residual of an eigenvector may be. It only starts a layout.
const TOLERANCE: f64 = 1e-4;
/// Rows whose sums are added up by one task; fixed, so that sums are the same for any number of threads.
const ROWS: usize = 1024;

/// The eigenvectors `[n, k]` of the `k` smallest eigenvalues, the trivial one left out, of the normalised Laplacian
/// I - D^-1/2 W D^-1/2 of a connected graph. None where the iteration does not converge.
///
/// Lanczos' iteration with full orthogonalisation and thick restarts (Wu, Simon 2000). `k` is below n - 1.
pub(super) fn laplacian(graph: &Graph, k: usize, random: &mut Stream) -> Option<Vec<f64>> {
    let n = graph.len();
    let degree: Vec<f64> = (0..n)
        .map(|i| graph.row(i).map(|(_, w)| f64::from(w)).sum::<f64>())
        .collect();
    let inverse: Vec<f64> = degree
        .iter()
        .map(|&d| if d > 0.0 { 1.0 / d.sqrt() } else { 0.0 })
        .collect();
    if n <= BASIS + 8 {
        // D^-1/2 W D^-1/2 has the same vectors, its largest values first.
        let mut dense = vec![0.0; n * n];
        for i in 0..n {
            for (j, weight) in graph.row(i) {
                dense[i * n + j] = inverse[i] * f64::from(weight) * inverse[j];
            }
        }
        let (_, vectors) = largest_eigen(dense, n, k + 1);
        return Some(
            (0..n * k)
                .map(|at| vectors[(at % k + 1) * n + at / k])
                .collect(),
        );
    }
    let multiply = |x: &[f64], y: &mut [f64]| {
        y.par_chunks_mut(ROWS).enumerate().for_each(|(chunk, y)| {
            for (i, y) in y.iter_mut().enumerate() {
                let row = chunk * ROWS + i;
                let sum: f64 = graph
                    .row(row)
                    .map(|(j, w)| f64::from(w) * inverse[j] * x[j])
                    .sum();
                *y = sum * inverse[row];
            }
        });
    };

    // Column 0 is the trivial eigenvector, which the others are kept orthogonal to.
    let columns = BASIS + 2;
    let mut basis = vec![0.0; n * columns];
    let mut vector: Vec<f64> = degree.iter().map(|d| d.sqrt()).collect();
    put(&mut basis, columns, 0, &mut vector, 1);
    vector.iter_mut().for_each(|x| *x = random.unit() - 0.5);
    orthogonalise(&basis, columns, 1, &mut vector);
    put(&mut basis, columns, 1, &mut vector, 2);
    let mut image = vec![0.0; n];
    let mut projected = vec![0.0; BASIS * BASIS];
    let mut first = 0;
    for _ in 0..RESTARTS {
        let mut beta = 0.0;
        for j in first..BASIS {
            column(&basis, columns, j + 1, &mut vector);
            multiply(&vector, &mut image);
            let along = orthogonalise(&basis, columns, j + 2, &mut image);
            for i in 0..=j {
                projected[i * BASIS + j] = along[i + 1];
                projected[j * BASIS + i] = along[i + 1];
            }
            beta = image.iter().map(|x| x * x).sum::<f64>().sqrt();
            if beta < 1e-12 {
                // The basis spans an invariant subspace: go on in a new direction.
                beta = 0.0;
                image.iter_mut().for_each(|x| *x = random.unit() - 0.5);
                orthogonalise(&basis, columns, j + 2, &mut image);
            }
            put(&mut basis, columns, j + 2, &mut image, columns);
        }
        let (values, vectors) = largest_eigen(projected.clone(), BASIS, BASIS);
        let converged = (0..k).all(|j| {
            (beta * vectors[j * BASIS + BASIS - 1]).abs() <= TOLERANCE * values[j].abs().max(1e-3)
        });
        let keep = if converged { k } else { k + KEEP };
        let rotated = |row: &[f64], into: &mut [f64]| {
            for (j, into) in into.iter_mut().enumerate() {
                *into = (0..BASIS)
                    .map(|i| row[i + 1] * vectors[j * BASIS + i])
                    .sum();
            }
        };
        if converged {
            let mut result = vec![0.0; n * k];
            (result.par_chunks_mut(k).zip(basis.par_chunks(columns)))
                .for_each(|(into, row)| rotated(row, into));
            return Some(result);
        }
        basis.par_chunks_mut(columns).for_each(|row| {
            let mut ritz = [0.0; BASIS];
            rotated(row, &mut ritz[..keep]);
            let last = row[BASIS + 1];
            row[1..=keep].copy_from_slice(&ritz[..keep]);
            row[keep + 1] = last;
        });
        projected.fill(0.0);
        for j in 0..keep {
            projected[j * BASIS + j] = values[j];
        }
        first = keep;
    }
    None
}

/// Copies a column of the basis.
fn column(basis: &[f64], columns: usize, j: usize, into: &mut [f64]) {
    for (into, row) in into.iter_mut().zip(basis.chunks_exact(columns)) {
        *into = row[j];
    }
}

/// Scales a vector to length 1 and makes it column `j` of the basis, which has fewer than `limit` columns.
fn put(basis: &mut [f64], columns: usize, j: usize, vector: &mut [f64], limit: usize) {
    debug_assert!(j < limit);
    let length = vector
        .iter()
        .map(|x| x * x)
        .sum::<f64>()
        .sqrt()
        .max(f64::MIN_POSITIVE);
    for (row, x) in basis.chunks_exact_mut(columns).zip(vector) {
        row[j] = *x / length;
    }
}

/// Takes from a vector, twice for accuracy, what lies along the first `count` columns; returns how much that was.
fn orthogonalise(basis: &[f64], columns: usize, count: usize, vector: &mut [f64]) -> Vec<f64> {
    let mut total = vec![0.0; count];
    for _ in 0..2 {
        let parts: Vec<Vec<f64>> = (basis
            .par_chunks(ROWS * columns)
            .zip(vector.par_chunks(ROWS)))
        .map(|(rows, vector)| {
            let mut along = vec![0.0; count];
            vectorize(
                #[inline(always)]
                || {
                    for (row, &x) in rows.chunks_exact(columns).zip(vector) {
                        for (along, &b) in along.iter_mut().zip(row) {
                            *along += b * x;
                        }
                    }
                },
            );
            along
        })
        .collect();
        let mut along = vec![0.0; count];
        for part in parts {
            along.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        (basis
            .par_chunks(ROWS * columns)
            .zip(vector.par_chunks_mut(ROWS)))
        .for_each(|(rows, vector)| {
            for (row, x) in rows.chunks_exact(columns).zip(vector) {
                *x -= row.iter().zip(&along).map(|(b, a)| b * a).sum::<f64>();
            }
        });
        total.iter_mut().zip(along).for_each(|(sum, x)| *sum += x);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of n vertices: the Laplacian's values are 1 - cos(2 pi i / n), each but the first twice.
    fn ring(n: usize) -> Graph {
        Graph {
            start: (0..=n).map(|i| 2 * i).collect(),
            column: (0..n)
                .flat_map(|i| {
                    let (a, b) = ((i + n - 1) % n, (i + 1) % n);
                    [a.min(b) as u32, a.max(b) as u32]
                })
                .collect(),
            weight: vec![0.5; 2 * n],
        }
    }

    #[test]
    fn vectors_of_a_ring_are_waves() {
        for n in [12, 300] {
            let graph = ring(n);
            let vectors = laplacian(&graph, 2, &mut Stream::new(1, 2)).unwrap();
            let value = 1.0 - (2.0 * std::f64::consts::PI / n as f64).cos();
            for j in 0..2 {
                let x = |i: usize| vectors[i % n * 2 + j];
                let residual = (0..n)
                    .map(|i| x(i) - (x(i + n - 1) + x(i + 1)) / 2.0 - value * x(i))
                    .map(|r| r * r)
                    .sum::<f64>()
                    .sqrt();
                assert!(residual < 1e-3, "{n} {j}: {residual}");
                assert!(((0..n).map(|i| x(i) * x(i)).sum::<f64>() - 1.0).abs() < 1e-6);
            }
        }
    }
}
