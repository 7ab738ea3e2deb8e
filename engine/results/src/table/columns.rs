//! Which figures stand in a table, and of which instances: an instance of a stage has one counterpart in each point.

use std::collections::{BTreeMap, BTreeSet};

use flow_plan::plan::Plan;
use flow_plan::plan::sweep::Goal;
use flow_plan::workflow::Reference;
use flow_plan::workflow::problem::is_or_are;
use flow_run::record::figures;
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};
use thiserror::Error;

use super::Source;
use super::points::Points;
use crate::Survey;

/// The points of a table, and the instances that its columns are about.
#[derive(Debug)]
pub struct Columns {
    pub(super) points: Points,
    /// The instances whose figures are shown, by their name within a point; `None` where those are shown that people want
    /// to see first, else the figure's name.
    wanted: Vec<(String, Option<String>)>,
    goal: Option<(String, String, bool)>,
}

/// One column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// `STAGE.METRIC`.
    pub name: String,
    /// The instance's name within a point.
    pub instance: String,
    pub metric: String,
}

impl Column {
    fn new(instance: &str, metric: &str) -> Column {
        Column {
            name: format!("{instance}.{metric}"),
            instance: instance.into(),
            metric: metric.into(),
        }
    }
}

/// What is wrong with a figure's name.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Wrong {
    /// No stage of the workflow has figures.
    #[error(
        "no stage of this workflow has figures; a program gives its own with an output `metrics`: outputs = {{ metrics = \
         \"metrics.json\" }}, an object of numbers in JSON, YAML or TOML"
    )]
    NoFigures,
    /// The text is not of that form.
    #[error("`{written}` names no figure; write STAGE.METRIC, such as {example}")]
    Form {
        /// As written.
        written: String,
        /// One that is right.
        example: String,
    },
    /// There is no such stage, or it has no figures.
    #[error("`{written}`: there is no stage `{stage}` with figures; {} {}", is_or_are(.known.len()), .known.join(", "))]
    Stage {
        /// As written.
        written: String,
        /// What it names.
        stage: String,
        /// What it could have named.
        known: Vec<String>,
    },
    /// The stage's results have no such figure.
    #[error("`{written}`: `{stage}` has no figure `{metric}`; it has {}", .known.join(", "))]
    Figure {
        /// As written.
        written: String,
        /// The instance.
        stage: String,
        /// What it names.
        metric: String,
        /// What it could have named.
        known: Vec<String>,
    },
    /// The results are there, and hold no figure.
    #[error(
        "`{written}`: the results of `{stage}` have no figures: its `metrics` has to be an object of numbers (JSON, YAML, \
         TOML), which may lie in objects"
    )]
    Empty {
        /// As written.
        written: String,
        /// The instance.
        stage: String,
    },
    /// One column was wanted.
    #[error("`{written}` is several: name one of {}", .known.join(", "))]
    Several {
        /// As written.
        written: String,
        /// The instances.
        known: Vec<String>,
    },
}

impl Columns {
    /// The columns that are `chosen` (`STAGE.METRIC`), or, where none is, the figures that people want to see first of the
    /// instances `among`; and always the goal.
    ///
    /// # Errors
    /// Where a stage that is named is none, or none has figures.
    pub fn choose(
        source: &Source<'_>,
        chosen: &[String],
        among: impl Fn(NodeIndex) -> bool,
    ) -> Result<Columns, Wrong> {
        let mut columns = Columns {
            points: Points::of(source.workflow, source.plan),
            wanted: Vec::new(),
            goal: None,
        };
        if let Some(goal) = source
            .plan
            .sweep
            .as_ref()
            .and_then(|sweep| sweep.goal.as_ref())
        {
            let (instance, metric) = columns.one(source, &goal.metric)?;
            columns.goal = Some((instance, metric, goal.maximise));
        }
        for written in chosen {
            let (instances, metric) = columns.several(source, written)?;
            let named = instances
                .into_iter()
                .map(|name| (name, Some(metric.clone())));
            columns.wanted.extend(named);
        }
        if chosen.is_empty() {
            let shown = figures::shown(source.plan, source.catalogue, among);
            let all = columns.instances(source.plan, |node| shown.contains(&node));
            let all = all.into_iter().map(|name| (name, None));
            columns.wanted.extend(all);
        }
        if columns.wanted.is_empty() && columns.goal.is_none() {
            return Err(Wrong::NoFigures);
        }
        Ok(columns)
    }

