//! What the trainings share: their fine labels and their outputs.

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::{ArtifactType, Context, Port, array};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Device;

use crate::data::{Data, Fine};
use crate::history::History;
use crate::measure;
use crate::model::{Meta, Model};
use crate::nearest;
use crate::net::Choice;
use crate::runtime::{self, Machine};
use crate::tensorboard::{self, Step};
use crate::views;

/// What becomes of the training images that the input `labels` leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Uncertain {
    /// They are not trained on.
    #[default]
    Drop,
    /// They get the label of the nearest cluster.
    Keep,
}

/// The input that says how near images are to clusters.
pub fn features_port() -> Port {
    Port::optional(
        "features",
        ArtifactType::Array,
        "activations of each training image, [n, d], for `uncertain = \"keep\"`",
    )
}

/// The fine labels to train on, and the training rows that have one.
///
/// # Errors
/// Where the inputs don't fit the data set or each other.
pub fn fine_labels(
    context: &Context,
    data: &Data,
    uncertain: Uncertain,
) -> Result<(Fine, Vec<usize>)> {
    let mut fine = Fine::read(context.optional_input("labels"), data)?;
    let mut rows = data.of(Split::Train)?;
    let features = context.optional_input("features");
    if uncertain == Uncertain::Keep {
        let features = features.context(
            "`uncertain = \"keep\"` needs the input `features`, to find the nearest cluster of an image by",
        )?;
        let left = nearest::keep(&mut fine, data, &array::read_matrix(features)?, &rows)?;
        if left > 0 {
            context.warning(format!(
                "{left} training images are left out: their coarse class has no fine label at all"
            ));
        }
    } else {
        unused(
            context,
            "features",
            "uncertain = \"drop\"",
            "uncertain = \"keep\"",
        )?;
    }
    rows.retain(|&row| fine.labels[row] >= 0);
    Ok((fine, rows))
}

/// Makes sure that an input is not given where it is of no use.
///
/// # Errors
/// Where it is.
pub fn unused(context: &Context, input: &str, because: &str, instead: &str) -> Result<()> {
    ensure!(
        context.optional_input(input).is_none(),
        "the stage has an input `{input}`, and `{because}` makes no use of it: set `{instead}`, or leave the input out"
    );
    Ok(())
}

/// The names of the fine classes.
pub fn fine_names(fine: &Fine, data: &Data) -> Vec<String> {
    if fine.is_true {
        data.meta.fine_names.clone()
    } else {
        let labels = 0..fine.to_coarse.len();
        labels.map(|label| format!("label {label}")).collect()
    }
}

/// A new network, with the weights that it begins with.
///
/// # Errors
/// Where the weights can't be read, or don't fit.
pub fn begin(
    context: &Context,
    meta: Meta,
    choice: &Choice,
    machine: &Machine,
    device: Device,
) -> Result<Model> {
    let mut model = Model::new(meta, context.seed(), device);
    model.net.set_precision(machine.precision);
    if let Some(checkpoint) = &choice.weights {
        context.log(model.net.begin_with(checkpoint)?);
    }
    Ok(model)
}

/// The outputs of every training.
pub fn outputs() -> Vec<Port> {
    vec![
        Port::new(
            "model",
            ArtifactType::Model,
            "the network after the epoch of best validation accuracy",
        ),
        Port::new(
            "history",
            ArtifactType::Table,
            "an epoch a row: epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr",
        ),
        Port::new(
            "metrics",
            ArtifactType::Metrics,
            "coarse accuracy and loss on the test rows, best epoch and its validation accuracy",
        ),
        Port::new(
            "lr_range",
            ArtifactType::Table,
            "the range test's curve with `lr = \"auto\"`, a step a row: step, lr, loss, smoothed_loss, chosen",
        ),
        Port::new(
            "state",
            ArtifactType::File,
            "what a longer training goes on from: the last epoch's network, the optimiser's state, the history",
        ),
        Port::new(
            "tensorboard",
            ArtifactType::Folder,
            "the history and the test metrics as a log folder of TensorBoard",
        ),
        Port::new(
            "view",
            ArtifactType::View,
            "curves by epoch, confusion matrix, accuracy of each class and subclass, calibration",
        ),
    ]
}

/// Scores the trained model on the test rows and writes the outputs.
///
/// # Errors
/// Where one can't be written.
pub fn finish(context: &Context, model: &Model, data: &Data, history: &History) -> Result<()> {
    let best = history.best();
    let (mut metrics, answers) = runtime::in_batches(measure::BATCH, data.input(), || {
        measure::test(model, data, |_| {})
    })?;
    metrics["val_accuracy"] = json!(best.val_accuracy);
    metrics["best_epoch"] = json!(best.epoch);
    metrics["epochs"] = json!(history.0.len());
    write_metrics(context, &metrics)?;
    history.write(&context.output("history")?)?;
    let log = &context.output("tensorboard")?;
    tensorboard::write(log, &scalars(&metrics, history))?;
    views::training(&context.output("view")?, history, data, &answers, &metrics)?;
    model.write(&context.output("model")?)
}

/// The curves of a training, and the test metrics at the best epoch.
fn scalars(metrics: &serde_json::Value, history: &History) -> Vec<Step> {
    let best = history.best().epoch;
    history
        .0
        .iter()
        .map(|epoch| {
            let mut values = vec![
                ("accuracy/train".to_owned(), epoch.train_accuracy),
                ("accuracy/validation".to_owned(), epoch.val_accuracy),
                ("loss/train".to_owned(), epoch.train_loss),
                ("loss/validation".to_owned(), epoch.val_loss),
                ("lr".to_owned(), epoch.lr),
            ];
            if epoch.epoch == best {
                let metrics = metrics.as_object().into_iter().flatten();
                values.extend(metrics.filter_map(|(name, value)| {
                    let name = name.strip_prefix("test_")?;
                    Some((format!("test/{name}"), value.as_f64()?))
                }));
            }
            Step {
                step: i64::from(epoch.epoch),
                values,
            }
        })
        .collect()
}

/// Writes the output `metrics` and reports its numbers.
///
/// # Errors
/// Where it can't be written.
pub fn write_metrics(context: &Context, metrics: &serde_json::Value) -> Result<()> {
    for (name, value) in metrics.as_object().into_iter().flatten() {
        if let Some(value) = value.as_f64() {
            context.metric(name, value, None);
        }
    }
    let path = context.output("metrics")?;
    let text = serde_json::to_string_pretty(metrics)? + "\n";
    std::fs::write(&path, text)
        .map_err(|error| anyhow::anyhow!("{} can't be written: {error}", path.display()))
}
