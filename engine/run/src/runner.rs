//! A run: a plan brought up to date on this machine.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;
use flow_cache::{Record, Store};
use flow_plan::plan::Plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::Workflow;
use petgraph::graph::NodeIndex;

use super::budget::Budget;
use super::local::drive_here;
use super::request::Requests;
use super::state::{Options, State};
use crate::record::event::{Event, RunEnd};
use crate::record::external::Externals;
use crate::record::journal::Journal;

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    /// The counts, as the last event tells them.
    pub end: RunEnd,
    /// The results that are there.
    pub records: HashMap<NodeIndex, Record>,
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
    /// Brings the plan up to date. `tell` hears every event, on this thread.
    ///
    /// # Errors
    /// Where the store can't be read or written; a stage that fails is no error here.
    pub fn run(
        &self,
        options: &Options,
        journal: &mut Journal,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<Summary> {
        let id = journal.id().to_string();
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
        let end = state.summary(self.started.elapsed().as_secs_f64());
        state.event(Event::Run(end.clone()));
        match state.broken {
            Some(error) => Err(error.into()),
            None => Ok(Summary {
                end,
                records: state.records,
            }),
        }
    }
}
