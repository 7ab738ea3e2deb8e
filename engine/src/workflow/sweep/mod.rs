//! `[sweep]`: one workflow at many points. Axes over params, variants, `uses` and `with`; seeds as replicates. Each
//! combination of values is a tree of its own, which is read like any workflow.
//!
//! - `head`: what stands in the table.
//! - `points`: how the values are put together, and which combinations are left out.

mod head;
mod points;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assign::{assign, in_stages};
use super::compose::{Composer, find};
use super::node::{Located, Node, NodeValue};
use super::problem::Problem;
use super::reader::{Entries, Reader};
use super::set::{self, Setting};
use super::source::Span;
use super::{DEFAULT_SEED, Overrides, Template, Workflow};
use head::Head;

/// A sweep: its axes, and the workflow (or its tree) at each combination of their values.
#[derive(Debug)]
pub struct Sweep<W = Workflow> {
    /// How the values are put together.
    pub mode: Mode,
    /// The axes, as written.
    pub axes: Vec<String>,
    /// The replicates.
    pub seeds: Vec<u64>,
    /// What is to be best.
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
                })
                .collect(),
        }
    }
}

/// What is to be best.
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
}

/// What a sweep starts from.
pub(super) struct Ground<'a> {
    /// The tree before `--set`.
    pub before: Entries,
    /// The tree of the workflow without its sweep.
    pub root: &'a Entries,
    /// `[variants]`.
    pub variants: Option<&'a Node>,
    /// `--variant`: groups and names.
    pub chosen: Vec<(String, Located<String>)>,
    /// `--set`.
    pub settings: Vec<Setting>,
}

/// What an axis varies.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    /// A variant group.
    Variant(String),
    /// What `--set` could set: a path, without `params.`.
    Setting(String),
}

#[derive(Debug, Clone)]
struct Axis {
    name: Located<String>,
    target: Target,
    values: Vec<Node>,
}

/// A value for each axis; none where the base has none.
type Row = Vec<Option<Node>>;

/// Reads `[sweep]` and what the command line says of it; `None` where nothing is swept, or something is wrong.
pub(super) fn sweep(
    composer: &mut Composer<'_>,
    node: Option<Node>,
    ground: &Ground<'_>,
    overrides: &Overrides,
    top: Span,
) -> Option<Sweep<Entries>> {
    if node.is_none() && overrides.sweep.is_empty() && overrides.seeds.is_none() {
        for text in &overrides.point {
            let span = composer.text_of("--point", text);
            composer.problems.add(Problem::NothingSwept, span);
        }
        return None;
    }
    let before = composer.problems.count();
    let mut head = Head::read(node, top, composer.problems);
    let mut axes: Vec<Axis> = Vec::new();
    for (name, values) in std::mem::take(&mut head.axes) {
        axes.extend(ground.axis(name, values, composer));
    }
    for text in &overrides.sweep {
        if head.mode == Mode::Points {
            let span = composer.text_of("--sweep", text);
            let why = "the workflow's sweep lists its points, and has no axes to add to";
            composer.problems.add(Problem::BadSweep { why }, span);
            continue;
        }
        let Some((name, values)) = set::list(text, composer.sources, composer.problems) else {
            continue;
        };
        if let Some(axis) = ground.axis(name, values, composer) {
            match axes.iter_mut().find(|a| a.target == axis.target) {
                Some(known) => *known = axis,
                None => axes.push(axis),
            }
        }
    }
    if let Some(text) = &overrides.seeds {
        head.seeds = Some(set::seeds(text, composer.sources, composer.problems));
    }
    let seeds = head.seeds(ground.seed(), composer.problems);
    let goal = head.goal(ground.root, composer.problems);
    if composer.problems.count() > before {
        return None;
    }
    let rows = points::rows(&mut head, &mut axes, ground, composer)?;
    let mut combinations: Vec<_> = rows
        .into_iter()
        .map(|row| ground.combination(row, &axes, &seeds, composer))
        .collect();
    points::choose(&overrides.point, &axes, &mut combinations, composer);
    Some(Sweep {
        mode: head.mode,
        axes: axes.into_iter().map(|axis| axis.name.value).collect(),
        seeds,
        goal,
        is_partial: !overrides.point.is_empty(),
        combinations,
    })
}

