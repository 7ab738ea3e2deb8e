//! `[variants]`: parts of the tree that may be chosen. They replace params and the keys of stages, no more.

use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::tree::{Entries, find, inside, names, replace, table_mut};

/// Checks all variants against the tree that they are laid over: those that nobody chose as well.
pub(super) fn check(variants: Option<&Node>, root: &Entries, problems: &mut Problems) {
    let Some(variants) = variants else { return };
    let reader = &mut Reader { problems };
    for (group, node) in reader.entries("`[variants]`", variants) {
        for (name, node) in reader.entries(&format!("`variants.{}`", group.value), node) {
            let within = format!("`variants.{}.{}`", group.value, name.value);
            if name.value == "base" {
                let name = name.value.clone();
                reader
                    .problems
                    .add(Problem::InvalidName { name }, node.span);
            }
            for (key, node) in reader.entries(&within, node) {
                if !matches!(key.value.as_str(), "params" | "stages") {
                    reader.unknown(key, &within, &["params", "stages"]);
                    continue;
                }
                let base = inside(find(root, &key.value));
                for (name, _) in reader.entries(&within, node) {
                    known(&key.value, name, base, reader.problems);
                }
            }
        }
    }
}

/// Notes a name that the section does not have.
fn known(
    section: &str,
    name: &Located<String>,
    base: &[(Located<String>, Node)],
    problems: &mut Problems,
) {
    if find(base, &name.value).is_some() {
        return;
    }
    let (known, value) = (names(base), name.value.clone());
    let problem = match section {
        "stages" => Problem::UnknownStage {
            stage: value,
            known,
        },
        _ => Problem::UnknownParam { name: value, known },
    };
    problems.add(problem, name.span);
}

/// Lays a variant over the tree: what it names is replaced; a stage's keys one by one, each as a whole.
///
/// # Errors
/// Where there is no such group, or none of that name in it; the problem is about the name.
pub(super) fn choose(
    group: &str,
    name: &str,
    variants: Option<&Node>,
    root: &mut Entries,
) -> Result<(), Problem> {
    let groups = inside(variants);
    let unknown = |name: &str, known| {
        let name = name.into();
        Err(Problem::UnknownVariant { name, known })
    };
    let Some(node) = find(groups, group) else {
        return unknown(group, names(groups));
    };
    if name == "base" {
        return Ok(());
    }
    let Some(overlay) = find(inside(Some(node)), name) else {
        let mut known = names(inside(Some(node)));
        known.push("base".into());
        return unknown(name, known);
    };
    for (section, node) in inside(Some(overlay)) {
        let Some(base) = table_mut(root, &section.value) else {
            continue;
        };
        for (name, node) in inside(Some(node)) {
            match (section.value.as_str(), &node.value) {
                ("stages", NodeValue::Table(keys)) => {
                    if let Some(stage) = table_mut(base, &name.value) {
                        for (key, node) in keys {
                            replace(stage, key.clone(), node.clone());
                        }
                    }
                }
                _ => replace(base, name.clone(), node.clone()),
            }
        }
    }
    Ok(())
}
