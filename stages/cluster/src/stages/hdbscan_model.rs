//! `hdbscan-model`: `hdbscan`, which keeps a model for `hdbscan-predict`.

use anyhow::Result;
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes;
use super::hdbscan::Hdbscan;
use super::model::{self, Head, Tensor};

/// Does what `hdbscan` does, with the same labels, and keeps a model that says where new rows belong.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct HdbscanModel(Hdbscan);

impl Stage for HdbscanModel {
    const NAME: &'static str = "hdbscan-model";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str = "Finds fine labels in each coarse class by soft HDBSCAN, and keeps a model for hdbscan-predict";
    const HEADLINE: &'static [&'static str] = Hdbscan::HEADLINE;

    fn inputs() -> Vec<Port> {
        Hdbscan::inputs()
    }

    fn outputs() -> Vec<Port> {
        let mut outputs = Hdbscan::outputs();
        outputs.push(Port::new(
            "model",
            ArtifactType::Model,
            "for hdbscan-predict: places and hard labels of each class's rows, and the parameters",
        ));
        outputs
    }

    fn resources() -> Resources {
        Hdbscan::resources()
    }

    fn run(self, context: &Context) -> Result<()> {
        let found = self.0.find(context)?;
        let mut arrays = Vec::new();
        for (class, labels) in found.classes.iter().zip(&found.hard_labels) {
            let places = classes::take(&found.points, &class.rows)?;
            arrays.push(vec![
                ("embedding", Tensor::of(&places)),
                ("hard_labels", Tensor::of(labels)),
            ]);
        }
        let head = Head {
            kind: Self::NAME.into(),
            parameters: self,
            seed: None,
            classes: classes::names(&found.classes),
        };
        model::write(&context.output("model")?, &head, arrays)
    }
}