impl Ground<'_> {
    /// The workflow's seed.
    fn seed(&self) -> u64 {
        match self.find("workflow.seed") {
            Some(Located {
                value: NodeValue::Integer(seed),
                ..
            }) => seed.unsigned_abs(),
            _ => DEFAULT_SEED,
        }
    }

    /// The value at a path in the tree.
    fn find(&self, path: &str) -> Option<Node> {
        let mut parts = path.split('.');
        let mut node = find(self.root, parts.next()?)?;
        for part in parts {
            let NodeValue::Table(entries) = &node.value else {
                return None;
            };
            node = find(entries, part)?;
        }
        Some(node.clone())
    }

    fn names(&self, section: Option<&Node>) -> Vec<String> {
        match section.map(|node| &node.value) {
            Some(NodeValue::Table(entries)) => {
                entries.iter().map(|(k, _)| k.value.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An axis, if its name stands for something that can be varied.
    fn axis(
        &self,
        name: Located<String>,
        values: Vec<Node>,
        composer: &mut Composer<'_>,
    ) -> Option<Axis> {
        let target = match self.target(&name.value) {
            Ok(target) => target,
            Err(problem) => {
                composer.problems.add(problem, name.span);
                return None;
            }
        };
        if values.is_empty() {
            let axis = name.value.clone();
            composer
                .problems
                .add(Problem::EmptyAxis { axis }, name.span);
            return None;
        }
        let reader = &mut Reader {
            problems: composer.problems,
        };
        reader.distinct(&name.value, &values);
        Some(Axis {
            name,
            target,
            values,
        })
    }

    /// What a name stands for as an axis.
    fn target(&self, name: &str) -> Result<Target, Problem> {
        if let Some(group) = name.strip_prefix("variants.") {
            return Ok(Target::Variant(group.into()));
        }
        if name.starts_with("stages.") {
            return Ok(Target::Setting(name.into()));
        }
        let path = name.strip_prefix("params.").unwrap_or(name);
        let groups = self.names(self.variants);
        let is_param = self.find(&format!("params.{path}")).is_some();
        let is_group = name == path && groups.contains(&name.to_string());
        match (is_param, is_group) {
            (true, false) => Ok(Target::Setting(path.into())),
            (false, true) => Ok(Target::Variant(name.into())),
            (true, true) => Err(Problem::AmbiguousAxis { axis: name.into() }),
            (false, false) => {
                let mut known = self.names(find(self.root, "params"));
                known.extend(groups);
                Err(Problem::UnknownAxis {
                    axis: name.into(),
                    known,
                })
            }
        }
    }

    /// The value that an axis has in the workflow without its sweep.
    fn base(&self, axis: &Axis) -> Option<Node> {
        match &axis.target {
            Target::Setting(path) if path.starts_with("stages.") => self.find(path),
            Target::Setting(path) => self.find(&format!("params.{path}")),
            Target::Variant(group) => {
                let chosen = self.chosen.iter().rev().find(|(g, _)| g == group);
                let chosen = chosen.map_or("base", |(_, name)| &name.value);
                Some(Located {
                    value: NodeValue::String(chosen.into()),
                    span: axis.name.span,
                })
            }
        }
    }

    /// Whether the command line gives the axis its value.
    fn is_fixed(&self, axis: &Axis) -> bool {
        match &axis.target {
            Target::Setting(path) => self.settings.iter().any(|(name, _)| {
                let name = &name.value;
                let name = name.strip_prefix("params.").unwrap_or(name);
                let rest = path.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }),
            Target::Variant(group) => self.chosen.iter().any(|(g, _)| g == group),
        }
    }

    /// The tree at a row of values.
    fn combination(
        &self,
        row: Row,
        axes: &[Axis],
        seeds: &[u64],
        composer: &mut Composer<'_>,
    ) -> Combination<Entries> {
        let mut tree = self.before.clone();
        let values = || axes.iter().zip(&row);
        for (axis, value) in values() {
            if let (Target::Variant(group), Some(value)) = (&axis.target, value) {
                let name = Located {
                    value: value.value.text(),
                    span: value.span,
                };
                composer.choose(group, &name, self.variants, &mut tree);
            }
        }
        let swept = values().filter_map(|(axis, value)| match &axis.target {
            Target::Setting(path) => {
                let path = Located {
                    value: path.clone(),
                    span: axis.name.span,
                };
                Some((path, Some(value.clone()?)))
            }
            Target::Variant(_) => None,
        });
        let mut settings: Vec<Setting> = swept.chain(self.settings.iter().cloned()).collect();
        settings.sort_by_key(|(path, _)| in_stages(&path.value));
        for (path, value) in settings {
            match assign(&mut tree, &path, value) {
                // What is taken away need not be there at every point: a variant may have no such parameter.
                Ok(()) | Err(Problem::NothingSet { .. }) => {}
                Err(problem) => composer.problems.add(problem, path.span),
            }
        }
        let same = |(axis, value): (&Axis, &Option<Node>)| {
            self.base(axis).map(|node| node.value) == value.as_ref().map(|node| node.value.clone())
        };
        Combination {
            coordinates: values()
                .map(|(axis, value)| {
                    let value = value.as_ref().map_or(Value::Null, |node| node.value.json());
                    (axis.name.value.clone(), value)
                })
                .collect(),
            base: values().all(same),
            seeds: seeds.to_vec(),
            reads: self.reads(&tree, axes),
            workflow: tree,
        }
    }

    /// The axes that each stage of a tree reads itself: those of its params, of the variants that touch it or a param
    /// of its, and those that set a part of it.
    fn reads(&self, tree: &Entries, axes: &[Axis]) -> HashMap<String, BTreeSet<String>> {
        let Some(NodeValue::Table(stages)) = find(tree, "stages").map(|node| &node.value) else {
            return HashMap::new();
        };
        let read = stages.iter().map(|(name, stage)| {
            let mut params = Vec::new();
            references(stage, &mut params);
            let read = axes.iter().filter(|axis| match &axis.target {
                Target::Setting(path) => match path.strip_prefix("stages.") {
                    Some(rest) => rest.split('.').next() == Some(&name.value),
                    None => params.iter().any(|param| overlap(param, path)),
                },
                Target::Variant(group) => axis.values.iter().any(|value| {
                    let section = |section| {
                        let path = [group, value.value.text().as_str(), section].map(String::from);
                        self.names(inside(self.variants, &path))
                    };
                    section("stages").contains(&name.value)
                        || section("params")
                            .iter()
                            .any(|touched| params.iter().any(|param| overlap(param, touched)))
                }),
            });
            let read = read.map(|axis| axis.name.value.clone()).collect();
            (name.value.clone(), read)
        });
        read.collect()
    }
}

fn inside<'n>(node: Option<&'n Node>, path: &[String]) -> Option<&'n Node> {
    path.iter().try_fold(node?, |node, part| match &node.value {
        NodeValue::Table(entries) => find(entries, part),
        _ => None,
    })
}

/// The names in all `${…}` of a value.
fn references(node: &Node, names: &mut Vec<String>) {
    match &node.value {
        NodeValue::String(text) => {
            // What is malformed is said when the tree is read.
            let template = Template::parse(text);
            names.extend(template.iter().flat_map(|t| t.names().map(String::from)));
        }
        NodeValue::Array(items) => items.iter().for_each(|item| references(item, names)),
        NodeValue::Table(entries) => entries.iter().for_each(|(_, n)| references(n, names)),
        _ => {}
    }
}

/// Whether one of two dotted names lies in the other.
fn overlap(a: &str, b: &str) -> bool {
    let mut both = a.split('.').zip(b.split('.'));
    both.all(|(a, b)| a == b)
}
