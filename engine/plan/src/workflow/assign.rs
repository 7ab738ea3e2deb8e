//! Giving a part of the tree another value, or none: `keep`, `epochs.max`, `stages.NAME.uses`, `stages.NAME.with.PARAMETER`.

use super::node::{Located, Node, NodeValue};
use super::problem::Problem;
use super::template::{Piece, Template};
use super::tree::{Entries, find, names};

/// Whether a path leads into `[stages]`. What is set there may look through a reference at a param, so params come first.
pub(super) fn in_stages(path: &str) -> bool {
    path.starts_with("stages.")
}

/// Gives the part at `path` a value, or takes it away where there is none. All but parameters of stages has to be there.
///
/// # Errors
/// Where nothing can be set at `path`; the problem is about the path.
pub(super) fn assign(
    root: &mut Entries,
    path: &Located<String>,
    value: Option<Node>,
) -> Result<(), Problem> {
    let parts: Vec<&str> = path.value.split('.').collect();
    let (section, rest) = match parts.split_first() {
        Some((&"params", rest)) if !rest.is_empty() => ("params", rest),
        Some((&"stages", rest)) if !rest.is_empty() => ("stages", rest),
        _ => ("params", &parts[..]),
    };
    let within = section == "stages";
    let settable = match rest {
        _ if !within => true,
        [_, "uses"] => true,
        [_, "with", parameter, ..] => !parameter.is_empty(),
        _ => false,
    };
    let Some((last, inner)) = rest.split_last().filter(|_| settable) else {
        let path = path.value.clone();
        return Err(Problem::NotSettable { path });
    };
    // Nothing may refer to a param that is gone; and a stage has to do something.
    if value.is_none() && (inner.is_empty() || *last == "uses") {
        return Err(Problem::NoValue);
    }
    let unknown = |part: &str, known: Vec<String>| {
        let name = part.to_string();
        if within {
            Problem::UnknownStage { stage: name, known }
        } else {
            Problem::UnknownParam { name, known }
        }
    };
    let params = match find(root, "params").map(|node| &node.value) {
        Some(NodeValue::Table(params)) if rest.len() > 3 => params.clone(),
        _ => Entries::new(),
    };
    let Some((_, node)) = root.iter_mut().find(|(key, _)| key.value == section) else {
        return Err(unknown(rest[0], Vec::new()));
    };
    let mut table = match &mut node.value {
        NodeValue::Table(table) => table,
        // That it is no table is said where it is read.
        _ => return Ok(()),
    };
    for (depth, part) in inner.iter().enumerate() {
        let at = table.iter().position(|(key, _)| key.value == *part);
        let at = match at {
            Some(at) => at,
            // A stage may have no `with` yet.
            None if within && depth >= 1 && value.is_some() => {
                let key = (*part).to_string();
                let value = NodeValue::Table(Entries::new());
                table.push((at_path(key, path), at_path(value, path)));
                table.len() - 1
            }
            None if within && depth >= 1 => {
                let path = path.value.clone();
                return Err(Problem::NothingSet { path });
            }
            None => return Err(unknown(part, names(table))),
        };
        let node = &mut table[at].1;
        if within && depth >= 2 {
            unfold(node, &params);
        }
        table = match &mut node.value {
            NodeValue::Table(entries) => entries,
            other => {
                let outside = parts.len() - inner.len() + depth;
                return Err(Problem::NotATable {
                    path: parts[..outside].join("."),
                    found: match other {
                        NodeValue::String(text) => format!("the string \"{text}\""),
                        other => other.type_name().into(),
                    },
                });
            }
        };
    }
    let found = table.iter().position(|(key, _)| key.value == *last);
    match (value, found) {
        (Some(value), Some(at)) => table[at] = (at_path((*last).to_string(), path), value),
        (Some(value), None) if within => {
            table.push((at_path((*last).to_string(), path), value));
        }
        (None, Some(at)) => drop(table.remove(at)),
        (None, None) if within => {
            let path = path.value.clone();
            return Err(Problem::NothingSet { path });
        }
        (_, None) => return Err(unknown(last, names(table))),
    }
    Ok(())
}

/// Makes a table of a string that is nothing but a reference to one. Its entries are references too: what is set in it
/// leaves all else to the param.
fn unfold(node: &mut Node, params: &Entries) {
    let Some((name, entries)) = referred(node, params) else {
        return;
    };
    let entries = entries.iter().map(|(key, value)| {
        let path = format!("${{{name}.{}}}", key.value);
        let is_reference = !key.value.contains('.') && Template::parse(&path).is_ok();
        let value = if is_reference {
            Located {
                value: NodeValue::String(path),
                span: node.span,
            }
        } else {
            value.clone()
        };
        (key.clone(), value)
    });
    node.value = NodeValue::Table(entries.collect());
}

/// The name in a string that is nothing but a reference to a table, and the table.
fn referred<'p>(node: &Node, params: &'p Entries) -> Option<(String, &'p Entries)> {
    let NodeValue::String(text) = &node.value else {
        return None;
    };
    let template = Template::parse(text).ok()?;
    let [Piece::Name(name)] = &template.pieces[..] else {
        return None;
    };
    let mut entries = params;
    for part in name.split('.') {
        let NodeValue::Table(inner) = &find(entries, part)?.value else {
            return None;
        };
        entries = inner;
    }
    Some((name.clone(), entries))
}

fn at_path<T>(value: T, path: &Located<String>) -> Located<T> {
    Located {
        value,
        span: path.span,
    }
}
