//! The document of an earlier run, or of one that goes on: how each stage ended in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use anyhow::Result;
use flow_cache::{Key, Store};
use petgraph::graph::NodeIndex;
use serde_json::Value;

use super::details::Known;
use super::document::{Document, Run};
use super::follow::{self, Unfinished};
use super::gather::{finish, log_of, made_with, overrides, refuse_many};
use crate::plan::{self, Plan};
use crate::plugin::{self, Catalogue};
use crate::run::past::{PastRun, StageLine};
use crate::run::provenance::{self, Action, Source};
use crate::run::{Survey, journal};
use crate::workflow::problem::Problems;
use crate::workflow::{self, Overrides, Workflow};

/// The plan of an earlier run, made again from the texts that its folder keeps.
#[derive(Debug)]
pub struct Replanned {
    /// The workflow as it was.
    pub workflow: Workflow,
    /// Its instances.
    pub plan: Plan,
    /// Their kinds, as they are now.
    pub catalogue: Catalogue,
}

/// Plans an earlier run again; none where its texts, or kinds that it used, are gone.
pub fn replan(run: &PastRun) -> Option<Replanned> {
    let head = &run.head;
    let folder = head.folder.clone().unwrap_or_default();
    let mut kept: BTreeMap<PathBuf, String> = head
        .files
        .iter()
        .map(|(name, text)| (folder.join(name), text.clone()))
        .collect();
    let text = std::fs::read_to_string(run.folder.join("workflow.toml")).ok()?;
    kept.insert(head.path.clone(), text);
    let overrides = Overrides {
        params: head.params_file.clone(),
        variants: head.variants.clone(),
        set: head.set.clone(),
        sweep: head.sweep.clone(),
        seeds: head.seeds.clone(),
        point: head.point.clone(),
    };
    let loaded = workflow::load_kept(&head.path, &overrides, kept).ok()?;
    let mut problems: Problems = loaded.problems;
    let catalogue = plugin::find(Some(&loaded.workflow), &mut problems);
    let plan = plan::expand(&loaded.workflow, &catalogue, &mut problems);
    let report = workflow::Report::new(loaded.sources, problems);
    (!report.has_errors()).then_some(Replanned {
        workflow: loaded.workflow,
        plan,
        catalogue,
    })
}

/// An earlier run.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The run.
    pub run: &'a PastRun,
    /// Its plan, where it could be made again.
    pub replanned: Option<&'a Replanned>,
    /// The kinds at hand.
    pub catalogue: &'a Catalogue,
    /// The store.
    pub store: &'a Store,
    /// The command that makes an instance again, by its label; and whether the workflow has changed since.
    pub again: &'a dyn Fn(&str) -> Vec<String>,
    /// Whether the workflow file is another now.
    pub changed: bool,
    /// The JSON of its table of results.
    pub table: Option<&'a Value>,
}

/// How the run's instances ended, by label.
pub struct Ends {
    lines: BTreeMap<String, StageLine>,
    /// In the order in which they ended.
    order: Vec<String>,
    actions: HashMap<String, Action>,
}

impl Ends {
    /// Reads the journal, and the records of what it names.
    ///
    /// # Errors
    /// Where the journal or the store can't be read.
    pub fn of(run: &PastRun, store: &Store) -> Result<Ends> {
        let mut ends = Ends {
            lines: BTreeMap::new(),
            order: Vec::new(),
            actions: HashMap::new(),
        };
        for line in run.stages()? {
            ends.order.push(line.label());
            ends.lines.insert(line.label(), line);
        }
        let done = |line: &&StageLine| line.status == "ran" || line.status == "cached";
        let done = ends.lines.values().filter(done);
        let keys: Vec<(String, Key)> = done.filter_map(|l| Some((l.label(), l.key?))).collect();
        let actions = provenance::actions(store, keys.iter().map(|(_, key)| *key))?;
        let found = keys.into_iter().zip(actions);
        ends.actions = found
            .filter_map(|((label, _), action)| Some((label, action?)))
            .collect();
        Ok(ends)
    }

    /// How the instances of its plan stand, by what the run made: for its table of results.
    pub fn survey(&self, plan: &Plan) -> Survey {
        let records = plan.order.iter().filter_map(|&node| {
            let action = self.actions.get(&plan.graph[node].label)?;
            Some((node, action.record.clone()))
        });
        Survey::of_records(plan, records)
    }
}

/// All that the page shows, but what stages publish.
///
/// # Errors
/// Where the journal can't be read, and where there are too many instances.
pub fn document(subject: &Subject<'_>, ends: &Ends) -> Result<Document> {
    let run = subject.run;
    let head = &run.head;
    let mut document = Document {
        workflow: head.workflow.clone(),
        run: Some(Run {
            id: run.id.clone(),
            status: run.status.clone(),
            counts: run.end.as_ref().map(counts),
            seconds: run.end.as_ref().map(|end| end.seconds),
            started: head.started.clone(),
            host: head.host.clone(),
        }),
        seed: head.seed,
        overrides: overrides(&run.overrides()),
        made_with: made_with(),
        table: subject.table.cloned(),
        ..Document::default()
    };
    let unfinished = match run.end {
        Some(_) => BTreeMap::new(),
        None => follow::unfinished(&run.folder.join("events.jsonl")),
    };
    match subject.replanned {
        Some(replanned) => planned(subject, replanned, ends, &unfinished, &mut document)?,
        None => unplanned(subject, ends, &mut document)?,
    }
    finish(&mut document);
    for stage in &mut document.stages {
        if let Some(told) = unfinished.get(&stage.label)
            && !ends.lines.contains_key(&stage.label)
        {
            stage.progress = told.progress.clone();
        }
    }
    let failed = |status: &str| matches!(status, "failed" | "running" | "cancelled");
    if document.stages.iter().any(|stage| failed(&stage.status)) {
        let curves = follow::curves(&run.folder.join("events.jsonl"));
        for stage in document
            .stages
            .iter_mut()
            .filter(|stage| failed(&stage.status))
        {
            stage.curves = curves.get(&stage.label).cloned();
        }
    }
    Ok(document)
}

