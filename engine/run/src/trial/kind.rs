//! One kind of a plugin, run several times on small inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use flow_plan::plan::Output;
use flow_plan::plan::kinds::Kind;
use flow_stage::protocol::{KindDescription, PROTOCOL, Request};
use serde_json::{Map, Value};
use tempfile::TempDir;
use walkdir::WalkDir;

use super::inputs;
use super::{Answer, Given, Verdict};
use crate::outputs;
use crate::process::Ending;

/// How long one attempt on the small inputs may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How long after its start a stage is told to end.
const SOON: Duration = Duration::from_millis(300);
/// How long it may go on then: after that flow kills it.
const GRACE: Duration = Duration::from_secs(5);

const RUNS: &str = "ends well and writes each output in its format";
const EVENTS: &str = "prints events and nothing else";
const READS: &str = "leaves its inputs as they are";
const PLACES: &str = "writes nowhere but to its outputs and its work folder";
const TOLERATES: &str = "takes a request with a field that it does not know";
const REPEATS: &str = "gives the same bytes again";
const THREADS: &str = "gives the same bytes with two threads";
const ENDS: &str = "ends within five seconds of being told to (SIGTERM)";
const EXPLAINS: &str = "says why it can't use an input that is damaged";

/// Tries a kind.
pub(super) fn try_out(
    program: &Path,
    kind: &Kind,
    given: &Given,
    tell: &mut dyn FnMut(&'static str, Verdict),
) -> Result<()> {
    let folder = TempDir::with_prefix("flow-trial-").context("no temporary folder can be made")?;
    let description = &kind.description;
    let parameters = kind.with_defaults(given.parameters.clone());
    if let Some(lack) = lack(kind, &parameters) {
        tell(RUNS, Verdict::Untried(lack));
        return Ok(());
    }
    let trial = Trial {
        program,
        kind: description,
        folder: folder.path(),
        parameters,
    };
    let inputs = match trial.inputs(given)? {
        Ok(inputs) => inputs,
        Err(lack) => {
            tell(RUNS, Verdict::Untried(lack));
            return Ok(());
        }
    };
    let before = digests(&inputs)?;
    let first = trial.attempt("first", &inputs, 1, |_| {})?;
    let mut ran = trial.ran("first", &first)?;
    let is_made = inputs.keys().any(|role| !given.inputs.contains_key(role));
    if let (Verdict::Broken(_), Some(error), true) = (&ran, first.error(), is_made) {
        ran = Verdict::Untried(format!(
            "it refuses what was made for it: {error}; give inputs with `--input ROLE=PATH`"
        ));
    }
    tell(EVENTS, trial.printed(&first));
    tell(RUNS, ran.clone());
    if ran != Verdict::Holds {
        return Ok(());
    }
    let is_same = digests(&inputs)? == before;
    tell(
        READS,
        verdict(is_same, || "an input has other bytes than before".into()),
    );
    tell(PLACES, trial.places("first", &["inputs", "first"])?);
    let more = |request: &mut Value| {
        request["of_a_later_version"] = Value::from("something");
    };
    let second = trial.attempt("second", &inputs, 1, more)?;
    let again = trial.ran("second", &second)?;
    tell(TOLERATES, again.clone());
    if again == Verdict::Holds {
        tell(REPEATS, trial.same("first", "second")?);
    }
    if description.threads_parameter.is_none() {
        let two = trial.attempt("threads", &inputs, 2, |_| {})?;
        tell(
            THREADS,
            match trial.ran("threads", &two)? {
                Verdict::Holds => trial.same("first", "threads")?,
                other => other,
            },
        );
    }
    let told = trial.call("told", &inputs, 1, Some(SOON), |_| {})?;
    let took = told.ended_after.unwrap_or_default();
    tell(
        ENDS,
        verdict(took < GRACE, || {
            format!("it had to be killed after {} s", GRACE.as_secs())
        }),
    );
    let damaged = description
        .inputs
        .iter()
        .find(|port| inputs.contains_key(&port.name));
    if let Some(port) = damaged {
        let path = trial.folder.join("damaged");
        inputs::spoil(port.artifact, &path)?;
        let mut inputs = inputs;
        inputs.insert(port.name.clone(), path);
        let answer = trial.attempt("damage", &inputs, 1, |_| {})?;
        tell(EXPLAINS, explained(&answer, &port.name));
    }
    Ok(())
}

/// What is missing that nobody can make up.
fn lack(kind: &Kind, parameters: &Map<String, Value>) -> Option<String> {
    let value = Value::Object(parameters.clone());
    let error = kind.validator().ok()?.iter_errors(&value).next()?;
    Some(format!(
        "its parameters lack something: {error}; give it with `--set NAME=VALUE`"
    ))
}

struct Trial<'a> {
    program: &'a Path,
    kind: &'a KindDescription,
    folder: &'a Path,
    parameters: Map<String, Value>,
}

