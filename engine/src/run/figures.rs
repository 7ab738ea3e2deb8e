//! The figures of a stage: what its metrics file held, as its record keeps it. Which of them people want to see first, and
//! any of them by its name.

use flow_stage::ArtifactType;
use serde_json::{Map, Value};

use crate::plan::{Instance, Task};
use crate::plugin::Catalogue;

/// Under this name lie the same figures for parts of the data.
pub const GROUPS: &str = "groups";

/// Whether a stage has figures that people want to see.
pub fn has_headline(instance: &Instance, catalogue: &Catalogue) -> bool {
    let written = instance.outputs.iter();
    let mut written = written.filter(|output| output.artifact == ArtifactType::Metrics);
    written.next().is_some()
        && match &instance.task {
            Task::Kind { kind, .. } => catalogue
                .get(kind)
                .is_some_and(|kind| !kind.description.headline.is_empty()),
            Task::Command { .. } => true,
        }
}

/// The names of the figures that people want to see first: of a kind, what it calls its headline; of a program, all that
/// it wrote.
pub fn headline(
    instance: &Instance,
    catalogue: &Catalogue,
    figures: &Map<String, Value>,
) -> Vec<String> {
    match &instance.task {
        Task::Kind { kind, .. } => catalogue
            .get(kind)
            .map_or_else(Vec::new, |kind| kind.description.headline.clone()),
        Task::Command { .. } => figures
            .iter()
            .filter(|(_, value)| is_figure(value))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// A figure by its name: `NAME`, or `GROUP.NAME` for that of a group. Null stands for one that is not finite.
pub fn find<'a>(figures: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = figures.get(name).filter(|value| is_figure(value)) {
        return Some(value);
    }
    let groups = figures.get(GROUPS)?.as_object()?;
    // A group is called by any text, with points in it perhaps.
    name.match_indices('.').find_map(|(at, _)| {
        let group = groups.get(&name[..at])?;
        group.get(&name[at + 1..]).filter(|value| is_figure(value))
    })
}

/// All figures, those of groups as `GROUP.NAME` after the others.
pub fn all(figures: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut all: Vec<(String, &Value)> = figures
        .iter()
        .filter(|(_, value)| is_figure(value))
        .map(|(name, value)| (name.clone(), value))
        .collect();
    let groups = figures.get(GROUPS).and_then(Value::as_object);
    for (group, figures) in groups.into_iter().flatten() {
        let figures = figures.as_object().into_iter().flatten();
        let figures = figures.filter(|(_, value)| is_figure(value));
        all.extend(figures.map(|(name, value)| (format!("{group}.{name}"), value)));
    }
    all
}

fn is_figure(value: &Value) -> bool {
    value.is_number() || value.is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_found_by_name_and_by_group() {
        let figures = json!({
            "accuracy": 0.9, "loss": null, "note": "text", "a.b": 1,
            "groups": {"even": {"accuracy": 0.8, "name": "x"}, "v1.5 dogs": {"accuracy": 0.7}},
        });
        let figures = figures.as_object().unwrap();
        assert_eq!(find(figures, "accuracy"), Some(&json!(0.9)));
        assert_eq!(find(figures, "loss"), Some(&Value::Null));
        assert_eq!(find(figures, "a.b"), Some(&json!(1)));
        assert_eq!(find(figures, "even.accuracy"), Some(&json!(0.8)));
        assert_eq!(find(figures, "v1.5 dogs.accuracy"), Some(&json!(0.7)));
        for absent in [
            "note",
            "groups",
            "even",
            "even.name",
            "even.loss",
            "odd.accuracy",
            "",
        ] {
            assert_eq!(find(figures, absent), None, "{absent}");
        }
        let names: Vec<String> = all(figures).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "a.b",
                "accuracy",
                "loss",
                "even.accuracy",
                "v1.5 dogs.accuracy"
            ]
        );
    }
}
