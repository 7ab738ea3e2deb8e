//! A data set, and the batches that networks see.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flow_stage::dataset::{Images, Meta, Rows, Split};
use flow_stage::{array, random};
use ndarray::Array1;
use rand::Rng;
use tch::{Device, Kind, Tensor};

use crate::augment::Augment;

/// A data set. Its images stay in their file, which is mapped: only those of a batch are copied.
pub struct Data {
    /// Names.
    pub meta: Meta,
    /// Labels and splits.
    pub rows: Rows,
    images: Images,
    device: Device,
    mean: Tensor,
    std: Tensor,
    loading: Cell<Duration>,
}

impl Data {
    /// Reads the data set at `path`; every row gets its coarse label checked to be there.
    ///
    /// # Errors
    /// Where it can't be read, has no coarse labels, or has no rows in one of its parts.
    pub fn read(path: &Path, device: Device) -> Result<Self> {
        let meta = Meta::read(path)?;
        let rows = Rows::read(path)?;
        let images = Images::open(path, &meta, &rows)?;
        ensure!(
            rows.coarse.is_some(),
            "the data set `{}` has no coarse labels; give its stage a `coarse` map from fine to coarse classes",
            meta.name
        );
        let mut data = Data {
            images,
            device,
            mean: Tensor::new(),
            std: Tensor::new(),
            loading: Cell::default(),
            rows,
            meta,
        };
        let (mean, std) = (data.meta.mean.clone(), data.meta.std.clone());
        data.normalise(&mean, &std);
        Ok(data)
    }

    /// Has [`Data::batch`] subtract `mean` from each channel and divide it by `std`.
    pub fn normalise(&mut self, mean: &[f32], std: &[f32]) {
        let tensor = |values| {
            Tensor::from_slice(values)
                .view([1, -1, 1, 1])
                .to_device(self.device)
        };
        (self.mean, self.std) = (tensor(mean), tensor(std));
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.split.len()
    }

    /// The pixels.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Channels, height and width.
    pub fn input(&self) -> [i64; 3] {
        let [_, channels, height, width] = self.images.shape();
        [channels, height, width].map(|size| size as i64)
    }

    /// Where the batches are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The rows of a part.
    ///
    /// # Errors
    /// Where there are none.
    pub fn of(&self, split: Split) -> Result<Vec<usize>> {
        let rows = self.rows.of(split);
        let (name, remedy) = match split {
            Split::Train => ("training", "its stage has to give some"),
            Split::Val => ("validation", "give its stage a larger `val`"),
            Split::Test => ("test", "its stage has to give some"),
        };
        ensure!(
            !rows.is_empty(),
            "the data set `{}` has no {name} rows; {remedy}",
            self.meta.name
        );
        Ok(rows)
    }

    /// The coarse label of each row.
    pub fn coarse(&self) -> &Array1<i32> {
        self.rows.coarse.as_ref().expect("checked when read")
    }

    /// The true fine label of each row.
    ///
    /// # Errors
    /// Where they are unknown.
    pub fn fine(&self) -> Result<&Array1<i32>> {
        self.rows.fine.as_ref().with_context(|| {
            format!(
                "the data set `{}` has no fine labels of its own; give the stage an input `labels`",
                self.meta.name
            )
        })
    }

    /// The images of `rows` (i64 `[b]`) as f32 `[b, c, h, w]`, normalised.
    pub fn batch(&self, rows: &Tensor) -> Tensor {
        self.timed(|| self.normalised(self.pixels(rows)))
    }

    /// How long it took so far to copy, augment and normalise images.
    pub fn loading(&self) -> Duration {
        self.loading.get()
    }

    fn timed(&self, load: impl FnOnce() -> Tensor) -> Tensor {
        let begin = Instant::now();
        let images = load();
        self.loading.set(self.loading.get() + begin.elapsed());
        images
    }

