//! Mixtures of Gaussians, fitted by expectation and maximisation.
//!
//! - `model`: what a mixture is made of, and how likely it makes rows
//! - `sums`: one pass over the rows

mod model;
mod sums;

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2};
use rayon::prelude::*;

use crate::error::{Error, Result, check_length, check_points};
use crate::kmeans::KMeans;
use crate::random::Stream;
use model::Model;
use sums::{Lanes, Sums};

/// A mixture of Gaussians (Dempster, Laird, Rubin 1977, with the choices of scikit-learn's `GaussianMixture`): from several
/// starts, each k-means from a k-means++ start of its own, the one of greatest lower bound is kept. In f64; the same for
/// every number of threads.
///
/// It differs from scikit-learn in what a component does that has lost all its rows: its mean stays where it was instead
/// of moving to the origin. A start that fails is left out where another one succeeds.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    k: usize,
    covariance: Covariance,
    starts: usize,
    iterations: usize,
    tolerance: f64,
    regularization: f64,
    seed: u64,
}

/// Which shapes the components may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariance {
    /// Each component has a covariance of its own.
    Full,
    /// All components share one covariance.
    Tied,
    /// Each component has variances of its own, along the axes.
    Diagonal,
    /// Each component has one variance, the same in all directions.
    Spherical,
}

impl Covariance {
    /// Whether directions other than the axes are known, so that a covariance is a triangle of numbers.
    fn oblique(self) -> bool {
        matches!(self, Covariance::Full | Covariance::Tied)
    }

    /// The numbers that are free in a mixture of `k` components on `d` axes: weights, means and covariances.
    pub fn parameters(self, k: usize, d: usize) -> usize {
        let shapes = match self {
            Covariance::Full => k * d * (d + 1) / 2,
            Covariance::Tied => d * (d + 1) / 2,
            Covariance::Diagonal => k * d,
            Covariance::Spherical => k,
        };
        shapes + k * d + k - 1
    }
}

/// What [`GaussianMixture::fit`] gives. Components are numbered by their smallest member row; those that are no row's most
/// probable one come last.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// The most probable component of each row `[n]`.
    pub labels: Array1<i32>,
    /// The components that are some row's most probable one: the first ones.
    pub clusters: usize,
    /// How probable each component is for each row `[n, k]`; a row sums to 1.
    pub membership: Array2<f64>,
    /// The components' weights `[k]`, which sum to 1.
    pub weights: Array1<f64>,
    /// Their means `[k, d]`.
    pub means: Array2<f64>,
    /// Their covariances `[k, d, d]`, written out whatever the shape.
    pub covariances: Array3<f64>,
    /// The mean log-likelihood of a row.
    pub log_likelihood: f64,
    /// The mean log-likelihood before the last step, by which starts are compared.
    pub lower_bound: f64,
    /// Steps until the lower bound settled.
    pub iterations: usize,
    /// Whether it did.
    pub converged: bool,
    covariance: Covariance,
}

impl Mixture {
    /// Bayesian information criterion (Schwarz 1978), the lower the better.
    pub fn bic(&self) -> f64 {
        let n = self.labels.len() as f64;
        self.free() * libm::log(n) - 2.0 * self.log_likelihood * n
    }

    /// Akaike's information criterion (1974), the lower the better.
    pub fn aic(&self) -> f64 {
        let n = self.labels.len() as f64;
        2.0 * self.free() - 2.0 * self.log_likelihood * n
    }

    fn free(&self) -> f64 {
        let (k, d) = self.means.dim();
        self.covariance.parameters(k, d) as f64
    }
}

/// A start, run to its end.
struct Run {
    model: Model,
    lower_bound: f64,
    iterations: usize,
    converged: bool,
}

impl GaussianMixture {
    /// `k` components of full covariance, 10 starts, at most 100 steps, until the lower bound changes by less than 1e-3;
    /// 1e-6 is added to variances; seed 42.
    pub fn new(k: usize) -> Self {
        GaussianMixture {
            k,
            covariance: Covariance::Full,
            starts: 10,
            iterations: 100,
            tolerance: 1e-3,
            regularization: 1e-6,
            seed: 42,
        }
    }

    /// The shapes that components may have.
    pub fn covariance(mut self, covariance: Covariance) -> Self {
        self.covariance = covariance;
        self
    }

    /// The number of starts, 1 or more.
    pub fn starts(mut self, count: usize) -> Self {
        self.starts = count;
        self
    }

