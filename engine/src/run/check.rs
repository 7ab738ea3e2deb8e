//! Running stages again beside their stored results, to see whether they make the same bytes.
//!
//! Each stage runs by itself: its inputs come from the store, what it makes goes into a scratch store that is thrown
//! away. So a stage that makes other bytes does not make those after it differ, and nothing in the store changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flow_cache::{Acquired, Digest, Key, Record, Store};
use petgraph::graph::NodeIndex;

use super::budget::{Budget, Machine, Share};
use super::compare;
use super::execute::{self, Job, Made, Outcome, Site};
use crate::plan::{Plan, Resources};
use crate::plugin::Catalogue;
use crate::record::check::{Again, CheckEnd, Checked, Failure, OutputDiffers, Verdict};
use crate::record::{Event, Externals};

/// What is run again, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// The instances, in the plan's order.
    pub nodes: Vec<NodeIndex>,
    /// How often each runs with each number of threads.
    pub times: u32,
    /// The numbers of threads; where there are none, a stage gets what its stored result was made with.
    pub threads: Vec<u32>,
    /// Threads that may be given out at once.
    pub jobs: u32,
}

/// Everything that a check needs.
pub struct Checker<'a> {
    /// The workflow's folder.
    pub folder: &'a Path,
    /// The DAG.
    pub plan: &'a Plan,
    /// The stage kinds.
    pub catalogue: &'a Catalogue,
    /// The user's files.
    pub externals: &'a Externals,
    /// Where the stored results are.
    pub store: &'a Store,
    /// The stored results: of the instances that are run again, and of those they read from.
    pub records: HashMap<NodeIndex, Record>,
    /// Set when the check is to end.
    pub stop: &'a AtomicBool,
}

/// A run that is to be done: the instance's place in [`Options::nodes`], and its threads.
struct Turn {
    place: usize,
    threads: u32,
}

enum Message {
    Event(Event),
    Done(usize, Again),
}

/// How often the loop looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

