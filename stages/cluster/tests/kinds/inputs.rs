//! What kinds take: numbers of any type, and what they say of arrays and parameters that don't fit.

use flow_stage::array::{read, write};
use ndarray::{Array1, Array2, Axis, array};
use ndarray_npy::WritableElement;
use serde_json::{Value, json};

use super::folder::{Case, Folder, HDBSCAN, ROWS, TRAIN};

/// Whole numbers below `most`, in three clumps.
fn whole(rows: usize, most: usize) -> Array2<u8> {
    Array2::from_shape_fn((rows, 3), |(row, axis)| {
        ((row % 3 * 40 + (row * 7 + axis * 5) % 11) % most) as u8
    })
}

#[test]
fn every_kind_takes_every_type_of_number() {
    let folder = Folder::new();
    let labels: Array1<u8> = (0..90).map(|row| row % 3).collect();
    write(&folder.path("labels.npy"), &labels).unwrap();
    let cases: [Case; 8] = [
        (
            "umap",
            json!({"n_neighbors": 10, "n_components": 2}),
            &[("features", "x.npy")],
            &["embedding"],
        ),
        (
            "pca",
            json!({"n_components": 2}),
            &[("features", "x.npy")],
            &["embedding"],
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 5}),
            &[("embedding", "x.npy")],
            &HDBSCAN,
        ),
        (
            "kmeans",
            json!({"k": 2}),
            &[("embedding", "x.npy")],
            &["labels", "metrics"],
        ),
        (
            "gmm",
            json!({"k": 2}),
            &[("embedding", "x.npy")],
            &["labels", "membership", "metrics"],
        ),
        (
            "george",
            json!({"max_k": 4}),
            &[("embedding", "x.npy")],
            &["labels", "search", "metrics"],
        ),
        (
            "shuffle-labels",
            json!({"how": "even"}),
            &[("labels", "labels.npy")],
            &["labels", "metrics"],
        ),
        (
            "score",
            json!({}),
            &[("labels", "labels.npy"), ("embedding", "x.npy")],
            &["metrics"],
        ),
    ];
    for (kind, parameters, inputs, outputs) in &cases {
        let run = || {
            let ran = folder.run(kind, parameters.clone(), inputs, outputs);
            ran.unwrap_or_else(|error| panic!("{kind}: {error}"));
            let bytes = outputs
                .iter()
                .map(|name| folder.bytes(&format!("{name}.out")));
            bytes.collect::<Vec<_>>()
        };
        for most in [2, 120] {
            let numbers = whole(90, most);
            let put = |name: &str| put(&folder, &numbers, name);
            put("f32");
            let wanted = run();
            let all = [
                "f16", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64",
            ];
            let boolean: &[&str] = if most == 2 { &["bool"] } else { &[] };
            for name in all.iter().chain(boolean) {
                put(name);
                assert!(run() == wanted, "{kind}: {name}");
            }
        }
    }
}

/// Writes `x.npy` with these numbers as a type.
fn put(folder: &Folder, numbers: &Array2<u8>, name: &str) {
    fn save<A: WritableElement>(folder: &Folder, numbers: &Array2<u8>, of: impl Fn(u8) -> A) {
        write(&folder.path("x.npy"), &numbers.mapv(of)).unwrap();
    }
    match name {
        "f16" => {
            // Whole numbers from 0 to 2,047 in half precision.
            let half = |x: u8| match x {
                0 => 0u16,
                _ => {
                    let exponent = x.ilog2();
                    let fraction = (u16::from(x) << (10 - exponent)) & 0x3ff;
                    ((exponent as u16 + 15) << 10) | fraction
                }
            };
            save(folder, numbers, half);
            let bytes = folder.bytes("x.npy");
            let at = bytes.windows(3).position(|part| part == b"<u2").unwrap();
            let typed = [&bytes[..at], b"<f2", &bytes[at + 3..]].concat();
            std::fs::write(folder.path("x.npy"), typed).unwrap();
        }
        "f32" => save(folder, numbers, f32::from),
        "f64" => save(folder, numbers, f64::from),
        "i8" => save(folder, numbers, |x| x as i8),
        "i16" => save(folder, numbers, i16::from),
        "i32" => save(folder, numbers, i32::from),
        "i64" => save(folder, numbers, i64::from),
        "u8" => save(folder, numbers, |x| x),
        "u16" => save(folder, numbers, u16::from),
        "u32" => save(folder, numbers, u32::from),
        "u64" => save(folder, numbers, u64::from),
        _ => save(folder, numbers, |x| x == 1),
    }
}

