//! The figures of a stage: the numbers of its metrics file, as its record keeps them. A number inside objects is called by its
//! path: `a.b`. Which of them people want to see first, and any of them by its name.

use std::collections::BTreeSet;

use flow_cache::Record;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{Instance, Output, Plan, Task};
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

/// Under this name lie the same figures for parts of the data.
pub const GROUPS: &str = "groups";

/// The figures in what a metrics file holds, with the objects that they lie in; and the paths of all else, which is none.
pub fn read(metrics: Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
    let mut others = Vec::new();
    let figures = kept(metrics, "", &mut others);
    (figures, others)
}

/// Adds figures of another file. Of those of one name the first counts; the others are named in `twice`.
pub fn merge(figures: &mut Map<String, Value>, more: Map<String, Value>, twice: &mut Vec<String>) {
    merge_within(figures, more, "", twice);
}

fn merge_within(
    figures: &mut Map<String, Value>,
    more: Map<String, Value>,
    path: &str,
    twice: &mut Vec<String>,
) {
    for (name, value) in more {
        let path = format!("{path}{name}");
        match (figures.get_mut(&name), value) {
            (Some(Value::Object(inside)), Value::Object(more)) => {
                merge_within(inside, more, &format!("{path}."), twice);
            }
            (Some(_), _) => twice.push(path),
            (None, value) => drop(figures.insert(name, value)),
        }
    }
}

fn kept(object: Map<String, Value>, path: &str, others: &mut Vec<String>) -> Map<String, Value> {
    let mut figures = Map::new();
    for (name, value) in object {
        let path = format!("{path}{name}");
        match value {
            Value::Object(members) => {
                let inside = kept(members, &format!("{path}."), others);
                if !inside.is_empty() {
                    figures.insert(name, Value::Object(inside));
                }
            }
            value if is_figure(&value) => {
                figures.insert(name, value);
            }
            other => {
                let what = match other {
                    Value::Array(_) => "a list",
                    Value::Bool(_) => "true or false",
                    _ => "a text",
                };
                others.push(format!("{path} ({what})"));
            }
        }
    }
    figures
}

/// The instances among some whose figures people want to see: those whose kind has a headline, and programs that have figures.
/// Where there is none of either, the last ones that have figures: no other reads from them that has some.
pub fn shown(
    plan: &Plan,
    catalogue: &Catalogue,
    among: impl Fn(NodeIndex) -> bool,
) -> BTreeSet<NodeIndex> {
    let nodes = plan.order.iter().copied();
    let with_figures: BTreeSet<NodeIndex> = nodes
        .filter(|&node| among(node) && has_figures(&plan.graph[node]))
        .collect();
    let first = with_figures.iter().copied();
    let first = first.filter(|&node| match &plan.graph[node].task {
        Task::Kind { kind, .. } => !of_kind(kind, catalogue).is_empty(),
        Task::Command(_) => true,
    });
    let first: BTreeSet<NodeIndex> = first.collect();
    if !first.is_empty() {
        return first;
    }
    // Those that something with figures reads from, directly or not.
    let mut before: BTreeSet<NodeIndex> = BTreeSet::new();
    for &node in plan.order.iter().rev() {
        let mut readers = plan.readers(node);
        if readers.any(|reader| with_figures.contains(&reader) || before.contains(&reader)) {
            before.insert(node);
        }
    }
    with_figures.difference(&before).copied().collect()
}

/// Whether an instance writes metrics.
pub fn has_figures(instance: &Instance) -> bool {
    instance.outputs.iter().any(Output::has_figures)
}

