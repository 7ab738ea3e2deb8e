//! Views of the kinds on a small data set, as the kinds write them.

use flow_stage::dataset::{Dataset, Meta, Rows, Split};
use flow_stage::view::{Item, View};
use ndarray::{Array1, Array2, Array4};
use serde_json::{Value, json};
use std::path::Path;
use tch::Device;

use super::*;
use crate::history::Epoch;

/// 8 rows of 4x4 pixels of 3 fine classes in 2 coarse ones, whose names are hard to show.
fn data(folder: &Path) -> Data {
    let fine: Array1<i32> = (0..8).map(|row| row % 3).collect();
    let set = Dataset {
        meta: Meta {
            name: "small".into(),
            coarse_names: vec!["<script>alert(1)</script>".into(), "a.b[0]".into()],
            fine_names: vec!["same".into(), "same".into(), "x".repeat(10_000)],
            mean: vec![0.5],
            std: vec![0.5],
        },
        images: Array4::from_shape_fn((8, 1, 4, 4), |(row, ..)| 10 * row as u8),
        rows: Rows {
            coarse: Some(fine.mapv(|label| i32::from(label == 2))),
            fine: Some(fine),
            split: vec![Split::Test; 8],
        },
    };
    set.write(&folder.join("data")).unwrap();
    Data::read(&folder.join("data"), Device::Cpu).unwrap()
}

/// Row 5, of class 1 as row 2 is, is taken for class 0.
fn answers() -> Answers {
    let coarse = vec![0, 0, 1, 0, 0, 0, 0, 0];
    let probabilities = Array2::from_shape_fn(
        (8, 2),
        |(row, class)| {
            if coarse[row] == class { 0.9 } else { 0.1 }
        },
    );
    Answers {
        rows: (0..8).collect(),
        coarse,
        probabilities,
        fine: None,
    }
}

fn history() -> History {
    let accuracy = [0.5, 0.8, 0.7];
    let epochs = accuracy.iter().zip(1..).map(|(&accuracy, epoch)| {
        Epoch::from_numbers(&[f64::from(epoch), 1.0, 0.4, 2.0, accuracy, 0.1]).unwrap()
    });
    History(epochs.collect())
}

fn read(folder: &Path) -> View {
    let view = View::parse(&std::fs::read(folder.join("view.json")).unwrap()).unwrap();
    for file in view.files() {
        assert!(folder.join(file).is_file(), "{file}");
    }
    view
}

fn values<'a>(view: &'a View, title: &str) -> &'a Vec<Value> {
    let spec = view.items.iter().find_map(|item| match item {
        Item::VegaLite(chart) if chart.title.starts_with(title) => Some(&chart.spec),
        _ => None,
    });
    spec.unwrap()["data"]["values"].as_array().unwrap()
}

#[test]
fn a_training_shows_its_curves_and_its_answers() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let out = folder.path().join("view");
    let metrics =
        json!({"test_accuracy": 0.875, "test_ece": 0.025, "best_epoch": 2, "confusion": []});
    training(&out, &history(), &data, &answers(), &metrics).unwrap();
    let view = read(&out);
    let Item::Table(table) = &view.items[0] else {
        panic!("{view:?}")
    };
    assert_eq!(
        table.rows,
        [
            vec![json!("accuracy"), json!(0.875)],
            vec![json!("calibration error (ECE)"), json!(0.025)],
            vec![json!("best epoch"), json!(2)],
        ]
    );
    let accuracy = values(&view, "Accuracy by epoch");
    assert_eq!(accuracy.len(), 6);
    let marked: Vec<&Value> = accuracy
        .iter()
        .filter(|row| !row["best"].is_null())
        .collect();
    assert_eq!(
        marked,
        [&json!({"epoch": 2, "series": "validation", "value": 0.8, "best": 0.8})]
    );
    let compared: Vec<&str> = view
        .items
        .iter()
        .filter_map(|item| match item {
            Item::VegaLite(chart) => chart.compare.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(compared, ["loss", "accuracy", "learning rate"]);

    let confusion = values(&view, "Confusion matrix: images");
    let [script, dots] = ["<script>alert(1)</script>", "a.b[0]"];
    let cell = |row: &str, column: &str| {
        let cell = confusion
            .iter()
            .find(|c| c["row"] == row && c["column"] == column);
        cell.map(|cell| cell["count"].as_u64().unwrap())
    };
    assert_eq!(cell(script, script), Some(6));
    assert_eq!((cell(dots, script), cell(dots, dots)), (Some(1), Some(1)));
    assert_eq!(cell(script, dots), None);
    let subclasses = values(&view, "Coarse accuracy of each true fine class");
    assert_eq!(subclasses[1]["name"], "same (2)");
    assert_eq!(
        (&subclasses[2]["value"], &subclasses[2]["mark"]),
        (&json!(0.5), &json!("worst"))
    );
    // All are sure by 0.9, which lies in bin 14 of 15; 7 of 8 are right.
    let calibration = values(&view, "Calibration: ECE 0.0250");
    assert_eq!(calibration.len(), 1);
    assert_eq!(
        (
            &calibration[0]["from"],
            &calibration[0]["accuracy"],
            &calibration[0]["confidence"]
        ),
        (&json!(0.866667), &json!(0.875), &json!(0.9))
    );

    let evaluated = folder.path().join("evaluated");
    evaluation(&evaluated, &data, &answers(), &metrics).unwrap();
    let titles = |view: &View| -> Vec<String> {
        view.items
            .iter()
            .map(|item| item.title().to_owned())
            .collect()
    };
    let (all, some) = (titles(&view), titles(&read(&evaluated)));
    assert_eq!(all.len(), some.len() + 3);
    assert!(some.iter().all(|title| all.contains(title)));
}

#[test]
fn the_ends_of_each_class_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let out = folder.path().join("view");
    let scores = Array1::from_vec(vec![0.1, 0.0, 0.5, f32::NAN, 0.3, 1.5, 0.2, 0.2]);
    let rows = [0, 1, 2, 4, 5, 6, 7];
    uncertainty(&out, &data, &rows, &scores).unwrap();
    let view = read(&out);
    let Item::Gallery(gallery) = &view.items[2] else {
        panic!("{view:?}")
    };
    let rows: Vec<(&str, Vec<u64>)> = gallery
        .groups
        .iter()
        .map(|group| {
            let rows = group.images.iter().map(|image| image.row.unwrap());
            (group.name.as_str(), rows.collect())
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("<script>alert(1)</script>: most certain", vec![1, 0, 6]),
            ("<script>alert(1)</script>: least certain", vec![4, 7]),
            ("a.b[0]: most certain", vec![2]),
            ("a.b[0]: least certain", vec![5]),
        ]
    );
    assert_eq!(gallery.groups[0].images[1].label, "0.100");
    let sprite = image::open(out.join("certainty.png")).unwrap().to_luma8();
    let at = gallery.groups[1].images[0].at;
    let (left, top) = (at % gallery.columns * 4, at / gallery.columns * 4);
    assert_eq!(sprite.get_pixel(left, top).0, [40]);
    let counts: u64 = values(&view, "Uncertainty of each coarse class")
        .iter()
        .map(|bin| bin["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 7);
}
