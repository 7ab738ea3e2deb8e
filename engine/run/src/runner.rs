//! A run: a plan brought up to date on this machine.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;
use flow_cache::{Error, Record, Store};
use flow_plan::plan::Plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::Workflow;
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

use super::budget::Budget;
use super::local::drive_here;
use super::request::Requests;
use super::state::{Options, State};
use crate::record::event::{Event, RunEnd};
use crate::record::external::Externals;
use crate::record::figures;
use crate::record::journal::Journal;

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    /// The counts, as the last event tells them.
    pub end: RunEnd,
    /// The results that are there.
    pub records: HashMap<NodeIndex, Record>,
    /// Why the store could not be read or written, which ended the run.
    pub broken: Option<Error>,
}

/// Everything that a run needs.
pub struct Runner<'a> {
    /// The workflow, for its folder.
    pub workflow: &'a Workflow,
    /// The plan to bring up to date.
    pub plan: &'a Plan,
    /// The stage kinds.
    pub catalogue: &'a Catalogue,
    /// The user's files.
    pub externals: &'a Externals,
    /// Where results are.
    pub store: &'a Store,
    /// Set to end the run.
    pub stop: &'a AtomicBool,
    /// When its command began.
    pub started: Instant,
}

impl Runner<'_> {
    /// Brings the plan up to date. `tell` hears every event, on this thread, but for the last, which is the caller's to tell.
    ///
    /// # Errors
    /// Where what the run reads can't be written down; a stage that fails is no error here.
    pub fn run(
        &self,
        options: &Options,
        journal: &mut Journal,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<Summary> {
        let id = journal.id().to_string();
        self.externals.note(self.store, &id)?;
        let requests = Requests {
            plan: self.plan,
            catalogue: self.catalogue,
            externals: self.externals,
            folder: self.workflow.root(),
            run: &id,
        };
        let mut state = State::new(requests, self.store, self.stop, options, journal, tell);
        state.event(Event::Start {
            run: id.clone(),
            workflow: self.workflow.name.clone(),
            stages: options.wanted.len(),
        });
        let budget = Budget::new(options.machine.clone(), options.jobs);
        let workflow = &self.workflow.name;
        drive_here(&mut state, self.store, workflow, budget, self.stop);
        state.leave_out_the_rest();
        let mut end = state.summary(self.started.elapsed().as_secs_f64());
        end.figures = figures(self.plan, self.catalogue, &state.records);
        Ok(Summary {
            end,
            records: state.records,
            broken: state.broken,
        })
    }
}

/// The figures that people want to see first. A sweep has its table, and so has what has more than a list of runs can show.
fn figures(
    plan: &Plan,
    catalogue: &Catalogue,
    records: &HashMap<NodeIndex, Record>,
) -> Map<String, Value> {
    const MOST: usize = 100;
    let mut found = Map::new();
    if plan.sweep.is_some() {
        return found;
    }
    let shown = figures::shown(plan, catalogue, |node| records.contains_key(&node));
    for node in plan.order.iter().filter(|node| shown.contains(node)) {
        let (instance, Some(record)) = (&plan.graph[*node], records.get(node)) else {
            continue;
        };
        for name in figures::headline(instance, catalogue, &record.metrics) {
            if let Some(value) = figures::find(&record.metrics, &name) {
                found.insert(format!("{}.{name}", instance.label), value.clone());
            }
        }
    }
    if found.len() > MOST {
        found.clear();
    }
    found
}
