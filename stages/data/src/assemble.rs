//! From what a format's reader found to the data set artifact: limit, validation rows, normalisation.

use anyhow::{Result, ensure};
use flow_stage::Context;
use flow_stage::dataset::{Dataset, Meta, Rows, Split};
use ndarray::{Array4, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coarse::Coarse;
use crate::draw::stratified;

/// The most rows of each split that are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Limit {
    /// One number for the source's train rows and for its test rows.
    Each(#[schemars(range(min = 1))] u32),
    /// A number for each; a split left out is kept whole.
    Splits(SplitLimits),
}

/// A limit for each split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitLimits {
    /// The most train rows, validation rows included.
    #[schemars(range(min = 1))]
    train: Option<u32>,
    /// The most test rows.
    #[schemars(range(min = 1))]
    test: Option<u32>,
}

/// What a format's reader found: rows in the source's order.
pub struct Source {
    /// The data set's name.
    pub name: &'static str,
    /// Pixels `[n, channels, height, width]`.
    pub images: Array4<u8>,
    /// Fine label `[n]`, each an index into `fine_names`.
    pub fine: Vec<i32>,
    /// Names of the fine classes.
    pub fine_names: Vec<String>,
    /// Coarse labels, where the data or the workflow gives any.
    pub coarse: Option<Coarse>,
    /// Whether a row is a test row `[n]`.
    pub test: Vec<bool>,
    /// Published mean and standard deviation of each channel; computed from the train rows where there are none.
    pub normalisation: Option<(Vec<f32>, Vec<f32>)>,
}

/// The `val` of a kind that does not say otherwise: as the source's code splits.
pub fn default_val() -> f64 {
    0.1
}

/// Limits the rows, draws the validation rows, and writes the stage's output `data`.
///
/// First the limit is drawn from the train rows and the test rows, then `val` of the remaining train rows becomes
/// validation rows; both by class and seed. The rows keep the source's order.
///
/// # Errors
/// Where `val` is no share, no train row remains, or the output can't be written.
pub fn write(context: &Context, source: Source, limit: Option<&Limit>, val: f64) -> Result<()> {
    let dataset = dataset(source, limit, val, context.seed())?;
    let count = |split| dataset.rows.of(split).len();
    context.log(format!(
        "{} images: {} train, {} validation, {} test; {} coarse and {} fine classes",
        dataset.rows.split.len(),
        count(Split::Train),
        count(Split::Val),
        count(Split::Test),
        dataset.meta.coarse_names.len(),
        dataset.meta.fine_names.len()
    ));
    dataset.write(&context.output("data")?)
}

fn dataset(source: Source, limit: Option<&Limit>, val: f64, seed: u64) -> Result<Dataset> {
    ensure!(
        (0.0..1.0).contains(&val),
        "`val` is {val}; it is the share of the train rows that validate, from 0 up to less than 1"
    );
    let Source {
        name,
        mut images,
        mut fine,
        fine_names,
        mut coarse,
        test,
        normalisation,
    } = source;
    let of = |wanted: bool| -> Vec<usize> {
        (0..test.len()).filter(|&row| test[row] == wanted).collect()
    };
    let (limit_train, limit_test) = match limit {
        None => (None, None),
        Some(Limit::Each(n)) => (Some(*n), Some(*n)),
        Some(Limit::Splits(limits)) => (limits.train, limits.test),
    };
    let size = |limit: Option<u32>| limit.map_or(usize::MAX, |n| n as usize);
    let train_rows = stratified(&fine, &of(false), size(limit_train), seed, "limit train");
    let test_rows = stratified(&fine, &of(true), size(limit_test), seed, "limit test");
    let val_rows = stratified(
        &fine,
        &train_rows,
        (val * train_rows.len() as f64).round() as usize,
        seed,
        "validation",
    );
    ensure!(
        train_rows.len() > val_rows.len(),
        "no train row remains of {} after `limit` and `val` = {val}; give more rows",
        of(false).len()
    );

    let mut split = vec![None; fine.len()];
    for (rows, value) in [
        (train_rows, Split::Train),
        (test_rows, Split::Test),
        (val_rows, Split::Val),
    ] {
        for row in rows {
            split[row] = Some(value);
        }
    }
    let kept: Vec<usize> = (0..fine.len())
        .filter(|&row| split[row].is_some())
        .collect();
    if kept.len() < fine.len() {
        images = images.select(Axis(0), &kept);
        fine = kept.iter().map(|&row| fine[row]).collect();
        if let Some(coarse) = &mut coarse {
            coarse.labels = kept.iter().map(|&row| coarse.labels[row]).collect();
        }
    }
    let split: Vec<Split> = split.into_iter().flatten().collect();
    let (mean, std) = normalisation.unwrap_or_else(|| normalisation_of(&images, &split));
    let (coarse_names, coarse) = match coarse {
        Some(coarse) => (coarse.names, Some(coarse.labels.into())),
        None => (vec![], None),
    };
    Ok(Dataset {
        meta: Meta {
            name: name.into(),
            coarse_names,
            fine_names,
            mean,
            std,
        },
        images,
        rows: Rows {
            coarse,
            fine: Some(fine.into()),
            split,
        },
    })
}

