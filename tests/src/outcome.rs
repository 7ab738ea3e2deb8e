//! What a call printed, and how it differs from what a test expects.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// What a call came to.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; none after a signal.
    pub status: Option<i32>,
    /// Stdout, with the folder, runs' ids and times replaced.
    pub stdout: String,
    /// Stderr, with the same replaced.
    pub stderr: String,
    /// From `--json`: how each stage ended, by label.
    pub stages: BTreeMap<String, Stage>,
    /// From `flow run --json`: the last line.
    pub run: Option<Value>,
    /// How a fault that was asked for ended.
    #[cfg(target_os = "linux")]
    pub injected: crate::inject::Injected,
}

/// One line of `--json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// `ran`, `cached`, `failed`, …; for `flow status`, `up to date` and so on; for `--check`, `identical` and so on.
    pub status: String,
    /// The action key, where there is one.
    pub key: Option<String>,
    /// Output role to digest.
    pub outputs: BTreeMap<String, String>,
    /// Why it failed, with the path of its log.
    pub failure: Option<(String, String)>,
}

impl Outcome {
    pub(crate) fn new(status: ExitStatus, stdout: String, stderr: String, folder: &Path) -> Self {
        let mut stages = BTreeMap::new();
        let mut run = None;
        for line in stdout.lines() {
            let Ok(value) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            match value["event"].as_str() {
                Some("stage" | "standing" | "check") => {
                    let before = stages.insert(label(&value), stage(&value));
                    assert!(before.is_none(), "a stage is told twice: {line}");
                }
                Some("run") => run = Some(value),
                _ => {}
            }
        }
        Outcome {
            status: status.code(),
            stdout: plain(&stdout, folder),
            stderr: plain(&stderr, folder),
            stages,
            run,
            #[cfg(target_os = "linux")]
            injected: Default::default(),
        }
    }

    /// The statuses by label.
    fn statuses(&self) -> BTreeMap<String, String> {
        let statuses = self.stages.iter();
        statuses
            .map(|(label, stage)| (label.clone(), stage.status.clone()))
            .collect()
    }
}

/// The name by which people call an instance: `multihead[alpha=0.1]`.
fn label(line: &Value) -> String {
    let stage = line["stage"].as_str().unwrap();
    let point: Vec<String> = line["instance"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(axis, value)| match value {
            Value::String(text) => format!("{axis}={text}"),
            other => format!("{axis}={other}"),
        })
        .collect();
    if point.is_empty() {
        stage.into()
    } else {
        format!("{stage}[{}]", point.join(","))
    }
}

fn stage(line: &Value) -> Stage {
    let text = |value: &Value| value.as_str().map(String::from);
    let outputs = line["outputs"].as_object().into_iter().flatten();
    let failure = &line["failure"];
    Stage {
        status: text(&line["status"]).unwrap(),
        key: text(&line["key"]),
        outputs: outputs
            .map(|(role, digest)| (role.clone(), text(digest).unwrap()))
            .collect(),
        failure: text(&failure["message"]).zip(text(&failure["log"])),
    }
}

/// What differs from call to call, replaced.
fn plain(text: &str, folder: &Path) -> String {
    static RUN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b\d{8}-\d{6}-[0-9a-f]{4}\b").unwrap());
    static TIME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r" +(\d+ h \d+ min|\d+ min \d+ s|\d+ ms|\d+\.\d s)( *\n|$)").unwrap()
    });
    let text = text.replace(&folder.display().to_string(), "DIR");
    let text = RUN.replace_all(&text, "RUN");
    TIME.replace_all(&text, " TIME$2").into_owned()
}

/// What a stream has to be.
#[derive(Debug)]
pub(crate) enum Text {
    Is(String),
    Has(Vec<String>),
    /// Nothing but lines that begin with `warning: `.
    Warnings,
}

impl Text {
    pub(crate) fn also(&mut self, text: &str) {
        match self {
            Text::Has(pieces) => pieces.push(text.into()),
            Text::Is(_) | Text::Warnings => *self = Text::Has(vec![text.into()]),
        }
    }

    fn difference(&self, name: &str, found: &str) -> Option<String> {
        match self {
            Text::Is(text) if found.trim_end() != text.trim_end() => {
                Some(format!("--- expected {name}\n{text}"))
            }
            Text::Has(pieces) => {
                let missing = pieces.iter().find(|piece| !found.contains(*piece))?;
                Some(format!("--- missing in {name}\n{missing}"))
            }
            Text::Warnings => {
                let odd = found.lines().find(|line| !line.starts_with("warning: "))?;
                Some(format!("--- no warning in {name}\n{odd}"))
            }
            Text::Is(_) => None,
        }
    }
}

/// What a test expects of a call.
#[derive(Debug)]
pub(crate) struct Expected {
    pub status: i32,
    pub stdout: Text,
    pub stderr: Text,
    pub stages: Option<BTreeMap<String, String>>,
    pub starts: Option<Vec<String>>,
    pub anything: bool,
}

impl Default for Expected {
    fn default() -> Self {
        Expected {
            status: 0,
            stdout: Text::Is(String::new()),
            stderr: Text::Is(String::new()),
            stages: None,
            starts: None,
            anything: false,
        }
    }
}

impl Expected {
    /// Everything that is not as expected.
    pub(crate) fn differences(&self, outcome: &Outcome, starts: &str) -> Vec<String> {
        let mut found = Vec::new();
        if self.anything {
            return found;
        }
        if outcome.status != Some(self.status) {
            let status = outcome.status;
            found.push(format!("exit status {status:?}, expected {}", self.status));
        }
        match &self.stages {
            None => found.extend(self.stdout.difference("stdout", &outcome.stdout)),
            Some(stages) => {
                let statuses = outcome.statuses();
                if statuses != *stages {
                    found.push(format!("stages {statuses:?}\nexpected {stages:?}"));
                }
                found.extend(miscounted(outcome));
            }
        }
        found.extend(self.stderr.difference("stderr", &outcome.stderr));
        if let Some(expected) = &self.starts {
            let mut starts: Vec<&str> = starts.lines().map(str::trim).collect();
            starts.sort_unstable();
            if starts != *expected {
                found.push(format!("starts {starts:?}\nexpected {expected:?}"));
            }
        }
        found
    }
}

/// Whether the last line of `flow run --json` counts something else than the lines before it.
fn miscounted(outcome: &Outcome) -> Option<String> {
    let run = outcome.run.as_ref()?;
    ["ran", "cached", "failed", "skipped", "cancelled"]
        .into_iter()
        .find_map(|status| {
            let lines = outcome.stages.values().filter(|s| s.status == status);
            let (lines, counted) = (lines.count(), &run[status]);
            (counted.as_u64() != Some(lines as u64))
                .then(|| format!("the run counts {counted} {status}, its stages {lines}"))
        })
}
