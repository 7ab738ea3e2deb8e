//! The list of runs: what each was, what differs from the one before it, its headline figures.

use std::collections::BTreeSet;
use std::path::Path;

use flow_results::words::{command, duration, plain};
use flow_run::record::PastRun;
use flow_run::record::changes::{Changes, words};
use flow_run::record::event::RunEnd;
use serde_json::{Value, json};

use super::layout;
use super::provenance::local_time;

/// A run of the list, and what it differs in from the run before it; none where it is the first.
pub struct Listed<'a> {
    /// The run.
    pub run: &'a PastRun,
    /// What differs.
    pub changes: Option<Changes>,
}

/// As many figures have columns of their own.
const FIGURES: usize = 6;
/// As many digits of a commit are enough to find it.
const DIGITS: usize = 12;
/// As much of what differs, or of a note, is shown in a line.
const LONGEST: usize = 60;

/// The runs as a table.
pub fn table(runs: &[Listed<'_>]) -> String {
    if runs.is_empty() {
        return "no runs".into();
    }
    let figures = figures(runs);
    let has = |of: fn(&PastRun) -> bool| runs.iter().any(|listed| of(listed.run));
    let named = has(|run| run.head.name.is_some());
    let frozen = has(|run| run.end.as_ref().is_some_and(|end| end.frozen > 0));
    let again = has(|run| run.head.again.is_some());
    let commits = has(|run| run.head.commit.is_some());
    let notes = has(|run| run.head.note.is_some());
    let paths: BTreeSet<&Path> = runs.iter().map(|l| l.run.head.path.as_path()).collect();
    let names: BTreeSet<&str> = runs.iter().map(|l| l.run.head.workflow.as_str()).collect();
    let several = paths.len() > 1;
    let here = std::env::current_dir().unwrap_or_default();
    let workflow = |run: &PastRun| {
        let (name, path) = (&run.head.workflow, &run.head.path);
        // A name that two files have tells nothing.
        if names.len() == paths.len() {
            return plain(name);
        }
        let path = path.strip_prefix(&here).unwrap_or(path);
        plain(&path.display().to_string())
    };
    let optional = |shown: bool, name: &str| shown.then(|| name.to_string());
    let shown_figures = &figures[..figures.len().min(FIGURES)];
    let mut head: Vec<String> = vec!["run".into()];
    head.extend(optional(named, "name"));
    head.push("began".into());
    head.extend(optional(several, "workflow"));
    head.extend(["status", "ran", "cached"].map(String::from));
    head.extend(optional(frozen, "frozen"));
    head.extend(["failed", "time"].map(String::from));
    head.extend(shown_figures.iter().cloned());
    head.push("changed".into());
    head.push("overrides".into());
    head.extend(optional(again, "again"));
    head.extend(optional(commits, "commit"));
    head.extend(optional(notes, "note"));
    let mut rows = vec![head];
    for Listed { run, changes } in runs {
        let count = |of: fn(&RunEnd) -> usize| {
            let end = run.end.as_ref();
            end.map_or(String::new(), |end| of(end).to_string())
        };
        let optional = |shown: bool, text: String| shown.then_some(text);
        let of_head = |text: &Option<String>| plain(text.as_deref().unwrap_or_default());
        let mut row = vec![run.id.clone()];
        row.extend(optional(named, of_head(&run.head.name)));
        row.push(local_time(&run.head.started));
        row.extend(optional(several, workflow(run)));
        row.push(run.state.word().into());
        row.extend([count(|end| end.ran), count(|end| end.cached)]);
        row.extend(optional(frozen, count(|end| end.frozen)));
        row.push(count(|end| end.failed));
        let time = run.end.as_ref().map(|end| duration(end.seconds));
        row.push(time.unwrap_or_default());
        row.extend(shown_figures.iter().map(|name| {
            let figure = run.end.as_ref().and_then(|end| end.figures.get(name));
            figure.map_or(String::new(), shown)
        }));
        row.push(cut(&changes.as_ref().map_or(String::new(), changed)));
        row.push(plain(&command(&run.overrides())));
        row.extend(optional(again, of_head(&run.head.again)));
        let commit = run.head.commit.as_ref().map(|commit| {
            let id: String = commit.id.chars().take(DIGITS).collect();
            let changed = if commit.clean { "" } else { "+" };
            format!("{}{changed}", plain(&id))
        });
        row.extend(optional(commits, commit.unwrap_or_default()));
        row.extend(optional(notes, cut(&of_head(&run.head.note))));
        rows.push(row);
    }
    let mut text = layout::list(rows);
    if figures.len() > FIGURES {
        let left_out = format!(
            "{} more figures of these runs: --json has them",
            figures.len() - FIGURES
        );
        text += &format!("\n\n{}", layout::sentence(left_out));
    }
    text
}

/// The names of all figures, those of the newest run first.
fn figures(runs: &[Listed<'_>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let ends = runs.iter().filter_map(|listed| listed.run.end.as_ref());
    for name in ends.flat_map(|end| end.figures.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// A figure: counts as they are, all else with four digits.
fn shown(figure: &Value) -> String {
    match figure {
        // What is not finite is written as null.
        Value::Null => "NaN".into(),
        Value::Number(number) if number.is_f64() => match number.as_f64().unwrap_or(f64::NAN) {
            value if value != 0.0 && !(1e-2..1e6).contains(&value.abs()) => format!("{value:.3e}"),
            value => format!("{value:.4}"),
        },
        other => other.to_string(),
    }
}

/// What differs, in a few words.
fn changed(changes: &Changes) -> String {
    let values = changes.values.iter().map(words);
    let all: Vec<String> = values.chain(changes.files.iter().cloned()).collect();
    plain(&all.join(", "))
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.into();
    }
    let start: String = text.chars().take(LONGEST - 1).collect();
    format!("{start}…")
}

/// One run as JSON; `before` is the run before it.
pub fn json(run: &PastRun, before: Option<&PastRun>) -> Value {
    let head = &run.head;
    let end = run.end.as_ref();
    json!({
        "event": "run",
        "run": run.id,
        "name": head.name,
        "note": head.note,
        "started": head.started,
        "workflow": head.workflow,
        "path": head.path,
        "status": run.state.word(),
        "ran": end.map(|end| end.ran),
        "cached": end.map(|end| end.cached),
        "frozen": end.map(|end| end.frozen),
        "failed": end.map(|end| end.failed),
        "skipped": end.map(|end| end.skipped),
        "cancelled": end.map(|end| end.cancelled),
        "seconds": end.map(|end| end.seconds),
        "figures": end.map(|end| &end.figures),
        "params": head.params,
        "params_file": head.params_file,
        "variants": head.variants,
        "set": head.set,
        "commit": head.commit,
        "again": head.again,
        "before": before.map(|before| &before.id),
        "changed": before.map(|before| Changes::between(before, run)),
    })
}
