//! What a JSON Schema allows, in the words that pages and diagnostics use.

use serde_json::Value;

/// Type and range of a parameter, in words.
pub fn type_text(schema: &Value) -> String {
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
