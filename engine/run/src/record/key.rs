//! The action key: everything that decides a stage's result, and nothing else.
//!
//! Never in it: resources, timeouts, job counts, paths, time, the stage's name, who made the inputs. What stands in
//! [`Manifest`] is written once, by [`Manifest::parts`]; the key hashes the parts, and explanations compare them.

use std::collections::BTreeMap;

use flow_cache::{Digest, Key, Output};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{
    Command, Folder, Gathered, Input, Instance, Origin, Plan, Program, Task, is_glob,
};
use petgraph::graph::NodeIndex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::external::{Externals, Reader};
use crate::surroundings::Found;

/// Separates these keys from any other use of blake3.
const DOMAIN: &str = "flow action key";
/// The version of how a key is made. 1: the first.
pub const FORMAT: u32 = 1;

/// What a key is made of, readable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The stage kind, or `run`.
    pub kind: String,
    /// The kind's version: results differ between versions.
    pub version: String,
    /// All parameters with their values; for `run`, the unrendered command and the values it names.
    pub parameters: Map<String, Value>,
    /// The seed, for a seeded kind.
    pub seed: Option<u64>,
    /// Input role to the digest of its content: bound by role, so that two swapped inputs are another action.
    pub inputs: BTreeMap<String, Digest>,
    /// Declared environment variables; none where one is not set.
    pub env: BTreeMap<String, Option<String>>,
    /// Output roles and the file names that the stage sees.
    pub outputs: BTreeMap<String, String>,
    /// What else decides what a program makes, each part with a name: where its inputs lie, files that are written for it, its
    /// shell, its environment, its tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub surroundings: BTreeMap<String, String>,
}

/// A written file of no more bytes stands in the manifest as it is, so that a difference can be shown; a longer one by its
/// digest.
const WRITTEN: usize = 1 << 10;

/// The version of how programs are run. 2: in a folder of their own, by bash.
const RUN: &str = "2";

