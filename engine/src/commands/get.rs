//! `flow get`: an output copied out of the store, or linked to it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use flow_plan::workflow::Reference;
use serde_json::json;

use crate::arguments::WorkflowArguments;
use crate::failure::{FAILED, Failure, wrong};
use crate::session::Session;
use crate::suggestion::first;
use crate::view;

/// How an output is handed out.
#[derive(Args)]
pub struct Form {
    /// Make symbolic links to the store's read-only files, to be read soon: nothing is copied, but gc may take what they
    /// point at.
    #[arg(long)]
    link: bool,
    /// Print one JSON object: what it is, and where it is now.
    #[arg(long)]
    json: bool,
}

/// `flow get`.
pub fn get(
    arguments: &WorkflowArguments,
    artifact: &str,
    output: Option<PathBuf>,
    form: &Form,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let reference: Reference = artifact.parse().map_err(wrong)?;
    let (node, wanted) = session.artifact(&reference, artifact)?;
    let instance = &session.plan.graph[node];
    let declared = instance.outputs.iter().find(|o| o.role == wanted).cloned();
    let (label, stage) = (instance.label.clone(), instance.stage.clone());
    let coordinates = instance.coordinates.clone();
    let ancestors = session.plan.with_ancestors(&[node]);
    let externals = session.externals(&ancestors)?;
    let survey = session.survey(&ancestors, &BTreeSet::new(), &externals)?;
    let record = survey.record(node);
    let Some((key, stored)) =
        record.and_then(|record| Some((record.key, record.outputs.get(&wanted)?)))
    else {
        return Err(Failure {
            text: format!(
                "error: `{label}` is not up to date, so there is nothing to copy; first: {}",
                first(arguments, &[&label])
            ),
            status: FAILED,
        });
    };
    let path = output.unwrap_or_else(|| {
        let mut name = format!("{label}.{wanted}").replace('/', "_");
        let file = declared.map_or(String::new(), |output| output.file);
        if let Some(extension) = Path::new(&file).extension() {
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
    } else {
        session.store.export(stored, &path)?;
    }
    if form.json {
        let line = json!({
            "event": "output", "stage": stage, "instance": coordinates, "label": label, "output": wanted,
            "artifact": stored.artifact, "key": key, "digest": stored.digest, "size": stored.size,
            "folder": stored.folder, "path": std::path::absolute(&path).map_err(wrong)?,
        });
        view::print(&line.to_string())?;
    } else {
        view::print(&path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
