//! How two runs, or two points of a sweep, differ: parameters, figures and artifacts, stage by stage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use flow_cache::{Digest, Key, Output, Record, Store};
use flow_run::compare;
use flow_run::record::difference::Difference;
use flow_run::record::{Manifest, figures};
use serde::Serialize;
use serde_json::{Map, Value};

use super::code::{self, Code};
use super::{Stands, explain};

/// One of two things that are compared.
pub struct Side {
    /// What it is, in words.
    pub name: String,
    /// Its params, after all that was laid over them; and its seed.
    pub params: Map<String, Value>,
    /// Its stages, in order, by the names under which the two sides are compared.
    pub stages: Vec<(String, Stage)>,
    /// Its workflow's texts, and its programs' files.
    pub code: Code,
    /// Where its results are.
    pub store: Store,
}

/// A stage of one side.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// How it ended or stands.
    pub status: Stands,
    /// Its key, where it is known.
    pub key: Option<Key>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Where and with what its result was made; none where there is none.
    pub provenance: Option<Value>,
    /// Its result; none where there is none, or no longer.
    #[serde(skip)]
    pub record: Option<Box<Record>>,
}

/// How two sides differ.
#[derive(Debug, PartialEq)]
pub struct Contrast {
    /// Params and the seed.
    pub params: Vec<Changed>,
    /// Texts of the workflow and files of programs.
    pub code: Vec<code::Changed>,
    /// The stages that differ, in the order of the first side, then those that only the second has.
    pub stages: Vec<StageDiffers>,
    /// How many stages are the same.
    pub same: usize,
    /// The stages that neither side has a result of.
    pub without: Vec<String>,
}

/// Two values that differ; none where there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// Of what.
    pub name: String,
    /// In the first.
    pub a: Option<Value>,
    /// In the second.
    pub b: Option<Value>,
}

/// A stage that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct StageDiffers {
    /// The stage.
    pub stage: String,
    /// In what of its key: parameters, seed, inputs, versions.
    pub parts: Vec<Changed>,
    /// In which figures.
    pub metrics: Vec<Changed>,
    /// In which outputs.
    pub outputs: Vec<OutputDiffers>,
}

/// An output that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputDiffers {
    /// Its role.
    pub role: String,
    /// In the first.
    pub a: Option<Content>,
    /// In the second.
    pub b: Option<Content>,
    /// The files that differ, where both have it: `stored` is the first, `made` the second.
    pub files: Vec<Difference>,
}

/// The content of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Side {
    /// A stage by its name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let mut found = self.stages.iter().filter(|(other, _)| other == name);
        found.next().map(|(_, stage)| stage)
    }
}

impl Contrast {
    /// Compares two sides.
    ///
    /// # Errors
    /// Where a store can't be read.
    pub fn of(a: &Side, b: &Side) -> Result<Contrast> {
        let known: BTreeMap<&str, &Stage> = b
            .stages
            .iter()
            .map(|(name, stage)| (name.as_str(), stage))
            .collect();
        let (mut stages, mut same, mut without) = (Vec::new(), 0, Vec::new());
        let mut seen = BTreeSet::new();
        for (name, stage) in &a.stages {
            seen.insert(name.as_str());
            match known.get(name.as_str()) {
                None => stages.push(StageDiffers::new(name)),
                Some(other)
                    if stage.record.is_none()
                        && other.record.is_none()
                        && stage.failure == other.failure =>
                {
                    without.push(name.clone());
                }
                Some(other) => match differs(name, (a, stage), (b, other))? {
                    Some(found) => stages.push(found),
                    None => same += 1,
                },
            }
        }
        let only_b = b
            .stages
            .iter()
            .filter(|(name, _)| !seen.contains(name.as_str()));
        stages.extend(only_b.map(|(name, _)| StageDiffers::new(name)));
        Ok(Contrast {
            params: changed(
                a.params.iter().map(|(name, value)| (name.clone(), value)),
                b.params.iter().map(|(name, value)| (name.clone(), value)),
            ),
            code: Code::changed((&a.code, &a.store), (&b.code, &b.store))?,
            stages,
            same,
            without,
        })
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.stages.is_empty() && self.code.is_empty()
    }
}

