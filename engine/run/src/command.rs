//! How a request's process is put together: its folders, its inputs in place, what it reads on stdin or its command line. What
//! a program works in is the room `folder`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Lay, Record, Shared};
use flow_plan::plan::{self, Variables, Wanted, layout};
use flow_stage::protocol::{self, PROTOCOL};
use serde_json::Value;

use super::folder::{self, StageFolder};
use super::request::{Input, Made, Source, Task};
use super::site::Site;
use crate::machine::domain::SHARE;
use crate::process::environment::{For, environment};
use crate::process::{self, Confinement, Launch, Mount};

/// A process ready to start.
pub(super) struct Prepared {
    pub launch: Launch,
    /// What it is called, as a person wrote it.
    pub program: String,
    /// What is written on its stdin; nothing for `run` stages.
    pub input: Option<Vec<u8>>,
    /// What nobody may read in what it says.
    pub secrets: Vec<String>,
    /// What it could write to of the store.
    pub shared: Vec<Shared>,
    /// The same of what it goes on from, which lies in the store for results.
    pub earlier: Vec<Shared>,
    /// The folder of a program.
    pub folder: Option<StageFolder>,
}

/// Lays out `attempt`, with the inputs in it, and builds the command; a kind's outputs belong to its folder `outputs`. `wait`
/// hears what it waits for, once. None where the run was asked to end while this waited.
pub(super) fn prepare(
    site: &Site<'_>,
    earlier: Option<&Record>,
    work: &Path,
    attempt: &Path,
    wait: &dyn Fn(String),
) -> Result<Option<Prepared>> {
    match &site.request.task {
        Task::Kind { .. } => prepare_kind(site, earlier, work, attempt).map(Some),
        Task::Command(program) => {
            let prepared = folder::prepare(site, program, work, attempt, wait)?;
            let Some((mut folder, launch)) = prepared else {
                return Ok(None);
            };
            let name = match &program.command {
                plan::Command::Shell(_) => "the shell".into(),
                plan::Command::Arguments(_) => launch.program.to_string_lossy().into_owned(),
            };
            Ok(Some(Prepared {
                program: name,
                launch,
                input: None,
                secrets: secrets(&site.request.variables),
                shared: std::mem::take(&mut folder.shared),
                earlier: Vec::new(),
                folder: Some(folder),
            }))
        }
    }
}

fn prepare_kind(
    site: &Site<'_>,
    earlier: Option<&Record>,
    work: &Path,
    attempt: &Path,
) -> Result<Prepared> {
    let (request, share) = (site.request, site.share);
    let Task::Kind {
        kind,
        program,
        parameters,
        ..
    } = &request.task
    else {
        unreachable!("programs have a folder of their own")
    };
    let outputs = attempt.join("outputs");
    let scratch = work.join("scratch");
    for folder in [&scratch, &outputs, &attempt.join("inputs")] {
        make(folder)?;
    }
    for output in &request.outputs {
        if let Some(parent) = outputs.join(&output.file).parent() {
            make(parent)?;
        }
    }
    let mut placing = Placing {
        site,
        attempt,
        mount: process::isolation().is_ok(),
        shared: Vec::new(),
        earlier: Vec::new(),
    };
    let mut inputs: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for input in &request.inputs {
        inputs.insert(input.role.clone(), placing.locate(input)?);
    }
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
                // Several files, or none, are given as the folder that they lie in.
                let path = match input.source {
                    Source::Collected(_) | Source::Named(_) => {
                        attempt.join("inputs").join(&input.role)
                    }
                    _ => inputs.get(&input.role)?.first()?.clone(),
                };
                Some((input.role.clone(), path))
            })
            .collect(),
        outputs: request
            .outputs
            .iter()
            .map(|output| (output.role.clone(), outputs.join(&output.file)))
            .collect(),
        earlier: match earlier {
            Some(record) => placing.lay_out_earlier(record)?,
            None => BTreeMap::new(),
        },
        work: scratch.clone(),
        seed: request.manifest.seed.unwrap_or(0),
        threads: share.threads,
        device: share.device().into(),
    };
    let mut launch = Launch::new(program);
    launch.arguments = vec!["run".into(), kind.into()];
    launch.folder = scratch;
    launch.environment = environment(For::Plugin, &request.variables, share.threads, &share.gpus);
    if let Some(given) = share.given() {
        launch.environment.push((SHARE.into(), given.into()));
    }
    launch.confinement = placing.confinement();
    let mut line = serde_json::to_vec(&asked).context("a path is not valid UTF-8")?;
    line.push(b'\n');
    Ok(Prepared {
        launch,
        program: program.display().to_string(),
        input: Some(line),
        secrets: secrets(&request.variables),
        shared: placing.shared,
        earlier: placing.earlier,
        folder: None,
    })
}

