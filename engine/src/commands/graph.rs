//! `flow graph`: the DAG with each stage's standing.

use std::collections::BTreeSet;
use std::process::ExitCode;

use petgraph::graph::NodeIndex;

use crate::arguments::WorkflowArguments;
use crate::failure::Failure;
use crate::session::Session;
use crate::view;
use crate::view::graph::Format;

/// `flow graph`.
pub fn graph(
    arguments: &WorkflowArguments,
    format: Format,
    expand: bool,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    view::print(&view::graph::print(&session.plan, &survey, format, expand))?;
    Ok(ExitCode::SUCCESS)
}
