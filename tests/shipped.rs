//! What is shipped: every workflow, the data kinds on files of the official formats, and what the binaries link.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use flow_tests::{Test, binaries, skip, store};

fn workflows() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("workflows")
}

/// Where the Debian package `dataset-fashion-mnist` puts its files.
const FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

#[test]
fn every_workflow_passes_a_dry_run() {
    let mut found = 0;
    for entry in std::fs::read_dir(workflows()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        found += 1;
        // The true fine classes of PathMNIST are unknown: no oracle.
        let more = match path.file_stem().and_then(|name| name.to_str()) {
            Some("pathmnist") => 12,
            // Nothing is trained on vectors.
            Some("embeddings") => 3,
            _ => 15,
        };
        let test = Test::new();
        let store = test.path("store");
        let test = test
            .flow("run --dry-run --store")
            .arg(store)
            .arg(path)
            .stdout_has(&format!("0 up to date, 1 will run, {more} may run"))
            .check();
        assert!(!test.has("store"), "a dry run writes nothing");
    }
    assert_eq!(found, 7);
}

#[test]
fn every_ablation_passes_a_dry_run() {
    let mut found = 0;
    for entry in std::fs::read_dir(workflows().join("ablations")).unwrap() {
        let path = entry.unwrap().path();
        found += 1;
        let test = Test::new();
        let store = test.path("store");
        test.flow("run --dry-run --store")
            .arg(store)
            .arg(path)
            .stdout_has(" stages as separate runs, ")
            .stdout_has("0 up to date, 5 will run, ")
            .check();
    }
    assert_eq!(found, 8);
}

#[test]
fn fashion_mnist_runs_on_a_part_of_its_images() {
    if !Path::new(FASHION_MNIST).is_dir() {
        skip!("no {FASHION_MNIST} (apt-get install dataset-fashion-mnist)");
    }
    let text = std::fs::read_to_string(workflows().join("fashion-mnist.toml")).unwrap();
    let test = Test::new()
        .workflow(&text)
        .run(&format!(
            "--set source={FASHION_MNIST} --set limit=400 --set epochs={{min=1,max=1}} --set min_cluster_size=15 \
             --set min_samples=5"
        ))
        .may_warn()
        .ran(
            "data coarse features uncertainty certain umap fine_labels found fine finetune multihead[alpha=0.1] \
             multihead[alpha=0.9] oracle_fine oracle_finetune oracle_multihead[alpha=0.1] oracle_multihead[alpha=0.9]",
        )
        .check();
    store::assert_sound(&test.path(".flow"));
}

/// Records as CIFAR-10's: a label byte, then 3,072 of pixels.
fn batch(records: usize) -> Vec<u8> {
    let mut bytes = vec![0; records * 3073];
    for (row, record) in bytes.chunks_exact_mut(3073).enumerate() {
        record[0] = u8::try_from(row % 10).unwrap();
    }
    bytes
}

/// An archive as `cifar-10-binary.tar.gz`, with this as its last training batch.
fn cifar10(last: &[u8]) -> Vec<u8> {
    let whole = batch(10_000);
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let names = [
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
        "test_batch",
    ];
    for name in names {
        let content = if name == "data_batch_5" { last } else { &whole };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("cifar-10-batches-bin/{name}.bin");
        archive.append_data(&mut header, path, content).unwrap();
    }
    let mut gz = archive.into_inner().unwrap();
    gz.flush().unwrap();
    gz.finish().unwrap()
}

/// A file of CIFAR-10's Python version, with the rows of [`batch`], as Python 2 pickled it.
fn pickled() -> Vec<u8> {
    let mut pickle = b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01M\x10'M\0\x0c\x86\
                       cnumpy\ndtype\nU\x02u1K\0K\x01\x87R\x89T"
        .to_vec();
    let pixels = vec![0; 10_000 * 3072];
    pickle.extend(u32::try_from(pixels.len()).unwrap().to_le_bytes());
    pickle.extend(pixels);
    pickle.extend(b"tbU\x06labels](");
    pickle.extend((0..10_000u32).flat_map(|row| [b'K', u8::try_from(row % 10).unwrap()]));
    pickle.extend(b"eu.");
    pickle
}

