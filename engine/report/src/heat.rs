//! A figure of a sweep by two axes: a cell for each pair of values.

use std::collections::BTreeMap;

use flow_stage::view::Chart;
use serde_json::{Value, json};

use super::sweep::{Table, text};

/// An axis of numbers with more values is parted into bins.
const VALUES: usize = 30;
/// How many bins such an axis has.
const BINS: usize = 12;
/// More other values than this can't be read beside each other.
const MOST: usize = 100;

/// The distinct values of an axis among the points that have a mean of a figure, in their order; numbers by size.
pub(super) fn values<'a>(table: &Table<'a>, metric: &str, axis: &str) -> Vec<&'a Value> {
    let mut found: Vec<&Value> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for row in table.rows() {
        let mean = row["cells"][metric]["mean"].as_f64();
        if let (Some(value), Some(_)) = (row["point"].get(axis), mean)
            && seen.insert(value.to_string())
        {
            found.push(value);
        }
    }
    if found.iter().all(|value| value.is_number()) {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        found.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    found
}

/// The places along one side of the map.
struct Side {
    names: Vec<String>,
    /// The place of a value, by its JSON.
    of: BTreeMap<String, usize>,
}

impl Side {
    fn new(values: &[&Value]) -> Option<Side> {
        let mut names = Vec::new();
        let mut of = BTreeMap::new();
        let numbers: Option<Vec<f64>> = values.iter().map(|value| value.as_f64()).collect();
        match numbers {
            Some(numbers) if numbers.len() > VALUES => {
                let (first, last) = (*numbers.first()?, *numbers.last()?);
                let width = (last - first) / BINS as f64;
                let edge = |bin: usize| first + width * bin as f64;
                let edges = apart((0..=BINS).map(edge).collect());
                for bin in edges.windows(2) {
                    names.push(format!("{} – {}", bin[0], bin[1]));
                }
                for (value, number) in values.iter().zip(numbers) {
                    let bin = ((number - first) / width) as usize;
                    of.insert(value.to_string(), bin.min(BINS - 1));
                }
            }
            _ if values.len() > MOST => return None,
            _ => {
                for (place, value) in values.iter().enumerate() {
                    names.push(text(value));
                    of.insert(value.to_string(), place);
                }
            }
        }
        Some(Side { names, of })
    }
}

/// Growing numbers as text: with three significant digits, or as many as tell them apart.
fn apart(numbers: Vec<f64>) -> Vec<String> {
    let with = |digits: usize| -> Vec<String> {
        let short = |number: &f64| format!("{number:.digits$e}").parse().unwrap_or(*number);
        let rounded = numbers.iter().map(short);
        rounded.map(|number| number.to_string()).collect()
    };
    let tells = |texts: &Vec<String>| texts.windows(2).all(|pair| pair[0] != pair[1]);
    (2..16).map(with).find(tells).unwrap_or_else(|| with(16))
}

