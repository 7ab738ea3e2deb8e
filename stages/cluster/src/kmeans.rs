//! k-means with k-means++ starts.

use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;

use crate::error::{Error, Result, check_points};
use crate::random::Stream;
use crate::simd::{LANES, lanes, vectorize};

/// k-means: Lloyd's algorithm from several greedy k-means++ starts (Arthur, Vassilvitskii 2007), of which the one of least
/// inertia is kept. In f64; the same for every number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    k: usize,
    starts: usize,
    iterations: usize,
    seed: u64,
}

/// What [`KMeans::fit`] gives. Clusters are numbered by their smallest member row.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// The cluster of each row `[n]`.
    pub labels: Array1<i32>,
    /// The clusters' means `[k, d]`; fewer than k where there are fewer distinct points.
    pub centers: Array2<f64>,
    /// The sum of squared distances to the own center.
    pub inertia: f64,
}

/// Centers that move by less have settled: as a part of the mean variance of the axes, as in scikit-learn.
const TOLERANCE: f64 = 1e-4;

/// Rows that one task handles; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 1024;

impl KMeans {
    /// `k` clusters, 10 starts, at most 300 iterations, seed 42.
    pub fn new(k: usize) -> Self {
        KMeans {
            k,
            starts: 10,
            iterations: 300,
            seed: 42,
        }
    }

    /// The number of starts, 1 or more.
    pub fn starts(mut self, count: usize) -> Self {
        self.starts = count;
        self
    }

    /// The seed of the starts.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Clusters points `[n, d]`.
    ///
    /// # Errors
    /// Where k is 0 or above n, there are no starts, the array is empty, or a value is not finite.
    pub fn fit(&self, points: ArrayView2<f64>) -> Result<Partition> {
        self.fit_with(points, &|_| {})
    }

    /// Like [`KMeans::fit`]; calls `progress` with each further part of the work that is done, all of it being 1.
    ///
    /// # Errors
    /// As [`KMeans::fit`].
    pub fn fit_with(
        &self,
        points: ArrayView2<f64>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Partition> {
        check_points(points)?;
        if self.k == 0 || self.k > points.nrows() {
            let rule = "it has to be at least 1 and at most the number of rows";
            return Err(Error::parameter("k", self.k, rule));
        }
        if self.starts == 0 {
            return Err(Error::parameter("starts", 0, "it has to be at least 1"));
        }
        let points = points.as_standard_layout();
        let rows = Rows::new(points.as_slice().expect("standard layout"), points.ncols());
        let settled = TOLERANCE * rows.mean_variance();
        let runs: Vec<Run> = (0..self.starts as u64)
            .into_par_iter()
            .map(|start| {
                let run = self.run(&rows, settled, &mut Stream::new(self.seed, start));
                progress(1.0 / self.starts as f64);
                run
            })
            .collect();
        let best = runs
            .into_iter()
            .reduce(|best, run| {
                if run.inertia < best.inertia {
                    run
                } else {
                    best
                }
            })
            .expect("there is a start");
        Ok(best.canonical(rows.d))
    }

    /// One start, until the centers move by `settled` or less, as the sum of squares.
    fn run(&self, rows: &Rows, settled: f64, random: &mut Stream) -> Run {
        let mut centers = plus_plus(rows, self.k, random);
        let mut assigned = rows.assign(&centers);
        for _ in 0..self.iterations {
            let next = rows.means(&assigned, &centers);
            let moved = (next.iter().zip(&centers))
                .map(|(a, b)| (a - b) * (a - b))
                .sum::<f64>();
            centers = next;
            assigned = rows.assign(&centers);
            if moved <= settled {
                break;
            }
        }
        Run {
            inertia: rows.sum(|row| assigned[row].1),
            labels: assigned.into_iter().map(|(label, _)| label).collect(),
            centers,
        }
    }
}

struct Run {
    labels: Vec<u32>,
    centers: Vec<f64>,
    inertia: f64,
}

impl Run {
    /// Numbers clusters by their first row and drops those without a row.
    fn canonical(self, d: usize) -> Partition {
        let mut number = vec![-1; self.centers.len() / d];
        let mut order = Vec::new();
        let labels = (self.labels.iter())
            .map(|&label| {
                let number = &mut number[label as usize];
                if *number < 0 {
                    *number = order.len() as i32;
                    order.push(label as usize);
                }
                *number
            })
            .collect();
        Partition {
            labels,
            centers: Array2::from_shape_fn((order.len(), d), |(i, j)| {
                self.centers[order[i] * d + j]
            }),
            inertia: self.inertia,
        }
    }
}

struct Rows<'a> {
    values: &'a [f64],
    d: usize,
    /// Coordinates, as [`lanes`] lays them out.
    columns: Vec<[f64; LANES]>,
}

