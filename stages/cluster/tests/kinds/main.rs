//! The results of the stage kinds.

#![allow(clippy::unwrap_used)]

mod folder;
mod inputs;
mod neighbours;
mod placing;
mod views;

use std::process::Command;

use flow_stage::array::{read, write};
use folder::{Case, Folder, HDBSCAN, ROWS, TRAIN, fine};
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

#[test]
fn select_keeps_the_most_certain_training_rows_of_each_class() {
    let folder = Folder::new();
    let mut uncertainty: Array1<f32> = (0..ROWS).map(|row| row as f32).collect();
    uncertainty[6] = f32::NAN;
    write(&folder.path("u.npy"), &uncertainty).unwrap();
    let inputs = [("data", "data"), ("uncertainty", "u.npy")];
    folder
        .run("select", json!({"keep": 0.1}), &inputs, &["mask"])
        .unwrap();
    let mask: Array1<bool> = read(&folder.path("mask.out")).unwrap();
    let kept: Vec<usize> = (0..ROWS).filter(|&row| mask[row]).collect();
    // 119 rows of `round` (even ones) without row 6: floor(11.9); 120 of `flat` (odd ones): 12.
    let mut wanted: Vec<usize> = (0..12).map(|i| 2 * i).filter(|&row| row != 6).collect();
    wanted.extend((0..12).map(|i| 2 * i + 1));
    wanted.sort();
    assert_eq!(kept, wanted);

    let error = folder
        .run("select", json!({"keep": 0.001}), &inputs, &["mask"])
        .unwrap_err();
    assert!(
        error.contains("class round: keep = 0.001 of 119 row(s) keeps none"),
        "{error}"
    );
    let error = folder
        .run("select", json!({"keep": 0.0}), &inputs, &["mask"])
        .unwrap_err();
    assert!(
        error.contains("keep is 0.0; it has to be above 0"),
        "{error}"
    );
}

#[test]
fn hdbscan_numbers_fine_labels_on_through_the_classes() {
    let folder = Folder::new();
    let inputs = [("embedding", "embedding.npy"), ("data", "data")];
    folder
        .run(
            "hdbscan",
            json!({"min_cluster_size": 25}),
            &inputs,
            &HDBSCAN,
        )
        .unwrap();
    let labels = folder.labels("labels.out");
    let membership: Array2<f64> = read(&folder.path("membership.out")).unwrap();
    let probabilities: Array1<f64> = read(&folder.path("probabilities.out")).unwrap();
    assert_eq!(membership.dim(), (ROWS, 5));
    for row in 0..ROWS {
        if row >= TRAIN {
            assert_eq!(labels[row], -1);
            assert!(membership.row(row).iter().all(|x| x.is_nan()) && probabilities[row].is_nan());
            continue;
        }
        // First members are rows 0, 2 (round) and 1, 3, 5 (flat), of fine classes 0, 1 and 2, 3, 4.
        assert_eq!(labels[row], fine(row), "row {row}");
        let others = if fine(row) < 2 { 2..5 } else { 0..2 };
        assert!(
            others
                .into_iter()
                .all(|column| membership[[row, column]] == 0.0)
        );
        assert!((0.0..=1.0).contains(&probabilities[row]));
        assert!(
            membership
                .row(row)
                .iter()
                .all(|x| *x <= membership[[row, labels[row] as usize]])
        );
    }
    let metrics = folder.metrics();
    assert_eq!(metrics["clusters"], 5);
    assert_eq!(metrics["groups"]["flat"]["clusters"], 3);
    assert!(metrics["silhouette"].as_f64().unwrap() > 0.7);
    assert!(metrics.get("silhouette_error").is_none());
    let outlier_scores: Array1<f64> = read(&folder.path("outlier_scores.out")).unwrap();
    for row in 0..ROWS {
        let score = outlier_scores[row];
        assert!(if row < TRAIN {
            (0.0..=1.0).contains(&score)
        } else {
            score.is_nan()
        });
    }
    let table = folder.text("clusters.out");
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(
        lines[0],
        ["label", "class", "rows", "hard_rows", "persistence"]
    );
    assert_eq!(lines[1][..3], ["0", "round", "80"]);
    assert_eq!(lines[5][..3], ["4", "flat", "40"]);
    let persistence = |line: &[&str]| line[4].parse::<f64>().unwrap();
    assert!(
        lines[1..]
            .iter()
            .all(|line| (0.0..=1.0).contains(&persistence(line)))
    );
    let mean = lines[3..].iter().map(|line| persistence(line)).sum::<f64>() / 3.0;
    let shown = metrics["groups"]["flat"]["persistence"].as_f64().unwrap();
    assert!((shown - mean).abs() < 1e-12);

    // The mask leaves one class out; a class without clusters is one fine label.
    let mask: Array1<bool> = (0..ROWS).map(|row| row % 2 == 0).collect();
    write(&folder.path("mask.npy"), &mask).unwrap();
    let inputs = [
        ("embedding", "embedding.npy"),
        ("data", "data"),
        ("mask", "mask.npy"),
    ];
    let warnings = folder.run("hdbscan", json!({}), &inputs, &HDBSCAN).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[1].contains("class round: no cluster among 120 rows"),
        "{warnings:?}"
    );
    let (labels, hard) = (
        folder.labels("labels.out"),
        folder.labels("hard_labels.out"),
    );
    let membership: Array2<f64> = read(&folder.path("membership.out")).unwrap();
    for row in 0..ROWS {
        let kept = row < TRAIN && row % 2 == 0;
        assert_eq!((labels[row], hard[row]), (if kept { 0 } else { -1 }, -1));
        assert!(if kept {
            membership[[row, 0]] == 1.0
        } else {
            membership[[row, 0]].is_nan()
        });
    }
    assert_eq!(folder.metrics()["clusters"], 1);
    assert_eq!(folder.metrics()["noise"], 1);
    let table = "label,class,rows,hard_rows,persistence\n0,round,120,0,\n";
    assert_eq!(folder.text("clusters.out"), table);
}

