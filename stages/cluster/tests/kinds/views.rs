//! What the stage kinds show.

use crate::folder::{Folder, HDBSCAN, ROWS, fine};
use flow_stage::array::write;
use flow_stage::view::{Colour, Coordinates, Item, View};
use ndarray::Array1;
use serde_json::{Value, json};

/// The names and values of a category.
fn category<'a>(points: &'a Coordinates, wanted: &str) -> (&'a [String], &'a [i32]) {
    let found = points.colour.iter().find_map(|colour| match colour {
        Colour::Category { name, names, value } if name == wanted => Some((&names[..], &value[..])),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{wanted}: {points:?}"))
}

/// The items that are charts or tables, by title.
fn spec<'a>(view: &'a View, wanted: &str) -> &'a Value {
    let found = view.items.iter().find_map(|item| match item {
        Item::VegaLite(chart) if chart.title == wanted => Some(&chart.spec),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{wanted}: {view:?}"))
}

#[test]
fn select_shows_where_it_cuts() {
    let folder = Folder::new();
    let uncertainty: Array1<f32> = (0..ROWS).map(|row| row as f32 / 1000.0).collect();
    write(&folder.path("u.npy"), &uncertainty).unwrap();
    let inputs = [("data", "data"), ("uncertainty", "u.npy")];
    folder
        .run("select", json!({"keep": 0.5}), &inputs, &["mask"])
        .unwrap();
    let view = folder.view();
    let Item::Table(table) = &view.items[0] else {
        panic!("{view:?}")
    };
    // Rows of `round` are the even ones: of 0, 2, … 238 the first 60 end at 118.
    assert_eq!(
        table.rows,
        [
            [
                json!("round"),
                json!(120),
                json!(60),
                json!(60),
                json!(0.118)
            ],
            [
                json!("flat"),
                json!(120),
                json!(60),
                json!(60),
                json!(0.119)
            ],
        ]
    );
    let spec = spec(&view, "Uncertainty, and where it is cut");
    let values = spec["data"]["values"].as_array().unwrap();
    let kept = values.iter().filter(|bin| bin["part"] == "kept");
    let kept: u64 = kept.map(|bin| bin["count"].as_u64().unwrap()).sum();
    assert_eq!(kept, 120);
}

#[test]
fn an_embedding_shows_the_points_of_each_class() {
    let folder = Folder::new();
    let mask: Array1<bool> = (0..ROWS).map(|row| row % 10 > 1).collect();
    write(&folder.path("mask.npy"), &mask).unwrap();
    let inputs = [
        ("features", "embedding.npy"),
        ("data", "data"),
        ("mask", "mask.npy"),
    ];
    let parameters = json!({"n_components": 2});
    folder
        .run("pca", parameters, &inputs, &["embedding"])
        .unwrap();
    let (item, points) = folder.points("flat");
    assert_eq!(item.title, "Embedding of class flat");
    assert_eq!(
        item.note,
        "the two dimensions as they are; 24 row(s) that the mask leaves out have no place in the embedding: 24 of them are drawn, \
         each in the middle of the 5 rows with the nearest features"
    );
    assert_eq!(points.row.len(), 120);
    let (names, certain) = category(&points, "certain");
    assert_eq!(names, ["certain", "uncertain"]);
    assert!((0..120).all(|i| (certain[i] == 0) == mask[points.row[i] as usize]));
    let (names, value) = category(&points, "true fine label");
    assert_eq!(names, ["fine 2", "fine 3", "fine 4"]);
    let true_label = |row: u64| format!("fine {}", fine(row as usize));
    assert!((0..120).all(|i| names[value[i] as usize] == true_label(points.row[i])));
    // A row that is left out lies among those of its true label, which are clumps.
    let of = |wanted: i32, uncertain: i32| {
        let there = (0..120).filter(|&i| value[i] == wanted && certain[i] == uncertain);
        there
            .map(|i| (points.x[i], points.y[i]))
            .collect::<Vec<_>>()
    };
    for label in 0..3 {
        let (kept, drawn) = (of(label, 0), of(label, 1));
        let x = |points: &[(f64, f64)], end: fn(f64, f64) -> f64| {
            points.iter().map(|point| point.0).reduce(end).unwrap()
        };
        assert!(
            x(&drawn, f64::min) >= x(&kept, f64::min) && x(&drawn, f64::max) <= x(&kept, f64::max)
        );
    }
}

#[test]
fn clusterings_show_points_images_and_the_truth() {
    let folder = Folder::new();
    let mask: Array1<bool> = (0..ROWS).map(|row| row % 10 > 1).collect();
    write(&folder.path("mask.npy"), &mask).unwrap();
    let inputs = [
        ("embedding", "embedding.npy"),
        ("data", "data"),
        ("mask", "mask.npy"),
    ];
    for (kind, parameters, outputs) in [
        ("hdbscan", json!({"min_cluster_size": 20}), &HDBSCAN[..]),
        (
            "kmeans",
            json!({"k": {"round": 2, "flat": 3}}),
            &["labels", "metrics"][..],
        ),
        (
            "gmm",
            json!({"k": {"round": 2, "flat": 3}}),
            &["labels", "membership"][..],
        ),
        ("george", json!({"max_k": 4}), &["labels", "search"][..]),
    ] {
        folder.run(kind, parameters, &inputs, outputs).unwrap();
        let labels = folder.labels("labels.out");
        let view = folder.view();
        let Item::Table(table) = &view.items[0] else {
            panic!("{view:?}")
        };
        assert_eq!(table.rows.len(), 5, "{kind}");
        for (label, line) in table.rows.iter().enumerate() {
            let rows = labels.iter().filter(|&&l| l == label as i32).count();
            assert_eq!(
                (&line[0], &line[2], &line[3]),
                (&json!(label), &json!(rows), &json!(1.0))
            );
        }
        // The rows that the mask leaves out have a place, and no label.
        let (_, points) = folder.points("round");
        assert_eq!(points.row.len(), 120);
        let (names, value) = category(&points, "discovered label");
        let (_, certain) = category(&points, "certain");
        for (i, &row) in points.row.iter().enumerate() {
            let label = labels[row as usize];
            assert_eq!(certain[i] == 0, mask[row as usize]);
            match value[i] {
                -1 => assert_eq!(label, -1),
                place => assert_eq!(names[place as usize], label.to_string()),
            }
        }
        let gallery = view.items.iter().find_map(|item| match item {
            Item::Gallery(gallery) => Some(gallery),
            _ => None,
        });
        let gallery = gallery.unwrap();
        let anchor = if kind == "hdbscan" {
            "its exemplars"
        } else {
            "its centre"
        };
        assert_eq!(gallery.groups.len(), 10);
        for (number, group) in gallery.groups.iter().enumerate() {
            let label = number / 2;
            let sort = match number % 2 {
                0 => format!("nearest to {anchor}"),
                _ => "drawn at random".into(),
            };
            assert_eq!(group.name, format!("label {label}: {sort}"));
            assert!(group.note.contains("purity 1.00 (fine "), "{}", group.note);
            assert_eq!(group.images.len(), 10);
            let of_label = |row: Option<u64>| labels[row.unwrap() as usize] == label as i32;
            assert!(group.images.iter().all(|image| of_label(image.row)));
        }
        let confusion = spec(&view, "Discovered against true labels: images");
        let cells = confusion["data"]["values"].as_array().unwrap();
        assert_eq!(cells.len(), 5);
        assert!(cells.iter().all(|cell| cell["share"] == 1.0));
        let titles: Vec<&str> = view.items.iter().map(Item::title).collect();
        assert_eq!(
            titles.contains(&"Persistence of each label"),
            kind == "hdbscan"
        );
    }
    // Without a data set there are points, and neither images nor truth.
    folder
        .run(
            "kmeans",
            json!({"k": 3}),
            &inputs[..1],
            &["labels", "metrics"],
        )
        .unwrap();
    let view = folder.view();
    let titles: Vec<&str> = view.items.iter().map(Item::title).collect();
    assert_eq!(titles, ["Discovered labels", "Labels"]);
}
