//! The tables at the end of a run: the figures of each stage that people want to see first.

use flow_plan::plan::Plan;
use flow_plan::plan::kinds::Catalogue;
use flow_run::record::figures;
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

use super::layout::Figures;

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
    let shown = figures::shown(plan, catalogue, |node| metrics(node).is_some());
    for &node in plan.order.iter().filter(|node| shown.contains(node)) {
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
        let groups = figures::groups(figures);
        rows.extend(groups.map(|(name, group)| (format!("  {name}"), group)));
    }
    sets.into_iter()
        .filter_map(|(names, rows)| table(&names, &rows))
        .collect()
}

/// None where no stage has any of the figures.
fn table(names: &[String], rows: &[Row<'_>]) -> Option<String> {
    let shown: Vec<&String> = names
        .iter()
        .filter(|name| {
            rows.iter()
                .any(|(_, figures)| figures::find(figures, name).is_some())
        })
        .collect();
    if shown.is_empty() {
        return None;
    }
    let columns: Vec<(&String, bool)> = shown
        .iter()
        .map(|&name| {
            let float =
                |(_, figures): &Row<'_>| figures::find(figures, name).is_some_and(Value::is_f64);
            (name, rows.iter().any(float))
        })
        .collect();
    // A group without any of the figures has nothing to say.
    let rows = rows.iter().filter(|(label, figures)| {
        !label.starts_with(' ')
            || shown
                .iter()
                .any(|name| figures::find(figures, name).is_some())
    });
    let mut header = vec!["stage".to_string()];
    header.extend(shown.iter().map(|name| name.replace('_', " ")));
    let rows = rows.map(|(label, figures)| {
        let cells = columns
            .iter()
            .map(|(name, float)| number(figures::find(figures, name), *float));
        std::iter::once(label.clone()).chain(cells).collect()
    });
    let figures = Figures {
        rows: rows.collect(),
        numeric: (0..header.len()).map(|i| i > 0).collect(),
        header,
        names: 1,
    };
    Some(figures.text())
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