#[test]
fn a_large_class_has_its_silhouette_estimated() {
    let folder = Folder::new();
    let inputs = [("embedding", "embedding.npy"), ("data", "data")];
    let both = ["labels", "metrics"];
    let exact = json!({"k": 2});
    folder.run("kmeans", exact, &inputs, &both).unwrap();
    let exact = folder.metrics()["silhouette"].as_f64().unwrap();
    std::fs::copy(folder.path("labels.out"), folder.path("labels.npy")).unwrap();
    let scored = [("labels", "labels.npy"), inputs[0], inputs[1]];
    let cases: [Case; 3] = [
        (
            "kmeans",
            json!({"k": 2, "silhouette_rows": 60}),
            &inputs,
            &both,
        ),
        (
            "score",
            json!({"silhouette_rows": 60}),
            &scored,
            &["metrics"],
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 25, "silhouette_rows": 60}),
            &inputs,
            &HDBSCAN,
        ),
    ];
    for (kind, parameters, inputs, outputs) in cases {
        folder.run(kind, parameters, inputs, outputs).unwrap();
        let metrics = folder.metrics();
        let number = |name: &str| metrics[name].as_f64().unwrap();
        let error = number("silhouette_error");
        assert!(error > 0.0 && error < 0.1, "{kind}: {error}");
        assert!(metrics["groups"]["flat"]["silhouette_error"].is_f64());
        if kind != "hdbscan" {
            assert!((number("silhouette") - exact).abs() < 4.0 * error, "{kind}");
        }
    }
}