/// Mean and standard deviation (of the population) of each channel over the train rows, of values in 0..1. Summed as
/// integers, so that they are exact. A channel of one value takes 1 as its deviation: dividing by it changes nothing.
fn normalisation_of(images: &Array4<u8>, split: &[Split]) -> (Vec<f32>, Vec<f32>) {
    let channels = images.dim().1;
    let (mut means, mut deviations) = (Vec::new(), Vec::new());
    for channel in 0..channels {
        let (mut n, mut sum, mut squares) = (0u64, 0u64, 0u64);
        for (row, _) in split
            .iter()
            .enumerate()
            .filter(|(_, s)| **s == Split::Train)
        {
            for &value in images.index_axis(Axis(0), row).index_axis(Axis(0), channel) {
                n += 1;
                sum += u64::from(value);
                squares += u64::from(value).pow(2);
            }
        }
        let n = n as f64;
        let mean = sum as f64 / n;
        let variance = squares as f64 / n - mean * mean;
        means.push((mean / 255.0) as f32);
        deviations.push(if variance > 0.0 {
            (variance.sqrt() / 255.0) as f32
        } else {
            1.0
        });
    }
    (means, deviations)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 train rows of two classes in turn, then 10 test rows; row r's one pixel is r.
    fn source() -> Source {
        Source {
            name: "small",
            images: Array4::from_shape_fn((50, 1, 1, 1), |(row, ..)| row as u8),
            fine: (0..50).map(|row| row % 2).collect(),
            fine_names: vec!["a".into(), "b".into()],
            coarse: Some(Coarse {
                names: vec!["all".into()],
                labels: vec![0; 50],
            }),
            test: (0..50).map(|row| row >= 40).collect(),
            normalisation: None,
        }
    }

    #[test]
    fn validation_rows_are_drawn_from_the_train_rows_and_the_order_stays() {
        let data = dataset(source(), None, 0.1, 7).unwrap();
        assert!(data.images.iter().copied().eq(0..50));
        let val = data.rows.of(Split::Val);
        assert_eq!((val.len(), data.rows.of(Split::Train).len()), (4, 36));
        assert_eq!(data.rows.of(Split::Test), (40..50).collect::<Vec<_>>());
        assert_eq!(val.iter().filter(|&&row| row % 2 == 0).count(), 2);
        assert_eq!(data, dataset(source(), None, 0.1, 7).unwrap());
        assert_ne!(
            val,
            dataset(source(), None, 0.1, 8).unwrap().rows.of(Split::Val)
        );
    }

    #[test]
    fn a_limit_drops_rows_of_each_split_by_class() {
        let limit = Limit::Splits(SplitLimits {
            train: Some(20),
            test: None,
        });
        let data = dataset(source(), Some(&limit), 0.1, 7).unwrap();
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
        let each = dataset(source(), Some(&Limit::Each(4)), 0.0, 7).unwrap();
        assert_eq!(each.rows.split.len(), 8);
        assert_eq!(each.rows.coarse.unwrap().len(), 8);
    }

    #[test]
    fn normalisation_comes_from_the_train_rows() {
        let mut source = source();
        source
            .images
            .mapv_inplace(|row| if row < 40 { (row % 2) * 255 } else { 77 });
        let data = dataset(source, None, 0.1, 7).unwrap();
        assert_eq!((data.meta.mean, data.meta.std), (vec![0.5], vec![0.5]));
    }

    #[test]
    fn a_share_outside_its_range_and_a_limit_that_leaves_nothing_are_errors() {
        for val in [-0.1, 1.0, f64::NAN] {
            let error = dataset(source(), None, val, 7).unwrap_err().to_string();
            assert!(error.contains("`val` is"), "{error}");
        }
        let error = dataset(source(), Some(&Limit::Each(1)), 0.9, 7).unwrap_err();
        assert!(
            error.to_string().contains("no train row remains"),
            "{error}"
        );
    }
}
