//! What the names of axes stand for, looked up in the tree of the workflow.

use super::head::{Head, Named};
use crate::workflow::layers::Ground;
use crate::workflow::node::{Located, Node, NodeValue};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::reader::Reader;
use crate::workflow::tree::{find, inside, names};

/// What an axis varies.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// A variant group.
    Variant(String),
    /// What `--set` could set: a path, without `params.`.
    Setting(String),
}

/// An axis, complete: the points are chosen by nothing else.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub name: Located<String>,
    pub target: Target,
    pub values: Vec<Node>,
    /// The value that it has in the workflow without its sweep.
    pub base: Option<Node>,
    /// Whether the command line gives it its value, which is the base's then.
    pub is_fixed: bool,
}

impl Axis {
    /// The axes of the table, and those that the command line adds or replaces.
    pub fn all(head: &mut Head, ground: &Ground, problems: &mut Problems) -> Vec<Axis> {
        let mut axes: Vec<Axis> = Vec::new();
        for (name, values) in std::mem::take(&mut head.axes) {
            axes.extend(Axis::find(name, values, ground, problems));
        }
        for (name, values) in std::mem::take(&mut head.added) {
            if let Some(axis) = Axis::find(name, values, ground, problems) {
                axis.check_types(ground, problems);
                match axes.iter_mut().find(|a| a.target == axis.target) {
                    Some(known) => *known = axis,
                    None => axes.push(axis),
                }
            }
        }
        axes
    }

    /// Whether it varies a group of variants.
    pub fn is_of(&self, group: &str) -> bool {
        self.target == Target::Variant(group.into())
    }

    /// Notes values of another type than the param has.
    fn check_types(&self, ground: &Ground, problems: &mut Problems) {
        let Target::Setting(path) = &self.target else {
            return;
        };
        for value in &self.values {
            if let Err(problem) = ground.same_type(path, value)
                && !problems.is_noted(value.span)
            {
                problems.add(problem, value.span);
            }
        }
    }

    /// Adds what listed points name: their axes are all that any of them has.
    pub fn listed(
        points: &[Located<Named<Node>>],
        axes: &mut Vec<Axis>,
        ground: &Ground,
        problems: &mut Problems,
    ) {
        for (name, value) in points.iter().flat_map(|point| &point.value) {
            match axes.iter_mut().find(|a| a.name.value == name.value) {
                Some(axis)
                    if axis
                        .values
                        .iter()
                        .any(|v| v.value.json() == value.value.json()) => {}
                Some(axis) => axis.values.push(value.clone()),
                None => axes.extend(Axis::find(
                    name.clone(),
                    vec![value.clone()],
                    ground,
                    problems,
                )),
            }
        }
        let reader = &mut Reader { problems };
        for axis in axes.iter() {
            reader.distinct(&axis.name.value, &axis.values);
        }
    }

    /// An axis, if its name stands for something that can be varied.
    fn find(
        name: Located<String>,
        values: Vec<Node>,
        ground: &Ground,
        problems: &mut Problems,
    ) -> Option<Axis> {
        let target = match Target::find(&name.value, ground) {
            Ok(target) => target,
            Err(problem) => {
                problems.add(problem, name.span);
                return None;
            }
        };
        if values.is_empty() {
            let axis = name.value.clone();
            problems.add(Problem::EmptyAxis { axis }, name.span);
            return None;
        }
        let reader = &mut Reader { problems };
        reader.distinct(&name.value, &values);
        Some(Axis {
            base: target.base(&name, ground),
            is_fixed: target.is_fixed(ground),
            name,
            target,
            values,
        })
    }
}

impl Target {
    /// What a name stands for as an axis.
    fn find(name: &str, ground: &Ground) -> Result<Target, Problem> {
        if let Some(group) = name.strip_prefix("variants.") {
            return Ok(Target::Variant(group.into()));
        }
        if name.starts_with("stages.") {
            return Ok(Target::Setting(name.into()));
        }
        let path = name.strip_prefix("params.").unwrap_or(name);
        let groups = names(inside(ground.variants.as_ref()));
        let is_param = ground.find(&format!("params.{path}")).is_some();
        let is_group = name == path && groups.contains(&name.to_string());
        match (is_param, is_group) {
            (true, false) => Ok(Target::Setting(path.into())),
            (false, true) => Ok(Target::Variant(name.into())),
            (true, true) => Err(Problem::AmbiguousAxis { axis: name.into() }),
            (false, false) => {
                let mut known = names(inside(find(&ground.root, "params")));
                known.extend(groups);
                Err(Problem::UnknownAxis {
                    axis: name.into(),
                    known,
                })
            }
        }
    }

    /// The value in the workflow without its sweep.
    fn base(&self, name: &Located<String>, ground: &Ground) -> Option<Node> {
        match self {
            Target::Setting(path) if path.starts_with("stages.") => ground.find(path).cloned(),
            Target::Setting(path) => ground.find(&format!("params.{path}")).cloned(),
            Target::Variant(group) => {
                let chosen = ground.choice(group);
                let chosen = chosen.map_or("base", |choice| &choice.name.value);
                Some(Located {
                    value: NodeValue::String(chosen.into()),
                    span: name.span,
                })
            }
        }
    }

    /// Whether the command line gives it its value.
    fn is_fixed(&self, ground: &Ground) -> bool {
        match self {
            Target::Setting(path) => ground.layers.settings.iter().any(|(name, _)| {
                let name = &name.value;
                let name = name.strip_prefix("params.").unwrap_or(name);
                let rest = path.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }),
            Target::Variant(group) => ground.layers.chosen.iter().any(|(g, _)| g == group),
        }
    }
}
