//! The kind `parquet-images`: encoded images and labels in Parquet files, as the Hugging Face hub has them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;
use flow_stage::protocol::Resources;
use flow_stage::{Context, Port, Stage};
use parquet::data_type::ByteArray;
use parquet::record::Field;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::assemble::{self, Limit, Normalisation, Source};
use crate::coarse::{self, Classes, Groups};
use crate::column::split_of;
use crate::data_output;
use crate::picture::{self, Colour, Shape, Size};
use crate::source;
use crate::table::{Content, Scan, Table};

/// Images in Parquet files, a row each, as data sets on the Hugging Face hub are stored and as `datasets` writes them
/// (`Dataset.to_parquet`): a column of encoded images (PNG, JPEG and the other formats of `image-folder`) and columns of labels.
///
/// Names of classes stand in the metadata that `datasets` writes; a label that is a text is a name itself. Files called
/// `train-…`, `validation-…` and `test-…`, or in folders of these names, are the splits; without them `test` and `val` are
/// drawn. The labels are coarse classes, and the true fine ones are unknown; with `coarse` or `coarse_labels` they are the
/// fine classes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetImages {
    /// A file, a folder whose `.parquet` files are read, a glob, a URL with its digest (`https://…#sha256=…`), a list of
    /// these, or `{ train = …, val = …, test = … }` where the names don't say which split a file is.
    source: Files,
    /// The column of images. Left out, the only one that there is.
    #[serde(default)]
    images: Option<String>,
    /// The column of classes. Left out, the only one that has names of classes, or else `label`.
    #[serde(default)]
    labels: Option<String>,
    /// The column of coarse classes, where `labels` are fine classes.
    #[serde(default)]
    coarse_labels: Option<String>,
    /// Names of the classes of `labels`, by label; those of the metadata where left out.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// Names of the classes of `coarse_labels`, by label; those of the metadata where left out.
    #[serde(default)]
    coarse_classes: Option<Vec<String>>,
    /// Coarse classes: name to classes of `labels` by name or number.
    #[serde(default)]
    coarse: Option<Groups>,
    /// Scale each image to `size` by `size` pixels, or to `[height, width]`. Left out, all have to have one size.
    #[serde(default)]
    size: Option<Size>,
    /// `rgb`, or `grey`: one channel, of Rec. 709 luma.
    #[serde(default)]
    colour: Colour,
    /// The share of the images that are test images, where no file is one of test images: 0.2 unless given. Drawn by class
    /// and seed.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    test: Option<f64>,
    /// The share of the train images that validate, where no file is one of validation images: 0.1 unless given. Drawn by
    /// class and seed.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    val: Option<f64>,
    /// The most images of each split, one number or `{ train = …, val = …, test = … }`; drawn by class and seed.
    #[serde(default)]
    limit: Option<Limit>,
    /// `{ mean = […], std = […] }` of each channel, of values in 0..1; computed from the train images where left out.
    #[serde(default)]
    normalisation: Option<Normalisation>,
}

/// Where the files are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Files {
    /// Files whose names may say which split they are.
    Any(Paths),
    /// Files of each split.
    Splits(SplitFiles),
}

/// One path or several.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Paths {
    /// One.
    One(String),
    /// Several.
    Several(Vec<OneOrMatches>),
}

/// A path, or what a glob in a list matches.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMatches {
    /// A path.
    One(String),
    /// What a glob matches.
    Matches(Vec<String>),
}

/// Files of each split.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SplitFiles {
    /// Of train images.
    train: Paths,
    /// Of validation images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    val: Option<Paths>,
    /// Of test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test: Option<Paths>,
}

impl Paths {
    fn all(&self) -> Vec<&String> {
        match self {
            Paths::One(path) => vec![path],
            Paths::Several(items) => items
                .iter()
                .flat_map(|item| match item {
                    OneOrMatches::One(path) => std::slice::from_ref(path),
                    OneOrMatches::Matches(paths) => paths,
                })
                .collect(),
        }
    }
}

