//! The numbers that convolutions compute with, and the order in which images lie in memory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The numbers that convolutions compute with. Weights, batch norms' statistics, the global average, the heads, the loss and
/// the optimiser are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32.
    #[default]
    Fp32,
    /// bfloat16: 8 bits of precision and the range of f32, so that no loss has to be scaled. Faster where the CPU has
    /// instructions for it (AVX512-BF16, AMX) or on a GPU; slower on others.
    Bf16,
}

/// The same images `[n, c, h, w]` with the channels of a pixel side by side in memory, which layers then keep.
///
/// The strides are set and not asked for: with one channel both orders are the same bytes, and libtorch would take the
/// images for the other one, and every layer after them.
pub fn channels_last(images: &Tensor) -> Tensor {
    let (n, c, h, w) = images.size4().expect("images have four dimensions");
    images.permute([0, 2, 3, 1]).contiguous().as_strided(
        [n, c, h, w],
        [h * w * c, 1, w * c, c],
        None::<i64>,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn images_keep_their_values_in_another_order() {
        for channels in [1, 3] {
            let images = Tensor::randn([2, channels, 4, 5], (Kind::Float, Device::Cpu));
            let last = channels_last(&images);
            assert_eq!(last, images);
            assert_eq!(last.stride(), [20 * channels, 1, 5 * channels, channels]);
        }
        // A part of a larger tensor begins elsewhere in its memory.
        let images = Tensor::randn([4, 1, 4, 5], (Kind::Float, Device::Cpu));
        let part = images.narrow(0, 2, 2);
        assert_eq!(channels_last(&part), part);
    }
}
