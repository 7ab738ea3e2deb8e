//! What stands in which place of a table that people read, and what is said below it.

use flow_plan::plan::plain_text;
use flow_results::table::{Cell, Columns, Row, Status, Table};
use serde_json::Value;

use super::numbers::{Form, probability};
use super::{status, value};

/// As many points are named that are equally good.
const NAMED: usize = 3;

/// A table, with its entries as text but not yet escaped.
#[derive(Debug)]
pub(super) struct Grid {
    pub columns: Vec<Column>,
    /// How many of them are axes: the first.
    pub axes: usize,
    pub rows: Vec<Vec<Entry>>,
    /// Sentences.
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    /// Of a figure: how long the stage's name in it is.
    pub stage: Option<usize>,
    /// Numbers stand on the right.
    pub numeric: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    Text(String),
    Figure {
        mean: String,
        half_width: Option<String>,
        /// Where it is another than that of the row.
        n: Option<usize>,
        /// Whether it differs from the base by more than the seeds' noise.
        exceeds: bool,
        /// Whether it is the goal and the best.
        best: bool,
    },
    Lead {
        difference: String,
        p: Option<String>,
        exceeds: bool,
    },
    Nothing,
}

impl Grid {
    /// `folded`: figures that are the same in every row stand in a note.
    pub fn of(table: &Table, folded: bool) -> Grid {
        let (constant, shown): (Vec<&String>, Vec<&String>) =
            table.metrics.iter().partition(|metric| {
                let goal = table
                    .goal
                    .as_ref()
                    .is_some_and(|goal| goal.metric == **metric);
                folded && !goal && is_constant(table, metric)
            });
        let replicated = table.seeds.len() > 1;
        let lead = table.goal.as_ref().filter(|goal| {
            let mut cells = table
                .rows
                .iter()
                .filter_map(|row| row.cells.get(&goal.metric));
            cells.any(|cell| cell.lead.is_some())
        });
        let remarked = table.rows.iter().any(|row| !remark(row, table).is_empty());
        let mut columns: Vec<Column> = table
            .axes
            .iter()
            .map(|axis| {
                let mut values = table.rows.iter().filter_map(|row| row.point.get(axis));
                Column {
                    name: axis.clone(),
                    stage: None,
                    numeric: values.all(Value::is_number),
                }
            })
            .collect();
        columns.extend(shown.iter().map(|metric| Column {
            name: (*metric).clone(),
            stage: Columns::split(metric).map(|(stage, _)| stage.len()),
            numeric: true,
        }));
        let mut add = |name: &str, numeric| {
            columns.push(Column {
                name: name.into(),
                stage: None,
                numeric,
            });
        };
        if replicated {
            add("n", true);
        }
        if lead.is_some() {
            add("lead over base", true);
        }
        if remarked {
            add("", false);
        }
        let forms: Vec<Form> = shown
            .iter()
            .map(|metric| Form::of(&table.rows, metric))
            .collect();
        let rows = table.rows.iter().map(|row| {
            let mut entries: Vec<Entry> = table
                .axes
                .iter()
                .map(|axis| match value(row, axis) {
                    text if text.is_empty() => Entry::Nothing,
                    text => Entry::Text(text),
                })
                .collect();
            for (metric, form) in shown.iter().zip(&forms) {
                let goal = table
                    .goal
                    .as_ref()
                    .is_some_and(|goal| goal.metric == **metric);
                let entry = row.cells.get(*metric).map_or(Entry::Nothing, |cell| {
                    figure(cell, *form, row.n, replicated, row.best && goal)
                });
                entries.push(entry);
            }
            if replicated {
                entries.push(Entry::Text(row.n.to_string()));
            }
            if let Some(goal) = lead {
                let cell = row.cells.get(&goal.metric);
                let lead = cell.and_then(|cell| cell.lead.as_ref());
                let form = Form::of(&table.rows, &goal.metric);
                entries.push(lead.map_or(Entry::Nothing, |lead| Entry::Lead {
                    difference: form.difference(lead.difference),
                    p: lead.p_holm.map(probability),
                    exceeds: lead.significant,
                }));
            }
            if remarked {
                entries.push(Entry::Text(remark(row, table)));
            }
            entries
        });
        Grid {
            rows: rows.collect(),
            axes: table.axes.len(),
            columns,
            notes: notes(table, &constant),
        }
    }
}

fn figure(cell: &Cell, form: Form, row_n: usize, replicated: bool, best: bool) -> Entry {
    if cell.n == 0 {
        return Entry::Nothing;
    }
    // One result for all seeds is a figure that the seed does not count for, and has no interval.
    let n = replicated && cell.n != row_n && (cell.n > 1 || cell.values.len() == 1);
    Entry::Figure {
        mean: cell.mean.map_or("NaN".into(), |mean| form.number(mean)),
        half_width: cell.half_width.map(|half_width| form.number(half_width)),
        n: n.then_some(cell.n),
        exceeds: cell.lead.as_ref().is_some_and(|lead| lead.significant),
        best,
    }
}

