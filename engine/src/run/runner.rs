//! The loop: whatever is ready is looked up, and executed where it has to be, inside the thread budget.
//!
//! An instance goes Waiting → Ready → (Cached | Queued → Running → Ran | Failed | Cancelled); what reads from one that
//! failed goes Waiting → Skipped. `docs/architecture.md` has the picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::Result;
use flow_cache::{Error, Key, Lookup, Record, Store};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;

use super::budget::{Budget, Machine, Share};
use super::durations::Durations;
use super::event::{Event, Failure, RunEnd, StageEnd, Status};
use super::execute::{self, Job, Made, Outcome, Site};
use super::external::Externals;
use super::journal::Journal;
use super::key::Manifest;
use super::points::Points;
use crate::plan::Plan;
use crate::plugin::Catalogue;
use crate::workflow::Workflow;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The instances that are to be up to date in the end. What they read from is among them.
    pub wanted: BTreeSet<NodeIndex>,
    /// Instances that are only looked up: what `--only` leaves out.
    pub looked_up: BTreeSet<NodeIndex>,
    /// Instances that are executed although their result is in the store.
    pub forced: BTreeSet<NodeIndex>,
    /// What there is to give out.
    pub machine: Machine,
    /// Threads that may be given out at once.
    pub jobs: u32,
    /// Whether stages that do not depend on a failed one still run.
    pub keep_going: bool,
}

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
    /// What is to be done.
    pub plan: &'a Plan,
    /// The stage kinds.
    pub catalogue: &'a Catalogue,
    /// The user's files.
    pub externals: &'a Externals,
    /// Where results are.
    pub store: &'a Store,
    /// Set when the run is to end.
    pub stop: &'a AtomicBool,
    /// When its command began.
    pub started: Instant,
}

/// What a thread that executes a job tells the loop.
enum Message {
    Event(Event),
    /// Its process is gone, and its result is on the way into the store: what it held of the machine is free.
    Freed(NodeIndex),
    Done(NodeIndex, Outcome, f64),
}

