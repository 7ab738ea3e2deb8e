use super::*;
use crate::testing::{context, fixture, npy};
use ndarray::Array2;
use serde_json::{Value, json};
use std::fs;
use std::io::{Cursor, Write};

struct Read {
    vectors: Array2<f32>,
    meta: Meta,
    rows: Rows,
    table: String,
}

fn read(parameters: Value) -> Result<Read> {
    let folder = tempfile::tempdir()?;
    let context = context(folder.path(), parameters.clone(), 42);
    serde_json::from_value::<FeatureVectors>(parameters)?.run(&context)?;
    let data = context.output("data")?;
    assert!(context.output("view")?.join("view.json").is_file());
    Ok(Read {
        vectors: array::read(&context.output("features")?)?,
        meta: Meta::read(&data)?,
        rows: Rows::read(&data)?,
        table: fs::read_to_string(context.output("rows")?)?,
    })
}

#[track_caller]
fn says(parameters: Value, text: &str) {
    let error = format!("{:#}", read(parameters).err().expect("an error"));
    assert!(error.contains(text), "{error}\n(expected: {text})");
}

/// What `tests/fixtures/make.py` put into each of its files of vectors.
#[track_caller]
fn is_the_fixture(found: &Read) {
    assert_eq!(found.vectors.dim(), (30, 4));
    for (row, vector) in found.vectors.outer_iter().enumerate() {
        let row = row as f32;
        assert_eq!(vector.to_vec(), [row, row + 0.25, row + 0.5, -row]);
    }
}

#[track_caller]
fn has_classes_and_splits(found: &Read) {
    assert_eq!(found.meta.fine_names, ["ant", "bee", "cat"]);
    assert_eq!(found.meta.coarse_names, ["insect", "pet"]);
    let (fine, coarse) = (found.rows.fine.as_ref(), found.rows.coarse.as_ref());
    for row in 0..30 {
        assert_eq!(fine.unwrap()[row], row as i32 % 3);
        assert_eq!(coarse.unwrap()[row], i32::from(row % 3 == 2));
    }
    assert_eq!(found.rows.of(Split::Val), (20..25).collect::<Vec<_>>());
    assert_eq!(found.rows.of(Split::Test), (25..30).collect::<Vec<_>>());
    let lines: Vec<&str> = found.table.lines().collect();
    assert_eq!(lines[0], "row,name,split,coarse,fine");
    assert_eq!(lines[3], "2,photo 2.jpg,train,pet,cat");
    assert_eq!(lines[30], "29,photo 29.jpg,test,pet,cat");
}

#[test]
fn arrays_of_an_archive_are_named_and_the_rest_is_not_touched() {
    let source = fixture("vectors.npz");
    let all = json!({
        "source": source, "features": "embeddings", "labels": "species", "coarse_labels": "group", "names": "files",
        "split": "part",
    });
    let found = read(all).unwrap();
    is_the_fixture(&found);
    has_classes_and_splits(&found);
    let halves = json!({
        "source": source, "features": "halves", "labels": "label", "classes": ["ant", "bee", "cat"],
        "coarse": { "insect": ["ant", "bee"], "pet": ["cat"] },
    });
    let found = read(halves).unwrap();
    is_the_fixture(&found);
    assert_eq!(found.meta.fine_names, ["ant", "bee", "cat"]);
    assert_eq!(found.rows.coarse.as_ref().unwrap()[2], 1);
    assert_eq!(found.rows.of(Split::Train).len(), 30);
    // Alone, the labels are the coarse classes.
    let found =
        read(json!({ "source": source, "features": "halves", "labels": "species" })).unwrap();
    assert_eq!(found.meta.coarse_names, ["ant", "bee", "cat"]);
    assert_eq!(found.rows.fine, None);
    says(
        json!({ "source": source }),
        "several arrays that may hold the vectors: embeddings, halves. Give",
    );
    says(
        json!({ "source": source, "features": "x" }),
        "has no array `x`; it has embeddings, files, group",
    );
    says(
        json!({ "source": source, "features": "notes" }),
        "holds Python objects",
    );
    says(
        json!({ "source": source, "features": "halves", "labels": "notes" }),
        "holds Python objects, which only Python can read: save x.astype(str)",
    );
    says(
        json!({ "source": source, "features": "label" }),
        "has the shape [30]; vectors are [n, d]",
    );
    says(
        json!({ "source": source, "features": "halves", "labels": "files", "coarse_labels": "embeddings" }),
        "has 4 labels",
    );
    says(
        json!({ "source": source, "features": "halves", "classes": ["a"] }),
        "there is no `labels`",
    );
}

