//! The points of a table, seeds of one combination together; and the names by which an instance and its counterparts in the
//! other points are one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flow_plan::plan::sweep::{Mode, SEED};
use flow_plan::plan::{self, Plan, Sweep};
use flow_plan::workflow::Workflow;
use petgraph::graph::NodeIndex;
use serde_json::Value;

/// The points of a table.
#[derive(Debug)]
pub(super) struct Points {
    pub mode: Option<Mode>,
    pub axes: Vec<String>,
    /// The seeds of the points.
    pub seeds: Vec<u64>,
    pub combinations: Vec<Combination>,
    /// The name within a point of each instance.
    pub names: HashMap<NodeIndex, String>,
}

/// A point, without its seed.
#[derive(Debug)]
pub(super) struct Combination {
    pub coordinates: BTreeMap<String, Value>,
    pub base: bool,
    /// The instances for each seed, by their name within a point: `multihead[alpha=0.1]`.
    pub seeds: Vec<(u64, BTreeMap<String, NodeIndex>)>,
}

impl Points {
    /// The points of a plan; without a sweep it is one.
    pub fn of(workflow: &Workflow, plan: &Plan) -> Points {
        let mut points = Points {
            mode: None,
            axes: Vec::new(),
            seeds: vec![workflow.seed],
            combinations: Vec::new(),
            names: HashMap::new(),
        };
        let Some(sweep) = &plan.sweep else {
            let nodes = plan.order.iter().copied();
            let named = nodes.map(|node| (plan.graph[node].label.clone(), node));
            let named: BTreeMap<String, NodeIndex> = named.collect();
            points.names = named
                .iter()
                .map(|(name, node)| (*node, name.clone()))
                .collect();
            points.combinations.push(Combination {
                coordinates: BTreeMap::new(),
                base: true,
                seeds: vec![(workflow.seed, named)],
            });
            return points;
        };
        points.mode = Some(sweep.mode);
        points.axes = sweep.axes.clone();
        let asked = |seed: &&u64| sweep.points.iter().any(|point| point.seed == **seed);
        points.seeds = sweep.seeds.iter().filter(asked).copied().collect();
        for point in &sweep.points {
            let named = named(plan, sweep, &point.nodes);
            for (name, node) in &named {
                points.names.entry(*node).or_insert_with(|| name.clone());
            }
            let seed = (point.seed, named);
            match points.combinations.last_mut() {
                Some(last) if last.coordinates == point.coordinates => last.seeds.push(seed),
                _ => points.combinations.push(Combination {
                    coordinates: point.coordinates.clone(),
                    base: point.base,
                    seeds: vec![seed],
                }),
            }
        }
        points
    }
}

/// The instances of a point by their names without what the sweep adds to them: its axes and the seed.
fn named(plan: &Plan, sweep: &Sweep, nodes: &[NodeIndex]) -> BTreeMap<String, NodeIndex> {
    let swept: BTreeSet<&str> = sweep
        .axes
        .iter()
        .map(String::as_str)
        .chain([SEED])
        .collect();
    // A coordinate that differs between a stage's instances here is its matrix's, whatever it is called.
    let mut values: HashMap<(&str, &str), &Value> = HashMap::new();
    let mut differing: BTreeSet<(&str, &str)> = BTreeSet::new();
    for instance in nodes.iter().map(|node| &plan.graph[*node]) {
        for (axis, value) in &instance.coordinates {
            let place = (instance.stage.as_str(), axis.as_str());
            if *values.entry(place).or_insert(value) != value {
                differing.insert(place);
            }
        }
    }
    let named = nodes.iter().map(|&node| {
        let instance = &plan.graph[node];
        let own = instance.coordinates.iter().filter(|(axis, _)| {
            let axis = axis.as_str();
            // Where a matrix has an axis of the same name, the plan says whose a coordinate is.
            let of_sweep = axis
                .strip_prefix("sweep.")
                .is_some_and(|axis| swept.contains(axis))
                || (swept.contains(axis) && !differing.contains(&(instance.stage.as_str(), axis)));
            !of_sweep
        });
        let own = own.map(|(axis, value)| (axis.clone(), value.clone()));
        (plan::label(&instance.stage, &own.collect()), node)
    });
    named.collect()
}
