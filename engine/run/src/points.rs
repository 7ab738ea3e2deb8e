//! Which points of a sweep are done.

use std::collections::{BTreeSet, HashMap};

use flow_plan::plan::Plan;
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

use crate::record::Ending;
use crate::record::event::{PointEnd, Status};

/// The points of a sweep, and what each still waits for. Empty where nothing is swept.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// The instances of each point that this run is about, by their number.
    nodes: Vec<Vec<NodeIndex>>,
    /// How many of them have not ended.
    left: Vec<usize>,
    /// The points that an instance belongs to.
    of: HashMap<NodeIndex, Vec<usize>>,
    done: usize,
}

impl Points {
    pub fn of(plan: &Plan, wanted: &BTreeSet<NodeIndex>) -> Points {
        let mut points = Points::default();
        for (i, point) in plan.sweep.iter().flat_map(|s| &s.points).enumerate() {
            let nodes = point.nodes.iter().copied();
            let nodes: Vec<NodeIndex> = nodes.filter(|node| wanted.contains(node)).collect();
            for node in &nodes {
                points.of.entry(*node).or_default().push(i);
            }
            points.left.push(nodes.len());
            points.nodes.push(nodes);
        }
        points
    }

    /// Takes note that an instance ended; gives the points that ended with it.
    pub fn ended(&mut self, node: NodeIndex) -> Vec<usize> {
        let points = self.of.get(&node).cloned().unwrap_or_default();
        let left = &mut self.left;
        let last = points.into_iter().filter(|&point| {
            left[point] -= 1;
            left[point] == 0
        });
        last.collect()
    }

    /// How a point ended.
    pub fn end<'m>(
        &mut self,
        plan: &Plan,
        index: usize,
        ended: &HashMap<NodeIndex, Status>,
        metrics: impl Fn(NodeIndex) -> Option<&'m Map<String, Value>>,
    ) -> Option<PointEnd> {
        let sweep = plan.sweep.as_ref()?;
        let point = sweep.points.get(index)?;
        self.done += 1;
        let nodes = &self.nodes[index];
        let count = |status| {
            nodes
                .iter()
                .filter(|node| ended.get(node) == Some(&status))
                .count()
        };
        let goal = sweep.goal.as_ref().and_then(|goal| {
            let (node, name) = sweep.metric(plan, point, &goal.metric)?;
            crate::record::figures::find(metrics(node)?, name)?.as_f64()
        });
        Some(PointEnd {
            point: point.coordinates.clone(),
            seed: point.seed,
            status: match (
                count(Status::Failed) + count(Status::Skipped),
                count(Status::Cancelled),
            ) {
                (0, 0) => Ending::Ok,
                (0, _) => Ending::Cancelled,
                _ => Ending::Failed,
            },
            ran: count(Status::Ran),
            goal,
            done: self.done,
            points: sweep.points.len(),
            label: sweep.label(point),
        })
    }
}
