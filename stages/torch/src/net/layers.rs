//! Parameters under their torchvision names, and the three layers that hold any.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use flow_stage::random;
use rand::{Rng, RngExt};
use tch::{Device, Kind, Tensor};

use super::precision::channels_last;

/// The tensors of a network by name, in the order of their names.
pub struct Parameters {
    seed: u64,
    device: Device,
    trainable: BTreeMap<String, Tensor>,
    buffers: BTreeMap<String, Tensor>,
}

impl Parameters {
    /// An empty list. Each tensor is drawn from `seed` and its own name, so that it depends on no other layer.
    pub fn new(seed: u64, device: Device) -> Self {
        Parameters {
            seed,
            device,
            trainable: BTreeMap::new(),
            buffers: BTreeMap::new(),
        }
    }

    /// What the optimiser moves.
    pub fn trainable(&self) -> &BTreeMap<String, Tensor> {
        &self.trainable
    }

    /// Everything that is saved: parameters and running statistics.
    pub fn all(&self) -> BTreeMap<String, Tensor> {
        self.trainable
            .iter()
            .chain(&self.buffers)
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect()
    }

    /// Puts the weights of convolutions into another order in memory.
    pub fn lay_out(&mut self, order: fn(&Tensor) -> Tensor) {
        // Only they have four dimensions.
        for tensor in self.trainable.values_mut().filter(|t| t.dim() == 4) {
            let moved = order(&tensor.detach());
            tensor.set_data(&moved);
        }
    }

    /// A convolution and the batch norm after it, under their own names.
    pub fn conv_norm(
        &mut self,
        [conv, norm]: [&str; 2],
        from: i64,
        to: i64,
        kernel: i64,
        stride: i64,
    ) -> ConvNorm {
        ConvNorm {
            conv: self.conv(conv, from, to, kernel, stride),
            norm: self.norm(norm, to),
        }
    }

    /// A convolution without bias, drawn as torchvision's ResNets are: He et al. 2015, normal, by fan-out.
    fn conv(&mut self, name: &str, from: i64, to: i64, kernel: i64, stride: i64) -> Conv {
        let deviation = (2.0 / (to * kernel * kernel) as f64).sqrt();
        let shape = [to, from, kernel, kernel];
        Conv {
            weight: self.draw(format!("{name}.weight"), &shape, |random| {
                deviation * normal(random)
            }),
            stride,
            padding: kernel / 2,
        }
    }

    /// A batch norm over channels.
    fn norm(&mut self, name: &str, channels: i64) -> Norm {
        let shape = [channels];
        Norm {
            weight: self.draw(format!("{name}.weight"), &shape, |_| 1.0),
            bias: self.draw(format!("{name}.bias"), &shape, |_| 0.0),
            running_mean: self.buffer(format!("{name}.running_mean"), channels, 0.0),
            running_var: self.buffer(format!("{name}.running_var"), channels, 1.0),
        }
    }

    /// A linear layer, drawn as PyTorch's `nn.Linear` is: uniform within one over the root of the inputs.
    pub fn linear(&mut self, name: &str, from: i64, to: i64) -> Linear {
        let bound = 1.0 / (from as f64).sqrt();
        let uniform = |random: &mut random::ChaCha8Rng| random.random_range(-bound..bound);
        Linear {
            weight: self.draw(format!("{name}.weight"), &[to, from], uniform),
            bias: self.draw(format!("{name}.bias"), &[to], uniform),
        }
    }

    fn draw(
        &mut self,
        name: String,
        shape: &[i64],
        mut value: impl FnMut(&mut random::ChaCha8Rng) -> f64,
    ) -> Tensor {
        let mut random = random::generator(self.seed, &format!("parameter {name}"), 0);
        let values: Vec<f32> = (0..shape.iter().product::<i64>())
            .map(|_| value(&mut random) as f32)
            .collect();
        let tensor = Tensor::from_slice(&values)
            .view(shape)
            .to_device(self.device)
            .set_requires_grad(true);
        self.trainable.insert(name, tensor.shallow_clone());
        tensor
    }

    fn buffer(&mut self, name: String, size: i64, value: f64) -> Tensor {
        let tensor = Tensor::full([size], value, (Kind::Float, self.device));
        self.buffers.insert(name, tensor.shallow_clone());
        tensor
    }
}

/// A standard normal number, by Box and Muller's transform.
fn normal(random: &mut impl Rng) -> f64 {
    // 1 - u lies in (0, 1], where the logarithm is finite.
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
}

