//! Rows as charts, in the small part of Vega-Lite that flow also draws without a browser. Names of columns are titles and
//! values, never names of fields: in those Vega-Lite reads dots and brackets.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use flow_plan::plan::shown::Plot;
use flow_stage::view::chart::Heatmap;
use flow_stage::view::{Chart, Item};
use serde_json::{Value, json};

use super::{Files, Rows};

/// Columns that count steps.
const STEPS: [&str; 2] = ["step", "epoch"];
/// More classes than this make no matrix that anybody reads.
const CLASSES: usize = 150;

/// The rows of some files as lines, one for each file and each column.
pub(super) fn lines(
    plot: &Plot,
    names: &[&String],
    labels: &[String],
    files: &Files<'_>,
) -> Result<Item, String> {
    let mut values = Vec::new();
    let mut series: Vec<String> = Vec::new();
    let (mut numeric, mut x_title) = (true, None);
    let mut columns: Vec<String> = Vec::new();
    let mut longest = 0;
    for (name, label) in names.iter().zip(labels) {
        let content = files.content(name)?;
        let rows = Rows::read(name, &content)?;
        let x = match &plot.x {
            Some(x) => Some(rows.column(name, x)?),
            None => STEPS.iter().find_map(|step| rows.column(name, step).ok()),
        };
        numeric &= x.is_none_or(|x| rows.is_numeric(x));
        x_title.get_or_insert_with(|| x.map_or("row".into(), |x| rows.columns[x].clone()));
        let mut ys = Vec::new();
        for y in &plot.y {
            ys.push(rows.column(name, y)?);
        }
        if plot.y.is_empty() {
            let all = 0..rows.columns.len();
            ys.extend(all.filter(|&y| Some(y) != x && rows.is_numeric(y)));
        }
        if ys.is_empty() {
            let known: Vec<String> = rows.columns.iter().map(|c| format!("`{c}`")).collect();
            return Err(format!(
                "{}: there is no column of numbers for `y`; it has {}",
                rows.head(name),
                known.join(", ")
            ));
        }
        longest = longest.max(rows.rows.len());
        let order = order(&rows, x);
        for &y in &ys {
            let column = rows.columns[y].clone();
            let one_of_several = names.len() > 1;
            let called = match (one_of_several, ys.len() > 1) {
                (true, true) => format!("{label}: {column}"),
                (true, false) => label.clone(),
                _ => column.clone(),
            };
            for &row in &order {
                let cell = &rows.rows[row][y];
                if !cell.is_number() && !cell.is_null() {
                    return Err(format!(
                        "{}: column `{column}` has {cell}, which is no number",
                        rows.place(name, row)
                    ));
                }
                let at = x.map_or_else(|| json!(row + 1), |x| rows.rows[row][x].clone());
                if cell.is_number() && !at.is_null() {
                    values.push((at, cell.clone(), called.clone()));
                }
            }
            if !columns.contains(&column) {
                columns.push(column);
            }
            series.push(called);
        }
    }
    if values.is_empty() {
        return Err(format!("{} has no finite number to draw", names[0]));
    }
    let several = series.len() > 1;
    let values: Vec<Value> = values
        .into_iter()
        .map(|(x, y, series)| {
            let x = if numeric { x } else { json!(text(&x)) };
            match several {
                true => json!({"x": x, "y": y, "series": series}),
                false => json!({"x": x, "y": y}),
            }
        })
        .collect();
    let x_title = x_title.unwrap_or_default();
    let y_title = match &columns[..] {
        [one] => json!(one),
        _ => Value::Null,
    };
    let x = match numeric {
        true => {
            json!({"field": "x", "type": "quantitative", "title": x_title, "scale": {"zero": false}})
        }
        false => json!({"field": "x", "type": "nominal", "title": x_title, "sort": null}),
    };
    let mut encoding = json!({
        "x": x,
        "y": {"field": "y", "type": "quantitative", "title": y_title, "scale": {"zero": false}},
    });
    if several {
        encoding["color"] = json!({"field": "series", "type": "nominal", "title": null});
    }
    // One point makes no line.
    let mark = match longest {
        1 => json!({"type": "line", "point": true}),
        _ => json!("line"),
    };
    Ok(Item::VegaLite(Chart {
        title: plot.name.clone(),
        alt: format!(
            "{} against {x_title}: {} point(s) of {}",
            columns.join(", "),
            values.len(),
            series.join(", ")
        ),
        spec: json!({"data": {"values": values}, "mark": mark, "encoding": encoding}),
        compare: Some(plot.name.clone()),
    }))
}

/// The rows as a line goes through them. Vega-Lite sorts them by the first axis; those of one place stay in this order, so one
/// that goes back is turned round.
fn order(rows: &Rows<'_>, x: Option<usize>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.rows.len()).collect();
    if let Some(x) = x {
        let number = |row: usize| rows.rows[row][x].as_f64();
        let falls = order
            .windows(2)
            .all(|pair| number(pair[0]).is_some() && number(pair[0]) >= number(pair[1]));
        if falls {
            order.reverse();
        }
    }
    order
}

/// How often each class was taken for each.
pub(super) fn confusion(
    plot: &Plot,
    title: &str,
    name: &str,
    files: &Files<'_>,
) -> Result<Item, String> {
    let content = files.content(name)?;
    let rows = Rows::read(name, &content)?;
    let column = |named: Option<&String>, default: &str| {
        rows.column(name, named.map_or(default, String::as_str))
    };
    let actual = column(plot.x.as_ref(), "actual")?;
    let predicted = column(plot.y.first(), "predicted")?;
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut classes = BTreeSet::new();
    for row in &rows.rows {
        let pair = (text(&row[actual]), text(&row[predicted]));
        classes.extend([pair.0.clone(), pair.1.clone()]);
        *counts.entry(pair).or_default() += 1;
    }
    if classes.len() > CLASSES {
        return Err(format!(
            "{name} has {} classes, and a confusion matrix shows {CLASSES} at most",
            classes.len()
        ));
    }
    let mut classes: Vec<String> = classes.into_iter().collect();
    classes.sort_by(|a, b| by_number(a, b));
    let place = |class: &String| classes.iter().position(|known| known == class);
    let cells = counts.iter().filter_map(|((actual, predicted), count)| {
        Some((place(actual)?, place(predicted)?, *count))
    });
    let heatmap = Heatmap {
        rows: &classes,
        columns: &classes,
        row_title: &rows.columns[actual],
        column_title: &rows.columns[predicted],
        count_title: "rows",
        cells: cells.collect(),
        shares: false,
    };
    let right: u64 = counts
        .iter()
        .filter(|((actual, predicted), _)| actual == predicted)
        .map(|(_, count)| count)
        .sum();
    Ok(Item::VegaLite(Chart {
        title: title.into(),
        alt: format!(
            "Confusion matrix of {} classes: {right} of {} rows are right",
            classes.len(),
            rows.rows.len()
        ),
        spec: heatmap.spec(),
        compare: None,
    }))
}

/// Numbers by their size, before all else.
fn by_number(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        _ => a.cmp(b),
    }
}

/// A cell in words.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "(none)".into(),
        // A CSV file has no whole numbers of its own.
        Value::Number(number) => match number.as_f64() {
            Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}
