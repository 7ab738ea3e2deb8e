//! Networks: a body that ends in a global average pool, and one linear head or more.
//!
//! - [`resnet`]: `resnet18` and the narrow `resnet`.
//! - [`cnn`]: the small `cnn`.
//! - [`layers`]: parameters under torchvision's names, convolution, batch norm, linear.
//! - [`precision`]: f32 or bfloat16, and the order of images in memory.

mod cnn;
mod layers;
mod precision;
#[cfg(test)]
mod reference;
mod resnet;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::weights;
use layers::{Linear, Parameters};
pub use precision::Precision;
use precision::channels_last;

type Layer = Box<dyn Fn(&Tensor, bool) -> Tensor>;
/// Named layers in order; the flag says whether the network is training.
type Body = Vec<(String, Layer)>;

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// ResNet-18 with a first convolution of 3x3 and stride 1, and no max pool.
    Resnet18,
    /// The narrow ResNet for CIFAR, of `width` and `depth`.
    Resnet,
    /// Three convolutions of `width`, twice and four times that.
    Cnn,
}

/// The parameters of a stage that choose its network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// The network: `resnet18` (for small images), a narrow `resnet` or a small `cnn`.
    #[serde(default = "Choice::default_arch")]
    pub arch: Arch,
    /// Channels of the first convolution; 16 for `resnet` and 32 for `cnn` unless given. `resnet18` has 64.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub width: Option<i64>,
    /// Layers of `resnet`: 8, 14, 20 (unless given), 26 and so on by 6.
    #[serde(default)]
    #[schemars(range(min = 8, max = 1202))]
    pub depth: Option<i64>,
    /// A checkpoint to begin with, under torchvision's names: `.safetensors`, or a state dict that PyTorch saved (`.pth`). The
    /// first convolution and the last layer are drawn anew.
    #[serde(default)]
    pub weights: Option<PathBuf>,
}

impl Choice {
    fn default_arch() -> Arch {
        Arch::Resnet18
    }

    /// The network for images of `input` channels, height and width, with the given heads.
    ///
    /// # Errors
    /// Where width or depth do not belong to the network, or the images are too small for it.
    pub fn spec(&self, input: [i64; 3], heads: Vec<Head>) -> Result<Spec> {
        let (width, depth) = match self.arch {
            Arch::Resnet18 => {
                ensure!(
                    self.width.is_none() && self.depth.is_none(),
                    "`resnet18` has a width and depth of its own; leave them out, or take `arch = \"resnet\"`"
                );
                (64, 18)
            }
            Arch::Resnet => {
                let depth = self.depth.unwrap_or(20);
                ensure!(
                    depth >= 8 && depth % 6 == 2,
                    "`depth` is {depth}; a `resnet` has 8, 14, 20, 26, … layers"
                );
                (self.width.unwrap_or(16), depth)
            }
            Arch::Cnn => {
                ensure!(
                    self.depth.is_none(),
                    "`cnn` has three layers; leave `depth` out, or take `arch = \"resnet\"`"
                );
                (self.width.unwrap_or(32), 3)
            }
        };
        let [_, height, width_of_image] = input;
        ensure!(
            self.arch != Arch::Cnn || height.min(width_of_image) >= 4,
            "the images are {width_of_image}x{height}; `cnn` halves them twice and needs 4x4 at least"
        );
        Ok(Spec {
            arch: self.arch,
            width,
            depth,
            input,
            heads,
        })
    }
}

/// Everything that is needed to build a network, and that is saved with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Which network.
    pub arch: Arch,
    /// Channels of the first convolution.
    pub width: i64,
    /// Layers.
    pub depth: i64,
    /// Channels, height and width of the images.
    pub input: [i64; 3],
    /// The heads; the first is the one that the network is judged by.
    pub heads: Vec<Head>,
}

/// A head: what maps the features to the classes of one kind of label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The name of its parameters.
    pub name: String,
    /// How many classes it tells apart.
    pub classes: i64,
    /// The deep head has a dropout of one half and a linear layer of this size before the last.
    pub hidden: Option<i64>,
}

impl Head {
    /// A linear head.
    pub fn linear(name: &str, classes: i64) -> Self {
        Head {
            name: name.into(),
            classes,
            hidden: None,
        }
    }
}

/// A network.
pub struct Network {
    spec: Spec,
    parameters: Parameters,
    body: Body,
    heads: Vec<(Option<Linear>, Linear)>,
    precision: Precision,
}

