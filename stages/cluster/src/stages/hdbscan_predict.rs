//! `hdbscan-predict`: fine labels of new rows, by the clusters that `hdbscan-model` found.

use anyhow::{Result, ensure};
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array1, Array2, Axis, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hdbscan::Hdbscan;
use super::hdbscan_model::HdbscanModel;
use super::report::{Group, Report};
use super::{all_cores, classes, model};
use crate::hdbscan::soft_labels;
use crate::views::{self, Discovered, Label};

/// Says which of the clusters that were found new rows belong to, and how much to each.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HdbscanPredict {}

/// One class's part.
struct Part {
    found: crate::Prediction,
    /// The fine labels, numbered in the class, and how many the class has.
    labels: Array1<i32>,
    count: usize,
    /// For each of its labels the new rows nearest to the exemplars.
    nearest: Vec<Vec<usize>>,
    /// The places of new rows in the class.
    new: Vec<usize>,
    group: Group,
}

impl Stage for HdbscanPredict {
    const NAME: &'static str = "hdbscan-predict";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str = "Gives new rows the fine labels of each coarse class";
    const HEADLINE: &'static [&'static str] = &["new", "noise"];

    fn inputs() -> Vec<Port> {
        vec![
            Port::new(
                "model",
                ArtifactType::Model,
                "the output `model` of a stage of the kind hdbscan-model",
            ),
            Port::new(
                "embedding",
                ArtifactType::Array,
                "[n, d], with the model's columns, such as umap-transform gives; rows with NaN are left out",
            ),
            classes::port_of_all(),
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "labels",
                ArtifactType::Labels,
                "i32 [n], of rows of every split: the cluster of greatest membership, with the model's numbers; -1 in rows that are left out",
            ),
            Port::new(
                "hard_labels",
                ArtifactType::Labels,
                "i32 [n], the same numbers by density alone; -1 for noise and in rows that are left out",
            ),
            Port::new(
                "probabilities",
                ArtifactType::Array,
                "f64 [n], strength of the hard label, 0..1; NaN in rows that are left out",
            ),
            Port::new(
                "membership",
                ArtifactType::Array,
                "f64 [n, K], how much a row belongs to each cluster; 0 for clusters of other classes; NaN in rows that are left out",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "new: rows that the model was not made from; noise, their share without a hard label; the same by coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "the points by label; images of the new rows of each, their purity and confusion with the true labels where known",
            ),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let points = array::read_matrix_f64(context.input("embedding")?)?;
        let n = points.nrows();
        let file = model::read::<Hdbscan>(context.input("model")?, HdbscanModel::NAME)?;
        let names = &file.head.classes;
        let classes = classes::of_model(context, "embedding", names, n, |row| {
            classes::finite(&points, row)
        })?;
        let parameters = file.head.parameters.parameters();
        let parts = classes::each(context, &classes, |class, step| {
            let trained: Array2<f64> = file.array(&class.name, "embedding")?;
            let model = parameters.model(trained.view())?;
            let stored: Array1<i32> = file.array(&class.name, "hard_labels")?;
            ensure!(
                model.clusters.labels == stored,
                "the model's labels are not those that this version of flow finds in its rows: make it anew with `hdbscan-model`"
            );
            step(0.4);
            let own = classes::take(&points, &class.rows)?;
            let found = model.predict(own.view())?;
            step(0.5);
            let count = model.clusters.clusters();
            let labels = match count {
                0 => Array1::zeros(own.nrows()),
                _ => soft_labels(found.membership.view()),
            };
            if count == 0 && own.nrows() > 0 {
                context.warning(format!(
                    "class {}: the model has no cluster in it; the class is one fine label",
                    class.name
                ));
            }
            let equals = &found.equals;
            let new: Vec<usize> = (0..equals.len()).filter(|&i| equals[i].is_none()).collect();
            let exemplars = model.clusters.exemplars(trained.view())?;
            let nearest = exemplars.iter().enumerate().map(|(cluster, exemplars)| {
                let members = new.iter().copied().filter(|&i| labels[i] == cluster as i32);
                let members: Vec<usize> = members.collect();
                let anchors = trained.select(Axis(0), exemplars);
                let nearest = views::nearest(own.view(), &members, anchors.view());
                nearest.into_iter().map(|i| class.rows[i]).collect()
            });
            let nearest = nearest.collect();
            let noise = new.iter().filter(|&&i| found.labels[i] < 0).count();
            let noise = (!new.is_empty()).then(|| noise as f64 / new.len() as f64);
            let group = Group {
                name: class.name.clone(),
                rows: new.len(),
                numbers: vec![("new", Some(new.len() as f64)), ("noise", noise)],
            };
            step(0.1);
            Ok(Part {
                found,
                labels,
                count: count.max(1),
                nearest,
                new,
                group,
            })
        })?;
        let count: usize = parts.iter().map(|part| part.count).sum();
        let mut labels = Array1::from_elem(n, -1);
        let mut hard_labels = Array1::from_elem(n, -1);
        let mut probabilities = Array1::from_elem(n, f64::NAN);
        let mut membership = Array2::from_elem((n, count), f64::NAN);
        let mut new = vec![false; n];
        let mut each = Vec::new();
        let mut groups = Vec::new();
        let mut first = 0;
        for (place, (class, part)) in classes.iter().zip(parts).enumerate() {
            for (i, &row) in class.rows.iter().enumerate() {
                labels[row] = first as i32 + part.labels[i];
                if part.found.labels[i] >= 0 {
                    hard_labels[row] = first as i32 + part.found.labels[i];
                }
                probabilities[row] = part.found.probabilities[i];
                let mut into = membership.row_mut(row);
                into.fill(0.0);
                match part.found.membership.ncols() {
                    // The one fine label of a class without clusters holds all its rows.
                    0 => into[first] = 1.0,
                    own => into
                        .slice_mut(s![first..first + own])
                        .assign(&part.found.membership.row(i)),
                }
            }
            part.new.iter().for_each(|&i| new[class.rows[i]] = true);
            each.extend((0..part.count).map(|cluster| Label {
                class: place,
                nearest: part.nearest.get(cluster).cloned().unwrap_or_default(),
                persistence: None,
            }));
            groups.push(part.group);
            first += part.count;
        }
        classes::warn_of_none(context, "embedding", &new);
        array::write(&context.output("labels")?, &labels)?;
        array::write(&context.output("hard_labels")?, &hard_labels)?;
        array::write(&context.output("probabilities")?, &probabilities)?;
        array::write(&context.output("membership")?, &membership)?;
        let discovered = Discovered {
            labels: &labels,
            probabilities: Some(&probabilities),
            each,
            anchor: "its exemplars",
            new: Some(&new),
        };
        views::labels(context, &points, &classes, &discovered)?;
        Report::new(groups).sum("new").mean("noise").write(context)
    }
}
