//! What a program does at one point: its command, the files that are written for it, its environment, with what their names
//! stand for.

use std::collections::BTreeMap;

use super::coordinates::Coordinates;
use super::names::Names;
use super::{Command, Program, Task, Variables, written};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{Action, Located, OF_GATHERS, Origin, Stage, Template, template};

/// What a name in a program stands for when it starts, and not before.
enum Later {
    /// A path in the stage's folder.
    Path,
    /// What the machine lends.
    Share,
}

impl Names<'_> {
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
                match self.later(stage, name) {
                    Ok(Some(_)) => continue,
                    Ok(None) => {}
                    Err(problem) => {
                        sound = false;
                        // Where something is wrong in the stage, the role may stand there, only wrongly.
                        if !self.workflow.incomplete.contains(&stage.name.value) {
                            problems.add(problem, part.span);
                        }
                        continue;
                    }
                }
                match self.seeded_value(stage, point, name) {
                    Ok(node) => {
                        values.insert(name.to_string(), node.value.json());
                    }
                    Err(problem) => {
                        let problem = with_known(problem, known(stage));
                        self.unresolved(stage, problem, part.span, problems);
                        sound = false;
                    }
                }
            }
        }
        let files = self.files(stage, point, problems);
        let environment = self.environment(stage, problems);
        if !sound {
            return None;
        }
        let own = &stage.program;
        let shell = match &command {
            Command::Shell(_) => own.shell.clone().or_else(|| self.workflow.shell.clone()),
            Command::Arguments(_) => None,
        };
        Some(Task::Command(Box::new(Program {
            command,
            values,
            shell,
            files: files?,
            checkpoints: own.checkpoints.as_ref().map(|folder| folder.value.clone()),
            folder: own.folder,
            isolation: own.isolation.unwrap_or(self.workflow.isolation),
            tools: own.tools.clone(),
            environment: environment?,
            // Once its outputs are known.
            plots: Vec::new(),
        })))
    }

    /// What an environment holds at one point. What is known only when the stage starts stays a reference.
    pub fn variables(
        &mut self,
        stage: &Stage,
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<Variables> {
        let is_program = !matches!(stage.action, Action::Uses(_));
        let mut set = BTreeMap::new();
        for (variable, value) in &stage.env.set {
            let text = value.value.partly(|name| {
                let later = match self.later(stage, name)? {
                    Some(Later::Path) => is_program,
                    Some(Later::Share) => true,
                    None => false,
                };
                if later {
                    return Ok(None);
                }
                let node = if is_program {
                    self.seeded_value(stage, point, name)?
                } else {
                    self.value(stage, point, name)?
                };
                Ok(Some(node.value.text()))
            });
            match text {
                Ok(text) => {
                    set.insert(variable.clone(), text);
                }
                Err(problem) => {
                    let known = if is_program {
                        known(stage)
                    } else {
                        vec!["cpus".into(), "memory".into()]
                    };
                    let problem = with_known(problem, known);
                    self.unresolved(stage, problem, value.span, problems);
                    return None;
                }
            }
        }
        Some(Variables {
            passed: stage.env.passed.clone(),
            set,
            secret: stage.env.secret.clone(),
        })
    }

    /// The texts of the files that are written.
    fn files(
        &mut self,
        stage: &Stage,
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for (path, node) in &stage.program.files {
            match template::resolve(node, &mut |name| self.seeded_value(stage, point, name)) {
                Ok(node) => match written::text(&path.value, &node.value) {
                    Ok(text) => {
                        files.insert(path.value.clone(), text);
                    }
                    Err(problem) => {
                        problems.add(problem, path.span);
                        return None;
                    }
                },
                Err(problem) => {
                    let found = with_known(problem.value, vec!["seed".into()]);
                    self.unresolved(stage, found, problem.span, problems);
                    return None;
                }
            }
        }
        Some(files)
    }

    /// What the stage runs in; none within where it names nothing.
    fn environment(
        &mut self,
        stage: &Stage,
        problems: &mut Problems,
    ) -> Option<Option<super::Environment>> {
        let Some(name) = &stage.program.environment else {
            return Some(None);
        };
        let workflow = self.workflow;
        let mut all = workflow.environments.iter();
        if let Some((_, found)) = all.find(|(known, _)| known.value == name.value) {
            return Some(Some(found.clone()));
        }
        if !workflow.damaged_environments.contains(&name.value) {
            let known = workflow.environments.iter();
            let problem = Problem::UnknownEnvironment {
                name: name.value.clone(),
                known: known.map(|(name, _)| name.value.clone()).collect(),
            };
            problems.add(problem, name.span);
        }
        None
    }

    /// What a name stands for that is known when the stage starts.
    fn later(&self, stage: &Stage, name: &str) -> Result<Option<Later>, Problem> {
        // A param of this name was there before the name had a meaning of its own.
        let is_param = || self.workflow.param(name).is_ok();
        match name {
            "work" => return Ok(Some(Later::Path)),
            "cpus" | "memory" if !is_param() => return Ok(Some(Later::Share)),
            _ => {}
        }
        let inputs = || roles(stage).filter(|(of, _)| *of == "inputs");
        let outputs = || roles(stage).filter(|(of, _)| *of == "outputs");
        let (role, known): (&str, Vec<(&str, &str)>) =
            if let Some(role) = name.strip_prefix("inputs.") {
                (role, inputs().collect())
            } else if let Some(role) = name.strip_prefix("outputs.") {
                (role, outputs().collect())
            } else {
                return Ok(None);
            };
        let role = role.strip_suffix(".absolute").unwrap_or(role);
        let of_gathers = name.starts_with("inputs.").then(|| of_gathers(stage));
        let of_gathers = of_gathers.unwrap_or_default();
        if known.iter().any(|(_, known)| *known == role)
            || of_gathers.iter().any(|known| known == role)
        {
            return Ok(Some(Later::Path));
        }
        let known = known.iter().map(|(of, role)| format!("{of}.{role}"));
        let more = of_gathers.iter().map(|role| format!("inputs.{role}"));
        Err(Problem::UnknownName {
            name: name.into(),
            known: known.chain(more).collect(),
        })
    }
}

