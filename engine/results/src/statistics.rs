//! Means over seeds, how sure they are, and whether a difference is more than the seeds' noise.
//!
//! Student's t distribution is statrs'; `tests/reference/statistics.py` made the values that the tests compare with.

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::Statistics;

/// A difference with a corrected p below this exceeds the seeds' noise; intervals hold the mean with one minus this.
pub const LEVEL: f64 = 0.05;

/// Differences whose spread is below this share of the values themselves are the same but for rounding: a metric that was
/// computed in single precision has seven digits.
const ROUNDING: f64 = 1e-6;

/// The mean; none of no values, and none where one is not finite.
pub fn mean(values: &[f64]) -> Option<f64> {
    let mean = values.mean();
    (!values.is_empty() && mean.is_finite()).then_some(mean)
}

/// Half of the width of the 95 % confidence interval of the mean: `t(0.975; n - 1) s / √n`, with the sample's standard
/// deviation `s`. None of fewer than two values, and none where one is not finite.
pub fn half_width(values: &[f64]) -> Option<f64> {
    if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let n = values.len() as f64;
    let quantile = students_t(n - 1.0)?.inverse_cdf(1.0 - LEVEL / 2.0);
    let half = quantile * values.std_dev() / n.sqrt();
    half.is_finite().then_some(half)
}

/// The p of the two-sided t-test for paired samples, that both have one mean: of a value and the base's, by seed. None of
/// fewer than two pairs, where a value is not finite, and where all pairs differ by the same: without noise there is
/// nothing to measure a difference against, and a few equal differences of a coarse metric prove little.
pub fn paired_test(pairs: &[(f64, f64)]) -> Option<f64> {
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
    if pairs.len() < 2 || differences.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let n = pairs.len() as f64;
    let (mean, spread) = ((&differences[..]).mean(), (&differences[..]).std_dev());
    let size = pairs.iter().flat_map(|(a, b)| [a.abs(), b.abs()]);
    if spread <= ROUNDING * size.fold(0.0, f64::max) {
        return None;
    }
    let t = mean / (spread / n.sqrt());
    Some((2.0 * students_t(n - 1.0)?.sf(t.abs())).min(1.0))
}

/// Holm's step-down correction of the p of several tests (Holm 1979), in the order given.
pub fn holm(tests: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    order.sort_by(|&a, &b| tests[a].total_cmp(&tests[b]));
    let mut corrected = vec![0.0; tests.len()];
    let mut largest: f64 = 0.0;
    for (rank, &test) in order.iter().enumerate() {
        largest = largest
            .max((tests.len() - rank) as f64 * tests[test])
            .min(1.0);
        corrected[test] = largest;
    }
    corrected
}

/// The standard distribution; none of no degrees of freedom.
fn students_t(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Reference {
        samples: Vec<Sample>,
        pairs: Vec<Pairs>,
        families: Vec<Family>,
    }

    #[derive(Deserialize)]
    struct Sample {
        values: Vec<f64>,
        mean: f64,
        half_width: f64,
    }

    #[derive(Deserialize)]
    struct Pairs {
        a: Vec<f64>,
        b: Vec<f64>,
        p: f64,
    }

    #[derive(Deserialize)]
    struct Family {
        p: Vec<f64>,
        holm: Vec<f64>,
    }

    fn reference() -> Reference {
        serde_json::from_str(include_str!("../tests/reference/statistics.json")).unwrap()
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        let error = (found - expected).abs() / expected.abs().max(1e-300);
        assert!(error < 1e-9, "{found}, expected {expected}");
    }

    #[test]
    fn intervals_are_those_of_scipy() {
        let samples = reference().samples;
        assert!(samples.len() >= 10);
        for sample in samples {
            close(mean(&sample.values).unwrap(), sample.mean);
            close(half_width(&sample.values).unwrap(), sample.half_width);
        }
    }

    #[test]
    fn paired_tests_are_those_of_scipy() {
        let tests = reference().pairs;
        assert!(tests.len() >= 10);
        for test in tests {
            let pairs: Vec<_> = test.a.into_iter().zip(test.b).collect();
            close(paired_test(&pairs).unwrap(), test.p);
        }
    }

    #[test]
    fn corrections_are_those_of_statsmodels() {
        let families = reference().families;
        assert!(families.len() >= 5);
        for family in families {
            for (found, expected) in holm(&family.p).into_iter().zip(family.holm) {
                close(found, expected);
            }
        }
    }

    #[test]
    fn too_few_values_have_no_spread() {
        assert_eq!((mean(&[]), half_width(&[])), (None, None));
        assert_eq!((mean(&[0.5]), half_width(&[0.5])), (Some(0.5), None));
        assert_eq!(paired_test(&[]), None);
        assert_eq!(paired_test(&[(0.5, 0.4)]), None);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn what_is_not_finite_makes_no_mean_and_no_test() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(mean(&[0.5, odd, 0.6]), None);
            assert_eq!(half_width(&[0.5, odd, 0.6]), None);
            assert_eq!(paired_test(&[(0.5, 0.4), (odd, 0.4), (0.6, 0.4)]), None);
            assert_eq!(paired_test(&[(0.5, 0.4), (0.6, odd), (0.6, 0.4)]), None);
        }
        // Each is finite, and their sum is not.
        assert_eq!(half_width(&[f64::MAX, -f64::MAX]), None);
    }

    #[test]
    fn values_without_spread_have_an_interval_of_no_width_and_no_test() {
        assert_eq!(mean(&[0.1; 3]), Some(0.1));
        assert_eq!(half_width(&[0.1; 3]), Some(0.0));
        // No difference, and one that is always the same, also where it is so but for rounding.
        assert_eq!(paired_test(&[(0.9, 0.9), (0.8, 0.8)]), None);
        assert_eq!(paired_test(&[(14.0, 10.0); 3]), None);
        assert_eq!(
            paired_test(&[(0.93, 0.92), (0.95, 0.94), (0.97, 0.96)]),
            None
        );
        let single = |a: f64, b: f64| (f64::from(a as f32), f64::from(b as f32));
        assert_eq!(paired_test(&[single(0.93, 0.92), single(0.95, 0.94)]), None);
        assert!(paired_test(&[(0.93, 0.92), (0.95, 0.94), (0.97, 0.9601)]).is_some());
    }

    #[test]
    fn equal_tests_are_corrected_alike_and_never_beyond_one() {
        assert_eq!(holm(&[0.02, 0.02, 0.02]), [0.06, 0.06, 0.06]);
        assert_eq!(holm(&[0.9, 0.5]), [1.0, 1.0]);
        // The second is no smaller than the first, although twice 0.04 is less than three times 0.03.
        assert_eq!(holm(&[0.04, 0.03, 0.9]), [0.09, 0.09, 0.9]);
    }
}
