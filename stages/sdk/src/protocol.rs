//! What engine and plugin say to each other, as types. `docs/protocol.md` is the same in words.
//!
//! `PLUGIN describe` prints one [`Description`]. `PLUGIN run KIND` reads one [`Request`] on stdin and writes one
//! [`Event`] a line on stdout. Exit status 0 and every declared output present mean success.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The protocol's major version. Each side refuses another one; unknown fields are tolerated.
pub const PROTOCOL: u32 = 1;

/// What `describe` prints: the plugin and its stage kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The protocol version that the plugin speaks.
    pub protocol: u32,
    /// The plugin's name, such as `flow-stages-cluster`.
    pub plugin: String,
    /// The plugin's own version, for provenance.
    pub version: String,
    /// Its stage kinds.
    pub kinds: Vec<KindDescription>,
    /// Files and folders, relative to the plugin's own folder, that its results depend on beside its code. For plugins in
    /// Python; of others only their file counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<String>,
}

/// One stage kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindDescription {
    /// The name that `uses` names.
    pub name: String,
    /// Raised whenever the same inputs and parameters give other results: it is part of the action key. Where a
    /// plugin leaves it out, the engine takes the digest of the plugin's file instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Higher versions for a part of its parameters, where only the results of that part changed: nobody else's key does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
    /// One sentence.
    pub summary: String,
    /// A JSON Schema (draft 2020-12) of the parameters, an object; `default` gives what a left-out parameter takes.
    pub parameters: Value,
    /// Declared inputs, by role.
    #[serde(default)]
    pub inputs: Vec<Port>,
    /// Declared outputs, by role. The first is the one that a bare stage name refers to.
    #[serde(default)]
    pub outputs: Vec<Port>,
    /// Parameters whose value is the path of a file or folder that the stage reads (or a list or table of paths). The
    /// engine resolves such a path against the workflow's folder, hashes its content into the key in place of the
    /// path, and passes it absolute. A glob becomes the list of what it matches where the schema takes a list there. A value
    /// with `://` is a URL, and is passed and hashed as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_parameters: Vec<String>,
    /// Whether the stage draws random numbers: then the seed is part of its key.
    #[serde(default)]
    pub seeded: bool,
    /// Whether an interrupted run can go on from what it left in its work folder.
    #[serde(default)]
    pub checkpoints: bool,
    /// Parameters (JSON pointers) that only say how long to go on: where one of two actions differs from the other by a
    /// smaller number there, and by nothing else, what it made is a beginning of the other. The engine then passes its
    /// outputs as [`Request::earlier`]; the result has to be the same as without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continues: Vec<String>,
    /// The parameter that pins the number of threads, which the results depend on: where its value is a number, the stage
    /// gets exactly as many, whatever the workflow and the machine say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_parameter: Option<String>,
    /// Names of the metrics that a person wants to see first, in order. The table at the end of a run shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headline: Vec<String>,
    /// What it asks of the machine unless the workflow says otherwise.
    #[serde(default)]
    pub resources: Resources,
}

/// A higher version of a kind for some of its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Stands in the key in place of the kind's version; where several fit, the highest does.
    pub version: u32,
    /// A JSON Schema of the parameters, with their defaults filled in, that it counts for.
    pub when: Value,
}

/// A declared input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The role, such as `features`.
    pub name: String,
    /// What kind of artifact stands there.
    #[serde(rename = "type")]
    pub artifact: ArtifactType,
    /// One phrase: content, shape, unit.
    #[serde(default)]
    pub summary: String,
    /// Whether an input may be left out. Outputs are never optional.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Port {
    /// A port that must be there.
    pub fn new(name: &str, artifact: ArtifactType, summary: &str) -> Self {
        Port {
            name: name.into(),
            artifact,
            summary: summary.into(),
            optional: false,
        }
    }

    /// An input that may be left out.
    pub fn optional(name: &str, artifact: ArtifactType, summary: &str) -> Self {
        Port {
            optional: true,
            ..Port::new(name, artifact, summary)
        }
    }
}

/// The type of an artifact: its format and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactType {
    /// A `.npy` array of floats with one row a sample; NaN where a row was left out.
    Array,
    /// A `.npy` array of integers, one a sample; -1 where a row was left out.
    Labels,
    /// A `.npy` array of booleans, one a sample.
    Mask,
    /// A `.safetensors` network.
    Model,
    /// A `.json` object: numbers by name, and under `groups` the same for parts of the data.
    Metrics,
    /// A `.csv` table with a header.
    Table,
    /// A folder with `dataset.json` and arrays.
    Dataset,
    /// A folder with `view.json` and the files that it names: what the stage shows people.
    View,
    /// Any single file.
    File,
    /// Any folder.
    Folder,
}

