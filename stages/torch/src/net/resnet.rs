//! Residual networks for small images: He et al. 2016, "Deep Residual Learning for Image Recognition".
//!
//! Both begin with a 3x3 convolution of stride 1 and no max pool, and are made of basic blocks (two 3x3 convolutions).
//! `resnet18` has torchvision's four stages of two blocks, 64 to 512 channels. `resnet` is the paper's network for
//! CIFAR (§4.2): three stages of `(depth - 2) / 6` blocks, `width` to `4 * width` channels.

use super::layers::Parameters;
use super::{Body, global_average};

/// The stages of a network: how many blocks of how many channels each.
pub fn body(parameters: &mut Parameters, channels: i64, stages: &[(i64, i64)]) -> Body {
    let stem = stages[0].1;
    let conv = parameters.conv("conv1", channels, stem, 3, 1);
    let norm = parameters.norm("bn1", stem);
    let mut body: Body = vec![(
        "conv1".into(),
        Box::new(move |x, train| norm.forward(&conv.forward(x), train).relu_()),
    )];
    let mut from = stem;
    for (stage, &(blocks, to)) in stages.iter().enumerate() {
        let name = format!("layer{}", stage + 1);
        let mut layers = Vec::new();
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            layers.push(basic_block(
                parameters,
                &format!("{name}.{block}"),
                from,
                to,
                stride,
            ));
            from = to;
        }
        body.push((
            name,
            Box::new(move |x, train| {
                let mut x = x.shallow_clone();
                for layer in &layers {
                    x = layer(&x, train);
                }
                x
            }),
        ));
    }
    body.push(("avgpool".into(), Box::new(|x, _| global_average(x))));
    body
}

fn basic_block(
    parameters: &mut Parameters,
    name: &str,
    from: i64,
    to: i64,
    stride: i64,
) -> super::Layer {
    let conv1 = parameters.conv(&format!("{name}.conv1"), from, to, 3, stride);
    let bn1 = parameters.norm(&format!("{name}.bn1"), to);
    let conv2 = parameters.conv(&format!("{name}.conv2"), to, to, 3, 1);
    let bn2 = parameters.norm(&format!("{name}.bn2"), to);
    let downsample = (stride != 1 || from != to).then(|| {
        (
            parameters.conv(&format!("{name}.downsample.0"), from, to, 1, stride),
            parameters.norm(&format!("{name}.downsample.1"), to),
        )
    });
    Box::new(move |x, train| {
        let y = bn1.forward(&conv1.forward(x), train).relu_();
        let mut y = bn2.forward(&conv2.forward(&y), train);
        y += match &downsample {
            Some((conv, norm)) => norm.forward(&conv.forward(x), train),
            None => x.shallow_clone(),
        };
        y.relu_()
    })
}
