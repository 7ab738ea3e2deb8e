//! New points in clusters that were found before: the hdbscan package's `approximate_predict` and `membership_vector`.
//!
//! A new point joins the tree beside the training point that is nearest by mutual reachability; what it is follows from
//! that point's place in the tree and its own lambda there.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use super::kdtree::{KdTree, Scratch};
use super::membership::{Exemplars, Heights, later};
use super::{Clusters, Hdbscan};
use crate::error::{Error, Result, check_points};
use crate::simd::vectorize;

/// Clusters, and the points that they were found among: what it takes to say where new points belong.
pub struct HdbscanModel {
    /// What was found.
    pub clusters: Clusters,
    points: Array2<f64>,
    /// The training points' own membership `[n, K]`.
    membership: Array2<f64>,
    tree: KdTree,
    /// The distance from each training point to the neighbour that its density is measured by.
    core: Vec<f64>,
    min_samples: usize,
}

/// What [`HdbscanModel::predict`] says of `m` points.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The cluster `[m]`; -1 is noise.
    pub labels: Array1<i32>,
    /// How strongly each point belongs to its cluster `[m]`, 0..1; 0 for noise.
    pub probabilities: Array1<f64>,
    /// How much each point belongs to each cluster `[m, K]`. Rows sum to at most 1; nothing is NaN.
    pub membership: Array2<f64>,
    /// The training point that a point equals `[m]`, the first of them: it has all that this one has.
    pub equals: Vec<Option<usize>>,
}

impl Hdbscan {
    /// Clusters points `[n, d]`, and keeps what new ones are compared with.
    ///
    /// # Errors
    /// As [`Hdbscan::fit`].
    pub fn model(&self, points: ArrayView2<f64>) -> Result<HdbscanModel> {
        let clusters = self.fit(points)?;
        let n = points.nrows();
        let tree = KdTree::new(points);
        let min_samples = self.min_samples.unwrap_or(self.min_cluster_size);
        // The package counts the point itself here, which it does not when it clusters.
        let by_position = tree.core_distances(min_samples.min(n) - 1, &|_| {});
        let mut core = vec![0.0; n];
        for (&row, square) in tree.rows.iter().zip(by_position) {
            core[row as usize] = square.sqrt();
        }
        Ok(HdbscanModel {
            membership: clusters.membership(points)?,
            points: points.as_standard_layout().into_owned(),
            clusters,
            tree,
            core,
            min_samples,
        })
    }
}

impl HdbscanModel {
    /// Says where points `[m, d]` belong. Each one's answer depends on the model and that point alone. A point that the model
    /// was made from has what it had there.
    ///
    /// # Errors
    /// Where the points have another number of columns than those that were clustered, or a value is not finite.
    pub fn predict(&self, points: ArrayView2<f64>) -> Result<Prediction> {
        if points.nrows() > 0 {
            check_points(points)?;
        }
        let (m, k) = (points.nrows(), self.clusters.clusters());
        if points.ncols() != self.points.ncols() {
            return Err(Error::Columns {
                got: points.ncols(),
                wanted: self.points.ncols(),
            });
        }
        let points = points.as_standard_layout();
        let mut found = Prediction {
            labels: Array1::from_elem(m, -1),
            probabilities: Array1::zeros(m),
            membership: Array2::zeros((m, k)),
            equals: vec![None; m],
        };
        let place = Place::new(self);
        (points.axis_iter(Axis(0)).into_par_iter())
            .zip(found.membership.axis_iter_mut(Axis(0)))
            .zip(found.labels.as_slice_mut().expect("one axis"))
            .zip(found.probabilities.as_slice_mut().expect("one axis"))
            .zip(&mut found.equals)
            .for_each_init(
                || (Scratch::default(), vec![0.0; place.exemplars.count]),
                |(scratch, squares), ((((point, mut row), label), probability), equals)| {
                    let (neighbour, lambda, equal) = self.join(point, scratch);
                    if equal {
                        *equals = Some(neighbour);
                        *label = self.clusters.labels[neighbour];
                        *probability = self.clusters.probabilities[neighbour];
                        row.assign(&self.membership.row(neighbour));
                    } else if k > 0 {
                        (*label, *probability) = place.hard(neighbour, lambda);
                        let row = row.as_slice_mut().expect("standard layout");
                        let point = point.to_slice().expect("standard layout");
                        place.soft(point, neighbour, lambda, squares, row);
                    }
                },
            );
        Ok(found)
    }

