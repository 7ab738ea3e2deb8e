//! Why a stage has to run: its key's parts beside those of the nearest earlier record of that stage.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flow_cache::{Digest, Error, Key, Record, Store};
use flow_plan::plan::{Instance, Plan, plain_text};
use flow_plan::workflow::Reference;
use flow_run::record::event::{Failure, StageEnd};
use flow_run::record::key::canonical;
use flow_run::record::{Manifest, past};
use petgraph::graph::NodeIndex;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Standing, Survey};

/// Earlier records, by the stage that made them; and what failed.
#[derive(Debug, Default)]
pub struct History {
    by_stage: HashMap<String, Vec<Past>>,
    failures: BTreeMap<Key, StageEnd>,
}

/// An earlier record.
#[derive(Debug)]
struct Past {
    record: Record,
    manifest: Manifest,
    /// The instance that it was made as.
    label: String,
    /// The matrix point of that, as text.
    coordinates: Vec<(String, String)>,
}

impl Past {
    /// Whether it may be of this instance: no coordinate says otherwise. A sweep, or another matrix, gives an instance
    /// coordinates that it had not before.
    fn may_be(&self, instance: &Instance) -> bool {
        self.coordinates.iter().all(|(axis, text)| {
            let value = instance.coordinates.get(axis);
            value.is_none_or(|value| plain_text(value) == *text)
        })
    }
}

/// What a stage did before that is nearest to what it would do now.
#[derive(Debug)]
pub struct Nearest<'a> {
    /// Its record.
    pub record: &'a Record,
    /// What its key was made of.
    pub manifest: &'a Manifest,
    /// The instance that it was made as, where that is called otherwise.
    pub other: Option<&'a str>,
    /// The parts that differ, in the order of the key.
    pub differences: Vec<Difference>,
}

