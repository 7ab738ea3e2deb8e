//! What a workflow came to when all was laid over it: the variants that count, and each value with its place.

use super::choices::{By, Choice};
use super::node::{Node, NodeValue};
use super::tree::{Entries, find, find_at, inside};

/// The variants that count, and the values that they and all else came to.
#[derive(Debug, Default)]
pub struct Laid {
    /// The variants, in the order in which they were laid.
    pub choices: Vec<Choice>,
    /// Those that variants of the file choose, and that give way to others.
    pub passed_over: Vec<Choice>,
    /// Dotted names and values as written: the seed, params, what stages use and their parameters, and all else in
    /// stages that was laid over the file.
    pub values: Vec<(String, Node)>,
}

impl Laid {
    pub(super) fn of(
        choices: &[Choice],
        variants: Option<&Node>,
        files: &Entries,
        tree: &Entries,
    ) -> Laid {
        let mut values = Vec::new();
        if let Some(seed) = find_at(tree, ["workflow", "seed"]) {
            values.push(("workflow.seed".to_string(), seed.clone()));
        }
        if let Some(params) = find(tree, "params") {
            flatten("params", params, &mut values);
        }
        for (name, stage) in inside(find(tree, "stages")) {
            let mut written = Vec::new();
            if let Some(stage) = find_at(files, ["stages", &name.value]) {
                flatten("", stage, &mut written);
            }
            for (key, node) in inside(Some(stage)) {
                let mut found = Vec::new();
                flatten(
                    &format!("stages.{}.{}", name.value, key.value),
                    node,
                    &mut found,
                );
                if !matches!(key.value.as_str(), "uses" | "with") {
                    found.retain(|(_, node)| written.iter().all(|(_, own)| own.span != node.span));
                }
                values.append(&mut found);
            }
        }
        Laid {
            choices: choices.to_vec(),
            passed_over: passed_over(choices, variants),
            values,
        }
    }
}

/// The entries of a value at all depths; an empty table is a value.
fn flatten(name: &str, node: &Node, values: &mut Vec<(String, Node)>) {
    match &node.value {
        NodeValue::Table(entries) if !entries.is_empty() => {
            for (key, node) in entries {
                flatten(&format!("{name}.{}", key.value), node, values);
            }
        }
        _ => values.push((name.into(), node.clone())),
    }
}

fn passed_over(choices: &[Choice], variants: Option<&Node>) -> Vec<Choice> {
    let mut found = Vec::new();
    for choice in choices {
        let way = [choice.group.as_str(), &choice.name.value, "use"];
        for (group, node) in inside(find_at(inside(variants), way)) {
            let counts = choices.iter().rev().find(|c| c.group == group.value);
            if let NodeValue::String(name) = &node.value
                && counts.is_some_and(|counts| counts.name.value != *name)
            {
                found.push(Choice {
                    group: group.value.clone(),
                    name: super::Located {
                        value: name.clone(),
                        span: node.span,
                    },
                    by: By::Variant(choice.group.clone(), choice.name.value.clone()),
                });
            }
        }
    }
    found
}
