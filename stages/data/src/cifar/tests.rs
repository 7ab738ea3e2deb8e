use super::*;
use crate::testing::{context, fixture, run, sha256};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::json;
use std::fs;

const SMALL: Format = Format {
    kind: "cifar100",
    folder: "cifar-100-binary",
    files: &[("train.bin", 4, false), ("test.bin", 2, true)],
    names: &["coarse_label_names.txt", "fine_label_names.txt"],
    classes: &[2, 3],
    python: PYTHON_100,
};

/// The records of [`SMALL`] as Python's pickle has them: files that `tests/fixtures/make.py` wrote.
fn pickled(protocol: u32) -> std::path::PathBuf {
    fixture(&format!("cifar-pickled-{protocol}"))
}

/// Records whose labels are row modulo classes, and whose first red, green and blue pixels are row, 100 and 200.
fn records(format: &Format, records: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in 0..records {
        bytes.extend(format.classes.iter().map(|&c| (row % usize::from(c)) as u8));
        let mut image = [0; PIXELS];
        (image[0], image[1024], image[2048]) = (row as u8, 100, 200);
        bytes.extend(image);
    }
    bytes
}

fn write(folder: &Path, format: &Format) {
    for &(name, count, _) in format.files {
        fs::write(folder.join(name), records(format, count)).unwrap();
    }
    for (&name, &classes) in format.names.iter().zip(format.classes) {
        let lines: String = (0..classes).map(|c| format!("{name}{c}\n")).collect();
        fs::write(folder.join(name), lines).unwrap();
    }
}

fn archive(folder: &Path, format: &Format) -> Vec<u8> {
    let gz = GzEncoder::new(Vec::new(), Compression::fast());
    let mut tar = tar::Builder::new(gz);
    // In a fixed order, since a test cuts the archive inside a certain member.
    let files = format.files.iter().map(|(name, ..)| name);
    for name in files.chain(format.names) {
        let member = Path::new(format.folder).join(name);
        tar.append_path_with_name(folder.join(name), member)
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn records_names_and_channels_are_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &SMALL);
    let found = read(folder.path(), &SMALL).unwrap();
    assert_eq!(
        found.labels,
        [vec![0, 1, 0, 1, 0, 1], vec![0, 1, 2, 0, 0, 1]]
    );
    assert_eq!(found.split[..4], [Split::Train; 4]);
    assert_eq!(found.split[4..], [Split::Test; 2]);
    let pixel = |row: usize, channel: usize| found.pixels[row * PIXELS + channel * 1024];
    assert_eq!((pixel(3, 0), pixel(3, 1), pixel(3, 2)), (3, 100, 200));
    assert_eq!(
        found.names[0],
        ["coarse_label_names.txt0", "coarse_label_names.txt1"]
    );
}

#[test]
fn truncated_files_wrong_labels_and_missing_names_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let says = |text: &str| {
        let error = format!("{:#}", read(folder.path(), &SMALL).unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    };
    write(folder.path(), &SMALL);
    let train = folder.path().join("train.bin");
    let mut bytes = records(&SMALL, 4);
    bytes[3074 + 1] = 3;
    fs::write(&train, &bytes).unwrap();
    says("train.bin in");
    says("the label of record 1 is 3, and there are 3 classes");
    fs::write(&train, &bytes[..3 * 3074]).unwrap();
    says("train.bin is truncated: expected 12296 bytes, found 9222");
    write(folder.path(), &SMALL);
    fs::write(folder.path().join("fine_label_names.txt"), "a\nb\n").unwrap();
    says("fine_label_names.txt in");
    says("expected 3 names, found 2");
    fs::remove_file(&train).unwrap();
    says("has no regular file train.bin");
}

