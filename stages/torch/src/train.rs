//! Training, written once: what differs between coarse, fine, fine-tune and multi-head is the task that is passed in.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::{Context, random};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor, no_grad};

use crate::checkpoint::Checkpoint;
use crate::data::{Data, batches, first_maximum, shuffled};
use crate::net::Network;
use crate::optimise::{Method, Optimiser, warm_restarts};

/// The parameters that every training has.
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
    /// The learning rate at the start of each period; 0.1 for `sgd` and 0.001 for `adamw` unless given.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub lr: Option<f64>,
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
        ensure!(
            self.eta_min <= self.rate(),
            "`eta_min` is {} and `lr` is {}; the learning rate falls from `lr` towards `eta_min`",
            self.eta_min,
            self.rate()
        );
        Ok(())
    }

    fn rate(&self) -> f64 {
        self.lr.unwrap_or(match self.optimiser {
            Method::Sgd => 0.1,
            Method::Adamw => 0.001,
        })
    }
}

/// What to learn from which rows.
pub struct Task {
    /// The rows to learn from.
    pub train: Vec<usize>,
    /// The rows that the first head is judged by after each epoch.
    pub val: Vec<usize>,
    /// A goal for each head.
    pub goals: Vec<Goal>,
}

/// What one head learns.
pub struct Goal {
    /// The label i64 `[n]` of each row of the data set.
    pub labels: Tensor,
    /// The weight of the head's cross entropy in the loss.
    pub weight: f64,
}

/// One epoch's figures, of the first head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Epoch {
    /// 1, 2, 3, …
    pub epoch: u32,
    /// The mean loss while training, of all heads as weighted.
    pub train_loss: f64,
    /// The accuracy while training.
    pub train_accuracy: f64,
    /// The mean cross entropy on the validation rows.
    pub val_loss: f64,
    /// The accuracy on the validation rows.
    pub val_accuracy: f64,
    /// The learning rate.
    pub lr: f64,
}

impl Epoch {
    /// All figures, for a checkpoint.
    pub fn numbers(&self) -> [f64; 6] {
        [
            f64::from(self.epoch),
            self.train_loss,
            self.train_accuracy,
            self.val_loss,
            self.val_accuracy,
            self.lr,
        ]
    }

    /// The figures of a checkpoint.
    ///
    /// # Errors
    /// Where it is another number of figures.
    pub fn from_numbers(numbers: &[f64]) -> Result<Self> {
        let &[
            epoch,
            train_loss,
            train_accuracy,
            val_loss,
            val_accuracy,
            lr,
        ] = numbers
        else {
            bail!(
                "it holds {} figures an epoch, and 6 are known",
                numbers.len()
            );
        };
        Ok(Epoch {
            epoch: epoch as u32,
            train_loss,
            train_accuracy,
            val_loss,
            val_accuracy,
            lr,
        })
    }
}

/// The epochs of a training.
pub struct History(pub Vec<Epoch>);

impl History {
    /// The first epoch of best validation accuracy.
    pub fn best(&self) -> &Epoch {
        let accuracies: Vec<f64> = self.0.iter().map(|epoch| epoch.val_accuracy).collect();
        &self.0[first_maximum(&accuracies)]
    }

    /// Whether the training is to end here.
    fn ends(&self, recipe: &Recipe) -> bool {
        let done = self.0.len();
        let losses: Vec<f64> = self.0.iter().map(|epoch| -epoch.val_loss).collect();
        done >= recipe.epochs.max as usize
            || done >= recipe.epochs.min as usize
                && done - 1 - first_maximum(&losses) >= recipe.patience as usize
    }

    /// Writes the table.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, path: &std::path::Path) -> Result<()> {
        let wrong = || format!("{} can't be written", path.display());
        let mut table = csv::Writer::from_path(path).with_context(wrong)?;
        for epoch in &self.0 {
            table.serialize(epoch).with_context(wrong)?;
        }
        table.flush().with_context(wrong)
    }
}

