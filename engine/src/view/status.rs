//! How each stage stands, and the first reason: up to date, or to be run.

use std::collections::{BTreeMap, BTreeSet};

use flow_cache::Key;
use flow_plan::plan::{Instance, Plan};
use flow_results::explain::{Difference, History, Nearest};
use flow_results::price::{Price, Shared};
use flow_results::words::standing::reason;
use flow_results::{Standing, State, Survey};
use petgraph::graph::NodeIndex;
use serde::Serialize;
use serde_json::Value;

use super::{Tone, layout};

/// One instance's standing, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'static str,
    stage: &'a str,
    instance: &'a BTreeMap<String, Value>,
    status: &'static str,
    key: Option<Key>,
    reason: String,
    /// How it failed, where that was the last that it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    /// What differs from the nearest earlier record, whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Beside<'a>>,
}

/// An earlier record, and what differs from it.
#[derive(Debug, Serialize)]
struct Beside<'a> {
    key: Key,
    finished: &'a str,
    label: &'a str,
    differences: Vec<Difference>,
}

impl<'a> Beside<'a> {
    fn of(instance: &'a Instance, nearest: Nearest<'a>) -> Beside<'a> {
        Beside {
            key: nearest.record.key,
            finished: &nearest.record.finished,
            label: nearest.other.unwrap_or(&instance.label),
            differences: nearest.differences,
        }
    }
}

/// A JSON object for each instance; of a sweep, one more with its price.
pub fn json(
    plan: &Plan,
    survey: &Survey,
    history: &History,
    nodes: &[NodeIndex],
    price: &Price,
) -> Vec<String> {
    let lines = nodes
        .iter()
        .filter_map(|&node| line(plan, survey, history, node));
    let price = price.sweep.as_ref().and_then(|shared| {
        serde_json::to_string(&SweepLine {
            event: "price",
            points: shared.points,
            separate: shared.separate,
            distinct: shared.distinct,
            cached: price.up_to_date,
            to_run: price.to_run(),
            seconds: price.seconds,
            unknown: &price.unknown,
        })
        .ok()
    });
    lines.chain(price).collect()
}

/// What a sweep costs, as `--json` prints it.
#[derive(Debug, Serialize)]
struct SweepLine<'a> {
    event: &'static str,
    points: usize,
    separate: usize,
    distinct: usize,
    cached: usize,
    to_run: usize,
    seconds: f64,
    unknown: &'a BTreeSet<String>,
}

/// The JSON object of an instance, with whole values.
pub fn line(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> Option<String> {
    let instance = &plan.graph[node];
    let standing = survey.get(node)?;
    let (failure, nearest) = match standing {
        Standing::WillRun {
            key,
            manifest,
            cause: None,
        } => (history.failure(key), history.nearest(instance, manifest)),
        _ => (None, None),
    };
    serde_json::to_string(&Line {
        event: "standing",
        stage: &instance.stage,
        instance: &instance.coordinates,
        status: standing.state().word(),
        key: standing.key(),
        reason: reason(plan, survey, history, node),
        failure: failure.map(|failure| failure.message.as_str()),
        nearest: nearest.map(|nearest| Beside::of(instance, nearest)),
    })
    .ok()
}

/// Instances that stand alike, on one line.
struct Row<'a> {
    state: State,
    nodes: Vec<NodeIndex>,
    name: &'a str,
}

/// A table, and a line that counts and tells how long the stages took when they last ran. Instances of one stage that
/// stand alike share a line, unless `expand`.
pub fn table(
    plan: &Plan,
    survey: &Survey,
    history: &History,
    nodes: &[NodeIndex],
    price: &Price,
    expand: bool,
) -> String {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut by_name: BTreeMap<(&str, State), usize> = BTreeMap::new();
    for &node in nodes {
        let Some(standing) = survey.get(node) else {
            continue;
        };
        let state = standing.state();
        let instance = &plan.graph[node];
        let name = if expand {
            &instance.label
        } else {
            &instance.stage
        };
        let at = *by_name.entry((name, state)).or_insert(rows.len());
        match rows.get_mut(at) {
            Some(row) => row.nodes.push(node),
            None => rows.push(Row {
                state,
                nodes: vec![node],
                name,
            }),
        }
    }
    let cells = rows.iter().map(|row| cells(plan, survey, history, row));
    let table = layout::prose(cells, 0);
    let painted: Vec<String> = table.lines().map(paint).collect();
    let time = match price.to_run() {
        0 => String::new(),
        _ => time(price.seconds, &price.unknown),
    };
    let counts = [
        (price.up_to_date, State::UpToDate),
        (price.will_run, State::WillRun),
        (price.may_run, State::MayRun),
    ];
    let mut counts: Vec<String> = counts
        .iter()
        .map(|(count, state)| format!("{count} {}", state.word()))
        .collect();
    if price.frozen > 0 {
        counts.push(format!("{} {}", price.frozen, State::Frozen.word()));
    }
    let counts = counts.join(", ") + &time;
    let price = price.sweep.as_ref().map_or(String::new(), shared);
    format!(
        "{}\n\n{price}{}",
        painted.join("\n"),
        layout::sentence(counts)
    )
}

/// The expected time, in words.
fn time(seconds: f64, unknown: &BTreeSet<String>) -> String {
    let known = super::duration(seconds);
    let names: Vec<&str> = unknown.iter().map(String::as_str).collect();
    match &names[..] {
        [] => format!("; about {known} of computing, as it took before"),
        _ if seconds == 0.0 => "; how long that takes is not known yet".into(),
        names => format!(
            "; about {known} of computing, as it took before, and what {} takes, which is not known yet",
            names.join(", ")
        ),
    }
}

/// What the points of a sweep share, in words.
fn shared(shared: &Shared) -> String {
    let text = format!(
        "{} points: {} stages as separate runs, {} distinct",
        shared.points, shared.separate, shared.distinct
    );
    layout::sentence(text) + "\n"
}

fn cells(plan: &Plan, survey: &Survey, history: &History, row: &Row<'_>) -> Vec<String> {
    let records: Option<Vec<_>> = row.nodes.iter().map(|&node| survey.record(node)).collect();
    let reason = match (&row.nodes[..], records) {
        ([_, _, ..], Some(records)) if row.state == State::UpToDate => {
            let seconds = records.iter().map(|record| record.seconds).sum();
            format!("took {} in all", super::duration(seconds))
        }
        ([first, rest @ ..], _) => {
            let reason = |&node| reason(plan, survey, history, node);
            let text = reason(first);
            if rest.iter().all(|node| reason(node) == text) {
                text
            } else {
                format!("{}: {text}, …", plan.graph[*first].label)
            }
        }
        ([], _) => String::new(),
    };
    let name = match row.nodes.len() {
        1 => plan.graph[row.nodes[0]].label.clone(),
        count => format!("{} ×{count}", row.name),
    };
    vec![row.state.word().into(), name, reason]
}

fn paint(line: &str) -> String {
    for state in [
        State::UpToDate,
        State::WillRun,
        State::MayRun,
        State::Frozen,
    ] {
        if let Some(rest) = line.strip_prefix(state.word()) {
            return super::tone(state.word(), Tone::of(state)) + rest;
        }
    }
    line.into()
}
