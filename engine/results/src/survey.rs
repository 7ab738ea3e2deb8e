//! What a run would do, without doing it: the same keys and lookups, no lock, no process.

use std::collections::{BTreeSet, HashMap};

use flow_cache::{Error, Key, Lookup, Record, Store};
use flow_plan::plan::Plan;
use flow_plan::plan::kinds::Catalogue;
use flow_run::record::{Externals, Manifest, Status};
use petgraph::graph::NodeIndex;
use serde::{Serialize, Serializer};

/// How an instance stands.
#[derive(Debug)]
pub enum Standing {
    /// Its result is in the store.
    UpToDate(Box<Record>),
    /// It is frozen: this result stands.
    Frozen(Box<Record>),
    /// It has to run.
    WillRun {
        /// Its key.
        key: Key,
        /// What the key is made of.
        manifest: Box<Manifest>,
        /// Why it has to, where that is not a matter of the key.
        cause: Option<Cause>,
    },
    /// It has to run by `--force`, after something that it reads from: its key is not known yet.
    Forced,
    /// It reads from something that has to run, and will run unless that gives the bytes it gave before.
    MayRun,
}

/// How an instance stands, without what is known of it; the later, the more work it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its last result stands.
    Frozen,
    /// Its result is in the store.
    UpToDate,
    /// It reads from something that has to run.
    MayRun,
    /// It has to run.
    WillRun,
}

impl State {
    /// The word that views show.
    pub fn word(self) -> &'static str {
        match self {
            State::Frozen => "frozen",
            State::UpToDate => "up to date",
            State::MayRun => "may run",
            State::WillRun => "will run",
        }
    }
}

/// How an instance stands in what people look at: by what the store has now, or in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// So by what the store has.
    Now(State),
    /// It ended so in the run.
    Ended(Status),
    /// The run executes it.
    Running,
    /// The run has not come to it yet.
    Waiting,
}

impl Stands {
    /// The word that views show.
    pub fn word(self) -> &'static str {
        match self {
            Stands::Now(state) => state.word(),
            Stands::Ended(status) => status.word(),
            Stands::Running => "running",
            Stands::Waiting => "waiting",
        }
    }
}

impl Serialize for Stands {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Standing {
    /// The same, without what is known of it.
    pub fn state(&self) -> State {
        match self {
            Standing::UpToDate(_) => State::UpToDate,
            Standing::Frozen(_) => State::Frozen,
            Standing::WillRun { .. } | Standing::Forced => State::WillRun,
            Standing::MayRun => State::MayRun,
        }
    }

    /// Its key, where its inputs are known.
    pub fn key(&self) -> Option<Key> {
        match self {
            Standing::UpToDate(record) | Standing::Frozen(record) => Some(record.key),
            Standing::WillRun { key, .. } => Some(*key),
            Standing::Forced | Standing::MayRun => None,
        }
    }
}

/// Why an instance has to run although its key may be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// `--force`.
    Forced,
    /// Its result in the store can't be used.
    Damaged(String),
}

/// How every instance stands.
#[derive(Debug)]
pub struct Survey {
    standings: HashMap<NodeIndex, Standing>,
}

impl Survey {
    /// Looks at the given instances, in the plan's order. Those that `forced` names count as to be run; the records in
    /// `frozen` stand.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn of(
        plan: &Plan,
        nodes: impl Fn(NodeIndex) -> bool,
        forced: impl Fn(NodeIndex) -> bool,
        frozen: &HashMap<NodeIndex, Record>,
        catalogue: &Catalogue,
        externals: &Externals,
        store: &Store,
    ) -> Result<Survey, Error> {
        let mut standings: HashMap<NodeIndex, Standing> = HashMap::new();
        for &node in plan.order.iter().filter(|&&node| nodes(node)) {
            if let Some(record) = frozen.get(&node) {
                standings.insert(node, Standing::Frozen(Box::new(record.clone())));
                continue;
            }
            let made = |source, output: &str| match standings.get(&source)? {
                Standing::UpToDate(record) | Standing::Frozen(record) => record.outputs.get(output),
                _ => None,
            };
            let manifest = Manifest::of(plan, node, catalogue, externals, made);
            let standing = match manifest {
                None if forced(node) => Standing::Forced,
                None => Standing::MayRun,
                Some(manifest) => stand(manifest, forced(node), store)?,
            };
            standings.insert(node, standing);
        }
        Ok(Survey { standings })
    }

    /// How the instances stood that have these results: the others were not made.
    pub fn of_records(
        plan: &Plan,
        records: impl IntoIterator<Item = (NodeIndex, Record)>,
    ) -> Survey {
        let others = plan.order.iter().map(|&node| (node, Standing::MayRun));
        let mut standings: HashMap<NodeIndex, Standing> = others.collect();
        for (node, record) in records {
            standings.insert(node, Standing::UpToDate(Box::new(record)));
        }
        Survey { standings }
    }

    /// How one instance stands.
    pub fn get(&self, node: NodeIndex) -> Option<&Standing> {
        self.standings.get(&node)
    }

    /// How one instance stands, in a word; of one that was not looked at nothing more is known than that it may run.
    pub fn state(&self, node: NodeIndex) -> State {
        self.get(node).map_or(State::MayRun, Standing::state)
    }

    /// The instances without a result that one reads from, as they were planned.
    pub fn pending(&self, plan: &Plan, node: NodeIndex) -> BTreeSet<NodeIndex> {
        let sources = plan.sources(node);
        let pending = sources.filter(|source| self.record(*source).is_none());
        pending.collect()
    }

    /// The record of an instance that is up to date, or frozen.
    pub fn record(&self, node: NodeIndex) -> Option<&Record> {
        match self.get(node)? {
            Standing::UpToDate(record) | Standing::Frozen(record) => Some(record),
            _ => None,
        }
    }
}

fn stand(manifest: Manifest, forced: bool, store: &Store) -> Result<Standing, Error> {
    let key = manifest.key();
    let cause = if forced {
        Some(Cause::Forced)
    } else {
        match store.lookup(&key)? {
            Lookup::Hit(record) => return Ok(Standing::UpToDate(Box::new(record))),
            Lookup::Miss => None,
            Lookup::Damaged(why) => Some(Cause::Damaged(why)),
        }
    };
    Ok(Standing::WillRun {
        key,
        manifest: Box::new(manifest),
        cause,
    })
}
