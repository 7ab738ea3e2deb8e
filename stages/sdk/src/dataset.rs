//! The data set artifact: a folder of arrays with one row an image, and `dataset.json`.
//!
//! | file | content |
//! |---|---|
//! | `dataset.json` | [`Meta`] |
//! | `images.npy` | u8 `[n, channels, height, width]` |
//! | `coarse.npy` | i32 `[n]`, index into the coarse names; there where the data has coarse labels |
//! | `fine.npy` | i32 `[n]`, index into the fine names; there where the true fine labels are known |
//! | `split.npy` | u8 `[n]`: 0 train, 1 validation, 2 test |
//!
//! Everything that stages compute from a data set keeps this row order, all n rows.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array1, Array4};
use serde::{Deserialize, Serialize};

use crate::array;

/// Which part of the data a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Split {
    /// Rows that networks learn from.
    Train = 0,
    /// Rows that choose the best checkpoint and stop a training early.
    Val = 1,
    /// Rows that are looked at once, at the end.
    Test = 2,
}

/// What `dataset.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The data set's name, such as `cifar100`.
    pub name: String,
    /// Names of the coarse classes, by index; empty where there are no coarse labels.
    pub coarse_names: Vec<String>,
    /// Names of the fine classes, by index; empty where the true fine labels are unknown.
    pub fine_names: Vec<String>,
    /// The mean of each channel, of values in 0..1, that networks subtract.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel by which networks divide.
    pub std: Vec<f32>,
}

/// A data set in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Names and normalisation.
    pub meta: Meta,
    /// Pixels `[n, channels, height, width]`.
    pub images: Array4<u8>,
    /// Labels and split of each row.
    pub rows: Rows,
}

/// Labels and split of each row: what stages read that do not look at pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Coarse label `[n]`, where there are any.
    pub coarse: Option<Array1<i32>>,
    /// True fine label `[n]`, where known.
    pub fine: Option<Array1<i32>>,
    /// The part `[n]` that a row belongs to.
    pub split: Vec<Split>,
}

impl Dataset {
    /// Reads the folder at `path`.
    ///
    /// # Errors
    /// Where a file is missing or damaged, or the arrays do not fit each other.
    pub fn read(path: &Path) -> Result<Self> {
        let meta = Meta::read(path)?;
        let rows = Rows::read(path)?;
        let images: Array4<u8> = array::read(&path.join("images.npy"))?;
        let (n, channels, ..) = images.dim();
        ensure!(
            n == rows.split.len() && channels == meta.mean.len() && channels == meta.std.len(),
            "{}: images.npy has {n} rows of {channels} channel(s), split.npy {} rows, dataset.json {} mean(s)",
            path.display(),
            rows.split.len(),
            meta.mean.len()
        );
        Ok(Dataset { meta, images, rows })
    }

    /// Writes the folder at `path`, which must not exist yet or be empty.
    ///
    /// # Errors
    /// Where something can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path).with_context(|| format!("{} can't be made", path.display()))?;
        array::write(&path.join("images.npy"), &self.images)?;
        if let Some(coarse) = &self.rows.coarse {
            array::write(&path.join("coarse.npy"), coarse)?;
        }
        if let Some(fine) = &self.rows.fine {
            array::write(&path.join("fine.npy"), fine)?;
        }
        let split: Array1<u8> = self.rows.split.iter().map(|&s| s as u8).collect();
        array::write(&path.join("split.npy"), &split)?;
        let mut text = serde_json::to_string_pretty(&self.meta)?;
        text.push('\n');
        fs::write(path.join("dataset.json"), text)
            .with_context(|| format!("{} can't be written", path.join("dataset.json").display()))
    }
}

impl Meta {
    /// Reads `dataset.json` of the folder at `path`.
    ///
    /// # Errors
    /// Where it is missing or is not what a data set holds.
    pub fn read(path: &Path) -> Result<Self> {
        let path = path.join("dataset.json");
        let file = File::open(&path).with_context(|| {
            format!(
                "{} can't be opened: the folder is not a data set",
                path.display()
            )
        })?;
        serde_json::from_reader(std::io::BufReader::new(file))
            .with_context(|| format!("{} is not a data set's description", path.display()))
    }
}

impl Rows {
    /// Reads labels and splits of the folder at `path`, without its images.
    ///
    /// # Errors
    /// Where a file is missing or damaged, or the arrays do not fit each other.
    pub fn read(path: &Path) -> Result<Self> {
        let meta = Meta::read(path)?;
        let numbers: Array1<u8> = array::read(&path.join("split.npy"))?;
        let split = numbers
            .iter()
            .map(|&s| match s {
                0 => Ok(Split::Train),
                1 => Ok(Split::Val),
                2 => Ok(Split::Test),
                _ => bail!(
                    "{}: split.npy holds {s}; it may hold 0, 1 and 2",
                    path.display()
                ),
            })
            .collect::<Result<Vec<_>>>()?;
        let labels = |file: PathBuf, classes: usize| -> Result<Option<Array1<i32>>> {
            if !file.exists() {
                return Ok(None);
            }
            let labels = array::read_labels(&file)?;
            ensure!(
                labels.len() == split.len(),
                "{} has {} rows, split.npy has {}",
                file.display(),
                labels.len(),
                split.len()
            );
            if let Some(row) = labels.iter().position(|&l| l < 0 || l as usize >= classes) {
                bail!(
                    "{}: row {row} holds {}, and dataset.json names {classes} classes",
                    file.display(),
                    labels[row]
                );
            }
            Ok(Some(labels))
        };
        Ok(Rows {
            coarse: labels(path.join("coarse.npy"), meta.coarse_names.len())?,
            fine: labels(path.join("fine.npy"), meta.fine_names.len())?,
            split,
        })
    }

    /// The rows of one part, in order.
    pub fn of(&self, split: Split) -> Vec<usize> {
        (0..self.split.len())
            .filter(|&row| self.split[row] == split)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn small() -> Dataset {
        Dataset {
            meta: Meta {
                name: "small".into(),
                coarse_names: vec!["even".into(), "odd".into()],
                fine_names: vec![],
                mean: vec![0.5],
                std: vec![0.25],
            },
            images: Array4::zeros((3, 1, 2, 2)),
            rows: Rows {
                coarse: Some(array![0, 1, 0]),
                fine: None,
                split: vec![Split::Train, Split::Val, Split::Test],
            },
        }
    }

    #[test]
    fn a_data_set_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        small().write(&path).unwrap();
        assert_eq!(Dataset::read(&path).unwrap(), small());
        assert_eq!(Rows::read(&path).unwrap().of(Split::Test), [2]);
    }

    #[test]
    fn a_label_without_a_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut data = small();
        data.rows.coarse = Some(array![0, 2, 0]);
        data.write(folder.path()).unwrap();
        let error = format!("{:#}", Dataset::read(folder.path()).unwrap_err());
        assert!(
            error.contains("row 1 holds 2, and dataset.json names 2 classes"),
            "{error}"
        );
    }
}
