//! Why an instance stands as it does, in a phrase.

use flow_plan::plan::{Instance, Origin, Plan};
use petgraph::graph::NodeIndex;

use super::{duration, pair, plain, second, some};
use crate::explain::{Difference, History};
use crate::{Cause, Standing, Survey};

/// As many of the stages that an instance waits for are named.
const FEW: usize = 5;

/// Why an instance stands as it does, in a phrase.
pub fn reason(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> String {
    let instance = &plan.graph[node];
    match survey.get(node) {
        Some(Standing::UpToDate(record)) => format!("took {}", duration(record.seconds)),
        Some(Standing::Frozen(record)) => {
            format!("its result of {} stands", second(&record.finished))
        }
        Some(
            Standing::Forced
            | Standing::WillRun {
                cause: Some(Cause::Forced),
                ..
            },
        ) => "forced".into(),
        Some(Standing::WillRun {
            cause: Some(Cause::Damaged(why)),
            ..
        }) => {
            format!("its result can't be used: {why}")
        }
        Some(Standing::WillRun {
            key,
            manifest,
            cause: None,
        }) => {
            let failed = history.failure(key);
            let failed =
                failed.map(|failure| format!("failed last time: {}", plain(&failure.message)));
            let nearest = history.nearest(instance, manifest).map(|nearest| {
                let changes = changes(plan, instance, &nearest.differences);
                match nearest.other {
                    Some(other) => format!("compared with {}: {changes}", plain(other)),
                    None if failed.is_some() => format!("since its last result: {changes}"),
                    None => changes,
                }
            });
            let told: Vec<String> = failed.into_iter().chain(nearest).collect();
            match told.is_empty() {
                true => "no earlier result".into(),
                false => told.join("; "),
            }
        }
        Some(Standing::MayRun) | None => {
            let waits: Vec<&str> = survey
                .pending(plan, node)
                .into_iter()
                .map(|source| plan.graph[source].label.as_str())
                .collect();
            let (has, that) = match waits.len() {
                1 => ("has", "that gives"),
                _ => ("have", "they give"),
            };
            let waits = match &waits[..] {
                [rest @ .., last] if (1..FEW).contains(&rest.len()) => {
                    format!("{} and {last}", rest.join(", "))
                }
                waits => some(waits, FEW),
            };
            format!("once {waits} {has} run, unless {that} the same bytes")
        }
    }
}

/// The first two differences in words, and how many more there are.
pub fn changes(plan: &Plan, instance: &Instance, differences: &[Difference]) -> String {
    let mut phrases: Vec<String> = differences
        .iter()
        .take(2)
        .map(|difference| phrase(plan, instance, difference))
        .collect();
    if differences.len() > phrases.len() {
        phrases.push(format!("{} more", differences.len() - phrases.len()));
    }
    phrases.join(", ")
}

fn phrase(plan: &Plan, instance: &Instance, difference: &Difference) -> String {
    let part = &difference.part;
    match (&difference.then, &difference.now) {
        (Some(_), Some(_)) if difference.input().is_some() => {
            let role = difference.input().unwrap_or_default();
            match instance
                .inputs
                .iter()
                .find(|i| i.role == role)
                .map(|i| &i.origin)
            {
                Some(Origin::Path { files, .. }) if files.is_several() => {
                    format!("its files `{}` changed", files.text())
                }
                Some(Origin::Path { files, .. }) => {
                    format!("its file `{}` changed", files.text())
                }
                Some(Origin::Instance { node, .. }) => {
                    let label = &plan.graph[*node].label;
                    format!("{part} changed: `{label}` gives other bytes")
                }
                _ => format!("{part} changed"),
            }
        }
        (Some(then), Some(now)) => {
            let (then, now) = pair(then, now);
            format!("{part} {then} → {now}")
        }
        (None, _) => format!("{part} is new"),
        (_, None) => format!("{part} is gone"),
    }
}
