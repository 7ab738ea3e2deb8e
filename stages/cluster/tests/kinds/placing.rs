//! The kinds that keep models, and those that place new rows by them.

use flow_stage::array::{read, write};
use flow_stage::dataset::Dataset;
use flow_stage::view::{Colour, Item};
use ndarray::{Array1, Array2, Axis, concatenate, s};
use serde_json::{Value, json};

use super::folder::{Folder, HDBSCAN, ROWS, TRAIN, fine};

const DATA: (&str, &str) = ("data", "data");
const PLACED: [&str; 2] = ["embedding", "metrics"];
const PREDICTED: [&str; 5] = [
    "labels",
    "hard_labels",
    "probabilities",
    "membership",
    "metrics",
];

/// Runs a kind that keeps a model, and moves what it wrote.
fn model(folder: &Folder, kind: &str, parameters: Value, inputs: &[(&str, &str)], into: &str) {
    let outputs = [&HDBSCAN[..], &["embedding", "model"]].concat();
    folder.run(kind, parameters, inputs, &outputs).unwrap();
    std::fs::rename(folder.path("model.out"), folder.path(into)).unwrap();
}

fn umap_model(folder: &Folder, more: &[(&str, &str)], into: &str) {
    let inputs = [&[("features", "embedding.npy")], more].concat();
    let parameters = json!({"n_neighbors": 10, "n_components": 2});
    model(folder, "umap-model", parameters, &inputs, into);
}

fn hdbscan_model(folder: &Folder, parameters: Value, more: &[(&str, &str)], into: &str) {
    let inputs = [&[("embedding", "embedding.npy")], more].concat();
    model(folder, "hdbscan-model", parameters, &inputs, into);
}

/// An array with NaN in the other rows.
fn array_of(folder: &Folder, name: &str, keep: impl Fn(usize) -> bool) -> Array2<f32> {
    let mut array: Array2<f32> = read(&folder.path(name)).unwrap();
    for row in (0..ROWS).filter(|row| !keep(*row)) {
        array.row_mut(row).fill(f32::NAN);
    }
    array
}

#[test]
fn a_kind_that_keeps_a_model_writes_what_the_other_does() {
    let folder = Folder::new();
    let inputs = [("features", "embedding.npy"), DATA];
    let parameters = json!({"n_neighbors": 10, "n_components": 2});
    let (umap, hdbscan) = (["embedding", "metrics"], HDBSCAN);
    let all = |outputs: &[&str]| {
        let bytes = outputs
            .iter()
            .map(|name| folder.bytes(&format!("{name}.out")));
        bytes.collect::<Vec<_>>()
    };
    folder
        .run("umap", parameters.clone(), &inputs, &umap)
        .unwrap();
    let (wanted, view) = (all(&umap), folder.view());
    umap_model(&folder, &[DATA], "m1");
    assert!(all(&umap) == wanted && folder.view() == view);
    umap_model(&folder, &[DATA], "m2");
    assert_eq!(folder.bytes("m1"), folder.bytes("m2"));

    let inputs = [("embedding", "embedding.npy"), DATA];
    let parameters = json!({"min_cluster_size": 25});
    folder
        .run("hdbscan", parameters.clone(), &inputs, &hdbscan)
        .unwrap();
    let (wanted, view) = (all(&hdbscan), folder.view());
    hdbscan_model(&folder, parameters.clone(), &[DATA], "m1");
    assert!(all(&hdbscan) == wanted && folder.view() == view);
    hdbscan_model(&folder, parameters, &[DATA], "m2");
    assert_eq!(folder.bytes("m1"), folder.bytes("m2"));
}

