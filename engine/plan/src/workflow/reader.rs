//! Taking values of the expected type out of TOML, with a problem noted where they are not.

use std::collections::HashMap;

use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::Span;
use super::template::Template;
use super::tree::Entries;

/// Reads values and notes what is wrong with them.
pub(super) struct Reader<'a> {
    pub problems: &'a mut Problems,
}

impl Reader<'_> {
    pub fn template(&mut self, text: Located<String>) -> Option<Located<Template>> {
        match Template::parse(&text.value) {
            Ok(value) => Some(Located {
                value,
                span: text.span,
            }),
            Err(problem) => {
                self.problems.add(problem, text.span);
                None
            }
        }
    }

    /// Notes references in a value that has to be plain.
    pub fn plain(&mut self, node: &Node) {
        match &node.value {
            NodeValue::String(text) if text.contains("${") => {
                self.problems.add(Problem::ReferenceInAxis, node.span);
            }
            NodeValue::Array(items) => items.iter().for_each(|item| self.plain(item)),
            NodeValue::Table(entries) => entries.iter().for_each(|(_, node)| self.plain(node)),
            _ => {}
        }
    }

    /// Notes values of an axis that stand there twice, or have one name: `1` and `"1"` do.
    pub fn distinct(&mut self, axis: &str, values: &[Node]) {
        let mut seen: HashMap<String, (&Node, usize)> = HashMap::new();
        for value in values {
            let name = value.value.text();
            let (other, times) = seen.entry(name.clone()).or_insert((value, 0));
            *times += 1;
            if *times != 2 {
                continue;
            }
            let axis = axis.to_string();
            let problem = if other.value.json() == value.value.json() {
                let value = value.value.json().to_string();
                Problem::RepeatedValue { axis, value }
            } else {
                Problem::SameName { axis, name }
            };
            self.problems.add(problem, value.span);
        }
    }

    /// Notes a reference where none is resolved.
    pub fn no_reference(&mut self, what: &'static str, text: &Located<String>) {
        if text.value.contains("${") {
            let problem = Problem::ReferenceNotHere { what };
            self.problems.add(problem, text.span);
        }
    }

    pub fn name(&mut self, name: &Located<String>) {
        if !is_name(&name.value) {
            let problem = Problem::InvalidName {
                name: name.value.clone(),
            };
            self.problems.add(problem, name.span);
        }
    }

    pub fn unknown(&mut self, key: &Located<String>, within: &str, known: &[&str]) {
        let problem = Problem::UnknownKey {
            key: key.value.clone(),
            within: within.into(),
            known: known.iter().map(|&k| k.into()).collect(),
        };
        self.problems.add(problem, key.span);
    }

    pub fn wrong_type(
        &mut self,
        what: &str,
        expected: &'static str,
        found: &NodeValue,
        span: Span,
    ) {
        let problem = Problem::WrongType {
            what: what.into(),
            expected,
            found: found.type_name(),
        };
        self.problems.add(problem, span);
    }

    pub fn table(&mut self, what: &str, node: Node) -> Entries {
        match node.value {
            NodeValue::Table(entries) => entries,
            other => {
                self.wrong_type(what, "a table", &other, node.span);
                Vec::new()
            }
        }
    }

    /// The entries of a table that stays where it is.
    pub fn entries<'n>(&mut self, what: &str, node: &'n Node) -> &'n [(Located<String>, Node)] {
        match &node.value {
            NodeValue::Table(entries) => entries,
            other => {
                self.wrong_type(what, "a table", other, node.span);
                &[]
            }
        }
    }

    pub fn array(&mut self, what: &str, node: Node) -> Option<Vec<Node>> {
        match node.value {
            NodeValue::Array(items) => Some(items),
            other => {
                self.wrong_type(what, "a list", &other, node.span);
                None
            }
        }
    }

    pub fn string(&mut self, what: &str, node: Node) -> Option<Located<String>> {
        match node.value {
            NodeValue::String(value) => Some(Located {
                value,
                span: node.span,
            }),
            other => {
                self.wrong_type(what, "a string", &other, node.span);
                None
            }
        }
    }

    pub fn boolean(&mut self, what: &str, node: &Node) -> Option<bool> {
        match node.value {
            NodeValue::Boolean(value) => Some(value),
            ref other => {
                self.wrong_type(what, "true or false", other, node.span);
                None
            }
        }
    }

    /// Notes a word where only some have a meaning.
    pub fn unknown_word(&mut self, what: &'static str, word: &Located<String>, known: &[&str]) {
        let problem = Problem::UnknownWord {
            what,
            word: word.value.clone(),
            known: known.iter().map(|&k| k.into()).collect(),
        };
        self.problems.add(problem, word.span);
    }

    pub fn integer(&mut self, what: &'static str, node: &Node, low: i64, high: i64) -> Option<i64> {
        match node.value {
            NodeValue::Integer(found) if (low..=high).contains(&found) => Some(found),
            NodeValue::Integer(found) => {
                self.problems.add(
                    Problem::OutOfRange {
                        what,
                        low,
                        high,
                        found,
                    },
                    node.span,
                );
                None
            }
            ref other => {
                self.wrong_type(what, "an integer", other, node.span);
                None
            }
        }
    }
}

/// What stages, params, roles and axes may be called.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}
