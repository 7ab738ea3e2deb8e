//! Running stages again beside their stored results, to see whether they make the same bytes.
//!
//! Each stage runs by itself: its inputs come from the store, what it makes goes into a scratch store that is thrown
//! away. So a stage that makes other bytes does not make those after it differ, and nothing in the store changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use flow_cache::{Acquired, Digest, Key, Record, Store};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{Plan, Resources};
use petgraph::graph::NodeIndex;

use super::budget::{Budget, Machine};
use super::compare;
use super::executor::{Executor, Job, Message, Work};
use super::local::drive_here;
use super::perform::Outcome;
use super::request::{Request, Requests};
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
    /// Set to end the check.
    pub stop: &'a AtomicBool,
}

/// A run that is due: the instance's place in [`Options::nodes`], and its threads.
struct Turn {
    place: usize,
    threads: u32,
}

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
        // A stage gets the threads that were asked for, also where this machine has fewer.
        let mut machine = Machine::here();
        let most = waiting.iter().map(|turn| turn.threads).max();
        machine.cores = machine.cores.max(most.unwrap_or(0));
        let mut state = State {
            checker: self,
            nodes: &options.nodes,
            scratch,
            tell,
            per_stage,
            waiting,
            running: HashMap::new(),
            begun: 0,
            runs: vec![Vec::new(); options.nodes.len()],
            ended: Vec::new(),
            broken: None,
        };
        let budget = Budget::new(machine, options.jobs);
        let workflow = self.folder.display().to_string();
        drive_here(&mut state, self.store, &workflow, budget, self.stop);
        if let Some(error) = state.broken {
            return Err(error);
        }
        for place in 0..options.nodes.len() {
            if state.runs[place].len() < per_stage {
                state.end(place);
            }
        }
        let ended = state.ended;
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

    /// What runs a stage again with this many threads, in a store of its own at `folder`.
    fn request(&self, node: NodeIndex, threads: u32, folder: &Path) -> Result<Request> {
        let record = self.record(node)?;
        let manifest = serde_json::from_value(record.manifest.clone())
            .with_context(|| format!("the record {} can't be understood", record.key))?;
        let requests = Requests {
            plan: self.plan,
            catalogue: self.catalogue,
            externals: self.externals,
            folder: self.folder,
            run: "check",
        };
        let log = folder.with_extension("log");
        let request = requests
            .of(node, record.key, manifest, &self.records, log)
            .with_context(|| {
                let label = &self.plan.graph[node].label;
                format!("what `{label}` reads has no stored result")
            })?;
        Ok(Request {
            resources: self.resources(node, threads),
            results: Some(folder.to_path_buf()),
            ..request
        })
    }

    fn resources(&self, node: NodeIndex, threads: u32) -> Resources {
        Resources {
            cpus: threads,
            ..self.plan.graph[node].resources
        }
    }

    /// The verdict on a stage that ran again in a store at `folder`.
    fn again(&self, node: NodeIndex, outcome: Outcome, folder: &Path, again: Again) -> Again {
        let failed = |message, tail| Again {
            status: Verdict::Failed,
            failure: Some(Failure { message, tail }),
            ..again.clone()
        };
        match outcome {
            Outcome::Ran(record) | Outcome::Cached(record) => {
                match self.differing(node, &record, folder) {
                    Ok(outputs) if outputs.is_empty() => again,
                    Ok(outputs) => Again {
                        status: Verdict::Differs,
                        outputs,
                        ..again
                    },
                    Err(error) => failed(format!("{error:#}"), Vec::new()),
                }
            }
            Outcome::Cancelled { .. } => Again {
                status: Verdict::Cancelled,
                ..again
            },
            Outcome::Failed(failure) => failed(failure.message, failure.tail),
        }
    }

    /// The outputs that are other bytes than the stored ones.
    fn differing(
        &self,
        node: NodeIndex,
        made: &Record,
        folder: &Path,
    ) -> Result<BTreeMap<String, OutputDiffers>> {
        let scratch = Store::open(folder)?;
        let mut differing = BTreeMap::new();
        for (role, then) in &self.record(node)?.outputs {
            let now = made
                .outputs
                .get(role)
                .with_context(|| format!("the output `{role}` was not made again"))?;
            if now.digest == then.digest {
                continue;
            }
            let declared = &self.plan.graph[node].outputs;
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
}

/// How far a check is.
struct State<'a> {
    checker: &'a Checker<'a>,
    nodes: &'a [NodeIndex],
    /// The folder of the stores that the runs have.
    scratch: &'a Path,
    tell: &'a mut dyn FnMut(&Event),
    /// How often each stage is run.
    per_stage: usize,
    waiting: VecDeque<Turn>,
    /// What runs, by its place: the threads that it has, and its store.
    running: HashMap<usize, (u32, PathBuf)>,
    /// How many runs were begun.
    begun: usize,
    /// The verdicts of each stage's runs, by its place.
    runs: Vec<Vec<Again>>,
    /// The verdicts of the stages that have ended.
    ended: Vec<Verdict>,
    /// Why no more is begun.
    broken: Option<anyhow::Error>,
}