#[test]
fn umap_transform_places_rows_of_every_split_by_themselves() {
    let folder = Folder::new();
    umap_model(&folder, &[DATA], "model");
    let trained: Array2<f32> = read(&folder.path("embedding.out")).unwrap();
    let inputs = [("model", "model"), ("features", "embedding.npy"), DATA];
    let run = |threads| {
        let warnings = folder.run_on(threads, "umap-transform", json!({}), &inputs, &PLACED);
        assert_eq!(warnings.unwrap(), [""; 0]);
        read::<f32, ndarray::Ix2>(&folder.path("embedding.out")).unwrap()
    };
    let places = run(1);
    assert!(places == run(3));
    assert_eq!(
        places.slice(s![..TRAIN, ..]),
        trained.slice(s![..TRAIN, ..])
    );
    // The ten test rows lie among the training rows of their fine class.
    let nearest = |row: usize| {
        let away = |other: &usize| {
            let apart = &places.row(row) - &places.row(*other);
            apart.dot(&apart)
        };
        let others = (0..TRAIN).filter(|other| other % 2 == row % 2);
        others.min_by(|a, b| away(a).total_cmp(&away(b))).unwrap()
    };
    for row in TRAIN..ROWS {
        assert_eq!(fine(nearest(row)), fine(row), "row {row}");
    }
    let metrics = folder.metrics();
    assert_eq!(metrics["new"], 10);
    assert_eq!(metrics["groups"]["round"]["new"], 5);
    let (_, points) = folder.points("round");
    assert_eq!(points.row.len(), 125);
    let Colour::Category { name, names, value } = &points.colour[1] else {
        panic!("{:?}", points.colour)
    };
    assert_eq!((&name[..], &names[3][..]), ("origin", "new, test"));
    assert_eq!(value.iter().filter(|&&origin| origin == 3).count(), 5);

    // Without their neighbours, in another order and another data set, rows lie where they did.
    let data = Dataset::read(&folder.path("data")).unwrap();
    let features: Array2<f32> = read(&folder.path("embedding.npy")).unwrap();
    let some = [249, 3, 246, 249];
    let rows = flow_stage::dataset::Rows {
        coarse: data.rows.coarse.map(|coarse| coarse.select(Axis(0), &some)),
        fine: None,
        split: some.map(|row| data.rows.split[row]).to_vec(),
    };
    let other = Dataset {
        meta: data.meta,
        images: data.images.select(Axis(0), &some),
        rows,
    };
    other.write(&folder.path("other")).unwrap();
    write(&folder.path("some.npy"), &features.select(Axis(0), &some)).unwrap();
    let inputs = [
        ("model", "model"),
        ("features", "some.npy"),
        ("data", "other"),
    ];
    folder
        .run("umap-transform", json!({}), &inputs, &PLACED)
        .unwrap();
    let found: Array2<f32> = read(&folder.path("embedding.out")).unwrap();
    assert_eq!(found, places.select(Axis(0), &some));
}

#[test]
fn hdbscan_predict_goes_on_with_the_labels_of_the_model() {
    let folder = Folder::new();
    hdbscan_model(&folder, json!({"min_cluster_size": 25}), &[DATA], "model");
    let outputs = ["labels", "hard_labels"];
    let trained = outputs.map(|name| folder.labels(&format!("{name}.out")));
    let soft: Array2<f64> = read(&folder.path("membership.out")).unwrap();
    // One test row lies far from all.
    let mut points: Array2<f32> = read(&folder.path("embedding.npy")).unwrap();
    points[[TRAIN, 1]] = 500.0;
    write(&folder.path("points.npy"), &points).unwrap();
    let inputs = [("model", "model"), ("embedding", "points.npy"), DATA];
    let run = |threads: u32| {
        let warnings = folder.run_on(threads, "hdbscan-predict", json!({}), &inputs, &PREDICTED);
        assert_eq!(warnings.unwrap(), [""; 0]);
        PREDICTED.map(|name| folder.bytes(&format!("{name}.out")))
    };
    assert!(run(1) == run(3));
    let found = outputs.map(|name| folder.labels(&format!("{name}.out")));
    let membership: Array2<f64> = read(&folder.path("membership.out")).unwrap();
    let probabilities: Array1<f64> = read(&folder.path("probabilities.out")).unwrap();
    for (found, trained) in found.iter().zip(&trained) {
        assert_eq!(found.slice(s![..TRAIN]), trained.slice(s![..TRAIN]));
    }
    assert_eq!(
        membership.slice(s![..TRAIN, ..]),
        soft.slice(s![..TRAIN, ..])
    );
    for row in TRAIN..ROWS {
        let others = if fine(row) < 2 { 2..5 } else { 0..2 };
        assert!(
            others
                .into_iter()
                .all(|column| membership[[row, column]] == 0.0)
        );
        if row == TRAIN {
            assert_eq!((found[1][row], probabilities[row]), (-1, 0.0));
            continue;
        }
        assert_eq!(found[0][row], fine(row), "row {row}");
        assert!(membership.row(row).sum() <= 1.0 + 1e-12);
    }
    let metrics = folder.metrics();
    assert_eq!(metrics["new"], 10);
    assert!(metrics["groups"]["round"]["noise"].as_f64().unwrap() >= 0.2);
    let (_, shown) = folder.points("flat");
    assert_eq!(shown.row.len(), 125);
    let view = folder.view();
    let table = view.items.iter().find_map(|item| match item {
        Item::Table(table) => Some(table),
        _ => None,
    });
    let table = table.unwrap();
    assert_eq!(table.title, "Discovered labels of new rows");
    let images: u64 = table.rows.iter().map(|row| row[2].as_u64().unwrap()).sum();
    assert_eq!(images, 10);

    // Of no new row there is little to show.
    let trained = array_of(&folder, "embedding.npy", |row| row < TRAIN);
    write(&folder.path("trained.npy"), &trained).unwrap();
    let known = [("model", "model"), ("embedding", "trained.npy"), DATA];
    std::fs::rename(folder.path("labels.out"), folder.path("labels.npy")).unwrap();
    let warnings = folder
        .run("hdbscan-predict", json!({}), &known, &PREDICTED)
        .unwrap();
    assert!(
        warnings[0].contains("of the embedding, and none is new"),
        "{warnings:?}"
    );
    assert!(
        folder
            .view()
            .items
            .iter()
            .all(|item| !matches!(item, Item::Gallery(_)))
    );

    // The found labels of the test rows are scored like those of the training rows.
    let inputs = [
        ("labels", "labels.npy"),
        ("embedding", "embedding.npy"),
        DATA,
    ];
    let score = |parameters: Value, inputs: &[(&str, &str)]| {
        folder.run("score", parameters, inputs, &["metrics"])
    };
    score(json!({"split": "test"}), &inputs).unwrap();
    assert_eq!(folder.metrics()["groups"]["flat"]["accuracy"], 1);
    score(json!({"split": "train"}), &inputs).unwrap();
    let explicit = folder.bytes("metrics.out");
    score(json!({}), &inputs).unwrap();
    assert_eq!(folder.bytes("metrics.out"), explicit);
    let error = score(json!({"split": "val"}), &inputs).unwrap_err();
    assert!(
        error.contains("none is finite and of the validation part at once"),
        "{error}"
    );
    let error = score(json!({"split": "test"}), &inputs[..1]).unwrap_err();
    assert!(
        error.contains("no input `data` that tells which rows are of it"),
        "{error}"
    );
}

