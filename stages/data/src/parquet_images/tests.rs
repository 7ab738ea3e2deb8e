use super::*;
use crate::testing::{Server, fixture, run, sha256};
use flow_stage::dataset::Dataset;
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(more: Value) -> Result<Dataset> {
    run::<ParquetImages>(more)
}

#[track_caller]
fn says(parameters: Value, text: &str) {
    let error = format!("{:#}", read(parameters).unwrap_err());
    assert!(error.contains(text), "{error}\n(expected: {text})");
}

fn fine_and_coarse(source: Value) -> Value {
    json!({ "source": source, "labels": "fine_label", "coarse_labels": "coarse_label", "val": 0.0 })
}

#[track_caller]
fn is_the_hubs(data: &Dataset) {
    assert_eq!(data.images.dim(), (18, 3, 4, 6));
    assert_eq!(data.meta.fine_names, ["ant", "bee", "cat", "dog"]);
    assert_eq!(data.meta.coarse_names, ["insect", "pet"]);
    assert_eq!(data.rows.of(Split::Train), (0..12).collect::<Vec<_>>());
    assert_eq!(data.rows.of(Split::Test), (12..18).collect::<Vec<_>>());
    let (fine, coarse) = (data.rows.fine.as_ref(), data.rows.coarse.as_ref());
    for row in 0..18 {
        let of_file = row % 12;
        let red = if row < 12 { row } else { 88 + row };
        let pixel = |channel| usize::from(data.images[[row, channel, 2, 5]]);
        assert_eq!((pixel(0), pixel(1), pixel(2)), (red, 5, 2));
        assert_eq!(fine.unwrap()[row], of_file as i32 % 4);
        assert_eq!(coarse.unwrap()[row], of_file as i32 % 4 / 2);
    }
}

#[test]
fn a_data_set_of_the_hub_is_read_with_its_names_and_splits() {
    let hub = fixture("hub");
    is_the_hubs(&read(fine_and_coarse(json!(hub))).unwrap());
    let (train, test) = (
        hub.join("train-00000-of-00001.parquet"),
        hub.join("test-00000-of-00001.parquet"),
    );
    is_the_hubs(&read(fine_and_coarse(json!([test, train]))).unwrap());
    is_the_hubs(&read(fine_and_coarse(json!([[test], train]))).unwrap());
    is_the_hubs(&read(fine_and_coarse(json!({ "train": train, "test": [test] }))).unwrap());
    let folders = tempfile::tempdir().unwrap();
    for (split, file) in [("train", &train), ("test", &test)] {
        let folder = folders.path().join("default").join(split);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(file, folder.join("0000.parquet")).unwrap();
        fs::write(folder.join("README.md"), "x").unwrap();
    }
    is_the_hubs(&read(fine_and_coarse(json!(folders.path()))).unwrap());
    let few = json!({ "source": hub, "labels": "coarse_label", "limit": { "train": 4, "test": 2 }, "val": 0.25 });
    let few = read(few).unwrap();
    assert_eq!(few.rows.split.len(), 6);
    assert_eq!((few.rows.fine, few.meta.coarse_names.len()), (None, 2));
}

#[test]
fn files_are_downloaded_each_with_its_digest() {
    let file = |name: &str| fs::read(fixture("hub").join(name)).unwrap();
    let (train, test) = (
        file("train-00000-of-00001.parquet"),
        file("test-00000-of-00001.parquet"),
    );
    let server = Server::start(vec![
        ("/d/train/0000.parquet", train.clone()),
        ("/d/test/0000.parquet", test.clone()),
    ]);
    let url = |path: &str, bytes: &[u8]| {
        server.url(&format!("{path}#{}", sha256(bytes).replace(':', "=")))
    };
    let urls = json!([
        url("d/train/0000.parquet", &train),
        url("d/test/0000.parquet", &test)
    ]);
    is_the_hubs(&read(fine_and_coarse(urls)).unwrap());
    let wrong = json!([url("d/train/0000.parquet", &test)]);
    says(fine_and_coarse(wrong), "has the digest");
    says(
        fine_and_coarse(json!(server.url("d/train/0000.parquet"))),
        "has no digest",
    );
}