impl Checker<'_> {
    /// Runs the stages again. `tell` hears every event, on this thread.
    ///
    /// # Errors
    /// Where the store can't be read or written; a stage that fails or differs is no error here.
    pub fn run(&self, options: &Options, tell: &mut dyn FnMut(&Event)) -> Result<Checked> {
        let unique = format!("check {} {}", std::process::id(), jiff::Timestamp::now());
        // A lease on a key of its own: while it is held gc leaves the scratch folder, and clears it if this process dies.
        let key = Key(Digest::of_bytes(unique.as_bytes()));
        let acquired = self
            .store
            .acquire(&key, true, &mut |_| ControlFlow::Continue(()))?;
        let Acquired::Lease(lease) = acquired else {
            bail!("the scratch folder of the check is in use");
        };
        let checked = self.run_in(lease.work(), options, tell);
        lease.abandon(false);
        checked
    }

    fn run_in(
        &self,
        scratch: &Path,
        options: &Options,
        tell: &mut dyn FnMut(&Event),
    ) -> Result<Checked> {
        let started = Instant::now();
        tell(&Event::Start {
            run: String::new(),
            workflow: String::new(),
            stages: options.nodes.len(),
        });
        let mut waiting: VecDeque<Turn> = VecDeque::new();
        for (place, &node) in options.nodes.iter().enumerate() {
            let stored = [self.stored_threads(node)?];
            let threads = if options.threads.is_empty() {
                &stored[..]
            } else {
                &options.threads
            };
            for &threads in threads {
                waiting.extend((0..options.times).map(|_| Turn { place, threads }));
            }
        }
        let per_stage = waiting.len() / options.nodes.len().max(1);
        let mut runs: Vec<Vec<Again>> = vec![Vec::new(); options.nodes.len()];
        let mut ended = Vec::new();
        let mut running: HashMap<usize, Share> = HashMap::new();
        // A stage gets the threads that it is to have, also where this machine has fewer.
        let mut machine = Machine::here();
        let most = waiting.iter().map(|turn| turn.threads).max();
        machine.cores = machine.cores.max(most.unwrap_or(0));
        let mut budget = Budget::new(machine, options.jobs);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| -> Result<()> {
            let mut number = 0;
            loop {
                while !self.stop.load(Ordering::Relaxed) {
                    // One run of a stage at a time, so that people can tell what they see.
                    let found = waiting.iter().enumerate().find_map(|(at, turn)| {
                        let resources = Resources {
                            cpus: turn.threads,
                            ..self.plan.graph[options.nodes[turn.place]].resources
                        };
                        let alone = !running.contains_key(&turn.place);
                        let share = alone.then(|| budget.take(&resources)).flatten()?;
                        Some((at, share))
                    });
                    let Some((at, share)) = found else { break };
                    let Some(turn) = waiting.remove(at) else {
                        break;
                    };
                    number += 1;
                    let folder = scratch.join(number.to_string());
                    let job = self.job(options.nodes[turn.place], &folder)?;
                    running.insert(turn.place, share.clone());
                    let sender = sender.clone();
                    scope.spawn(move || {
                        // The loop outlives its jobs; where it is gone there is nobody to tell.
                        let tell = |event| {
                            let _ = sender.send(Message::Event(event));
                        };
                        let again = self.again(&job, &share, &folder, &tell);
                        let _ = sender.send(Message::Done(turn.place, again));
                    });
                }
                if running.is_empty() {
                    return Ok(());
                }
                match receiver.recv_timeout(TICK) {
                    Ok(Message::Event(event)) => tell(&event),
                    Ok(Message::Done(place, again)) => {
                        if let Some(share) = running.remove(&place) {
                            budget.give_back(share);
                        }
                        runs[place].push(again);
                        if runs[place].len() == per_stage {
                            let end = self.end(options.nodes[place], &runs[place], per_stage);
                            ended.push(end.status);
                            tell(&Event::Check(Box::new(end)));
                        }
                    }
                    Err(_) => {}
                }
            }
        })?;
        for (&node, runs) in options.nodes.iter().zip(&runs) {
            if runs.len() < per_stage {
                let end = self.end(node, runs, per_stage);
                ended.push(end.status);
                tell(&Event::Check(Box::new(end)));
            }
        }
        let count = |verdict| ended.iter().filter(|v| **v == verdict).count();
        let checked = Checked {
            status: ended.iter().copied().max().unwrap_or(Verdict::Identical),
            identical: count(Verdict::Identical),
            differs: count(Verdict::Differs),
            failed: count(Verdict::Failed),
            cancelled: count(Verdict::Cancelled),
            seconds: started.elapsed().as_secs_f64(),
        };
        tell(&Event::Checked(checked.clone()));
        Ok(checked)
    }

    fn record(&self, node: NodeIndex) -> Result<&Record> {
        self.records.get(&node).with_context(|| {
            let label = &self.plan.graph[node].label;
            format!("`{label}` has no stored result")
        })
    }

    /// The threads that a stored result was made with.
    fn stored_threads(&self, node: NodeIndex) -> Result<u32> {
        let recorded = self.record(node)?.provenance["threads"].as_u64();
        Ok(recorded
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
            .unwrap_or_else(|| Machine::here().cores))
    }

    fn job(&self, node: NodeIndex, folder: &Path) -> Result<Job> {
        let record = self.record(node)?;
        let (mut made, mut sources) = (Made::new(), HashMap::new());
        for source in self.plan.graph[node].sources() {
            let record = self.record(source)?;
            sources.insert(source, record.key);
            for (role, output) in &record.outputs {
                made.insert((source, role.clone()), output.clone());
            }
        }
        Ok(Job {
            node,
            manifest: serde_json::from_value(record.manifest.clone())
                .with_context(|| format!("the record {} can't be understood", record.key))?,
            key: record.key,
            forced: false,
            log: folder.with_extension("log"),
            made,
            sources,
        })
    }

    /// Runs a stage in a store of its own at `folder`, compares, and throws it away.
    fn again(
        &self,
        job: &Job,
        share: &Share,
        folder: &Path,
        tell: &(impl Fn(Event) + Sync),
    ) -> Again {
        let again = self
            .compared(job, share, folder, tell)
            .unwrap_or_else(|error| {
                let failure = Failure {
                    message: format!("{error:#}"),
                    tail: Vec::new(),
                };
                Again {
                    failure: Some(failure),
                    ..Again::of(Verdict::Failed, share.threads, 0.0)
                }
            });
        // What can't be removed now goes with the whole scratch folder.
        let _ = fs::remove_dir_all(folder);
        again
    }

    fn compared(
        &self,
        job: &Job,
        share: &Share,
        folder: &Path,
        tell: &(impl Fn(Event) + Sync),
    ) -> Result<Again> {
        let scratch = Store::open(folder)?;
        let site = Site {
            plan: self.plan,
            catalogue: self.catalogue,
            store: &scratch,
            inputs: self.store,
            externals: self.externals,
            folder: self.folder,
            run: "check",
            stop: self.stop,
        };
        let (outcome, seconds) = execute::execute(&site, job, share, &|| (), tell);
        let again = |status| Again::of(status, share.threads, seconds);
        Ok(match outcome {
            Outcome::Ran(record) | Outcome::Cached(record) => {
                let outputs = self.differing(job, &record, &scratch, folder)?;
                let status = if outputs.is_empty() {
                    Verdict::Identical
                } else {
                    Verdict::Differs
                };
                Again {
                    outputs,
                    ..again(status)
                }
            }
            Outcome::Cancelled { .. } => again(Verdict::Cancelled),
            Outcome::Failed(failure) => Again {
                failure: Some(Failure {
                    message: failure.message,
                    tail: failure.tail,
                }),
                ..again(Verdict::Failed)
            },
        })
    }

    /// The outputs that are other bytes than the stored ones.
    fn differing(
        &self,
        job: &Job,
        made: &Record,
        scratch: &Store,
        folder: &Path,
    ) -> Result<BTreeMap<String, OutputDiffers>> {
        let mut differing = BTreeMap::new();
        for (role, then) in &self.record(job.node)?.outputs {
            let now = made
                .outputs
                .get(role)
                .with_context(|| format!("the output `{role}` was not made again"))?;
            if now.digest == then.digest {
                continue;
            }
            let declared = &self.plan.graph[job.node].outputs;
            let file = declared
                .iter()
                .find(|output| output.role == *role)
                .and_then(|output| Path::new(&output.file).file_name())
                .context("an output has a file name")?;
            let place = |side: &str| -> Result<_> {
                let side = folder.join(side).join(role);
                fs::create_dir_all(&side)?;
                Ok(side.join(file))
            };
            let (stored_at, made_at) = (place("stored")?, place("made")?);
            self.store.materialise(then, &stored_at)?;
            scratch.materialise(now, &made_at)?;
            let differs = OutputDiffers {
                stored: then.digest,
                made: now.digest,
                files: compare::compare(&stored_at, &made_at)?,
            };
            differing.insert(role.clone(), differs);
        }
        Ok(differing)
    }

    fn end(&self, node: NodeIndex, runs: &[Again], expected: usize) -> CheckEnd {
        let instance = &self.plan.graph[node];
        let record = &self.records[&node];
        let worst = runs.iter().map(|run| run.status).max();
        let short = (runs.len() < expected).then_some(Verdict::Cancelled);
        CheckEnd {
            stage: instance.stage.clone(),
            instance: instance.coordinates.clone(),
            status: worst.max(short).unwrap_or(Verdict::Identical),
            key: record.key,
            stored: record.provenance.clone(),
            runs: runs.to_vec(),
        }
    }
}
