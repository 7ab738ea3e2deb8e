//! The kind `feature-vectors`: vectors that were made elsewhere, with their labels. `arrays` reads NumPy's files, `tables`
//! CSV and Parquet, `found` collects what they read.

mod arrays;
mod found;
mod tables;

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::{self, Meta, Rows, Split};
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coarse::{self, Classes, Groups};
use crate::{source, unpack, views};
use found::Found;

/// Feature vectors that were made elsewhere, such as embeddings of images or texts, a row each; with their classes, names
/// and splits where these are known. They can be clustered (`umap`, `hdbscan`, …) and scored without any image.
///
/// By its content `source` is read as
///
/// - `.npz`: `features`, `labels` and the others name arrays in it; the rest is not touched. Left out, `features` is the only
///   array of floats in two dimensions. An archive of vectors alone, `[d]` each, is a row for each of them;
/// - a folder: as `.npz`, of its `.npy` files. Vectors may lie in `class/x.npy` or `coarse/fine/x.npy`;
/// - `.npy`: the vectors `[n, d]`;
/// - `.csv`, `.tsv` (with a header; packed with gzip or not), `.parquet`: `labels` and the others name columns, and all other
///   columns, which have to be numbers, are the features. Of Parquet it is the only column of lists, where there is one;
/// - a table of files: `{ features = "x.npy", labels = "y.npy" }`, each an array or a text file of a line for each row.
///
/// Numbers become f32. Rows with missing numbers stay, and clusterings leave them out. The labels are coarse classes, and the
/// true fine ones are unknown; with `coarse` or `coarse_labels` they are the fine classes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureVectors {
    /// A file or folder, the URL of a file with its digest (`https://…#sha256=…`), or a table of files.
    source: Files,
    /// The array or column of the vectors; or the columns of their numbers, `*` standing for any letters (`"f*"`).
    #[serde(default)]
    features: Option<Names>,
    /// The array or column of classes: whole numbers 0, 1, 2, … or texts.
    #[serde(default)]
    labels: Option<String>,
    /// The array or column of coarse classes, where `labels` are fine classes.
    #[serde(default)]
    coarse_labels: Option<String>,
    /// The array or column of a name for each row, for people to find it again.
    #[serde(default)]
    names: Option<String>,
    /// The array or column that says which part a row belongs to: train, validation or test, or 0, 1 and 2. Left out, all
    /// rows are train rows.
    #[serde(default)]
    split: Option<String>,
    /// Names of the classes of `labels`, by label; the numbers or texts where left out.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// Names of the classes of `coarse_labels`, by label; the numbers or texts where left out.
    #[serde(default)]
    coarse_classes: Option<Vec<String>>,
    /// Coarse classes: name to classes of `labels` by name or number.
    #[serde(default)]
    coarse: Option<Groups>,
}

/// Where everything stands.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Files {
    /// All in one file or folder.
    One(String),
    /// In a file each.
    Each(EachFile),
}

/// A file for each thing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EachFile {
    /// `.npy`: the vectors `[n, d]`.
    features: String,
    /// Classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    /// Coarse classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coarse_labels: Option<String>,
    /// A name for each row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<String>,
    /// The part of each row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<String>,
}

/// One name or several.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What the workflow says of where things stand in a file.
struct Places<'a> {
    features: Option<&'a [String]>,
    /// Of `labels`, `coarse_labels`, `names` and `split`, in this order.
    columns: [Option<&'a str>; 4],
}

/// The roles of [`Places::columns`].
const ROLES: [&str; 4] = ["labels", "coarse_labels", "names", "split"];

impl Stage for FeatureVectors {
    const NAME: &'static str = "feature-vectors";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str =
        "Vectors that were made elsewhere, with classes, to be clustered and scored";
    const PATH_PARAMETERS: &'static [&'static str] = &["source"];

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "data",
                ArtifactType::Dataset,
                "coarse and fine labels, and the split of each row; no images",
            ),
            Port::new("features", ArtifactType::Array, "f32 [n, d]"),
            Port::new(
                "rows",
                ArtifactType::Table,
                "a line for each row: its number, name, split and classes",
            ),
            Port::new("view", ArtifactType::View, "sizes by split and class"),
        ]
    }

    fn run(self, context: &Context) -> Result<()> {
        let found = self.read(context)?;
        let n = found.vectors.nrows();
        for (role, column) in ROLES.iter().zip(&found.columns) {
            if let Some(column) = column {
                ensure!(
                    column.rows() == n,
                    "`{role}` has {} rows, and `features` has {n}",
                    column.rows()
                );
            }
        }
        let [labels, coarse_labels, names, split] = found.columns;
        let classes = |column: Option<crate::column::Column>,
                       names: &Option<Vec<String>>,
                       role: &str| {
            let classes = |column: crate::column::Column| column.classes(names.as_deref(), role);
            let classes = column.map(classes).transpose()?;
            ensure!(
                classes.is_some() || names.is_none(),
                "names of the classes of {role} are given, and there is no {role}"
            );
            anyhow::Ok(classes)
        };
        let own = |names: &Option<Vec<String>>, of: Option<Vec<String>>| names.clone().or(of);
        let labels = classes(labels, &own(&self.classes, found.classes), "`labels`")?;
        let coarse = classes(coarse_labels, &self.coarse_classes, "`coarse_labels`")?;
        let (coarse, fine) = match (coarse, labels) {
            (Some(_), _) if self.coarse.is_some() => anyhow::bail!(
                "`coarse` groups the classes, and there are coarse labels too; leave one out"
            ),
            (Some(coarse), fine) => (Some(coarse), fine),
            (None, Some(labels)) => coarse::or_coarse(self.coarse.as_ref(), labels)?,
            (None, None) => {
                ensure!(
                    self.coarse.is_none(),
                    "`coarse` groups classes, and there are none: give `labels`"
                );
                (None, None)
            }
        };
        let split = match split {
            Some(column) => column.splits("`split`")?,
            None => vec![Split::Train; n],
        };
        let take = |classes: Option<Classes>| match classes {
            Some(classes) => (classes.names, Some(classes.labels.into())),
            None => (vec![], None),
        };
        let (coarse_names, coarse) = take(coarse);
        let (fine_names, fine) = take(fine);
        let meta = Meta {
            name: Self::NAME.into(),
            coarse_names,
            fine_names,
            mean: vec![],
            std: vec![],
        };
        let rows = Rows {
            coarse,
            fine,
            split,
        };
        let count = |split| rows.of(split).len();
        context.log(format!(
            "{n} vectors of {} numbers: {} train, {} validation, {} test; {} coarse and {} fine classes",
            found.vectors.ncols(),
            count(Split::Train),
            count(Split::Val),
            count(Split::Test),
            meta.coarse_names.len(),
            meta.fine_names.len()
        ));
        let broken = |row: &usize| found.vectors.row(*row).iter().any(|x| !x.is_finite());
        let broken: Vec<usize> = (0..n).filter(broken).collect();
        if let Some(first) = broken.first() {
            context.warning(format!(
                "{} row(s), such as row {first}, have a number that is missing or not finite: clusterings leave them out",
                broken.len()
            ));
        }
        array::write(&context.output("features")?, &found.vectors)?;
        dataset::write_rows(&context.output("data")?, &meta, &rows)?;
        let names = names.map(crate::column::Column::texts);
        write_table(&context.output("rows")?, names.as_deref(), &meta, &rows)?;
        views::write_sizes(&context.output("view")?, &meta, &rows)
    }
}