impl Network {
    /// A new network, drawn from the seed.
    pub fn new(spec: Spec, seed: u64, device: Device) -> Self {
        let mut parameters = Parameters::new(seed, device);
        let (channels, width) = (spec.input[0], spec.width);
        let (body, features) = match spec.arch {
            Arch::Resnet18 => {
                let stages = [(2, 64), (2, 128), (2, 256), (2, 512)];
                (resnet::body(&mut parameters, channels, &stages), 512)
            }
            Arch::Resnet => {
                let blocks = (spec.depth - 2) / 6;
                let stages = [1, 2, 4].map(|factor| (blocks, factor * width));
                (resnet::body(&mut parameters, channels, &stages), 4 * width)
            }
            Arch::Cnn => (cnn::body(&mut parameters, channels, width), 4 * width),
        };
        let mut heads = Vec::new();
        for Head {
            name,
            classes,
            hidden,
        } in &spec.heads
        {
            // The deep head's names are those of `nn.Sequential(Dropout, Linear, Linear)`.
            heads.push(match hidden {
                Some(hidden) => (
                    Some(parameters.linear(&format!("{name}.1"), features, *hidden)),
                    parameters.linear(&format!("{name}.2"), *hidden, *classes),
                ),
                None => (None, parameters.linear(name, features, *classes)),
            });
        }
        let mut network = Network {
            spec,
            parameters,
            body,
            heads,
            precision: Precision::Fp32,
        };
        network.set_precision(Precision::Fp32);
        network
    }

