//! Trustworthiness of an embedding (Venna, Kaski 2001), in O(n² d) time and O(n) memory a thread.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::error::{Error, Result, check_length, check_points};
use crate::knn::{Metric, nearest, squared_distance};
use crate::simd::vectorize;

/// How far the `k` nearest others of each point in the embedding `[n, k]` are also near among the points `[n, d]`: 0..1.
/// Equal distances are ranked by row.
///
/// # Errors
/// Where `k` is not below n / 2, lengths differ, an array is empty, or a value is not finite.
pub fn trustworthiness(
    points: ArrayView2<f32>,
    embedding: ArrayView2<f32>,
    k: usize,
) -> Result<f64> {
    check_points(points)?;
    check_points(embedding)?;
    check_length("the embedding", embedding.nrows(), points.nrows())?;
    let n = points.nrows();
    if k == 0 || 2 * k >= n {
        return Err(Error::parameter(
            "k",
            k,
            "it has to be at least 1 and below half the number of rows",
        ));
    }
    let near = nearest(embedding, k, Metric::Euclidean);
    let points = points.as_standard_layout();
    let penalties: Vec<u64> = (0..n)
        .into_par_iter()
        .map_init(
            || vec![0.0; n],
            |distances, row| {
                let slice = |row: usize| points.row(row).to_slice().expect("standard layout");
                vectorize(
                    #[inline(always)]
                    || {
                        for (other, distance) in distances.iter_mut().enumerate() {
                            *distance = squared_distance(slice(row), slice(other));
                        }
                    },
                );
                (near.index[row * k..(row + 1) * k].iter())
                    .map(|&other| {
                        let place = (distances[other as usize], other as usize);
                        let rank = (distances.iter().enumerate())
                            .filter(|&(i, &distance)| i != row && (distance, i) < place)
                            .count()
                            + 1;
                        rank.saturating_sub(k) as u64
                    })
                    .sum()
            },
        )
        .collect();
    let (n, k) = (n as f64, k as f64);
    let total: u64 = penalties.into_iter().sum();
    Ok(1.0 - total as f64 * 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn the_points_themselves_are_trusted_and_shuffled_ones_are_not() {
        let points = Array2::from_shape_fn((50, 2), |(i, j)| (i * (j + 1)) as f32);
        assert_eq!(
            trustworthiness(points.view(), points.view(), 5).unwrap(),
            1.0
        );
        let shuffled = Array2::from_shape_fn((50, 1), |(i, _)| (i * 37 % 50) as f32);
        assert!(trustworthiness(points.view(), shuffled.view(), 5).unwrap() < 0.7);
        assert!(trustworthiness(points.view(), shuffled.view(), 25).is_err());
    }
}
