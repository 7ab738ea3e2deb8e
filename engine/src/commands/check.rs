//! `flow check`: all that is wrong with a workflow.

use std::collections::BTreeSet;
use std::process::ExitCode;

use flow_plan::plan::{Folder, Task};
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
    let frozen = session.plan.instances().filter(|one| one.frozen.is_some());
    let mut frozen: Vec<&str> = frozen.map(|one| one.stage.as_str()).collect();
    frozen.dedup();
    if !frozen.is_empty() {
        view::print(&format!("frozen: {}", view::some(&frozen, view::MANY)))?;
    }
    for (why, instances) in session.not_isolated(&all)? {
        let mut stages: Vec<&str> = instances.iter().map(|one| one.stage.as_str()).collect();
        stages.dedup();
        view::print(&format!(
            "not isolated: {}: {why}",
            view::some(&stages, view::MANY)
        ))?;
        let in_project = instances.iter().any(|one| match &one.task {
            Task::Command(program) => program.folder == Folder::Project,
            Task::Kind { .. } => false,
        });
        if in_project {
            view::print(
                "  what it reads and writes there beside its inputs and outputs is in no key, and is not tracked",
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
