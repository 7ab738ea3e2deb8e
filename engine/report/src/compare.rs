//! Charts of several instances laid over each other: those of one `compare` name whose specs differ in nothing but their data.

use std::collections::BTreeMap;

use flow_run::record::key::canonical;
use flow_stage::view::Item;
use serde_json::{Value, json};

use super::document::{Compared, Document};

/// More instances than this can't be told apart.
const MOST: usize = 24;
/// More rows than this make a chart slow.
const ROWS: usize = 50_000;

/// Charts of one name and form.
struct Group {
    /// The first one's.
    title: String,
    /// Instances and their specs.
    members: Vec<(String, Value)>,
}

/// Adds the charts that several instances of a document have.
pub(super) fn add(document: &mut Document) {
    // By name and form; in the order in which the first of them stands.
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
    for view in &document.views {
        for shown in &view.items {
            let Item::VegaLite(chart) = &shown.item else {
                continue;
            };
            let Some(name) = &chart.compare else { continue };
            let mut form = chart.spec.clone();
            let values = form["data"]["values"].take();
            if !values.is_array() {
                continue;
            }
            let key = (name.clone(), canonical(&form));
            let at = *places.entry(key).or_insert_with(|| {
                groups.push(Group {
                    title: chart.title.clone(),
                    members: Vec::new(),
                });
                groups.len() - 1
            });
            let label = &document.stages[view.stage].label;
            let members = &mut groups[at].members;
            if members.iter().all(|(other, _)| other != label) {
                members.push((label.clone(), chart.spec.clone()));
            }
        }
    }
    for Group { title, members } in groups {
        if members.len() < 2 {
            continue;
        }
        let all = members.len();
        let members = &members[..all.min(MOST)];
        let rows = members
            .iter()
            .map(|(_, spec)| spec["data"]["values"].as_array().map_or(0, Vec::len));
        if rows.sum::<usize>() > ROWS {
            document.told.push(format!(
                "`{title}` of {all} instances has too many rows to be laid over each other."
            ));
            continue;
        }
        if all > MOST {
            document.told.push(format!(
                "`{title}` side by side shows the first {MOST} of {all} instances."
            ));
        }
        document.compared.push(laid_over(title, members));
    }
}

fn laid_over(title: String, members: &[(String, Value)]) -> Compared {
    let mut field = "instance".to_string();
    let rows = || {
        members
            .iter()
            .filter_map(|(_, spec)| spec["data"]["values"].as_array())
    };
    while rows().flatten().any(|row| row.get(&field).is_some()) {
        field.push('_');
    }
    let instances: Vec<String> = members.iter().map(|(label, _)| label.clone()).collect();
    let mut values = Vec::new();
    for ((label, _), rows) in members.iter().zip(rows()) {
        for row in rows {
            let mut row = row.clone();
            if let Value::Object(cells) = &mut row {
                cells.insert(field.clone(), json!(label));
            }
            values.push(row);
        }
    }
    let mut spec = members
        .first()
        .map_or(Value::Null, |(_, spec)| spec.clone());
    let colour = json!({
        "field": field, "type": "nominal", "title": null, "legend": null, "scale": {"domain": instances},
    });
    if !recolour(&mut spec, &colour) {
        spec["encoding"]["color"] = colour;
    }
    spec["data"] = json!({"values": values});
    Compared {
        title,
        field,
        instances,
        spec,
    }
}

/// Colours by instance wherever something was coloured; what the colour told apart stays apart. Says whether there was any.
fn recolour(spec: &mut Value, colour: &Value) -> bool {
    let dashed = canonical(spec).contains("\"strokeDash\"");
    recolour_within(spec, colour, dashed)
}

/// The same for a part of the spec; `dashed`, where dashes tell series apart already.
fn recolour_within(spec: &mut Value, colour: &Value, dashed: bool) -> bool {
    let mut found = false;
    if let Some(Value::Object(encoding)) = spec.get_mut("encoding")
        && let Some(before) = encoding.get("color").cloned()
    {
        found = true;
        encoding.insert("color".into(), colour.clone());
        if let Some(field) = before.get("field")
            && !dashed
        {
            encoding.insert(
                "strokeDash".into(),
                json!({"field": field, "type": "nominal"}),
            );
        }
    }
    let layers = spec.get_mut("layer").and_then(Value::as_array_mut);
    for layer in layers.into_iter().flatten() {
        found |= recolour_within(layer, colour, dashed);
    }
    if let Some(inner) = spec.get_mut("spec") {
        found |= recolour_within(inner, colour, dashed);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_stay_apart_when_instances_are_coloured() {
        let spec = |y: f64| {
            json!({
                "data": {"values": [{"epoch": 1, "series": "train", "loss": y}]},
                "mark": "line",
                "encoding": {
                    "x": {"field": "epoch"}, "y": {"field": "loss"},
                    "color": {"field": "series", "type": "nominal"},
                },
            })
        };
        let members = [
            ("a".to_string(), spec(0.5)),
            ("b[seed=1]".to_string(), spec(0.25)),
        ];
        let compared = laid_over("Loss".into(), &members);
        assert_eq!(compared.instances, ["a", "b[seed=1]"]);
        assert_eq!(compared.spec["encoding"]["color"]["field"], "instance");
        assert_eq!(compared.spec["encoding"]["strokeDash"]["field"], "series");
        let values = compared.spec["data"]["values"].as_array().unwrap();
        assert_eq!(
            values[1],
            json!({"epoch": 1, "series": "train", "loss": 0.25, "instance": "b[seed=1]"})
        );
    }

    #[test]
    fn a_field_of_the_same_name_is_kept() {
        let spec = json!({"data": {"values": [{"instance": 7}]}, "mark": "point", "encoding": {"x": {"field": "instance"}}});
        let compared = laid_over(
            "t".into(),
            &[("a".into(), spec.clone()), ("b".into(), spec)],
        );
        assert_eq!(compared.field, "instance_");
        assert_eq!(compared.spec["encoding"]["color"]["field"], "instance_");
    }
}
