//! An embedding in two dimensions.

use std::collections::BTreeSet;

use anyhow::Result;
use flow_stage::Context;
use flow_stage::view::{Colour, Coordinates, Points, Writer, sample, short};
use ndarray::{Array2, s};

use super::{Data, guests, left_out, origin, plotted};
use crate::Pca;
use crate::stages::classes::{Class, finite};

/// Points in two dimensions, and what these are.
pub(super) struct Plane {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub note: String,
}

/// A view of points `[n, d]` in two dimensions: as they are where d is 1 or 2, else along their first two principal components.
///
/// # Errors
/// Where a value is not finite.
pub(super) fn plane(points: &Array2<f32>) -> Result<Plane> {
    let (n, d) = points.dim();
    let column = |points: &Array2<f32>, column: usize| {
        points
            .column(column)
            .iter()
            .map(|&x| f64::from(x))
            .collect()
    };
    Ok(match d {
        0 | 1 => Plane {
            x: if d == 1 {
                column(points, 0)
            } else {
                vec![0.0; n]
            },
            y: vec![0.0; n],
            note: "the one dimension, from left to right".into(),
        },
        2 => Plane {
            x: column(points, 0),
            y: column(points, 1),
            note: "the two dimensions as they are".into(),
        },
        _ => {
            let components = n.min(2);
            let found = Pca::new(components.max(1)).fit(points.view())?;
            let mut scores = Array2::zeros((n, 2));
            scores.slice_mut(s![.., ..components]).assign(&found.scores);
            let part = 100.0 * found.variance_ratio.sum();
            let part = if part.is_finite() { part } else { 0.0 };
            Plane {
                x: column(&scores, 0),
                y: column(&scores, 1),
                note: format!(
                    "the first two principal components of {d} dimensions, with {part:.0} % of the variance"
                ),
            }
        }
    })
}

/// The names and colours of a label for `rows`: those that occur, by number. `name_of` gives a label's name.
pub(super) fn category(
    name: &str,
    rows: &[usize],
    label: impl Fn(usize) -> i32,
    name_of: impl Fn(i32) -> String,
) -> Colour {
    let there: BTreeSet<i32> = rows
        .iter()
        .map(|&row| label(row))
        .filter(|&l| l >= 0)
        .collect();
    let there: Vec<i32> = there.into_iter().collect();
    let place = |row: &usize| match there.binary_search(&label(*row)) {
        Ok(place) => place as i32,
        Err(_) => -1,
    };
    Colour::Category {
        name: name.into(),
        names: there.iter().map(|&label| name_of(label)).collect(),
        value: rows.iter().map(place).collect(),
    }
}

/// The true fine label of each row, where it is known.
pub(super) fn truth(data: Option<&Data>, rows: &[usize]) -> Option<Colour> {
    let data = data?;
    let fine = data.rows.fine.as_ref()?;
    let name_of = |label: i32| data.fine_names[label as usize].clone();
    Some(category("true fine label", rows, |row| fine[row], name_of))
}

/// A name for a class's item.
pub(super) fn title(what: &str, data: Option<&Data>, class: &Class) -> (String, Option<String>) {
    match data.is_some_and(|data| data.rows.coarse.is_some()) {
        true => {
            let name = short(&class.name, 100);
            (format!("{what} of class {name}"), Some(name))
        }
        false => (what.to_owned(), None),
    }
}

/// Writes the view of an embedding of features `[n, d]`: for each class its points `[rows, k]`. Rows that the mask leaves out have
/// none; as many as there is time for are drawn in the middle of the kept rows that they resemble most. `new` are the rows `[n]`
/// that were placed in an embedding of others.
///
/// # Errors
/// Where it can't be written, or an input can't be read.
pub(crate) fn embedding(
    context: &Context,
    features: &Array2<f32>,
    classes: &[Class],
    parts: &[Array2<f32>],
    new: Option<&[bool]>,
) -> Result<()> {
    let data = Data::read(context)?;
    let data = data.as_ref();
    let (plotted, sampled) = plotted(data, features.nrows(), new);
    let mut view = Writer::new(&context.output("view")?)?;
    let classes_and_parts = classes.iter().zip(parts).enumerate();
    for (number, (class, part)) in
        classes_and_parts.filter(|(_, (class, _))| !class.rows.is_empty())
    {
        let plane = plane(part)?;
        let places: Vec<usize> = (0..class.rows.len())
            .filter(|&place| plotted[class.rows[place]])
            .collect();
        let mut rows: Vec<usize> = places.iter().map(|&place| class.rows[place]).collect();
        let mut x: Vec<f64> = places.iter().map(|&place| plane.x[place]).collect();
        let mut y: Vec<f64> = places.iter().map(|&place| plane.y[place]).collect();
        let mut note = format!("{}{sampled}", plane.note);
        let mut left_out = left_out(context, data, class)?;
        let all = left_out.len();
        left_out.retain(|&row| plotted[row] && finite(features, row));
        let most = guests::affordable(class.rows.len(), features.ncols(), classes.len());
        let left_out = sample(left_out, most);
        for near in guests::nearest(features, &class.rows, &left_out) {
            let middle = |axis: &[f64]| {
                near.iter().map(|&place| axis[place]).sum::<f64>() / near.len() as f64
            };
            x.push(middle(&plane.x));
            y.push(middle(&plane.y));
        }
        let certain = rows.len();
        rows.extend(&left_out);
        let mut colour: Vec<Colour> = truth(data, &rows).into_iter().collect();
        colour.extend(new.map(|new| origin(data, new, &rows)));
        if all > 0 {
            note += &format!(
                "; {all} row(s) that the mask leaves out have no place in the embedding: {} of them are drawn, each in the middle of \
                 the {} rows with the nearest features",
                left_out.len(),
                guests::NEAREST.min(class.rows.len())
            );
            colour.push(Colour::Category {
                name: "certain".into(),
                names: vec!["certain".into(), "uncertain".into()],
                value: (0..rows.len())
                    .map(|place| i32::from(place >= certain))
                    .collect(),
            });
        }
        let (title, of_class) = title("Embedding", data, class);
        let item = Points {
            alt: format!("{title}: {} points, one an image; {note}", rows.len()),
            title,
            note,
            file: format!("points-{number}.json"),
            class: of_class,
        };
        let points = Coordinates {
            row: rows.iter().map(|&row| row as u64).collect(),
            x,
            y,
            colour,
        };
        view.points(item, &points)?;
    }
    view.finish()
}
