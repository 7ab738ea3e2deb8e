//! Discovered labels: where they lie, what they look like, how pure they are.

use std::collections::BTreeMap;

use anyhow::Result;
use flow_stage::Context;
use flow_stage::view::chart::{Bars, Heatmap, significant};
use flow_stage::view::{self, Colour, Coordinates, Points, Writer, sheet, short};
use ndarray::{Array1, Array2, ArrayView2};
use serde_json::{Value, json};

use super::plane::{category, plane, title, truth};
use super::{Data, left_out, origin, plotted};
use crate::stages::classes::{Class, finite};

/// Images of a label of each sort, of all labels together, and labels that are shown with images.
const OF_A_LABEL: usize = 10;
const IMAGES: usize = 2400;
const LABELS: usize = 300;
/// The longest side of an image, and the bytes of all before compression.
const LONGEST: u32 = 48;
const BYTES: usize = 3 << 20;
/// Labels that a chart has room for.
const IN_A_CHART: usize = 150;

/// What a clustering found.
pub(crate) struct Discovered<'a> {
    /// The label of each row `[n]`, numbered on through the classes; -1 for none.
    pub labels: &'a Array1<i32>,
    /// How strongly each row `[n]` belongs to its label, where the method says.
    pub probabilities: Option<&'a Array1<f64>>,
    /// Each label.
    pub each: Vec<Label>,
    /// What the first rows of [`Label::nearest`] are near to.
    pub anchor: &'static str,
    /// Where the labels are those of a model: the rows `[n]` that it was not made from. Table, images and confusion are theirs.
    pub new: Option<&'a [bool]>,
}

/// One discovered label.
pub(crate) struct Label {
    /// The place of its class.
    pub class: usize,
    /// The rows that lie nearest to the middle of the label, the nearest first.
    pub nearest: Vec<usize>,
    /// How long the cluster lasts, where the method says.
    pub persistence: Option<f64>,
}

/// Of the points `members` the nearest to any of `anchors` `[m, d]`; of equally near ones the first.
pub(crate) fn nearest(
    points: ArrayView2<f64>,
    members: &[usize],
    anchors: ArrayView2<f64>,
) -> Vec<usize> {
    let distance = |&member: &usize| {
        let to = |anchor: ndarray::ArrayView1<f64>| -> f64 {
            let both = points.row(member).into_iter().zip(anchor);
            both.map(|(x, y)| (x - y) * (x - y)).sum()
        };
        let least = anchors.outer_iter().map(to).fold(f64::INFINITY, f64::min);
        (least, member)
    };
    let mut order: Vec<(f64, usize)> = members.iter().map(distance).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order
        .into_iter()
        .take(OF_A_LABEL)
        .map(|(_, member)| member)
        .collect()
}

/// A label's rows, and what they truly are.
struct Content {
    rows: Vec<usize>,
    /// True fine labels and how many rows have them, the most frequent first.
    truth: Vec<(i32, usize)>,
}

impl Content {
    /// The share of the rows that have the most frequent true label, and that.
    fn purity(&self) -> Option<(f64, i32)> {
        let &(label, count) = self.truth.first()?;
        Some((count as f64 / self.rows.len() as f64, label))
    }
}

/// Writes the view of discovered labels. `points` `[n, d]` is what was clustered.
///
/// # Errors
/// Where it can't be written, or an input can't be read.
pub(crate) fn labels(
    context: &Context,
    points: &Array2<f64>,
    classes: &[Class],
    found: &Discovered,
) -> Result<()> {
    let data = Data::read(context)?;
    let data = data.as_ref();
    let mut view = Writer::new(&context.output("view")?)?;
    let contents = contents(found, data);
    table(&mut view, classes, found, &contents, data);
    scatter(context, &mut view, points, classes, found, data)?;
    let any = contents.iter().any(|content| !content.rows.is_empty());
    if let Some(data) = data.filter(|_| any) {
        gallery(context, &mut view, classes, found, &contents, data)?;
        confusion(&mut view, &contents, data);
    }
    persistence(&mut view, found);
    view.finish()
}

fn contents(found: &Discovered, data: Option<&Data>) -> Vec<Content> {
    let fine = data.and_then(|data| data.rows.fine.as_ref());
    let mut rows = vec![Vec::new(); found.each.len()];
    for (row, &label) in found.labels.iter().enumerate() {
        if label >= 0 && found.new.is_none_or(|new| new[row]) {
            rows[label as usize].push(row);
        }
    }
    let content = |rows: Vec<usize>| {
        let mut counts = BTreeMap::<i32, usize>::new();
        if let Some(fine) = fine {
            for &row in &rows {
                *counts.entry(fine[row]).or_default() += 1;
            }
        }
        let mut truth: Vec<(i32, usize)> = counts.into_iter().collect();
        truth.sort_by_key(|&(label, count)| (std::cmp::Reverse(count), label));
        Content { rows, truth }
    };
    rows.into_iter().map(content).collect()
}

