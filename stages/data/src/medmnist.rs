//! The kind `medmnist`: the `.npz` files of MedMNIST v2.

use anyhow::{Result, bail, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Normalisation, Source};
use crate::coarse::{self, Classes, Groups};
use crate::npy::{self, Element, Header, Images, Layout};
use crate::npz::Arrays;
use crate::{data_output, source};

/// A two-dimensional set of MedMNIST v2 (J. Yang et al., 2023, <https://medmnist.com>) of any size, such as PathMNIST: one
/// `.npz` file with `train_images`, `train_labels`, and the same for `val` and `test`. Its splits are taken as they are.
///
/// The labels are coarse classes, and fine ones are unknown; with `coarse` they are the fine classes. Networks normalise
/// with mean 0.5 and standard deviation 0.5, as MedMNIST's own code does. Of sets of several labels an image (ChestMNIST) and
/// of volumes one label and one slice can be read by the kind `npy`; docs/data.md says how.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Medmnist {
    /// The `.npz` file as published, a folder of its `.npy` files, or the file's URL with its digest, `https://…#md5=…`.
    source: String,
    /// What the file must hash to: `sha256:…`, `blake3:…`, or `md5:…`, which MedMNIST publishes; for a URL as good as at its
    /// end.
    #[serde(default)]
    digest: Option<String>,
    /// How many images each split has to have: another set, or a part of one, is then an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<Counts>,
    /// Names of the classes by label; the numbers where left out, since the file holds no names.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// Coarse classes: name to the set's classes by name or number.
    #[serde(default)]
    coarse: Option<Groups>,
    /// The most images of each split, one number or `{ train = …, val = …, test = … }`; drawn by class and seed.
    #[serde(default)]
    limit: Option<Limit>,
}

/// A number of images for each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Counts {
    train: u64,
    val: u64,
    test: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { train, val, test } = self;
        write!(f, "{train} train, {val} validation and {test} test images")
    }
}

const SPLITS: [(&str, Split); 3] = [
    ("train", Split::Train),
    ("val", Split::Val),
    ("test", Split::Test),
];

impl Stage for Medmnist {
    const NAME: &'static str = "medmnist";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "PathMNIST and the other two-dimensional sets of MedMNIST v2";
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
        let mut arrays = Arrays::open(&path)?;
        let (mut parts, mut labels, mut split) = (Vec::new(), Vec::new(), Vec::new());
        for (name, part) in SPLITS {
            let images = images(&mut arrays, &format!("{name}_images"), context)?;
            let member = format!("{name}_labels");
            let shown = arrays.shown(&member);
            let found = npy::read_labels(arrays.member(&member)?, &shown)?;
            ensure!(
                found.len() == images.rows,
                "{}: the {name} part has {} images and {} labels",
                arrays.name(),
                images.rows,
                found.len()
            );
            labels.extend(found);
            split.resize(split.len() + images.rows, part);
            parts.push(images);
        }
        let shape = parts[0].shape;
        ensure!(
            parts.iter().all(|part| part.shape == shape),
            "{}: the images of the three parts have several shapes",
            arrays.name()
        );
        let [train, val, test] = [0, 1, 2].map(|part| parts[part].rows as u64);
        let found = Counts { train, val, test };
        if let Some(expected) = self.rows {
            let stage = context.stage().split('[').next().unwrap_or_default();
            ensure!(
                found == expected,
                "{} has {found}, and the workflow expects {expected}: it is another set, or a part of one; name the right \
                 file, or, for images of your own, say --set stages.{stage}.with.rows=",
                arrays.name()
            );
        }
        let classes = Classes::named(self.classes.as_deref(), labels)?;
        let (coarse, fine) = coarse::or_coarse(self.coarse.as_ref(), classes)?;
        let size = shape.iter().product();
        let source = Source {
            name: Self::NAME,
            shape,
            pixels: Box::new(move |rows, buffer| {
                for (&row, image) in rows.iter().zip(buffer.chunks_exact_mut(size)) {
                    let mut row = row;
                    for part in &parts {
                        if row < part.rows {
                            part.copy(row, image)?;
                            break;
                        }
                        row -= part.rows;
                    }
                }
                Ok(())
            }),
            fine,
            coarse,
            split,
            normalisation: Some(Normalisation {
                mean: vec![0.5; shape[0]],
                std: vec![0.5; shape[0]],
            }),
        };
        assemble::write(context, source, self.limit.as_ref(), None)
    }
}