    /// As [`Data::batch`], changed at random as it is seen in one epoch of a training; `numbers` are the same rows.
    pub fn augmented(
        &self,
        rows: &Tensor,
        augment: &Augment,
        seed: u64,
        epoch: &str,
        numbers: &[usize],
    ) -> Tensor {
        self.timed(|| {
            let mut pixels = self.pixels(rows);
            if !augment.is_none() {
                pixels = augment.apply(&pixels, seed, epoch, numbers);
            }
            self.normalised(pixels)
        })
    }

    /// The images of `rows` (i64 `[b]`) as f32 `[b, c, h, w]` in 0..1.
    fn pixels(&self, rows: &Tensor) -> Tensor {
        let mut images = self
            .gather(rows)
            .to_device(self.device)
            .to_kind(Kind::Float);
        images.g_div_scalar_(255.0)
    }

    fn normalised(&self, mut images: Tensor) -> Tensor {
        let _ = images.g_sub_(&self.mean);
        images.g_div_(&self.std)
    }

    /// The pixels u8 `[b, c, h, w]` of `rows`, on the CPU.
    fn gather(&self, rows: &Tensor) -> Tensor {
        let rows = Vec::<i64>::try_from(rows).expect("row numbers are i64 [b]");
        let [channels, height, width] = self.input();
        let mut pixels = Vec::with_capacity(rows.len() * (channels * height * width) as usize);
        for &row in &rows {
            pixels.extend_from_slice(self.images.row(row as usize));
        }
        let size = [rows.len() as i64, channels, height, width];
        Tensor::from_data_size(&pixels, &size, Kind::Uint8)
    }

    /// Has the system begin to read the images of `rows`, which [`Data::batch`] is asked for next.
    pub fn prefetch(&self, rows: &[usize]) {
        self.images.prefetch(rows);
    }

    /// Row numbers as a tensor.
    pub fn index(&self, rows: &[usize]) -> Tensor {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        Tensor::from_slice(&rows).to_device(self.device())
    }

    /// Labels as a tensor.
    pub fn labels(&self, labels: &Array1<i32>) -> Tensor {
        let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        Tensor::from_slice(&labels).to_device(self.device())
    }
}

/// Discovered or true fine labels, and what coarse class each belongs to.
pub struct Fine {
    /// Fine label `[n]`, -1 where a row has none.
    pub labels: Array1<i32>,
    /// The coarse class of each fine class: the one that most of its training rows have.
    pub to_coarse: Vec<usize>,
    /// Whether these are the data set's own labels.
    pub is_true: bool,
}

impl Fine {
    /// Reads the labels at `path`, or takes the data set's own where there is no path.
    ///
    /// # Errors
    /// Where they don't fit the data set or leave no training row.
    pub fn read(path: Option<&Path>, data: &Data) -> Result<Self> {
        let labels = match path {
            Some(path) => array::read_labels(path)?,
            None => data.fine()?.clone(),
        };
        ensure!(
            labels.len() == data.len(),
            "the input `labels` has {} rows, and the data set `{}` has {}",
            labels.len(),
            data.meta.name,
            data.len()
        );
        let train: Vec<usize> = data
            .of(Split::Train)?
            .into_iter()
            .filter(|&row| labels[row] >= 0)
            .collect();
        ensure!(
            !train.is_empty(),
            "the input `labels` leaves out every training row of the data set `{}` (all are -1)",
            data.meta.name
        );
        let classes = match path {
            Some(_) => labels.iter().max().map_or(0, |&label| label as usize + 1),
            None => data.meta.fine_names.len(),
        };
        // More classes than rows: a column of row numbers or hashes, not of classes.
        ensure!(
            classes <= data.len(),
            "the input `labels` holds the label {}, and there are {} rows: classes are numbered 0, 1, 2, …",
            classes - 1,
            data.len()
        );
        let mut counts = vec![vec![0usize; data.meta.coarse_names.len()]; classes];
        for row in train {
            counts[labels[row] as usize][data.coarse()[row] as usize] += 1;
        }
        let to_coarse = counts.iter().map(|counts| first_maximum(counts)).collect();
        Ok(Fine {
            labels,
            to_coarse,
            is_true: path.is_none(),
        })
    }
}

