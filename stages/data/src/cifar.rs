//! The kinds `cifar10` and `cifar100`: the official archives, of the binary and of the Python version.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Normalisation, Source, in_memory};
use crate::coarse::{self, Classes, Groups, group};
use crate::content::{Expected, Images};
use crate::pickle::Pickle;
use crate::unpack::{self, Packing, Size};
use crate::{data_output, source};

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
/// The usual mean and standard deviation of each channel of CIFAR.
const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f32; 3] = [0.2023, 0.1994, 0.2010];

/// CIFAR-10 (A. Krizhevsky, 2009): 50,000 train and 10,000 test images of 3x32x32 in 10 classes, which form the coarse
/// classes animal and vehicle.
///
/// First the limit is drawn from train and test rows, then the validation rows from the train rows. Networks normalise
/// with the usual mean (0.4914, 0.4822, 0.4465) and standard deviation (0.2023, 0.1994, 0.2010).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cifar10 {
    /// `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz` as published; the folder of such files; any other `.tar`,
    /// `.tar.gz` or `.zip` of them; or the URL of one with its digest, `https://…#sha256=…`.
    source: String,
    /// What the archive must hash to (`sha256:…` or `blake3:…`); for a URL as good as at its end.
    #[serde(default)]
    digest: Option<String>,
    /// What the images and labels have to be, however they are packed and in whatever order they stand: `blake3:…`, which the
    /// stage's log has, or `{ train = […], test = […] }`, the sums of red, green and blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Expected>,
    /// The share of the train rows that validate; drawn by class and seed.
    #[serde(default = "assemble::default_val")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    val: f64,
    /// The most rows of each split, one number or `{ train = …, test = … }`; drawn by class and seed.
    #[serde(default)]
    limit: Option<Limit>,
    /// Coarse classes: name to fine classes by name or number.
    #[serde(default = "animal_vehicle")]
    coarse: Groups,
}

/// CIFAR-100 (A. Krizhevsky, 2009): 50,000 train and 10,000 test images of 3x32x32 in 100 classes, in groups of five
/// that are the 20 coarse classes.
///
/// First the limit is drawn from train and test rows, then the validation rows from the train rows. Networks normalise
/// with the usual mean (0.4914, 0.4822, 0.4465) and standard deviation (0.2023, 0.1994, 0.2010).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cifar100 {
    /// `cifar-100-binary.tar.gz` or `cifar-100-python.tar.gz` as published; the folder of such files; any other `.tar`,
    /// `.tar.gz` or `.zip` of them; or the URL of one with its digest, `https://…#sha256=…`.
    source: String,
    /// What the archive must hash to (`sha256:…` or `blake3:…`); for a URL as good as at its end.
    #[serde(default)]
    digest: Option<String>,
    /// What the images and labels have to be, however they are packed and in whatever order they stand: `blake3:…`, which the
    /// stage's log has, or `{ train = […], test = […] }`, the sums of red, green and blue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Expected>,
    /// The share of the train rows that validate; drawn by fine class and seed.
    #[serde(default = "assemble::default_val")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    val: f64,
    /// The most rows of each split, one number or `{ train = …, test = … }`; drawn by fine class and seed.
    #[serde(default)]
    limit: Option<Limit>,
}

const CIFAR10_NAMES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

fn animal_vehicle() -> Groups {
    [
        group("animal", ["bird", "cat", "deer", "dog", "frog", "horse"]),
        group("vehicle", ["airplane", "automobile", "ship", "truck"]),
    ]
    .into()
}

/// What the archives hold.
struct Format {
    /// The kind that reads it.
    kind: &'static str,
    /// The folder inside that of the binary version.
    folder: &'static str,
    /// Each binary file, its number of records, and whether they are test rows; in row order. The Python version has the same
    /// files without `.bin`.
    files: &'static [(&'static str, usize, bool)],
    /// Text files of class names, one a line.
    names: &'static [&'static str],
    /// The number of classes of each label byte that a record starts with.
    classes: &'static [u8],
    python: Python,
}

