//! `foreach` and `matrix` as axes of a workflow.

use flow_plan::workflow::{Node, NodeValue};
use serde_json::{Map, Value, json};

use super::file::File;
use super::project::{Each, Stage};
use super::values::{Piece, Values, is_plain, pieces, text};
use super::write::{inline_value, string};
use crate::failure::Failure;

/// An axis, and where a template finds its value.
#[derive(Clone)]
pub(super) struct Axis {
    pub name: String,
    /// What it would be called if no other axis were.
    wanted: String,
    /// `item`, or `item.NAME`.
    item: String,
    /// What its values are called.
    pub keys: Vec<String>,
    values: Vec<Value>,
    /// Whether the values are rows: then these are what lies in the row.
    rows: bool,
    /// Whether they come from a table, so that `key` is one of its keys.
    keyed: bool,
    /// Whether the value lies in the column `value` of its row: it is no table itself.
    wrapped: bool,
    /// What a workflow writes for it.
    pub toml: String,
}

/// One instance of a stage, as DVC has it.
#[derive(Clone)]
pub(super) struct Instance {
    /// `NAME`, or `NAME@KEY`.
    pub name: String,
    /// The number of its value on each axis.
    pub at: Vec<usize>,
    /// What `item` and `key` are.
    pub locals: Map<String, Value>,
}

/// The axes of a stage, and its instances. Axes of other stages that have the same values are the same.
pub(super) fn read(
    file: &File,
    stage: &Stage,
    values: &Values,
    known: &mut Vec<Axis>,
) -> Result<(Vec<Axis>, Vec<Instance>), Failure> {
    let mut axes: Vec<Axis> = Vec::new();
    let mut take = |wanted: &str, item: &str, data: Vec<(String, Value)>, toml: Option<String>| {
        let axis = axis(item, data, toml);
        let same = known.iter().find(|other| {
            let alike =
                other.keys == axis.keys && other.values == axis.values && other.rows == axis.rows;
            alike && other.wanted == wanted && axes.iter().all(|own| own.name != other.name)
        });
        let same = same.map(|other| (other.name.clone(), other.toml.clone()));
        let (name, toml) = same.unwrap_or_else(|| {
            let taken = |name: &str| known.iter().any(|other| other.name == name);
            let mut names =
                std::iter::once(wanted.to_string()).chain((2..).map(|n| format!("{wanted}-{n}")));
            let name = names.find(|name| !taken(name)).unwrap_or_default();
            (name, axis.toml.clone())
        });
        let axis = Axis {
            wanted: wanted.into(),
            name,
            toml,
            ..axis
        };
        known.push(axis.clone());
        axes.push(axis);
    };
    let name = &stage.name.value;
    match &stage.each {
        Each::Once => {
            return Ok((
                axes,
                vec![Instance {
                    name: name.clone(),
                    at: Vec::new(),
                    locals: Map::new(),
                }],
            ));
        }
        Each::Foreach(node) => {
            let (data, from) = data(file, node, values)?;
            let named = from.as_deref().and_then(|name| name.rsplit('.').next());
            let named = named.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
            match data {
                Value::Array(items) => {
                    let composite = items.iter().any(|item| text(item).is_none());
                    let keyed = items.into_iter().enumerate();
                    let keyed = keyed.map(|(i, item)| match (composite, text(&item)) {
                        (false, Some(key)) => (key, item),
                        _ => (i.to_string(), item),
                    });
                    let toml = from.as_deref().and_then(|name| values.reference(name));
                    let toml = toml.filter(|_| !composite).map(|text| string(&text));
                    take(named.map_or("item", one_of), "item", keyed.collect(), toml);
                }
                Value::Object(table) => {
                    let wrapped = !table.values().all(Value::is_object);
                    let keyed = table.into_iter().map(|(key, value)| match wrapped {
                        true => (key, json!({ "value": value })),
                        false => (key, value),
                    });
                    let name = named.map_or("item", one_of);
                    take(name, "item", keyed.collect(), None);
                    if let Some(axis) = axes.last_mut() {
                        (axis.keyed, axis.wrapped) = (true, wrapped);
                    }
                }
                _ => return Err(file.wrong(node.span, "`foreach` has to be a list or a table")),
            }
        }
        Each::Matrix(entries) => {
            for (key, node) in entries {
                let (data, from) = data(file, node, values)?;
                let Value::Array(items) = data else {
                    return Err(file.wrong(node.span, format!("`{}` has to be a list", key.value)));
                };
                let composite = items.iter().any(|item| text(item).is_none());
                let keyed = items.into_iter().enumerate();
                let keyed = keyed.map(|(i, item)| match text(&item) {
                    Some(key) => (key, item),
                    None => (format!("{}{i}", key.value), item),
                });
                let toml = from.as_deref().and_then(|name| values.reference(name));
                let toml = toml.filter(|_| !composite).map(|text| string(&text));
                let axis = &key.value;
                let named = axis
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
                    && axis.starts_with(|c: char| c.is_ascii_alphabetic());
                let name = if named { axis } else { "axis" };
                take(name, &format!("item.{axis}"), keyed.collect(), toml);
            }
        }
    }
    let instances = instances(stage, &axes);
    if instances.is_empty() {
        let message = format!("`{name}` has no value to run for");
        return Err(file.wrong(stage.name.span, message));
    }
    Ok((axes, instances))
}

