//! The kinds `cifar10` and `cifar100`: the official binary archives.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Normalisation, Source, in_memory};
use crate::coarse::{self, Classes, Groups, group};
use crate::unpack::{self, Size};
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
    /// `cifar-10-binary.tar.gz` as published, the folder it unpacks to, or a URL of the archive.
    source: String,
    /// What the archive must hash to (`sha256:…` or `blake3:…`). A URL needs it.
    #[serde(default)]
    digest: Option<String>,
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
    /// `cifar-100-binary.tar.gz` as published, the folder it unpacks to, or a URL of the archive.
    source: String,
    /// What the archive must hash to (`sha256:…` or `blake3:…`). A URL needs it.
    #[serde(default)]
    digest: Option<String>,
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

/// What an archive holds.
struct Format {
    /// The folder inside it.
    folder: &'static str,
    /// Each binary file, its number of records, and whether they are test rows; in row order.
    files: &'static [(&'static str, usize, bool)],
    /// Text files of class names, one a line.
    names: &'static [&'static str],
    /// The number of classes of each label byte that a record starts with.
    classes: &'static [u8],
}

const CIFAR10: Format = Format {
    folder: "cifar-10-batches-bin",
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
    folder: "cifar-100-binary",
    files: &[("train.bin", 50_000, false), ("test.bin", 10_000, true)],
    names: &["coarse_label_names.txt", "fine_label_names.txt"],
    classes: &[20, 100],
};

