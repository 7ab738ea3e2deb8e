//! Fine labels for the training images that were left out: that of the nearest cluster in their coarse class.

use anyhow::{Result, ensure};
use ndarray::{Array1, Array2};

use crate::data::{Data, Fine};

/// Gives each of `rows` that has no fine label the one of its coarse class whose mean in `features` `[n, d]` is nearest
/// by Euclidean distance (the first of equals). Gives how many rows still have none: those in classes without a label.
///
/// # Errors
/// Where the features do not fit the data set.
pub fn keep(fine: &mut Fine, data: &Data, features: &Array2<f32>, rows: &[usize]) -> Result<usize> {
    ensure!(
        features.nrows() == data.len(),
        "the input `features` has {} rows, and the data set `{}` has {}",
        features.nrows(),
        data.meta.name,
        data.len()
    );
    if let Some(row) = rows
        .iter()
        .find(|&&row| features.row(row).iter().any(|x| !x.is_finite()))
    {
        ensure!(
            false,
            "the input `features` has no value for the training row {row}, so that its nearest cluster is unknown: give \
             the features of all training images, not of the certain ones alone"
        );
    }
    let classes = fine.to_coarse.len();
    let mut means = Array2::<f64>::zeros((classes, features.ncols()));
    let mut counts = vec![0.0; classes];
    for &row in rows.iter().filter(|&&row| fine.labels[row] >= 0) {
        let label = fine.labels[row] as usize;
        counts[label] += 1.0;
        let mut mean = means.row_mut(label);
        mean.zip_mut_with(&features.row(row), |sum, &x| *sum += f64::from(x));
    }
    for (mut mean, &count) in means.rows_mut().into_iter().zip(&counts) {
        mean /= f64::max(count, 1.0);
    }
    let distance = |row: usize, label: usize| -> f64 {
        let pairs = features.row(row).into_iter().zip(means.row(label));
        pairs.map(|(&x, &mean)| (f64::from(x) - mean).powi(2)).sum()
    };
    let mut left = 0;
    let mut labels: Array1<i32> = fine.labels.clone();
    for &row in rows.iter().filter(|&&row| fine.labels[row] < 0) {
        let class = data.coarse()[row] as usize;
        let nearest = (0..classes)
            .filter(|&label| fine.to_coarse[label] == class && counts[label] > 0.0)
            .map(|label| (distance(row, label), label))
            .min_by(|(a, _), (b, _)| a.total_cmp(b));
        match nearest {
            Some((_, label)) => labels[row] = label as i32,
            None => left += 1,
        }
    }
    fine.labels = labels;
    Ok(left)
}
