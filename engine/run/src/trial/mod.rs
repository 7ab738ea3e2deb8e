//! A plugin tried out: what docs/protocol.md asks of one, rule by rule, on inputs that are made for it.
//!
//! - `inputs`: small artifacts of each type.
//! - `kind`: one of its kinds, run several times.
//!
//! A rule that does not hold says what the plugin did instead. Nothing is stored, and nothing of the plugin is left running.

mod inputs;
mod kind;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use flow_plan::plan::Variables;
use flow_plan::plan::kinds::{Catalogue, From, Kind, Plugin};
use flow_stage::protocol::{Description, Event, KindDescription};
use serde_json::{Map, Value, json};

use crate::plugin::describe;
use crate::process::environment::{For, environment};
use crate::process::lines::Lines;
use crate::process::{Ending, Hearing, Launch, Process, Stream};

const DESCRIBES: &str = "describes itself with one JSON object of protocol 1";
/// How long a plugin may take for what needs no work.
const PROMPT: Duration = Duration::from_secs(60);
/// What is kept of a stream.
const KEPT: usize = 1 << 20;

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The plugin keeps it.
    Holds,
    /// The plugin breaks it, and how.
    Broken(String),
    /// It could not be tried, and why.
    Untried(String),
}

/// One rule of the protocol, tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The kind that it was tried on; none for the plugin itself.
    pub kind: Option<String>,
    /// The rule: "describes itself with one JSON object", as in "the plugin …".
    pub rule: &'static str,
    /// What became of it.
    pub verdict: Verdict,
}

/// What kinds are tried with beside what is made for them.
#[derive(Debug, Default)]
pub struct Given {
    /// The only kind to try; none for all.
    pub kind: Option<String>,
    /// Parameters, by name.
    pub parameters: Map<String, Value>,
    /// Input files and folders, by role, absolute.
    pub inputs: BTreeMap<String, PathBuf>,
}

/// Tries a plugin, and tells of each rule as soon as it is known.
///
/// # Errors
/// Where this machine can't make or start what a trial needs. What is wrong with the plugin is a [`Verdict`].
pub fn try_out(program: &Path, given: &Given, mut tell: impl FnMut(Rule)) -> Result<()> {
    let description = match describe(program) {
        Ok(description) => description,
        Err(error) => {
            tell(Rule {
                kind: None,
                rule: DESCRIBES,
                verdict: Verdict::Broken(format!("{error:#}")),
            });
            return Ok(());
        }
    };
    let catalogue = catalogue(program, &description);
    let run: Vec<&str> = match description.kinds.first() {
        Some(first) => vec!["run", &first.name],
        None => vec!["run", "none"],
    };
    let other = json!({"protocol": 999, "kind": run[1], "stage": "trial", "parameters": {}, "inputs": {}, "outputs": {},
        "work": ".", "seed": 0, "threads": 1, "device": "cpu"});
    let rules = [
        (DESCRIBES, Verdict::Holds),
        (
            "describes itself the same way twice",
            again(program, &description),
        ),
        (
            "has kinds of different names, with schemas that flow can use",
            usable(&catalogue, &description),
        ),
        (
            "refuses a command that it does not know",
            refuses(program, &["no-such-command"], "")?,
        ),
        (
            "refuses a kind that it does not have",
            refuses(program, &["run", "no-such-kind"], "{}")?,
        ),
        (
            "refuses a request that is no JSON",
            refuses(program, &run, "{\"protocol\": 1, ")?,
        ),
        (
            "refuses another version of the protocol",
            refuses(program, &run, &other.to_string())?,
        ),
    ];
    for (rule, verdict) in rules {
        tell(Rule {
            kind: None,
            rule,
            verdict,
        });
    }
    for kind in catalogue.kinds() {
        let name = &kind.description.name;
        if given.kind.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        kind::try_out(program, kind, given, &mut |rule, verdict| {
            tell(Rule {
                kind: Some(name.clone()),
                rule,
                verdict,
            });
        })?;
    }
    Ok(())
}

/// The kinds that a plugin has.
///
/// # Errors
/// Where it does not say.
pub fn kinds(program: &Path) -> Result<Vec<KindDescription>> {
    Ok(describe(program)?.kinds)
}

fn catalogue(program: &Path, description: &Description) -> Catalogue {
    let plugin = Plugin {
        program: program.to_path_buf(),
        name: description.plugin.clone(),
        digest: String::new(),
        code: Vec::new(),
        owner: "tried".into(),
        origin: From::Elsewhere,
    };
    let mut catalogue = Catalogue::default();
    catalogue.add(&plugin, description.kinds.clone());
    catalogue
}

fn again(program: &Path, before: &Description) -> Verdict {
    match describe(program) {
        Ok(description) if description == *before => Verdict::Holds,
        Ok(_) => Verdict::Broken("the second description is not the first".into()),
        Err(error) => Verdict::Broken(format!("{error:#}")),
    }
}