impl Manifest {
    /// The manifest of an instance whose inputs are known; `made` gives other instances' outputs.
    pub fn of<'r>(
        plan: &Plan,
        node: NodeIndex,
        catalogue: &Catalogue,
        externals: &Externals,
        made: impl Fn(NodeIndex, &str) -> Option<&'r Output>,
    ) -> Option<Manifest> {
        let instance = &plan.graph[node];
        let reader = Reader::of(&instance.task);
        // Execute bits mean something to programs alone.
        let made = |node, output: &str| {
            let output = made(node, output)?;
            Some(match reader {
                Reader::Kind => output.digest,
                Reader::Program => output.identity(),
            })
        };
        let mut inputs = BTreeMap::new();
        for input in &instance.inputs {
            let digest = match &input.origin {
                Origin::Instance { node, output } => made(*node, output)?,
                Origin::Collected { all, named } => {
                    // By matrix point: which stage they come from does not count, as for a single input.
                    let mut hasher = blake3::Hasher::new();
                    let text = |hasher: &mut blake3::Hasher, text: &str| {
                        hasher.update(&(text.len() as u64).to_le_bytes());
                        hasher.update(text.as_bytes());
                    };
                    if *named {
                        text(&mut hasher, "files named after instances");
                    }
                    let several = all.iter().any(|one| one.output != all[0].output);
                    for Gathered {
                        point,
                        node,
                        output,
                    } in all
                    {
                        text(&mut hasher, point);
                        if several {
                            text(&mut hasher, output);
                        }
                        if *named {
                            text(&mut hasher, &own_name(plan, *node, output));
                        }
                        hasher.update(made(*node, output)?.as_bytes());
                    }
                    Digest::from_bytes(*hasher.finalize().as_bytes())
                }
                Origin::Path { files, .. } => externals.get(files, reader)?.digest,
            };
            inputs.insert(input.role.clone(), digest);
        }
        let (kind, version, parameters) = match &instance.task {
            Task::Kind { kind, parameters } => {
                let version = catalogue.get(kind)?.version_with(parameters);
                let mut parameters = Value::Object(parameters.clone());
                for input in &instance.inputs {
                    // The content counts, under the role `with.NAME`; where the file lies does not.
                    if let Origin::Path {
                        parameter: Some(pointer),
                        ..
                    } = &input.origin
                        && let Some(value) = parameters.pointer_mut(pointer)
                    {
                        *value = Value::Null;
                    }
                }
                let Value::Object(parameters) = parameters else {
                    return None;
                };
                (kind.clone(), version, parameters)
            }
            Task::Command(program) => {
                let parameters = command_parameters(&program.command, &program.values);
                ("run".into(), RUN.into(), parameters)
            }
        };
        let set = &instance.env.set;
        let set = set
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone())));
        Some(Manifest {
            format: FORMAT,
            kind,
            version,
            parameters,
            seed: instance.seed,
            inputs,
            env: instance
                .env
                .passed
                .iter()
                .map(|name| {
                    let value = std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
                    (name.clone(), value)
                })
                .chain(set)
                .collect(),
            surroundings: match &instance.task {
                Task::Kind { .. } => BTreeMap::new(),
                Task::Command(program) => {
                    let found = externals.surroundings(instance)?;
                    surroundings(plan, instance, program, &found)
                }
            },
            outputs: instance
                .outputs
                .iter()
                .map(|o| (o.role.clone(), o.file.clone()))
                .collect(),
        })
    }

    /// The parts, each with a name, in a fixed order.
    pub fn parts(&self) -> Vec<(String, String)> {
        let mut parts = vec![
            ("key format".into(), self.format.to_string()),
            ("kind".into(), self.kind.clone()),
            ("kind version".into(), self.version.clone()),
        ];
        for (name, value) in sorted(&self.parameters) {
            parts.push((format!("parameter `{name}`"), canonical(value)));
        }
        if let Some(seed) = self.seed {
            parts.push(("seed".into(), seed.to_string()));
        }
        for (role, digest) in &self.inputs {
            parts.push((format!("input `{role}`"), digest.to_string()));
        }
        for (name, value) in &self.env {
            let value = value
                .as_ref()
                .map_or("not set".into(), |v| format!("{v:?}"));
            parts.push((format!("variable `{name}`"), value));
        }
        for (role, file) in &self.outputs {
            parts.push((format!("output `{role}`"), file.clone()));
        }
        parts.extend(self.surroundings.clone());
        parts
    }

    /// The key: each part framed by its length, so that no two manifests share an encoding.
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new();
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        field(DOMAIN);
        for (name, value) in self.parts() {
            field(&name);
            field(&value);
        }
        Key(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }
}

/// What decides what a program makes, beside its command, its inputs' content and its outputs' names.
fn surroundings(
    plan: &Plan,
    instance: &Instance,
    program: &Program,
    found: &Found,
) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for input in &instance.inputs {
        parts.insert(format!("place `{}`", input.role), place(plan, input));
    }
    for (path, text) in &program.files {
        // In quotes, so that no text is taken for a digest.
        let value = match text.len() <= WRITTEN {
            true => Value::from(text.as_str()).to_string(),
            false => Digest::of_bytes(text.as_bytes()).to_string(),
        };
        parts.insert(format!("file `{path}`"), value);
    }
    if let (Command::Shell(_), Some(shell)) = (&program.command, &program.shell) {
        parts.insert("shell".into(), canonical(&Value::from(shell.clone())));
    }
    if program.folder == Folder::Project {
        parts.insert("folder".into(), "project".into());
    }
    if let Some(environment) = &found.environment {
        parts.insert("environment".into(), environment.digest.to_string());
    }
    for (name, value) in &found.tools {
        parts.insert(format!("tool `{name}`"), value.clone());
    }
    parts
}