impl Trial<'_> {
    /// The inputs that must be there, and those that were given, in a folder of the trial; or what can't be made.
    fn inputs(&self, given: &Given) -> Result<Result<BTreeMap<String, PathBuf>, String>> {
        let folder = self.folder.join("inputs");
        fs::create_dir(&folder).with_context(|| cannot(&folder))?;
        let mut inputs = BTreeMap::new();
        for port in &self.kind.inputs {
            if let Some(path) = given.inputs.get(&port.name) {
                inputs.insert(port.name.clone(), path.clone());
                continue;
            }
            if port.optional {
                continue;
            }
            let path = folder.join(format!("{}{}", port.name, port.artifact.extension()));
            if !inputs::make(port.artifact, &path)? {
                return Ok(Err(format!(
                    "its input `{0}` is a {1}, which can't be made up; give one with `--input {0}=PATH`",
                    port.name, port.artifact
                )));
            }
            inputs.insert(port.name.clone(), path);
        }
        Ok(Ok(inputs))
    }

    fn attempt(
        &self,
        name: &str,
        inputs: &BTreeMap<String, PathBuf>,
        threads: u32,
        change: impl FnOnce(&mut Value),
    ) -> Result<Answer> {
        self.call(name, inputs, threads, None, change)
    }

    fn call(
        &self,
        name: &str,
        inputs: &BTreeMap<String, PathBuf>,
        threads: u32,
        stop: Option<Duration>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Answer> {
        let work = self.folder.join(name).join("work");
        fs::create_dir_all(&work).with_context(|| cannot(&work))?;
        let outputs = self.outputs(name);
        let outputs = outputs
            .into_iter()
            .map(|(output, path)| (output.role, path));
        fs::create_dir(self.folder.join(name).join("outputs")).with_context(|| cannot(&work))?;
        let request = Request {
            protocol: PROTOCOL,
            kind: self.kind.name.clone(),
            stage: "trial".into(),
            parameters: self.parameters.clone(),
            inputs: inputs.clone(),
            outputs: outputs.collect(),
            earlier: BTreeMap::new(),
            work,
            seed: 42,
            threads,
            device: "cpu".into(),
        };
        let mut request = serde_json::to_value(request)?;
        change(&mut request);
        let arguments = ["run", self.kind.name.as_str()];
        Answer::of(self.program, &arguments, &request.to_string(), LIMIT, stop)
    }

    fn outputs(&self, attempt: &str) -> Vec<(Output, PathBuf)> {
        let folder = self.folder.join(attempt).join("outputs");
        let outputs = self.kind.outputs.iter().map(|port| {
            let file = format!("{}{}", port.name, port.artifact.extension());
            let path = folder.join(&file);
            let output = Output {
                role: port.name.clone(),
                artifact: port.artifact,
                file,
            };
            (output, path)
        });
        outputs.collect()
    }

    /// Whether an attempt ended well, with all of its outputs.
    fn ran(&self, attempt: &str, answer: &Answer) -> Result<Verdict> {
        match answer.ending {
            Ending::Exited(status) if status.success() => {}
            Ending::Exited(status) => {
                return Ok(Verdict::Broken(format!(
                    "it ended with {status}: {}",
                    answer.why()
                )));
            }
            _ => {
                return Ok(Verdict::Broken(format!(
                    "it went on for {} s",
                    LIMIT.as_secs()
                )));
            }
        }
        for (output, path) in self.outputs(attempt) {
            if let Err(error) = outputs::check(&output, &path, true) {
                return Ok(Verdict::Broken(format!("{error:#}")));
            }
        }
        Ok(Verdict::Holds)
    }

    fn printed(&self, answer: &Answer) -> Verdict {
        match answer.garbage() {
            None => Verdict::Holds,
            Some(line) => {
                let line: String = line.chars().take(80).collect();
                Verdict::Broken(format!(
                    "it printed `{line}` on stdout; a plugin logs on stderr"
                ))
            }
        }
    }

    /// Whether nothing lies in the trial's folder, and among the outputs of the attempt, that does not belong there.
    fn places(&self, attempt: &str, known: &[&str]) -> Result<Verdict> {
        let outputs = self.outputs(attempt);
        let expected = outputs.iter().map(|(output, _)| output.file.as_str());
        let expected: Vec<&str> = expected.collect();
        let folder = self.folder.join(attempt);
        let places = [
            (self.folder.to_path_buf(), known.to_vec()),
            (folder.clone(), vec!["outputs", "work"]),
            (folder.join("outputs"), expected),
        ];
        for (folder, expected) in places {
            for entry in fs::read_dir(&folder).with_context(|| cannot(&folder))? {
                let name = entry?.file_name();
                if !expected.iter().any(|known| name == *known) {
                    let name = name.to_string_lossy().into_owned();
                    return Ok(Verdict::Broken(format!(
                        "it wrote `{name}`, which nobody asked for"
                    )));
                }
            }
        }
        Ok(Verdict::Holds)
    }

    fn same(&self, one: &str, other: &str) -> Result<Verdict> {
        for ((output, first), (_, second)) in self.outputs(one).into_iter().zip(self.outputs(other))
        {
            if contents(&first)? != contents(&second)? {
                return Ok(Verdict::Broken(format!(
                    "its output `{}` has other bytes",
                    output.role
                )));
            }
        }
        Ok(Verdict::Holds)
    }
}

