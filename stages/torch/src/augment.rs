//! Random changes of training images: flips, a random crop, colour jitter.
//!
//! Each image's changes are drawn from the seed, the epoch and its row, and applied to its own pixels alone: neither
//! batches nor threads nor an interruption change them.

use anyhow::{Result, ensure};
use flow_stage::random;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Which changes, and how strong; none by default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// The probability of a horizontal flip.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub hflip: f64,
    /// The probability of a vertical flip.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub vflip: f64,
    /// Pixels of black around the image, out of which a piece of its own size is cut at random.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1024))]
    pub crop: u32,
    /// How far brightness is changed: by a factor from 1 minus to 1 plus this.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub brightness: f64,
    /// How far contrast is changed.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub contrast: f64,
    /// How far saturation is changed, of images in colour.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub saturation: f64,
}

/// What is drawn for one image.
#[derive(Debug, Clone, PartialEq)]
struct Drawn {
    flips: [bool; 2],
    /// Where the piece begins in the padded image, down and across.
    offset: [i64; 2],
    /// Factors of brightness, contrast and saturation.
    factors: [f64; 3],
}

/// The weights of red, green and blue in an image's brightness (ITU-R 601, as in torchvision).
const LUMA: [f64; 3] = [0.2989, 0.587, 0.114];

impl Augment {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        *self == Augment::default()
    }

    /// Makes sure that images of these channels, height and width can be changed so.
    ///
    /// # Errors
    /// Where they can't, or nothing of some would be left.
    pub fn check(&self, [channels, height, width]: [i64; 3]) -> Result<()> {
        let side = height.min(width);
        ensure!(
            i64::from(self.crop) < side,
            "`augment.crop` is {} and the images are {width}x{height}: some pieces would hold nothing but the black around the \
             image. Take {} at most; an eighth of the side is usual",
            self.crop,
            side - 1
        );
        ensure!(
            self.saturation == 0.0 || channels == 3,
            "`augment.saturation` is for images in colour, and these have {channels} channel(s)"
        );
        Ok(())
    }

    /// The images of `rows` `[b, c, h, w]`, in 0..1, as they are seen in one epoch.
    pub fn apply(&self, images: &Tensor, seed: u64, epoch: &str, rows: &[usize]) -> Tensor {
        let purpose = format!("augment {epoch}");
        let drawn: Vec<Drawn> = rows
            .iter()
            .map(|&row| self.draw(seed, &purpose, row))
            .collect();
        let mut images = images.shallow_clone();
        if self.hflip > 0.0 || self.vflip > 0.0 || self.crop > 0 {
            images = self.cut(&images, &drawn);
        }
        // A factor for each image, `[b, 1, 1, 1]`.
        let device = images.device();
        let factor = |index: usize| {
            let factors: Vec<f32> = drawn.iter().map(|d| d.factors[index] as f32).collect();
            Tensor::from_slice(&factors)
                .view([-1, 1, 1, 1])
                .to_device(device)
        };
        // As torchvision's ColorJitter, in this order.
        if self.brightness > 0.0 {
            images = (&images * factor(0)).clamp(0.0, 1.0);
        }
        if self.contrast > 0.0 {
            let mean = grey(&images)
                .mean_dim([1i64, 2, 3].as_slice(), true, Kind::Double)
                .to_kind(images.kind());
            images = blend(&images, &mean, &factor(1));
        }
        if self.saturation > 0.0 {
            images = blend(&images, &grey(&images), &factor(2));
        }
        images
    }

    /// Each draw is made whatever the others are, so that one option does not change what another does.
    fn draw(&self, seed: u64, purpose: &str, row: usize) -> Drawn {
        let mut random = random::generator(seed, purpose, row as u64);
        let flips = [self.hflip, self.vflip].map(|p| random.random::<f64>() < p);
        let range = 2.0 * f64::from(self.crop) + 1.0;
        let offset = [(); 2].map(|()| (random.random::<f64>() * range) as i64);
        let factors = [self.brightness, self.contrast, self.saturation]
            .map(|strength| 1.0 + strength * (2.0 * random.random::<f64>() - 1.0));
        Drawn {
            flips,
            offset,
            factors,
        }
    }

    /// Pads, crops and flips all images by one look-up: which pixel of the padded image stands where.
    fn cut(&self, images: &Tensor, drawn: &[Drawn]) -> Tensor {
        let size = images.size();
        let (b, c, h, w) = (size[0], size[1], size[2], size[3]);
        let padding = i64::from(self.crop);
        let padded = images.constant_pad_nd([padding; 4]).flatten(2, 3);
        let mut index = Vec::with_capacity((b * h * w) as usize);
        for Drawn { flips, offset, .. } in drawn {
            for y in 0..h {
                let y = offset[0] + if flips[1] { h - 1 - y } else { y };
                for x in 0..w {
                    let x = offset[1] + if flips[0] { w - 1 - x } else { x };
                    index.push(y * (w + 2 * padding) + x);
                }
            }
        }
        let index = Tensor::from_slice(&index)
            .view([b, 1, h * w])
            .expand([b, c, h * w], false)
            .to_device(images.device());
        padded.gather(2, &index, false).view([b, c, h, w])
    }
}

/// `[b, c, h, w]` to `[b, 1, h, w]`.
fn grey(images: &Tensor) -> Tensor {
    if images.size()[1] == 3 {
        let weights = Tensor::from_slice(&LUMA.map(|weight| weight as f32));
        let weights = weights.view([1, 3, 1, 1]).to_device(images.device());
        (images * weights).sum_dim_intlist([1i64].as_slice(), true, images.kind())
    } else {
        images.mean_dim([1i64].as_slice(), true, images.kind())
    }
}