    /// The most steps of a start, 1 or more.
    pub fn iterations(mut self, count: usize) -> Self {
        self.iterations = count;
        self
    }

    /// A start has settled where a step changes the mean log-likelihood of a row by less than this.
    pub fn tolerance(mut self, change: f64) -> Self {
        self.tolerance = change;
        self
    }

    /// What is added to each variance, in the square of the points' unit: it keeps components from collapsing.
    pub fn regularization(mut self, variance: f64) -> Self {
        self.regularization = variance;
        self
    }

    /// The seed of the starts.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// About how many bytes a mixture of `k` components of full covariance takes for points `[n, d]` on all threads.
    pub fn bytes(k: usize, d: usize, n: usize) -> usize {
        let shapes = k * model::size(d, true);
        let tasks = rayon::current_num_threads() * (sums::TASKS + crate::simd::LANES);
        8 * (shapes * tasks + 2 * n * (k + d))
    }

    /// Fits points `[n, d]`.
    ///
    /// # Errors
    /// Where a parameter is out of its range, k is above n, the array is empty, a value is not finite, or a component of
    /// each start has a covariance without an inverse ([`Error::Collapsed`]).
    pub fn fit(&self, points: ArrayView2<f64>) -> Result<Mixture> {
        self.fit_with(points, &|_| {})
    }

    /// Like [`GaussianMixture::fit`]; calls `progress` with each further part of the work that is done, all of it being 1.
    ///
    /// # Errors
    /// As [`GaussianMixture::fit`].
    pub fn fit_with(
        &self,
        points: ArrayView2<f64>,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Mixture> {
        self.check(points)?;
        if self.starts == 0 {
            return Err(Error::parameter("starts", 0, "it has to be at least 1"));
        }
        let lanes = Lanes::new(points);
        let share = 1.0 / self.starts as f64;
        let runs: Vec<Result<Run>> = (0..self.starts as u64)
            .into_par_iter()
            .map(|start| {
                let seed = Stream::new(self.seed, start).next();
                let begin = KMeans::new(self.k).starts(1).seed(seed).fit(points)?;
                self.run(&lanes, begin.labels.view(), &|part| progress(share * part))
            })
            .collect();
        self.finish(&lanes, best(runs)?)
    }

    /// Fits points `[n, d]` from one start, the labels `[n]` of another clustering: 0 to k - 1.
    ///
    /// # Errors
    /// As [`GaussianMixture::fit`], and where there is not a label for each row or one is outside 0..k.
    pub fn fit_from(&self, points: ArrayView2<f64>, labels: ArrayView1<i32>) -> Result<Mixture> {
        self.check(points)?;
        check_length("labels", labels.len(), points.nrows())?;
        let outside = |&&label: &&i32| label < 0 || label as usize >= self.k;
        if let Some(label) = labels.iter().find(outside) {
            return Err(Error::parameter(
                "a label",
                label,
                "it has to be 0 to k - 1",
            ));
        }
        let lanes = Lanes::new(points);
        let run = self.run(&lanes, labels, &|_| {})?;
        self.finish(&lanes, run)
    }

    fn check(&self, points: ArrayView2<f64>) -> Result<()> {
        check_points(points)?;
        if self.k == 0 || self.k > points.nrows() {
            let rule = "it has to be at least 1 and at most the number of rows";
            return Err(Error::parameter("k", self.k, rule));
        }
        if self.iterations == 0 {
            return Err(Error::parameter("iterations", 0, "it has to be at least 1"));
        }
        for (name, value) in [
            ("tolerance", self.tolerance),
            ("regularization", self.regularization),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::parameter(name, value, "it has to be at least 0"));
            }
        }
        Ok(())
    }

    /// One start, until its lower bound has settled.
    fn run(&self, lanes: &Lanes, labels: ArrayView1<i32>, progress: &dyn Fn(f64)) -> Result<Run> {
        let step = 1.0 / (self.iterations + 1) as f64;
        let mut model = self.model(Sums::of_labels(lanes, labels, self.k, self.covariance))?;
        progress(step);
        let mut lower_bound = f64::NEG_INFINITY;
        let (mut iterations, mut converged) = (0, false);
        while iterations < self.iterations && !converged {
            iterations += 1;
            let sums = Sums::of_model(lanes, &model);
            let before = lower_bound;
            lower_bound = sums.log_likelihood / lanes.rows as f64;
            if !lower_bound.is_finite() {
                return Err(Error::Collapsed { k: self.k });
            }
            model = self.model(sums)?;
            converged = (lower_bound - before).abs() < self.tolerance;
            progress(step);
        }
        progress(step * (self.iterations - iterations) as f64);
        Ok(Run {
            model,
            lower_bound,
            iterations,
            converged,
        })
    }

    fn model(&self, sums: Sums) -> Result<Model> {
        Model::new(&sums, self.covariance, self.regularization)
            .ok_or(Error::Collapsed { k: self.k })
    }

    /// Labels, membership and likelihood under a start's last model, with components in canonical order.
    fn finish(&self, lanes: &Lanes, run: Run) -> Result<Mixture> {
        let (n, d, k) = (lanes.rows, lanes.d, self.k);
        let (found, log_likelihood) = sums::membership(lanes, &run.model);
        if !log_likelihood.is_finite() {
            return Err(Error::Collapsed { k });
        }
        let mut number = vec![-1; k];
        let mut order = Vec::new();
        let labels = found.outer_iter().map(|row| {
            let mut most = 0;
            for component in 1..k {
                if row[component] > row[most] {
                    most = component;
                }
            }
            if number[most] < 0 {
                number[most] = order.len() as i32;
                order.push(most);
            }
            number[most]
        });
        let labels: Array1<i32> = labels.collect();
        let clusters = order.len();
        order.extend((0..k).filter(|&component| number[component] < 0));
        let model = &run.model;
        Ok(Mixture {
            labels,
            clusters,
            membership: Array2::from_shape_fn((n, k), |(row, i)| found[[row, order[i]]]),
            weights: order.iter().map(|&i| model.weights[i]).collect(),
            means: Array2::from_shape_fn((k, d), |(i, axis)| model.means[order[i] * d + axis]),
            covariances: Array3::from_shape_fn((k, d, d), |(i, a, b)| {
                model.covariance(order[i], a, b)
            }),
            log_likelihood: log_likelihood / n as f64,
            lower_bound: run.lower_bound,
            iterations: run.iterations,
            converged: run.converged,
            covariance: self.covariance,
        })
    }
}

