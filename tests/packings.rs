//! The data of the shipped workflows, in every packing that people have it in: one data set comes of all, and a copy that is
//! damaged or another set is an error that says what to do. The files have the official formats and made-up pixels.

use std::io::{Cursor, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use flow_tests::{Test, store};

fn shipped(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("workflows").join(name)).unwrap()
}

type Files = Vec<(String, Vec<u8>)>;

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn tar_gz(folder: &str, files: &Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("{folder}/{name}");
        archive
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn zip(files: &Files) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Writes files into a folder of the project.
fn in_folder(mut test: Test, folder: &str, files: &Files) -> Test {
    for (name, content) in files {
        test = test.file(&format!("{folder}/{name}"), content);
    }
    test
}

/// Runs the stage `data` with each source, and demands that all give the same bytes.
#[track_caller]
fn one_data_set(mut test: Test, sources: &[&str], more: &str) -> Test {
    let mut made = Vec::new();
    for source in sources {
        test = test
            .run(&format!("--until data --set source={source} {more}"))
            .ran("data")
            .check();
        made.push(test.last().stages["data"].outputs["data"].clone());
    }
    made.dedup();
    assert_eq!(made.len(), 1, "{made:?}");
    test
}

/// The bytes of an image: its row in two of them, the others 0.
fn image(row: usize) -> Vec<u8> {
    let mut image = vec![0; 3072];
    image[..2].copy_from_slice(&u16::try_from(row).unwrap().to_le_bytes());
    image
}

/// Each label of a row is the row modulo one of these.
fn records(rows: usize, classes: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows * (classes.len() + 3072));
    for row in 0..rows {
        bytes.extend(classes.iter().map(|classes| (row % classes) as u8));
        bytes.extend(image(row));
    }
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [b"U", [text.len() as u8].as_slice(), text.as_bytes()].concat()
}

/// The rows of [`records`] as Python 2 pickled them, with the labels under these keys.
fn pickled(rows: usize, labels: &[(&str, usize)]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01M".to_vec();
    pickle.extend(u16::try_from(rows).unwrap().to_le_bytes());
    pickle.extend(b"M\0\x0c\x86cnumpy\ndtype\nU\x02u1K\0K\x01\x87R\x89T");
    pickle.extend(u32::try_from(rows * 3072).unwrap().to_le_bytes());
    pickle.extend((0..rows).flat_map(image));
    pickle.extend(b"tb");
    for (key, classes) in labels {
        pickle.extend(text(key));
        pickle.extend(b"](");
        pickle.extend((0..rows).flat_map(|row| [b'K', (row % classes) as u8]));
        pickle.push(b'e');
    }
    pickle.extend(b"u.");
    pickle
}

/// The names of CIFAR-100's classes, as it were: a name and how many.
const NAMES: [(&str, usize); 2] = [("coarse", 20), ("fine", 100)];

fn class_names((name, count): (&str, usize)) -> Vec<String> {
    (0..count)
        .map(|number| format!("{name} {number}"))
        .collect()
}

fn cifar100() -> Files {
    let mut files = vec![
        ("train.bin".into(), records(50_000, &[20, 100])),
        ("test.bin".into(), records(10_000, &[20, 100])),
    ];
    for name in NAMES {
        let lines = class_names(name).join("\n");
        files.push((format!("{}_label_names.txt", name.0), lines.into_bytes()));
    }
    files
}

fn cifar100_pickled() -> Files {
    let labels = [("coarse_labels", 20), ("fine_labels", 100)];
    let mut meta = b"\x80\x02}(".to_vec();
    for name in NAMES {
        meta.extend(text(&format!("{}_label_names", name.0)));
        meta.extend(b"](");
        meta.extend(class_names(name).iter().flat_map(|name| text(name)));
        meta.push(b'e');
    }
    meta.extend(b"u.");
    vec![
        ("train".into(), pickled(50_000, &labels)),
        ("test".into(), pickled(10_000, &labels)),
        ("meta".into(), meta),
    ]
}

/// The digest of the images of [`cifar100`], by its definition in docs/data.md.
fn digest() -> String {
    let mut rows = Vec::new();
    for (split, count) in [(0u8, 50_000), (2, 10_000)] {
        for row in 0..count {
            let label = |classes| ((row % classes) as u32).to_le_bytes();
            let bytes = [&[split], &label(20)[..], &label(100), &image(row)].concat();
            rows.push(*blake3::hash(&bytes).as_bytes());
        }
    }
    rows.sort_unstable();
    let mut all = Vec::new();
    for name in NAMES {
        let names = class_names(name);
        all.extend((names.len() as u64).to_le_bytes());
        for name in names {
            all.extend((name.len() as u64).to_le_bytes());
            all.extend(name.as_bytes());
        }
    }
    all.extend(rows.as_flattened());
    format!("blake3:{}", blake3::hash(&all).to_hex())
}

