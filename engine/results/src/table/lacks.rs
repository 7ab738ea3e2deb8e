//! Why a result is not there: what failed on the way to it, as the journal of the run tells in which it did, or what has
//! not run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flow_cache::Key;
use flow_run::record::event::StageEnd;
use flow_run::record::past;
use petgraph::graph::NodeIndex;

use super::{Columns, Source};
use crate::{Cause, Standing, Survey};

/// Why the instances of a table have no result.
pub(super) struct Lacks<'a> {
    columns: &'a Columns,
    by_node: HashMap<NodeIndex, Lack>,
}

/// Why one instance has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Lack {
    /// What failed or has not run, by its name within a point: the instance itself, or one that it reads from.
    instance: String,
    /// A clause.
    why: String,
    failed: bool,
}

/// What is said of a row.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// For how many seeds something is not there.
    pub seeds: usize,
    /// Whether anything failed.
    pub failed: bool,
    /// Why, with the seeds.
    pub reason: Option<String>,
}

impl<'a> Lacks<'a> {
    /// Looks at what the table shows.
    ///
    /// # Errors
    /// Where the runs can't be read.
    pub fn of(
        source: &Source<'_>,
        columns: &'a Columns,
        survey: &Survey,
    ) -> anyhow::Result<Lacks<'a>> {
        let absent: Vec<NodeIndex> = columns
            .nodes()
            .into_iter()
            .filter(|node| survey.record(*node).is_none())
            .collect();
        let mut lacks = Lacks {
            columns,
            by_node: HashMap::new(),
        };
        if absent.is_empty() {
            return Ok(lacks);
        }
        let plan = source.plan;
        let wanted: BTreeSet<Key> = plan
            .with_ancestors(&absent)
            .into_iter()
            .filter_map(|node| Some(to_run(survey, node)?.0))
            .collect();
        let failures = past::failures(source.store, &wanted)?;
        let places = plan.order.iter().enumerate();
        let places: HashMap<NodeIndex, usize> = places.map(|(i, node)| (*node, i)).collect();
        for node in absent {
            let mut involved: Vec<NodeIndex> = plan.with_ancestors(&[node]).into_iter().collect();
            involved.sort_by_key(|node| places[node]);
            let lack = lack(columns, survey, &failures, &involved);
            lacks.by_node.insert(node, lack);
        }
        Ok(lacks)
    }

    /// What is said of the row of a point. `several`: whether seeds have to be told apart.
    pub fn of_row(&self, seeds: &[(u64, BTreeMap<String, NodeIndex>)], several: bool) -> Told {
        let mut told = Told::default();
        let mut reasons: Vec<(&Lack, Vec<String>)> = Vec::new();
        for (seed, nodes) in seeds {
            let found = self.columns.shown(nodes);
            let mut found: Vec<&Lack> = found.filter_map(|node| self.by_node.get(&node)).collect();
            if found.is_empty() {
                continue;
            }
            told.seeds += 1;
            // What failed tells more than what has not run because of it.
            if found.iter().any(|lack| lack.failed) {
                told.failed = true;
                found.retain(|lack| lack.failed);
            }
            found.sort();
            found.dedup();
            for lack in found {
                match reasons.iter_mut().find(|(other, _)| *other == lack) {
                    Some((_, seeds)) => seeds.push(seed.to_string()),
                    None => reasons.push((lack, vec![seed.to_string()])),
                }
            }
        }
        // Instances that need the same words are named together.
        let mut clauses: Vec<(Vec<&str>, String)> = Vec::new();
        for (lack, seeds) in &reasons {
            let seeds = match seeds.len() {
                _ if !several => String::new(),
                1 => format!(" (seed {})", seeds[0]),
                _ => format!(" (seeds {})", seeds.join(", ")),
            };
            let rest = format!("{seeds}: {}", lack.why);
            match clauses.iter_mut().find(|(_, other)| *other == rest) {
                Some((instances, _)) => instances.push(&lack.instance),
                None => clauses.push((vec![&lack.instance], rest)),
            }
        }
        let clauses = clauses.iter();
        let clauses: Vec<String> = clauses
            .map(|(instances, rest)| format!("{}{rest}", instances.join(", ")))
            .collect();
        told.reason = (!clauses.is_empty()).then(|| clauses.join("; "));
        told
    }
}

/// The key of an instance that has to run, and why it has to although that may be known.
fn to_run(survey: &Survey, node: NodeIndex) -> Option<(Key, Option<&Cause>)> {
    match survey.get(node)? {
        Standing::WillRun { key, cause, .. } => Some((*key, cause.as_ref())),
        _ => None,
    }
}

/// Why an instance has no result: the first failure on the way to it, else the first instance that has not run.
/// `involved`: it, and all that it reads from, in the plan's order.
fn lack(
    columns: &Columns,
    survey: &Survey,
    failures: &BTreeMap<Key, StageEnd>,
    involved: &[NodeIndex],
) -> Lack {
    let not_run = || "not run yet".to_string();
    let mut first: Option<Lack> = None;
    for &node in involved {
        let Some((key, cause)) = to_run(survey, node) else {
            continue;
        };
        let told = |why: String, failed: bool| Lack {
            instance: columns.points.names.get(&node).cloned().unwrap_or_default(),
            why,
            failed,
        };
        if let Some(failure) = failures.get(&key).and_then(|line| line.failure.as_ref()) {
            return told(failure.message.clone(), true);
        }
        first.get_or_insert_with(|| match cause {
            Some(Cause::Damaged(why)) => told(format!("its result can't be used: {why}"), false),
            Some(Cause::Forced) | None => told(not_run(), false),
        });
    }
    // Nothing of it can be looked up only where something above has to run.
    first.unwrap_or_else(|| Lack {
        instance: String::new(),
        why: not_run(),
        failed: false,
    })
}
