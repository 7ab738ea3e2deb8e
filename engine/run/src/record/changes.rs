//! How a run differs from another in what was given to it: params, what was laid over the workflow, texts and code.

use std::collections::{BTreeMap, BTreeSet};

use flow_plan::plan::plain_text;
use serde::Serialize;
use serde_json::{Map, Value};

use super::PastRun;
use super::inputs;

/// What differs; none where there is no value on that side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The name: of a param or what lies in it, `seed`, an option.
    pub name: String,
    /// Before.
    pub then: Option<Value>,
    /// In the run.
    pub now: Option<Value>,
}

/// All that differs.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Changes {
    /// Params, the seed, what was laid over the workflow.
    pub values: Vec<Change>,
    /// Files of the user's, of the workflow and of code, by path.
    pub files: Vec<String>,
}

impl Changes {
    /// What differs in a run from an earlier one.
    pub fn between(then: &PastRun, now: &PastRun) -> Changes {
        let (before, after) = (values(then), values(now));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let values = names.into_iter().map(|name| Change {
            name: name.clone(),
            then: before.get(name).cloned(),
            now: after.get(name).cloned(),
        });
        let (before, after) = (files(then), files(now));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let files = names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name));
        Changes {
            values: values.filter(|change| change.then != change.now).collect(),
            files: files.cloned().collect(),
        }
    }
}

fn values(run: &PastRun) -> BTreeMap<String, Value> {
    let head = &run.head;
    let mut values = BTreeMap::new();
    flatten("", &head.params, &mut values);
    if let Some(seed) = head.seed {
        values.insert("seed".into(), seed.into());
    }
    // What `--set` gave to params stands in them.
    let elsewhere = head.set.iter().filter(|set| {
        let name = set.split('=').next().unwrap_or_default().trim();
        name.starts_with("stages.")
    });
    let elsewhere: Vec<String> = elsewhere.cloned().collect();
    let seeds: Vec<String> = head.seeds.iter().cloned().collect();
    for (name, texts) in [
        ("--variant", &head.variants),
        ("--set", &elsewhere),
        ("--sweep", &head.sweep),
        ("--seeds", &seeds),
        ("--point", &head.point),
    ] {
        if !texts.is_empty() {
            values.insert(name.into(), texts.join(", ").into());
        }
    }
    values
}

fn flatten(prefix: &str, object: &Map<String, Value>, values: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        match value {
            Value::Object(inside) if !inside.is_empty() => {
                flatten(&format!("{prefix}{name}."), inside, values);
            }
            value => drop(values.insert(format!("{prefix}{name}"), value.clone())),
        }
    }
}

/// Paths and what tells contents apart. What an earlier version of flow did not note is not there.
fn files(run: &PastRun) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (path, text) in run.texts().unwrap_or_default() {
        files.insert(inputs::from_root(&path, run.head.root()), text);
    }
    for given in inputs::of(run).unwrap_or_default() {
        let single = given.found.len() == 1;
        for place in given.found {
            let digest = place.content.map(|content| content.identity());
            let digest = digest.or_else(|| single.then_some(given.digest));
            files.insert(
                place.path,
                digest.map_or(String::new(), |digest| digest.to_string()),
            );
        }
    }
    files
}

/// A change in a few words: the value that counts now.
pub fn words(change: &Change) -> String {
    match &change.now {
        Some(Value::String(text)) if change.name.starts_with("--") => {
            format!("{} {text}", change.name)
        }
        Some(value) => format!("{}={}", change.name, plain_text(value)),
        None => format!("no {}", change.name),
    }
}
