//! `multihead`: one network that learns coarse and fine labels at once.

use anyhow::{Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::protocol::{Resources, Revision};
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::training::{self, Uncertain};
use crate::data::Data;
use crate::model::{Labels, Meta};
use crate::net::{Choice, Head};
use crate::recipe::Recipe;
use crate::runtime::{self, Machine};
use crate::task::{Goal, Task};
use crate::train::train;

/// The parameters of `multihead`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Multihead {
    /// The weight of the coarse head's loss; the fine head has one minus that.
    #[serde(default = "one_fifth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    alpha: f64,
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

fn one_fifth() -> f64 {
    0.2
}

impl Stage for Multihead {
    const NAME: &'static str = "multihead";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Trains one network with a coarse and a fine head";
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

impl Multihead {
    fn train(&self, context: &Context, device: Device) -> Result<()> {
        self.recipe.check()?;
        ensure!(
            (0.0..=1.0).contains(&self.alpha),
            "`alpha` is {}; it is a share, from 0 to 1",
            self.alpha
        );
        let data = Data::read(context.input("data")?, device)?;
        let (fine, rows) = training::fine_labels(context, &data, self.uncertain)?;
        data.of(Split::Test)?;
        let task = Task {
            train: rows,
            val: data.of(Split::Val)?,
            goals: vec![
                Goal {
                    labels: data.labels(data.coarse()),
                    classes: data.meta.coarse_names.clone(),
                    weight: self.alpha,
                },
                Goal {
                    labels: data.labels(&fine.labels),
                    classes: training::fine_names(&fine, &data),
                    weight: 1.0 - self.alpha,
                },
            ],
            groups: None,
        };
        let heads = vec![
            Head::linear("fc", data.meta.coarse_names.len() as i64),
            Head::linear("fc_fine", fine.to_coarse.len() as i64),
        ];
        let meta = Meta {
            spec: self.choice.spec(data.input(), heads)?,
            labels: Labels::Coarse,
            coarse_names: data.meta.coarse_names.clone(),
            fine_to_coarse: fine.to_coarse,
            true_fine: fine.is_true,
            mean: data.meta.mean.clone(),
            std: data.meta.std.clone(),
        };
        let mut model = training::begin(context, meta, &self.choice, &self.machine, device)?;
        let history = train(context, self, &self.recipe, &mut model.net, &data, &task)?;
        training::finish(context, &model, &data, &history)
    }
}
