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

/// The input `data` of a kind that works on rows of every split.
pub(crate) fn port_of_all() -> Port {
    Port::optional(
        "data",
        ArtifactType::Dataset,
        "the data set: its rows of every split are used, each by the model of its coarse class; without it the model has to have one class, named `all`",
    )
}

/// The classes' names.
pub(crate) fn names(classes: &[Class]) -> Vec<String> {
    classes.iter().map(|class| class.name.clone()).collect()
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
    of_split(context, what, n, Split::Train, usable)
}

/// Like [`of`], for the rows of a split.
///
/// # Errors
/// As [`of`].
pub(crate) fn of_split(
    context: &Context,
    what: &str,
    n: usize,
    split: Split,
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
        Some(path) => by_coarse_label(context, path, what, n, split, &keep)?,
        None => vec![Class {
            name: "all".into(),
            rows: (0..n).filter(|&row| keep[row]).collect(),
        }],
    };
    if classes.iter().all(|class| class.rows.is_empty()) {
        let part = match split {
            Split::Train => "training",
            Split::Val => "validation",
            Split::Test => "test",
        };
        bail!(
            "no row of the {what} is left to work on: of {n} rows, none is finite{} at once",
            match (
                context.optional_input("data"),
                context.optional_input("mask")
            ) {
                (None, None) => String::new(),
                (Some(_), None) => format!(" and of the {part} part"),
                (None, Some(_)) => " and kept by the mask".into(),
                (Some(_), Some(_)) => format!(", of the {part} part and kept by the mask"),
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
    split: Split,
    keep: &[bool],
) -> Result<Vec<Class>> {
    let rows = Rows::read(path)?;
    same_rows(what, n, "data", rows.split.len())?;
    let wanted = rows.of(split).into_iter().filter(|&row| keep[row]);
    let Some(coarse) = rows.coarse else {
        context.log("the data has no coarse labels: all rows are one class");
        return Ok(vec![Class {
            name: "all".into(),
            rows: wanted.collect(),
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
    for row in wanted {
        classes[coarse[row] as usize].rows.push(row);
    }
    Ok(classes)
}

/// The rows of each of a model's classes, whatever split they belong to: those for which `usable` holds; a class may have none.
/// Rows of a class that the model does not have are left out, with a warning.
///
/// # Errors
/// Where data have another number of rows than `what`, which has `n`, where it takes data to tell a row's class, or where no row
/// is left.
pub(crate) fn of_model(
    context: &Context,
    what: &str,
    names: &[String],
    n: usize,
    usable: impl Fn(usize) -> bool,
) -> Result<Vec<Class>> {
    let usable: Vec<usize> = (0..n).filter(|&row| usable(row)).collect();
    let data = match context.optional_input("data") {
        Some(path) => {
            let rows = Rows::read(path)?;
            same_rows(what, n, "data", rows.split.len())?;
            rows.coarse.map(|coarse| (coarse, path))
        }
        None => None,
    };
    let mut classes: Vec<Class> = (names.iter())
        .map(|name| Class {
            name: name.clone(),
            rows: Vec::new(),
        })
        .collect();
    let found = usable.len();
    match (data, &mut classes[..]) {
        (_, [all]) if all.name == "all" => all.rows = usable,
        (None, _) => bail!(
            "the model has the classes {}: give a `data` with coarse labels, which tell the class of each row",
            names.join(", ")
        ),
        (Some((coarse, path)), classes) => {
            let own = Meta::read(path)?.coarse_names;
            let mut unknown = vec![0; own.len()];
            for row in usable {
                let name = &own[coarse[row] as usize];
                match classes.iter_mut().find(|class| class.name == *name) {
                    Some(class) => class.rows.push(row),
                    None => unknown[coarse[row] as usize] += 1,
                }
            }
            for (name, rows) in own.iter().zip(unknown).filter(|&(_, rows)| rows > 0) {
                context.warning(format!(
                    "class {name}: the model has no such class, and {rows} row(s) are left out; it has {}",
                    names.join(", ")
                ));
            }
        }
    }
    ensure!(
        classes.iter().any(|class| !class.rows.is_empty()),
        "no row of the {what} is left to place: of {n} rows, {found} are finite, and none of these is of a class of the model"
    );
    Ok(classes)
}

/// Warns where `new` says that the model was made from each row of `what` that is used.
pub(crate) fn warn_of_none(context: &Context, what: &str, new: &[bool]) {
    if !new.contains(&true) {
        context.warning(format!(
            "the model was made from all finite rows of the {what}, and none is new: `features` with rows = \"all\" computes those of the validation and test images too"
        ));
    }
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
    if rows.is_empty() {
        return Ok(taken);
    }
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
