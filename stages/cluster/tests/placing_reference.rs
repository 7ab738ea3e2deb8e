//! New rows against umap-learn's `transform` and hdbscan's `approximate_predict` and `membership_vector`
//! (`reference/ORIGIN.md`), and what they don't promise: a row's place depends on the model and that row alone.

#![allow(clippy::unwrap_used)]

mod reference;

use flow_stages_cluster::{Hdbscan, Metric, Umap, UmapModel};
use ndarray::{Array1, Array2, Axis, s};
use reference::load;

/// The digits that umap-learn has embedded, and those that are new: every fifth.
fn digits() -> (Array2<f32>, Array2<f32>) {
    let all: Array2<f32> = load("digits_X");
    let of = |new: bool| {
        let rows: Vec<usize> = (0..all.nrows()).filter(|i| (i % 5 == 4) == new).collect();
        all.select(Axis(0), &rows)
    };
    (of(false), of(true))
}

fn model() -> UmapModel {
    Umap::new()
        .model(digits().0, load("placing_embedding"))
        .unwrap()
}

#[test]
fn new_digits_lie_where_umap_learn_puts_them() {
    let rows = digits().1;
    let (places, equals) = model().transform(rows.view(), &|_| {}).unwrap();
    // The reference's mean over its seeds, and how far one of its seeds is from that.
    let wanted: Array2<f64> = load("placing_places");
    let mut off: Vec<f64> = (0..rows.nrows())
        .map(|i| {
            let square = |axis: usize| (f64::from(places[[i, axis]]) - wanted[[i, axis]]).powi(2);
            (0..4).map(square).sum::<f64>().sqrt() / wanted[[i, 4]]
        })
        .collect();
    let square = off.iter().map(|off| off * off).sum::<f64>() / off.len() as f64;
    off.sort_by(f64::total_cmp);
    let part = |part: f64| off[(part * (off.len() - 1) as f64) as usize];
    println!(
        "{square:.3} {:.3} {:.3} {:.3}",
        part(0.5),
        part(0.95),
        part(1.0)
    );
    assert!(equals.iter().all(|equals| equals.is_none()));
    // One seed among its own seeds: about 1.
    assert!(square < 1.3, "mean square {square}");
    assert!(part(0.5) < 1.1 && part(0.95) < 1.9, "{off:?}");
}

#[test]
fn a_new_row_lies_where_it_does_whatever_lies_beside_it() {
    let (points, rows) = digits();
    for metric in [Metric::Euclidean, Metric::Cosine] {
        let umap = Umap::new().metric(metric);
        let model = umap
            .model(points.clone(), load("placing_embedding"))
            .unwrap();
        let all = model.transform(rows.view(), &|_| {}).unwrap().0;
        for (threads, few) in [
            (1, vec![7]),
            (2, vec![300, 7, 7, 12]),
            (5, (0..300).rev().collect()),
        ] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let part = rows.select(Axis(0), &few);
            let found = pool
                .install(|| model.transform(part.view(), &|_| {}))
                .unwrap();
            assert!(found.0 == all.select(Axis(0), &few), "{metric:?} {threads}");
        }
    }
}

#[test]
fn a_row_that_the_model_has_keeps_its_place() {
    let model = model();
    let places: Array2<f32> = load("placing_embedding");
    let (found, equals) = model.transform(model.points(), &|_| {}).unwrap();
    assert!(found == places);
    assert_eq!(equals, (0..places.nrows()).map(Some).collect::<Vec<_>>());
}

#[test]
fn few_points_place_new_ones_among_them() {
    let points = Array2::from_shape_fn((3, 2), |(i, j)| (i * 2 + j) as f32);
    for n in 1..=3 {
        let places = Array2::from_shape_fn((n, 2), |(i, j)| (i + j) as f32);
        let own = points.slice(s![..n, ..]).to_owned();
        let model = Umap::new().components(2).model(own, places).unwrap();
        let rows = Array2::from_elem((1, 2), 7.5f32);
        let (found, _) = model.transform(rows.view(), &|_| {}).unwrap();
        assert!(found.iter().all(|x| x.abs() < 20.0), "{n}: {found:?}");
    }
}

