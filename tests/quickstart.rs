//! The main job: `workflows/quickstart.toml` with its real networks. Minutes, all other themes are seconds.

use std::path::Path;

use flow_tests::{Test, store};

fn quickstart() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("workflows/quickstart.toml")).unwrap()
}

/// What does not read the clusters.
const BEFORE: &str = "data coarse features uncertainty certain umap oracle_fine oracle_finetune \
                      oracle_multihead[alpha=0.1] oracle_multihead[alpha=0.9]";
const AFTER: &str = "fine_labels found fine finetune multihead[alpha=0.1] multihead[alpha=0.9]";
/// Networks of an epoch, where it only matters that they are trained.
const SHORT: &str = "--set epochs={min=1,max=1}";

#[test]
fn the_main_job_runs_once_and_then_only_what_changed() {
    let test = Test::new()
        .counting_plugins()
        .workflow(&quickstart())
        .flow("run flow.toml")
        .stdout_has("stage ")
        .stdout_has("\ncoarse ")
        .stdout_has("\nfinetune ")
        .stdout_has("\nmultihead[alpha=0.1] ")
        .stdout_has("\noracle_finetune ")
        .stdout_has("\nfound ")
        .stderr_has("16 ran, 0 cached")
        .check();
    store::assert_sound(&test.path(".flow"));
    // The same again: no process but flow itself.
    let everything = format!("{BEFORE} {AFTER}");
    let test = test.run("").cached(&everything).starts("").check();
    // Made again on this machine with as many threads, everything is the same bytes.
    let test = test
        .run("--check 1")
        .stages("identical", &everything)
        .check();
    // The stages without a network make them with any number of threads.
    let without_network = "data certain umap fine_labels found";
    let only: Vec<String> = without_network
        .split(' ')
        .map(|stage| format!("--only {stage}"))
        .collect();
    let test = test
        .run(&format!("--check 1 --threads 1,2,5 {}", only.join(" ")))
        .stages("identical", without_network)
        .check();
    // Another clustering: no network that it comes from is trained again.
    test.run("--set min_cluster_size=150")
        .may_warn()
        .cached(BEFORE)
        .ran(AFTER)
        .check();
}

#[test]
fn two_empty_stores_give_the_same_keys_and_digests() {
    let run = || {
        Test::new()
            .workflow(&quickstart())
            .run(SHORT)
            .may_warn()
            .ran(&format!("{BEFORE} {AFTER}"))
            .check()
    };
    assert_eq!(run().last().stages, run().last().stages);
}
