//! What one stage's execution needs, written down. Whoever has the store and the plugins can carry a request out, without
//! the plan that it was made of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_cache::{Digest, Key, Record};
use flow_plan::plan::kinds::{Catalogue, Code};
use flow_plan::plan::{self, Files, Origin, Output, Plan, Program, Resources, Variables, layout};
use petgraph::graph::NodeIndex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::external::{Externals, Reader};
use crate::record::key::Manifest;
use crate::surroundings::Surroundings;

/// One stage instance to execute. As JSON it is complete: what it does not say is the store's, or the machine's
/// that carries it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What the result is stored under.
    pub key: Key,
    /// What the key is made of. The seed and the names of declared variables stand nowhere else.
    pub manifest: Manifest,
    /// The stage's name.
    pub stage: String,
    /// The instance's name.
    pub label: String,
    /// What is done.
    pub task: Task,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it writes.
    pub outputs: Vec<Output>,
    /// What it asks of a machine. What it gets there is a [`Share`](super::budget::Share).
    pub resources: Resources,
    /// What its environment holds beside what every stage has: names, and the values that the workflow sets.
    pub variables: Variables,
    /// What its program runs in, if not in the surroundings of flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<Surroundings>,
    /// After which it is ended.
    pub timeout: Option<Duration>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// Execute although the result is in the store, and go on from nothing.
    pub forced: bool,
    /// The workflow's root, absolute: paths begin there.
    pub folder: PathBuf,
    /// The root of a store of its own for the result; without one it goes where the inputs come from.
    pub results: Option<PathBuf>,
    /// The file for its log.
    pub log: PathBuf,
    /// The run that wants it.
    pub run: String,
}

/// What a request does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A stage kind of a plugin.
    Kind {
        /// The kind's name.
        kind: String,
        /// The plugin's executable.
        program: PathBuf,
        /// The plugin's name and version.
        plugin: String,
        /// The digest of the plugin's code.
        digest: String,
        /// The files that it is of, where that is more than the plugin's own.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        code: Vec<Code>,
        /// All parameters. Path parameters stand as written.
        parameters: Map<String, Value>,
        /// Whether the kind keeps checkpoints.
        checkpoints: bool,
        /// The parameters, as JSON pointers, that only say how long to go on from an earlier result.
        continues: Vec<String>,
    },
    /// A program.
    Command(Box<Program>),
}

/// One input of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its role; `with.NAME` for a path parameter.
    pub role: String,
    /// Where it comes from.
    pub source: Source,
    /// Where it lies in the folder of a `run` stage; none: by rule.
    pub place: Option<String>,
    /// Whether a `run` stage gets a copy that it may write to.
    pub writable: bool,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A result in the store.
    Result(Made),
    /// Several results in the store, in order.
    Collected(Vec<Made>),
    /// The same for a kind that finds them under the names of instances.
    Named(Vec<Made>),
    /// Files of the user's.
    Path {
        /// What is named.
        files: Files,
        /// The JSON pointer of the parameter that it stands in, for a path parameter.
        parameter: Option<String>,
        /// The files that were found there, absolute.
        paths: Vec<PathBuf>,
        /// What each of them is, for a program; for a kind only where they are copies of what an earlier run read.
        contents: Vec<flow_cache::Output>,
        /// The digest of what was found.
        digest: Digest,
    },
}

/// An output that a stage made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The instance that made it.
    pub stage: String,
    /// Its output's role.
    pub output: String,
    /// The file name that its output has there.
    pub file: String,
    /// What it is called in the folder of a program that reads it.
    pub name: String,
    /// The matrix point of its instance, or its stage's name: what tells it from others that are read together.
    pub point: String,
    /// The key of its result.
    pub key: Key,
    /// What the store holds.
    pub stored: flow_cache::Output,
}

impl Request {
    /// The plugin's name and version; none for a command.
    pub fn plugin(&self) -> Option<&str> {
        match &self.task {
            Task::Kind { plugin, .. } => Some(plugin),
            Task::Command(_) => None,
        }
    }
}

/// All that the requests of one run are made of.
pub struct Requests<'a> {
    /// The DAG.
    pub plan: &'a Plan,
    /// The stage kinds.
    pub catalogue: &'a Catalogue,
    /// The user's files.
    pub externals: &'a Externals,
    /// The workflow's folder.
    pub folder: &'a Path,
    /// The run's name.
    pub run: &'a str,
}

impl Requests<'_> {
    /// The request of an instance, whose key and manifest are known. `records` has the results that it reads; `None` where one
    /// of them, or its kind, is not there.
    pub fn of(
        &self,
        node: NodeIndex,
        key: Key,
        manifest: Manifest,
        records: &HashMap<NodeIndex, Record>,
        log: PathBuf,
    ) -> Option<Request> {
        let instance = &self.plan.graph[node];
        let task = match &instance.task {
            plan::Task::Kind { kind, parameters } => {
                let kind = self.catalogue.get(kind)?;
                Task::Kind {
                    kind: kind.description.name.clone(),
                    program: kind.program.clone(),
                    plugin: kind.plugin.clone(),
                    digest: kind.digest.clone(),
                    code: kind.code.clone(),
                    parameters: parameters.clone(),
                    checkpoints: kind.description.checkpoints,
                    continues: kind.description.continues.clone(),
                }
            }
            plan::Task::Command(program) => Task::Command(program.clone()),
        };
        let reader = Reader::of(&instance.task);
        let inputs = instance.inputs.iter().map(|input| {
            Some(Input {
                role: input.role.clone(),
                source: self.source(&input.origin, reader, records)?,
                place: input.place.clone(),
                writable: input.writable,
            })
        });
        Some(Request {
            key,
            manifest,
            stage: instance.stage.clone(),
            label: instance.label.clone(),
            task,
            inputs: inputs.collect::<Option<_>>()?,
            outputs: instance.outputs.clone(),
            resources: instance.resources,
            variables: instance.env.clone(),
            surroundings: self.externals.surroundings(instance)?.environment,
            timeout: instance.timeout,
            retries: instance.retries,
            forced: false,
            folder: self.folder.to_path_buf(),
            results: None,
            log,
            run: self.run.into(),
        })
    }

    fn source(
        &self,
        origin: &Origin,
        reader: Reader,
        records: &HashMap<NodeIndex, Record>,
    ) -> Option<Source> {
        let made = |node: NodeIndex, point: &str, output: &str| {
            let instance = &self.plan.graph[node];
            let declared = instance.outputs.iter().find(|o| o.role == output)?;
            let record = records.get(&node)?;
            Some(Made {
                stage: instance.label.clone(),
                output: output.into(),
                file: declared.file.clone(),
                name: layout::own_name(declared),
                point: match point {
                    "" => instance.stage.clone(),
                    point => point.into(),
                },
                key: record.key,
                stored: record.outputs.get(output)?.clone(),
            })
        };
        Some(match origin {
            Origin::Instance { node, output } => Source::Result(made(*node, "", output)?),
            Origin::Collected { all, named } => {
                let all = all.iter();
                let all = all.map(|one| made(one.node, &one.point, &one.output));
                let all = all.collect::<Option<_>>()?;
                match named {
                    true => Source::Named(all),
                    false => Source::Collected(all),
                }
            }
            Origin::Path {
                files, parameter, ..
            } => {
                let found = self.externals.get(files, reader)?;
                Source::Path {
                    files: files.clone(),
                    parameter: parameter.clone(),
                    paths: found.paths.clone(),
                    contents: found.contents.clone(),
                    digest: found.digest,
                }
            }
        })
    }
}