/// The names of the figures that people want to see first: what a kind calls its headline; where it calls none, and of a
/// program, all that there are, those that only groups have among them.
pub fn headline(
    instance: &Instance,
    catalogue: &Catalogue,
    figures: &Map<String, Value>,
) -> Vec<String> {
    if let Task::Kind { kind, .. } = &instance.task {
        let headline = of_kind(kind, catalogue);
        if !headline.is_empty() {
            return headline.to_vec();
        }
    }
    let mut names: Vec<String> = own(figures).into_iter().map(|(name, _)| name).collect();
    for (_, group) in groups(figures) {
        for (name, _) in own(group) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn of_kind<'a>(kind: &str, catalogue: &'a Catalogue) -> &'a [String] {
    let kind = catalogue.get(kind);
    kind.map_or(&[], |kind| &kind.description.headline)
}

/// A figure by its name: `NAME`, or `GROUP.NAME` for that of a group. Null stands for one that is not finite.
pub fn find<'a>(figures: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let own = within(figures, name);
    own.or_else(|| within(figures.get(GROUPS)?.as_object()?, name))
}

/// What every stage that ran has: measured, and no figure of its own. Seconds, and bytes.
pub const MEASURED: [&str; 5] = [
    "seconds",
    "cpu_seconds",
    "peak_memory",
    "bytes_read",
    "bytes_written",
];

/// A figure of a result by its name, or what was measured when it was made. A figure of the same name comes first.
pub fn of(record: &Record, name: &str) -> Option<Value> {
    if let Some(figure) = find(&record.metrics, name) {
        return Some(figure.clone());
    }
    match name {
        "seconds" => Some(record.seconds.into()),
        _ if MEASURED.contains(&name) => {
            record.provenance.pointer(&format!("/used/{name}")).cloned()
        }
        _ => None,
    }
}

/// A figure by its path. Names may have points in them.
fn within<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path).filter(|value| is_figure(value)) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let inside = object.get(&path[..at])?.as_object()?;
        within(inside, &path[at + 1..])
    })
}

/// The figures that are not those of groups.
pub fn own(figures: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    let own = figures.iter();
    let own = own.filter(|(name, value)| *name != GROUPS || !value.is_object());
    for (name, value) in own {
        match value {
            Value::Object(inside) => {
                let inside = self::own(inside).into_iter();
                found.extend(inside.map(|(path, value)| (format!("{name}.{path}"), value)));
            }
            value if is_figure(value) => found.push((name.clone(), value)),
            _ => {}
        }
    }
    found
}

/// The groups, with the figures of each.
pub fn groups(
    figures: &Map<String, Value>,
) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    let groups = figures.get(GROUPS).and_then(Value::as_object);
    let groups = groups.into_iter().flatten();
    groups.filter_map(|(name, group)| Some((name, group.as_object()?)))
}

/// All figures, those of groups as `GROUP.NAME` after the others.
pub fn all(figures: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut all = own(figures);
    for (group, figures) in groups(figures) {
        let figures = own(figures).into_iter();
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

    #[test]
    fn figures_of_several_files_are_put_together() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let mut figures = object(json!({"a": {"x": 1}, "b": 2}));
        let mut twice = Vec::new();
        let more = json!({"a": {"x": 3, "y": 4}, "b": {"z": 5}, "c": 6});
        merge(&mut figures, object(more), &mut twice);
        assert_eq!(
            figures,
            object(json!({"a": {"x": 1, "y": 4}, "b": 2, "c": 6}))
        );
        assert_eq!(twice, ["a.x", "b"]);
    }

    #[test]
    fn figures_inside_objects_are_called_by_their_path() {
        let written = json!({
            "test": {"accuracy": 0.9, "by": {"class.one": 0.8}, "note": "x"},
            "groups": {"even": {"top": {"5": 0.7}, "list": [1]}},
            "empty": {}, "ok": true,
        });
        let (figures, others) = read(written.as_object().unwrap().clone());
        let names: Vec<String> = all(&figures).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["test.accuracy", "test.by.class.one", "even.top.5"]);
        for (name, value) in all(&figures) {
            assert_eq!(find(&figures, &name), Some(value), "{name}");
        }
        let expected = [
            "groups.even.list (a list)",
            "ok (true or false)",
            "test.note (a text)",
        ];
        assert_eq!(others, expected);
        assert!(!figures.contains_key("empty"));
    }
}
