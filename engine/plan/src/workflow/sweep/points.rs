//! Which combinations of values there are: axes in, points out. No file and no tree is looked at.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::Mode;
use super::axes::{Axis, Target};
use super::head::{Head, Named};
use crate::workflow::node::{Located, Node};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::reference;

/// More combinations than this are refused, before `where` and `random` choose from them.
const LIMIT: usize = 100_000;

/// A value for each axis; none where the base has none.
pub(super) type Row = Vec<Option<Node>>;

/// A combination of values.
pub(super) struct Point {
    pub row: Row,
    /// Axis and value; null where the base has no value.
    pub coordinates: BTreeMap<String, Value>,
    /// Whether these are the values of the file without its sweep.
    pub base: bool,
    /// The seeds that it runs with.
    pub seeds: Vec<u64>,
}

/// The rows of a sweep, in order; `None` where something is wrong, or was since there were `before` problems. `seed` is
/// what random ones are drawn by.
pub(super) fn rows(
    head: &Head,
    axes: &[Axis],
    seed: u64,
    before: usize,
    problems: &mut Problems,
) -> Option<Vec<Row>> {
    let mut rows = match head.mode {
        Mode::Points => listed(head, axes, problems),
        Mode::Zip => zipped(head, axes, problems)?,
        Mode::OneAtATime => one_at_a_time(axes),
        Mode::Grid | Mode::Random => grid(head, axes, problems)?,
    };
    // What the command line sets has that value at every point; points that only differed in it are one.
    for (i, axis) in axes.iter().enumerate() {
        if axis.is_fixed {
            rows.iter_mut().for_each(|row| row[i] = axis.base.clone());
        }
    }
    if axes.iter().any(|axis| axis.is_fixed) {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(texts(row)));
    }
    let only = conditions(&head.only, axes, problems);
    let not = conditions(&head.not, axes, problems);
    if problems.count() > before {
        return None;
    }
    rows.retain(|row| {
        (only.is_empty() || only.iter().any(|condition| holds(condition, row)))
            && !not.iter().any(|condition| holds(condition, row))
    });
    if head.mode == Mode::Random {
        draw(&mut rows, head.draws, seed);
    }
    if rows.is_empty() {
        problems.add(Problem::NoPoints, head.span);
        return None;
    }
    Some(rows)
}

/// The variants that a row chooses: group and name.
pub(super) fn chosen<'r>(
    row: &'r Row,
    axes: &'r [Axis],
) -> impl Iterator<Item = (String, Located<String>)> + 'r {
    let values = axes.iter().zip(row);
    values.filter_map(|(axis, value)| match (&axis.target, value) {
        (Target::Variant(group), Some(value)) => {
            let name = Located {
                value: value.value.text(),
                span: value.span,
            };
            Some((group.clone(), name))
        }
        _ => None,
    })
}

/// The points that rows stand for, each with its seeds.
pub(super) fn points(
    rows: Vec<Row>,
    axes: &[Axis],
    seeds: impl Fn(&Row) -> Vec<u64>,
) -> Vec<Point> {
    let point = |row: Row| {
        let values = || axes.iter().zip(&row);
        let same = |(axis, value): (&Axis, &Option<Node>)| {
            axis.base.as_ref().map(|node| &node.value) == value.as_ref().map(|node| &node.value)
        };
        Point {
            coordinates: values()
                .map(|(axis, value)| (axis.name.value.clone(), json(value)))
                .collect(),
            base: values().all(same),
            seeds: seeds(&row),
            row,
        }
    };
    rows.into_iter().map(point).collect()
}

/// The values as text, which tells rows apart.
fn texts(row: &Row) -> Vec<String> {
    row.iter().map(|value| json(value).to_string()).collect()
}

fn json(value: &Option<Node>) -> Value {
    value.as_ref().map_or(Value::Null, |node| node.value.json())
}

/// An axis that the command line sets counts once.
fn size(axis: &Axis) -> usize {
    if axis.is_fixed { 1 } else { axis.values.len() }
}

fn grid(head: &Head, axes: &[Axis], problems: &mut Problems) -> Option<Vec<Row>> {
    let sizes: Vec<usize> = axes.iter().map(size).collect();
    let count = sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size));
    if count.is_none_or(|count| count > LIMIT) {
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let problem = Problem::TooManyPoints {
            arithmetic: sizes.join(" × "),
            limit: LIMIT,
        };
        problems.add(problem, head.span);
        return None;
    }
    let mut rows = vec![Row::new()];
    for (axis, &size) in axes.iter().zip(&sizes) {
        let values = &axis.values[..size];
        rows = rows
            .iter()
            .flat_map(|row| {
                values.iter().map(move |value| {
                    let mut row = row.clone();
                    row.push(Some(value.clone()));
                    row
                })
            })
            .collect();
    }
    Some(rows)
}

fn zipped(head: &Head, axes: &[Axis], problems: &mut Problems) -> Option<Vec<Row>> {
    let free = || axes.iter().filter(|axis| !axis.is_fixed);
    let count = free().map(|axis| axis.values.len()).max().unwrap_or(1);
    if free().any(|axis| axis.values.len() != count) {
        let lengths: Vec<String> = free()
            .map(|axis| format!("`{}` has {}", axis.name.value, axis.values.len()))
            .collect();
        let problem = Problem::UnequalAxes {
            lengths: lengths.join(", "),
        };
        problems.add(problem, head.span);
        return None;
    }
    let row = |i: usize| {
        let value = |axis: &Axis| axis.values.get(i).cloned();
        axes.iter().map(value).collect()
    };
    Some((0..count).map(row).collect())
}

