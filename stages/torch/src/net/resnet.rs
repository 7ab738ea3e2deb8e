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
    let conv = parameters.conv_norm(["conv1", "bn1"], channels, stem, 3, 1);
    let mut body: Body = vec![(
        "conv1".into(),
        Box::new(move |x, train| conv.forward(x, train).relu_()),
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
    let mut conv = |conv: &str, norm: &str, from, kernel, stride| {
        let names = [conv, norm].map(|layer| format!("{name}.{layer}"));
        parameters.conv_norm([&names[0], &names[1]], from, to, kernel, stride)
    };
    let first = conv("conv1", "bn1", from, 3, stride);
    let second = conv("conv2", "bn2", to, 3, 1);
    let downsample =
        (stride != 1 || from != to).then(|| conv("downsample.0", "downsample.1", from, 1, stride));
    Box::new(move |x, train| {
        let y = first.forward(x, train).relu_();
        let mut y = second.forward(&y, train);
        y += match &downsample {
            Some(shortcut) => shortcut.forward(x, train),
            None => x.shallow_clone(),
        };
        y.relu_()
    })
}
