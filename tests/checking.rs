//! `flow run --check`: stages run again beside their stored results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flow_tests::{Signal, Test, store};
use serde_json::{Value, json};

/// `a` reads the file `side` outside the project, which it does not declare: what is in it changes what they make, and no key.
const SIDE: &str = r#"
[stages.a]
run = "cat ~/side > ${outputs.o}"
outputs = { o = "o.csv" }

[stages.b]
run = "cat ${inputs.a} > ${outputs.o}"
inputs = { a = "a" }
outputs = { o = "o.txt" }
"#;

fn side() -> Test {
    Test::new()
        .workflow(SIDE)
        .file("../side", "x,y\n1,2\n")
        .run("")
        .ran("a b")
        .check()
}

/// Every file of the store with the digest of its content, but who uses it just now.
fn content(store: &Path) -> BTreeMap<PathBuf, String> {
    store::files(store)
        .into_iter()
        .filter(|path| !path.starts_with(store.join("live")))
        .map(|path| {
            let digest = blake3::hash(&std::fs::read(&path).unwrap());
            (path, digest.to_string())
        })
        .collect()
}

/// What `--json` said of a stage.
fn line(test: &Test, stage: &str) -> Value {
    let lines = test.last().stdout.lines();
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["stage"] == stage)
        .unwrap()
}

