//! One stage, from lease to commit, on a thread of its own.

use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use flow_cache::{Acquired, Draft, Holder, Key, Lease, Record, Store};
use petgraph::graph::NodeIndex;
use serde_json::{Value, json};

use super::budget::Share;
use super::command;
use super::earlier;
use super::event::{Event, Failure};
use super::external::Externals;
use super::journal;
use super::key::Manifest;
use super::log;
use super::outputs;
use super::watch::watch;
use crate::plan::{Instance, Origin, Plan, Task};
use crate::plugin::{Catalogue, Kind};

/// What stages have made so far: instance and output role to what the store holds.
pub(super) type Made = HashMap<(NodeIndex, String), flow_cache::Output>;

/// Everything that stages of one run share.
pub(super) struct Site<'a> {
    pub plan: &'a Plan,
    pub catalogue: &'a Catalogue,
    /// Where results go.
    pub store: &'a Store,
    /// Where inputs come from; another store than that of the results when stages are run again to be compared.
    pub inputs: &'a Store,
    pub externals: &'a Externals,
    /// The workflow's folder.
    pub folder: &'a Path,
    /// The run's name.
    pub run: &'a str,
    /// Set when the run is to end.
    pub stop: &'a AtomicBool,
}

/// One stage that is to be executed.
pub(super) struct Job {
    pub node: NodeIndex,
    pub manifest: Manifest,
    pub key: Key,
    /// Execute although the result is in the store.
    pub forced: bool,
    pub log: PathBuf,
    /// What its inputs are in the store.
    pub made: Made,
    /// The keys of the results that it reads from.
    pub sources: HashMap<NodeIndex, Key>,
}

/// How a job ended.
pub(super) enum Outcome {
    Ran(Box<Record>),
    /// Another run made it meanwhile.
    Cached(Box<Record>),
    Failed(Failure),
    Cancelled {
        /// Whether it left something that the next run goes on from.
        checkpoint: bool,
    },
}

/// Executes the job with what it holds of the machine, and gives how it ended and how long that took, in seconds. `freed`
/// is called once it needs none of that any more, if that is before its end; `tell` hears all that happens.
pub(super) fn execute(
    site: &Site<'_>,
    job: &Job,
    share: &Share,
    freed: &dyn Fn(),
    tell: &(impl Fn(Event) + Sync),
) -> (Outcome, f64) {
    let started = Instant::now();
    let instance = &site.plan.graph[job.node];
    let mut result = attempt(site, job, share, freed, tell);
    for retry in 1..=instance.retries {
        let Err(error) = &result else { break };
        if site.stop.load(Ordering::Relaxed) {
            break;
        }
        let message = format!("{error:#}; retry {retry} of {}", instance.retries);
        let label = Some(instance.label.clone());
        tell(Event::Warning { label, message });
        result = attempt(site, job, share, freed, tell);
    }
    let outcome = result.unwrap_or_else(|error| {
        Outcome::Failed(Failure {
            message: format!("{error:#}"),
            tail: log::tail(&job.log),
            log: job.log.clone(),
        })
    });
    (outcome, started.elapsed().as_secs_f64())
}

fn attempt(
    site: &Site<'_>,
    job: &Job,
    share: &Share,
    freed: &dyn Fn(),
    tell: &(impl Fn(Event) + Sync),
) -> Result<Outcome> {
    let instance = &site.plan.graph[job.node];
    let mut told = None;
    let mut waiting = |holder: &Holder| {
        let holder = holder.to_string();
        if told.as_ref() != Some(&holder) {
            tell(Event::Waiting {
                label: instance.label.clone(),
                holder: holder.clone(),
            });
            told = Some(holder);
        }
        if site.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let lease = match site.store.acquire(&job.key, job.forced, &mut waiting)? {
        Acquired::Hit(record) => return Ok(Outcome::Cached(Box::new(record))),
        Acquired::GaveUp => return Ok(Outcome::Cancelled { checkpoint: false }),
        Acquired::Lease(lease) => lease,
    };
    let kind = match &instance.task {
        Task::Kind { kind, .. } => site.catalogue.get(kind),
        Task::Command { .. } => None,
    };
    let checkpoints = kind.is_some_and(|kind| kind.description.checkpoints);
    if checkpoints && !job.forced {
        remove_attempts(lease.work());
    } else {
        lease.clear_work()?;
    }
    // A name of its own, so that whatever an earlier attempt may have left running can't write into this one.
    let attempt = lease
        .work()
        .join(format!("attempt-{}-{}", site.run, std::process::id()));
    let result = run(site, job, share, kind, &lease, &attempt, tell);
    match result {
        Ok(Some(draft)) => {
            // Another attempt would need it again.
            if instance.retries == 0 {
                freed();
            }
            Ok(Outcome::Ran(Box::new(lease.commit(draft)?)))
        }
        Ok(None) => {
            let _ = fs::remove_dir_all(&attempt);
            let scratch = fs::read_dir(lease.work().join("scratch"));
            let checkpoint = checkpoints && scratch.is_ok_and(|mut left| left.next().is_some());
            lease.abandon(checkpoints);
            Ok(Outcome::Cancelled { checkpoint })
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&attempt);
            lease.abandon(checkpoints);
            Err(error)
        }
    }
}