/// Centers that [`LANES`] rows are compared with at once.
const CENTERS: usize = 4;

impl<'a> Rows<'a> {
    fn new(values: &'a [f64], d: usize) -> Self {
        Rows {
            values,
            d,
            columns: lanes(values, d),
        }
    }

    fn len(&self) -> usize {
        self.values.len() / self.d
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.d..(row + 1) * self.d]
    }

    /// The nearest center of each row (the first among equal ones), and the squared distance to it.
    fn assign(&self, centers: &[f64]) -> Vec<(u32, f64)> {
        let mut assigned = vec![(0, f64::INFINITY); self.len()];
        (assigned
            .par_chunks_mut(LANES)
            .zip(self.columns.par_chunks(self.d)))
        .with_min_len(8)
        .for_each(|(best, columns)| {
            vectorize(
                #[inline(always)]
                || {
                    for (part, four) in centers.chunks(CENTERS * self.d).enumerate() {
                        let count = four.len() / self.d;
                        // Where fewer are left, the last one fills the places and is not looked at again.
                        let center = |i: usize| &four[i.min(count - 1) * self.d..][..self.d];
                        let distances = squares(columns, [0, 1, 2, 3].map(center));
                        for (i, distances) in distances[..count].iter().enumerate() {
                            for (best, &distance) in best.iter_mut().zip(distances) {
                                if distance < best.1 {
                                    *best = ((part * CENTERS + i) as u32, distance);
                                }
                            }
                        }
                    }
                },
            );
        });
        assigned
    }

    /// Lowers what is known of each row's squared distance to the nearest center, by one more center.
    fn near(&self, center: &[f64], nearest: &mut [f64]) {
        (nearest
            .par_chunks_mut(LANES)
            .zip(self.columns.par_chunks(self.d)))
        .with_min_len(32)
        .for_each(|(nearest, columns)| {
            vectorize(
                #[inline(always)]
                || {
                    let [distances] = squares(columns, [center]);
                    for (nearest, distance) in nearest.iter_mut().zip(distances) {
                        *nearest = nearest.min(distance);
                    }
                },
            );
        });
    }

    /// The mean over the axes of the rows' variance.
    fn mean_variance(&self) -> f64 {
        let n = self.len() as f64;
        let mut means = vec![0.0; self.d];
        for row in self.values.chunks_exact(self.d) {
            means
                .iter_mut()
                .zip(row)
                .for_each(|(mean, x)| *mean += x / n);
        }
        let mut sum = 0.0;
        for row in self.values.chunks_exact(self.d) {
            sum += row
                .iter()
                .zip(&means)
                .map(|(x, m)| (x - m) * (x - m))
                .sum::<f64>();
        }
        sum / n / self.d as f64
    }

    /// The means of the assigned rows. A center without rows moves to the row that is farthest from its own.
    fn means(&self, assigned: &[(u32, f64)], centers: &[f64]) -> Vec<f64> {
        let k = centers.len() / self.d;
        let parts: Vec<(Vec<f64>, Vec<u64>)> = (assigned.par_chunks(ROWS).enumerate())
            .map(|(chunk, part)| {
                let (mut sums, mut counts) = (vec![0.0; centers.len()], vec![0; k]);
                for (i, &(label, _)) in part.iter().enumerate() {
                    let label = label as usize;
                    counts[label] += 1;
                    let sum = &mut sums[label * self.d..(label + 1) * self.d];
                    sum.iter_mut()
                        .zip(self.row(chunk * ROWS + i))
                        .for_each(|(s, x)| *s += x);
                }
                (sums, counts)
            })
            .collect();
        let (mut means, mut counts) = (vec![0.0; centers.len()], vec![0u64; k]);
        for (sums, part) in parts {
            means
                .iter_mut()
                .zip(sums)
                .for_each(|(mean, sum)| *mean += sum);
            counts
                .iter_mut()
                .zip(part)
                .for_each(|(count, c)| *count += c);
        }
        let mut far: Vec<usize> = Vec::new();
        if counts.contains(&0) {
            far = (0..assigned.len())
                .filter(|&row| assigned[row].1 > 0.0)
                .collect();
            far.sort_by(|&a, &b| assigned[a].1.total_cmp(&assigned[b].1).then(b.cmp(&a)));
        }
        for (i, &count) in counts.iter().enumerate() {
            let mean = &mut means[i * self.d..(i + 1) * self.d];
            if count > 0 {
                mean.iter_mut().for_each(|x| *x /= count as f64);
            } else if let Some(row) = far.pop() {
                mean.copy_from_slice(self.row(row));
            } else {
                mean.copy_from_slice(&centers[i * self.d..(i + 1) * self.d]);
            }
        }
        means
    }

    /// A sum over rows in a fixed order.
    fn sum(&self, of: impl Fn(usize) -> f64) -> f64 {
        (0..self.len()).map(of).sum()
    }
}

