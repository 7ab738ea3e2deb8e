//! Stages to instances: names resolved, inputs wired, types checked, matrices multiplied.

use std::collections::{BTreeSet, HashMap, HashSet};

use petgraph::graph::NodeIndex;

use super::axes::Axes;
use super::coordinates::{self, Coordinates, Row};
use super::deliver::{self, Delivery};
use super::kinds::{Catalogue, Kind};
use super::layout::{self, Owner};
use super::names::Names;
use super::offers::{Pick, Pinned};
use super::{
    Files, Folder, Input, Instance, Origin, Output, Plan, Program, Resources, Spans, Task, Wanted,
    label, parameters, unused, wiring,
};
use crate::workflow::axes::{Source, is_matched};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{self, Stage, Workflow};

/// The plan of a workflow at one point of its sweep.
pub(super) fn single(
    workflow: &Workflow,
    seed: u64,
    catalogue: &Catalogue,
    problems: &mut Problems,
) -> Plan {
    let wiring = wiring::wire(workflow, catalogue, problems);
    let mut expander = Expander {
        names: Names::of(workflow, seed, problems),
        may_be_empty: may_be_empty(workflow, wiring.order.as_deref().unwrap_or_default()),
        workflow,
        problems,
        plan: Plan::default(),
        instances: HashMap::new(),
        empty: HashMap::new(),
        pinned: HashMap::new(),
    };
    for index in wiring.order.iter().flatten().copied() {
        let stage = &workflow.stages[index];
        if wiring.sound && expander.names.axes.sound {
            expander.instantiate(stage, wiring.kinds[index], &wiring.outputs[index]);
        } else if let Some(kind) = wiring.kinds[index] {
            // The wiring is wrong, so there are no instances; the parameters can be looked at all the same.
            let by_name = workflow.by_name;
            let point = stage.matrix.iter().filter_map(|axis| {
                let first = axis.rows.iter().next()?;
                let key = Axes::key(stage, &axis.name.value, by_name);
                Some((key, first.key.value.json()))
            });
            let point: Coordinates = point.collect();
            let _ = expander
                .names
                .parameters(stage, kind, &point, expander.problems);
        }
    }
    expander.deliver();
    unused::warn(workflow, &wiring, &expander.names.used, expander.problems);
    expander.plan
}

/// What the workflow asks for, else what the kind asks for by itself.
fn resources(stage: &Stage, kind: Option<&Kind>, task: &Task) -> Resources {
    let usual = kind.map_or_else(Default::default, |kind| kind.description.resources.clone());
    let asked = stage.resources;
    let threads = kind.and_then(|kind| kind.description.threads_parameter.as_ref());
    let threads = threads.and_then(|name| match task {
        Task::Kind { parameters, .. } => parameters.get(name)?.as_u64(),
        Task::Command(_) => None,
    });
    Resources {
        threads: threads.and_then(|threads| threads.try_into().ok()),
        cpus: asked.cpus.unwrap_or(usual.cpus),
        gpus: asked.gpus.unwrap_or(usual.gpus),
        gpus_needed: asked.gpus.is_some(),
        memory: asked.memory.unwrap_or(usual.memory),
        project: matches!(task, Task::Command(program) if program.folder == Folder::Project),
    }
}

/// The stages that may have no instances: what gathers them, or what reads from them, says so.
fn may_be_empty<'a>(workflow: &'a Workflow, order: &[usize]) -> BTreeSet<&'a str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for stage in order.iter().rev().map(|&index| &workflow.stages[index]) {
        for input in &stage.inputs {
            match &input.origin {
                workflow::Origin::Stage(reference) if found.contains(&*stage.name.value) => {
                    found.insert(&reference.value.stage);
                }
                workflow::Origin::Collect(collect) if collect.allow_empty => {
                    found.extend(collect.from.iter().map(|from| from.value.stage.as_str()));
                }
                _ => {}
            }
        }
    }
    found
}

