//! GEORGE's search for the number of clusters.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::error::{Error, Result, check_points};
use crate::gmm::GaussianMixture;
use crate::kmeans::KMeans;
use crate::scores;

/// The clustering of GEORGE (Sohoni, Dunnmon, Angus, Gu, Ré: No Subclass Left Behind, NeurIPS 2020, section 4, and its
/// public code, `stratification/cluster/models/cluster.py` of HazyResearch/hidden-stratification). Points are clustered
/// into each number of clusters from `min_k` to `max_k`; the number of the best silhouette wins, a mean over the clusters
/// of each one's mean, and the larger of equally good ones. Then each cluster is split further into `factor` ones. Of these
/// stay apart those whose points have a better silhouette than before, above 0, and that hold enough points: 25, and
/// 0.5 % of all. The others are one again.
///
/// Where it differs from that code:
/// - A part is kept whatever its loss. There, its points' mean loss has to be at least that of the cluster that it is part
///   of, and it has to hold 25 points of the validation part as well: of these a clustering knows neither.
/// - Of many points a silhouette is that of a sample, of the same points for each number.
/// - Numbers of which no silhouette is defined (each point is a cluster of its own, or all are one) are passed over.
/// - Starts are ours: greedy for k-means, and with the seeds of this library.
#[derive(Debug, Clone, PartialEq)]
pub struct George {
    model: Model,
    min_k: usize,
    max_k: usize,
    factor: usize,
    starts: usize,
    silhouette_rows: usize,
    seed: u64,
}

/// What finds a given number of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// [`KMeans`].
    KMeans,
    /// [`GaussianMixture`] of full covariances.
    Mixture,
}

/// What [`George::fit`] gives. Clusters are numbered by their smallest member row.
#[derive(Debug, Clone, PartialEq)]
pub struct Subclasses {
    /// The cluster of each row `[n]`.
    pub labels: Array1<i32>,
    /// The clusters' means `[k, d]`.
    pub centers: Array2<f64>,
    /// Each number of clusters that was tried, ascending.
    pub tried: Vec<Tried>,
    /// The one of them that was chosen. None where the points are one cluster, since none of them has a silhouette.
    pub chosen: Option<usize>,
    /// The clusters more than those of the number that was chosen, for the splits that stay.
    pub split: usize,
}

/// A number of clusters that was tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    /// The number.
    pub k: usize,
    /// The mean over the clusters of their mean silhouettes, where it is defined.
    pub silhouette: Option<f64>,
}

/// A part of a cluster stays apart where it has at least this number of points, and this part of all.
const LEAST_POINTS: usize = 25;
const LEAST_PART: f64 = 0.005;

/// The share of the work that the search is, where clusters are split after it.
const SEARCH: f64 = 0.8;

impl George {
    /// 2 to `max_k` clusters, each split further by 5; 3 starts; silhouettes of 20,000 points at most; seed 42.
    pub fn new(model: Model, max_k: usize) -> Self {
        George {
            model,
            min_k: 2,
            max_k,
            factor: 5,
            starts: 3,
            silhouette_rows: 20_000,
            seed: 42,
        }
    }

    /// The least number of clusters, 2 or more. With that of `max_k` there is no search.
    pub fn min_k(mut self, k: usize) -> Self {
        self.min_k = k;
        self
    }

    /// The parts that each cluster is split into; 1 for no split.
    pub fn factor(mut self, factor: usize) -> Self {
        self.factor = factor;
        self
    }

    /// The number of starts of each clustering, 1 or more.
    pub fn starts(mut self, count: usize) -> Self {
        self.starts = count;
        self
    }

    /// The points that a silhouette is taken of, 2 or more.
    pub fn silhouette_rows(mut self, rows: usize) -> Self {
        self.silhouette_rows = rows;
        self
    }

    /// The seed of the starts.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Clusters points `[n, d]`. Numbers of clusters beyond n - 1 are left out.
    ///
    /// # Errors
    /// Where a parameter is out of its range, the array is empty, a value is not finite, or a mixture collapses.
    pub fn fit(&self, points: ArrayView2<f64>) -> Result<Subclasses> {
        self.fit_with(points, &|_| {})
    }