    /// Computes with these numbers from now on; f32 unless told.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        let plain = precision == Precision::Fp32 && keeps_order(&self.spec);
        self.parameters.lay_out(if plain {
            Tensor::contiguous
        } else {
            channels_last
        });
    }

    /// The tensors that learn, by name: all but the frozen ones.
    pub fn trainable(&self) -> BTreeMap<String, Tensor> {
        self.parameters
            .trainable()
            .iter()
            .filter(|(_, tensor)| tensor.requires_grad())
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect()
    }

    /// All tensors by name, running statistics included. They share memory with the network.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.parameters.all()
    }

    /// A copy of all tensors, on the CPU.
    pub fn copy(&self) -> BTreeMap<String, Tensor> {
        no_grad(|| {
            self.tensors()
                .into_iter()
                .map(|(name, tensor)| (name, tensor.detach().to_device(Device::Cpu).copy()))
                .collect()
        })
    }

    /// Takes over all tensors.
    ///
    /// # Errors
    /// Where one is missing or has another shape.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.take(tensors, |_| true)
    }

    /// Takes over a checkpoint of the same network for other images and classes: all tensors but those of the first
    /// convolution and the heads. Gives what was read, in words.
    ///
    /// # Errors
    /// Where the file can't be read, or is of another network.
    pub fn begin_with(&mut self, checkpoint: &Path) -> Result<String> {
        let saved = weights::read(checkpoint)?;
        let wanted = |name: &str| name != "conv1.weight" && !self.is_head(name);
        let names = self.tensors().into_keys().filter(|name| wanted(name));
        let names: BTreeSet<String> = names.collect();
        let (tensors, prefix) = weights::without_prefix(saved.tensors, &names)
            .with_context(|| format!("{} can't be read", checkpoint.display()))?;
        self.take(&tensors, wanted).with_context(|| {
            format!(
                "{} is not a checkpoint of the network that `arch` names",
                checkpoint.display()
            )
        })?;
        let mut told = format!(
            "begins with {} tensors of {}",
            names.len(),
            checkpoint.display()
        );
        if !saved.wrappers.is_empty() {
            told += &format!(", from its `{}`", saved.wrappers.join("."));
        }
        if !prefix.is_empty() {
            told += &format!(", whose names have `{prefix}` before them");
        }
        Ok(told)
    }

    /// Takes over all tensors but those of the heads.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn load_body(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.take(tensors, |name| !self.is_head(name))
    }

    fn take(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let own = self.tensors();
        weights::compare(tensors, &own, &wanted)?;
        for (name, mut tensor) in own {
            if wanted(&name) {
                no_grad(|| tensor.copy_(&tensors[&name]));
            }
        }
        Ok(())
    }

    fn is_head(&self, name: &str) -> bool {
        self.spec.heads.iter().any(|head| {
            name.strip_prefix(&head.name)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// Stops everything from learning but the batch norms and the heads.
    pub fn freeze(&mut self) {
        for (name, tensor) in self.parameters.trainable() {
            // The weights of convolutions are the only ones with four dimensions.
            if !self.is_head(name) && tensor.dim() == 4 {
                let _ = tensor.set_requires_grad(false);
            }
        }
    }

    /// The number of features before a deep head, whose dropout needs a mask of that width; none without one.
    pub fn dropout(&self) -> Option<i64> {
        let deep = self.spec.heads.iter().any(|head| head.hidden.is_some());
        deep.then(|| match self.spec.arch {
            Arch::Resnet18 => 512,
            Arch::Resnet | Arch::Cnn => 4 * self.spec.width,
        })
    }

    /// Images `[n, c, h, w]` to the logits `[n, classes]` of each head, as in use.
    pub fn forward(&self, images: &Tensor) -> Vec<Tensor> {
        self.run(images, false, None)
    }

    /// As [`Network::forward`], but as in training: batch norm by the batch's own statistics, and the deep head's
    /// features times `mask` `[n, d]`, which is 0 or 2.
    pub fn forward_training(&self, images: &Tensor, mask: Option<&Tensor>) -> Vec<Tensor> {
        self.run(images, true, mask)
    }

    fn run(&self, images: &Tensor, train: bool, mask: Option<&Tensor>) -> Vec<Tensor> {
        let mut x = self.first(images, train);
        for (_, layer) in &self.body {
            x = layer(&x, train);
        }
        self.heads
            .iter()
            .map(|(hidden, last)| match (hidden, mask) {
                (Some(hidden), Some(mask)) => last.forward(&hidden.forward(&(&x * mask))),
                (Some(hidden), None) => last.forward(&hidden.forward(&x)),
                (None, _) => last.forward(&x),
            })
            .collect()
    }

    /// Images as the first layer takes them; the others take what that gives.
    ///
    /// Images in the order in which CPUs compute fastest, but for [`keeps_order`].
    fn first(&self, images: &Tensor, train: bool) -> Tensor {
        match self.precision {
            Precision::Fp32 if train && keeps_order(&self.spec) => images.shallow_clone(),
            Precision::Fp32 => channels_last(images),
            Precision::Bf16 => channels_last(&images.to_kind(Kind::BFloat16)),
        }
    }

    /// Images `[n, c, h, w]` to the activations `[n, d]` of a layer, flattened.
    ///
    /// # Errors
    /// Where the network has no such layer.
    pub fn features(&self, images: &Tensor, layer: &str) -> Result<Tensor> {
        let mut x = self.first(images, false);
        for (name, forward) in &self.body {
            x = forward(&x, false);
            if name == layer {
                return Ok(x.to_kind(Kind::Float).flatten(1, -1));
            }
        }
        let names: Vec<&str> = self.body.iter().map(|(name, _)| name.as_str()).collect();
        bail!(
            "the network has no layer `{layer}`; it has {}",
            names.join(", ")
        )
    }
}

/// Whether a network learns in f32 with the channels of an image one after the other: ResNet-18 gains little by the other
/// order, and so has the sums of PyTorch's default.
fn keeps_order(spec: &Spec) -> bool {
    spec.arch == Arch::Resnet18
}

/// `[n, c, h, w]` to `[n, c]`; of bfloat16 to f32, which the heads compute with.
fn global_average(x: &Tensor) -> Tensor {
    let kind = match x.kind() {
        Kind::BFloat16 => Kind::Float,
        other => other,
    };
    x.mean_dim([2i64, 3].as_slice(), false, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(arch: Arch, width: Option<i64>, depth: Option<i64>) -> Choice {
        Choice {
            arch,
            width,
            depth,
            weights: None,
        }
    }

    fn network(arch: Arch, width: Option<i64>, depth: Option<i64>) -> Network {
        let choice = choice(arch, width, depth);
        let spec = choice.spec([3, 8, 8], vec![Head::linear("fc", 5)]).unwrap();
        Network::new(spec, 1, Device::Cpu)
    }

    #[test]
    fn resnet18_has_torchvisions_names_and_size() {
        let net = network(Arch::Resnet18, None, None);
        let tensors = net.tensors();
        for (name, shape) in [
            ("conv1.weight", vec![64, 3, 3, 3]),
            ("bn1.running_var", vec![64]),
            ("layer1.1.bn2.bias", vec![64]),
            ("layer2.0.downsample.0.weight", vec![128, 64, 1, 1]),
            ("layer2.0.downsample.1.running_mean", vec![128]),
            ("layer4.1.conv2.weight", vec![512, 512, 3, 3]),
            ("fc.bias", vec![5]),
        ] {
            assert_eq!(tensors[name].size(), shape, "{name}");
        }
        // torchvision's resnet18 has 11,689,512 parameters with 1000 classes; the stem has 64 * 3 * (49 - 9) fewer,
        // the head 513 * 995.
        let learned: usize = net.trainable().values().map(Tensor::numel).sum();
        assert_eq!(learned, 11_689_512 - 64 * 3 * 40 - 513 * 995);
        // 62 parameters as in torchvision, and 20 batch norms with two statistics each.
        assert_eq!((net.trainable().len(), tensors.len()), (62, 102));
    }

    #[test]
    fn the_narrow_resnet_has_the_papers_size() {
        // He et al. 2016, table 6: ResNet-20 has 0.27 million parameters (their shortcuts have none).
        let net = network(Arch::Resnet, None, None);
        let convolutions: usize = net
            .trainable()
            .iter()
            .filter(|(name, tensor)| tensor.dim() == 4 && !name.contains("downsample"))
            .map(|(_, tensor)| tensor.numel())
            .sum();
        assert_eq!(
            convolutions,
            432 + 6 * 2_304 + 4_608 + 5 * 9_216 + 18_432 + 5 * 36_864
        );
    }

    #[test]
    fn every_network_gives_logits_and_features() {
        let images = Tensor::ones([2, 3, 8, 8], (Kind::Float, Device::Cpu));
        for (arch, layer, size) in [
            (Arch::Resnet18, "layer3", 256 * 4),
            (Arch::Resnet, "avgpool", 64),
            (Arch::Cnn, "conv2", 64 * 4),
        ] {
            let net = network(arch, None, None);
            assert_eq!(net.forward(&images)[0].size(), [2, 5]);
            assert_eq!(net.features(&images, layer).unwrap().size(), [2, size]);
            let error = net.features(&images, "layer9").unwrap_err().to_string();
            assert!(
                error.contains("no layer `layer9`; it has conv1, "),
                "{error}"
            );
        }
    }

    /// bfloat16 has 8 bits: a rounding errs by 1/512 of a value at most, and a network makes some dozens of them. In training
    /// mode batch norms magnify what is rounded, so only the small network's gradients are compared: those of PyTorch 2.13's
    /// autocast are 0.10 to 0.18 away from those of f32 on the same images, by five seeds of the weights.
    #[test]
    fn bf16_gives_nearly_the_logits_and_gradients_of_f32() {
        let count = Tensor::arange(16 * 3 * 64, (Kind::Float, Device::Cpu));
        let images = (count.square() * 0.7).sin().view([16, 3, 8, 8]) * 2.0;
        let distance = |pair: &[Tensor]| {
            let gap = &pair[0] - &pair[1];
            (gap.norm() / pair[0].norm()).double_value(&[])
        };
        for arch in [Arch::Resnet18, Arch::Resnet, Arch::Cnn] {
            let mut net = network(arch, None, None);
            // First all logits: what follows moves the batch norms' statistics.
            let logits = [Precision::Fp32, Precision::Bf16].map(|precision| {
                net.set_precision(precision);
                no_grad(|| net.forward(&images).remove(0))
            });
            let gradients = [Precision::Fp32, Precision::Bf16].map(|precision| {
                net.set_precision(precision);
                let loss = net.forward_training(&images, None).remove(0).square();
                loss.sum(Kind::Float).backward();
                let mut weight = net.trainable()["conv1.weight"].shallow_clone();
                let gradient = weight.grad().copy();
                weight.zero_grad();
                gradient
            });
            let features = net.features(&images, "conv1").unwrap();
            for f32 in [&logits[1], &gradients[1], &features] {
                assert_eq!(f32.kind(), Kind::Float);
            }
            let (logits, gradient) = (distance(&logits), distance(&gradients));
            assert!(logits > 1e-6 && logits < 0.05, "{arch:?}: {logits}");
            assert!(arch != Arch::Cnn || gradient < 0.25, "{gradient}");
        }
    }

    #[test]
    fn freezing_leaves_batch_norms_and_the_head() {
        let mut net = network(Arch::Cnn, Some(4), None);
        net.freeze();
        let names: Vec<String> = net.trainable().into_keys().collect();
        assert_eq!(
            names,
            [
                "bn1.bias",
                "bn1.weight",
                "bn2.bias",
                "bn2.weight",
                "bn3.bias",
                "bn3.weight",
                "fc.bias",
                "fc.weight"
            ]
        );
    }

    #[test]
    fn widths_and_depths_that_do_not_fit_are_refused() {
        let error = |arch, width, depth| {
            let choice = choice(arch, width, depth);
            choice.spec([1, 3, 3], vec![]).unwrap_err().to_string()
        };
        assert!(error(Arch::Resnet18, Some(8), None).contains("leave them out"));
        assert!(error(Arch::Resnet, None, Some(18)).contains("8, 14, 20, 26"));
        assert!(error(Arch::Cnn, None, Some(8)).contains("leave `depth` out"));
        assert!(error(Arch::Cnn, None, None).contains("the images are 3x3"));
    }
}
