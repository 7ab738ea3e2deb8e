//! From a workflow to a DAG of stage instances, complete and checked. Pure: no file is looked at.
//!
//! - `wiring`: what stages read from each other: names, roles, artifact types, cycles.
//! - `expand`: stages to instances; `names`: what the names in them stand for; `unused`: what nothing comes of.
//! - `coordinates`: which instances a stage has, given those it reads from: the join.
//! - `points`: those of a stage, by what its inputs offer it (`offers`); `axes`: the axes that are known by their names, and
//!   what `${matrix.…}` stands for.
//! - [`sweep`]: the union of the plans of a sweep's points.
//! - `program`: what a `run` stage does; `written`: the texts of its `files`; [`words`]: its command, rendered.
//! - [`shown`]: which outputs of a program have figures, and what its plots are; `plots` resolves them.
//! - [`layout`]: where everything lies in the folder of a `run` stage; `file_names`: what values and instances are called
//!   there.
//! - `parameters`: defaults, types and ranges by the schema that the plugin publishes; `types` puts these into words.
//! - [`kinds`]: the stage kinds, as plugins describe them.

mod axes;
mod coordinates;
pub mod deliver;
pub mod edges;
mod expand;
mod file_names;
pub mod kinds;
pub mod layout;
mod names;
mod offers;
mod parameters;
mod plots;
mod points;
mod program;
pub mod shown;
pub mod sweep;
mod types;
mod unused;
mod wiring;
pub mod words;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use deliver::Delivery;
use flow_stage::ArtifactType;
use kinds::Catalogue;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::{Dfs, Reversed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::workflow::{Problems, Reference, Span, Template, Workflow};

pub use crate::workflow::{Environment, Folder, Isolation, is_glob};
pub use sweep::{Point, Sweep};
pub use types::type_text;

/// Builds the plan. What is wrong goes to `problems`; where anything but warnings is found, the plan is incomplete and
/// must not be run.
pub fn expand(workflow: &Workflow, catalogue: &Catalogue, problems: &mut Problems) -> Plan {
    match &workflow.sweep {
        Some(sweep) => sweep::union(sweep, sweep::top(workflow), catalogue, problems),
        None => expand::single(workflow, workflow.seed, catalogue, problems),
    }
}

/// A workflow as a DAG of stage instances: an edge leads from what is read to what reads it.
#[derive(Debug, Default)]
pub struct Plan {
    /// The instances and their order.
    pub graph: DiGraph<Instance, ()>,
    /// All instances, none before what it reads from; otherwise in the workflow's order.
    pub order: Vec<NodeIndex>,
    /// Which results go where; of a sweep those of all its points.
    pub deliveries: Vec<Delivery>,
    /// The sweep, if it is one: which instances belong to which point.
    pub sweep: Option<Sweep>,
}

/// A stage at one point of its matrix, and of the axes of a sweep that it depends on.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The stage's name.
    pub stage: String,
    /// The name with the point: `multihead[alpha=0.1]`.
    pub label: String,
    /// The point: axis and value, empty without a matrix and a sweep.
    pub coordinates: BTreeMap<String, Value>,
    /// What it does.
    pub task: Task,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it writes.
    pub outputs: Vec<Output>,
    /// The seed, for a seeded kind and a program that names it.
    pub seed: Option<u64>,
    /// What it asks of the machine.
    pub resources: Resources,
    /// After which it is ended.
    pub timeout: Option<Duration>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// Where the workflow says that its last result stands, if it does. No edge leads to it then: it waits for nothing.
    pub frozen: Option<Span>,
    /// What its environment holds beside what every stage has.
    pub env: Variables,
    /// Where the workflow names what it needs of the machine.
    pub spans: Spans,
}

/// Where the workflow names what a program needs of the machine, for messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spans {
    /// The key `environment`.
    pub environment: Option<Span>,
    /// The key `tools`.
    pub tools: Option<Span>,
}

/// What a stage's environment holds beside what every stage has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variables {
    /// Variables of flow's own environment that are passed on, and part of the key.
    pub passed: Vec<String>,
    /// Variables that the workflow sets, as templates: part of the key. [`Variables::values`] puts in what is known only when
    /// the stage starts: `${cpus}`, `${memory}`, and paths in its folder.
    pub set: BTreeMap<String, String>,
    /// Variables that are passed on, and stand in no key, record, request, log or report.
    pub secret: Vec<String>,
}

impl Variables {
    /// The variables that the workflow sets, with what their names stand for.
    ///
    /// # Errors
    /// The first of `value`.
    pub fn values<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<BTreeMap<String, String>, E> {
        let set = self.set.iter().map(|(name, text)| {
            let value = match Template::parse(text) {
                Ok(template) => template.render(&mut value)?,
                Err(_) => text.clone(),
            };
            Ok((name.clone(), value))
        });
        set.collect()
    }
}