/// Where an input lies in a program's folder, and by which names: as `as` says, below the root, or by rule. What a glob or
/// a gather stands for is in the input's digest, with its names.
fn place(plan: &Plan, input: &Input) -> String {
    let mut names = match &input.origin {
        Origin::Path { files, .. } => files.patterns.clone(),
        Origin::Instance { node, output } => vec![own_name(plan, *node, output)],
        Origin::Collected { all, .. } => {
            let names = all.iter().map(|one| own_name(plan, one.node, &one.output));
            names.collect()
        }
    };
    // Most gathers are of files with one name.
    names.dedup();
    match &input.place {
        // The path itself.
        Some(place) if place != "." && !place.ends_with('/') => place.clone(),
        Some(place) => {
            let names = names
                .iter()
                .map(|name| name.rsplit('/').next().unwrap_or(name));
            format!("{} in {place}", names.collect::<Vec<_>>().join(", "))
        }
        None => names.join(", "),
    }
}

/// What an output is called where it is made.
fn own_name(plan: &Plan, node: NodeIndex, role: &str) -> String {
    let outputs = &plan.graph[node].outputs;
    let file = outputs.iter().find(|output| output.role == role);
    let file = file.map_or("", |output| output.file.as_str());
    match file.rsplit('/').next() {
        Some(name) if !is_glob(file) => name.to_string(),
        _ => role.to_string(),
    }
}

/// What stands for the parameters of a `run` stage: the unrendered command, and the values that it names.
pub fn command_parameters(
    command: &Command,
    values: &BTreeMap<String, Value>,
) -> Map<String, Value> {
    let text: Value = match command {
        Command::Arguments(arguments) => arguments
            .iter()
            .map(|a| Value::from(a.text.as_str()))
            .collect(),
        Command::Shell(line) => Value::from(line.text.as_str()),
    };
    let values = values.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    Map::from_iter([
        ("command".into(), text),
        ("values".into(), Value::Object(values)),
    ])
}

/// JSON with the keys of every object in order, whatever order a crate's features give the map.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let entries: Vec<String> = sorted(object)
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn sorted(object: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            kind: "umap".into(),
            version: "1".into(),
            parameters: Map::from_iter([("n_neighbors".into(), 30.into())]),
            seed: Some(42),
            inputs: BTreeMap::from([
                ("a".into(), Digest::of_bytes(b"1")),
                ("b".into(), Digest::of_bytes(b"2")),
            ]),
            env: BTreeMap::from([("HOME".into(), None)]),
            outputs: BTreeMap::from([("embedding".into(), "embedding.npy".into())]),
            surroundings: BTreeMap::new(),
        }
    }

    #[test]
    fn every_part_changes_the_key() {
        let base = manifest().key();
        let changes: [fn(&mut Manifest); 11] = [
            |m| m.kind = "pca".into(),
            |m| m.version = "2".into(),
            |m| m.parameters["n_neighbors"] = 31.into(),
            |m| m.seed = None,
            |m| m.seed = Some(43),
            |m| {
                let (a, b) = (m.inputs["a"], m.inputs["b"]);
                m.inputs = BTreeMap::from([("a".into(), b), ("b".into(), a)]);
            },
            |m| {
                m.inputs.remove("b");
            },
            |m| {
                m.env.insert("HOME".into(), Some(String::new()));
            },
            |m| {
                m.outputs.insert("embedding".into(), "x.npy".into());
            },
            |m| m.format = 2,
            |m| {
                m.surroundings.insert("shell".into(), "[]".into());
            },
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = manifest();
            change(&mut changed);
            assert_ne!(changed.key(), base, "change {i}");
        }
        assert_eq!(manifest().key(), base);
    }

    #[test]
    fn a_key_never_changes_by_itself() {
        // A change here empties every store in the world: raise FORMAT and say so in the changelog.
        assert_eq!(
            manifest().key().to_string(),
            "559e5b7dd15dfdd5302ed1a33ae115fcda3a2c487074664f45683713ad478cbe"
        );
    }

    proptest! {
        #[test]
        fn two_values_share_a_canonical_form_only_if_they_are_equal(a in json(), b in json()) {
            prop_assert_eq!(canonical(&a) == canonical(&b), a == b);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2i64..2).prop_map(Value::from),
            "[a:\",{}\\\\]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab\":]{0,2}", inner, 0..3)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }
}
