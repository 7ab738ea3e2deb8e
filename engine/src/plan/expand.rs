//! Stages to instances: names resolved, inputs wired, types checked, matrices multiplied.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use flow_stage::ArtifactType;
use petgraph::graph::NodeIndex;
use serde_json::Value;

use super::coordinates::{self, Coordinates, Row};
use super::{
    Command, Input, Instance, Origin, Output, Plan, Resources, Task, Wanted, label, parameters,
    plain_text, sweep, wiring,
};
use crate::plugin::{Catalogue, Kind};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{
    self, Action, Located, Node, Reference, Span, Stage, Template, Workflow, template,
};

/// Builds the plan. What is wrong goes to `problems`; where anything but warnings is found, the plan is incomplete and
/// must not be run.
pub fn expand(workflow: &Workflow, catalogue: &Catalogue, problems: &mut Problems) -> Plan {
    match &workflow.sweep {
        Some(sweep) => sweep::union(sweep, sweep::top(workflow), catalogue, problems),
        None => single(workflow, catalogue, problems),
    }
}

/// The plan of a workflow at one point of its sweep.
pub(super) fn single(workflow: &Workflow, catalogue: &Catalogue, problems: &mut Problems) -> Plan {
    let wiring = wiring::wire(workflow, catalogue, problems);
    let mut expander = Expander {
        workflow,
        problems,
        plan: Plan::default(),
        instances: HashMap::new(),
        used: workflow.used.clone(),
    };
    for index in wiring.order.iter().flatten().copied() {
        let stage = &workflow.stages[index];
        if wiring.sound {
            expander.instantiate(stage, wiring.kinds[index], &wiring.outputs[index]);
        } else if let Some(kind) = wiring.kinds[index] {
            // The wiring is wrong, so there are no instances; the parameters can be looked at all the same.
            let point = stage.matrix.iter().map(|(axis, values)| {
                (
                    (stage.name.value.clone(), axis.value.clone()),
                    values[0].value.json(),
                )
            });
            let point: Coordinates = point.collect();
            expander.parameters(stage, kind, &point);
        }
    }
    expander.unused(&wiring);
    expander.plan
}

/// What the workflow asks for, else what the kind asks for by itself.
fn resources(stage: &Stage, kind: Option<&Kind>) -> Resources {
    let usual = kind.map_or_else(Default::default, |kind| kind.description.resources.clone());
    let asked = stage.resources;
    Resources {
        threads: None,
        cpus: asked.cpus.unwrap_or(usual.cpus),
        gpus: asked.gpus.unwrap_or(usual.gpus),
        gpus_needed: asked.gpus.is_some(),
        memory: asked.memory.unwrap_or(0),
    }
}

struct Expander<'a> {
    workflow: &'a Workflow,
    problems: &'a mut Problems,
    plan: Plan,
    /// The instances of each stage, with their coordinates.
    instances: HashMap<&'a str, Vec<(Coordinates, NodeIndex)>>,
    /// Params that something refers to.
    used: BTreeSet<String>,
}

impl<'a> Expander<'a> {
    fn instantiate(&mut self, stage: &'a Stage, kind: Option<&Kind>, outputs: &[Output]) {
        let Some(rows) = self.rows(stage) else {
            return;
        };
        let others = self.plan.order.len();
        if others + rows.len() > coordinates::LIMIT {
            let problem = Problem::TooManyInAll {
                stage: stage.name.value.clone(),
                others,
                own: rows.len(),
                limit: coordinates::LIMIT,
            };
            self.problems.add(problem, stage.name.span);
            return;
        }
        let mut made = Vec::with_capacity(rows.len());
        let mut labels = HashSet::with_capacity(rows.len());
        for row in rows {
            let task = match kind {
                Some(kind) => self
                    .parameters(stage, kind, &row.coordinates)
                    .map(|parameters| Task::Kind {
                        kind: kind.description.name.clone(),
                        parameters,
                    }),
                None => self.command(stage, &row.coordinates),
            };
            let Some(task) = task else {
                // What is wrong at one point of a matrix is most often wrong at all of them.
                return;
            };
            let threads = match &task {
                Task::Kind { parameters, .. } => parameters.get("threads"),
                Task::Command { .. } => None,
            };
            let threads = threads
                .and_then(|threads| threads.as_u64())
                .and_then(|threads| u32::try_from(threads).ok());
            let Some(inputs) = self.inputs(stage, kind, &task, &row) else {
                return;
            };
            let Some(outputs) = self.outputs(stage, outputs, &row.coordinates) else {
                return;
            };
            let named = coordinates::named(&row.coordinates);
            let label = label(&stage.name.value, &named);
            if !labels.insert(label.clone()) {
                // An axis that has a value twice is said already.
                if !self.workflow.incomplete.contains(&stage.name.value) {
                    let problem = Problem::SameLabel { label };
                    self.problems.add(problem, stage.name.span);
                }
                return;
            }
            let node = self.plan.graph.add_node(Instance {
                label,
                stage: stage.name.value.clone(),
                coordinates: named,
                task,
                inputs,
                outputs,
                seed: kind
                    .is_some_and(|kind| kind.description.seeded)
                    .then_some(self.workflow.seed),
                resources: Resources {
                    threads,
                    ..resources(stage, kind)
                },
                timeout: stage.timeout,
                retries: stage.retries,
                env: stage.env.clone(),
            });
            let sources = self.plan.graph[node].sources();
            for source in sources {
                self.plan.graph.update_edge(source, node, ());
            }
            self.plan.order.push(node);
            made.push((row.coordinates, node));
        }
        self.instances.insert(&stage.name.value, made);
    }

