//! The curve 1 / (1 + a x^2b) of similarity in the embedding.

/// The `a` and `b` for which the curve is nearest, in least squares over 300 places in 0..3, to 1 up to `min_dist` and
/// exp(-(x - min_dist)) beyond. By Levenberg's and Marquardt's method.
pub(super) fn fit(min_dist: f64) -> (f64, f64) {
    let places: Vec<(f64, f64)> = (0..300)
        .map(|i| {
            let x = f64::from(i) * 3.0 / 299.0;
            (
                x,
                if x < min_dist {
                    1.0
                } else {
                    libm::exp(min_dist - x)
                },
            )
        })
        .collect();
    let error = |a: f64, b: f64| -> f64 {
        places
            .iter()
            .map(|&(x, y)| curve(a, b, x) - y)
            .map(|e| e * e)
            .sum()
    };
    let (mut a, mut b, mut damping) = (1.0, 1.0, 1e-3);
    let mut least = error(a, b);
    for _ in 0..200 {
        let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(x, y) in places.iter().filter(|place| place.0 > 0.0) {
            let f = curve(a, b, x);
            let power = libm::pow(x, 2.0 * b);
            let by_a = -f * f * power;
            let by_b = -f * f * a * power * 2.0 * libm::log(x);
            (aa, ab, bb) = (aa + by_a * by_a, ab + by_a * by_b, bb + by_b * by_b);
            (ga, gb) = (ga + by_a * (f - y), gb + by_b * (f - y));
        }
        let (da, db) = (aa * (1.0 + damping), bb * (1.0 + damping));
        let determinant = da * db - ab * ab;
        let step = (
            (db * ga - ab * gb) / determinant,
            (da * gb - ab * ga) / determinant,
        );
        let next = error(a - step.0, b - step.1);
        if next < least {
            (a, b, least) = (a - step.0, b - step.1, next);
            damping *= 0.3;
            if step.0.abs() + step.1.abs() < 1e-12 {
                break;
            }
        } else {
            damping *= 4.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    (a, b)
}

fn curve(a: f64, b: f64, x: f64) -> f64 {
    1.0 / (1.0 + a * libm::pow(x, 2.0 * b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_reference() {
        // umap-learn 0.5.12, find_ab_params(1.0, min_dist).
        for (min_dist, a, b) in [
            (0.0, 1.932_808_4, 0.790_495_0),
            (0.1, 1.576_943_5, 0.895_060_9),
        ] {
            let found = fit(min_dist);
            assert!(
                (found.0 - a).abs() < 2e-5 && (found.1 - b).abs() < 2e-5,
                "{found:?}"
            );
        }
    }
}
