//! `flow get`: an output copied out of the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flow_plan::workflow::Reference;

use crate::arguments::WorkflowArguments;
use crate::failure::{FAILED, Failure, wrong};
use crate::session::Session;
use crate::suggestion::first;
use crate::view;

/// `flow get`.
pub fn get(
    arguments: &WorkflowArguments,
    artifact: &str,
    output: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let reference: Reference = artifact.parse().map_err(wrong)?;
    let (node, wanted) = session.artifact(&reference, artifact)?;
    let instance = &session.plan.graph[node];
    let declared = instance.outputs.iter().find(|o| o.role == wanted).cloned();
    let label = instance.label.clone();
    let ancestors = session.plan.with_ancestors(&[node]);
    let externals = session.externals(&ancestors)?;
    let survey = session.survey(&ancestors, &BTreeSet::new(), &externals)?;
    let Some(stored) = survey
        .record(node)
        .and_then(|record| record.outputs.get(&wanted))
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
    session.store.export(stored, &path)?;
    view::print(&path.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
