//! The silhouette (Rousseeuw 1987) of all rows or of a sample, in O(n d) memory.

use ndarray::{Array1, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::sample::{Estimate, draw};
use crate::error::{Error, Result, check_length, check_points};
use crate::random::Stream;
use crate::simd::vectorize;

/// The mean silhouette of labelled points `[n, d]`: -1..1. None where fewer than 2 labels occur, or each row has its own.
///
/// # Errors
/// Where lengths differ, the array is empty, or a value is not finite.
pub fn silhouette(points: ArrayView2<f64>, labels: ArrayView1<i32>) -> Result<Option<f64>> {
    let found = sampled_silhouette(points, labels, usize::MAX, 0, &|_| {})?;
    Ok(found.map(|found| found.mean))
}

/// The mean silhouette as estimated from `rows` rows, drawn by `seed` without repeats; from all where there are no more
/// than that. A drawn row is compared with all points, so that its own silhouette is exact and the mean is unbiased: in
/// O(rows n d) time. `progress` is called with each further part of the work that is done, all of it being 1.
///
/// # Errors
/// As [`silhouette`], and where `rows` is below 2.
pub fn sampled_silhouette(
    points: ArrayView2<f64>,
    labels: ArrayView1<i32>,
    rows: usize,
    seed: u64,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Option<Estimate>> {
    let found = sampled_silhouettes(points, labels, rows, seed, progress)?;
    Ok(found.map(|(_, values)| Estimate::of(&values, points.nrows())))
}

/// The rows that [`sampled_silhouette`] draws, ascending, and the silhouette of each. None where it gives none.
///
/// # Errors
/// As [`sampled_silhouette`].
pub(crate) fn sampled_silhouettes(
    points: ArrayView2<f64>,
    labels: ArrayView1<i32>,
    rows: usize,
    seed: u64,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Option<(Vec<usize>, Vec<f64>)>> {
    if rows < 2 {
        let rule = "a sample has at least 2 rows";
        return Err(Error::parameter("the number of rows", rows, rule));
    }
    let groups = Groups::new(points, labels)?;
    let n = points.nrows();
    if groups.count() < 2 || groups.count() == n {
        progress(1.0);
        return Ok(None);
    }
    let chosen = draw(n, rows, &mut Stream::new(seed, 6));
    let values = groups.silhouettes(points, &chosen, progress);
    Ok(Some((chosen, values)))
}

/// The silhouette of each row `[n]`: (b - a) / max(a, b), with a the mean distance to the others of its own label, and b
/// the least mean distance to another label. A row that is alone with its label has 0.
///
/// # Errors
/// As [`silhouette`].
pub fn silhouettes(points: ArrayView2<f64>, labels: ArrayView1<i32>) -> Result<Array1<f64>> {
    let groups = Groups::new(points, labels)?;
    let rows: Vec<usize> = (0..points.nrows()).collect();
    Ok(groups.silhouettes(points, &rows, &|_| {}).into())
}

/// Points by label: the distances to one label's points are one sum over neighbouring columns.
struct Groups {
    /// The label of each row, as a place among the distinct ones.
    of: Vec<usize>,
    /// Where each label's points begin, and the end.
    begin: Vec<usize>,
    /// Coordinates, axis by axis, `[d, n]`.
    columns: Vec<f64>,
}

impl Groups {
    fn new(points: ArrayView2<f64>, labels: ArrayView1<i32>) -> Result<Self> {
        check_points(points)?;
        check_length("labels", labels.len(), points.nrows())?;
        let names = distinct(labels);
        let (n, d) = points.dim();
        let of: Vec<usize> = (labels.iter())
            .map(|label| {
                names
                    .binary_search(label)
                    .expect("each label is among the distinct ones")
            })
            .collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&row| (of[row], row));
        let mut begin = vec![0; names.len() + 1];
        for &group in &of {
            begin[group + 1] += 1;
        }
        for group in 0..names.len() {
            begin[group + 1] += begin[group];
        }
        let mut columns = vec![0.0; n * d];
        for (place, &row) in order.iter().enumerate() {
            for axis in 0..d {
                columns[axis * n + place] = points[[row, axis]];
            }
        }
        Ok(Groups { of, begin, columns })
    }

    fn count(&self) -> usize {
        self.begin.len() - 1
    }

    /// The silhouettes of some rows.
    fn silhouettes(
        &self,
        points: ArrayView2<f64>,
        rows: &[usize],
        progress: &(dyn Fn(f64) + Sync),
    ) -> Vec<f64> {
        let parts: Vec<Vec<f64>> = rows
            .par_chunks(64)
            .map(|part| {
                let found = (part.iter())
                    .map(|&row| {
                        let point = points.row(row).to_vec();
                        vectorize(
                            #[inline(always)]
                            || self.silhouette(&point, self.of[row]),
                        )
                    })
                    .collect();
                progress(part.len() as f64 / rows.len() as f64);
                found
            })
            .collect();
        parts.concat()
    }

    /// The silhouette of a point of the group `own`.
    #[inline(always)]
    fn silhouette(&self, point: &[f64], own: usize) -> f64 {
        if self.begin[own + 1] - self.begin[own] == 1 || self.count() < 2 {
            return 0.0;
        }
        let (mut a, mut b) = (0.0, f64::INFINITY);
        for group in 0..self.count() {
            let (from, to) = (self.begin[group], self.begin[group + 1]);
            let sum = sum_of_distances(&self.columns, self.of.len(), from, to, point);
            let mean = sum / (to - from - usize::from(group == own)) as f64;
            if group == own {
                a = mean;
            } else if mean < b {
                b = mean;
            }
        }
        let larger = if a > b { a } else { b };
        if larger > 0.0 { (b - a) / larger } else { 0.0 }
    }
}

fn distinct(labels: ArrayView1<i32>) -> Vec<i32> {
    let mut names = labels.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

const BLOCK: usize = 64;

/// The sum of distances from `point` to the places `from..to`, whose coordinates lie axis by axis. Added up in eight
/// lanes: the same on every machine.
#[inline(always)]
fn sum_of_distances(columns: &[f64], n: usize, from: usize, to: usize, point: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let mut squares = [0.0; BLOCK];
    let mut at = from;
    while at < to {
        let m = BLOCK.min(to - at);
        squares.fill(0.0);
        for (axis, &x) in point.iter().enumerate() {
            let column = &columns[axis * n + at..axis * n + at + m];
            for (square, &y) in squares[..m].iter_mut().zip(column) {
                let t = x - y;
                *square += t * t;
            }
        }
        for eight in squares.as_chunks::<8>().0 {
            for lane in 0..8 {
                lanes[lane] += eight[lane].sqrt();
            }
        }
        at += m;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn hand_placed_points() {
        let points = array![[0.0], [2.0], [10.0], [12.0], [14.0]];
        let found = silhouettes(points.view(), array![5, 5, -1, -1, -1].view()).unwrap();
        // Row 0: a = 2, b = 12. Row 3: a = 2, b = 11.
        assert!((found[0] - 10.0 / 12.0).abs() < 1e-12);
        assert!((found[3] - 9.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn a_sample_is_off_by_about_its_standard_error() {
        // Two broad clumps that touch: silhouettes spread widely.
        let mut random = Stream::new(3, 3);
        let labels: Array1<i32> = (0..3000).map(|i| i % 2).collect();
        let points = Array2::from_shape_fn((3000, 2), |(i, axis)| {
            random.normal()
                + if axis == 0 {
                    f64::from(labels[i]) * 2.0
                } else {
                    0.0
                }
        });
        let exact = silhouette(points.view(), labels.view()).unwrap().unwrap();
        let mut squares = 0.0;
        for seed in 0..50 {
            let found = sampled_silhouette(points.view(), labels.view(), 300, seed, &|_| {});
            let found = found.unwrap().unwrap();
            assert_eq!(found.rows, 300);
            squares += ((found.mean - exact) / found.standard_error).powi(2) / 50.0;
        }
        assert!((0.5..2.0).contains(&squares), "{squares}");
        let whole = sampled_silhouette(points.view(), labels.view(), 3000, 1, &|_| {});
        let whole = whole.unwrap().unwrap();
        assert_eq!((whole.mean, whole.standard_error), (exact, 0.0));
        assert!(sampled_silhouette(points.view(), labels.view(), 1, 1, &|_| {}).is_err());
    }

    #[test]
    fn one_label_and_lonely_rows_and_equal_points_are_no_trouble() {
        let points = array![[1.0], [1.0], [1.0]];
        assert_eq!(
            silhouette(points.view(), array![0, 0, 0].view()).unwrap(),
            None
        );
        assert_eq!(
            silhouette(points.view(), array![0, 1, 2].view()).unwrap(),
            None
        );
        assert_eq!(
            silhouette(points.view(), array![0, 0, 1].view()).unwrap(),
            Some(0.0)
        );
        assert!(silhouette(points.view(), array![0, 1].view()).is_err());
    }
}