/// Centers drawn one by one, each with chances in proportion to the squared distance from the nearest one so far; of
/// 2 + ln k draws the one that leaves the least sum of these distances, as scikit-learn does.
fn plus_plus(rows: &Rows, k: usize, random: &mut Stream) -> Vec<f64> {
    let draws = 2 + libm::log(k as f64) as usize;
    let mut centers = rows.row(random.below(rows.len())).to_vec();
    let mut nearest = vec![f64::INFINITY; rows.len()];
    rows.near(&centers, &mut nearest);
    let mut total = rows.sum(|row| nearest[row]);
    // With fewer distinct points than centers, each has its own at some time, and nothing is left.
    while centers.len() < k * rows.d && total > 0.0 {
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for _ in 0..draws {
            let row = draw(&nearest, total, random);
            let mut then = nearest.clone();
            rows.near(rows.row(row), &mut then);
            let sum = rows.sum(|row| then[row]);
            if best.as_ref().is_none_or(|best| sum < best.0) {
                best = Some((sum, row, then));
            }
        }
        let (sum, row, then) = best.expect("there is a draw");
        centers.extend_from_slice(rows.row(row));
        (total, nearest) = (sum, then);
    }
    centers
}

/// A row, with chances in proportion to its weight. The weights are not all 0.
fn draw(weights: &[f64], total: f64, random: &mut Stream) -> usize {
    let mut left = random.unit() * total;
    let mut chosen = 0;
    for (row, &weight) in weights.iter().enumerate().filter(|one| *one.1 > 0.0) {
        chosen = row;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    chosen
}

/// The squared distances of some rows from some centers, each summed up in the order of the axes.
#[inline(always)]
fn squares<const C: usize>(columns: &[[f64; LANES]], centers: [&[f64]; C]) -> [[f64; LANES]; C] {
    let mut sums = [[0.0; LANES]; C];
    for (axis, column) in columns.iter().enumerate() {
        for (sums, center) in sums.iter_mut().zip(centers) {
            for (sum, x) in sums.iter_mut().zip(column) {
                let t = x - center[axis];
                *sum += t * t;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn clear_clusters_are_found_and_numbered_by_their_first_row() {
        let points = array![[9.0], [0.0], [9.5], [0.5], [50.0]];
        let found = KMeans::new(3).fit(points.view()).unwrap();
        assert_eq!(found.labels, array![0, 1, 0, 1, 2]);
        assert_eq!(found.centers, array![[9.25], [0.25], [50.0]]);
        assert!((found.inertia - 0.25).abs() < 1e-12);
    }

    #[test]
    fn equal_points_are_one_cluster_and_k_is_checked() {
        let points = Array2::<f64>::ones((4, 2));
        assert_eq!(
            KMeans::new(3).fit(points.view()).unwrap().centers.nrows(),
            1
        );
        assert!(KMeans::new(0).fit(points.view()).is_err());
        assert!(KMeans::new(5).fit(points.view()).is_err());
    }
}
