//! `flow schema`: a JSON Schema of workflow files.

use std::process::ExitCode;

use flow_plan::workflow::problem::Problems;
use flow_run::plugin;

use crate::failure::Failure;
use crate::view;

/// `flow schema`.
pub fn schema() -> Result<ExitCode, Failure> {
    let catalogue = plugin::find(None, &mut Problems::default());
    view::print(&format!("{:#}", view::schema::schema(&catalogue)))?;
    Ok(ExitCode::SUCCESS)
}
