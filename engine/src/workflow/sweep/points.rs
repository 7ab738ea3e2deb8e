//! Which combinations of values there are.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::head::{Head, Named};
use super::{Axis, Combination, Ground, Mode, Row};
use crate::workflow::compose::Composer;
use crate::workflow::node::{Located, Node};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::reader::{Entries, Reader};
use crate::workflow::reference;

/// More combinations than this are refused, before `where` and `random` choose from them.
const LIMIT: usize = 100_000;

/// The rows of a sweep, in order; `None` where something is wrong.
pub(super) fn rows(
    head: &mut Head,
    axes: &mut Vec<Axis>,
    ground: &Ground<'_>,
    composer: &mut Composer<'_>,
) -> Option<Vec<Row>> {
    let so_far = composer.problems.count();
    let mut rows = match head.mode {
        Mode::Points => listed(head, axes, ground, composer),
        Mode::Zip => zipped(head, axes, ground, composer.problems)?,
        Mode::OneAtATime => one_at_a_time(axes, ground),
        Mode::Grid | Mode::Random => grid(head, axes, ground, composer.problems)?,
    };
    // What the command line sets has that value at every point; points that only differed in it are one.
    for (i, axis) in axes.iter().enumerate() {
        if ground.is_fixed(axis) {
            let value = ground.base(axis);
            rows.iter_mut().for_each(|row| row[i] = value.clone());
        }
    }
    if axes.iter().any(|axis| ground.is_fixed(axis)) {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(texts(row)));
    }
    let only = conditions(&head.only, axes, ground, composer.problems);
    let not = conditions(&head.not, axes, ground, composer.problems);
    if composer.problems.count() > so_far {
        return None;
    }
    rows.retain(|row| {
        (only.is_empty() || only.iter().any(|condition| holds(condition, row)))
            && !not.iter().any(|condition| holds(condition, row))
    });
    if head.mode == Mode::Random {
        draw(&mut rows, head.draws, ground.seed());
    }
    if rows.is_empty() {
        composer.problems.add(Problem::NoPoints, head.span);
        return None;
    }
    Some(rows)
}

/// The values as text, which tells rows apart.
fn texts(row: &Row) -> Vec<String> {
    row.iter().map(|value| json(value).to_string()).collect()
}

fn json(value: &Option<Node>) -> Value {
    value.as_ref().map_or(Value::Null, |node| node.value.json())
}

/// An axis that the command line sets counts once.
fn size(axis: &Axis, ground: &Ground<'_>) -> usize {
    if ground.is_fixed(axis) {
        1
    } else {
        axis.values.len()
    }
}

fn grid(
    head: &Head,
    axes: &[Axis],
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Option<Vec<Row>> {
    let sizes: Vec<usize> = axes.iter().map(|axis| size(axis, ground)).collect();
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

fn zipped(
    head: &Head,
    axes: &[Axis],
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Option<Vec<Row>> {
    let free = || axes.iter().filter(|axis| !ground.is_fixed(axis));
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

fn one_at_a_time(axes: &[Axis], ground: &Ground<'_>) -> Vec<Row> {
    let base: Row = axes.iter().map(|axis| ground.base(axis)).collect();
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

/// The listed points; their axes are all that any of them names, and what a point leaves out is as in the base.
fn listed(
    head: &mut Head,
    axes: &mut Vec<Axis>,
    ground: &Ground<'_>,
    composer: &mut Composer<'_>,
) -> Vec<Row> {
    let points = std::mem::take(&mut head.points);
    for (name, value) in points.iter().flat_map(|point| &point.value) {
        match axes.iter_mut().find(|a| a.name.value == name.value) {
            Some(axis)
                if axis
                    .values
                    .iter()
                    .any(|v| v.value.json() == value.value.json()) => {}
            Some(axis) => axis.values.push(value.clone()),
            None => axes.extend(ground.axis(name.clone(), vec![value.clone()], composer)),
        }
    }
    let reader = &mut Reader {
        problems: composer.problems,
    };
    for axis in axes.iter() {
        reader.distinct(&axis.name.value, &axis.values);
    }
    let mut rows: Vec<Row> = Vec::new();
    for Located { value: point, span } in points {
        let row: Row = axes
            .iter()
            .map(|axis| {
                let named = point.iter().find(|(n, _)| n.value == axis.name.value);
                named.map_or_else(|| ground.base(axis), |(_, value)| Some(value.clone()))
            })
            .collect();
        if rows.iter().any(|other| texts(other) == texts(&row)) {
            composer.problems.add(Problem::RepeatedPoint, span);
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
fn conditions(
    tables: &[Named<Node>],
    axes: &[Axis],
    ground: &Ground<'_>,
    problems: &mut Problems,
) -> Vec<Condition> {
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
            let base = json(&ground.base(axis));
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

/// Keeps so many rows, drawn by the seed and each row's place, in their order.
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

/// `--point axis=value,…`: keeps the points that match one of these.
pub(super) fn choose(
    points: &[String],
    axes: &[Axis],
    combinations: &mut Vec<Combination<Entries>>,
    composer: &mut Composer<'_>,
) {
    if points.is_empty() {
        return;
    }
    let mut known = names(axes);
    known.push("seed".into());
    let mut chosen = vec![BTreeSet::new(); combinations.len()];
    for text in points {
        let span = composer.text_of("--point", text);
        let Some(selector) = reference::selectors(text) else {
            composer.problems.add(Problem::MalformedPoint, span);
            continue;
        };
        if let Some((axis, _)) = selector.iter().find(|(axis, _)| !known.contains(axis)) {
            let (axis, known) = (axis.clone(), known.clone());
            let problem = Problem::UnknownAxis { axis, known };
            composer.problems.add(problem, span);
            continue;
        }
        let before = chosen.iter().map(BTreeSet::len).sum::<usize>();
        for (combination, chosen) in combinations.iter().zip(&mut chosen) {
            let matches = |seed: &u64| {
                selector.iter().all(|(axis, wanted)| {
                    let value = combination.coordinates.get(axis);
                    value.map_or_else(|| seed.to_string(), plain) == *wanted
                })
            };
            chosen.extend(combination.seeds.iter().copied().filter(matches));
        }
        if chosen.iter().map(BTreeSet::len).sum::<usize>() == before {
            let point = text.clone();
            let known = combinations.iter().flat_map(|c| labels(c, axes)).collect();
            let problem = Problem::NoSuchPoint { point, known };
            composer.problems.add(problem, span);
        }
    }
    for (combination, chosen) in combinations.iter_mut().zip(&chosen) {
        combination.seeds.retain(|seed| chosen.contains(seed));
    }
    combinations.retain(|combination| !combination.seeds.is_empty());
}

/// The points of a combination as `--point` names them.
fn labels(combination: &Combination<Entries>, axes: &[Axis]) -> Vec<String> {
    let part = |axis: &Axis| {
        let name = &axis.name.value;
        let value = combination
            .coordinates
            .get(name)
            .map_or_else(String::new, plain);
        format!("{name}={value}")
    };
    let parts: Vec<String> = axes.iter().map(part).collect();
    if combination.seeds.len() == 1 && !parts.is_empty() {
        return vec![parts.join(",")];
    }
    let with_seed = |seed: &u64| {
        let seed = format!("seed={seed}");
        [&parts[..], &[seed]].concat().join(",")
    };
    combination.seeds.iter().map(with_seed).collect()
}

/// A value as a point names it: strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
