//! YAML that programs and other tools write: no part of a workflow, so null may stand in it, and numbers that are not finite
//! or beyond 64 bits.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::node::{Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::{Sources, Span};
use super::yaml;

/// A text in YAML, with the places of its values.
#[derive(Debug)]
pub struct Yaml {
    text: String,
    root: Node,
    /// Where `null` stands and what no workflow can use; some other value holds its place in the tree.
    unusable: HashSet<Span>,
}

impl Yaml {
    /// Reads YAML (1.2, as its core schema reads plain words).
    ///
    /// # Errors
    /// The line, from 1, and what is wrong there.
    pub fn read(text: &str) -> Result<Yaml, (usize, String)> {
        let (mut sources, mut problems) = (Sources::default(), Problems::default());
        let place = sources.add_option("text", text);
        let read = yaml::yaml(text, place, &mut problems);
        let mut unusable = HashSet::new();
        for (problem, span) in problems.found {
            match (problem, span) {
                // What a workflow can't use, a program may write.
                (Problem::UnusableValue { .. }, Some(span)) => {
                    unusable.insert(span);
                }
                (problem, span) => {
                    let problem = match problem {
                        Problem::Malformed { message, .. } => message,
                        other => other.to_string(),
                    };
                    return Err((
                        line(text, span.map_or(0, |span| span.range().start)),
                        problem,
                    ));
                }
            }
        }
        let read = read.ok_or_else(|| (1, "it can't be read".to_string()))?;
        unusable.extend(read.nulls);
        Ok(Yaml {
            text: text.into(),
            root: read.root,
            unusable,
        })
    }

    /// All of it.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Whether `null` stands there, or a number that no workflow can use.
    pub fn is_unusable(&self, node: &Node) -> bool {
        self.unusable.contains(&node.span)
    }

    /// The line of a place, from 1.
    pub fn line(&self, span: Span) -> usize {
        line(&self.text, span.range().start)
    }

    /// A value of it. A number that is not finite becomes null, one beyond 64 bits the nearest one that JSON has.
    pub fn value(&self, node: &Node) -> Value {
        value(node, &self.text, &self.unusable)
    }
}

fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The values of a text in YAML, as [`Yaml::value`] has them.
///
/// # Errors
/// What is wrong, with its line: `line 3: …`.
pub fn yaml_data(text: &str) -> Result<Value, String> {
    match Yaml::read(text) {
        Ok(yaml) => Ok(yaml.value(&yaml.root)),
        Err((line, problem)) => Err(format!("line {line}: {problem}")),
    }
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
