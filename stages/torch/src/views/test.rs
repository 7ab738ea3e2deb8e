//! How good the answers on the test rows are: in figures, class by class, and how well confidence fits.

use flow_stage::dataset::{Meta, Rows};
use flow_stage::view::chart::{Bars, Heatmap, significant};
use flow_stage::view::{Writer, distinct};
use serde_json::{Value, json};

use crate::measure::Answers;
use crate::scores::{self, BINS, Bin};

/// The figures of the metrics, and what they are called.
const FIGURES: [(&str, &str); 12] = [
    ("test_accuracy", "accuracy"),
    ("test_loss", "loss"),
    ("test_auroc", "AUROC"),
    ("test_precision", "precision"),
    ("test_recall", "recall"),
    ("test_f1", "F1"),
    ("test_ece", "calibration error (ECE)"),
    ("worst_subclass_accuracy", "worst subclass accuracy"),
    ("test_fine_accuracy", "accuracy on the fine classes"),
    ("val_accuracy", "validation accuracy at the best epoch"),
    ("best_epoch", "best epoch"),
    ("epochs", "epochs"),
];

/// Adds the table of the metrics.
pub(super) fn figures(view: &mut Writer, metrics: &Value) {
    let rows = FIGURES.iter().filter_map(|(metric, name)| {
        let value = metrics.get(metric).filter(|value| value.is_number())?;
        let value = match value.as_f64() {
            Some(number) if !value.is_u64() => significant(number),
            _ => value.clone(),
        };
        Some(vec![json!(name), value])
    });
    let rows = rows.collect();
    view.table("Test images, coarse classes", &["figure", "value"], rows);
}

/// Adds the confusion matrix, the accuracy of each class and subclass, and the calibration.
pub(super) fn answers(
    view: &mut Writer,
    meta: &Meta,
    rows: &Rows,
    answers: &Answers,
    metrics: &Value,
) {
    let Some(coarse) = &rows.coarse else { return };
    let truth: Vec<usize> = answers
        .rows
        .iter()
        .map(|&row| coarse[row] as usize)
        .collect();
    let right: Vec<bool> = truth
        .iter()
        .zip(&answers.coarse)
        .map(|(truth, answer)| truth == answer)
        .collect();
    let names = distinct(&meta.coarse_names);
    confusion(view, &names, &truth, &answers.coarse);
    let title = "Accuracy of each class";
    accuracies(view, title, "class", &names, &truth, &right, false);
    if let Some(fine) = &rows.fine {
        let names = distinct(&meta.fine_names);
        let truth: Vec<usize> = answers.rows.iter().map(|&row| fine[row] as usize).collect();
        let title = "Coarse accuracy of each true fine class";
        accuracies(view, title, "true fine class", &names, &truth, &right, true);
    }
    let ece = metrics["test_ece"].as_f64().unwrap_or(f64::NAN);
    calibration(view, &answers.confidence(), &right, ece);
}

fn confusion(view: &mut Writer, names: &[String], truth: &[usize], predicted: &[usize]) {
    let counts = scores::confusion(truth, predicted, names.len());
    let cells = || {
        let rows = counts.iter().enumerate();
        rows.flat_map(|(row, counts)| {
            let cells = counts.iter().enumerate();
            cells.map(move |(column, &count)| (row, column, count))
        })
        .collect::<Vec<_>>()
    };
    let right: u64 = (0..names.len()).map(|class| counts[class][class]).sum();
    let most = cells()
        .into_iter()
        .filter(|&(row, column, count)| row != column && count > 0)
        .max_by_key(|&(row, column, count)| (count, std::cmp::Reverse((row, column))));
    let confused = most.map_or(String::new(), |(row, column, count)| {
        format!(
            "; most often confused: {count} of class {} predicted as {}",
            names[row], names[column]
        )
    });
    for (title, shares) in [
        ("Confusion matrix: images", false),
        ("Confusion matrix: shares of the true class", true),
    ] {
        let heatmap = Heatmap {
            rows: names,
            columns: names,
            row_title: "true class",
            column_title: "predicted class",
            count_title: "images",
            cells: cells(),
            shares,
        };
        let alt = format!(
            "True against predicted classes of {} test images, {right} on the diagonal{confused}",
            truth.len()
        );
        view.chart(title, alt, heatmap.spec());
    }
}

