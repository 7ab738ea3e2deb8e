//! The metrics file: numbers by name, and the same for each class under `groups`.

use std::fs;

use anyhow::{Context as _, Result};
use flow_stage::Context;
use serde_json::{Map, Value, json};

/// The numbers of one class.
pub(super) struct Group {
    pub name: String,
    /// The rows that its means count with.
    pub rows: usize,
    pub numbers: Vec<(&'static str, Option<f64>)>,
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