#[test]
fn every_stage_gives_the_same_bytes_for_any_number_of_threads() {
    let folder = Folder::new();
    // Rows enough that each algorithm works on them in several parts.
    let draw = |i: usize| {
        ((i as f64 * 12.9898 + 78.233).sin() * 43758.547)
            .fract()
            .abs()
    };
    let features = Array2::from_shape_fn((3000, 40), |(row, axis)| {
        let at = (row * 40 + axis) * 3;
        let clump = ((row % 7) * (axis % 5 + 1)) as f64;
        (draw(at) + draw(at + 1) + draw(at + 2) + clump) as f32
    });
    write(&folder.path("features.npy"), &features).unwrap();
    let cases: [Case; 11] = [
        (
            "umap",
            json!({}),
            &[("features", "features.npy")],
            &["embedding", "metrics"],
        ),
        (
            "umap",
            json!({"knn": "approximate", "metric": "cosine", "n_neighbors": 15}),
            &[("features", "features.npy")],
            &["embedding", "metrics"],
        ),
        (
            "pca",
            json!({"n_components": 30, "whiten": true, "normalize": true}),
            &[("features", "features.npy")],
            &["embedding", "metrics"],
        ),
        (
            "hdbscan",
            json!({"silhouette_rows": 1000}),
            &[("embedding", "reduced.npy")],
            &HDBSCAN,
        ),
        (
            "hdbscan",
            json!({"min_cluster_size": 20}),
            &[("embedding", "features.npy")],
            &HDBSCAN,
        ),
        (
            "kmeans",
            json!({"k": 7, "silhouette_rows": 1000}),
            &[("embedding", "reduced.npy")],
            &["labels", "metrics"],
        ),
        (
            "gmm",
            json!({"k": 7, "covariance": "diag", "silhouette_rows": 1000}),
            &[("embedding", "reduced.npy")],
            &["labels", "membership", "metrics"],
        ),
        (
            "gmm",
            json!({"k": 5, "n_init": 2}),
            &[("embedding", "features.npy")],
            &["labels", "membership", "metrics"],
        ),
        (
            "george",
            json!({"max_k": 4, "silhouette_rows": 500}),
            &[("embedding", "features.npy")],
            &["labels", "search", "metrics"],
        ),
        (
            "shuffle-labels",
            json!({}),
            &[("labels", "labels.npy")],
            &["labels", "metrics"],
        ),
        (
            "score",
            json!({"silhouette_rows": 1000}),
            &[("embedding", "reduced.npy"), ("labels", "labels.npy")],
            &["metrics"],
        ),
    ];
    for (kind, parameters, inputs, outputs) in cases {
        let mut first = None;
        for threads in [1, 2, 5] {
            folder
                .run_on(threads, kind, parameters.clone(), inputs, outputs)
                .unwrap();
            let mut bytes: Vec<Vec<u8>> = outputs
                .iter()
                .map(|name| folder.bytes(&format!("{name}.out")))
                .collect();
            if kind != "score" {
                bytes.push(folder.bytes("view.out/view.json"));
                if kind != "shuffle-labels" {
                    bytes.push(folder.bytes("view.out/points-0.json"));
                }
            }
            assert!(
                *first.get_or_insert_with(|| bytes.clone()) == bytes,
                "{kind} {parameters}: {threads} threads"
            );
        }
        for (name, kept) in [("embedding", "reduced.npy"), ("labels", "labels.npy")] {
            if outputs.contains(&name) {
                std::fs::copy(folder.path(&format!("{name}.out")), folder.path(kept)).unwrap();
            }
        }
    }
}

#[test]
fn reductions_fill_the_training_rows_and_the_seed_alone_decides() {
    let folder = Folder::new();
    let inputs = [("features", "embedding.npy"), ("data", "data")];
    for (kind, parameters) in [
        ("umap", json!({"n_neighbors": 10, "n_components": 3})),
        (
            "umap",
            json!({"n_neighbors": 10, "n_components": 3, "metric": "cosine"}),
        ),
        (
            "pca",
            json!({"n_components": 3, "whiten": true, "normalize": true}),
        ),
    ] {
        let mut first = None;
        for threads in [1, 2, 5] {
            folder
                .run_on(threads, kind, parameters.clone(), &inputs, &["embedding"])
                .unwrap();
            let bytes = folder.bytes("embedding.out");
            assert!(
                *first.get_or_insert_with(|| bytes.clone()) == bytes,
                "{kind}: {threads} threads"
            );
        }
        let embedding: Array2<f32> = read(&folder.path("embedding.out")).unwrap();
        assert_eq!(embedding.dim(), (ROWS, 3));
        for (row, values) in embedding.outer_iter().enumerate() {
            assert!(
                values.iter().all(|x| x.is_finite() == (row < TRAIN)),
                "{kind} row {row}: {values}"
            );
        }
    }
}