/// Trains `net`, which ends as it was after the epoch of best validation accuracy. `parameters` are the stage's own:
/// a checkpoint of the same ones is gone on from.
///
/// # Errors
/// Where the loss is not finite, or the work folder can't be written.
pub fn train(
    context: &Context,
    parameters: &impl Serialize,
    recipe: &Recipe,
    net: &mut Network,
    data: &Data,
    task: &Task,
) -> Result<History> {
    let mut optimiser = Optimiser::new(
        recipe.optimiser,
        recipe.momentum,
        recipe.weight_decay,
        net.trainable(),
    );
    let mut history = History(Vec::new());
    let mut best = net.copy();
    if let Some(checkpoint) = Checkpoint::find(context, parameters) {
        net.load(&checkpoint.model)?;
        optimiser.restore(&checkpoint.optimiser)?;
        (history.0, best) = (checkpoint.history, checkpoint.best);
    }
    while history.0.is_empty() || !history.ends(recipe) {
        let epoch = one_epoch(
            context,
            recipe,
            net,
            &mut optimiser,
            data,
            task,
            history.0.len(),
        )?;
        for (name, value) in [
            ("train_loss", epoch.train_loss),
            ("train_accuracy", epoch.train_accuracy),
            ("val_loss", epoch.val_loss),
            ("val_accuracy", epoch.val_accuracy),
            ("lr", epoch.lr),
        ] {
            context.metric(name, value, Some(u64::from(epoch.epoch)));
        }
        history.0.push(epoch);
        let last = &history.0[history.0.len() - 1];
        if history.best() == last {
            best = net.copy();
        }
        context.progress_message(
            u64::from(last.epoch),
            u64::from(recipe.epochs.max),
            "epoch",
            &format!("val accuracy {:.4}", last.val_accuracy),
        );
        let checkpoint = Checkpoint {
            history: history.0.clone(),
            model: net.tensors(),
            best: best
                .iter()
                .map(|(n, t)| (n.clone(), t.shallow_clone()))
                .collect(),
            optimiser: optimiser
                .state()
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
        };
        checkpoint.write(context, parameters)?;
    }
    net.load(&best)?;
    Ok(history)
}

fn one_epoch(
    context: &Context,
    recipe: &Recipe,
    net: &Network,
    optimiser: &mut Optimiser,
    data: &Data,
    task: &Task,
    done: usize,
) -> Result<Epoch> {
    let rate = warm_restarts(recipe.rate(), recipe.eta_min, recipe.t0, done as u32);
    let order = shuffled(
        task.train.clone(),
        context.seed(),
        &format!("shuffle {done}"),
    );
    let batches = batches(&order, recipe.batch_size);
    let (mut loss_sum, mut correct) = (0.0, 0);
    let mut said = Instant::now();
    for (number, rows) in batches.iter().enumerate() {
        let index = data.index(rows);
        let mask = net
            .dropout()
            .map(|width| dropout_mask(context.seed(), done, rows, width).to_device(data.device()));
        let logits = net.forward_training(&data.batch(&index), mask.as_ref());
        let mut loss = Tensor::from(0.0f32).to_device(data.device());
        for (goal, logits) in task.goals.iter().zip(&logits) {
            loss += cross_entropy(
                logits,
                &goal.labels.index_select(0, &index),
                Reduction::Mean,
            ) * goal.weight;
        }
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            bail!(
                "the loss is {value} in epoch {} with learning rate {rate}: try a smaller `lr`{}",
                done + 1,
                match recipe.optimiser {
                    Method::Sgd => " or a smaller `momentum`",
                    Method::Adamw => "",
                }
            );
        }
        optimiser.step(&loss, rate);
        loss_sum += value * rows.len() as f64;
        correct += right(&logits[0], &task.goals[0].labels.index_select(0, &index));
        if said.elapsed() > Duration::from_secs(2) {
            said = Instant::now();
            context.progress_message(
                done as u64,
                u64::from(recipe.epochs.max),
                "epoch",
                &format!("batch {} of {}, loss {value:.4}", number + 1, batches.len()),
            );
        }
    }
    let (val_loss, val_accuracy) = validate(net, data, task, recipe.batch_size)?;
    let n = order.len() as f64;
    Ok(Epoch {
        epoch: done as u32 + 1,
        train_loss: loss_sum / n,
        train_accuracy: correct as f64 / n,
        val_loss,
        val_accuracy,
        lr: rate,
    })
}

