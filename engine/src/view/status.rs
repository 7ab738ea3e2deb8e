//! How each stage stands: up to date, or to be run.

use std::collections::BTreeMap;

use flow_cache::Key;
use petgraph::graph::NodeIndex;
use serde::Serialize;
use serde_json::Value;

use crate::plan::Plan;
use crate::run::{Standing, Survey};

/// One instance's standing, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'static str,
    stage: &'a str,
    instance: &'a BTreeMap<String, Value>,
    status: &'static str,
    key: Option<Key>,
}

fn words(standing: &Standing) -> (&'static str, Option<Key>) {
    match standing {
        Standing::UpToDate(record) => ("up to date", Some(record.key)),
        Standing::WillRun(key, _) => ("will run", Some(*key)),
        Standing::MayRun => ("may run", None),
    }
}

/// A JSON object for each instance.
pub fn json(plan: &Plan, survey: &Survey, nodes: &[NodeIndex]) -> Vec<String> {
    nodes
        .iter()
        .filter_map(|&node| {
            let instance = &plan.graph[node];
            let (status, key) = words(survey.get(node)?);
            serde_json::to_string(&Line {
                event: "standing",
                stage: &instance.stage,
                instance: &instance.coordinates,
                status,
                key,
            })
            .ok()
        })
        .collect()
}

/// A table, and a line that counts.
pub fn table(plan: &Plan, survey: &Survey, nodes: &[NodeIndex]) -> String {
    let mut rows = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for &node in nodes {
        let Some(standing) = survey.get(node) else {
            continue;
        };
        let (status, _) = words(standing);
        *counts.entry(status).or_default() += 1;
        let reason = match standing {
            Standing::UpToDate(record) => format!("took {}", super::duration(record.seconds)),
            Standing::WillRun(_, None) => "no result for these inputs and parameters".into(),
            Standing::WillRun(_, Some(why)) => format!("its result can't be used: {why}"),
            Standing::MayRun => {
                let waits: Vec<&str> = plan
                    .sources(node)
                    .filter(|source| survey.record(*source).is_none())
                    .map(|source| plan.graph[source].label.as_str())
                    .collect();
                format!(
                    "once {} has run, unless that gives the same bytes as before",
                    waits.join(", ")
                )
            }
        };
        rows.push(vec![
            status.to_string(),
            plan.graph[node].label.clone(),
            reason,
        ]);
    }
    let count = |status| counts.get(status).copied().unwrap_or(0);
    format!(
        "{}\n\n{} up to date, {} will run, {} may run",
        super::columns(rows, 0),
        count("up to date"),
        count("will run"),
        count("may run")
    )
}
