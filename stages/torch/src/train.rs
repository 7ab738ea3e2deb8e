//! Training, written once: what differs between coarse, fine, fine-tune and multi-head is the task that is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use flow_stage::{Context, random};
use rand::Rng;
use serde::Serialize;
use tch::{Kind, Reduction, Tensor, no_grad};

use crate::checkpoint::{Checkpoint, Identity};
use crate::data::{Data, batches, shuffled};
use crate::groups::Groups;
use crate::history::{Epoch, History, Part};
use crate::net::Network;
use crate::optimise::{Method, Optimiser, warm_restarts};
use crate::range::{self, Curve};
use crate::recipe::Recipe;
use crate::runtime;
use crate::task::Task;

/// After this time a checkpoint is written within an epoch too.
const CHECKPOINT: Duration = Duration::from_secs(300);

/// Trains `net`, which ends as it was after the epoch of best validation accuracy. `parameters` are the stage's own: a
/// checkpoint of the same ones is gone on from. Writes the outputs `state` and `lr_range`.
///
/// # Errors
/// Where the task can't be learned from, the loss is not finite, memory runs out, or something can't be written.
pub fn train(
    context: &Context,
    parameters: &impl Serialize,
    recipe: &Recipe,
    net: &mut Network,
    data: &Data,
    task: &Task,
) -> Result<History> {
    let identity = Identity::of(context, parameters, data.device())?;
    let training = Training::new(context, recipe, data, task, CHECKPOINT)?;
    for doubt in recipe.doubts(task.train.len()) {
        context.warning(doubt);
    }
    let end = runtime::in_batches(recipe.batch_size, data.input(), || {
        training.run(net, &identity)
    })?;
    end.write_state(context, &identity)?;
    end.curve.write(&context.output("lr_range")?)?;
    net.load(&end.best)?;
    Ok(History(end.history))
}

/// What stays the same through a training.
pub struct Training<'a> {
    /// The stage's surroundings.
    pub context: &'a Context,
    /// How to train.
    pub recipe: &'a Recipe,
    /// The images.
    pub data: &'a Data,
    /// What to learn.
    pub task: &'a Task,
    /// The weight of each class, for each head.
    class_weights: Vec<Option<Tensor>>,
    /// After this time a checkpoint is written within an epoch too.
    checkpoint: Duration,
}

impl<'a> Training<'a> {
    /// Makes sure that all fits together.
    ///
    /// # Errors
    /// Where it does not.
    pub fn new(
        context: &'a Context,
        recipe: &'a Recipe,
        data: &'a Data,
        task: &'a Task,
        checkpoint: Duration,
    ) -> Result<Self> {
        recipe.check()?;
        recipe.augment.check(data.input())?;
        task.check()?;
        Ok(Training {
            context,
            recipe,
            data,
            task,
            class_weights: task.class_weights(recipe)?,
            checkpoint,
        })
    }

    /// A new optimiser of `net`.
    pub fn optimiser(&self, net: &Network) -> Optimiser {
        let Recipe {
            optimiser,
            momentum,
            weight_decay,
            ..
        } = *self.recipe;
        Optimiser::new(optimiser, momentum, weight_decay, net.trainable())
    }

