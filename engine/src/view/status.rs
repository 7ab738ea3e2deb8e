//! How each stage stands, and why: up to date, or to be run.

use std::collections::{BTreeMap, BTreeSet};

use flow_cache::Key;
use petgraph::graph::NodeIndex;
use serde::Serialize;
use serde_json::Value;

use crate::plan::Plan;
use crate::run::explain::{Difference, History};
use crate::run::{Cause, Standing, Survey};

/// One instance's standing, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'static str,
    stage: &'a str,
    instance: &'a BTreeMap<String, Value>,
    status: &'static str,
    key: Option<Key>,
    reason: String,
}

fn words(standing: &Standing) -> (&'static str, Option<Key>) {
    match standing {
        Standing::UpToDate(record) => ("up to date", Some(record.key)),
        Standing::WillRun { key, .. } => ("will run", Some(*key)),
        Standing::MayRun => ("may run", None),
    }
}

/// Why an instance stands as it does, in a phrase.
fn reason(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> String {
    let instance = &plan.graph[node];
    match survey.get(node) {
        Some(Standing::UpToDate(record)) => format!("took {}", super::duration(record.seconds)),
        Some(Standing::WillRun {
            cause: Some(Cause::Forced),
            ..
        }) => "forced".into(),
        Some(Standing::WillRun {
            cause: Some(Cause::Damaged(why)),
            ..
        }) => {
            format!("its result can't be used: {why}")
        }
        Some(Standing::WillRun {
            manifest,
            cause: None,
            ..
        }) => match history.nearest(&instance.stage, manifest) {
            None => "never run".into(),
            Some((_, differences)) => {
                let mut phrases: Vec<String> = differences.iter().take(2).map(phrase).collect();
                if differences.len() > phrases.len() {
                    phrases.push(format!("{} more", differences.len() - phrases.len()));
                }
                phrases.join(", ")
            }
        },
        Some(Standing::MayRun) | None => {
            let waits: Vec<&str> = plan
                .sources(node)
                .filter(|source| survey.record(*source).is_none())
                .map(|source| plan.graph[source].label.as_str())
                .collect();
            format!(
                "once {} has run, unless that gives the same bytes",
                waits.join(", ")
            )
        }
    }
}

fn phrase(difference: &Difference) -> String {
    let part = &difference.part;
    match (&difference.then, &difference.now) {
        (Some(_), Some(_)) if part.starts_with("input") => format!("{part} changed"),
        (Some(then), Some(now)) => format!("{part} {} → {}", short(then), short(now)),
        (None, _) => format!("{part} is new"),
        (_, None) => format!("{part} is gone"),
    }
}

/// A value that fits into a line: digests by their first digits, long values cut.
pub(super) fn short(value: &str) -> String {
    let is_digest = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    if is_digest {
        value[..12].into()
    } else if value.chars().count() > 60 {
        value.chars().take(59).chain(['…']).collect()
    } else {
        value.into()
    }
}

/// A JSON object for each instance.
pub fn json(plan: &Plan, survey: &Survey, history: &History, nodes: &[NodeIndex]) -> Vec<String> {
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
                reason: reason(plan, survey, history, node),
            })
            .ok()
        })
        .collect()
}

/// A table, and a line that counts and tells how long the stages took when they last ran.
pub fn table(plan: &Plan, survey: &Survey, history: &History, nodes: &[NodeIndex]) -> String {
    let mut rows = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for &node in nodes {
        let Some(standing) = survey.get(node) else {
            continue;
        };
        let (status, _) = words(standing);
        *counts.entry(status).or_default() += 1;
        let reason = reason(plan, survey, history, node);
        rows.push(vec![status.into(), plan.graph[node].label.clone(), reason]);
    }
    let count = |status| counts.get(status).copied().unwrap_or(0);
    let (up_to_date, will, may) = (count("up to date"), count("will run"), count("may run"));
    let time = history.estimate(
        plan,
        nodes
            .iter()
            .copied()
            .filter(|node| survey.record(*node).is_none()),
    );
    let time = match (will + may, time) {
        (0, _) => String::new(),
        (_, Some(seconds)) => format!(
            "; about {} of computing, as it took before",
            super::duration(seconds)
        ),
        (_, None) => "; how long that takes is not known yet".into(),
    };
    format!(
        "{}\n\n{up_to_date} up to date, {will} will run, {may} may run{time}",
        super::columns(rows, 0)
    )
}