#[test]
fn the_same_bytes_are_identical_and_the_store_stays_as_it_is() {
    let test = side();
    let before = content(&test.path(".flow"));
    let test = test.run("--check 3").stages("identical", "a b").check();
    assert_eq!(line(&test, "a")["runs"].as_array().unwrap().len(), 3);
    assert_eq!(content(&test.path(".flow")), before);
    let test = test
        .flow("run flow.toml --check 1")
        .stderr_has("identical a ")
        .stderr_has("with 1 thread")
        .stderr_has("check: 2 of 2 identical, ")
        .check();
    assert_eq!(content(&test.path(".flow")), before);
    assert!(
        std::fs::read_dir(test.path(".flow/work"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn other_bytes_are_told_with_their_first_difference_and_do_not_spread() {
    let test = side().file("../side", "x,y\n1,3\n");
    let before = content(&test.path(".flow"));
    let test = test
        .run("--check 2")
        .stages("differs", "a")
        .stages("identical", "b")
        .status(1)
        .check();
    let said = line(&test, "a");
    assert_eq!(said["stored"]["threads"], 1);
    let output = &said["runs"][1]["outputs"]["o"];
    assert_ne!(output["stored"], output["made"]);
    assert_eq!(
        output["files"],
        json!([{"difference": "line", "line": 2, "stored": "1,2", "made": "1,3"}])
    );
    let test = test
        .flow("run flow.toml --check 1")
        .stderr_has("differs   a ")
        .stderr_has("\n  o: line 2 is `1,3`, stored `1,2`\n")
        .stderr_has("\n  the stored result was made with 1 thread on ")
        .stderr_has("check: 1 of 2 identical, 1 differing, ")
        .status(1)
        .check();
    assert_eq!(content(&test.path(".flow")), before);
    test.run("").cached("a b").check();
}

/// A `.npy` file of two floats, format 1.0.
fn npy(values: [f32; 2]) -> Vec<u8> {
    let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".to_string();
    header += &" ".repeat(128 - 10 - 1 - header.len());
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[test]
fn arrays_and_figures_in_a_folder_are_compared_by_what_they_mean() {
    let workflow = "[stages.a]\nrun = 'cp -r ~/side/. ${outputs.o}'\noutputs = { o = 'o/' }\n\
                    [stages.b]\nrun = 'cp ~/side/x.npy ${outputs.o}'\noutputs = { o = 'o.npy' }";
    let test = Test::new()
        .workflow(workflow)
        .file("../side/x.npy", npy([1.0, 2.0]))
        .file("../side/m.json", r#"{"a": [1, {"b": 0.5}]}"#)
        .run("")
        .ran("a b")
        .check();
    let test = test
        .file("../side/x.npy", npy([1.0, 2.5]))
        .file("../side/m.json", r#"{"a": [1, {"b": 0.25}]}"#)
        .run("--check 1")
        .stages("differs", "a b")
        .status(1)
        .check();
    let elements = json!({
        "difference": "elements", "elements": 2, "differing": 1, "largest_absolute": 0.5, "largest_relative": 0.2,
        "not_finite": 0,
    });
    assert_eq!(
        line(&test, "b")["runs"][0]["outputs"]["o"]["files"],
        json!([elements])
    );
    let mut array = elements;
    array["file"] = "x.npy".into();
    let figures = json!({"file": "m.json", "difference": "value", "at": "/a/1/b", "stored": 0.5, "made": 0.25});
    assert_eq!(
        line(&test, "a")["runs"][0]["outputs"]["o"]["files"],
        json!([figures, array])
    );
    test.flow("run flow.toml --check 1 --only b")
        .stderr_has("o: 1 of 2 elements differ, by up to 5.00e-1 (2.00e-1 relative)")
        .status(1)
        .check();
}

#[test]
fn threads_can_be_chosen_and_are_told() {
    let test = Test::new()
        .workflow(
            "[stages.a]\nrun = 'echo $OMP_NUM_THREADS > ${outputs.o}'\noutputs = { o = 'o' }\n\
             [stages.b]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }",
        )
        .run("")
        .ran("a b")
        .check();
    let test = test
        .run("--check 2 --threads 1,5")
        .stages("differs", "a")
        .stages("identical", "b")
        .status(1)
        .check();
    let runs = line(&test, "a")["runs"].clone();
    let threads: Vec<(u64, &str)> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            (
                run["threads"].as_u64().unwrap(),
                run["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        threads,
        [
            (1, "identical"),
            (1, "identical"),
            (5, "differs"),
            (5, "differs")
        ]
    );
    test.flow("run flow.toml --check 1 --threads 1,5")
        .stderr_has("with 1, 5 threads; stored with 1\n")
        .stderr_has("  run 2 with 5 threads: o: line 1 is `5`, stored `1`")
        .status(1)
        .check();
}

#[test]
fn a_stage_that_fails_this_time_is_told_with_its_log() {
    let test = side();
    std::fs::remove_file(test.path("../side")).unwrap();
    let before = content(&test.path(".flow"));
    let test = test
        .flow("run flow.toml --check 1")
        .stderr_has("failed    a ")
        .stderr_has("  it ended with exit status 1\n")
        .stderr_has("/side: No such file")
        .stderr_has("check: 1 of 2 identical, 1 failed, ")
        .status(1)
        .check();
    assert_eq!(content(&test.path(".flow")), before);
    test.run("--check 1")
        .stages("failed", "a")
        .stages("identical", "b")
        .status(1)
        .check();
}

#[test]
fn stages_are_chosen_as_for_a_run_and_must_have_results() {
    let test = side();
    let test = test
        .run("--check 1 --only b")
        .stages("identical", "b")
        .check();
    let test = test
        .run("--check 1 --until a")
        .stages("identical", "a")
        .check();
    let test = test
        .edit("cat ${inputs.a} >", "cat -u ${inputs.a} >")
        .flow("run flow.toml --check 1")
        .stderr(
            "error: --check compares with the results in the store, and `b` has none that is up to date; first: flow \
             run flow.toml",
        )
        .status(2)
        .check();
    for wrong in [
        "--check 0",
        "--check many",
        "--threads 2",
        "--check 1 --threads 0",
        "--check 1 --force a",
        "--check 1 --dry-run",
    ] {
        let call = test.beside().flow(&format!("run flow.toml {wrong}"));
        call.status(2).stderr_has("error: ").check();
    }
}

#[test]
fn an_interrupted_check_leaves_nothing() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'test ! -e ~/slow || { echo on > ~/began; sleep 60; }; echo 1 > ${outputs.o}'\noutputs = { o = 'o' }")
        .run("")
        .ran("a")
        .check();
    let before = content(&test.path(".flow"));
    let mut running = test
        .file("../slow", "")
        .run("--check 1")
        .stages("cancelled", "a")
        .status(130)
        .start();
    running.wait_for("../began");
    running.signal(Signal::INT);
    let test = running.finish();
    assert_eq!(content(&test.path(".flow")), before);
    assert!(
        std::fs::read_dir(test.path(".flow/work"))
            .unwrap()
            .next()
            .is_none()
    );
}