/// What one of many is called: `model` of `models`.
fn one_of(many: &str) -> &str {
    match many.strip_suffix('s') {
        Some(one) if one.len() > 2 && !one.ends_with(['s', 'e']) => one,
        _ => many,
    }
}

/// The values of `foreach` or of one axis, and the name that they have, if they are nothing but that.
fn data(file: &File, node: &Node, values: &Values) -> Result<(Value, Option<String>), Failure> {
    let wrong = |message: String| file.wrong(node.span, message);
    if let NodeValue::String(whole) = &node.value {
        let pieces = pieces(whole).map_err(wrong)?;
        let [Piece::Name(name)] = &pieces[..] else {
            return Err(wrong("values are a list, a table, or `${NAME}`".into()));
        };
        let value = values.find(name);
        let value = value
            .ok_or_else(|| wrong(format!("`${{{name}}}` is nothing that params or vars have")))?;
        return Ok((value.clone(), Some(name.clone())));
    }
    let mut value = file.value(node);
    resolve(&mut value, values).map_err(wrong)?;
    Ok((value, None))
}

/// Puts values in the place of `${…}`.
fn resolve(value: &mut Value, values: &Values) -> Result<(), String> {
    match value {
        Value::String(template) => {
            let pieces = pieces(template)?;
            let find = |name: &str| {
                let found = values.find(name);
                found.ok_or_else(|| format!("`${{{name}}}` is nothing that params or vars have"))
            };
            *value = match &pieces[..] {
                [Piece::Name(name)] => find(name)?.clone(),
                _ => {
                    let mut whole = String::new();
                    for piece in pieces {
                        match piece {
                            Piece::Text(text) => whole += &text,
                            Piece::Name(name) => whole += &text(find(&name)?).unwrap_or_default(),
                        }
                    }
                    Value::String(whole)
                }
            };
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, values)),
        Value::Object(table) => table
            .values_mut()
            .try_for_each(|value| resolve(value, values)),
        _ => Ok(()),
    }
}

fn axis(item: &str, data: Vec<(String, Value)>, toml: Option<String>) -> Axis {
    let mut distinct: Vec<(String, Value)> = Vec::new();
    for (key, value) in data {
        match distinct.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => distinct.push((key, value)),
        }
    }
    let (keys, values): (Vec<_>, Vec<_>) = distinct.into_iter().unzip();
    let rows = values.iter().any(|value| text(value).is_none());
    let written = if rows {
        let column = key_column(&values);
        let rows = keys.iter().zip(&values).map(|(key, value)| {
            let mut row = format!("{} = {}", column, string(key));
            for (name, value) in value.as_object().into_iter().flatten() {
                if let Some(value) = inline_value(value) {
                    row += &format!(", {} = {value}", super::write::key(name));
                }
            }
            format!("    {{ {row} }},\n")
        });
        let rows: String = rows.collect();
        format!("{{ key = {}, rows = [\n{rows}] }}", string(column))
    } else {
        let items: Vec<_> = values.iter().filter_map(inline_value).collect();
        format!("[{}]", items.join(", "))
    };
    Axis {
        name: String::new(),
        wanted: String::new(),
        keyed: false,
        wrapped: false,
        item: item.into(),
        keys,
        values,
        rows,
        toml: toml.unwrap_or(written),
    }
}