fn table(
    view: &mut Writer,
    classes: &[Class],
    found: &Discovered,
    contents: &[Content],
    data: Option<&Data>,
) {
    let known = data.filter(|data| data.rows.fine.is_some());
    let lasting = found.each.iter().any(|label| label.persistence.is_some());
    let mut columns = vec!["label", "class", "images"];
    if known.is_some() {
        columns.extend(["purity", "mostly"]);
    }
    if lasting {
        columns.push("persistence");
    }
    let line = |(number, (label, content)): (usize, (&Label, &Content))| {
        let class = short(&classes[label.class].name, 100);
        let mut line: Vec<Value> = vec![json!(number), json!(class), json!(content.rows.len())];
        if let Some(data) = known {
            line.extend(match content.purity() {
                Some((purity, label)) => {
                    [significant(purity), json!(data.fine_names[label as usize])]
                }
                None => [Value::Null, Value::Null],
            });
        }
        if lasting {
            line.push(label.persistence.map_or(Value::Null, significant));
        }
        line
    };
    let lines = found.each.iter().zip(contents).enumerate().map(line);
    let title = match found.new {
        None => "Discovered labels",
        Some(_) => "Discovered labels of new rows",
    };
    view.table(title, &columns, lines.collect());
}

/// The points of each class, coloured by label, truth, strength, and by whether the mask keeps them.
fn scatter(
    context: &Context,
    view: &mut Writer,
    points: &Array2<f64>,
    classes: &[Class],
    found: &Discovered,
    data: Option<&Data>,
) -> Result<()> {
    let (plotted, sampled) = plotted(data, points.nrows(), found.new);
    let classes = classes.iter().enumerate();
    for (number, class) in classes.filter(|(_, class)| !class.rows.is_empty()) {
        let mut left_out = left_out(context, data, class)?;
        left_out.retain(|&row| finite(points, row));
        let all: Vec<usize> = [&class.rows[..], &left_out].concat();
        let own = Array2::from_shape_fn((all.len(), points.ncols()), |(place, column)| {
            points[[all[place], column]] as f32
        });
        let plane = plane(&own)?;
        let places: Vec<usize> = (0..all.len())
            .filter(|&place| plotted[all[place]])
            .collect();
        let rows: Vec<usize> = places.iter().map(|&place| all[place]).collect();
        let label = |row: usize| found.labels[row];
        let mut colour = vec![category("discovered label", &rows, label, |l| {
            l.to_string()
        })];
        colour.extend(truth(data, &rows));
        colour.extend(found.new.map(|new| origin(data, new, &rows)));
        if !left_out.is_empty() {
            colour.push(Colour::Category {
                name: "certain".into(),
                names: vec!["certain".into(), "uncertain".into()],
                value: places
                    .iter()
                    .map(|&place| i32::from(place >= class.rows.len()))
                    .collect(),
            });
        }
        if let Some(probabilities) = found.probabilities {
            let value = rows
                .iter()
                .map(|&row| Some(probabilities[row]).filter(|p| p.is_finite()));
            colour.push(Colour::Number {
                name: "probability".into(),
                value: value.collect(),
            });
        }
        let (title, of_class) = title("Labels", data, class);
        let note = format!("{}{sampled}", plane.note);
        let count = found
            .each
            .iter()
            .filter(|label| label.class == number)
            .count();
        let item = Points {
            alt: format!(
                "{title}: {} points, one an image, in {count} discovered label(s); {note}",
                rows.len()
            ),
            title,
            note,
            file: format!("points-{number}.json"),
            class: of_class,
        };
        let coordinates = Coordinates {
            row: rows.iter().map(|&row| row as u64).collect(),
            x: places.iter().map(|&place| plane.x[place]).collect(),
            y: places.iter().map(|&place| plane.y[place]).collect(),
            colour,
        };
        view.points(item, &coordinates)?;
    }
    Ok(())
}

/// The labels of most rows, at most `most` of them, by number.
fn largest(contents: &[Content], most: usize) -> Vec<usize> {
    let mut labels: Vec<usize> = (0..contents.len()).collect();
    labels.sort_by_key(|&label| (std::cmp::Reverse(contents[label].rows.len()), label));
    labels.truncate(most);
    labels.sort_unstable();
    labels
}

/// What a chart or gallery of some labels is called.
fn of_labels(title: &str, shown: usize, all: usize) -> String {
    match shown == all {
        true => title.to_owned(),
        false => format!("{title} (the {shown} largest of {all})"),
    }
}

