//! `evaluate`: a model's metrics and predictions on the test rows.

use anyhow::{Context as _, Result};
use flow_stage::protocol::{Resources, Revision};
use flow_stage::{ArtifactType, Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::training::write_metrics;
use crate::data::Data;
use crate::measure::{self, Answers};
use crate::model::Model;
use crate::runtime::{self, Machine};
use crate::views;

/// The parameters of `evaluate`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Evaluate {
    #[serde(flatten)]
    machine: Machine,
}

impl Stage for Evaluate {
    const NAME: &'static str = "evaluate";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str = "Scores a network on the test rows, on the coarse task";
    const THREADS_PARAMETER: Option<&'static str> = Machine::THREADS;
    const HEADLINE: &'static [&'static str] = super::SCORES;

    fn revisions() -> Vec<Revision> {
        vec![super::bf16(5)]
    }

    fn inputs() -> Vec<Port> {
        vec![super::data_port(), super::model_port()]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "metrics",
                ArtifactType::Metrics,
                "accuracy, loss, AUROC, precision, recall, F1 and calibration error on the coarse task, of each class too; \
                 the worst subclass; the confusion matrix",
            ),
            Port::new(
                "predictions",
                ArtifactType::Table,
                "a test row a line: row, true, predicted, and the probability of each coarse class",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "confusion matrix, accuracy of each class and subclass, calibration",
            ),
        ]
    }

    fn resources() -> Resources {
        super::ALL_CORES_AND_A_GPU
    }

    fn run(self, context: &Context) -> Result<()> {
        runtime::start(context, &self.machine, |device| self.score(context, device))
    }
}

impl Evaluate {
    fn score(&self, context: &Context, device: Device) -> Result<()> {
        let mut data = Data::read(context.input("data")?, device)?;
        let mut model = Model::read(context.input("model")?, device)?;
        model.net.set_precision(self.machine.precision);
        model.fit(&mut data)?;
        let total = data.rows.of(flow_stage::dataset::Split::Test).len() as u64;
        let (metrics, answers) = runtime::in_batches(measure::BATCH, data.input(), || {
            measure::test(&model, &data, |done| {
                context.progress(done as u64, total, "image");
            })
        })?;
        write_metrics(context, &metrics)?;
        write_predictions(context, &data, &answers)?;
        views::evaluation(&context.output("view")?, &data, &answers, &metrics)
    }
}

fn write_predictions(context: &Context, data: &Data, answers: &Answers) -> Result<()> {
    let path = context.output("predictions")?;
    let wrong = || format!("{} can't be written", path.display());
    let mut table = csv::Writer::from_path(&path).with_context(wrong)?;
    let names = &data.meta.coarse_names;
    let header = ["row", "true", "predicted"].map(String::from).into_iter();
    let probabilities = names.iter().map(|name| format!("p_{name}"));
    table
        .write_record(header.chain(probabilities))
        .with_context(wrong)?;
    for (index, &row) in answers.rows.iter().enumerate() {
        let truth = data.coarse()[row] as usize;
        let first = [
            row.to_string(),
            names[truth].clone(),
            names[answers.coarse[index]].clone(),
        ];
        let probabilities = answers.probabilities.row(index);
        let probabilities = probabilities.iter().map(f64::to_string);
        table
            .write_record(first.into_iter().chain(probabilities))
            .with_context(wrong)?;
    }
    table.flush().with_context(wrong)
}