#[test]
fn columns_of_bytes_and_texts_are_read_whatever_the_codec() {
    let mut first = None;
    for codec in ["none", "snappy", "zstd"] {
        let data = read(json!({
            "source": fixture(&format!("plain-{codec}.parquet")), "labels": "species", "size": [2, 3],
        }))
        .unwrap();
        assert_eq!(data.images.dim(), (20, 3, 2, 3));
        assert_eq!(data.meta.coarse_names, ["ant", "cat"]);
        let labels = data.rows.coarse.as_ref().unwrap();
        assert!((0..20).all(|row| labels[row] == 1 - row as i32 % 2));
        assert!((0..20).all(|row| data.images[[row, 0, 1, 1]] == row as u8));
        assert_eq!(first.get_or_insert(data.clone()), &data);
    }
    let grouped = read(json!({
        "source": fixture("plain-zstd.parquet"), "labels": "species", "images": "picture", "colour": "grey",
        "classes": ["cat", "ant"], "coarse": { "all": [0, 1] }, "test": 0.0,
    }));
    let grouped = grouped.unwrap();
    assert_eq!(grouped.meta.fine_names, ["cat", "ant"]);
    assert_eq!(grouped.images.dim().1, 1);
}

#[test]
fn what_does_not_fit_is_said() {
    let (hub, plain) = (fixture("hub"), fixture("plain-snappy.parquet"));
    says(
        json!({ "source": hub }),
        "has several columns of classes: give `labels = \"fine_label\"`",
    );
    says(
        json!({ "source": plain }),
        "doesn't say which column holds the classes: give `labels`; the columns are id, picture, species",
    );
    says(
        json!({ "source": plain, "labels": "specie" }),
        "has no column `specie`; it has id, picture, species",
    );
    says(
        json!({ "source": plain, "labels": "species", "images": "id" }),
        "the column `id` of",
    );
    says(
        json!({ "source": plain, "labels": "picture" }),
        "row 0 holds what the schema doesn't say",
    );
    says(
        json!({ "source": plain, "labels": "species", "classes": ["cat"] }),
        "holds \"ant\", which `classes` does not name",
    );
    says(
        json!({ "source": fixture("plain-brotli.parquet"), "labels": "species" }),
        "brotli",
    );
    says(
        json!({ "source": fixture("image.bmp") }),
        "no whole Parquet file",
    );
    says(
        json!({ "source": fixture("cifar-pickled-2") }),
        "holds no .parquet file",
    );
    says(
        json!({ "source": [plain, hub.join("train-00000-of-00001.parquet")] }),
        "has a name that doesn't say",
    );
    let mixed = json!({ "train": plain, "test": hub.join("test-00000-of-00001.parquet") });
    says(json!({ "source": mixed }), "has other columns than");
    says(
        json!({ "source": hub, "labels": "fine_label", "test": 0.1 }),
        "leave `test` out",
    );
    says(
        json!({ "source": hub, "labels": "fine_label", "images": "coarse_label" }),
        "holds no bytes",
    );
    says(
        json!({ "source": hub, "labels": "fine_label", "coarse_labels": "coarse_label", "coarse": {} }),
        "both give coarse classes",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_it_panic(at in 0..8000usize, value: u8, cut in 0..4000usize, packed: bool) {
        // Of what isn't packed every byte of the content is read as it is.
        let name = if packed { "plain-snappy.parquet" } else { "plain-none.parquet" };
        let mut bytes = fs::read(fixture(name)).unwrap();
        let n = bytes.len();
        bytes[at % n] = value;
        bytes.truncate(n - cut % 9 / 8 * cut % n);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        fs::write(&path, bytes).unwrap();
        let _ = read(json!({ "source": path, "labels": "species" }));
    }
}
