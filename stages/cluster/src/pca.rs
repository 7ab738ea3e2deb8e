//! Principal component analysis.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::error::{Error, Result, check_points};

/// Principal component analysis by the eigenvectors of the covariance (or, with fewer rows than columns, of the rows'
/// products), in f64.
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

/// Rows that one task handles; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 512;

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
        let rows = MatRef::from_row_major_slice(&centred, n, d);
        let k = self.components;
        let freedom = (n - 1).max(1) as f64;
        let total = centred.iter().map(|x| x * x).sum::<f64>() / freedom;
        let (mut axes, variance) = if d <= n {
            by_columns(rows, k)
        } else {
            by_rows(rows, k)
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
            for ((into, axis), scale) in into.iter_mut().zip(axes.outer_iter()).zip(&scale) {
                let along: f64 = axis.iter().zip(row).map(|(a, x)| a * x).sum();
                *into = (along * scale) as f32;
            }
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
fn by_columns(rows: MatRef<f64>, k: usize) -> (Array2<f64>, Vec<f64>) {
    let (n, d) = (rows.nrows(), rows.ncols());
    let parts: Vec<Mat<f64>> = (0..n.div_ceil(ROWS))
        .into_par_iter()
        .map(|chunk| {
            let part = rows.subrows(chunk * ROWS, ROWS.min(n - chunk * ROWS));
            let mut product = Mat::zeros(d, d);
            matmul(
                &mut product,
                Accum::Replace,
                part.transpose(),
                part,
                1.0,
                Par::Seq,
            );
            product
        })
        .collect();
    let mut products = Mat::zeros(d, d);
    for part in parts {
        products += part;
    }
    let (values, vectors) = largest(products.as_ref(), k);
    (
        Array2::from_shape_fn((k, d), |(i, j)| vectors[(j, i)]),
        values,
    )
}

/// The same from X Xᵀ, which is smaller where there are fewer rows than columns.
fn by_rows(rows: MatRef<f64>, k: usize) -> (Array2<f64>, Vec<f64>) {
    let (n, d) = (rows.nrows(), rows.ncols());
    let mut products = Mat::zeros(n, n);
    matmul(
        &mut products,
        Accum::Replace,
        rows,
        rows.transpose(),
        1.0,
        Par::Seq,
    );
    let (values, vectors) = largest(products.as_ref(), k);
    let mut axes = Array2::zeros((k, d));
    for (i, mut axis) in axes.outer_iter_mut().enumerate() {
        for row in 0..n {
            for column in 0..d {
                axis[column] += vectors[(row, i)] * rows[(row, column)];
            }
        }
        let length = axis.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
        if values[i] > 1e-14 * values[0] && length > 0.0 {
            axis.mapv_inplace(|x| x / length);
        } else {
            axis.fill(0.0);
        }
    }
    (axes, values)
}

/// The `k` largest eigenvalues, descending, and all eigenvectors with those first.
fn largest(symmetric: MatRef<f64>, k: usize) -> (Vec<f64>, Mat<f64>) {
    let n = symmetric.nrows();
    let Ok(found) = symmetric.self_adjoint_eigen(Side::Lower) else {
        // faer gives up on matrices that are not finite alone, which the check of the points rules out.
        return (vec![0.0; k], Mat::identity(n, n));
    };
    let values = found.S().column_vector();
    let order: Vec<usize> = (0..n).rev().collect();
    let vectors = Mat::from_fn(n, k, |i, j| found.U()[(i, order[j])]);
    (order[..k].iter().map(|&i| values[i]).collect(), vectors)
}
