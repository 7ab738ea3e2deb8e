//! What the kinds show people, as `view` outputs.
//!
//! - `cut`: what `select` keeps. `plane`: an embedding in two dimensions; `guests`: where rows would lie that it leaves out.
//! - `labels`: discovered labels: where they lie, what they look like, how pure they are.

mod cut;
mod guests;
mod labels;
mod plane;
#[cfg(test)]
mod tests;

use anyhow::Result;
use flow_stage::dataset::{Images, Meta, Rows, Split};
use flow_stage::view::{self, Colour, MOST_POINTS, distinct};
use flow_stage::{Context, array};
use ndarray::Array1;

pub(crate) use cut::{Cut, cut};
pub(crate) use labels::{Discovered, Label, labels, nearest};
pub(crate) use plane::embedding;

use crate::stages::classes::Class;

/// The data set, and what a view looks up in it.
struct Data {
    meta: Meta,
    rows: Rows,
    /// Names of the true fine classes for axes and legends.
    fine_names: Vec<String>,
}

impl Data {
    /// The input `data`, where the stage has one.
    fn read(context: &Context) -> Result<Option<Data>> {
        let Some(path) = context.optional_input("data") else {
            return Ok(None);
        };
        let meta = Meta::read(path)?;
        Ok(Some(Data {
            rows: Rows::read(path)?,
            fine_names: distinct(&meta.fine_names),
            meta,
        }))
    }

    /// The images; none where the data set has vectors alone.
    fn images(&self, context: &Context) -> Result<Option<Images>> {
        let path = context.input("data")?;
        let open = || Images::open(path, &self.meta, &self.rows);
        Images::are_there(path).then(open).transpose()
    }
}

/// Which of `n` rows a view plots: of more rows than a view may have, a sample, the same in each view. They are the training
/// rows, or all where the kind places new ones.
fn plotted(data: Option<&Data>, n: usize, new: Option<&[bool]>) -> (Vec<bool>, String) {
    let all: Vec<usize> = match (data, new) {
        (Some(data), None) => data.rows.of(Split::Train),
        _ => (0..n).collect(),
    };
    let rows = all.len();
    let mut plotted = vec![false; n];
    for row in view::sample(all, MOST_POINTS) {
        plotted[row] = true;
    }
    let note = match rows > MOST_POINTS {
        false => String::new(),
        true => format!(
            "; of {rows} rows a sample of {MOST_POINTS} is plotted, those of smallest splitmix64(row)"
        ),
    };
    (plotted, note)
}

/// The part of the data that each of `rows` is of, and whether the model was made from it.
fn origin(data: Option<&Data>, new: &[bool], rows: &[usize]) -> Colour {
    let names = match data {
        Some(_) => vec![
            "of the model",
            "new, training",
            "new, validation",
            "new, test",
        ],
        None => vec!["of the model", "new"],
    };
    let value = |&row: &usize| match (new[row], data.map(|data| data.rows.split[row])) {
        (false, _) => 0,
        (true, None | Some(Split::Train)) => 1,
        (true, Some(Split::Val)) => 2,
        (true, Some(Split::Test)) => 3,
    };
    Colour::Category {
        name: "origin".into(),
        names: names.into_iter().map(String::from).collect(),
        value: rows.iter().map(value).collect(),
    }
}

/// The training rows of a class that the input `mask` leaves out; none where there is no mask.
fn left_out(context: &Context, data: Option<&Data>, class: &Class) -> Result<Vec<usize>> {
    let Some(path) = context.optional_input("mask") else {
        return Ok(Vec::new());
    };
    let mask = array::read_mask(path)?;
    let of_class = |row: usize| match data {
        None => true,
        Some(data) => {
            let same = |coarse: &Array1<i32>| coarse[row] == coarse[class.rows[0]];
            data.rows.split[row] == Split::Train && data.rows.coarse.as_ref().is_none_or(same)
        }
    };
    Ok((0..mask.len())
        .filter(|&row| !mask[row] && of_class(row))
        .collect())
}
