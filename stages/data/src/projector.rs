//! The kind `projector`: an embedding with labels and thumbnails, for TensorBoard's projector.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::{Images, Meta, Rows, Split};
use flow_stage::{ArtifactType, Context, Port, Stage, array};
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use ndarray::{Array1, Array2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::draw::stratified;

/// Points of an embedding with their images, where the data set has any, for the projector of TensorBoard (`tensorboard --logdir FOLDER`).
///
/// Each point carries its row, its coarse class, and where they are known its true fine class, its label and whether the mask
/// keeps it. Rows without a place in the embedding are left out. Of many points `limit` are drawn by coarse class and seed.
/// The coordinates and classes are plain tables, which other tools open too.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Projector {
    /// The most points; the projector becomes slow with more than some ten thousand.
    #[serde(default = "five_thousand")]
    #[schemars(range(min = 1, max = 100_000))]
    limit: u32,
}

fn five_thousand() -> u32 {
    5000
}

/// The longest side of a thumbnail, and of the picture of all of them, which the projector can load.
const THUMBNAIL: usize = 64;
const SPRITE: usize = 8192;

/// An event file with its version and nothing else, as TensorBoard 2.21.0's `RecordWriter` writes it: TensorBoard takes a folder
/// for a run where there is one.
const EVENTS: &[u8] = b"\x0f\0\0\0\0\0\0\0mS+\t\x1a\rbrain.Event:2\xfc\x98Q)";

impl Stage for Projector {
    const NAME: &'static str = "projector";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str = "Shows an embedding with labels and images in TensorBoard";
    const SEEDED: bool = true;

    fn inputs() -> Vec<Port> {
        vec![
            Port::new(
                "embedding",
                ArtifactType::Array,
                "coordinates or features, [n, d]; NaN in rows that are left out",
            ),
            Port::new("data", ArtifactType::Dataset, "the data set, all splits"),
            Port::optional(
                "labels",
                ArtifactType::Labels,
                "a label of each row, [n], such as the found fine ones",
            ),
            Port::optional("mask", ArtifactType::Mask, "which rows were kept, [n]"),
        ]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::new(
            "tensorboard",
            ArtifactType::Folder,
            "a log folder of TensorBoard: tensors.tsv, metadata.tsv, sprite.png where there are images, and what names them",
        )]
    }

    fn run(self, context: &Context) -> Result<()> {
        ensure!(self.limit > 0, "`limit` is 0; one point is the least");
        let embedding = array::read_matrix(context.input("embedding")?)?;
        let n = embedding.nrows();
        let path = context.input("data")?;
        let (meta, rows) = (Meta::read(path)?, Rows::read(path)?);
        let same = |what: &str, found: usize| {
            ensure!(
                found == n,
                "the input `{what}` has {found} rows, and `embedding` has {n}"
            );
            Ok(())
        };
        same("data", rows.split.len())?;
        let labels = context
            .optional_input("labels")
            .map(array::read_labels)
            .transpose()?;
        let mask = context
            .optional_input("mask")
            .map(array::read_mask)
            .transpose()?;
        same("labels", labels.as_ref().map_or(n, Array1::len))?;
        same("mask", mask.as_ref().map_or(n, Array1::len))?;
        let there: Vec<usize> = (0..n)
            .filter(|&row| embedding.row(row).iter().all(|x| x.is_finite()))
            .collect();
        ensure!(
            !there.is_empty(),
            "the input `embedding` has no row of finite numbers"
        );
        let classes = rows.coarse.as_ref().or(rows.fine.as_ref());
        let classes = classes.map_or_else(|| vec![0; n], |labels| labels.to_vec());
        let drawn = stratified(
            &classes,
            &there,
            self.limit as usize,
            context.seed(),
            "projector",
        );
        if drawn.len() < there.len() {
            context.log(format!(
                "{} of {} points are shown",
                drawn.len(),
                there.len()
            ));
        }
        let folder = context.output("tensorboard")?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
        write_coordinates(&folder.join("tensors.tsv"), &embedding, &drawn)?;
        let mut columns = vec![
            column("row", &drawn, |row| row.to_string()),
            column("split", &drawn, |row| split(rows.split[row]).into()),
        ];
        if let Some(coarse) = &rows.coarse {
            columns.push(column("coarse", &drawn, |row| {
                meta.coarse_names[coarse[row] as usize].clone()
            }));
        }
        if let Some(fine) = &rows.fine {
            columns.push(column("fine", &drawn, |row| {
                meta.fine_names[fine[row] as usize].clone()
            }));
        }
        if let Some(labels) = &labels {
            columns.push(column("label", &drawn, |row| match labels[row] {
                -1 => "none".into(),
                label => label.to_string(),
            }));
        }
        if let Some(mask) = &mask {
            columns.push(column("kept", &drawn, |row| mask[row].to_string()));
        }
        write_columns(&folder.join("metadata.tsv"), &columns)?;
        let sprite = if Images::are_there(path) {
            let images = Images::open(path, &meta, &rows)?;
            let [width, height] = write_sprite(&folder.join("sprite.png"), &images, &drawn)?;
            format!(
                "  sprite {{\n    image_path: \"sprite.png\"\n    single_image_dim: [{width}, {height}]\n  }}\n"
            )
        } else {
            String::new()
        };
        let config = format!(
            "embeddings {{\n  tensor_name: \"{}\"\n  tensor_path: \"tensors.tsv\"\n  metadata_path: \"metadata.tsv\"\n\
             {sprite}}}\n",
            // In quotes a name could end the text; stage names can't hold any of these.
            context.stage().replace(['"', '\\', '\n'], "_")
        );
        for (name, content) in [
            ("projector_config.pbtxt", config.as_bytes()),
            ("events.out.tfevents.0.flow", EVENTS),
        ] {
            let path = folder.join(name);
            fs::write(&path, content)
                .with_context(|| format!("{} can't be written", path.display()))?;
        }
        Ok(())
    }
}

