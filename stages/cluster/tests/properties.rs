//! What holds for any input: no panic, no NaN, and results that depend on neither order, scale nor threads.

#![allow(clippy::unwrap_used)]

mod reference;

use flow_stages_cluster::hdbscan::{Selection, soft_labels};
use flow_stages_cluster::{
    Covariance, Error, GaussianMixture, George, Hdbscan, KMeans, Metric, Pca, Search, Umap, george,
    scores,
};
use ndarray::{Array1, Array2, Axis, array};
use proptest::prelude::*;
use reference::load;

/// Points on a small grid, so that many are equal, some far away, some columns constant.
fn points() -> impl Strategy<Value = Array2<f64>> {
    (1usize..70, 1usize..4, 1i32..6).prop_flat_map(|(n, d, spread)| {
        let value = prop_oneof![
            20 => (0..spread).prop_map(f64::from),
            5 => 0.0..8.0f64,
            1 => Just(1e30),
            1 => Just(-1e-200),
        ];
        proptest::collection::vec(value, n * d)
            .prop_map(move |v| Array2::from_shape_vec((n, d), v).unwrap())
    })
}

fn parameters() -> impl Strategy<Value = Hdbscan> {
    (
        2usize..9,
        proptest::option::of(1usize..12),
        any::<bool>(),
        0.0..3.0f64,
        any::<bool>(),
        0usize..30,
    )
        .prop_map(|(size, samples, leaf, epsilon, single, largest)| {
            let parameters = Hdbscan::new()
                .min_cluster_size(size)
                .selection(if leaf {
                    Selection::Leaf
                } else {
                    Selection::ExcessOfMass
                })
                .cluster_selection_epsilon(if epsilon < 1.0 { 0.0 } else { epsilon })
                .allow_single_cluster(single)
                .max_cluster_size(largest);
            match samples {
                Some(k) => parameters.min_samples(k),
                None => parameters,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hdbscan_gives_probabilities_for_any_points(points in points(), parameters in parameters()) {
        let found = parameters.fit(points.view()).unwrap();
        let k = found.clusters();
        let membership = found.membership(points.view()).unwrap();
        prop_assert_eq!(membership.dim(), (points.nrows(), k));
        prop_assert!(found.labels.iter().all(|&label| (-1..k as i32).contains(&label)));
        for values in [&found.probabilities, &found.outlier_scores, &found.persistence] {
            prop_assert!(values.iter().all(|x| (0.0..=1.0 + 1e-9).contains(x)), "{values}");
        }
        for row in membership.outer_iter() {
            prop_assert!(row.iter().all(|x| (0.0..=1.0 + 1e-9).contains(x)), "{row}");
            prop_assert!(row.sum() <= 1.0 + 1e-9);
        }
        let labels = soft_labels(membership.view());
        let least = if k == 0 { -1 } else { 0 };
        prop_assert!(labels.iter().all(|&label| label >= least && (k > 0 || label == -1)));
        // Numbered by the first member.
        let firsts: Vec<_> = (0..k as i32)
            .filter_map(|label| found.labels.iter().position(|&l| l == label))
            .collect();
        prop_assert!(firsts.is_sorted());
    }

    #[test]
    fn hdbscan_knows_neither_the_order_of_rows_nor_the_unit(
        seed in 0u64..1000, n in 30usize..120, parameters in parameters()
    ) {
        let points = clumps(n, 3, seed);
        let parameters = parameters.cluster_selection_epsilon(0.0);
        let one = parameters.fit(points.view()).unwrap();
        let order: Vec<usize> = (0..n).map(|i| (i * 7 + 3) % n).collect();
        prop_assume!(n % 7 != 0);
        let other = parameters.fit(points.select(Axis(0), &order).mapv(|x| x * 1024.0).view()).unwrap();
        prop_assert_eq!(one.clusters(), other.clusters());
        let pairs = |labels: &Array1<i32>, i: usize, j: usize| (labels[i] == labels[j], labels[i] < 0);
        for (i, &from) in order.iter().enumerate() {
            prop_assert_eq!(one.probabilities[from], other.probabilities[i]);
            prop_assert_eq!(one.outlier_scores[from], other.outlier_scores[i]);
            for (j, &to) in order.iter().enumerate() {
                prop_assert_eq!(pairs(&one.labels, from, to), pairs(&other.labels, i, j));
            }
        }
    }

    #[test]
    fn scores_are_defined_for_any_labelling(
        labels in proptest::collection::vec((-1i32..4, 0i32..3), 1..40)
    ) {
        let (a, b): (Vec<i32>, Vec<i32>) = labels.into_iter().unzip();
        let (a, b) = (Array1::from(a), Array1::from(b));
        for score in [scores::adjusted_rand, scores::normalized_mutual_info, scores::adjusted_mutual_info, scores::accuracy] {
            let (there, back) = (score(a.view(), b.view()).unwrap(), score(b.view(), a.view()).unwrap());
            prop_assert!(there.is_finite() && (there - back).abs() < 1e-9, "{there} {back}");
            prop_assert!(there <= 1.0 + 1e-9);
            prop_assert!((score(a.view(), a.view()).unwrap() - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn mixtures_give_probabilities_or_say_that_they_collapsed(
        points in points(), k in 1usize..6, shape in 0usize..4, added in prop_oneof![Just(0.0), Just(1e-6), Just(0.1)]
    ) {
        let shape = [Covariance::Full, Covariance::Tied, Covariance::Diagonal, Covariance::Spherical][shape];
        let mixture = GaussianMixture::new(k.min(points.nrows())).covariance(shape).starts(2).regularization(added);
        let found = match mixture.fit(points.view()) {
            Ok(found) => found,
            Err(error) => {
                prop_assert!(matches!(error, Error::Collapsed { .. }), "{error}");
                return Ok(());
            }
        };
        for row in found.membership.outer_iter() {
            prop_assert!(row.iter().all(|x| (0.0..=1.0 + 1e-9).contains(x)), "{row}");
            prop_assert!((row.sum() - 1.0).abs() < 1e-9);
        }
        prop_assert!(found.means.iter().chain(&found.covariances).all(|x| x.is_finite()));
        prop_assert!([found.log_likelihood, found.bic(), found.aic()].iter().all(|x| x.is_finite()));
        let firsts: Vec<_> = (0..found.clusters as i32)
            .map(|label| found.labels.iter().position(|&l| l == label).unwrap())
            .collect();
        prop_assert!(firsts.is_sorted());
        prop_assert!(found.labels.iter().all(|&label| (label as usize) < found.clusters));
    }

    #[test]
    fn a_mixture_never_becomes_less_likely_by_a_step(seed in 0u64..500, k in 1usize..5, n in 40usize..120) {
        let points = clumps(n, 3, seed);
        let labels: Array1<i32> = (0..n).map(|row| (row % k) as i32).collect();
        let mut before = f64::NEG_INFINITY;
        for steps in 1..8 {
            let mixture = GaussianMixture::new(k).iterations(steps).tolerance(0.0).regularization(0.0);
            let found = mixture.fit_from(points.view(), labels.view()).unwrap();
            prop_assert!(found.log_likelihood >= found.lower_bound - 1e-9);
            prop_assert!(found.lower_bound >= before - 1e-9, "{steps}: {} after {before}", found.lower_bound);
            before = found.lower_bound;
        }
    }

    #[test]
    fn george_labels_any_points(points in points(), mixture in any::<bool>(), factor in 1usize..4) {
        let model = if mixture { george::Model::Mixture } else { george::Model::KMeans };
        let search = George::new(model, 4).factor(factor).starts(1);
        let found = match search.fit(points.view()) {
            Ok(found) => found,
            Err(error) => {
                prop_assert!(matches!(error, Error::Collapsed { .. }), "{error}");
                return Ok(());
            }
        };
        let count = found.centers.nrows() as i32;
        prop_assert!(found.labels.iter().all(|label| (0..count).contains(label)));
        prop_assert!((0..count).all(|label| found.labels.iter().any(|&l| l == label)));
        prop_assert!(found.centers.iter().all(|x| x.is_finite()));
        prop_assert!(found.chosen.is_some() || count == 1);
    }

    #[test]
    fn kmeans_and_silhouettes_are_finite_for_any_points(points in points(), k in 1usize..6) {
        let found = KMeans::new(k.min(points.nrows())).starts(2).fit(points.view()).unwrap();
        prop_assert!(found.centers.iter().all(|x| x.is_finite()) && found.inertia.is_finite());
        let values = scores::silhouettes(points.view(), found.labels.view()).unwrap();
        prop_assert!(values.iter().all(|x| (-1.0..=1.0).contains(x)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn embeddings_are_finite_for_any_points(
        points in points(), neighbors in 2usize..40, components in 1usize..6, cosine in any::<bool>()
    ) {
        let points = points.mapv(|x| x as f32);
        let metric = if cosine { Metric::Cosine } else { Metric::Euclidean };
        let umap = Umap::new().neighbors(neighbors).components(components).metric(metric);
        let found = umap.fit(points.view()).unwrap();
        prop_assert_eq!(found.points.dim(), (points.nrows(), components));
        prop_assert!(found.points.iter().all(|x| x.is_finite()));
        let k = points.nrows().min(points.ncols());
        let found = Pca::new(k).whiten(true).fit(points.view()).unwrap();
        prop_assert!(found.scores.iter().all(|x| x.is_finite()));
    }
}

/// Five clumps in `d` columns, without ties.
fn clumps(n: usize, d: usize, seed: u64) -> Array2<f64> {
    let draw = |i: usize| {
        let x = ((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 11) as f64 / (1u64 << 53) as f64
    };
    Array2::from_shape_fn((n, d), |(i, j)| {
        let at = (i * d + j) * 3;
        draw(at) + draw(at + 1) + draw(at + 2) + ((i % 5) * (j + 2)) as f64
    })
}

#[test]
fn one_two_and_three_points_have_no_clusters() {
    for n in 1..4 {
        let points = clumps(n, 2, 1);
        let found = Hdbscan::new()
            .min_cluster_size(2)
            .fit(points.view())
            .unwrap();
        assert_eq!(
            (found.clusters(), found.labels),
            (0, Array1::from_elem(n, -1))
        );
    }
}

#[test]
fn one_two_and_three_points_and_equal_ones_have_a_place_and_a_mean() {
    let equal = |n: usize| Array2::<f64>::from_elem((n, 3), 2.5);
    for points in [
        clumps(1, 3, 1),
        clumps(2, 3, 1),
        clumps(3, 3, 1),
        equal(2),
        equal(500),
    ] {
        let n = points.nrows();
        let places = points.mapv(|x| x as f32);
        for search in [Search::Auto, Search::Exact, Search::Approximate] {
            let found = Umap::new().search(search).fit(places.view()).unwrap();
            assert_eq!(found.points.dim(), (n, 4));
            assert!(found.points.iter().all(|x| x.is_finite()), "{n} {search:?}");
        }
        let found = Pca::new(1).whiten(true).fit(places.view()).unwrap();
        assert!(
            found
                .scores
                .iter()
                .chain(&[found.variance[0] as f32])
                .all(|x| x.is_finite())
        );
        let found = KMeans::new(1).fit(points.view()).unwrap();
        assert_eq!(found.labels, Array1::<i32>::zeros(n));
    }
}

#[test]
fn a_neighbour_beyond_the_last_point_is_the_last() {
    let points = clumps(40, 2, 1);
    let fit = |samples: usize| {
        let parameters = Hdbscan::new().min_cluster_size(5).min_samples(samples);
        parameters.fit(points.view()).unwrap()
    };
    assert_eq!(fit(39), fit(1_000_000));
    let places = points.mapv(|x| x as f32);
    let found = Umap::new().neighbors(500).fit(places.view()).unwrap();
    assert_eq!(
        found.warnings,
        ["n_neighbors is cut from 500 to 39: there are 40 points"]
    );
    assert!(KMeans::new(41).fit(points.view()).is_err());
}

#[test]
fn a_point_far_away_has_a_place_and_leaves_the_others_theirs() {
    let mut points = clumps(300, 3, 3).mapv(|x| x as f32);
    points.push_row(array![1e18, 0.0, -1e18].view()).unwrap();
    let found = Umap::new().neighbors(10).fit(points.view()).unwrap();
    assert!(found.points.iter().all(|x| x.is_finite()));
    let labels: Array1<i32> = (0..300).map(|i| i % 5).collect();
    let places = found.points.slice(ndarray::s![..300, ..]).mapv(f64::from);
    let apart = scores::silhouette(places.view(), labels.view())
        .unwrap()
        .unwrap();
    assert!(apart > 0.3, "{apart}");
}

#[test]
fn progress_adds_up_to_the_whole() {
    let points = clumps(600, 3, 3);
    let places = points.mapv(|x| x as f32);
    let labels: Array1<i32> = (0..600).map(|i| i % 5).collect();
    type Progress<'a> = &'a (dyn Fn(f64) + Sync);
    type Run<'a> = &'a dyn Fn(Progress);
    let all: [(&str, Run); 6] = [
        ("hdbscan", &|p| {
            drop(Hdbscan::new().fit_with(points.view(), p))
        }),
        ("kmeans", &|p| {
            drop(KMeans::new(5).fit_with(points.view(), p))
        }),
        ("umap", &|p| drop(Umap::new().fit_with(places.view(), p))),
        ("approximate", &|p| {
            drop(
                Umap::new()
                    .neighbors(5)
                    .search(Search::Approximate)
                    .fit_with(places.view(), p),
            );
        }),
        ("one point", &|p| {
            drop(Umap::new().fit_with(places.slice(ndarray::s![..1, ..]), p))
        }),
        ("silhouette", &|p| {
            drop(scores::sampled_silhouette(
                points.view(),
                labels.view(),
                100,
                1,
                p,
            ));
        }),
    ];
    for (name, run) in all {
        let sum = std::sync::Mutex::new(0.0);
        run(&|part| {
            assert!(part >= 0.0);
            *sum.lock().unwrap() += part;
        });
        let sum = sum.into_inner().unwrap();
        assert!((sum - 1.0).abs() < 1e-6, "{name}: {sum}");
    }
}

#[test]
fn duplicates_are_clusters_and_equal_points_are_one_where_that_is_allowed() {
    let points = Array2::from_shape_fn((900, 2), |(i, _)| {
        if i < 400 {
            0.0
        } else if i < 800 {
            5.0
        } else {
            i as f64
        }
    });
    let found = Hdbscan::new().fit(points.view()).unwrap();
    assert_eq!(found.clusters(), 2);
    assert_eq!((found.labels[0], found.labels[799]), (0, 1));
    let membership = found.membership(points.view()).unwrap();
    assert!(membership.iter().all(|x| x.is_finite()));
    assert_eq!(membership[[0, 0]], 1.0);

    let equal = Array2::<f64>::ones((300, 3));
    assert_eq!(Hdbscan::new().fit(equal.view()).unwrap().clusters(), 0);
    let found = Hdbscan::new()
        .allow_single_cluster(true)
        .fit(equal.view())
        .unwrap();
    assert_eq!(found.labels, Array1::<i32>::zeros(300));
}

#[test]
fn a_point_far_away_changes_nothing_for_the_others() {
    let mut points = clumps(500, 2, 3);
    let parameters = Hdbscan::new().min_cluster_size(20);
    let before = parameters.fit(points.view()).unwrap();
    points.push_row(array![1e40, -1e40].view()).unwrap();
    let after = parameters.fit(points.view()).unwrap();
    assert_eq!(before.clusters(), 5);
    assert_eq!(after.labels[500], -1);
    assert_eq!(
        after.labels.iter().take(500).collect::<Vec<_>>(),
        before.labels.iter().collect::<Vec<_>>()
    );
}

#[test]
fn a_torn_graph_is_laid_out_part_by_part() {
    // Groups so far apart that no neighbourhood reaches over: 2, then more than 2 * components.
    for groups in [2, 9] {
        let mut points = clumps(40 * groups, 3, 5).mapv(|x| x as f32);
        for (i, mut row) in points.outer_iter_mut().enumerate() {
            row[0] += 1e4 * (i / 40) as f32;
        }
        let found = Umap::new()
            .neighbors(25)
            .components(2)
            .fit(points.view())
            .unwrap();
        assert_eq!(found.parts, groups);
        let labels: Array1<i32> = (0..40 * groups).map(|i| (i / 40) as i32).collect();
        let apart = scores::silhouette(found.points.mapv(f64::from).view(), labels.view())
            .unwrap()
            .unwrap();
        assert!(apart > 0.2, "{groups}: {apart}");
    }
}

#[test]
fn values_that_are_not_finite_are_refused_by_row() {
    let mut points = clumps(30, 2, 1);
    points[[4, 1]] = f64::NAN;
    let error = Hdbscan::new().fit(points.view()).unwrap_err().to_string();
    assert!(error.contains("row 4 holds NaN"), "{error}");
    assert!(Hdbscan::new().fit(Array2::zeros((0, 2)).view()).is_err());
    assert!(Umap::new().fit(Array2::zeros((3, 0)).view()).is_err());
    for wrong in [
        Hdbscan::new().min_cluster_size(1),
        Hdbscan::new().min_samples(0),
        Hdbscan::new().cluster_selection_epsilon(-1.0),
    ] {
        assert!(wrong.fit(clumps(9, 2, 1).view()).is_err());
    }
}

#[test]
fn results_are_the_same_for_any_number_of_threads() {
    let points: Array2<f32> = load("digits_X");
    let mut first = None;
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let found = pool.install(|| {
            let embedding = Umap::new().fit(points.view()).unwrap();
            let places = embedding.points.mapv(f64::from);
            let clusters = Hdbscan::new().fit(places.view()).unwrap();
            let membership = clusters.membership(places.view()).unwrap();
            let silhouette = scores::silhouettes(places.view(), clusters.labels.view()).unwrap();
            let means = KMeans::new(10).starts(3).fit(places.view()).unwrap();
            let components = Pca::new(5).fit(points.view()).unwrap();
            // So many columns and rows that products and eigenvectors are computed in parts.
            let wide = clumps(700, 300, 2).mapv(|x| x as f32);
            let wide = Pca::new(40).whiten(true).fit(wide.view()).unwrap();
            let approximate = Umap::new()
                .neighbors(10)
                .search(Search::Approximate)
                .fit(points.view())
                .unwrap();
            (
                (embedding, approximate),
                (clusters, membership, silhouette),
                (means, components, wide),
            )
        });
        assert!(
            *first.get_or_insert_with(|| found.clone()) == found,
            "{threads} threads"
        );
    }
}
