//! How far a run has come: how its stages ended in it, what became of their results, and what those do that have not ended.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use flow_cache::{Key, Record, Store};
use flow_plan::plan::Plan;
use petgraph::graph::NodeIndex;

use super::event::{Event, STAGE_LINE, StageEnd};
use super::follow;
use super::past::PastRun;
use super::provenance::{self, Action};

/// How the instances of a run ended, by label.
#[derive(Debug, Default)]
pub struct Ends {
    /// How each ended.
    pub lines: BTreeMap<String, StageEnd>,
    /// The labels in the order in which they ended.
    pub order: Vec<String>,
    /// What made their results, where the records are still there.
    pub actions: HashMap<String, Action>,
    /// The instances that have begun and not ended; none of a run that has ended.
    pub unfinished: BTreeMap<String, Doing>,
    /// The figures that stages told by step: name → steps and values. Read only of a run in which something did not end well.
    pub curves: BTreeMap<String, Curves>,
}

/// Figures by step: name → steps and values.
pub type Curves = BTreeMap<String, Vec<(u64, f64)>>;

/// What an instance does that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// It has begun, and told nothing yet.
    Begun,
    /// It waits for another run that computes the same.
    Waiting {
        /// For whom.
        holder: String,
    },
    /// It has told how far it is.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all; 0 where unknown.
        total: u64,
        /// What is counted.
        unit: String,
        /// What it is doing.
        message: String,
    },
}

impl Ends {
    /// Reads the journal, and the records of what it names.
    ///
    /// # Errors
    /// Where the journal or the store can't be read.
    pub fn of(run: &PastRun, store: &Store) -> Result<Ends> {
        let mut ends = Ends::default();
        let well = |end: &super::event::RunEnd| end.failed + end.cancelled == 0;
        let all_well = run.end.as_ref().is_some_and(well);
        follow::lines(&run.events(), |line| {
            // Of a run that ended well the ends tell all that is asked for, and it may have told thousands of figures.
            if (!all_well || line.starts_with(STAGE_LINE.as_bytes()))
                && let Some(event) = Event::read(line)
            {
                ends.take(event);
            }
        })?;
        if run.end.is_some() {
            ends.unfinished.clear();
        }
        let results = ends.lines.iter();
        let results: Vec<(String, Key)> = results
            .filter_map(|(label, end)| Some((label.clone(), end.result()?)))
            .collect();
        let actions = provenance::actions(store, results.iter().map(|(_, key)| *key))?;
        let found = results.into_iter().zip(actions);
        ends.actions = found
            .filter_map(|((label, _), action)| Some((label, action?)))
            .collect();
        Ok(ends)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Execute { label, .. } => {
                // A second attempt begins anew.
                self.curves.remove(&label);
                self.unfinished.insert(label, Doing::Begun);
            }
            Event::Waiting { label, holder } => {
                self.unfinished.insert(label, Doing::Waiting { holder });
            }
            Event::Progress {
                label,
                done,
                total,
                unit,
                message,
            } => {
                let progress = Doing::Progress {
                    done,
                    total,
                    unit,
                    message,
                };
                self.unfinished.insert(label, progress);
            }
            Event::Metric {
                label,
                name,
                value: Some(value),
                step: Some(step),
            } => {
                let curves = self.curves.entry(label).or_default();
                curves.entry(name).or_default().push((step, value));
            }
            Event::Stage(end) => {
                let label = end.label();
                self.unfinished.remove(&label);
                self.order.push(label.clone());
                self.lines.insert(label, *end);
            }
            _ => {}
        }
    }

    /// The results that the run made or found, by their places in its plan.
    pub fn records(&self, plan: &Plan) -> Vec<(NodeIndex, Record)> {
        let nodes = plan.order.iter();
        let records = nodes.filter_map(|&node| {
            let action = self.actions.get(&plan.graph[node].label)?;
            Some((node, action.record.clone()))
        });
        records.collect()
    }
}