impl Stage for ParquetImages {
    const NAME: &'static str = "parquet-images";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str = "Images in Parquet files, such as those of the Hugging Face hub";
    const SEEDED: bool = true;
    const PATH_PARAMETERS: &'static [&'static str] = &["source"];

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        data_output()
    }

    fn resources() -> Resources {
        // Decoding takes all cores.
        Resources {
            cpus: 0,
            ..Resources::default()
        }
    }

    fn run(self, context: &Context) -> Result<()> {
        let files = self.files(context)?;
        let splits: Vec<Option<Split>> = files.iter().map(|file| file.split).collect();
        let table = Table::open(
            files
                .into_iter()
                .map(|file| (file.path, file.name))
                .collect(),
        )?;
        let splits = of_rows(&table, &splits);
        let images = self.images_column(&table)?;
        let labels = self.labels_column(&table)?;
        let classes = classes(&table, &labels, self.classes.as_deref())?;
        let (coarse, fine) = match &self.coarse_labels {
            Some(column) => {
                ensure!(
                    self.coarse.is_none(),
                    "`coarse` and `coarse_labels` both give coarse classes; leave one out"
                );
                let coarse = self::classes(&table, column, self.coarse_classes.as_deref())
                    .context("`coarse_labels`")?;
                (Some(coarse), Some(classes))
            }
            None => {
                ensure!(
                    self.coarse_classes.is_none(),
                    "`coarse_classes` names the classes of `coarse_labels`, and there are none"
                );
                coarse::or_coarse(self.coarse.as_ref(), classes)?
            }
        };
        let shape = Shape::new(self.size, self.colour, || {
            let mut encoded = Encoded::new(&table, &images);
            let (name, bytes) = encoded.of(&[0])?.remove(0);
            picture::decode(bytes.data(), &name)
        })?;
        let mut encoded = Encoded::new(&table, &images);
        let rows = table.rows();
        let source = Source {
            name: Self::NAME,
            shape: shape.dimensions(),
            pixels: Box::new(move |rows, buffer| {
                let encoded = encoded.of(rows)?;
                shape.decode_all(buffer, |place| {
                    let (name, bytes) = &encoded[place];
                    Ok((name.clone(), bytes.data()))
                })
            }),
            fine,
            coarse,
            split: vec![Split::Train; rows],
            normalisation: self.normalisation,
        };
        ensure!(
            splits.is_none() || self.test.is_none(),
            "the files say which images are test images; leave `test` out"
        );
        let source = source.with_splits(splits, self.test, context.seed())?;
        let val = source.share_of_validation(self.val)?;
        assemble::write(context, source, self.limit.as_ref(), val)
    }
}

/// A file, and which split it is by its name or the workflow's word.
struct Found {
    path: PathBuf,
    name: String,
    split: Option<Split>,
}

impl ParquetImages {
    fn files(&self, context: &Context) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        match &self.source {
            Files::Any(paths) => self.add(context, paths, None, &mut found)?,
            Files::Splits(splits) => {
                self.add(context, &splits.train, Some(Split::Train), &mut found)?;
                for (paths, split) in [(&splits.val, Split::Val), (&splits.test, Split::Test)] {
                    if let Some(paths) = paths {
                        self.add(context, paths, Some(split), &mut found)?;
                    }
                }
                return Ok(found);
            }
        }
        let known = found.iter().filter(|file| file.split.is_some()).count();
        if !found.iter().any(|file| file.split == Some(Split::Train)) {
            // A lone file of test images, say, is all that there is.
            found.iter_mut().for_each(|file| file.split = None);
        } else if known < found.len() {
            let other = found.iter().find(|file| file.split.is_none());
            bail!(
                "{} has a name that doesn't say whether it is train, validation or test, as others do: give \
                 `source = {{ train = …, test = … }}`",
                other.map_or("", |file| &file.name)
            );
        }
        found.sort_by_key(|file| file.split.map(|split| split as u8));
        Ok(found)
    }

    fn add(
        &self,
        context: &Context,
        paths: &Paths,
        split: Option<Split>,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        for source in paths.all() {
            let path = source::local(context, source, None)?;
            if source::is_url(source) {
                // Files of one name, from several places.
                let own = context.work().join(format!("{}.parquet", found.len()));
                fs::rename(&path, &own)
                    .with_context(|| format!("{} can't be written", own.display()))?;
                let url = source.split(['?', '#']).next().unwrap_or(source);
                found.push(Found {
                    path: own,
                    name: url.to_owned(),
                    split: split.or_else(|| split_of_path(Path::new(url))),
                });
                continue;
            }
            let before = found.len();
            for entry in WalkDir::new(&path).sort_by_file_name() {
                let entry = entry.with_context(|| format!("{source} can't be read"))?;
                let inside = entry.path();
                // A file that is named counts whatever its ending is.
                let is_parquet = inside.extension().is_some_and(|e| e == "parquet");
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                if inside.is_file() && (entry.depth() == 0 || is_parquet && !hidden) {
                    let below = match entry.depth() {
                        0 => inside,
                        _ => inside.strip_prefix(&path).unwrap_or(inside),
                    };
                    found.push(Found {
                        path: inside.to_owned(),
                        name: inside.display().to_string(),
                        split: split.or_else(|| split_of_path(below)),
                    });
                }
            }
            ensure!(
                found.len() > before,
                "{source} holds no .parquet file; `source` is a file, a folder of such files, or a URL"
            );
        }
        Ok(())
    }

    fn images_column(&self, table: &Table) -> Result<String> {
        let holds_images = |content: Content| matches!(content, Content::Image | Content::Bytes);
        if let Some(column) = &self.images {
            ensure!(
                holds_images(table.content(column)?),
                "the column `{column}` of {} holds no bytes, as a column of images does",
                table.name()
            );
            return Ok(column.clone());
        }
        let of = |wanted: Content| -> Vec<&String> {
            let columns = table.columns().iter();
            let columns = columns.filter(|(_, content)| *content == wanted);
            columns.map(|(name, _)| name).collect()
        };
        let structs = of(Content::Image);
        let candidates = match structs.is_empty() {
            true => of(Content::Bytes),
            false => structs,
        };
        match candidates[..] {
            [column] => Ok(column.clone()),
            [] => bail!(
                "{} has no column of images, which is one of bytes or of structs with a field `bytes`: it has {}",
                table.name(),
                names(table)
            ),
            _ => bail!(
                "{} has several columns that may hold the images: name one of them, `images = \"{}\"`",
                table.name(),
                candidates[0]
            ),
        }
    }

    fn labels_column(&self, table: &Table) -> Result<String> {
        if let Some(column) = &self.labels {
            return Ok(column.clone());
        }
        let columns = table.columns().iter().map(|(name, _)| name);
        let named: Vec<&String> = columns
            .filter(|name| table.class_names(name).is_some())
            .filter(|name| Some(*name) != self.coarse_labels.as_ref())
            .collect();
        match named[..] {
            [column] => Ok(column.clone()),
            [] if table.content("label").is_ok() => Ok("label".into()),
            [] => bail!(
                "{} doesn't say which column holds the classes: give `labels`; the columns are {}",
                table.name(),
                names(table)
            ),
            [first, second, ..] => bail!(
                "{} has several columns of classes: give `labels = \"{first}\"` or another one, and `coarse_labels = \
                 \"{second}\"` or another one where it groups the classes of `labels`",
                table.name()
            ),
        }
    }
}

