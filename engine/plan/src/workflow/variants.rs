//! `[variants]`: parts of the tree that may be chosen. What they name is laid over params, stages and the seed, no more.

use super::choices::{is_setting, names as names_of};
use super::node::{Located, Node};
use super::overlay::{act_anew, lay_stage, note};
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::tree::{Entries, find, inside, merge, names, replace, table_mut};

/// What a variant may hold.
const KEYS: [&str; 5] = ["params", "stages", "workflow", "use", "replace"];

/// Checks all variants against the tree that they are laid over: those that nobody chose as well.
pub(super) fn check(variants: Option<&Node>, root: &Entries, problems: &mut Problems) {
    let Some(variants) = variants else { return };
    let groups = inside(Some(variants));
    let reader = &mut Reader { problems };
    for (group, node) in reader.entries("`[variants]`", variants) {
        for (name, node) in reader.entries(&format!("`variants.{}`", group.value), node) {
            if is_setting(&name.value, node) {
                if name.value == "default" {
                    is_variant(groups, &group.value, node, reader);
                }
                continue;
            }
            let within = format!("`variants.{}.{}`", group.value, name.value);
            if name.value == "base" {
                let name = name.value.clone();
                reader
                    .problems
                    .add(Problem::InvalidName { name }, node.span);
            }
            for (key, node) in reader.entries(&within, node) {
                match key.value.as_str() {
                    "params" | "stages" => section(key, node, &within, root, reader),
                    "replace" => {
                        for (key, node) in reader.entries(&within, node) {
                            match key.value.as_str() {
                                "params" | "stages" => section(key, node, &within, root, reader),
                                _ => reader.unknown(key, "`replace`", &["params", "stages"]),
                            }
                        }
                    }
                    "workflow" => {
                        for (key, node) in reader.entries(&within, node) {
                            match key.value.as_str() {
                                "seed" => drop(reader.integer("`seed`", node, 0, i64::MAX)),
                                _ => reader.unknown(key, "`workflow` of a variant", &["seed"]),
                            }
                        }
                    }
                    "use" => {
                        for (used, node) in reader.entries("`use`", node) {
                            if used.value == group.value {
                                let group = used.value.clone();
                                reader
                                    .problems
                                    .add(Problem::UsesItself { group }, used.span);
                            } else if find(groups, &used.value).is_none() {
                                let problem = Problem::UnknownGroup {
                                    group: used.value.clone(),
                                    is_param: false,
                                    known: names(groups),
                                };
                                reader.problems.add(problem, used.span);
                            } else {
                                is_variant(groups, &used.value, node, reader);
                            }
                        }
                    }
                    _ => reader.unknown(key, &within, &KEYS),
                }
            }
        }
    }
}

/// Notes params and stages that the tree does not have.
fn section(
    section: &Located<String>,
    node: &Node,
    within: &str,
    root: &Entries,
    reader: &mut Reader<'_>,
) {
    let base = inside(find(root, &section.value));
    for (name, _) in reader.entries(within, node) {
        if find(base, &name.value).is_some() {
            continue;
        }
        let (known, value) = (names(base), name.value.clone());
        let problem = match section.value.as_str() {
            "stages" => Problem::UnknownStage {
                stage: value,
                known,
            },
            _ => Problem::UnknownParam { name: value, known },
        };
        reader.problems.add(problem, name.span);
    }
}

/// Notes what names no variant of a group.
fn is_variant(
    groups: &[(Located<String>, Node)],
    group: &str,
    node: &Node,
    reader: &mut Reader<'_>,
) {
    let Some(name) = reader.string("a variant's name", node.clone()) else {
        return;
    };
    let known = find(groups, group).map_or_else(Vec::new, names_of);
    if !known.contains(&name.value) {
        let name = name.value;
        let problem = Problem::UnknownVariant { name, known };
        reader.problems.add(problem, node.span);
    }
}

/// Lays a variant over the tree. Where earlier versions gave something else, that is noted among `changes`: they replaced
/// params, and a stage's keys one by one.
///
/// # Errors
/// Where there is no such group, or none of that name in it; the problem is about the name.
pub(super) fn choose(
    group: &str,
    name: &str,
    variants: Option<&Node>,
    root: &mut Entries,
    changes: &mut Problems,
) -> Result<(), Problem> {
    let groups = inside(variants);
    let Some(node) = find(groups, group) else {
        let is_param = find(inside(find(root, "params")), group).is_some();
        return Err(Problem::UnknownGroup {
            group: group.into(),
            is_param,
            known: names(groups),
        });
    };
    if name == "base" {
        return Ok(());
    }
    let overlay = find(inside(Some(node)), name).filter(|node| !is_setting(name, node));
    let Some(overlay) = overlay else {
        let (name, known) = (name.into(), names_of(node));
        return Err(Problem::UnknownVariant { name, known });
    };
    for (section, node) in inside(Some(overlay)) {
        match section.value.as_str() {
            "params" => lay_params(root, inside(Some(node)), changes),
            "stages" => {
                for (name, node) in inside(Some(node)) {
                    let known = find(inside(find(root, "stages")), &name.value).is_some();
                    if known {
                        lay_stage(root, name.clone(), node.clone(), keys, changes);
                    }
                }
            }
            "workflow" => {
                if find(root, "workflow").is_none() {
                    let table = Located {
                        value: super::NodeValue::Table(Entries::new()),
                        span: node.span,
                    };
                    root.push((section.clone(), table));
                }
                if let Some(base) = table_mut(root, "workflow") {
                    merge(base, inside(Some(node)).to_vec());
                }
            }
            _ => {}
        }
    }
    replace_whole(root, inside(find(inside(Some(overlay)), "replace")));
    Ok(())
}

fn lay_params(root: &mut Entries, over: &[(Located<String>, Node)], changes: &mut Problems) {
    let Some(base) = table_mut(root, "params") else {
        return;
    };
    let mut then = base.clone();
    keys(&mut then, over.to_vec());
    merge(base, over.to_vec());
    let place = |name: &str| {
        let written = over.iter().find(|(key, _)| key.value == name);
        written.map(|(key, _)| key.span)
    };
    note("params", &then, base, place, changes);
}

/// `replace`: params, and a stage's keys, each whole.
fn replace_whole(root: &mut Entries, sections: &[(Located<String>, Node)]) {
    for (section, node) in sections {
        let Some(base) = table_mut(root, &section.value) else {
            continue;
        };
        for (name, node) in inside(Some(node)) {
            if section.value != "stages" {
                replace(base, name.clone(), node.clone());
            } else if let Some(stage) = table_mut(base, &name.value) {
                let over = inside(Some(node)).to_vec();
                act_anew(stage, &over);
                keys(stage, over);
            }
        }
    }
}

/// Replaces the values of keys.
fn keys(base: &mut Entries, over: Entries) {
    for (key, node) in over {
        replace(base, key, node);
    }
}