/// The values of secret variables, as far as a stage can print them.
fn secrets(variables: &Variables) -> Vec<String> {
    let values = variables.secret.iter().filter_map(std::env::var_os);
    values
        .map(|value| value.to_string_lossy().into_owned())
        .collect()
}

/// Puts a kind's inputs in their places: the user's own where they are, the rest out of the store.
struct Placing<'a> {
    site: &'a Site<'a>,
    attempt: &'a Path,
    /// Whether the process gets mounts of its own.
    mount: bool,
    shared: Vec<Shared>,
    earlier: Vec<Shared>,
}

impl Placing<'_> {
    /// Where an input's files are.
    fn locate(&mut self, input: &Input) -> Result<Vec<PathBuf>> {
        match &input.source {
            Source::Path { paths, .. } => Ok(paths.clone()),
            Source::Result(made) => {
                let path = self.attempt.join("inputs").join(&input.role);
                Ok(vec![self.place(made, path)?])
            }
            Source::Collected(all) => {
                let folder = self.attempt.join("inputs").join(&input.role);
                make(&folder)?;
                all.iter()
                    .enumerate()
                    .map(|(i, made)| self.place(made, folder.join(format!("{i:06}"))))
                    .collect()
            }
            Source::Named(all) => {
                let folder = self.attempt.join("inputs").join(&input.role);
                make(&folder)?;
                let names = layout::member_names(all.iter().map(|made| layout::Named {
                    point: &made.point,
                    output: &made.output,
                    own: &made.name,
                }));
                let all = all.iter().zip(names);
                all.map(|(made, name)| self.lay_out(made, folder.join(name)))
                    .collect()
            }
        }
    }

    /// Lays an output of another instance out at `path`, which takes the output's file name ending.
    fn place(&mut self, made: &Made, mut path: PathBuf) -> Result<PathBuf> {
        if let Some(extension) = Path::new(&made.file).extension() {
            path.set_extension(extension);
        }
        self.lay_out(made, path)
    }

    fn lay_out(&mut self, made: &Made, path: PathBuf) -> Result<PathBuf> {
        let shared = self.site.inputs.lay_out(&made.stored, &path, self.lay())?;
        self.shared.extend(shared);
        Ok(path)
    }

    /// Puts what an earlier action of the same kind made in its places, by role.
    fn lay_out_earlier(&mut self, record: &Record) -> Result<BTreeMap<String, PathBuf>> {
        let folder = self.attempt.join("earlier");
        make(&folder)?;
        let mut paths = BTreeMap::new();
        for output in &self.site.request.outputs {
            if let Some(stored) = record.outputs.get(&output.role) {
                let path = folder.join(&output.file);
                make(path.parent().unwrap_or(&folder))?;
                let shared = self.site.results.lay_out(stored, &path, self.lay())?;
                self.earlier.extend(shared);
                paths.insert(output.role.clone(), path);
            }
        }
        Ok(paths)
    }

    fn lay(&self) -> Lay {
        Lay {
            copy_below: 0,
            writable: false,
            mount: self.mount,
        }
    }

    /// What the process sees of its inputs: nothing that it can write to.
    fn confinement(&mut self) -> Option<Confinement> {
        if !self.mount {
            return None;
        }
        let bind = |from: &Path, to: &Path| Mount::Bind {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            read_only: true,
        };
        let folders = ["inputs", "earlier"].map(|name| self.attempt.join(name));
        let folders = folders.iter().filter(|folder| folder.is_dir());
        let mut mounts: Vec<Mount> = folders.map(|folder| bind(folder, folder)).collect();
        for shared in [&mut self.shared, &mut self.earlier] {
            let blobs = shared.iter();
            mounts.extend(blobs.filter_map(|one| Some(bind(one.mount.as_ref()?, &one.path))));
            // The kernel holds links read-only; nobody has to look whether they were written to.
            shared.retain(|one| one.mount.is_some());
        }
        Some(Confinement {
            mounts,
            network: true,
        })
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
