//! The kind `image-folder`: image files in a folder a class. `listing` finds them.

mod listing;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::protocol::Resources;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Normalisation, Source};
use crate::coarse::{self, Groups};
use crate::data_output;
use crate::picture::{self, Colour, Shape, Size};
use listing::{Listing, endings};

/// Images in a folder a class: `class/x.png`, or `coarse/fine/x.png` where the fine classes are known. The folders may lie in
/// `train`, `val` and `test`, which then are the splits; without them `test` and `val` are drawn.
///
/// Read is what torchvision's `ImageFolder` reads: .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff and .webp, by content; of
/// several pictures in a file the first. A .gif has to be converted first.
///
/// Images are decoded once, here, and scaled to `size`: bilinear, with as much smoothing as the scale asks for, without
/// keeping the ratio of the sides. Rotation that a photo's EXIF data asks for is not applied, and transparency is dropped.
/// Classes are numbered in the order of their names. Files of other kinds are left out, with a warning.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageFolder {
    /// The folder.
    source: String,
    /// Scale each image to `size` by `size` pixels, or to `[height, width]`. Left out, all have to have one size.
    #[serde(default)]
    size: Option<Size>,
    /// `rgb`, or `grey`: one channel, of Rec. 709 luma.
    #[serde(default)]
    colour: Colour,
    /// Whether a class may have no image. Left out, an empty folder is an error: most often its images have gone missing.
    #[serde(default)]
    allow_empty: bool,
    /// Coarse classes: name to classes by name or number, where the folders are not nested.
    #[serde(default)]
    coarse: Option<Groups>,
    /// The share of the images that are test images, where there is no folder `test`: 0.2 unless given. Drawn by class and
    /// seed.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    test: Option<f64>,
    /// The share of the train images that validate, where there is no folder `val`: 0.1 unless given. Drawn by class and
    /// seed.
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

impl Stage for ImageFolder {
    const NAME: &'static str = "image-folder";
    const VERSION: u32 = 3;
    const SUMMARY: &'static str = "Images in a folder a class, or coarse/fine";
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
        let listing = Listing::of(Path::new(&self.source), self.allow_empty)?;
        if let Some(example) = &listing.other {
            context.warning(format!(
                "{} file(s) of other endings than {} are left out, such as {}",
                listing.others,
                endings(),
                example.display()
            ));
        }
        let (coarse, fine) = match listing.coarse {
            Some(coarse) => {
                ensure!(
                    self.coarse.is_none(),
                    "`coarse` groups the classes, and the folders of {} do so already: leave it out",
                    self.source
                );
                (Some(coarse), Some(listing.classes))
            }
            None => coarse::or_coarse(self.coarse.as_ref(), listing.classes)?,
        };
        let paths = listing.paths;
        let first = paths.first().with_context(|| {
            format!("{} holds no image: all its classes are empty", self.source)
        })?;
        let shape = Shape::new(self.size, self.colour, || {
            let (name, bytes) = read(first)?;
            picture::decode(&bytes, &name)
        })?;
        let rows = paths.len();
        let source = Source {
            name: Self::NAME,
            shape: shape.dimensions(),
            pixels: Box::new(move |rows, buffer| {
                shape.decode_all(buffer, |place| read(&paths[rows[place]]))
            }),
            fine,
            coarse,
            split: vec![Split::Train; rows],
            normalisation: self.normalisation,
        };
        if listing.splits.contains(&Split::Test) {
            ensure!(
                self.test.is_none(),
                "{} has a folder of test images; leave `test` out",
                self.source
            );
        }
        let split = match listing.splits.contains(&Split::Test) {
            true => Some(listing.splits),
            false => None,
        };
        let source = source.with_splits(split, self.test, context.seed())?;
        let val = source.share_of_validation(self.val)?;
        assemble::write(context, source, self.limit.as_ref(), val)
    }
}