fn split(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Val => "validation",
        Split::Test => "test",
    }
}

/// A name, and the text of each drawn row.
type Column = (&'static str, Vec<String>);

fn column(name: &'static str, drawn: &[usize], text: impl Fn(usize) -> String) -> Column {
    // Tabs and line breaks part cells and rows.
    let cell = |&row: &usize| text(row).replace(['\t', '\n', '\r'], " ");
    (name, drawn.iter().map(cell).collect())
}

fn write_lines(path: &Path, lines: impl Iterator<Item = String>) -> Result<()> {
    let wrong = || format!("{} can't be written", path.display());
    let mut file = BufWriter::new(File::create(path).with_context(wrong)?);
    for line in lines {
        writeln!(file, "{line}").with_context(wrong)?;
    }
    file.flush().with_context(wrong)
}

fn write_coordinates(path: &Path, embedding: &Array2<f32>, drawn: &[usize]) -> Result<()> {
    let line = |&row: &usize| {
        let numbers: Vec<String> = embedding.row(row).iter().map(f32::to_string).collect();
        numbers.join("\t")
    };
    write_lines(path, drawn.iter().map(line))
}

fn write_columns(path: &Path, columns: &[Column]) -> Result<()> {
    let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    let line = |index: usize| {
        let cells: Vec<&str> = columns
            .iter()
            .map(|(_, cells)| cells[index].as_str())
            .collect();
        cells.join("\t")
    };
    write_lines(
        path,
        std::iter::once(header.join("\t")).chain((0..rows).map(line)),
    )
}

/// Writes the thumbnails row by row into a square grid; gives the width and height of one.
fn write_sprite(path: &Path, images: &Images, drawn: &[usize]) -> Result<[usize; 2]> {
    let [_, channels, height, width] = images.shape();
    let columns = (1..).find(|side| side * side >= drawn.len()).unwrap_or(1);
    let most = THUMBNAIL.min(SPRITE / columns).max(1);
    let longest = height.max(width);
    let scale = |side: usize| match longest > most {
        true => (side * most / longest).max(1),
        false => side,
    };
    let (wide, high) = (scale(width), scale(height));
    let mut sprite = RgbImage::new((columns * wide) as u32, (columns * high) as u32);
    for (place, &row) in drawn.iter().enumerate() {
        let pixels = images.row(row);
        let at = |channel: usize, x: u32, y: u32| {
            // Of one channel all three colours, of two or more the first three that are there.
            let channel = channel.min(channels - 1);
            pixels[(channel * height + y as usize) * width + x as usize]
        };
        let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            Rgb([at(0, x, y), at(1, x, y), at(2, x, y)])
        });
        let image = match (wide, high) == (width, height) {
            true => image,
            false => resize(&image, wide as u32, high as u32, FilterType::Triangle),
        };
        let (left, top) = (place % columns * wide, place / columns * high);
        image::imageops::replace(&mut sprite, &image, left as i64, top as i64);
    }
    sprite
        .save(path)
        .with_context(|| format!("{} can't be written", path.display()))?;
    Ok([wide, high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow_stage::dataset::Dataset;
    use flow_stage::protocol::Request;
    use ndarray::Array4;

    /// 12 rows, two coarse classes in turn; the embedding of row r is (r, -r), and row 5 has none.
    fn run(folder: &Path, more: &[&str], limit: u32, size: usize) -> Result<()> {
        let data = Dataset {
            meta: Meta {
                name: "small".into(),
                coarse_names: vec!["even".into(), "odd\tone".into()],
                fine_names: vec![],
                mean: vec![0.5],
                std: vec![0.5],
            },
            images: Array4::from_shape_fn((12, 1, size, size), |(row, ..)| row as u8 * 20),
            rows: Rows {
                coarse: Some((0..12).map(|row| row % 2).collect()),
                fine: None,
                split: vec![Split::Train; 12],
            },
        };
        data.write(&folder.join("data"))?;
        let mut embedding =
            Array2::from_shape_fn(
                (12, 2),
                |(row, d)| {
                    if d == 0 { row as f32 } else { -(row as f32) }
                },
            );
        embedding[[5, 1]] = f32::NAN;
        array::write(&folder.join("embedding"), &embedding)?;
        let labels: Array1<i32> = (0..12).map(|row| row % 3 - 1).collect();
        array::write(&folder.join("labels"), &labels)?;
        array::write(&folder.join("mask"), &Array1::from_elem(12, true))?;
        array::write(&folder.join("short"), &Array1::from_elem(3, true))?;
        let inputs = ["data", "embedding"].iter().chain(more).map(|name| {
            let role = if *name == "short" { "mask" } else { name };
            (role.to_string(), folder.join(name))
        });
        let request = Request {
            protocol: flow_stage::protocol::PROTOCOL,
            kind: String::new(),
            stage: "shown".into(),
            parameters: Default::default(),
            inputs: inputs.collect(),
            outputs: [("tensorboard".to_string(), folder.join("out"))].into(),
            earlier: Default::default(),
            work: folder.join("work"),
            seed: 42,
            threads: 1,
            device: "cpu".into(),
        };
        Projector { limit }.run(&Context::new(request, std::io::sink()))
    }

    #[test]
    fn points_labels_and_thumbnails_stand_in_one_order() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &["labels", "mask"], 100, 2).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join("out").join(name)).unwrap();
        let tensors: Vec<String> = read("tensors.tsv").lines().map(String::from).collect();
        assert_eq!((tensors.len(), tensors[5].as_str()), (11, "6\t-6"));
        let metadata: Vec<String> = read("metadata.tsv").lines().map(String::from).collect();
        assert_eq!(metadata[0], "row\tsplit\tcoarse\tlabel\tkept");
        assert_eq!(metadata[2], "1\ttrain\todd one\t0\ttrue");
        assert_eq!(metadata[6], "6\ttrain\teven\tnone\ttrue");
        assert_eq!(metadata.len(), 12);
        let sprite = image::open(folder.path().join("out/sprite.png"))
            .unwrap()
            .to_rgb8();
        assert_eq!(sprite.dimensions(), (8, 8));
        // The sixth point, row 6: second line, second column of four.
        assert_eq!(sprite.get_pixel(3, 3), &Rgb([120; 3]));
        let events = fs::read(folder.path().join("out/events.out.tfevents.0.flow"));
        assert_eq!(events.unwrap(), EVENTS);
        let config = read("projector_config.pbtxt");
        assert!(
            config.contains("tensor_name: \"shown\"")
                && config.contains("single_image_dim: [2, 2]")
        );
    }

    #[test]
    fn few_of_many_points_are_drawn_and_large_images_are_made_small() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &[], 4, 100).unwrap();
        let out = folder.path().join("out");
        assert_eq!(
            fs::read_to_string(out.join("tensors.tsv"))
                .unwrap()
                .lines()
                .count(),
            4
        );
        let sprite = image::open(out.join("sprite.png")).unwrap();
        assert_eq!((sprite.width(), sprite.height()), (128, 128));
    }

    #[test]
    fn inputs_that_do_not_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(folder.path(), &["short"], 4, 2)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the input `mask` has 3 rows, and `embedding` has 12");
    }
}
