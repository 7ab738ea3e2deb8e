//! `finetune`: a trained network goes on to coarse labels, with a new head.

use anyhow::{Context as _, Result};
use flow_stage::dataset::Split;
use flow_stage::protocol::{Resources, Revision};
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Device;

use super::training;
use crate::data::Data;
use crate::model::{Labels, Meta, Model};
use crate::net::Head;
use crate::recipe::Recipe;
use crate::runtime::{self, Machine};
use crate::task::{Goal, Task};
use crate::train::train;

/// What replaces the last layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum HeadKind {
    /// One linear layer.
    #[default]
    Linear,
    /// Dropout of one half, a linear layer as wide as the model has classes, and the last linear layer.
    Deep,
}

/// The parameters of `finetune`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Finetune {
    /// The new head: `linear`, or `deep` (dropout, a layer as wide as the model has classes, the last layer).
    #[serde(default)]
    head: HeadKind,
    /// Train the batch norms and the new head alone.
    #[serde(default)]
    freeze: bool,
    #[serde(flatten)]
    recipe: Recipe,
    #[serde(flatten)]
    machine: Machine,
}

impl Stage for Finetune {
    const NAME: &'static str = "finetune";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str =
        "Trains a trained network further on coarse labels, with a new last layer";
    const SEEDED: bool = true;
    const CHECKPOINTS: bool = true;
    const CONTINUES: &'static [&'static str] = Recipe::CONTINUES;
    const THREADS_PARAMETER: Option<&'static str> = Machine::THREADS;
    const HEADLINE: &'static [&'static str] = super::SCORES;

    fn revisions() -> Vec<Revision> {
        // The gradients of narrow shortcuts, as in `train`, but the width is the model's: no parameter tells it.
        let learning = Revision {
            version: 5,
            when: json!({"properties": {"freeze": {"const": false}}}),
        };
        vec![learning, super::bf16(5)]
    }

    fn inputs() -> Vec<Port> {
        vec![super::data_port(), super::model_port()]
    }

    fn outputs() -> Vec<Port> {
        training::outputs()
    }

    fn resources() -> Resources {
        super::ALL_CORES_AND_A_GPU
    }

    fn run(self, context: &Context) -> Result<()> {
        runtime::start(context, &self.machine, |device| self.train(context, device))
    }
}

impl Finetune {
    fn train(&self, context: &Context, device: Device) -> Result<()> {
        self.recipe.check()?;
        let mut data = Data::read(context.input("data")?, device)?;
        let source = Model::read(context.input("model")?, device)?;
        source.fit(&mut data)?;
        data.of(Split::Test)?;
        let task = Task {
            train: data.of(Split::Train)?,
            val: data.of(Split::Val)?,
            goals: vec![Goal {
                labels: data.labels(data.coarse()),
                classes: data.meta.coarse_names.clone(),
                weight: 1.0,
            }],
            groups: None,
        };
        let old = source.meta.spec.heads.first();
        let old = old.context("the model has no head: it is damaged")?;
        let head = Head {
            name: "fc".into(),
            classes: data.meta.coarse_names.len() as i64,
            hidden: match self.head {
                HeadKind::Linear => None,
                HeadKind::Deep => Some(old.classes),
            },
        };
        let mut meta = Meta {
            labels: Labels::Coarse,
            fine_to_coarse: Vec::new(),
            true_fine: false,
            ..source.meta.clone()
        };
        meta.spec.heads = vec![head];
        let mut model = Model::new(meta, context.seed(), device);
        model.net.set_precision(self.machine.precision);
        model.net.load_body(&source.net.tensors())?;
        if self.freeze {
            model.net.freeze();
        }
        let history = train(context, self, &self.recipe, &mut model.net, &data, &task)?;
        training::finish(context, &model, &data, &history)
    }
}
