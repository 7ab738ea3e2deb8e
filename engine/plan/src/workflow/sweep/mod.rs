//! `[sweep]`: one workflow at many points. Axes over params, variants, `uses` and `with`; seeds as replicates. Each
//! combination of values is a tree of its own, which is read like any workflow.
//!
//! Three steps, each with plain data for the next:
//!
//! - `head`: what stands in the table and on the command line.
//! - `axes`: what its names stand for in the tree; `points`: how the values are put together, and which combinations
//!   are left out. No tree is touched.
//! - `trees`: each combination laid over the tree.

mod axes;
mod head;
mod points;
mod trees;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axes::Axis;
use head::Head;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::choices::Choice;
use super::layers::Ground;
use super::node::Node;
use super::problem::Problems;
use super::source::{Sources, Span};
use super::tree::Entries;
use super::{Overrides, Workflow};

/// A sweep: its axes, and the workflow (or its tree) at each combination of their values.
#[derive(Debug)]
pub struct Sweep<W = Workflow> {
    /// How the values are put together.
    pub mode: Mode,
    /// The axes, as written.
    pub axes: Vec<String>,
    /// The replicates.
    pub seeds: Vec<u64>,
    /// The figure to optimise.
    pub goal: Option<Goal>,
    /// Whether `--point` chose some of its points.
    pub is_partial: bool,
    /// The combinations that are asked for.
    pub combinations: Vec<Combination<W>>,
}

/// How the values of the axes are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each value with each.
    Grid,
    /// The first values, the second ones, and so on.
    Zip,
    /// The base, and each axis varied alone from it.
    OneAtATime,
    /// Some of the grid, drawn by the workflow's seed.
    Random,
    /// The points as listed.
    Points,
}

impl<W> Sweep<W> {
    /// The same with other things in the place of the workflows.
    pub(super) fn map<V>(self, mut value: impl FnMut(W) -> V) -> Sweep<V> {
        let combinations = self.combinations.into_iter();
        Sweep {
            mode: self.mode,
            axes: self.axes,
            seeds: self.seeds,
            goal: self.goal,
            is_partial: self.is_partial,
            combinations: combinations
                .map(|combination| Combination {
                    coordinates: combination.coordinates,
                    base: combination.base,
                    seeds: combination.seeds,
                    workflow: value(combination.workflow),
                    reads: combination.reads,
                    choices: combination.choices,
                })
                .collect(),
        }
    }
}

/// The figure to optimise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// `stage.metric`, the stage with selectors where it has several instances at a point.
    pub metric: String,
    /// Whether more is better.
    pub maximise: bool,
}

/// A workflow (or its tree) at one combination of values.
#[derive(Debug)]
pub struct Combination<W> {
    /// Axis and value; null where the base has no value.
    pub coordinates: BTreeMap<String, Value>,
    /// Whether these are the values of the file without its sweep.
    pub base: bool,
    /// The seeds that it runs with.
    pub seeds: Vec<u64>,
    /// The workflow.
    pub workflow: W,
    /// The axes that each stage reads itself.
    pub reads: HashMap<String, BTreeSet<String>>,
    /// The variants that count.
    pub choices: Vec<Choice>,
}

/// Reads `[sweep]` and what the command line says of it; `None` where nothing is swept, or something is wrong. What earlier
/// versions made of it, where that is something else, is noted among `changes`.
pub(super) fn sweep(
    node: Option<Node>,
    top: Span,
    overrides: &Overrides,
    ground: &Ground,
    sources: &mut Sources,
    changes: &mut Problems,
    problems: &mut Problems,
) -> Option<Sweep<Entries>> {
    let before = problems.count();
    let Some(mut head) = Head::read(node, top, overrides, sources, problems) else {
        ground.check_required(|_| false, problems);
        return None;
    };
    let mut axes = Axis::all(&mut head, ground, problems);
    let seeds = head.seeds(problems);
    let goal = head.goal(&ground.root, problems);
    if problems.count() > before {
        return None;
    }
    if head.mode == Mode::Points {
        Axis::listed(&head.points, &mut axes, ground, problems);
    }
    let is_swept = |group: &str| axes.iter().any(|axis| axis.is_of(group));
    ground.check_required(is_swept, problems);
    let rows = points::rows(&head, &axes, ground.seed(), before, problems)?;
    let seeds = |row: &points::Row| seeds.from(ground.seed_with(points::chosen(row, &axes)));
    let mut points = points::points(rows, &axes, seeds);
    let mut all_seeds: Vec<u64> = Vec::new();
    for seed in points.iter().flat_map(|point| &point.seeds) {
        if !all_seeds.contains(seed) {
            all_seeds.push(*seed);
        }
    }
    points::choose(&head.chosen, &axes, &mut points, problems);
    let touched = trees::touched(&axes, ground);
    // All are laid over the tree, so that a mistake is found whichever of them are chosen.
    let combinations = points
        .into_iter()
        .map(|point| trees::combination(point, &axes, &touched, ground, changes, problems))
        .filter(|combination| !combination.seeds.is_empty())
        .collect();
    Some(Sweep {
        mode: head.mode,
        axes: axes.into_iter().map(|axis| axis.name.value).collect(),
        seeds: all_seeds,
        goal,
        is_partial: !head.chosen.is_empty(),
        combinations,
    })
}
