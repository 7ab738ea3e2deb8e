//! What is said of one stage: parameters, inputs, outputs, versions, the end of its log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flow_cache::{Key, Output};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::shown::DVCLIVE;
use flow_plan::plan::{Instance, Origin, Plan, Task};
use flow_results::Stands;
use flow_results::words::record::from;
use flow_results::words::{command, plain, short};
use flow_run::record::figures;
use flow_run::record::provenance::Action;
use flow_run::record::{Status, key, log};
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

use super::document::{Details, Document, Form, Input, Log, Made, Published, Stage};

/// Lines of a log that are shown.
const LINES: usize = 40;
/// Characters of a line that are shown.
const LETTERS: usize = 400;
/// What of a log is read, in bytes.
const END: u64 = 64 << 10;
/// What the details of all stages take at most, in bytes of JSON.
const MOST: usize = 3_000_000;

/// What is known of one instance, wherever that was learned.
pub(super) struct Known<'a> {
    pub label: String,
    pub stage: String,
    pub status: Stands,
    pub reason: Option<String>,
    /// How long it took in the run that the page is of.
    pub seconds: Option<f64>,
    pub key: Option<Key>,
    /// Its place in a plan.
    pub planned: Option<(&'a Plan, NodeIndex)>,
    /// Its result.
    pub action: Option<&'a Action>,
    /// The instances that it reads from, by place.
    pub sources: Vec<usize>,
    /// Where its log lies, if it has one.
    pub log: Option<PathBuf>,
    /// The command that makes it again.
    pub again: Option<Vec<String>>,
    /// Whether the workflow is another now.
    pub changed: bool,
}

impl Known<'_> {
    /// Adds it to a document.
    pub fn add(self, catalogue: &Catalogue, document: &mut Document) {
        let place = document.stages.len();
        let record = self.action.map(|action| &action.record);
        let text = |name: &str| Some(record?.provenance[name].as_str()?.to_string());
        let instance = self.planned.map(|(plan, node)| &plan.graph[node]);
        let kind = match (instance.map(|i| &i.task), self.action) {
            (Some(Task::Kind { kind, .. }), _) => kind.clone(),
            (Some(Task::Command(_)), _) => "run".into(),
            (None, Some(action)) => action
                .manifest
                .as_ref()
                .map_or("?".into(), |m| m.kind.clone()),
            (None, None) => "?".into(),
        };
        let outputs = record.map(|record| &record.outputs);
        let views: Vec<(&String, &Output)> = outputs
            .into_iter()
            .flatten()
            .filter(|(role, output)| {
                output.folder && (output.artifact == "view" || role.as_str() == "view")
            })
            .collect();
        let published = document.published.len();
        for (role, output) in views {
            document.published.push(Published {
                stage: place,
                name: role.clone(),
                outputs: vec![(role.clone(), role.clone(), output.clone())],
                form: Form::View,
            });
        }
        document.published.extend(self.plots(place));
        let shows = document.published.len() > published;
        let summary = catalogue.get(&kind).map(|k| k.description.summary.clone());
        document.stages.push(Stage {
            summary,
            kind,
            reason: self.reason.clone(),
            seconds: self.seconds.or(record.map(|record| record.seconds)),
            finished: record.map(|record| record.finished.clone()),
            by: text("run"),
            key: self.key,
            metrics: record.map_or_else(Map::new, |record| {
                let figures = figures::own(&record.metrics).into_iter();
                figures.map(|(name, value)| (name, value.clone())).collect()
            }),
            shows,
            progress: None,
            curves: None,
            details: Some(self.details(instance)),
            status: self.status,
            sources: self.sources,
            label: self.label,
            stage: self.stage,
        });
    }

    /// What its plots are read from; none where there is none.
    fn plots(&self, stage: usize) -> Option<Published> {
        let action = self.action?;
        // Where its outputs lay is the result's own matter, what of them is a plot the workflow's.
        let files = &action.manifest.as_ref()?.outputs;
        let program = self.planned.map(|(plan, node)| &plan.graph[node].task);
        let plots = match program {
            Some(Task::Command(program)) => program.plots.clone(),
            _ => Vec::new(),
        };
        let outputs = action.record.outputs.iter();
        let outputs: Vec<(String, String, Output)> = outputs
            .filter_map(|(role, output)| {
                Some((role.clone(), files.get(role)?.clone(), output.clone()))
            })
            .collect();
        let is_run = action.manifest.as_ref()?.kind == "run";
        let mut all = outputs.iter();
        let dvclive = all.find(|(role, _, output)| is_run && role == DVCLIVE && output.folder);
        let dvclive = dvclive.map(|(_, file, _)| file.clone());
        (!plots.is_empty() || dvclive.is_some()).then(|| Published {
            stage,
            name: "plots".into(),
            outputs,
            form: Form::Plots(plots, dvclive),
        })
    }

    fn details(&self, instance: Option<&Instance>) -> Details {
        let record = self.action.map(|action| &action.record);
        let manifest = self.action.and_then(|action| action.manifest.as_ref());
        let (seed, parameters) = match (manifest, instance) {
            (Some(manifest), _) => (manifest.seed, manifest.parameters.clone()),
            (None, Some(instance)) => (instance.seed, parameters(instance)),
            (None, None) => (None, Map::new()),
        };
        let inputs = match (self.action, self.planned) {
            (Some(action), _) => inputs(action),
            (None, Some((plan, node))) => planned_inputs(plan, &plan.graph[node]),
            (None, None) => Vec::new(),
        };
        let outputs = record.into_iter().flat_map(|record| &record.outputs);
        Details {
            again: self.again.as_ref().map(|again| command(again)),
            changed: self.changed,
            seed,
            parameters,
            inputs,
            outputs: outputs
                .map(|(role, output)| Made {
                    role: role.clone(),
                    artifact: output.artifact.clone(),
                    size: output.size,
                    digest: output.digest,
                })
                .collect(),
            made: self.action.map_or_else(Vec::new, made),
            log: self.log.as_deref().and_then(log),
        }
    }
}

