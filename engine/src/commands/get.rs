//! `flow get`: outputs copied out of the store, or linked to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use flow_cache::{Key, Output, Record, Store};
use flow_plan::plan::plain_text;
use flow_plan::workflow::Reference;
use flow_plan::workflow::problem::is_or_are;
use flow_run::record::PastRun;
use flow_run::record::event::StageEnd;
use flow_run::record::replan::replan;
use petgraph::graph::NodeIndex;
use serde_json::{Value, json};

use crate::arguments::WorkflowArguments;
use crate::failure::{FAILED, Failure, wrong};
use crate::runs;
use crate::session::Session;
use crate::stdout;
use crate::suggestion;
use crate::view;

/// What is handed out, and how.
#[derive(Args)]
pub struct Form {
    /// All that the workflow has under `[deliver]`, by its names there, below the folder that -o names.
    #[arg(long, requires = "output")]
    pub all: bool,
    /// Where to; by default STAGE.OUTPUT in the current folder; `-` writes a file to standard output.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace what is there.
    #[arg(long, conflicts_with = "link")]
    force: bool,
    /// Make symbolic links to the store's read-only files, to be read soon: nothing is copied, but gc may take what they
    /// point at.
    #[arg(long)]
    link: bool,
    /// Print one JSON object: what it is, and where it is now.
    #[arg(long)]
    json: bool,
}

/// An output that is in the store.
struct Found {
    label: String,
    stage: String,
    coordinates: BTreeMap<String, Value>,
    role: String,
    /// The file name that the stage gave it.
    file: String,
    key: Key,
    stored: Output,
    /// Where to, if that is said.
    path: Option<PathBuf>,
}

/// What is looked into.
struct Place {
    store: Store,
    /// The workflow's own files, which nothing replaces.
    own: Vec<PathBuf>,
}

