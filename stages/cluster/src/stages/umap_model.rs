//! `umap-model`: `umap`, which keeps a model for `umap-transform`.

use anyhow::Result;
use flow_stage::protocol::Resources;
use flow_stage::{ArtifactType, Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::classes;
use super::model::{self, Head, Tensor};
use super::umap::Umap;

/// Does what `umap` does, with the same embedding, and keeps a model that places new rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct UmapModel(Umap);

impl Stage for UmapModel {
    const NAME: &'static str = "umap-model";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str =
        "Reduces the features of each coarse class by UMAP, and keeps a model for umap-transform";
    const SEEDED: bool = Umap::SEEDED;
    const HEADLINE: &'static [&'static str] = Umap::HEADLINE;

    fn inputs() -> Vec<Port> {
        Umap::inputs()
    }

    fn outputs() -> Vec<Port> {
        let mut outputs = Umap::outputs();
        outputs.push(Port::new(
            "model",
            ArtifactType::Model,
            "for umap-transform: features and places of each class's rows, the parameters and the seed",
        ));
        outputs
    }

    fn resources() -> Resources {
        Umap::resources()
    }

    fn run(self, context: &Context) -> Result<()> {
        let found = self.0.embed(context)?;
        let mut arrays = Vec::new();
        for (class, places) in found.classes.iter().zip(&found.places) {
            let features = classes::take(&found.features, &class.rows)?;
            arrays.push(vec![
                ("features", Tensor::of(&features)),
                ("embedding", Tensor::of(places)),
            ]);
        }
        let head = Head {
            kind: Self::NAME.into(),
            parameters: self,
            seed: Some(context.seed()),
            classes: classes::names(&found.classes),
        };
        model::write(&context.output("model")?, &head, arrays)
    }
}
