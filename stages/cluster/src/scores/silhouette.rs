//! The silhouette (Rousseeuw 1987), exact, in O(n² d) time and O(n d) memory.

use ndarray::{Array1, ArrayView1, ArrayView2};
use rayon::prelude::*;

use crate::error::{Result, check_length, check_points};

/// The mean silhouette of labelled points `[n, d]`: -1..1. None where fewer than 2 labels occur, or each row has its own.
///
/// # Errors
/// Where lengths differ, the array is empty, or a value is not finite.
pub fn silhouette(points: ArrayView2<f64>, labels: ArrayView1<i32>) -> Result<Option<f64>> {
    let values = silhouettes(points, labels)?;
    let distinct = distinct(labels).len();
    Ok((distinct >= 2 && distinct < labels.len()).then(|| values.sum() / values.len() as f64))
}

/// The silhouette of each row `[n]`: (b - a) / max(a, b), with a the mean distance to the others of its own label, and b
/// the least mean distance to another label. A row that is alone with its label has 0.
///
/// # Errors
/// As [`silhouette`].
pub fn silhouettes(points: ArrayView2<f64>, labels: ArrayView1<i32>) -> Result<Array1<f64>> {
    check_points(points)?;
    check_length("labels", labels.len(), points.nrows())?;
    let names = distinct(labels);
    let (n, d) = points.dim();
    // Rows by label: the distances to one label's rows are one sum over neighbouring columns.
    let group: Vec<usize> = (labels.iter())
        .map(|label| {
            names
                .binary_search(label)
                .expect("each label is among the distinct ones")
        })
        .collect();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&row| (group[row], row));
    let mut begin = vec![0; names.len() + 1];
    for &g in &group {
        begin[g + 1] += 1;
    }
    for g in 0..names.len() {
        begin[g + 1] += begin[g];
    }
    let mut columns = vec![0.0; n * d];
    for (place, &row) in order.iter().enumerate() {
        for axis in 0..d {
            columns[axis * n + place] = points[[row, axis]];
        }
    }
    let arch = pulp::Arch::new();
    let values: Vec<f64> = (0..n)
        .into_par_iter()
        .with_min_len(16)
        .map(|row| {
            let point = points.row(row).to_vec();
            let own = group[row];
            if begin[own + 1] - begin[own] == 1 || names.len() < 2 {
                return 0.0;
            }
            let mean = |g: usize| {
                let sum = arch.dispatch(
                    #[inline(always)]
                    || sum_of_distances(&columns, n, begin[g], begin[g + 1], &point),
                );
                let others = begin[g + 1] - begin[g] - usize::from(g == own);
                sum / others as f64
            };
            let a = mean(own);
            let b = (0..names.len())
                .filter(|&g| g != own)
                .map(mean)
                .fold(f64::INFINITY, f64::min);
            let larger = a.max(b);
            if larger > 0.0 { (b - a) / larger } else { 0.0 }
        })
        .collect();
    Ok(values.into())
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
    use ndarray::array;

    #[test]
    fn hand_placed_points() {
        let points = array![[0.0], [2.0], [10.0], [12.0], [14.0]];
        let found = silhouettes(points.view(), array![5, 5, -1, -1, -1].view()).unwrap();
        // Row 0: a = 2, b = 12. Row 3: a = 2, b = 11.
        assert!((found[0] - 10.0 / 12.0).abs() < 1e-12);
        assert!((found[3] - 9.0 / 11.0).abs() < 1e-12);
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