#[test]
fn the_official_cifar10_layout_is_read_from_its_archive() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    write(&unpacked, &CIFAR10);
    let bytes = archive(&unpacked, &CIFAR10);
    let path = folder.path().join("own.tar.gz");
    fs::write(&path, &bytes).unwrap();
    let data = run::<Cifar10>(json!({
        "source": path,
        "digest": sha256(&bytes),
        "limit": { "train": 1000, "test": 50 },
    }))
    .unwrap();
    let count = |split| data.rows.of(split).len();
    assert_eq!(
        (count(Split::Train), count(Split::Val), count(Split::Test)),
        (900, 100, 50)
    );
    let (coarse, fine) = (
        data.rows.coarse.as_ref().unwrap(),
        data.rows.fine.as_ref().unwrap(),
    );
    assert_eq!(data.meta.coarse_names, ["animal", "vehicle"]);
    assert!(
        coarse
            .iter()
            .zip(fine)
            .all(|(c, f)| (*c == 1) == [0, 1, 8, 9].contains(f))
    );
    assert_eq!(data.meta.mean, MEAN);
    let says = |parameters, text: &str| {
        let error = format!("{:#}", run::<Cifar10>(parameters).unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    };
    // Of each image the red, green and blue of one pixel: its row in the file, 100 and 200.
    let red: u64 = (0..10_000u64).map(|row| row % 256).sum();
    let sums = |train| json!({ "train": [train, 5_000_000, 10_000_000], "test": [red, 1_000_000, 2_000_000] });
    run::<Cifar10>(json!({ "source": path, "content": sums(5 * red), "limit": 100 })).unwrap();
    says(
        json!({ "source": path, "content": sums(7) }),
        "own.tar.gz is a damaged copy or another set than the workflow expects, and was not used; get it again, or, for images \
         of your own, say --set stages.data.with.content=: red, green and blue of the train images add up to [",
    );
    let error = run::<Cifar100>(json!({ "source": path })).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "own.tar.gz is another data set: it holds the files of cifar-10-batches-bin, which the kind `cifar10` reads; this is \
             `cifar100`"
        ),
        "{error:#}"
    );
    // The six members pack alike: five twelfths end in the middle of the third.
    fs::write(&path, &bytes[..bytes.len() * 5 / 12]).unwrap();
    says(json!({ "source": path }), "data_batch_3.bin in ");
    says(
        json!({ "source": path }),
        "is truncated: expected 30730000 bytes, found",
    );
}

#[test]
fn the_official_cifar100_layout_is_read_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &CIFAR100);
    let data = run::<Cifar100>(json!({ "source": folder.path(), "limit": 200 })).unwrap();
    assert_eq!(data.meta.fine_names.len(), 100);
    assert_eq!(data.meta.coarse_names[19], "coarse_label_names.txt19");
    let error = run::<Cifar10>(json!({ "source": folder.path() })).unwrap_err();
    let text = "it holds the files of cifar-100-binary, which the kind `cifar100` reads";
    assert!(error.to_string().contains(text), "{error:#}");
    // Two rows of each fine class and split.
    for split in [false, true] {
        let mut counts = [0; 100];
        for (row, &fine) in data.rows.fine.as_ref().unwrap().iter().enumerate() {
            counts[fine as usize] += usize::from((data.rows.split[row] == Split::Test) == split);
        }
        assert_eq!(counts, [2; 100]);
    }
}

#[test]
fn pickles_give_the_rows_of_the_binary_files() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &SMALL);
    let binary = read(folder.path(), &SMALL).unwrap();
    for protocol in [2, 4, 5] {
        let found = read(&pickled(protocol), &SMALL).unwrap();
        assert_eq!(found.labels, binary.labels);
        assert_eq!(found.split, binary.split);
        assert_eq!(found.names, binary.names);
        assert!(found.pixels == binary.pixels, "protocol {protocol}");
    }
}

#[test]
fn what_the_images_are_is_checked_whatever_packs_them() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: &Path, expected: &str| {
        let expected = serde_json::from_value::<Expected>(json!(expected)).unwrap();
        let context = context(folder.path(), json!({}), 42);
        match read(path, &SMALL)
            .unwrap()
            .check(&context, "x", Some(&expected))
        {
            Ok(()) => String::new(),
            Err(error) => format!("{error:#}"),
        }
    };
    write(folder.path(), &SMALL);
    let wrong = check(folder.path(), &format!("blake3:{}", "0".repeat(64)));
    let (says, digests) = wrong
        .split_once(": the digest of the images, whatever their order, is ")
        .unwrap();
    assert_eq!(
        says,
        "x is a damaged copy or another set than the workflow expects, and was not used; get it again, or, for images of \
         your own, say --set stages.data.with.content="
    );
    let digest = digests.split(' ').next().unwrap();
    assert_eq!(check(folder.path(), digest), "");
    for protocol in [2, 4, 5] {
        assert_eq!(check(&pickled(protocol), digest), "");
    }
    // The rows of the official archive stand in another order than those of a copy that was put together anew.
    let train = folder.path().join("train.bin");
    let bytes = fs::read(&train).unwrap();
    let turned: Vec<u8> = bytes.rchunks(3074).flatten().copied().collect();
    fs::write(&train, &turned).unwrap();
    assert_eq!(check(folder.path(), digest), "");
    let mut damaged = turned;
    damaged[5000] ^= 1;
    fs::write(&train, &damaged).unwrap();
    assert!(check(folder.path(), digest).contains("in place of blake3:"));
}

