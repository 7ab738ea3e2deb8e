//! Charts of a sweep, made of its table: each figure by two axes, against each axis with intervals, all axes at once, and the
//! single seeds.

use std::collections::BTreeSet;

use flow_stage::view::{Chart, Item};
use serde_json::{Map, Value, json};

use super::document::Figure;
use super::heat;

/// Figures that get charts: the goal, then the others in the table's order.
const FIGURES: usize = 24;
/// Points that a strip or a line for each is drawn for: the best by the figure.
const POINTS: usize = 40;
/// Lines that a legend can name.
const NAMED: usize = 8;
/// Axes of which each two are crossed: the first ones.
const CROSSED: usize = 3;

/// The charts of a table, as `flow table --json` has it; none where nothing is swept.
pub fn figures(table: &Value) -> Vec<Figure> {
    let table = Table { json: table };
    let mut figures = Vec::new();
    let axes = table.strings("axes");
    let rows = table.rows();
    if rows.is_empty() || (axes.is_empty() && table.seeds() < 2) {
        return figures;
    }
    let goal = table.json["goal"]["metric"].as_str();
    let mut metrics: Vec<&str> = goal.into_iter().collect();
    let others = table.strings("metrics").into_iter();
    metrics.extend(others.filter(|name| Some(*name) != goal && table.differs(name)));
    for metric in metrics.into_iter().take(FIGURES) {
        let mut add = |chart: Option<Chart>| {
            figures.extend(chart.map(|chart| Figure {
                metric: Some(metric.into()),
                chart: Item::VegaLite(chart),
            }));
        };
        for (a, b) in pairs(&table, metric, &axes) {
            add(heat::map(&table, metric, (a, b), &axes));
        }
        for axis in &axes {
            add(against(&table, metric, axis, &axes));
        }
        if rows.len() > 1 && !axes.is_empty() {
            add(parallel(&table, metric, &axes));
        }
        add(strip(&table, metric, &axes));
    }
    figures
}

/// The pairs of axes that a figure is shown by.
fn pairs<'a>(table: &Table<'_>, metric: &str, axes: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut varied: Vec<&str> = axes.to_vec();
    varied.retain(|axis| heat::values(table, metric, axis).len() > 1);
    varied.truncate(CROSSED);
    let mut pairs = Vec::new();
    for (at, a) in varied.iter().enumerate() {
        pairs.extend(varied[at + 1..].iter().map(|b| (*a, *b)));
    }
    pairs
}

/// The table, read by its public form.
pub(super) struct Table<'a> {
    pub(super) json: &'a Value,
}

impl<'a> Table<'a> {
    fn strings(&self, name: &str) -> Vec<&'a str> {
        let list = self.json[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).collect()
    }

    pub(super) fn rows(&self) -> Vec<&'a Value> {
        self.json["rows"].as_array().into_iter().flatten().collect()
    }

    fn seeds(&self) -> usize {
        self.json["seeds"].as_array().map_or(0, Vec::len)
    }

    /// Whether any two points differ in a figure; true where there is one point.
    fn differs(&self, metric: &str) -> bool {
        let rows = self.rows();
        let of = |row: &'a Value| &row["cells"][metric]["mean"];
        let first = rows.first().map(|row| of(row));
        rows.len() == 1 || rows.iter().any(|row| Some(of(row)) != first)
    }

    /// The rows that have a mean of a figure, the best first: by the goal, else the largest.
    fn ranked(&self, metric: &str) -> Vec<(&'a Value, f64)> {
        let rows = self.rows().into_iter();
        let mut found: Vec<(&Value, f64)> = rows
            .filter_map(|row| Some((row, row["cells"][metric]["mean"].as_f64()?)))
            .collect();
        let goal = &self.json["goal"];
        let maximise = goal["metric"] != metric || goal["maximise"] != false;
        found.sort_by(|(_, a), (_, b)| {
            if maximise {
                b.total_cmp(a)
            } else {
                a.total_cmp(b)
            }
        });
        found
    }
}

/// A value as text: strings without quotes.
pub(super) fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), String::from)
}

/// A point in words, but for one axis.
fn words(point: &Value, axes: &[&str], but: Option<&str>) -> String {
    let parts = axes.iter().filter(|axis| Some(**axis) != but);
    let parts = parts.filter_map(|axis| Some(format!("{axis}={}", text(point.get(axis)?))));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() && but.is_none() {
        return "the workflow as it stands".into();
    }
    parts.join(", ")
}

