//! Nearest neighbours: exact, or approximate where there are many rows.
//!
//! - `exact`: blocked matrix products
//! - `descent`: a forest of random projections and NN-descent

mod descent;
mod exact;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::random::Stream;
use crate::simd::vectorize;

/// How far two rows are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The length of the difference.
    Euclidean,
    /// 1 - cosine of the angle: 0..2. Rows of zeros are at distance 0 from each other and 1 from all others.
    Cosine,
}

/// How neighbours are searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Exact up to [`EXACT_ROWS`] rows; beyond, approximate where that finds [`LEAST_RECALL`] of the neighbours, and else
    /// exact after all.
    Auto,
    /// All pairs are compared: O(n² d).
    Exact,
    /// NN-descent, whatever it finds: about O(n^1.2 d).
    Approximate,
}

/// Rows up to which [`Search::Auto`] is exact.
pub const EXACT_ROWS: usize = 100_000;
/// The part of the true neighbours that [`Search::Auto`] wants to be found, as measured on a sample of the rows.
pub const LEAST_RECALL: f64 = 0.99;
/// Rows whose true neighbours are looked up to measure the recall.
const RECALL_ROWS: usize = 256;

/// The nearest others of each row, nearest first; equal distances by row.
pub(crate) struct Neighbours {
    /// Neighbours of each row.
    pub k: usize,
    /// `[n, k]`
    pub index: Vec<u32>,
    /// `[n, k]`
    pub distance: Vec<f64>,
}

/// Finds the `k` nearest others of each row of finite points `[n, d]`; `k` is at most n - 1. An approximate search draws
/// from `seed`, and its recall, measured on a sample, is returned beside; none after an exact one that was not preceded
/// by it. `progress` is called with each further part of the work that is done, all of it being about 1.
pub(crate) fn search(
    points: ArrayView2<f32>,
    k: usize,
    metric: Metric,
    search: Search,
    seed: u64,
    progress: &(dyn Fn(f64) + Sync),
) -> (Neighbours, Option<f64>) {
    let points = match metric {
        Metric::Euclidean => points.as_standard_layout().into_owned(),
        Metric::Cosine => unit_rows(points),
    };
    let n = points.nrows();
    let approximate = match search {
        Search::Auto => n > EXACT_ROWS,
        Search::Exact => false,
        Search::Approximate => true,
    };
    let mut measured = None;
    let mut found = None;
    if approximate && n >= descent::least_rows(k) {
        let part = if search == Search::Auto { 0.5 } else { 1.0 };
        let candidate = descent::nearest(&points, k, seed, &|done| progress(part * done));
        let recall = recall(&points, &candidate, seed);
        measured = Some(recall);
        if search == Search::Approximate || recall >= LEAST_RECALL {
            progress(1.0 - part);
            found = Some(candidate);
        }
    }
    let part = if measured.is_some() { 0.5 } else { 1.0 };
    let mut found =
        found.unwrap_or_else(|| exact::nearest(&points, k, &|done| progress(part * done)));
    found.measure(metric);
    (found, measured)
}

/// Finds the `k` nearest of finite points `[n, d]` to each of `rows` `[m, d]`, exactly; `k` is at most n. `progress` is called
/// with each further part of the work that is done, all of it being about 1.
pub(crate) fn among(
    points: ArrayView2<f32>,
    rows: ArrayView2<f32>,
    k: usize,
    metric: Metric,
    progress: &(dyn Fn(f64) + Sync),
) -> Neighbours {
    let laid = |array: ArrayView2<f32>| match metric {
        Metric::Euclidean => array.as_standard_layout().into_owned(),
        Metric::Cosine => unit_rows(array),
    };
    let mut found = exact::nearest_among(&laid(points), &laid(rows), k, progress);
    found.measure(metric);
    found
}

impl Neighbours {
    /// Makes distances of squared Euclidean ones.
    fn measure(&mut self, metric: Metric) {
        for distance in &mut self.distance {
            *distance = match metric {
                Metric::Euclidean => distance.sqrt(),
                Metric::Cosine => *distance / 2.0,
            };
        }
    }
}