/// What an instance asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Threads that a parameter of its own pins: it gets as many, whatever the machine has.
    pub threads: Option<u32>,
    /// Threads; 0 for all.
    pub cpus: u32,
    /// GPUs.
    pub gpus: u32,
    /// Whether the workflow asks for the GPUs: then they have to be there. What a kind asks for by itself is only a wish.
    pub gpus_needed: bool,
    /// Memory in bytes; 0 where nothing is said of it.
    pub memory: u64,
    /// Whether it works in the project's folder, in which one works at a time.
    pub project: bool,
}

/// What an instance does.
#[derive(Debug, Clone)]
pub enum Task {
    /// A stage kind with its parameters, defaults filled in. Path parameters stand as written.
    Kind {
        /// The kind's name in the catalogue.
        kind: String,
        /// All parameters.
        parameters: Map<String, Value>,
    },
    /// A program.
    Command(Box<Program>),
}

/// A program of the user's, and what it works in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Its arguments, or lines for a shell.
    pub command: Command,
    /// The params and matrix values that the command names, and the seed. What it names beside these are paths and shares of the
    /// machine.
    pub values: BTreeMap<String, Value>,
    /// What runs the lines of [`Command::Shell`]: a program and its arguments, before the file's name. None: strict bash.
    pub shell: Option<Vec<String>>,
    /// Files that are written into its folder before it starts: path there, and text.
    pub files: BTreeMap<String, String>,
    /// A folder in its folder that survives an attempt of this key, and lies there again in the next.
    pub checkpoints: Option<String>,
    /// Where it works.
    pub folder: Folder,
    /// How far it is kept apart from the machine.
    pub isolation: Isolation,
    /// What belongs to the key beside its inputs: a name, and the command whose words count; none where the file itself counts.
    pub tools: BTreeMap<String, Option<String>>,
    /// What it runs in, if not in the surroundings of flow.
    pub environment: Option<Environment>,
    /// Which of its files are shown as charts and pictures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<shown::Plot>,
}

/// The command of a `run` stage, unrendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Arguments, the program first.
    Arguments(Vec<Template>),
    /// Lines for a shell.
    Shell(Template),
}

/// One input of an instance.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its role; `with.NAME` for a path parameter.
    pub role: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it lies in the folder of a `run` stage, as `as` says: a path, a folder where it ends with a slash, `.` for the
    /// folder itself. None: by the rule of docs/programs.md.
    pub place: Option<String>,
    /// Whether a `run` stage gets a copy that it may write to.
    pub writable: bool,
}

/// Where an instance's input comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// An output of another instance.
    Instance {
        /// The instance.
        node: NodeIndex,
        /// Its output's role.
        output: String,
    },
    /// Outputs of several instances, in order.
    Collected {
        /// What is gathered.
        all: Vec<Gathered>,
        /// Whether a kind too finds them under the names of instances, as programs do; else under numbers.
        named: bool,
    },
    /// Files of the user's.
    Path {
        /// What is named.
        files: Files,
        /// Where that was written.
        span: Span,
        /// The JSON pointer of the parameter that it stands in, for a path parameter.
        parameter: Option<String>,
    },
}

/// One output of one instance, among those that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// What tells its instance from others: its matrix point; empty where there is nothing to tell.
    pub point: String,
    /// The instance.
    pub node: NodeIndex,
    /// Its output's role.
    pub output: String,
}

/// Files of the user's that one input names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Files {
    /// Paths or globs, relative to the workflow's root.
    pub patterns: Vec<String>,
    /// What folders and globs leave out: globs, relative to each folder.
    pub exclude: Vec<String>,
    /// What is wanted there.
    pub wanted: Wanted,
}

impl Files {
    /// One path or glob.
    pub fn one(pattern: impl Into<String>, wanted: Wanted) -> Files {
        Files {
            patterns: vec![pattern.into()],
            exclude: Vec::new(),
            wanted,
        }
    }

    /// As a person reads it.
    pub fn text(&self) -> String {
        self.patterns.join(", ")
    }

    /// Whether it may stand for several files.
    pub fn is_several(&self) -> bool {
        self.patterns.len() > 1 || self.patterns.iter().any(|pattern| is_glob(pattern))
    }
}

/// What a path input may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Wanted {
    /// One file.
    File,
    /// One folder.
    Folder,
    /// One file or folder.
    Either,
    /// Any number of files, by a glob.
    Many,
}

/// One output of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its role.
    pub role: String,
    /// What it is.
    pub artifact: ArtifactType,
    /// The file or folder that the stage writes, or a glob of a `run` stage, relative to its output folder.
    pub file: String,
}

impl Instance {
    /// Its matrix point in words: `alpha=0.1`; empty without a matrix.
    pub fn point(&self) -> String {
        point(&self.coordinates)
    }

    /// The instances that its inputs name.
    pub fn sources(&self) -> Vec<NodeIndex> {
        self.inputs
            .iter()
            .flat_map(|input| match &input.origin {
                Origin::Instance { node, .. } => vec![*node],
                Origin::Collected { all, .. } => all.iter().map(|one| one.node).collect(),
                Origin::Path { .. } => Vec::new(),
            })
            .collect()
    }
}

