//! The plan of a sweep: the union of its points' plans. Instances of several points that do the same thing are one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use petgraph::graph::NodeIndex;
use serde_json::Value;

use super::deliver::Delivery;
use super::expand::single;
use super::kinds::Catalogue;
use super::{Instance, Origin, Plan, Task, coordinates, label};
use crate::workflow::problem::{Problem, Problems};

pub use crate::workflow::sweep::{Goal, Mode};
use crate::workflow::{self, Reference, Span, Workflow};

/// The coordinate of an instance that depends on which of several seeds it is.
pub const SEED: &str = "seed";

/// What a sweep asks for: its axes, its points, and its goal.
#[derive(Debug)]
pub struct Sweep {
    /// How the values of the axes are put together.
    pub mode: Mode,
    /// The axes, as written; the seed is not among them.
    pub axes: Vec<String>,
    /// The replicates.
    pub seeds: Vec<u64>,
    /// The figure to optimise.
    pub goal: Option<Goal>,
    /// One for each combination and seed; those of a combination are beside each other.
    pub points: Vec<Point>,
}

/// One workflow's worth of a sweep.
#[derive(Debug)]
pub struct Point {
    /// Axis and value, without the seed.
    pub coordinates: BTreeMap<String, Value>,
    /// Its seed.
    pub seed: u64,
    /// Whether it is what the file says without the sweep.
    pub base: bool,
    /// Its instances, in order; other points may share them.
    pub nodes: Vec<NodeIndex>,
}

impl Sweep {
    /// The axes of a point with their values, and the seed where there are several: `keep=0.8,seed=43`.
    pub fn label(&self, point: &Point) -> String {
        let axes = self.axes.iter();
        let mut parts: Vec<String> = axes
            .filter_map(|axis| {
                let value = point.coordinates.get(axis)?;
                Some(format!("{axis}={}", super::plain_text(value)))
            })
            .collect();
        if self.seeds.len() > 1 || parts.is_empty() {
            parts.push(format!("{SEED}={}", point.seed));
        }
        parts.join(",")
    }
}

impl Sweep {
    /// The instance and the metric's name that `stage.metric` means at a point.
    pub fn metric<'m>(
        &self,
        plan: &Plan,
        point: &Point,
        metric: &'m str,
    ) -> Option<(NodeIndex, &'m str)> {
        let reference: Reference = metric.parse().ok()?;
        let name = &metric[metric.rfind('.')? + 1..];
        let mut found = point
            .nodes
            .iter()
            .copied()
            .filter(|&node| plan.is_meant(node, &reference));
        found
            .next()
            .filter(|_| found.next().is_none())
            .map(|node| (node, name))
    }
}

/// Builds the plan of a sweep. `top` is where too many instances are complained of.
pub(super) fn union(
    sweep: &workflow::Sweep,
    top: Span,
    catalogue: &Catalogue,
    problems: &mut Problems,
) -> Plan {
    let mut union = Union {
        plan: Plan::default(),
        nodes: HashMap::new(),
    };
    let mut points = Vec::new();
    // What is unused at every point is unused.
    let mut warnings: Option<Problems> = None;
    for combination in &sweep.combinations {
        let mut own = Problems::default();
        let seed = combination.workflow.seed;
        let mut plan = single(&combination.workflow, seed, catalogue, &mut own);
        let found = own.take_warnings();
        match &mut warnings {
            Some(common) => common.retain_common(&found),
            None => warnings = Some(found),
        }
        problems.extend(own);
        // A program may have its seed in texts that are made by now; so may the path of a delivery.
        let is_seeded = |i: &Instance| i.seed.is_some() && matches!(i.task, Task::Command(_));
        let mut at_seed = combination.workflow.seed;
        let mut delivered = combination.workflow.deliver.iter();
        let is_seeded = plan.instances().any(is_seeded)
            || delivered.any(|d| d.path.value.names().any(|name| name == "seed"));
        for &seed in &combination.seeds {
            if is_seeded && seed != at_seed {
                // What is wrong is wrong at every seed, and noted.
                let mut noted = Problems::default();
                plan = single(&combination.workflow, seed, catalogue, &mut noted);
                at_seed = seed;
            }
            let at = At {
                coordinates: &combination.coordinates,
                reads: &combination.reads,
                seed,
                replicated: sweep.seeds.len() > 1,
            };
            let nodes = union.add(&plan, &at, problems);
            union.deliver(&plan, &nodes);
            points.push(Point {
                coordinates: combination.coordinates.clone(),
                seed,
                base: combination.base,
                nodes,
            });
        }
        if union.plan.order.len() > coordinates::LIMIT {
            let limit = coordinates::LIMIT;
            problems.add(Problem::SweepTooLarge { limit }, top);
            break;
        }
    }
    // What some points don't use others may.
    if !sweep.is_partial {
        problems.extend(warnings.unwrap_or_default());
    }
    // Points that share an instance deliver it once.
    union.plan.deliveries.sort();
    union.plan.deliveries.dedup();
    let mut labels = HashSet::new();
    let mut all = union.plan.instances().map(|instance| &instance.label);
    let twice = all.find(|label| !labels.insert(*label)).cloned();
    drop(all);
    if let Some(label) = twice {
        problems.add(Problem::SameLabel { label }, top);
    }
    union.plan.sweep = Some(Sweep {
        mode: sweep.mode,
        axes: sweep.axes.clone(),
        seeds: sweep.seeds.clone(),
        goal: sweep.goal.clone(),
        points,
    });
    union.plan
}

