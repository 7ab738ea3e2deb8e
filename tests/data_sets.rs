//! Data sets from files, and what a person looks at: from a file in a publisher's format to a log folder of TensorBoard.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flow_tests::{Test, store};

/// A `.npy` file of u8, as `numpy.save` writes it.
fn npy(shape: &str, content: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}").into_bytes();
    header.resize((header.len() + 11).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\0".as_slice(), &length, &header, content].concat()
}

/// A file as `pathmnist.npz`: each of nine classes is a colour of its own, and in each class half of the images have a
/// bright left side and half a bright right side, under a little noise.
fn pathmnist() -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut write = |name: String, content: Vec<u8>| {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(name, options).unwrap();
        archive.write_all(&content).unwrap();
    };
    for (part, rows) in [("train", 540usize), ("val", 90), ("test", 90)] {
        let mut images = Vec::new();
        for row in 0..rows {
            let (class, side) = (row % 9, row / 9 % 2);
            for at in 0..28 * 28 {
                let bright = if (at % 28 < 14) == (side == 0) { 60 } else { 0 };
                let noise = (row * 31 + at * 17) % 23;
                for channel in 0..3 {
                    let colour = [20, 60, 120][class / [1, 3, 9][channel] % 3];
                    images.push((colour + bright + noise) as u8);
                }
            }
        }
        write(
            format!("{part}_images.npy"),
            npy(&format!("{rows}, 28, 28, 3"), &images),
        );
        let labels: Vec<u8> = (0..rows).map(|row| (row % 9) as u8).collect();
        write(
            format!("{part}_labels.npy"),
            npy(&format!("{rows}, 1"), &labels),
        );
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn the_pathmnist_workflow_runs_on_a_file_of_its_format() {
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(workflows.join("workflows/pathmnist.toml")).unwrap();
    let bytes = pathmnist();
    let shown = "[stages.shown]\nuses = 'projector'\n\
                 inputs = { embedding = 'umap', data = 'data', labels = 'fine_labels', mask = 'certain' }\n";
    // Not the published file, and none that its digest fits: that is the URL's. Nor has it as many images.
    let test = Test::new()
        .workflow(&format!("{text}\n{shown}"))
        .file("pathmnist.npz", &bytes)
        .flow("run flow.toml --set source=pathmnist.npz")
        .status(1)
        .stderr_has("has 540 train, 90 validation and 90 test images, and the workflow expects 89996 train, 10004 validation and 7180 test")
        .stderr_has("it is another set, or a part of one; name the right file, or, for images of your own, say --set stages.data.with.rows=")
        .check()
        .run("--set source=pathmnist.npz --set stages.data.with.rows= --set epochs={min=1,max=1} --set min_cluster_size=8")
        .may_warn()
        .ran(
            "data coarse features uncertainty certain umap fine_labels found fine finetune finetune_deep \
             multihead[alpha=0.1] multihead[alpha=0.9] shown",
        )
        .check();
    store::assert_sound(&test.path(".flow"));
    let metrics: serde_json::Value =
        serde_json::from_slice(&test.output("coarse", "metrics")).unwrap();
    assert!(metrics["test_auroc"].as_f64().unwrap() > 0.5, "{metrics}");
    assert_eq!(metrics["classes"]["mucus"]["images"], 10);
}

#[test]
fn a_digest_that_the_workflow_names_for_a_file_is_checked() {
    let bytes = pathmnist();
    Test::new()
        .workflow("[stages.data]\nuses = 'medmnist'\nwith = { source = 'x.npz', digest = 'md5:a8b06965200029087d5bd730944a56c1' }\n")
        .file("x.npz", &bytes)
        .flow("run flow.toml")
        .status(1)
        .stderr_has("and the workflow expects md5:a8b06965200029087d5bd730944a56c1")
        .check();
}

#[test]
fn a_glob_of_parquet_files_is_one_data_set() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let hub = fixtures.join("stages/data/tests/fixtures/hub");
    let file = |split: &str| fs::read(hub.join(format!("{split}-00000-of-00001.parquet"))).unwrap();
    let test = Test::new()
        .workflow(
            "[params]\nsource = 'data/*.parquet'\n[stages.data]\nuses = 'parquet-images'\n\
             with = { source = '${source}', labels = 'fine_label', coarse_labels = 'coarse_label', val = 0.0 }\n",
        )
        .file("data/train-0.parquet", file("train"))
        .file("data/test-0.parquet", file("test"))
        .run("")
        .ran("data")
        .check();
    let folder = test.last().stages["data"].outputs["data"].clone();
    // A list and a table of globs, and a folder, are the same data; no file is no data.
    for source in [
        "['data/train-*.parquet','data/test-0.parquet']",
        "{train='data/tr*.parquet',test='data/te*'}",
        "'data'",
    ] {
        let test = test
            .beside()
            .run("--set")
            .arg(format!("source={source}"))
            .ran("data")
            .check();
        assert_eq!(
            test.last().stages["data"].outputs["data"],
            folder,
            "{source}"
        );
    }
    let test = test
        .run("")
        .cached("data")
        .check()
        .run("--set source=data/x*.parquet")
        .status(2)
        .stderr_has("no file matches")
        .check()
        .flow("get flow.toml data -o out")
        .stdout_has("out")
        .check();
    let meta: serde_json::Value = serde_json::from_str(&test.read("out/dataset.json")).unwrap();
    assert_eq!(meta["fine_names"][3], "dog");
    // 18 images of 3 x 4 x 6 bytes.
    let images = fs::read(test.path("out/images.npy")).unwrap();
    assert_eq!(images.len() % 128, 18 * 72 % 128);
}

const ARRAYS: &str = "[stages.data]
uses = 'npy'
with = { images = 'x.npy', labels = 'y.npy', classes = ['dark', 'bright'] }
[stages.coarse]
uses = 'train'
inputs = { data = 'data' }
with = { arch = 'cnn', width = 4, epochs = { min = 1, max = 2 }, batch_size = 16, precision = 'bf16' }
[stages.pixels]
uses = 'features'
inputs = { data = 'data', model = 'coarse' }
[stages.shown]
uses = 'projector'
inputs = { embedding = 'pixels', data = 'data' }
with = { limit = 40 }
";

#[test]
fn arrays_become_log_folders_for_tensorboard() {
    let images: Vec<u8> = (0..100u8)
        .flat_map(|row| [40 + 150 * (row % 2) + row / 4; 64])
        .collect();
    let labels: Vec<u8> = (0..100).map(|row| row % 2).collect();
    let test = Test::new()
        .workflow(ARRAYS)
        .file("x.npy", npy("100, 8, 8", &images))
        .file("y.npy", npy("100,", &labels))
        .run("")
        .may_warn()
        .ran("data coarse pixels shown")
        .check();
    let test = test
        .flow("get flow.toml coarse.tensorboard -o log-coarse")
        .stdout_has("log-coarse")
        .check()
        .flow("get flow.toml shown.tensorboard -o log-shown")
        .stdout_has("log-shown")
        .check();
    let events = fs::read(test.path("log-coarse/events.out.tfevents.0.flow")).unwrap();
    let events = String::from_utf8_lossy(&events);
    assert_eq!(events.matches("accuracy/validation").count(), 2);
    assert_eq!(test.read("log-shown/tensors.tsv").lines().count(), 40);
    assert_eq!(test.read("log-shown/metadata.tsv").lines().count(), 41);
    for name in [
        "sprite.png",
        "projector_config.pbtxt",
        "events.out.tfevents.0.flow",
    ] {
        assert!(test.has(&format!("log-shown/{name}")), "{name}");
    }
}
