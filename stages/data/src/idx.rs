//! The kind `idx`: the four files of MNIST, Fashion-MNIST and other sets of their format.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Source, in_memory};
use crate::coarse::{self, Classes, Groups};
use crate::{data_output, source, unpack};

/// MNIST, Fashion-MNIST and every other set of the same four IDX files (<http://yann.lecun.com/exdb/mnist/>), packed
/// with gzip or not: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, or the same with `.idx3-ubyte` and `.idx1-ubyte`, each with or without `.gz`.
///
/// First the limit is drawn from train and test rows, then the validation rows from the train rows. Mean and standard
/// deviation are those of the train rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Idx {
    /// The folder of the four files, or the URL of one, whose four `…-ubyte.gz` files are then downloaded.
    source: String,
    /// What each file, or what it unpacks to, must hash to: `train_images`, `train_labels`, `test_images` and
    /// `test_labels`, each `sha256:…` or `blake3:…`. A URL needs all four.
    #[serde(default)]
    digest: Digests,
    /// Names of the classes by label; the numbers where left out, since the files hold no names.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// Coarse classes: name to fine classes by name or number. Left out, the data has no coarse labels.
    #[serde(default)]
    coarse: Option<Groups>,
    /// The share of the train rows that validate; drawn by class and seed.
    #[serde(default = "assemble::default_val")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    val: f64,
    /// The most rows of each split, one number or `{ train = …, test = … }`; drawn by class and seed.
    #[serde(default)]
    limit: Option<Limit>,
}

/// The most elements of a file: they are read into memory.
const MOST: u64 = 2 << 30;

/// The digest of each file.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// Of `train-images-idx3-ubyte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    train_images: Option<String>,
    /// Of `train-labels-idx1-ubyte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    train_labels: Option<String>,
    /// Of `t10k-images-idx3-ubyte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_images: Option<String>,
    /// Of `t10k-labels-idx1-ubyte`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_labels: Option<String>,
}

impl Stage for Idx {
    const NAME: &'static str = "idx";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "MNIST, Fashion-MNIST and other data of the same four IDX files";
    const SEEDED: bool = true;
    const PATH_PARAMETERS: &'static [&'static str] = &["source"];

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        data_output()
    }

    fn run(self, context: &Context) -> Result<()> {
        let digests = &self.digest;
        let part = |name: &str, images: &Option<String>, labels: &Option<String>| {
            let images = self.locate(context, name, 3, images)?;
            let labels = self.locate(context, name, 1, labels)?;
            read_part(&images, &labels)
        };
        let train = part("train", &digests.train_images, &digests.train_labels)?;
        let test = part("t10k", &digests.test_images, &digests.test_labels)?;
        ensure!(
            (train.height, train.width) == (test.height, test.width),
            "{}: the train images are {}x{} pixels, the test images {}x{}",
            self.source,
            train.height,
            train.width,
            test.height,
            test.width
        );
        let mut split = vec![Split::Train; train.labels.len()];
        split.resize(train.labels.len() + test.labels.len(), Split::Test);
        let (height, width) = (train.height, train.width);
        let labels = [train.labels, test.labels].concat();
        let labels = labels.into_iter().map(i32::from).collect();
        let mut pixels = train.pixels;
        pixels.extend(test.pixels);
        let fine = Classes::named(self.classes.as_deref(), labels)?;
        let source = Source {
            name: Self::NAME,
            shape: [1, height, width],
            pixels: in_memory(pixels, height * width),
            coarse: self
                .coarse
                .as_ref()
                .map(|groups| coarse::labels(groups, &fine))
                .transpose()?,
            fine: Some(fine),
            split,
            normalisation: None,
        };
        assemble::write(context, source, self.limit.as_ref(), Some(self.val))
    }
}

impl Idx {
    /// The path of the file with `dimensions` dimensions of the part `train` or `t10k`, checked against its digest.
    fn locate(
        &self,
        context: &Context,
        part: &str,
        dimensions: u8,
        digest: &Option<String>,
    ) -> Result<PathBuf> {
        let what = if dimensions == 3 { "images" } else { "labels" };
        let name = format!("{part}-{what}-idx{dimensions}-ubyte");
        let found = if source::is_url(&self.source) {
            let base = self.source.trim_end_matches('/');
            format!("{base}/{name}.gz")
        } else {
            let dotted = name.replace("-idx", ".idx");
            let folder = Path::new(&self.source);
            ensure!(
                folder.is_dir(),
                "{} is no folder; `source` is the folder of the four IDX files",
                self.source
            );
            [&name, &dotted]
                .into_iter()
                .flat_map(|name| [name.clone(), format!("{name}.gz")])
                .map(|name| folder.join(name))
                .find(|path| path.is_file())
                .with_context(|| {
                    format!(
                        "{} holds neither {name} nor {dotted}, with or without .gz",
                        self.source
                    )
                })?
                .to_string_lossy()
                .into_owned()
        };
        source::local(context, &found, digest.as_deref())
            .with_context(|| format!("the {what} of the {part} part"))
    }
}