/// The parameters of an instance that has no result.
fn parameters(instance: &Instance) -> Map<String, Value> {
    match &instance.task {
        Task::Kind { parameters, .. } => parameters.clone(),
        Task::Command(program) => key::command_parameters(&program.command, &program.values),
    }
}

fn planned_inputs(plan: &Plan, instance: &Instance) -> Vec<Input> {
    let named = |node: &NodeIndex, output: &str| format!("{}.{output}", plan.graph[*node].label);
    let inputs = instance.inputs.iter().map(|input| Input {
        role: input.role.clone(),
        from: match &input.origin {
            Origin::Instance { node, output } => named(node, output),
            Origin::Collected { all, .. } => {
                let all = all.iter().map(|one| named(&one.node, &one.output));
                all.collect::<Vec<String>>().join(", ")
            }
            Origin::Path { files, .. } => files.text(),
        },
    });
    inputs.collect()
}

fn inputs(action: &Action) -> Vec<Input> {
    let inputs = action.inputs.iter().map(|(role, sources)| {
        let sources: Vec<String> = sources.iter().map(from).collect();
        Input {
            role: role.clone(),
            from: sources.join(", "),
        }
    });
    inputs.collect()
}

/// Versions and the machine.
fn made(action: &Action) -> Vec<(&'static str, String)> {
    let provenance = &action.record.provenance;
    let text = |name: &str| provenance[name].as_str().map(String::from);
    let version = action.manifest.as_ref().map(|manifest| &manifest.version);
    let kind = text("plugin").and(version).map(|version| short(version));
    let threads = provenance["threads"].as_u64().map(|n| n.to_string());
    let facts = [
        ("kind version", kind),
        ("plugin", text("plugin")),
        ("plugin digest", text("plugin_digest")),
        ("flow", text("flow")),
        ("threads", threads),
        ("device", text("device")),
        ("on", text("host")),
        ("platform", text("platform")),
        ("goes on from", text("continues")),
    ];
    let known = facts.into_iter();
    known
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The end of a log; none where there is none, or nothing in it.
pub(super) fn log(path: &Path) -> Option<Log> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))
        .ok()?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(LINES);
    let shown: Vec<String> = lines[first..]
        .iter()
        .map(|line| {
            let line: String = line.replace('\t', "    ").chars().take(LETTERS).collect();
            plain(&line)
        })
        .collect();
    (!shown.is_empty()).then_some(Log {
        whole: first == 0 && length <= END,
        left_out: log::left_out(path),
        lines: shown,
    })
}

/// Where the details of all stages would fill the page: those of stages that failed stay, then those of the
/// first stages.
pub(super) fn trim(document: &mut Document) {
    let size = |stage: &Stage| {
        let json = serde_json::to_string(&stage.details);
        json.map_or(0, |json| json.len())
    };
    let sizes: Vec<usize> = document.stages.iter().map(size).collect();
    if sizes.iter().sum::<usize>() <= MOST {
        return;
    }
    let mut places: Vec<usize> = (0..sizes.len()).collect();
    places.sort_by_key(|&place| document.stages[place].status != Stands::Ended(Status::Failed));
    let mut taken = 0;
    let mut left_out = 0;
    for place in places {
        taken += sizes[place];
        if taken > MOST {
            document.stages[place].details = None;
            left_out += 1;
        }
    }
    document.told.push(format!(
        "The details of {left_out} of {} stages are left out: they would take more than {} MB. Those of stages that failed \
         come first, then the others in their order. `flow show` has all of them.",
        sizes.len(),
        MOST / 1_000_000
    ));
}
