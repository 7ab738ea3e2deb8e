//! Specs of charts that several kinds show, in the small part of Vega-Lite that flow also draws without a browser.
//!
//! Names of classes are values in the data, never names of fields: in those Vega-Lite reads dots and brackets.

use serde_json::{Map, Value, json};

/// A matrix of counts, each coloured by its share of its row.
pub struct Heatmap<'a> {
    /// The names of the rows, from top to bottom, each different ([`distinct`](super::distinct)).
    pub rows: &'a [String],
    /// The names of the columns, each different.
    pub columns: &'a [String],
    /// What the rows are.
    pub row_title: &'a str,
    /// What the columns are.
    pub column_title: &'a str,
    /// What is counted.
    pub count_title: &'a str,
    /// Row, column and count; cells without a count are left empty.
    pub cells: Vec<(usize, usize, u64)>,
    /// Whether the cells show shares rather than counts.
    pub shares: bool,
}

impl Heatmap<'_> {
    /// The spec. Cells are wide enough for their text, up to 30 columns; beyond, the tooltip has it.
    pub fn spec(&self) -> Value {
        let mut sums = vec![0; self.rows.len()];
        for &(row, _, count) in &self.cells {
            sums[row] += count;
        }
        let longest = self.rows.len().max(self.columns.len());
        let step = match longest {
            0..=12 => 40,
            13..=30 => 28,
            31..=60 => 16,
            _ => 12,
        };
        let text = longest <= 30;
        let values = self.cells.iter().filter(|&&(.., count)| count > 0);
        let values = values.map(|&(row, column, count)| {
            let share = count as f64 / sums[row] as f64;
            let shown = match (text, self.shares) {
                (false, _) => String::new(),
                (true, false) => count.to_string(),
                (true, true) => percent(share),
            };
            // The darker half of the colours is under white text, the lighter one under black.
            let (light, dark) = match share < 0.55 {
                true => (shown, String::new()),
                false => (String::new(), shown),
            };
            json!({
                "row": self.rows[row], "column": self.columns[column], "count": count, "share": significant(share),
                "light": light, "dark": dark,
            })
        });
        let values: Vec<Value> = values.collect();
        let font = (step - 2).min(11);
        let mut layer = vec![json!({
            "mark": "rect",
            "encoding": {
                "color": {
                    "field": "share", "type": "quantitative", "title": format!("share of {}", self.row_title),
                    "scale": {"domain": [0, 1], "scheme": "viridis"},
                },
                "tooltip": [
                    {"field": "row", "type": "nominal", "title": self.row_title},
                    {"field": "column", "type": "nominal", "title": self.column_title},
                    {"field": "count", "type": "quantitative", "title": self.count_title},
                    {"field": "share", "type": "quantitative", "title": "share", "format": ".1%"},
                ],
            },
        })];
        if text {
            for (field, colour) in [("light", "white"), ("dark", "black")] {
                layer.push(json!({
                    "mark": {"type": "text", "color": colour, "fontSize": font},
                    "encoding": {"text": {"field": field, "type": "nominal"}},
                }));
            }
        }
        json!({
            "width": {"step": step},
            "height": {"step": step},
            "data": {"values": values},
            "encoding": {
                "x": {
                    "field": "column", "type": "nominal", "title": self.column_title,
                    "scale": {"domain": self.columns},
                    "axis": {"labelAngle": -45, "labelFontSize": font, "labelLimit": 160},
                },
                "y": {
                    "field": "row", "type": "nominal", "title": self.row_title, "scale": {"domain": self.rows},
                    "axis": {"labelFontSize": font, "labelLimit": 160},
                },
            },
            "layer": layer,
        })
    }
}

/// A bar for each name, from top to bottom, with its value beside it.
pub struct Bars<'a> {
    /// The names, each different ([`distinct`](super::distinct)).
    pub names: &'a [String],
    /// What they are.
    pub name_title: &'a str,
    /// The value of each.
    pub values: &'a [f64],
    /// What the values are.
    pub value_title: &'a str,
    /// Least and largest value of the axis.
    pub domain: [f64; 2],
    /// The place of one that is marked, and the word for it: its bar has another colour, and the word stands beside it.
    pub marked: Option<(usize, &'a str)>,
}

