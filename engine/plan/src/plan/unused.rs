//! Params, environments, stages and files of figures that nothing comes of.

use std::collections::BTreeSet;

use flow_stage::ArtifactType;

use super::kinds::Kind;
use super::shown::METRICS;
use super::wiring::Wiring;
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{Stage, Workflow};

/// Warns of params that are not among the `used` ones, and of stages that nothing reads and that show nothing.
pub(super) fn warn(
    workflow: &Workflow,
    wiring: &Wiring<'_>,
    used: &BTreeSet<String>,
    problems: &mut Problems,
) {
    // Where something else is wrong, not all references were followed.
    if problems.has_errors() {
        return;
    }
    for (name, _) in &workflow.params {
        if !used.contains(&name.value) {
            let problem = Problem::UnusedParam {
                name: name.value.clone(),
            };
            problems.add(problem, name.span);
        }
    }
    for (name, _) in &workflow.environments {
        let names = |stage: &Stage| {
            let named = stage.program.environment.as_ref();
            named.is_some_and(|named| named.value == name.value)
        };
        if !workflow.stages.iter().any(names) {
            let name_text = name.value.clone();
            let problem = Problem::UnusedEnvironment { name: name_text };
            problems.add(problem, name.span);
        }
    }
    for (stage, outputs) in workflow.stages.iter().zip(&wiring.outputs) {
        for ((role, file), output) in stage.outputs.iter().zip(outputs) {
            if role.value == METRICS && output.artifact == ArtifactType::File {
                let file_text = file.value.text.clone();
                problems.add(Problem::NoFigures { file: file_text }, file.span);
            }
        }
    }
    let stages = || workflow.stages.iter().zip(&wiring.kinds);
    // A folder is for a person to take out.
    let folders = |k: &Kind| {
        let outputs = &k.description.outputs;
        outputs.iter().all(|o| o.artifact == ArtifactType::Folder)
    };
    let figures = |k: &Kind| {
        let mut outputs = k.description.outputs.iter();
        outputs.any(|o| o.artifact == ArtifactType::Metrics)
    };
    let shows = |kind: &Option<&Kind>| kind.is_none_or(|k| figures(k) || folders(k));
    // A program's outputs, figures and folders are what a workflow is for. Without any of these, all ends are.
    let read = |stage: &Stage| wiring.read.contains(stage.name.value.as_str());
    if !stages().any(|(stage, kind)| shows(kind) && !read(stage)) {
        return;
    }
    for (stage, kind) in stages() {
        if let Some(kind) = kind
            && !shows(&Some(kind))
            && !read(stage)
        {
            let problem = Problem::UnusedStage {
                stage: stage.name.value.clone(),
                kind: kind.description.name.clone(),
            };
            problems.add(problem, stage.name.span);
        }
    }
}