#[test]
fn what_is_wrong_with_a_pickle_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["train", "test", "meta"] {
        let bytes = fs::read(pickled(2).join(name)).unwrap();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let says = |bytes: &[u8], text: &str| {
        fs::write(folder.path().join("train"), bytes).unwrap();
        let error = format!("{:#}", read(folder.path(), &SMALL).unwrap_err());
        assert!(error.contains(text), "{error}\n(expected: {text})");
    };
    let good = fs::read(pickled(2).join("train")).unwrap();
    says(&good[..good.len() / 2], "train in");
    says(&good[..good.len() / 2], "is truncated");
    says(
        b"hello",
        "is no batch of CIFAR's Python version: it is no pickle",
    );
    says(b"\x80\x02}.", "it has no `data`");
    says(b"\x80\x02]].", "it holds no dictionary");
    let test = fs::read(pickled(2).join("test")).unwrap();
    says(
        &test,
        "`data` has the shape [2, 3072] in place of [4, 3072]",
    );
    let nested = [b"\x80\x02".as_slice(), &[b']'; 500_000], b".".as_slice()].concat();
    says(&nested, "it holds no dictionary");
    // os.system: named, and never called.
    says(
        b"\x80\x02cposix\nsystem\n(U\x04exittR.",
        "it holds no dictionary",
    );
}

proptest! {
    #[test]
    fn no_pickle_makes_it_panic(at in 0..16384usize, value: u8, cut in 0..16384usize, protocol in 0..3u32) {
        let mut bytes = fs::read(pickled([2, 4, 5][protocol as usize]).join("train")).unwrap();
        let n = bytes.len();
        // Most of a batch is pixels: the others stand at both ends.
        let at = if at % 2 == 0 { at % 200 } else { n - 1 - at % 600 };
        bytes[at] = value;
        bytes.truncate(cut.max(n / 2));
        if let Ok(batch) = Pickle::read(&bytes) {
            let _ = (batch.array("data"), batch.integers("fine_labels"), batch.texts("filenames"));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(at in 0..8192usize, value: u8, cut in 0..8192usize) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &SMALL);
        let mut bytes = archive(folder.path(), &SMALL);
        let n = bytes.len();
        bytes[at % n] = value;
        bytes.truncate(cut.max(n / 2));
        let path = folder.path().join("x.tar.gz");
        fs::write(&path, bytes).unwrap();
        let _ = read(&path, &SMALL);
    }

    /// The archive is whole, so that the records' and the names' own parsers see the damage.
    #[test]
    fn no_bytes_of_a_member_make_it_panic(file in 0..4usize, at in 0..16384usize, value: u8, cut in prop::option::of(0..16384usize)) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &SMALL);
        let member = SMALL.files.iter().map(|(name, ..)| name).chain(SMALL.names).nth(file);
        let member = folder.path().join(member.unwrap());
        let mut bytes = fs::read(&member).unwrap();
        let n = bytes.len();
        // Every other time a label, of which a batch has few.
        let at = if at % 2 == 0 { at % n } else { at % n / 3074 * 3074 };
        bytes[at] = value;
        bytes.truncate(cut.unwrap_or(n));
        fs::write(&member, bytes).unwrap();
        let path = folder.path().join("x.tar.gz");
        fs::write(&path, archive(folder.path(), &SMALL)).unwrap();
        if let Ok(found) = read(&path, &SMALL) {
            for (labels, &classes) in found.labels.iter().zip(SMALL.classes) {
                prop_assert!(labels.iter().all(|&label| (0..i32::from(classes)).contains(&label)));
            }
        }
    }
}
