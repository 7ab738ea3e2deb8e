//! What `${…}` stands for in a dvc.yaml.

use std::path::Path;

use flow_plan::workflow::{Node, NodeValue};
use serde_json::{Map, Value};

use super::file::{File, values};
use crate::failure::Failure;

/// The values that a dvc.yaml's templates find.
pub(super) struct Values {
    /// The file of params that flow lays under `[params]`, as DVC's project names it, with what is in it.
    pub file: Option<(String, Value)>,
    /// What only `vars` has, by name, and where it stands.
    pub vars: Vec<(String, Value, String)>,
    all: Map<String, Value>,
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// `${name}`, with dots for brackets.
    Name(String),
}

/// Names that mean something else in a workflow.
const TAKEN: [&str; 4] = ["matrix", "inputs", "outputs", "work"];

impl Values {
    /// Reads params.yaml and what `vars` names, below `folder`. `named` is a file of params that stages name.
    pub fn read(
        folder: &Path,
        file: &File,
        vars: &[Node],
        named: Option<&str>,
    ) -> Result<Values, Failure> {
        let own = "params.yaml";
        let mut all = Values {
            file: None,
            vars: Vec::new(),
            all: Map::new(),
        };
        if folder.join(own).is_file() {
            all.file = Some((own.into(), values(&folder.join(own))?));
        }
        let whole = |node: &Node| match &node.value {
            NodeValue::String(path) if !path.contains(':') && is_plain_file(path) => {
                Some(path.clone())
            }
            _ => None,
        };
        if all.file.is_none() {
            let first = vars
                .iter()
                .find_map(whole)
                .or_else(|| named.map(String::from));
            if let Some(path) = first.filter(|path| is_plain_file(path)) {
                all.file = Some((path.clone(), values(&folder.join(&path))?));
            }
        }
        if let Some((_, Value::Object(table))) = &all.file {
            lay(&mut all.all, table);
        }
        let laid = all.file.as_ref().map(|(path, _)| path.clone());
        for node in vars {
            if whole(node).is_some_and(|path| Some(path) == laid) {
                continue;
            }
            let (table, from) = of_vars(folder, file, node)?;
            lay(&mut all.all, &table);
            for (name, value) in table {
                match all.vars.iter_mut().find(|(known, ..)| *known == name) {
                    Some((_, Value::Object(into), _)) if value.is_object() => {
                        lay(into, value.as_object().unwrap_or(&Map::new()));
                    }
                    Some(_) => {}
                    None => all.vars.push((name, value, from.clone())),
                }
            }
        }
        Ok(all)
    }

    /// The value of a name.
    pub fn find(&self, name: &str) -> Option<&Value> {
        at(&self.all, name)
    }

    /// What a workflow writes for a value: a reference, where it has one.
    pub fn reference(&self, name: &str) -> Option<String> {
        let mut parts = name.split('.');
        let first = parts.next()?;
        let begins = first.starts_with(|c: char| c.is_ascii_alphabetic());
        let plain = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        if !begins || TAKEN.contains(&first) || !name.split('.').all(plain) {
            return None;
        }
        let mut value = self.all.get(first)?;
        for part in parts {
            // An item of a list has no name in a workflow.
            value = value.as_object()?.get(part)?;
        }
        (!has_null(value)).then(|| format!("${{{name}}}"))
    }
}

/// The values of one of `vars`, and where they stand.
pub(super) fn of_vars(
    folder: &Path,
    file: &File,
    node: &Node,
) -> Result<(Map<String, Value>, String), Failure> {
    if let NodeValue::Table(_) = node.value {
        let Value::Object(table) = file.value(node) else {
            return Ok((Map::new(), String::new()));
        };
        return Ok((table, "dvc.yaml".into()));
    }
    let text = file.string("one of `vars`", node)?;
    let (path, keys) = text.value.split_once(':').unwrap_or((&text.value, ""));
    let Value::Object(mut table) = values(&folder.join(path))? else {
        return Err(file.wrong(text.span, format!("{path} holds no table of values")));
    };
    let keys: Vec<&str> = keys
        .split(',')
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .collect();
    if let Some(absent) = keys.iter().find(|key| !table.contains_key(**key)) {
        return Err(file.wrong(text.span, format!("{path} has no `{absent}`")));
    }
    table.retain(|key, _| keys.is_empty() || keys.contains(&key.as_str()));
    Ok((table, path.into()))
}

/// Whether flow reads it as a file of params.
pub(super) fn is_plain_file(path: &str) -> bool {
    [".yaml", ".yml", ".json", ".toml"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

/// A value by its way through tables and lists.
pub(super) fn at<'v>(table: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let mut parts = name.split('.').map(str::trim);
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| match value {
        Value::Object(table) => table.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn lay(into: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(more)) => lay(into, more),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

pub(super) fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(table) => table.values().any(has_null),
        _ => false,
    }
}

/// A string with `${…}`, taken apart. `\${` is text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('\\') {
            literal += before;
            literal += "${";
            rest = &rest[start + 2..];
            continue;
        }
        literal += &rest[..start];
        let Some(length) = rest[start..].find('}') else {
            return Err(format!("`{}` is never closed", &rest[start..]));
        };
        let name = rest[start + 2..start + length]
            .replace('[', ".")
            .replace(']', "");
        let name: Vec<&str> = name.split('.').map(str::trim).collect();
        if name.iter().any(|part| part.is_empty()) {
            return Err(format!("`{}` names nothing", &rest[start..=start + length]));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Name(name.join(".")));
        rest = &rest[start + length + 1..];
    }
    literal += rest;
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

/// A value as DVC writes it into a string; none of a list or a table.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if number.is_f64() => Some(float(number.as_f64()?)),
        Value::Number(number) => Some(number.to_string()),
        Value::Null => Some("None".into()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number as Python writes it.
fn float(number: f64) -> String {
    let text = format!("{number:?}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

/// A table's leaves as options of a command, with their names.
pub(super) fn leaves<'v>(prefix: &str, table: &'v Map<String, Value>) -> Vec<(String, &'v Value)> {
    let name = |key: &str| match prefix {
        "" => key.to_string(),
        _ => format!("{prefix}.{key}"),
    };
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            Value::Object(inner) => all.extend(leaves(&name(key), inner)),
            leaf => all.push((name(key), leaf)),
        }
    }
    all
}

/// Whether a shell, a path and an instance's name take a text as it is.
pub(super) fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 100
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | ':' | ','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_taken_apart() {
        let text = |text: &str| Piece::Text(text.into());
        let name = |name: &str| Piece::Name(name.into());
        assert_eq!(
            pieces(r"a ${ x.y } \${z} ${l[0].b}").unwrap(),
            [text("a "), name("x.y"), text(" ${z} "), name("l.0.b")]
        );
        assert!(pieces("${a").is_err());
        assert!(pieces("${}").is_err());
    }

    #[test]
    fn numbers_are_written_as_python_does() {
        let written = |value: Value| text(&value).unwrap();
        assert_eq!(written(json!(1e-5)), "1e-05");
        assert_eq!(written(json!(1e16)), "1e+16");
        assert_eq!(written(json!(0.2)), "0.2");
        assert_eq!(written(json!(true)), "true");
    }
}