/// The index of the largest value, the first of equals.
pub fn first_maximum<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// `rows` in an order that depends on the seed, the purpose and each row's number, on nothing else.
pub fn shuffled(mut rows: Vec<usize>, seed: u64, purpose: &str) -> Vec<usize> {
    rows.sort_by_cached_key(|&row| {
        let mut random = random::generator(seed, purpose, row as u64);
        (random.next_u64(), row)
    });
    rows
}

/// Splits `rows` into nine tenths and one tenth, within each class of `labels`.
pub fn split(rows: &[usize], labels: &Array1<i32>, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut of_class = std::collections::BTreeMap::<i32, Vec<usize>>::new();
    for &row in rows {
        of_class.entry(labels[row]).or_default().push(row);
    }
    let (mut train, mut val) = (Vec::new(), Vec::new());
    for rows in of_class.into_values() {
        let tenth = (rows.len() as f64 / 10.0).round() as usize;
        let mut rows = shuffled(rows, seed, "split");
        val.extend(rows.drain(..tenth));
        train.extend(rows);
    }
    train.sort_unstable();
    val.sort_unstable();
    (train, val)
}

/// Cuts `rows` into batches of `size`. A last batch of one row joins the one before: batch norm needs two values.
pub fn batches(rows: &[usize], size: usize) -> Vec<&[usize]> {
    let mut batches: Vec<&[usize]> = rows.chunks(size).collect();
    if batches.len() > 1 && batches[batches.len() - 1].len() == 1 {
        batches.pop();
        let begin = (batches.len() - 1) * size;
        let last = batches.len() - 1;
        batches[last] = &rows[begin..];
    }
    batches
}

/// How many of `rows` have each label, of labels i64 `[n]`.
///
/// # Errors
/// Where a row has none of `0..classes`.
pub fn counts(labels: &Tensor, classes: usize, rows: &[usize]) -> Result<Vec<usize>> {
    let labels = Vec::<i64>::try_from(labels)?;
    let mut counts = vec![0; classes];
    for &row in rows {
        let count = usize::try_from(labels[row]).ok();
        let count = count.and_then(|label| counts.get_mut(label));
        *count.with_context(|| {
            format!(
                "the label of row {row} is {}, and there are {classes} classes: labels are 0, 1, 2, …",
                labels[row],
            )
        })? += 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_depends_on_the_rows_alone() {
        let all = shuffled((0..100).collect(), 1, "shuffle 0");
        assert_eq!(all, shuffled((0..100).rev().collect(), 1, "shuffle 0"));
        assert_ne!(all, shuffled((0..100).collect(), 2, "shuffle 0"));
        assert_ne!(all, shuffled((0..100).collect(), 1, "shuffle 1"));
        let few: Vec<usize> = all.iter().copied().filter(|row| row % 2 == 0).collect();
        assert_eq!(few, shuffled((0..100).step_by(2).collect(), 1, "shuffle 0"));
    }

    #[test]
    fn a_split_takes_a_tenth_of_each_class() {
        let labels: Array1<i32> = (0..120).map(|row| i32::from(row >= 100)).collect();
        let rows: Vec<usize> = (0..120).collect();
        let (train, val) = split(&rows, &labels, 7);
        assert_eq!(val.iter().filter(|&&row| row < 100).count(), 10);
        assert_eq!(val.iter().filter(|&&row| row >= 100).count(), 2);
        let mut all = [train, val].concat();
        all.sort_unstable();
        assert_eq!(all, rows);
    }

    #[test]
    fn no_batch_has_one_row_unless_there_is_one() {
        let rows: Vec<usize> = (0..9).collect();
        let sizes = |rows, size| {
            batches(rows, size)
                .iter()
                .map(|b| b.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&rows, 4), [4, 5]);
        assert_eq!(sizes(&rows, 3), [3, 3, 3]);
        assert_eq!(sizes(&rows, 5), [5, 4]);
        assert_eq!(sizes(&rows[..1], 4), [1]);
        assert_eq!(batches(&rows, 4).concat(), rows);
    }
}