/// The part of the true neighbours that were found, of a sample of rows. Others at the same distance are as good.
fn recall(points: &Array2<f32>, found: &Neighbours, seed: u64) -> f64 {
    let (n, k) = (points.nrows(), found.k);
    let mut random = Stream::new(seed, 5);
    let rows: Vec<usize> = (0..RECALL_ROWS.min(n)).map(|_| random.below(n)).collect();
    let slice = |row: usize| points.row(row).to_slice().expect("standard layout");
    let right: Vec<usize> = rows
        .par_iter()
        .map(|&row| {
            let mut distances = vec![f64::INFINITY; n];
            vectorize(
                #[inline(always)]
                || {
                    for (other, distance) in distances.iter_mut().enumerate() {
                        if other != row {
                            *distance = squared_distance(slice(row), slice(other));
                        }
                    }
                },
            );
            let farthest = *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1;
            (found.distance[row * k..(row + 1) * k].iter())
                .filter(|&&distance| distance <= farthest)
                .count()
        })
        .collect();
    right.iter().sum::<usize>() as f64 / (rows.len() * k) as f64
}

/// Rows of length 1, with one more column that is 1 for rows of zeros alone: half the squared distance of two rows is
/// then their cosine distance, in every case.
pub(crate) fn unit_rows(points: ArrayView2<f32>) -> Array2<f32> {
    let (n, d) = points.dim();
    let mut unit = Array2::zeros((n, d + 1));
    for (mut into, row) in unit.outer_iter_mut().zip(points.outer_iter()) {
        let length = row
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt();
        if length == 0.0 {
            into[d] = 1.0;
            continue;
        }
        for (into, &x) in into.iter_mut().zip(row) {
            *into = (f64::from(x) / length) as f32;
        }
    }
    unit
}

