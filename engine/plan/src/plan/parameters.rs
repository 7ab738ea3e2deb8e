//! A stage's parameters, complete: unknown ones refused, defaults filled in, types and ranges checked against the
//! schema that its plugin publishes.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::kinds::Kind;
use super::types::type_text;
use super::{Files, Input, Origin, Wanted};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{Located, Node, NodeValue, Span, node};

/// Gives the parameters as the stage gets them; `None` where something is wrong with them. `stage` is where a missing
/// parameter is reported.
pub(super) fn resolve(
    kind: &Kind,
    given: &[(Located<String>, Node)],
    stage: Span,
    problems: &mut Problems,
) -> Option<Map<String, Value>> {
    let name = || kind.description.name.clone();
    let known = kind.parameter_names();
    let closed =
        kind.description.parameters.get("additionalProperties") == Some(&Value::Bool(false));
    let mut sound = true;
    for (key, _) in given {
        if closed && !known.contains(&key.value) {
            let problem = Problem::UnknownParameter {
                kind: name(),
                name: key.value.clone(),
                known: known.clone(),
            };
            problems.add(problem, key.span);
            sound = false;
        }
    }
    if !sound {
        return None;
    }
    let mut value = Value::Object(node::object(given));
    complete(&kind.description.parameters, &mut value);
    let validator = match kind.validator() {
        Ok(validator) => validator,
        Err(message) => {
            let message = message.into();
            problems.add(
                Problem::BadSchema {
                    kind: name(),
                    message,
                },
                stage,
            );
            return None;
        }
    };
    let describe = |parameter: &str| {
        let description = kind
            .parameter(parameter)
            .and_then(|schema| schema.get("description"));
        description
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_string()
    };
    for error in validator.iter_errors(&value) {
        let path = error.instance_path().to_string();
        let problem = match error.kind() {
            ValidationErrorKind::Required {
                property: Value::String(missing),
            } if path.is_empty() => Problem::MissingParameter {
                kind: name(),
                name: missing.clone(),
                description: describe(missing),
            },
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let schema = schema_at(&kind.description.parameters, &path);
                let known: Vec<&str> = schema
                    .and_then(|schema| schema.get("properties")?.as_object())
                    .map(|properties| properties.keys().map(String::as_str).collect())
                    .unwrap_or_default();
                let within = dotted(&path);
                for key in unexpected {
                    let problem = Problem::UnknownParameter {
                        kind: name(),
                        name: format!("{within}.{key}"),
                        known: known.iter().map(|k| format!("{within}.{k}")).collect(),
                    };
                    problems.add(problem, key_place(given, &path, key).unwrap_or(stage));
                }
                sound = false;
                continue;
            }
            kind_of_error => Problem::BadParameter {
                kind: name(),
                name: dotted(&path),
                message: match takes(kind_of_error, &kind.description.parameters, &path) {
                    Some(wanted) => format!("it takes {wanted}, not {}", error.instance()),
                    None => error.to_string(),
                },
                description: describe(path.split('/').nth(1).unwrap_or("")),
            },
        };
        problems.add(problem, place(given, &path).unwrap_or(stage));
        sound = false;
    }
    match value {
        Value::Object(parameters) if sound => Some(parameters),
        _ => None,
    }
}

/// What a parameter takes, in words, where a value is of the wrong type or out of range: the validator's own words name one
/// bound, or say that no alternative fits.
fn takes(error: &ValidationErrorKind, parameters: &Value, path: &str) -> Option<String> {
    use ValidationErrorKind::*;
    matches!(
        error,
        Type { .. }
            | Minimum { .. }
            | Maximum { .. }
            | ExclusiveMinimum { .. }
            | ExclusiveMaximum { .. }
            | Enum { .. }
            | AnyOf { .. }
            | OneOfNotValid { .. }
    )
    .then(|| schema_at(parameters, path).map(type_text))?
    .filter(|text| text != "any")
}

/// The schema of the value at a JSON pointer.
fn schema_at<'s>(parameters: &'s Value, path: &str) -> Option<&'s Value> {
    let follow = |schema: &'s Value| match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => parameters.pointer(reference.strip_prefix('#')?),
        None => Some(schema),
    };
    path.split('/').skip(1).try_fold(parameters, |schema, key| {
        let inner = schema.get("properties").and_then(|p| p.get(key));
        follow(inner.or_else(|| schema.get("items"))?)
    })
}

fn dotted(path: &str) -> String {
    path.trim_start_matches('/').replace('/', ".")
}