#[test]
fn tables_have_columns_of_features_and_of_classes() {
    for file in ["vectors.csv", "vectors-columns.parquet"] {
        let mut all = json!({
            "source": fixture(file), "labels": "species", "coarse_labels": "group", "names": "file", "split": "part",
        });
        let found = read(all.clone()).unwrap();
        is_the_fixture(&found);
        has_classes_and_splits(&found);
        all["features"] = json!("f*");
        is_the_fixture(&read(all.clone()).unwrap());
        all["features"] = json!(["f3", "f0"]);
        assert_eq!(
            read(all.clone()).unwrap().vectors.row(2).to_vec(),
            [-2.0, 2.0]
        );
        all["features"] = json!("g?");
        says(all.clone(), "has no column `g?` for `features`");
        says(
            json!({ "source": fixture(file), "labels": "specie" }),
            "has no column `specie` for `labels`",
        );
        says(
            json!({ "source": fixture(file), "labels": "species", "names": "file", "split": "part" }),
            "column `group`",
        );
    }
    let lists =
        json!({ "source": fixture("vectors-lists.parquet"), "labels": "label", "names": "text" });
    let found = read(lists).unwrap();
    is_the_fixture(&found);
    assert_eq!(found.meta.coarse_names, ["ant", "bee", "cat"]);
}

#[test]
fn one_vector_a_row_may_be_an_array_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (number, name) in ["pet/cat/1", "pet/cat/2", "pet/dog/1", "insect/ant/1"]
        .iter()
        .enumerate()
    {
        let vector = [number as f32, 0.5]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect::<Vec<u8>>();
        let vector = npy("<f4", &[2], vector);
        let path = folder.path().join(format!("{name}.npy"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &vector).unwrap();
        archive
            .start_file(
                format!("{name}.npy"),
                zip::write::SimpleFileOptions::default(),
            )
            .unwrap();
        archive.write_all(&vector).unwrap();
    }
    let npz = folder.path().join("x.npz");
    fs::write(&npz, archive.finish().unwrap().into_inner()).unwrap();
    for source in [folder.path(), &npz] {
        let found = read(json!({ "source": source })).unwrap();
        assert_eq!(found.vectors.column(0).to_vec(), [3.0, 0.0, 1.0, 2.0]);
        assert_eq!(found.meta.coarse_names, ["insect", "pet"]);
        assert_eq!(found.meta.fine_names, ["insect/ant", "pet/cat", "pet/dog"]);
        assert!(
            found.table.contains("1,pet/cat/1,train,pet,pet/cat\n"),
            "{}",
            found.table
        );
        says(
            json!({ "source": source, "labels": "pet/cat/1" }),
            "labels are integers or texts",
        );
    }
    fs::write(folder.path().join("pet/x.npy"), npy("<f4", &[2], [0; 8])).unwrap();
    says(
        json!({ "source": folder.path() }),
        "either all vectors are `x`",
    );
    fs::remove_file(folder.path().join("pet/x.npy")).unwrap();
    fs::write(
        folder.path().join("pet/dog/2.npy"),
        npy("<f4", &[3], [0; 12]),
    )
    .unwrap();
    says(
        json!({ "source": folder.path() }),
        "has 3 numbers, and the rows before have 2",
    );
}