#[test]
fn kmeans_takes_one_number_or_one_for_each_class() {
    let folder = Folder::new();
    let inputs = [("embedding", "embedding.npy"), ("data", "data")];
    let outputs = ["labels", "metrics"];
    folder
        .run(
            "kmeans",
            json!({"k": {"round": 2, "flat": 3}}),
            &inputs,
            &outputs,
        )
        .unwrap();
    let labels = folder.labels("labels.out");
    assert!((0..ROWS).all(|row| labels[row] == if row < TRAIN { fine(row) } else { -1 }));
    assert_eq!(folder.metrics()["clusters"], 5);
    folder
        .run("kmeans", json!({"k": 2}), &inputs, &outputs)
        .unwrap();
    assert_eq!(folder.metrics()["groups"]["flat"]["clusters"], 2);
    let error = folder
        .run("kmeans", json!({"k": {"round": 2}}), &inputs, &outputs)
        .unwrap_err();
    assert!(
        error.contains("class flat: k names no number for this class; it names round"),
        "{error}"
    );
    let error = folder
        .run("kmeans", json!({"k": {"oval": 2}}), &inputs, &outputs)
        .unwrap_err();
    assert!(
        error.contains("k names the class oval, which has no rows; there are round, flat"),
        "{error}"
    );
}

#[test]
fn score_compares_with_the_truth_inside_classes() {
    let folder = Folder::new();
    // Right in `round`; in `flat` two of three fine classes are one.
    let labels: Array1<i32> = (0..ROWS)
        .map(|row| if row < TRAIN { fine(row).min(3) } else { -1 })
        .collect();
    write(&folder.path("labels.npy"), &labels).unwrap();
    let inputs = [
        ("labels", "labels.npy"),
        ("embedding", "embedding.npy"),
        ("data", "data"),
    ];
    folder
        .run("score", json!({}), &inputs, &["metrics"])
        .unwrap();
    let metrics = folder.metrics();
    assert_eq!(
        (&metrics["clusters"], &metrics["true_classes"]),
        (&json!(4), &json!(5))
    );
    assert_eq!(metrics["groups"]["round"]["ari"], 1);
    let accuracy = metrics["groups"]["flat"]["accuracy"].as_f64().unwrap();
    assert!((accuracy - 2.0 / 3.0).abs() < 1e-12);
    assert!((metrics["accuracy"].as_f64().unwrap() - (1.0 + accuracy) / 2.0).abs() < 1e-12);
    assert!(metrics["silhouette"].as_f64().unwrap() > 0.5);

    folder
        .run("score", json!({}), &inputs[..1], &["metrics"])
        .unwrap();
    assert_eq!(folder.metrics()["clusters"], 4);
    assert!(folder.metrics().get("accuracy").is_none());
}

#[test]
fn reductions_tell_how_far_they_can_be_trusted() {
    let folder = Folder::new();
    let inputs = [("features", "embedding.npy"), ("data", "data")];
    let outputs = ["embedding", "metrics"];
    // Two components of two features are the features, turned.
    folder
        .run("pca", json!({"n_components": 2}), &inputs, &outputs)
        .unwrap();
    let metrics = folder.metrics();
    for of in [&metrics, &metrics["groups"]["flat"]] {
        assert_eq!(of["trustworthiness"], 1);
        let explained = of["explained_variance_ratio"].as_f64().unwrap();
        assert!((explained - 1.0).abs() < 1e-12);
        assert!(of.get("trustworthiness_error").is_none());
    }
    folder
        .run("pca", json!({"n_components": 1}), &inputs, &outputs)
        .unwrap();
    let line = folder.metrics();
    assert!(line["trustworthiness"].as_f64().unwrap() < 1.0);
    assert!(line["explained_variance_ratio"].as_f64().unwrap() < 1.0);
    folder
        .run(
            "umap",
            json!({"n_neighbors": 10, "n_components": 2}),
            &inputs,
            &outputs,
        )
        .unwrap();
    let metrics = folder.metrics();
    assert!((0.9..1.0).contains(&metrics["trustworthiness"].as_f64().unwrap()));
    assert_eq!(
        metrics["parts"].as_i64().unwrap(),
        ["round", "flat"]
            .map(|class| metrics["groups"][class]["parts"].as_i64().unwrap())
            .iter()
            .sum::<i64>()
    );

    // Of many rows a sample is looked at; of very few none.
    let draw = |i: usize| ((i as f32 * 12.9898 + 78.233).sin() * 43758.547).fract();
    let features = Array2::from_shape_fn((600, 3), |(row, axis)| draw(row * 3 + axis));
    write(&folder.path("many.npy"), &features).unwrap();
    let few = features.slice(ndarray::s![..30, ..]).to_owned();
    write(&folder.path("few.npy"), &few).unwrap();
    folder
        .run(
            "pca",
            json!({"n_components": 2}),
            &[("features", "many.npy")],
            &outputs,
        )
        .unwrap();
    let error = folder.metrics()["trustworthiness_error"].as_f64().unwrap();
    assert!(error > 0.0 && error < 0.05, "{error}");
    folder
        .run(
            "pca",
            json!({"n_components": 2}),
            &[("features", "few.npy")],
            &outputs,
        )
        .unwrap();
    assert!(folder.metrics().get("trustworthiness").is_none());
}

