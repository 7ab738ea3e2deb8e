//! Frozen stages: the last result that a run of this workflow file had of them stands, whatever their inputs are now.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::Result;
use flow_cache::{Key, Lookup, Record, Store};
use flow_plan::plan::{Instance, Plan};
use flow_plan::workflow::{Problem, Problems};
use petgraph::graph::NodeIndex;

use super::past::PastRun;

/// The records of a plan's frozen instances: those that the newest runs of the `workflow` file tell of, by the instances'
/// names. What lacks one is noted, once for each stage.
///
/// # Errors
/// Where the store can't be read.
pub fn find(
    plan: &Plan,
    workflow: &Path,
    store: &Store,
    problems: &mut Problems,
) -> Result<HashMap<NodeIndex, Record>> {
    let frozen = |node: &NodeIndex| plan.graph[*node].frozen.is_some();
    let nodes: Vec<NodeIndex> = plan.order.iter().copied().filter(frozen).collect();
    let mut records = HashMap::new();
    if nodes.is_empty() {
        return Ok(records);
    }
    let last = last(plan, &nodes, workflow, store)?;
    let mut noted = BTreeSet::new();
    for node in nodes {
        let instance = &plan.graph[node];
        let found = match last.get(instance.label.as_str()) {
            Some((run, key)) => usable(instance, run, key, store)?,
            None => Err(Problem::FrozenWithoutResult {
                label: instance.label.clone(),
            }),
        };
        match (found, instance.frozen) {
            (Ok(record), _) => drop(records.insert(node, record)),
            (Err(problem), Some(span)) if noted.insert(&instance.stage) => {
                problems.add(problem, span);
            }
            (Err(_), _) => {}
        }
    }
    Ok(records)
}

/// The same records as an earlier run had, which is made again.
///
/// # Errors
/// Where the store can't be read.
pub fn of_run(
    plan: &Plan,
    run: &PastRun,
    store: &Store,
    problems: &mut Problems,
) -> Result<HashMap<NodeIndex, Record>> {
    let ends = run.stages()?.into_iter();
    let had = ends.filter_map(|end| Some((end.label(), end.result()?)));
    let had: HashMap<String, Key> = had.collect();
    let mut records = HashMap::new();
    for &node in &plan.order {
        let instance = &plan.graph[node];
        let Some(span) = instance.frozen else {
            continue;
        };
        let found = match had.get(&instance.label) {
            Some(key) => usable(instance, &run.id, key, store)?,
            None => Err(Problem::FrozenWithoutResult {
                label: instance.label.clone(),
            }),
        };
        match found {
            Ok(record) => drop(records.insert(node, record)),
            Err(problem) => problems.add(problem, span),
        }
    }
    Ok(records)
}

/// The run that last had a result of each instance, and the result's key.
fn last<'p>(
    plan: &'p Plan,
    nodes: &[NodeIndex],
    workflow: &Path,
    store: &Store,
) -> Result<HashMap<&'p str, (String, Key)>> {
    let labels = nodes.iter().map(|&node| plan.graph[node].label.as_str());
    let mut wanted: BTreeSet<&str> = labels.collect();
    let mut found = HashMap::new();
    let mut runs = PastRun::all(store)?;
    let is_here = |run: &PastRun| run.head.path == workflow;
    if runs.iter().any(is_here) {
        runs.retain(is_here);
    } else {
        // A store beside its workflow moves with it.
        let is_beside = store.root().parent() == workflow.parent();
        runs.retain(|run| {
            let was = &run.head.path;
            is_beside && was.file_name() == workflow.file_name() && !was.exists()
        });
    }
    // What was made again is of the past, and not what was last made.
    runs.retain(|run| run.head.again.is_none());
    for run in &runs {
        if wanted.is_empty() {
            break;
        }
        for end in run.stages()? {
            if let Some(key) = end.result()
                && let Some(label) = wanted.take(end.label().as_str())
            {
                found.insert(label, (run.id.clone(), key));
            }
        }
    }
    Ok(found)
}

/// The record with a key, if what reads from the instance can read from it.
fn usable(
    instance: &Instance,
    run: &str,
    key: &Key,
    store: &Store,
) -> Result<Result<Record, Problem>> {
    let unusable = |why| {
        Err(Problem::FrozenUnusable {
            label: instance.label.clone(),
            run: run.into(),
            why,
        })
    };
    let record = match store.lookup(key)? {
        Lookup::Hit(record) => record,
        Lookup::Miss => return Ok(unusable("it is no longer in the store".into())),
        Lookup::Damaged(why) => return Ok(unusable(why)),
    };
    let lacks = |role: &str, artifact: &str| {
        let output = record.outputs.get(role);
        output.is_none_or(|output| output.artifact != artifact)
    };
    let mut outputs = instance.outputs.iter();
    let lacking = outputs.find(|output| lacks(&output.role, &output.artifact.to_string()));
    Ok(match lacking {
        Some(output) => unusable(format!("it has no output `{}` of this type", output.role)),
        None => Ok(record),
    })
}
