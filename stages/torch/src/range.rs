//! The learning-rate range test: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", §3.3.
//!
//! One step a batch while the learning rate grows by a constant factor from 1e-8 to 1. The rate that is chosen is the
//! one where the smoothed loss falls fastest by step; the network is put back as it was. The constants are those of
//! PyTorch Lightning's finder, which the method's authors used. (Its version 2.6 takes the fall by learning rate, which
//! favours the smallest ones: a fall of any size is steep over a step of 1e-8.)

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use crate::data::{batches, first_maximum, shuffled};
use crate::net::Network;
use crate::train::Training;

/// How many steps the test takes.
pub const STEPS: usize = 100;
const LOWEST: f64 = 1e-8;
const HIGHEST: f64 = 1.0;
/// The weight of the past in the smoothed loss.
const SMOOTHING: f64 = 0.98;
/// A smoothed loss that many times the least one ends the test.
const DIVERGED: f64 = 4.0;
/// The first steps and the last one are not chosen: there the smoothed loss follows single batches.
const SKIPPED: (usize, usize) = (10, 1);

/// A learning rate, and the curve that it was chosen by; without points where it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The learning rate.
    pub rate: f64,
    /// The steps of the test.
    pub points: Vec<Point>,
}

/// One step of the test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The learning rate.
    pub lr: f64,
    /// The batch's loss.
    pub loss: f64,
    /// The exponential mean of the losses so far, without its bias towards 0.
    pub smoothed_loss: f64,
}

impl Point {
    /// All figures, for a checkpoint.
    pub fn numbers(&self) -> [f64; 3] {
        [self.lr, self.loss, self.smoothed_loss]
    }

    /// The figures of a checkpoint.
    ///
    /// # Errors
    /// Where it is another number of figures.
    pub fn from_numbers(numbers: &[f64]) -> Result<Self> {
        let &[lr, loss, smoothed_loss] = numbers else {
            bail!("it holds {} figures a step, and 3 are known", numbers.len());
        };
        Ok(Point {
            lr,
            loss,
            smoothed_loss,
        })
    }
}

impl Curve {
    /// A learning rate that was given.
    pub fn given(rate: f64) -> Self {
        Curve {
            rate,
            points: Vec::new(),
        }
    }

    /// Writes the table: a header alone where the learning rate was given.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let wrong = || format!("{} can't be written", path.display());
        let mut table = csv::WriterBuilder::new()
            .has_headers(false)
            .from_path(path)
            .with_context(wrong)?;
        table
            .write_record(["step", "lr", "loss", "smoothed_loss", "chosen"])
            .with_context(wrong)?;
        for (step, point) in self.points.iter().enumerate() {
            table
                .serialize((step, point, u8::from(point.lr == self.rate)))
                .with_context(wrong)?;
        }
        table.flush().with_context(wrong)
    }
}

/// Makes the test.
///
/// # Errors
/// Where it can't choose.
pub fn test(training: &Training<'_>, net: &mut Network) -> Result<Curve> {
    let before = net.copy();
    let mut optimiser = training.optimiser(net);
    let mut points: Vec<Point> = Vec::new();
    let mut groups = training.group_weights();
    let (mut mean, mut least) = (0.0, f64::INFINITY);
    'rounds: for round in 0.. {
        let name = format!("lr range {round}");
        let order = shuffled(training.task.train.clone(), training.context.seed(), &name);
        for rows in batches(&order, training.recipe.batch_size) {
            let step = points.len();
            if step == STEPS {
                break 'rounds;
            }
            let lr = LOWEST * (HIGHEST / LOWEST).powf(step as f64 / (STEPS - 1) as f64);
            let (loss, _) = training.forward(net, rows, &name, &mut groups)?;
            let value = loss.double_value(&[]);
            mean = SMOOTHING * mean + (1.0 - SMOOTHING) * value;
            let smoothed_loss = mean / (1.0 - SMOOTHING.powi(step as i32 + 1));
            if !value.is_finite() || step > 0 && smoothed_loss > DIVERGED * least {
                break 'rounds;
            }
            least = least.min(smoothed_loss);
            points.push(Point {
                lr,
                loss: value,
                smoothed_loss,
            });
            training.context.progress_message(
                points.len() as u64,
                STEPS as u64,
                "step",
                "learning-rate range test",
            );
            optimiser.step(&loss, lr);
        }
    }
    net.load(&before)?;
    let rate = choose(&points)?;
    training
        .context
        .log(format!("the range test chose the learning rate {rate:.3e}"));
    Ok(Curve { rate, points })
}

/// The learning rate where the smoothed loss falls fastest from step to step (central differences).
fn choose(points: &[Point]) -> Result<f64> {
    let (first, last) = SKIPPED;
    let inner: Vec<usize> = (first..points.len().saturating_sub(last)).collect();
    ensure!(
        inner.len() >= 3,
        "the range test for `lr = \"auto\"` diverged after {} of {STEPS} steps, at a learning rate of {:.1e}: too soon to \
         choose one; give `lr` a number, or look at the data's scale",
        points.len(),
        points.last().map_or(LOWEST, |point| point.lr)
    );
    let fall = |index: &usize| {
        let (before, after) = (
            (*index - 1).max(first),
            (*index + 1).min(points.len() - last - 1),
        );
        (points[before].smoothed_loss - points[after].smoothed_loss) / (after - before) as f64
    };
    let falls: Vec<f64> = inner.iter().map(fall).collect();
    let best = first_maximum(&falls);
    ensure!(
        falls[best] > 0.0,
        "the loss never falls in the range test for `lr = \"auto\"`: give `lr` a number, or look at labels and data"
    );
    Ok(points[inner[best]].lr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: impl Iterator<Item = f64>) -> Vec<Point> {
        losses
            .enumerate()
            .map(|(step, loss)| Point {
                lr: 10f64.powi(step as i32),
                loss,
                smoothed_loss: loss,
            })
            .collect()
    }

    #[test]
    fn the_steepest_fall_is_chosen_past_the_first_steps() {
        // Falls by 0.01 a step, by 0.5 around step 25, and by 5 among the first steps, which do not count.
        let losses = (0..50).map(|step| {
            let early = if step < 5 {
                5.0 * (5 - step) as f64
            } else {
                0.0
            };
            let fall = (step as f64 - 24.0).clamp(0.0, 2.0) * 0.5;
            10.0 + early - 0.01 * step as f64 - fall
        });
        assert_eq!(choose(&curve(losses)).unwrap(), 1e25);
    }

    #[test]
    fn a_curve_that_says_nothing_is_refused() {
        let error = choose(&curve((0..12).map(f64::from))).unwrap_err();
        assert!(
            error.to_string().contains("diverged after 12 of 100"),
            "{error}"
        );
        let error = choose(&curve((0..50).map(f64::from))).unwrap_err();
        assert!(error.to_string().contains("never falls"), "{error}");
    }
}
