//! What stages read from each other, stage by stage: names, roles, artifact types, cycles.

use std::collections::{BTreeSet, HashMap, HashSet};

use flow_stage::ArtifactType;
use flow_stage::protocol::Port;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::kinds::{Catalogue, Kind};
use super::shown::{Form, METRICS};
use super::{Output, is_glob};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::template::Piece;
use crate::workflow::{self, Action, Located, Reference, Stage, Template, Workflow};

/// The stages of a workflow with their kinds and outputs, by their place in the file.
pub(super) struct Wiring<'a> {
    /// The kind of each; none for `run` stages, and for kinds that are unknown.
    pub kinds: Vec<Option<&'a Kind>>,
    /// The outputs of each.
    pub outputs: Vec<Vec<Output>>,
    /// The stages that others read from, or that something is delivered of.
    pub read: HashSet<&'a str>,
    /// All stages, none before what it reads from, otherwise in file order; none where there is a cycle.
    pub order: Option<Vec<usize>>,
    /// Whether every kind, reference and type is right.
    pub sound: bool,
}

/// Checks how the stages are wired.
pub(super) fn wire<'a>(
    workflow: &'a Workflow,
    catalogue: &'a Catalogue,
    problems: &mut Problems,
) -> Wiring<'a> {
    let kinds: Vec<Option<&Kind>> = workflow
        .stages
        .iter()
        .map(|stage| kind(stage, catalogue, problems))
        .collect();
    let outputs: Vec<Vec<Output>> = workflow
        .stages
        .iter()
        .zip(&kinds)
        .map(|(stage, kind)| outputs(stage, *kind))
        .collect();
    let mut checker = Checker {
        workflow,
        kinds: &kinds,
        outputs: &outputs,
        problems,
        by_name: workflow
            .stages
            .iter()
            .enumerate()
            .map(|(i, stage)| (stage.name.value.as_str(), i))
            .collect(),
    };
    let mut sound = true;
    for index in 0..workflow.stages.len() {
        sound &= checker.check_inputs(index);
    }
    for delivery in &workflow.deliver {
        sound &= checker.check_reference(&delivery.from, None, false);
    }
    let order = checker.order();
    let delivered = workflow.deliver.iter();
    let delivered = delivered.map(|delivery| delivery.from.value.stage.as_str());
    let read = workflow
        .stages
        .iter()
        .flat_map(|stage| &stage.inputs)
        .flat_map(|input| sources(&input.origin))
        .chain(delivered)
        .collect();
    Wiring {
        read,
        kinds,
        outputs,
        order,
        sound,
    }
}

fn kind<'a>(stage: &Stage, catalogue: &'a Catalogue, problems: &mut Problems) -> Option<&'a Kind> {
    let Action::Uses(name) = &stage.action else {
        return None;
    };
    match catalogue.resolve(&name.value) {
        Ok(kind) => Some(kind),
        Err(unresolved) => {
            problems.add(unresolved.problem(&name.value), name.span);
            None
        }
    }
}

fn outputs(stage: &Stage, kind: Option<&Kind>) -> Vec<Output> {
    match kind {
        Some(kind) => kind
            .description
            .outputs
            .iter()
            .map(|port| Output {
                role: port.name.clone(),
                artifact: port.artifact,
                file: format!("{}{}", port.name, port.artifact.extension()),
            })
            .collect(),
        None => stage
            .outputs
            .iter()
            .map(|(role, file)| Output {
                role: role.value.clone(),
                artifact: artifact(&role.value, &file.value),
                // What its references stand for differs between instances.
                file: file.value.text.trim_end_matches('/').into(),
            })
            .collect(),
    }
}

/// What a program's output is. What a glob matches is a folder. A file that is called `metrics` has the stage's figures; a
/// folder that is called `view` is what it shows.
fn artifact(role: &str, file: &Template) -> ArtifactType {
    let has_glob = |piece: &Piece| matches!(piece, Piece::Text(text) if is_glob(text));
    let is_glob = file.pieces.iter().any(has_glob);
    let file = file.text.as_str();
    if is_glob {
        ArtifactType::Folder
    } else if role == "view" && file.ends_with('/') {
        ArtifactType::View
    } else if file.ends_with('/') {
        ArtifactType::Folder
    } else if role == METRICS && Form::of(file).is_some() {
        ArtifactType::Metrics
    } else {
        ArtifactType::File
    }
}