#[test]
fn the_cifar10_workflow_takes_any_packing_of_the_images() {
    let text = std::fs::read_to_string(workflows().join("cifar10.toml")).unwrap();
    let mut test = Test::new()
        .workflow(&text)
        .file("own.tar.gz", cifar10(&batch(10_000)))
        .file("python/cifar-10-batches-py/batches.meta", b"\x80\x02}.");
    let batches = (1..=5).map(|n| format!("data_batch_{n}"));
    for name in batches.chain(["test_batch".to_owned()]) {
        test = test
            .file(&format!("folder/{name}.bin"), batch(10_000))
            .file(&format!("python/cifar-10-batches-py/{name}"), pickled());
    }
    let mut made = Vec::new();
    for source in [
        "own.tar.gz",
        "folder",
        "python",
        "python/cifar-10-batches-py",
    ] {
        test = test
            .run(&format!(
                "--until data --set limit=100 --set source={source}"
            ))
            .ran("data")
            .check();
        made.push(test.last().stages["data"].outputs["data"].clone());
    }
    made.dedup();
    assert_eq!(made.len(), 1, "{made:?}");
}

#[test]
fn the_embeddings_workflow_finds_the_digits_in_vectors_alone() {
    let text = std::fs::read_to_string(workflows().join("embeddings.toml")).unwrap();
    let test = Test::new()
        .workflow(&text)
        .file(
            "embeddings.npz",
            std::fs::read(workflows().join("embeddings.npz")).unwrap(),
        )
        .run("")
        .may_warn()
        .ran("data umap fine_labels found")
        .check();
    store::assert_sound(&test.path(".flow"));
    let metrics: serde_json::Value =
        serde_json::from_slice(&test.output("found", "metrics")).unwrap();
    assert_eq!(metrics["true_classes"], 10.0, "{metrics}");
    assert!(metrics["accuracy"].as_f64().unwrap() > 0.8, "{metrics}");
    let test = test
        .flow("get flow.toml data.rows -o rows.csv")
        .stdout_has("rows.csv")
        .check();
    let table = test.read("rows.csv");
    assert_eq!(table.lines().nth(5), Some("4,digit 4,test,even,4"));
    // Networks look at images, which vectors have none of.
    test.edit(
        "[stages.umap]",
        "[stages.coarse]\nuses = 'train'\ninputs = { data = 'data' }\n\n[stages.umap]",
    )
    .flow("run flow.toml --until coarse")
    .status(1)
    .stderr_has("has no images: its rows are vectors that were made elsewhere")
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
    let whole = cifar10(&batch(10_000));
    let good = Test::new()
        .workflow(CIFAR10)
        .file("cifar-10-binary.tar.gz", &whole);
    good.run("").ran("data").check();
    // Cut off on the way: the download that stopped.
    is_refused(
        &whole[..whole.len() / 2],
        "is not a whole .tar, .tar.gz or .zip archive",
    );
    // Whole as an archive, with a batch that lacks its last record.
    is_refused(
        &cifar10(&batch(9_999)),
        "is truncated: expected 30730000 bytes, found 30726927",
    );
    is_refused(
        b"<html>404</html>",
        "is not a whole .tar, .tar.gz or .zip archive",
    );
}

/// What the dynamic linker would load.
fn linked(binary: &str) -> String {
    let output = Command::new("ldd")
        .arg(binaries::find(binary))
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "only Linux has ldd")]
fn only_the_torch_plugin_links_libtorch() {
    for binary in ["flow", "flow-stages-data", "flow-stages-cluster"] {
        assert!(
            !linked(binary).contains("torch"),
            "{binary}:\n{}",
            linked(binary)
        );
    }
    assert!(linked("flow-stages-torch").contains("libtorch_cpu"));
}