/// Where a key of the table at a JSON pointer was written.
fn key_place(given: &[(Located<String>, Node)], pointer: &str, key: &str) -> Option<Span> {
    let mut entries = given;
    for part in pointer.split('/').skip(1) {
        let (_, node) = entries.iter().find(|(k, _)| k.value == part)?;
        let NodeValue::Table(inner) = &node.value else {
            return None;
        };
        entries = inner;
    }
    let (key, _) = entries.iter().find(|(k, _)| k.value == key)?;
    Some(key.span)
}

/// Fills in what the schema has a default for, at every depth, and makes whole numbers floats where the schema asks
/// for a number: `1` and `1.0` are one value, and have to give one key.
pub(super) fn complete(schema: &Value, value: &mut Value) {
    if schema.get("type").is_some_and(|t| mentions(t, "number"))
        && let Some(whole) = value.as_i64()
    {
        *value = Value::from(whole as f64);
    }
    match value {
        Value::Object(object) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return;
            };
            for (name, schema) in properties {
                if !object.contains_key(name)
                    && let Some(default) = schema.get("default")
                {
                    object.insert(name.clone(), default.clone());
                }
                if let Some(value) = object.get_mut(name) {
                    complete(schema, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| complete(schema, item));
            }
        }
        _ => {}
    }
}

fn mentions(types: &Value, wanted: &str) -> bool {
    match types {
        Value::String(one) => one == wanted,
        Value::Array(several) => several.iter().any(|one| one == wanted),
        _ => false,
    }
}

/// Where the value at a JSON pointer was written; the nearest value around it where a default stands there.
fn place(given: &[(Located<String>, Node)], pointer: &str) -> Option<Span> {
    let mut parts = pointer.split('/').skip(1);
    let first = parts.next()?;
    let mut node = &given.iter().find(|(key, _)| key.value == first)?.1;
    for part in parts {
        let inner = match &node.value {
            NodeValue::Table(entries) => entries
                .iter()
                .find(|(k, _)| k.value == part)
                .map(|(_, n)| n),
            NodeValue::Array(items) => part.parse::<usize>().ok().and_then(|i| items.get(i)),
            _ => None,
        };
        match inner {
            Some(inner) => node = inner,
            None => break,
        }
    }
    Some(node.span)
}

/// The local paths in a path parameter: a string, or a list or table of them. What has `://` in it is a URL.
pub(super) fn paths(
    value: &Value,
    role: &str,
    pointer: String,
    span: Span,
    inputs: &mut Vec<Input>,
) {
    match value {
        Value::String(path) if !path.contains("://") => inputs.push(Input {
            role: format!("with.{role}"),
            origin: Origin::Path {
                files: Files::one(path, Wanted::Either),
                span,
                parameter: Some(pointer),
            },
            place: None,
            writable: false,
        }),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                paths(
                    item,
                    &format!("{role}.{i}"),
                    format!("{pointer}/{i}"),
                    span,
                    inputs,
                );
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                paths(
                    item,
                    &format!("{role}.{key}"),
                    format!("{pointer}/{escaped}"),
                    span,
                    inputs,
                );
            }
        }
        _ => {}
    }
}

/// Lets a glob stand for several files where the kind takes a list of paths in its place.
pub(super) fn allow_several(kind: &Kind, parameters: &Map<String, Value>, inputs: &mut [Input]) {
    for input in inputs {
        let Origin::Path {
            files,
            parameter: Some(pointer),
            ..
        } = &mut input.origin
        else {
            continue;
        };
        if !files.is_several() {
            continue;
        }
        let mut listed = Value::Object(parameters.clone());
        if let Some(value) = listed.pointer_mut(pointer) {
            *value = Value::Array(vec![value.take()]);
        }
        if kind
            .validator()
            .is_ok_and(|validator| validator.is_valid(&listed))
        {
            files.wanted = Wanted::Many;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_are_filled_in_at_every_depth_and_numbers_are_floats() {
        let schema = json!({"properties": {
            "epochs": {
                "type": "object",
                "default": {"min": 30, "max": 50},
                "properties": {"min": {"type": "integer", "default": 30}, "max": {"type": "integer", "default": 50}}
            },
            "keep": {"type": "number", "default": 1}
        }});
        let mut value = json!({"epochs": {"max": 60}});
        complete(&schema, &mut value);
        assert_eq!(
            value,
            json!({"epochs": {"min": 30, "max": 60}, "keep": 1.0})
        );
    }
}