/// The ends of the interval; the mean itself where there is none.
fn interval(cell: &Value, mean: f64) -> (f64, f64) {
    let half = cell["half_width"].as_f64().unwrap_or(0.0);
    (mean - half, mean + half)
}

fn y_of(metric: &str, field: &str) -> Value {
    json!({"field": field, "type": "quantitative", "title": metric, "scale": {"zero": false}})
}

/// A figure against an axis: a line for each choice of the other axes.
fn against(table: &Table<'_>, metric: &str, axis: &str, axes: &[&str]) -> Option<Chart> {
    let mut values = Vec::new();
    let mut order: Vec<String> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    let mut numeric = true;
    for row in table.rows() {
        let (Some(value), Some(mean)) = (
            row["point"].get(axis),
            row["cells"][metric]["mean"].as_f64(),
        ) else {
            continue;
        };
        numeric &= value.is_number();
        let name = text(value);
        if !order.contains(&name) {
            order.push(name.clone());
        }
        let rest = words(&row["point"], axes, Some(axis));
        if !others.contains(&rest) {
            others.push(rest.clone());
        }
        let (low, high) = interval(&row["cells"][metric], mean);
        let n = &row["cells"][metric]["n"];
        values.push(json!({
            "value": value, "name": name, "mean": mean, "low": low, "high": high, "n": n, "others": rest,
        }));
    }
    if order.len() < 2 {
        return None;
    }
    // More lines than that are a thicket.
    if others.len() > POINTS {
        values = folded(table, metric, &values, &order);
        others = ["best", "mean"].map(String::from).into();
    }
    let x = if numeric {
        json!({"field": "value", "type": "quantitative", "title": axis, "scale": {"zero": false}})
    } else {
        let mut x =
            json!({"field": "name", "type": "nominal", "title": axis, "scale": {"domain": order}});
        if order.len() <= 6 {
            x["axis"] = json!({"labelAngle": 0, "labelLimit": 90});
        }
        x
    };
    let mut colour =
        json!({"field": "others", "type": "nominal", "title": null, "scale": {"domain": others}});
    if others.len() > NAMED || others.len() == 1 {
        colour["legend"] = Value::Null;
    }
    let tooltip = json!([
        {"field": "name", "type": "nominal", "title": axis},
        {"field": "mean", "type": "quantitative", "title": metric},
        {"field": "low", "type": "quantitative", "title": "from"},
        {"field": "high", "type": "quantitative", "title": "to"},
        {"field": "n", "type": "quantitative", "title": "seeds"},
        {"field": "others", "type": "nominal", "title": "at"},
    ]);
    let mut layer = vec![
        json!({"mark": "line", "encoding": {"y": y_of(metric, "mean")}}),
        json!({"mark": {"type": "point", "filled": true, "size": 45}, "encoding": {"y": y_of(metric, "mean"), "tooltip": tooltip}}),
    ];
    if table.seeds() > 1 {
        layer.push(json!({"mark": "rule", "encoding": {"y": y_of(metric, "low"), "y2": {"field": "high"}}}));
    }
    let least = values
        .iter()
        .filter_map(|row| row["mean"].as_f64())
        .fold(f64::INFINITY, f64::min);
    let most = values
        .iter()
        .filter_map(|row| row["mean"].as_f64())
        .fold(f64::NEG_INFINITY, f64::max);
    Some(Chart {
        title: format!("{metric} against {axis}"),
        alt: format!(
            "Means of {metric} at {} values of {axis} ({}), from {least:.4} to {most:.4}",
            order.len(),
            order.join(", ")
        ),
        spec: json!({"data": {"values": values}, "encoding": {"x": x, "color": colour}, "layer": layer}),
        compare: None,
    })
}

/// Of all choices of the other axes the best, and their mean, at each value of an axis.
fn folded(table: &Table<'_>, metric: &str, rows: &[Value], order: &[String]) -> Vec<Value> {
    let goal = &table.json["goal"];
    let maximise = goal["metric"] != metric || goal["maximise"] != false;
    let mut values = Vec::new();
    for name in order {
        let of = rows.iter().filter(|row| row["name"] == name.as_str());
        let means: Vec<(f64, &Value)> = of
            .filter_map(|row| Some((row["mean"].as_f64()?, row)))
            .collect();
        let better = |a: &&(f64, &Value), b: &&(f64, &Value)| match maximise {
            true => b.0.total_cmp(&a.0),
            false => a.0.total_cmp(&b.0),
        };
        if let Some((_, best)) = means.iter().min_by(better) {
            let mut best = (*best).clone();
            best["others"] = json!("best");
            values.push(best);
            let mean = means.iter().map(|(mean, _)| mean).sum::<f64>() / means.len() as f64;
            values.push(json!({
                "value": means[0].1["value"], "name": name, "mean": mean, "low": mean, "high": mean,
                "n": means.len(), "others": "mean",
            }));
        }
    }
    values
}