fn point(coordinates: &BTreeMap<String, Value>) -> String {
    let point: Vec<_> = coordinates
        .iter()
        .map(|(axis, value)| format!("{axis}={}", plain_text(value)))
        .collect();
    point.join(",")
}

/// The name of an instance: the stage's, with its matrix point if it has one.
pub fn label(stage: &str, coordinates: &BTreeMap<String, Value>) -> String {
    if coordinates.is_empty() {
        return stage.into();
    }
    format!("{stage}[{}]", point(coordinates))
}

impl Plan {
    /// The instances that `reference` means: all of a stage, or those of some coordinates.
    ///
    /// # Errors
    /// The names that it could have meant.
    pub fn find(&self, reference: &Reference) -> Result<Vec<NodeIndex>, Vec<String>> {
        let found: Vec<NodeIndex> = self
            .order
            .iter()
            .copied()
            .filter(|&node| self.is_meant(node, reference))
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let of_stage: Vec<String> = self
            .instances()
            .filter(|instance| instance.stage == reference.stage)
            .map(|instance| instance.label.clone())
            .collect();
        if !of_stage.is_empty() {
            return Err(of_stage);
        }
        let stages: BTreeSet<String> = self.instances().map(|i| i.stage.clone()).collect();
        Err(stages.into_iter().collect())
    }

    /// Whether `reference` means this instance, perhaps among others.
    pub fn is_meant(&self, node: NodeIndex, reference: &Reference) -> bool {
        let instance = &self.graph[node];
        let has = |(axis, text): &(String, String)| {
            let value = instance.coordinates.get(axis);
            value.is_some_and(|value| plain_text(value) == *text)
        };
        instance.stage == reference.stage && reference.selectors.iter().all(has)
    }

    /// The given instances and everything that they read from.
    pub fn with_ancestors(&self, nodes: &[NodeIndex]) -> BTreeSet<NodeIndex> {
        let reversed = Reversed(&self.graph);
        let mut search = Dfs::empty(reversed);
        search.stack.extend(nodes);
        let mut found = BTreeSet::new();
        while let Some(node) = search.next(reversed) {
            found.insert(node);
        }
        found
    }

    /// The given instances and everything that reads from them.
    pub fn with_descendants(&self, nodes: &BTreeSet<NodeIndex>) -> BTreeSet<NodeIndex> {
        let mut search = Dfs::empty(&self.graph);
        search.stack.extend(nodes);
        let mut found = BTreeSet::new();
        while let Some(node) = search.next(&self.graph) {
            found.insert(node);
        }
        found
    }

    /// The instances that read from this one.
    pub fn readers(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.graph.neighbors_directed(node, Direction::Outgoing)
    }

    /// The instances that this one reads from; none of one that is frozen.
    pub fn sources(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.graph.neighbors_directed(node, Direction::Incoming)
    }

    /// The instances in the order in which they are best started: first what the longest way leads on from, by how long its
    /// stages take; of ways that are alike, what most points of a sweep share; then as planned. So the end comes early.
    ///
    /// A stage of which no seconds are known counts as the mean of those that are, or of all as alike.
    pub fn urgency(&self, seconds: impl Fn(&Instance) -> Option<f64>) -> Vec<NodeIndex> {
        let known: Vec<f64> = self.instances().filter_map(&seconds).collect();
        let mean = match known.len() {
            0 => 1.0,
            count => known.iter().sum::<f64>() / count as f64,
        };
        let mut way: HashMap<NodeIndex, f64> = HashMap::new();
        for &node in self.order.iter().rev() {
            let own = seconds(&self.graph[node]).unwrap_or(mean);
            let longest = self.readers(node).filter_map(|reader| way.get(&reader));
            way.insert(node, own + longest.copied().fold(0.0, f64::max));
        }
        let mut shared: HashMap<NodeIndex, usize> = HashMap::new();
        let points = self.sweep.iter().flat_map(|sweep| &sweep.points);
        for node in points.flat_map(|point| &point.nodes) {
            *shared.entry(*node).or_default() += 1;
        }
        let mut order = self.order.clone();
        // Stable: what is alike stays in the plan's order.
        order.sort_by(|a, b| {
            let by_way = way[b].total_cmp(&way[a]);
            by_way.then_with(|| shared.get(b).cmp(&shared.get(a)))
        });
        order
    }

    /// Leads edges to an instance from all that it reads from.
    fn connect(&mut self, node: NodeIndex) {
        if self.graph[node].frozen.is_none() {
            for source in self.graph[node].sources() {
                self.graph.update_edge(source, node, ());
            }
        }
    }

    /// All instances, in order.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.order.iter().map(|&node| &self.graph[node])
    }
}

/// A value as it stands in an instance's name: strings without quotes.
pub fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
