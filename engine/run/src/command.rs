//! How a request's process is put together: its folders, its inputs in place, what it reads on stdin or its command line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use flow_cache::Record;
use flow_plan::plan::{self, Wanted, plain_text};
use flow_plan::workflow::Template;
use flow_stage::protocol::{self, PROTOCOL};
use serde_json::Value;

use super::request::{Input, Made, Request, Source, Task};
use super::site::Site;
use crate::machine::domain::SHARE;
use crate::plugin::process;

/// A process ready to start.
pub(super) struct Prepared {
    pub command: Command,
    /// What it is called, as a person wrote it.
    pub program: String,
    /// What is written on its stdin; nothing for `run` stages.
    pub input: Option<Vec<u8>>,
    /// The folder that its outputs have to lie in.
    pub outputs: PathBuf,
}

/// Lays out `attempt`, with the inputs linked into it, and builds the command.
pub(super) fn prepare(
    site: &Site<'_>,
    earlier: Option<&Record>,
    work: &Path,
    attempt: &Path,
) -> Result<Prepared> {
    let (request, share) = (site.request, site.share);
    let outputs = attempt.join("outputs");
    let scratch = work.join("scratch");
    for folder in [&outputs, &scratch, &attempt.join("inputs")] {
        make(folder)?;
    }
    for output in &request.outputs {
        if let Some(parent) = outputs.join(&output.file).parent() {
            make(parent)?;
        }
    }
    let mut inputs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for input in &request.inputs {
        inputs.insert(input.role.clone(), locate(site, input, attempt)?);
    }
    let (program, mut command, input) = match &request.task {
        Task::Kind {
            kind,
            program,
            parameters,
            ..
        } => {
            let mut parameters = Value::Object(parameters.clone());
            for input in &request.inputs {
                if let Source::Path {
                    parameter: Some(pointer),
                    files,
                    ..
                } = &input.source
                    && let Some(paths) = inputs.remove(&input.role)
                    && let Some(value) = parameters.pointer_mut(pointer)
                {
                    let mut paths = paths.iter().map(|path| text(path).map(Value::from));
                    *value = match files.wanted {
                        Wanted::Many => paths.collect::<Result<_>>()?,
                        _ => paths.next().context("a path is found before the run")??,
                    };
                }
            }
            let Value::Object(parameters) = parameters else {
                unreachable!("parameters are an object")
            };
            let asked = protocol::Request {
                protocol: PROTOCOL,
                kind: kind.clone(),
                stage: request.label.clone(),
                parameters,
                inputs: request
                    .inputs
                    .iter()
                    .filter_map(|input| {
                        let path = inputs.get(&input.role)?.first()?;
                        // Several files are given as the folder that they lie in.
                        let path = match input.source {
                            Source::Collected(_) => path.parent()?,
                            _ => path,
                        };
                        Some((input.role.clone(), path.to_path_buf()))
                    })
                    .collect(),
                outputs: request
                    .outputs
                    .iter()
                    .map(|output| (output.role.clone(), outputs.join(&output.file)))
                    .collect(),
                earlier: match earlier {
                    Some(record) => lay_out(site, record, &attempt.join("earlier"))?,
                    None => BTreeMap::new(),
                },
                work: scratch.clone(),
                seed: request.manifest.seed.unwrap_or(0),
                threads: share.threads,
                device: share.device().into(),
            };
            let mut command = Command::new(program);
            command.args(["run", kind]).current_dir(&scratch);
            let mut line = serde_json::to_vec(&asked).context("a path is not valid UTF-8")?;
            line.push(b'\n');
            (program.display().to_string(), command, Some(line))
        }
        Task::Command(task) => {
            let names = Names {
                request,
                inputs: &inputs,
                outputs: &outputs,
                scratch: &scratch,
                values: &task.values,
            };
            let (program, mut command) = names.command(&task.command)?;
            command.current_dir(&request.folder);
            (program, command, None)
        }
    };
    let declared: Vec<String> = request.manifest.env.keys().cloned().collect();
    process::clean_environment(&mut command, &declared, share.threads, &share.gpus);
    if let Some(given) = share.given() {
        command.env(SHARE, given);
    }
    Ok(Prepared {
        command,
        program,
        input,
        outputs,
    })
}

