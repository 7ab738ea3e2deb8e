//! The figures of a training's epochs, and when they end it.

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::data::first_maximum;
use crate::recipe::Recipe;

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

    /// Whether a training that has come so far ends.
    pub fn ends(epochs: &[Epoch], recipe: &Recipe) -> bool {
        let done = epochs.len();
        let losses: Vec<f64> = epochs.iter().map(|epoch| -epoch.val_loss).collect();
        done >= recipe.epochs.max as usize
            || done >= recipe.epochs.min as usize
                && done - 1 - first_maximum(&losses) >= recipe.patience as usize
    }

    /// Whether a training by `recipe` comes by these epochs, or would have ended before.
    pub fn reachable(epochs: &[Epoch], recipe: &Recipe) -> bool {
        (1..epochs.len()).all(|done| !History::ends(&epochs[..done], recipe))
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

/// What is done of an epoch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// Batches.
    pub batches: usize,
    /// The sum of their images' losses.
    pub loss_sum: f64,
    /// How many of their images were classified rightly.
    pub correct: i64,
}

impl Part {
    /// The figures of a checkpoint.
    ///
    /// # Errors
    /// Where it is another number of figures.
    pub fn from_numbers(numbers: &[f64]) -> Result<Self> {
        let &[batches, loss_sum, correct] = numbers else {
            bail!(
                "it holds {} figures of an epoch's part, and 3 are known",
                numbers.len()
            );
        };
        Ok(Part {
            batches: batches as usize,
            loss_sum,
            correct: correct as i64,
        })
    }
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
        let ends =
            |losses: &[f64]| History::ends(&history(losses, &vec![0.5; losses.len()]).0, &recipe);
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
}
