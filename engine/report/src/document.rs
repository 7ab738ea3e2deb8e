//! All that a page shows. `page/*.js` reads its JSON.

use std::collections::BTreeMap;

use flow_cache::{Digest, Key, Output};
use flow_plan::plan::shown::Plot;
use flow_results::Stands;
use flow_stage::view::{Coordinates, Item, Table};
use serde::Serialize;
use serde_json::{Map, Value};

/// All that a page shows.
#[derive(Debug, Default, Serialize)]
pub struct Document {
    /// The workflow's name.
    pub workflow: String,
    /// The run that it is of; none where it is of the workflow as the store has it now.
    pub run: Option<Run>,
    /// The seed of every seeded stage.
    pub seed: Option<u64>,
    /// What was laid over the file, as a shell reads it; none where nothing was.
    pub overrides: Option<String>,
    /// What made the page.
    pub made_with: String,
    /// The stages' instances, none before what it reads from.
    pub stages: Vec<Stage>,
    /// The drawing of the DAG; none where it would be too large.
    pub graph: Option<Graph>,
    /// The results: the JSON of `flow table`.
    pub table: Option<Value>,
    /// Charts of the sweep.
    pub figures: Vec<Figure>,
    /// In what two sides differ, on a page of both.
    pub differs: Vec<Table>,
    /// Charts of several instances laid over each other.
    pub compared: Vec<Compared>,
    /// What the stages publish, in their order.
    pub views: Vec<View>,
    /// Files of what they publish, by digest.
    pub files: BTreeMap<Digest, File>,
    /// What is not on the page, and why: sentences.
    pub told: Vec<String>,
    /// What to read from the store for `views`.
    #[serde(skip)]
    pub published: Vec<Published>,
}

/// What is shown of a stage, and not read yet.
#[derive(Debug, Clone)]
pub struct Published {
    /// The stage's place.
    pub stage: usize,
    /// What shows it: an output's role, or `plots`.
    pub name: String,
    /// The outputs that it is read from: role, file name, content.
    pub outputs: Vec<(String, String, Output)>,
    /// How it is read.
    pub form: Form,
}

/// How what is shown of a stage is read.
#[derive(Debug, Clone)]
pub enum Form {
    /// The output is a view.
    View,
    /// Files of the outputs are plots, or DVCLive's, where its folder is among them.
    Plots(Vec<Plot>, Option<String>),
}

/// The run that a page is of.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Its name.
    pub id: String,
    /// `ok`, `failed`, `cancelled`, `running` or `killed`.
    pub status: &'static str,
    /// How many stages ended how.
    pub counts: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// When it began (RFC 3339).
    pub started: String,
    /// The machine.
    pub host: Option<String>,
}

/// One instance of a stage.
#[derive(Debug, Serialize)]
pub struct Stage {
    /// Its name.
    pub label: String,
    /// The stage's.
    pub stage: String,
    /// The kind, or `run`.
    pub kind: String,
    /// What the kind does, in a line.
    pub summary: Option<String>,
    /// How it stands, or how it ended in the run.
    pub status: Stands,
    /// Why.
    pub reason: Option<String>,
    /// How long it took: in that run, else when its result was made.
    pub seconds: Option<f64>,
    /// When its result was made (RFC 3339).
    pub finished: Option<String>,
    /// The run that made its result.
    pub by: Option<String>,
    /// Its key, where it is known.
    pub key: Option<Key>,
    /// Its figures.
    pub metrics: Map<String, Value>,
    /// The instances that it reads from, by place.
    pub sources: Vec<usize>,
    /// Whether it shows anything.
    pub shows: bool,
    /// How far it is, while it runs.
    pub progress: Option<String>,
    /// Figures by step, for a stage that has nothing else to show: name → step and value.
    pub curves: Option<BTreeMap<String, Vec<(u64, f64)>>>,
    /// The rest; none where there are too many stages.
    pub details: Option<Details>,
}

/// The rest of what is said of an instance.
#[derive(Debug, Serialize)]
pub struct Details {
    /// The command that makes it again; none where that is not known.
    pub again: Option<String>,
    /// Whether the workflow file is another now than in the run.
    pub changed: bool,
    /// Its seed, for a seeded kind.
    pub seed: Option<u64>,
    /// Its parameters, defaults included.
    pub parameters: Map<String, Value>,
    /// What it read.
    pub inputs: Vec<Input>,
    /// What it made.
    pub outputs: Vec<Made>,
    /// Versions, machine and the like: name and text.
    pub made: Vec<(&'static str, String)>,
    /// The end of its log.
    pub log: Option<Log>,
}

/// One input of an instance.
#[derive(Debug, Serialize)]
pub struct Input {
    /// Its role.
    pub role: String,
    /// Where it came from, in words.
    pub from: String,
}

/// One output of an instance.
#[derive(Debug, Serialize)]
pub struct Made {
    /// Its role.
    pub role: String,
    /// Its artifact type.
    pub artifact: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of the content.
    pub digest: Digest,
}

/// The end of a log.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The last lines.
    pub lines: Vec<String>,
    /// Whether that is all of it.
    pub whole: bool,
    /// How many bytes the log itself left out.
    pub left_out: u64,
}

/// The drawing of the DAG, in CSS pixels.
#[derive(Debug, Serialize)]
pub struct Graph {
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
    /// One for each stage.
    pub boxes: Vec<Box>,
    /// What they read from each other.
    pub edges: Vec<Edge>,
}

/// A stage in the drawing.
#[derive(Debug, Serialize)]
pub struct Box {
    /// The stage's name, or its one instance's.
    pub name: String,
    /// Its instances, by place.
    pub stages: Vec<usize>,
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
}

/// An edge of the drawing.
#[derive(Debug, Serialize)]
pub struct Edge {
    /// The box that is read from.
    pub from: usize,
    /// The box that reads.
    pub to: usize,
    /// Its way, as an SVG path.
    pub path: String,
    /// Where its arrow's point is.
    pub tip: (f64, f64),
}

/// What one output shows.
#[derive(Debug, Serialize)]
pub struct View {
    /// The instance, by place.
    pub stage: usize,
    /// The output's role.
    pub output: String,
    /// Its items.
    pub items: Vec<Shown>,
    /// Why it can't be shown.
    pub problem: Option<String>,
}

/// An item as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The item; names of files are digests.
    #[serde(flatten)]
    pub item: Item,
    /// The points of a scatter plot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub points: Option<Coordinates>,
    /// What was left out of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<String>,
    /// That it is not shown, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl From<Item> for Shown {
    fn from(item: Item) -> Shown {
        Shown {
            item,
            points: None,
            sampled: None,
            left_out: None,
        }
    }
}

/// A chart of a sweep.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The figure of the table that it is of; none where it is of several.
    pub metric: Option<String>,
    /// The chart.
    #[serde(flatten)]
    pub chart: Item,
}

/// Charts of several instances in one.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// What stands above it.
    pub title: String,
    /// The field of the data that names the instance.
    pub field: String,
    /// The instances.
    pub instances: Vec<String>,
    /// A Vega-Lite spec.
    pub spec: Value,
}

/// A file that the page holds.
#[derive(Debug, Clone, Serialize)]
pub struct File {
    /// Its media type.
    #[serde(rename = "type")]
    pub media: &'static str,
    /// Its content, in base64.
    pub data: String,
}
