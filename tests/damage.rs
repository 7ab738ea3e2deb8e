//! A store that was damaged behind flow's back: said aloud, computed again, never served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flow_tests::{Test, store};

const TWO: &str = r#"
[stages.a]
run = "echo a >> ~/starts; sed s/raw/some/ ${inputs.text} > ${outputs.o}"
inputs = { text = { path = "text.txt" } }
outputs = { o = "o.txt" }

[stages.b]
run = "echo b >> ~/starts; tr a-z A-Z < ${inputs.a} > ${outputs.o}"
inputs = { a = "a" }
outputs = { o = "o.txt" }
"#;

fn two() -> Test {
    Test::new()
        .workflow(TWO)
        .file("text.txt", "raw text\n")
        .run("")
        .ran("a b")
        .check()
}

/// Changes a file of the store as a careless root would.
fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// The blob of a stage's output.
fn blob_of(test: &Test, stage: &str) -> std::path::PathBuf {
    let digest = &test.last().stages[stage].outputs["o"];
    store::blob(&test.path(".flow"), digest)
}

fn record_of(test: &Test, stage: &str) -> std::path::PathBuf {
    let key = test.last().stages[stage].key.as_ref().unwrap();
    store::record(&test.path(".flow"), key)
}

/// `a` is damaged: it says so, runs again and mends the store, and `b` is as it was.
#[track_caller]
fn a_runs_again(test: Test) {
    let test = test
        .run("")
        .stderr_has("warning: a: its result in the store can't be used, so it runs again:")
        .ran("a")
        .cached("b")
        .starts("a")
        .check();
    assert_eq!(test.output("b", "o"), b"SOME TEXT\n");
    assert_eq!(test.output("a", "o"), b"some text\n");
    store::assert_sound(&test.path(".flow"));
    test.run("").cached("a b").starts("").check();
}

#[test]
fn a_flipped_byte_of_a_blob() {
    let test = two();
    damage(&blob_of(&test, "a"), |bytes| bytes[0] ^= 1);
    a_runs_again(test);
}

#[test]
fn a_truncated_blob() {
    let test = two();
    damage(&blob_of(&test, "a"), |bytes| bytes.truncate(3));
    a_runs_again(test);
}

#[test]
fn an_empty_blob() {
    let test = two();
    damage(&blob_of(&test, "a"), Vec::clear);
    a_runs_again(test);
}

#[test]
fn a_lost_blob() {
    let test = two();
    fs::remove_file(blob_of(&test, "a")).unwrap();
    a_runs_again(test);
}

#[test]
fn a_flipped_byte_of_a_record() {
    let test = two();
    damage(&record_of(&test, "a"), |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    a_runs_again(test);
}

#[test]
fn a_truncated_record() {
    let test = two();
    damage(&record_of(&test, "a"), |bytes| {
        bytes.truncate(bytes.len() / 2);
    });
    a_runs_again(test);
}

#[test]
fn an_empty_record() {
    let test = two();
    damage(&record_of(&test, "a"), Vec::clear);
    a_runs_again(test);
}

#[test]
fn a_record_under_another_key_is_not_believed() {
    let test = two();
    fs::rename(record_of(&test, "b"), record_of(&test, "a")).unwrap();
    let test = test
        .run("")
        .stderr_has("warning: a: its result in the store can't be used, so it runs again:")
        .ran("a b")
        .check();
    assert_eq!(test.output("b", "o"), b"SOME TEXT\n");
}

#[test]
fn a_lost_record_is_only_a_miss() {
    let test = two();
    fs::remove_file(record_of(&test, "a")).unwrap();
    test.run("").ran("a").cached("b").starts("a").check();
}

/// `get` reads the content, whatever its stat says.
#[test]
fn get_does_not_hand_out_damaged_content() {
    let test = two();
    damage(&blob_of(&test, "b"), |bytes| bytes[0] ^= 1);
    let test = test
        .flow("get flow.toml b -o copy.txt")
        .status(1)
        .stderr_has("error: ")
        .check();
    assert!(!test.has("copy.txt"));
}

/// Small inputs are copies. `own_code` has the large ones, which are not.
#[test]
fn a_stage_that_writes_into_its_input_harms_nobody() {
    let writing = "chmod u+w ${inputs.a}; echo x >> ${inputs.a};";
    let test = two()
        .workflow(&TWO.replace("echo b >> ~/starts;", writing))
        .run("")
        .cached("a")
        .ran("b")
        .check();
    assert_eq!(test.output("a", "o"), b"some text\n");
    store::assert_sound(&test.path(".flow"));
}

#[test]
fn the_workflow_beside_a_store_of_another_format_is_refused() {
    let test = two();
    let format = test.path(".flow/format");
    damage(&format, |bytes| *bytes = b"flow-cache 99\n".to_vec());
    test.run("").status(2).stderr_has("flow-cache 99").check();
}

#[test]
fn deleting_the_memo_costs_only_time() {
    let test = two();
    let memo = test.path(".flow/memo");
    if memo.exists() {
        damage(&memo, |bytes| bytes.truncate(bytes.len() / 2));
    } else {
        fs::write(&memo, "rubbish\n").unwrap();
    }
    test.run("").cached("a b").starts("").check();
}

#[test]
fn bits_that_rot_are_found_by_verify() {
    let test = two();
    let test = test
        .flow("cache verify flow.toml")
        .stdout_has("0 damaged")
        .check();
    let test = test.run("").cached("a b").check();
    let blob = blob_of(&test, "a");
    let before = fs::metadata(&blob).unwrap().modified().unwrap();
    damage(&blob, |bytes| bytes[0] ^= 1);
    // As a disk does it: no time changes.
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().write(true).open(&blob).unwrap();
    file.set_modified(before).unwrap();
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o444)).unwrap();
    let verify = test.flow("cache verify flow.toml").status(1);
    let test = verify
        .stdout_has("does not have the digest that its name states")
        .may_warn()
        .check();
    let fix = test.flow("cache verify flow.toml --fix");
    let test = fix
        .stdout_has("does not have the digest that its name states")
        .may_warn()
        .check();
    let test = test.run("").ran("a").cached("b").check();
    assert_eq!(test.output("a", "o"), b"some text\n");
    store::assert_sound(&test.path(".flow"));
}