#[test]
fn a_class_without_clusters_or_rows_keeps_its_number() {
    let folder = Folder::new();
    // 120 rows a class: `round` has 80 and 40, `flat` three of 40, which are too few.
    hdbscan_model(&folder, json!({"min_cluster_size": 50}), &[DATA], "model");
    let inputs = [("model", "model"), ("embedding", "embedding.npy"), DATA];
    let warnings = folder
        .run("hdbscan-predict", json!({}), &inputs, &PREDICTED)
        .unwrap();
    assert!(
        warnings.iter().any(|warning| warning
            == "class round: the model has no cluster in it; the class is one fine label"),
        "{warnings:?}"
    );
    let (labels, hard) = (
        folder.labels("labels.out"),
        folder.labels("hard_labels.out"),
    );
    let membership: Array2<f64> = read(&folder.path("membership.out")).unwrap();
    for row in TRAIN..ROWS {
        assert_eq!((labels[row], hard[row]), (i32::from(fine(row) >= 2), -1));
        assert_eq!(membership[[row, labels[row] as usize]], 1.0);
    }
    // Rows of `flat` alone: `round` comes first all the same.
    let points = array_of(&folder, "embedding.npy", |row| fine(row) >= 2);
    write(&folder.path("points.npy"), &points).unwrap();
    let inputs = [("model", "model"), ("embedding", "points.npy"), DATA];
    folder
        .run("hdbscan-predict", json!({}), &inputs, &PREDICTED)
        .unwrap();
    let labels = folder.labels("labels.out");
    for row in 0..ROWS {
        assert_eq!(labels[row], if fine(row) < 2 { -1 } else { 1 });
    }
    umap_model(&folder, &[DATA], "umap");
    let inputs = [("model", "umap"), ("features", "points.npy"), DATA];
    folder
        .run("umap-transform", json!({}), &inputs, &PLACED)
        .unwrap();
    assert_eq!(folder.metrics()["new"], 5);
}

