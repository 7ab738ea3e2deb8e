//! `--set name=value`: a param's value from the command line.

use super::node::{self, Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::{Sources, Span};

/// Reads one assignment. The value is TOML where it parses as such, else a string: `keep=0.8`, `arch=cnn`,
/// `epochs={min=1,max=3}`.
pub(super) fn assignment(
    text: &str,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<(Located<String>, Node)> {
    let source = sources.add("--set".into(), text.into());
    let Some((name, value)) = text.split_once('=') else {
        problems.add(Problem::SetWithoutValue, Span::new(source, 0..text.len()));
        return None;
    };
    let name_end = name.trim_end().len();
    let name_start = name.len() - name.trim_start().len();
    let start = name.len() + 1 + (value.len() - value.trim_start().len());
    let span = Span::new(source, start..start + value.trim().len());
    let key = Located {
        value: name.trim().to_string(),
        span: Span::new(source, name_start.min(name_end)..name_end),
    };
    let line = format!("value = {value}");
    let value = match toml::de::DeTable::parse(&line) {
        Ok(table) if table.get_ref().len() == 1 => {
            let entries = node::table(table.get_ref(), source, problems);
            relocate(entries.into_iter().next()?.1, span)
        }
        _ => Located {
            value: NodeValue::String(value.trim().to_string()),
            span,
        },
    };
    Some((key, value))
}

/// Gives a value and all that lies in it the place of the whole assignment.
fn relocate(node: Node, span: Span) -> Node {
    let value = match node.value {
        NodeValue::Array(items) => {
            NodeValue::Array(items.into_iter().map(|item| relocate(item, span)).collect())
        }
        NodeValue::Table(entries) => NodeValue::Table(
            entries
                .into_iter()
                .map(|(key, node)| {
                    let key = Located {
                        value: key.value,
                        span,
                    };
                    (key, relocate(node, span))
                })
                .collect(),
        ),
        scalar => scalar,
    };
    Located { value, span }
}