/// Links what an earlier action of the same kind made into `folder`, by role.
fn lay_out(site: &Site<'_>, record: &Record, folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    make(folder)?;
    let mut paths = BTreeMap::new();
    for output in &site.request.outputs {
        if let Some(stored) = record.outputs.get(&output.role) {
            let path = folder.join(&output.file);
            site.results.materialise(stored, &path)?;
            paths.insert(output.role.clone(), path);
        }
    }
    Ok(paths)
}

/// Where an input's files are: the user's own, or linked out of the store.
fn locate(site: &Site<'_>, input: &Input, attempt: &Path) -> Result<Vec<PathBuf>> {
    match &input.source {
        Source::Path { paths, .. } => Ok(paths.clone()),
        Source::Result(made) => {
            let path = attempt.join("inputs").join(&input.role);
            Ok(vec![place(site, made, path)?])
        }
        Source::Collected(all) => {
            let folder = attempt.join("inputs").join(&input.role);
            make(&folder)?;
            all.iter()
                .enumerate()
                .map(|(i, made)| place(site, made, folder.join(format!("{i:06}"))))
                .collect()
        }
    }
}

/// Links an output of another instance to `path`, which takes the output's file name ending.
fn place(site: &Site<'_>, made: &Made, mut path: PathBuf) -> Result<PathBuf> {
    if let Some(extension) = Path::new(&made.file).extension() {
        path.set_extension(extension);
    }
    site.inputs.materialise(&made.stored, &path)?;
    Ok(path)
}

/// What the names in a command stand for.
struct Names<'a> {
    request: &'a Request,
    inputs: &'a BTreeMap<String, Vec<PathBuf>>,
    outputs: &'a Path,
    scratch: &'a Path,
    values: &'a BTreeMap<String, Value>,
}

impl Names<'_> {
    /// What is started, as it is called, and the command.
    fn command(&self, command: &plan::Command) -> Result<(String, Command)> {
        match command {
            plan::Command::Shell(line) => {
                let line = line.render(|name| {
                    let quoted: Vec<_> = self
                        .words(name)?
                        .iter()
                        .map(|word| shlex::try_quote(word).map(|q| q.into_owned()))
                        .collect::<Result<_, _>>()
                        .with_context(|| format!("${{{name}}} can't be quoted for the shell"))?;
                    anyhow::Ok(quoted.join(" "))
                })?;
                let mut command = process::program("sh");
                command.args(["-c", &line]);
                Ok(("sh".into(), command))
            }
            plan::Command::Arguments(templates) => {
                let mut arguments = Vec::new();
                for template in templates {
                    arguments.extend(self.arguments(template)?);
                }
                let mut arguments = arguments.into_iter();
                let program = arguments.next().context("the command is empty")?;
                let mut command = process::program(&program);
                command.args(arguments);
                Ok((program, command))
            }
        }
    }

    /// An argument that is nothing but one name becomes as many arguments as the name has files.
    fn arguments(&self, template: &Template) -> Result<Vec<String>> {
        if let [flow_plan::workflow::template::Piece::Name(name)] = &template.pieces[..] {
            return self.words(name);
        }
        let text = template.render(|name| anyhow::Ok(self.words(name)?.join(" ")))?;
        Ok(vec![text])
    }

    fn words(&self, name: &str) -> Result<Vec<String>> {
        if let Some(value) = self.values.get(name) {
            return Ok(vec![plain_text(value)]);
        }
        if name == "work" {
            return Ok(vec![text(self.scratch)?]);
        }
        if let Some(paths) = name
            .strip_prefix("inputs.")
            .and_then(|role| self.inputs.get(role))
        {
            return paths.iter().map(|path| text(path)).collect();
        }
        let output = name
            .strip_prefix("outputs.")
            .and_then(|role| self.request.outputs.iter().find(|o| o.role == role))
            .with_context(|| format!("${{{name}}} is unknown"))?;
        Ok(vec![text(&self.outputs.join(&output.file))?])
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not valid UTF-8", path.display()))?;
    Ok(text.to_string())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))
}