    /// Like [`George::fit`]; calls `progress` with each further part of the work that is done, all of it being 1.
    ///
    /// # Errors
    /// As [`George::fit`].
    pub fn fit_with(
        &self,
        points: ArrayView2<f64>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Subclasses> {
        self.check(points)?;
        let most = self.max_k.min(points.nrows() - 1);
        let count = (most + 1).saturating_sub(self.min_k);
        let splits = self.factor > 1;
        let share = if splits { SEARCH } else { 1.0 } / count.max(1) as f64;
        let mut tried = Vec::new();
        let mut best: Option<(f64, Array1<i32>, Sampled)> = None;
        let mut chosen = None;
        for k in self.min_k..=most {
            let labels = self.cluster(points, k, &|part| progress(0.5 * share * part))?;
            let found = self.silhouettes(points, &labels, &|part| progress(0.5 * share * part))?;
            let silhouette = found.as_ref().map(|found| found.by_cluster(&labels));
            tried.push(Tried { k, silhouette });
            if let (Some(silhouette), Some(found)) = (silhouette, found)
                && best.as_ref().is_none_or(|best| silhouette >= best.0)
            {
                best = Some((silhouette, labels, found));
                chosen = Some(k);
            }
        }
        let rest = if count == 0 { 1.0 } else { 1.0 - SEARCH };
        let Some((_, base, before)) = best else {
            progress(if splits || count == 0 { rest } else { 0.0 });
            let labels = Array1::zeros(points.nrows());
            return Ok(Subclasses {
                centers: means(points, &labels),
                labels,
                tried,
                chosen,
                split: 0,
            });
        };
        let labels = match splits {
            true => self.split(points, &base, &before, &|part| progress(rest * part))?,
            false => base.clone(),
        };
        Ok(Subclasses {
            centers: means(points, &labels),
            split: clusters(&labels) - clusters(&base),
            labels,
            tried,
            chosen,
        })
    }

    fn check(&self, points: ArrayView2<f64>) -> Result<()> {
        check_points(points)?;
        if self.min_k < 2 {
            return Err(Error::parameter(
                "min_k",
                self.min_k,
                "it has to be at least 2",
            ));
        }
        if self.max_k < self.min_k {
            let rule = "it has to be at least min_k";
            return Err(Error::parameter("max_k", self.max_k, rule));
        }
        for (name, value) in [("factor", self.factor), ("starts", self.starts)] {
            if value == 0 {
                return Err(Error::parameter(name, 0, "it has to be at least 1"));
            }
        }
        Ok(())
    }

    fn cluster(
        &self,
        points: ArrayView2<f64>,
        k: usize,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Array1<i32>> {
        match self.model {
            Model::KMeans => {
                let model = KMeans::new(k).starts(self.starts).seed(self.seed);
                Ok(model.fit_with(points, progress)?.labels)
            }
            Model::Mixture => {
                let model = GaussianMixture::new(k).starts(self.starts).seed(self.seed);
                Ok(model.fit_with(points, progress)?.labels)
            }
        }
    }

    fn silhouettes(
        &self,
        points: ArrayView2<f64>,
        labels: &Array1<i32>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Option<Sampled>> {
        let (labels, rows) = (labels.view(), self.silhouette_rows);
        let found = scores::sampled_silhouettes(points, labels, rows, 0, progress)?;
        Ok(found.map(|(rows, values)| Sampled { rows, values }))
    }

    /// Splits each cluster, and makes one again what is not better for it.
    fn split(
        &self,
        points: ArrayView2<f64>,
        base: &Array1<i32>,
        before: &Sampled,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Array1<i32>> {
        let (n, count) = (base.len(), clusters(base));
        let mut parts = Array1::zeros(n);
        for cluster in 0..count {
            let members: Vec<usize> = (0..n).filter(|&i| base[i] == cluster as i32).collect();
            let own = points.select(Axis(0), &members);
            let k = self.factor.min(members.len());
            let part = members.len() as f64 / n as f64;
            let labels = self.cluster(own.view(), k, &|done| progress(0.5 * part * done))?;
            for (&row, label) in members.iter().zip(labels) {
                parts[row] = (cluster * self.factor) as i32 + label;
            }
        }
        let after = self.silhouettes(points, &parts, &|part| progress(0.5 * part))?;
        let Some(after) = after else {
            return Ok(base.clone());
        };
        let all = count * self.factor;
        let (old, new) = (before.means(&parts, all), after.means(&parts, all));
        let mut sizes = vec![0; all];
        parts.iter().for_each(|&part| sizes[part as usize] += 1);
        let least = (LEAST_PART * n as f64).max(LEAST_POINTS as f64);
        let stays = |part: usize| {
            let gain = old[part].zip(new[part]);
            sizes[part] as f64 >= least && gain.is_some_and(|(old, new)| new > old.max(0.0))
        };
        // What does not stay apart is the rest of its cluster, numbered behind all parts.
        let label = |&part: &i32| match stays(part as usize) {
            true => part,
            false => (all + part as usize / self.factor) as i32,
        };
        Ok(canonical(parts.iter().map(label)))
    }
}

/// The silhouettes of some rows.
struct Sampled {
    rows: Vec<usize>,
    values: Vec<f64>,
}

impl Sampled {
    /// The mean of the rows of each label; none where none of its rows is among them.
    fn means(&self, labels: &Array1<i32>, count: usize) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0usize); count];
        for (&row, value) in self.rows.iter().zip(&self.values) {
            let sum = &mut sums[labels[row] as usize];
            sum.0 += value;
            sum.1 += 1;
        }
        let mean = |(sum, rows): (f64, usize)| (rows > 0).then(|| sum / rows as f64);
        sums.into_iter().map(mean).collect()
    }

    /// The mean over the clusters of their means.
    fn by_cluster(&self, labels: &Array1<i32>) -> f64 {
        let means = self.means(labels, clusters(labels));
        let means: Vec<f64> = means.into_iter().flatten().collect();
        means.iter().sum::<f64>() / means.len() as f64
    }
}

/// Labels, numbered by their first rows.
fn canonical(labels: impl Iterator<Item = i32>) -> Array1<i32> {
    let mut seen = Vec::new();
    let number = |label: i32| {
        let place = seen.iter().position(|&other| other == label);
        place.unwrap_or_else(|| {
            seen.push(label);
            seen.len() - 1
        }) as i32
    };
    labels.map(number).collect()
}

fn clusters(labels: &Array1<i32>) -> usize {
    labels.iter().max().map_or(0, |&most| most as usize + 1)
}

/// The means of the points of each label `[k, d]`.
fn means(points: ArrayView2<f64>, labels: &Array1<i32>) -> Array2<f64> {
    let mut means = Array2::zeros((clusters(labels), points.ncols()));
    let mut counts = vec![0.0; means.nrows()];
    for (point, &label) in points.outer_iter().zip(labels) {
        let mut mean: ndarray::ArrayViewMut1<f64> = means.row_mut(label as usize);
        mean += &point;
        counts[label as usize] += 1.0;
    }
    for (mut mean, count) in means.outer_iter_mut().zip(counts) {
        mean /= count;
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Clumps of `rows` points each around the given centres.
    fn clumps(centres: &[(f64, f64)], rows: usize) -> Array2<f64> {
        let mut random = Stream::new(1, 2);
        Array2::from_shape_fn((centres.len() * rows, 2), |(i, axis)| {
            let centre = centres[i % centres.len()];
            random.normal() + if axis == 0 { centre.0 } else { centre.1 }
        })
    }

    #[test]
    fn the_number_of_clear_clusters_is_found() {
        let points = clumps(&[(0.0, 0.0), (20.0, 0.0), (0.0, 20.0), (20.0, 20.0)], 60);
        for model in [Model::KMeans, Model::Mixture] {
            let found = George::new(model, 8).fit(points.view()).unwrap();
            assert_eq!((found.chosen, found.split), (Some(4), 0), "{model:?}");
            assert!((0..240).all(|i| found.labels[i] == i as i32 % 4));
            let numbers: Vec<usize> = found.tried.iter().map(|tried| tried.k).collect();
            assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8]);
            // A single clustering is no search.
            let one = George::new(model, 3).min_k(3).fit(points.view()).unwrap();
            assert_eq!(one.chosen, Some(3));
        }
    }