/// For each cluster of ours the reference's, which shares most training points with it: it numbers them otherwise.
fn counterparts(ours: &Array1<i32>, theirs: &Array1<i32>, clusters: usize) -> Vec<usize> {
    let shared = |a: usize, b: usize| {
        let both = ours.iter().zip(theirs);
        both.filter(|&(&x, &y)| x == a as i32 && y == b as i32)
            .count()
    };
    (0..clusters)
        .map(|a| (0..clusters).max_by_key(|&b| shared(a, b)).unwrap())
        .collect()
}

#[test]
fn new_points_belong_where_the_reference_says() {
    let points = load::<f32, _>("placing_embedding").mapv(f64::from);
    // The sets of reference/placing.py.
    let sets = [
        Hdbscan::new(),
        Hdbscan::new().min_cluster_size(50).min_samples(10),
        Hdbscan::new().min_cluster_size(50).min_samples(1),
    ];
    let asked: Array2<f64> = load("placing_asked");
    let trained: Array2<i32> = load("placing_trained");
    let labels: Array2<i32> = load("placing_labels");
    let probabilities: Array2<f64> = load("placing_probabilities");
    let membership: Array2<f32> = load("placing_membership");
    assert_eq!(labels.dim(), (sets.len(), asked.nrows()));
    let mut column = 0;
    for (set, parameters) in sets.iter().enumerate() {
        let model = parameters.model(points.view()).unwrap();
        let trained = trained.row(set).to_owned();
        let clusters = model.clusters.clusters();
        assert_eq!(
            trained.iter().max(),
            Some(&(clusters as i32 - 1)),
            "{parameters:?}"
        );
        let order = counterparts(&model.clusters.labels, &trained, clusters);
        let found = model.predict(asked.view()).unwrap();
        let (mut other_labels, mut other_probabilities) = (0, 0);
        let (mut other_directions, mut other_lengths) = (0, 0);
        for row in 0..asked.nrows() {
            let wanted = match labels[[set, row]] {
                -1 => -1,
                label => order.iter().position(|&c| c == label as usize).unwrap() as i32,
            };
            other_labels += usize::from(found.labels[row] != wanted);
            let apart = found.probabilities[row] - probabilities[[set, row]];
            other_probabilities += usize::from(apart.abs() > 1e-9);
            let ours = found.membership.row(row).to_owned();
            let theirs: Array1<f64> = (order.iter())
                .map(|&theirs| f64::from(membership[[row, column + theirs]]))
                .collect();
            let apart = |a: &Array1<f64>, b: &Array1<f64>| {
                (a - b).iter().fold(0.0, |most: f64, x| most.max(x.abs()))
            };
            let direction = apart(&(&ours / ours.sum()), &(&theirs / theirs.sum()));
            other_directions += usize::from(direction > 1e-5);
            // A point of noise parts from several clusters at once. The reference scales its row by the death of the first
            // of them in its tree, here it is the least death.
            let longer = ours.sum() - theirs.sum();
            let wrong = longer < -1e-5 || found.labels[row] >= 0 && longer > 1e-5;
            other_lengths += usize::from(wrong);
        }
        column += order.len();
        println!(
            "{other_labels} {other_probabilities} {other_directions} {other_lengths}: {parameters:?}"
        );
        assert_eq!(found.equals, vec![None; asked.nrows()]);
        assert_eq!(other_labels, 0, "{parameters:?}");
        assert_eq!(other_probabilities, 0, "{parameters:?}");
        assert_eq!(other_lengths, 0, "{parameters:?}");
        // With its training rows in another order the reference itself changes this one, which lies beside a tie.
        assert!(other_directions <= 1, "{parameters:?}");
    }
    assert_eq!(column, membership.ncols());
}

#[test]
fn a_point_that_was_clustered_has_what_it_had() {
    let points = load::<f32, _>("placing_embedding").mapv(f64::from);
    let parameters = Hdbscan::new().min_cluster_size(50).min_samples(10);
    let model = parameters.model(points.view()).unwrap();
    let found = model.predict(points.view()).unwrap();
    assert_eq!(found.labels, model.clusters.labels);
    assert_eq!(found.probabilities, model.clusters.probabilities);
    let membership = model.clusters.membership(points.view()).unwrap();
    assert_eq!(found.membership, membership);
    assert_eq!(
        found.equals,
        (0..points.nrows()).map(Some).collect::<Vec<_>>()
    );
}
