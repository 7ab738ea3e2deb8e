//! New points in an embedding: umap-learn's `transform`, as it is for one row by itself.
//!
//! umap-learn compares the weights of all rows that are placed at once, and takes fewer epochs for many: a row's place
//! depends on those beside it. Here each row is placed by itself, and all draw the same negative samples.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::layout::{CLIP, NEGATIVES, Tables, difference};
use super::{Umap, curve, graph};
use crate::error::{Error, Result, check_length, check_points};
use crate::knn;
use crate::random::Stream;
use crate::simd::vectorize;

/// Epochs in which a new point moves.
const EPOCHS: usize = 100;
/// The rate of the first epoch, of that by which the training points were moved.
const RATE: f32 = 0.25;
/// The stream that negative samples are drawn from.
const STREAM: u64 = 6;
/// The part of the work that the search for neighbours is about.
const SEARCH_PART: f64 = 0.7;

/// Points and their places in an embedding: what it takes to place new ones.
#[derive(Debug, Clone, PartialEq)]
pub struct UmapModel {
    umap: Umap,
    points: Array2<f32>,
    places: Array2<f32>,
}

impl Umap {
    /// The model of points `[n, d]` and the places `[n, components]` that [`Umap::fit`] with these parameters has given them.
    ///
    /// # Errors
    /// Where a parameter is out of range, an array is empty or not finite, or they don't fit each other.
    pub fn model(&self, points: Array2<f32>, places: Array2<f32>) -> Result<UmapModel> {
        self.check()?;
        check_points(points.view())?;
        check_points(places.view())?;
        check_length("the embedding", places.nrows(), points.nrows())?;
        if places.ncols() != self.components {
            let rule = "the embedding has another number of columns";
            return Err(Error::parameter("n_components", self.components, rule));
        }
        Ok(UmapModel {
            umap: self.clone(),
            points: points.as_standard_layout().into_owned(),
            places: places.as_standard_layout().into_owned(),
        })
    }
}

impl UmapModel {
    /// The points that the model was made from, `[n, d]`.
    pub fn points(&self) -> ArrayView2<'_, f32> {
        self.points.view()
    }

    /// Places rows `[m, d]` among the model's points; returns the places `[m, components]`, and for each row the point at
    /// distance 0, the first of them, where there is one: the row has its place. A row's place depends on the model
    /// and that row alone. Neighbours are exact. `progress` is called with each further part of the work that is done, all of
    /// it being about 1.
    ///
    /// # Errors
    /// Where the rows have another number of columns than the model's points, or a value is not finite.
    pub fn transform(
        &self,
        rows: ArrayView2<f32>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<(Array2<f32>, Vec<Option<usize>>)> {
        if rows.nrows() > 0 {
            check_points(rows)?;
        }
        let (n, d) = self.points.dim();
        if rows.ncols() != d {
            return Err(Error::Columns {
                got: rows.ncols(),
                wanted: d,
            });
        }
        let k = self.umap.neighbourhood(n).min(n);
        let search = &|part| progress(SEARCH_PART * part);
        let near = knn::among(self.points.view(), rows, k, self.umap.metric, search);
        let equals = (near.index.chunks(k).zip(near.distance.chunks(k)))
            .map(|(index, distance)| (distance[0] == 0.0).then_some(index[0] as usize))
            .collect();
        let mut places = Array2::zeros((rows.nrows(), self.umap.components));
        match self.umap.components {
            0..=2 => self.place::<2>(&near, &mut places),
            3..=4 => self.place::<4>(&near, &mut places),
            5..=8 => self.place::<8>(&near, &mut places),
            9..=16 => self.place::<16>(&near, &mut places),
            _ => self.place::<64>(&near, &mut places),
        }
        progress(1.0 - SEARCH_PART);
        Ok((places, equals))
    }

    fn place<const L: usize>(&self, near: &knn::Neighbours, into: &mut Array2<f32>) {
        let dim = self.umap.components;
        let wide = |row: usize| {
            let mut place = [0f32; L];
            let own = self.places.row(row);
            place[..dim].copy_from_slice(own.to_slice().expect("standard layout"));
            place
        };
        let points: Vec<[f32; L]> = (0..self.places.nrows()).map(wide).collect();
        let tables = Tables::new(curve::fit(self.umap.min_dist));
        (into.axis_iter_mut(Axis(0)).into_par_iter())
            .zip(near.index.par_chunks(near.k))
            .zip(near.distance.par_chunks(near.k))
            .for_each(|((mut row, index), distances)| {
                let mut place = points[index[0] as usize];
                if distances[0] > 0.0 {
                    let weights = graph::weights_of_new(distances);
                    place = start(&points, index, &weights);
                    vectorize(
                        #[inline(always)]
                        || {
                            let random = Stream::new(self.umap.seed, STREAM);
                            settle(&mut place, &points, index, &weights, &tables, random);
                        },
                    );
                }
                row.iter_mut().zip(place).for_each(|(into, x)| *into = x);
            });
    }
}

