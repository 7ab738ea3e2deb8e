//! `uncertainty`: how sure a network is of each training image, by test-time augmentation.
//!
//! An image is looked at under `augmentations` random flips, and `p` is the mean of the softmax outputs. The score is
//! `1 - max p` where the most probable class is the image's own, and `1 + max p` where it is another: 0 is sure and
//! right, 2 is sure and wrong.

use anyhow::{Result, ensure};
use flow_stage::dataset::Split;
use flow_stage::protocol::{Resources, Revision};
use flow_stage::{ArtifactType, Context, Port, Stage, array, random};
use ndarray::{Array1, Array2};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, no_grad};

use crate::data::{Data, first_maximum};
use crate::measure::{BATCH, collapse, to_array};
use crate::model::{Labels, Model};
use crate::runtime::{self, Machine};
use crate::views;

/// The parameters of `uncertainty`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct Uncertainty {
    /// How often each image is augmented.
    #[serde(default = "five")]
    #[schemars(range(min = 1, max = 10000))]
    augmentations: u32,
    /// The probability of a horizontal flip.
    #[serde(default = "four_fifths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    hflip: f64,
    /// The probability of a vertical flip.
    #[serde(default = "three_tenths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    vflip: f64,
    #[serde(flatten)]
    machine: Machine,
}

fn five() -> u32 {
    5
}
fn four_fifths() -> f64 {
    0.8
}
fn three_tenths() -> f64 {
    0.3
}

/// The dimensions to flip: none, width, height, both.
const FLIPS: [&[i64]; 4] = [&[], &[3], &[2], &[2, 3]];

impl Stage for Uncertainty {
    const NAME: &'static str = "uncertainty";
    const VERSION: u32 = 4;
    const SUMMARY: &'static str =
        "Scores how sure a network is of each training image under random flips";
    const SEEDED: bool = true;
    const THREADS_PARAMETER: Option<&'static str> = Machine::THREADS;

    fn revisions() -> Vec<Revision> {
        vec![super::bf16(5)]
    }

    fn inputs() -> Vec<Port> {
        vec![super::data_port(), super::model_port()]
    }

    fn outputs() -> Vec<Port> {
        vec![
            Port::new(
                "scores",
                ArtifactType::Array,
                "uncertainty from 0 (sure and right) to 2 (sure and wrong), [n] f32; NaN in rows that are not for training",
            ),
            Port::new(
                "view",
                ArtifactType::View,
                "a histogram of each coarse class, its most and least certain images",
            ),
        ]
    }

    fn resources() -> Resources {
        super::ALL_CORES_AND_A_GPU
    }

    fn run(self, context: &Context) -> Result<()> {
        runtime::start(context, &self.machine, |device| self.score(context, device))
    }
}

impl Uncertainty {
    fn score(&self, context: &Context, device: Device) -> Result<()> {
        for (name, probability) in [("hflip", self.hflip), ("vflip", self.vflip)] {
            ensure!(
                (0.0..=1.0).contains(&probability),
                "`{name}` is {probability}; it is a probability, from 0 to 1"
            );
        }
        ensure!(
            self.augmentations > 0,
            "`augmentations` is 0; one is the least"
        );
        let mut data = Data::read(context.input("data")?, device)?;
        let mut model = Model::read(context.input("model")?, device)?;
        model.net.set_precision(self.machine.precision);
        model.fit(&mut data)?;
        let rows = data.of(Split::Train)?;
        let scores = runtime::in_batches(BATCH, data.input(), || {
            Ok(self.scores(context, &model, &data, &rows, BATCH))
        })?;
        array::write(&context.output("scores")?, &scores)?;
        views::uncertainty(&context.output("view")?, &data, &rows, &scores)
    }
}

impl Uncertainty {
    /// The score `[n]` of each of `rows`; the batch's size changes it by rounding alone.
    pub(super) fn scores(
        &self,
        context: &Context,
        model: &Model,
        data: &Data,
        rows: &[usize],
        batch_size: usize,
    ) -> Array1<f32> {
        let drawn: Vec<[u32; 4]> = rows
            .iter()
            .map(|&row| self.draw(context.seed(), row))
            .collect();
        // There are but four different augmentations of an image: each is looked at once, and counts as often as it
        // was drawn. That is the mean over all, with fewer passes.
        let total: usize = drawn.iter().flatten().filter(|&&count| count > 0).count();
        let classes = model.meta.coarse_names.len();
        let mut mean = Array2::<f64>::zeros((rows.len(), classes));
        let mut done = 0;
        for (flip, dimensions) in FLIPS.iter().enumerate() {
            let of_flip: Vec<usize> = (0..rows.len())
                .filter(|&index| drawn[index][flip] > 0)
                .collect();
            for batch in of_flip.chunks(batch_size) {
                let numbers: Vec<usize> = batch.iter().map(|&index| rows[index]).collect();
                let probabilities = no_grad(|| {
                    let mut images = data.batch(&data.index(&numbers));
                    if !dimensions.is_empty() {
                        images = images.flip(*dimensions);
                    }
                    to_array(&model.net.forward(&images)[0].softmax(-1, Kind::Double))
                });
                let probabilities = match model.meta.labels {
                    Labels::Coarse => probabilities,
                    Labels::Fine => collapse(&probabilities, &model.meta.fine_to_coarse, classes),
                };
                for (&index, probabilities) in batch.iter().zip(probabilities.rows()) {
                    let weight = f64::from(drawn[index][flip]) / f64::from(self.augmentations);
                    mean.row_mut(index).scaled_add(weight, &probabilities);
                }
                done += batch.len();
                context.progress(done as u64, total as u64, "image");
            }
        }
        let mut scores = Array1::from_elem(data.len(), f32::NAN);
        for (&row, p) in rows.iter().zip(mean.rows()) {
            let p = p.to_vec();
            let class = first_maximum(&p);
            scores[row] = if class as i32 == data.coarse()[row] {
                1.0 - p[class] as f32
            } else {
                1.0 + p[class] as f32
            };
        }
        scores
    }

    /// How often each of [`FLIPS`] is drawn for a row.
    fn draw(&self, seed: u64, row: usize) -> [u32; 4] {
        let mut random = random::generator(seed, "augmentation", row as u64);
        let mut counts = [0; 4];
        for _ in 0..self.augmentations {
            let horizontal = usize::from(random.random_bool(self.hflip));
            let vertical = usize::from(random.random_bool(self.vflip));
            counts[horizontal + 2 * vertical] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_are_drawn_with_their_probabilities_and_by_row() {
        let stage: Uncertainty = serde_json::from_str("{}").unwrap();
        let mut sums = [0.0; 4];
        for row in 0..4000 {
            for (sum, count) in sums.iter_mut().zip(stage.draw(7, row)) {
                *sum += f64::from(count) / 20_000.0;
            }
        }
        for (found, expected) in sums
            .iter()
            .zip([0.2 * 0.7, 0.8 * 0.7, 0.2 * 0.3, 0.8 * 0.3])
        {
            // Four standard deviations of a share of 20,000 draws are at most 0.0142.
            assert!((found - expected).abs() < 0.0142, "{sums:?}");
        }
        assert_eq!(stage.draw(7, 5), stage.draw(7, 5));
        assert!((0..50).any(|row| stage.draw(7, row) != stage.draw(8, row)));
    }
}