    /// Leaves out what is not only about the given instances. Says whether anything remains.
    pub fn retain(&mut self, nodes: &BTreeSet<NodeIndex>) -> bool {
        let is_in = |name: &str| self.nodes_of(name).all(|node| nodes.contains(&node));
        let wanted = self.wanted.iter().filter(|(name, _)| is_in(name));
        let wanted = wanted.cloned().collect();
        let goal = self.goal.clone().filter(|(name, ..)| is_in(name));
        (self.wanted, self.goal) = (wanted, goal);
        !self.wanted.is_empty() || self.goal.is_some()
    }

    /// The columns that were chosen, by name.
    pub fn named(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (instance, metric) in &self.wanted {
            let name = metric
                .as_ref()
                .map(|metric| Column::new(instance, metric).name);
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names
    }

    /// The instance within a point, and the figure, that a column is about.
    pub fn split(column: &str) -> Option<(&str, &str)> {
        split(column)
    }

    /// The instances whose results the table is made of.
    pub fn nodes(&self) -> BTreeSet<NodeIndex> {
        let seeds = self.points.combinations.iter().flat_map(|c| &c.seeds);
        seeds.flat_map(|(_, nodes)| self.shown(nodes)).collect()
    }

    /// Those among the instances of one point.
    pub(super) fn shown<'a>(
        &'a self,
        nodes: &'a BTreeMap<String, NodeIndex>,
    ) -> impl Iterator<Item = NodeIndex> + 'a {
        let names: BTreeSet<&str> = self
            .wanted
            .iter()
            .map(|(name, _)| name)
            .chain(self.goal.iter().map(|(name, ..)| name))
            .map(String::as_str)
            .collect();
        let named = names.into_iter().filter_map(move |name| nodes.get(name));
        named.copied()
    }

    /// The columns with the figures that the results have: the goal first.
    pub(super) fn resolve(
        &self,
        source: &Source<'_>,
        survey: &Survey,
    ) -> Result<Vec<Column>, Wrong> {
        let mut columns: Vec<Column> = Vec::new();
        let mut add = |column: Column| {
            if columns.iter().all(|other| other.name != column.name) {
                columns.push(column);
            }
        };
        if let Some((instance, metric, _)) = &self.goal {
            self.check(survey, instance, metric)?;
            add(Column::new(instance, metric));
        }
        for (instance, metric) in &self.wanted {
            match metric {
                Some(metric) => {
                    self.check(survey, instance, metric)?;
                    add(Column::new(instance, metric));
                }
                None => {
                    for metric in self.headline(source, survey, instance) {
                        add(Column::new(instance, &metric));
                    }
                }
            }
        }
        Ok(columns)
    }

    /// The goal, if there is one.
    pub(super) fn goal(&self, columns: &[Column]) -> Option<Goal> {
        let (instance, metric, maximise) = self.goal.as_ref()?;
        let mut found = columns.iter();
        let column = found.find(|c| c.instance == *instance && c.metric == *metric)?;
        Some(Goal {
            metric: column.name.clone(),
            maximise: *maximise,
        })
    }

    /// The figures of an instance that people want to see first, as far as any of its results has them; all, while there is
    /// no result.
    fn headline(&self, source: &Source<'_>, survey: &Survey, instance: &str) -> Vec<String> {
        let nodes: Vec<NodeIndex> = self.nodes_of(instance).collect();
        let Some(&first) = nodes.first() else {
            return Vec::new();
        };
        let results: Vec<&Map<String, Value>> = nodes
            .iter()
            .filter_map(|node| Some(&survey.record(*node)?.metrics))
            .collect();
        let empty = Map::new();
        // What a program writes is known by its results alone, and may differ between points.
        let of = if results.is_empty() {
            vec![&empty]
        } else {
            results.clone()
        };
        let mut names: Vec<String> = Vec::new();
        for figures in of {
            for name in figures::headline(&source.plan.graph[first], source.catalogue, figures) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let mut found: Vec<String> = Vec::new();
        let mut add = |name: String| {
            if !found.contains(&name) {
                found.push(name);
            }
        };
        for name in names {
            let has = |figures: &&Map<String, Value>| figures::find(figures, &name).is_some();
            if results.is_empty() || results.iter().any(has) {
                add(name);
                continue;
            }
            // Groups without a total.
            for (group, figures) in results.iter().flat_map(|figures| figures::groups(figures)) {
                if figures::find(figures, &name).is_some() {
                    add(format!("{group}.{name}"));
                }
            }
        }
        found
    }

    /// A figure that none of the results has is a mistake; while there is no result, nobody can tell.
    fn check(&self, survey: &Survey, instance: &str, metric: &str) -> Result<(), Wrong> {
        let mut known: Vec<String> = Vec::new();
        let mut results = 0;
        for node in self.nodes_of(instance) {
            let Some(record) = survey.record(node) else {
                continue;
            };
            results += 1;
            if figures::of(record, metric).is_some() {
                return Ok(());
            }
            for (name, _) in figures::all(&record.metrics) {
                if !known.contains(&name) {
                    known.push(name);
                }
            }
        }
        if results == 0 {
            return Ok(());
        }
        if known.is_empty() {
            return Err(Wrong::Empty {
                written: format!("{instance}.{metric}"),
                stage: instance.into(),
            });
        }
        Err(Wrong::Figure {
            written: format!("{instance}.{metric}"),
            stage: instance.into(),
            metric: metric.into(),
            known,
        })
    }

    /// The counterparts of an instance in all points.
    fn nodes_of<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = NodeIndex> + 'a {
        let seeds = self.points.combinations.iter().flat_map(|c| &c.seeds);
        seeds.filter_map(move |(_, nodes)| nodes.get(instance).copied())
    }

    /// The names within a point of the instances that `of` is true for, in the plan's order.
    fn instances(&self, plan: &Plan, of: impl Fn(NodeIndex) -> bool) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let nodes = plan.order.iter().filter(|node| of(**node));
        let names = nodes.filter_map(|node| self.points.names.get(node));
        names.filter(|name| seen.insert(*name)).cloned().collect()
    }

    /// The instances that `STAGE.METRIC` means, and the figure.
    fn several(&self, source: &Source<'_>, written: &str) -> Result<(Vec<String>, String), Wrong> {
        let measured =
            split(written).is_some_and(|(_, metric)| figures::MEASURED.contains(&metric));
        let known = self.instances(source.plan, |node| {
            measured || figures::has_figures(&source.plan.graph[node])
        });
        let Some(first) = known.first() else {
            return Err(Wrong::NoFigures);
        };
        let (stage, metric) = split(written).ok_or_else(|| Wrong::Form {
            written: written.into(),
            example: format!("{first}.accuracy"),
        })?;
        let found: Vec<String> = known
            .iter()
            .filter(|name| means(stage, name))
            .cloned()
            .collect();
        if found.is_empty() {
            return Err(Wrong::Stage {
                written: written.into(),
                stage: stage.into(),
                known,
            });
        }
        Ok((found, metric.into()))
    }

    /// The one instance that `STAGE.METRIC` means, and the figure.
    fn one(&self, source: &Source<'_>, written: &str) -> Result<(String, String), Wrong> {
        let (instances, metric) = self.several(source, written)?;
        match &instances[..] {
            [instance] => Ok((instance.clone(), metric)),
            _ => {
                let names = instances.iter().map(|name| format!("{name}.{metric}"));
                Err(Wrong::Several {
                    written: written.into(),
                    known: names.collect(),
                })
            }
        }
    }
}