/// The mean of the neighbours' places by weight; the place of one of weight 1, where there is one.
fn start<const L: usize>(points: &[[f32; L]], index: &[u32], weights: &[f32]) -> [f32; L] {
    if let Some(same) = weights.iter().position(|&weight| weight == 1.0) {
        return points[index[same] as usize];
    }
    let sum: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut place = [0f32; L];
    for (lane, into) in place.iter_mut().enumerate() {
        let along = index
            .iter()
            .zip(weights)
            .map(|(&i, &weight)| f64::from(weight) * f64::from(points[i as usize][lane]));
        *into = (along.sum::<f64>() / sum) as f32;
    }
    place
}

/// Moves a place by the gradient of its edges, while the points stay where they are.
#[inline(always)]
fn settle<const L: usize>(
    place: &mut [f32; L],
    points: &[[f32; L]],
    index: &[u32],
    weights: &[f32],
    tables: &Tables,
    mut random: Stream,
) {
    let heaviest = weights.iter().copied().fold(0.0, f32::max);
    let mut edges: Vec<(u32, f32, f32)> = (index.iter().zip(weights))
        .filter(|&(_, &weight)| weight >= heaviest / EPOCHS as f32)
        .map(|(&point, &weight)| (point, heaviest / weight, heaviest / weight))
        .collect();
    for epoch in 1..EPOCHS {
        let rate = RATE * (1.0 - (epoch - 1) as f32 / EPOCHS as f32);
        for (point, period, next) in &mut edges {
            if *next > epoch as f32 {
                continue;
            }
            *next += *period;
            let (apart, distance) = difference(place, &points[*point as usize]);
            let pull = tables.pull.at(distance);
            for lane in 0..L {
                place[lane] += (pull * apart[lane]).clamp(-CLIP, CLIP) * rate;
            }
            for _ in 0..NEGATIVES {
                let other = random.below(points.len());
                let (apart, distance) = difference(place, &points[other]);
                let push = tables.push.at(distance);
                for lane in 0..L {
                    place[lane] += (push * apart[lane]).clamp(-CLIP, CLIP) * rate;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use flow_stage::array;

    use super::*;
    use crate::knn::Metric;

    /// What the reference starts from, by its own functions (`tests/reference/placing.py`).
    #[test]
    fn rows_start_where_the_reference_starts_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
        let load = |name: &str| array::read_matrix(&folder.join(name)).unwrap();
        let digits = load("digits_X.npy");
        let of = |new: bool| {
            let rows: Vec<usize> = (0..digits.nrows())
                .filter(|i| (i % 5 == 4) == new)
                .collect();
            digits.select(Axis(0), &rows)
        };
        let (points, rows) = (of(false), of(true));
        let (places, wanted) = (load("placing_embedding.npy"), load("placing_starts.npy"));
        let places: Vec<[f32; 4]> = (places.outer_iter())
            .map(|row| [row[0], row[1], row[2], row[3]])
            .collect();
        let near = knn::among(points.view(), rows.view(), 30, Metric::Euclidean, &|_| {});
        for (i, wanted) in wanted.outer_iter().enumerate() {
            let own = i * 30..(i + 1) * 30;
            let weights = graph::weights_of_new(&near.distance[own.clone()]);
            let found = start(&places, &near.index[own], &weights);
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(
                    (found - wanted).abs() < 2e-3,
                    "row {i}: {found} for {wanted}"
                );
            }
        }
    }
}
