//! What a run would do, without doing it: the same keys and lookups, no lock, no process.

use std::collections::HashMap;

use flow_cache::{Error, Key, Lookup, Record, Store};
use petgraph::graph::NodeIndex;

use super::external::Externals;
use super::key::Manifest;
use crate::plan::Plan;
use crate::plugin::Catalogue;

/// How an instance stands.
#[derive(Debug)]
pub enum Standing {
    /// Its result is in the store.
    UpToDate(Box<Record>),
    /// It has to run. Where something was in the store and is damaged, that is said.
    WillRun(Key, Option<String>),
    /// It reads from something that has to run, and will run unless that gives the bytes it gave before.
    MayRun,
}

/// How every instance stands.
#[derive(Debug)]
pub struct Survey {
    standings: HashMap<NodeIndex, Standing>,
}

impl Survey {
    /// Looks at the given instances, in the plan's order. Those that `forced` names count as to be run.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn of(
        plan: &Plan,
        nodes: impl Fn(NodeIndex) -> bool,
        forced: impl Fn(NodeIndex) -> bool,
        catalogue: &Catalogue,
        externals: &Externals,
        store: &Store,
    ) -> Result<Survey, Error> {
        let mut standings: HashMap<NodeIndex, Standing> = HashMap::new();
        for &node in plan.order.iter().filter(|&&node| nodes(node)) {
            let instance = &plan.graph[node];
            let manifest =
                Manifest::of(
                    instance,
                    catalogue,
                    externals,
                    |source, output| match standings.get(&source)? {
                        Standing::UpToDate(record) => record.outputs.get(output).map(|o| o.digest),
                        _ => None,
                    },
                );
            let standing = match manifest.map(|manifest| manifest.key()) {
                None => Standing::MayRun,
                Some(key) if forced(node) => Standing::WillRun(key, None),
                Some(key) => match store.lookup(&key)? {
                    Lookup::Hit(record) => Standing::UpToDate(Box::new(record)),
                    Lookup::Miss => Standing::WillRun(key, None),
                    Lookup::Damaged(why) => Standing::WillRun(key, Some(why)),
                },
            };
            standings.insert(node, standing);
        }
        Ok(Survey { standings })
    }

    /// How one instance stands.
    pub fn get(&self, node: NodeIndex) -> Option<&Standing> {
        self.standings.get(&node)
    }

    /// The record of an instance that is up to date.
    pub fn record(&self, node: NodeIndex) -> Option<&Record> {
        match self.get(node)? {
            Standing::UpToDate(record) => Some(record),
            _ => None,
        }
    }
}