/// Whether a stage, with selectors perhaps, means the instance of this name within a point.
fn means(written: &str, name: &str) -> bool {
    let (Ok(reference), Ok(named)) = (written.parse::<Reference>(), name.parse::<Reference>())
    else {
        return written == name;
    };
    let has = |selector: &(String, String)| named.selectors.contains(selector);
    named.stage == reference.stage && reference.selectors.iter().all(has)
}

/// `stage[axis=value].metric` into the instance and the figure, whose name may have points in it.
fn split(written: &str) -> Option<(&str, &str)> {
    let (stage, metric) = match written.split_once('[') {
        Some((head, _)) if !head.contains('.') => {
            // Values and figures may have brackets too.
            let is_whole = |name: &str| name.matches('[').count() == name.matches(']').count();
            let mut ends = written.match_indices("].").map(|(at, _)| at);
            let at = ends.find(|&at| is_whole(&written[..=at]))?;
            (&written[..=at], &written[at + 2..])
        }
        _ => written.split_once('.')?,
    };
    (!stage.is_empty() && !metric.is_empty()).then_some((stage, metric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_an_instance_and_a_figure() {
        assert_eq!(split("a.b"), Some(("a", "b")));
        assert_eq!(split("a.even.b"), Some(("a", "even.b")));
        assert_eq!(split("m[alpha=0.1].b"), Some(("m[alpha=0.1]", "b")));
        assert_eq!(split("m[x=[1.5]].b"), Some(("m[x=[1.5]]", "b")));
        assert_eq!(split("a.odd[1].b"), Some(("a", "odd[1].b")));
        assert_eq!(split("m[a=1].odd[1].b"), Some(("m[a=1]", "odd[1].b")));
        for wrong in ["", "a", "a.", ".b", "m[alpha=0.1]", "m[alpha=0.1]b"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_reference_means_the_instances_that_agree_with_it() {
        assert!(means("m", "m") && means("m", "m[a=1,b=x]") && means("m[b=x]", "m[a=1,b=x]"));
        assert!(!means("m[b=y]", "m[a=1,b=x]") && !means("m", "n") && !means("m[a=1]", "m"));
    }
}