/// The error of a kind that reads `x.npy`.
fn refusal(folder: &Folder, kind: &str, more: &[(&str, &str)]) -> String {
    let (role, parameters) = match kind {
        "umap" | "pca" => ("features", json!({})),
        "kmeans" | "gmm" => ("embedding", json!({"k": 2})),
        _ => ("embedding", json!({})),
    };
    let inputs = [&[(role, "x.npy")], more].concat();
    let outputs = ["embedding", "labels", "metrics"];
    folder.run(kind, parameters, &inputs, &outputs).unwrap_err()
}

#[test]
fn numbers_that_do_not_fit_are_shown_short_and_with_their_row() {
    let folder = Folder::new();
    let mut large: Array2<f64> = Array2::ones((ROWS, 2));
    large[[7, 1]] = 1e300;
    write(&folder.path("x.npy"), &large).unwrap();
    for kind in ["umap", "pca"] {
        let error = refusal(&folder, kind, &[]);
        assert!(
            error.contains(
                "x.npy: row 7, column 1 holds 1e300, which f32 can't hold: it ends at 3.4e38. Scale"
            ),
            "{error}"
        );
    }
    // The row is that of the array, not of its class.
    for kind in ["hdbscan", "kmeans", "gmm", "george"] {
        let error = refusal(&folder, kind, &[("data", "data")]);
        assert!(
            error.contains(
                "class flat: row 7 holds 1e300; values have to be finite and within ±1e150"
            ),
            "{error}"
        );
    }
    let labels: Array1<u16> = (0..ROWS).map(|row| row as u16 % 2).collect();
    write(&folder.path("labels.npy"), &labels).unwrap();
    let error = refusal(
        &folder,
        "score",
        &[("labels", "labels.npy"), ("data", "data")],
    );
    assert!(error.contains("class flat: row 7 holds 1e300"), "{error}");
    // What is left out anyway does no harm.
    large[[7, 1]] = 1.0;
    large[[TRAIN, 0]] = 1e300;
    write(&folder.path("x.npy"), &large).unwrap();
    let inputs = [("embedding", "x.npy"), ("data", "data")];
    let outputs = ["labels", "metrics"];
    folder
        .run("kmeans", json!({"k": 1}), &inputs, &outputs)
        .unwrap();

    let mut whole = Array2::<i64>::zeros((5, 2));
    whole[[3, 0]] = (1 << 24) + 1;
    write(&folder.path("x.npy"), &whole).unwrap();
    let error = refusal(&folder, "pca", &[]);
    assert!(
        error.contains("row 3, column 0 holds 16777217, which f32 can't hold exactly"),
        "{error}"
    );
    // Each value fits, their sum along a component does not.
    write(
        &folder.path("x.npy"),
        &array![[3e38f32, 3e38], [-3e38, -3e38]],
    )
    .unwrap();
    let error = refusal(&folder, "pca", &[]);
    assert!(error.contains("a component goes beyond 3.4e38"), "{error}");
}

#[test]
fn an_array_of_other_dimensions_is_told_how_to_mend() {
    let folder = Folder::new();
    write(&folder.path("x.npy"), &Array1::<f64>::zeros(12)).unwrap();
    for kind in ["umap", "pca", "hdbscan", "kmeans", "gmm", "george"] {
        let error = refusal(&folder, kind, &[]);
        assert!(
            error.contains("x.npy has the shape (12,): that is 1 dimension, and 2 are wanted: [n, d], a row for each sample. In NumPy: x.reshape(len(x), -1)"),
            "{error}"
        );
        assert!(!error.contains("f8"), "{error}");
    }
}

/// The warnings of a kind on 10 rows of 3 features.
fn warnings(folder: &Folder, kind: &str, parameters: Value) -> Vec<String> {
    let role = if matches!(kind, "umap" | "pca") {
        "features"
    } else {
        "embedding"
    };
    let outputs: &[&str] = match kind {
        "umap" | "pca" => &["embedding"],
        "kmeans" => &["labels", "metrics"],
        "gmm" => &["labels", "membership"],
        "george" => &["labels", "search"],
        _ => &HDBSCAN,
    };
    folder
        .run(kind, parameters, &[(role, "x.npy")], outputs)
        .unwrap()
}