/// One part of a key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The part's name, such as ``parameter `epochs.max` ``.
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
                let label = record.provenance["label"].as_str().unwrap_or(&stage);
                let reference = label.parse::<Reference>().ok();
                let past = Past {
                    label: label.into(),
                    coordinates: reference.map_or_else(Vec::new, |named| named.selectors),
                    record,
                    manifest,
                };
                history.by_stage.entry(stage).or_default().push(past);
            }
        }
        Ok(history)
    }

    /// Looks up how the instances failed that have to run.
    ///
    /// # Errors
    /// Where the runs can't be read.
    pub fn with_failures(
        mut self,
        store: &Store,
        plan: &Plan,
        survey: &Survey,
    ) -> anyhow::Result<History> {
        let keys = plan
            .order
            .iter()
            .filter_map(|&node| match survey.get(node)? {
                Standing::WillRun { key, .. } => Some(*key),
                _ => None,
            });
        self.failures = past::failures(store, &keys.collect())?;
        Ok(self)
    }

    /// How the action with this key failed when it was tried last.
    pub fn failure(&self, key: &Key) -> Option<&Failure> {
        self.failures.get(key)?.failure.as_ref()
    }

    /// What an instance did before that is nearest to what it would do now: the record that differs in the fewest values,
    /// among those of the same instance where it has any. Of several one that was made under the same name, then the newest.
    pub fn nearest(&self, instance: &Instance, now: &Manifest) -> Option<Nearest<'_>> {
        let records = self.by_stage.get(&instance.stage)?;
        let own = records.iter().any(|past| past.may_be(instance));
        let records = records.iter().filter(|past| !own || past.may_be(instance));
        let nearest = records.map(|past| Nearest {
            record: &past.record,
            manifest: &past.manifest,
            other: (past.label != instance.label).then_some(&*past.label),
            differences: differences(&past.manifest, now),
        });
        nearest.min_by(|a, b| {
            a.differences
                .len()
                .cmp(&b.differences.len())
                .then_with(|| a.other.is_some().cmp(&b.other.is_some()))
                .then_with(|| b.record.finished.cmp(&a.record.finished))
                .then_with(|| a.record.key.cmp(&b.record.key))
        })
    }

    /// The manifest of the newest action of a stage that wrote an output of this content.
    pub fn maker(&self, stage: &str, output: &str, digest: &Digest) -> Option<&Manifest> {
        let records = self.by_stage.get(stage)?.iter();
        records
            .filter(|past| past.record.outputs.get(output).map(|o| &o.digest) == Some(digest))
            .max_by(|a, b| a.record.finished.cmp(&b.record.finished))
            .map(|past| &past.manifest)
    }

    /// The newest record of an instance that was made before `record`; of the whole stage where it has none.
    pub fn before(&self, instance: &Instance, record: &Record) -> Option<&Record> {
        let records =
            self.by_stage.get(&instance.stage)?.iter().filter(|past| {
                past.record.key != record.key && past.record.finished < record.finished
            });
        let newest = records.max_by(|a, b| {
            let place = |past: &Past| (past.may_be(instance), past.record.finished.clone());
            place(a).cmp(&place(b))
        });
        newest.map(|past| &past.record)
    }

    /// How long a stage took when it last ran, in seconds; none where nothing is known of it.
    pub fn seconds(&self, stage: &str) -> Option<f64> {
        let records = self.by_stage.get(stage)?.iter();
        let newest = records.max_by(|a, b| a.record.finished.cmp(&b.record.finished));
        newest.map(|past| past.record.seconds)
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

/// The values that differ, in the order of the key. Where both sides have an object of parameters, its members are
/// compared.
pub fn differences(then: &Manifest, now: &Manifest) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |part: String, then: Option<String>, now: Option<String>| {
        found.push(Difference { part, then, now });
    };
    for (part, then, now) in [
        (
            "key format",
            &then.format.to_string(),
            &now.format.to_string(),
        ),
        ("kind", &then.kind, &now.kind),
        ("kind version", &then.version, &now.version),
    ] {
        if then != now {
            add(part.into(), Some(then.clone()), Some(now.clone()));
        }
    }
    let of_program = then.kind == "run" && now.kind == "run";
    for (path, then, now) in members(&then.parameters, &now.parameters) {
        let value = of_program.then(|| path.strip_prefix("values.")).flatten();
        let part = match value {
            Some(name) => format!("value `{name}`"),
            None if of_program && path == "command" => path,
            None => format!("parameter `{path}`"),
        };
        add(part, then.map(canonical), now.map(canonical));
    }
    if then.seed != now.seed {
        let text = |seed: Option<u64>| seed.map(|seed| seed.to_string());
        add("seed".into(), text(then.seed), text(now.seed));
    }
    for (role, then, now) in changed(&then.inputs, &now.inputs) {
        let text = |digest: Option<&Digest>| digest.map(Digest::to_string);
        add(format!("input `{role}`"), text(then), text(now));
    }
    for (part, then, now) in changed(&then.surroundings, &now.surroundings) {
        let text = |side: Option<&String>| written(part, side?);
        let lines = match (text(then), text(now)) {
            (Some(then), Some(now)) => lines(&then, &now),
            _ => Vec::new(),
        };
        if lines.is_empty() {
            add(part.clone(), then.cloned(), now.cloned());
        }
        for (number, then, now) in lines {
            add(format!("{part}, line {number}"), then, now);
        }
    }
    for (name, then, now) in changed(&then.env, &now.env) {
        let text = |value: Option<&Option<String>>| {
            value.map(|value| match value {
                Some(value) => format!("{value:?}"),
                None => "not set".into(),
            })
        };
        add(format!("variable `{name}`"), text(then), text(now));
    }
    for (role, then, now) in changed(&then.outputs, &now.outputs) {
        add(format!("output `{role}`"), then.cloned(), now.cloned());
    }
    found
}

/// The text of a file that is written for a program, where the manifest has it.
fn written(part: &str, value: &str) -> Option<String> {
    let is_file = part.starts_with("file `");
    is_file.then(|| serde_json::from_str(value).ok()).flatten()
}

/// The lines that differ, by number from 1, between those that two texts begin and end with. None where only breaks of lines
/// do.
fn lines(then: &str, now: &str) -> Vec<(usize, Option<String>, Option<String>)> {
    let (then, now): (Vec<&str>, Vec<&str>) = (then.lines().collect(), now.lines().collect());
    let same = then.iter().zip(&now).take_while(|(then, now)| then == now);
    let before = same.count();
    let (then, now) = (&then[before..], &now[before..]);
    let same = then.iter().rev().zip(now.iter().rev());
    let after = same.take_while(|(then, now)| then == now).count();
    let (then, now) = (&then[..then.len() - after], &now[..now.len() - after]);
    let line = |side: &[&str], i: usize| side.get(i).map(|line| line.to_string());
    let all = (0..then.len().max(now.len())).map(|i| (before + i + 1, line(then, i), line(now, i)));
    all.filter(|(_, then, now)| then != now).collect()
}

/// What differs in two tables, by name.
fn changed<'a, V: PartialEq>(
    then: &'a BTreeMap<String, V>,
    now: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a String, Option<&'a V>, Option<&'a V>)> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let both = names
        .into_iter()
        .map(|name| (name, then.get(name), now.get(name)));
    both.filter(|(_, then, now)| then != now)
}

