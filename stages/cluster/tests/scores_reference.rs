//! Scores, PCA and k-means against scikit-learn (`reference/ORIGIN.md`).

#![allow(clippy::unwrap_used)]

mod reference;

use flow_stages_cluster::{KMeans, Pca, scores};
use ndarray::{Array1, Array2};
use reference::load;
use serde_json::Value;

fn expected() -> Value {
    serde_json::from_str(include_str!("reference/scores.json")).unwrap()
}

fn close(got: f64, wanted: &Value, what: &str) {
    let wanted = wanted.as_f64().unwrap();
    assert!(
        (got - wanted).abs() <= 1e-6 * wanted.abs().max(1.0),
        "{what}: {got} for {wanted}"
    );
}

#[test]
fn scores_equal_those_of_scikit_learn() {
    let truth = load::<i64, _>("digits_y").mapv(|label| label as i32);
    let places = load::<f32, _>("digits_umap_seed42").mapv(f64::from);
    let label = |of: fn(i32, i32) -> i32| -> Array1<i32> {
        truth
            .iter()
            .enumerate()
            .map(|(row, &truth)| of(row as i32, truth))
            .collect()
    };
    let expected = expected();
    for (name, labels) in [
        ("split", label(|row, truth| truth * 2 + row % 2)),
        ("merged", label(|_, truth| truth / 3)),
        (
            "noisy",
            label(|row, truth| if row % 5 == 0 { row % 7 } else { truth }),
        ),
        ("unrelated", label(|row, _| row % 10)),
    ] {
        let (a, b) = (truth.view(), labels.view());
        let wanted = &expected[name];
        close(scores::adjusted_rand(a, b).unwrap(), &wanted["ari"], name);
        close(
            scores::normalized_mutual_info(a, b).unwrap(),
            &wanted["nmi"],
            name,
        );
        close(
            scores::adjusted_mutual_info(a, b).unwrap(),
            &wanted["ami"],
            name,
        );
        close(scores::accuracy(a, b).unwrap(), &wanted["accuracy"], name);
        let silhouette = scores::silhouette(places.view(), b).unwrap().unwrap();
        close(silhouette, &wanted["silhouette"], name);
    }
}

#[test]
fn trustworthiness_equals_that_of_scikit_learn() {
    let points: Array2<f32> = load("digits_X");
    let places: Array2<f32> = load("digits_umap_seed42");
    let got = scores::trustworthiness(points.view(), places.view(), 15).unwrap();
    // Equal distances between the digits' integers are ranked differently: by row here, as a sort leaves them there.
    let wanted = expected()["trustworthiness"].as_f64().unwrap();
    assert!((got - wanted).abs() < 1e-5, "{got} for {wanted}");
}

#[test]
fn variances_are_those_of_scikit_learn_and_whitening_makes_them_one() {
    let points: Array2<f32> = load("digits_X");
    let found = Pca::new(5).whiten(true).fit(points.view()).unwrap();
    for (i, wanted) in expected()["pca_variance"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        close(found.variance[i], wanted, "variance");
        let column = found.scores.column(i).mapv(f64::from);
        assert!((column.var(1.0) - 1.0).abs() < 1e-4);
        assert!(column.sum().abs() < 1e-2);
    }
}

#[test]
fn inertia_is_as_low_as_that_of_scikit_learn() {
    let places = load::<f32, _>("digits_umap_seed42").mapv(f64::from);
    let found = KMeans::new(10).fit(places.view()).unwrap();
    let wanted = expected()["kmeans_inertia"].as_f64().unwrap();
    assert!(
        found.inertia <= wanted * 1.001,
        "{} for {wanted}",
        found.inertia
    );
}
