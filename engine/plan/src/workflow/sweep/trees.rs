//! The tree of the workflow at each combination of values.

use std::collections::{BTreeSet, HashMap};

use super::Combination;
use super::axes::{Axis, Target};
use super::points::{self, Point};
use crate::workflow::Template;
use crate::workflow::choices;
use crate::workflow::layers::Ground;
use crate::workflow::node::{Located, Node, NodeValue};
use crate::workflow::problem::Problems;
use crate::workflow::set::Setting;
use crate::workflow::tree::{Entries, find, find_at, inside, names};

/// Lays the values of a point over the tree.
pub(super) fn combination(
    point: Point,
    axes: &[Axis],
    touched: &[Touched],
    ground: &Ground,
    changes: &mut Problems,
    problems: &mut Problems,
) -> Combination<Entries> {
    let values = || axes.iter().zip(&point.row);
    let settings = values().filter_map(|(axis, value)| match (&axis.target, value) {
        (Target::Setting(path), Some(value)) => {
            let path = Located {
                value: path.clone(),
                span: axis.name.span,
            };
            Some::<Setting>((path, Some(value.clone())))
        }
        _ => None,
    });
    let chosen = points::chosen(&point.row, axes);
    let (tree, choices) = ground.with(chosen, settings, changes, problems);
    Combination {
        coordinates: point.coordinates,
        base: point.base,
        seeds: point.seeds,
        reads: reads(&tree, axes, touched),
        workflow: tree,
        choices,
    }
}

/// The axes that each stage of a tree reads itself: those of its params, of the variants that touch it or a param of its,
/// and those that set a part of it.
fn reads(tree: &Entries, axes: &[Axis], touched: &[Touched]) -> HashMap<String, BTreeSet<String>> {
    let read = inside(find(tree, "stages")).iter().map(|(name, stage)| {
        let mut params = Vec::new();
        references(stage, &mut params);
        follow(tree, &mut params);
        let reads = |param: &String| params.iter().any(|own| overlap(own, param));
        let read = axes.iter().zip(touched).filter(|(_, touched)| {
            touched.stages.contains(&name.value) || touched.params.iter().any(reads)
        });
        let read = read.map(|(axis, _)| axis.name.value.clone()).collect();
        (name.value.clone(), read)
    });
    read.collect()
}

/// What an axis may vary.
#[derive(Default)]
pub(super) struct Touched {
    stages: BTreeSet<String>,
    /// Dotted names.
    params: BTreeSet<String>,
}

/// What each axis may vary.
pub(super) fn touched(axes: &[Axis], ground: &Ground) -> Vec<Touched> {
    axes.iter().map(|axis| by(axis, axes, ground)).collect()
}

fn by(axis: &Axis, axes: &[Axis], ground: &Ground) -> Touched {
    let mut touched = Touched::default();
    let group = match &axis.target {
        Target::Setting(path) => {
            match path.strip_prefix("stages.") {
                Some(rest) => touched
                    .stages
                    .extend(rest.split('.').next().map(String::from)),
                None => drop(touched.params.insert(path.clone())),
            }
            return touched;
        }
        Target::Variant(group) => group,
    };
    let variants = ground.variants.as_ref();
    let swept = axes.iter().filter_map(|axis| match &axis.target {
        Target::Variant(group) => Some(group.clone()),
        Target::Setting(_) => None,
    });
    let asked = ground.layers.chosen.iter().map(|(group, _)| group.clone());
    let decided: BTreeSet<String> = swept.chain(asked).collect();
    for value in &axis.values {
        let name = Located {
            value: value.value.text(),
            span: value.span,
        };
        for choice in choices::with_used(group, &name, decided.clone(), variants) {
            let way = [choice.group.as_str(), &choice.name.value];
            let variant = inside(find_at(inside(variants), way));
            for part in [variant, inside(find(variant, "replace"))] {
                let section = |section| names(inside(find(part, section)));
                touched.stages.extend(section("stages"));
                touched.params.extend(section("params"));
            }
        }
    }
    touched
}

/// Adds the names that the params behind these names refer to, and so on.
fn follow(tree: &Entries, names: &mut Vec<String>) {
    let params = inside(find(tree, "params"));
    let mut done = 0;
    while let Some(name) = names.get(done) {
        let root = name.split('.').next().unwrap_or(name);
        let node = find_at(params, name.split('.')).or_else(|| find(params, root));
        let mut more = Vec::new();
        if let Some(node) = node {
            references(node, &mut more);
        }
        more.retain(|name| !names.contains(name));
        names.extend(more);
        done += 1;
    }
}

/// The names in all `${…}` of a value.
fn references(node: &Node, names: &mut Vec<String>) {
    match &node.value {
        NodeValue::String(text) => {
            // What is malformed is said when the tree is read.
            let template = Template::parse(text);
            names.extend(template.iter().flat_map(|t| t.names().map(String::from)));
        }
        NodeValue::Array(items) => items.iter().for_each(|item| references(item, names)),
        NodeValue::Table(entries) => entries.iter().for_each(|(_, n)| references(n, names)),
        _ => {}
    }
}

/// Whether one of two dotted names lies in the other.
fn overlap(a: &str, b: &str) -> bool {
    let mut both = a.split('.').zip(b.split('.'));
    both.all(|(a, b)| a == b)
}
