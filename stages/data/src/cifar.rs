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

fn read(path: &Path, format: &Format) -> Result<Records> {
    let record = format.classes.len() + PIXELS;
    let exactly = |records| Size::Exactly((records * record) as u64);
    let binary = format.files.iter().map(|file| (file.0, exactly(file.1)));
    let lists = format.names.iter();
    let binary = Packing {
        folder: format.folder,
        files: binary
            .chain(lists.map(|&name| (name, Size::AtMost(1 << 16))))
            .collect(),
    };
    let pickled = format.python.files.iter().zip(format.files);
    let pickled = pickled.map(|(&name, &(_, records, _))| {
        // What surrounds the images is small, but not in proportion where there are few.
        let most = records * PICKLED + (1 << 20);
        (name, Size::AtMost(most as u64))
    });
    let pickled = Packing {
        folder: format.python.folder,
        files: pickled
            .chain([(format.python.names.0, Size::AtMost(1 << 20))])
            .collect(),
    };
    let (packing, mut members) = unpack::members(path, &[binary, pickled])?;
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
mod tests {
    use super::*;
    use crate::testing::{fixture, run, sha256};
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
        python: PYTHON_100,
    };

    /// The records of [`SMALL`] as Python's pickle has them: files that `tests/fixtures/make.py` wrote.
    fn pickled(protocol: u32) -> std::path::PathBuf {
        fixture(&format!("cifar-pickled-{protocol}"))
    }

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

    #[test]
    fn pickles_give_the_rows_of_the_binary_files() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &SMALL);
        let binary = read(folder.path(), &SMALL).unwrap();
        for protocol in [2, 4, 5] {
            let found = read(&pickled(protocol), &SMALL).unwrap();
            assert_eq!(found.labels, binary.labels);
            assert_eq!(found.split, binary.split);
            assert_eq!(found.names, binary.names);
            assert!(found.pixels == binary.pixels, "protocol {protocol}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_pickle_is_said() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["train", "test", "meta"] {
            let bytes = fs::read(pickled(2).join(name)).unwrap();
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let says = |bytes: &[u8], text: &str| {
            fs::write(folder.path().join("train"), bytes).unwrap();
            let error = format!("{:#}", read(folder.path(), &SMALL).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        let good = fs::read(pickled(2).join("train")).unwrap();
        says(&good[..good.len() / 2], "train in");
        says(&good[..good.len() / 2], "is truncated");
        says(
            b"hello",
            "is no batch of CIFAR's Python version: it is no pickle",
        );
        says(b"\x80\x02}.", "it has no `data`");
        says(b"\x80\x02]].", "it holds no dictionary");
        let test = fs::read(pickled(2).join("test")).unwrap();
        says(
            &test,
            "`data` has the shape [2, 3072] in place of [4, 3072]",
        );
        let nested = [b"\x80\x02".as_slice(), &[b']'; 500_000], b".".as_slice()].concat();
        says(&nested, "it holds no dictionary");
        // os.system: named, and never called.
        says(
            b"\x80\x02cposix\nsystem\n(U\x04exittR.",
            "it holds no dictionary",
        );
    }

    proptest! {
        #[test]
        fn no_pickle_makes_it_panic(at in 0..16384usize, value: u8, cut in 0..16384usize, protocol in 0..3u32) {
            let mut bytes = fs::read(pickled([2, 4, 5][protocol as usize]).join("train")).unwrap();
            let n = bytes.len();
            // Most of a batch is pixels: the others stand at both ends.
            let at = if at % 2 == 0 { at % 200 } else { n - 1 - at % 600 };
            bytes[at] = value;
            bytes.truncate(cut.max(n / 2));
            if let Ok(batch) = Pickle::read(&bytes) {
                let _ = (batch.array("data"), batch.integers("fine_labels"), batch.texts("filenames"));
            }
        }

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
