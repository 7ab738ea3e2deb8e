//! Files that are written for a program before it starts: the text of a value, by the file's ending. The same value is always
//! the same text: order as written, floats with a point.

mod yaml;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::workflow::{Node, NodeValue, Problem};

/// The text of a file: YAML, JSON or TOML by the ending of its path. A string is its own text.
///
/// # Errors
/// Where a file of this ending can't hold the value.
pub(super) fn text(path: &str, value: &NodeValue) -> Result<String, Problem> {
    if let NodeValue::String(text) = value {
        return Ok(text.clone());
    }
    let wrong = |expected| Problem::BadFileValue {
        path: path.into(),
        expected,
        found: value.type_name(),
    };
    let ending = path
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'));
    match ending.map(|(_, ending)| ending) {
        Some("yaml" | "yml") => Ok(yaml::text(value)),
        Some("json") => {
            let text = serde_json::to_string_pretty(&Plain(value));
            // Keys are strings and floats are finite, so there is nothing that JSON can't hold.
            text.map(|text| text + "\n").map_err(|_| wrong("a value"))
        }
        Some("toml") if matches!(value, NodeValue::Table(_)) => {
            toml::to_string(&Plain(value)).map_err(|_| wrong("a table"))
        }
        Some("toml") => Err(wrong("a table")),
        _ => Err(wrong("a string")),
    }
}

/// A value without places, its tables in order.
struct Plain<'n>(&'n NodeValue);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            NodeValue::String(text) => serializer.serialize_str(text),
            NodeValue::Integer(number) => serializer.serialize_i64(*number),
            NodeValue::Float(number) => serializer.serialize_f64(*number),
            NodeValue::Boolean(value) => serializer.serialize_bool(*value),
            NodeValue::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for Node { value, .. } in items {
                    list.serialize_element(&Plain(value))?;
                }
                list.end()
            }
            NodeValue::Table(entries) => {
                let mut table = serializer.serialize_map(Some(entries.len()))?;
                for (key, node) in entries {
                    table.serialize_entry(&key.value, &Plain(&node.value))?;
                }
                table.end()
            }
        }
    }
}
