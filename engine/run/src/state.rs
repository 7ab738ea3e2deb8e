//! Where every instance of a run stands, and what is started next.
//!
//! An instance goes Waiting → Ready → (Cached | Queued → Running → Ran | Failed | Cancelled); what reads from one that
//! failed goes Waiting → Skipped. `docs/architecture.md` has the picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use flow_cache::{Error, Key, Lookup, Record, Store};
use flow_plan::plan::{Plan, Resources};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use serde_json::Map;

use super::budget::Machine;
use super::executor::{Executor, Job, Message, Work};
use super::perform::Outcome;
use super::points::Points;
use super::request::{Request, Requests, Task};
use crate::record::durations::Durations;
use crate::record::event::{Ending, Event, Failure, RunEnd, StageEnd, Status};
use crate::record::journal::Journal;
use crate::record::key::Manifest;
use crate::record::upgrade::Upgrade;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The instances to bring up to date. What they read from is among them.
    pub wanted: BTreeSet<NodeIndex>,
    /// Instances that are only looked up: what `--only` leaves out.
    pub looked_up: BTreeSet<NodeIndex>,
    /// The results of frozen instances, which stand.
    pub frozen: HashMap<NodeIndex, Record>,
    /// Instances that are executed although their result is in the store.
    pub forced: BTreeSet<NodeIndex>,
    /// The machine that stages share.
    pub machine: Machine,
    /// Threads that may be given out at once.
    pub jobs: u32,
    /// Whether stages that do not depend on a failed one still run.
    pub keep_going: bool,
}

/// A stage that takes less, in seconds, may be begun although a more urgent one is ready in a moment.
const LONG: f64 = 1.0;
/// Nothing asks for less.
const LEAST: Resources = Resources {
    threads: None,
    cpus: 1,
    gpus: 0,
    gpus_needed: false,
    memory: 0,
    project: false,
};
/// From this many stages on, their keys are made by several threads: fewer take less time than threads take to start.
const MANY: usize = 64;

/// What is known of an instance that is ready.
struct Found {
    key: Key,
    manifest: Manifest,
    lookup: Lookup,
}

