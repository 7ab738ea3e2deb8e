//! Principal component analysis.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::dense;
use crate::error::{Error, Result, check_points};
use crate::simd::vectorize;

/// Principal component analysis by the eigenvectors of the covariance (or, with fewer rows than columns, of the rows'
/// products), in f64. The same bits for every number of threads, and on every machine.
///
/// Signs are fixed: the largest loading of each component is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    components: usize,
    whiten: bool,
}

/// What [`Pca::fit`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    /// The points in the new axes `[n, components]`.
    pub scores: Array2<f32>,
    /// The new axes `[components, d]`, each of length 1.
    pub axes: Array2<f64>,
    /// The variance along each axis `[components]`, with n - 1 degrees of freedom.
    pub variance: Array1<f64>,
    /// The part of the whole variance along each axis `[components]`.
    pub variance_ratio: Array1<f64>,
}

impl Pca {
    /// As many components, at least 1.
    pub fn new(components: usize) -> Self {
        Pca {
            components,
            whiten: false,
        }
    }

    /// Whether scores are divided by the standard deviation along their axis.
    pub fn whiten(mut self, whiten: bool) -> Self {
        self.whiten = whiten;
        self
    }

    /// Finds the components of points `[n, d]`.
    ///
    /// # Errors
    /// Where the number of components is 0 or more than min(n, d), the array is empty, or a value is not finite.
    pub fn fit(&self, points: ArrayView2<f32>) -> Result<Components> {
        check_points(points)?;
        let (n, d) = points.dim();
        if self.components == 0 || self.components > n.min(d) {
            let rule = "it has to be at least 1 and at most the number of rows and of columns";
            return Err(Error::parameter("n_components", self.components, rule));
        }
        let mean: Vec<f64> = (0..d)
            .map(|column| {
                points
                    .column(column)
                    .iter()
                    .map(|&x| f64::from(x))
                    .sum::<f64>()
                    / n as f64
            })
            .collect();
        let centred: Vec<f64> = points
            .axis_iter(Axis(0))
            .into_par_iter()
            .flat_map_iter(|row| {
                row.into_iter()
                    .zip(&mean)
                    .map(|(&x, m)| f64::from(x) - m)
                    .collect::<Vec<_>>()
            })
            .collect();
        let k = self.components;
        let freedom = (n - 1).max(1) as f64;
        let total = centred.iter().map(|x| x * x).sum::<f64>() / freedom;
        let (mut axes, variance) = if d <= n {
            by_columns(&centred, d, k)
        } else {
            by_rows(&centred, d, k)
        };
        for mut axis in axes.outer_iter_mut() {
            let largest = axis.iter().fold(
                0.0f64,
                |most, &x| if x.abs() > most.abs() { x } else { most },
            );
            if largest < 0.0 {
                axis.mapv_inplace(|x| -x);
            }
        }
        let variance: Array1<f64> = variance
            .into_iter()
            .map(|v| (v / freedom).max(0.0))
            .collect();
        let deviation = variance.mapv(f64::sqrt);
        // An axis without variance, but for rounding, holds nothing that could be scaled up.
        let least = 1e-7 * deviation[0];
        let scale: Vec<f64> = (deviation.iter())
            .map(|&s| {
                if !self.whiten {
                    1.0
                } else if s > least {
                    1.0 / s
                } else {
                    0.0
                }
            })
            .collect();
        let mut scores = Array2::zeros((n, k));
        (scores
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(centred.par_chunks(d)))
        .for_each(|(mut into, row)| {
            vectorize(
                #[inline(always)]
                || {
                    for ((into, axis), scale) in into.iter_mut().zip(axes.outer_iter()).zip(&scale)
                    {
                        let axis = axis.to_slice().expect("standard layout");
                        *into = (dense::dot(axis, row) * scale) as f32;
                    }
                },
            );
        });
        Ok(Components {
            scores,
            axes,
            variance_ratio: variance.mapv(|v| if total > 0.0 { v / total } else { 0.0 }),
            variance,
        })
    }
}

/// The largest eigenvalues of Xᵀ X and their vectors as rows.
fn by_columns(rows: &[f64], d: usize, k: usize) -> (Array2<f64>, Vec<f64>) {
    let (values, axes) = dense::largest_eigen(dense::gram(rows, d), d, k);
    let axes = Array2::from_shape_vec((k, d), axes).expect("a row for each value");
    (axes, values)
}

/// The same from X Xᵀ, which is smaller where there are fewer rows than columns.
fn by_rows(rows: &[f64], d: usize, k: usize) -> (Array2<f64>, Vec<f64>) {
    let n = rows.len() / d;
    let columns: Vec<f64> = (0..n * d).map(|at| rows[at % n * d + at / n]).collect();
    let (values, vectors) = dense::largest_eigen(dense::gram(&columns, n), n, k);
    let mut axes = Array2::zeros((k, d));
    for ((mut axis, vector), value) in axes.outer_iter_mut().zip(vectors.chunks(n)).zip(&values) {
        for (row, weight) in rows.chunks(d).zip(vector) {
            axis.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += weight * x);
        }
        let length = axis.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
        if *value > 1e-14 * values[0] && length > 0.0 {
            axis.mapv_inplace(|x| x / length);
        } else {
            axis.fill(0.0);
        }
    }
    (axes, values)
}
