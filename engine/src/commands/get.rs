//! `flow get`: outputs copied out of the store, or linked to it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use flow_cache::{Key, Output};
use flow_plan::workflow::Reference;
use flow_results::Survey;
use petgraph::graph::NodeIndex;
use serde_json::json;

use crate::arguments::WorkflowArguments;
use crate::failure::{FAILED, Failure, wrong};
use crate::session::Session;
use crate::suggestion::first;
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

/// An output of an instance.
struct Wanted {
    node: NodeIndex,
    role: String,
    /// Where to, if that is said.
    path: Option<PathBuf>,
}

/// `flow get`: one `artifact`, or all that is delivered.
pub fn get(
    arguments: &WorkflowArguments,
    artifact: Option<&str>,
    form: &Form,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let wanted = match artifact {
        Some(artifact) => {
            let reference: Reference = artifact.parse().map_err(wrong)?;
            let (node, role) = session.artifact(&reference, artifact)?;
            let path = form.output.clone();
            vec![Wanted { node, role, path }]
        }
        None if form.all => delivered(&session, form)?,
        None => {
            return Err(wrong(
                "name what to copy, as STAGE.OUTPUT; or --all -o FOLDER for all under [deliver]",
            ));
        }
    };
    let nodes: Vec<NodeIndex> = wanted.iter().map(|wanted| wanted.node).collect();
    let ancestors = session.plan.with_ancestors(&nodes);
    let externals = session.externals(&ancestors)?;
    let survey = session.survey(&ancestors, &BTreeSet::new(), &externals)?;
    // All of it, or nothing.
    let found: Vec<_> = wanted
        .iter()
        .map(|wanted| Ok((wanted, stored(arguments, &session, &survey, wanted)?)))
        .collect::<Result<_, Failure>>()?;
    for (wanted, (key, output)) in found {
        hand_out(&session, form, wanted, key, output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses to replace what nobody means by `--force`: a folder by a file, the project, its workflow, or what is in the store.
fn may_replace(session: &Session, stored: &Output, path: &Path) -> Result<(), Failure> {
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
    let place = std::path::absolute(path).map_err(wrong)?;
    let place = place.canonicalize().unwrap_or(place);
    let here = std::env::current_dir().unwrap_or_default();
    let store = session.store.root();
    let mut own = session.sources.files().map(|(file, _)| file);
    let is_needed = own.any(|file| file.starts_with(&place))
        || store.starts_with(&place)
        || place.starts_with(store)
        || here.starts_with(&place);
    if is_needed {
        return Err(wrong(format!(
            "{} holds the workflow, the store or this folder, or lies in the store: it is not replaced",
            path.display()
        )));
    }
    Ok(())
}

/// What `[deliver]` names, below the folder that is asked for.
fn delivered(session: &Session, form: &Form) -> Result<Vec<Wanted>, Failure> {
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
    let wanted = deliveries.iter().map(|delivery| Wanted {
        node: delivery.node,
        role: delivery.output.clone(),
        path: Some(folder.join(&delivery.path)),
    });
    Ok(wanted.collect())
}

fn stored<'s>(
    arguments: &WorkflowArguments,
    session: &Session,
    survey: &'s Survey,
    wanted: &Wanted,
) -> Result<(Key, &'s Output), Failure> {
    let record = survey.record(wanted.node);
    let stored = record.and_then(|record| Some((record.key, record.outputs.get(&wanted.role)?)));
    stored.ok_or_else(|| {
        let label = &session.plan.graph[wanted.node].label;
        Failure {
            text: format!(
                "error: `{label}` is not up to date, so there is nothing to copy; first: {}",
                first(arguments, &[label])
            ),
            status: FAILED,
        }
    })
}

fn hand_out(
    session: &Session,
    form: &Form,
    wanted: &Wanted,
    key: Key,
    stored: &Output,
) -> Result<(), Failure> {
    let instance = &session.plan.graph[wanted.node];
    let (label, role) = (&instance.label, &wanted.role);
    if wanted.path.as_deref() == Some(Path::new("-")) {
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
        let mut out = io::stdout().lock();
        let written = out.write_all(&session.store.read(stored)?);
        return match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        };
    }
    let path = wanted.path.clone().unwrap_or_else(|| {
        let mut name = format!("{label}.{role}").replace('/', "_");
        let declared = instance.outputs.iter().find(|o| o.role == *role);
        let file = declared.map_or("", |output| &output.file);
        if let Some(extension) = Path::new(file).extension() {
            name += &format!(".{}", extension.to_string_lossy());
        }
        PathBuf::from(name)
    });
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| wrong(format!("{} can't be made: {e}", folder.display())))?;
    }
    if form.link {
        session.store.point(stored, &path)?;
    } else if form.force {
        may_replace(session, stored, &path)?;
        flow_run::deliver::replace(&session.store, stored, &path)?;
    } else {
        session.store.export(stored, &path)?;
    }
    if form.json {
        let line = json!({
            "event": "output", "stage": instance.stage, "instance": instance.coordinates, "label": label, "output": role,
            "artifact": stored.artifact, "key": key, "digest": stored.digest, "size": stored.size,
            "folder": stored.folder, "path": std::path::absolute(&path).map_err(wrong)?,
        });
        view::print(&line.to_string())?;
    } else {
        view::print(&path.display().to_string())?;
    }
    Ok(())
}
