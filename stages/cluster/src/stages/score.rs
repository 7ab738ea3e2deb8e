//! `score`: how well fine labels fit the embedding, and the true fine labels where those are known.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use flow_stage::dataset::{Rows, Split};
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array1, Array2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{self, Group, Report};
use super::{all_cores, classes};
use crate::scores;

/// Scores fine labels inside coarse classes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Score {
    /// In a class of more rows the silhouette is estimated from this number of them, drawn at random, with its standard error.
    #[serde(default = "report::silhouette_rows")]
    #[schemars(range(min = 2))]
    silhouette_rows: u32,
    /// The part of the data set whose rows are scored; the training rows where left out. Labels of the others come from
    /// hdbscan-predict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<Part>,
}

/// A part of the data set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Part {
    Train,
    Val,
    Test,
}

impl Stage for Score {
    const NAME: &'static str = "score";
    const VERSION: u32 = 3;
    const SUMMARY: &'static str =
        "Scores fine labels inside each coarse class, and against the true ones where known";
    const HEADLINE: &'static [&'static str] = &[
        "clusters",
        "true_classes",
        "accuracy",
        "ari",
        "nmi",
        "silhouette",
    ];

    fn inputs() -> Vec<Port> {
        let [data, _] = classes::ports();
        vec![
            Port::new(
                "labels",
                ArtifactType::Labels,
                "[n], fine labels; -1 leaves a row out",
            ),
            Port::optional(
                "embedding",
                ArtifactType::Array,
                "[n, d], for the silhouette; NaN leaves a row out",
            ),
            data,
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::new(
            "metrics",
            ArtifactType::Metrics,
            "clusters; with an embedding silhouette, and silhouette_error where that is an estimate; with known fine labels true_classes, accuracy, ari, nmi, ami; the same by coarse class",
        )]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let labels = array::read_labels(context.input("labels")?)?;
        let n = labels.len();
        let embedding = match context.optional_input("embedding") {
            Some(path) => {
                let embedding = array::read_matrix_f64(path)?;
                classes::same_rows("labels", n, "embedding", embedding.nrows())?;
                Some(embedding)
            }
            None => None,
        };
        let fine = match context.optional_input("data") {
            Some(path) => Rows::read(path)?.fine,
            None => None,
        };
        let split = match self.split.unwrap_or(Part::Train) {
            Part::Train => Split::Train,
            Part::Val => Split::Val,
            Part::Test => Split::Test,
        };
        ensure!(
            self.split.is_none() || context.optional_input("data").is_some(),
            "split is given, and no input `data` that tells which rows are of it"
        );
        let classes = classes::of_split(context, "labels", n, split, |row| labels[row] >= 0)?;
        let groups = classes::each(context, &classes, |class, step| {
            let own = labels.select(Axis(0), &class.rows);
            let mut numbers = vec![("clusters", Some(distinct(&own) as f64))];
            if let Some(embedding) = &embedding {
                numbers.extend(self.silhouette(embedding, &labels, &class.rows, step)?);
            }
            if let Some(fine) = &fine {
                let truth = fine.select(Axis(0), &class.rows);
                let (truth, own) = (truth.view(), own.view());
                numbers.extend([
                    ("true_classes", Some(distinct(&truth.to_owned()) as f64)),
                    ("accuracy", Some(scores::accuracy(truth, own)?)),
                    ("ari", Some(scores::adjusted_rand(truth, own)?)),
                    ("nmi", Some(scores::normalized_mutual_info(truth, own)?)),
                    ("ami", Some(scores::adjusted_mutual_info(truth, own)?)),
                ]);
            }
            Ok(Group {
                name: class.name.clone(),
                rows: class.rows.len(),
                numbers,
            })
        })?;
        let used: BTreeSet<i32> = classes
            .iter()
            .flat_map(|c| c.rows.iter().map(|&row| labels[row]))
            .collect();
        let report = Report::new(groups)
            .total("clusters", used.len() as f64)
            .estimate("silhouette", "silhouette_error");
        let report = match fine {
            Some(_) => report
                .sum("true_classes")
                .mean("accuracy")
                .mean("ari")
                .mean("nmi")
                .mean("ami"),
            None => report,
        };
        report.write(context)
    }
}

impl Score {
    /// The silhouette of the rows whose place is finite; nothing where there are none.
    fn silhouette(
        &self,
        embedding: &Array2<f64>,
        labels: &Array1<i32>,
        rows: &[usize],
        step: &(dyn Fn(f64) + Sync),
    ) -> Result<Vec<(&'static str, Option<f64>)>> {
        let rows: Vec<usize> = rows
            .iter()
            .copied()
            .filter(|&row| classes::finite(embedding, row))
            .collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let points = classes::take(embedding, &rows)?;
        let labels = labels.select(Axis(0), &rows);
        let found = report::silhouette(points.view(), labels.view(), self.silhouette_rows, step)?;
        Ok(found.to_vec())
    }
}

fn distinct(labels: &Array1<i32>) -> usize {
    labels.iter().collect::<BTreeSet<_>>().len()
}
