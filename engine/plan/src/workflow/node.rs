//! A TOML value that remembers where it was written.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems};
use super::source::Span;

/// Something with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The thing.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// A value with its place.
pub type Node = Located<NodeValue>;

/// A TOML value. Dates are left out: no parameter takes one, so they are refused where they are written.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeValue {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A float, finite.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A list.
    Array(Vec<Node>),
    /// A table, in file order.
    Table(Vec<(Located<String>, Node)>),
}

impl NodeValue {
    /// What TOML calls this type, with its article.
    pub fn type_name(&self) -> &'static str {
        match self {
            NodeValue::String(_) => "a string",
            NodeValue::Integer(_) => "an integer",
            NodeValue::Float(_) => "a float",
            NodeValue::Boolean(_) => "a boolean",
            NodeValue::Array(_) => "a list",
            NodeValue::Table(_) => "a table",
        }
    }

    /// The value as it stands inside a longer string, or in an instance's name.
    pub fn text(&self) -> String {
        match self {
            NodeValue::String(text) => text.clone(),
            other => other.json().to_string(),
        }
    }

    /// The value without places.
    pub fn json(&self) -> Value {
        match self {
            NodeValue::String(text) => Value::from(text.as_str()),
            NodeValue::Integer(number) => Value::from(*number),
            NodeValue::Float(number) => Value::from(*number),
            NodeValue::Boolean(boolean) => Value::from(*boolean),
            NodeValue::Array(items) => items.iter().map(|item| item.value.json()).collect(),
            NodeValue::Table(entries) => Value::Object(object(entries)),
        }
    }
}

/// A table's entries as a JSON object.
pub fn object(entries: &[(Located<String>, Node)]) -> Map<String, Value> {
    entries
        .iter()
        .map(|(key, node)| (key.value.clone(), node.value.json()))
        .collect()
}

/// Takes a parsed TOML table over, in file order; `source` is the text that was parsed, and `text` its place.
pub(super) fn table(
    table: &DeTable<'_>,
    source: &str,
    text: Span,
    problems: &mut Problems,
) -> Vec<(Located<String>, Node)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let name = Located {
                value: key.get_ref().to_string(),
                span: text.inside(key.span()),
            };
            (name, node(value, source, text, problems))
        })
        .collect();
    entries.sort_by_key(|(name, _)| name.span);
    entries
}

/// Takes one parsed TOML value over; `source` is the text that was parsed, and `text` its place.
pub(super) fn node(
    value: &Spanned<DeValue<'_>>,
    source: &str,
    text: Span,
    problems: &mut Problems,
) -> Node {
    let span = text.inside(value.span());
    let refused = |problems: &mut Problems, what| {
        problems.add(Problem::UnusableValue { what }, span);
        NodeValue::Boolean(false)
    };
    let value = match value.get_ref() {
        // A line break in the file is one, whatever the editor writes for it.
        DeValue::String(string)
            if source
                .get(value.span())
                .is_some_and(|written| written.contains("\r\n")) =>
        {
            NodeValue::String(string.replace("\r\n", "\n"))
        }
        DeValue::String(string) => NodeValue::String(string.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => NodeValue::Integer(number),
            Err(_) => refused(problems, "an integer beyond 64 bits"),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => NodeValue::Float(number),
            _ => refused(problems, "a number that is not finite"),
        },
        DeValue::Boolean(boolean) => NodeValue::Boolean(*boolean),
        DeValue::Datetime(_) => refused(problems, "a date"),
        DeValue::Array(items) => NodeValue::Array(
            items
                .iter()
                .map(|item| node(item, source, text, problems))
                .collect(),
        ),
        DeValue::Table(entries) => NodeValue::Table(table(entries, source, text, problems)),
    };
    Located { value, span }
}
