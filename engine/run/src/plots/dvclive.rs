//! DVCLive's folder, as it writes it: figures by step (`plots/metrics/**/*.tsv`), curves of scikit-learn
//! (`plots/sklearn/*.json`), plots of the user's own (`plots/custom/*.json`), pictures (`plots/images/`), and parameters
//! (`params.yaml`).

use flow_plan::plan::shown::{Plot, PlotKind};
use flow_plan::workflow::yaml_data;
use flow_stage::view::{Item, Table};
use serde_json::{Value, json};

use super::draw::text;
use super::{Drawn, Files, Rows, is_of, one};

/// The columns of its curves, by what the file is called.
const CURVES: [(&str, &str, &str); 4] = [
    ("roc", "fpr", "tpr"),
    ("precision_recall", "recall", "precision"),
    ("det", "fpr", "fnr"),
    ("calibration", "prob_pred", "prob_true"),
];

/// What lies in the folder, but for what the workflow's own plots show.
pub(super) fn shown(folder: &str, own: &[Plot], files: &Files<'_>) -> Vec<Drawn> {
    let inside = |name: &str| Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_string());
    let mut drawn = Vec::new();
    for name in &files.names {
        let Some(inside) = inside(name) else { continue };
        if inside == "params.yaml" {
            drawn.push(parameters(name, files));
        }
        if own.iter().any(|plot| is_of(plot, name)) {
            continue;
        }
        if let Some(plot) = plot(name, &inside, files) {
            drawn.extend(one(&plot, files));
        }
    }
    drawn
}

/// A file of the folder as a plot; none where it is none.
fn plot(name: &str, inside: &str, files: &Files<'_>) -> Option<Plot> {
    let inside = inside.strip_prefix("plots/")?;
    let (sort, rest) = inside.split_once('/')?;
    let (stem, ending) = rest.rsplit_once('.')?;
    let plain = Plot {
        name: stem.into(),
        // What its name holds is no glob.
        files: name.into(),
        x: None,
        y: Vec::new(),
        kind: PlotKind::Line,
    };
    let last = stem.rsplit('/').next().unwrap_or(stem);
    match (sort, ending) {
        ("metrics", "tsv") => Some(Plot {
            y: vec![last.into()],
            ..plain
        }),
        ("images", _) => Some(plain),
        ("sklearn" | "custom", "json") => {
            let content = files.content(name).ok()?;
            let columns = Rows::read(name, &content).map_or(Vec::new(), |rows| rows.columns);
            let has = |column: &str| columns.iter().any(|known| known == column);
            if has("actual") && has("predicted") {
                return Some(Plot {
                    kind: PlotKind::Confusion,
                    ..plain
                });
            }
            let curve = CURVES.iter().find(|(_, x, y)| has(x) && has(y));
            Some(match curve {
                Some((_, x, y)) => Plot {
                    x: Some((*x).into()),
                    y: vec![(*y).into()],
                    ..plain
                },
                None => plain,
            })
        }
        _ => None,
    }
}

/// The parameters as a table.
fn parameters(name: &str, files: &Files<'_>) -> Drawn {
    let title = "Parameters".to_string();
    let read = || {
        let content = String::from_utf8(files.content(name)?)
            .map_err(|_| format!("{name} is not valid UTF-8"))?;
        let values = yaml_data(&content).map_err(|error| format!("{name}: {error}"))?;
        let mut rows = Vec::new();
        flatten("", &values, &mut rows);
        Ok(Item::Table(Table {
            title: title.clone(),
            columns: vec!["parameter".into(), "value".into()],
            rows,
        }))
    };
    let item = read();
    Drawn { title, item }
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<Vec<Value>>) {
    match value {
        Value::Object(fields) if !fields.is_empty() || path.is_empty() => {
            for (name, value) in fields {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                flatten(&path, value, rows);
            }
        }
        plain => rows.push(vec![json!(path), json!(text(plain))]),
    }
}