/// The first head's mean cross entropy and accuracy on the validation rows.
fn validate(net: &Network, data: &Data, task: &Task, batch_size: usize) -> Result<(f64, f64)> {
    let (mut loss, mut correct) = (0.0, 0);
    no_grad(|| {
        for rows in task.val.chunks(batch_size) {
            let index = data.index(rows);
            let logits = &net.forward(&data.batch(&index))[0];
            let labels = task.goals[0].labels.index_select(0, &index);
            loss += cross_entropy(logits, &labels, Reduction::Sum).double_value(&[]);
            correct += right(logits, &labels);
        }
    });
    ensure!(
        loss.is_finite(),
        "the validation loss is {loss}: the network's weights grew out of bounds; try a smaller `lr`"
    );
    let n = task.val.len() as f64;
    Ok((loss / n, correct as f64 / n))
}

fn cross_entropy(logits: &Tensor, labels: &Tensor, reduction: Reduction) -> Tensor {
    logits.cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, 0.0)
}

fn right(logits: &Tensor, labels: &Tensor) -> i64 {
    logits
        .argmax(1, false)
        .eq_tensor(labels)
        .sum(Kind::Int64)
        .int64_value(&[])
}

/// The dropout of the deep head, 0 or 2 for each feature `[b, width]`: drawn by epoch and row, so that neither batches
/// nor an interruption change it.
fn dropout_mask(seed: u64, epoch: usize, rows: &[usize], width: i64) -> Tensor {
    let purpose = format!("dropout {epoch}");
    let mut mask = Vec::with_capacity(rows.len() * width as usize);
    for &row in rows {
        let mut random = random::generator(seed, &purpose, row as u64);
        let mut bits = 0;
        for feature in 0..width {
            if feature % 64 == 0 {
                bits = random.next_u64();
            }
            mask.push(2.0 * ((bits >> (feature % 64)) & 1) as f32);
        }
    }
    Tensor::from_slice(&mask).view([rows.len() as i64, width])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(losses: &[f64], accuracies: &[f64]) -> History {
        let epochs = losses.iter().zip(accuracies).zip(1..);
        History(
            epochs
                .map(|((&loss, &accuracy), epoch)| {
                    Epoch::from_numbers(&[f64::from(epoch), 0.0, 0.0, loss, accuracy, 0.1]).unwrap()
                })
                .collect(),
        )
    }

    #[test]
    fn a_training_ends_when_the_loss_no_longer_falls() {
        let recipe: Recipe = serde_json::from_value(
            serde_json::json!({ "epochs": { "min": 3, "max": 6 }, "patience": 2 }),
        )
        .unwrap();
        let ends = |losses: &[f64]| history(losses, &vec![0.5; losses.len()]).ends(&recipe);
        assert!(!ends(&[1.0, 2.0]));
        assert!(ends(&[1.0, 2.0, 3.0]));
        assert!(!ends(&[2.0, 1.0, 3.0]));
        assert!(ends(&[2.0, 1.0, 1.0, 1.0]));
        assert!(!ends(&[5.0, 4.0, 3.0, 2.0, 1.0]));
        assert!(ends(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]));
    }

    #[test]
    fn the_first_of_the_most_accurate_epochs_is_the_best() {
        assert_eq!(history(&[1.0; 4], &[0.5, 0.9, 0.9, 0.8]).best().epoch, 2);
    }

    #[test]
    fn a_dropout_mask_depends_on_the_row_alone() {
        let both = dropout_mask(1, 0, &[3, 9], 100);
        assert_eq!(both.get(1), dropout_mask(1, 0, &[9], 100).get(0));
        assert_ne!(both.get(1), dropout_mask(1, 1, &[9], 100).get(0));
        let kept = both.mean(Kind::Double).double_value(&[]) / 2.0;
        assert!((0.3..0.7).contains(&kept), "{kept}");
    }
}
