//! `groupdro`: a network that learns coarse labels for the fine group that does worst.

use anyhow::{Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::protocol::Resources;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::training::{self, Uncertain};
use crate::data::Data;
use crate::groups::Groups;
use crate::model::{Labels, Meta};
use crate::net::{Choice, Head};
use crate::recipe::Recipe;
use crate::runtime::{self, Machine};
use crate::task::{Goal, Task};
use crate::train::train;

/// The parameters of `groupdro`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Groupdro {
    /// How fast groups that do badly gain weight: at each batch a group's weight is multiplied by e to the power of this
    /// times its loss.
    #[serde(default = "one_hundredth")]
    #[schemars(range(min = 0.0, max = 10.0))]
    step: f64,
    /// What is added to each group's loss when weights are computed, divided by the root of the group's size: small
    /// groups are fitted better than they are known, the more so the more epochs there are.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1000.0))]
    adjustment: f64,
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

fn one_hundredth() -> f64 {
    0.01
}

impl Stage for Groupdro {
    const NAME: &'static str = "groupdro";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str =
        "Trains a network on coarse labels for the fine group that does worst (group DRO)";
    const SEEDED: bool = true;
    const CHECKPOINTS: bool = true;
    const CONTINUES: &'static [&'static str] = Recipe::CONTINUES;
    const PATH_PARAMETERS: &'static [&'static str] = &["weights"];
    const THREADS_PARAMETER: Option<&'static str> = Machine::THREADS;
    const HEADLINE: &'static [&'static str] = super::SCORES;

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

impl Groupdro {
    fn train(&self, context: &Context, device: Device) -> Result<()> {
        self.recipe.check()?;
        ensure!(
            self.step >= 0.0 && self.adjustment >= 0.0,
            "`step` is {} and `adjustment` {}; neither may be below 0",
            self.step,
            self.adjustment
        );
        let data = Data::read(context.input("data")?, device)?;
        let (fine, rows) = training::fine_labels(context, &data, self.uncertain)?;
        data.of(Split::Test)?;
        let groups = Groups::new(
            data.labels(&fine.labels),
            fine.to_coarse.len(),
            &rows,
            self.step,
            self.adjustment,
        )?;
        let task = Task {
            train: rows,
            val: data.of(Split::Val)?,
            goals: vec![Goal {
                labels: data.labels(data.coarse()),
                classes: data.meta.coarse_names.clone(),
                weight: 1.0,
            }],
            groups: Some(groups),
        };
        let heads = vec![Head::linear("fc", data.meta.coarse_names.len() as i64)];
        let meta = Meta {
            spec: self.choice.spec(data.input(), heads)?,
            labels: Labels::Coarse,
            coarse_names: data.meta.coarse_names.clone(),
            fine_to_coarse: Vec::new(),
            true_fine: false,
            mean: data.meta.mean.clone(),
            std: data.meta.std.clone(),
        };
        let mut model = training::begin(context, meta, &self.choice, &self.machine, device)?;
        let history = train(context, self, &self.recipe, &mut model.net, &data, &task)?;
        training::finish(context, &model, &data, &history)
    }
}