    /// The points of a stage: its inputs' joined, times its own matrix.
    fn rows(&mut self, stage: &Stage) -> Option<Vec<Row>> {
        let mut rows = vec![Row::default()];
        for (_, origin) in &stage.inputs {
            let workflow::Origin::Stage(reference) = origin else {
                continue;
            };
            let offered = self.offered(reference)?;
            let before = rows.len();
            rows = match coordinates::join(rows, &offered) {
                Ok(rows) => rows,
                Err(_) => {
                    self.too_many(stage, &[before, offered.len()]);
                    return None;
                }
            };
        }
        let mut sizes = vec![rows.len()];
        sizes.extend(stage.matrix.iter().map(|(_, values)| values.len()));
        let product = sizes
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        if product.is_none_or(|product| product > coordinates::LIMIT) {
            self.too_many(stage, &sizes);
            return None;
        }
        for (axis, values) in &stage.matrix {
            let key = (stage.name.value.clone(), axis.value.clone());
            rows = rows
                .iter()
                .flat_map(|row| {
                    let key = &key;
                    values.iter().map(move |value| {
                        let mut row = row.clone();
                        row.coordinates.insert(key.clone(), value.value.json());
                        row
                    })
                })
                .collect();
        }
        Some(rows)
    }

    fn too_many(&mut self, stage: &Stage, sizes: &[usize]) {
        let arithmetic = sizes
            .iter()
            .filter(|&&size| size > 1)
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(" × ");
        let problem = Problem::TooManyInstances {
            stage: stage.name.value.clone(),
            arithmetic,
            limit: coordinates::LIMIT,
        };
        self.problems.add(problem, stage.name.span);
    }

    /// The instances that a reference means, without the coordinates that it fixes.
    fn offered(&mut self, reference: &Located<Reference>) -> Option<Vec<(Coordinates, NodeIndex)>> {
        let all = self.instances.get(reference.value.stage.as_str())?;
        let selectors = &reference.value.selectors;
        let fixed = |(_, axis): &(String, String)| selectors.iter().any(|(name, _)| name == axis);
        let chosen: Vec<_> = all
            .iter()
            .filter(|(coordinates, _)| {
                selectors.iter().all(|(name, text)| {
                    coordinates
                        .iter()
                        .any(|((_, axis), value)| axis == name && plain_text(value) == *text)
                })
            })
            .map(|(coordinates, node)| {
                let mut free = coordinates.clone();
                free.retain(|axis, _| !fixed(axis));
                (free, *node)
            })
            .collect();
        if chosen.is_empty() {
            // Something is wrong with an axis of its, which is said already.
            if self.workflow.incomplete.contains(&reference.value.stage) {
                return None;
            }
            let selector: Vec<_> = selectors.iter().map(|(a, v)| format!("{a}={v}")).collect();
            let problem = Problem::NoInstance {
                stage: reference.value.stage.clone(),
                selector: selector.join(", "),
                known: all
                    .iter()
                    .map(|(_, node)| self.plan.graph[*node].label.clone())
                    .collect(),
            };
            self.problems.add(problem, reference.span);
            return None;
        }
        Some(chosen)
    }

    fn parameters(
        &mut self,
        stage: &Stage,
        kind: &Kind,
        point: &Coordinates,
    ) -> Option<serde_json::Map<String, Value>> {
        let mut resolved = Vec::with_capacity(stage.with.len());
        for (key, node) in &stage.with {
            match template::resolve(node, &mut |name| self.value(stage, point, name)) {
                Ok(node) => resolved.push((key.clone(), node)),
                Err(problem) => {
                    self.unresolved(stage, problem.value, problem.span);
                    return None;
                }
            }
        }
        parameters::resolve(kind, &resolved, stage.name.span, self.problems)
    }

