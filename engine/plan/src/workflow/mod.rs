//! The language: a workflow file, read into types that remember where each value was written.
//!
//! - [`source`]: texts and places in them.
//! - [`node`]: a TOML value with its place.
//! - [`template`]: `${name}` in strings.
//! - [`problem`]: everything that can be wrong with a workflow, and how it is said; `report` shows it at its place.
//! - `compose`: one tree out of the file, its includes and files of params; `yaml` reads those that are no TOML; `tree`
//!   looks into trees.
//! - `laid`: what all of it came to, and where each value comes from.
//! - `overlay`: the one rule by which one tree is laid over another.
//! - `layers`: what is laid over the files: `variants`, of which `choices` says which count, and values of the command
//!   line: `set` reads them, `assign` puts them into the tree.
//! - [`sweep`]: `[sweep]`, one workflow at many points.
//! - `params`: params that are made of others.
//! - `parse`, `stage`: the tree to [`Workflow`]; `reader` takes values of the expected type.
//! - [`axes`]: where the values of a stage's axes come from, and what they are.
//! - `reference`: how inputs name stages; `input`: all that an input may say.
//! - [`program`]: what a `run` stage says of its program: its folder, its environment; `environments`.
//! - `plots`: which of its files are charts and pictures.
//! - [`places`]: what is in whose way in a stage's folder.
//! - `deliver`: results under names of the user's own.
//! - `data`: YAML that programs and other tools write, which is no part of a workflow.
//! - `root`: the folder that paths start from; [`search`]: the workflow of a folder.

mod assign;
pub mod axes;
mod choices;
mod compose;
mod data;
mod deliver;
mod environments;
mod input;
mod laid;
mod layers;
pub mod node;
mod overlay;
mod params;
mod parse;
pub mod places;
mod plots;
pub mod problem;
pub mod program;
mod reader;
mod reference;
mod report;
mod root;
pub mod search;
mod set;
pub mod source;
mod stage;
pub mod sweep;
pub mod template;
mod tree;
mod variants;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use layers::{Ground, Layers};

pub use axes::Axis;
pub use choices::{By, Choice};
pub use data::{Yaml, yaml_data};
pub use deliver::Delivery;
pub(crate) use input::{OF_GATHERS, check_place, is_inside};
pub use laid::Laid;
pub use node::{Located, Node, NodeValue};
pub use plots::{Plot, PlotKind};
pub use problem::{Problem, Problems};
pub use program::{Environment, Folder, Isolation, Program, Variables};
pub use reference::{Reference, selectors};
pub use report::Report;
pub use source::{Mark, Sources, Span};
pub(crate) use stage::check_outputs;
pub use stage::is_glob;
pub use sweep::Sweep;
pub use template::Template;

/// The seed of a workflow that names none.
pub const DEFAULT_SEED: u64 = 42;

/// A workflow file, checked as far as the text alone allows.
#[derive(Debug)]
pub struct Workflow {
    /// Where the file lies, absolute.
    pub path: PathBuf,
    /// Its name: `[workflow] name`, else the file's.
    pub name: String,
    /// Whether an axis is known by its name, in all stages: from `language = 2` on.
    pub by_name: bool,
    /// The seed of every seeded stage.
    pub seed: u64,
    /// `[params]`, in file order.
    pub params: Vec<(Located<String>, Node)>,
    /// `[stages]`, in file order.
    pub stages: Vec<Stage>,
    /// Params that matrices and other params refer to, and those that only a file of params has: other programs may read
    /// it too, so they count as used.
    pub used: BTreeSet<String>,
    /// Stages that something is wrong in: what they lack may stand there, only wrongly.
    pub incomplete: BTreeSet<String>,
    /// Axes that something is wrong with: who names them is right all the same.
    pub damaged_axes: BTreeSet<String>,
    /// `[plugins]`: name and path as written.
    pub plugins: Vec<(String, Located<String>)>,
    /// `[environments]`, in file order.
    pub environments: Vec<(Located<String>, Environment)>,
    /// Environments in which something is wrong: what names them is right all the same.
    pub damaged_environments: BTreeSet<String>,
    /// `[deliver]`, in file order.
    pub deliver: Vec<Delivery>,
    /// What runs the lines of `run` stages that say nothing else; none: strict bash.
    pub shell: Option<Vec<String>>,
    /// How far `run` stages that say nothing else are kept apart.
    pub isolation: Isolation,
    root: PathBuf,
    /// `[sweep]`: then what runs is not this workflow but the sweep's.
    pub sweep: Option<Sweep>,
}

