use super::*;
use crate::testing::{Server, run, sha256};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::json;
use std::fs;
use std::io::Write;

fn idx(shape: &[u32], bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|n| file.extend(n.to_be_bytes()));
    file.extend(bytes);
    file
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default();
        archive
            .start_file(format!("MNIST/raw/{name}"), options)
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

/// 20 train and 10 test images of 2x3 pixels, all pixels of row r being r; labels 0..5 in turn.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let images =
        |rows: std::ops::Range<u8>| idx(&[rows.len() as u32, 2, 3], rows.flat_map(|row| [row; 6]));
    let labels = |rows: std::ops::Range<u8>| idx(&[rows.len() as u32], rows.map(|r| r % 5));
    vec![
        ("train-images-idx3-ubyte", images(0..20)),
        ("train-labels-idx1-ubyte", labels(0..20)),
        ("t10k-images-idx3-ubyte", images(20..30)),
        ("t10k-labels-idx1-ubyte", labels(20..30)),
    ]
}

fn folder(change: impl Fn(&str, Vec<u8>) -> (String, Vec<u8>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files() {
        let (name, bytes) = change(name, bytes);
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn every_spelling_packed_or_not_gives_the_same_rows() {
    let spellings = [
        folder(|name, bytes| (name.into(), bytes)),
        folder(|name, bytes| (format!("{name}.gz"), gz(&bytes))),
        folder(|name, bytes| (name.replace("-idx", ".idx"), bytes)),
        folder(|name, bytes| (format!("{}.gz", name.replace("-idx", ".idx")), gz(&bytes))),
    ];
    for folder in &spellings {
        let data = run::<Idx>(json!({
            "source": folder.path(),
            "classes": ["a", "b", "c", "d", "e"],
            "coarse": { "vowel": ["a", "e"], "consonant": [1, 2, 3] },
            "val": 0.25,
        }))
        .unwrap();
        assert_eq!(data.images.dim(), (30, 1, 2, 3));
        assert!((0..30).all(|row| data.images[[row, 0, 1, 2]] == row as u8));
        let fine = data.rows.fine.as_ref().unwrap();
        assert!((0..30).all(|row| fine[row] == row as i32 % 5));
        assert_eq!(data.meta.coarse_names, ["consonant", "vowel"]);
        assert_eq!(
            data.rows.coarse.as_ref().unwrap().as_slice().unwrap()[..5],
            [1, 0, 0, 0, 1]
        );
        assert_eq!(data.rows.of(Split::Val).len(), 5);
        assert_eq!(data.rows.of(Split::Test), (20..30).collect::<Vec<_>>());
    }
}

#[test]
fn an_archive_of_the_files_is_as_good_as_their_folder() {
    let folder = folder(|name, bytes| (name.into(), bytes));
    let expected = run::<Idx>(json!({ "source": folder.path() })).unwrap();
    let digest = json!({ "test_labels": sha256(&files()[3].1) });
    let archive = folder.path().join("archive");
    for spelling in NAMES {
        let members: Vec<_> = (spelling.into_iter().zip(files()))
            .map(|(name, (_, bytes))| match name.ends_with(".gz") {
                true => (name, gz(&bytes)),
                false => (name, bytes),
            })
            .collect();
        for bytes in [zip(&members), tar(&members), gz(&tar(&members))] {
            fs::write(&archive, bytes).unwrap();
            let parameters = json!({ "source": archive, "digest": digest });
            assert_eq!(run::<Idx>(parameters).unwrap(), expected);
            let parameters =
                json!({ "source": archive, "digest": { "train_labels": sha256(b"x") } });
            let error = format!("{:#}", run::<Idx>(parameters).unwrap_err());
            let beginning = format!("{}: the labels of the train part: ", archive.display());
            assert!(error.starts_with(&beginning), "{error}");
            assert!(error.contains("has the digest"), "{error}");
        }
        fs::write(&archive, zip(&members[..3])).unwrap();
        let error = run::<Idx>(json!({ "source": archive })).unwrap_err();
        let missing = format!("has no regular file {} of the four IDX files", spelling[3]);
        assert!(error.to_string().ends_with(&missing), "{error}");
    }
    fs::write(&archive, "<html>404</html>").unwrap();
    let error = run::<Idx>(json!({ "source": archive })).unwrap_err();
    let text = "is not a whole .tar, .tar.gz or .zip archive";
    assert!(error.to_string().contains(text), "{error:#}");
}

#[test]
fn without_names_and_groups_there_are_numbers_and_no_coarse_labels() {
    let folder = folder(|name, bytes| (name.into(), bytes));
    let data = run::<Idx>(json!({ "source": folder.path(), "limit": 5 })).unwrap();
    assert_eq!(data.meta.fine_names, ["0", "1", "2", "3", "4"]);
    assert_eq!((data.meta.coarse_names.len(), data.rows.coarse), (0, None));
    assert_eq!(data.rows.split.len(), 10);
}

#[test]
fn what_is_wrong_with_a_folder_is_said() {
    let says = |folder: &tempfile::TempDir, more: serde_json::Value, text: &str| {
        let mut parameters = json!({ "source": folder.path() });
        parameters
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let error = format!("{:#}", run::<Idx>(parameters).unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    };
    let cut = folder(|name, mut bytes| {
        if name == "t10k-images-idx3-ubyte" {
            bytes.truncate(50);
        }
        (name.into(), bytes)
    });
    says(
        &cut,
        json!({}),
        "t10k-images-idx3-ubyte (shape [10, 2, 3]) is truncated: expected 60 bytes, found 34",
    );
    let packed = folder(|name, bytes| {
        let mut bytes = gz(&bytes);
        if name == "train-labels-idx1-ubyte" {
            bytes.truncate(15);
        }
        (name.into(), bytes)
    });
    says(&packed, json!({}), "train-labels-idx1-ubyte");
    let long = folder(|name, mut bytes| {
        bytes.push(0);
        (name.into(), bytes)
    });
    says(
        &long,
        json!({}),
        "is longer than its format allows: expected 120 bytes",
    );
    let lying = folder(|name, _| (name.into(), idx(&[u32::MAX; 3], [])));
    says(&lying, json!({}), "which can't be");
    let swapped = folder(|name, _| (name.into(), idx(&[20], [0; 20])));
    says(
        &swapped,
        json!({}),
        "is no IDX file of unsigned bytes in 3 dimension(s)",
    );
    let fewer = folder(|name, bytes| {
        let few = name.starts_with("train-labels");
        (name.into(), if few { idx(&[19], [0; 19]) } else { bytes })
    });
    says(
        &fewer,
        json!({}),
        "train-images-idx3-ubyte has 20 images, and ",
    );
    let other = folder(|name, bytes| (format!("{name}.zip"), bytes));
    says(
        &other,
        json!({}),
        "holds neither train-images-idx3-ubyte nor train-images.idx3-ubyte, with or without .gz",
    );
    let good = folder(|name, bytes| (name.into(), bytes));
    says(
        &good,
        json!({ "classes": ["a", "b"] }),
        "`classes` names 2 classes, and the data has the label 4",
    );
    says(
        &good,
        json!({ "digest": { "test_labels": sha256(b"x") } }),
        "t10k-labels-idx1-ubyte has the digest",
    );
    says(
        &good,
        json!({ "source": "/not/there" }),
        "/not/there is not there",
    );
}

#[test]
fn the_four_files_are_downloaded_with_their_digests() {
    let packed: Vec<Vec<u8>> = files().iter().map(|(_, bytes)| gz(bytes)).collect();
    let paths = [
        "/m/train-images-idx3-ubyte.gz",
        "/m/train-labels-idx1-ubyte.gz",
        "/m/t10k-images-idx3-ubyte.gz",
        "/m/t10k-labels-idx1-ubyte.gz",
    ];
    let server = Server::start(paths.into_iter().zip(packed.clone()).collect());
    let digest = json!({
        "train_images": sha256(&packed[0]),
        "train_labels": sha256(&files()[1].1), // of the content: as good
        "test_images": sha256(&packed[2]),
        "test_labels": sha256(&packed[3]),
    });
    let mut parameters = json!({ "source": server.url("m/"), "digest": digest });
    assert_eq!(run::<Idx>(parameters.clone()).unwrap().rows.split.len(), 30);
    parameters["digest"]["test_labels"] = json!(sha256(b"x"));
    let error = format!("{:#}", run::<Idx>(parameters.clone()).unwrap_err());
    assert!(
        error.contains("t10k-labels-idx1-ubyte.gz has the digest"),
        "{error}"
    );
    parameters["digest"]
        .as_object_mut()
        .unwrap()
        .remove("test_labels");
    let error = format!("{:#}", run::<Idx>(parameters).unwrap_err());
    assert!(error.contains("has no digest"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0..40usize, value: u8, cut in 0..200usize, packed in 0..3) {
        let damage = |mut bytes: Vec<u8>| {
            let n = bytes.len();
            bytes[at % n] = value;
            bytes.truncate(cut);
            bytes
        };
        let whole = files().remove(0).1;
        let bytes = match packed {
            0 => damage(whole),
            1 => damage(gz(&whole)),
            // The checksum is right: it is for the parser to see the damage.
            _ => gz(&damage(whole)),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, &bytes).unwrap();
        if let Ok((shape, content)) = read_file(&path, 3) {
            let elements: u64 = shape.iter().map(|&n| u64::from(n)).product();
            prop_assert_eq!(elements, content.len() as u64);
        }
    }
}