/// Removes what attempts that were killed have left beside their checkpoints. Nothing reads it again, so what can't be
/// removed is only in the way of disk space.
fn remove_attempts(work: &Path) {
    for entry in fs::read_dir(work).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("attempt-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs the process and checks what it made; `None` where the run was interrupted.
fn run(
    site: &Site<'_>,
    job: &Job,
    share: &Share,
    kind: Option<&Kind>,
    lease: &Lease,
    attempt: &Path,
    tell: &(impl Fn(Event) + Sync),
) -> Result<Option<Draft>> {
    let instance = &site.plan.graph[job.node];
    let earlier = match kind {
        Some(kind) if !job.forced && !kind.description.continues.is_empty() => earlier::find(
            site.store,
            &kind.description.continues,
            &job.manifest,
            share.threads,
        )?,
        _ => None,
    };
    let prepared = command::prepare(
        site,
        instance,
        &job.made,
        earlier.as_ref().map(|(record, _)| record),
        lease.work(),
        attempt,
        share,
    )?;
    let folder = prepared.outputs.clone();
    tell(Event::Execute {
        label: instance.label.clone(),
        threads: share.threads,
    });
    if let Some((record, then)) = &earlier {
        tell(Event::Continue {
            label: instance.label.clone(),
            earlier: record.key,
            then: then.clone(),
        });
    }
    let started = Instant::now();
    let begun = jiff::Timestamp::now();
    let Some(facts) = watch(site, job, instance, kind, prepared, tell)? else {
        return Ok(None);
    };
    let seconds = started.elapsed().as_secs_f64();
    let (kept, metrics) = outputs::collect(instance, &folder, tell)?;
    check_inputs(site, job, instance)?;
    for stored in earlier
        .iter()
        .flat_map(|(record, _)| record.outputs.values())
    {
        site.store
            .check(stored)
            .context("what it went on from changed while it ran; stages may only read it")?;
    }
    let provenance = json!({
        "stage": instance.stage,
        "label": instance.label,
        "run": site.run,
        "inputs": origins(site, job, instance),
        "plugin": kind.map(|kind| &kind.plugin),
        "plugin_digest": kind.map(|kind| &kind.digest),
        "threads": share.threads,
        "device": share.device(),
        "gpus": share.gpus,
        "host": journal::host(),
        "platform": journal::platform(),
        "facts": facts,
        "flow": env!("CARGO_PKG_VERSION"),
        "continues": earlier.as_ref().map(|(record, _)| record.key),
        "started": begun.to_string(),
    });
    Ok(Some(Draft {
        manifest: serde_json::to_value(&job.manifest)?,
        outputs: kept,
        provenance,
        metrics,
        seconds,
    }))
}

/// Where each input came from: another stage's result, by its key; or the user's files, as the workflow names them.
fn origins(site: &Site<'_>, job: &Job, instance: &Instance) -> Value {
    let result = |node: &NodeIndex, output: &str| {
        let made = job.made.get(&(*node, output.to_string()));
        json!({
            "stage": site.plan.graph[*node].label,
            "output": output,
            "key": job.sources.get(node),
            "digest": made.map(|output| output.digest),
        })
    };
    let origins = instance.inputs.iter().map(|input| {
        let from: Vec<Value> = match &input.origin {
            Origin::Instance { node, output } => vec![result(node, output)],
            Origin::Collected { nodes, output } => {
                nodes.iter().map(|(_, node)| result(node, output)).collect()
            }
            Origin::Path { pattern, .. } => vec![json!({ "path": pattern.value })],
        };
        (input.role.clone(), Value::from(from))
    });
    Value::Object(origins.collect())
}

/// Inputs that changed while the stage ran make a result that belongs to no key.
fn check_inputs(site: &Site<'_>, job: &Job, instance: &Instance) -> Result<()> {
    for input in &instance.inputs {
        if let Origin::Path {
            pattern, wanted, ..
        } = &input.origin
        {
            ensure!(
                site.externals
                    .unchanged(&pattern.value, *wanted, site.inputs),
                "its input {} changed while it ran, so the result belongs to neither content; run again",
                pattern.value
            );
        }
    }
    for stored in job.made.values() {
        site.inputs.check(stored).context(
            "one of its inputs in the store changed while it ran; stages may only read them",
        )?;
    }
    Ok(())
}
