//! From what a format's reader found to the data set artifact: limit, test and validation rows, normalisation.
//!
//! Images are read and written a few at a time, so that a data set may be larger than memory.

use anyhow::{Result, ensure};
use flow_stage::Context;
use flow_stage::dataset::{Meta, Rows, Split, Writer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coarse::Classes;
use crate::draw::stratified;
use crate::views;

/// The most rows of each split that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Limit {
    /// One number for the source's train rows, for its test rows, and for its validation rows where it has any.
    Each(#[schemars(range(min = 1))] u32),
    /// A number for each; a split left out is kept whole.
    Splits(SplitLimits),
}

/// A limit for each split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitLimits {
    /// The most train rows; those that `val` then takes for validation are among them.
    #[schemars(range(min = 1))]
    train: Option<u32>,
    /// The most validation rows, of a source that has validation rows of its own.
    #[schemars(range(min = 1))]
    val: Option<u32>,
    /// The most test rows.
    #[schemars(range(min = 1))]
    test: Option<u32>,
}

/// What networks subtract from each channel of values in 0..1, and divide by after that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub std: Vec<f32>,
}

impl Normalisation {
    fn check(&self, channels: usize) -> Result<()> {
        ensure!(
            self.mean.len() == channels && self.std.len() == channels,
            "`normalisation` has {} mean(s) and {} standard deviation(s), and the images have {channels} channel(s)",
            self.mean.len(),
            self.std.len()
        );
        ensure!(
            self.mean.iter().all(|m| m.is_finite())
                && self.std.iter().all(|&s| s.is_finite() && s > 0.0),
            "`normalisation`: a mean is a number and a standard deviation one above 0"
        );
        Ok(())
    }
}

/// Reads the pixels of some rows, one after the other, into a buffer of their size. It is asked for rows in ascending
/// order, for each at most once.
pub type Pixels<'a> = Box<dyn FnMut(&[usize], &mut [u8]) -> Result<()> + 'a>;

/// What a format's reader found: rows in the source's order.
pub struct Source<'a> {
    /// The data set's name.
    pub name: &'static str,
    /// Channels, height and width of each image.
    pub shape: [usize; 3],
    /// Where the pixels come from.
    pub pixels: Pixels<'a>,
    /// The true fine classes, where they are known.
    pub fine: Option<Classes>,
    /// The coarse classes, where the data or the workflow gives any.
    pub coarse: Option<Classes>,
    /// The part of each row.
    pub split: Vec<Split>,
    /// Published or wished mean and standard deviation; computed from the train rows where there are none.
    pub normalisation: Option<Normalisation>,
}

impl Source<'_> {
    /// The labels by which rows are drawn: the finest ones.
    pub fn labels(&self) -> Result<&[i32]> {
        let classes = self.fine.as_ref().or(self.coarse.as_ref());
        match classes {
            Some(classes) => Ok(&classes.labels),
            None => anyhow::bail!("the data has no labels"),
        }
    }

    /// Takes over the source's own splits, or draws test rows where it has none: the share `test` of them, 0.2 unless
    /// given, by class and seed.
    ///
    /// # Errors
    /// Where `test` is no share.
    pub fn with_splits(
        mut self,
        split: Option<Vec<Split>>,
        test: Option<f64>,
        seed: u64,
    ) -> Result<Self> {
        match split {
            Some(split) => self.split = split,
            None => {
                let share = test.unwrap_or(0.2);
                ensure!(
                    (0.0..1.0).contains(&share),
                    "`test` is {share}; it is the share of the rows that are test rows, from 0 up to less than 1"
                );
                let all: Vec<usize> = (0..self.split.len()).collect();
                let count = (share * all.len() as f64).round() as usize;
                for row in stratified(self.labels()?, &all, count, seed, "test") {
                    self.split[row] = Split::Test;
                }
            }
        }
        Ok(self)
    }

    /// The share of the train rows that [`write()`] has to make validation rows, of a source that may have some of its own.
    ///
    /// # Errors
    /// Where it has, and the workflow gives a share too.
    pub fn share_of_validation(&self, val: Option<f64>) -> Result<Option<f64>> {
        if !self.split.contains(&Split::Val) {
            return Ok(Some(val.unwrap_or_else(default_val)));
        }
        ensure!(
            val.is_none(),
            "the source says which images validate; leave `val` out"
        );
        Ok(None)
    }
}

