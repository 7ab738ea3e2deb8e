//! What the names in a stage stand for, and its parameters, command and outputs with these in their place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::coordinates::Coordinates;
use super::kinds::Kind;
use super::{Command, Folder, Isolation, Output, Program, Task, parameters};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{self, Action, Located, Node, Span, Stage, Template, Workflow, template};

/// Looks names up in a workflow, and remembers which of its params something refers to.
pub(super) struct Names<'a> {
    workflow: &'a Workflow,
    /// Params that something refers to.
    pub used: BTreeSet<String>,
}

impl<'a> Names<'a> {
    pub fn of(workflow: &'a Workflow) -> Names<'a> {
        Names {
            workflow,
            used: workflow.used.clone(),
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
            let key = (stage.name.value.clone(), axis.to_string());
            // The place is the one where the axis lists its values.
            let listed =
                stage
                    .matrix
                    .iter()
                    .find(|(a, _)| a.value == axis)
                    .and_then(|(_, values)| {
                        values
                            .iter()
                            .find(|v| Some(&v.value.json()) == point.get(&key))
                    });
            return listed.cloned().ok_or_else(|| Problem::UnknownName {
                name: name.into(),
                known: stage
                    .matrix
                    .iter()
                    .map(|(a, _)| format!("matrix.{}", a.value))
                    .collect(),
            });
        }
        let node = self.workflow.param(name)?;
        self.used.extend(name.split('.').next().map(String::from));
        Ok(node.clone())
    }

    /// Notes a reference that stands for nothing. An axis that something is wrong with is not there, which is said already.
    fn unresolved(&self, stage: &Stage, problem: Problem, span: Span, problems: &mut Problems) {
        let axis =
            matches!(&problem, Problem::UnknownName { name, .. } if name.starts_with("matrix."));
        if !(axis && self.workflow.incomplete.contains(&stage.name.value)) {
            problems.add(problem, span);
        }
    }

    /// What a program does at one point.
    pub fn command(
        &mut self,
        stage: &Stage,
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<Task> {
        let (command, parts): (Command, Vec<&Located<Template>>) = match &stage.action {
            Action::Arguments(arguments) => (
                Command::Arguments(arguments.iter().map(|a| a.value.clone()).collect()),
                arguments.iter().collect(),
            ),
            Action::Shell(line) => (Command::Shell(line.value.clone()), vec![line]),
            Action::Uses(_) => return None,
        };
        let mut values = BTreeMap::new();
        let mut sound = true;
        for part in parts {
            for name in part.value.names() {
                let roles: Option<(&str, &str, Vec<&Located<String>>)> =
                    if let Some(role) = name.strip_prefix("inputs.") {
                        let roles = stage.inputs.iter().map(|(role, _)| role);
                        Some(("inputs", role, roles.collect()))
                    } else if let Some(role) = name.strip_prefix("outputs.") {
                        let roles = stage.outputs.iter().map(|(role, _)| role);
                        Some(("outputs", role, roles.collect()))
                    } else {
                        None
                    };
                if let Some((of, role, roles)) = roles {
                    if roles.iter().any(|known| known.value == role) {
                        continue;
                    }
                    sound = false;
                    // Where something is wrong in the stage, the role may stand there, only wrongly.
                    if !self.workflow.incomplete.contains(&stage.name.value) {
                        let known = roles.iter().map(|r| format!("{of}.{}", r.value)).collect();
                        let name = name.into();
                        problems.add(Problem::UnknownName { name, known }, part.span);
                    }
                } else if name != "work" {
                    match self.value(stage, point, name) {
                        Ok(node) => {
                            values.insert(name.to_string(), node.value.json());
                        }
                        Err(mut problem) => {
                            if let Problem::UnknownName { known, .. } = &mut problem {
                                let roles = stage.inputs.iter().map(|(r, _)| ("inputs", r));
                                let roles =
                                    roles.chain(stage.outputs.iter().map(|(r, _)| ("outputs", r)));
                                known
                                    .extend(roles.map(|(of, role)| format!("{of}.{}", role.value)));
                                known.push("work".into());
                            }
                            self.unresolved(stage, problem, part.span, problems);
                            sound = false;
                        }
                    }
                }
            }
        }
        sound.then(|| {
            Task::Command(Box::new(Program {
                command,
                values,
                shell: None,
                files: BTreeMap::new(),
                checkpoints: None,
                folder: Folder::default(),
                isolation: Isolation::default(),
                tools: BTreeMap::new(),
                environment: None,
            }))
        })
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
            let name = file.value.render(|name| {
                let value = self.value(stage, point, name)?;
                Ok(value.value.text())
            });
            match name {
                Ok(value) => {
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
