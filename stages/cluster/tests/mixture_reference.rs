//! Mixtures of Gaussians against scikit-learn (`reference/ORIGIN.md`).

#![allow(clippy::unwrap_used)]

mod reference;

use flow_stages_cluster::{Covariance, GaussianMixture, Mixture};
use ndarray::{Array1, Array2};
use reference::load;
use serde_json::Value;

fn expected() -> Value {
    serde_json::from_str(include_str!("reference/mixture.json")).unwrap()
}

fn shape(name: &str) -> Covariance {
    match name {
        "full" => Covariance::Full,
        "tied" => Covariance::Tied,
        "diag" => Covariance::Diagonal,
        _ => Covariance::Spherical,
    }
}

fn points() -> Array2<f64> {
    load::<f32, ndarray::Ix2>("digits_umap_seed42").mapv(f64::from)
}

fn start(name: &str) -> Array1<i32> {
    let truth: Array1<i64> = load("digits_y");
    let truth = truth.mapv(|label| label as i32);
    let label = |(row, &truth): (usize, &i32)| match name {
        "noisy" if row % 5 == 0 => row as i32 % 7,
        "noisy" => truth,
        _ => row as i32 % 10,
    };
    truth.iter().enumerate().map(label).collect()
}

fn ascending(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The components' numbers `[k, m]`, those of each column ascending, row by row.
fn by_column(numbers: Array2<f64>) -> Vec<f64> {
    let mut sorted = numbers.clone();
    for (mut into, column) in sorted.columns_mut().into_iter().zip(numbers.columns()) {
        into.assign(&Array1::from(ascending(column.iter().copied())));
    }
    sorted.into_iter().collect()
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// What is compared of a mixture, by the names of the file.
fn numbers(found: &Mixture) -> Vec<(&'static str, Vec<f64>)> {
    let (k, d) = found.means.dim();
    let covariances = found.covariances.to_shape((k, d * d)).unwrap().to_owned();
    let largest = found.membership.outer_iter().step_by(100);
    let largest = largest.map(|row| row.fold(0.0, |most: f64, &x| most.max(x)));
    vec![
        ("lower_bound", vec![found.lower_bound]),
        ("log_likelihood", vec![found.log_likelihood]),
        ("bic", vec![found.bic()]),
        ("aic", vec![found.aic()]),
        ("weights", ascending(found.weights.iter().copied())),
        ("means", by_column(found.means.clone())),
        ("covariances", by_column(covariances)),
        ("largest_membership", largest.collect()),
    ]
}

#[test]
fn mixtures_from_a_given_start_are_those_of_scikit_learn() {
    let points = points();
    let expected = expected();
    let cases = expected["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let mixture = GaussianMixture::new(10).covariance(shape(text("covariance")));
        let mixture = match text("setting") {
            "regularised" => mixture.regularization(0.01).tolerance(1e-5).iterations(500),
            "stopped" => mixture.iterations(3),
            _ => mixture,
        };
        let labels = start(text("start"));
        let found = mixture.fit_from(points.view(), labels.view()).unwrap();
        let name = format!(
            "{} from {}, {}",
            text("covariance"),
            text("start"),
            text("setting")
        );
        assert_eq!(found.iterations as u64, case["iterations"], "{name}");
        assert_eq!(found.converged, case["converged"], "{name}");
        for (what, got) in numbers(&found) {
            let wanted = flat(&case[what]);
            assert_eq!(got.len(), wanted.len(), "{name}: {what}");
            for (got, wanted) in got.iter().zip(&wanted) {
                assert!(
                    (got - wanted).abs() <= 1e-6 * wanted.abs().max(1.0),
                    "{name}: {what} {got} for {wanted}"
                );
            }
        }
    }
}

#[test]
fn starts_of_our_own_are_as_good_as_those_of_scikit_learn() {
    let points = points();
    let expected = expected();
    for (name, wanted) in expected["own_starts"].as_object().unwrap() {
        let mixture = GaussianMixture::new(10).covariance(shape(name)).starts(20);
        let found = mixture.fit(points.view()).unwrap();
        let wanted = wanted.as_f64().unwrap();
        assert!(
            found.lower_bound >= wanted - 1e-3,
            "{name}: {} for {wanted}",
            found.lower_bound
        );
    }
}