/// Pixels `[n, channels, height, width]` in memory, of images of `size` bytes.
pub fn in_memory(pixels: Vec<u8>, size: usize) -> Pixels<'static> {
    Box::new(move |rows, buffer| {
        for (&row, image) in rows.iter().zip(buffer.chunks_exact_mut(size)) {
            image.copy_from_slice(&pixels[row * size..(row + 1) * size]);
        }
        Ok(())
    })
}

/// The `val` of a kind that does not say otherwise: as the source's code splits.
pub fn default_val() -> f64 {
    0.1
}

/// Limits the rows, draws the validation rows, and writes the stage's outputs `data` and `view`.
///
/// First the limit is drawn from the rows of each split, then `val` of the remaining train rows becomes validation
/// rows; both by class and seed. The rows keep the source's order. No `val` leaves the splits as they are.
///
/// # Errors
/// Where `val` is no share, no train row remains, an image can't be read, or the output can't be written.
pub fn write(
    context: &Context,
    mut source: Source,
    limit: Option<&Limit>,
    val: Option<f64>,
) -> Result<()> {
    let split = splits(&source, limit, val, context.seed())?;
    let kept: Vec<usize> = (0..split.len())
        .filter(|&row| split[row].is_some())
        .collect();
    let split: Vec<Split> = split.into_iter().flatten().collect();
    let [channels, height, width] = source.shape;
    let path = context.output("data")?;
    let mut writer = Writer::new(&path, [kept.len(), channels, height, width])?;
    let size = channels * height * width;
    // Large enough to decode in parallel, small beside any memory.
    let at_once = ((16 << 20) / size.max(1)).clamp(1, 4096);
    let mut sums = Sums::new(channels);
    let mut buffer = vec![0; size * at_once.min(kept.len())];
    for (rows, split) in kept.chunks(at_once).zip(split.chunks(at_once)) {
        let pixels = &mut buffer[..rows.len() * size];
        (source.pixels)(rows, pixels)?;
        for (image, _) in pixels
            .chunks_exact(size)
            .zip(split)
            .filter(|(_, split)| **split == Split::Train)
        {
            sums.add(image);
        }
        writer.images(pixels)?;
        let done = rows
            .last()
            .map_or(0, |row| kept.partition_point(|r| r <= row));
        context.progress(done as u64, kept.len() as u64, "image");
    }
    let normalisation = match source.normalisation {
        Some(normalisation) => {
            normalisation.check(channels)?;
            normalisation
        }
        None => sums.normalisation(),
    };
    let take = |classes: Option<Classes>| match classes {
        Some(classes) => {
            let labels = kept.iter().map(|&row| classes.labels[row]).collect();
            (classes.names, Some(labels))
        }
        None => (vec![], None),
    };
    let (coarse_names, coarse) = take(source.coarse);
    let (fine_names, fine) = take(source.fine);
    let meta = Meta {
        name: source.name.into(),
        coarse_names,
        fine_names,
        mean: normalisation.mean,
        std: normalisation.std,
    };
    let rows = Rows {
        coarse,
        fine,
        split,
    };
    let count = |split| rows.of(split).len();
    context.log(format!(
        "{} images: {} train, {} validation, {} test; {} coarse and {} fine classes",
        rows.split.len(),
        count(Split::Train),
        count(Split::Val),
        count(Split::Test),
        meta.coarse_names.len(),
        meta.fine_names.len()
    ));
    writer.finish(&meta, &rows)?;
    views::write(&context.output("view")?, &path, &meta, &rows)
}

