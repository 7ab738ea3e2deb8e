//! `gmm`: fine labels by a mixture of Gaussians, each coarse class by itself.

use anyhow::{Result, ensure};
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array1, Array2, ArrayView2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes::{self, Class};
use super::count::Count;
use super::partition::{self, Part};
use super::report::{self, Report};
use super::{all_cores, memory};
use crate::{GaussianMixture, Mixture};

/// Finds a given number of clusters of Gaussian shape, and how much each row belongs to each.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Gmm {
    /// Components in each coarse class: one number, or a table of class name and number.
    k: Count,
    /// `full`: each component has a shape of its own. `tied`: all have one. `diag`: each has variances along the axes.
    /// `spherical`: each has one variance.
    #[serde(default)]
    covariance: Covariance,
    /// Starts, of which the most likely is kept; each begins with k-means.
    #[serde(default = "ten")]
    #[schemars(range(min = 1))]
    n_init: u32,
    /// The most steps of a start.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    max_iter: u32,
    /// A start ends where a step changes the mean log-likelihood of a row by less than this.
    #[serde(default = "thousandth")]
    #[schemars(range(min = 0.0))]
    tol: f64,
    /// What is added to each variance, so that no component collapses.
    #[serde(default = "millionth")]
    #[schemars(range(min = 0.0))]
    reg_covar: f64,
    /// In a class of more rows the silhouette is estimated from this number of them, drawn at random, with its standard error.
    #[serde(default = "report::silhouette_rows")]
    #[schemars(range(min = 2))]
    silhouette_rows: u32,
}

/// Which shapes the components have.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Covariance {
    #[default]
    Full,
    Tied,
    Diag,
    Spherical,
}

impl From<Covariance> for crate::Covariance {
    fn from(covariance: Covariance) -> Self {
        match covariance {
            Covariance::Full => crate::Covariance::Full,
            Covariance::Tied => crate::Covariance::Tied,
            Covariance::Diag => crate::Covariance::Diagonal,
            Covariance::Spherical => crate::Covariance::Spherical,
        }
    }
}

fn ten() -> u32 {
    10
}

fn hundred() -> u32 {
    100
}

fn thousandth() -> f64 {
    1e-3
}

fn millionth() -> f64 {
    1e-6
}

impl Stage for Gmm {
    const NAME: &'static str = "gmm";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str =
        "Finds fine labels in each coarse class by a mixture of Gaussians";
    const SEEDED: bool = true;
    const HEADLINE: &'static [&'static str] = &["clusters", "silhouette", "bic"];

    fn inputs() -> Vec<Port> {
        partition::inputs()
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "labels",
                ArtifactType::Labels,
                "i32 [n], the most probable component, numbered on through the classes; -1 in rows that are left out",
            ),
            Port::new(
                "membership",
                ArtifactType::Array,
                "f64 [n, K], how probable each component is for a row; 0 for those of other classes; NaN in rows that are left out",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "clusters, silhouette (and silhouette_error where that is an estimate), log_likelihood (a row's mean), bic, aic; the same by coarse class",
            ),
            partition::view(),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        for (name, value) in [("tol", self.tol), ("reg_covar", self.reg_covar)] {
            ensure!(
                value >= 0.0 && value.is_finite(),
                "{name} is {value:?}; it has to be a number of at least 0"
            );
        }
        let points = array::read_matrix_f64(context.input("embedding")?)?;
        let (n, d) = points.dim();
        let classes = classes::of(context, "embedding", n, |row| classes::finite(&points, row))?;
        self.k.check(&classes)?;
        let most = classes.iter().map(|class| self.k.of(class));
        let most = most.collect::<Result<Vec<_>>>()?.into_iter().max();
        memory::check(context, GaussianMixture::bytes(most.unwrap_or(1), d, n))?;
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&points, &class.rows)?;
            self.class(context, points.view(), class, step)
        })?;
        let clusters: usize = found.iter().map(|(part, _)| part.clusters).sum();
        let mut membership = Array2::from_elem((n, clusters), f64::NAN);
        let mut strength = Array1::from_elem(n, f64::NAN);
        let mut first = 0;
        for (class, (part, own)) in classes.iter().zip(&found) {
            for ((&row, own), &label) in class.rows.iter().zip(own.outer_iter()).zip(&part.labels) {
                let mut into = membership.row_mut(row);
                into.fill(0.0);
                into.slice_mut(s![first..first + part.clusters])
                    .assign(&own);
                strength[row] = own[label as usize];
            }
            first += part.clusters;
        }
        array::write(&context.output("membership")?, &membership)?;
        let found = found.into_iter().map(|(part, _)| part).collect();
        let groups = partition::write(context, &points, &classes, found, Some(&strength))?;
        Report::new(groups)
            .sum("clusters")
            .estimate("silhouette", "silhouette_error")
            .mean("log_likelihood")
            .sum("bic")
            .sum("aic")
            .write(context)
    }
}