/// The digests of all files of the inputs, those that were given among them.
fn digests(inputs: &BTreeMap<String, PathBuf>) -> Result<Vec<BTreeMap<PathBuf, blake3::Hash>>> {
    inputs.values().map(|path| contents(path)).collect()
}

/// The digests of all files at or below a path.
fn contents(path: &Path) -> Result<BTreeMap<PathBuf, blake3::Hash>> {
    let mut found = BTreeMap::new();
    for entry in WalkDir::new(path) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path())
                .with_context(|| format!("{} can't be read", entry.path().display()))?;
            let place = entry.path().strip_prefix(path).unwrap_or(path);
            found.insert(place.to_path_buf(), blake3::hash(&bytes));
        }
    }
    Ok(found)
}

fn explained(answer: &Answer, role: &str) -> Verdict {
    match answer.ending {
        Ending::Exited(status) if status.success() => Verdict::Broken(format!(
            "its input `{role}` held garbage, and it ended well"
        )),
        Ending::Exited(status) if answer.error().is_none() => Verdict::Broken(format!(
            "it ended with {status} and without an `error` event"
        )),
        Ending::Exited(_) => Verdict::Holds,
        _ => Verdict::Broken(format!("it went on for {} s", LIMIT.as_secs())),
    }
}

fn verdict(holds: bool, broken: impl FnOnce() -> String) -> Verdict {
    match holds {
        true => Verdict::Holds,
        false => Verdict::Broken(broken()),
    }
}

fn cannot(path: &Path) -> String {
    format!("{} can't be used", path.display())
}
