//! The plan of an earlier run, made again from the texts that its folder keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{self, Plan};
use flow_plan::workflow::problem::Problems;
use flow_plan::workflow::{self, Workflow};

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
}

/// Plans an earlier run again; none where its texts, or kinds that it used, are gone.
pub fn replan(run: &PastRun) -> Option<Replanned> {
    let head = &run.head;
    let folder = head.folder.clone().unwrap_or_default();
    let mut kept: BTreeMap<PathBuf, String> = head
        .files
        .iter()
        .map(|(name, text)| (folder.join(name), text.clone()))
        .collect();
    let text = std::fs::read_to_string(run.folder.join("workflow.toml")).ok()?;
    kept.insert(head.path.clone(), text);
    let loaded = workflow::load_kept(&head.path, &head.overrides(), kept).ok()?;
    let mut problems: Problems = loaded.problems;
    let catalogue = plugin::find(Some(&loaded.workflow), &mut problems);
    let plan = plan::expand(&loaded.workflow, &catalogue, &mut problems);
    let report = workflow::Report::new(loaded.sources, problems);
    (!report.has_errors()).then_some(Replanned {
        workflow: loaded.workflow,
        plan,
        catalogue,
    })
}
