//! Trustworthiness of an embedding (Venna, Kaski 2001), in O(n² d) time and O(n) memory a thread.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::sample::{Estimate, draw};
use crate::error::{Error, Result, check_length, check_points};
use crate::knn::{Metric, squared_distance, unit_rows};
use crate::random::Stream;
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
    let found = sampled_trustworthiness(points, embedding, k, Metric::Euclidean, usize::MAX, 0)?;
    Ok(found.mean)
}

/// The trustworthiness as estimated from `rows` rows, drawn by `seed` without repeats; from all where there are no more than
/// that. A drawn row is compared with all others, so that its own is exact: in O(rows n d) time. The metric is that of the
/// points; distances in the embedding are Euclidean.
///
/// # Errors
/// As [`trustworthiness`], and where `rows` is below 2.
pub fn sampled_trustworthiness(
    points: ArrayView2<f32>,
    embedding: ArrayView2<f32>,
    k: usize,
    metric: Metric,
    rows: usize,
    seed: u64,
) -> Result<Estimate> {
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
    if rows < 2 {
        let rule = "a sample has at least 2 rows";
        return Err(Error::parameter("the number of rows", rows, rule));
    }
    let points = match metric {
        Metric::Euclidean => points.as_standard_layout(),
        Metric::Cosine => unit_rows(points).into(),
    };
    let embedding = embedding.as_standard_layout();
    let most = k as f64 * (2.0 * n as f64 - 3.0 * k as f64 - 1.0) / 2.0;
    let chosen = draw(n, rows, &mut Stream::new(seed, 7));
    let values: Vec<f64> = chosen
        .par_iter()
        .map_init(
            || vec![(0.0, 0); n],
            |distances, &row| {
                measure(embedding.view(), row, distances);
                distances[row].0 = f64::INFINITY;
                distances.select_nth_unstable_by(k, |a, b| a.partial_cmp(b).expect("no NaN"));
                let near: Vec<usize> = distances[..k].iter().map(|place| place.1).collect();
                measure(points.view(), row, distances);
                let penalty = |&other: &usize| {
                    let place = distances[other];
                    let nearer = distances.iter().filter(|&&it| it.1 != row && it < place);
                    (nearer.count() + 1).saturating_sub(k)
                };
                1.0 - near.iter().map(penalty).sum::<usize>() as f64 / most
            },
        )
        .collect();
    Ok(Estimate::of(&values, n))
}

/// The squared distance of each row from one, and the row.
fn measure(points: ArrayView2<f32>, from: usize, distances: &mut [(f64, usize)]) {
    let slice = |row: usize| points.row(row).to_slice().expect("standard layout");
    vectorize(
        #[inline(always)]
        || {
            for (other, distance) in distances.iter_mut().enumerate() {
                *distance = (squared_distance(slice(from), slice(other)), other);
            }
        },
    );
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
    #[test]
    fn a_sample_is_off_by_about_its_standard_error() {
        let mut random = Stream::new(5, 5);
        let points = Array2::from_shape_fn((600, 6), |_| random.normal() as f32);
        let plane = points.slice(ndarray::s![.., ..2]);
        let sampled = |rows, seed, metric| {
            sampled_trustworthiness(points.view(), plane, 5, metric, rows, seed).unwrap()
        };
        let exact = sampled(600, 0, Metric::Euclidean);
        assert_eq!((exact.standard_error, exact.rows), (0.0, 600));
        assert_eq!(
            trustworthiness(points.view(), plane, 5).unwrap(),
            exact.mean
        );
        let mut squares = 0.0;
        for seed in 0..50 {
            let found = sampled(100, seed, Metric::Euclidean);
            assert_eq!(found.rows, 100);
            squares += ((found.mean - exact.mean) / found.standard_error).powi(2) / 50.0;
        }
        assert!((0.5..2.0).contains(&squares), "{squares}");
    }

    #[test]
    fn the_metric_is_that_of_the_points() {
        // Around a circle, at many distances from its middle: by their angles they are what the embedding says.
        let angle = |i: usize| (i as f32 + 0.3 * (i as f32).sin()) * std::f32::consts::TAU / 100.0;
        let circle = Array2::from_shape_fn((100, 2), |(i, axis)| match axis {
            0 => angle(i).cos(),
            _ => angle(i).sin(),
        });
        let points = Array2::from_shape_fn((100, 2), |(i, axis)| {
            circle[[i, axis]] * (1 + i % 9 * 5) as f32
        });
        let trust = |metric| {
            sampled_trustworthiness(points.view(), circle.view(), 5, metric, 100, 0).unwrap()
        };
        assert!(trust(Metric::Cosine).mean > 0.999);
        assert!(trust(Metric::Euclidean).mean < 0.95);
    }
}
