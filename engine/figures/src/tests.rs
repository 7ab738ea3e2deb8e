//! Drawings of small charts are compared as they are written, before text becomes outlines; `FLOW_BLESS=1` writes them anew, to
//! be looked at.

use std::path::Path;

use flow_stage::view::{Chart, Gallery, Group, Item, Picture as Image, Points};
use resvg::tiny_skia::Pixmap;
use serde_json::{Value, json};

use super::*;

fn drawing(spec: Value) -> String {
    let parsed = spec::Chart::parse(&spec, &|name| anyhow::bail!("no file {name}"));
    chart::draw(&parsed.unwrap())
}

fn golden(name: &str, drawing: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden");
    let path = folder.join(name);
    if std::env::var_os("FLOW_BLESS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, drawing).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(drawing == expected, "{name} is drawn otherwise:\n{drawing}");
    // What is compared is a drawing that becomes pixels.
    picture::picture(drawing, "", "").unwrap();
}

fn curves() -> Value {
    let y = |field: &str| json!({"field": field, "type": "quantitative", "title": "loss", "scale": {"zero": false}});
    let series = json!({"field": "series", "type": "nominal", "title": null, "scale": {"domain": ["train", "validation"]}});
    json!({
        "data": {"values": [
            {"epoch": 1, "series": "train", "loss": 1.5}, {"epoch": 2, "series": "train", "loss": 0.75},
            {"epoch": 3, "series": "train", "loss": 0.5}, {"epoch": 1, "series": "validation", "loss": 1.25},
            {"epoch": 2, "series": "validation", "loss": 0.9, "best": 0.9}, {"epoch": 3, "series": "validation", "loss": 1.0},
        ]},
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative", "scale": {"zero": false}, "axis": {"tickMinStep": 1, "format": "d"}},
            "color": series,
        },
        "layer": [
            {"mark": "line", "encoding": {"y": y("loss"), "strokeDash": series}},
            {"mark": {"type": "point", "size": 160}, "encoding": {"y": y("best"), "tooltip": [{"field": "epoch"}]}},
        ],
    })
}

#[test]
fn curves_have_colours_dashes_and_a_mark() {
    let drawing = drawing(curves());
    golden("curves.svg", &drawing);
    // Two lines, of which the second is dashed, and their two entries in the legend.
    assert_eq!(drawing.matches("stroke-dasharray=\"6 3\"").count(), 2);
    assert_eq!(drawing.matches("<circle").count(), 1);
    assert_eq!(drawing.matches(">validation</text>").count(), 1);
}

#[test]
fn a_matrix_has_shades_and_numbers() {
    let axis = |field: &str| {
        json!({"field": field, "type": "nominal", "title": field, "scale": {"domain": ["cat", "dog <b>"]},
               "axis": {"labelAngle": -45}})
    };
    let drawing = drawing(json!({
        "width": {"step": 40}, "height": {"step": 40},
        "data": {"values": [
            {"truth": "cat", "predicted": "cat", "share": 0.75, "light": "", "dark": "3"},
            {"truth": "cat", "predicted": "dog <b>", "share": 0.25, "light": "1", "dark": ""},
            {"truth": "dog <b>", "predicted": "dog <b>", "share": 1, "light": "", "dark": "5"},
        ]},
        "encoding": {"x": axis("predicted"), "y": axis("truth")},
        "layer": [
            {"mark": "rect", "encoding": {"color": {"field": "share", "type": "quantitative", "title": "share of the class",
                                                     "scale": {"domain": [0, 1], "scheme": "viridis"}}}},
            {"mark": {"type": "text", "color": "white"}, "encoding": {"text": {"field": "light", "type": "nominal"}}},
            {"mark": {"type": "text", "color": "black"}, "encoding": {"text": {"field": "dark", "type": "nominal"}}},
        ],
    }));
    golden("matrix.svg", &drawing);
    assert_eq!(
        drawing
            .matches(&format!("fill=\"{}\"", colours::number(0.25)))
            .count(),
        1
    );
    assert_eq!(drawing.matches(">dog &lt;b&gt;</text>").count(), 2);
}

