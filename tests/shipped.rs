//! What is shipped: every workflow, and what the binaries link.

use std::path::{Path, PathBuf};
use std::process::Command;

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
            // The quickstart, and what it takes to label all images.
            Some("new-images") => 19,
            _ => 15,
        };
        let chosen: &[&str] = match path.file_stem().and_then(|name| name.to_str()) {
            // A minute's work, with nothing to choose.
            Some("quickstart" | "embeddings" | "new-images") => &[""],
            _ => &["", "--variant machine=cpu", "--variant machine=gpu"],
        };
        for chosen in chosen {
            Test::new()
                .flow("check")
                .arg(&path)
                .flow(chosen)
                .stdout_has(" is right: ")
                .check();
            let test = Test::new();
            let store = test.path("store");
            let test = test
                .flow("run --dry-run --store")
                .arg(store)
                .arg(&path)
                .flow(chosen)
                .stdout_has(&format!("0 up to date, 1 will run, {more} may run"))
                .check();
            assert!(!test.has("store"), "a dry run writes nothing");
        }
    }
    assert_eq!(found, 8);
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
    assert_eq!(found, 11);
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
