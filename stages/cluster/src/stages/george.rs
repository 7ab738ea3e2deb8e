//! `george`: fine labels by a search for the number of clusters, each coarse class by itself.

use anyhow::{Result, ensure};
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes::{self, Class};
use super::partition::{self, Part};
use super::report::{self, Report};
use super::{all_cores, memory};
use crate::george::Subclasses;
use crate::{GaussianMixture, george};

/// Finds clusters as GEORGE does: the number of the best silhouette, and splits that better it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct George {
    /// What finds a given number of clusters: `gmm`, a mixture of Gaussians of full covariance, or `kmeans`.
    #[serde(default)]
    model: Model,
    /// The least number of clusters of a coarse class that is tried.
    #[serde(default = "two")]
    #[schemars(range(min = 2))]
    min_k: u32,
    /// The greatest number of clusters of a coarse class that is tried; that of min_k for no search.
    #[serde(default = "ten")]
    #[schemars(range(min = 2))]
    max_k: u32,
    /// Each cluster is split into this number of parts, of which those stay that better the silhouette; 1 for no split.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    overcluster_factor: u32,
    /// Starts of each clustering, of which the best is kept.
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    n_init: u32,
    /// In a class of more rows the silhouette is estimated from this number of them, drawn at random, with its standard error.
    #[serde(default = "report::silhouette_rows")]
    #[schemars(range(min = 2))]
    silhouette_rows: u32,
}

/// What finds a given number of clusters.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Model {
    #[default]
    Gmm,
    KMeans,
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn five() -> u32 {
    5
}

fn ten() -> u32 {
    10
}

impl Stage for George {
    const NAME: &'static str = "george";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str =
        "Finds fine labels in each coarse class by a silhouette search over their number";
    const SEEDED: bool = true;
    const HEADLINE: &'static [&'static str] = &["clusters", "silhouette", "split"];

    fn inputs() -> Vec<Port> {
        partition::inputs()
    }

    fn outputs() -> Vec<Port> {
        vec![
            partition::labels(),
            Port::new(
                "search",
                ArtifactType::Table,
                "a line for each class and number of clusters tried: class, k, silhouette (the mean of the clusters' means), chosen",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "clusters, silhouette (and silhouette_error where that is an estimate), split (clusters that came by splits); the same by coarse class",
            ),
            partition::view(),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let (min_k, max_k) = (self.min_k, self.max_k);
        ensure!(
            min_k <= max_k,
            "min_k is {min_k} and max_k {max_k}: there is no number between them"
        );
        let points = array::read_matrix_f64(context.input("embedding")?)?;
        let (n, d) = points.dim();
        let classes = classes::of(context, "embedding", n, |row| classes::finite(&points, row))?;
        if matches!(self.model, Model::Gmm) {
            memory::check(context, GaussianMixture::bytes(max_k as usize, d, n))?;
        }
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&points, &class.rows)?;
            let found = self
                .search()
                .seed(context.seed())
                .fit_with(points.view(), &|part| step(0.8 * part))?;
            self.warn(context, class, &found);
            let clusters = found.centers.nrows();
            let silhouette = report::silhouette(
                points.view(),
                found.labels.view(),
                self.silhouette_rows,
                &|part| step(0.2 * part),
            )?;
            let mut numbers = vec![("clusters", Some(clusters as f64))];
            numbers.extend(silhouette);
            numbers.push(("split", Some(found.split as f64)));
            let part = Part {
                nearest: partition::nearest(points.view(), &found.labels, &found.centers, class),
                labels: found.labels.clone(),
                clusters,
                numbers,
            };
            Ok((part, found))
        })?;
        let (parts, found): (Vec<Part>, Vec<Subclasses>) = found.into_iter().unzip();
        let mut table = csv::Writer::from_path(context.output("search")?)?;
        table.write_record(["class", "k", "silhouette", "chosen"])?;
        for (class, found) in classes.iter().zip(&found) {
            for tried in &found.tried {
                let silhouette = tried.silhouette.map(|silhouette| silhouette.to_string());
                table.write_record([
                    class.name.clone(),
                    tried.k.to_string(),
                    silhouette.unwrap_or_default(),
                    (found.chosen == Some(tried.k)).to_string(),
                ])?;
            }
        }
        table.flush()?;
        let groups = partition::write(context, &points, &classes, parts, None)?;
        Report::new(groups)
            .sum("clusters")
            .estimate("silhouette", "silhouette_error")
            .sum("split")
            .write(context)
    }
}

impl George {
    fn search(&self) -> crate::George {
        let model = match self.model {
            Model::Gmm => george::Model::Mixture,
            Model::KMeans => george::Model::KMeans,
        };
        crate::George::new(model, self.max_k as usize)
            .min_k(self.min_k as usize)
            .factor(self.overcluster_factor as usize)
            .starts(self.n_init as usize)
            .silhouette_rows(self.silhouette_rows as usize)
    }

    /// What of the parameters makes no sense beside the data.
    fn warn(&self, context: &Context, class: &Class, found: &Subclasses) {
        let (name, rows, max_k) = (&class.name, class.rows.len(), self.max_k);
        let (min_k, most) = (self.min_k, found.tried.last().map(|tried| tried.k));
        if found.chosen.is_none() {
            context.warning(format!(
                "class {name}: its {rows} row(s) make no two clusters that a silhouette can judge; the class is one fine label"
            ));
        } else if most.is_some_and(|most| most < max_k as usize) {
            context.warning(format!(
                "class {name}: max_k is {max_k}, and it has {rows} row(s): fewer clusters than rows are tried"
            ));
        } else if found.chosen == Some(max_k as usize) && min_k < max_k {
            context.warning(format!(
                "class {name}: the best silhouette is that of max_k = {max_k}: a greater max_k may find a better one"
            ));
        }
    }
}
