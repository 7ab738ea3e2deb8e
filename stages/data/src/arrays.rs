//! The kind `npy`: images and labels in NumPy's arrays.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Normalisation, Source};
use crate::coarse::{self, Classes, Groups};
use crate::npy::{self, Images, Layout, Scale};
use crate::{data_output, unpack};

/// Images and labels in `.npy` files, as `numpy.save` writes them.
///
/// The labels are coarse classes, and the true fine ones are unknown; with `coarse` or `coarse_labels` they are the fine
/// classes. The images are mapped and copied a few at a time, so they may be larger than memory.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Npy {
    /// Images: u8 `[n, height, width]`, `[n, height, width, channels]` or `[n, channels, height, width]`; of another type with
    /// `scale`.
    images: String,
    /// The class of each image: integers `[n]`, 0, 1, 2, …
    labels: String,
    /// The coarse class of each image, where `labels` are fine classes: integers `[n]`.
    #[serde(default)]
    coarse_labels: Option<String>,
    /// The part of each image: integers `[n]`, 0 train, 1 validation, 2 test. Left out, `test` and `val` draw them.
    #[serde(default)]
    split: Option<String>,
    /// How the dimensions are meant: `nhw`, `nhwc` or `nchw`. Left out, four dimensions are told apart by which one is 1
    /// or 3.
    #[serde(default)]
    layout: Option<Layout>,
    /// What the values of images that are no u8 mean: `0..1` or `0..255`. They are rounded to whole grey values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<Scale>,
    /// Names of the classes of `labels`; the numbers where left out.
    #[serde(default)]
    classes: Option<Vec<String>>,
    /// Names of the classes of `coarse_labels`; the numbers where left out.
    #[serde(default)]
    coarse_classes: Option<Vec<String>>,
    /// Coarse classes: name to classes of `labels` by name or number.
    #[serde(default)]
    coarse: Option<Groups>,
    /// The share of the images that are test images, where there is no `split`: 0.2 unless given. Drawn by class and seed.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    test: Option<f64>,
    /// The share of the train images that validate, where `split` names none: 0.1 unless given. Drawn by class and seed.
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