impl FeatureVectors {
    fn read(&self, context: &Context) -> Result<Found> {
        let places = Places {
            features: self.features.as_ref().map(|names| match names {
                Names::One(name) => std::slice::from_ref(name),
                Names::Several(names) => names,
            }),
            columns: [
                self.labels.as_deref(),
                self.coarse_labels.as_deref(),
                self.names.as_deref(),
                self.split.as_deref(),
            ],
        };
        match &self.source {
            Files::One(one) => read_one(context, one, &places),
            Files::Each(files) => {
                ensure!(
                    places.features.is_none() && places.columns.iter().all(Option::is_none),
                    "`source` is a table of files; `features`, `labels` and the like belong into it: \
                     source = {{ features = …, labels = … }}"
                );
                let features = source::local(context, &files.features, None)?;
                let mut found = arrays::read_npy(&features, &files.features)?;
                let columns = [
                    &files.labels,
                    &files.coarse_labels,
                    &files.names,
                    &files.split,
                ];
                for (place, path) in found.columns.iter_mut().zip(columns) {
                    if let Some(name) = path {
                        let path = source::local(context, name, None)?;
                        *place = Some(arrays::read_column(&path, name)?);
                    }
                }
                Ok(found)
            }
        }
    }
}

/// Reads a file or folder as what it is by its first bytes.
fn read_one(context: &Context, name: &str, places: &Places) -> Result<Found> {
    let path = source::local(context, name, None)?;
    if path.is_dir() {
        return arrays::read_npz(&path, places);
    }
    let mut start = Vec::new();
    let opened = unpack::open(&path)?;
    let read = opened.take(1 << 12).read_to_end(&mut start);
    read.with_context(|| format!("{name} can't be read"))?;
    match start.get(..4) {
        Some(b"PK\x03\x04") => arrays::read_npz(&path, places),
        Some(b"PAR1") => tables::read_parquet(&path, name, places),
        Some(b"\x93NUM") => {
            ensure!(
                places.features.is_none() && places.columns.iter().all(Option::is_none),
                "{name} is one array: give the labels' file too, source = {{ features = \"{name}\", labels = … }}, in place of \
                 `features`, `labels` and the like"
            );
            arrays::read_npy(&path, name)
        }
        _ => {
            ensure!(
                !start.is_empty() && !start.contains(&0),
                "{name} is none of .npz, .npy, .csv, .tsv and .parquet: save the vectors in one of these, in Python: \
                 numpy.savez(\"x.npz\", features=x, labels=y)"
            );
            tables::read_csv(&path, name, places)
        }
    }
}

fn write_table(path: &Path, names: Option<&[String]>, meta: &Meta, rows: &Rows) -> Result<()> {
    let wrong = || format!("{} can't be written", path.display());
    let mut table = csv::Writer::from_path(path).with_context(wrong)?;
    table
        .write_record(["row", "name", "split", "coarse", "fine"])
        .with_context(wrong)?;
    for (row, split) in rows.split.iter().enumerate() {
        let class = |labels: &Option<ndarray::Array1<i32>>, names: &[String]| {
            let label = labels.as_ref().map(|labels| labels[row] as usize);
            label.map_or(String::new(), |label| names[label].clone())
        };
        let line = [
            row.to_string(),
            names.map_or(String::new(), |names| names[row].clone()),
            match split {
                Split::Train => "train",
                Split::Val => "validation",
                Split::Test => "test",
            }
            .to_owned(),
            class(&rows.coarse, &meta.coarse_names),
            class(&rows.fine, &meta.fine_names),
        ];
        table.write_record(&line).with_context(wrong)?;
    }
    table.flush().with_context(wrong)
}

#[cfg(test)]
mod tests;