/// The split of each row, none where the limit drops it.
fn splits(
    source: &Source,
    limit: Option<&Limit>,
    val: Option<f64>,
    seed: u64,
) -> Result<Vec<Option<Split>>> {
    let val = val.unwrap_or(0.0);
    ensure!(
        (0.0..1.0).contains(&val),
        "`val` is {val}; it is the share of the train rows that validate, from 0 up to less than 1"
    );
    let of = |wanted: Split| -> Vec<usize> {
        (0..source.split.len())
            .filter(|&row| source.split[row] == wanted)
            .collect()
    };
    let limits = match limit {
        None => SplitLimits::default(),
        Some(Limit::Each(n)) => SplitLimits {
            train: Some(*n),
            val: Some(*n),
            test: Some(*n),
        },
        Some(Limit::Splits(limits)) => {
            ensure!(
                limits.val.is_none() || source.split.contains(&Split::Val),
                "`limit.val` is given, and the source has no validation rows of its own: `val` draws them from the \
                 train rows"
            );
            limits.clone()
        }
    };
    let labels = source.labels()?;
    let draw = |split: Split, limit: Option<u32>, purpose: &str| {
        let most = limit.map_or(usize::MAX, |n| n as usize);
        stratified(labels, &of(split), most, seed, purpose)
    };
    let train = draw(Split::Train, limits.train, "limit train");
    let drawn = stratified(
        labels,
        &train,
        (val * train.len() as f64).round() as usize,
        seed,
        "validation",
    );
    ensure!(
        train.len() > drawn.len(),
        "no train row remains of {} after `limit` and `val` = {val}; give more rows",
        of(Split::Train).len()
    );
    let mut split = vec![None; source.split.len()];
    for (rows, value) in [
        (train, Split::Train),
        (draw(Split::Test, limits.test, "limit test"), Split::Test),
        (draw(Split::Val, limits.val, "limit val"), Split::Val),
        (drawn, Split::Val),
    ] {
        for row in rows {
            split[row] = Some(value);
        }
    }
    Ok(split)
}

/// Number, sum and sum of squares of each channel's values. Integers, so that they are exact and in any order the same.
struct Sums {
    n: u64,
    channels: Vec<(u64, u64)>,
}

impl Sums {
    fn new(channels: usize) -> Self {
        Sums {
            n: 0,
            channels: vec![(0, 0); channels],
        }
    }

    /// Adds an image `[channels, height, width]`.
    fn add(&mut self, image: &[u8]) {
        let size = image.len() / self.channels.len();
        self.n += size as u64;
        for (values, (sum, squares)) in image.chunks_exact(size).zip(&mut self.channels) {
            for &value in values {
                *sum += u64::from(value);
                *squares += u64::from(value).pow(2);
            }
        }
    }

    /// Mean and standard deviation (of the population) of each channel, of values in 0..1. A channel of one value takes
    /// 1 as its deviation: dividing by it changes nothing.
    fn normalisation(&self) -> Normalisation {
        let n = self.n as f64;
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for &(sum, squares) in &self.channels {
            let average = sum as f64 / n;
            let variance = squares as f64 / n - average * average;
            mean.push((average / 255.0) as f32);
            std.push(if variance > 0.0 {
                (variance.sqrt() / 255.0) as f32
            } else {
                1.0
            });
        }
        Normalisation { mean, std }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;
    use flow_stage::dataset::Dataset;
    use serde_json::json;

    /// 40 train rows of two classes in turn, then 10 test rows; row r's one pixel is r.
    fn source() -> Source<'static> {
        Source {
            name: "small",
            shape: [1, 1, 1],
            pixels: in_memory((0..50).collect(), 1),
            fine: Some(Classes {
                names: vec!["a".into(), "b".into()],
                labels: (0..50).map(|row| row % 2).collect(),
            }),
            coarse: Some(Classes {
                names: vec!["all".into()],
                labels: vec![0; 50],
            }),
            split: (0..50)
                .map(|row| if row < 40 { Split::Train } else { Split::Test })
                .collect(),
            normalisation: None,
        }
    }

    fn dataset(
        source: Source,
        limit: Option<Limit>,
        val: Option<f64>,
        seed: u64,
    ) -> Result<Dataset> {
        let folder = tempfile::tempdir()?;
        let context = context(folder.path(), json!({}), seed);
        write(&context, source, limit.as_ref(), val)?;
        Dataset::read(&context.output("data")?)
    }