impl Stage for Cifar10 {
    const NAME: &'static str = "cifar10";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "CIFAR-10 from its official binary archive";
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
        "CIFAR-100, with its 20 superclasses, from its official binary archive";
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

fn read(path: &Path, format: &Format) -> Result<Records> {
    let label_bytes = format.classes.len();
    let record = label_bytes + PIXELS;
    let mut wanted: Vec<(&str, Size)> = format
        .files
        .iter()
        .map(|&(name, records, _)| (name, Size::Exactly((records * record) as u64)))
        .collect();
    wanted.extend(
        format
            .names
            .iter()
            .map(|&name| (name, Size::AtMost(1 << 16))),
    );
    let mut members = unpack::members(path, format.folder, &wanted)?;
    let mut take = |name: &str| {
        members
            .remove(name)
            .with_context(|| format!("{} has no {name}", path.display()))
    };

    let total: usize = format.files.iter().map(|(_, records, _)| records).sum();
    let mut pixels = Vec::with_capacity(total * PIXELS);
    let mut labels = vec![Vec::with_capacity(total); label_bytes];
    let mut split = Vec::with_capacity(total);
    for &(name, records, is_test) in format.files {
        for (row, bytes) in take(name)?.chunks_exact(record).enumerate() {
            let (found, image) = bytes.split_at(label_bytes);
            for ((&label, &classes), list) in found.iter().zip(format.classes).zip(&mut labels) {
                ensure!(
                    label < classes,
                    "{name} in {}: the label of record {row} is {label}, and there are {classes} classes; the file is damaged",
                    path.display()
                );
                list.push(i32::from(label));
            }
            pixels.extend_from_slice(image);
        }
        let part = if is_test { Split::Test } else { Split::Train };
        split.extend(std::iter::repeat_n(part, records));
    }
    let mut names = Vec::new();
    for (&name, &classes) in format.names.iter().zip(format.classes) {
        let text = String::from_utf8(take(name)?)
            .with_context(|| format!("{name} in {} is no text", path.display()))?;
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.trim().to_string())
            .filter(|line| !line.is_empty())
            .collect();
        ensure!(
            lines.len() == usize::from(classes),
            "{name} in {}: expected {classes} names, found {}",
            path.display(),
            lines.len()
        );
        names.push(lines);
    }
    Ok(Records {
        pixels,
        labels,
        split,
        names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{run, sha256};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use serde_json::json;
    use std::fs;

    const SMALL: Format = Format {
        folder: "cifar-100-binary",
        files: &[("train.bin", 4, false), ("test.bin", 2, true)],
        names: &["coarse_label_names.txt", "fine_label_names.txt"],
        classes: &[2, 3],
    };

    /// Records whose labels are row modulo classes, and whose first red, green and blue pixels are row, 100 and 200.
    fn records(format: &Format, records: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in 0..records {
            bytes.extend(format.classes.iter().map(|&c| (row % usize::from(c)) as u8));
            let mut image = [0; PIXELS];
            (image[0], image[1024], image[2048]) = (row as u8, 100, 200);
            bytes.extend(image);
        }
        bytes
    }

    fn write(folder: &Path, format: &Format) {
        for &(name, count, _) in format.files {
            fs::write(folder.join(name), records(format, count)).unwrap();
        }
        for (&name, &classes) in format.names.iter().zip(format.classes) {
            let lines: String = (0..classes).map(|c| format!("{name}{c}\n")).collect();
            fs::write(folder.join(name), lines).unwrap();
        }
    }

    fn archive(folder: &Path, format: &Format) -> Vec<u8> {
        let gz = GzEncoder::new(Vec::new(), Compression::fast());
        let mut tar = tar::Builder::new(gz);
        // In a fixed order, since a test cuts the archive inside a certain member.
        let files = format.files.iter().map(|(name, ..)| name);
        for name in files.chain(format.names) {
            let member = Path::new(format.folder).join(name);
            tar.append_path_with_name(folder.join(name), member)
                .unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn records_names_and_channels_are_read() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &SMALL);
        let found = read(folder.path(), &SMALL).unwrap();
        assert_eq!(
            found.labels,
            [vec![0, 1, 0, 1, 0, 1], vec![0, 1, 2, 0, 0, 1]]
        );
        assert_eq!(found.split[..4], [Split::Train; 4]);
        assert_eq!(found.split[4..], [Split::Test; 2]);
        let pixel = |row: usize, channel: usize| found.pixels[row * PIXELS + channel * 1024];
        assert_eq!((pixel(3, 0), pixel(3, 1), pixel(3, 2)), (3, 100, 200));
        assert_eq!(
            found.names[0],
            ["coarse_label_names.txt0", "coarse_label_names.txt1"]
        );
    }

    #[test]
    fn truncated_files_wrong_labels_and_missing_names_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let says = |text: &str| {
            let error = format!("{:#}", read(folder.path(), &SMALL).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        write(folder.path(), &SMALL);
        let train = folder.path().join("train.bin");
        let mut bytes = records(&SMALL, 4);
        bytes[3074 + 1] = 3;
        fs::write(&train, &bytes).unwrap();
        says("train.bin in");
        says("the label of record 1 is 3, and there are 3 classes");
        fs::write(&train, &bytes[..3 * 3074]).unwrap();
        says("train.bin is truncated: expected 12296 bytes, found 9222");
        write(folder.path(), &SMALL);
        fs::write(folder.path().join("fine_label_names.txt"), "a\nb\n").unwrap();
        says("fine_label_names.txt in");
        says("expected 3 names, found 2");
        fs::remove_file(&train).unwrap();
        says("has no regular file train.bin");
    }

    #[test]
    fn the_official_cifar10_layout_is_read_from_its_archive() {
        let folder = tempfile::tempdir().unwrap();
        let unpacked = folder.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        write(&unpacked, &CIFAR10);
        let bytes = archive(&unpacked, &CIFAR10);
        let path = folder.path().join("cifar-10-binary.tar.gz");
        fs::write(&path, &bytes).unwrap();
        let data = run::<Cifar10>(json!({
            "source": path,
            "digest": sha256(&bytes),
            "limit": { "train": 1000, "test": 50 },
        }))
        .unwrap();
        let count = |split| data.rows.of(split).len();
        assert_eq!(
            (count(Split::Train), count(Split::Val), count(Split::Test)),
            (900, 100, 50)
        );
        let (coarse, fine) = (
            data.rows.coarse.as_ref().unwrap(),
            data.rows.fine.as_ref().unwrap(),
        );
        assert_eq!(data.meta.coarse_names, ["animal", "vehicle"]);
        assert!(
            coarse
                .iter()
                .zip(fine)
                .all(|(c, f)| (*c == 1) == [0, 1, 8, 9].contains(f))
        );
        assert_eq!(data.meta.mean, MEAN);
        // The six members pack alike: five twelfths end in the middle of the third.
        fs::write(&path, &bytes[..bytes.len() * 5 / 12]).unwrap();
        let error = format!(
            "{:#}",
            run::<Cifar10>(json!({ "source": path })).unwrap_err()
        );
        assert!(
            error.contains("data_batch_3.bin in ")
                && error.contains("is truncated: expected 30730000 bytes, found"),
            "{error}"
        );
    }

    #[test]
    fn the_official_cifar100_layout_is_read_from_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &CIFAR100);
        let data = run::<Cifar100>(json!({ "source": folder.path(), "limit": 200 })).unwrap();
        assert_eq!(data.meta.fine_names.len(), 100);
        assert_eq!(data.meta.coarse_names[19], "coarse_label_names.txt19");
        // Two rows of each fine class and split.
        for split in [false, true] {
            let mut counts = [0; 100];
            for (row, &fine) in data.rows.fine.as_ref().unwrap().iter().enumerate() {
                counts[fine as usize] +=
                    usize::from((data.rows.split[row] == Split::Test) == split);
            }
            assert_eq!(counts, [2; 100]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..8192usize, value: u8, cut in 0..8192usize) {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &SMALL);
            let mut bytes = archive(folder.path(), &SMALL);
            let n = bytes.len();
            bytes[at % n] = value;
            bytes.truncate(cut.max(n / 2));
            let path = folder.path().join("x.tar.gz");
            fs::write(&path, bytes).unwrap();
            let _ = read(&path, &SMALL);
        }
    }
}
