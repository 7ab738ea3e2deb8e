//! Small artifacts of each type, always the same: 40 rows, in two clusters, of four classes.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use flow_stage::ArtifactType;
use npyz::{AutoSerialize, WriteOptions, WriterBuilder};
use serde_json::json;

const ROWS: usize = 40;
/// Height and width of images.
const SIDE: usize = 8;

/// Writes an artifact of this type to `path`. Whether there is one: networks are of one architecture or another, and nobody
/// can make one up.
pub fn make(artifact: ArtifactType, path: &Path) -> Result<bool> {
    let write = |text: &str| fs::write(path, text).with_context(|| cannot(path));
    match artifact {
        ArtifactType::Array => {
            let value = |i: usize| (i / 4 % 2 * 10) as f32 + (i * 7 % 11) as f32 / 10.0;
            npy(path, &[ROWS, 4], (0..ROWS * 4).map(value))?;
        }
        ArtifactType::Labels => npy(path, &[ROWS], (0..ROWS).map(|row| (row % 4) as i64))?,
        ArtifactType::Mask => npy(path, &[ROWS], (0..ROWS).map(|row| row % 5 != 4))?,
        ArtifactType::Metrics => write("{\"accuracy\": 0.5, \"loss\": 0.25}\n")?,
        ArtifactType::Table => write("name,value\na,1\nb,2\n")?,
        ArtifactType::File => write("a line\nanother line\n")?,
        ArtifactType::Folder => {
            folder(path)?;
            fs::write(path.join("file.txt"), "a line\n").with_context(|| cannot(path))?;
        }
        ArtifactType::View => {
            folder(path)?;
            let view = json!({"view": 1, "items": []});
            fs::write(path.join("view.json"), view.to_string()).with_context(|| cannot(path))?;
        }
        ArtifactType::Dataset => dataset(path)?,
        ArtifactType::Model => return Ok(false),
    }
    Ok(true)
}

/// Writes to `path` what is no artifact of this type.
pub fn spoil(artifact: ArtifactType, path: &Path) -> Result<()> {
    if artifact.is_folder() {
        return folder(path);
    }
    fs::write(path, b"\xffthis is not what was declared\n\0").with_context(|| cannot(path))
}

fn dataset(path: &Path) -> Result<()> {
    folder(path)?;
    let meta = json!({
        "name": "trial",
        "coarse_names": ["even", "odd"],
        "fine_names": ["a", "b", "c", "d"],
        "mean": [0.5],
        "std": [0.5],
    });
    let file = path.join("dataset.json");
    fs::write(&file, meta.to_string()).with_context(|| cannot(&file))?;
    let pixel = |i: usize| (i * 31 % 256) as u8;
    let images = [ROWS, 1, SIDE, SIDE];
    npy(
        &path.join("images.npy"),
        &images,
        (0..ROWS * SIDE * SIDE).map(pixel),
    )?;
    let labels = |classes| (0..ROWS).map(move |row| (row % classes) as i32);
    npy(&path.join("coarse.npy"), &[ROWS], labels(2))?;
    npy(&path.join("fine.npy"), &[ROWS], labels(4))?;
    // Half of each class to train on, a quarter each to validate and to test.
    let split = |row: usize| [0_u8, 0, 1, 2][row / 4 % 4];
    npy(&path.join("split.npy"), &[ROWS], (0..ROWS).map(split))
}

fn folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| cannot(path))
}

fn npy<T: AutoSerialize>(
    path: &Path,
    shape: &[usize],
    values: impl Iterator<Item = T>,
) -> Result<()> {
    let shape: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
    let written = File::create(path).and_then(|file| {
        let options = WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(BufWriter::new(file)).begin_nd()?;
        writer.extend(values)?;
        writer.finish()
    });
    written.with_context(|| cannot(path))
}

fn cannot(path: &Path) -> String {
    format!("{} can't be written", path.display())
}