impl Bars<'_> {
    /// The spec.
    pub fn spec(&self) -> Value {
        let values = self.names.iter().zip(self.values).enumerate();
        let values = values.map(|(place, (name, &value))| {
            let mark = self.marked.filter(|&(marked, _)| marked == place);
            let word = mark.map_or("", |(_, word)| word);
            let shown = match value.abs() < 1e6 {
                true => format!("{value:.3} {word}"),
                false => format!("{value:.3e} {word}"),
            };
            json!({
                "name": name, "value": significant(value), "shown": shown.trim_end(),
                "mark": if word.is_empty() { "others" } else { word },
            })
        });
        let values: Vec<Value> = values.collect();
        let step = if self.names.len() <= 30 { 18 } else { 14 };
        let mut bar = Map::new();
        bar.insert(
            "tooltip".into(),
            json!([
                {"field": "name", "type": "nominal", "title": self.name_title},
                {"field": "value", "type": "quantitative", "title": self.value_title},
            ]),
        );
        if let Some((_, word)) = self.marked {
            bar.insert(
                "color".into(),
                json!({
                    "field": "mark", "type": "nominal", "title": null, "legend": null,
                    "scale": {"domain": ["others", word]},
                }),
            );
        }
        json!({
            "height": {"step": step},
            "data": {"values": values},
            "encoding": {
                "y": {
                    "field": "name", "type": "nominal", "title": self.name_title, "scale": {"domain": self.names},
                    "axis": {"labelFontSize": (step - 4).min(11), "labelLimit": 160},
                },
                "x": {
                    "field": "value", "type": "quantitative", "title": self.value_title,
                    "scale": {"domain": self.domain},
                },
            },
            "layer": [
                {"mark": "bar", "encoding": bar},
                {
                    "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": (step - 4).min(11)},
                    "encoding": {"text": {"field": "shown", "type": "nominal"}},
                },
            ],
        })
    }
}

/// A histogram of each of some classes, a panel each, with counts on a logarithmic axis: most values are much the same, and
/// the few others are what is looked for.
pub struct Histograms<'a> {
    /// The names of the classes, each different ([`distinct`](super::distinct)).
    pub names: &'a [String],
    /// The values of each class, 0 or more.
    pub values: &'a [Vec<f64>],
    /// What they are.
    pub title: &'a str,
    /// The largest value of each class that is kept, and how many rows are; none where nothing is cut.
    pub cuts: Option<&'a [(f64, usize)]>,
}

impl Histograms<'_> {
    /// The spec. The bin in which a cut lies is parted there.
    pub fn spec(&self) -> Value {
        let largest = self.values.iter().flatten().copied().fold(0.0, f64::max);
        let end = round_up(largest);
        let width = end / BINS as f64;
        let mut values = Vec::new();
        let mut most = 1;
        for (class, (name, of_class)) in self.names.iter().zip(self.values).enumerate() {
            let cut = self.cuts.map(|cuts| cuts[class]);
            let mut sorted = of_class.clone();
            sorted.sort_by(f64::total_cmp);
            let mut counts = [[0u64; 2]; BINS];
            for (place, &value) in sorted.iter().enumerate() {
                let bin = ((value / width) as usize).min(BINS - 1);
                // Of equal values at the cut some are kept and some are not.
                let left_out = cut.is_some_and(|(_, kept)| place >= kept);
                counts[bin][usize::from(left_out)] += 1;
            }
            let first = values.len();
            for (bin, [kept, left_out]) in counts.into_iter().enumerate() {
                let (from, to) = (width * bin as f64, width * (bin + 1) as f64);
                let both = kept > 0 && left_out > 0;
                let middle = match cut {
                    // Both parts stay wide enough to be seen.
                    Some((cut, _)) if both => cut.clamp(from + 0.2 * width, to - 0.2 * width),
                    _ if kept > 0 => to,
                    _ => from,
                };
                for (part, from, to, count) in [
                    ("kept", from, middle, kept),
                    ("left out", middle, to, left_out),
                ] {
                    if count > 0 {
                        most = most.max(count);
                        values.push(json!({
                            "class": name, "from": significant(from), "to": significant(to), "count": count,
                            "part": part,
                        }));
                    }
                }
            }
            // One line for the class, not one for each of its bins.
            if let (Some((cut, _)), Some(value)) = (cut, values.get_mut(first)) {
                value["cut"] = significant(cut);
            }
        }
        let x = |field: &str| {
            json!({
                "field": field, "type": "quantitative", "title": self.title, "scale": {"domain": [0, end]},
            })
        };
        let mut bars = json!({
            "mark": "rect",
            "encoding": {
                "x": x("from"),
                "x2": {"field": "to"},
                "y": {
                    "field": "count", "type": "quantitative", "title": "images (log scale)",
                    "scale": {"type": "log", "domain": [0.7, 1.3 * most as f64]},
                    "axis": {"tickCount": 3, "format": "d"},
                },
                "y2": {"datum": 0.7},
                "tooltip": [
                    {"field": "from", "type": "quantitative"},
                    {"field": "to", "type": "quantitative"},
                    {"field": "count", "type": "quantitative", "title": "images"},
                ],
            },
        });
        let mut layer = Vec::new();
        if self.cuts.is_some() {
            bars["encoding"]["color"] = json!({
                "field": "part", "type": "nominal", "title": null, "scale": {"domain": ["kept", "left out"]},
            });
            layer.push(json!({
                "mark": {"type": "rule", "strokeDash": [4, 3]},
                "encoding": {
                    "x": x("cut"),
                    "tooltip": [{"field": "cut", "type": "quantitative", "title": "largest that is kept"}],
                },
            }));
        }
        layer.insert(0, bars);
        json!({
            "data": {"values": values},
            "facet": {"field": "class", "type": "nominal", "title": null, "sort": self.names},
            "columns": self.names.len().clamp(1, 3),
            "spec": {"width": 200, "height": 110, "layer": layer},
        })
    }
}

