//! Each layer that our networks can have, against double precision: what it gives, and all its gradients.
//!
//! libtorch computes doubles by code of its own, and f32 and bfloat16 by oneDNN's, which chooses among dozens of kernels by
//! processor and shape. A kernel that errs has a name here, and is no torn heap in a training. Each run looks at a few hundred
//! shapes, drawn by `FLOW_TEST_SEED`; `FLOW_TORTURE=10000` at that many, `FLOW_TORTURE=full` at every layer of every width
//! and size, which takes hours.

use std::env;

use flow_stage::random::{self, ChaCha8Rng};
use rand::RngExt;

use super::super::precision::Precision;
use super::super::{Arch, Choice, Head, Network, global_average};
use super::*;

/// What a layer computes, on `[n, from, h, w]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Conv {
        from: i64,
        to: i64,
        kernel: i64,
        stride: i64,
    },
    /// With its batch norm, as in use.
    Folded {
        from: i64,
        to: i64,
        kernel: i64,
        stride: i64,
    },
    Norm(i64),
    Pool(i64),
    Average(i64),
    Linear(i64, i64),
}

/// A layer, its images, and how they are computed.
#[derive(Debug, Clone, Copy)]
struct Case {
    layer: Layer,
    batch: i64,
    size: [i64; 2],
    precision: Precision,
    channels_last: bool,
    threads: i32,
}

/// The layers of a network, each once.
fn layers(arch: Arch, channels: i64, width: i64) -> Vec<Layer> {
    let stages: &[i64] = match arch {
        Arch::Resnet18 => &[64, 128, 256, 512],
        Arch::Resnet | Arch::Cnn => &[width, 2 * width, 4 * width],
    };
    let mut convolutions = vec![(channels, stages[0], 3, 1)];
    for (&from, &to) in stages.iter().zip(&stages[1..]) {
        if arch == Arch::Cnn {
            convolutions.push((from, to, 3, 1));
        } else {
            convolutions.extend([(from, from, 3, 1), (from, to, 3, 2), (from, to, 1, 2)]);
        }
    }
    let last = stages[stages.len() - 1];
    let mut layers = vec![Layer::Average(last), Layer::Linear(last, 5)];
    if arch == Arch::Cnn {
        layers.extend(stages[..2].iter().map(|&channels| Layer::Pool(channels)));
    } else {
        convolutions.push((last, last, 3, 1));
    }
    layers.extend(stages.iter().map(|&channels| Layer::Norm(channels)));
    for (from, to, kernel, stride) in convolutions {
        layers.push(Layer::Conv {
            from,
            to,
            kernel,
            stride,
        });
        layers.push(Layer::Folded {
            from,
            to,
            kernel,
            stride,
        });
    }
    layers
}

#[test]
fn the_layers_below_are_those_of_the_networks() {
    for (arch, width) in [
        (Arch::Resnet18, None),
        (Arch::Resnet, Some(3)),
        (Arch::Cnn, Some(5)),
    ] {
        let choice = Choice {
            arch,
            width,
            depth: None,
            weights: None,
        };
        let spec = choice.spec([2, 8, 8], vec![Head::linear("fc", 5)]).unwrap();
        let net = Network::new(spec, 1, Device::Cpu);
        let mut weights: Vec<Vec<i64>> = (net.tensors().iter())
            .filter(|(_, tensor)| tensor.dim() == 4)
            .map(|(_, tensor)| tensor.size())
            .collect();
        let mut expected: Vec<Vec<i64>> = layers(arch, 2, width.unwrap_or(64))
            .into_iter()
            .filter_map(|layer| match layer {
                Layer::Conv {
                    from, to, kernel, ..
                } => Some(vec![to, from, kernel, kernel]),
                _ => None,
            })
            .collect();
        for shapes in [&mut weights, &mut expected] {
            shapes.sort();
            shapes.dedup();
        }
        assert_eq!(weights, expected, "{arch:?}");
    }
}

/// So many multiplications at most, so that no case takes seconds.
const WORK: i64 = 100_000_000;

impl Case {
    /// A layer on images of a size that networks meet, computed in some way.
    fn draw(layer: Layer, size: [i64; 2], random: &mut ChaCha8Rng) -> Case {
        let [h, w] = size;
        let each = match layer {
            Layer::Conv {
                from, to, kernel, ..
            }
            | Layer::Folded {
                from, to, kernel, ..
            } => from * to * kernel * kernel,
            Layer::Norm(n) | Layer::Pool(n) | Layer::Average(n) => n,
            Layer::Linear(from, to) => from * to,
        };
        Case {
            layer,
            batch: random
                .random_range(1..=33)
                .min((WORK / (each * h * w)).max(1)),
            size,
            precision: if random.random() {
                Precision::Fp32
            } else {
                Precision::Bf16
            },
            channels_last: random.random(),
            threads: random.random_range(1..=2),
        }
    }