impl StageDiffers {
    fn new(stage: &str) -> StageDiffers {
        StageDiffers {
            stage: stage.into(),
            parts: Vec::new(),
            metrics: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

/// How a stage differs; none where it does not.
fn differs(
    name: &str,
    (left, a): (&Side, &Stage),
    (right, b): (&Side, &Stage),
) -> Result<Option<StageDiffers>> {
    let mut found = StageDiffers::new(name);
    let (Some(then), Some(now)) = (&a.record, &b.record) else {
        // One has no result, or they failed in two ways: nothing else can be said.
        return Ok(Some(found));
    };
    if let (Some(then), Some(now)) = (manifest(then), manifest(now)) {
        let text = |text: Option<String>| text.map(Value::String);
        let parts = explain::differences(&then, &now);
        found.parts.extend(parts.into_iter().map(|part| Changed {
            name: part.part,
            a: text(part.then),
            b: text(part.now),
        }));
    }
    found.metrics = changed(
        figures::all(&then.metrics).into_iter(),
        figures::all(&now.metrics).into_iter(),
    );
    let roles: BTreeSet<&String> = then.outputs.keys().chain(now.outputs.keys()).collect();
    for role in roles {
        let (first, second) = (then.outputs.get(role), now.outputs.get(role));
        if first.map(|output| output.digest) == second.map(|output| output.digest) {
            continue;
        }
        let files = match (first, second) {
            (Some(first), Some(second)) => contents(
                role,
                (&left.store, then, first),
                (&right.store, now, second),
            )?,
            _ => Vec::new(),
        };
        let content = |output: &Output| Content {
            digest: output.digest,
            size: output.size,
        };
        found.outputs.push(OutputDiffers {
            role: role.clone(),
            a: first.map(content),
            b: second.map(content),
            files,
        });
    }
    let same = found.parts.is_empty()
        && found.metrics.is_empty()
        && found.outputs.is_empty()
        && a.key == b.key;
    Ok((!same).then_some(found))
}

/// The files that differ in two outputs.
fn contents(
    role: &str,
    a: (&Store, &Record, &Output),
    b: (&Store, &Record, &Output),
) -> Result<Vec<Difference>> {
    let folder = tempfile::tempdir().context("a temporary folder can't be made")?;
    let lay_out = |side: &str, (store, record, output): (&Store, &Record, &Output)| -> Result<_> {
        // Formats are told by the ends of files' names, which blobs have not.
        let file = manifest(record).and_then(|manifest| manifest.outputs.get(role).cloned());
        let file = file.unwrap_or_else(|| role.to_string());
        let name = Path::new(&file).file_name().unwrap_or_default();
        let place = folder.path().join(side).join(name);
        fs::create_dir(folder.path().join(side))?;
        store.point(output, &place)?;
        Ok(place)
    };
    let (a, b) = (lay_out("a", a)?, lay_out("b", b)?);
    if a.is_dir() != b.is_dir() {
        // A file and a folder of one role: there is no file by file.
        return Ok(Vec::new());
    }
    compare::compare(&a, &b)
}

/// What a key was made of, where this version of flow understands it.
fn manifest(record: &Record) -> Option<Manifest> {
    serde_json::from_value(record.manifest.clone()).ok()
}

/// What differs between two sets of named values, in the order of the first.
fn changed<'a>(
    a: impl Iterator<Item = (String, &'a Value)>,
    b: impl Iterator<Item = (String, &'a Value)>,
) -> Vec<Changed> {
    let (a, b): (Vec<_>, Vec<_>) = (a.collect(), b.collect());
    let find = |values: &[(String, &Value)], name: &str| {
        let mut found = values.iter().filter(|(other, _)| other == name);
        found.next().map(|(_, value)| (*value).clone())
    };
    let new = b.iter().filter(|(name, _)| find(&a, name).is_none());
    a.iter()
        .chain(new)
        .map(|(name, _)| Changed {
            name: name.clone(),
            a: find(&a, name),
            b: find(&b, name),
        })
        .filter(|changed| changed.a != changed.b)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_differ_are_told_with_both_sides() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let a = object(json!({"keep": 0.8, "same": [1], "gone": null}));
        let b = object(json!({"keep": 0.9, "same": [1], "new": 1}));
        fn named(map: &Map<String, Value>) -> impl Iterator<Item = (String, &Value)> {
            map.iter().map(|(name, value)| (name.clone(), value))
        }
        let found = changed(named(&a), named(&b));
        let one = |name: &str, a: Option<Value>, b: Option<Value>| Changed {
            name: name.into(),
            a,
            b,
        };
        assert_eq!(
            found,
            [
                one("gone", Some(Value::Null), None),
                one("keep", Some(json!(0.8)), Some(json!(0.9))),
                one("new", None, Some(json!(1))),
            ]
        );
        assert!(changed(named(&a), named(&a)).is_empty());
    }
}
