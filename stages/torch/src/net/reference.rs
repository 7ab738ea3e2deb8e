//! The same numbers as PyTorch: its names, logits and losses from the same weights, images and steps.
//!
//! `tests/reference/pytorch.py` made the numbers with the versions that stand in `pytorch.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

use super::{Arch, Choice, Head, Network};
use crate::optimise::{Method, Optimiser, warm_restarts};

#[derive(Deserialize)]
struct Reference {
    shapes: BTreeMap<String, Vec<i64>>,
    logits: Vec<Vec<f64>>,
    noise_f64: Steps,
    learnable_f32: Steps,
}

#[derive(Deserialize)]
struct Steps {
    rates: Vec<f64>,
    losses: Vec<f64>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../tests/reference/pytorch.json")).unwrap()
}

/// As `values` in the script.
fn values(name: &str, shape: &[i64]) -> Tensor {
    let start = name.bytes().fold(0u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    let numbers: Vec<f32> = (0..shape.iter().product::<i64>())
        .map(|index| {
            let mut x = (index as u32).wrapping_add(start);
            for _ in 0..2 {
                x = (x ^ (x >> 16)).wrapping_mul(0x45D_9F3B);
            }
            x ^= x >> 16;
            (f64::from(x) / 4_294_967_296.0 - 0.5) as f32
        })
        .collect();
    Tensor::from_slice(&numbers).view(shape)
}

/// As `weights` in the script.
fn weights(name: &str, shape: &[i64]) -> Tensor {
    let drawn = values(name, shape);
    let inputs: i64 = shape[1..].iter().product();
    let near_one = name.ends_with("running_var")
        || (name.contains("bn") || name.contains("downsample")) && name.ends_with("weight");
    if shape.len() > 1 {
        drawn * f64::from((12.0 / inputs as f64).sqrt() as f32)
    } else if near_one {
        drawn * 0.25 + 1.0
    } else {
        drawn * 0.25
    }
}

/// Eight images in which there is nothing to learn.
fn noise(step: usize) -> Tensor {
    values(&format!("images {step}"), &[8, 3, 16, 16]) * 4.0
}

/// Sixteen images that are one of five, under noise.
fn learnable(step: usize) -> Tensor {
    let prototypes = values("prototypes", &[5, 3, 16, 16]) * 2.0;
    values(&format!("images {step}"), &[16, 3, 16, 16]) + prototypes.index_select(0, &labels(16))
}

fn labels(n: i64) -> Tensor {
    Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(5)
}

fn resnet18(reference: &Reference) -> Network {
    let choice = Choice {
        arch: Arch::Resnet18,
        width: None,
        depth: None,
        weights: None,
    };
    let spec = choice
        .spec([3, 16, 16], vec![Head::linear("fc", 5)])
        .unwrap();
    let mut net = Network::new(spec, 0, Device::Cpu);
    let tensors = reference
        .shapes
        .iter()
        .map(|(name, shape)| (name.clone(), weights(name, shape)))
        .collect();
    net.load(&tensors).unwrap();
    net
}

#[test]
fn names_and_shapes_are_torchvisions() {
    let reference = reference();
    let found: BTreeMap<String, Vec<i64>> = resnet18(&reference)
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.size()))
        .collect();
    assert_eq!(found, reference.shapes);
}

#[test]
fn logits_are_pytorchs() {
    tch::set_num_threads(1);
    let reference = reference();
    let net = resnet18(&reference);
    let logits = no_grad(|| net.forward(&noise(0)).remove(0));
    for (row, expected) in reference.logits.iter().enumerate() {
        for (class, expected) in expected.iter().enumerate() {
            let found = logits.double_value(&[row as i64, class as i64]);
            assert!(
                (found - expected).abs() < 1e-5,
                "{row} {class}: {found} {expected}"
            );
        }
    }
}

/// Makes the steps in `kind`; each loss is PyTorch's within `tolerance`.
fn follow(
    expected: &Steps,
    images: impl Fn(usize) -> Tensor,
    kind: Kind,
    weight_decay: f64,
    tolerance: f64,
) {
    let net = resnet18(&reference());
    for mut tensor in net.tensors().into_values() {
        let other = tensor.detach().to_kind(kind);
        tensor.set_data(&other);
    }
    let first = expected.rates[0];
    let mut optimiser = Optimiser::new(Method::Sgd, 0.9, weight_decay, net.trainable());
    for (step, (expected, rate)) in expected.losses.iter().zip(&expected.rates).enumerate() {
        let found = warm_restarts(first, 1e-6, 10, step as u32);
        assert!((found - rate).abs() < 1e-15, "step {step}: {found} {rate}");
        let images = images(step).to_kind(kind);
        let labels = labels(images.size()[0]);
        let logits = net.forward_training(&images, None).remove(0);
        assert_eq!(logits.kind(), kind);
        let loss = logits.cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Mean, -100, 0.0);
        let found = loss.double_value(&[]);
        assert!(
            (found - expected).abs() < tolerance,
            "step {step}: {found} {expected}"
        );
        optimiser.step(&loss, *rate);
    }
    assert_eq!(expected.losses.len(), 20);
}

/// On one thread and on two. PyTorch's own distance between them is 3e-7, and between f32 and f64 2e-7 (the script prints
/// them).
#[test]
fn twenty_steps_lose_what_pytorch_loses() {
    for threads in [1, 2] {
        tch::set_num_threads(threads);
        let expected = reference().learnable_f32;
        follow(&expected, learnable, Kind::Float, 5e-4, 1e-5);
    }
}

/// Where there is nothing to learn, training doubles a difference in rounding every other step. In f64 that leaves
/// nothing to tolerate, and so tells any other difference.
#[test]
fn in_f64_twenty_steps_on_noise_lose_what_pytorch_loses() {
    tch::set_num_threads(2);
    follow(&reference().noise_f64, noise, Kind::Double, 0.1, 1e-9);
}

#[test]
fn a_checkpoint_of_pytorchs_is_a_beginning() {
    let choice = Choice {
        arch: Arch::Resnet,
        width: Some(2),
        depth: Some(8),
        weights: None,
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let spec = choice.spec([1, 8, 8], vec![Head::linear("fc", 5)]).unwrap();
    let net = Network::new(spec, 3, Device::Cpu);
    for file in ["weights.safetensors", "weights.pth"] {
        let mut net = Network::new(net.spec.clone(), 3, Device::Cpu);
        let before = net.copy();
        net.begin_with(&folder.join(file)).unwrap();
        for (name, found) in net.tensors() {
            let expected = match name.as_str() {
                "conv1.weight" | "fc.weight" | "fc.bias" => before[&name].shallow_clone(),
                _ => weights(&name, &found.size()),
            };
            assert_eq!(found, expected, "{file}: {name}");
        }
    }
    let wider = Choice {
        width: Some(4),
        ..choice
    };
    let spec = wider.spec([1, 8, 8], vec![]).unwrap();
    let mut net = Network::new(spec, 3, Device::Cpu);
    let error = format!(
        "{:#}",
        net.begin_with(&folder.join("weights.safetensors"))
            .unwrap_err()
    );
    assert!(
        error.contains("is not a checkpoint of the network that `arch` names"),
        "{error}"
    );
    assert!(error.contains("the network needs Float [4]"), "{error}");
    let error = format!(
        "{:#}",
        net.begin_with(&folder.join("pytorch.py")).unwrap_err()
    );
    assert!(
        error.contains("pytorch.py is a text that begins with `"),
        "{error}"
    );
}