    #[test]
    fn a_cluster_that_hides_others_is_split() {
        // Two far apart, each of two that nearly touch: two clusters have the best silhouette.
        let points = clumps(&[(0.0, 0.0), (9.0, 0.0), (200.0, 0.0), (209.0, 0.0)], 100);
        let search = George::new(Model::KMeans, 6);
        let base = search.clone().factor(1).fit(points.view()).unwrap();
        assert_eq!((base.chosen, base.split), (Some(2), 0));
        assert_eq!(clusters(&base.labels), 2);
        // Split in two they are worse than before: each has another one beside it. Nothing is left apart.
        let same = search.factor(2).fit(points.view()).unwrap();
        assert_eq!(same.labels, base.labels);
        // With the next cluster nearer, the two that it hides are better apart, and the one that is one stays one.
        let points = clumps(&[(0.0, 0.0), (9.0, 0.0), (25.0, 0.0), (25.5, 0.0)], 100);
        for model in [Model::KMeans, Model::Mixture] {
            let forced = George::new(model, 2).factor(2);
            let found = forced.fit(points.view()).unwrap();
            assert_eq!((found.chosen, found.split), (Some(2), 1), "{model:?}");
            assert!((0..400).all(|i| found.labels[i] == [0, 1, 2, 2][i % 4]));
            let alone = forced.factor(1).fit(points.view()).unwrap();
            assert!((0..400).all(|i| alone.labels[i] == [0, 0, 1, 1][i % 4]));
        }
    }

    #[test]
    fn points_that_can_not_be_told_apart_are_one_cluster() {
        let points = Array2::<f64>::ones((40, 2));
        for model in [Model::KMeans, Model::Mixture] {
            let found = George::new(model, 4).fit(points.view()).unwrap();
            assert_eq!(
                (found.chosen, found.split, found.labels.sum()),
                (None, 0, 0)
            );
            assert_eq!(found.tried.len(), 3);
            for n in [1, 2] {
                let few = points.slice(ndarray::s![..n, ..]);
                assert_eq!(George::new(model, 4).fit(few).unwrap().tried, []);
            }
        }
        let george = George::new(Model::KMeans, 4);
        for refused in [
            george.clone().min_k(1),
            george.clone().min_k(5),
            george.clone().factor(0),
            george.clone().starts(0),
            george.silhouette_rows(1),
        ] {
            let error = refused.fit(clumps(&[(0.0, 0.0)], 9).view());
            assert!(matches!(error, Err(Error::Parameter { .. })), "{refused:?}");
        }
    }
}