/// Maps images: those of a `.npz` file are unpacked to a file of the work folder, for some sets are larger than memory.
fn images(arrays: &mut Arrays, member: &str, context: &Context) -> Result<Images> {
    let name = arrays.shown(member);
    let header = Header::read(arrays.member(member)?, &name)?;
    let layout = match header.shape[..] {
        [_, _, _] => Layout::Nhw,
        [_, _, _, 1 | 3] => Layout::Nhwc,
        _ => bail!(
            "{name} has the shape {:?}; images are [n, height, width] or [n, height, width, 3], and sets of volumes are not \
             read: save a slice of each, images[:, 14], with the labels for the kind `npy`",
            header.shape
        ),
    };
    let size = Element::parse(&header.descr, &name)?.size;
    // What is promised bounds what is unpacked.
    let expected = header.size as u64 + header.content(size, &name)? as u64;
    ensure!(
        expected <= source::MOST,
        "{name} says that its shape is {:?}, which can't be",
        header.shape
    );
    let path = arrays.file(member, context.work(), expected)?;
    Images::open(&path, &name, Some(layout), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, npy, run};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::fs;
    use std::io::{Cursor, Write};
    use zip::write::SimpleFileOptions;

    type Files = Vec<(String, Vec<u8>)>;

    /// A small file as PathMNIST's: u8 images `[n, 28, 28, 3]` and labels `[n, 1]`, 18 train, 9 validation and 9 test
    /// images of nine classes. The red of row r of a part is r, green 100, blue 200.
    fn pathmnist() -> Files {
        let mut files = Vec::new();
        for (part, rows) in [("train", 18usize), ("val", 9), ("test", 9)] {
            let pixels = (0..rows).flat_map(|row| [row as u8, 100, 200].repeat(28 * 28));
            files.push((
                format!("{part}_images.npy"),
                npy("|u1", &[rows, 28, 28, 3], pixels),
            ));
            let labels = (0..rows).map(|row| (row % 9) as u8);
            files.push((format!("{part}_labels.npy"), npy("|u1", &[rows, 1], labels)));
        }
        files
    }

    fn npz(files: &Files) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            archive
                .start_file(name, SimpleFileOptions::default())
                .unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8], more: Value) -> Result<flow_stage::dataset::Dataset> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("pathmnist.npz");
        fs::write(&path, bytes)?;
        let mut parameters = json!({ "source": path });
        parameters
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        run::<Medmnist>(parameters)
    }

    fn md5(bytes: &[u8]) -> String {
        use sha2::Digest as _;
        let hex: String = md5::Md5::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("md5:{hex}")
    }

    #[test]
    fn pathmnists_layout_is_read_with_its_splits() {
        let bytes = npz(&pathmnist());
        let data = read(&bytes, json!({ "digest": md5(&bytes) })).unwrap();
        assert_eq!(data.images.dim(), (36, 3, 28, 28));
        for (row, split, red) in [
            (17, Split::Train, 17),
            (20, Split::Val, 2),
            (35, Split::Test, 8),
        ] {
            assert_eq!(data.rows.split[row], split);
            let pixel = |channel| data.images[[row, channel, 27, 13]];
            assert_eq!((pixel(0), pixel(1), pixel(2)), (red, 100, 200));
            assert_eq!(data.rows.coarse.as_ref().unwrap()[row], i32::from(red) % 9);
        }
        assert_eq!(data.meta.coarse_names.len(), 9);
        assert_eq!((data.rows.fine, data.meta.fine_names.len()), (None, 0));
        assert_eq!(
            (data.meta.mean, data.meta.std),
            (vec![0.5; 3], vec![0.5; 3])
        );
    }

    #[test]
    fn grey_sets_limits_and_groups_are_taken() {
        let mut files = pathmnist();
        for (name, content) in &mut files {
            if name.ends_with("images.npy") {
                let rows = if name.starts_with("train") { 18 } else { 9 };
                *content = npy("|u1", &[rows, 28, 28], vec![7; rows * 28 * 28]);
            }
        }
        let more = json!({
            "coarse": { "a": [0, 1, 2, 3], "b": [4, 5, 6, 7, 8] },
            "limit": { "train": 9, "val": 9 },
        });
        let data = read(&npz(&files), more).unwrap();
        assert_eq!(data.images.dim(), (27, 1, 28, 28));
        assert_eq!(data.meta.coarse_names, ["a", "b"]);
        assert_eq!(data.meta.fine_names[8], "8");
        assert_eq!(data.rows.of(Split::Val).len(), 9);
    }

    #[test]
    fn a_folder_of_its_arrays_is_as_good() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in pathmnist() {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let unpacked = run::<Medmnist>(json!({ "source": folder.path() })).unwrap();
        assert_eq!(unpacked, read(&npz(&pathmnist()), json!({})).unwrap());
    }

    #[test]
    fn it_is_downloaded_with_the_publishers_md5() {
        let bytes = npz(&pathmnist());
        let server = Server::start(vec![("/f/pathmnist.npz?download=1", bytes.clone())]);
        let url = server.url("f/pathmnist.npz?download=1");
        let data = run::<Medmnist>(json!({ "source": url, "digest": md5(&bytes), "limit": 9 }));
        assert_eq!(data.unwrap().rows.split.len(), 27);
        let error = run::<Medmnist>(json!({ "source": url, "digest": md5(b"x") })).unwrap_err();
        assert!(format!("{error:#}").contains("has the digest"), "{error:#}");
    }

    #[test]
    fn another_number_of_images_is_another_set() {
        let bytes = npz(&pathmnist());
        let rows = |train| json!({ "rows": { "train": train, "val": 9, "test": 9 } });
        read(&bytes, rows(18)).unwrap();
        let error = read(&bytes, rows(19)).unwrap_err().to_string();
        let says = "pathmnist.npz has 18 train, 9 validation and 9 test images, and the workflow expects 19 train, 9 validation \
                    and 9 test images: it is another set, or a part of one; name the right file, or, for images of your own, \
                    say --set stages.data.with.rows=";
        assert!(error.ends_with(says), "{error}");
    }

    #[test]
    fn hostile_files_are_refused() {
        let says = |bytes: &[u8], text: &str| {
            let error = format!("{:#}", read(bytes, json!({})).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        let with = |name: &str, content: Vec<u8>| {
            let mut files = pathmnist();
            files.iter_mut().find(|f| f.0 == name).unwrap().1 = content;
            npz(&files)
        };
        let good = npz(&pathmnist());
        says(&good[..good.len() / 2], "is not a whole .npz file");
        says(b"<html>404</html>", "is not a whole .npz file");
        says(
            &npz(&pathmnist()[..2].to_vec()),
            "has no array `val_images`; it has train_images, train_labels",
        );
        let volumes = npy("|u1", &[2, 28, 28, 28], vec![0; 2 * 28 * 28 * 28]);
        says(
            &with("train_images.npy", volumes),
            "sets of volumes are not read",
        );
        says(
            &with("val_labels.npy", npy("|u1", &[9, 14], vec![0; 126])),
            "has 14 labels an image",
        );
        says(
            &with("val_labels.npy", npy("|u1", &[8, 1], vec![0; 8])),
            "the val part has 9 images and 8 labels",
        );
        says(
            &with(
                "test_images.npy",
                npy("<f4", &[9, 28, 28, 3], vec![0; 9 * 28 * 28 * 12]),
            ),
            "images are u8",
        );
        says(
            &with(
                "test_images.npy",
                npy("|u1", &[9, 32, 32, 3], vec![0; 9 * 32 * 32 * 3]),
            ),
            "several shapes",
        );
        says(
            &with(
                "train_images.npy",
                npy("|u1", &[18, 28, 28, 3], vec![0; 99]),
            ),
            "`train_images` in",
        );
        says(
            &with(
                "train_images.npy",
                npy("|u1", &[18, 28, 28, 3], vec![0; 99]),
            ),
            "is truncated",
        );
        let huge = npy("|u1", &[1 << 40, 28, 28, 3], vec![0; 99]);
        says(&with("train_images.npy", huge), "which can't be");
        // More than is promised is not unpacked.
        let more = npy("|u1", &[18, 28, 28, 3], vec![0; 1 << 22]);
        says(
            &with("train_images.npy", more),
            "longer than its header says",
        );
        // A member that would climb out of the work folder is not the member that is asked for.
        let mut files = pathmnist();
        files[0].0 = "../train_images.npy".into();
        says(&npz(&files), "has no array `train_images`");
        // A damaged member fails its checksum.
        let mut damaged = good.clone();
        damaged[80] ^= 1;
        says(&damaged, "`train_images` in");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_it_panic(at in 0..4096usize, value: u8, from_the_end: bool) {
            let mut bytes = npz(&pathmnist());
            let n = bytes.len();
            let at = at % n;
            bytes[if from_the_end { n - 1 - at } else { at }] = value;
            let _ = read(&bytes, json!({}));
        }

        /// With right checksums, so that the arrays' own parser sees the damage.
        #[test]
        fn no_bytes_of_an_array_make_it_panic(
            file in 0..6usize,
            at in 0..140usize,
            value: u8,
            cut in prop::option::of(0..140usize),
        ) {
            let mut files = pathmnist();
            let content = &mut files[file].1;
            let n = content.len();
            content[at % n] = value;
            content.truncate(cut.unwrap_or(n));
            let _ = read(&npz(&files), json!({}));
        }
    }
}
