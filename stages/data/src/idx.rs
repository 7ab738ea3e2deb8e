//! The kind `idx`: the four files of MNIST, Fashion-MNIST and other sets of their format.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Source, in_memory};
use crate::coarse::{self, Classes, Groups};
use crate::unpack::{Packing, Size};
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
    /// The folder of the four files, a `.zip`, `.tar` or `.tar.gz` of them, or the URL of a folder, whose four `…-ubyte.gz`
    /// files are then downloaded.
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

    fn run(mut self, context: &Context) -> Result<()> {
        if !Path::new(&self.source).is_file() {
            return self.read(context);
        }
        let folder = unpacked(Path::new(&self.source), context)?;
        let archive = std::mem::replace(&mut self.source, folder.to_string_lossy().into());
        self.read(context).context(archive)
    }
}

impl Idx {
    fn read(&self, context: &Context) -> Result<()> {
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
                "{} is not there; `source` is the folder or an archive of the four IDX files",
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

/// The names of the four files: with a dash or a dot, packed or not.
const NAMES: [[&str; 4]; 4] = [
    [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ],
    [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ],
    [
        "train-images.idx3-ubyte",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte",
        "t10k-labels.idx1-ubyte",
    ],
    [
        "train-images.idx3-ubyte.gz",
        "train-labels.idx1-ubyte.gz",
        "t10k-images.idx3-ubyte.gz",
        "t10k-labels.idx1-ubyte.gz",
    ],
];

/// A folder in the work folder with the four files of an archive.
fn unpacked(archive: &Path, context: &Context) -> Result<PathBuf> {
    let packings = NAMES.map(|names| Packing {
        folder: "the four IDX files",
        files: names.map(|name| (name, Size::AtMost(MOST))).into(),
    });
    let (packing, members) = unpack::members(archive, &packings)?;
    let folder = context.work().join("unpacked");
    let written = || format!("{} can't be written", folder.display());
    fs::create_dir_all(&folder).with_context(written)?;
    for (name, content) in members {
        if NAMES[packing].contains(&name) {
            fs::write(folder.join(name), content).with_context(written)?;
        }
    }
    Ok(folder)
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
mod tests;
