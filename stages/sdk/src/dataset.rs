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
//! Everything that stages compute from a data set keeps this row order, all n rows. A data set of vectors that were made
//! elsewhere has no `images.npy`, and no mean and standard deviation.
//!
//! A [`Dataset`] is all of it in memory. [`Writer`] and [`Images`] write and read one that may be larger than that.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use memmap2::{Advice, Mmap};
use ndarray::{Array1, Array4, ArrayView4};
use ndarray_npy::ViewNpyExt;
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
    /// The mean of each channel, of values in 0..1, that networks subtract; empty where there are no images.
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
    /// Reads the folder at `path` into memory.
    ///
    /// # Errors
    /// Where a file is missing or damaged, or the arrays do not fit each other.
    pub fn read(path: &Path) -> Result<Self> {
        let meta = Meta::read(path)?;
        let rows = Rows::read(path)?;
        let images = Images::open(path, &meta, &rows)?;
        let shape = images.shape();
        let images = Array4::from_shape_vec(shape, images.pixels().to_vec())?;
        Ok(Dataset { meta, images, rows })
    }

    /// Writes the folder at `path`, which must not exist yet or be empty.
    ///
    /// # Errors
    /// Where something can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut writer = Writer::new(path, self.images.dim().into())?;
        let images = self.images.as_standard_layout();
        writer.images(images.as_slice().context("no row-major images")?)?;
        writer.finish(&self.meta, &self.rows)
    }
}

/// The images of a data set, mapped from their file: the system reads what is looked at, and drops it when memory is
/// short. So a data set may be larger than memory.
pub struct Images {
    map: Mmap,
    /// `[n, channels, height, width]`.
    shape: [usize; 4],
    /// Where the pixels begin in the file.
    begin: usize,
}

impl Images {
    /// Maps the images of the folder at `path`, which has this description and these rows.
    ///
    /// # Errors
    /// Where the file is missing or damaged, or does not fit the others.
    pub fn open(path: &Path, meta: &Meta, rows: &Rows) -> Result<Self> {
        let file_path = path.join("images.npy");
        let shown = file_path.display();
        ensure!(
            Images::are_there(path),
            "{} has no images: its rows are vectors that were made elsewhere, which can be clustered and scored",
            path.display()
        );
        let file = File::open(&file_path).with_context(|| format!("{shown} can't be opened"))?;
        // SAFETY: the bytes must not change while they are mapped. An input of a stage is a read-only file of its own,
        // no stage writes its inputs, and none goes on writing images that it has finished.
        #[allow(unsafe_code)]
        let map =
            unsafe { Mmap::map(&file) }.with_context(|| format!("{shown} can't be mapped"))?;
        let view = ArrayView4::<u8>::view_npy(&map)
            .with_context(|| format!("{shown} is not a .npy array of u8 with 4 dimensions"))?;
        ensure!(
            view.is_standard_layout(),
            "{shown} is in Fortran order, and images stand in C order, row by row"
        );
        let shape: [usize; 4] = view.dim().into();
        let begin = map.len() - view.len();
        let [n, channels, ..] = shape;
        ensure!(
            n == rows.split.len() && channels == meta.mean.len() && channels == meta.std.len(),
            "{}: images.npy has {n} rows of {channels} channel(s), split.npy {} rows, dataset.json {} mean(s)",
            path.display(),
            rows.split.len(),
            meta.mean.len()
        );
        Ok(Images { map, shape, begin })
    }

    /// Whether the data set in the folder at `path` has images.
    pub fn are_there(path: &Path) -> bool {
        path.join("images.npy").exists()
    }

    /// Rows, channels, height and width.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// All pixels, row after row.
    pub fn pixels(&self) -> &[u8] {
        &self.map[self.begin..]
    }

    /// The pixels `[channels, height, width]` of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        let size = self.row_size();
        &self.pixels()[row * size..(row + 1) * size]
    }

    /// Has the system begin to read these rows where they are not in memory, and returns at once.
    pub fn prefetch(&self, rows: &[usize]) {
        let size = self.row_size();
        for &row in rows {
            // Advice that is not taken costs time alone.
            let _ = self
                .map
                .advise_range(Advice::WillNeed, self.begin + row * size, size);
        }
    }

    fn row_size(&self) -> usize {
        self.shape[1..].iter().product()
    }
}

/// Writes a data set whose images come a few at a time.
pub struct Writer {
    folder: PathBuf,
    images: BufWriter<File>,
    /// Bytes of pixels that are still to come.
    left: u64,
}

