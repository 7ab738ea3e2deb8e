//! How sure a network is of each coarse class, and of which images it is most and least.

use std::path::Path;

use anyhow::Result;
use flow_stage::view::chart::{Histograms, significant};
use flow_stage::view::{Writer, distinct, sheet};
use ndarray::Array1;
use serde_json::json;

use crate::data::Data;

/// Images of a class at each end, and of all classes together.
const OF_A_CLASS: usize = 12;
const IMAGES: usize = 1200;
/// The longest side of an image, and the bytes of all before compression.
const LONGEST: u32 = 64;
const BYTES: usize = 2 << 20;

/// Writes the view of the uncertainty of `rows` into `folder`; `scores` has a value for every row of the data.
///
/// # Errors
/// Where it can't be written.
pub fn uncertainty(folder: &Path, data: &Data, rows: &[usize], scores: &Array1<f32>) -> Result<()> {
    let mut view = Writer::new(folder)?;
    let mut classes = vec![Vec::new(); data.meta.coarse_names.len()];
    for &row in rows {
        classes[data.coarse()[row] as usize].push(row);
    }
    // The most certain first; of equally certain ones the first row.
    for rows in &mut classes {
        rows.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    }
    let names = distinct(&data.meta.coarse_names);
    let there = names
        .into_iter()
        .zip(classes)
        .filter(|(_, rows)| !rows.is_empty());
    let (names, classes): (Vec<String>, Vec<Vec<usize>>) = there.unzip();
    let values: Vec<Vec<f64>> = classes
        .iter()
        .map(|rows| rows.iter().map(|&row| f64::from(scores[row])).collect())
        .collect();
    table(&mut view, &names, &values);
    let spec = Histograms {
        names: &names,
        values: &values,
        title: "uncertainty",
        cuts: None,
    }
    .spec();
    let alt = format!(
        "A histogram of the uncertainty of the training images of each of {} coarse class(es)",
        names.len()
    );
    view.chart("Uncertainty of each coarse class", alt, spec);
    gallery(&mut view, data, &names, &classes, scores)?;
    view.finish()
}

fn table(view: &mut Writer, names: &[String], values: &[Vec<f64>]) {
    let rows = names.iter().zip(values).map(|(name, values)| {
        let wrong = values.iter().filter(|&&value| value > 1.0).count();
        vec![
            json!(name),
            json!(values.len()),
            significant(values[values.len() / 2]),
            significant(values[values.len() - 1]),
            json!(wrong),
        ]
    });
    let rows = rows.collect();
    let columns = [
        "class",
        "images",
        "median",
        "largest",
        "taken for another class",
    ];
    view.table(
        "Uncertainty: 0 is sure and right, 2 is sure and wrong",
        &columns,
        rows,
    );
}

fn gallery(
    view: &mut Writer,
    data: &Data,
    names: &[String],
    classes: &[Vec<usize>],
    scores: &Array1<f32>,
) -> Result<()> {
    let of_a_class = (IMAGES / (2 * classes.len().max(1))).clamp(3, OF_A_CLASS);
    let mut groups = Vec::new();
    for (name, rows) in names.iter().zip(classes) {
        // No image stands at both ends.
        let count = of_a_class.min(rows.len().div_ceil(2));
        let last = of_a_class.min(rows.len() / 2);
        let sure = rows[..count].to_vec();
        let unsure: Vec<usize> = rows.iter().rev().take(last).copied().collect();
        for (end, rows) in [("most certain", sure), ("least certain", unsure)] {
            let labelled = rows
                .into_iter()
                .map(|row| (row, format!("{:.3}", scores[row])));
            groups.push((
                format!("{name}: {end}"),
                String::new(),
                labelled.collect::<Vec<_>>(),
            ));
        }
    }
    let drawn: Vec<usize> = groups
        .iter()
        .flat_map(|(.., images)| images.iter().map(|(row, _)| *row))
        .collect();
    let sheet = sheet(
        &view.path("certainty.png"),
        data.images(),
        &drawn,
        LONGEST,
        BYTES,
    )?;
    let alt = "The most and the least certain training images of each coarse class, with their uncertainty";
    view.gallery(
        "Most and least certain images",
        alt,
        "certainty.png",
        &sheet,
        groups,
    );
    Ok(())
}
