//! The tables at the end of a run: each stage's figures, by what its kind says a person wants to see first; of a program,
//! all that it wrote.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

use crate::plan::Plan;
use crate::plugin::Catalogue;
use crate::run::figures;

/// A line under the header, and one at the end.
pub(super) const STYLE: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A stage or group, and its figures.
type Row<'a> = (String, &'a Map<String, Value>);

/// One table for each set of headline figures, in the plan's order; a stage's `groups` stand indented below it. A
/// figure that no stage of a table has gets no column.
pub fn tables<'m>(
    plan: &Plan,
    catalogue: &Catalogue,
    metrics: impl Fn(NodeIndex) -> Option<&'m Map<String, Value>>,
) -> Vec<String> {
    let mut sets: Vec<(Vec<String>, Vec<Row<'_>>)> = Vec::new();
    for &node in &plan.order {
        let instance = &plan.graph[node];
        let Some(figures) = metrics(node) else {
            continue;
        };
        let headline = figures::headline(instance, catalogue, figures);
        if headline.is_empty() {
            continue;
        }
        let at = sets
            .iter()
            .position(|(names, _)| *names == headline)
            .unwrap_or_else(|| {
                sets.push((headline, Vec::new()));
                sets.len() - 1
            });
        let rows = &mut sets[at].1;
        rows.push((instance.label.clone(), figures));
        for (name, group) in figures
            .get(figures::GROUPS)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if let Some(group) = group.as_object() {
                rows.push((format!("  {name}"), group));
            }
        }
    }
    sets.into_iter()
        .filter_map(|(names, rows)| table(&names, &rows))
        .collect()
}

/// None where no stage has any of the figures.
fn table(names: &[String], rows: &[Row<'_>]) -> Option<String> {
    let shown: Vec<&String> = names
        .iter()
        .filter(|name| rows.iter().any(|(_, figures)| figures.contains_key(*name)))
        .collect();
    if shown.is_empty() {
        return None;
    }
    let columns: Vec<(&String, bool)> = shown
        .iter()
        .map(|&name| {
            let float = |(_, figures): &Row<'_>| figures.get(name).is_some_and(Value::is_f64);
            (name, rows.iter().any(float))
        })
        .collect();
    // A group without any of the figures has nothing to say.
    let rows = rows.iter().filter(|(label, figures)| {
        !label.starts_with(' ') || shown.iter().any(|name| figures.contains_key(*name))
    });
    let mut table = Table::new();
    table.load_style(STYLE);
    let mut header = vec!["stage".to_string()];
    header.extend(shown.iter().map(|name| name.replace('_', " ")));
    table.set_header(header);
    for (label, figures) in rows {
        let mut row = vec![label.clone()];
        row.extend(
            columns
                .iter()
                .map(|(name, float)| number(figures.get(*name), *float)),
        );
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        if i == 0 {
            column.set_padding((0, 0));
        } else {
            column.set_padding((2, 0));
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Some(table.trim_fmt())
}

/// Counts as they are, everything else with four digits: a column holds one or the other.
fn number(value: Option<&Value>, float: bool) -> String {
    match value {
        Some(Value::Number(number)) if float => {
            format!("{:.4}", number.as_f64().unwrap_or(f64::NAN))
        }
        // What is not finite is written as null.
        Some(Value::Null) => "NaN".into(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}