impl Writer {
    /// Begins the folder at `path`, which must not exist yet or be empty, for images of `shape` `[n, channels, height,
    /// width]`.
    ///
    /// # Errors
    /// Where something can't be written.
    pub fn new(path: &Path, shape: [usize; 4]) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{} can't be made", path.display()))?;
        let wrong = || format!("{} can't be written", path.join("images.npy").display());
        let mut file = File::create(path.join("images.npy")).with_context(wrong)?;
        ndarray_npy::write_zeroed_npy::<u8, _>(&file, shape).with_context(wrong)?;
        let left = shape.iter().product::<usize>() as u64;
        let begin = file.metadata().with_context(wrong)?.len() - left;
        file.seek(SeekFrom::Start(begin)).with_context(wrong)?;
        Ok(Writer {
            folder: path.to_owned(),
            images: BufWriter::with_capacity(1 << 20, file),
            left,
        })
    }

    /// Appends whole images.
    ///
    /// # Errors
    /// Where they can't be written, or are more than the shape says.
    pub fn images(&mut self, pixels: &[u8]) -> Result<()> {
        self.left = self
            .left
            .checked_sub(pixels.len() as u64)
            .context("more images came than the data set has rows")?;
        self.images
            .write_all(pixels)
            .with_context(|| format!("{} can't be written", self.folder.display()))
    }

    /// Writes everything else.
    ///
    /// # Errors
    /// Where something can't be written, or images are missing.
    pub fn finish(mut self, meta: &Meta, rows: &Rows) -> Result<()> {
        ensure!(
            self.left == 0,
            "images are missing: {} bytes of them did not come",
            self.left
        );
        self.images
            .flush()
            .with_context(|| format!("{} can't be written", self.folder.display()))?;
        write_rows(&self.folder, meta, rows)
    }
}

/// Writes everything but images into the folder at `path`, which is made where it is not there: a data set without images.
///
/// # Errors
/// Where something can't be written.
pub fn write_rows(path: &Path, meta: &Meta, rows: &Rows) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("{} can't be made", path.display()))?;
    if let Some(coarse) = &rows.coarse {
        array::write(&path.join("coarse.npy"), coarse)?;
    }
    if let Some(fine) = &rows.fine {
        array::write(&path.join("fine.npy"), fine)?;
    }
    let split: Array1<u8> = rows.split.iter().map(|&s| s as u8).collect();
    array::write(&path.join("split.npy"), &split)?;
    let mut text = serde_json::to_string_pretty(meta)?;
    text.push('\n');
    fs::write(path.join("dataset.json"), text)
        .with_context(|| format!("{} can't be written", path.join("dataset.json").display()))
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
    fn images_come_a_few_at_a_time_and_are_read_by_row() {
        let folder = tempfile::tempdir().unwrap();
        let Dataset { meta, rows, .. } = small();
        let mut writer = Writer::new(folder.path(), [3, 1, 2, 2]).unwrap();
        writer.images(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
        assert!(writer.images(&[0; 5]).is_err());
        let mut writer = Writer::new(folder.path(), [3, 1, 2, 2]).unwrap();
        writer.images(&[0, 1, 2, 3]).unwrap();
        writer.images(&[4, 5, 6, 7, 8, 9, 10, 11]).unwrap();
        writer.finish(&meta, &rows).unwrap();
        let images = Images::open(folder.path(), &meta, &rows).unwrap();
        images.prefetch(&[0, 2]);
        assert_eq!(images.row(2), [8, 9, 10, 11]);
        assert_eq!(
            Dataset::read(folder.path()).unwrap().images[[1, 0, 1, 0]],
            6
        );
        let few = Writer::new(folder.path(), [3, 1, 2, 2]).unwrap();
        let error = few.finish(&meta, &rows).unwrap_err().to_string();
        assert!(error.contains("12 bytes of them did not come"), "{error}");
    }

    #[test]
    fn a_data_set_may_have_no_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let Dataset { meta, rows, .. } = small();
        write_rows(&path, &meta, &rows).unwrap();
        assert_eq!(Rows::read(&path).unwrap(), rows);
        assert!(!Images::are_there(&path));
        let error = Images::open(&path, &meta, &rows).err().unwrap();
        assert!(error.to_string().contains("has no images"), "{error}");
    }

    #[test]
    fn images_that_do_not_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = small();
        data.write(folder.path()).unwrap();
        let path = folder.path().join("images.npy");
        let whole = fs::read(&path).unwrap();
        let says = |text: &str| {
            let error = format!("{:#}", Dataset::read(folder.path()).unwrap_err());
            assert!(error.contains(text), "{error}");
        };
        for (bytes, text) in [
            (&whole[..whole.len() - 1], "is not a .npy array of u8"),
            (&whole[..0], "images.npy"),
            (b"epoch,loss".as_slice(), "is not a .npy array of u8"),
        ] {
            fs::write(&path, bytes).unwrap();
            says(text);
        }
        array::write(&path, &Array4::<f32>::zeros((3, 1, 2, 2))).unwrap();
        says("is not a .npy array of u8 with 4 dimensions");
        array::write(&path, &Array4::<u8>::zeros((4, 1, 2, 2))).unwrap();
        says("images.npy has 4 rows of 1 channel(s), split.npy 3 rows");
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