#[test]
fn the_cifar100_workflow_takes_any_packing_of_the_images() {
    let (binary, python) = (cifar100(), cifar100_pickled());
    let test = Test::new()
        .workflow(&shipped("cifar100.toml"))
        .file("binary.tar.gz", tar_gz("cifar-100-binary", &binary))
        .file("python.tar.gz", tar_gz("cifar-100-python", &python))
        .file("binary.zip", zip(&binary));
    let test = in_folder(test, "unpacked/cifar-100-binary", &binary);
    let test = in_folder(test, "pickles/cifar-100-python", &python);
    let of_own = format!(
        "--set limit=1000 --set stages.data.with.content={}",
        digest()
    );
    let test = one_data_set(
        test,
        &[
            "binary.tar.gz",
            "python.tar.gz",
            "binary.zip",
            "unpacked",
            "unpacked/cifar-100-binary",
            "pickles",
            "pickles/cifar-100-python",
        ],
        &of_own,
    );
    // They are not the images that the workflow names. It is not asked of other images of one's own.
    let another = "unpacked is a damaged copy or another set than the workflow expects, and was not used; get it again, or, for \
                   images of your own, say --set stages.data.with.content=: the digest of the images, whatever their order, is ";
    let test = test
        .flow("run flow.toml --until data --set limit=1000 --set source=unpacked")
        .status(1)
        .stderr_has(another)
        .stderr_has(&digest())
        .check()
        .run("--until data --set limit=1000 --set source=unpacked --set stages.data.with.content=")
        .ran("data")
        .check();
    // One bit of one image; then a class of one image.
    let test_bin = &binary[1].1;
    for at in [3074 * 4000 + 1000, 3074 * 4000] {
        let mut damaged = test_bin.clone();
        damaged[at] ^= 1;
        let test = test.beside();
        test.file("unpacked/cifar-100-binary/test.bin", &damaged)
            .flow("run flow.toml --until data --set source=unpacked")
            .flow(&of_own)
            .status(1)
            .stderr_has(another)
            .stderr_has(&format!(" in place of {}", digest()))
            .check();
    }
    let test = test
        .file(
            "unpacked/cifar-100-binary/test.bin",
            &test_bin[..30_000_000],
        )
        .flow("run flow.toml --until data --set source=unpacked")
        .status(1)
        .stderr_has("test.bin is truncated: expected 30740000 bytes, found 30000000")
        .check();
    let test = in_folder(test, "cifar", &cifar10(batch(10_000)));
    test.flow("run flow.toml --until data --set source=cifar")
        .status(1)
        .stderr_has("is another data set: it holds the files of cifar-10-batches-bin, which the kind `cifar10` reads")
        .check()
        .file("empty/readme.txt", "")
        .flow("run flow.toml --until data --set source=empty")
        .status(1)
        .stderr_has("has no regular file train.bin, test.bin, coarse_label_names.txt, fine_label_names.txt of cifar-100-binary")
        .check();
}

/// A file of CIFAR-10's binary version.
fn batch(rows: usize) -> Vec<u8> {
    records(rows, &[10])
}

/// CIFAR-10's binary version, with this as its last training batch.
fn cifar10(last: Vec<u8>) -> Files {
    let names = [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ];
    let content = |name| match name {
        "data_batch_5" => last.clone(),
        _ => batch(10_000),
    };
    names
        .map(|name| (format!("{name}.bin"), content(name)))
        .into()
}

fn cifar10_archive(last: Vec<u8>) -> Vec<u8> {
    tar_gz("cifar-10-batches-bin", &cifar10(last))
}

