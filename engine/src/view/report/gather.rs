//! The document of a workflow as the store has it now.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use anyhow::{Result, ensure};
use flow_cache::{Key, Store};
use petgraph::graph::NodeIndex;
use serde_json::Value;

use super::details::{Known, trim};
use super::document::Document;
use super::{layout, sweep};
use crate::plan::Plan;
use crate::plugin::Catalogue;
use crate::run::explain::History;
use crate::run::provenance::{self, Action};
use crate::run::{Standing, Survey, journal};
use crate::view::status::reason;
use crate::workflow::Workflow;

/// More instances than this make no page that anybody reads.
const MOST: usize = 20_000;

/// A workflow, and how all of its instances stand.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The workflow.
    pub workflow: &'a Workflow,
    /// Its instances.
    pub plan: &'a Plan,
    /// Their kinds.
    pub catalogue: &'a Catalogue,
    /// The store.
    pub store: &'a Store,
    /// How they stand.
    pub survey: &'a Survey,
    /// What was laid over the workflow, as options of `flow run`.
    pub overrides: &'a [String],
    /// The command that makes an instance again, by its label.
    pub again: &'a dyn Fn(&str) -> Vec<String>,
    /// The JSON of its table of results.
    pub table: Option<&'a Value>,
}

/// All that the page shows, but what stages publish.
///
/// # Errors
/// Where the store can't be read, and where there are too many instances.
pub fn document(subject: &Subject<'_>) -> Result<Document> {
    let Subject {
        plan,
        store,
        survey,
        ..
    } = *subject;
    refuse_many(plan.order.len())?;
    let actions = actions(store, plan, survey)?;
    let stale = plan
        .order
        .iter()
        .filter(|node| survey.record(**node).is_none());
    let stages: BTreeSet<&str> = stale.map(|&node| plan.graph[node].stage.as_str()).collect();
    let history = History::of(store, &stages)?.with_failures(store, plan, survey)?;
    let mut document = Document {
        workflow: subject.workflow.name.clone(),
        seed: Some(subject.workflow.seed),
        overrides: overrides(subject.overrides),
        made_with: made_with(),
        table: subject.table.cloned(),
        ..Document::default()
    };
    let places: HashMap<NodeIndex, usize> = plan.order.iter().copied().zip(0..).collect();
    for &node in &plan.order {
        let instance = &plan.graph[node];
        let action = actions.get(&node);
        let (status, key) = match survey.get(node) {
            Some(Standing::UpToDate(record)) => ("up to date", Some(record.key)),
            Some(Standing::WillRun { key, .. }) => ("will run", Some(*key)),
            Some(Standing::MayRun) | None => ("may run", None),
        };
        let failure = key.and_then(|key| history.failure(&key));
        let sources: BTreeSet<usize> = plan.sources(node).map(|source| places[&source]).collect();
        let known = Known {
            label: instance.label.clone(),
            stage: instance.stage.clone(),
            status: if failure.is_some() { "failed" } else { status },
            reason: match failure {
                Some(failure) => Some(failure.message.clone()),
                None if action.is_some() => None,
                None => Some(reason(plan, survey, &history, node)),
            },
            seconds: None,
            key,
            planned: Some((plan, node)),
            action,
            sources: sources.into_iter().collect(),
            log: match failure {
                Some(failure) => Some(failure.log.clone()),
                None => action.and_then(|action| log_of(store, action)),
            },
            again: Some((subject.again)(&instance.label)),
            changed: false,
        };
        known.add(subject.catalogue, &mut document);
    }
    finish(&mut document);
    Ok(document)
}

/// What does not depend on where the facts come from.
pub(super) fn finish(document: &mut Document) {
    trim(document);
    document.graph = layout::graph(&document.stages);
    if let Some(table) = &document.table {
        document.figures = sweep::figures(table);
    }
}

/// The results that there are, with where each of their inputs came from.
pub(super) fn actions(
    store: &Store,
    plan: &Plan,
    survey: &Survey,
) -> Result<HashMap<NodeIndex, Action>> {
    let nodes = plan.order.iter();
    let known: Vec<(NodeIndex, Key)> = nodes
        .filter_map(|&node| Some((node, survey.record(node)?.key)))
        .collect();
    let actions = provenance::actions(store, known.iter().map(|(_, key)| *key))?;
    let found = known.iter().zip(actions);
    Ok(found
        .filter_map(|((node, _), action)| Some((*node, action?)))
        .collect())
}

/// The log of the run that made a result, if it is there.
pub(super) fn log_of(store: &Store, action: &Action) -> Option<PathBuf> {
    Some(journal::log(
        &store.run_folder(action.run()?),
        action.label(),
    ))
}

pub(super) fn refuse_many(count: usize) -> Result<()> {
    ensure!(
        count <= MOST,
        "there are {count} stage instances, and a page of more than {MOST} is no use to anybody: choose some with --point"
    );
    Ok(())
}

pub(super) fn overrides(options: &[String]) -> Option<String> {
    (!options.is_empty()).then(|| crate::view::provenance::command(options))
}

pub(super) fn made_with() -> String {
    format!("Made by flow {}.", env!("CARGO_PKG_VERSION"))
}
