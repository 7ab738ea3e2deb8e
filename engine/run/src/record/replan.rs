//! The plan of an earlier run, made again from the texts that its folder keeps.

use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{self, Plan};
use flow_plan::workflow::problem::{Problem, Problems};
use flow_plan::workflow::{self, Report, Sources, Workflow};

use super::past::PastRun;
use crate::plugin;

/// What an earlier run was of.
#[derive(Debug)]
pub struct Replanned {
    /// The workflow as it was.
    pub workflow: Workflow,
    /// Its instances.
    pub plan: Plan,
    /// Their kinds, as they are now.
    pub catalogue: Catalogue,
    /// The texts that it was read from.
    pub sources: Sources,
}

/// Plans an earlier run again.
///
/// # Errors
/// What is wrong where its texts, or kinds that it used, are gone.
pub fn replan(run: &PastRun) -> Result<Replanned, Report> {
    let head = &run.head;
    let mut kept = run.texts().map_err(|cause| {
        let mut problems = Problems::default();
        problems.add_without_place(Problem::Unreadable {
            path: run.folder.join("workflow.toml").display().to_string(),
            cause: cause.root_cause().to_string(),
        });
        Report::new(Sources::default(), problems)
    })?;
    kept.extend(run.others());
    let loaded = workflow::load_kept(&head.path, &head.overrides(), kept)?;
    let mut problems: Problems = loaded.problems;
    let catalogue = plugin::find(Some(&loaded.workflow), &mut problems);
    let plan = plan::expand(&loaded.workflow, &catalogue, &mut problems);
    let report = workflow::Report::new(loaded.sources, problems);
    if report.has_errors() {
        return Err(report);
    }
    Ok(Replanned {
        workflow: loaded.workflow,
        plan,
        catalogue,
        sources: report.into_sources(),
    })
}