impl Gmm {
    /// One class's fine labels, and its membership `[rows, clusters]`.
    fn class(
        &self,
        context: &Context,
        points: ArrayView2<f64>,
        class: &Class,
        step: &(dyn Fn(f64) + Sync),
    ) -> Result<(Part, Array2<f64>)> {
        let (rows, d) = points.dim();
        let k = self.k.of(class)?;
        let cut = k.min(rows);
        let found = GaussianMixture::new(cut)
            .covariance(self.covariance.into())
            .starts(self.n_init as usize)
            .iterations(self.max_iter as usize)
            .tolerance(self.tol)
            .regularization(self.reg_covar)
            .seed(context.seed())
            .fit_with(points, &|part| step(0.7 * part))?;
        let free = crate::Covariance::from(self.covariance).parameters(cut, d);
        self.warn(context, class, k, free, &found);
        let silhouette =
            report::silhouette(points, found.labels.view(), self.silhouette_rows, &|part| {
                step(0.3 * part)
            })?;
        let mut numbers = vec![("clusters", Some(found.clusters as f64))];
        numbers.extend(silhouette);
        numbers.extend([
            ("log_likelihood", Some(found.log_likelihood)),
            ("bic", Some(found.bic())),
            ("aic", Some(found.aic())),
        ]);
        // A component that is no row's most probable one is no label: what it has goes to the others.
        let mut membership = found.membership.slice(s![.., ..found.clusters]).to_owned();
        if found.clusters < cut {
            for mut row in membership.rows_mut() {
                let whole = row.sum();
                row.mapv_inplace(|x| x / whole);
            }
        }
        let centers = found.means.slice(s![..found.clusters, ..]).to_owned();
        let part = Part {
            nearest: partition::nearest(points, &found.labels, &centers, class),
            labels: found.labels,
            clusters: found.clusters,
            numbers,
        };
        Ok((part, membership))
    }

    /// What of the parameters makes no sense beside the data.
    fn warn(&self, context: &Context, class: &Class, k: usize, free: usize, found: &Mixture) {
        let (name, rows) = (&class.name, class.rows.len());
        if k >= rows && k > 1 {
            context.warning(format!(
                "class {name}: k is {k}, and it has {rows} row(s): no more than one for each component"
            ));
        } else if found.clusters < k {
            context.warning(format!(
                "class {name}: k is {k}, and {} component(s) are the most probable one of any row: the others are no fine labels",
                found.clusters
            ));
        } else if free > rows * found.means.ncols() {
            context.warning(format!(
                "class {name}: the mixture has {free} free numbers, and its {rows} row(s) have {}: reduce the columns first, or \
                 choose covariance = \"diag\"",
                rows * found.means.ncols()
            ));
        }
        if !found.converged {
            context.warning(format!(
                "class {name}: the best start had not settled after max_iter = {} step(s)",
                found.iterations
            ));
        }
    }
}