/// A convolution without bias, padded so that stride 1 keeps the size.
struct Conv {
    weight: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// `[n, from, h, w]` to `[n, to, h / stride, w / stride]`, with this weight and bias.
    fn with(&self, x: &Tensor, weight: &Tensor, bias: Option<Tensor>) -> Tensor {
        // The weights are rounded to what the images are; their gradient is that of the f32 weights.
        let weight = weight.to_kind(x.kind());
        let bias = bias.map(|bias| bias.to_kind(x.kind()));
        let conv =
            |x: &Tensor, stride| x.conv2d(&weight, bias, [stride; 2], [self.padding; 2], [1, 1], 1);
        let some = |x: &Tensor| {
            let rows = x.slice(2, None, None, self.stride);
            channels_last(&rows.slice(3, None, None, self.stride))
        };
        // The same sums in two steps, where oneDNN errs with a stride; elsewhere two steps would take twice the time.
        if errs_in_learning(&weight, self.stride) {
            conv(&some(x), 1)
        } else if errs_on_narrow_images(x, &weight, self.stride) {
            some(&conv(x, 1))
        } else {
            conv(x, self.stride)
        }
    }
}

/// Whether oneDNN's gradient of these weights is wrong, and written past its memory: that of strided 1x1 convolutions of fewer
/// input channels than it takes at once, 8 with AVX2 and 16 with AVX-512 (uxlfoundation/oneDNN#6035).
fn errs_in_learning(weight: &Tensor, stride: i64) -> bool {
    const BLOCK: i64 = 16;
    let size = weight.size();
    stride > 1 && weight.requires_grad() && size[1] < BLOCK && size[2..] == [1, 1]
}

/// Whether oneDNN 3.12 reads memory that nobody wrote where it computes with AMX: in strided 3x3 convolutions of bfloat16 to a
/// single column, for the output or for the gradient of the weights. Found by the tests in `layers/double.rs`.
fn errs_on_narrow_images(x: &Tensor, weight: &Tensor, stride: i64) -> bool {
    let narrow = x.size()[3] <= stride;
    stride > 1 && narrow && x.kind() == Kind::BFloat16 && weight.size()[2..] != [1, 1]
}

/// A batch norm with PyTorch's constants: momentum 0.1, epsilon 1e-5.
struct Norm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

const EPSILON: f64 = 1e-5;

impl Norm {
    /// `[n, channels, h, w]`, normalised by their own statistics, which also move the running ones.
    fn forward(&self, x: &Tensor) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            true,
            0.1,
            EPSILON,
            true,
        )
    }
}

/// A convolution and the batch norm after it.
pub struct ConvNorm {
    conv: Conv,
    norm: Norm,
}

impl ConvNorm {
    /// `[n, from, h, w]` to `[n, to, h / stride, w / stride]`. In training the norm is by the batch's statistics, which also
    /// move the running ones. In use it is a part of the convolution: its weights are scaled, and it gets a bias.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let ConvNorm { conv, norm } = self;
        if !train {
            let scale = &norm.weight * (&norm.running_var + EPSILON).rsqrt();
            let weight = channels_last(&(&conv.weight * scale.view([-1, 1, 1, 1])));
            let bias = &norm.bias - &norm.running_mean * scale;
            return conv.with(x, &weight, Some(bias));
        }
        norm.forward(&conv.with(x, &conv.weight, None))
    }
}

/// A linear layer with bias.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// `[n, from]` to `[n, to]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

#[cfg(test)]
mod double;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_drawn_from_the_seed_and_its_name_alone() {
        let draw = |seed, first: &str| {
            let mut parameters = Parameters::new(seed, Device::Cpu);
            parameters.conv(first, 3, 4, 3, 1);
            parameters.conv("conv2", 4, 64, 3, 1).weight
        };
        assert_eq!(draw(1, "conv1"), draw(1, "other"));
        assert_ne!(draw(1, "conv1"), draw(2, "conv1"));
        let weight = draw(1, "conv1");
        // Fan-out is 64 * 9; 2,304 draws put the estimate within a few percent.
        let deviation = weight.std(true).double_value(&[]);
        let expected = (2.0f64 / 576.0).sqrt();
        assert!((deviation / expected - 1.0).abs() < 0.05, "{deviation}");
        assert!(weight.mean(Kind::Double).double_value(&[]).abs() < 0.05 * expected * 2.0);
    }
}