    /// What of the layer is something else than in double precision.
    fn wrong(self) -> Vec<String> {
        let Case {
            layer,
            batch,
            size: [h, w],
            threads,
            ..
        } = self;
        tch::set_num_threads(threads);
        poison(batch * h * w);
        match layer {
            Layer::Conv {
                from,
                to,
                kernel,
                stride,
            } => {
                let conv = self.conv(from, to, kernel, stride);
                let weight = rounded(&conv.weight, self.kind());
                self.compare(
                    [batch, from, h, w],
                    &[&conv.weight],
                    |x| conv.with(x, &conv.weight, None),
                    &[weight],
                    |x, weights| convolved(x, &weights[0], None, &conv),
                )
            }
            Layer::Folded {
                from,
                to,
                kernel,
                stride,
            } => {
                let conv = self.conv(from, to, kernel, stride);
                let both = ConvNorm {
                    conv,
                    norm: norm(to),
                };
                let x = self.images([batch, from, h, w], 0);
                let y = tch::no_grad(|| both.forward(&x, false));
                let ConvNorm { conv, norm } = &both;
                let double = |tensor: &Tensor| tensor.detach().to_kind(Kind::Double);
                let scale = double(&norm.weight) * (double(&norm.running_var) + EPSILON).rsqrt();
                let weight = double(&conv.weight) * scale.view([-1, 1, 1, 1]);
                let bias = double(&norm.bias) - double(&norm.running_mean) * scale;
                let expected = convolved(&double(&x), &weight, Some(bias), conv);
                self.far("output", &y, &expected).into_iter().collect()
            }
            Layer::Norm(channels) => {
                // Of a few numbers the least bits decide where they are normalised to.
                if batch * h * w < 32 {
                    return Vec::new();
                }
                let norm = norm(channels);
                let (weight, bias) = (&norm.weight, &norm.bias);
                self.compare(
                    [batch, channels, h, w],
                    &[weight, bias],
                    |x| norm.forward(x),
                    &[rounded(weight, Kind::Float), rounded(bias, Kind::Float)],
                    |x, learned| {
                        let (weight, bias) = (Some(&learned[0]), Some(&learned[1]));
                        let none = None::<&Tensor>;
                        x.batch_norm(weight, bias, none, none, true, 0.1, EPSILON, false)
                    },
                )
            }
            Layer::Pool(channels) => {
                if h.min(w) < 2 {
                    return Vec::new();
                }
                let pool = |x: &Tensor| x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
                self.compare([batch, channels, h, w], &[], pool, &[], |x, _| pool(x))
            }
            Layer::Average(channels) => {
                let mean = |x: &Tensor| x.mean_dim([2i64, 3].as_slice(), false, Kind::Double);
                self.compare([batch, channels, h, w], &[], global_average, &[], |x, _| {
                    mean(x)
                })
            }
            Layer::Linear(from, to) => {
                let mut parameters = Parameters::new(1, Device::Cpu);
                let linear = parameters.linear("fc", from, to);
                // Heads compute in f32.
                let case = Case {
                    precision: Precision::Fp32,
                    channels_last: false,
                    ..self
                };
                let learned = [&linear.weight, &linear.bias];
                case.compare(
                    [batch, from, 1, 1],
                    &learned,
                    |x| linear.forward(&x.flatten(1, -1)),
                    &learned.map(|tensor| rounded(tensor, Kind::Float)),
                    |x, learned| x.flatten(1, -1).linear(&learned[0], Some(&learned[1])),
                )
            }
        }
    }

    fn kind(self) -> Kind {
        match self.precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }

    fn conv(self, from: i64, to: i64, kernel: i64, stride: i64) -> Conv {
        let mut parameters = Parameters::new(1, Device::Cpu);
        let conv = parameters.conv("conv", from, to, kernel, stride);
        if self.channels_last {
            parameters.lay_out(channels_last);
        }
        conv
    }

    /// Numbers about zero, of the case's precision and order in memory.
    fn images(self, shape: [i64; 4], salt: u32) -> Tensor {
        let x = numbers(&shape, salt).to_kind(self.kind());
        if self.channels_last {
            channels_last(&x)
        } else {
            x
        }
    }