/// The run of greatest lower bound, the first of equal ones; the first error where none succeeded.
fn best(runs: Vec<Result<Run>>) -> Result<Run> {
    let better = |best: Result<Run>, run: Result<Run>| match (best, run) {
        (Ok(best), Ok(run)) if run.lower_bound > best.lower_bound => Ok(run),
        (Err(_), Ok(run)) => Ok(run),
        (best, _) => best,
    };
    runs.into_iter().reduce(better).expect("there is a start")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn clear_clusters_are_found_and_numbered_by_their_first_row() {
        let points = array![[9.0], [0.0], [9.5], [0.5], [50.0], [51.0]];
        for covariance in [
            Covariance::Full,
            Covariance::Tied,
            Covariance::Diagonal,
            Covariance::Spherical,
        ] {
            let mixture = GaussianMixture::new(3).covariance(covariance);
            let found = mixture.fit(points.view()).unwrap();
            assert_eq!(found.labels, array![0, 1, 0, 1, 2, 2]);
            assert!((found.means[[0, 0]] - 9.25).abs() < 1e-6, "{covariance:?}");
            assert!((found.weights.sum() - 1.0).abs() < 1e-12);
            assert!(found.converged && found.clusters == 3);
        }
    }

    #[test]
    fn a_component_without_rows_does_no_harm_and_parameters_are_checked() {
        let points = Array2::<f64>::ones((4, 2));
        let found = GaussianMixture::new(3).fit(points.view()).unwrap();
        assert_eq!((found.clusters, found.labels.sum()), (1, 0));
        assert!(found.membership.iter().all(|x| x.is_finite()));
        let none = GaussianMixture::new(3).regularization(0.0);
        assert_eq!(none.fit(points.view()), Err(Error::Collapsed { k: 3 }));
        let one = GaussianMixture::new(1);
        for refused in [
            GaussianMixture::new(0),
            GaussianMixture::new(5),
            one.clone().starts(0),
            one.clone().iterations(0),
            one.clone().tolerance(f64::NAN),
            one.clone().regularization(-1.0),
        ] {
            let error = refused.fit(points.view());
            assert!(matches!(error, Err(Error::Parameter { .. })), "{refused:?}");
        }
        assert!(
            one.fit_from(points.view(), array![0, 0, 1, 0].view())
                .is_err()
        );
    }
}
