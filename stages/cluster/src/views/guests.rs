//! Where rows would lie that an embedding leaves out: among the kept rows that they resemble most.

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use crate::simd::vectorize;

/// Kept rows in whose middle a row is drawn.
pub(super) const NEAREST: usize = 5;
/// Multiplications that a view may cost: about a second.
const WORK: usize = 4_000_000_000;

/// How many rows can be drawn in the time allowed, in a class that keeps `kept` rows of `features` features, in a data set of
/// `classes` classes.
pub(super) fn affordable(kept: usize, features: usize, classes: usize) -> usize {
    WORK / classes.max(1) / (kept * features).max(1)
}

/// The nearest of `kept` to each of `rows` by their features `[n, d]`: [`NEAREST`] places in `kept`, or all where there are fewer.
pub(super) fn nearest(features: &Array2<f32>, kept: &[usize], rows: &[usize]) -> Vec<Vec<usize>> {
    let of_row = |&row: &usize| {
        let mut found: Vec<(f32, usize)> = Vec::with_capacity(NEAREST + 1);
        for (place, &other) in kept.iter().enumerate() {
            let distance = squared(features.row(row), features.row(other));
            let last = found.last().map_or(f32::INFINITY, |last| last.0);
            if found.len() < NEAREST || distance < last {
                // Of equally near rows the first stays in front.
                let at = found.partition_point(|&(nearer, _)| nearer <= distance);
                found.insert(at, (distance, place));
                found.truncate(NEAREST);
            }
        }
        found.into_iter().map(|(_, place)| place).collect()
    };
    rows.par_iter().map(of_row).collect()
}

/// The squared distance, summed in eight lanes whatever the processor has.
fn squared(a: ArrayView1<f32>, b: ArrayView1<f32>) -> f32 {
    let (Some(a), Some(b)) = (a.as_slice(), b.as_slice()) else {
        return a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
    };
    vectorize(
        #[inline(always)]
        || {
            let mut lanes = [0f32; 8];
            let (parts, others) = (a.chunks_exact(8), b.chunks_exact(8));
            let rest = parts.remainder().iter().zip(others.remainder());
            let rest: f32 = rest.map(|(x, y)| (x - y) * (x - y)).sum();
            for (a, b) in parts.zip(others) {
                for lane in 0..8 {
                    let t = a[lane] - b[lane];
                    lanes[lane] += t * t;
                }
            }
            lanes.iter().sum::<f32>() + rest
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_kept_rows_are_found() {
        // 11 features, so that lanes and a rest are summed.
        let features = Array2::from_shape_fn((40, 11), |(row, _)| row as f32);
        let kept: Vec<usize> = (0..40).filter(|row| row % 2 == 0).collect();
        let found = nearest(&features, &kept, &[9, 1]);
        let rows = |places: &[usize]| places.iter().map(|&place| kept[place]).collect::<Vec<_>>();
        assert_eq!(rows(&found[0]), [8, 10, 6, 12, 4]);
        assert_eq!(rows(&found[1]), [0, 2, 4, 6, 8]);
        assert_eq!(nearest(&features, &[3], &[9]), [[0]]);
        assert_eq!(affordable(20_000, 500, 2), 200);
    }
}