/// The roles of a stage, each with what it is one of.
fn roles(stage: &Stage) -> impl Iterator<Item = (&'static str, &str)> {
    let inputs = stage.inputs.iter().map(|input| ("inputs", &input.role));
    let outputs = stage.outputs.iter().map(|(role, _)| ("outputs", role));
    inputs
        .chain(outputs)
        .map(|(of, role)| (of, role.value.as_str()))
}

/// What may stand for parts of the gathers of a stage: their folders, lists of their files, the files of one output.
fn of_gathers(stage: &Stage) -> Vec<String> {
    let mut names = Vec::new();
    for input in &stage.inputs {
        let Origin::Collect(collect) = &input.origin else {
            continue;
        };
        let role = &input.role.value;
        names.extend(OF_GATHERS.map(|part| format!("{role}.{part}")));
        for reference in collect.from.iter().filter(|_| collect.from.len() > 1) {
            if let Some(output) = &reference.value.output {
                names.push(format!("{role}.{output}"));
                names.push(format!("{role}.{output}.list"));
            }
        }
    }
    names
}

/// The names that a program may use beside params and axes.
fn known(stage: &Stage) -> Vec<String> {
    let roles = roles(stage).map(|(of, role)| format!("{of}.{role}"));
    let own = ["work", "seed", "cpus", "memory"].map(String::from);
    roles.chain(own).collect()
}

/// A problem with an unknown name that lists more of the known ones.
fn with_known(mut problem: Problem, more: Vec<String>) -> Problem {
    if let Problem::UnknownName { known, .. } = &mut problem {
        known.extend(more);
    }
    problem
}