#[test]
fn without_a_data_set_all_rows_are_one_class() {
    let folder = Folder::new();
    let points: Array2<f32> = read(&folder.path("embedding.npy")).unwrap();
    hdbscan_model(&folder, json!({"min_cluster_size": 25}), &[], "model");
    write(&folder.path("new.npy"), &(&points + 0.01)).unwrap();
    let inputs = [("model", "model"), ("embedding", "new.npy")];
    folder
        .run("hdbscan-predict", json!({}), &inputs, &PREDICTED)
        .unwrap();
    assert_eq!(folder.metrics()["new"], ROWS);
    // Rows that are all known are no error, and worth a word.
    umap_model(&folder, &[], "umap");
    let inputs = [("model", "umap"), ("features", "embedding.npy")];
    let warnings = folder
        .run("umap-transform", json!({}), &inputs, &PLACED)
        .unwrap();
    assert!(
        warnings[0].contains("none is new: `features` with rows = \"all\""),
        "{warnings:?}"
    );
}

#[test]
fn what_does_not_fit_a_model_is_refused_in_words() {
    let folder = Folder::new();
    umap_model(&folder, &[DATA], "umap");
    hdbscan_model(&folder, json!({"min_cluster_size": 25}), &[DATA], "hdbscan");
    let refusal = |kind: &str, model: &str, array: &str, data: bool| {
        let role = if kind == "umap-transform" {
            "features"
        } else {
            "embedding"
        };
        let mut inputs = vec![("model", model), (role, array)];
        inputs.extend(data.then_some(DATA));
        let outputs = [&PREDICTED[..], &["embedding"]].concat();
        folder.run(kind, json!({}), &inputs, &outputs).unwrap_err()
    };
    let points: Array2<f32> = read(&folder.path("embedding.npy")).unwrap();
    let wide = concatenate![Axis(1), points, points];
    write(&folder.path("wide.npy"), &wide).unwrap();
    write(&folder.path("short.npy"), &points.slice(s![..9, ..])).unwrap();
    write(&folder.path("none.npy"), &Array2::<f32>::zeros((0, 2))).unwrap();
    write(
        &folder.path("nan.npy"),
        &Array2::from_elem((ROWS, 2), f32::NAN),
    )
    .unwrap();
    let large = Array2::from_elem((ROWS, 2), 1e200);
    write(&folder.path("large.npy"), &large).unwrap();
    std::fs::write(folder.path("text"), "a model").unwrap();
    // What a network's file says of itself.
    let header = br#"{"__metadata__":{"flow":"{\"arch\":\"cnn\"}"}}"#;
    let network = [&(header.len() as u64).to_le_bytes()[..], header].concat();
    std::fs::write(folder.path("network"), network).unwrap();
    let whole = folder.bytes("hdbscan");
    std::fs::write(folder.path("half"), &whole[..whole.len() / 2]).unwrap();
    let newer = String::from_utf8_lossy(&whole[..400]).contains("min_cluster_size");
    assert!(newer);
    let changed: Vec<u8> = {
        let at = whole
            .windows(16)
            .position(|part| part == b"min_cluster_size")
            .unwrap();
        [&whole[..at], b"max_cluster_sise", &whole[at + 16..]].concat()
    };
    std::fs::write(folder.path("newer"), changed).unwrap();
    for (kind, own, other) in [
        ("umap-transform", "umap", "hdbscan"),
        ("hdbscan-predict", "hdbscan", "umap"),
    ] {
        let wanted = format!("give the output `model` of a stage of the kind `{own}-model`");
        let is = format!("is a model of the kind `{other}-model`: {wanted}");
        let another = format!("is another sort of model, such as a network: {wanted}");
        let damaged = format!("is damaged, or is no .safetensors file: {wanted}");
        let columns =
            "class round: the rows have 4 column(s), and the model was made from rows of 2";
        let cases = [
            (other, "embedding.npy", true, &is[..]),
            ("network", "embedding.npy", true, &another),
            ("text", "embedding.npy", true, &damaged),
            ("half", "embedding.npy", true, &damaged),
            (own, "wide.npy", true, columns),
            (own, "short.npy", true, "has 9 rows and the data has 250"),
            (own, "none.npy", true, "has 0 rows and the data has 250"),
            (
                own,
                "nan.npy",
                true,
                "is left to place: of 250 rows, 0 are finite",
            ),
            (
                own,
                "embedding.npy",
                false,
                "the model has the classes round, flat: give a `data`",
            ),
        ];
        for (model, array, data, message) in cases {
            let error = refusal(kind, model, array, data);
            assert!(error.contains(message), "{kind} {model} {array}: {error}");
        }
    }
    let error = refusal("hdbscan-predict", "hdbscan", "large.npy", true);
    assert!(error.contains("class round: row 0 holds 1e200"), "{error}");
    let error = refusal("hdbscan-predict", "newer", "embedding.npy", true);
    assert!(
        error.contains("was written by another version of flow"),
        "{error}"
    );
}
