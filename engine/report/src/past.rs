//! The document of an earlier run, or of one that goes on: how each stage ended in it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::Result;
use flow_plan::plan::kinds::Catalogue;
use flow_results::Stands;
use flow_results::words::record::counts;
use flow_run::record::ends::{Doing, Ends};
use flow_run::record::past::{PastRun, State};
use flow_run::record::provenance::Source;
use flow_run::record::replan::Replanned;
use flow_run::record::{Status, journal};
use petgraph::graph::NodeIndex;
use serde_json::Value;

use super::details::Known;
use super::document::{Document, Run};
use super::gather::{finish, log_of, made_with, overrides, refuse_many};

/// An earlier run.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The run.
    pub run: &'a PastRun,
    /// How far it has come.
    pub ends: &'a Ends,
    /// Its plan, where it could be made again.
    pub replanned: Option<&'a Replanned>,
    /// The kinds at hand.
    pub catalogue: &'a Catalogue,
    /// The folder of the store's runs.
    pub runs: &'a Path,
    /// The command that makes an instance again, by its label; and whether the workflow has changed since.
    pub again: &'a dyn Fn(&str) -> Vec<String>,
    /// Whether the workflow file is another now.
    pub changed: bool,
    /// The JSON of its table of results.
    pub table: Option<&'a Value>,
}

/// All that the page shows, but what stages publish.
///
/// # Errors
/// Where there are too many instances.
pub fn document(subject: &Subject<'_>) -> Result<Document> {
    let Subject { run, ends, .. } = *subject;
    let head = &run.head;
    let mut document = Document {
        workflow: head.workflow.clone(),
        run: Some(Run {
            id: run.id.clone(),
            status: run.state.word(),
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
    match subject.replanned {
        Some(replanned) => planned(subject, replanned, &mut document)?,
        None => unplanned(subject, &mut document)?,
    }
    finish(&mut document);
    for stage in &mut document.stages {
        if let Some(doing) = ends.unfinished.get(&stage.label)
            && !ends.lines.contains_key(&stage.label)
        {
            stage.progress = progress(doing);
        }
        let ended_badly = matches!(
            stage.status,
            Stands::Ended(Status::Failed | Status::Cancelled) | Stands::Running
        );
        if ended_badly {
            stage.curves = ends.curves.get(&stage.label).cloned();
        }
    }
    Ok(document)
}

/// What a stage does, in words; none of one that has only begun.
fn progress(doing: &Doing) -> Option<String> {
    match doing {
        Doing::Begun => None,
        Doing::Waiting { holder } => Some(format!("waits for {holder}")),
        Doing::Progress {
            done,
            total,
            unit,
            message,
        } => {
            let mut text = format!("{unit} {done}");
            if *total > 0 {
                text += &format!("/{total}");
            }
            if !message.is_empty() {
                text += &format!(", {message}");
            }
            Some(text)
        }
    }
}

/// The instances of the run's plan.
fn planned(subject: &Subject<'_>, replanned: &Replanned, document: &mut Document) -> Result<()> {
    let Subject { run, ends, .. } = *subject;
    let plan = &replanned.plan;
    let listed = run.head.wanted.as_ref();
    let listed: Option<BTreeSet<&str>> =
        listed.map(|labels| labels.iter().map(String::as_str).collect());
    let mut wanted: BTreeSet<NodeIndex> = BTreeSet::new();
    for &node in &plan.order {
        let label = plan.graph[node].label.as_str();
        // Of a run that has ended each instance that it wanted is told of.
        let was_wanted =
            run.end.is_none() && listed.as_ref().is_none_or(|listed| listed.contains(label));
        if was_wanted || ends.lines.contains_key(label) || ends.unfinished.contains_key(label) {
            wanted.insert(node);
        }
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
        let sources: BTreeSet<usize> = instance
            .sources()
            .iter()
            .filter_map(|source| places.get(source).copied())
            .collect();
        let line = ends.lines.get(&instance.label);
        let begun = ends.unfinished.contains_key(&instance.label);
        let status = match (line, run.state) {
            (Some(line), _) => Stands::Ended(line.status),
            (None, State::Running) if begun => Stands::Running,
            (None, State::Running) => Stands::Waiting,
            (None, _) => Stands::Ended(Status::Cancelled),
        };
        Known {
            planned: Some((plan, node)),
            sources: sources.into_iter().collect(),
            ..known(subject, &instance.label, &instance.stage, status)
        }
        .add(subject.catalogue, document);
    }
    Ok(())
}

/// The instances that the journal tells of; what they read from is known of those that have a result.
fn unplanned(subject: &Subject<'_>, document: &mut Document) -> Result<()> {
    let ends = subject.ends;
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
            ..known(subject, label, &line.stage, Stands::Ended(line.status))
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

fn known<'a>(subject: &Subject<'a>, label: &str, stage: &str, status: Stands) -> Known<'a> {
    let ends = subject.ends;
    let line = ends.lines.get(label);
    let action = ends.actions.get(label);
    let in_this_run =
        line.is_none_or(|line| !matches!(line.status, Status::Cached | Status::Frozen));
    let failure = line.and_then(|line| line.failure.as_ref());
    let gone = line.is_some_and(|line| line.status.is_done());
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
            .filter(|line| matches!(line.status, Status::Ran | Status::Failed))
            .map(|line| line.seconds),
        key: line.and_then(|line| line.key),
        planned: None,
        action,
        sources: Vec::new(),
        log: if in_this_run {
            Some(journal::log(&subject.run.folder, label))
        } else {
            action.and_then(|action| log_of(subject.runs, action))
        },
        again: (!subject.run.head.path.as_os_str().is_empty()).then(|| (subject.again)(label)),
        changed: subject.changed,
    }
}