/// All axes and the figure beside each other, a line for each point.
fn parallel(table: &Table<'_>, metric: &str, axes: &[&str]) -> Option<Chart> {
    let rows = table.ranked(metric);
    let (best, worst) = (rows.first()?.1, rows.last()?.1);
    let (least, most) = (best.min(worst), best.max(worst));
    let share = |value: f64, least: f64, most: f64| {
        if most > least {
            (value - least) / (most - least)
        } else {
            0.5
        }
    };
    let mut values = Vec::new();
    let mut labels = Vec::new();
    // Where a value of an axis lies.
    let mut places: Map<String, Value> = Map::new();
    for axis in axes {
        let mut order: Vec<&Value> = Vec::new();
        for row in table.rows() {
            if let Some(value) = row["point"].get(axis)
                && !order.contains(&value)
            {
                order.push(value);
            }
        }
        if order.iter().all(|value| value.is_number()) {
            order.sort_by(|a, b| {
                a.as_f64()
                    .unwrap_or(0.0)
                    .total_cmp(&b.as_f64().unwrap_or(0.0))
            });
        }
        let last = order.len().saturating_sub(1).max(1) as f64;
        for (place, value) in order.iter().enumerate() {
            let at = if order.len() == 1 {
                0.5
            } else {
                place as f64 / last
            };
            places.insert(format!("{axis}={}", text(value)), json!(at));
            labels.push(json!({"axis": axis, "at": at, "text": text(value)}));
        }
    }
    for (at, value) in [(0.0, least), (1.0, most)] {
        labels.push(json!({"axis": metric, "at": at, "text": format!("{value:.4}")}));
    }
    for (row, mean) in rows.iter().take(POINTS) {
        let point = words(&row["point"], axes, None);
        let mut add = |axis: &str, at: Value, value: String| {
            values.push(
                json!({"axis": axis, "at": at, "value": value, "point": point, "figure": mean}),
            );
        };
        for axis in axes {
            if let Some(value) = row["point"].get(axis) {
                let at = places.get(&format!("{axis}={}", text(value)));
                add(axis, at.cloned().unwrap_or_default(), text(value));
            }
        }
        add(
            metric,
            json!(share(*mean, least, most)),
            format!("{mean:.4}"),
        );
    }
    let mut order: Vec<&str> = axes.to_vec();
    order.push(metric);
    let shown = rows.len().min(POINTS);
    let which = if shown < rows.len() {
        format!(", the best {shown} of {} points", rows.len())
    } else {
        String::new()
    };
    let lines = json!({
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "detail": {"field": "point", "type": "nominal"},
            "color": {"field": "figure", "type": "quantitative", "title": metric, "scale": {"scheme": "viridis"}},
            "tooltip": [{"field": "point", "type": "nominal"}, {"field": "figure", "type": "quantitative", "title": metric}],
        },
    });
    let names = json!({
        "data": {"values": labels},
        "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 10},
        "encoding": {"text": {"field": "text", "type": "nominal"}},
    });
    Some(Chart {
        title: format!("All axes and {metric}{which}"),
        alt: format!(
            "Parallel coordinates: a line for each of {shown} points over {}, coloured by {metric}",
            order.join(", ")
        ),
        spec: json!({
            "data": {"values": values},
            "encoding": {
                "x": {"field": "axis", "type": "nominal", "title": null, "scale": {"domain": order}, "axis": {"labelAngle": 0}},
                "y": {"field": "at", "type": "quantitative", "title": null, "axis": null, "scale": {"domain": [-0.05, 1.05]}},
            },
            "layer": [lines, names],
        }),
        compare: None,
    })
}

