//! Where the values of a workflow come from, in words and as JSON.

use flow_plan::workflow::{By, Choice, Laid, Node, Sources, Workflow};
use serde_json::{Value, json};

use super::plain;

/// What chose a variant.
fn by(choice: &Choice, sources: &Sources) -> String {
    let place = sources.place(choice.name.span);
    match &choice.by {
        By::Asked => place,
        By::Variant(group, name) => format!("{group}={name} uses it, {place}"),
        By::Group => format!("default of its group, {place}"),
    }
}

/// What a value stands for, where it is a param that refers to others.
fn meant(name: &str, node: &Node, workflow: &Workflow) -> Option<Value> {
    let param = workflow.param(name.strip_prefix("params.")?).ok()?;
    let meant = param.value.json();
    (meant != node.value.json()).then_some(meant)
}

/// A line for each variant and each value.
pub fn text(laid: &Laid, workflow: &Workflow, sources: &Sources) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for choice in &laid.choices {
        let name = format!("variants.{}", choice.group);
        rows.push([name, choice.name.value.clone(), by(choice, sources)]);
    }
    for choice in &laid.passed_over {
        let name = format!("variants.{}", choice.group);
        let value = format!("not {}", choice.name.value);
        rows.push([name, value, by(choice, sources)]);
    }
    for (name, node) in &laid.values {
        let written = node.value.json().to_string();
        let value = match meant(name, node, workflow) {
            Some(meant) => format!("{written} = {meant}"),
            None => written,
        };
        rows.push([name.clone(), value, sources.place(node.span)]);
    }
    if rows.is_empty() {
        return "the workflow has no params, and no stage has any".into();
    }
    let rows: Vec<[String; 3]> = rows
        .into_iter()
        .map(|row| row.map(|cell| plain(&cell)))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        // A long value pushes its own line alone.
        cells.filter(|width| *width <= 40).max().unwrap_or(0)
    };
    let (names, values) = (width(0), width(1));
    let lines = rows
        .iter()
        .map(|[name, value, from]| format!("{name:names$}  {value:values$}  {from}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The same as objects.
pub fn json(laid: &Laid, workflow: &Workflow, sources: &Sources) -> Vec<Value> {
    let variant = |choice: &Choice, counts: bool| {
        json!({
            "event": "variant", "group": choice.group, "name": choice.name.value, "counts": counts,
            "from": by(choice, sources),
        })
    };
    let counting = laid.choices.iter().map(|choice| variant(choice, true));
    let others = laid.passed_over.iter().map(|choice| variant(choice, false));
    let values = laid.values.iter().map(|(name, node)| {
        let written = node.value.json();
        let value = meant(name, node, workflow).unwrap_or_else(|| written.clone());
        json!({
            "event": "value", "name": name, "value": value, "written": written, "from": sources.place(node.span),
        })
    });
    counting.chain(others).chain(values).collect()
}