/// A file's name and content.
fn read(path: &Path) -> Result<(String, Vec<u8>)> {
    let name = path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("{name} can't be read"))?;
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fixture, run};
    use flow_stage::dataset::Dataset;
    use image::{GrayImage, ImageFormat, Rgb, RgbImage};
    use serde_json::{Value, json};

    fn picture(red: u8, width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([red, x as u8, y as u8]))
    }

    /// `n` PNG images in a folder, of a red of their own.
    fn class(root: &Path, name: &str, n: u8) {
        fs::create_dir_all(root.join(name)).unwrap();
        for number in 0..n {
            picture(number, 6, 4)
                .save(root.join(name).join(format!("{number}.png")))
                .unwrap();
        }
    }

    fn read(root: &Path, more: Value) -> Result<Dataset> {
        let mut parameters = json!({ "source": root });
        parameters
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        run::<ImageFolder>(parameters)
    }

    #[track_caller]
    fn says(root: &Path, more: Value, text: &str) {
        let error = format!("{:#}", read(root, more).unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    }

    #[test]
    fn folders_are_classes_and_splits_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        class(folder.path(), "cat", 10);
        class(folder.path(), "ant", 10);
        fs::write(folder.path().join("cat/.hidden"), "x").unwrap();
        let data = read(folder.path(), json!({})).unwrap();
        assert_eq!(data.images.dim(), (20, 3, 4, 6));
        assert_eq!(data.meta.coarse_names, ["ant", "cat"]);
        assert_eq!(data.rows.fine, None);
        assert_eq!(data.rows.coarse.as_ref().unwrap()[10], 1);
        let pixel = |channel| data.images[[13, channel, 2, 5]];
        assert_eq!((pixel(0), pixel(1), pixel(2)), (3, 5, 2));
        let count = |split| data.rows.of(split).len();
        assert_eq!(
            (count(Split::Train), count(Split::Val), count(Split::Test)),
            (14, 2, 4)
        );
    }

    #[test]
    fn every_format_of_torchvision_is_read() {
        let folder = tempfile::tempdir().unwrap();
        class(folder.path(), "a", 5);
        fs::create_dir(folder.path().join("b")).unwrap();
        let endings = ["bmp", "BMP", "ppm", "tif", "TIFF", "webp", "pgm"];
        for (number, ending) in endings.iter().enumerate() {
            let from = match ending.to_ascii_lowercase().as_str() {
                "tiff" => fixture("image.tif"),
                ending => fixture(&format!("image.{ending}")),
            };
            fs::copy(from, folder.path().join(format!("b/{number}.{ending}"))).unwrap();
        }
        let data = read(folder.path(), json!({ "test": 0.0, "val": 0.0 })).unwrap();
        assert_eq!(data.images.dim(), (12, 3, 4, 6));
        for row in 5..11 {
            let pixel = |channel| data.images[[row, channel, 2, 5]];
            assert_eq!(
                (pixel(0), pixel(1), pixel(2)),
                (200, 5, 2),
                "{}",
                endings[row - 5]
            );
        }
        // Pillow's grey of it.
        assert_eq!(data.images[[11, 0, 2, 5]], data.images[[11, 2, 2, 5]]);
    }

    #[test]
    fn an_empty_class_is_kept_where_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        class(folder.path(), "a", 4);
        class(folder.path(), "b", 0);
        class(folder.path(), "c", 4);
        fs::write(folder.path().join("b/.keep"), "").unwrap();
        says(folder.path(), json!({}), "b holds no image");
        let data = read(folder.path(), json!({ "allow_empty": true })).unwrap();
        assert_eq!(data.meta.coarse_names, ["a", "b", "c"]);
        let labels = data.rows.coarse.unwrap();
        assert_eq!(labels.to_vec(), [0, 0, 0, 0, 2, 2, 2, 2]);
        fs::copy(fixture("image.gif"), folder.path().join("b/x.gif")).unwrap();
        says(
            folder.path(),
            json!({ "allow_empty": true }),
            "b/x.gif: convert such files",
        );
    }

    #[test]
    fn empty_fine_and_coarse_classes_are_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        class(folder.path(), "animal/cat", 3);
        class(folder.path(), "animal/dog", 0);
        class(folder.path(), "plant", 0);
        let data = read(folder.path(), json!({ "allow_empty": true })).unwrap();
        assert_eq!(data.meta.coarse_names, ["animal", "plant"]);
        assert_eq!(data.meta.fine_names, ["animal/cat", "animal/dog"]);
        assert_eq!(data.rows.fine.unwrap().to_vec(), [0, 0, 0]);
    }

    #[test]
    fn nested_folders_are_coarse_and_fine_and_splits_have_folders() {
        let folder = tempfile::tempdir().unwrap();
        for (split, n) in [("train", 3), ("val", 2), ("test", 1)] {
            for name in ["animal/cat", "animal/dog", "vehicle/car"] {
                class(folder.path(), &format!("{split}/{name}"), n);
            }
        }
        let data = read(folder.path(), json!({})).unwrap();
        assert_eq!(data.meta.coarse_names, ["animal", "vehicle"]);
        assert_eq!(
            data.meta.fine_names,
            ["animal/cat", "animal/dog", "vehicle/car"]
        );
        assert_eq!(data.rows.of(Split::Train), (0..9).collect::<Vec<_>>());
        assert_eq!(data.rows.of(Split::Val), (9..15).collect::<Vec<_>>());
        assert_eq!(
            data.rows.fine.as_ref().unwrap().to_vec()[..9],
            [0, 0, 0, 1, 1, 1, 2, 2, 2]
        );
        assert_eq!(data.rows.coarse.as_ref().unwrap()[8], 1);
        says(folder.path(), json!({ "test": 0.1 }), "leave `test` out");
        says(folder.path(), json!({ "val": 0.1 }), "leave `val` out");
        says(
            folder.path(),
            json!({ "coarse": { "x": [0, 1, 2] } }),
            "`coarse` groups the classes, and the folders",
        );
    }

    #[test]
    fn jpegs_greys_and_other_sizes_become_one_shape() {
        let folder = tempfile::tempdir().unwrap();
        class(folder.path(), "a", 5);
        fs::create_dir(folder.path().join("b")).unwrap();
        for number in 0..5 {
            let path = folder.path().join(format!("b/{number}.JPEG"));
            GrayImage::from_pixel(40, 20, image::Luma([120]))
                .save_with_format(path, ImageFormat::Jpeg)
                .unwrap();
        }
        let data = read(folder.path(), json!({ "size": [5, 7], "test": 0.0 })).unwrap();
        assert_eq!(data.images.dim(), (10, 3, 5, 7));
        assert!(
            data.images
                .slice(ndarray::s![5.., .., .., ..])
                .iter()
                .all(|v| v.abs_diff(120) <= 1)
        );
        let grey = read(folder.path(), json!({ "size": 3, "colour": "grey" })).unwrap();
        assert_eq!(grey.images.dim(), (10, 1, 3, 3));
        says(folder.path(), json!({}), "has 40x20 pixels, and");
        says(folder.path(), json!({}), "b/0.JPEG has");
    }

    /// Pillow 13.0's `Image.resize((3, 2), Image.Resampling.BILINEAR)` of this image, red channel.
    #[test]
    fn scaling_is_pillows_bilinear() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            RgbImage::from_fn(8, 6, |x, y| Rgb([((x * 37 + y * 91) % 256) as u8, 0, 0]))
                .save(folder.path().join(name).join("x.png"))
                .unwrap();
        }
        let data = read(
            folder.path(),
            json!({ "size": [2, 3], "test": 0.0, "val": 0.0 }),
        )
        .unwrap();
        let found: Vec<u8> = data
            .images
            .slice(ndarray::s![0, 0, .., ..])
            .iter()
            .copied()
            .collect();
        let expected: [u8; 6] = PILLOW;
        assert!(
            found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1),
            "{found:?} {expected:?}"
        );
    }

    const PILLOW: [u8; 6] = [103, 131, 120, 128, 106, 125];

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        says(&root.join("none"), json!({}), "none is no folder");
        says(root, json!({}), "holds no folder of images");
        fs::create_dir(root.join("empty")).unwrap();
        says(root, json!({}), "empty holds no image (.jpg, .jpeg, .png,");
        says(root, json!({}), "with `allow_empty = true`");
        says(
            root,
            json!({ "allow_empty": true }),
            "all its classes are empty",
        );
        fs::remove_dir(root.join("empty")).unwrap();
        class(root, "a", 4);
        class(root, "b/c", 4);
        says(root, json!({}), "in a and in b/c: either all classes");
        class(root, "a/d", 1);
        says(root, json!({}), "a holds both images and folders");
        fs::remove_dir_all(root.join("a")).unwrap();
        class(root, "b/c/deep", 1);
        says(root, json!({}), "c holds folders: images lie in");
        fs::remove_dir_all(root.join("b")).unwrap();
        class(root, "a", 4);
        picture(1, 6, 4).save(root.join("stray.png")).unwrap();
        says(root, json!({}), "stray.png lies in no folder of a class");
        fs::remove_file(root.join("stray.png")).unwrap();
        says(root, json!({ "size": 0 }), "give `size`, from 1 to 4096");
    }

    #[test]
    fn damaged_and_hostile_images_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        class(root, "a", 4);
        let path = root.join("a/2.jpg");
        let text = "a/2.jpg is no whole image";
        let noise = RgbImage::from_fn(64, 64, |x, y| {
            Rgb([(x * y) as u8, (x * 7) as u8, (y * 13) as u8])
        });
        noise.save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        read(root, json!({ "size": 8 })).unwrap();
        for end in [whole.len() - 2, whole.len() / 2, 100, 0] {
            fs::write(&path, &whole[..end]).unwrap();
            says(root, json!({ "size": 8 }), text);
        }
        // What follows the end harms nothing.
        fs::write(&path, [&whole[..], b"trailer"].concat()).unwrap();
        read(root, json!({ "size": 8 })).unwrap();
        fs::write(&path, fs::read(fixture("image.gif")).unwrap()).unwrap();
        says(
            root,
            json!({ "size": 8 }),
            "a/2.jpg is a file of the format Gif, which is not read: convert it",
        );
        fs::write(&path, fs::read(fixture("floats.tif")).unwrap()).unwrap();
        says(
            root,
            json!({ "size": 8 }),
            "a/2.jpg has pixels that are not read, such as floats",
        );
        for ending in ["bmp", "ppm", "pgm", "tif", "webp"] {
            let whole = fs::read(fixture(&format!("image.{ending}"))).unwrap();
            for end in [whole.len() - 1, whole.len() / 2, 9] {
                fs::write(&path, &whole[..end]).unwrap();
                let error = format!("{:#}", read(root, json!({ "size": 8 })).unwrap_err());
                assert!(error.contains(text), "{ending} cut at {end}: {error}");
            }
        }
        // A PNG that promises 60,000 x 60,000 pixels.
        let mut png = fs::read(root.join("a/1.png")).unwrap();
        png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let sum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        fs::write(&path, png).unwrap();
        says(root, json!({ "size": 8 }), text);
        says(root, json!({ "size": 8 }), "limit");
        // Of two damaged files the first in order is named, whatever the threads do.
        fs::write(root.join("a/0.png"), "x").unwrap();
        for _ in 0..5 {
            says(root, json!({ "size": 8 }), "a/0.png is no whole");
        }
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }

    #[test]
    fn other_files_are_left_out_and_limits_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        class(folder.path(), "a", 20);
        class(folder.path(), "b", 20);
        fs::write(folder.path().join("a/notes.txt"), "x").unwrap();
        let data = read(
            folder.path(),
            json!({ "limit": 10, "coarse": { "all": ["a", "b"] } }),
        )
        .unwrap();
        assert_eq!(data.rows.split.len(), 18);
        assert_eq!(data.meta.coarse_names, ["all"]);
        assert_eq!(data.meta.fine_names, ["a", "b"]);
    }
}