fn names(table: &Table) -> String {
    let names: Vec<&str> = table
        .columns()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.join(", ")
}

fn classes(table: &Table, column: &str, names: Option<&[String]>) -> Result<Classes> {
    let of_metadata = table.class_names(column);
    let names = names.or(of_metadata.as_deref());
    let what = format!("the column `{column}` of {}", table.name());
    table.read(column)?.classes(names, &what)
}

/// The split of each row; none where the files don't say any.
fn of_rows(table: &Table, splits: &[Option<Split>]) -> Option<Vec<Split>> {
    let files = splits.iter().zip(table.rows_of_files());
    let rows = files.map(|(split, rows)| split.map(|split| vec![split; rows]));
    Some(rows.collect::<Option<Vec<_>>>()?.concat())
}

/// Which split a file is, by a word of its name or else of its folder's.
fn split_of_path(path: &Path) -> Option<Split> {
    let word = |part: &std::ffi::OsStr| {
        let part = part.to_string_lossy().into_owned();
        let mut words = part.split(|c: char| !c.is_ascii_alphabetic());
        words.find_map(split_of)
    };
    let folder = path.parent().and_then(Path::file_name);
    path.file_name()
        .and_then(word)
        .or_else(|| folder.and_then(word))
}

/// The encoded images of a table, from the first on.
struct Encoded {
    scan: Scan,
    column: String,
    next: usize,
}

impl Encoded {
    fn new(table: &Table, column: &str) -> Self {
        Encoded {
            scan: table.scan(&[column.to_owned()]),
            column: column.to_owned(),
            next: 0,
        }
    }

    /// Name and bytes of the images of these rows, which ascend and come after those that were asked for before.
    fn of(&mut self, rows: &[usize]) -> Result<Vec<(String, ByteArray)>> {
        let mut found = Vec::with_capacity(rows.len());
        for &row in rows {
            while self.next < row {
                self.scan.next_row()?;
                self.next += 1;
            }
            let field = self.scan.next_row()?.pop();
            self.next += 1;
            let name = format!("the image of row {row} (column `{}`)", self.column);
            let bytes = match field {
                Some(Field::Bytes(bytes)) => Some(bytes),
                Some(Field::Group(inner)) => {
                    let inner = inner.into_columns().into_iter();
                    inner
                        .filter(|(name, _)| name == "bytes")
                        .find_map(|(_, field)| match field {
                            Field::Bytes(bytes) => Some(bytes),
                            _ => None,
                        })
                }
                _ => None,
            };
            let bytes = bytes.with_context(|| {
                format!(
                    "{name} is not there, or a path alone: write the files with the images in them, in Python: \
                     dataset.to_parquet(…) of `datasets` 2.4 or newer, or leave such rows out"
                )
            })?;
            found.push((name, bytes));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
