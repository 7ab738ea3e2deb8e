//! What is shipped: every workflow, the data kinds on files of the official formats, and what the binaries link.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use flow_tests::{Test, binaries, store};

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
        let more = if path.ends_with("pathmnist.toml") {
            12
        } else {
            15
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
    assert_eq!(found, 6);
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
    assert_eq!(found, 7);
}

#[test]
fn fashion_mnist_runs_on_a_part_of_its_images() {
    if !Path::new(FASHION_MNIST).is_dir() {
        eprintln!("skipped: no {FASHION_MNIST} (apt-get install dataset-fashion-mnist)");
        return;
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
        "is not a whole .tar or .tar.gz archive",
    );
    // Whole as an archive, with a batch that lacks its last record.
    is_refused(
        &cifar10(&batch(9_999)),
        "is truncated: expected 30730000 bytes, found 30726927",
    );
    is_refused(
        b"<html>404</html>",
        "is not a whole .tar or .tar.gz archive",
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
fn only_the_torch_plugin_links_libtorch() {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: no ldd");
        return;
    }
    for binary in ["flow", "flow-stages-data", "flow-stages-cluster"] {
        assert!(
            !linked(binary).contains("torch"),
            "{binary}:\n{}",
            linked(binary)
        );
    }
    assert!(linked("flow-stages-torch").contains("libtorch_cpu"));
}
