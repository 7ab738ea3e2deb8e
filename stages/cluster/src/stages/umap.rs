//! `umap`: dimension reduction by UMAP, each coarse class by itself.

use anyhow::Result;
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{self, Group, Report};
use super::{all_cores, classes, memory};
use crate::views;

/// Reduces features to a few columns in which neighbours stay neighbours.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Umap {
    /// Points in a neighbourhood, the point itself included. A class of that many rows or fewer uses one less than it has.
    #[serde(default = "neighbors")]
    #[schemars(range(min = 2))]
    n_neighbors: u32,
    /// How close points may lie in the embedding: 0 for dense clumps, 1 for an even spread.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    min_dist: f64,
    /// Columns of the embedding.
    #[serde(default = "components")]
    #[schemars(range(min = 1, max = 64))]
    n_components: u32,
    /// How far rows are from each other.
    #[serde(default)]
    metric: Metric,
    /// How neighbours are searched for. `auto`: exactly in classes of up to 100,000 rows; beyond, by NN-descent where that
    /// finds 99 % of them as measured on a sample, and else exactly. `exact`, `approximate`: that, for any size.
    #[serde(default)]
    knn: Knn,
}

/// How neighbours are searched for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Knn {
    #[default]
    Auto,
    Exact,
    Approximate,
}

/// How far rows are from each other.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Metric {
    #[default]
    Euclidean,
    Cosine,
}

fn neighbors() -> u32 {
    30
}

fn components() -> u32 {
    4
}

impl Stage for Umap {
    const NAME: &'static str = "umap";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Reduces the features of each coarse class by UMAP";
    const SEEDED: bool = true;
    const HEADLINE: &'static [&'static str] = &["trustworthiness", "parts"];

    fn inputs() -> Vec<Port> {
        let [data, mask] = classes::ports();
        vec![
            Port::new(
                "features",
                ArtifactType::Array,
                "[n, d]; rows with NaN are left out",
            ),
            data,
            mask,
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "embedding",
                ArtifactType::Array,
                "f32 [n, n_components]; NaN in rows that are left out",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "trustworthiness: how far the 15 nearest in the embedding are near among the features, 1 at best (and trustworthiness_error where that is an estimate), parts of the neighbourhood graph that no edge connects, recall where the search was approximate; the same by coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "the points of each class in two dimensions",
            ),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        self.embed(context).map(drop)
    }
}

/// What was embedded.
pub(super) struct Embedded {
    pub features: Array2<f32>,
    pub classes: Vec<classes::Class>,
    /// The places of each class's rows.
    pub places: Vec<Array2<f32>>,
}

impl Umap {
    /// How far rows are from each other.
    pub fn metric(&self) -> crate::Metric {
        match self.metric {
            Metric::Euclidean => crate::Metric::Euclidean,
            Metric::Cosine => crate::Metric::Cosine,
        }
    }

    /// The same parameters, as the library takes them.
    pub fn parameters(&self, seed: u64) -> crate::Umap {
        crate::Umap::new()
            .neighbors(self.n_neighbors as usize)
            .min_dist(self.min_dist)
            .components(self.n_components as usize)
            .metric(self.metric())
            .search(match self.knn {
                Knn::Auto => crate::Search::Auto,
                Knn::Exact => crate::Search::Exact,
                Knn::Approximate => crate::Search::Approximate,
            })
            .seed(seed)
    }

    /// Embeds each class, and writes the outputs of `umap`.
    ///
    /// # Errors
    /// Where an input can't be read or computed with, or an output can't be written.
    pub fn embed(&self, context: &Context) -> Result<Embedded> {
        let features = array::read_matrix(context.input("features")?)?;
        let n = features.nrows();
        let classes = classes::of(context, "features", n, |row| {
            classes::finite(&features, row)
        })?;
        let (metric, umap) = (self.metric(), self.parameters(context.seed()));
        let columns = features.ncols();
        if columns < self.n_components as usize {
            context.warning(format!(
                "n_components is {}, and the features have {columns} column(s): more of them tell no more",
                self.n_components
            ));
        }
        if columns == 1 && matches!(self.metric, Metric::Cosine) {
            context.warning(
                "metric is \"cosine\", and the features have 1 column: only their signs differ",
            );
        }
        let bytes = |class: &classes::Class| {
            // The rows themselves are copied for the class.
            let own = 4 * class.rows.len() * features.ncols();
            own + umap.memory(class.rows.len(), features.ncols())
        };
        // While one class waits for its tasks another may begin: all of them at once is the most.
        memory::check(context, classes.iter().map(bytes).sum())?;
        let found = classes::each(context, &classes, |class, step| {
            let points = classes::take(&features, &class.rows)?;
            let embedding = umap.fit_with(points.view(), step)?;
            for warning in embedding.warnings {
                context.warning(format!("class {}: {warning}", class.name));
            }
            if let Some(recall) = embedding.recall {
                context.log(format!(
                    "class {}: approximate search found {:.2} % of the neighbours of a sample",
                    class.name,
                    100.0 * recall
                ));
            }
            if embedding.parts > 1 {
                let parts = embedding.parts;
                context.log(format!(
                    "class {}: the neighbourhood graph has {parts} parts",
                    class.name
                ));
            }
            let trust = report::trustworthiness(&points, &embedding.points, metric)?;
            let mut numbers = trust.to_vec();
            numbers.extend([
                ("parts", Some(embedding.parts as f64)),
                ("recall", embedding.recall),
            ]);
            let group = Group {
                name: class.name.clone(),
                rows: class.rows.len(),
                numbers,
            };
            Ok((embedding.points, group))
        })?;
        let (parts, groups): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        classes::write_rows(
            context,
            "embedding",
            n,
            self.n_components as usize,
            &classes,
            &parts,
        )?;
        views::embedding(context, &features, &classes, &parts, None)?;
        Report::new(groups)
            .estimate("trustworthiness", "trustworthiness_error")
            .sum("parts")
            .mean("recall")
            .write(context)?;
        Ok(Embedded {
            features,
            classes,
            places: parts,
        })
    }
}