fn usable(catalogue: &Catalogue, description: &Description) -> Verdict {
    let kinds: Vec<&Kind> = catalogue.kinds().collect();
    if kinds.is_empty() {
        return Verdict::Broken("it has no kind".into());
    }
    if kinds.len() < description.kinds.len() {
        return Verdict::Broken("two of its kinds have one name".into());
    }
    for kind in kinds {
        let name = &kind.description.name;
        if let Err(error) = kind.validator() {
            return Verdict::Broken(format!("the schema of `{name}` is none: {error}"));
        }
        let (inputs, outputs) = (&kind.description.inputs, &kind.description.outputs);
        for ports in [inputs, outputs] {
            let twice = ports
                .iter()
                .enumerate()
                .find(|(place, port)| ports[..*place].iter().any(|other| other.name == port.name));
            if let Some((_, port)) = twice {
                return Verdict::Broken(format!("`{name}` has the port `{}` twice", port.name));
            }
        }
        if outputs.is_empty() {
            return Verdict::Broken(format!("`{name}` has no output"));
        }
    }
    Verdict::Holds
}

/// Whether it ends with another status than 0, in time, and with a word about why.
fn refuses(program: &Path, arguments: &[&str], input: &str) -> Result<Verdict> {
    let answer = Answer::of(program, arguments, input, PROMPT, None)?;
    let Ending::Exited(status) = answer.ending else {
        return Ok(Verdict::Broken(format!(
            "it went on for {} s",
            PROMPT.as_secs()
        )));
    };
    Ok(if status.success() {
        Verdict::Broken("it ended with status 0".into())
    } else if answer.said.trim().is_empty() && answer.error().is_none() {
        Verdict::Broken(format!("it ended with {status} and said nothing of why"))
    } else if let Some(trace) = answer.backtrace() {
        Verdict::Broken(format!(
            "it ended with a trace of its code in place of a sentence: {trace}"
        ))
    } else {
        Verdict::Holds
    })
}

/// What a plugin answered to one call.
struct Answer {
    ending: Ending,
    /// Its lines on stdout.
    lines: Vec<String>,
    /// Stderr.
    said: String,
    /// From the moment when it was told to end, where it was.
    ended_after: Option<Duration>,
}

impl Answer {
    /// Calls the plugin. After `stop` it is told to end.
    fn of(
        program: &Path,
        arguments: &[&str],
        input: &str,
        limit: Duration,
        stop: Option<Duration>,
    ) -> Result<Answer> {
        let mut launch = Launch::new(program);
        launch.arguments = arguments.iter().map(Into::into).collect();
        launch.environment = environment(For::Plugin, &Variables::default(), 1, &[]);
        let process = Process::start(&launch, Some(input.into()), Hearing::Apart)?;
        let began = Instant::now();
        let (mut stdout, mut lines, mut said) = (Lines::default(), Vec::new(), Vec::new());
        let mut kept = 0;
        let end = process.attend(
            Some(limit),
            || stop.is_some_and(|stop| began.elapsed() >= stop),
            |stream, bytes| {
                kept += bytes.len();
                if kept <= KEPT {
                    match stream {
                        Stream::Stdout => stdout.add(bytes, |line| lines.push(line.to_string())),
                        Stream::Stderr => said.extend_from_slice(bytes),
                    }
                }
                ControlFlow::Continue(())
            },
        );
        let ending = end?.why;
        stdout.end(|line| lines.push(line.to_string()));
        let ended_after = stop.and_then(|stop| began.elapsed().checked_sub(stop));
        Ok(Answer {
            ending,
            lines,
            said: String::from_utf8_lossy(&said).into_owned(),
            ended_after,
        })
    }

    /// The last `error` event.
    fn error(&self) -> Option<String> {
        let events = self.lines.iter().rev();
        let mut events = events.filter_map(|line| serde_json::from_str(line).ok());
        events.find_map(|event| match event {
            Event::Error { message } => Some(message),
            _ => None,
        })
    }

    /// The first line on stdout that is no event.
    fn garbage(&self) -> Option<&String> {
        let is_event = |line: &str| serde_json::from_str::<Event>(line).is_ok();
        self.lines.iter().find(|line| !is_event(line))
    }

    /// The line by which a Python traceback or a Rust panic begins, where there is no error event that says it better.
    fn backtrace(&self) -> Option<&str> {
        let mut lines = self.said.lines();
        let begins = |line: &&str| {
            line.starts_with("Traceback (most")
                || line.contains("' panicked at ")
                || line.contains("thread 'main'")
        };
        lines.find(begins).filter(|_| self.error().is_none())
    }

    /// Its last words.
    fn why(&self) -> String {
        let last = || self.said.lines().rev().find(|line| !line.trim().is_empty());
        let why = self.error().or_else(|| last().map(str::to_string));
        why.unwrap_or_else(|| "it said nothing of why".into())
    }
}