/// `flow why`: a stage's key part by part, beside the nearest earlier record, and what upstream made it change.
pub fn why(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> String {
    let instance = &plan.graph[node];
    let mut text = format!("{}: ", instance.label);
    match survey.get(node) {
        Some(Standing::UpToDate(record)) => {
            text += &format!(
                "up to date\nkey {}, made {} in {}",
                record.key,
                record.finished,
                super::duration(record.seconds)
            );
        }
        Some(Standing::WillRun {
            key,
            manifest,
            cause,
        }) => {
            text += &format!("will run\nkey {key}\n");
            text += &match (cause, history.nearest(&instance.stage, manifest)) {
                (Some(_), _) => reason(plan, survey, history, node),
                (None, None) => "no earlier record of this stage is in the store".into(),
                (None, Some((record, differences))) => {
                    let missing = || "-".to_string();
                    let mut rows = vec![vec![
                        "part".into(),
                        format!("then ({})", record.finished),
                        "now".into(),
                    ]];
                    rows.extend(differences.iter().map(|d| {
                        vec![
                            d.part.clone(),
                            d.then.as_deref().map_or_else(missing, short),
                            d.now.as_deref().map_or_else(missing, short),
                        ]
                    }));
                    super::columns(rows, 0)
                }
            };
        }
        Some(Standing::MayRun) | None => {
            text += "may run, unless what it reads from gives the same bytes as before";
            let mut seen = BTreeSet::new();
            causes(plan, survey, history, node, 1, &mut seen, &mut text);
        }
    }
    text
}

/// `flow why --output`: which outputs differ from those of the record before, and where the wave stopped.
pub fn why_output(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> String {
    let instance = &plan.graph[node];
    let label = &instance.label;
    let Some(record) = survey.record(node) else {
        return format!(
            "{label}: not up to date, so its outputs are not known yet; `flow why` says why"
        );
    };
    let Some(earlier) = history.before(&instance.stage, record) else {
        return format!("{label}: there is no earlier record to compare its outputs with");
    };
    let mut rows = vec![vec![
        "output".into(),
        format!("then ({})", earlier.finished),
        format!("now ({})", record.finished),
        String::new(),
    ]];
    for (role, output) in &record.outputs {
        let then = earlier.outputs.get(role).map(|output| output.digest);
        let verdict = if then == Some(output.digest) {
            "the same bytes: nothing that reads it had to run"
        } else {
            "changed: what reads it is another action"
        };
        rows.push(vec![
            role.clone(),
            then.map_or_else(|| "-".into(), |digest| short(&digest.to_string())),
            short(&output.digest.to_string()),
            verdict.into(),
        ]);
    }
    format!("{label}\n{}", super::columns(rows, 0))
}

/// The chain of causes, up to the edits.
fn causes(
    plan: &Plan,
    survey: &Survey,
    history: &History,
    node: NodeIndex,
    depth: usize,
    seen: &mut BTreeSet<NodeIndex>,
    text: &mut String,
) {
    for source in plan.sources(node) {
        if survey.record(source).is_some() || !seen.insert(source) {
            continue;
        }
        let label = &plan.graph[source].label;
        let indent = "  ".repeat(depth);
        if let Some(Standing::WillRun { .. }) = survey.get(source) {
            *text += &format!(
                "\n{indent}{label} will run: {}",
                reason(plan, survey, history, source)
            );
        } else {
            *text += &format!("\n{indent}{label} may run");
            causes(plan, survey, history, source, depth + 1, seen, text);
        }
    }
}
