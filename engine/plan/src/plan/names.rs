//! What the names in a stage stand for, and its parameters and outputs with these in their place.

use std::collections::BTreeSet;

use flow_stage::ArtifactType;
use serde_json::{Map, Value};

use super::axes::Axes;
use super::coordinates::Coordinates;
use super::file_names::file_name;
use super::kinds::Kind;
use super::{Instance, Output, deliver, is_glob, parameters, plain_text};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{
    self, Action, Located, Node, NodeValue, Span, Stage, Template, Workflow, template,
};

/// Looks names up in a workflow, and remembers which of its params something refers to.
pub(super) struct Names<'a> {
    pub workflow: &'a Workflow,
    /// The seed.
    pub seed: u64,
    /// Whether a program named the seed since this was last set.
    pub seeded: bool,
    /// Params that something refers to.
    pub used: BTreeSet<String>,
    /// The axes that are known by their names.
    pub axes: Axes,
}

impl<'a> Names<'a> {
    pub fn of(workflow: &'a Workflow, seed: u64, problems: &mut Problems) -> Names<'a> {
        Names {
            workflow,
            seed,
            seeded: false,
            used: workflow.used.clone(),
            axes: Axes::of(workflow, problems),
        }
    }

    /// The parameters of a kind at one point.
    pub fn parameters(
        &mut self,
        stage: &Stage,
        kind: &Kind,
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<Map<String, Value>> {
        let mut resolved = Vec::with_capacity(stage.with.len());
        for (key, node) in &stage.with {
            match template::resolve(node, &mut |name| self.value(stage, point, name)) {
                Ok(node) => resolved.push((key.clone(), node)),
                Err(problem) => {
                    self.unresolved(stage, problem.value, problem.span, problems);
                    return None;
                }
            }
        }
        parameters::resolve(kind, &resolved, stage.name.span, problems)
    }

    /// What a name in a `with` or a command stands for.
    pub fn value(
        &mut self,
        stage: &Stage,
        point: &Coordinates,
        name: &str,
    ) -> Result<Node, Problem> {
        if let Some(axis) = name.strip_prefix("matrix.") {
            if self.workflow.by_name {
                return self.axes.value(point, axis).cloned();
            }
            let (axis, way) = axis.split_once('.').unwrap_or((axis, ""));
            let key = Axes::key(stage, axis, false);
            // The place is the one where the axis lists its values.
            let listed = stage.matrix.iter().find(|a| a.name.value == axis);
            let row = listed.and_then(|axis| axis.rows.find(&plain_text(point.get(&key)?)));
            let node = row.and_then(|row| row.at(way));
            return node.cloned().ok_or_else(|| Problem::UnknownName {
                name: name.into(),
                known: stage
                    .matrix
                    .iter()
                    .map(|axis| format!("matrix.{}", axis.name.value))
                    .collect(),
            });
        }
        let node = self.workflow.param(name)?;
        self.used.extend(name.split('.').next().map(String::from));
        Ok(node.clone())
    }

    /// Notes a reference that stands for nothing. An axis that something is wrong with is not there, which is said already.
    pub fn unresolved(&self, stage: &Stage, problem: Problem, span: Span, problems: &mut Problems) {
        let axis = match &problem {
            Problem::UnknownName { name, .. } => name.strip_prefix("matrix."),
            _ => None,
        };
        let is_said = axis.is_some_and(|axis| {
            let axis = axis.split('.').next().unwrap_or(axis);
            let own = self.workflow.incomplete.contains(&stage.name.value);
            own || self.workflow.damaged_axes.contains(axis)
        });
        if !is_said {
            problems.add(problem, span);
        }
    }

    /// What a name in a program stands for: `seed` as well. A param of that name wins, which was there before.
    pub fn seeded_value(
        &mut self,
        stage: &Stage,
        point: &Coordinates,
        name: &str,
    ) -> Result<Node, Problem> {
        if name != "seed" || self.workflow.param(name).is_ok() {
            return self.value(stage, point, name);
        }
        self.seeded = true;
        Ok(Node {
            value: NodeValue::Integer(i64::try_from(self.seed).unwrap_or(i64::MAX)),
            span: stage.name.span,
        })
    }

    /// What a name in the name of a file stands for, as a part of it: what an axis gives is one name.
    fn in_file_name(
        &mut self,
        stage: &Stage,
        point: &Coordinates,
        name: &str,
    ) -> Result<String, Problem> {
        let text = self.value(stage, point, name)?.value.text();
        let is_axis = self.workflow.by_name && name.starts_with("matrix.");
        Ok(if is_axis { file_name(&text) } else { text })
    }

    /// What a name in a delivery's path stands for, as a part of it: of a matrix, the instance's own and those that it reads
    /// from.
    pub fn delivered(&mut self, instance: &Instance, name: &str) -> Result<String, Problem> {
        if let Some(axis) = name.strip_prefix("matrix.") {
            if self.workflow.by_name {
                let point = instance.coordinates.iter();
                let point =
                    point.map(|(axis, value)| ((String::new(), axis.clone()), value.clone()));
                let text = self.axes.value(&point.collect(), axis)?.value.text();
                return Ok(self.axes.file_name(axis, &text));
            }
            let value = instance.coordinates.get(axis);
            return value
                .map(|value| deliver::escaped(&plain_text(value)))
                .ok_or_else(|| Problem::UnknownName {
                    name: name.into(),
                    known: instance
                        .coordinates
                        .keys()
                        .map(|axis| format!("matrix.{axis}"))
                        .collect(),
                });
        }
        if name == "seed" && self.workflow.param(name).is_err() {
            return Ok(self.seed.to_string());
        }
        let node = self.workflow.param(name)?;
        self.used.extend(name.split('.').next().map(String::from));
        Ok(node.value.text())
    }

    /// Where an input lies in a program's folder, as its `as` says.
    pub fn place(
        &mut self,
        stage: &Stage,
        place: &Located<Template>,
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<String> {
        let text = place
            .value
            .render(|name| self.in_file_name(stage, point, name));
        match text.and_then(|text| workflow::check_place(&text).map(|()| text)) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.unresolved(stage, problem, place.span, problems);
                None
            }
        }
    }

    /// The outputs of one instance, with what the names of a program's files refer to.
    pub fn outputs(
        &mut self,
        stage: &Stage,
        outputs: &[Output],
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<Vec<Output>> {
        let mut outputs = outputs.to_vec();
        if matches!(stage.action, Action::Uses(_)) {
            return Some(outputs);
        }
        let mut files = Vec::new();
        for (output, (_, file)) in outputs.iter_mut().zip(&stage.outputs) {
            let name = file
                .value
                .render(|name| self.in_file_name(stage, point, name));
            match name {
                Ok(value) => {
                    if is_glob(&value) && output.artifact != ArtifactType::Folder {
                        let problem = Problem::OutputBecomesGlob { name: value };
                        problems.add(problem, file.span);
                        return None;
                    }
                    output.file = value.trim_end_matches('/').into();
                    let span = file.span;
                    files.push(Located { value, span });
                }
                Err(problem) => {
                    self.unresolved(stage, problem, file.span, problems);
                    return None;
                }
            }
        }
        workflow::check_outputs(&files, problems).then_some(outputs)
    }
}