/// The stages that an input comes from.
fn sources(origin: &workflow::Origin) -> impl Iterator<Item = &str> {
    let references = match origin {
        workflow::Origin::Stage(reference) => std::slice::from_ref(reference),
        workflow::Origin::Collect(collect) => &collect.from[..],
        workflow::Origin::Path { .. } => &[],
    };
    references
        .iter()
        .map(|reference| reference.value.stage.as_str())
}

struct Checker<'a> {
    workflow: &'a Workflow,
    kinds: &'a [Option<&'a Kind>],
    outputs: &'a [Vec<Output>],
    problems: &'a mut Problems,
    by_name: HashMap<&'a str, usize>,
}

impl Checker<'_> {
    /// Checks roles, references and artifact types of a stage's inputs.
    fn check_inputs(&mut self, index: usize) -> bool {
        let (stage, kind) = (&self.workflow.stages[index], self.kinds[index]);
        let uses = matches!(stage.action, Action::Uses(_));
        let mut sound = !uses || kind.is_some();
        for workflow::Input { role, origin, .. } in &stage.inputs {
            let port = kind.and_then(|kind| {
                kind.description
                    .inputs
                    .iter()
                    .find(|p| p.name == role.value)
            });
            if let (Some(kind), None) = (kind, port) {
                let problem = Problem::UnknownInput {
                    other: stage.is_anew.then(|| stage.name.value.clone()),
                    kind: kind.description.name.clone(),
                    role: role.value.clone(),
                    known: kind
                        .description
                        .inputs
                        .iter()
                        .map(|p| p.name.clone())
                        .collect(),
                };
                self.problems.add(problem, role.span);
                sound = false;
            }
            sound &= match origin {
                workflow::Origin::Stage(reference) => self.check_reference(reference, port, false),
                workflow::Origin::Collect(collect) => {
                    let mut all = collect.from.iter();
                    all.all(|reference| self.check_reference(reference, port, true))
                        && self.are_told_apart(&collect.from)
                }
                workflow::Origin::Path { .. } => true,
            };
        }
        // A role that is called wrongly, or has something wrong with it, is not missing.
        let known =
            |role: &str| kind.is_some_and(|k| k.description.inputs.iter().any(|p| p.name == role));
        let complete = !self.workflow.incomplete.contains(&stage.name.value)
            && stage.inputs.iter().all(|input| known(&input.role.value));
        for port in kind.iter().flat_map(|kind| &kind.description.inputs) {
            if complete
                && !port.optional
                && !stage
                    .inputs
                    .iter()
                    .any(|input| input.role.value == port.name)
            {
                let problem = Problem::MissingInput {
                    stage: stage.name.value.clone(),
                    kind: kind.map_or_else(String::new, |k| k.description.name.clone()),
                    role: port.name.clone(),
                    summary: port.summary.clone(),
                };
                self.problems.add(problem, stage.name.span);
                sound = false;
            }
        }
        sound
    }

    /// Whether the outputs that are gathered side by side are of different roles, each of which may stand behind the input's.
    fn are_told_apart(&mut self, from: &[Located<Reference>]) -> bool {
        if from.len() < 2 {
            return true;
        }
        let mut seen = HashSet::new();
        for reference in from {
            let index = self.by_name.get(reference.value.stage.as_str());
            let first = index.and_then(|index| self.outputs[*index].first());
            let name = match (&reference.value.output, first) {
                (Some(output), _) => output.clone(),
                (None, Some(first)) => first.role.clone(),
                (None, None) => continue,
            };
            let problem = if name == "absolute" || workflow::OF_GATHERS.contains(&name.as_str()) {
                Problem::RoleOfGathers { name }
            } else if !seen.insert(name.clone()) {
                Problem::SideBySide { name }
            } else {
                continue;
            };
            self.problems.add(problem, reference.span);
            return false;
        }
        true
    }

    fn check_reference(
        &mut self,
        reference: &Located<Reference>,
        port: Option<&Port>,
        collect: bool,
    ) -> bool {
        let name = &reference.value.stage;
        let Some(&index) = self.by_name.get(name.as_str()) else {
            if self.workflow.incomplete.contains(name) {
                return false;
            }
            let problem = Problem::UnknownStage {
                stage: name.clone(),
                known: self
                    .workflow
                    .stages
                    .iter()
                    .map(|s| s.name.value.clone())
                    .collect(),
            };
            self.problems.add(problem, reference.span);
            return false;
        };
        let outputs = &self.outputs[index];
        if outputs.is_empty() {
            // Its kind is unknown, which is said already.
            return false;
        }
        let found = match &reference.value.output {
            None => outputs.first(),
            Some(output) => outputs.iter().find(|o| o.role == *output),
        };
        let Some(found) = found else {
            let problem = Problem::UnknownOutput {
                stage: name.clone(),
                output: reference.value.output.clone().unwrap_or_default(),
                known: outputs.iter().map(|o| o.role.clone()).collect(),
            };
            self.problems.add(problem, reference.span);
            return false;
        };
        let offered = if collect {
            ArtifactType::Folder
        } else {
            found.artifact
        };
        match port {
            Some(port) if !offered.fits(port.artifact) => {
                let problem = Problem::WrongArtifact {
                    role: port.name.clone(),
                    wanted: port.artifact.to_string(),
                    reference: format!("{name}.{}", found.role),
                    found: if collect {
                        "several files, which make a folder".into()
                    } else {
                        format!("`{}`", found.artifact)
                    },
                };
                self.problems.add(problem, reference.span);
                false
            }
            _ => true,
        }
    }

    /// The stages, none before what it reads from, otherwise in file order; `None` where there is a cycle.
    fn order(&mut self) -> Option<Vec<usize>> {
        let mut graph: DiGraph<usize, ()> = DiGraph::new();
        for index in 0..self.workflow.stages.len() {
            graph.add_node(index);
        }
        for (index, stage) in self.workflow.stages.iter().enumerate() {
            for source in self.sources(stage) {
                graph.update_edge(NodeIndex::new(source), NodeIndex::new(index), ());
            }
        }
        let mut acyclic = true;
        for component in tarjan_scc(&graph) {
            if component.len() > 1 || graph.contains_edge(component[0], component[0]) {
                self.report_cycle(&graph, &component);
                acyclic = false;
            }
        }
        if !acyclic {
            return None;
        }
        let mut waits: Vec<usize> = graph
            .node_indices()
            .map(|node| graph.neighbors_directed(node, petgraph::Incoming).count())
            .collect();
        let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|&i| waits[i] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for reader in graph.neighbors(NodeIndex::new(index)) {
                waits[reader.index()] -= 1;
                if waits[reader.index()] == 0 {
                    ready.insert(reader.index());
                }
            }
        }
        Some(order)
    }

    fn sources(&self, stage: &Stage) -> Vec<usize> {
        stage
            .inputs
            .iter()
            .flat_map(|input| sources(&input.origin))
            .filter_map(|source| self.by_name.get(source).copied())
            .collect()
    }

    /// Walks backwards inside the component until a stage comes again.
    fn report_cycle(&mut self, graph: &DiGraph<usize, ()>, component: &[NodeIndex]) {
        let Some(&first) = component.iter().min() else {
            return;
        };
        let mut walk = vec![first];
        let cycle = loop {
            let last = walk[walk.len() - 1];
            let next = graph
                .neighbors_directed(last, petgraph::Incoming)
                .filter(|node| component.contains(node))
                .min();
            let Some(next) = next else { return };
            if let Some(at) = walk.iter().position(|&node| node == next) {
                break &walk[at..];
            }
            walk.push(next);
        };
        let name = |node: &NodeIndex| self.workflow.stages[node.index()].name.value.clone();
        // The walk went against the arrows; what people read goes along them, from where the walk began.
        let mut path = vec![name(&cycle[0])];
        path.extend(cycle.iter().rev().map(name));
        let span = self.workflow.stages[cycle[0].index()].name.span;
        self.problems.add(Problem::Cycle { path }, span);
    }
}
