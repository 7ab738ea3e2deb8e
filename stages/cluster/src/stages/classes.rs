//! The rows that a stage works on, by coarse class.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::{Meta, Rows, Split};
use flow_stage::{ArtifactType, Context, Port, array};
use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;

use crate::error::{Error, check_points};

/// One coarse class and its rows, ascending.
pub(crate) struct Class {
    pub name: String,
    pub rows: Vec<usize>,
}

/// The inputs `data` and `mask`, which bound what a stage works on.
pub(crate) fn ports() -> [Port; 2] {
    [
        Port::optional(
            "data",
            ArtifactType::Dataset,
            "the data set: its training rows are used, each coarse class by itself; without it all rows are one class",
        ),
        Port::optional(
            "mask",
            ArtifactType::Mask,
            "[n], the rows that are used; without it all",
        ),
    ]
}

/// The rows of each class, in the order of the data set's names: training rows that the mask keeps and for which `usable`
/// holds. Classes without such rows are left out, with a warning.
///
/// # Errors
/// Where data or mask have another number of rows than `what`, which has `n`, or where no row is left.
pub(crate) fn of(
    context: &Context,
    what: &str,
    n: usize,
    usable: impl Fn(usize) -> bool,
) -> Result<Vec<Class>> {
    let mut keep: Vec<bool> = (0..n).map(usable).collect();
    if let Some(path) = context.optional_input("mask") {
        let mask = array::read_mask(path)?;
        same_rows(what, n, "mask", mask.len())?;
        keep.iter_mut()
            .zip(mask)
            .for_each(|(keep, mask)| *keep &= mask);
    }
    let classes = match context.optional_input("data") {
        Some(path) => by_coarse_label(context, path, what, n, &keep)?,
        None => vec![Class {
            name: "all".into(),
            rows: (0..n).filter(|&row| keep[row]).collect(),
        }],
    };
    if classes.iter().all(|class| class.rows.is_empty()) {
        bail!(
            "no row of the {what} is left to work on: of {n} rows, none is finite{} at once",
            match (
                context.optional_input("data"),
                context.optional_input("mask")
            ) {
                (None, None) => "",
                (Some(_), None) => " and of the training part",
                (None, Some(_)) => " and kept by the mask",
                (Some(_), Some(_)) => ", of the training part and kept by the mask",
            }
        );
    }
    Ok(classes
        .into_iter()
        .filter(|class| {
            if class.rows.is_empty() {
                context.warning(format!("class {}: no row is left to work on", class.name));
            }
            !class.rows.is_empty()
        })
        .collect())
}

fn by_coarse_label(
    context: &Context,
    path: &Path,
    what: &str,
    n: usize,
    keep: &[bool],
) -> Result<Vec<Class>> {
    let rows = Rows::read(path)?;
    same_rows(what, n, "data", rows.split.len())?;
    let train = rows.of(Split::Train).into_iter().filter(|&row| keep[row]);
    let Some(coarse) = rows.coarse else {
        context.log("the data has no coarse labels: all rows are one class");
        return Ok(vec![Class {
            name: "all".into(),
            rows: train.collect(),
        }]);
    };
    let mut classes: Vec<Class> = Meta::read(path)?
        .coarse_names
        .into_iter()
        .map(|name| Class {
            name,
            rows: Vec::new(),
        })
        .collect();
    for row in train {
        classes[coarse[row] as usize].rows.push(row);
    }
    Ok(classes)
}

pub(crate) fn same_rows(what: &str, n: usize, other: &str, rows: usize) -> Result<()> {
    ensure!(
        n == rows,
        "the {what} has {n} rows and the {other} has {rows}: they have to come from one data set, with a row for each of its rows"
    );
    Ok(())
}

/// Whether a row holds finite numbers alone.
pub(crate) fn finite<A: Copy + Into<f64>>(points: &Array2<A>, row: usize) -> bool {
    points.row(row).iter().all(|&x| x.into().is_finite())
}

/// Computes something for each class, classes in parallel. `compute` reports, as parts that sum to 1, how far it is with
/// its class: the rows of all classes together are the progress that is shown.
///
/// # Errors
/// The first class's error, with its name.
pub(crate) fn each<T: Send>(
    context: &Context,
    classes: &[Class],
    compute: impl Fn(&Class, &(dyn Fn(f64) + Sync)) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let total: usize = classes.iter().map(|class| class.rows.len()).sum();
    context.progress(0, total as u64, "row");
    // Rows done, and those that were shown: a line for each percent tells enough.
    let done = Mutex::new((0.0, 0));
    let advance = |rows: f64| {
        let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
        done.0 += rows;
        let percent = (100.0 * done.0 / total as f64) as u64;
        if percent > done.1 && percent < 100 {
            done.1 = percent;
            context.progress(percent * total as u64 / 100, total as u64, "row");
        }
    };
    let found: Vec<Result<T>> = classes
        .par_iter()
        .map(|class| {
            let step = |part: f64| advance(part * class.rows.len() as f64);
            compute(class, &step).with_context(|| format!("class {}", class.name))
        })
        .collect();
    let found: Result<Vec<T>> = found.into_iter().collect();
    if found.is_ok() {
        context.progress(total as u64, total as u64, "row");
    }
    found
}

/// Some rows as an array of their own.
///
/// # Errors
/// Where a value is too large to compute with; the row that is named is that of `points`.
pub(crate) fn take<A: Copy + Into<f64>>(points: &Array2<A>, rows: &[usize]) -> Result<Array2<A>> {
    let taken = points.select(Axis(0), rows);
    check_points(taken.view()).map_err(|error| match error {
        Error::NotFinite { row, value } => Error::NotFinite {
            row: rows[row],
            value,
        },
        other => other,
    })?;
    Ok(taken)
}

/// Writes the classes' arrays `[rows, k]` as one array `[n, k]`, NaN in the rows of none.
pub(crate) fn write_rows(
    context: &Context,
    output: &str,
    n: usize,
    k: usize,
    classes: &[Class],
    parts: &[Array2<f32>],
) -> Result<()> {
    let mut all = Array2::from_elem((n, k), f32::NAN);
    for (class, part) in classes.iter().zip(parts) {
        for (&row, values) in class.rows.iter().zip(part.outer_iter()) {
            all.row_mut(row).assign(&values);
        }
    }
    array::write(&context.output(output)?, &all)
}

/// One array `[n]` of labels, numbered on through the classes, -1 in the rows of none. `parts` holds each class's labels
/// (-1 stays -1) and their number.
pub(crate) fn join_labels(
    n: usize,
    classes: &[Class],
    parts: &[(Array1<i32>, usize)],
) -> Array1<i32> {
    let mut all = Array1::from_elem(n, -1);
    let mut first = 0;
    for (class, (labels, count)) in classes.iter().zip(parts) {
        for (&row, &label) in class.rows.iter().zip(labels) {
            if label >= 0 {
                all[row] = first + label;
            }
        }
        first += *count as i32;
    }
    all
}