pub(super) struct Expander<'a> {
    pub workflow: &'a Workflow,
    pub problems: &'a mut Problems,
    pub names: Names<'a>,
    pub plan: Plan,
    /// The instances of each stage, with their coordinates.
    pub instances: HashMap<&'a str, Vec<(Coordinates, NodeIndex)>>,
    pub may_be_empty: BTreeSet<&'a str>,
    /// Of stages without instances: why.
    pub empty: HashMap<&'a str, String>,
    /// The instances of stages by what some of their axes are: so a pin finds its one among thousands.
    pub pinned: Pinned,
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
            self.names.seeded = false;
            let task = match kind {
                Some(kind) => self
                    .names
                    .parameters(stage, kind, &row.coordinates, self.problems)
                    .map(|parameters| Task::Kind {
                        kind: kind.name(),
                        parameters,
                    }),
                None => self.names.command(stage, &row.coordinates, self.problems),
            };
            let Some(mut task) = task else {
                // What is wrong at one point of a matrix is most often wrong at all of them.
                return;
            };
            let resources = resources(stage, kind, &task);
            let Some(inputs) = self.inputs(stage, kind, &task, &row) else {
                return;
            };
            let names = &mut self.names;
            let outputs = names.outputs(stage, outputs, &row.coordinates, self.problems);
            let Some(outputs) = outputs else {
                return;
            };
            if let Task::Command(program) = &mut task {
                let names = &mut self.names;
                let plots = names.plots(stage, &outputs, &row.coordinates, self.problems);
                let Some(plots) = plots else {
                    return;
                };
                program.plots = plots;
            }
            let env = self.names.variables(stage, &row.coordinates, self.problems);
            let Some(env) = env else {
                return;
            };
            if let Task::Command(program) = &task
                && !self.fits(stage, program, &inputs, &outputs)
            {
                return;
            }
            let seeded = kind.is_some_and(|kind| kind.description.seeded) || self.names.seeded;
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
                seed: seeded.then_some(self.names.seed),
                resources,
                timeout: stage.timeout,
                retries: stage.retries,
                frozen: stage.frozen,
                env,
                spans: Spans {
                    environment: stage.program.environment.as_ref().map(|name| name.span),
                    tools: stage.program.tools_span,
                },
            });
            self.plan.connect(node);
            self.plan.order.push(node);
            made.push((row.coordinates, node));
        }
        self.instances.insert(&stage.name.value, made);
    }

    /// Whether all that a program reads and writes has a place of its own in its folder, as far as names tell.
    fn fits(
        &mut self,
        stage: &Stage,
        program: &Program,
        inputs: &[Input],
        outputs: &[Output],
    ) -> bool {
        if program.folder == Folder::Project {
            return true;
        }
        let conflicts =
            layout::conflicts(&self.plan.graph, inputs, program, outputs, layout::named);
        let fits = conflicts.is_empty();
        for conflict in conflicts {
            let span = match conflict.owner() {
                Owner::Input(role) => {
                    let mut all = stage.inputs.iter();
                    all.find(|input| input.role.value == *role)
                        .map(|input| input.role.span)
                }
                Owner::Output(role) => {
                    let mut all = stage.outputs.iter();
                    all.find(|(known, _)| known.value == *role)
                        .map(|(known, _)| known.span)
                }
                Owner::File(path) => {
                    let mut all = stage.program.files.iter();
                    all.find(|(known, _)| known.value == *path)
                        .map(|(known, _)| known.span)
                }
                Owner::Checkpoints => stage.program.checkpoints.as_ref().map(|c| c.span),
                Owner::Work => None,
            };
            let span = span.unwrap_or(stage.name.span);
            self.problems.add(Problem::Place { conflict }, span);
        }
        fits
    }

    /// What is delivered of each instance, and where.
    fn deliver(&mut self) {
        let workflow = self.workflow;
        let mut spans = Vec::new();
        for delivery in &workflow.deliver {
            let pins = delivery.from.value.selectors.clone();
            for (_, node) in self.offered(&delivery.from, &pins).unwrap_or_default() {
                let instance = &self.plan.graph[node];
                let path = delivery.path.value.render(|name| {
                    let value = self.names.delivered(instance, name)?;
                    Ok(value)
                });
                let path = path.and_then(|path| deliver::place(&path));
                let output = delivery.from.value.output.clone();
                let output = output.or_else(|| instance.outputs.first().map(|o| o.role.clone()));
                match (path, output) {
                    (Ok(path), Some(output)) => {
                        spans.push(delivery.path.span);
                        self.plan.deliveries.push(Delivery { path, node, output });
                    }
                    (Err(problem), _) => {
                        self.problems.add(problem, delivery.path.span);
                        break;
                    }
                    (_, None) => {}
                }
            }
        }
        let place = |delivery: &Delivery| {
            let mut all = self.plan.deliveries.iter().zip(&spans);
            all.find(|(other, _)| *other == delivery)
                .map(|(_, span)| *span)
        };
        let label = |delivery: &Delivery| {
            let label = &self.plan.graph[delivery.node].label;
            format!("`{label}.{}`", delivery.output)
        };
        let mut found = Vec::new();
        if let Some((one, other)) = self.plan.delivered_twice() {
            let problem = Problem::SameDelivery {
                what: label(one),
                path: one.path.clone(),
                other: label(other),
                other_path: other.path.clone(),
            };
            found.extend(place(other).map(|span| (problem, span)));
        }
        let axes = workflow.stages.iter().flat_map(|stage| &stage.matrix);
        let mut patterns = axes.filter_map(|axis| match &axis.source {
            Source::Glob { pattern } => Some(pattern),
            _ => None,
        });
        let over = patterns.find_map(|pattern| {
            let mut all = self.plan.deliveries.iter();
            let matched = all.find(|delivery| is_matched(pattern, &delivery.path));
            Some((matched?, pattern.clone()))
        });
        let over = over.or_else(|| self.plan.delivered_over(workflow.root()));
        if let Some((delivery, input)) = over {
            let path = delivery.path.clone();
            let problem = Problem::DeliveryIsInput { path, input };
            found.extend(place(delivery).map(|span| (problem, span)));
        }
        for (problem, span) in found {
            self.problems.add(problem, span);
        }
    }

    /// The inputs of one instance: its wired roles, and the paths in its parameters.
    fn inputs(
        &mut self,
        stage: &Stage,
        kind: Option<&Kind>,
        task: &Task,
        row: &Row,
    ) -> Option<Vec<Input>> {
        let mut inputs = Vec::new();
        for (input, pick) in stage.inputs.iter().zip(&row.picks) {
            let role = &input.role;
            let origin = match &input.origin {
                workflow::Origin::Stage(reference) => {
                    let Pick::Node(node) = *pick else { return None };
                    let outputs = &self.plan.graph[node].outputs;
                    let output = reference.value.output.clone();
                    Origin::Instance {
                        node,
                        output: output.or_else(|| outputs.first().map(|o| o.role.clone()))?,
                    }
                }
                workflow::Origin::Collect(_) => {
                    let Pick::Gather(all) = pick else { return None };
                    Origin::Collected {
                        all: all.to_vec(),
                        named: self.workflow.by_name && kind.is_some(),
                    }
                }
                workflow::Origin::Path {
                    patterns,
                    exclude,
                    span,
                } => {
                    let mut named = Vec::with_capacity(patterns.len());
                    let mut at = *span;
                    for path in patterns {
                        let text = path.value.render(|name| {
                            let value = self.names.value(stage, &row.coordinates, name)?;
                            // What is wrong with it is wrong where the row stands.
                            if self.workflow.by_name && name.starts_with("matrix.") {
                                at = value.span;
                            }
                            Ok(value.value.text())
                        });
                        let text = text.and_then(|text| match text.is_empty() {
                            true if self.workflow.by_name => Err(Problem::EmptyPath),
                            _ => Ok(text),
                        });
                        match text {
                            Ok(text) => named.push(text),
                            Err(problem) => {
                                let names = &self.names;
                                names.unresolved(stage, problem, path.span, self.problems);
                                return None;
                            }
                        }
                    }
                    let port = kind.and_then(|kind| {
                        kind.description
                            .inputs
                            .iter()
                            .find(|p| p.name == role.value)
                    });
                    let wanted = match port {
                        Some(port) if port.artifact.is_folder() => Wanted::Folder,
                        Some(_) => Wanted::File,
                        None => Wanted::Many,
                    };
                    Origin::Path {
                        files: Files {
                            patterns: named,
                            exclude: exclude.clone(),
                            wanted,
                        },
                        span: at,
                        parameter: None,
                    }
                }
            };
            let place = match &input.place {
                Some(place) => {
                    let names = &mut self.names;
                    Some(names.place(stage, place, &row.coordinates, self.problems)?)
                }
                None => None,
            };
            inputs.push(Input {
                role: role.value.clone(),
                origin,
                place,
                writable: input.writable,
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
}
