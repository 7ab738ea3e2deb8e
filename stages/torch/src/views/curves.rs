//! Loss, accuracy and learning rate by epoch.

use flow_stage::view::Writer;
use flow_stage::view::chart::significant;
use serde_json::{Value, json};

use crate::history::{Epoch, History};

/// A series of a chart: its name, and its value at an epoch.
type Series = (&'static str, fn(&Epoch) -> f64);

/// Adds a chart each. The epoch whose network is the result is marked on the curve of the validation rows.
pub(super) fn curves(view: &mut Writer, history: &History) {
    let loss: [Series; 2] = [
        ("train", |epoch| epoch.train_loss),
        ("validation", |epoch| epoch.val_loss),
    ];
    let accuracy: [Series; 2] = [
        ("train", |epoch| epoch.train_accuracy),
        ("validation", |epoch| epoch.val_accuracy),
    ];
    let rate: [Series; 1] = [("learning rate", |epoch| epoch.lr)];
    let best = history.best();
    let epochs = history.0.len();
    chart(view, history, "loss", "Loss by epoch", &loss, || {
        format!(
            "Training and validation loss over {epochs} epoch(s); the validation loss is {:.4} at epoch {}, whose network is the \
             result",
            best.val_loss, best.epoch
        )
    });
    chart(
        view,
        history,
        "accuracy",
        "Accuracy by epoch",
        &accuracy,
        || {
            format!(
                "Training and validation accuracy over {epochs} epoch(s); the validation accuracy is highest at epoch {}: {:.4}",
                best.epoch, best.val_accuracy
            )
        },
    );
    chart(
        view,
        history,
        "learning rate",
        "Learning rate by epoch",
        &rate,
        || {
            let last = history.0.last().map_or(0.0, |epoch| epoch.lr);
            format!(
                "The learning rate over {epochs} epoch(s), {:.3e} at the first and {last:.3e} at the last",
                history.0.first().map_or(0.0, |epoch| epoch.lr)
            )
        },
    );
}

fn chart(
    view: &mut Writer,
    history: &History,
    name: &str,
    title: &str,
    series: &[Series],
    alt: impl Fn() -> String,
) {
    let best = history.best().epoch;
    let last = series.len() - 1;
    let mut values = Vec::new();
    for (place, (series, of)) in series.iter().enumerate() {
        for epoch in &history.0 {
            let value = significant(of(epoch));
            let mut row = json!({"epoch": epoch.epoch, "series": series, "value": value});
            // A mark on the last curve alone: the others have no value in this field.
            if place == last && epoch.epoch == best {
                row["best"] = value;
            }
            values.push(row);
        }
    }
    let names: Vec<&str> = series.iter().map(|(name, _)| *name).collect();
    let scale: Value = match name {
        "learning rate" => json!({"zero": true}),
        _ => json!({"zero": false}),
    };
    let y = |field: &str| json!({"field": field, "type": "quantitative", "title": name, "scale": scale});
    let tooltip = json!([
        {"field": "epoch", "type": "quantitative"},
        {"field": "series", "type": "nominal"},
        {"field": "value", "type": "quantitative", "title": name},
    ]);
    let series =
        json!({"field": "series", "type": "nominal", "title": null, "scale": {"domain": names}});
    let spec = json!({
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "epoch", "type": "quantitative", "title": "epoch", "scale": {"zero": false},
                "axis": {"tickMinStep": 1, "format": "d"},
            },
            "color": series,
        },
        "layer": [
            {"mark": "line", "encoding": {"y": y("value"), "strokeDash": series}},
            // A training of one epoch has no line.
            {"mark": {"type": "point", "filled": true, "size": 16}, "encoding": {"y": y("value"), "tooltip": tooltip}},
            {
                "mark": {"type": "point", "size": 160, "strokeWidth": 2},
                "encoding": {
                    "y": y("best"),
                    "tooltip": [
                        {"field": "epoch", "type": "quantitative", "title": "best epoch"},
                        {"field": "best", "type": "quantitative", "title": name},
                    ],
                },
            },
        ],
    });
    view.compared(name, title, alt(), spec);
}
