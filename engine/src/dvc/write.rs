//! Values and comments as they stand in a workflow file.

use serde_json::Value;

/// The width that lines of comments have, and entries that stand on one line.
const WIDTH: usize = 110;

pub(super) fn string(text: &str) -> String {
    if text.contains('\n') && !text.contains("'''") && !text.contains('\r') {
        return format!("'''\n{text}'''");
    }
    toml::Value::String(text.into()).to_string()
}

pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !name.is_empty() && name.chars().all(bare) {
        true => name.into(),
        false => toml::Value::String(name.into()).to_string(),
    }
}

/// A value on one line; none of `null`.
pub(super) fn inline_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(toml::Value::String(text.clone()).to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(inline_value).collect();
            Some(format!("[{}]", items?.join(", ")))
        }
        Value::Object(table) => {
            let entries = table.iter();
            let entries = entries.filter_map(|(name, value)| {
                Some(format!("{} = {}", key(name), inline_value(value)?))
            });
            Some(inline(&entries.collect::<Vec<_>>()))
        }
        plain => Some(plain.to_string()),
    }
}

/// A table on one line, of entries.
pub(super) fn inline(entries: &[String]) -> String {
    match entries {
        [] => "{}".into(),
        _ => format!("{{ {} }}", entries.join(", ")),
    }
}

/// A table of a stage: on one line where it fits, else each entry on its own.
pub(super) fn table(name: &str, entries: &[(String, String)]) -> String {
    let written: Vec<_> = entries
        .iter()
        .map(|(name, value)| format!("{} = {value}", key(name)))
        .collect();
    let line = format!("{name} = {}\n", inline(&written));
    if entries.is_empty() {
        return String::new();
    }
    if line.chars().count() <= WIDTH {
        return line;
    }
    let lines = written.iter().map(|entry| format!("{name}.{entry}\n"));
    lines.collect()
}

/// A comment of some lines.
pub(super) fn comment(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = "#".to_string();
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines += &line;
                lines.push('\n');
                line = "#".into();
            }
            line.push(' ');
            line += word;
        }
        lines += &line;
        lines.push('\n');
    }
    lines
}
