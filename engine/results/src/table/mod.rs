//! A workflow's results as a table: a row for each point of its sweep, a column for each figure, seeds folded into a mean.
//!
//! - `points`: the points, and what an instance is called in all of them.
//! - `columns`: which figures, and of which instances.
//! - `lacks`: why there is no result.
//! - [`Table`]: the rows. What of them differs from the base by more than the seeds' noise is told here, not in a view.

mod columns;
mod lacks;
mod points;

use std::collections::{BTreeMap, BTreeSet};

use flow_cache::{Key, Store};
use petgraph::graph::NodeIndex;
use serde::Serialize;
use serde_json::{Number, Value};

use self::columns::Column;

pub use self::columns::{Columns, Wrong};
use self::lacks::Lacks;
use self::points::Combination;
use super::Survey;
use super::statistics::{self, LEVEL};
use flow_plan::plan::Plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::sweep::{Goal, Mode};
use flow_plan::workflow::Workflow;
use flow_run::record::figures;

/// A workflow's results, one row a point. Equal results make equal tables: no time and no run is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The workflow's name.
    pub workflow: String,
    /// How the sweep's points come from its axes; none without a sweep.
    pub mode: Option<Mode>,
    /// What differs between the points.
    pub axes: Vec<String>,
    /// The replicates.
    pub seeds: Vec<u64>,
    /// The columns: `STAGE.METRIC`.
    pub metrics: Vec<String>,
    /// Which of them to optimise.
    pub goal: Option<Goal>,
    /// The points, without their seeds.
    pub rows: Vec<Row>,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Axis to value.
    pub point: BTreeMap<String, Value>,
    /// Whether it is what the file says without the sweep.
    pub base: bool,
    /// Whether no other has a better mean of the goal; several, where they are equally good. Only points that have the goal
    /// for every seed are compared.
    pub best: bool,
    /// What of it there is.
    pub status: Status,
    /// For how many seeds all of it is there.
    pub n: usize,
    /// Why not all of it is there.
    pub reason: Option<String>,
    /// By column.
    pub cells: BTreeMap<String, Cell>,
}

/// What of a row there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All, for every seed.
    Complete,
    /// All for some seeds, or some for all.
    Partial,
    /// All for no seed, since a stage failed.
    Failed,
    /// Nothing yet.
    Missing,
}

/// One figure at one point, over the seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cell {
    /// How many results there are: fewer than seeds where some are not there, one where the seed does not count.
    pub n: usize,
    /// Their mean; none where there is no result, or one that is not finite.
    pub mean: Option<f64>,
    /// Half of the width of the 95 % interval of the mean; none of fewer than two results.
    pub half_width: Option<f64>,
    /// By seed, in the order of the seeds.
    pub values: Vec<SeedValue>,
    /// What it is ahead of the base; none for the base itself, and where one of the two has no mean.
    pub lead: Option<Lead>,
}

/// One figure of one instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedValue {
    /// The seed.
    pub seed: u64,
    /// The figure; none where it is not finite.
    pub value: Option<Number>,
    /// The instance, the same for several seeds where the seed does not count.
    pub stage: String,
    /// The key of its result.
    pub key: Key,
}

/// How a figure differs from that of the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lead {
    /// The mean of the differences, over the seeds that both have.
    pub difference: f64,
    /// The p of a t-test paired by seed; none where the seeds make no noise to measure with ([`statistics::paired_test`]).
    pub p: Option<f64>,
    /// The same after Holm's correction over the rows.
    pub p_holm: Option<f64>,
    /// Whether that is below 0.05.
    pub significant: bool,
}

/// Where the results are.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The workflow.
    pub workflow: &'a Workflow,
    /// Its instances.
    pub plan: &'a Plan,
    /// Their kinds.
    pub catalogue: &'a Catalogue,
    /// The store.
    pub store: &'a Store,
}

impl Table {
    /// The table of these columns. `survey` has looked at their [nodes](Columns::nodes) and all that those read from.
    ///
    /// # Errors
    /// [`Wrong`] where a chosen figure is none; otherwise where the store can't be read.
    pub fn of(source: &Source<'_>, columns: &Columns, survey: &Survey) -> anyhow::Result<Table> {
        let points = &columns.points;
        let chosen = columns.resolve(source, survey)?;
        let lacks = Lacks::of(source, columns, survey)?;
        let mut rows: Vec<Row> = points
            .combinations
            .iter()
            .map(|combination| {
                let mut row = Row {
                    point: combination.coordinates.clone(),
                    base: combination.base,
                    best: false,
                    status: Status::Complete,
                    n: 0,
                    reason: None,
                    cells: BTreeMap::new(),
                };
                for column in &chosen {
                    let cell = cell(source, survey, column, &combination.seeds);
                    row.cells.insert(column.name.clone(), cell);
                }
                let told = lacks.of_row(&combination.seeds, points.seeds.len() > 1);
                row.n = combination.seeds.len() - told.seeds;
                row.status = match (told.seeds, row.n) {
                    (0, _) => Status::Complete,
                    (_, 1..) => Status::Partial,
                    _ if told.failed => Status::Failed,
                    _ if row.cells.values().any(|cell| cell.n > 0) => Status::Partial,
                    _ => Status::Missing,
                };
                row.reason = told.reason;
                row
            })
            .collect();
        leads(&mut rows, &chosen);
        let goal = columns.goal(&chosen);
        if let Some(goal) = &goal {
            mark_best(&mut rows, goal, &points.combinations);
        }
        Ok(Table {
            workflow: source.workflow.name.clone(),
            mode: points.mode,
            axes: points.axes.clone(),
            seeds: points.seeds.clone(),
            metrics: chosen.into_iter().map(|column| column.name).collect(),
            goal,
            rows,
        })
    }