#[test]
fn every_headline_is_among_the_metrics() {
    let folder = Folder::new();
    let labels: Array1<i32> = (0..ROWS).map(fine).collect();
    write(&folder.path("labels.npy"), &labels).unwrap();
    // Half of the rows make models, the others are new to them.
    let half: Array1<bool> = (0..ROWS).map(|row| row % 4 < 2).collect();
    write(&folder.path("half.npy"), &half).unwrap();
    let description = describe();
    for kind in description["kinds"].as_array().unwrap() {
        let name = kind["name"].as_str().unwrap();
        let headline = kind["headline"].as_array().cloned().unwrap_or_default();
        let parameters = match name {
            "kmeans" | "gmm" => json!({"k": 2}),
            "hdbscan" => json!({"min_cluster_size": 25}),
            "hdbscan-model" => json!({"min_cluster_size": 10}),
            "umap" | "pca" | "umap-model" => json!({"n_components": 2}),
            _ => json!({}),
        };
        assert_eq!(headline.is_empty(), name == "select");
        if name == "select" {
            continue;
        }
        let has = |role: &str| {
            let ports = kind["inputs"].as_array().unwrap();
            ports.iter().any(|port| port["name"] == role)
        };
        let inputs = [
            ("features", "embedding.npy"),
            ("embedding", "embedding.npy"),
            ("labels", "labels.npy"),
            ("data", "data"),
        ];
        let mut inputs: Vec<_> = inputs.into_iter().filter(|input| has(input.0)).collect();
        match name {
            "umap-model" | "hdbscan-model" => inputs.push(("mask", "half.npy")),
            "umap-transform" => inputs.push(("model", "umap-model")),
            "hdbscan-predict" => inputs.push(("model", "hdbscan-model")),
            _ => {}
        }
        let outputs: Vec<&str> = (kind["outputs"].as_array().unwrap().iter())
            .map(|port| port["name"].as_str().unwrap())
            .collect();
        folder.run(name, parameters, &inputs, &outputs).unwrap();
        if outputs.contains(&"model") {
            std::fs::rename(folder.path("model.out"), folder.path(name)).unwrap();
        }
        let metrics = folder.metrics();
        for figure in headline {
            let figure = figure.as_str().unwrap();
            assert!(metrics[figure].is_number(), "{name}: {figure}");
            let flat = &metrics["groups"]["flat"][figure];
            assert!(flat.is_number(), "{name}: {figure} of a class");
        }
    }
}

fn describe() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_flow-stages-cluster"))
        .arg("describe")
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_page_describes_its_parameters() {
    let description = describe();
    let kinds = description["kinds"].as_array().unwrap();
    assert_eq!(
        kinds
            .iter()
            .map(|kind| kind["name"].as_str().unwrap())
            .collect::<Vec<_>>(),
        [
            "select",
            "umap",
            "pca",
            "hdbscan",
            "kmeans",
            "gmm",
            "george",
            "shuffle-labels",
            "umap-model",
            "umap-transform",
            "hdbscan-model",
            "hdbscan-predict",
            "score"
        ]
    );
    for kind in kinds {
        let Some(properties) = kind["parameters"]["properties"].as_object() else {
            continue;
        };
        for (name, property) in properties {
            assert!(
                property["description"].is_string(),
                "{}.{name}",
                kind["name"]
            );
        }
    }
}
