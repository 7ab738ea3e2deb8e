//! A run that found all its work done, remembered, so that the next one need not read the workflow again.
//!
//! What is remembered is never trusted, only compared: the workflow's texts by digest, plugins by their files' identity, the
//! user's files, environments and tools by the store's memo, each record and each blob by its `stat`. Where all of it is as it was, a run
//! would find what that one found. Anything else, and the run goes the whole way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flow_cache::{Digest, Key, Output, Record, Store};
use flow_plan::plan::{Files, Plan, Spans, Wanted};
use flow_plan::workflow::{Mark, Overrides, Sources, Workflow};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Ending, Event, RunEnd};
use super::external::{self, Externals, Reader};
use super::key::FORMAT;
use crate::deliver;
use crate::plugin;
use crate::surroundings::{Found, Need};

/// What such a run saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    /// The run, whose journal has the rest.
    pub run: String,
    /// The workflow's name.
    pub workflow: String,
    /// The tables that it showed.
    pub tables: Vec<String>,
    /// The figures that people want to see first.
    figures: Map<String, Value>,
    /// How many instances it looked at.
    pub stages: usize,
    /// The texts of the workflow, and what it reads of axes.
    sources: Vec<Mark>,
    /// `[plugins]`, as paths.
    plugins: Vec<PathBuf>,
    /// The identity of all plugins.
    catalogue: String,
    /// Declared environment variables, and digests of their values.
    env: BTreeMap<String, Option<Digest>>,
    /// The user's files.
    files: Vec<(Files, Reader, Digest)>,
    /// What paths in the workflow are relative to.
    root: PathBuf,
    /// Environments and tools.
    needs: Vec<(Need, Found)>,
    /// The results: key, when the record was touched, outputs.
    results: Vec<(Key, i64, Vec<Output>)>,
}

/// The name of what is remembered of runs of one workflow file with one set of overrides, by this build of flow, on a screen
/// of this `width`: tables are remembered as they were shown.
pub fn name(workflow: &Path, overrides: &Overrides, width: Option<usize>) -> Option<Digest> {
    let workflow = workflow.canonicalize().ok()?;
    let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
    let build = (program.size(), program.mtime(), program.mtime_nsec());
    let params = overrides.params.as_ref().map(std::path::absolute);
    let params = params.transpose().ok()?;
    let rest = overrides.options();
    let text = format!("{FORMAT} {build:?} {workflow:?} {params:?} {rest:?} {width:?}");
    Some(Digest::of_bytes(text.as_bytes()))
}

impl Settled {
    /// What a run saw that found the result of every instance in the store; `None` where something of it can't be told apart
    /// from what another run might see.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part of what a run saw"
    )]
    pub fn of(
        end: &RunEnd,
        workflow: &Workflow,
        sources: &Sources,
        plan: &Plan,
        externals: &Externals,
        records: &HashMap<NodeIndex, Record>,
        tables: Vec<String>,
        store: &Store,
    ) -> Option<Settled> {
        let plugins = plugins(workflow);
        let variables: BTreeSet<&String> = plan.instances().flat_map(|i| &i.env.passed).collect();
        Some(Settled {
            run: end.run.clone(),
            workflow: workflow.name.clone(),
            tables,
            figures: end.figures.clone(),
            stages: plan.order.len(),
            sources: sources.marks(),
            catalogue: plugin::identity(&plugins),
            plugins,
            env: variables
                .into_iter()
                .map(|name| (name.clone(), variable(name)))
                .collect(),
            files: externals
                .iter()
                .map(|(files, reader, external)| (files.clone(), reader, external.digest))
                .collect(),
            root: workflow.root().to_path_buf(),
            needs: externals
                .needs()
                .map(|(need, found)| (need.clone(), found.clone()))
                .collect(),
            results: plan
                .order
                .iter()
                .map(|node| {
                    let record = records.get(node)?;
                    let outputs = record.outputs.values().cloned().collect();
                    Some((record.key, store.touched(&record.key)?, outputs))
                })
                .collect::<Option<_>>()?,
        })
    }

    /// With results that lie under names of the user's own, relative to the workflow's root; `None` where one is not there.
    #[must_use]
    pub fn with_delivered(
        mut self,
        names: &[&str],
        workflow: &Workflow,
        store: &Store,
    ) -> Option<Settled> {
        // The list too: a run that was killed while it delivered left it as no other leaves it.
        let list = deliver::list(&workflow.path).display().to_string();
        let list = (!names.is_empty()).then_some(list);
        for name in names.iter().copied().chain(list.as_deref()) {
            let files = Files::one(name, Wanted::Either);
            let found = external::find(&files, Reader::Program, &self.root, store).ok()?;
            self.files.push((files, Reader::Program, found.digest));
        }
        Some(self)
    }

    /// What is remembered under a name, if all of it still holds.
    pub fn find(store: &Store, name: &Digest) -> Option<Settled> {
        let settled: Settled = store.noted(name)?;
        settled.holds(store).then_some(settled)
    }

    /// What a run with nothing to do ends with.
    pub fn end(&self, run: &str, seconds: f64) -> Event {
        Event::Run(RunEnd {
            run: run.into(),
            status: Ending::Ok,
            ran: 0,
            cached: self.stages,
            frozen: 0,
            failed: 0,
            skipped: 0,
            cancelled: 0,
            undelivered: 0,
            figures: self.figures.clone(),
            checkpoints: Vec::new(),
            seconds,
        })
    }

    fn holds(&self, store: &Store) -> bool {
        let same_variable = |(name, digest): (&String, &Option<Digest>)| variable(name) == *digest;
        let same_file = |(files, reader, digest): &(Files, Reader, Digest)| {
            let found = external::find(files, *reader, &self.root, store);
            found.is_ok_and(|found| found.digest == *digest)
        };
        let same_result = |(key, touched, outputs): &(Key, i64, Vec<Output>)| {
            store.is_untouched(key, *touched, outputs)
        };
        let same_need = |(need, found): &(Need, Found)| {
            let now = need.find(&self.root, &Spans::default(), store);
            now.is_ok_and(|now| now == *found)
        };
        // A pool of threads costs more than a few files.
        const FEW: usize = 100;
        self.sources.iter().all(Mark::holds)
            && plugin::identity(&self.plugins) == self.catalogue
            && self.env.iter().all(same_variable)
            && self.needs.iter().all(same_need)
            && if self.results.len() + self.files.len() < FEW {
                self.files.iter().all(same_file) && self.results.iter().all(same_result)
            } else {
                self.files.par_iter().all(same_file) && self.results.par_iter().all(same_result)
            }
    }
}

fn plugins(workflow: &Workflow) -> Vec<PathBuf> {
    let paths = workflow.plugins.iter();
    paths
        .map(|(_, path)| workflow.folder().join(&path.value))
        .collect()
}

fn variable(name: &str) -> Option<Digest> {
    std::env::var_os(name).map(|value| Digest::of_bytes(value.as_encoded_bytes()))
}