/// How often the loop looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);
/// How many stages may be under way at once, those among them that only wait until their result is safe on the disk. So the
/// disk's syncs, which take milliseconds each, overlap.
const UNDER_WAY: usize = 64;
/// A stage that takes less, in seconds, may be begun although a more urgent one is ready in a moment.
const LONG: f64 = 1.0;
/// From so many stages on, they are looked up by several threads: fewer take less time than threads take to start.
const MANY: usize = 64;

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
        let site = Site {
            plan: self.plan,
            catalogue: self.catalogue,
            store: self.store,
            inputs: self.store,
            externals: self.externals,
            folder: self.workflow.folder(),
            run: &id,
            stop: self.stop,
        };
        let mut state = State {
            runner: self,
            options,
            journal,
            tell,
            rank: rank(&self.plan.order),
            durations: None,
            points: Points::of(self.plan, &options.wanted),
            waits: HashMap::new(),
            ready: BTreeSet::new(),
            queue: BTreeMap::new(),
            running: HashMap::new(),
            budget: Budget::new(options.machine.clone(), options.jobs),
            made: Made::new(),
            records: HashMap::new(),
            ended: HashMap::new(),
            counts: HashMap::new(),
            checkpoints: Vec::new(),
            failed: false,
            broken: None,
        };
        state.event(Event::Start {
            run: id.clone(),
            workflow: self.workflow.name.clone(),
            stages: options.wanted.len(),
        });
        state.begin();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            loop {
                if let Err(error) = state.advance(scope, &site, &sender) {
                    // What runs may end, and its results count; nothing else is begun.
                    state.broken.get_or_insert(error);
                }
                if state.running.is_empty() {
                    return;
                }
                match receiver.recv_timeout(TICK) {
                    Ok(Message::Event(event)) => state.event(event),
                    Ok(Message::Freed(node)) => state.freed(node),
                    Ok(Message::Done(node, outcome, seconds)) => state.done(node, outcome, seconds),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        state.leave_out_the_rest();
        let end = state.summary(id, self.started.elapsed().as_secs_f64());
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

/// What is known of an instance that is ready.
struct Found {
    key: Key,
    manifest: Manifest,
    lookup: Lookup,
}

/// What decides the key of an instance; `None` where something that it reads was not made.
fn key_of(runner: &Runner<'_>, made: &Made, node: NodeIndex) -> Option<(Manifest, Key)> {
    let digest = |source, output: &str| {
        let output = made.get(&(source, output.to_string()));
        output.map(|output| output.digest)
    };
    let instance = &runner.plan.graph[node];
    let manifest = Manifest::of(instance, runner.catalogue, runner.externals, digest)?;
    let key = manifest.key();
    Some((manifest, key))
}

/// The place of each instance in an order.
fn rank(order: &[NodeIndex]) -> HashMap<NodeIndex, usize> {
    order
        .iter()
        .enumerate()
        .map(|(i, &node)| (node, i))
        .collect()
}

struct State<'a, 'b> {
    runner: &'a Runner<'a>,
    options: &'a Options,
    journal: &'b mut Journal,
    tell: &'b mut dyn FnMut(&Event),
    /// Each instance's place in the order by which everything is decided: the plan's, and from the first choice on that of
    /// urgency.
    rank: HashMap<NodeIndex, usize>,
    /// How long stages take, once that was asked.
    durations: Option<Durations>,
    /// The points of a sweep.
    points: Points,
    /// Waiting: how many instances each still waits for.
    waits: HashMap<NodeIndex, usize>,
    /// Ready: to be looked up.
    ready: BTreeSet<(usize, NodeIndex)>,
    /// Queued: to be executed when the machine has room.
    queue: BTreeMap<(usize, NodeIndex), Job>,
    /// Running, with what they hold; those whose process is gone hold nothing.
    running: HashMap<NodeIndex, (Key, Option<Share>)>,
    budget: Budget,
    made: Made,
    /// The results that are there.
    records: HashMap<NodeIndex, Record>,
    ended: HashMap<NodeIndex, Status>,
    counts: HashMap<&'static str, usize>,
    /// What was interrupted and goes on from a checkpoint next time.
    checkpoints: Vec<String>,
    failed: bool,
    /// What the store can't do any more.
    broken: Option<Error>,
}

impl<'a> State<'a, '_> {
    fn begin(&mut self) {
        let plan = self.runner.plan;
        let involved = |node: &NodeIndex| {
            self.options.wanted.contains(node) || self.options.looked_up.contains(node)
        };
        for &node in plan.order.iter().filter(|node| involved(node)) {
            let waits = plan.sources(node).count();
            self.waits.insert(node, waits);
            if waits == 0 {
                self.ready.insert((self.rank[&node], node));
            }
        }
    }

    /// Whether nothing more is to be looked up.
    fn stopped(&self) -> bool {
        self.runner.stop.load(Ordering::Relaxed) || self.broken.is_some()
    }

    /// Whether nothing more is to be started.
    fn ending(&self) -> bool {
        self.stopped() || (self.failed && !self.options.keep_going)
    }

    /// Does whatever can be done now.
    fn advance<'scope, 'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        site: &'env Site<'env>,
        sender: &Sender<Message>,
    ) -> Result<(), Error> {
        self.look_up()?;
        self.put_in_order();
        self.start(scope, site, sender)
    }

    /// Where there is a choice of what to start, that is decided by how long stages took.
    fn put_in_order(&mut self) {
        let choice = self.queue.len() + self.coming().count();
        if self.durations.is_some() || self.queue.is_empty() || choice < 2 || self.ending() {
            return;
        }
        // A store that can't tell them is no reason to run nothing.
        let durations = Durations::of(self.runner.store).unwrap_or_default();
        let plan = self.runner.plan;
        self.rank = rank(&plan.urgency(|instance| durations.seconds(instance)));
        self.durations = Some(durations);
        let queue = std::mem::take(&mut self.queue).into_values();
        self.queue = queue
            .map(|job| ((self.rank[&job.node], job.node), job))
            .collect();
    }

    /// What becomes ready in a moment: it waits for nothing but results that are on their way into the store.
    fn coming(&self) -> impl Iterator<Item = NodeIndex> {
        let committing = self
            .running
            .iter()
            .filter(|(_, (_, share))| share.is_none());
        let readers = committing.flat_map(|(&node, _)| self.runner.plan.readers(node));
        readers.filter(|reader| self.waits.get(reader) == Some(&1))
    }

    /// Ready → Cached or Queued, until nothing is ready.
    fn look_up(&mut self) -> Result<(), Error> {
        while !self.ready.is_empty() && !self.stopped() {
            let ready: Vec<_> = std::mem::take(&mut self.ready).into_iter().collect();
            let (runner, made) = (self.runner, &self.made);
            let key_of = |(_, node): &(usize, NodeIndex)| key_of(runner, made, *node);
            let keys: Vec<_> = if ready.len() < MANY {
                ready.iter().map(key_of).collect()
            } else {
                ready.par_iter().map(key_of).collect()
            };
            let forced = &self.options.forced;
            let asked = ready.iter().zip(&keys);
            let asked = asked.filter(|((_, node), _)| !forced.contains(node));
            let asked: Vec<Key> = asked.filter_map(|(_, key)| Some(key.as_ref()?.1)).collect();
            let mut answers = runner.store.lookup_many(&asked).into_iter();
            for ((rank, node), found) in ready.into_iter().zip(keys) {
                let lookup = match &found {
                    Some(_) if !forced.contains(&node) => answers.next().transpose()?,
                    _ => None,
                };
                let found = found.map(|(manifest, key)| Found {
                    key,
                    manifest,
                    lookup: lookup.unwrap_or(Lookup::Miss),
                });
                self.take_in(rank, node, found);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, rank: usize, node: NodeIndex, found: Option<Found>) {
        let instance = &self.runner.plan.graph[node];
        let Some(Found {
            key,
            manifest,
            lookup,
        }) = found
        else {
            // Only where `--only` looks up what was never made; that is refused before the run.
            return self.end(node, Status::Skipped, None, 0.0, None, None);
        };
        match lookup {
            Lookup::Hit(record) => return self.finish(node, Status::Cached, record, 0.0),
            Lookup::Miss => {}
            Lookup::Damaged(why) => self.event(Event::Warning {
                label: Some(instance.label.clone()),
                message: format!("its result in the store can't be used, so it runs again: {why}"),
            }),
        }
        if self.options.looked_up.contains(&node) {
            return self.end(node, Status::Skipped, Some(key), 0.0, None, None);
        }
        let sources = instance.sources();
        let inputs = sources.iter().flat_map(|source| {
            let outputs = &self.runner.plan.graph[*source].outputs;
            outputs.iter().filter_map(|output| {
                let name = (*source, output.role.clone());
                Some((name.clone(), self.made.get(&name)?.clone()))
            })
        });
        let job = Job {
            node,
            manifest,
            key,
            forced: self.options.forced.contains(&node),
            log: self.journal.log(&instance.label),
            made: inputs.collect(),
            sources: sources
                .iter()
                .filter_map(|source| Some((*source, self.records.get(source)?.key)))
                .collect(),
        };
        self.queue.insert((rank, node), job);
    }

    /// Queued → Running, while the machine has room.
    fn start<'scope, 'env>(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        site: &'env Site<'env>,
        sender: &Sender<Message>,
    ) -> Result<(), Error> {
        while !self.ending() && self.running.len() < UNDER_WAY {
            // What takes long is not begun in the moment before something more urgent is ready.
            let coming = self.coming().map(|node| self.rank[&node]).min();
            let (budget, running) = (&mut self.budget, &self.running);
            let (plan, durations) = (self.runner.plan, &self.durations);
            let is_short = |node: NodeIndex| {
                let known = durations.as_ref()?.seconds(&plan.graph[node]);
                known.filter(|seconds| *seconds < LONG)
            };
            let found = self.queue.iter().find_map(|(place, job)| {
                if coming.is_some_and(|rank| rank < place.0) && is_short(job.node).is_none() {
                    return None;
                }
                // Two stages of one key do the work once: the second would only wait, and hold threads.
                let twin = running.values().any(|(key, _)| *key == job.key);
                let share = (!twin).then(|| budget.take(&plan.graph[job.node].resources));
                Some((*place, share??))
            });
            let Some((place, share)) = found else {
                return Ok(());
            };
            let Some(job) = self.queue.remove(&place) else {
                return Ok(());
            };
            // A twin that ended meanwhile has made the result.
            if !job.forced
                && let Lookup::Hit(record) = self.runner.store.lookup(&job.key)?
            {
                self.budget.give_back(share);
                self.finish(job.node, Status::Cached, record, 0.0);
                self.look_up()?;
                self.put_in_order();
                continue;
            }
            self.running
                .insert(job.node, (job.key, Some(share.clone())));
            let sender = sender.clone();
            scope.spawn(move || {
                // The loop outlives its jobs; where it is gone there is nobody to tell.
                let tell = |event| {
                    let _ = sender.send(Message::Event(event));
                };
                let freed = || {
                    let _ = sender.send(Message::Freed(job.node));
                };
                let (outcome, seconds) = execute::execute(site, &job, &share, &freed, &tell);
                let _ = sender.send(Message::Done(job.node, outcome, seconds));
            });
        }
        Ok(())
    }

    fn freed(&mut self, node: NodeIndex) {
        let share = self.running.get_mut(&node);
        if let Some(share) = share.and_then(|(_, share)| share.take()) {
            self.budget.give_back(share);
        }
    }

    fn done(&mut self, node: NodeIndex, outcome: Outcome, seconds: f64) {
        self.freed(node);
        let key = self.running.remove(&node).map(|(key, _)| key);
        match outcome {
            Outcome::Ran(record) => self.finish(node, Status::Ran, *record, seconds),
            Outcome::Cached(record) => self.finish(node, Status::Cached, *record, seconds),
            Outcome::Cancelled { checkpoint } => {
                if checkpoint {
                    let label = &self.runner.plan.graph[node].label;
                    self.checkpoints.push(label.clone());
                }
                self.end(node, Status::Cancelled, key, seconds, None, None);
            }
            Outcome::Failed(failure) => {
                self.failed = true;
                self.end(node, Status::Failed, key, seconds, None, Some(failure));
                self.skip_readers(node);
            }
        }
    }

    fn finish(&mut self, node: NodeIndex, status: Status, record: Record, seconds: f64) {
        for (role, output) in &record.outputs {
            self.made.insert((node, role.clone()), output.clone());
        }
        self.records.insert(node, record.clone());
        self.end(node, status, Some(record.key), seconds, Some(&record), None);
        for reader in self.runner.plan.readers(node) {
            if let Some(waits) = self.waits.get_mut(&reader) {
                *waits -= 1;
                if *waits == 0 {
                    self.ready.insert((self.rank[&reader], reader));
                }
            }
        }
    }

    fn skip_readers(&mut self, node: NodeIndex) {
        let mut search: Vec<NodeIndex> = self.runner.plan.readers(node).collect();
        search.sort();
        while let Some(reader) = search.pop() {
            if self.waits.contains_key(&reader) && !self.ended.contains_key(&reader) {
                self.end(reader, Status::Skipped, None, 0.0, None, None);
                search.extend(self.runner.plan.readers(reader));
            }
        }
    }

    fn leave_out_the_rest(&mut self) {
        let rest: Vec<NodeIndex> = self
            .runner
            .plan
            .order
            .iter()
            .copied()
            .filter(|node| self.options.wanted.contains(node) && !self.ended.contains_key(node))
            .collect();
        for node in rest {
            self.end(node, Status::Cancelled, None, 0.0, None, None);
        }
    }

    fn end(
        &mut self,
        node: NodeIndex,
        status: Status,
        key: Option<Key>,
        seconds: f64,
        record: Option<&Record>,
        failure: Option<Failure>,
    ) {
        self.ended.insert(node, status);
        if !self.options.wanted.contains(&node) {
            return;
        }
        *self.counts.entry(status.word()).or_default() += 1;
        let instance = &self.runner.plan.graph[node];
        self.event(Event::Stage(Box::new(StageEnd {
            stage: instance.stage.clone(),
            instance: instance.coordinates.clone(),
            status,
            key,
            seconds,
            outputs: record
                .map(|record| {
                    record
                        .outputs
                        .iter()
                        .map(|(r, o)| (r.clone(), o.digest))
                        .collect()
                })
                .unwrap_or_default(),
            metrics: record
                .map(|record| record.metrics.clone())
                .unwrap_or_default(),
            label: instance.label.clone(),
            failure,
        })));
        for index in self.points.ended(node) {
            let metric = |node| Some(&self.records.get(&node)?.metrics);
            let end = self
                .points
                .end(self.runner.plan, index, &self.ended, metric);
            if let Some(end) = end {
                self.event(Event::Point(Box::new(end)));
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.journal.keep(&event);
        (self.tell)(&event);
    }

    fn summary(&self, run: String, seconds: f64) -> RunEnd {
        let count = |status: Status| self.counts.get(status.word()).copied().unwrap_or(0);
        let cancelled = count(Status::Cancelled) > 0;
        RunEnd {
            run,
            // Whatever the reason is that something was left out: it is not well.
            status: if cancelled && self.runner.stop.load(Ordering::Relaxed) {
                "cancelled"
            } else if cancelled || self.failed || self.broken.is_some() {
                "failed"
            } else {
                "ok"
            },
            ran: count(Status::Ran),
            cached: count(Status::Cached),
            failed: count(Status::Failed),
            skipped: count(Status::Skipped),
            cancelled: count(Status::Cancelled),
            checkpoints: self.checkpoints.clone(),
            seconds,
        }
    }
}