    /// The training itself: from where a checkpoint left it, else from the first epoch on.
    ///
    /// # Errors
    /// Where the loss is not finite, or the work folder can't be written.
    pub fn run(&self, net: &mut Network, identity: &Identity) -> Result<Checkpoint> {
        let Training {
            context, recipe, ..
        } = *self;
        let mut optimiser = self.optimiser(net);
        let reachable = |epochs: &[Epoch]| History::reachable(epochs, recipe);
        let mut at = match Checkpoint::find(context, identity, reachable) {
            Some(found) => {
                net.load(&found.model)?;
                optimiser.restore(&found.optimiser)?;
                found
            }
            None => Checkpoint {
                curve: match recipe.rate() {
                    Some(rate) => Curve::given(rate),
                    None => range::test(self, net)?,
                },
                history: Vec::new(),
                part: Part::default(),
                best: net.copy(),
                model: net.tensors(),
                optimiser: optimiser.state(),
                groups: self.group_weights(),
            },
        };
        let say = |history: &[Epoch], message: &str| {
            let max = recipe.epochs.max.into();
            context.progress_message(history.len() as u64, max, "epoch", message);
        };
        say(&at.history, "");
        while at.history.is_empty() || !History::ends(&at.history, recipe) {
            let epoch = self.epoch(net, &mut optimiser, &mut at, identity)?;
            for (name, value) in [
                ("train_loss", epoch.train_loss),
                ("train_accuracy", epoch.train_accuracy),
                ("val_loss", epoch.val_loss),
                ("val_accuracy", epoch.val_accuracy),
                ("lr", epoch.lr),
            ] {
                context.metric(name, value, Some(u64::from(epoch.epoch)));
            }
            if let Some(weight) = Groups::largest(&at.groups) {
                context.metric("largest_group_weight", weight, Some(u64::from(epoch.epoch)));
            }
            let accuracy = epoch.val_accuracy;
            if at
                .history
                .iter()
                .all(|before| before.val_accuracy < accuracy)
            {
                at.best = net.copy();
            }
            at.history.push(epoch);
            self.write(&mut at, net, &optimiser, identity)?;
            say(&at.history, &format!("val accuracy {accuracy:.4}"));
        }
        at.model = net.tensors();
        at.optimiser = optimiser.state();
        Ok(at)
    }

    fn write(
        &self,
        at: &mut Checkpoint,
        net: &Network,
        optimiser: &Optimiser,
        identity: &Identity,
    ) -> Result<()> {
        at.model = net.tensors();
        at.optimiser = optimiser.state();
        at.write(self.context, identity)
    }

    /// Goes once through the training rows, from where `at.part` left them.
    fn epoch(
        &self,
        net: &Network,
        optimiser: &mut Optimiser,
        at: &mut Checkpoint,
        identity: &Identity,
    ) -> Result<Epoch> {
        let Training {
            context, recipe, ..
        } = *self;
        let done = at.history.len();
        let rate = warm_restarts(at.curve.rate, recipe.eta_min, recipe.t0, done as u32);
        let name = done.to_string();
        let order = shuffled(
            self.task.train.clone(),
            context.seed(),
            &format!("shuffle {name}"),
        );
        let batches = batches(&order, recipe.batch_size);
        let begin = Instant::now();
        let (mut said, mut saved) = (begin, begin);
        let (loaded, mut seen) = (self.data.loading(), 0);
        for rows in &batches[at.part.batches.min(batches.len())..] {
            if let Some(next) = batches.get(at.part.batches + 1) {
                self.data.prefetch(next);
            }
            let (loss, correct) = self.forward(net, rows, &name, &mut at.groups)?;
            let value = loss.double_value(&[]);
            ensure!(
                value.is_finite(),
                "{}",
                self.diverged("the loss", value, done + 1, rate)
            );
            optimiser.step(&loss, rate);
            at.part.batches += 1;
            seen += rows.len();
            at.part.loss_sum += value * rows.len() as f64;
            at.part.correct += correct;
            let save = saved.elapsed() >= self.checkpoint;
            if save {
                self.write(at, net, optimiser, identity)?;
                saved = Instant::now();
            }
            if save || said.elapsed() > Duration::from_secs(2) {
                said = Instant::now();
                context.progress_message(
                    done as u64,
                    u64::from(recipe.epochs.max),
                    "epoch",
                    &format!(
                        "batch {} of {}, loss {value:.4}",
                        at.part.batches,
                        batches.len()
                    ),
                );
            }
        }
        // For who watches. Not in the outputs, which the same inputs always make the same.
        let seconds = begin.elapsed().as_secs_f64();
        let loading = (self.data.loading() - loaded).as_secs_f64();
        let step = Some(done as u64 + 1);
        context.metric("images_per_second", seen as f64 / seconds, step);
        context.metric("loading_share", loading / seconds, step);
        let part = std::mem::take(&mut at.part);
        let (val_loss, val_accuracy) = self.validate(net);
        ensure!(
            val_loss.is_finite(),
            "{}",
            self.diverged("the validation loss", val_loss, done + 1, rate)
        );
        let n = order.len() as f64;
        Ok(Epoch {
            epoch: done as u32 + 1,
            train_loss: part.loss_sum / n,
            train_accuracy: part.correct as f64 / n,
            val_loss,
            val_accuracy,
            lr: rate,
        })
    }