/// Two rows of images of each label: its middle, and some drawn at random, the same whatever the seed.
fn gallery(
    context: &Context,
    view: &mut Writer,
    classes: &[Class],
    found: &Discovered,
    contents: &[Content],
    data: &Data,
) -> Result<()> {
    let Some(images) = data.images(context)? else {
        return Ok(());
    };
    let shown = largest(contents, LABELS);
    let of_a_label = (IMAGES / (2 * shown.len().max(1))).clamp(4, OF_A_LABEL);
    let name_of = |row: usize| match &data.rows.fine {
        Some(fine) => data.fine_names[fine[row] as usize].clone(),
        None => String::new(),
    };
    let mut groups = Vec::new();
    for &label in &shown {
        let content = &contents[label];
        let class = short(&classes[found.each[label].class].name, 100);
        let mut note = format!("class {class}, {} image(s)", content.rows.len());
        if let Some((purity, truth)) = content.purity() {
            note += &format!(", purity {purity:.2} ({})", data.fine_names[truth as usize]);
        }
        let middle = found.each[label]
            .nearest
            .iter()
            .copied()
            .take(of_a_label)
            .collect();
        let drawn = view::sample(content.rows.iter().copied(), of_a_label);
        let anchor = format!("nearest to {}", found.anchor);
        for (sort, rows) in [(anchor.as_str(), middle), ("drawn at random", drawn)] {
            let rows: Vec<usize> = rows;
            if !rows.is_empty() {
                let images: Vec<(usize, String)> =
                    rows.into_iter().map(|row| (row, name_of(row))).collect();
                groups.push((format!("label {label}: {sort}"), note.clone(), images));
            }
        }
    }
    let drawn: Vec<usize> = groups
        .iter()
        .flat_map(|(.., images)| images.iter().map(|(row, _)| *row))
        .collect();
    let sheet = sheet(&view.path("labels.png"), &images, &drawn, LONGEST, BYTES)?;
    let title = of_labels("Images of each label", shown.len(), contents.len());
    let alt = format!(
        "For each of {} discovered labels the images nearest to {}, and some drawn at random",
        shown.len(),
        found.anchor
    );
    view.gallery(&title, alt, "labels.png", &sheet, groups);
    Ok(())
}

/// Discovered against true labels, where these are known.
fn confusion(view: &mut Writer, contents: &[Content], data: &Data) {
    if data.rows.fine.is_none() || contents.is_empty() {
        return;
    }
    let shown = largest(contents, IN_A_CHART);
    // The true labels as they appear with the discovered ones, so that what belongs together stands on the diagonal.
    let mut truth: Vec<i32> = Vec::new();
    for &label in &shown {
        for &(fine, _) in &contents[label].truth {
            if !truth.contains(&fine) {
                truth.push(fine);
            }
        }
    }
    let rows: Vec<String> = shown.iter().map(|label| label.to_string()).collect();
    let columns: Vec<String> = truth
        .iter()
        .map(|&fine| data.fine_names[fine as usize].clone())
        .collect();
    let cells = || {
        let mut cells = Vec::new();
        for (row, &label) in shown.iter().enumerate() {
            for &(fine, count) in &contents[label].truth {
                let column = truth.iter().position(|&f| f == fine).unwrap_or(0);
                cells.push((row, column, count as u64));
            }
        }
        cells
    };
    let pure = contents.iter().filter_map(Content::purity);
    let pure = pure.filter(|&(purity, _)| purity >= 0.9).count();
    for (title, shares) in [
        ("Discovered against true labels: images", false),
        (
            "Discovered against true labels: shares of the discovered label",
            true,
        ),
    ] {
        let heatmap = Heatmap {
            rows: &rows,
            columns: &columns,
            row_title: "discovered label",
            column_title: "true fine label",
            count_title: "images",
            cells: cells(),
            shares,
        };
        let alt = format!(
            "How many images of each of {} discovered labels have which of {} true fine labels; {pure} of {} labels have a purity \
             of 0.9 or more",
            rows.len(),
            columns.len(),
            contents.len()
        );
        let title = of_labels(title, shown.len(), contents.len());
        view.chart(&title, alt, heatmap.spec());
    }
}

fn persistence(view: &mut Writer, found: &Discovered) {
    let lasting = found.each.iter().enumerate();
    let lasting: Vec<(String, f64)> = lasting
        .filter_map(|(number, label)| Some((number.to_string(), label.persistence?)))
        .take(IN_A_CHART)
        .collect();
    if lasting.is_empty() {
        return;
    }
    let (names, values): (Vec<String>, Vec<f64>) = lasting.into_iter().unzip();
    let largest = values.iter().copied().fold(0.0, f64::max);
    let bars = Bars {
        names: &names,
        name_title: "discovered label",
        values: &values,
        value_title: "persistence",
        domain: [0.0, if largest > 0.0 { 1.25 * largest } else { 1.0 }],
        marked: None,
    };
    let alt = format!(
        "The persistence of {} clusters, from 0 to 1; the largest is {largest:.3}",
        names.len()
    );
    view.chart("Persistence of each label", alt, bars.spec());
}
