//! The document of a workflow as the store has it now.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use flow_plan::plan::Plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::Workflow;
use flow_results::explain::History;
use flow_results::words;
use flow_results::words::standing::reason;
use flow_results::{Standing, Stands, Survey};
use flow_run::record::provenance::Action;
use flow_run::record::{Status, journal};
use petgraph::graph::NodeIndex;
use serde_json::Value;

use super::details::{Known, trim};
use super::document::Document;
use super::{layout, sweep};

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
    /// How they stand.
    pub survey: &'a Survey,
    /// What made the results that are there.
    pub actions: &'a HashMap<NodeIndex, Action>,
    /// What explains the others.
    pub history: &'a History,
    /// The folder of the store's runs.
    pub runs: &'a Path,
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
/// Where there are too many instances.
pub fn document(subject: &Subject<'_>) -> Result<Document> {
    let Subject {
        plan,
        survey,
        actions,
        history,
        runs,
        ..
    } = *subject;
    refuse_many(plan.order.len())?;
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
        let key = survey.get(node).and_then(Standing::key);
        let failure = key.and_then(|key| history.failure(&key));
        let sources: BTreeSet<usize> = instance
            .sources()
            .iter()
            .map(|source| places[source])
            .collect();
        let known = Known {
            label: instance.label.clone(),
            stage: instance.stage.clone(),
            status: match failure {
                Some(_) => Stands::Ended(Status::Failed),
                None => Stands::Now(survey.state(node)),
            },
            reason: match failure {
                Some(failure) => Some(failure.message.clone()),
                None if action.is_some() => None,
                None => Some(reason(plan, survey, history, node)),
            },
            seconds: None,
            key,
            planned: Some((plan, node)),
            action,
            sources: sources.into_iter().collect(),
            log: match failure {
                Some(failure) => Some(failure.log.clone()),
                None => action.and_then(|action| log_of(runs, action)),
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

/// The log of the run that made a result, if it is there.
pub(super) fn log_of(runs: &Path, action: &Action) -> Option<PathBuf> {
    Some(journal::log(&runs.join(action.run()?), action.label()))
}

pub(super) fn refuse_many(count: usize) -> Result<()> {
    ensure!(
        count <= MOST,
        "there are {count} stage instances, and a page of more than {MOST} is no use to anybody: choose some with --point"
    );
    Ok(())
}

pub(super) fn overrides(options: &[String]) -> Option<String> {
    (!options.is_empty()).then(|| words::command(options))
}

pub(super) fn made_with() -> String {
    format!("Made by flow {}.", env!("CARGO_PKG_VERSION"))
}