#[test]
fn a_parameter_that_makes_no_sense_beside_the_data_is_named_with_it() {
    let folder = Folder::new();
    write(&folder.path("x.npy"), &whole(10, 120)).unwrap();
    let cases = [
        (
            "hdbscan",
            json!({"min_cluster_size": 11}),
            "class all: no cluster among 10 rows: min_cluster_size is 11; the class is one fine label",
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 6}),
            "class all: no cluster among 10 rows: two clusters of min_cluster_size 6 take 12; the class is one fine label",
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 3, "min_samples": 10}),
            "class all: min_samples is cut from 10 to 9, the other rows of its 10",
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 3, "min_samples": 1, "max_cluster_size": 2}),
            "max_cluster_size is 2 and min_cluster_size 3: no cluster is small enough to be chosen",
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 2, "max_cluster_size": 5, "cluster_selection_method": "leaf"}),
            "max_cluster_size is 5, and cluster_selection_method = \"leaf\" takes no notice of it",
        ),
        (
            "kmeans",
            json!({"k": 11}),
            "class all: k is 11, and each of its 10 row(s) is a cluster of its own",
        ),
        (
            "kmeans",
            json!({"k": 10}),
            "class all: k is 10, and each of its 10 row(s) is a cluster of its own",
        ),
        (
            "gmm",
            json!({"k": 10}),
            "class all: k is 10, and it has 10 row(s): no more than one for each component",
        ),
        (
            "gmm",
            json!({"k": 4}),
            "class all: the mixture has 39 free numbers, and its 10 row(s) have 30: reduce the columns first, or choose covariance = \"diag\"",
        ),
        (
            "gmm",
            json!({"k": 3, "max_iter": 1}),
            "class all: the best start had not settled after max_iter = 1 step(s)",
        ),
        (
            "george",
            json!({"model": "kmeans", "max_k": 10}),
            "class all: max_k is 10, and it has 10 row(s): fewer clusters than rows are tried",
        ),
        (
            "george",
            json!({"model": "kmeans", "max_k": 3}),
            "class all: the best silhouette is that of max_k = 3: a greater max_k may find a better one",
        ),
        (
            "umap",
            json!({"n_neighbors": 10, "n_components": 2}),
            "class all: n_neighbors is cut from 10 to 9: there are 10 points",
        ),
        (
            "umap",
            json!({"n_neighbors": 5, "n_components": 4}),
            "n_components is 4, and the features have 3 column(s): more of them tell no more",
        ),
        (
            "umap",
            json!({"n_neighbors": 5, "n_components": 9}),
            "class all: n_components is 9, and there are 10 points: too few for a spectral start, they start at random places",
        ),
        (
            "pca",
            json!({"n_components": 4}),
            "n_components is 4, and the features have 3 column(s): the columns beyond are 0",
        ),
    ];
    for (kind, parameters, wanted) in cases {
        let found = warnings(&folder, kind, parameters.clone());
        assert!(
            found.iter().any(|w| w == wanted),
            "{kind} {parameters}: {found:?}"
        );
    }
    // What makes sense is not remarked on.
    for (kind, parameters) in [
        ("hdbscan", json!({"min_cluster_size": 3, "min_samples": 1})),
        ("kmeans", json!({"k": 3})),
        ("gmm", json!({"k": 3, "covariance": "diag"})),
        ("george", json!({"model": "kmeans", "max_k": 4})),
        ("umap", json!({"n_neighbors": 5, "n_components": 2})),
        ("pca", json!({"n_components": 3})),
    ] {
        let found = warnings(&folder, kind, parameters.clone());
        assert!(found.is_empty(), "{kind} {parameters}: {found:?}");
    }
    let one = whole(10, 120).select(Axis(1), &[0]);
    write(&folder.path("x.npy"), &one).unwrap();
    let found = warnings(
        &folder,
        "umap",
        json!({"n_neighbors": 5, "n_components": 1, "metric": "cosine"}),
    );
    assert_eq!(
        found,
        ["metric is \"cosine\", and the features have 1 column: only their signs differ"]
    );
    write(&folder.path("x.npy"), &Array2::<f32>::ones((10, 2))).unwrap();
    let found = warnings(&folder, "hdbscan", json!({"min_cluster_size": 3}));
    assert_eq!(
        found,
        [
            "class all: no cluster among 10 rows (a min_cluster_size below 3, or allow_single_cluster, may find some); the class is one fine label"
        ]
    );
    let found = warnings(&folder, "kmeans", json!({"k": 3}));
    assert_eq!(
        found,
        ["class all: k is 3, and its 10 row(s) make 1 cluster(s): too few of them differ"]
    );
    let found = warnings(&folder, "gmm", json!({"k": 3}));
    assert_eq!(
        found,
        [
            "class all: k is 3, and 1 component(s) are the most probable one of any row: the others are no fine labels"
        ]
    );
    let found = warnings(&folder, "george", json!({}));
    assert_eq!(
        found[0],
        "class all: its 10 row(s) make no two clusters that a silhouette can judge; the class is one fine label"
    );
    write(
        &folder.path("x.npy"),
        &array![[1f32, 2.0, 3.0], [0.0, 1.0, 5.0]],
    )
    .unwrap();
    let found = warnings(&folder, "pca", json!({"n_components": 3}));
    assert_eq!(
        found,
        ["class all: n_components is 3, and it has 2 row(s): the columns beyond are 0"]
    );
}

