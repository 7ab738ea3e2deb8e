//! `train`: a network from scratch, on coarse or fine labels.

use anyhow::{Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::protocol::{Resources, Revision};
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::training::{self, Uncertain};
use crate::data::{Data, split};
use crate::model::{Labels, Meta};
use crate::net::{Choice, Head};
use crate::recipe::Recipe;
use crate::runtime::{self, Machine};
use crate::task::{Goal, Task};
use crate::train::train;

/// The parameters of `train`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Train {
    /// What to learn: `coarse`, or `fine`, which are the labels of the input `labels`, or the data set's own where
    /// there is no such input (the oracle).
    #[serde(default)]
    labels: Labels,
    /// What becomes of the training images that the input `labels` leaves out: `drop`, or `keep`, which gives them the
    /// label of the nearest cluster in their coarse class, by the input `features`.
    #[serde(default)]
    uncertain: Uncertain,
    #[serde(flatten)]
    choice: Choice,
    #[serde(flatten)]
    recipe: Recipe,
    #[serde(flatten)]
    machine: Machine,
}

impl Stage for Train {
    const NAME: &'static str = "train";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Trains a network from scratch on coarse or fine labels";
    const SEEDED: bool = true;
    const CHECKPOINTS: bool = true;
    const CONTINUES: &'static [&'static str] = Recipe::CONTINUES;
    const PATH_PARAMETERS: &'static [&'static str] = &["weights"];
    const THREADS_PARAMETER: Option<&'static str> = Machine::THREADS;
    const HEADLINE: &'static [&'static str] = super::SCORES;

    fn revisions() -> Vec<Revision> {
        vec![super::narrow(5), super::bf16(5)]
    }

    fn inputs() -> Vec<Port> {
        vec![
            super::data_port(),
            super::labels_port(),
            training::features_port(),
        ]
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

impl Train {
    fn train(&self, context: &Context, device: Device) -> Result<()> {
        self.recipe.check()?;
        let data = Data::read(context.input("data")?, device)?;
        let (task, fine) = match self.labels {
            Labels::Coarse => {
                for input in ["labels", "features"] {
                    let (because, instead) = ("labels = \"coarse\"", "labels = \"fine\"");
                    training::unused(context, input, because, instead)?;
                }
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
                (task, None)
            }
            Labels::Fine => {
                let (fine, rows) = training::fine_labels(context, &data, self.uncertain)?;
                let (train, val) = if fine.is_true {
                    (rows, data.of(Split::Val)?)
                } else {
                    // Discovered labels exist for training rows alone: a tenth of those is set aside.
                    split(&rows, &fine.labels, context.seed())
                };
                ensure!(
                    !val.is_empty(),
                    "the input `labels` leaves {} rows in {} classes: too few to set a tenth of each class aside for \
                     validation",
                    train.len(),
                    fine.to_coarse.len()
                );
                let task = Task {
                    train,
                    val,
                    goals: vec![Goal {
                        labels: data.labels(&fine.labels),
                        classes: training::fine_names(&fine, &data),
                        weight: 1.0,
                    }],
                    groups: None,
                };
                (task, Some(fine))
            }
        };
        // The test rows are needed at the end; better to know now.
        data.of(Split::Test)?;
        let heads = vec![Head::linear("fc", task.goals[0].classes.len() as i64)];
        let meta = Meta {
            spec: self.choice.spec(data.input(), heads)?,
            labels: self.labels,
            coarse_names: data.meta.coarse_names.clone(),
            true_fine: fine.as_ref().is_some_and(|fine| fine.is_true),
            fine_to_coarse: fine.map_or_else(Vec::new, |fine| fine.to_coarse),
            mean: data.meta.mean.clone(),
            std: data.meta.std.clone(),
        };
        let mut model = training::begin(context, meta, &self.choice, &self.machine, device)?;
        let history = train(context, self, &self.recipe, &mut model.net, &data, &task)?;
        training::finish(context, &model, &data, &history)
    }
}