/// `factor` of the image and the rest of `other`, in 0..1.
fn blend(images: &Tensor, other: &Tensor, factor: &Tensor) -> Tensor {
    (other + (images - other) * factor).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(b: i64, c: i64) -> Tensor {
        let n = b * c * 5 * 4;
        (Tensor::arange(n, (Kind::Float, tch::Device::Cpu)) / n as f64).view([b, c, 5, 4])
    }

    #[test]
    fn flips_are_those_of_libtorch() {
        let x = images(2, 3);
        let both = Augment {
            hflip: 1.0,
            vflip: 1.0,
            ..Augment::default()
        };
        assert_eq!(both.apply(&x, 1, "0", &[0, 1]), x.flip([2, 3]));
        let horizontal = Augment { vflip: 0.0, ..both };
        assert_eq!(horizontal.apply(&x, 1, "0", &[0, 1]), x.flip([3]));
    }

    #[test]
    fn a_crop_is_a_piece_of_the_padded_image() {
        let x = images(1, 2);
        let augment = Augment {
            crop: 2,
            ..Augment::default()
        };
        let mut seen = std::collections::BTreeSet::new();
        for row in 0..200 {
            let found = augment.apply(&x, 1, "0", &[row]);
            let Drawn {
                offset: [dy, dx], ..
            } = augment.draw(1, "augment 0", row);
            seen.insert((dy, dx));
            let padded = x.constant_pad_nd([2, 2, 2, 2]);
            assert_eq!(found, padded.narrow(2, dy, 5).narrow(3, dx, 4), "{row}");
        }
        assert_eq!(seen.len(), 25);
    }

    #[test]
    fn an_image_is_changed_by_seed_epoch_and_row_alone() {
        let augment = Augment {
            hflip: 0.5,
            vflip: 0.5,
            crop: 2,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
        };
        let x = images(3, 3);
        let all = augment.apply(&x, 1, "0", &[7, 8, 9]);
        for (i, row) in [7, 8, 9].into_iter().enumerate() {
            let one = augment.apply(&x.narrow(0, i as i64, 1), 1, "0", &[row]);
            assert_eq!(all.narrow(0, i as i64, 1), one);
        }
        assert_ne!(all, augment.apply(&x, 2, "0", &[7, 8, 9]));
        assert_ne!(all, augment.apply(&x, 1, "1", &[7, 8, 9]));
        assert!(all.min().double_value(&[]) >= 0.0 && all.max().double_value(&[]) <= 1.0);
    }

    #[test]
    fn jitter_is_by_the_formulas() {
        // One pixel beside another: red 0.2 and 0.6, green 0.4 and 0.2, blue 0.1 and 0.9.
        let x = Tensor::from_slice(&[0.2f32, 0.6, 0.4, 0.2, 0.1, 0.9]).view([1, 3, 1, 2]);
        let values = |x: &Tensor| Vec::<f32>::try_from(x.flatten(0, -1)).unwrap();
        let close = |found: Tensor, expected: [f64; 6]| {
            for (found, expected) in values(&found).into_iter().zip(expected) {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-6,
                    "{found} {expected}"
                );
            }
        };
        let grey = [
            0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.1,
            0.2989 * 0.6 + 0.587 * 0.2 + 0.114 * 0.9,
        ];
        let mean = (grey[0] + grey[1]) / 2.0;
        let pixels = [0.2, 0.6, 0.4, 0.2, 0.1, 0.9f64];
        let bright = Augment {
            brightness: 0.5,
            ..Augment::default()
        };
        let f = bright.draw(3, "augment 0", 0).factors[0];
        close(
            bright.apply(&x, 3, "0", &[0]),
            pixels.map(|p| (p * f).clamp(0.0, 1.0)),
        );
        let contrast = Augment {
            contrast: 0.5,
            ..Augment::default()
        };
        let f = contrast.draw(3, "augment 0", 0).factors[1];
        close(
            contrast.apply(&x, 3, "0", &[0]),
            pixels.map(|p| (mean + (p - mean) * f).clamp(0.0, 1.0)),
        );
        let saturated = Augment {
            saturation: 0.5,
            ..Augment::default()
        };
        let f = saturated.draw(3, "augment 0", 0).factors[2];
        let mut expected = pixels;
        for (i, p) in expected.iter_mut().enumerate() {
            *p = (grey[i % 2] + (*p - grey[i % 2]) * f).clamp(0.0, 1.0);
        }
        close(saturated.apply(&x, 3, "0", &[0]), expected);
        assert!(saturated.check([1, 1, 2]).is_err() && saturated.check([3, 1, 2]).is_ok());
    }

    #[test]
    fn probabilities_and_strengths_are_kept() {
        let augment = Augment {
            hflip: 0.3,
            brightness: 0.2,
            ..Augment::default()
        };
        let drawn: Vec<Drawn> = (0..4000).map(|row| augment.draw(5, "x", row)).collect();
        let flipped = drawn.iter().filter(|d| d.flips[0]).count() as f64 / 4000.0;
        // Four standard deviations of a share of 4,000 draws are at most 0.029.
        assert!((flipped - 0.3).abs() < 0.029, "{flipped}");
        assert!(drawn.iter().all(|d| !d.flips[1] && d.offset == [0, 0]));
        assert!(
            drawn
                .iter()
                .all(|d| (0.8..=1.2).contains(&d.factors[0]) && d.factors[1] == 1.0)
        );
    }
}