impl Workflow {
    /// The folder that the file lies in: its store, plugins and includes are found from there.
    pub fn folder(&self) -> &Path {
        folder(&self.path)
    }

    /// The folder that the paths of stages start from: `[workflow] root`, else the file's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The param that `name` or, inside a table, `name.key` stands for. It keeps the place where it was written, so
    /// that a wrong value is shown there.
    ///
    /// # Errors
    /// [`Problem::UnknownName`], where there is none.
    pub fn param(&self, name: &str) -> Result<&Node, Problem> {
        let mut entries = &self.params;
        let mut prefix = String::new();
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            let found = entries.iter().find(|(key, _)| key.value == part);
            match found {
                Some((_, node)) if parts.peek().is_none() => return Ok(node),
                Some((
                    _,
                    Located {
                        value: NodeValue::Table(inner),
                        ..
                    },
                )) => entries = inner,
                _ => break,
            }
            prefix = format!("{prefix}{part}.");
        }
        Err(Problem::UnknownName {
            name: name.into(),
            known: entries
                .iter()
                .map(|(key, _)| format!("{prefix}{}", key.value))
                .collect(),
        })
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// One `[stages.NAME]`.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: Located<String>,
    /// What it does.
    pub action: Action,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// Parameters, unresolved.
    pub with: Vec<(Located<String>, Node)>,
    /// Axes of its own: one instance for each combination.
    pub matrix: Vec<Axis>,
    /// Outputs of a `run` stage: role and file name or glob, unresolved.
    pub outputs: Vec<(Located<String>, Located<Template>)>,
    /// What it asks of the machine.
    pub resources: Resources,
    /// After which it is ended.
    pub timeout: Option<Duration>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// Where it says that its last result stands, if it does.
    pub frozen: Option<Span>,
    /// What its environment holds beside what every stage has.
    pub env: Variables,
    /// What a `run` stage says of its program, beside the command.
    pub program: Program,
    /// Whether it does something else than in the files: then its inputs may be those of the old kind.
    pub is_anew: bool,
}

/// What a stage asks of the machine, where the workflow says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resources {
    /// Threads; 0 for all.
    pub cpus: Option<u32>,
    /// GPUs.
    pub gpus: Option<u32>,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

/// What a stage does.
#[derive(Debug)]
pub enum Action {
    /// A stage kind of a plugin.
    Uses(Located<String>),
    /// A program and its arguments.
    Arguments(Vec<Located<Template>>),
    /// Lines for a shell.
    Shell(Located<Template>),
}

/// An input of a stage.
#[derive(Debug)]
pub struct Input {
    /// Its role.
    pub role: Located<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it lies in the folder of a `run` stage, as `as` says.
    pub place: Option<Located<Template>>,
    /// Whether a `run` stage gets a copy that it may write to.
    pub writable: bool,
}

/// Where an input comes from.
#[derive(Debug)]
pub enum Origin {
    /// Another stage's output.
    Stage(Located<Reference>),
    /// Outputs of all instances of stages at once.
    Collect(Collect),
    /// Files, folders or globs, relative to the workflow's root.
    Path {
        /// At least one.
        patterns: Vec<Located<Template>>,
        /// What folders and globs leave out.
        exclude: Vec<String>,
        /// Where all of it stands.
        span: Span,
    },
}

/// Outputs of all instances of stages at once.
#[derive(Debug)]
pub struct Collect {
    /// The outputs, at least one; of each instance side by side.
    pub from: Vec<Located<Reference>>,
    /// One gather for each combination of values of these.
    pub by: Vec<Located<Column>>,
    /// Whether there may be no instances.
    pub allow_empty: bool,
    /// Where it stands.
    pub span: Span,
}

/// What something is gathered by: an axis, or a column of it, which becomes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The axis.
    pub axis: String,
    /// Its column.
    pub column: Option<String>,
}