    /// What a name in a `with` or a command stands for.
    fn value(&mut self, stage: &Stage, point: &Coordinates, name: &str) -> Result<Node, Problem> {
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
    fn unresolved(&mut self, stage: &Stage, problem: Problem, span: Span) {
        let axis =
            matches!(&problem, Problem::UnknownName { name, .. } if name.starts_with("matrix."));
        if !(axis && self.workflow.incomplete.contains(&stage.name.value)) {
            self.problems.add(problem, span);
        }
    }

    fn command(&mut self, stage: &Stage, point: &Coordinates) -> Option<Task> {
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
                let role = |prefix: &str| name.strip_prefix(prefix);
                if let Some(input) = role("inputs.") {
                    let known: Vec<_> = stage.inputs.iter().map(|(r, _)| r.value.clone()).collect();
                    sound &=
                        self.known(&stage.name.value, name, input, &known, "inputs.", part.span);
                } else if let Some(output) = role("outputs.") {
                    let known: Vec<_> =
                        stage.outputs.iter().map(|(r, _)| r.value.clone()).collect();
                    sound &= self.known(
                        &stage.name.value,
                        name,
                        output,
                        &known,
                        "outputs.",
                        part.span,
                    );
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
                            self.unresolved(stage, problem, part.span);
                            sound = false;
                        }
                    }
                }
            }
        }
        sound.then_some(Task::Command { command, values })
    }

    fn known(
        &mut self,
        stage: &str,
        name: &str,
        role: &str,
        known: &[String],
        prefix: &str,
        span: Span,
    ) -> bool {
        let found = known.iter().any(|k| k == role);
        // Where something is wrong in the stage, the role may stand there, only wrongly.
        if !found && !self.workflow.incomplete.contains(stage) {
            let problem = Problem::UnknownName {
                name: name.into(),
                known: known.iter().map(|k| format!("{prefix}{k}")).collect(),
            };
            self.problems.add(problem, span);
        }
        found
    }

    /// The outputs of one instance, with what the names of a program's files refer to.
    fn outputs(
        &mut self,
        stage: &Stage,
        outputs: &[Output],
        point: &Coordinates,
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
                    self.unresolved(stage, problem, file.span);
                    return None;
                }
            }
        }
        workflow::check_outputs(&files, self.problems).then_some(outputs)
    }

    /// The inputs of one instance: its wired roles, and the paths in its parameters.
    fn inputs(
        &mut self,
        stage: &Stage,
        kind: Option<&Kind>,
        task: &Task,
        row: &Row,
    ) -> Option<Vec<Input>> {
        let mut nodes = row.nodes.iter();
        let mut inputs = Vec::new();
        for (role, origin) in &stage.inputs {
            let origin = match origin {
                workflow::Origin::Stage(reference) => {
                    let &node = nodes.next()?;
                    let outputs = &self.plan.graph[node].outputs;
                    let output = reference.value.output.clone();
                    Origin::Instance {
                        node,
                        output: output.or_else(|| outputs.first().map(|o| o.role.clone()))?,
                    }
                }
                workflow::Origin::Collect(reference) => {
                    let offered = self.offered(reference)?;
                    let (_, first) = offered.first()?;
                    let output = reference.value.output.clone();
                    let first_output = self.plan.graph[*first]
                        .outputs
                        .first()
                        .map(|o| o.role.clone());
                    let mut nodes: Vec<(String, NodeIndex)> = offered
                        .iter()
                        .map(|(_, node)| (self.plan.graph[*node].point(), *node))
                        .collect();
                    nodes.sort();
                    Origin::Collected {
                        nodes,
                        output: output.or(first_output)?,
                    }
                }
                workflow::Origin::Path(path) => {
                    let span = path.span;
                    let text = path.value.render(|name| {
                        self.value(stage, &row.coordinates, name)
                            .map(|n| n.value.text())
                    });
                    let value = match text {
                        Ok(text) => text,
                        Err(problem) => {
                            self.problems.add(problem, span);
                            return None;
                        }
                    };
                    let port = kind.and_then(|kind| {
                        kind.description
                            .inputs
                            .iter()
                            .find(|p| p.name == role.value)
                    });
                    Origin::Path {
                        pattern: Located { value, span },
                        wanted: match port {
                            Some(port) if port.artifact.is_folder() => Wanted::Folder,
                            Some(_) => Wanted::File,
                            None => Wanted::Many,
                        },
                        parameter: None,
                    }
                }
            };
            inputs.push(Input {
                role: role.value.clone(),
                origin,
            });
        }
        if let (Some(kind), Task::Kind { parameters, .. }) = (kind, task) {
            for name in &kind.description.path_parameters {
                let Some(value) = parameters.get(name) else {
                    continue;
                };
                let span = stage
                    .with
                    .iter()
                    .find(|(key, _)| key.value == *name)
                    .map_or(stage.name.span, |(_, node)| node.span);
                let from = inputs.len();
                parameters::paths(value, name, format!("/{name}"), span, &mut inputs);
                parameters::allow_several(kind, parameters, &mut inputs[from..]);
            }
        }
        Some(inputs)
    }

    /// Warns of params and stages that nothing comes of.
    fn unused(&mut self, wiring: &wiring::Wiring<'_>) {
        // Where something else is wrong, not all references were followed.
        if !self.problems.is_empty() {
            return;
        }
        for (name, _) in &self.workflow.params {
            if !self.used.contains(&name.value) {
                let problem = Problem::UnusedParam {
                    name: name.value.clone(),
                };
                self.problems.add(problem, name.span);
            }
        }
        let stages = || self.workflow.stages.iter().zip(&wiring.kinds);
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
                self.problems.add(problem, stage.name.span);
            }
        }
    }
}