/// A tick for each seed, a line for each point.
fn strip(table: &Table<'_>, metric: &str, axes: &[&str]) -> Option<Chart> {
    if table.seeds() < 2 {
        return None;
    }
    let rows = table.ranked(metric);
    let mut values = Vec::new();
    let mut order: Vec<String> = Vec::new();
    for (row, mean) in rows.iter().take(POINTS) {
        let point = words(&row["point"], axes, None);
        order.push(point.clone());
        // A result that several seeds share is one.
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let cell = &row["cells"][metric];
        for value in cell["values"].as_array().into_iter().flatten() {
            let Some(number) = value["value"].as_f64() else {
                continue;
            };
            if seen.insert(value["stage"].as_str().unwrap_or_default()) {
                values.push(json!({"point": point, "seed": value["seed"], "value": number}));
            }
        }
        values.push(json!({"point": point, "mean": mean}));
    }
    if values.is_empty() {
        return None;
    }
    let which = if order.len() < rows.len() {
        format!(", the best {} of {} points", order.len(), rows.len())
    } else {
        String::new()
    };
    let x = |field: &str| json!({"field": field, "type": "quantitative", "title": metric, "scale": {"zero": false}});
    Some(Chart {
        title: format!("{metric} by seed{which}"),
        alt: format!(
            "A tick for each seed's {metric} and a point for the mean, for each of {} points of the sweep, the best first",
            order.len()
        ),
        spec: json!({
            "height": {"step": 18},
            "data": {"values": values},
            "encoding": {
                "y": {"field": "point", "type": "nominal", "title": null, "scale": {"domain": order}, "axis": {"labelLimit": 220}},
            },
            "layer": [
                {"mark": "tick", "encoding": {
                    "x": x("value"),
                    "tooltip": [
                        {"field": "point", "type": "nominal"},
                        {"field": "seed", "type": "nominal"},
                        {"field": "value", "type": "quantitative", "title": metric},
                    ],
                }},
                {"mark": {"type": "point", "size": 40}, "encoding": {
                    "x": x("mean"),
                    "tooltip": [{"field": "point", "type": "nominal"}, {"field": "mean", "type": "quantitative"}],
                }},
            ],
        }),
        compare: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Value {
        let row = |keep: f64, reduction: &str, mean: f64| {
            let values: Vec<Value> = [42, 43]
                .into_iter()
                .map(|seed| json!({"seed": seed, "value": mean + (seed as f64 - 42.5) / 50.0, "stage": format!("s[seed={seed}]"), "key": ""}))
                .collect();
            json!({
                "point": {"keep": keep, "reduction": reduction}, "base": false, "best": false, "status": "complete",
                "reason": null, "cells": {"s.accuracy": {"n": 2, "mean": mean, "half_width": 0.05, "values": values, "lead": null}},
            })
        };
        json!({
            "workflow": "w", "mode": "grid", "axes": ["keep", "reduction"], "seeds": [42, 43], "metrics": ["s.accuracy"],
            "goal": {"metric": "s.accuracy", "maximise": true},
            "rows": [row(0.8, "pca", 0.9), row(0.9, "pca", 0.8), row(0.8, "base", 0.7), row(0.9, "base", 0.6)],
        })
    }

    #[test]
    fn a_sweep_has_a_chart_for_each_axis_one_for_all_and_one_for_the_seeds() {
        let figures = figures(&table());
        let titles: Vec<&str> = figures.iter().map(|figure| figure.chart.title()).collect();
        assert_eq!(
            titles,
            [
                "s.accuracy by keep and reduction",
                "s.accuracy against keep",
                "s.accuracy against reduction",
                "All axes and s.accuracy",
                "s.accuracy by seed"
            ]
        );
        let Item::VegaLite(chart) = &figures[1].chart else {
            panic!("a chart")
        };
        assert_eq!(
            chart.spec["data"]["values"][0],
            json!({"value": 0.8, "name": "0.8", "mean": 0.9, "low": 0.85, "high": 0.9500000000000001, "n": 2, "others": "reduction=pca"})
        );
        let Item::VegaLite(strip) = &figures[4].chart else {
            panic!("a chart")
        };
        assert_eq!(
            strip.spec["encoding"]["y"]["scale"]["domain"][0],
            "keep=0.8, reduction=pca"
        );
    }

    #[test]
    fn without_a_sweep_there_are_none() {
        let mut table = table();
        table["axes"] = json!([]);
        table["seeds"] = json!([42]);
        assert!(figures(&table).is_empty());
        assert!(figures(&json!({})).is_empty());
    }
}