#[test]
fn a_bare_array_is_one_class_and_what_does_not_fit_is_refused() {
    let folder = Folder::new();
    let mut embedding: Array2<f32> = read(&folder.path("embedding.npy")).unwrap();
    embedding[[3, 1]] = f32::INFINITY;
    write(&folder.path("bare.npy"), &embedding).unwrap();
    let parameters = json!({"min_cluster_size": 25});
    folder
        .run(
            "hdbscan",
            parameters.clone(),
            &[("embedding", "bare.npy")],
            &HDBSCAN,
        )
        .unwrap();
    let labels = folder.labels("labels.out");
    assert_eq!(labels[3], -1);
    assert!(
        (0..ROWS)
            .filter(|&row| row != 3)
            .all(|row| labels[row] >= 0)
    );

    write(&folder.path("short.npy"), &array![true, false]).unwrap();
    let inputs = [("embedding", "bare.npy"), ("mask", "short.npy")];
    let error = folder
        .run("hdbscan", parameters.clone(), &inputs, &HDBSCAN)
        .unwrap_err();
    assert!(
        error.contains("the embedding has 250 rows and the mask has 2"),
        "{error}"
    );

    write(&folder.path("few.npy"), &Array2::<f32>::zeros((4, 2))).unwrap();
    let inputs = [("embedding", "few.npy"), ("data", "data")];
    let error = folder
        .run("hdbscan", parameters.clone(), &inputs, &HDBSCAN)
        .unwrap_err();
    assert!(
        error.contains("the embedding has 4 rows and the data has 250"),
        "{error}"
    );

    write(
        &folder.path("nan.npy"),
        &Array2::from_elem((4, 2), f32::NAN),
    )
    .unwrap();
    let error = folder
        .run("hdbscan", parameters, &[("embedding", "nan.npy")], &HDBSCAN)
        .unwrap_err();
    assert!(
        error.contains("no row of the embedding is left to work on"),
        "{error}"
    );

    let error = folder
        .run(
            "umap",
            json!({"n_neighbors": 1}),
            &[("features", "few.npy")],
            &["embedding"],
        )
        .unwrap_err();
    assert!(
        error.contains("n_neighbors is 1; a neighbourhood has at least 2 points"),
        "{error}"
    );
}

#[test]
fn a_small_class_has_its_neighbourhood_cut() {
    let folder = Folder::new();
    write(
        &folder.path("few.npy"),
        &array![[1f32, 2.0], [3.0, 1.0], [0.0, 0.0], [9.0, 9.0]],
    )
    .unwrap();
    let warnings = folder
        .run(
            "umap",
            json!({}),
            &[("features", "few.npy")],
            &["embedding"],
        )
        .unwrap();
    assert_eq!(
        warnings,
        [
            "n_components is 4, and the features have 2 column(s): more of them tell no more",
            "class all: n_neighbors is cut from 30 to 3: there are 4 points",
            "class all: n_components is 4, and there are 4 points: too few for a spectral start, they start at random places",
        ]
    );
    let embedding: Array2<f32> = read(&folder.path("embedding.out")).unwrap();
    assert!(embedding.iter().all(|x| x.is_finite()));
}
