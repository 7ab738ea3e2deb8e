//! Giving a part of the tree another value, or none: `keep`, `epochs.max`, `stages.NAME.uses`, `stages.NAME.with.PARAMETER`.

use super::node::{Located, Node, NodeValue};
use super::overlay::{act_anew, note, note_kept};
use super::problem::{Problem, Problems};
use super::template::{Piece, Template};
use super::tree::{Entries, find, find_at, merge, names};

/// What replaces a value whole, where a table would else be laid over it.
const REPLACE: &str = "replace.";

/// The order in which paths are set: params, what stages do, what is in them.
pub(super) fn rank(path: &str) -> u8 {
    let path = path.strip_prefix(REPLACE).unwrap_or(path);
    let parts: Vec<&str> = path.split('.').collect();
    match parts[..] {
        ["stages", _, "uses"] => 1,
        ["stages", ..] => 2,
        _ => 0,
    }
}

/// Checks that a value is of the type that it has in one of the tables of params, as far as it is a param and they have it.
/// Lists and tables are looked at where they are used: many parameters take one in the place of a scalar.
///
/// # Errors
/// [`Problem::OtherType`], of the first table.
pub(super) fn same_type(
    params: [&[(Located<String>, Node)]; 2],
    path: &str,
    value: &Node,
) -> Result<(), Problem> {
    let path = path.strip_prefix(REPLACE).unwrap_or(path);
    if path.starts_with("stages.") {
        return Ok(());
    }
    let path = path.strip_prefix("params.").unwrap_or(path);
    if let NodeValue::Table(entries) = &value.value {
        let mut inner = entries.iter();
        return inner.try_for_each(|(key, value)| {
            same_type(params, &format!("params.{path}.{}", key.value), value)
        });
    }
    let old = params.map(|params| find_at(params, path.split('.')));
    let mut old = old.into_iter().flatten();
    let Some(first) = old.next() else {
        return Ok(());
    };
    if takes(first, value) || old.any(|old| takes(old, value)) {
        return Ok(());
    }
    Err(Problem::OtherType {
        name: path.into(),
        wanted: first.value.type_name(),
        found: value.value.type_name(),
    })
}

/// Whether a value may stand in the place of another.
fn takes(old: &Node, new: &Node) -> bool {
    use NodeValue::{Array, Float, Integer, String, Table};
    let is_reference = |node: &Node| matches!(&node.value, String(text) if text.contains("${"));
    match (&old.value, &new.value) {
        _ if is_reference(old) || is_reference(new) => true,
        // A list or table that is not closed.
        (Array(_) | Table(_), String(text)) if text.starts_with(['[', '{']) => false,
        (Array(_) | Table(_), _) | (_, Array(_) | Table(_)) | (Float(_), Integer(_)) => true,
        (old, new) => std::mem::discriminant(old) == std::mem::discriminant(new),
    }
}

/// Gives the part at `path` a value, or takes it away where there is none. All but parameters of stages has to be there.
/// A table is laid over one that stands there; before `language = 2` it replaced that, so the difference is noted among
/// `changes`.
///
/// # Errors
/// Where nothing can be set at `path`; the problem is about the path.
pub(super) fn assign(
    root: &mut Entries,
    path: &Located<String>,
    value: Option<Node>,
    changes: &mut Problems,
) -> Result<(), Problem> {
    let whole = path.value.strip_prefix(REPLACE);
    let whole = whole.filter(|rest| rest.starts_with("params.") || rest.starts_with("stages."));
    let parts: Vec<&str> = whole.unwrap_or(&path.value).split('.').collect();
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
    let is_table = |node: &Node| matches!(node.value, NodeValue::Table(_));
    let may_unfold =
        rest.len() > if within { 3 } else { 1 } || value.as_ref().is_some_and(is_table);
    let params = match find(root, "params").map(|node| &node.value) {
        Some(NodeValue::Table(params)) if may_unfold => params.clone(),
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
        if !within || depth >= 2 {
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
    if let (true, [stage], Some(value)) = (within, inner, &value) {
        let then = table.clone();
        act_anew(table, &vec![(at_path("uses".into(), path), value.clone())]);
        let stage = format!("stages.{stage}");
        note(&stage, &then, table, |_| Some(path.span), changes);
    }
    let found = table.iter().position(|(key, _)| key.value == *last);
    match (value, found) {
        (Some(value), Some(at)) if whole.is_none() && is_table(&value) => {
            let node = &mut table[at].1;
            unfold(node, &params);
            lay(node, value, path, changes);
        }
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

/// Lays a table over what stands there.
fn lay(node: &mut Node, over: Node, path: &Located<String>, changes: &mut Problems) {
    match (&mut node.value, over.value) {
        (NodeValue::Table(table), NodeValue::Table(over)) => {
            let then = over.clone();
            merge(table, over);
            let full = match path.value.starts_with("stages.") || path.value.starts_with("params.")
            {
                true => path.value.clone(),
                false => format!("params.{}", path.value),
            };
            note_kept(full, &then, table, path.span, changes);
        }
        (old, value) => *old = value,
    }
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