    /// Compares what `layer` makes of images of `shape`, and the gradients of the images and of what it learns, with those of
    /// `reference`, which gets the images and `doubles`, the same in double precision.
    fn compare(
        self,
        shape: [i64; 4],
        learned: &[&Tensor],
        layer: impl Fn(&Tensor) -> Tensor,
        doubles: &[Tensor],
        reference: impl Fn(&Tensor, &[Tensor]) -> Tensor,
    ) -> Vec<String> {
        let x = self.images(shape, 0).set_requires_grad(true);
        let exact = rounded(&x, self.kind());
        let y = layer(&x);
        let expected = reference(&exact, doubles);
        // A loss whose gradient is another number for each output.
        let gradient = numbers(&y.size(), 7).to_kind(y.kind());
        let gradients = |y: &Tensor, of: Vec<&Tensor>| {
            let loss = (y * gradient.to_kind(y.kind())).sum(y.kind());
            Tensor::run_backward(&[loss], &of, false, false)
        };
        let found = gradients(
            &y,
            [&x].into_iter().chain(learned.iter().copied()).collect(),
        );
        let wanted = gradients(&expected, [&exact].into_iter().chain(doubles).collect());
        let gradients = found.iter().zip(&wanted).enumerate();
        self.far("output", &y, &expected)
            .into_iter()
            .chain(gradients.filter_map(|(number, (found, wanted))| {
                let what = match number {
                    0 => "gradient of the images".into(),
                    number => format!("gradient of parameter {number}"),
                };
                self.far(&what, found, wanted)
            }))
            .collect()
    }

    /// Says so where `found` is farther from `expected` than its precision explains.
    fn far(self, what: &str, found: &Tensor, expected: &Tensor) -> Option<String> {
        // Numbers of f32 are off by 6e-8 each and sums of them by some times that; those of bfloat16 by up to 4e-3. Batch norms
        // subtract numbers that are nearly the same.
        let allowed = match (self.precision, self.layer) {
            (Precision::Fp32, Layer::Norm(_)) => 1e-4,
            (Precision::Fp32, _) => 1e-5,
            (Precision::Bf16, _) => 1e-2,
        };
        let gap = (found.detach().to_kind(Kind::Double) - expected).norm();
        let off = gap.double_value(&[]) / expected.norm().double_value(&[]).max(1e-30);
        let near = off <= allowed;
        (!near).then(|| format!("{what}, off by {off:.1e} of its size: {self:?}"))
    }
}

/// Panics where a layer gives something else than in double precision.
fn check(cases: impl Iterator<Item = Case>) {
    let wrong: Vec<String> = cases.flat_map(Case::wrong).collect();
    let count = wrong.len();
    let first = wrong[..count.min(20)].join("\n");
    assert!(wrong.is_empty(), "{count} results are wrong:\n{first}");
}

/// In double precision, after rounding to `kind`; to be derived by.
fn rounded(tensor: &Tensor, kind: Kind) -> Tensor {
    let values = tensor.detach().to_kind(kind).to_kind(Kind::Double);
    values.contiguous().set_requires_grad(true)
}

fn convolved(x: &Tensor, weight: &Tensor, bias: Option<Tensor>, conv: &Conv) -> Tensor {
    x.conv2d(weight, bias, [conv.stride; 2], [conv.padding; 2], [1, 1], 1)
}

/// A batch norm that has learned something.
fn norm(channels: i64) -> Norm {
    let norm = Parameters::new(1, Device::Cpu).norm("bn", channels);
    let set = |tensor: &Tensor, salt, about: f64| {
        let mut tensor = tensor.detach();
        tch::no_grad(|| tensor.copy_(&(numbers(&[channels], salt) * 0.5 + about)));
    };
    set(&norm.weight, 1, 1.0);
    set(&norm.bias, 2, 0.0);
    set(&norm.running_mean, 3, 0.0);
    set(&norm.running_var, 4, 1.0);
    norm
}

/// Fills memory that will be used next with NaN, so that a kernel which reads what nobody wrote does not go unnoticed.
fn poison(pixels: i64) {
    let sizes = (0..9)
        .map(|power| pixels << power)
        .chain((6..18).map(|power| 1 << power));
    let _full: Vec<Tensor> = sizes
        .map(|size| Tensor::full([size], f64::NAN, (Kind::Float, Device::Cpu)))
        .collect();
}