/// What a row is, and why something of it is not there.
fn remark(row: &Row, table: &Table) -> String {
    let mut words = Vec::new();
    if row.best {
        words.push("best".to_string());
    }
    if row.base && table.mode.is_some() {
        words.push("base".into());
    }
    if row.status != Status::Complete {
        let status = status(row.status);
        words.push(match &row.reason {
            Some(reason) => format!("{status}: {reason}"),
            None => status.into(),
        });
    }
    words.join(", ")
}

/// Whether a figure is the same result in every row.
fn is_constant(table: &Table, metric: &str) -> bool {
    let mut cells = table.rows.iter().map(|row| row.cells.get(metric));
    let Some(Some(first)) = cells.next() else {
        return false;
    };
    table.rows.len() > 1
        && first.n > 0
        && cells.all(|cell| cell.is_some_and(|cell| cell.values == first.values))
}

fn notes(table: &Table, constant: &[&String]) -> Vec<String> {
    let mut notes = Vec::new();
    if table.metrics.is_empty() {
        let complete = table.rows.iter().any(|row| row.status == Status::Complete);
        notes.push(match complete {
            true => {
                "No stage has written a figure: a metrics file is an object of numbers (JSON, YAML, TOML).".into()
            }
            false => "Which figures there are is known once the stages have run.".into(),
        });
    }
    let cells = || table.rows.iter().flat_map(|row| row.cells.values());
    if cells().any(|cell| cell.half_width.is_some()) {
        let seeds: Vec<String> = table.seeds.iter().map(u64::to_string).collect();
        notes.push(format!(
            "±: 95 % interval of the mean over the seeds {} (Student's t).",
            seeds.join(", ")
        ));
    } else if table.seeds.len() < 2 && table.mode.is_some() {
        notes.push(
            "One seed: there is no interval, and no telling a lead from the seeds' noise. More: --seeds 3, or seeds = 3 in \
             [sweep]."
                .into(),
        );
    }
    let leads = || cells().filter_map(|cell| cell.lead.as_ref());
    if leads().any(|lead| lead.p_holm.is_some()) {
        notes.push(
            "*: differs from the base by more than the seeds' noise: t-test paired by seed, p < 0.05 after Holm's correction \
             over the rows."
                .into(),
        );
    }
    notes.extend(verdict(table));
    if table.mode.is_some() && !table.rows.iter().any(|row| row.base) {
        notes.push(
            "The base, the file without its sweep, is not among the points: nothing is compared with it.".into(),
        );
    }
    if !constant.is_empty() {
        let figures = constant.iter().filter_map(|metric| {
            let cell = table.rows.first()?.cells.get(*metric)?;
            let form = Form::of(&table.rows, metric);
            let figure = figure(cell, form, cell.n, false, false);
            Some(format!("{metric} {}", super::entry(&figure)))
        });
        notes.push(format!(
            "The same in every row: {}.",
            figures.collect::<Vec<_>>().join(", ")
        ));
    }
    notes
}

/// Whether the best is better than the base.
fn verdict(table: &Table) -> Option<String> {
    let goal = table.goal.as_ref()?;
    let rows: Vec<&Row> = table.rows.iter().filter(|row| row.best).collect();
    let direction = if goal.maximise { "largest" } else { "smallest" };
    let by = format!("by {}, the {direction}", goal.metric);
    let Some(first) = rows.first() else {
        return Some(format!(
            "No point is the best {by}: none has it for every seed."
        ));
    };
    let names: Vec<String> = rows.iter().map(|row| point(row, table)).collect();
    let equal = if rows.len() > 1 { ", equally good" } else { "" };
    let names = match names.len() {
        0..=NAMED => names.join(" and "),
        many => format!("{many} points"),
    };
    let best = format!("Best {by}: {names}{equal}");
    if rows.iter().any(|row| row.base) {
        let among = if rows.len() > 1 {
            "the base is among them"
        } else {
            "the base"
        };
        return Some(format!("{best}; {among}."));
    }
    let lead = |row: &Row| {
        row.cells
            .get(&goal.metric)
            .and_then(|cell| cell.lead.clone())
    };
    let Some(found) =
        lead(first).filter(|found| rows.iter().all(|row| lead(row).as_ref() == Some(found)))
    else {
        return Some(format!("{best}."));
    };
    let form = Form::of(&table.rows, &goal.metric);
    let told = format!(
        "{best}. The lead over the base, {},",
        form.difference(found.difference)
    );
    Some(match found.p_holm.map(probability) {
        Some(p) if found.significant => format!("{told} exceeds the seeds' noise (p {p})."),
        Some(p) => format!("{told} does not exceed the seeds' noise (p {p})."),
        None if table.seeds.len() < 2 => format!("{told} is that of one seed."),
        None => {
            format!("{told} can't be tested: the seeds make no noise to measure it with.")
        }
    })
}

/// As `--point` takes it.
fn point(row: &Row, table: &Table) -> String {
    let axes = table.axes.iter();
    let axes = axes.map(|axis| {
        let value = row.point.get(axis).unwrap_or(&Value::Null);
        format!("{axis}={}", plain_text(value))
    });
    axes.collect::<Vec<_>>().join(",")
}
