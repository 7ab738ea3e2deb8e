//! The metrics file: numbers by name, and the same for each class under `groups`.

use std::fs;

use anyhow::{Context as _, Result};
use flow_stage::Context;
use ndarray::{Array2, ArrayView1, ArrayView2};
use serde_json::{Map, Value, json};

use crate::{Metric, scores};

/// The numbers of one class.
pub(super) struct Group {
    pub name: String,
    /// The rows that its means count with.
    pub rows: usize,
    pub numbers: Vec<(&'static str, Option<f64>)>,
}

/// Rows beyond which a class's silhouette is estimated from as many, unless a workflow says otherwise.
pub(super) fn silhouette_rows() -> u32 {
    20_000
}

/// The numbers `silhouette` and `silhouette_error` of one class; the second where the first is an estimate. Rows are drawn
/// by a seed that is always the same, so that two clusterings of one embedding are judged by the same rows.
///
/// # Errors
/// Where points can't be computed with, or `rows` is below 2.
pub(super) fn silhouette(
    points: ArrayView2<f64>,
    labels: ArrayView1<i32>,
    rows: u32,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<[(&'static str, Option<f64>); 2]> {
    let found = scores::sampled_silhouette(points, labels, rows as usize, 0, progress)?;
    let sampled = found.filter(|found| found.rows < labels.len());
    Ok([
        ("silhouette", found.map(|found| found.mean)),
        (
            "silhouette_error",
            sampled.map(|found| found.standard_error),
        ),
    ])
}

/// The neighbours in an embedding whose trust is measured, and the rows of a class for which it is: their number follows that
/// of other packages, and costs a few percent of what UMAP does.
const NEIGHBOURS: usize = 15;
const TRUST_ROWS: usize = 256;

/// The numbers `trustworthiness` and `trustworthiness_error` of one class: how far its neighbours in the embedding were
/// neighbours before. None where there are too few rows to tell; the second where the first is an estimate.
///
/// # Errors
/// Where points can't be computed with.
pub(super) fn trustworthiness(
    points: &Array2<f32>,
    embedding: &Array2<f32>,
    metric: Metric,
) -> Result<[(&'static str, Option<f64>); 2]> {
    let (points, embedding) = (points.view(), embedding.view());
    let n = points.nrows();
    let found = match 2 * NEIGHBOURS < n {
        true => Some(scores::sampled_trustworthiness(
            points, embedding, NEIGHBOURS, metric, TRUST_ROWS, 0,
        )?),
        false => None,
    };
    let sampled = found.filter(|found| found.rows < n);
    Ok([
        ("trustworthiness", found.map(|found| found.mean)),
        (
            "trustworthiness_error",
            sampled.map(|found| found.standard_error),
        ),
    ])
}

/// Collects numbers over all, and by class.
#[derive(Default)]
pub(super) struct Report {
    total: Map<String, Value>,
    groups: Vec<Group>,
}

impl Report {
    /// A report on these classes.
    pub fn new(groups: Vec<Group>) -> Self {
        Report {
            total: Map::new(),
            groups,
        }
    }

    /// Adds a number over all.
    pub fn total(mut self, name: &str, value: f64) -> Self {
        self.total.insert(name.into(), number(value));
        self
    }

    /// Adds the sum over the classes.
    pub fn sum(self, name: &str) -> Self {
        let numbers = self.groups.iter().flat_map(|group| &group.numbers);
        let own = numbers.filter(|(n, _)| *n == name);
        let sum = own.filter_map(|number| number.1).sum();
        self.total(name, sum)
    }

    /// Adds the mean over the classes that have this number, weighted by their rows; nothing where none has.
    pub fn mean(self, name: &str) -> Self {
        let (mut sum, mut rows) = (0.0, 0.0);
        for group in &self.groups {
            for (_, value) in group.numbers.iter().filter(|(n, _)| *n == name) {
                if let Some(value) = value {
                    sum += value * group.rows as f64;
                    rows += group.rows as f64;
                }
            }
        }
        if rows > 0.0 {
            self.total(name, sum / rows)
        } else {
            self
        }
    }

    /// Adds the mean of the numbers `name` and, where any was estimated, its standard error, under the name `error`.
    pub fn estimate(self, name: &str, error: &str) -> Self {
        let (mut squares, mut rows) = (0.0, 0.0);
        let mut estimated = false;
        for group in &self.groups {
            let of = |wanted: &str| {
                let found = group.numbers.iter().find(|(name, _)| *name == wanted);
                found.and_then(|number| number.1)
            };
            if of(name).is_some() {
                rows += group.rows as f64;
            }
            if let Some(error) = of(error) {
                estimated = true;
                squares += (error * group.rows as f64).powi(2);
            }
        }
        let report = self.mean(name);
        if estimated {
            report.total(error, squares.sqrt() / rows)
        } else {
            report
        }
    }

    /// Writes the output `metrics`, and reports the numbers over all.
    pub fn write(self, context: &Context) -> Result<()> {
        let mut all = self.total;
        for (name, value) in &all {
            context.metric(name, value.as_f64().unwrap_or(f64::NAN), None);
        }
        let groups: Map<String, Value> = self
            .groups
            .into_iter()
            .map(|group| {
                let numbers: Map<String, Value> = group
                    .numbers
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), number(value?))))
                    .collect();
                (group.name, Value::Object(numbers))
            })
            .collect();
        all.insert("groups".into(), Value::Object(groups));
        let path = context.output("metrics")?;
        let text = serde_json::to_string_pretty(&all)? + "\n";
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
    }
}

/// Counts are written without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}