/// Numbers of f32 in [-1, 1), by index alone.
fn numbers(shape: &[i64], salt: u32) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product::<i64>())
        .map(|index| {
            let mut x = (index as u32).wrapping_add(salt << 24);
            for _ in 0..2 {
                x = (x ^ (x >> 16)).wrapping_mul(0x45D_9F3B);
            }
            (f64::from(x ^ (x >> 16)) / 2_147_483_648.0 - 1.0) as f32
        })
        .collect();
    Tensor::from_slice(&values).view(shape)
}

/// oneDNN#6035: every shape in which the gradient of the weights was wrong, and those beside them.
#[test]
fn strided_shortcuts_of_few_channels_learn() {
    const SIZES: [(i64, [i64; 2]); 4] = [(1, [4, 4]), (3, [5, 7]), (16, [8, 8]), (33, [16, 16])];
    const WAYS: [(bool, i32); 3] = [(true, 1), (true, 2), (false, 1)];
    check((1..=17).flat_map(|from| {
        let layer = Layer::Conv {
            from,
            to: 2 * from,
            kernel: 1,
            stride: 2,
        };
        SIZES.iter().flat_map(move |&(batch, size)| {
            WAYS.iter().flat_map(move |&(channels_last, threads)| {
                [Precision::Fp32, Precision::Bf16].map(|precision| Case {
                    layer,
                    batch,
                    size,
                    precision,
                    channels_last,
                    threads,
                })
            })
        })
    }));
}

/// oneDNN 3.12 with AMX: every shape that was wrong, and those beside them.
#[test]
fn bf16_images_of_a_column_or_two_are_convolved() {
    let sizes = (1..=4)
        .chain([9, 20, 33])
        .flat_map(|h| [[h, 1], [h, 2], [h, 3]]);
    const CHANNELS: [(i64, i64); 4] = [(1, 2), (16, 32), (23, 46), (58, 116)];
    check(sizes.flat_map(|size| {
        (CHANNELS.iter()).flat_map(move |&(from, to)| {
            [1, 2].into_iter().flat_map(move |stride| {
                let kernel = 3;
                let folded = Layer::Folded {
                    from,
                    to,
                    kernel,
                    stride,
                };
                let conv = Layer::Conv {
                    from,
                    to,
                    kernel,
                    stride,
                };
                [(folded, false), (folded, true), (conv, false), (conv, true)].map(
                    |(layer, channels_last)| Case {
                        layer,
                        batch: 9,
                        size,
                        precision: Precision::Bf16,
                        channels_last,
                        threads: 1,
                    },
                )
            })
        })
    }));
}

#[test]
fn layers_are_near_double_precision() {
    let seed = env::var("FLOW_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut random = random::generator(seed, "layers", 0);
    let count = match env::var("FLOW_TORTURE").as_deref() {
        Ok("full") => return every_layer(&mut random),
        Ok(count) => count.parse().expect("FLOW_TORTURE is `full` or a number"),
        Err(_) => 300,
    };
    check((0..count).map(|_| {
        let arch = match random.random_range(0..20) {
            0 => Arch::Resnet18,
            1..=12 => Arch::Resnet,
            _ => Arch::Cnn,
        };
        let layers = layers(
            arch,
            random.random_range(1..=3),
            random.random_range(1..=33),
        );
        let layer = layers[random.random_range(0..layers.len())];
        let size = [(); 2].map(|()| random.random_range(1..=33));
        Case::draw(layer, size, &mut random)
    }));
}

fn every_layer(random: &mut ChaCha8Rng) {
    let mut all = layers(Arch::Resnet18, 3, 64);
    for (width, channels) in (1..=33).flat_map(|width| [(width, 1), (width, 2), (width, 3)]) {
        all.extend(layers(Arch::Resnet, channels, width));
        all.extend(layers(Arch::Cnn, channels, width));
    }
    all.sort();
    all.dedup();
    for (number, &layer) in all.iter().enumerate() {
        eprintln!("{} of {}: {layer:?}", number + 1, all.len());
        check((1..=33).flat_map(|h| {
            let drawn = Case::draw(layer, [h, random.random_range(1..=33)], random);
            [Precision::Fp32, Precision::Bf16]
                .into_iter()
                .flat_map(move |precision| {
                    [(false, 1), (false, 2), (true, 1), (true, 2)].map(
                        |(channels_last, threads)| Case {
                            precision,
                            channels_last,
                            threads,
                            ..drawn
                        },
                    )
                })
        }));
    }
}
