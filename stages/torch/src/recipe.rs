//! The parameters that every training has.

use std::borrow::Cow;

use anyhow::{Result, ensure};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::augment::Augment;
use crate::optimise::Method;
use crate::range::STEPS;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recipe {
    /// How many epochs to train at least and at most.
    #[serde(default)]
    pub epochs: Epochs,
    /// Stop when the validation loss has not fallen for this many epochs.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 100000))]
    pub patience: u32,
    /// Images that a step of the optimiser sees.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 2, max = 1000000))]
    pub batch_size: usize,
    /// The optimiser.
    #[serde(default)]
    pub optimiser: Method,
    /// The learning rate at the start of each period: a number, or `auto` for a range test before the first epoch. 0.1
    /// for `sgd` and 0.001 for `adamw` unless given.
    #[serde(default)]
    pub lr: Option<Rate>,
    /// The momentum of `sgd`.
    #[serde(default = "nine_tenths")]
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: f64,
    /// The weight decay.
    #[serde(default = "half_a_thousandth")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// The learning rate's period in epochs: cosine annealing with warm restarts.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100000))]
    pub t0: u32,
    /// The learning rate that each period falls towards.
    #[serde(default = "one_millionth")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub eta_min: f64,
    /// The share of each label that is spread evenly over all classes (Szegedy et al. 2016).
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.999))]
    pub label_smoothing: f64,
    /// The weight of each class in the loss: `balanced` (the inverse of its share of the training images, for each
    /// head), or a list of a weight for each class of the first head. All count the same unless given.
    #[serde(default)]
    pub class_weights: Option<ClassWeights>,
    /// Random changes of the training images, drawn anew for each image and epoch. None unless given.
    #[serde(default)]
    pub augment: Augment,
}

/// How long to train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Epochs {
    /// Epochs before which a training is not stopped early.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 100000))]
    pub min: u32,
    /// Epochs after which it ends.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 100000))]
    pub max: u32,
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs {
            min: thirty(),
            max: fifty(),
        }
    }
}

/// A learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rate {
    /// This one.
    Fixed(f64),
    /// What a range test chooses.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// The only one.
    Auto,
}

impl JsonSchema for Rate {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // In one, so that the type tells whoever fills in defaults that `1` is a number with a fraction.
        json_schema!({ "type": ["number", "string"], "minimum": 0.0, "maximum": 100.0, "pattern": "^auto$" })
    }
}

/// The weights of classes in the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassWeights {
    /// By the inverse of each class's share.
    Rule(Balanced),
    /// These, of the first head.
    List(Vec<f64>),
}

/// The word `balanced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Balanced {
    /// The only one.
    Balanced,
}

fn four() -> u32 {
    4
}
fn ten() -> u32 {
    10
}
fn thirty() -> u32 {
    30
}
fn fifty() -> u32 {
    50
}
fn two_hundred() -> usize {
    200
}
fn nine_tenths() -> f64 {
    0.9
}
fn half_a_thousandth() -> f64 {
    5e-4
}
fn one_millionth() -> f64 {
    1e-6
}

impl Recipe {
    /// The parameters (JSON pointers) that only say when a training ends. Each of them larger, it never ends sooner: so
    /// it begins as one with smaller ones does.
    pub const CONTINUES: &[&str] = &["/epochs/max", "/epochs/min", "/patience"];

    /// Makes sure that the parameters fit each other.
    ///
    /// # Errors
    /// Where they don't.
    pub fn check(&self) -> Result<()> {
        let Epochs { min, max } = self.epochs;
        ensure!(
            min <= max,
            "`epochs` asks for {min} at least and {max} at most; `min` must not exceed `max`"
        );
        if let Some(rate) = self.rate() {
            ensure!(
                self.eta_min <= rate,
                "`eta_min` is {} and `lr` is {rate}; the learning rate falls from `lr` towards `eta_min`",
                self.eta_min,
            );
        }
        if let Some(ClassWeights::List(weights)) = &self.class_weights {
            ensure!(
                weights.iter().all(|weight| *weight >= 0.0)
                    && weights.iter().any(|weight| *weight > 0.0),
                "`class_weights` may not be negative, and not all of them 0"
            );
        }
        Ok(())
    }

    /// What is allowed and makes no sense with `images` training images, in words with both figures. Not the defaults of what
    /// is counted in epochs: a short trial is no mistake.
    pub fn doubts(&self, images: usize) -> Vec<String> {
        let max = self.epochs.max;
        let mut doubts = Vec::new();
        if self.batch_size > images {
            doubts.push(format!(
                "`batch_size` is {} and there are {images} training images: each epoch is a single step of the optimiser",
                self.batch_size
            ));
        }
        if self.patience > max && self.patience != four() {
            doubts.push(format!(
                "`patience` is {} and `epochs.max` is {max}: the training never stops early",
                self.patience
            ));
        }
        if self.t0 > max && self.t0 != ten() {
            doubts.push(format!(
                "`t0` is {} and `epochs.max` is {max}: the training ends before the learning rate has fallen to `eta_min`",
                self.t0
            ));
        }
        let steps = images
            .div_ceil(self.batch_size)
            .saturating_mul(max as usize);
        if self.rate().is_none() && steps < STEPS {
            doubts.push(format!(
                "the range test for `lr = \"auto\"` takes {STEPS} steps and the training {steps} at most: give `lr` a number"
            ));
        }
        doubts
    }

    /// The learning rate; none where a range test chooses it.
    pub fn rate(&self) -> Option<f64> {
        match (self.lr, self.optimiser) {
            (Some(Rate::Auto(_)), _) => None,
            (Some(Rate::Fixed(rate)), _) => Some(rate),
            (None, Method::Sgd) => Some(0.1),
            (None, Method::Adamw) => Some(0.001),
        }
    }
}
