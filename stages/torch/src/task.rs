//! What a training learns from which rows, checked before the first epoch.

use anyhow::{Result, ensure};
use tch::Tensor;

use crate::data;
use crate::groups::Groups;
use crate::recipe::{Balanced, ClassWeights, Recipe};

/// What to learn from which rows.
pub struct Task {
    /// The rows to learn from.
    pub train: Vec<usize>,
    /// The rows that the first head is judged by after each epoch.
    pub val: Vec<usize>,
    /// A goal for each head.
    pub goals: Vec<Goal>,
    /// The groups of which the worst counts; none where all rows count the same.
    pub groups: Option<Groups>,
}

/// What one head learns.
pub struct Goal {
    /// The label i64 `[n]` of each row of the data set.
    pub labels: Tensor,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The weight of the head's cross entropy in the loss.
    pub weight: f64,
}

impl Task {
    /// How many of the training rows each class of a goal has.
    fn counts(&self, goal: &Goal) -> Result<Vec<usize>> {
        data::counts(&goal.labels, goal.classes.len(), &self.train)
    }

    /// Makes sure that there is something to learn from, for every class.
    ///
    /// # Errors
    /// Where there is not, or a label is out of range.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.train.len() >= 2,
            "there is {} training image; batch norm needs two at least",
            self.train.len()
        );
        for goal in &self.goals {
            let counts = self.counts(goal)?;
            let empty: Vec<&str> = (0..counts.len())
                .filter(|&class| counts[class] == 0)
                .map(|class| goal.classes[class].as_str())
                .collect();
            ensure!(
                empty.is_empty(),
                "{} of {} classes have no training image ({}{}): a network can't learn them. Take more images (`limit`), \
                 or leave the classes out",
                empty.len(),
                counts.len(),
                empty[..empty.len().min(5)].join(", "),
                if empty.len() > 5 { ", …" } else { "" }
            );
        }
        Ok(())
    }

    /// The weight f32 `[classes]` of each class in each head's loss; none where all count the same.
    pub fn class_weights(&self, recipe: &Recipe) -> Result<Vec<Option<Tensor>>> {
        let tensor = |weights: &[f64], goal: &Goal| {
            let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
            Tensor::from_slice(&weights).to_device(goal.labels.device())
        };
        self.goals
            .iter()
            .enumerate()
            .map(|(head, goal)| match &recipe.class_weights {
                Some(ClassWeights::Rule(Balanced::Balanced)) => {
                    let counts = self.counts(goal)?;
                    let even = self.train.len() as f64 / counts.len() as f64;
                    let weights: Vec<f64> = counts.iter().map(|&n| even / n as f64).collect();
                    Ok(Some(tensor(&weights, goal)))
                }
                Some(ClassWeights::List(weights)) if head == 0 => {
                    ensure!(
                        weights.len() == goal.classes.len(),
                        "`class_weights` holds {} weights, and there are {} classes: {}",
                        weights.len(),
                        goal.classes.len(),
                        goal.classes.join(", ")
                    );
                    Ok(Some(tensor(weights, goal)))
                }
                _ => Ok(None),
            })
            .collect()
    }
}
