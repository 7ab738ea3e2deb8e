//! YAML that programs write: no part of a workflow, so null may stand in it, and numbers that are not finite or beyond 64
//! bits.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::node::{Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::{Sources, Span};
use super::yaml;

/// Reads YAML (1.2, as its core schema reads plain words). A number that is not finite becomes null, one beyond 64 bits the
/// nearest one that JSON has.
///
/// # Errors
/// What is wrong, with its line: `line 3: …`.
pub fn yaml_data(text: &str) -> Result<Value, String> {
    let (mut sources, mut problems) = (Sources::default(), Problems::default());
    let place = sources.add_option("text", text);
    let read = yaml::yaml(text, place, &mut problems);
    let mut nulls = HashSet::new();
    for (problem, span) in problems.found {
        match (problem, span) {
            // What a workflow can't use, a program may write.
            (Problem::UnusableValue { .. }, Some(span)) => {
                nulls.insert(span);
            }
            (problem, span) => {
                let before = span.map_or("", |span| &text[..span.range().start]);
                let line = before.matches('\n').count() + 1;
                let problem = match problem {
                    Problem::Malformed { message, .. } => message,
                    other => other.to_string(),
                };
                return Err(format!("line {line}: {problem}"));
            }
        }
    }
    let Some(read) = read else {
        return Err("it can't be read".into());
    };
    nulls.extend(read.nulls);
    Ok(value(&read.root, text, &nulls))
}

fn value(node: &Node, text: &str, unusable: &HashSet<Span>) -> Value {
    match &node.value {
        // As a number where it is a large one; null and the like are not.
        _ if unusable.contains(&node.span) => {
            let number = node.span.of(text).trim().parse::<f64>();
            let number = number.ok().filter(|number| number.is_finite());
            number.map_or(Value::Null, Value::from)
        }
        NodeValue::Array(items) => items
            .iter()
            .map(|item| value(item, text, unusable))
            .collect(),
        NodeValue::Table(entries) => {
            let entries = entries.iter();
            let entries =
                entries.map(|(key, node)| (key.value.clone(), value(node, text, unusable)));
            Value::Object(Map::from_iter(entries))
        }
        plain => plain.json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_workflow_can_not_use_is_null_or_a_number() {
        let text =
            "a: .nan\nb: {c: null, d: 1e400, e: 99999999999999999999}\nf: [-.inf, 2]\ng: no\n";
        assert_eq!(
            yaml_data(text).unwrap(),
            json!({"a": null, "b": {"c": null, "d": null, "e": 1e20}, "f": [null, 2], "g": "no"})
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let error = yaml_data("ü: 1\nb: [1\nc: 2\n").unwrap_err();
        assert!(
            error.starts_with("line 2: ") || error.starts_with("line 3: "),
            "{error}"
        );
        let error = yaml_data("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error, "line 2: the key `a` stands here twice");
    }
}