impl ArtifactType {
    /// The ending of the artifact's file name, dot included; empty for folders and plain files.
    pub fn extension(self) -> &'static str {
        match self {
            ArtifactType::Array | ArtifactType::Labels | ArtifactType::Mask => ".npy",
            ArtifactType::Model => ".safetensors",
            ArtifactType::Metrics => ".json",
            ArtifactType::Table => ".csv",
            ArtifactType::Dataset
            | ArtifactType::View
            | ArtifactType::File
            | ArtifactType::Folder => "",
        }
    }

    /// Whether the artifact is a folder.
    pub fn is_folder(self) -> bool {
        matches!(
            self,
            ArtifactType::Dataset | ArtifactType::View | ArtifactType::Folder
        )
    }

    /// Whether an artifact of this type may be given where `wanted` is declared.
    pub fn fits(self, wanted: ArtifactType) -> bool {
        self == wanted
            || match wanted {
                ArtifactType::File => !self.is_folder(),
                ArtifactType::Folder => self.is_folder(),
                _ => match self {
                    ArtifactType::File => !wanted.is_folder(),
                    ArtifactType::Folder => wanted.is_folder(),
                    _ => false,
                },
            }
    }
}

impl std::fmt::Display for ArtifactType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ArtifactType::Array => "array",
            ArtifactType::Labels => "labels",
            ArtifactType::Mask => "mask",
            ArtifactType::Model => "model",
            ArtifactType::Metrics => "metrics",
            ArtifactType::Table => "table",
            ArtifactType::Dataset => "dataset",
            ArtifactType::View => "view",
            ArtifactType::File => "file",
            ArtifactType::Folder => "folder",
        })
    }
}

/// What a stage asks of the machine. Never part of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Threads; 0 stands for every core of the machine.
    pub cpus: u32,
    /// GPUs that it makes use of where the machine has them. What a workflow asks for must be there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpus: u32,
    /// Memory in bytes; 0 stands for an unknown amount, which is not counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory: u64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Default for Resources {
    fn default() -> Self {
        Resources {
            cpus: 1,
            gpus: 0,
            memory: 0,
        }
    }
}

/// What the engine writes on the stdin of `run KIND`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The protocol version that the engine speaks.
    pub protocol: u32,
    /// The stage kind.
    pub kind: String,
    /// The stage's name in the workflow, for messages.
    pub stage: String,
    /// Parameters, complete: defaults are filled in, path parameters are absolute.
    pub parameters: Map<String, Value>,
    /// Input role to path. Read-only.
    pub inputs: BTreeMap<String, PathBuf>,
    /// Output role to the path that the stage has to write.
    pub outputs: BTreeMap<String, PathBuf>,
    /// Output role to what an earlier action made, where this one [continues](KindDescription::continues) it. Read-only,
    /// and no part of the key: with it or without it the result is the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, PathBuf>,
    /// A folder of the stage's own. What lies in it survives an interruption where the kind declares `checkpoints`.
    pub work: PathBuf,
    /// The seed of every random draw.
    pub seed: u64,
    /// The number of threads that the stage may use.
    pub threads: u32,
    /// `cpu`; or `cuda:0`, the first of the GPUs that the stage has: `CUDA_VISIBLE_DEVICES` names these alone.
    pub device: String,
}

/// One line on the stdout of `run KIND`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// How far the stage is. Rate and time left are the engine's to work out.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all; 0 where unknown.
        total: u64,
        /// What is counted: `epoch`, `image`, `class`.
        unit: String,
        /// What it is doing, in a few words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
    /// A measured number.
    Metric {
        /// Its name, such as `val_loss`.
        name: String,
        /// Its value; null stands for NaN or infinity.
        value: Option<f64>,
        /// The step (epoch) it belongs to; none for a final figure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u64>,
    },
    /// A line for the log.
    Log {
        /// The text.
        message: String,
        /// What the stage computes with that decides results and stands in no parameter (versions of libraries, instruction
        /// sets), by name: it goes into the provenance.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        facts: BTreeMap<String, String>,
        /// Files of code that the stage has run and that belong to no installed package: each has to be in the plugin's
        /// version. Of several such lists all count.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        loaded: Vec<PathBuf>,
    },
    /// Something that a person should know although the stage goes on.
    Warning {
        /// The text.
        message: String,
    },
    /// Why the stage failed: its last words before a non-zero exit status.
    Error {
        /// What, where, and what to do.
        message: String,
    },
}
