//! `flow why`: a stage's key part by part beside the nearest earlier record, and the chain of causes up to the edits.

use std::collections::{BTreeMap, BTreeSet};

use flow_plan::plan::{Origin, Plan};
use flow_results::explain::{Difference, History, Nearest, differences};
use flow_results::words::standing::{changes, reason};
use flow_results::words::{duration, pair, plain, second, short};
use flow_results::{Standing, Survey};
use flow_run::record::key;
use petgraph::graph::NodeIndex;

use super::layout;

/// Explains one instance.
pub fn key(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> String {
    let instance = &plan.graph[node];
    let explainer = Explainer {
        plan,
        survey,
        history,
    };
    let mut text = format!("{}: ", instance.label);
    match survey.get(node) {
        Some(Standing::UpToDate(record)) => {
            text += &format!(
                "up to date\nkey {}, made {} in {}",
                record.key,
                second(&record.finished),
                duration(record.seconds)
            );
        }
        Some(Standing::Frozen(record)) => {
            text += &format!(
                "frozen, so this result stands, whatever its inputs are now\nkey {}, made {} in {}",
                record.key,
                second(&record.finished),
                duration(record.seconds)
            );
        }
        Some(Standing::WillRun {
            key,
            manifest,
            cause,
        }) => {
            text += &format!("will run\nkey {key}\n");
            if let Some(failure) = history.failure(key) {
                text += &format!(
                    "failed last time: {}\n  whole log: {}\n",
                    plain(&failure.message),
                    failure.log.display()
                );
            }
            match (cause, history.nearest(instance, manifest)) {
                (Some(_), _) => text += &reason(plan, survey, history, node),
                (None, None) => text += "no earlier record of this stage is in the store",
                (None, Some(nearest)) => {
                    if let Some(other) = nearest.other {
                        text += &format!("compared with {}, which is nearest:\n", plain(other));
                    }
                    text += &parts(&nearest);
                    let mut seen = BTreeSet::new();
                    explainer.origins(node, nearest.manifest, manifest, 0, &mut seen, &mut text);
                }
            }
        }
        // Nothing is forced where one asks why.
        Some(Standing::Forced | Standing::MayRun) | None => {
            text += "may run, unless what it reads from gives the same bytes as before";
            explainer.pending(node, 1, &mut BTreeSet::new(), &mut text);
        }
    }
    text
}

/// The parts that differ, then and now.
fn parts(nearest: &Nearest<'_>) -> String {
    let mut rows = vec![vec![
        "part".into(),
        format!("then ({})", second(&nearest.record.finished)),
        "now".into(),
    ]];
    rows.extend(nearest.differences.iter().map(|d| {
        let (then, now) = match (&d.then, &d.now) {
            (Some(then), Some(now)) => pair(then, now),
            (then, now) => {
                let one = |side: &Option<String>| side.as_deref().map_or("-".into(), short);
                (one(then), one(now))
            }
        };
        vec![d.part.clone(), then, now]
    }));
    layout::table(rows)
}

/// Which outputs of an instance differ from those of the record before, and where the wave stopped.
pub fn outputs(plan: &Plan, survey: &Survey, history: &History, node: NodeIndex) -> String {
    let instance = &plan.graph[node];
    let label = &instance.label;
    let Some(record) = survey.record(node) else {
        return format!(
            "{label}: not up to date, so its outputs are not known yet; without --output this command says why"
        );
    };
    let Some(earlier) = history.before(instance, record) else {
        return format!("{label}: there is no earlier record to compare its outputs with");
    };
    let mut rows = vec![vec![
        "output".into(),
        format!("then ({})", second(&earlier.finished)),
        format!("now ({})", second(&record.finished)),
        String::new(),
    ]];
    for (role, output) in &record.outputs {
        let then = earlier.outputs.get(role).map(|output| output.digest);
        let verdict = if then == Some(output.digest) {
            "the same bytes: the wave ends here"
        } else {
            "other bytes"
        };
        rows.push(vec![
            role.clone(),
            then.map_or_else(|| "-".into(), |digest| short(&digest.to_string())),
            short(&output.digest.to_string()),
            verdict.into(),
        ]);
    }
    format!("{label}\n{}", layout::table(rows))
}

/// As many instances of one stage are told of, where another reads them all.
const MOST: usize = 5;

struct Explainer<'a> {
    plan: &'a Plan,
    survey: &'a Survey,
    history: &'a History,
}

impl Explainer<'_> {
    /// The stages that have to run before an instance, with the reason of each, up to the edits.
    fn pending(
        &self,
        node: NodeIndex,
        depth: usize,
        seen: &mut BTreeSet<NodeIndex>,
        text: &mut String,
    ) {
        let indent = "  ".repeat(depth);
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for source in self.survey.pending(self.plan, node) {
            if !seen.insert(source) {
                continue;
            }
            let instance = &self.plan.graph[source];
            let count = told.entry(&instance.stage).or_default();
            *count += 1;
            if *count > MOST {
                continue;
            }
            let label = &instance.label;
            match self.survey.get(source) {
                Some(Standing::WillRun {
                    manifest, cause, ..
                }) => {
                    let why = reason(self.plan, self.survey, self.history, source);
                    *text += &format!("\n{indent}{label} will run: {why}");
                    let nearest = self.history.nearest(instance, manifest);
                    if let (None, Some(nearest)) = (cause, nearest) {
                        self.origins(source, nearest.manifest, manifest, depth, seen, text);
                    }
                }
                _ => {
                    *text += &format!("\n{indent}{label} may run");
                    self.pending(source, depth + 1, seen, text);
                }
            }
        }
        for (stage, count) in told.into_iter().filter(|(_, count)| *count > MOST) {
            *text += &format!("\n{indent}and {} more of {stage}", count - MOST);
        }
    }

    /// For each input that changed between two actions of an instance: what made the stage that it comes from give other
    /// bytes.
    fn origins(
        &self,
        node: NodeIndex,
        then: &key::Manifest,
        now: &key::Manifest,
        depth: usize,
        seen: &mut BTreeSet<NodeIndex>,
        text: &mut String,
    ) {
        let changed = differences(then, now);
        let roles: BTreeSet<&str> = changed.iter().filter_map(Difference::input).collect();
        for input in &self.plan.graph[node].inputs {
            let Origin::Instance {
                node: source,
                output,
            } = &input.origin
            else {
                continue;
            };
            let instance = &self.plan.graph[*source];
            let maker = |manifest: &key::Manifest| {
                let digest = manifest.inputs.get(&input.role)?;
                self.history.maker(&instance.stage, output, digest)
            };
            if !roles.contains(input.role.as_str()) || !seen.insert(*source) {
                continue;
            }
            let indent = "  ".repeat(depth + 1);
            let label = &instance.label;
            match (maker(then), maker(now)) {
                (Some(then), Some(now)) => {
                    let differences = differences(then, now);
                    let why = if differences.is_empty() {
                        "it ran again and gave other bytes: it is not deterministic".into()
                    } else {
                        changes(self.plan, instance, &differences)
                    };
                    *text += &format!("\n{indent}{label} gave other bytes: {why}");
                    self.origins(*source, then, now, depth + 1, seen, text);
                }
                _ => {
                    *text += &format!(
                        "\n{indent}{label} gave other bytes; what it did then is no longer in the store"
                    );
                }
            }
        }
    }
}