    #[test]
    fn validation_rows_are_drawn_from_the_train_rows_and_the_order_stays() {
        let data = |seed| dataset(source(), None, Some(0.1), seed).unwrap();
        let first = data(7);
        assert!(first.images.iter().copied().eq(0..50));
        let val = first.rows.of(Split::Val);
        assert_eq!((val.len(), first.rows.of(Split::Train).len()), (4, 36));
        assert_eq!(first.rows.of(Split::Test), (40..50).collect::<Vec<_>>());
        assert_eq!(val.iter().filter(|&&row| row % 2 == 0).count(), 2);
        assert_eq!(first, data(7));
        assert_ne!(val, data(8).rows.of(Split::Val));
    }

    #[test]
    fn validation_rows_of_the_source_stay_and_are_limited() {
        let own = || {
            let mut source = source();
            source.split[30..40].fill(Split::Val);
            source.fine = None;
            source
        };
        let data = dataset(own(), None, None, 7).unwrap();
        assert_eq!(data.rows.of(Split::Val), (30..40).collect::<Vec<_>>());
        assert_eq!((data.rows.fine, data.meta.fine_names.len()), (None, 0));
        let limit = |val| {
            Limit::Splits(SplitLimits {
                val: Some(val),
                ..SplitLimits::default()
            })
        };
        let data = dataset(own(), Some(limit(6)), None, 7).unwrap();
        assert_eq!(data.rows.of(Split::Val).len(), 6);
        assert_eq!(data.rows.split.len(), 46);
        let error = dataset(source(), Some(limit(6)), None, 7).unwrap_err();
        assert!(
            error.to_string().contains("`limit.val` is given"),
            "{error}"
        );
    }

    #[test]
    fn a_limit_drops_rows_of_each_split_by_class() {
        let limit = Limit::Splits(SplitLimits {
            train: Some(20),
            ..SplitLimits::default()
        });
        let data = dataset(source(), Some(limit), Some(0.1), 7).unwrap();
        let count = |split| data.rows.of(split).len();
        assert_eq!(
            (count(Split::Train), count(Split::Val), count(Split::Test)),
            (18, 2, 10)
        );
        assert!(data.images.iter().is_sorted());
        // The labels moved with their pixels.
        let fine = data.rows.fine.unwrap();
        assert!(
            data.images
                .iter()
                .zip(&fine)
                .all(|(&pixel, &label)| i32::from(pixel) % 2 == label)
        );
        let each = dataset(source(), Some(Limit::Each(4)), None, 7).unwrap();
        assert_eq!(each.rows.split.len(), 8);
        assert_eq!(each.rows.coarse.unwrap().len(), 8);
    }

    #[test]
    fn normalisation_comes_from_the_train_rows_unless_it_is_given() {
        let two_valued = || Source {
            pixels: in_memory(
                (0..50)
                    .map(|row| if row < 40 { (row % 2) * 255 } else { 77 })
                    .collect(),
                1,
            ),
            ..source()
        };
        let data = dataset(two_valued(), None, Some(0.1), 7).unwrap();
        assert_eq!((data.meta.mean, data.meta.std), (vec![0.5], vec![0.5]));
        let given = |mean, std| {
            let normalisation = Some(Normalisation { mean, std });
            dataset(
                Source {
                    normalisation,
                    ..two_valued()
                },
                None,
                None,
                7,
            )
        };
        assert_eq!(given(vec![0.1], vec![0.2]).unwrap().meta.std, [0.2]);
        for (mean, std, text) in [
            (vec![0.1; 3], vec![0.2; 3], "the images have 1 channel(s)"),
            (vec![0.1], vec![0.0], "one above 0"),
            (vec![f32::NAN], vec![1.0], "a mean is a number"),
        ] {
            let error = given(mean, std).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_share_outside_its_range_and_a_limit_that_leaves_nothing_are_errors() {
        for val in [-0.1, 1.0, f64::NAN] {
            let error = dataset(source(), None, Some(val), 7)
                .unwrap_err()
                .to_string();
            assert!(error.contains("`val` is"), "{error}");
        }
        let error = dataset(source(), Some(Limit::Each(1)), Some(0.9), 7).unwrap_err();
        assert!(
            error.to_string().contains("no train row remains"),
            "{error}"
        );
    }
}