    /// Puts the rows in the order of a column: the best first where it is the goal, else the largest first; rows without a
    /// mean last. Equal ones keep their order.
    pub fn sort_by(&mut self, metric: &str) {
        let goal = self.goal.as_ref().filter(|goal| goal.metric == metric);
        let maximise = goal.is_none_or(|goal| goal.maximise);
        let place = |row: &Row| {
            let mean = row.cells.get(metric).and_then(|cell| cell.mean);
            mean.map(|mean| if maximise { -mean } else { mean })
        };
        self.rows.sort_by(|a, b| match (place(a), place(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        });
    }
}

/// One figure over the seeds of a point.
fn cell(
    source: &Source<'_>,
    survey: &Survey,
    column: &Column,
    seeds: &[(u64, BTreeMap<String, NodeIndex>)],
) -> Cell {
    let mut cell = Cell::default();
    let mut distinct: BTreeMap<NodeIndex, f64> = BTreeMap::new();
    for (seed, nodes) in seeds {
        let Some(&node) = nodes.get(&column.instance) else {
            continue;
        };
        let Some(record) = survey.record(node) else {
            continue;
        };
        let Some(figure) = figures::of(record, &column.metric) else {
            continue;
        };
        let number = figure.as_number().cloned();
        let value = number.as_ref().and_then(Number::as_f64);
        // An instance that several seeds share was computed once, and is no replicate of itself.
        distinct.insert(node, value.unwrap_or(f64::NAN));
        cell.values.push(SeedValue {
            seed: *seed,
            value: number,
            stage: source.plan.graph[node].label.clone(),
            key: record.key,
        });
    }
    let values: Vec<f64> = distinct.into_values().collect();
    cell.n = values.len();
    cell.mean = statistics::mean(&values);
    cell.half_width = statistics::half_width(&values);
    cell
}

/// Compares each row with the base, figure by figure.
fn leads(rows: &mut [Row], columns: &[Column]) {
    let Some(base) = rows.iter().find(|row| row.base).cloned() else {
        return;
    };
    for column in columns {
        let Some(other) = base.cells.get(&column.name) else {
            continue;
        };
        let mut tested = Vec::new();
        for (at, row) in rows.iter_mut().enumerate().filter(|(_, row)| !row.base) {
            let Some(cell) = row.cells.get_mut(&column.name) else {
                continue;
            };
            cell.lead = lead(cell, other);
            let p = cell.lead.as_ref().and_then(|lead| lead.p);
            tested.extend(p.map(|p| (at, p)));
        }
        let tests: Vec<f64> = tested.iter().map(|(_, p)| *p).collect();
        for ((at, _), corrected) in tested.iter().zip(statistics::holm(&tests)) {
            let cell = rows[*at].cells.get_mut(&column.name);
            if let Some(lead) = cell.and_then(|cell| cell.lead.as_mut()) {
                lead.p_holm = Some(corrected);
                lead.significant = corrected < LEVEL;
            }
        }
    }
}

/// How a cell differs from that of the base, by the seeds that both have; before the correction.
fn lead(cell: &Cell, base: &Cell) -> Option<Lead> {
    // A result that is not finite is no result to leave out: what remains would be a choice of the good ones.
    cell.mean.zip(base.mean)?;
    let number = |found: &SeedValue| found.value.as_ref().and_then(Number::as_f64);
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::new();
    for value in &cell.values {
        let Some(other) = base.values.iter().find(|other| other.seed == value.seed) else {
            continue;
        };
        // A pair that several seeds share is one pair.
        if seen.insert((&value.stage, &other.stage)) {
            pairs.push((number(value)?, number(other)?));
        }
    }
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
    Some(Lead {
        difference: statistics::mean(&differences)?,
        p: statistics::paired_test(&pairs),
        p_holm: None,
        significant: false,
    })
}

/// Marks the rows with the best mean of the goal, among those that have it for all seeds.
fn mark_best(rows: &mut [Row], goal: &Goal, combinations: &[Combination]) {
    let sign = if goal.maximise { 1.0 } else { -1.0 };
    let values = rows.iter().zip(combinations).map(|(row, combination)| {
        let cell = row.cells.get(&goal.metric)?;
        (cell.values.len() == combination.seeds.len()).then_some(sign * cell.mean?)
    });
    let values: Vec<Option<f64>> = values.collect();
    let best = values.iter().flatten().copied().max_by(f64::total_cmp);
    for (row, value) in rows.iter_mut().zip(values) {
        row.best = value.is_some() && value == best;
    }
}
