//! `flow runs`: the earlier runs.

use std::process::ExitCode;

use flow_run::record::PastRun;

use crate::arguments::StoreArguments;
use crate::failure::{Failure, wrong};
use crate::view;

/// `flow runs`.
pub fn runs(arguments: &StoreArguments, json: bool) -> Result<ExitCode, Failure> {
    let mut runs = PastRun::all(&arguments.open()?)?;
    if let Some(workflow) = &arguments.workflow {
        let path = workflow
            .canonicalize()
            .map_err(|e| wrong(format!("{}: {e}", workflow.display())))?;
        runs.retain(|run| run.head.path == path);
    }
    if json {
        for run in &runs {
            view::print(&view::provenance::run_json(run).to_string())?;
        }
    } else {
        view::print(&view::provenance::runs(&runs))?;
    }
    Ok(ExitCode::SUCCESS)
}