#[test]
fn the_cifar10_workflow_takes_any_packing_of_the_images() {
    let binary = cifar10(batch(10_000));
    let mut python: Files = (binary.iter())
        .map(|(name, _)| {
            let name = name.trim_end_matches(".bin");
            (name.into(), pickled(10_000, &[("labels", 10)]))
        })
        .collect();
    python.push(("batches.meta".into(), b"\x80\x02}.".into()));
    let test = Test::new()
        .workflow(&shipped("cifar10.toml"))
        .file("own.tar.gz", cifar10_archive(batch(10_000)));
    let test = in_folder(test, "folder", &binary);
    let test = in_folder(test, "python/cifar-10-batches-py", &python);
    // What the made-up pixels add up to: rows stand in them as their low and their high byte.
    let sum: usize = (0..10_000).map(|row| row % 256 + row / 256).sum();
    let content = format!("{{train=[{},0,0],test=[{sum},0,0]}}", 5 * sum);
    let test = one_data_set(
        test,
        &[
            "own.tar.gz",
            "folder",
            "python",
            "python/cifar-10-batches-py",
        ],
        &format!("--set limit=100 --set stages.data.with.content={content}"),
    );
    test.flow("run flow.toml --until data --set limit=100 --set source=folder")
        .status(1)
        .stderr_has("folder is a damaged copy or another set than the workflow expects")
        .stderr_has("red, green and blue of the train images add up to [")
        .stderr_has(" in place of [6415714204, 6295060180, 5829907619]")
        .check();
}

const CIFAR10: &str =
    "[stages.data]\nuses = 'cifar10'\nwith = { source = 'cifar-10-binary.tar.gz', limit = 100 }\n";

/// The stage fails; the message names the file and what is wrong, and nothing is stored.
#[track_caller]
fn is_refused(archive: &[u8], says: &str) {
    let test = Test::new()
        .workflow(CIFAR10)
        .file("cifar-10-binary.tar.gz", archive)
        .flow("run flow.toml")
        .status(1)
        .stderr_has("error: stage `data` failed: ")
        .stderr_has(says)
        .stderr_has("cifar-10-binary.tar.gz")
        .stderr_has("whole log: DIR/.flow/runs/RUN/logs/data.log")
        .check();
    assert_eq!(store::keys(&test.path(".flow")), Vec::<String>::new());
}

#[test]
fn a_truncated_cifar_archive_is_refused() {
    let whole = cifar10_archive(batch(10_000));
    let good = Test::new()
        .workflow(CIFAR10)
        .file("cifar-10-binary.tar.gz", &whole);
    good.run("").ran("data").check();
    // Cut off on the way: the download that stopped. The six members pack alike.
    is_refused(
        &whole[..whole.len() * 5 / 12],
        "data_batch_3.bin in DIR/cifar-10-binary.tar.gz is truncated: expected 30730000 bytes, found ",
    );
    is_refused(
        &whole[..whole.len() - 4],
        "is not a whole .tar, .tar.gz or .zip archive",
    );
    // Whole as an archive, with a batch that lacks its last record.
    is_refused(
        &cifar10_archive(batch(9_999)),
        "is truncated: expected 30730000 bytes, found 30726927",
    );
    is_refused(
        b"<html>404</html>",
        "is not a whole .tar, .tar.gz or .zip archive",
    );
}

/// The four files of MNIST in small: 60 train and 20 test images.
fn idx() -> Files {
    let file = |shape: &[u32], bytes: Vec<u8>| {
        let mut file = vec![0, 0, 8, shape.len() as u8];
        file.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
        file.extend(bytes);
        file
    };
    let mut files = Vec::new();
    for (part, rows) in [("train", 60u8), ("t10k", 20)] {
        let pixels = (0..rows).flat_map(|row| [row; 28 * 28]).collect();
        let images = file(&[rows.into(), 28, 28], pixels);
        let labels = file(&[rows.into()], (0..rows).map(|row| row % 10).collect());
        files.push((format!("{part}-images-idx3-ubyte"), images));
        files.push((format!("{part}-labels-idx1-ubyte"), labels));
    }
    files
}

#[test]
fn the_workflows_of_idx_files_take_any_packing_of_them() {
    let packed: Files = (idx().iter())
        .map(|(name, bytes)| (format!("{name}.gz"), gz(bytes)))
        .collect();
    for workflow in ["mnist.toml", "fashion-mnist.toml"] {
        let test = Test::new()
            .workflow(&shipped(workflow))
            .file("plain.zip", zip(&idx()))
            .file("packed.zip", zip(&packed))
            .file("packed.tar.gz", tar_gz("MNIST/raw", &packed));
        let test = in_folder(test, "plain", &idx());
        let test = in_folder(test, "packed", &packed);
        let test = one_data_set(
            test,
            &[
                "plain",
                "packed",
                "plain.zip",
                "packed.zip",
                "packed.tar.gz",
            ],
            "--set stages.data.with.digest=",
        );
        for source in ["plain", "packed.zip"] {
            let test = test.beside();
            test.flow(&format!("run flow.toml --until data --set source={source}"))
                .status(1)
                .stderr_has("train-images-idx3-ubyte")
                .stderr_has("has the digest ")
                .stderr_has("it is damaged or another file, and was not used")
                .check();
        }
    }
}