/// The bins of a histogram.
const BINS: usize = 40;

/// The next of 1, 2 and 5 times a power of ten that is not below a value; 1 for 0.
fn round_up(value: f64) -> f64 {
    if !(value > 0.0 && value.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powi(value.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|&step| step >= value)
        .unwrap_or(value)
}

/// A number to six significant digits: what a chart shows, and nothing of rounding errors.
pub fn significant(value: f64) -> Value {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    json!(rounded)
}

/// A share from 0 to 1 in percent.
fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class {i}")).collect()
    }

    #[test]
    fn a_heatmap_shows_what_is_there() {
        let names = names(2);
        let mut heatmap = Heatmap {
            rows: &names,
            columns: &names,
            row_title: "true class",
            column_title: "predicted class",
            count_title: "images",
            cells: vec![(0, 0, 3), (0, 1, 1), (1, 0, 0), (1, 1, 5)],
            shares: false,
        };
        let spec = heatmap.spec();
        let values = spec["data"]["values"].as_array().unwrap();
        assert_eq!(values.len(), 3);
        assert_eq!(
            values[1],
            json!({"row": "class 0", "column": "class 1", "count": 1, "share": 0.25, "light": "1", "dark": ""})
        );
        heatmap.shares = true;
        assert_eq!(heatmap.spec()["data"]["values"][0]["dark"], "75%");
    }

    #[test]
    fn a_large_heatmap_has_no_text_and_labels_that_fit() {
        let names = names(100);
        let heatmap = Heatmap {
            rows: &names,
            columns: &names,
            row_title: "true class",
            column_title: "predicted class",
            count_title: "images",
            cells: (0..100).map(|i| (i, i, 7)).collect(),
            shares: false,
        };
        let spec = heatmap.spec();
        assert_eq!(spec["layer"].as_array().unwrap().len(), 1);
        assert_eq!(spec["width"]["step"], 12);
        assert_eq!(spec["encoding"]["y"]["axis"]["labelFontSize"], 10);
    }

    #[test]
    fn the_marked_bar_is_named_too() {
        let names = names(3);
        let bars = Bars {
            names: &names,
            name_title: "class",
            values: &[0.5, 1.0 / 3.0, 1.0],
            value_title: "accuracy",
            domain: [0.0, 1.0],
            marked: Some((1, "worst")),
        };
        let spec = bars.spec();
        assert_eq!(
            spec["data"]["values"][1],
            json!({"name": "class 1", "value": 0.333333, "shown": "0.333 worst", "mark": "worst"})
        );
        assert_eq!(spec["data"]["values"][0]["mark"], "others");
    }

    #[test]
    fn a_histogram_parts_what_is_kept_from_what_is_not() {
        let names = names(2);
        let values = [vec![0.0, 0.01, 0.31, 0.312, 0.9], vec![0.2; 4]];
        let histograms = Histograms {
            names: &names,
            values: &values,
            title: "uncertainty",
            cuts: Some(&[(0.31, 3), (0.2, 2)]),
        };
        let spec = histograms.spec();
        let of = |class: &str, part: &str| -> u64 {
            let values = spec["data"]["values"].as_array().unwrap();
            let there = values
                .iter()
                .filter(|v| v["class"] == class && v["part"] == part);
            there.map(|v| v["count"].as_u64().unwrap()).sum()
        };
        assert_eq!((of("class 0", "kept"), of("class 0", "left out")), (3, 2));
        // Of four equal values two are kept.
        assert_eq!((of("class 1", "kept"), of("class 1", "left out")), (2, 2));
        let cuts: Vec<&Value> = spec["data"]["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| &v["cut"])
            .collect();
        assert_eq!(cuts.iter().filter(|cut| cut.is_number()).count(), 2);
        assert_eq!(
            (round_up(0.9), round_up(0.011), round_up(2.0), round_up(0.0)),
            (1.0, 0.02, 2.0, 1.0)
        );
    }
}