impl Column {
    /// What the axis is called that stages have by it.
    pub fn name(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.axis)
    }
}

/// What the command line lays over a workflow file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// A file of params: TOML, YAML or JSON.
    pub params: Option<PathBuf>,
    /// `GROUP=NAME`: variants that are chosen.
    pub variants: Vec<String>,
    /// `NAME=VALUE`: single values, which win over all else.
    pub set: Vec<String>,
    /// `AXIS=VALUE,…`: axes of a sweep.
    pub sweep: Vec<String>,
    /// The seeds of a sweep: how many, or a list.
    pub seeds: Option<String>,
    /// `AXIS=VALUE,…`: the points of a sweep that are meant, if not all.
    pub point: Vec<String>,
}

impl Overrides {
    /// As options of `flow run`.
    pub fn options(&self) -> Vec<String> {
        let params = self
            .params
            .iter()
            .map(|file| ("--params", file.display().to_string()));
        let variants = self.variants.iter().map(|v| ("--variant", v.clone()));
        let set = self.set.iter().map(|v| ("--set", v.clone()));
        let sweep = self.sweep.iter().map(|v| ("--sweep", v.clone()));
        let seeds = self.seeds.iter().map(|v| ("--seeds", v.clone()));
        let point = self.point.iter().map(|v| ("--point", v.clone()));
        let options = params.chain(variants).chain(set);
        let options = options.chain(sweep).chain(seeds).chain(point);
        options
            .flat_map(|(name, value)| [name.to_string(), value])
            .collect()
    }
}

/// A workflow as far as it could be read.
#[derive(Debug)]
pub struct Loaded {
    /// The workflow; without what is wrong in it.
    pub workflow: Workflow,
    /// The texts it was read from.
    pub sources: Sources,
    /// What is wrong with it. Planning adds to these, so that all mistakes are shown at once.
    pub problems: Problems,
    /// What all that was laid over it came to; of a sweep without its axes, unless one combination of them is asked for.
    pub laid: Laid,
}

/// Reads the workflow file at `path`, with what the command line lays over it.
///
/// # Errors
/// A report, where there is no telling what the file means: it can't be read, or is no TOML.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Report> {
    load_kept(path, overrides, BTreeMap::new())
}

/// Reads a workflow as it was: of the files in `kept`, by absolute path, these texts count and not what is on the disk.
///
/// # Errors
/// As [`load`].
pub fn load_kept(
    path: &Path,
    overrides: &Overrides,
    kept: BTreeMap<PathBuf, String>,
) -> Result<Loaded, Report> {
    let mut sources = Sources::with_kept(kept);
    let mut problems = Problems::default();
    let params = overrides.params.as_deref();
    // What earlier versions of flow made of the same files, where that is something else.
    let mut changes = Problems::default();
    let files = compose::compose(path, params, &mut sources, &mut changes, &mut problems);
    let Some(files) = files else {
        return Err(Report::new(sources, problems));
    };
    let layers = Layers::read(overrides, &mut sources, &mut problems);
    let ground = Ground::new(
        files.root,
        files.declared,
        files.variants,
        layers,
        &mut changes,
        &mut problems,
    );
    let sweep = sweep::sweep(
        files.sweep,
        files.top,
        overrides,
        &ground,
        &mut sources,
        &mut changes,
        &mut problems,
    );
    if parse::language(&ground.root) < 2 {
        problems.extend(changes);
    }
    let variants = ground.variants.as_ref();
    let laid = match sweep.as_ref().map(|sweep| &sweep.combinations[..]) {
        Some([one]) => Laid::of(&one.choices, variants, &ground.files, &one.workflow),
        _ => Laid::of(&ground.choices, variants, &ground.files, &ground.root),
    };
    let root = root::resolve(&ground.root, &files.path, &mut problems);
    let places = parse::Places {
        path: files.path,
        root,
        top: files.top,
        shared: files.shared,
        files: ground.files,
    };
    let mut workflow = parse::workflow(ground.root, sweep, &places, &mut problems);
    axes::read(&mut workflow, &mut sources, &mut problems);
    Ok(Loaded {
        workflow,
        sources,
        problems,
        laid,
    })
}