    /// What to say of a loss that is not finite.
    fn diverged(&self, what: &str, value: f64, epoch: usize, rate: f64) -> String {
        let remedies = match self.recipe.optimiser {
            Method::Sgd => {
                "try a smaller `lr` (`lr = \"auto\"` looks for one) or a smaller `momentum`"
            }
            Method::Adamw => "try a smaller `lr` (`lr = \"auto\"` looks for one)",
        };
        format!(
            "{what} is {value} in epoch {epoch} with learning rate {rate}: the weights grew out of bounds; {remedies}"
        )
    }

    /// The weights of the task's groups before the first batch, if it has any.
    pub fn group_weights(&self) -> BTreeMap<String, Tensor> {
        let groups = self.task.groups.as_ref();
        groups.map_or_else(BTreeMap::new, Groups::weights)
    }

    /// The loss of all heads on one batch of training rows, as weighted, and how many rows the first head classifies
    /// rightly. `epoch` names what is drawn for the rows. `groups` are the weights of the task's groups, which change.
    ///
    /// # Errors
    /// Where `groups` are those of another task.
    pub fn forward(
        &self,
        net: &Network,
        rows: &[usize],
        epoch: &str,
        groups: &mut BTreeMap<String, Tensor>,
    ) -> Result<(Tensor, i64)> {
        let seed = self.context.seed();
        let index = self.data.index(rows);
        let images = self
            .data
            .augmented(&index, &self.recipe.augment, seed, epoch, rows);
        let mask = net
            .dropout()
            .map(|width| dropout_mask(seed, epoch, rows, width).to_device(self.data.device()));
        let logits = net.forward_training(&images, mask.as_ref());
        let mut loss = Tensor::from(0.0f32).to_device(self.data.device());
        for ((goal, logits), class_weights) in
            self.task.goals.iter().zip(&logits).zip(&self.class_weights)
        {
            let labels = goal.labels.index_select(0, &index);
            let smoothing = self.recipe.label_smoothing;
            let reduction = match self.task.groups {
                Some(_) => Reduction::None,
                None => Reduction::Mean,
            };
            let mut of_head = logits.cross_entropy_loss(
                &labels,
                class_weights.as_ref(),
                reduction,
                -100,
                smoothing,
            );
            if let Some(of_rows) = &self.task.groups {
                of_head = of_rows.loss(&of_head, &index, groups)?;
            }
            loss += of_head * goal.weight;
        }
        let labels = self.task.goals[0].labels.index_select(0, &index);
        Ok((loss, right(&logits[0], &labels)))
    }

    /// The first head's mean cross entropy and accuracy on the validation rows, without class weights and smoothing.
    fn validate(&self, net: &Network) -> (f64, f64) {
        let (mut loss, mut correct) = (0.0, 0);
        no_grad(|| {
            for rows in self.task.val.chunks(self.recipe.batch_size) {
                let index = self.data.index(rows);
                let logits = &net.forward(&self.data.batch(&index))[0];
                let labels = self.task.goals[0].labels.index_select(0, &index);
                loss += logits
                    .cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Sum, -100, 0.0)
                    .double_value(&[]);
                correct += right(logits, &labels);
            }
        });
        let n = self.task.val.len() as f64;
        (loss / n, correct as f64 / n)
    }
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
fn dropout_mask(seed: u64, epoch: &str, rows: &[usize], width: i64) -> Tensor {
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

    #[test]
    fn a_dropout_mask_depends_on_the_row_alone() {
        let both = dropout_mask(1, "0", &[3, 9], 100);
        assert_eq!(both.get(1), dropout_mask(1, "0", &[9], 100).get(0));
        assert_ne!(both.get(1), dropout_mask(1, "1", &[9], 100).get(0));
        let kept = both.mean(Kind::Double).double_value(&[]) / 2.0;
        assert!((0.3..0.7).contains(&kept), "{kept}");
    }
}