/// The map: the mean of a figure over all points of a cell. None where an axis has too many values to be read.
pub(super) fn map(
    table: &Table<'_>,
    metric: &str,
    (x, y): (&str, &str),
    axes: &[&str],
) -> Option<Chart> {
    let side = |axis| Side::new(&values(table, metric, axis));
    let (columns, lines) = (side(x)?, side(y)?);
    let mut cells: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for row in table.rows() {
        let place =
            |side: &Side, axis: &str| side.of.get(&row["point"].get(axis)?.to_string()).copied();
        if let (Some(mean), Some(column), Some(line)) = (
            row["cells"][metric]["mean"].as_f64(),
            place(&columns, x),
            place(&lines, y),
        ) {
            cells.entry((column, line)).or_default().push(mean);
        }
    }
    let several = cells.values().any(|means| means.len() > 1);
    let values: Vec<Value> = cells
        .iter()
        .map(|((column, line), means)| {
            let mean = means.iter().sum::<f64>() / means.len() as f64;
            let (x, y) = (&columns.names[*column], &lines.names[*line]);
            json!({"x": x, "y": y, "mean": mean, "points": means.len()})
        })
        .collect();
    let which = match several {
        true if axes.len() > 2 => ", mean over the other axes",
        true => ", mean of each cell",
        false => "",
    };
    let step = match columns.names.len().max(lines.names.len()) {
        0..=12 => 40,
        13..=30 => 28,
        _ => 14,
    };
    let end = |side: &Side| side.names.len().to_string();
    Some(Chart {
        title: format!("{metric} by {x} and {y}{which}"),
        alt: format!(
            "Heat map of {metric}: {} values of {x} by {} of {y}",
            end(&columns),
            end(&lines)
        ),
        spec: json!({
            "width": {"step": step},
            "height": {"step": step.min(28)},
            "data": {"values": values},
            "mark": "rect",
            "encoding": {
                "x": {"field": "x", "type": "nominal", "title": x, "scale": {"domain": columns.names}, "axis": {"labelAngle": -45, "labelLimit": 120}},
                "y": {"field": "y", "type": "nominal", "title": y, "scale": {"domain": lines.names}},
                "color": {"field": "mean", "type": "quantitative", "title": metric, "scale": {"scheme": "viridis", "zero": false}},
                "tooltip": [
                    {"field": "x", "type": "nominal", "title": x},
                    {"field": "y", "type": "nominal", "title": y},
                    {"field": "mean", "type": "quantitative", "title": metric},
                    {"field": "points", "type": "quantitative"},
                ],
            },
        }),
        compare: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sweep::figures;
    use super::*;
    use flow_stage::view::Item;

    fn table(points: impl Iterator<Item = (f64, &'static str, f64)>) -> Value {
        let rows = points.map(|(lr, net, mean)| {
            json!({"point": {"lr": lr, "net": net}, "cells": {"s.acc": {"n": 1, "mean": mean, "half_width": null, "values": []}}})
        });
        let rows: Vec<Value> = rows.collect();
        json!({"axes": ["lr", "net"], "seeds": [1], "metrics": ["s.acc"], "goal": {"metric": "s.acc", "maximise": true}, "rows": rows})
    }

    #[test]
    fn each_pair_of_values_is_a_cell() {
        let table = table([(0.2, "a", 0.5), (0.1, "a", 0.75), (0.1, "b<i>", 0.25)].into_iter());
        let figures = figures(&table);
        let Item::VegaLite(chart) = &figures[0].chart else {
            panic!("a chart")
        };
        assert_eq!(chart.title, "s.acc by lr and net");
        assert_eq!(
            chart.spec["encoding"]["x"]["scale"]["domain"],
            json!(["0.1", "0.2"])
        );
        assert_eq!(
            chart.spec["data"]["values"],
            json!([
                {"x": "0.1", "y": "a", "mean": 0.75, "points": 1},
                {"x": "0.1", "y": "b<i>", "mean": 0.25, "points": 1},
                {"x": "0.2", "y": "a", "mean": 0.5, "points": 1},
            ])
        );
    }

    #[test]
    fn bins_of_numbers_that_are_near_each_other_have_names_of_their_own() {
        let table = table((0..40).map(|i| (1000.0 + f64::from(i) / 1e4, "a", f64::from(i))));
        let values = values(&Table { json: &table }, "s.acc", "lr");
        let side = Side::new(&values).unwrap();
        assert_eq!(side.names.len(), BINS);
        let distinct: std::collections::BTreeSet<&String> = side.names.iter().collect();
        assert_eq!(distinct.len(), BINS, "{:?}", side.names);
        assert!(
            side.names[0].starts_with("1000 – 1000.0003"),
            "{:?}",
            side.names
        );
    }

    #[test]
    fn many_numbers_are_parted_into_bins() {
        let table = table((0..2000).map(|i| {
            (
                i as f64 / 2000.0,
                if i % 2 == 0 { "a" } else { "b" },
                i as f64,
            )
        }));
        let figures = figures(&table);
        let Item::VegaLite(chart) = &figures[0].chart else {
            panic!("a chart")
        };
        assert_eq!(chart.title, "s.acc by lr and net, mean of each cell");
        let values = chart.spec["data"]["values"].as_array().unwrap();
        assert_eq!(values.len(), 24);
        let points: u64 = values
            .iter()
            .map(|cell| cell["points"].as_u64().unwrap())
            .sum();
        assert_eq!(points, 2000);
        // A figure against an axis has two lines where there would be a thicket.
        let against = figures
            .iter()
            .find(|figure| figure.chart.title() == "s.acc against net");
        let Item::VegaLite(chart) = &against.unwrap().chart else {
            panic!("a chart")
        };
        assert_eq!(chart.spec["data"]["values"].as_array().unwrap().len(), 4);
        assert_eq!(chart.spec["data"]["values"][2]["mean"], 1999.0);
    }
}