/// `flow get`: one `artifact`, or all that is delivered.
pub fn get(
    arguments: &WorkflowArguments,
    artifact: Option<&str>,
    form: &Form,
) -> Result<ExitCode, Failure> {
    let (place, found) = match (&arguments.run, artifact) {
        (Some(run), Some(artifact)) => of_run(arguments, run, artifact, form)?,
        _ => of_plan(arguments, artifact, form)?,
    };
    for found in found {
        hand_out(&place, form, &found)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// By the plan of a workflow.
fn of_plan(
    arguments: &WorkflowArguments,
    artifact: Option<&str>,
    form: &Form,
) -> Result<(Place, Vec<Found>), Failure> {
    let mut session = Session::open(arguments)?;
    let wanted = match artifact {
        Some(artifact) => {
            let reference: Reference = artifact.parse().map_err(wrong)?;
            let (node, role) = session.artifact(&reference, artifact).map_err(|failure| {
                let store = arguments.store.as_deref();
                match runs::instead_of_workflow(Path::new(artifact), store) {
                    Ok(Some(_)) => wrong(format!(
                        "`{artifact}` is a run: name what to copy of it: {}",
                        suggestion::on(store, &["get", artifact, "STAGE"])
                    )),
                    _ => failure,
                }
            })?;
            vec![(node, role, form.output.clone())]
        }
        None if form.all => delivered(&session, form)?,
        None => {
            return Err(wrong(
                "name what to copy, as STAGE.OUTPUT; or --all -o FOLDER for all under [deliver]",
            ));
        }
    };
    let nodes: Vec<NodeIndex> = wanted.iter().map(|(node, _, _)| *node).collect();
    let survey = session.standing(&nodes)?;
    // All of it, or nothing.
    let found = wanted.into_iter().map(|(node, role, path)| {
        let instance = &session.plan.graph[node];
        let record = survey.record(node);
        let stored = record.and_then(|r| Some((r.key, r.outputs.get(&role)?.clone())));
        let (key, stored) =
            stored.ok_or_else(|| session.no_result(arguments, &instance.label, "copy"))?;
        let declared = instance.outputs.iter().find(|o| o.role == role);
        Ok(Found {
            label: instance.label.clone(),
            stage: instance.stage.clone(),
            coordinates: instance.coordinates.clone(),
            file: declared.map_or(String::new(), |output| output.file.clone()),
            role,
            key,
            stored,
            path,
        })
    });
    let found = found.collect::<Result<_, Failure>>()?;
    let own = session.sources.files().map(|(file, _)| file.to_path_buf());
    let place = Place {
        own: own.collect(),
        store: session.store.clone(),
    };
    Ok((place, found))
}

/// By the journal of a run alone: its kinds and files may be gone.
fn of_run(
    arguments: &WorkflowArguments,
    run: &str,
    artifact: &str,
    form: &Form,
) -> Result<(Place, Vec<Found>), Failure> {
    runs::as_it_was(run, &arguments.overrides().options())?;
    let store = arguments.runs_store()?;
    let run = runs::open(&store, run, None)?;
    let reference: Reference = artifact.parse().map_err(wrong)?;
    let lines = run.stages()?;
    let meant = |line: &&StageEnd| {
        let has = |(axis, text): &(String, String)| {
            let value = line.instance.get(axis);
            value.is_some_and(|value| plain_text(value) == *text)
        };
        line.stage == reference.stage && reference.selectors.iter().all(has)
    };
    let found: Vec<&StageEnd> = lines.iter().filter(meant).collect();
    let line = match &found[..] {
        [line] => *line,
        [] => {
            let mut labels: Vec<String> = lines.iter().map(StageEnd::label).collect();
            labels.sort();
            return Err(wrong(format!(
                "{artifact}: run {} had no such stage; {} {}",
                run.id,
                is_or_are(labels.len()),
                view::some(&labels, view::MANY)
            )));
        }
        several => {
            let labels: Vec<String> = several.iter().map(|line| line.label()).collect();
            return Err(wrong(format!(
                "`{artifact}` is several: name one of {}",
                view::some(&labels, view::MANY)
            )));
        }
    };
    let record = match line.result() {
        Some(key) => store.record(&key)?,
        None => None,
    };
    let Some(record) = record else {
        return Err(Failure {
            text: format!(
                "error: run {} has no result of `{}` that is still in the store, so there is nothing to copy",
                run.id,
                line.label()
            ),
            status: FAILED,
        });
    };
    let role = match &reference.output {
        Some(role) => role.clone(),
        None => first_output(&run, &line.label(), &record),
    };
    let Some(stored) = record.outputs.get(&role) else {
        let roles: Vec<&str> = record.outputs.keys().map(String::as_str).collect();
        return Err(wrong(format!(
            "`{}` has no output `{role}`; it has {}",
            line.label(),
            roles.join(", ")
        )));
    };
    let found = Found {
        label: line.label(),
        stage: line.stage.clone(),
        coordinates: line.instance.clone(),
        file: record.manifest["outputs"][&role]
            .as_str()
            .unwrap_or("")
            .into(),
        role,
        key: record.key,
        stored: stored.clone(),
        path: form.output.clone(),
    };
    let own = vec![run.head.path];
    Ok((Place { store, own }, vec![found]))
}

/// The output that a stage declares first, as far as its run can be planned again; else the first by name.
fn first_output(run: &PastRun, label: &str, record: &Record) -> String {
    let replanned = replan(run).ok();
    let declared = replanned.and_then(|replanned| {
        let mut instances = replanned.plan.instances();
        let instance = instances.find(|instance| instance.label == label)?;
        Some(instance.outputs.first()?.role.clone())
    });
    let first = || record.outputs.keys().next().cloned();
    declared.or_else(first).unwrap_or_default()
}

/// Refuses to replace what nobody means by `--force`: a folder by a file, the project, its workflow, or what is in the store.
fn may_replace(place: &Place, stored: &Output, path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let kind = |folder| if folder { "a folder" } else { "a file" };
    if metadata.is_dir() != stored.folder {
        return Err(wrong(format!(
            "{} is {}, and the output is {}: move it away first",
            path.display(),
            kind(metadata.is_dir()),
            kind(stored.folder)
        )));
    }
    let target = std::path::absolute(path).map_err(wrong)?;
    let target = target.canonicalize().unwrap_or(target);
    let here = std::env::current_dir().unwrap_or_default();
    let store = place.store.root();
    let is_needed = place.own.iter().any(|file| file.starts_with(&target))
        || store.starts_with(&target)
        || target.starts_with(store)
        || here.starts_with(&target);
    if is_needed {
        return Err(wrong(format!(
            "{} holds the workflow, the store or this folder, or lies in the store: it is not replaced",
            path.display()
        )));
    }
    Ok(())
}

/// What `[deliver]` names, below the folder that is asked for.
fn delivered(
    session: &Session,
    form: &Form,
) -> Result<Vec<(NodeIndex, String, Option<PathBuf>)>, Failure> {
    let deliveries = &session.plan.deliveries;
    if deliveries.is_empty() {
        return Err(wrong(
            "--all: the workflow has nothing under [deliver]; name an output",
        ));
    }
    if let Some((one, other)) = session.plan.delivered_twice() {
        return Err(wrong(format!(
            "--all: two results of this sweep would be at `{}` and `{}`; choose one point with --point",
            one.path, other.path
        )));
    }
    let folder = form.output.as_deref().unwrap_or(Path::new("."));
    if folder == Path::new("-") {
        return Err(wrong("--all: name a folder with -o"));
    }
    let wanted = deliveries.iter().map(|delivery| {
        let path = folder.join(&delivery.path);
        (delivery.node, delivery.output.clone(), Some(path))
    });
    Ok(wanted.collect())
}

/// Writes to standard output, also where Rust's own takes an error for none. A reader that has gone away (`| head`) is no error.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let failed = |why: String| Failure {
        text: format!("error: -o -: {why}"),
        status: FAILED,
    };
    if stdout::was_closed() {
        return Err(failed("standard output is closed".into()));
    }
    let out = io::stdout().as_fd().try_clone_to_owned();
    match out.and_then(|out| File::from(out).write_all(bytes)) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(failed(format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}

fn hand_out(place: &Place, form: &Form, found: &Found) -> Result<(), Failure> {
    let Found {
        label,
        role,
        stored,
        ..
    } = found;
    if found.path.as_deref() == Some(Path::new("-")) {
        if form.link || form.json {
            return Err(wrong(
                "-o -: standard output takes the file alone, without --link and --json",
            ));
        }
        if stored.folder {
            return Err(wrong(format!(
                "`{label}.{role}` is a folder: name one with -o"
            )));
        }
        return write_out(&place.store.read(stored)?);
    }
    let path = found.path.clone().unwrap_or_else(|| {
        let mut name = format!("{label}.{role}").replace('/', "_");
        if let Some(extension) = Path::new(&found.file).extension() {
            name += &format!(".{}", extension.to_string_lossy());
        }
        PathBuf::from(name)
    });
    if !stored.folder && path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(wrong(format!(
            "-o {}: that names a folder, and `{label}.{role}` is a file: name the file, as {}",
            path.display(),
            path.join(role).display()
        )));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| wrong(format!("{} can't be made: {e}", folder.display())))?;
    }
    if form.link {
        place.store.point(stored, &path)?;
    } else if form.force {
        may_replace(place, stored, &path)?;
        flow_run::deliver::replace(&place.store, stored, &path)?;
    } else {
        place.store.export(stored, &path)?;
    }
    if form.json {
        let line = json!({
            "event": "output", "stage": found.stage, "instance": found.coordinates, "label": label, "output": role,
            "artifact": stored.artifact, "key": found.key, "digest": stored.digest, "size": stored.size,
            "folder": stored.folder, "path": std::path::absolute(&path).map_err(wrong)?,
        });
        view::print(&line.to_string())?;
    } else {
        view::print(&path.display().to_string())?;
    }
    Ok(())
}
