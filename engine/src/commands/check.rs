//! `flow check`: all that is wrong with a workflow.

use std::collections::BTreeSet;
use std::process::ExitCode;

use petgraph::graph::NodeIndex;

use crate::arguments::WorkflowArguments;
use crate::failure::Failure;
use crate::session::Session;
use crate::view;

/// `flow check`.
pub fn check(arguments: &WorkflowArguments) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    session.externals(&all)?;
    view::print(&format!(
        "{} is right: {} stage(s), {} instance(s)",
        arguments.workflow.display(),
        session.workflow.stages.len(),
        all.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}
