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
        let names = [format!("conv{number}"), format!("bn{number}")];
        let conv = parameters.conv_norm([&names[0], &names[1]], from, to, 3, 1);
        body.push((
            format!("conv{number}"),
            Box::new(move |x, train| {
                let y = conv.forward(x, train).relu_();
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