impl Stage for Npy {
    const NAME: &'static str = "npy";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str = "Images and labels in NumPy's .npy arrays";
    const SEEDED: bool = true;
    const PATH_PARAMETERS: &'static [&'static str] =
        &["images", "labels", "coarse_labels", "split"];

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        data_output()
    }

    fn run(self, context: &Context) -> Result<()> {
        let images = Images::open(
            Path::new(&self.images),
            &self.images,
            self.layout,
            self.scale,
        )?;
        let fits = |path: &str, count: usize| {
            ensure!(
                count == images.rows,
                "{path} has {count} rows, and {} has {}",
                self.images,
                images.rows
            );
            Ok(())
        };
        let labels = npy::read_labels(unpack::open_raw(Path::new(&self.labels))?, &self.labels)?;
        fits(&self.labels, labels.len())?;
        let classes = Classes::named(self.classes.as_deref(), labels)?;
        let (coarse, fine) = match &self.coarse_labels {
            Some(path) => {
                ensure!(
                    self.coarse.is_none(),
                    "`coarse` and `coarse_labels` both give coarse classes; leave one out"
                );
                let labels = npy::read_labels(unpack::open_raw(Path::new(path))?, path)?;
                fits(path, labels.len())?;
                let coarse = Classes::named(self.coarse_classes.as_deref(), labels)
                    .context("`coarse_classes`")?;
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
        let split = match &self.split {
            Some(path) => {
                ensure!(
                    self.test.is_none(),
                    "`split` says which images are test images; leave `test` out"
                );
                let split = npy::read_split(unpack::open_raw(Path::new(path))?, path)?;
                fits(path, split.len())?;
                Some(split)
            }
            None => None,
        };
        let (shape, rows) = (images.shape, images.rows);
        let size = shape.iter().product();
        let source = Source {
            name: Self::NAME,
            shape,
            pixels: Box::new(move |rows, buffer| {
                for (&row, image) in rows.iter().zip(buffer.chunks_exact_mut(size)) {
                    images.copy(row, image)?;
                }
                Ok(())
            }),
            fine,
            coarse,
            split: vec![Split::Train; rows],
            normalisation: self.normalisation,
        };
        let source = source.with_splits(split, self.test, context.seed())?;
        let val = source.share_of_validation(self.val)?;
        assemble::write(context, source, self.limit.as_ref(), val)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{npy, run};
    use serde_json::{Value, json};
    use std::fs;

    /// 20 images of 2x3 pixels, all pixels of row r being r; labels 0..4 in turn, coarse labels those modulo 2.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
        write(
            "images.npy",
            npy("|u1", &[20, 2, 3], (0..20).flat_map(|row| [row; 6])),
        );
        write("labels.npy", npy("|u1", &[20], (0..20).map(|row| row % 4)));
        write("coarse.npy", npy("|u1", &[20], (0..20).map(|row| row % 2)));
        write(
            "split.npy",
            npy("|u1", &[20], (0..20).map(|row| row / 4 % 3)),
        );
        write("few.npy", npy("|u1", &[3], [0, 1, 2]));
        folder
    }

    fn with(folder: &tempfile::TempDir, more: Value) -> Value {
        let mut parameters = json!({ "images": "images.npy", "labels": "labels.npy" });
        parameters
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        for name in Npy::PATH_PARAMETERS {
            if let Some(value) = parameters.get_mut(name) {
                *value = json!(folder.path().join(value.as_str().unwrap()));
            }
        }
        parameters
    }

    #[test]
    fn labels_alone_are_coarse_and_splits_are_drawn() {
        let data = run::<Npy>(with(&folder(), json!({ "classes": ["a", "b", "c", "d"] }))).unwrap();
        assert_eq!(data.images.dim(), (20, 1, 2, 3));
        assert!((0..20).all(|row| data.images[[row, 0, 1, 2]] == row as u8));
        assert_eq!(data.meta.coarse_names, ["a", "b", "c", "d"]);
        assert_eq!(data.rows.fine, None);
        let count = |split| data.rows.of(split).len();
        assert_eq!(
            (count(Split::Train), count(Split::Val), count(Split::Test)),
            (14, 2, 4)
        );
    }

    #[test]
    fn coarse_labels_and_splits_come_from_files() {
        let folder = folder();
        let more = json!({ "coarse_labels": "coarse.npy", "coarse_classes": ["even", "odd"], "split": "split.npy" });
        let data = run::<Npy>(with(&folder, more)).unwrap();
        assert_eq!(data.meta.coarse_names, ["even", "odd"]);
        assert_eq!(data.meta.fine_names, ["0", "1", "2", "3"]);
        assert_eq!(data.rows.coarse.as_ref().unwrap()[3], 1);
        assert_eq!(data.rows.of(Split::Val), [4, 5, 6, 7, 16, 17, 18, 19]);
        let groups = json!({ "coarse": { "x": [0, 3], "y": [1, 2] }, "normalisation": { "mean": [0.5], "std": [0.25] } });
        let data = run::<Npy>(with(&folder, groups)).unwrap();
        assert_eq!(data.meta.coarse_names, ["x", "y"]);
        assert_eq!(data.meta.std, [0.25]);
    }

    #[test]
    fn floats_are_converted() {
        let folder = folder();
        let floats = (0..20u8).flat_map(|row| [f32::from(row) / 255.0; 6]);
        let floats = npy("<f4", &[20, 2, 3], floats.flat_map(f32::to_le_bytes));
        fs::write(folder.path().join("images.npy"), floats).unwrap();
        let data = run::<Npy>(with(&folder, json!({ "scale": "0..1" }))).unwrap();
        assert!((0..20).all(|row| data.images[[row, 0, 1, 2]] == row as u8));
        let error = run::<Npy>(with(&folder, json!({}))).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("`scale = \"0..1\"` or `scale = \"0..255\"`"),
            "{error}"
        );
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let folder = folder();
        let says = |more: Value, text: &str| {
            let error = format!("{:#}", run::<Npy>(with(&folder, more)).unwrap_err());
            assert!(error.contains(text), "{error}\n(expected: {text})");
        };
        says(json!({ "labels": "few.npy" }), "few.npy has 3 rows, and");
        says(json!({ "labels": "none.npy" }), "none.npy can't be opened");
        says(json!({ "labels": "images.npy" }), "labels are [n]");
        fs::write(
            folder.path().join("hot.npy"),
            npy("|u1", &[20, 4], vec![0; 80]),
        )
        .unwrap();
        says(
            json!({ "labels": "hot.npy" }),
            "has 4 labels an image, and each image needs one class",
        );
        fs::write(
            folder.path().join("volumes.npy"),
            npy("|u1", &[20, 2, 2, 2, 1], vec![0; 160]),
        )
        .unwrap();
        says(
            json!({ "images": "volumes.npy" }),
            "volumes are not read; take a slice",
        );
        says(
            json!({ "images": "labels.npy" }),
            "images are [n, height, width]",
        );
        says(
            json!({ "classes": ["a"] }),
            "`classes` names 1 classes, and the data has the label 3",
        );
        says(
            json!({ "coarse_labels": "coarse.npy", "coarse": { "x": [0, 1, 2, 3] } }),
            "both give coarse classes",
        );
        says(json!({ "coarse_classes": ["a"] }), "and there are none");
        says(
            json!({ "split": "split.npy", "test": 0.1 }),
            "leave `test` out",
        );
        says(
            json!({ "split": "split.npy", "val": 0.1 }),
            "leave `val` out",
        );
        says(
            json!({ "split": "labels.npy" }),
            "row 3 holds 3; 0 is train",
        );
    }
}
