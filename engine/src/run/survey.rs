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
    /// It has to run.
    WillRun {
        /// Its key.
        key: Key,
        /// What the key is made of.
        manifest: Box<Manifest>,
        /// Why it has to, where that is not a matter of the key.
        cause: Option<Cause>,
    },
    /// It reads from something that has to run, and will run unless that gives the bytes it gave before.
    MayRun,
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
            let standing = match manifest {
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

    /// The record of an instance that is up to date.
    pub fn record(&self, node: NodeIndex) -> Option<&Record> {
        match self.get(node)? {
            Standing::UpToDate(record) => Some(record),
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