/// What differs in two objects, by path, as deep as both have objects.
fn members<'a>(
    then: &'a Map<String, Value>,
    now: &'a Map<String, Value>,
) -> Vec<(String, Option<&'a Value>, Option<&'a Value>)> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        match (then.get(name), now.get(name)) {
            (Some(Value::Object(then)), Some(Value::Object(now))) => {
                let inside = members(then, now).into_iter();
                found.extend(inside.map(|(path, then, now)| (format!("{name}.{path}"), then, now)));
            }
            (then, now) if then != now => found.push((name.clone(), then, now)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(parameters: Value) -> Manifest {
        Manifest {
            format: 1,
            kind: "train".into(),
            version: "1".into(),
            parameters: parameters.as_object().unwrap().clone(),
            seed: Some(42),
            inputs: BTreeMap::from([("a".into(), Digest::of_bytes(b"1"))]),
            env: BTreeMap::new(),
            outputs: BTreeMap::new(),
            surroundings: BTreeMap::new(),
        }
    }

    fn told(then: &Manifest, now: &Manifest) -> Vec<String> {
        let text = |side: &Option<String>| side.clone().unwrap_or("-".into());
        let found = differences(then, now);
        let told = found.iter();
        told.map(|d| format!("{} {} {}", d.part, text(&d.then), text(&d.now)))
            .collect()
    }

    #[test]
    fn values_are_compared_one_by_one() {
        let then =
            manifest(json!({"epochs": {"max": 10, "min": 1}, "lr": 0.1, "gone": 1, "augment": {}}));
        let mut now =
            manifest(json!({"epochs": {"max": 20, "min": 1}, "lr": {"auto": true}, "augment": {}}));
        now.seed = None;
        now.inputs.insert("b".into(), Digest::of_bytes(b"2"));
        assert_eq!(
            told(&then, &now),
            [
                "parameter `epochs.max` 10 20".into(),
                "parameter `gone` 1 -".into(),
                "parameter `lr` 0.1 {\"auto\":true}".into(),
                "seed 42 -".into(),
                format!("input `b` - {}", Digest::of_bytes(b"2")),
            ]
        );
        assert!(told(&now, &now).is_empty());
    }

    #[test]
    fn a_program_has_values_and_a_command() {
        let program = |n: u64, command: &str| Manifest {
            kind: "run".into(),
            ..manifest(json!({"command": command, "values": {"n": n, "way": "a"}}))
        };
        assert_eq!(
            told(&program(1, "x"), &program(2, "y")),
            ["command \"x\" \"y\"", "value `n` 1 2"]
        );
    }

    #[test]
    fn lines_of_written_files_are_compared() {
        let program = |text: Value| Manifest {
            kind: "run".into(),
            surroundings: BTreeMap::from([("file `p`".into(), text.to_string())]),
            ..manifest(json!({}))
        };
        let told = |a: &str, b: &str| told(&program(a.into()), &program(b.into()));
        assert_eq!(
            told("a: 1\nb:\n  c: 2\nd: 3\n", "a: 1\nb:\n  c: 4\nd: 3\n"),
            ["file `p`, line 3   c: 2   c: 4"]
        );
        assert_eq!(told("a\nc\n", "a\nb\nc\n"), ["file `p`, line 2 - b"]);
        assert_eq!(told("a\nb\n", "a\n"), ["file `p`, line 2 b -"]);
        assert_eq!(told("a", "a\n"), [r#"file `p` "a" "a\n""#]);
        let long = program(json!("x")).surroundings;
        let mut digest = program(json!("y"));
        digest
            .surroundings
            .insert("file `p`".into(), "ab".repeat(32));
        let short = Manifest {
            surroundings: long,
            ..digest.clone()
        };
        assert_eq!(differences(&short, &digest).len(), 1);
    }

    /// Whatever makes another key is told.
    #[test]
    fn two_keys_differ_where_something_is_told() {
        let base = manifest(json!({"a": {"b": 1}}));
        let changes: [fn(&mut Manifest); 10] = [
            |m| m.format = 2,
            |m| {
                m.surroundings.insert("shell".into(), "[]".into());
            },
            |m| m.kind = "x".into(),
            |m| m.version = "2".into(),
            |m| m.parameters["a"]["b"] = 2.into(),
            |m| m.parameters["a"] = json!({}),
            |m| m.seed = Some(43),
            |m| m.inputs.clear(),
            |m| {
                m.env.insert("HOME".into(), None);
            },
            |m| {
                m.outputs.insert("o".into(), "o".into());
            },
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = base.clone();
            change(&mut changed);
            assert_ne!(changed.key(), base.key());
            assert_eq!(differences(&base, &changed).len(), 1, "change {i}");
        }
    }
}
