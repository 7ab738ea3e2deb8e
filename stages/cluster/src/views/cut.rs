//! What `select` keeps of each class.

use std::path::Path;

use anyhow::Result;
use flow_stage::view::chart::{Histograms, significant};
use flow_stage::view::{Writer, distinct};
use serde_json::json;

/// One class: the uncertainty of its rows, ascending, and how many of them are kept.
pub(crate) struct Cut {
    pub name: String,
    pub values: Vec<f64>,
    pub kept: usize,
}

/// Writes the view of a selection into `folder`. Each class keeps one row at least.
///
/// # Errors
/// Where it can't be written.
pub(crate) fn cut(folder: &Path, classes: &[Cut]) -> Result<()> {
    let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
    let names = distinct(&names);
    let values: Vec<Vec<f64>> = classes.iter().map(|class| class.values.clone()).collect();
    let cuts: Vec<(f64, usize)> = classes
        .iter()
        .map(|class| (class.values[class.kept - 1], class.kept))
        .collect();
    let mut view = Writer::new(folder)?;
    let rows = names.iter().zip(classes).zip(&cuts);
    let rows = rows.map(|((name, class), &(cut, kept))| {
        let left_out = class.values.len() - kept;
        vec![
            json!(name),
            json!(class.values.len()),
            json!(kept),
            json!(left_out),
            significant(cut),
        ]
    });
    let columns = [
        "class",
        "images",
        "kept",
        "left out",
        "largest uncertainty that is kept",
    ];
    view.table("What is kept of each class", &columns, rows.collect());
    let spec = Histograms {
        names: &names,
        values: &values,
        title: "uncertainty",
        cuts: Some(&cuts),
    }
    .spec();
    let kept: usize = classes.iter().map(|class| class.kept).sum();
    let all: usize = values.iter().map(Vec::len).sum();
    let alt = format!(
        "A histogram of the uncertainty of each of {} class(es), with a line where it is cut: {kept} of {all} images stay",
        names.len()
    );
    view.chart("Uncertainty, and where it is cut", alt, spec);
    view.finish()
}