#[test]
fn each_thing_may_have_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut x = npy("<i2", &[3, 2], (1..=6i16).flat_map(i16::to_le_bytes));
    fs::write(path("x.npy"), &x).unwrap();
    fs::write(path("y.npy"), npy("|u1", &[3], [0, 1, 0])).unwrap();
    fs::write(path("names.txt"), "a b\nc\nd\n").unwrap();
    let each = json!({ "source": { "features": path("x.npy"), "labels": path("y.npy"), "names": path("names.txt") } });
    let found = read(each.clone()).unwrap();
    assert_eq!(found.vectors.row(1).to_vec(), [3.0, 4.0]);
    assert!(found.table.contains("0,a b,train,0,\n"), "{}", found.table);
    assert_eq!(
        read(json!({ "source": path("x.npy") }))
            .unwrap()
            .rows
            .coarse,
        None
    );
    // Columns first, as NumPy saves a transposed array.
    let place = x.windows(5).position(|w| w == b"False").unwrap();
    x[place..place + 5].copy_from_slice(b"True ");
    fs::write(path("x.npy"), &x).unwrap();
    assert_eq!(
        read(each.clone()).unwrap().vectors.row(1).to_vec(),
        [2.0, 5.0]
    );
    fs::write(path("y.npy"), npy("|u1", &[2], [0, 1])).unwrap();
    says(each, "`labels` has 2 rows, and `features` has 3");
    says(
        json!({ "source": path("x.npy"), "labels": "y" }),
        "is one array: give the labels' file too",
    );
    says(
        json!({ "source": { "features": path("x.npy") }, "labels": "y" }),
        "belong into it",
    );
}

#[test]
fn what_f32_cannot_hold_is_an_error_and_what_is_missing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let csv = |text: &str| {
        let path = folder.path().join("x.csv");
        fs::write(&path, text).unwrap();
        json!({ "source": path, "labels": "y" })
    };
    let found = read(csv("a,b,y\n1,2.5,u\n,nan,v\n3e2,-0,u\n")).unwrap();
    assert_eq!(found.vectors.row(0).to_vec(), [1.0, 2.5]);
    assert!(found.vectors.row(1).iter().all(|x| x.is_nan()));
    assert_eq!(found.vectors[[2, 0]], 300.0);
    let tabs = csv("a\tb\ty\n1,5\t2\tu\n");
    says(
        tabs,
        "line 2 holds \"1,5\" in the column `a`, which is no number",
    );
    says(
        csv("a,y\n1,u\n1e300,v\n"),
        "row 1 holds 1e300 in the column `a`, and f32 ends at 3.4e38",
    );
    says(
        csv("a,y\n16777217,u\n"),
        "row 0 holds 16777217 in the column `a`, which f32 can't hold exactly",
    );
    says(
        csv("a,y\n1,u\n1\n"),
        "is no table of comma-separated values",
    );
    says(csv("a,a,y\n1,2,u\n"), "has two columns `a`");
    says(csv("a,y\n"), "holds 0 row(s)");
    says(csv("y\nu\n"), "has no column of features");
    says(csv(""), "is none of .npz, .npy, .csv");
    says(csv("\0\0"), "is none of .npz, .npy, .csv");
    let large = npy(
        "<f8",
        &[2, 1],
        [1.0, 1e300f64].iter().flat_map(|x| x.to_le_bytes()),
    );
    fs::write(folder.path().join("x.npy"), large).unwrap();
    says(
        json!({ "source": folder.path().join("x.npy") }),
        "row 1 holds 1e300 in column 0",
    );
    let cube = npy("<f4", &[2, 1, 1], [0; 8]);
    fs::write(folder.path().join("x.npy"), cube).unwrap();
    says(
        json!({ "source": folder.path().join("x.npy") }),
        "save x.reshape(len(x), -1)",
    );
}
