//! A workflow's results as text, Markdown, LaTeX, CSV or JSON.
//!
//! - `grid`: what stands in which place, for the forms that people read.
//! - `numbers`: figures as text.
//! - `latex`: with booktabs.

mod grid;
mod latex;
mod numbers;

use clap::ValueEnum;
use flow_plan::plan::plain_text;
use flow_results::table::{Row, Status, Table};
use serde_json::Value;

use self::grid::{Entry, Grid};
use super::layout::{self, Figures};
use super::plain;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For the terminal.
    Text,
    /// One line a point, all digits.
    Csv,
    /// A table as GitHub reads it.
    Markdown,
    /// A tabular with booktabs.
    Latex,
    /// One JSON object.
    Json,
}

/// The table in a form. Equal tables are the same bytes. `folded`: figures that are the same in every row stand in a line
/// below, where people read it.
///
/// # Errors
/// Where it can't be written in that form; no table is known of which that is true.
pub fn print(table: &Table, format: Format, folded: bool) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => text(&Grid::of(table, folded)),
        Format::Markdown => markdown(&Grid::of(table, folded)),
        Format::Latex => latex::print(&Grid::of(table, folded)),
        Format::Csv => csv(table)?,
        Format::Json => serde_json::to_string(table)?,
    })
}

fn text(grid: &Grid) -> String {
    let header = grid.columns.iter().map(|column| {
        let name = &column.name;
        match column.stage {
            // One line for the stage and one for the figure: most columns are narrower than their names.
            Some(length) => format!("{}\n{}", plain(&name[..length]), plain(&name[length + 1..])),
            None => plain(name),
        }
    });
    let rows = grid.rows.iter();
    let figures = Figures {
        header: header.collect(),
        rows: rows.map(|row| row.iter().map(entry).collect()).collect(),
        numeric: grid.columns.iter().map(|column| column.numeric).collect(),
        names: grid.axes,
    };
    let mut text = figures.text();
    for note in &grid.notes {
        text += &format!("\n{}", layout::sentence(plain(note)));
    }
    text
}

/// An entry as text.
fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Text(text) => plain(text),
        Entry::Figure {
            mean,
            half_width,
            n,
            exceeds,
            ..
        } => {
            let mut text = mean.clone();
            if let Some(half_width) = half_width {
                text += &format!(" ± {half_width}");
            }
            if let Some(n) = n {
                text += &format!(" (n={n})");
            }
            if *exceeds {
                text += " *";
            }
            text
        }
        Entry::Lead {
            difference,
            p,
            exceeds,
        } => {
            let p = p.as_ref().map_or(String::new(), |p| format!(" (p {p})"));
            let star = if *exceeds { " *" } else { "" };
            format!("{difference}{p}{star}")
        }
        Entry::Nothing => "-".into(),
    }
}

fn markdown(grid: &Grid) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let names = grid.columns.iter().map(|column| escaped(&column.name));
    let rules = grid.columns.iter();
    let rules = rules.map(|column| if column.numeric { "--:" } else { ":--" }.to_string());
    let mut lines = vec![line(names.collect()), line(rules.collect())];
    for row in &grid.rows {
        let cells = row.iter().map(|cell| match cell {
            Entry::Text(text) => escaped(text),
            Entry::Figure { best: true, .. } => format!("**{}**", escaped(&entry(cell))),
            other => escaped(&entry(other)),
        });
        lines.push(line(cells.collect()));
    }
    for note in &grid.notes {
        lines.push(String::new());
        lines.push(escaped(note));
    }
    lines.join("\n")
}

/// Text that Markdown shows as it is: whatever may mean something there is escaped, with a backslash or as an entity.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '#' | '~' | '$' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line a row. Everything stands in columns of its own, with all its digits; `docs/sweeps.md` names them.
fn csv(table: &Table) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fixed = ["base", "best", "status", "n", "reason"].map(String::from);
    let mut header: Vec<String> = table.axes.iter().cloned().chain(fixed).collect();
    for metric in &table.metrics {
        header.push(metric.clone());
        let more = ["half_width", "n", "difference", "p", "p_holm"];
        header.extend(more.map(|what| format!("{metric} {what}")));
    }
    writer.write_record(&header)?;
    for row in &table.rows {
        let point = table.axes.iter().map(|axis| value(row, axis));
        let facts = [
            row.base.to_string(),
            row.best.to_string(),
            status(row.status).to_string(),
            row.n.to_string(),
            row.reason.clone().unwrap_or_default(),
        ];
        let mut record: Vec<String> = point.chain(facts).collect();
        for metric in &table.metrics {
            let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
            let Some(cell) = row.cells.get(metric) else {
                record.extend(std::iter::repeat_n(String::new(), 6));
                continue;
            };
            let lead = cell.lead.as_ref();
            let mean = if cell.n > 0 && cell.mean.is_none() {
                "NaN".into()
            } else {
                number(cell.mean)
            };
            record.extend([
                mean,
                number(cell.half_width),
                cell.n.to_string(),
                number(lead.map(|lead| lead.difference)),
                number(lead.and_then(|lead| lead.p)),
                number(lead.and_then(|lead| lead.p_holm)),
            ]);
        }
        writer.write_record(&record)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8(bytes)?.trim_end_matches('\n').into())
}

/// The value of an axis: what the file has at that place where that is nothing.
pub(super) fn value(row: &Row, axis: &str) -> String {
    match row.point.get(axis) {
        None | Some(Value::Null) => String::new(),
        Some(value) => plain_text(value),
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Complete => "complete",
        Status::Partial => "partial",
        Status::Failed => "failed",
        Status::Missing => "missing",
    }
}

#[cfg(test)]
mod tests;