#[test]
fn panels_share_their_scales() {
    let x = json!({"field": "from", "type": "quantitative", "title": "uncertainty", "scale": {"domain": [0, 1]}});
    let drawing = drawing(json!({
        "data": {"values": [
            {"class": "odd", "from": 0, "to": 0.5, "count": 90, "part": "kept", "cut": 0.5},
            {"class": "odd", "from": 0.5, "to": 1, "count": 10, "part": "left out"},
            {"class": "even", "from": 0, "to": 0.5, "count": 7, "part": "kept", "cut": 0.25},
        ]},
        "facet": {"field": "class", "type": "nominal", "title": null, "sort": ["even", "odd"]},
        "columns": 1,
        "spec": {"width": 200, "height": 80, "layer": [
            {"mark": "rect", "encoding": {
                "x": x, "x2": {"field": "to"}, "y2": {"datum": 0.7},
                "y": {"field": "count", "type": "quantitative", "title": "images", "scale": {"type": "log", "domain": [0.7, 120]}},
                "color": {"field": "part", "type": "nominal", "title": null, "scale": {"domain": ["kept", "left out"]}}}},
            {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"field": "cut", "type": "quantitative"}}},
        ]},
    }));
    golden("panels.svg", &drawing);
    assert!(drawing.find(">even</text>") < drawing.find(">odd</text>"));
    assert_eq!(drawing.matches("stroke-dasharray=\"4 3\"").count(), 2);
}

#[test]
fn bars_stand_on_each_other_and_intervals_are_lines() {
    let stacked = drawing(json!({
        "data": {"values": [
            {"split": "train", "class": "a", "n": 3}, {"split": "train", "class": "b", "n": 4},
            {"split": "test", "class": "a", "n": 1}, {"split": "test", "class": "b", "n": 1},
        ]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "n", "type": "quantitative", "title": "images"},
            "y": {"field": "split", "type": "nominal", "sort": null, "title": null},
            "color": {"field": "class", "type": "nominal"},
        },
    }));
    golden("stacked.svg", &stacked);
    // 7 images reach to 7 of 8 on an axis of 300 pixels: 3 of them 112.5, 4 of them 150.
    assert!(
        stacked.contains("width=\"112.5\"") && stacked.contains("width=\"150\""),
        "{stacked}"
    );
    let intervals = drawing(json!({
        "data": {"values": [{"keep": 0.8, "mean": 0.91, "low": 0.9, "high": 0.92}, {"keep": 1.0, "mean": 0.93, "low": 0.9, "high": 0.96}]},
        "encoding": {"x": {"field": "keep", "type": "quantitative", "scale": {"zero": false}}},
        "layer": [
            {"mark": "rule", "encoding": {"y": {"field": "low", "type": "quantitative", "title": "accuracy", "scale": {"zero": false}},
                                           "y2": {"field": "high"}}},
            {"mark": {"type": "line", "point": true}, "encoding": {"y": {"field": "mean", "type": "quantitative", "title": "accuracy"}}},
        ],
    }));
    golden("intervals.svg", &intervals);
}

fn chart(title: &str, spec: Value) -> Item {
    Item::VegaLite(Chart {
        title: title.into(),
        alt: "a chart".into(),
        spec,
        compare: None,
    })
}

