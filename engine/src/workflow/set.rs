//! Values from the command line: `--set name=value`, `--sweep axis=value,…`, `--seeds`.

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
    named("--set", text, sources, problems)
}

/// Reads one axis: a TOML list, or values with commas between them: `keep=0.8,0.9`, `arch=cnn,resnet18`.
pub(super) fn list(
    text: &str,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<(Located<String>, Vec<Node>)> {
    let (name, value) = named("--sweep", text, sources, problems)?;
    let values = values(value);
    Some((name, values))
}

/// Reads `--seeds`: a number of them, or two and more with commas between them, or a TOML list.
pub(super) fn seeds(text: &str, sources: &mut Sources, problems: &mut Problems) -> Option<Node> {
    let source = sources.add("--seeds".into(), text.into());
    let span = Span::new(source, 0..text.len());
    let node = value(text, span, source, problems);
    let listed = match &node.value {
        NodeValue::String(text) => text.contains(','),
        _ => false,
    };
    Some(if listed {
        let value = NodeValue::Array(values(node));
        Located { value, span }
    } else {
        node
    })
}

/// The values of a list, or those in a string with commas.
fn values(node: Node) -> Vec<Node> {
    let span = node.span;
    match node.value {
        NodeValue::Array(items) => items,
        NodeValue::String(text) => text
            .split(',')
            .map(|part| value(part, span, 0, &mut Problems::default()))
            .collect(),
        value => vec![Located { value, span }],
    }
}

fn named(
    option: &str,
    text: &str,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<(Located<String>, Node)> {
    let source = sources.add(option.into(), text.into());
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
    Some((key, self::value(value, span, source, problems)))
}

/// A value as TOML where it parses as such, else a string; all of it has the place `span`.
fn value(text: &str, span: Span, source: usize, problems: &mut Problems) -> Node {
    let line = format!("value = {text}");
    let node = match toml::de::DeTable::parse(&line) {
        Ok(table) if table.get_ref().len() == 1 => {
            let entries = node::table(table.get_ref(), source, problems);
            entries.into_iter().next().map(|(_, node)| node)
        }
        _ => None,
    };
    let string = || Located {
        value: NodeValue::String(text.trim().to_string()),
        span,
    };
    relocate(node.unwrap_or_else(string), span)
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
