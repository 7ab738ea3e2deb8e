//! The tree of the workflow at each combination of values.

use std::collections::{BTreeSet, HashMap};

use super::Combination;
use super::axes::{Axis, Target};
use super::points::Point;
use crate::workflow::Template;
use crate::workflow::layers::Ground;
use crate::workflow::node::{Located, Node, NodeValue};
use crate::workflow::problem::Problems;
use crate::workflow::set::Setting;
use crate::workflow::tree::{Entries, find, find_at, inside, names};

/// Lays the values of a point over the tree.
pub(super) fn combination(
    point: Point,
    axes: &[Axis],
    ground: &Ground,
    problems: &mut Problems,
) -> Combination<Entries> {
    let values = || axes.iter().zip(&point.row);
    let chosen = values().filter_map(|(axis, value)| match (&axis.target, value) {
        (Target::Variant(group), Some(value)) => {
            let name = Located {
                value: value.value.text(),
                span: value.span,
            };
            Some((group.as_str(), name))
        }
        _ => None,
    });
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
    let tree = ground.with(chosen, settings, problems);
    Combination {
        coordinates: point.coordinates,
        base: point.base,
        seeds: point.seeds,
        reads: reads(&tree, axes, ground.variants.as_ref()),
        workflow: tree,
    }
}

/// The axes that each stage of a tree reads itself: those of its params, of the variants that touch it or a param of its,
/// and those that set a part of it.
fn reads(
    tree: &Entries,
    axes: &[Axis],
    variants: Option<&Node>,
) -> HashMap<String, BTreeSet<String>> {
    let read = inside(find(tree, "stages")).iter().map(|(name, stage)| {
        let mut params = Vec::new();
        references(stage, &mut params);
        let read = axes.iter().filter(|axis| match &axis.target {
            Target::Setting(path) => match path.strip_prefix("stages.") {
                Some(rest) => rest.split('.').next() == Some(&name.value),
                None => params.iter().any(|param| overlap(param, path)),
            },
            Target::Variant(group) => axis.values.iter().any(|value| {
                let variant = value.value.text();
                let section = |section| {
                    let way = [group.as_str(), &variant, section];
                    names(inside(find_at(inside(variants), way)))
                };
                section("stages").contains(&name.value)
                    || section("params")
                        .iter()
                        .any(|touched| params.iter().any(|param| overlap(param, touched)))
            }),
        });
        let read = read.map(|axis| axis.name.value.clone()).collect();
        (name.value.clone(), read)
    });
    read.collect()
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
