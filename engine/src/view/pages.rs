//! What stage kinds there are, and a page for each, out of what its plugin publishes.

use std::fmt::Write;

use serde_json::Value;

use super::columns;
use crate::plugin::{Catalogue, Kind};

/// A line for each kind.
pub fn list(catalogue: &Catalogue) -> String {
    let rows = catalogue.kinds().map(|kind| {
        let description = &kind.description;
        vec![description.name.clone(), description.summary.clone()]
    });
    let table = columns(rows, 0);
    format!("{table}\n\n`flow stages KIND` prints a page for one of them")
}

/// The page of one kind.
pub fn page(kind: &Kind) -> String {
    let description = &kind.description;
    let mut text = format!("{}: {}\n", description.name, description.summary);
    let _ = writeln!(
        text,
        "\nfrom {} ({}), version {}",
        kind.plugin,
        kind.program.display(),
        kind.version
    );
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
        let _ = writeln!(text, "\n{title}\n{}", columns(rows, 2));
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
                Some(value) => format!("default {value}"),
            };
            let text = schema
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or("");
            let text = text.replace('\n', " ");
            vec![name.clone(), type_text(schema), default, text]
        });
        let _ = writeln!(text, "\nwith\n{}", columns(rows, 2));
    }
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
    let _ = write!(text, "\n{}", notes.join("; "));
    text
}

/// Type and range of a parameter, in words.
fn type_text(schema: &Value) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(" | ");
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(several) = schema
        .get("oneOf")
        .or(schema.get("anyOf"))
        .and_then(Value::as_array)
    {
        let mut texts: Vec<String> = several
            .iter()
            .map(type_text)
            .filter(|t| t != "null")
            .collect();
        texts.dedup();
        return texts.join(" | ");
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter(|&name| name != "null")
            .collect::<Vec<_>>()
            .join(" | "),
        _ => "any".into(),
    };
    let bound = |inclusive: &str, exclusive: &str| {
        schema
            .get(inclusive)
            .map(|v| (v, ""))
            .or(schema.get(exclusive).map(|v| (v, " (excluded)")))
            .map(|(value, note)| format!("{value}{note}"))
    };
    match (
        bound("minimum", "exclusiveMinimum"),
        bound("maximum", "exclusiveMaximum"),
    ) {
        (None, None) => name,
        (Some(low), None) => format!("{name} ≥ {low}"),
        (None, Some(high)) => format!("{name} ≤ {high}"),
        (Some(low), Some(high)) => format!("{name} {low} … {high}"),
    }
}