fn one_at_a_time(axes: &[Axis]) -> Vec<Row> {
    let base: Row = axes.iter().map(|axis| axis.base.clone()).collect();
    let mut rows = vec![base.clone()];
    for (i, axis) in axes.iter().enumerate() {
        for value in &axis.values {
            if json(&base[i]) != value.value.json() {
                let mut row = base.clone();
                row[i] = Some(value.clone());
                rows.push(row);
            }
        }
    }
    rows
}

/// The listed points; what one leaves out is as in the base.
fn listed(head: &Head, axes: &[Axis], problems: &mut Problems) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for Located { value: point, span } in &head.points {
        let row: Row = axes
            .iter()
            .map(|axis| {
                let named = point.iter().find(|(n, _)| n.value == axis.name.value);
                named.map_or_else(|| axis.base.clone(), |(_, value)| Some(value.clone()))
            })
            .collect();
        if rows.iter().any(|other| texts(other) == texts(&row)) {
            problems.add(Problem::RepeatedPoint, *span);
        }
        rows.push(row);
    }
    rows
}

/// Axes by their number, and the values that are meant.
type Condition = Vec<(usize, Vec<Value>)>;

fn holds(condition: &Condition, row: &Row) -> bool {
    let matches = |(axis, values): &(usize, Vec<Value>)| values.contains(&json(&row[*axis]));
    condition.iter().all(matches)
}

/// `where`: an axis with a value, or with a list of them. A value that the axis never has is a mistake.
fn conditions(tables: &[Named<Node>], axes: &[Axis], problems: &mut Problems) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for table in tables {
        let mut condition = Condition::new();
        for (name, node) in table {
            let Some(at) = axes.iter().position(|axis| axis.name.value == name.value) else {
                let axis = name.value.clone();
                let known = names(axes);
                problems.add(Problem::UnknownAxis { axis, known }, name.span);
                continue;
            };
            let axis = &axes[at];
            let mut known: Vec<Value> = axis.values.iter().map(|v| v.value.json()).collect();
            let base = json(&axis.base);
            if !known.contains(&base) {
                known.push(base);
            }
            let meant = match node.value.json() {
                Value::Array(values) if !known.contains(&Value::Array(values.clone())) => values,
                value => vec![value],
            };
            if let Some(value) = meant.iter().find(|value| !known.contains(value)) {
                let problem = Problem::UnknownValue {
                    axis: axis.name.value.clone(),
                    value: value.to_string(),
                    known: known.iter().map(Value::to_string).collect(),
                };
                problems.add(problem, node.span);
            }
            condition.push((at, meant));
        }
        conditions.push(condition);
    }
    conditions
}

fn names(axes: &[Axis]) -> Vec<String> {
    axes.iter().map(|axis| axis.name.value.clone()).collect()
}

/// Keeps this number of rows, drawn by the seed and each row's place, in their order.
fn draw(rows: &mut Vec<Row>, count: usize, seed: u64) {
    let lot = |i: usize| {
        let text = format!("flow random sweep {seed} {i}");
        (*blake3::hash(text.as_bytes()).as_bytes(), i)
    };
    let mut lots: Vec<_> = (0..rows.len()).map(lot).collect();
    lots.sort_unstable();
    let mut drawn: Vec<usize> = lots.into_iter().take(count).map(|(_, i)| i).collect();
    drawn.sort_unstable();
    *rows = drawn.into_iter().map(|i| rows[i].clone()).collect();
}

/// `--point axis=value,…`: takes the seeds from the points that match none of these.
pub(super) fn choose(
    selectors: &[Located<String>],
    axes: &[Axis],
    points: &mut [Point],
    problems: &mut Problems,
) {
    if selectors.is_empty() {
        return;
    }
    let mut known = names(axes);
    known.push("seed".into());
    let mut chosen = vec![BTreeSet::new(); points.len()];
    for Located { value: text, span } in selectors {
        let Some(selector) = reference::selectors(text) else {
            problems.add(Problem::MalformedPoint, *span);
            continue;
        };
        if let Some((axis, _)) = selector.iter().find(|(axis, _)| !known.contains(axis)) {
            let (axis, known) = (axis.clone(), known.clone());
            let problem = Problem::UnknownAxis { axis, known };
            problems.add(problem, *span);
            continue;
        }
        let before = chosen.iter().map(BTreeSet::len).sum::<usize>();
        for (point, chosen) in points.iter().zip(&mut chosen) {
            let matches = |seed: &u64| {
                selector.iter().all(|(axis, wanted)| {
                    let value = point.coordinates.get(axis);
                    value.map_or_else(|| seed.to_string(), plain) == *wanted
                })
            };
            chosen.extend(point.seeds.iter().copied().filter(matches));
        }
        if chosen.iter().map(BTreeSet::len).sum::<usize>() == before {
            let known = points.iter().flat_map(|p| labels(p, axes)).collect();
            let point = text.clone();
            let problem = Problem::NoSuchPoint { point, known };
            problems.add(problem, *span);
        }
    }
    for (point, chosen) in points.iter_mut().zip(&chosen) {
        point.seeds.retain(|seed| chosen.contains(seed));
    }
}

/// A combination with its seeds as `--point` names them.
fn labels(point: &Point, axes: &[Axis]) -> Vec<String> {
    let part = |axis: &Axis| {
        let name = &axis.name.value;
        let value = point.coordinates.get(name).map_or_else(String::new, plain);
        format!("{name}={value}")
    };
    let parts: Vec<String> = axes.iter().map(part).collect();
    if point.seeds.len() == 1 && !parts.is_empty() {
        return vec![parts.join(",")];
    }
    let with_seed = |seed: &u64| {
        let seed = format!("seed={seed}");
        [&parts[..], &[seed]].concat().join(",")
    };
    point.seeds.iter().map(with_seed).collect()
}

/// A value as a point names it: strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
