//! One tree laid over another: tables merge, everything else is replaced, the last wins. One rule for what a file
//! includes, for files of params, for variants and for `--set`.
//!
//! Before `language = 2` some of them did otherwise. Where that makes a difference, it is noted.

use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::program;
use super::source::Span;
use super::tree::{Entries, find, find_at, inside, merge, replace, table_mut, take};

/// What a stage does; one of them at a time.
const ACTIONS: [&str; 2] = ["uses", "run"];

/// Lays a whole file over others.
pub(super) fn lay(base: &mut Entries, over: Entries, changes: &mut Problems) {
    for (key, node) in over {
        let is_stages = key.value == "stages" && table_mut(base, "stages").is_some();
        match (is_stages, node.value) {
            (true, NodeValue::Table(over)) => {
                for (name, node) in over {
                    lay_stage(base, name, node, merge, changes);
                }
            }
            (_, value) => {
                let span = node.span;
                merge(base, vec![(key, Located { value, span })]);
            }
        }
    }
}

/// Lays one stage over that of its name; `before` did so in earlier versions.
pub(super) fn lay_stage(
    root: &mut Entries,
    name: Located<String>,
    node: Node,
    before: impl Fn(&mut Entries, Entries),
    changes: &mut Problems,
) {
    let Some(stages) = table_mut(root, "stages") else {
        return;
    };
    let path = format!("stages.{}", name.value);
    match (table_mut(stages, &name.value), node.value) {
        (Some(stage), NodeValue::Table(over)) => {
            let mut then = stage.clone();
            before(&mut then, over.clone());
            let action = act_anew(stage, &over);
            let places = over.iter().map(|(key, _)| (key.value.clone(), key.span));
            let places: Vec<(String, Span)> = places.collect();
            merge(stage, over);
            let place = |key: &str| {
                let written = places.iter().find(|(k, _)| k == key).map(|(_, span)| *span);
                written.or(action)
            };
            note(&path, &then, stage, place, changes);
        }
        (_, value) => replace(stages, name, Located { value, ..node }),
    }
}

/// Takes from a stage what belongs to what it did, where it is to do something else; gives the place that says so.
pub(super) fn act_anew(stage: &mut Entries, over: &Entries) -> Option<Span> {
    let other = ACTIONS.iter().find_map(|action| {
        let new = find(over, action)?;
        let old = find(stage, action).map(|node| node.value.json());
        let has_action = ACTIONS.iter().any(|action| find(stage, action).is_some());
        (has_action && old != Some(new.value.json())).then_some(new.span)
    })?;
    for key in ACTIONS.iter().chain(&["with"]) {
        take(stage, key);
    }
    if find(over, "uses").is_some() {
        for key in program::KEYS.iter().chain(&["outputs"]) {
            take(stage, key);
        }
    }
    Some(other)
}

/// Whether a stage does something else than in the files, because of what was laid over them.
pub(super) fn acts_anew(files: &Entries, name: &str, stage: &Node) -> bool {
    let written = inside(find_at(files, ["stages", name]));
    let action = |stage, key| find(stage, key).map(|node| node.value.json());
    let stage = inside(Some(stage));
    ACTIONS
        .iter()
        .any(|key| action(stage, key) != action(written, key))
}

/// Notes what stands in a table now and did not in earlier versions, and the other way round, for each key that has a
/// place.
pub(super) fn note(
    path: &str,
    then: &Entries,
    now: &Entries,
    place: impl Fn(&str) -> Option<Span>,
    changes: &mut Problems,
) {
    for (key, node) in now {
        if let Some(span) = place(&key.value) {
            let path = format!("{path}.{}", key.value);
            let then = inside(find(then, &key.value));
            note_kept(path, then, inside(Some(node)), span, changes);
        }
    }
    for (key, node) in then {
        // Two actions were an error.
        if key.value != "with" {
            continue;
        }
        let mut gone = Vec::new();
        beyond(
            "",
            inside(Some(node)),
            inside(find(now, &key.value)),
            &mut gone,
        );
        if let Some(span) = place(&key.value).filter(|_| !gone.is_empty()) {
            let path = format!("{path}.with");
            changes.add(Problem::WithGoes { path, gone }, span);
        }
    }
}

/// Notes what stands in a table at `path` now, and did not in earlier versions.
pub(super) fn note_kept(
    path: String,
    then: &[(Located<String>, Node)],
    now: &[(Located<String>, Node)],
    span: Span,
    changes: &mut Problems,
) {
    let mut kept = Vec::new();
    beyond("", now, then, &mut kept);
    if !kept.is_empty() {
        changes.add(Problem::Merges { path, kept }, span);
    }
}

/// The dotted names of what the first table has beyond the second.
fn beyond(
    prefix: &str,
    table: &[(Located<String>, Node)],
    other: &[(Located<String>, Node)],
    names: &mut Vec<String>,
) {
    for (key, node) in table {
        let name = format!("{prefix}{}", key.value);
        match (find(other, &key.value), &node.value) {
            (None, _) => names.push(name),
            (Some(other), NodeValue::Table(inner)) => {
                beyond(&format!("{name}."), inner, inside(Some(other)), names);
            }
            _ => {}
        }
    }
}
