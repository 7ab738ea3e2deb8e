//! Why a stage has to run: its key's parts beside those of the nearest earlier record of that stage.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flow_cache::{Digest, Error, Record, Store};
use petgraph::graph::NodeIndex;

use super::key::Manifest;
use crate::plan::Plan;

/// Earlier records, by the stage that made them.
#[derive(Debug, Default)]
pub struct History {
    by_stage: HashMap<String, Vec<(Record, Manifest)>>,
}

/// What a stage did before that is nearest to what it is to do now.
#[derive(Debug)]
pub struct Nearest<'a> {
    /// Its record.
    pub record: &'a Record,
    /// What its key was made of.
    pub manifest: &'a Manifest,
    /// The parts that differ, in the order of the key.
    pub differences: Vec<Difference>,
}

/// One part of a key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The part's name, such as ``parameter `keep` ``.
    pub part: String,
    /// What it was; none where it was not there.
    pub then: Option<String>,
    /// What it is; none where it is not there.
    pub now: Option<String>,
}

impl Difference {
    /// The input's role, where the part is an input.
    pub fn input(&self) -> Option<&str> {
        self.part.strip_prefix("input `")?.strip_suffix('`')
    }
}

impl History {
    /// The records of the named stages. A record that can't be read explains nothing and is passed over.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn of(store: &Store, stages: &BTreeSet<&str>) -> Result<History, Error> {
        let mut history = History::default();
        if stages.is_empty() {
            return Ok(history);
        }
        for record in store.records()?.flatten() {
            let Some(stage) = record.provenance["stage"].as_str() else {
                continue;
            };
            if stages.contains(stage)
                && let Ok(manifest) = serde_json::from_value::<Manifest>(record.manifest.clone())
            {
                let stage = stage.to_string();
                history
                    .by_stage
                    .entry(stage)
                    .or_default()
                    .push((record, manifest));
            }
        }
        Ok(history)
    }

    /// The record of a stage that differs in the fewest parts, the newest of several.
    pub fn nearest(&self, stage: &str, now: &Manifest) -> Option<Nearest<'_>> {
        self.by_stage
            .get(stage)?
            .iter()
            .map(|(record, manifest)| Nearest {
                record,
                manifest,
                differences: differences(manifest, now),
            })
            .min_by(|a, b| {
                a.differences
                    .len()
                    .cmp(&b.differences.len())
                    .then_with(|| b.record.finished.cmp(&a.record.finished))
                    .then_with(|| a.record.key.cmp(&b.record.key))
            })
    }

    /// The manifest of the newest action of a stage that wrote an output of this content.
    pub fn maker(&self, stage: &str, output: &str, digest: &Digest) -> Option<&Manifest> {
        let records = self.by_stage.get(stage)?.iter();
        records
            .filter(|(record, _)| record.outputs.get(output).map(|o| &o.digest) == Some(digest))
            .max_by(|(a, _), (b, _)| a.finished.cmp(&b.finished))
            .map(|(_, manifest)| manifest)
    }

    /// The newest record of a stage that was made before `record`.
    pub fn before(&self, stage: &str, record: &Record) -> Option<&Record> {
        let records = self.by_stage.get(stage)?.iter().map(|(record, _)| record);
        records
            .filter(|earlier| earlier.key != record.key && earlier.finished < record.finished)
            .max_by(|a, b| a.finished.cmp(&b.finished))
    }

    /// How long a stage took when it last ran, in seconds; none where nothing is known of it.
    pub fn seconds(&self, stage: &str) -> Option<f64> {
        let records = self.by_stage.get(stage)?.iter();
        let newest = records.max_by(|(a, _), (b, _)| a.finished.cmp(&b.finished));
        newest.map(|(record, _)| record.seconds)
    }

    /// How long the given instances will take, as far as it is known; and the stages of which it is not.
    pub fn estimate(
        &self,
        plan: &Plan,
        nodes: impl IntoIterator<Item = NodeIndex>,
    ) -> (f64, BTreeSet<String>) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for node in nodes {
            *counts.entry(&plan.graph[node].stage).or_default() += 1;
        }
        let (mut sum, mut unknown) = (0.0, BTreeSet::new());
        for (stage, count) in counts {
            match self.seconds(stage) {
                Some(seconds) => sum += seconds * count as f64,
                None => {
                    unknown.insert(stage.to_string());
                }
            }
        }
        (sum, unknown)
    }
}

/// The parts that differ, in the order of the key.
pub fn differences(then: &Manifest, now: &Manifest) -> Vec<Difference> {
    let (then, now) = (then.parts(), now.parts());
    let find = |parts: &[(String, String)]| -> BTreeMap<String, String> {
        parts.iter().cloned().collect()
    };
    let (before, after) = (find(&then), find(&now));
    let gone = then.iter().filter(|(name, _)| !after.contains_key(name));
    now.iter()
        .chain(gone)
        .filter(|(name, _)| before.get(name) != after.get(name))
        .map(|(name, _)| Difference {
            part: name.clone(),
            then: before.get(name).cloned(),
            now: after.get(name).cloned(),
        })
        .collect()
}
