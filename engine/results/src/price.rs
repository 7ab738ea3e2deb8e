//! What it takes to bring instances up to date.

use std::collections::BTreeSet;

use flow_plan::plan::Plan;
use petgraph::graph::NodeIndex;

use super::explain::History;
use super::{State, Survey};

/// What it takes to bring some instances up to date.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// How many are up to date.
    pub up_to_date: usize,
    /// How many are frozen.
    pub frozen: usize,
    /// How many have to run.
    pub will_run: usize,
    /// How many have to run unless what they read from gives the same bytes as before.
    pub may_run: usize,
    /// How long those take that have to run or may, in seconds, as far as it is known.
    pub seconds: f64,
    /// The stages of which it is not known.
    pub unknown: BTreeSet<String>,
    /// What a sweep shares; none where nothing is swept.
    pub sweep: Option<Shared>,
}

/// What the points of a sweep share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Points that have some of the instances.
    pub points: usize,
    /// How many instances the points have, each taken by itself.
    pub separate: usize,
    /// How many of them are distinct.
    pub distinct: usize,
}

impl Price {
    /// The price of the given instances, none of which is named twice.
    pub fn of(plan: &Plan, survey: &Survey, history: &History, nodes: &[NodeIndex]) -> Price {
        let count = |state| {
            let nodes = nodes.iter();
            nodes.filter(|node| survey.state(**node) == state).count()
        };
        let stale = nodes.iter().copied();
        let stale = stale.filter(|node| survey.record(*node).is_none());
        let (seconds, unknown) = history.estimate(plan, stale);
        Price {
            up_to_date: count(State::UpToDate),
            frozen: count(State::Frozen),
            will_run: count(State::WillRun),
            may_run: count(State::MayRun),
            seconds,
            unknown,
            sweep: shared(plan, nodes),
        }
    }

    /// How many have to run or may.
    pub fn to_run(&self) -> usize {
        self.will_run + self.may_run
    }
}

fn shared(plan: &Plan, nodes: &[NodeIndex]) -> Option<Shared> {
    let sweep = plan.sweep.as_ref()?;
    let nodes: BTreeSet<NodeIndex> = nodes.iter().copied().collect();
    let sizes = sweep.points.iter().map(|point| {
        let wanted = |node: &&NodeIndex| nodes.contains(node);
        point.nodes.iter().filter(wanted).count()
    });
    let sizes: Vec<usize> = sizes.filter(|&size| size > 0).collect();
    Some(Shared {
        points: sizes.len(),
        separate: sizes.iter().sum(),
        distinct: nodes.len(),
    })
}