/// A column that no row has.
fn key_column(values: &[Value]) -> &'static str {
    let names = ["key", "name", "dvc_key"];
    let free = names
        .into_iter()
        .find(|name| values.iter().all(|value| value.get(name).is_none()));
    free.unwrap_or("dvc_name")
}

fn instances(stage: &Stage, axes: &[Axis]) -> Vec<Instance> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for axis in axes {
        let longer = all
            .iter()
            .flat_map(|at| (0..axis.keys.len()).map(|i| at.iter().copied().chain([i]).collect()));
        all = longer.collect();
    }
    let matrix = matches!(stage.each, Each::Matrix(_));
    let instance = |at: Vec<usize>| {
        let keys: Vec<_> = axes
            .iter()
            .zip(&at)
            .map(|(axis, &i)| axis.keys[i].as_str())
            .collect();
        let key = keys.join("-");
        let mut locals = Map::new();
        let mut item = Map::new();
        for (axis, &i) in axes.iter().zip(&at) {
            match axis.item.strip_prefix("item.") {
                Some(name) => drop(item.insert(name.into(), axis.values[i].clone())),
                None => {
                    let value = &axis.values[i];
                    let value = if axis.wrapped { &value["value"] } else { value };
                    locals.insert("item".into(), value.clone());
                    if axis.keyed {
                        locals.insert("key".into(), Value::String(key.clone()));
                    }
                }
            }
        }
        if matrix {
            locals.insert("item".into(), Value::Object(item));
            locals.insert("key".into(), Value::String(key.clone()));
        }
        let name = format!("{}@{key}", stage.name.value);
        Instance { name, at, locals }
    };
    all.into_iter().map(instance).collect()
}

impl Axis {
    /// What a workflow writes for `item…`, where this axis has it.
    fn reference(&self, name: &str) -> Option<String> {
        let axis = &self.name;
        let rest = name.strip_prefix(&self.item)?;
        let column = match rest.strip_prefix('.') {
            Some(column) => column,
            None if rest.is_empty() => "",
            None => return None,
        };
        let column = match (self.wrapped, column) {
            (true, "") => "value".to_string(),
            (true, column) => format!("value.{column}"),
            (false, column) => column.to_string(),
        };
        let plain = |part: &str| {
            part.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        match &column[..] {
            "" if !self.rows => Some(format!("${{matrix.{axis}}}")),
            "" => None,
            column if self.rows && column.split('.').all(plain) => {
                Some(format!("${{matrix.{axis}.{column}}}"))
            }
            _ => None,
        }
    }
}

/// What a workflow writes for `item…` and `key`; `None` where each instance needs a text of its own.
pub(super) fn reference(axes: &[Axis], instances: &[Instance], name: &str) -> Option<String> {
    // DVC and flow write other digits where there is an exponent.
    let plain = |value: &Value| {
        let text = text(value).unwrap_or_default();
        is_plain(&text) && !(value.is_f64() && text.contains('e'))
    };
    let values = instances
        .iter()
        .map(|instance| super::values::at(&instance.locals, name));
    if !values.into_iter().all(|value| value.is_some_and(plain)) {
        return None;
    }
    if name == "key" {
        let keys: Vec<_> = axes
            .iter()
            .map(|axis| format!("${{matrix.{}}}", axis.name))
            .collect();
        return Some(keys.join("-"));
    }
    axes.iter().find_map(|axis| axis.reference(name))
}