/// Where the Python version, pickles of dictionaries, has the same.
struct Python {
    /// The folder inside the archive.
    folder: &'static str,
    /// The names of the files, in the order of the binary ones.
    files: &'static [&'static str],
    /// The key of each label.
    labels: &'static [&'static str],
    /// The file of class names, and the key of each label's.
    names: (&'static str, &'static [&'static str]),
}

const CIFAR10: Format = Format {
    kind: Cifar10::NAME,
    folder: "cifar-10-batches-bin",
    python: Python {
        folder: "cifar-10-batches-py",
        files: &[
            "data_batch_1",
            "data_batch_2",
            "data_batch_3",
            "data_batch_4",
            "data_batch_5",
            "test_batch",
        ],
        labels: &["labels"],
        names: ("batches.meta", &["label_names"]),
    },
    files: &[
        ("data_batch_1.bin", 10_000, false),
        ("data_batch_2.bin", 10_000, false),
        ("data_batch_3.bin", 10_000, false),
        ("data_batch_4.bin", 10_000, false),
        ("data_batch_5.bin", 10_000, false),
        ("test_batch.bin", 10_000, true),
    ],
    names: &[],
    classes: &[10],
};

const CIFAR100: Format = Format {
    kind: Cifar100::NAME,
    folder: "cifar-100-binary",
    python: PYTHON_100,
    files: &[("train.bin", 50_000, false), ("test.bin", 10_000, true)],
    names: &["coarse_label_names.txt", "fine_label_names.txt"],
    classes: &[20, 100],
};

const PYTHON_100: Python = Python {
    folder: "cifar-100-python",
    files: &["train", "test"],
    labels: &["coarse_labels", "fine_labels"],
    names: ("meta", &["coarse_label_names", "fine_label_names"]),
};

impl Stage for Cifar10 {
    const NAME: &'static str = "cifar10";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "CIFAR-10 from its official files, binary or pickled";
    const SEEDED: bool = true;
    const PATH_PARAMETERS: &'static [&'static str] = &["source"];

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        data_output()
    }

    fn run(self, context: &Context) -> Result<()> {
        let path = source::local(context, &self.source, self.digest.as_deref())?;
        let records = read(&path, &CIFAR10)?;
        records.check(context, &self.source, self.content.as_ref())?;
        let [fine] = lists(records.labels)?;
        let fine = Classes {
            names: CIFAR10_NAMES.map(String::from).to_vec(),
            labels: fine,
        };
        let source = Source {
            name: Self::NAME,
            shape: SHAPE,
            pixels: in_memory(records.pixels, PIXELS),
            coarse: Some(coarse::labels(&self.coarse, &fine)?),
            fine: Some(fine),
            split: records.split,
            normalisation: Some(normalisation()),
        };
        assemble::write(context, source, self.limit.as_ref(), Some(self.val))
    }
}

impl Stage for Cifar100 {
    const NAME: &'static str = "cifar100";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str =
        "CIFAR-100, with its 20 superclasses, from its official files, binary or pickled";
    const SEEDED: bool = true;
    const PATH_PARAMETERS: &'static [&'static str] = &["source"];

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        data_output()
    }

    fn run(self, context: &Context) -> Result<()> {
        let path = source::local(context, &self.source, self.digest.as_deref())?;
        let records = read(&path, &CIFAR100)?;
        records.check(context, &self.source, self.content.as_ref())?;
        let [coarse, fine] = lists(records.labels)?;
        let [coarse_names, fine_names] = lists(records.names)?;
        let source = Source {
            name: Self::NAME,
            shape: SHAPE,
            pixels: in_memory(records.pixels, PIXELS),
            fine: Some(Classes {
                names: fine_names,
                labels: fine,
            }),
            coarse: Some(Classes {
                names: coarse_names,
                labels: coarse,
            }),
            split: records.split,
            normalisation: Some(normalisation()),
        };
        assemble::write(context, source, self.limit.as_ref(), Some(self.val))
    }
}

fn normalisation() -> Normalisation {
    Normalisation {
        mean: MEAN.into(),
        std: STD.into(),
    }
}

/// The lists of a format with `N` label bytes.
fn lists<T, const N: usize>(lists: Vec<Vec<T>>) -> Result<[Vec<T>; N]> {
    lists
        .try_into()
        .ok()
        .context("the format has another number of label bytes")
}

#[derive(Debug)]
struct Records {
    /// `[n, 3, 32, 32]`: a record's bytes are already red, green, blue, each row by row.
    pixels: Vec<u8>,
    /// One list `[n]` for each label byte.
    labels: Vec<Vec<i32>>,
    split: Vec<Split>,
    /// One list for each file of names.
    names: Vec<Vec<String>>,
}

/// The most bytes of a pickle for each image that it holds: its record and a file name.
const PICKLED: usize = 4096;

impl Format {
    /// The binary and the Python version.
    fn packings(&self) -> [Packing<'static>; 2] {
        let record = self.classes.len() + PIXELS;
        let exactly = |records| Size::Exactly((records * record) as u64);
        let binary = self.files.iter().map(|file| (file.0, exactly(file.1)));
        let lists = self.names.iter();
        let pickled = self.python.files.iter().zip(self.files);
        let pickled = pickled.map(|(&name, &(_, records, _))| {
            // What surrounds the images is small, but not in proportion where there are few.
            let most = records * PICKLED + (1 << 20);
            (name, Size::AtMost(most as u64))
        });
        [
            Packing {
                folder: self.folder,
                files: binary
                    .chain(lists.map(|&name| (name, Size::AtMost(1 << 16))))
                    .collect(),
            },
            Packing {
                folder: self.python.folder,
                files: pickled
                    .chain([(self.python.names.0, Size::AtMost(1 << 20))])
                    .collect(),
            },
        ]
    }
}