    /// The training point that a point joins, the lambda at which it does, and whether they are equal.
    fn join(&self, point: ArrayView1<f64>, scratch: &mut Scratch) -> (usize, f64, bool) {
        let n = self.points.nrows();
        let point = point.to_slice().expect("standard layout");
        let near = (self.tree).nearest(point, (2 * self.min_samples).min(n), scratch);
        if near[0].0 == 0.0 {
            return (near[0].1 as usize, f64::INFINITY, true);
        }
        // The package takes one neighbour more than when it clusters.
        let own = near[self.min_samples.min(near.len() - 1)].0.sqrt();
        let mut best = (f64::INFINITY, 0);
        for (square, row) in near {
            let reach = square.sqrt().max(own).max(self.core[row as usize]);
            if reach < best.0 {
                best = (reach, row as usize);
            }
        }
        (best.1, (1.0 / best.0).min(f64::MAX), false)
    }
}

/// What is the same for all points of a model.
struct Place<'a> {
    model: &'a HdbscanModel,
    /// The selected cluster at or above each node of the tree, -1 where there is none.
    label_of: Vec<i32>,
    exemplars: Exemplars,
    heights: Heights<'a>,
}

impl<'a> Place<'a> {
    fn new(model: &'a HdbscanModel) -> Self {
        let (tree, selected) = (&model.clusters.tree, &model.clusters.selected);
        Place {
            model,
            label_of: super::select::label_of(tree, selected),
            exemplars: Exemplars::new(model.points.view(), tree, selected),
            heights: Heights::new(tree, selected),
        }
    }

    /// The cluster, or -1, and how strongly a point belongs to it that joins this neighbour.
    fn hard(&self, neighbour: usize, lambda: f64) -> (i32, f64) {
        let tree = &self.model.clusters.tree;
        let mut node = tree.point_parent[neighbour] as usize;
        if tree.point_lambda[neighbour] > lambda {
            while node != 0 && tree.birth[node] >= lambda {
                node = tree.parent[node] as usize;
            }
        }
        let label = self.label_of[node];
        let Ok(cluster) = usize::try_from(label) else {
            return (-1, 0.0);
        };
        let death = tree.death[self.model.clusters.selected[cluster]];
        let probability = if death == 0.0 || lambda >= death {
            1.0
        } else {
            lambda / death
        };
        (label, probability)
    }

    /// Writes the membership of a point that joins this neighbour: nearness to exemplars and lateness of parting, weighed
    /// otherwise than for the training points, times the probability that it belongs to any cluster.
    fn soft(
        &self,
        point: &[f64],
        neighbour: usize,
        lambda: f64,
        squares: &mut [f64],
        row: &mut [f64],
    ) {
        let tree = &self.model.clusters.tree;
        let selected = &self.model.clusters.selected;
        let lambda = lambda.min(tree.point_lambda[neighbour]);
        let node = tree.point_parent[neighbour] as usize;
        let mut parting = vec![None; selected.len()];
        self.heights.of(node, &mut parting);
        // The cluster that it parts from last, as height and death.
        let mut last = (f64::NEG_INFINITY, 0.0);
        let mut lateness = vec![0.0; selected.len()];
        let highest = tree.death[node];
        for ((late, height), &cluster) in lateness.iter_mut().zip(parting).zip(selected) {
            let height = height.unwrap_or(lambda);
            last = later(last, (height, tree.death[cluster]));
            // Infinite where it does not part before the last of the node does.
            *late = if height >= highest {
                f64::INFINITY
            } else if highest == f64::INFINITY {
                1.0
            } else {
                highest / (highest - height)
            };
        }
        softmax(&mut lateness);
        vectorize(
            #[inline(always)]
            || self.exemplars.near(point, squares, row),
        );
        let mut sum = 0.0;
        for (value, late) in row.iter_mut().zip(lateness) {
            *value = value.sqrt() * late * late;
            sum += *value;
        }
        let (height, death) = last;
        let most = death.max(lambda);
        let probability = if height >= most { 1.0 } else { height / most };
        for value in row {
            *value = *value / sum * probability;
        }
    }
}

/// Exponentials that sum to 1. Infinite ones share all of it.
fn softmax(values: &mut [f64]) {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = if *value == largest {
            1.0
        } else {
            libm::exp(*value - largest)
        };
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}