/// The share of right answers of each class that has rows.
fn accuracies(
    view: &mut Writer,
    title: &str,
    what: &str,
    names: &[String],
    truth: &[usize],
    right: &[bool],
    mark: bool,
) {
    let mut counts = vec![(0u64, 0u64); names.len()];
    for (&class, &right) in truth.iter().zip(right) {
        counts[class].0 += 1;
        counts[class].1 += u64::from(right);
    }
    let there = counts.iter().zip(names).filter(|((rows, _), _)| *rows > 0);
    let (names, values): (Vec<String>, Vec<f64>) = there
        .map(|(&(rows, right), name)| (name.clone(), right as f64 / rows as f64))
        .unzip();
    let worst = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]));
    let alt = match worst {
        Some(worst) => format!(
            "{title}, {} in all; the worst is {} with {:.4}",
            values.len(),
            names[worst],
            values[worst]
        ),
        None => title.to_owned(),
    };
    let bars = Bars {
        names: &names,
        name_title: what,
        values: &values,
        value_title: "accuracy on test images",
        domain: [0.0, 1.0],
        marked: worst.filter(|_| mark).map(|worst| (worst, "worst")),
    };
    view.chart(title, alt, bars.spec());
}

/// The reliability diagram (Niculescu-Mizil and Caruana 2005): accuracy against confidence, bin by bin.
fn calibration(view: &mut Writer, confidence: &[f64], right: &[bool], ece: f64) {
    let bins = scores::calibration(confidence, right);
    let there = bins.iter().enumerate().filter(|(_, bin)| bin.rows > 0);
    let values: Vec<Value> = there
        .map(|(place, bin): (usize, &Bin)| {
            let rows = bin.rows as f64;
            json!({
                "from": significant(place as f64 / BINS as f64),
                "to": significant((place + 1) as f64 / BINS as f64),
                "accuracy": significant(bin.right / rows),
                "confidence": significant(bin.confidence / rows),
                "images": bin.rows,
                "share": significant(rows / right.len() as f64),
            })
        })
        .collect();
    let axis = |field: &str, title: &str| json!({"field": field, "type": "quantitative", "title": title, "scale": {"domain": [0, 1]}});
    let tooltip = json!([
        {"field": "from", "type": "quantitative", "title": "confidence from"},
        {"field": "to", "type": "quantitative", "title": "to"},
        {"field": "confidence", "type": "quantitative", "title": "mean confidence"},
        {"field": "accuracy", "type": "quantitative"},
        {"field": "images", "type": "quantitative"},
    ]);
    let spec = json!({
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rect", "opacity": 0.5},
                "encoding": {
                    "x": axis("from", "confidence"), "x2": {"field": "to"},
                    "y": axis("accuracy", "accuracy"), "y2": {"datum": 0},
                    "tooltip": tooltip,
                },
            },
            {
                "mark": {"type": "line", "strokeDash": [4, 4], "color": "grey"},
                "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
                "encoding": {"x": axis("confidence", "confidence"), "y": axis("accuracy", "accuracy")},
            },
            {
                "mark": {"type": "point", "filled": true, "size": 36},
                "encoding": {
                    "x": axis("confidence", "confidence"), "y": axis("accuracy", "accuracy"),
                    "tooltip": tooltip,
                },
            },
        ],
    });
    let title = format!("Calibration: ECE {ece:.4}");
    let alt = format!(
        "Reliability diagram of {} test images: accuracy against confidence in {} of {BINS} bins, points at the mean confidence, \
         and the diagonal on which a calibrated network lies; expected calibration error {ece:.4}",
        right.len(),
        values.len()
    );
    view.chart(&title, alt, spec);
    let values: Vec<Value> = (values.iter())
        .map(|bin| json!({"from": bin["from"], "to": bin["to"], "images": bin["images"]}))
        .collect();
    let spec = json!({
        "height": 100,
        "data": {"values": values},
        "mark": "rect",
        "encoding": {
            "x": axis("from", "confidence"), "x2": {"field": "to"},
            "y": {"field": "images", "type": "quantitative", "title": "images", "scale": {"zero": true}},
            "y2": {"datum": 0},
            "tooltip": [
                {"field": "from", "type": "quantitative", "title": "confidence from"},
                {"field": "to", "type": "quantitative", "title": "to"},
                {"field": "images", "type": "quantitative"},
            ],
        },
    });
    let sure = bins[BINS - 1].rows;
    let alt = format!(
        "Test images by the network's confidence; {sure} of {} in the most confident bin",
        right.len()
    );
    view.chart("Confidence", alt, spec);
}
