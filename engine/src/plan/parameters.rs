//! A stage's parameters, complete: unknown ones refused, defaults filled in, types and ranges checked against the
//! schema that its plugin publishes.

use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::{Input, Origin, Wanted};
use crate::plugin::{Kind, type_text};
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
            // The validator only says that none of the alternatives fits; here is what they are.
            ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. }
                if path.split('/').count() == 2 =>
            {
                let parameter = path.trim_start_matches('/');
                let wanted = kind.parameter(parameter).map_or("any".into(), type_text);
                Problem::BadParameter {
                    kind: name(),
                    name: parameter.into(),
                    message: format!("{} is not: {wanted}", error.instance()),
                    description: describe(parameter),
                }
            }
            _ => Problem::BadParameter {
                kind: name(),
                name: path.trim_start_matches('/').replace('/', "."),
                message: error.to_string(),
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

/// Fills in what the schema has a default for, at every depth, and makes whole numbers floats where the schema asks
/// for a number: `1` and `1.0` are one value, and have to give one key.
fn complete(schema: &Value, value: &mut Value) {
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
                pattern: Located {
                    value: path.clone(),
                    span,
                },
                wanted: Wanted::Either,
                parameter: Some(pointer),
            },
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