/// A point, as its instances see it.
struct At<'a> {
    coordinates: &'a BTreeMap<String, Value>,
    /// The axes that each stage reads itself.
    reads: &'a HashMap<String, BTreeSet<String>>,
    seed: u64,
    /// Whether there are other seeds.
    replicated: bool,
}

struct Union {
    plan: Plan,
    /// The instances by what they do.
    nodes: HashMap<blake3::Hash, NodeIndex>,
}

impl Union {
    /// Adds a point's plan; gives its instances in the union, in order.
    fn add(&mut self, plan: &Plan, at: &At<'_>, problems: &mut Problems) -> Vec<NodeIndex> {
        let mut nodes: HashMap<NodeIndex, NodeIndex> = HashMap::new();
        // The axes that each instance or one before it reads.
        let mut axes: HashMap<NodeIndex, BTreeSet<&str>> = HashMap::new();
        for &node in &plan.order {
            let instance = &plan.graph[node];
            let own = at.reads.get(&instance.stage).into_iter().flatten();
            let mut read: BTreeSet<&str> = own.map(String::as_str).collect();
            if instance.seed.is_some() && at.replicated {
                read.insert(SEED);
            }
            for source in instance.sources() {
                read.extend(axes.get(&source).into_iter().flatten());
            }
            if let Some(span) = instance.frozen.filter(|_| !read.is_empty()) {
                let axes = read.iter().map(ToString::to_string).collect();
                let stage = instance.stage.clone();
                problems.add(Problem::FrozenSwept { stage, axes }, span);
            }
            let instance = moved(instance, &nodes, &read, at);
            axes.insert(node, read);
            nodes.insert(node, self.node(instance));
        }
        plan.order.iter().map(|node| nodes[node]).collect()
    }

    /// Adds what a point's plan delivers; `nodes` are its instances in the union, in order.
    fn deliver(&mut self, plan: &Plan, nodes: &[NodeIndex]) {
        let moved: HashMap<&NodeIndex, &NodeIndex> = plan.order.iter().zip(nodes).collect();
        for delivery in &plan.deliveries {
            let moved = Delivery {
                node: *moved[&delivery.node],
                ..delivery.clone()
            };
            self.plan.deliveries.push(moved);
        }
    }

    /// The instance's place: an earlier one's, where that does the same.
    fn node(&mut self, instance: Instance) -> NodeIndex {
        let plan = &mut self.plan;
        *self.nodes.entry(identity(&instance)).or_insert_with(|| {
            let node = plan.graph.add_node(instance);
            plan.connect(node);
            plan.order.push(node);
            node
        })
    }
}

/// The instance as it stands in the union: it reads from the union's instances, has the point's seed, and the coordinates on
/// which it depends.
fn moved(
    instance: &Instance,
    nodes: &HashMap<NodeIndex, NodeIndex>,
    read: &BTreeSet<&str>,
    at: &At<'_>,
) -> Instance {
    let mut moved = instance.clone();
    moved.seed = instance.seed.map(|_| at.seed);
    for input in &mut moved.inputs {
        match &mut input.origin {
            Origin::Instance { node, .. } => *node = nodes[node],
            Origin::Collected { all, .. } => {
                all.iter_mut().for_each(|one| one.node = nodes[&one.node]);
            }
            Origin::Path { .. } => {}
        }
    }
    for &axis in read {
        let value = at.coordinates.get(axis).cloned();
        let value = value.unwrap_or_else(|| at.seed.into());
        // A matrix may have an axis of the same name.
        let name = if moved.coordinates.contains_key(axis) {
            format!("sweep.{axis}")
        } else {
            axis.to_string()
        };
        moved.coordinates.insert(name, value);
    }
    moved.label = label(&moved.stage, &moved.coordinates);
    moved
}

/// What tells two instances apart: all but their coordinates. The places of paths in texts do not count.
fn identity(instance: &Instance) -> blake3::Hash {
    let inputs: Vec<String> = instance
        .inputs
        .iter()
        .map(|input| {
            (
                input,
                match &input.origin {
                    Origin::Path {
                        files, parameter, ..
                    } => format!("{:?}", (files, parameter)),
                    origin => format!("{origin:?}"),
                },
            )
        })
        .map(|(input, origin)| format!("{:?}", (&input.role, origin, &input.place, input.writable)))
        .collect();
    let task = match &instance.task {
        Task::Kind { kind, parameters } => format!("{:?}", (kind, parameters)),
        Task::Command(program) => format!("{program:?}"),
    };
    let outputs: Vec<_> = instance
        .outputs
        .iter()
        .map(|o| (&o.role, o.artifact, &o.file))
        .collect();
    let rest = (
        &instance.stage,
        instance.seed,
        instance.resources,
        instance.timeout,
        instance.retries,
        instance.frozen.is_some(),
        &instance.env,
    );
    blake3::hash(format!("{:?}", (task, inputs, outputs, rest)).as_bytes())
}

/// The place that a workflow's own name has.
pub(super) fn top(workflow: &Workflow) -> Span {
    let first = workflow.stages.first();
    first.map_or(Span::new(0, 0..0), |stage| stage.name.span)
}
