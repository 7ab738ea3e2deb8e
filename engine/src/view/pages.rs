//! What stage kinds there are, and a page for each, out of what its plugin publishes.

use std::fmt::Write;

use bytesize::ByteSize;
use flow_plan::plan::kinds::{Catalogue, Kind};
use flow_plan::plan::type_text;
use flow_results::words::toml;
use serde_json::Value;

use super::layout::{prose, sentence};

/// A line for each kind.
pub fn list(catalogue: &Catalogue) -> String {
    let rows = catalogue.kinds().map(|kind| {
        let description = &kind.description;
        vec![kind.short_name(), description.summary.clone()]
    });
    prose(rows, 0)
}

/// The page of one kind.
pub fn page(kind: &Kind) -> String {
    let description = &kind.description;
    let title = format!("{}: {}", kind.short_name(), description.summary);
    let origin = format!(
        "from {} ({}), version {}",
        kind.plugin,
        kind.program.display(),
        kind.version
    );
    let mut text = format!("{}\n\n{}\n", sentence(title), sentence(origin));
    for (title, ports) in [
        ("inputs", &description.inputs),
        ("outputs", &description.outputs),
    ] {
        if ports.is_empty() {
            continue;
        }
        let rows = ports.iter().map(|port| {
            let mark = if port.optional { "?" } else { "" };
            let name = format!("{}{mark}", port.name);
            vec![name, port.artifact.to_string(), port.summary.clone()]
        });
        let _ = writeln!(text, "\n{title}\n{}", prose(rows, 2));
    }
    let required = description
        .parameters
        .get("required")
        .and_then(Value::as_array);
    let properties = description
        .parameters
        .get("properties")
        .and_then(Value::as_object);
    if let Some(properties) = properties.filter(|p| !p.is_empty()) {
        let rows = properties.iter().map(|(name, schema)| {
            let needed = required.is_some_and(|r| r.iter().any(|n| n == name));
            let default = match schema.get("default") {
                _ if needed => "required".to_string(),
                Some(Value::Null) | None => "optional".to_string(),
                Some(value) => format!("default {}", toml(value)),
            };
            let text = schema
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or("");
            let text = text.replace('\n', " ");
            vec![name.clone(), type_text(schema), default, text]
        });
        let _ = writeln!(text, "\nwith\n{}", prose(rows, 2));
    }
    let _ = writeln!(text, "\nexample\n{}", example(kind));
    let mut notes = vec![match description.resources.cpus {
        0 => "all threads unless `resources` says otherwise".to_string(),
        n => format!("{n} thread(s) unless `resources` says otherwise"),
    }];
    if description.resources.gpus > 0 {
        notes.push(format!(
            "{} GPU(s) where there are any",
            description.resources.gpus
        ));
    }
    if description.resources.memory > 0 {
        notes.push(format!(
            "{} of memory",
            ByteSize(description.resources.memory)
        ));
    }
    if description.seeded {
        notes.push("draws from the workflow's seed".into());
    }
    if description.checkpoints {
        notes.push("goes on from its last checkpoint after an interruption".into());
    }
    if !description.continues.is_empty() {
        let names = description.continues.iter();
        let names: Vec<String> = names
            .map(|pointer| pointer.trim_start_matches('/').replace('/', "."))
            .collect();
        notes.push(format!(
            "goes on from an earlier result with smaller {}",
            names.join(", ")
        ));
    }
    let _ = write!(text, "\n{}", sentence(notes.join("; ")));
    text
}

/// A stage of this kind as it may stand in a workflow: its inputs from stages that are called as their roles, the
/// parameters that it needs, and two that one may want to change.
fn example(kind: &Kind) -> String {
    let description = &kind.description;
    let mut lines = vec![
        format!("[stages.{}]", description.name),
        format!("uses = \"{}\"", kind.short_name()),
    ];
    let table = |entries: Vec<String>| format!("{{ {} }}", entries.join(", "));
    let inputs = description.inputs.iter();
    let inputs: Vec<String> = inputs
        .map(|port| format!("{0} = \"{0}\"", port.name))
        .collect();
    if !inputs.is_empty() {
        lines.push(format!("inputs = {}", table(inputs)));
    }
    let properties = description
        .parameters
        .get("properties")
        .and_then(Value::as_object);
    let properties = || properties.into_iter().flatten();
    let required = description
        .parameters
        .get("required")
        .and_then(Value::as_array);
    let needed = |name: &str| required.is_some_and(|r| r.iter().any(|n| n == name));
    let mut values: Vec<String> = properties()
        .filter(|(name, _)| needed(name))
        .map(|(name, schema)| format!("{name} = {}", placeholder(schema)))
        .collect();
    let usual = properties()
        .filter(|(name, _)| !needed(name))
        .filter_map(|(name, schema)| {
            let default = schema
                .get("default")
                .filter(|default| default.is_number())?;
            Some(format!("{name} = {default}"))
        });
    values.extend(usual.take(2));
    if !values.is_empty() {
        lines.push(format!("with = {}", table(values)));
    }
    lines
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A value of the right type for a parameter that has no default.
fn placeholder(schema: &Value) -> String {
    if let Some(choice) = schema
        .get("anyOf")
        .or(schema.get("oneOf"))
        .and_then(|all| all.get(0))
    {
        return placeholder(choice);
    }
    let first = |key: &str| schema.get(key).and_then(|values| values.get(0));
    match (first("examples").or(first("enum")), schema.get("type")) {
        (Some(value), _) => value.to_string(),
        (None, Some(Value::String(name))) if name == "integer" || name == "number" => {
            let low = schema.get("minimum").cloned();
            low.unwrap_or_else(|| 1.into()).to_string()
        }
        (None, Some(Value::String(name))) if name == "boolean" => "true".into(),
        (None, Some(Value::String(name))) if name == "array" => "[]".into(),
        (None, Some(Value::String(name))) if name == "object" => "{}".into(),
        _ => "\"…\"".into(),
    }
}