#[derive(Debug)]
struct Part {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

fn read_part(images: &Path, labels: &Path) -> Result<Part> {
    let (shape, pixels) = read_file(images, 3)?;
    let (count, label_bytes) = read_file(labels, 1)?;
    ensure!(
        shape[0] == count[0],
        "{} has {} images, and {} has {} labels",
        images.display(),
        shape[0],
        labels.display(),
        count[0]
    );
    Ok(Part {
        height: shape[1] as usize,
        width: shape[2] as usize,
        pixels,
        labels: label_bytes,
    })
}

/// The shape and the bytes of an IDX file: two zeros, the element type (8: unsigned byte), the number of dimensions,
/// each dimension as a big-endian u32, the elements in row-major order.
pub(crate) fn read_file(path: &Path, dimensions: u8) -> Result<(Vec<u32>, Vec<u8>)> {
    let name = path.display().to_string();
    let mut reader = unpack::open(path)?;
    let size = 4 + 4 * u64::from(dimensions);
    let header = unpack::read_exactly((&mut reader).take(size), &name, size)
        .with_context(|| format!("{name} has no whole IDX header"))?;
    if header[..4] != [0, 0, 8, dimensions] {
        bail!(
            "{name} is no IDX file of unsigned bytes in {dimensions} dimension(s): it starts with {:02x?} in place of {:02x?}",
            &header[..4],
            [0, 0, 8, dimensions]
        );
    }
    let shape: Vec<u32> = header[4..]
        .chunks_exact(4)
        .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let elements = shape
        .iter()
        .try_fold(1u64, |product, &n| product.checked_mul(u64::from(n)))
        .filter(|n| (1..=MOST).contains(n))
        .with_context(|| format!("{name} says that its shape is {shape:?}, which can't be"))?;
    let bytes = unpack::read_exactly(reader, &format!("{name} (shape {shape:?})"), elements)?;
    Ok((shape, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, run, sha256};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use serde_json::json;
    use std::fs;
    use std::io::Write;

    fn idx(shape: &[u32], bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut file = vec![0, 0, 8, shape.len() as u8];
        shape.iter().for_each(|n| file.extend(n.to_be_bytes()));
        file.extend(bytes);
        file
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    /// 20 train and 10 test images of 2x3 pixels, all pixels of row r being r; labels 0..5 in turn.
    fn files() -> Vec<(&'static str, Vec<u8>)> {
        let images = |rows: std::ops::Range<u8>| {
            idx(&[rows.len() as u32, 2, 3], rows.flat_map(|row| [row; 6]))
        };
        let labels = |rows: std::ops::Range<u8>| idx(&[rows.len() as u32], rows.map(|r| r % 5));
        vec![
            ("train-images-idx3-ubyte", images(0..20)),
            ("train-labels-idx1-ubyte", labels(0..20)),
            ("t10k-images-idx3-ubyte", images(20..30)),
            ("t10k-labels-idx1-ubyte", labels(20..30)),
        ]
    }

    fn folder(change: impl Fn(&str, Vec<u8>) -> (String, Vec<u8>)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files() {
            let (name, bytes) = change(name, bytes);
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn every_spelling_packed_or_not_gives_the_same_rows() {
        let spellings = [
            folder(|name, bytes| (name.into(), bytes)),
            folder(|name, bytes| (format!("{name}.gz"), gz(&bytes))),
            folder(|name, bytes| (name.replace("-idx", ".idx"), bytes)),
            folder(|name, bytes| (format!("{}.gz", name.replace("-idx", ".idx")), gz(&bytes))),
        ];
        for folder in &spellings {
            let data = run::<Idx>(json!({
                "source": folder.path(),
                "classes": ["a", "b", "c", "d", "e"],
                "coarse": { "vowel": ["a", "e"], "consonant": [1, 2, 3] },
                "val": 0.25,
            }))
            .unwrap();
            assert_eq!(data.images.dim(), (30, 1, 2, 3));
            assert!((0..30).all(|row| data.images[[row, 0, 1, 2]] == row as u8));
            let fine = data.rows.fine.as_ref().unwrap();
            assert!((0..30).all(|row| fine[row] == row as i32 % 5));
            assert_eq!(data.meta.coarse_names, ["consonant", "vowel"]);
            assert_eq!(
                data.rows.coarse.as_ref().unwrap().as_slice().unwrap()[..5],
                [1, 0, 0, 0, 1]
            );
            assert_eq!(data.rows.of(Split::Val).len(), 5);
            assert_eq!(data.rows.of(Split::Test), (20..30).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_names_and_groups_there_are_numbers_and_no_coarse_labels() {
        let folder = folder(|name, bytes| (name.into(), bytes));
        let data = run::<Idx>(json!({ "source": folder.path(), "limit": 5 })).unwrap();
        assert_eq!(data.meta.fine_names, ["0", "1", "2", "3", "4"]);
        assert_eq!((data.meta.coarse_names.len(), data.rows.coarse), (0, None));
        assert_eq!(data.rows.split.len(), 10);
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let says = |folder: &tempfile::TempDir, more: serde_json::Value, text: &str| {
            let mut parameters = json!({ "source": folder.path() });
            parameters
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let error = format!("{:#}", run::<Idx>(parameters).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        let cut = folder(|name, mut bytes| {
            if name == "t10k-images-idx3-ubyte" {
                bytes.truncate(50);
            }
            (name.into(), bytes)
        });
        says(
            &cut,
            json!({}),
            "t10k-images-idx3-ubyte (shape [10, 2, 3]) is truncated: expected 60 bytes, found 34",
        );
        let packed = folder(|name, bytes| {
            let mut bytes = gz(&bytes);
            if name == "train-labels-idx1-ubyte" {
                bytes.truncate(15);
            }
            (name.into(), bytes)
        });
        says(&packed, json!({}), "train-labels-idx1-ubyte");
        let long = folder(|name, mut bytes| {
            bytes.push(0);
            (name.into(), bytes)
        });
        says(
            &long,
            json!({}),
            "is longer than its format allows: expected 120 bytes",
        );
        let lying = folder(|name, _| (name.into(), idx(&[u32::MAX; 3], [])));
        says(&lying, json!({}), "which can't be");
        let swapped = folder(|name, _| (name.into(), idx(&[20], [0; 20])));
        says(
            &swapped,
            json!({}),
            "is no IDX file of unsigned bytes in 3 dimension(s)",
        );
        let fewer = folder(|name, bytes| {
            let few = name.starts_with("train-labels");
            (name.into(), if few { idx(&[19], [0; 19]) } else { bytes })
        });
        says(
            &fewer,
            json!({}),
            "train-images-idx3-ubyte has 20 images, and ",
        );
        let other = folder(|name, bytes| (format!("{name}.zip"), bytes));
        says(
            &other,
            json!({}),
            "holds neither train-images-idx3-ubyte nor train-images.idx3-ubyte, with or without .gz",
        );
        let good = folder(|name, bytes| (name.into(), bytes));
        says(
            &good,
            json!({ "classes": ["a", "b"] }),
            "`classes` names 2 classes, and the data has the label 4",
        );
        says(
            &good,
            json!({ "digest": { "test_labels": sha256(b"x") } }),
            "t10k-labels-idx1-ubyte has the digest",
        );
        says(
            &good,
            json!({ "source": "/not/there" }),
            "/not/there is no folder",
        );
    }

    #[test]
    fn the_four_files_are_downloaded_with_their_digests() {
        let packed: Vec<Vec<u8>> = files().iter().map(|(_, bytes)| gz(bytes)).collect();
        let paths = [
            "/m/train-images-idx3-ubyte.gz",
            "/m/train-labels-idx1-ubyte.gz",
            "/m/t10k-images-idx3-ubyte.gz",
            "/m/t10k-labels-idx1-ubyte.gz",
        ];
        let server = Server::start(paths.into_iter().zip(packed.clone()).collect());
        let digest = json!({
            "train_images": sha256(&packed[0]),
            "train_labels": sha256(&files()[1].1), // of the content: as good
            "test_images": sha256(&packed[2]),
            "test_labels": sha256(&packed[3]),
        });
        let mut parameters = json!({ "source": server.url("m/"), "digest": digest });
        assert_eq!(run::<Idx>(parameters.clone()).unwrap().rows.split.len(), 30);
        parameters["digest"]["test_labels"] = json!(sha256(b"x"));
        let error = format!("{:#}", run::<Idx>(parameters.clone()).unwrap_err());
        assert!(
            error.contains("t10k-labels-idx1-ubyte.gz has the digest"),
            "{error}"
        );
        parameters["digest"]
            .as_object_mut()
            .unwrap()
            .remove("test_labels");
        let error = format!("{:#}", run::<Idx>(parameters).unwrap_err());
        assert!(error.contains("has no digest"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..40usize, value: u8, cut in 0..200usize, packed in 0..3) {
            let damage = |mut bytes: Vec<u8>| {
                let n = bytes.len();
                bytes[at % n] = value;
                bytes.truncate(cut);
                bytes
            };
            let whole = files().remove(0).1;
            let bytes = match packed {
                0 => damage(whole),
                1 => damage(gz(&whole)),
                // The checksum is right: it is for the parser to see the damage.
                _ => gz(&damage(whole)),
            };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            fs::write(&path, &bytes).unwrap();
            if let Ok((shape, content)) = read_file(&path, 3) {
                let elements: u64 = shape.iter().map(|&n| u64::from(n)).product();
                prop_assert_eq!(elements, content.len() as u64);
            }
        }
    }
}