/// In eight lanes of f64, whose order of summation no machine changes.
#[inline(always)]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            let t = f64::from(a[lane]) - f64::from(b[lane]);
            lanes[lane] += t * t;
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        let t = f64::from(a) - f64::from(b);
        lanes[lane] += t * t;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn nearest(points: ArrayView2<f32>, k: usize, metric: Metric) -> Neighbours {
        search(points, k, metric, Search::Exact, 0, &|_| {}).0
    }

    fn brute(points: &Array2<f32>, k: usize) -> Vec<u32> {
        let n = points.nrows();
        let slice = |i: usize| points.row(i).to_vec();
        let mut all = Vec::new();
        for i in 0..n {
            let mut others: Vec<(f64, u32)> = (0..n)
                .filter(|&j| j != i)
                .map(|j| (squared_distance(&slice(i), &slice(j)), j as u32))
                .collect();
            others.sort_by(|a, b| a.partial_cmp(b).unwrap());
            all.extend(others[..k].iter().map(|o| o.1));
        }
        all
    }

    #[test]
    fn neighbours_are_those_of_brute_force_with_ties_outliers_and_offsets() {
        // Integers make many equal distances; the offset makes products round.
        for (offset, far) in [(0.0, 0.0), (4096.0, 0.0), (0.0, 1e7)] {
            let mut points = Array2::from_shape_fn((700, 3), |(i, j)| {
                ((i * 7919 + j * 104_729) % 23) as f32 + offset + (i % 7) as f32 * 0.01
            });
            points[[650, 1]] += far;
            assert_eq!(
                nearest(points.view(), 12, Metric::Euclidean).index,
                brute(&points, 12)
            );
        }
    }

    #[test]
    fn neighbours_among_other_points_are_those_of_brute_force() {
        for (offset, far) in [(0.0, 0.0), (4096.0, 1e7)] {
            let of = |i: usize, j: usize| {
                ((i * 7919 + j * 104_729) % 23) as f32 + offset + (i % 7) as f32 * 0.01
            };
            let points = Array2::from_shape_fn((700, 3), |(i, j)| of(i, j));
            let mut rows = Array2::from_shape_fn((300, 3), |(i, j)| of(i * 3 + 1, j) + 0.5);
            rows[[7, 1]] += far;
            let slice = |array: &Array2<f32>, i: usize| array.row(i).to_vec();
            for k in [12, 700] {
                let mut wanted = Vec::new();
                for i in 0..rows.nrows() {
                    let mut all: Vec<(f64, u32)> = (0..700)
                        .map(|j| {
                            (
                                squared_distance(&slice(&rows, i), &slice(&points, j)),
                                j as u32,
                            )
                        })
                        .collect();
                    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
                    wanted.extend(all[..k].iter().map(|to| to.1));
                }
                let metric = Metric::Euclidean;
                let found = among(points.view(), rows.view(), k, metric, &|_| {});
                assert!(found.index == wanted, "{offset} {k}");
            }
        }
    }

    #[test]
    fn equal_points_are_neighbours_by_row() {
        let found = nearest(Array2::zeros((600, 2)).view(), 3, Metric::Euclidean);
        assert_eq!(found.index[..6], [1, 2, 3, 0, 2, 3]);
        assert_eq!(found.distance[0], 0.0);
    }

    #[test]
    fn cosine_looks_at_the_angle_and_knows_zero_rows() {
        let points = array![
            [1f32, 0.0],
            [5.0, 0.0],
            [0.0, 3.0],
            [0.0, 0.0],
            [0.0, 0.0],
            [-2.0, 0.0]
        ];
        let found = nearest(points.view(), 2, Metric::Cosine);
        let row = |i: usize| {
            (
                &found.index[2 * i..2 * i + 2],
                &found.distance[2 * i..2 * i + 2],
            )
        };
        assert_eq!(row(0), (&[1u32, 2][..], &[0.0, 1.0][..]));
        assert_eq!(row(3), (&[4u32, 0][..], &[0.0, 1.0][..]));
        assert_eq!(row(5), (&[2u32, 3][..], &[1.0, 1.0][..]));
    }

    /// Clumps along curves in 24 columns, as features of a network lie.
    fn clumps(n: usize) -> Array2<f32> {
        let mut random = Stream::new(1, 1);
        let centers: Vec<f64> = (0..20 * 24).map(|_| random.normal()).collect();
        let mut points = Array2::zeros((n, 24));
        for mut row in points.outer_iter_mut() {
            let center = random.below(20) * 24;
            let along = random.normal();
            for (axis, x) in row.iter_mut().enumerate() {
                let bend = along * f64::from(axis as u32 % 5 + 1) / 5.0;
                *x = (centers[center + axis] + bend + 0.2 * random.normal()) as f32;
            }
        }
        points
    }

    #[test]
    fn the_approximate_search_finds_nearly_all_and_knows_how_many() {
        let points = clumps(6000);
        let exact = nearest(points.view(), 30, Metric::Euclidean);
        let (found, recall) = search(
            points.view(),
            30,
            Metric::Euclidean,
            Search::Approximate,
            7,
            &|_| {},
        );
        let right = (0..6000)
            .flat_map(|row| {
                let exact = &exact.index[row * 30..(row + 1) * 30];
                let found = &found.index[row * 30..(row + 1) * 30];
                found.iter().filter(move |other| exact.contains(other))
            })
            .count() as f64
            / (6000.0 * 30.0);
        assert!(right >= LEAST_RECALL, "{right}");
        assert!(
            (recall.unwrap() - right).abs() < 0.005,
            "{recall:?} {right}"
        );
        assert!(found.distance.chunks(30).all(|row| row.is_sorted()));
    }

    #[test]
    fn the_approximate_search_is_the_same_for_any_number_of_threads() {
        let mut points = clumps(3000);
        // Many equal rows: their order is that of the rows.
        for row in 0..300 {
            points.row_mut(row).fill(0.0);
        }
        let mut first = None;
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let (found, recall) = pool.install(|| {
                search(
                    points.view(),
                    15,
                    Metric::Cosine,
                    Search::Approximate,
                    7,
                    &|_| {},
                )
            });
            let found = (found.index, found.distance, recall);
            assert!(
                *first.get_or_insert_with(|| found.clone()) == found,
                "{threads} threads"
            );
        }
    }

    #[test]
    fn a_few_rows_are_searched_exactly_whatever_is_asked_for() {
        let points = clumps(300);
        let (found, recall) = search(
            points.view(),
            30,
            Metric::Euclidean,
            Search::Approximate,
            7,
            &|_| {},
        );
        assert_eq!(recall, None);
        assert_eq!(found.index, brute(&points, 30));
    }
}
