//! What the three trainings share: their outputs.

use anyhow::Result;
use flow_stage::{ArtifactType, Context, Port};
use serde_json::json;

use crate::data::Data;
use crate::measure;
use crate::model::Model;
use crate::train::History;

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
    ]
}

/// Scores the trained model on the test rows and writes the outputs.
///
/// # Errors
/// Where one can't be written.
pub fn finish(context: &Context, model: &Model, data: &Data, history: &History) -> Result<()> {
    let best = history.best();
    let (mut metrics, _) = measure::test(model, data, |_| {})?;
    metrics["val_accuracy"] = json!(best.val_accuracy);
    metrics["best_epoch"] = json!(best.epoch);
    metrics["epochs"] = json!(history.0.len());
    write_metrics(context, &metrics)?;
    history.write(&context.output("history")?)?;
    model.write(&context.output("model")?)
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
