//! A small convolutional network for images from 8x8 on: three 3x3 convolutions with batch norm.
//!
//! `width`, `2 * width` and `4 * width` channels; the size is halved twice by max pooling.

use super::layers::Parameters;
use super::{Body, global_average};

/// The body: `conv1`, `conv2`, `conv3`, `avgpool`.
pub fn body(parameters: &mut Parameters, channels: i64, width: i64) -> Body {
    let mut body = Body::new();
    let mut from = channels;
    for (number, to) in (1..).zip([width, 2 * width, 4 * width]) {
        let conv = parameters.conv(&format!("conv{number}"), from, to, 3, 1);
        let norm = parameters.norm(&format!("bn{number}"), to);
        body.push((
            format!("conv{number}"),
            Box::new(move |x, train| {
                let y = norm.forward(&conv.forward(x), train).relu_();
                if number == 3 {
                    y
                } else {
                    y.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
                }
            }),
        ));
        from = to;
    }
    body.push(("avgpool".into(), Box::new(|x, _| global_average(x))));
    body
}