/// What decides the key of an instance; `None` where something that it reads was not made.
fn key_of(
    requests: &Requests<'_>,
    records: &HashMap<NodeIndex, Record>,
    node: NodeIndex,
) -> Option<(Manifest, Key)> {
    let made = |source, output: &str| {
        let record: &Record = records.get(&source)?;
        record.outputs.get(output)
    };
    let (plan, catalogue) = (requests.plan, requests.catalogue);
    let manifest = Manifest::of(plan, node, catalogue, requests.externals, made)?;
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

pub(super) struct State<'a, 'b> {
    requests: Requests<'a>,
    store: &'a Store,
    stop: &'a AtomicBool,
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
    /// What programs of an earlier version may do otherwise now.
    upgrade: Upgrade,
    /// Whether the user's small files were taken in, before the first stage starts.
    taken_in: bool,
    /// Waiting: how many instances each still waits for.
    waits: HashMap<NodeIndex, usize>,
    /// Ready: to be looked up.
    ready: BTreeSet<(usize, NodeIndex)>,
    /// Queued: to be executed when the machine has room.
    queue: BTreeMap<(usize, NodeIndex), Queued>,
    running: HashMap<NodeIndex, Running>,
    /// The results that are there.
    pub records: HashMap<NodeIndex, Record>,
    ended: HashMap<NodeIndex, Status>,
    counts: HashMap<&'static str, usize>,
    /// What was interrupted and goes on from a checkpoint next time.
    checkpoints: Vec<String>,
    failed: bool,
    /// What the store can't do any more.
    pub broken: Option<Error>,
}

/// What has to be executed, under its key.
struct Queued {
    key: Key,
    manifest: Manifest,
}

/// What is under way, under its key.
struct Running {
    key: Key,
    /// Whether its process is gone, so that nothing but its commit is left.
    is_freed: bool,
}

impl<'a, 'b> State<'a, 'b> {
    /// All that the options name waits, or is ready.
    pub fn new(
        requests: Requests<'a>,
        store: &'a Store,
        stop: &'a AtomicBool,
        options: &'a Options,
        journal: &'b mut Journal,
        tell: &'b mut dyn FnMut(&Event),
    ) -> State<'a, 'b> {
        let plan = requests.plan;
        let rank = rank(&plan.order);
        let (mut waits, mut ready) = (HashMap::new(), BTreeSet::new());
        let involved =
            |node: &NodeIndex| options.wanted.contains(node) || options.looked_up.contains(node);
        for &node in plan.order.iter().filter(|node| involved(node)) {
            let count = plan.sources(node).count();
            waits.insert(node, count);
            if count == 0 {
                ready.insert((rank[&node], node));
            }
        }
        State {
            points: Points::of(plan, &options.wanted),
            requests,
            upgrade: Upgrade::default(),
            taken_in: false,
            store,
            stop,
            options,
            journal,
            tell,
            rank,
            durations: None,
            waits,
            ready,
            queue: BTreeMap::new(),
            running: HashMap::new(),
            records: HashMap::new(),
            ended: HashMap::new(),
            counts: HashMap::new(),
            checkpoints: Vec::new(),
            failed: false,
            broken: None,
        }
    }

    fn plan(&self) -> &'a Plan {
        self.requests.plan
    }

    /// Whether to look up nothing more.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.broken.is_some()
    }

    /// Whether to start nothing more.
    fn ending(&self) -> bool {
        self.stopped() || (self.failed && !self.options.keep_going)
    }

    /// Where there is a choice of what to start, that is decided by how long stages took.
    fn put_in_order(&mut self) {
        let choice = self.queue.len() + self.coming().count();
        if self.durations.is_some() || self.queue.is_empty() || choice < 2 || self.ending() {
            return;
        }
        // A store that can't tell them is no reason to run nothing.
        let durations = Durations::of(self.store).unwrap_or_default();
        let plan = self.plan();
        self.rank = rank(&plan.urgency(|instance| durations.seconds(instance)));
        self.durations = Some(durations);
        let queue = std::mem::take(&mut self.queue).into_iter();
        self.queue = queue
            .map(|((_, node), queued)| ((self.rank[&node], node), queued))
            .collect();
    }

    /// What becomes ready in a moment: it waits for nothing but results that are on their way into the store.
    fn coming(&self) -> impl Iterator<Item = NodeIndex> {
        let committing = self.running.iter().filter(|(_, job)| job.is_freed);
        let readers = committing.flat_map(|(&node, _)| self.plan().readers(node));
        readers.filter(|reader| self.waits.get(reader) == Some(&1))
    }

    /// Ready → Cached or Queued, until nothing is ready.
    fn look_up(&mut self) -> Result<(), Error> {
        while !self.ready.is_empty() && !self.stopped() {
            let ready = std::mem::take(&mut self.ready).into_iter();
            let options = self.options;
            let (frozen, ready): (Vec<_>, Vec<_>) =
                ready.partition(|(_, node)| options.frozen.contains_key(node));
            for (_, node) in frozen {
                let record = options.frozen[&node].clone();
                self.finish(node, Status::Frozen, record, 0.0);
            }
            let (requests, records) = (&self.requests, &self.records);
            let key_of = |(_, node): &(usize, NodeIndex)| key_of(requests, records, *node);
            let keys: Vec<_> = if ready.len() < MANY {
                ready.iter().map(key_of).collect()
            } else {
                ready.par_iter().map(key_of).collect()
            };
            let forced = &self.options.forced;
            let asked = ready.iter().zip(&keys);
            let asked = asked.filter(|((_, node), _)| !forced.contains(node));
            let asked: Vec<Key> = asked.filter_map(|(_, key)| Some(key.as_ref()?.1)).collect();
            let mut answers = self.store.lookup_many(&asked).into_iter();
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
        let instance = &self.plan().graph[node];
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
        self.queue.insert((rank, node), Queued { key, manifest });
    }

    /// The first of the queue that may start now, and fits beside the batch.
    fn next_of_queue(&self, executor: &dyn Executor, batch: &[Job]) -> Option<(usize, NodeIndex)> {
        // Of thousands that wait none is looked at while the machine is full.
        if !executor.fits(batch, &LEAST) {
            return None;
        }
        // What takes long is not begun in the moment before something more urgent is ready.
        let coming = self.coming().map(|node| self.rank[&node]).min();
        let plan = self.plan();
        let is_short = |node: NodeIndex| {
            let known = self.durations.as_ref()?.seconds(&plan.graph[node]);
            known.filter(|seconds| *seconds < LONG)
        };
        let found = self.queue.iter().find(|(place, queued)| {
            let (rank, node) = **place;
            if coming.is_some_and(|coming| coming < rank) && is_short(node).is_none() {
                return false;
            }
            // Two stages of one key do the work once: the second would only wait, and hold threads.
            let is_twin = || self.running.values().any(|job| job.key == queued.key);
            executor.fits(batch, &plan.graph[node].resources) && !is_twin()
        });
        found.map(|(place, _)| *place)
    }

    /// Queued → Running, while there is room.
    fn choose(&mut self, executor: &dyn Executor, batch: &mut Vec<Job>) -> Result<(), Error> {
        self.look_up()?;
        self.put_in_order();
        while !self.ending() {
            let Some(place) = self.next_of_queue(executor, batch) else {
                return Ok(());
            };
            let Some(Queued { key, manifest }) = self.queue.remove(&place) else {
                return Ok(());
            };
            let (_, node) = place;
            let forced = self.options.forced.contains(&node);
            // A twin that ended meanwhile has made the result.
            if !forced && let Lookup::Hit(record) = self.store.lookup(&key)? {
                self.finish(node, Status::Cached, record, 0.0);
                self.look_up()?;
                self.put_in_order();
                continue;
            }
            if !self.taken_in {
                let Requests {
                    externals,
                    folder,
                    run,
                    ..
                } = self.requests;
                externals.take_in(folder, self.store, run)?;
                self.taken_in = true;
            }
            let log = self.journal.log(&self.plan().graph[node].label);
            let request = self.requests.of(node, key, manifest, &self.records, log);
            // All that its manifest was made of is there; were it not, the instance would end as cancelled.
            let Some(request) = request else {
                continue;
            };
            if let Task::Command(program) = &request.task
                && let Some(message) = self.upgrade.otherwise(self.store, &request.stage, program)
            {
                let label = Some(request.label.clone());
                self.event(Event::Warning { label, message });
            }
            let job = Running {
                key,
                is_freed: false,
            };
            self.running.insert(node, job);
            batch.push(Job {
                number: node.index(),
                request: Request { forced, ..request },
            });
        }
        Ok(())
    }

    fn freed(&mut self, node: NodeIndex) {
        if let Some(job) = self.running.get_mut(&node) {
            job.is_freed = true;
        }
    }

    fn done(&mut self, node: NodeIndex, outcome: Outcome, seconds: f64) {
        let key = self.running.remove(&node).map(|job| job.key);
        match outcome {
            Outcome::Ran(record) => self.finish(node, Status::Ran, *record, seconds),
            Outcome::Cached(record) => self.finish(node, Status::Cached, *record, seconds),
            Outcome::Cancelled { checkpoint } => {
                if checkpoint {
                    let label = &self.plan().graph[node].label;
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
        self.records.insert(node, record.clone());
        self.end(node, status, Some(record.key), seconds, Some(&record), None);
        for reader in self.plan().readers(node) {
            if let Some(waits) = self.waits.get_mut(&reader) {
                *waits -= 1;
                if *waits == 0 {
                    self.ready.insert((self.rank[&reader], reader));
                }
            }
        }
    }

    fn skip_readers(&mut self, node: NodeIndex) {
        let mut search: Vec<NodeIndex> = self.plan().readers(node).collect();
        search.sort();
        while let Some(reader) = search.pop() {
            if self.waits.contains_key(&reader) && !self.ended.contains_key(&reader) {
                self.end(reader, Status::Skipped, None, 0.0, None, None);
                search.extend(self.plan().readers(reader));
            }
        }
    }

    /// What the end of the run came before.
    pub fn leave_out_the_rest(&mut self) {
        let rest: Vec<NodeIndex> = self
            .plan()
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
        let instance = &self.plan().graph[node];
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
            failure,
        })));
        for index in self.points.ended(node) {
            let metric = |node| Some(&self.records.get(&node)?.metrics);
            let end = self.points.end(self.plan(), index, &self.ended, metric);
            if let Some(end) = end {
                self.event(Event::Point(Box::new(end)));
            }
        }
    }

    pub fn event(&mut self, event: Event) {
        self.journal.keep(&event);
        (self.tell)(&event);
    }

    /// The counts of the run, which took `seconds`.
    pub fn summary(&self, seconds: f64) -> RunEnd {
        let count = |status: Status| self.counts.get(status.word()).copied().unwrap_or(0);
        let cancelled = count(Status::Cancelled) > 0;
        RunEnd {
            run: self.requests.run.into(),
            // Whatever the reason is that something was left out: it is not well.
            status: if cancelled && self.stop.load(Ordering::Relaxed) {
                Ending::Cancelled
            } else if cancelled || self.failed || self.broken.is_some() {
                Ending::Failed
            } else {
                Ending::Ok
            },
            ran: count(Status::Ran),
            cached: count(Status::Cached),
            frozen: count(Status::Frozen),
            failed: count(Status::Failed),
            skipped: count(Status::Skipped),
            cancelled: count(Status::Cancelled),
            undelivered: 0,
            figures: Map::new(),
            checkpoints: self.checkpoints.clone(),
            seconds,
        }
    }
}

impl Work for State<'_, '_> {
    fn advance(&mut self, executor: &dyn Executor) -> Vec<Job> {
        let mut batch = Vec::new();
        if let Err(error) = self.choose(executor, &mut batch) {
            // What runs may end, and its results count; nothing else is begun.
            self.broken.get_or_insert(error);
        }
        batch
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.event(event),
            Message::Freed(number) => self.freed(NodeIndex::new(number)),
            Message::Ended(number, outcome, seconds) => {
                self.done(NodeIndex::new(number), outcome, seconds);
            }
        }
    }
}
