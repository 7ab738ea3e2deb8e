//! What a run starts first, and how it ends where the store fails it.

use std::fs;
use std::path::Path;

use flow_tests::{Test, store};
use serde_json::Value;

/// `last` stands first in the file and ends its way; `start` leads on to `middle`.
const WAYS: &str = "
[stages.last]
run = 'echo last >> ~/order; echo 1 > ${outputs.o}'
outputs = { o = 'o' }

[stages.start]
run = 'echo start >> ~/order; echo 2 > ${outputs.o}'
outputs = { o = 'o' }

[stages.middle]
run = 'echo middle >> ~/order; cat ${inputs.i} > ${outputs.o}'
inputs = { i = 'start' }
outputs = { o = 'o' }
";

/// Writes into the record of each instance how long it took.
fn took(store: &Path, seconds: &[(&str, f64)]) {
    for key in store::keys(store) {
        let mut content = store::content(store, &key);
        let label = content["provenance"]["label"].as_str().unwrap();
        let (_, seconds) = seconds.iter().find(|(known, _)| *known == label).unwrap();
        content["seconds"] = Value::from(*seconds);
        let content = serde_json::to_string(&content).unwrap();
        let digest = blake3::hash(content.as_bytes()).to_hex();
        let text = format!("{{\"blake3\":\"{digest}\",\"content\":{content}}}\n");
        fs::write(store::record(store, &key), text).unwrap();
    }
}

/// The order in which a second run, of the same stages with other results, starts them.
fn order(test: Test, again: &str, labels: &str, seconds: &[(&str, f64)]) -> (Test, String) {
    let test = test.run("").ran(labels).check();
    took(&test.path(".flow"), seconds);
    fs::remove_file(test.path("../order")).unwrap();
    let test = test.run("--jobs 1").flow(again).ran(labels).check();
    let order = test.read("../order");
    (test, order.split_whitespace().collect::<Vec<_>>().join(" "))
}

const ALL: &str = "--force last --force start --force middle";

#[test]
fn the_longest_way_is_begun_first() {
    let seconds = [("last", 600.0), ("start", 2.0), ("middle", 900.0)];
    let (_, found) = order(
        Test::new().workflow(WAYS),
        ALL,
        "last start middle",
        &seconds,
    );
    assert_eq!(found, "start middle last");
    let seconds = [("last", 600.0), ("start", 2.0), ("middle", 10.0)];
    let (_, found) = order(
        Test::new().workflow(WAYS),
        ALL,
        "last start middle",
        &seconds,
    );
    assert_eq!(found, "last start middle");
    // Between the two: its start leads on to more, and what is left is less.
    let seconds = [("last", 600.0), ("start", 300.0), ("middle", 400.0)];
    let (_, found) = order(
        Test::new().workflow(WAYS),
        ALL,
        "last start middle",
        &seconds,
    );
    assert_eq!(found, "start last middle");
}

#[test]
fn where_nothing_is_known_the_way_of_most_stages_is_begun_first() {
    let test = Test::new()
        .workflow(WAYS)
        .run("--jobs 1")
        .ran("last start middle")
        .check();
    assert_eq!(test.read("../order"), "start\nlast\nmiddle\n");
}

#[test]
fn the_longest_point_of_a_sweep_is_begun_first() {
    let sweep = format!(
        "[params]\nx = 1\n[sweep]\naxes = {{ x = [1, 2, 3] }}\n{}",
        WAYS.replace("echo middle >>", "echo middle${x} >>")
    );
    let seconds = [
        ("last", 50.0),
        ("start", 2.0),
        ("middle[x=1]", 10.0),
        ("middle[x=2]", 900.0),
        ("middle[x=3]", 100.0),
    ];
    let labels = "last start middle[x=1] middle[x=2] middle[x=3]";
    let (_, found) = order(Test::new().workflow(&sweep), ALL, labels, &seconds);
    assert_eq!(found, "start middle2 middle3 last middle1");
}

/// `b` does what `a` does, so it waits for it; `c` reads from `b` alone. The way from `a` is longer.
const TWINS: &str = "
[stages.a]
run = 'echo 1 > ${outputs.o}'
outputs = { o = 'o' }

[stages.b]
run = 'echo 1 > ${outputs.o}'
outputs = { o = 'o' }

[stages.c]
run = 'cat ${inputs.i} > ${outputs.o}'
inputs = { i = 'b' }
outputs = { o = 'o' }

[stages.d]
run = 'cat ${inputs.i} ${inputs.i} > ${outputs.o}'
inputs = { i = 'a' }
outputs = { o = 'o' }

[stages.e]
run = 'cat ${inputs.i} > ${outputs.o}'
inputs = { i = 'd' }
outputs = { o = 'o' }
";

#[test]
fn an_end_is_not_well_where_the_store_could_not_be_read() {
    let test = Test::new()
        .workflow(TWINS)
        .run("")
        .ran("a c d e")
        .stages("cached", "b")
        .check();
    let key = test.last().stages["c"].key.clone().unwrap();
    fs::remove_dir_all(test.path(".flow/actions")).unwrap();
    // In the place of the record of `c` lies something that can't be read as a file.
    fs::create_dir_all(store::record(&test.path(".flow"), &key)).unwrap();
    let test = test
        .run("--jobs 1")
        .status(1)
        .ran("a")
        .stages("cached", "b")
        .stages("cancelled", "c d e")
        .stderr_has("error: reading DIR/.flow/actions/")
        .check();
    assert_eq!(test.last().run.as_ref().unwrap()["status"], "failed");
    // People see it too, and the journal keeps it.
    test.flow("runs flow.toml").stdout_has("failed").check();
}