/// The instances of the run's plan.
fn planned(
    subject: &Subject<'_>,
    replanned: &Replanned,
    ends: &Ends,
    unfinished: &BTreeMap<String, Unfinished>,
    document: &mut Document,
) -> Result<()> {
    let plan = &replanned.plan;
    // With `--until` or `--only` a run looks at some of them.
    let whole = subject.run.end.is_none() && ends.lines.is_empty();
    let mut wanted: BTreeSet<NodeIndex> = BTreeSet::new();
    for &node in &plan.order {
        let label = &plan.graph[node].label;
        if whole || ends.lines.contains_key(label) || unfinished.contains_key(label) {
            wanted.insert(node);
        }
    }
    if subject.run.end.is_none() && !narrowed(&subject.run.head.command) {
        wanted.extend(plan.order.iter().copied());
    }
    refuse_many(wanted.len())?;
    let order: Vec<NodeIndex> = plan
        .order
        .iter()
        .copied()
        .filter(|n| wanted.contains(n))
        .collect();
    let places: HashMap<NodeIndex, usize> = order.iter().copied().zip(0..).collect();
    for &node in &order {
        let instance = &plan.graph[node];
        let sources: BTreeSet<usize> = plan
            .sources(node)
            .filter_map(|source| places.get(&source).copied())
            .collect();
        let line = ends.lines.get(&instance.label);
        let status = match line {
            Some(line) => word(&line.status),
            None if unfinished.contains_key(&instance.label) && subject.run.status == "running" => {
                "running"
            }
            None if subject.run.status == "running" => "waiting",
            None => "cancelled",
        };
        Known {
            planned: Some((plan, node)),
            sources: sources.into_iter().collect(),
            ..known(subject, ends, &instance.label, &instance.stage, status)
        }
        .add(subject.catalogue, document);
    }
    Ok(())
}

/// Whether a command line asks for some of the stages alone.
fn narrowed(command: &[String]) -> bool {
    let narrows = |argument: &String| {
        ["--until", "--only"]
            .iter()
            .any(|option| argument == option || argument.starts_with(&format!("{option}=")))
    };
    command.iter().any(narrows)
}

/// The instances that the journal tells of; what they read from is known of those that have a result.
fn unplanned(subject: &Subject<'_>, ends: &Ends, document: &mut Document) -> Result<()> {
    refuse_many(ends.order.len())?;
    let mut labels: Vec<&String> = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for label in &ends.order {
        if seen.insert(label) {
            labels.push(label);
        }
    }
    let places: HashMap<&str, usize> = labels.iter().map(|l| l.as_str()).zip(0..).collect();
    for (place, label) in labels.iter().enumerate() {
        let line = &ends.lines[*label];
        let inputs = ends
            .actions
            .get(*label)
            .into_iter()
            .flat_map(|action| action.inputs.values());
        let sources: BTreeSet<usize> = inputs
            .flatten()
            .filter_map(|source| match source {
                Source::Result { stage, .. } => places.get(stage.as_str()).copied(),
                _ => None,
            })
            // Stages end after what they read from; damaged records might say otherwise.
            .filter(|source| *source < place)
            .collect();
        Known {
            sources: sources.into_iter().collect(),
            ..known(subject, ends, label, &line.stage, word(&line.status))
        }
        .add(subject.catalogue, document);
    }
    document.told.push(
        "The run's workflow can't be planned again with the kinds at hand, so what stages without a result read from is not \
         shown, nor are stages that the run did not come to."
            .into(),
    );
    Ok(())
}

fn known<'a>(
    subject: &Subject<'_>,
    ends: &'a Ends,
    label: &str,
    stage: &str,
    status: &'static str,
) -> Known<'a> {
    let line = ends.lines.get(label);
    let action = ends.actions.get(label);
    let in_this_run = line.is_none_or(|line| line.status != "cached");
    let failure = line.and_then(|line| line.failure.as_ref());
    let gone = line.is_some_and(|line| line.status == "ran" || line.status == "cached");
    let reason = match (failure, action) {
        (Some(failure), _) => Some(failure.message.clone()),
        (None, None) if gone => Some("its result is no longer in the store".into()),
        _ => None,
    };
    Known {
        label: label.into(),
        stage: stage.into(),
        status,
        reason,
        seconds: line
            .filter(|line| line.status == "ran" || line.status == "failed")
            .map(|line| line.seconds),
        key: line.and_then(|line| line.key),
        planned: None,
        action,
        sources: Vec::new(),
        log: if in_this_run {
            Some(journal::log(&subject.run.folder, label))
        } else {
            action.and_then(|action| log_of(subject.store, action))
        },
        again: (!subject.run.head.path.as_os_str().is_empty()).then(|| (subject.again)(label)),
        changed: subject.changed,
    }
}

fn word(status: &str) -> &'static str {
    match status {
        "ran" => "ran",
        "cached" => "cached",
        "failed" => "failed",
        "skipped" => "skipped",
        _ => "cancelled",
    }
}

fn counts(end: &crate::run::past::End) -> String {
    let counts = [
        (end.ran, "ran"),
        (end.cached, "cached"),
        (end.failed, "failed"),
        (end.skipped, "skipped"),
        (end.cancelled, "not run"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    counts.join(", ")
}
