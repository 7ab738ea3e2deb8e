//! What `run.json` holds: what a run is of, what was wanted of it, and the process that it ran in. `docs/cache.md` documents it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flow_plan::workflow::Overrides;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::commit::Commit;

/// The file in a run's folder.
pub const FILE: &str = "run.json";

/// What a run is of. A head that an earlier version wrote lacks some of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The run's id.
    pub run: String,
    /// The name that a person gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a person wrote of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The run that it made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// The commit of the repository that the workflow lies in; none where there is none, or nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// The workflow's name.
    pub workflow: String,
    /// Where its file was.
    pub path: PathBuf,
    /// Where paths in it begin, absolute; none where that is the file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// The seed of every seeded stage.
    pub seed: Option<u64>,
    /// Its params, after everything that was laid over them.
    pub params: Map<String, Value>,
    /// `--set`.
    pub set: Vec<String>,
    /// `--variant`.
    pub variants: Vec<String>,
    /// `--sweep`.
    pub sweep: Vec<String>,
    /// `--seeds`.
    pub seeds: Option<String>,
    /// `--point`.
    pub point: Vec<String>,
    /// `--params`.
    pub params_file: Option<PathBuf>,
    /// The instances that were to be up to date in the end, in the plan's order; none where all of the plan was wanted.
    pub wanted: Option<Vec<String>>,
    /// Texts of included files, of files of params, and of tables that axes are taken from, by path.
    pub files: BTreeMap<String, String>,
    /// What else axes are taken from: Parquet as JSON, by path; what globs matched, by the glob.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, String>,
    /// The kinds that the workflow uses.
    pub kinds: BTreeMap<String, UsedKind>,
    /// flow's version.
    pub flow: String,
    /// The command line.
    pub command: Vec<String>,
    /// The folder that the command was called in.
    pub folder: Option<PathBuf>,
    /// The machine.
    pub host: Option<String>,
    /// Its system.
    pub platform: Option<String>,
    /// Its threads.
    pub cores: Option<u32>,
    /// Its GPUs, by name.
    pub gpus: Vec<String>,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// The process's number.
    pub process: Option<u32>,
}

/// A kind as a run used it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsedKind {
    /// The kind's version.
    pub version: String,
    /// The plugin that has it: name and version.
    pub plugin: String,
    /// The digest of the plugin's file.
    pub plugin_digest: String,
}

impl Head {
    /// Where paths in the workflow begin.
    pub fn root(&self) -> &Path {
        let beside = self.path.parent().unwrap_or(Path::new("/"));
        self.root.as_deref().unwrap_or(beside)
    }

    /// What was laid over the workflow.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            params: self.params_file.clone(),
            variants: self.variants.clone(),
            set: self.set.clone(),
            sweep: self.sweep.clone(),
            seeds: self.seeds.clone(),
            point: self.point.clone(),
        }
    }
}