#[test]
fn every_item_that_can_be_seen_is_a_figure() {
    let mut sprite = std::io::Cursor::new(Vec::new());
    let pixels = ::image::RgbImage::from_fn(8, 4, |x, _| ::image::Rgb([(x / 4 * 200) as u8, 0, 0]));
    pixels
        .write_to(&mut sprite, ::image::ImageFormat::Png)
        .unwrap();
    let sprite = sprite.into_inner();
    let points = json!({
        "row": [1, 2, 3], "x": [0, 1, 2], "y": [0, 2, 1],
        "colour": [{"name": "label", "kind": "category", "names": ["0"], "value": [0, -1, 0]},
                   {"name": "probability", "kind": "number", "value": [0.5, null, 1]}],
    });
    let read = |name: &str| {
        match name {
        "sprite.png" => Ok(sprite.clone()),
        "points.json" => Ok(points.to_string().into_bytes()),
        "image.svg" => Ok(b"<svg xmlns='http://www.w3.org/2000/svg' width='30' height='10'><rect width='9' height='9'/></svg>".to_vec()),
        _ => anyhow::bail!("there is no such file"),
    }
    };
    let image = |file: &str| Item::Image {
        title: format!("Picture {file}"),
        alt: "a picture".into(),
        file: file.into(),
    };
    let gallery = |at: u32| {
        Item::Gallery(Gallery {
            title: "Images".into(),
            alt: "images".into(),
            sprite: "sprite.png".into(),
            size: [4, 4],
            columns: 2,
            groups: vec![Group {
                name: "label 0".into(),
                note: "2 images".into(),
                images: vec![0, at]
                    .into_iter()
                    .map(|at| Image {
                        at,
                        row: None,
                        label: String::new(),
                    })
                    .collect(),
            }],
        })
    };
    let items = [
        Item::Text {
            title: "t".into(),
            text: "t".into(),
        },
        chart("Loss by epoch", curves()),
        chart("Pie", json!({"mark": "arc", "data": {"values": []}})),
        Item::Points(Points {
            title: "Labels of class 'even'".into(),
            alt: "points".into(),
            note: String::new(),
            file: "points.json".into(),
            class: None,
        }),
        gallery(1),
        gallery(2),
        image("image.svg"),
        image("sprite.png"),
        image("none.png"),
    ];
    let figures = figures(&items, &read);
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "02-loss-by-epoch",
            "03-pie",
            "04-labels-of-class-even-by-label",
            "04-labels-of-class-even-by-probability",
            "05-images",
            "06-images",
            "07-picture-image-svg",
            "08-picture-sprite-png",
            "09-picture-none-png",
        ]
    );
    let left_out: Vec<(&str, &str)> = figures
        .iter()
        .filter_map(|figure| {
            Some((
                figure.name.as_str(),
                figure.picture.as_ref().err()?.as_str(),
            ))
        })
        .collect();
    assert_eq!(
        left_out,
        [
            ("03-pie", "its mark `arc` is not drawn without a browser"),
            ("06-images", "image 2 lies outside of sprite.png"),
            ("09-picture-none-png", "none.png: there is no such file"),
        ]
    );
    let size = |place: usize| {
        let png = &figures[place].picture.as_ref().unwrap().png;
        let pixels = Pixmap::decode_png(png).unwrap();
        (pixels.width(), pixels.height())
    };
    assert_eq!(size(6), (90, 30));
    assert_eq!(size(7), (24, 12));
    for figure in figures
        .iter()
        .filter_map(|figure| figure.picture.as_ref().ok())
    {
        assert!(!figure.svg.contains("<text") && !figure.svg.contains("<script"));
        let pixels = Pixmap::decode_png(&figure.png).unwrap();
        assert!(
            pixels
                .pixels()
                .iter()
                .any(|pixel| pixel.alpha() > 0 && pixel.red() < 200)
        );
    }
    // The same items are the same bytes.
    let again = self::figures(&items, &read);
    assert!(
        figures
            .iter()
            .zip(&again)
            .all(|(a, b)| a.picture == b.picture)
    );
}

#[test]
fn hostile_names_are_text() {
    for name in [
        "</svg><script>alert(1)</script>",
        "\u{0}\u{202e}\"'",
        &"long ".repeat(2_000),
        "",
    ] {
        let spec = json!({
            "data": {"values": [{"name": name, "n": 1}, {"name": "b", "n": 2}]},
            "mark": "bar",
            "encoding": {
                "x": {"field": "name", "type": "nominal", "title": name}, "y": {"field": "n", "type": "quantitative", "title": name},
                "color": {"field": "name", "type": "nominal", "title": name},
            },
        });
        let figures = figures(&[chart(name, spec)], &|_| anyhow::bail!("none"));
        let picture = figures[0].picture.as_ref().unwrap();
        assert!(!picture.svg.contains("<script"), "{}", picture.svg);
        let pixels = Pixmap::decode_png(&picture.png).unwrap();
        assert!(pixels.width() < 3_000 && pixels.height() < 3_000);
        assert!(figures[0].name.len() < 80, "{}", figures[0].name);
    }
}

#[test]
fn twenty_five_thousand_points_are_a_small_file() {
    let n = 25_000;
    let place = |seed: f64| {
        (0..n)
            .map(|i| (f64::from(i) * seed).sin())
            .collect::<Vec<f64>>()
    };
    let points = Coordinates {
        row: (0..25_000).collect(),
        x: place(1.7),
        y: place(2.3),
        colour: Vec::new(),
    };
    let drawing = points::draw(&points, None);
    let picture = picture::picture(&drawing, "", "").unwrap();
    assert!(picture.svg.len() < 2_000_000, "{}", picture.svg.len());
}