fn read(path: &Path, format: &Format) -> Result<Records> {
    let other = match format.kind {
        Cifar10::NAME => &CIFAR100,
        _ => &CIFAR10,
    };
    let [binary, pickled] = format.packings();
    // Looked for as well, so that a mix-up is called one.
    let [other_binary, other_pickled] = other.packings();
    let packings = [binary, pickled, other_binary, other_pickled];
    let (packing, mut members) = unpack::members(path, &packings)?;
    ensure!(
        packing < 2,
        "{} is another data set: it holds the files of {}, which the kind `{}` reads; this is `{}`",
        path.display(),
        packings[packing].folder,
        other.kind,
        format.kind
    );
    let total: usize = format.files.iter().map(|(_, records, _)| records).sum();
    let mut found = Records {
        pixels: Vec::with_capacity(total * PIXELS),
        labels: vec![Vec::with_capacity(total); format.classes.len()],
        split: Vec::with_capacity(total),
        names: names(path, format, packing == 1, &members)?,
    };
    for (&(name, records, is_test), pickle) in format.files.iter().zip(format.python.files) {
        let name = if packing == 1 { pickle } else { name };
        let content = members.remove(name).unwrap_or_default();
        let shown = format!("{name} in {}", path.display());
        let begin = found.split.len();
        if packing == 1 {
            found
                .add_pickle(&content, &format.python, records)
                .with_context(|| format!("{shown} is no batch of CIFAR's Python version"))?;
        } else {
            found.add_binary(&content, format.classes.len());
        }
        for (list, &classes) in found.labels.iter().zip(format.classes) {
            let wrong = |label: &i32| !(0..i32::from(classes)).contains(label);
            if let Some(row) = list[begin..].iter().position(wrong) {
                bail!(
                    "{shown}: the label of record {row} is {}, and there are {classes} classes; the file is damaged",
                    list[begin + row]
                );
            }
        }
        let part = if is_test { Split::Test } else { Split::Train };
        found.split.extend(std::iter::repeat_n(part, records));
    }
    Ok(found)
}

impl Records {
    /// Checks what is expected of the images, and says in the log what their digest is.
    fn check(&self, context: &Context, source: &str, expected: Option<&Expected>) -> Result<()> {
        let images = Images {
            pixels: &self.pixels,
            labels: &self.labels,
            split: &self.split,
            names: &self.names,
        };
        let digest = images.digest();
        context.log(format!(
            "the digest of the images, whatever their order: {digest}"
        ));
        let Some(expected) = expected else {
            return Ok(());
        };
        let stage = context.stage().split('[').next().unwrap_or_default();
        expected.check(&images, &digest).with_context(|| {
            format!(
                "{source} is a damaged copy or another set than the workflow expects, and was not used; get it again, or, \
                 for images of your own, say --set stages.{stage}.with.content="
            )
        })
    }

    /// Adds records of label bytes and pixels.
    fn add_binary(&mut self, bytes: &[u8], label_bytes: usize) {
        for record in bytes.chunks_exact(label_bytes + PIXELS) {
            let (labels, image) = record.split_at(label_bytes);
            for (&label, list) in labels.iter().zip(&mut self.labels) {
                list.push(i32::from(label));
            }
            self.pixels.extend_from_slice(image);
        }
    }

    /// Adds the rows of a dictionary of `data` and lists of labels.
    fn add_pickle(&mut self, bytes: &[u8], python: &Python, records: usize) -> Result<()> {
        let batch = Pickle::read(bytes)?;
        let data = batch.array("data")?;
        ensure!(
            data.shape == [records, PIXELS],
            "`data` has the shape {:?} in place of [{records}, {PIXELS}]",
            data.shape
        );
        self.pixels.extend_from_slice(data.bytes);
        for (key, list) in python.labels.iter().zip(&mut self.labels) {
            let labels = batch.integers(key)?;
            ensure!(
                labels.len() == records,
                "`{key}` holds {} labels in place of {records}",
                labels.len()
            );
            // What does not fit is no class either.
            list.extend(
                labels
                    .iter()
                    .map(|&label| i32::try_from(label).unwrap_or(-1)),
            );
        }
        Ok(())
    }
}

/// The names of the classes: one list for each file of names.
fn names(
    path: &Path,
    format: &Format,
    pickled: bool,
    members: &BTreeMap<&'static str, Vec<u8>>,
) -> Result<Vec<Vec<String>>> {
    let (file, keys) = format.python.names;
    let meta = match pickled {
        true => Some(
            Pickle::read(&members[file])
                .with_context(|| format!("{file} in {}", path.display()))?,
        ),
        false => None,
    };
    let mut lists = Vec::new();
    for ((&name, &classes), key) in format.names.iter().zip(format.classes).zip(keys) {
        let (lines, shown) = match &meta {
            Some(meta) => (meta.texts(key), file),
            None => (lines(&members[name]), name),
        };
        let shown = format!("{shown} in {}", path.display());
        let lines = lines.with_context(|| shown.clone())?;
        ensure!(
            lines.len() == usize::from(classes),
            "{shown}: expected {classes} names, found {}",
            lines.len()
        );
        lists.push(lines);
    }
    Ok(lists)
}

/// The lines of a text that hold something.
fn lines(bytes: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(bytes).context("it is no text")?;
    let lines = text.lines().map(|line| line.trim().to_string());
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

#[cfg(test)]
mod tests;
