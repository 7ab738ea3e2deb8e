//! The kind `digits`: the UCI handwritten digits, which are part of this crate.

use anyhow::{Context as _, Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::{Context, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{self, Limit, Source, in_memory};
use crate::coarse::{self, Classes, Groups, group};
use crate::{data_output, unpack};

/// 64 values 0..16 and a label 0..9 a line; see `digits/ATTRIBUTION.md`.
const CSV_GZ: &[u8] = include_bytes!("digits/digits.csv.gz");
const ROWS: usize = 1797;
const PIXELS: usize = 64;

/// 1,797 handwritten digits of 8x8 pixels (UCI "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak,
/// 1998, CC BY 4.0), shipped with flow. The grey values 0..16 are scaled to 0..255.
///
/// The data has no test split, so `test` of its rows are drawn as one, by class and seed; then the limit, then
/// validation rows. Another seed gives another test split: replicates vary over it too.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digits {
    /// The share of all rows that are test rows.
    #[serde(default = "default_test")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    test: f64,
    /// The share of the train rows that validate; drawn by class and seed.
    #[serde(default = "assemble::default_val")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    val: f64,
    /// The most rows of each split, one number or `{ train = …, test = … }`; drawn by class and seed.
    #[serde(default)]
    limit: Option<Limit>,
    /// Coarse classes: name to its digits.
    #[serde(default = "even_odd")]
    coarse: Groups,
}

fn default_test() -> f64 {
    0.2
}

fn even_odd() -> Groups {
    [
        group("even", [0u32, 2, 4, 6, 8]),
        group("odd", [1u32, 3, 5, 7, 9]),
    ]
    .into()
}

impl Stage for Digits {
    const NAME: &'static str = "digits";
    const VERSION: u32 = 2;
    const SUMMARY: &'static str =
        "The UCI handwritten digits: 1,797 images of 8x8, shipped with flow";
    const SEEDED: bool = true;

    fn inputs() -> Vec<Port> {
        vec![]
    }

    fn outputs() -> Vec<Port> {
        data_output()
    }

    fn run(self, context: &Context) -> Result<()> {
        let (pixels, labels) = read()?;
        let fine = Classes {
            names: (0..10).map(|digit| digit.to_string()).collect(),
            labels,
        };
        let source = Source {
            name: Self::NAME,
            shape: [1, 8, 8],
            pixels: in_memory(pixels, PIXELS),
            coarse: Some(coarse::labels(&self.coarse, &fine)?),
            fine: Some(fine),
            split: vec![Split::Train; ROWS],
            normalisation: None,
        };
        let source = source.with_splits(None, Some(self.test), context.seed())?;
        assemble::write(context, source, self.limit.as_ref(), Some(self.val))
    }
}

fn read() -> Result<(Vec<u8>, Vec<i32>)> {
    let csv = unpack::read_to_end(flate2::read::GzDecoder::new(CSV_GZ), 1 << 20)
        .context("the digits inside flow are damaged; install flow again")?;
    let text = String::from_utf8(csv)?;
    let (mut pixels, mut labels) = (Vec::with_capacity(ROWS * PIXELS), Vec::with_capacity(ROWS));
    for line in text.lines() {
        let values = line
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<u8>, _>>()?;
        ensure!(
            values.len() == PIXELS + 1 && values[PIXELS] < 10,
            "a line of the digits has {} values",
            values.len()
        );
        labels.push(i32::from(values[PIXELS]));
        pixels.extend(values[..PIXELS].iter().map(|&v| scale(v)));
    }
    ensure!(
        labels.len() == ROWS,
        "the digits have {} lines",
        labels.len()
    );
    Ok((pixels, labels))
}

/// 0..16 to 0..255, rounded.
fn scale(value: u8) -> u8 {
    (f32::from(value.min(16)) * 255.0 / 16.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run;
    use flow_stage::dataset::Split;
    use serde_json::json;

    #[test]
    fn the_digits_are_those_of_uci() {
        let (pixels, labels) = read().unwrap();
        // Rows of each digit, as scikit-learn documents for this file; the first image is a 0.
        let mut counts = [0; 10];
        labels.iter().for_each(|&l| counts[l as usize] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(labels[..5], [0, 1, 2, 3, 4]);
        let line: Vec<u8> = [0, 0, 5, 13, 9, 1, 0, 0].map(scale).into();
        assert_eq!(pixels[..8], line);
        assert_eq!((scale(0), scale(8), scale(16)), (0, 128, 255));
    }

    #[test]
    fn the_defaults_split_by_class_and_group_even_and_odd() {
        let data = run::<Digits>(json!({})).unwrap();
        let count = |split| data.rows.of(split).len();
        assert_eq!(
            (count(Split::Train), count(Split::Val), count(Split::Test)),
            (1294, 144, 359)
        );
        assert_eq!(data.meta.coarse_names, ["even", "odd"]);
        let (coarse, fine) = (data.rows.coarse.unwrap(), data.rows.fine.unwrap());
        assert!(coarse.iter().zip(&fine).all(|(c, f)| c % 2 == f % 2));
        assert!(
            (0.2..0.4).contains(&data.meta.mean[0]),
            "{:?}",
            data.meta.mean
        );
    }

    #[test]
    fn limits_and_other_groups_are_taken() {
        let data = run::<Digits>(json!({
            "limit": { "train": 100 },
            "coarse": { "round": [0, 6, 8, 9, "3"], "straight": [1, 2, 4, 5, 7] },
        }))
        .unwrap();
        assert_eq!(data.rows.of(Split::Train).len(), 90);
        assert_eq!(data.rows.of(Split::Test).len(), 359);
        assert_eq!(data.meta.coarse_names, ["round", "straight"]);
        assert!(run::<Digits>(json!({ "test": 1.0 })).is_err());
        assert!(run::<Digits>(json!({ "tset": 0.5 })).is_err());
    }
}
