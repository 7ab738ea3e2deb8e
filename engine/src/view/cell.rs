//! How the numbers of one cell of a table came to be, seed by seed.

use std::path::Path;

use flow_results::table::{Row, SeedValue, Table};
use flow_run::record::provenance::Action;
use serde_json::{Value, json};

use super::plain;
use super::provenance::{self, Again};

/// A number, and how it was made.
#[derive(Debug)]
pub struct Made {
    /// The number.
    pub value: SeedValue,
    /// The action that made it; none where its record is gone by now.
    pub action: Option<Action>,
    /// The command that makes this number alone.
    pub again: Again,
}

/// A cell in words. `runs`: where runs are kept.
pub fn text(table: &Table, row: &Row, metric: &str, made: &[Made], runs: &Path) -> String {
    let axes = table.axes.iter();
    let point: Vec<String> = axes
        .map(|axis| format!("{axis}={}", super::table::value(row, axis)))
        .collect();
    let place = match &point[..] {
        [] => String::new(),
        point => format!(" at {}", point.join(", ")),
    };
    let mut text = plain(&format!("{metric}{place}"));
    if let Some(cell) = row.cells.get(metric) {
        let mean = cell
            .mean
            .map_or("not known".into(), |mean| mean.to_string());
        text += &format!(": {mean}");
        if let Some(half_width) = cell.half_width {
            text += &format!(" ± {half_width}");
        }
        if cell.n > 1 {
            text += &format!(" (mean of n = {})", cell.n);
        }
    }
    if let Some(reason) = &row.reason {
        text += &format!("\n{}", plain(reason));
    }
    let mut rest = made;
    while let Some(first) = rest.first() {
        // One instance that several seeds share is told once.
        let same = |made: &&Made| made.value.stage == first.value.stage;
        let shared = rest.iter().take_while(same).count();
        let seeds: Vec<String> = rest[..shared]
            .iter()
            .map(|m| m.value.seed.to_string())
            .collect();
        let seeds = match shared {
            1 => format!("seed {}", seeds[0]),
            _ => format!("seeds {}, which do not count here", seeds.join(", ")),
        };
        let number = first
            .value
            .value
            .as_ref()
            .map_or("NaN".into(), |v| v.to_string());
        text += &format!("\n\n{seeds}: {number}\n");
        text += &match &first.action {
            Some(action) => provenance::action(action, runs, Some(&first.again)),
            None => format!("{}\n  its record is gone", plain(&first.value.stage)),
        };
        rest = &rest[shared..];
    }
    text
}

/// A number as JSON.
pub fn json(row: &Row, metric: &str, made: &Made) -> Value {
    let action = made.action.as_ref();
    json!({
        "event": "cell",
        "metric": metric,
        "point": row.point,
        "seed": made.value.seed,
        "value": made.value.value,
        "stage": made.value.stage,
        "key": made.value.key,
        "again": made.again.command,
        "action": action.map(|action| provenance::action_json(action, Some(&made.again))),
    })
}