impl State<'_> {
    /// The place in the queue of the first that may start now, and fits beside the batch.
    fn next_of_queue(&self, executor: &dyn Executor, batch: &[Job]) -> Option<usize> {
        self.waiting.iter().position(|turn| {
            let node = self.nodes[turn.place];
            let resources = self.checker.resources(node, turn.threads);
            // One run of a stage at a time, so that people can tell what they see.
            !self.running.contains_key(&turn.place) && executor.fits(batch, &resources)
        })
    }

    fn end(&mut self, place: usize) {
        let node = self.nodes[place];
        let instance = &self.checker.plan.graph[node];
        let record = &self.checker.records[&node];
        let runs = self.runs[place].clone();
        let worst = runs.iter().map(|run| run.status).max();
        let short = (runs.len() < self.per_stage).then_some(Verdict::Cancelled);
        let end = CheckEnd {
            stage: instance.stage.clone(),
            instance: instance.coordinates.clone(),
            status: worst.max(short).unwrap_or(Verdict::Identical),
            key: record.key,
            stored: record.provenance.clone(),
            runs,
        };
        self.ended.push(end.status);
        (self.tell)(&Event::Check(Box::new(end)));
    }
}

impl Work for State<'_> {
    fn advance(&mut self, executor: &dyn Executor) -> Vec<Job> {
        let mut batch = Vec::new();
        while self.broken.is_none()
            && !self.checker.stop.load(Ordering::Relaxed)
            && let Some(at) = self.next_of_queue(executor, &batch)
            && let Some(Turn { place, threads }) = self.waiting.remove(at)
        {
            self.begun += 1;
            let folder = self.scratch.join(self.begun.to_string());
            match self.checker.request(self.nodes[place], threads, &folder) {
                Ok(request) => {
                    let threads = request.resources.threads.unwrap_or(threads);
                    self.running.insert(place, (threads, folder));
                    batch.push(Job {
                        number: place,
                        request,
                    });
                }
                Err(error) => self.broken = Some(error),
            }
        }
        batch
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Event(event) => (self.tell)(&event),
            // The same stage may only begin again once this run was compared.
            Message::Freed(_) => {}
            Message::Ended(place, outcome, seconds) => {
                let Some((threads, folder)) = self.running.remove(&place) else {
                    return;
                };
                let again = Again::of(Verdict::Identical, threads, seconds);
                let again = self
                    .checker
                    .again(self.nodes[place], outcome, &folder, again);
                // What can't be removed now goes with the whole scratch folder.
                let _ = fs::remove_dir_all(&folder);
                self.runs[place].push(again);
                if self.runs[place].len() == self.per_stage {
                    self.end(place);
                }
            }
        }
    }
}
