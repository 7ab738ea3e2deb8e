//! `umap-transform`: places new rows in an embedding that `umap-model` made.

use anyhow::Result;
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use ndarray::{Array2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{self, Group, Report};
use super::umap::Umap;
use super::umap_model::UmapModel;
use super::{all_cores, classes, memory, model};
use crate::views;

/// Places new rows in an embedding: each one by the model and its own features alone.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UmapTransform {}

impl Stage for UmapTransform {
    const NAME: &'static str = "umap-transform";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str = "Places new rows in the embedding of each coarse class";
    const HEADLINE: &'static [&'static str] = &["new", "trustworthiness"];

    fn inputs() -> Vec<Port> {
        vec![
            Port::new(
                "model",
                ArtifactType::Model,
                "the output `model` of a stage of the kind umap-model",
            ),
            Port::new(
                "features",
                ArtifactType::Array,
                "[n, d], with the model's columns; rows with NaN are left out",
            ),
            classes::port_of_all(),
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "embedding",
                ArtifactType::Array,
                "f32 [n, n_components], of rows of every split; NaN in rows that are left out",
            ),
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "new: rows that the model was not made from; trustworthiness among them (and trustworthiness_error where that is an estimate); the same by coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "the points of each class in two dimensions, the model's and the new ones",
            ),
        ]
    }

    fn resources() -> Resources {
        all_cores()
    }

    fn run(self, context: &Context) -> Result<()> {
        let features = array::read_matrix(context.input("features")?)?;
        let n = features.nrows();
        let file = model::read::<Umap>(context.input("model")?, UmapModel::NAME)?;
        let (stage, seed) = (&file.head.parameters, file.head.seed);
        let umap = stage.parameters(seed.unwrap_or_default());
        let names = &file.head.classes;
        let classes = classes::of_model(context, "features", names, n, |row| {
            classes::finite(&features, row)
        })?;
        // The model and the rows, those of each class, and both as they are laid out for the search.
        let rows: usize = classes.iter().map(|class| class.rows.len()).sum();
        memory::check(context, 3 * (file.len() + 4 * rows * features.ncols()))?;
        let found = classes::each(context, &classes, |class, step| {
            let of_model = |name: &str| file.array(&class.name, name);
            let model = umap.model(of_model("features")?, of_model("embedding")?)?;
            let points = classes::take(&features, &class.rows)?;
            let (placed, equals) = model.transform(points.view(), step)?;
            let new: Vec<usize> = (0..equals.len()).filter(|&i| equals[i].is_none()).collect();
            let of_new = |array: &Array2<f32>| array.select(Axis(0), &new);
            let trust =
                report::trustworthiness(&of_new(&points), &of_new(&placed), stage.metric())?;
            let mut numbers = vec![("new", Some(new.len() as f64))];
            numbers.extend(trust);
            let group = Group {
                name: class.name.clone(),
                rows: new.len(),
                numbers,
            };
            Ok((placed, new, group))
        })?;
        let mut parts = Vec::new();
        let mut groups = Vec::new();
        let mut new = vec![false; n];
        for (class, (placed, own, group)) in classes.iter().zip(found) {
            own.into_iter().for_each(|i| new[class.rows[i]] = true);
            parts.push(placed);
            groups.push(group);
        }
        classes::warn_of_none(context, "features", &new);
        let columns = parts[0].ncols();
        classes::write_rows(context, "embedding", n, columns, &classes, &parts)?;
        views::embedding(context, &features, &classes, &parts, Some(&new))?;
        Report::new(groups)
            .sum("new")
            .estimate("trustworthiness", "trustworthiness_error")
            .write(context)
    }
}
