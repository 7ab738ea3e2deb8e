//! Every system call of flow that changes files fails once, or is the last one that flow makes: nothing is lost, it is
//! said aloud, and the next run ends right.
//!
//! `FLOW_TORTURE=full` gives each call each of the error numbers; by default it gets one of them.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use flow_tests::inject::Fault;
use flow_tests::torture::{Draws, count};
use flow_tests::{Test, store};

/// ENOSPC, EIO, EACCES.
const ERRORS: [i32; 3] = [28, 5, 13];

/// A file from an input, a folder, and what reads both. `FILES` is the number of files in the folder.
const WORKFLOW: &str = r#"
[stages.text]
run = "cat ${inputs.raw} > ${outputs.o}"
inputs = { raw = { path = "raw.txt" } }
outputs = { o = "o.txt" }

[stages.folder]
run = "mkdir -p ${outputs.o}/deep ${outputs.o}/empty; for i in $(seq FILES); do echo $i > ${outputs.o}/deep/$i; done"
outputs = { o = "o/" }

[stages.join]
run = "cat ${inputs.text} ${inputs.folder}/deep/1 > ${outputs.o}; echo joined"
inputs = { text = "text", folder = "folder" }
outputs = { o = "o.txt" }
"#;

fn empty() -> Test {
    with_files(2)
}

/// More files than are synced one by one.
fn many_files() -> Test {
    with_files(40)
}

fn with_files(files: usize) -> Test {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let test = Test::new()
        .workflow(&WORKFLOW.replace("FILES", &files.to_string()))
        .file("raw.txt", "some text\n");
    let raw = std::fs::File::options()
        .write(true)
        .open(test.path("raw.txt"))
        .unwrap();
    raw.set_modified(old).unwrap();
    test
}

/// A store with results.
fn filled() -> Test {
    empty().run("").ran("text folder join").check()
}

fn pinned() -> Test {
    let test = filled().flow("cache pin flow.toml best");
    test.stdout_has("pinned").check()
}

fn named() -> Test {
    empty().run("--name best").ran("text folder join").check()
}

/// A store of which one blob is damaged.
fn damaged() -> Test {
    let test = filled();
    let digest = &test.last().stages["text"].outputs["o"];
    let blob = store::blob(&test.path(".flow"), digest);
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, "rubbish").unwrap();
    test
}

/// What a run gives, by stage and output.
type Digests = BTreeMap<String, BTreeMap<String, String>>;

/// Calls flow once for each of its calls that change files, each time in a new project, with `fault` at that call.
#[track_caller]
fn at_every_call(prepared: fn() -> Test, command: &str, fault: &mut dyn FnMut(usize) -> Fault) {
    at_calls(1.., prepared, command, fault);
}

/// As [`at_every_call`], at these of its calls.
#[track_caller]
fn at_calls(
    calls: impl Iterator<Item = usize>,
    prepared: fn() -> Test,
    command: &str,
    fault: &mut dyn FnMut(usize) -> Fault,
) {
    let digests = digests(&prepared().run("").anyhow().check());
    let mut seen: BTreeMap<(&str, Option<i32>), usize> = BTreeMap::new();
    let mut places = 0;
    for n in calls {
        let fault = fault(n);
        let test = prepared().flow(command).fault(fault).anyhow().check();
        let outcome = test.last();
        let Some(call) = outcome.injected.struck else {
            break;
        };
        places += 1;
        let what = format!("flow {command}: {fault:?}, which is {call}");
        let text = format!("{what}\n{}{}", outcome.stdout, outcome.stderr);
        *seen.entry((call, outcome.status)).or_default() += 1;
        assert!(!outcome.stderr.contains("panicked"), "{text}");
        match outcome.status {
            Some(0) => {}
            None => assert!(matches!(fault, Fault::Kill(_)), "{text}"),
            Some(1) => {
                let said = outcome.stderr.contains("error: ");
                assert!(said || outcome.stdout.contains("\"failure\":"), "{text}");
            }
            Some(_) => panic!("{text}"),
        }
        ends_right(test, command, &digests, &what);
    }
    println!("flow {command}: {places} places\n  {seen:?}");
    // To remove a pin needs no space.
    assert!(places > 1 || command.contains("unpin"), "{command}");
}

/// The store is whole, and the next run gives the right results.
#[track_caller]
fn ends_right(test: Test, command: &str, digests: &Digests, what: &str) {
    let root = test.path(".flow");
    // What was damaged before flow was called may still be.
    let damaged = command.contains("--fix");
    let test = if root.join("format").exists() {
        let verify = test.flow("cache verify flow.toml").anyhow().check();
        let outcome = verify.last();
        let text = format!("after {what}\n{}{}", outcome.stdout, outcome.stderr);
        assert!(damaged || outcome.stdout.contains(" 0 damaged"), "{text}");
        verify
    } else {
        test
    };
    let test = test.run("").anyhow().check();
    let outcome = test.last();
    let text = format!("after {what}\n{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.status, Some(0), "{text}");
    assert!(damaged || outcome.stderr.is_empty(), "{text}");
    assert_eq!(self::digests(&test), *digests, "{text}");
    store::assert_sound(&root);
}

fn digests(test: &Test) -> Digests {
    let stages = test.last().stages.iter();
    stages
        .map(|(label, stage)| (label.clone(), stage.outputs.clone()))
        .collect()
}

/// Makes what a command begins with.
type Begin = fn() -> Test;

const COMMANDS: [(Begin, &str); 7] = [
    (empty, "run flow.toml --json"),
    (filled, "run flow.toml --force join"),
    (filled, "cache gc flow.toml --max-size 0B"),
    (filled, "cache pin flow.toml name"),
    (damaged, "cache verify flow.toml --fix"),
    (pinned, "cache unpin flow.toml best"),
    (named, "runs flow.toml --unname best"),
];

#[test]
fn every_call_fails_once() {
    let mut turn = Draws::new().below(3);
    for (prepared, command) in COMMANDS {
        for _ in 0..count(1, 3) {
            at_every_call(prepared, command, &mut |n| {
                Fault::Fail(n, ERRORS[(n + turn) % 3])
            });
            turn += 1;
        }
    }
}

#[test]
fn flow_is_killed_at_every_call() {
    for (prepared, command) in COMMANDS {
        at_every_call(prepared, command, &mut Fault::Kill);
    }
}

#[test]
fn the_disk_is_full_from_any_call_on() {
    for (prepared, command) in COMMANDS {
        at_every_call(prepared, command, &mut Fault::FullFrom);
    }
}

/// As the tests above, with files synced all at once: at a sample of the calls, since little is new in it; at all with
/// `FLOW_TORTURE=full`.
#[test]
fn many_files_at_once() {
    let command = "run flow.toml --json";
    let step = if count(0, 1) == 0 { 24 } else { 1 };
    let first = 1 + Draws::new().below(step);
    let calls = || (first..).step_by(step);
    let mut fail = |n| Fault::Fail(n, ERRORS[n % 3]);
    at_calls(calls(), many_files, command, &mut fail);
    at_calls(calls(), many_files, command, &mut Fault::Kill);
}

/// What only reads works; what has to write says that it can't.
#[test]
fn a_read_only_store() {
    let call = |test: Test, command: &str, status: i32, stdout: &str, stderr: &str| {
        let test = test.flow(command).fault(Fault::ReadOnly).status(status);
        test.stdout_has(stdout).stderr_has(stderr).check()
    };
    let test = named();
    for (command, says) in [
        ("status flow.toml", "3 up to date"),
        ("why flow.toml join", "join"),
        ("cache stats flow.toml", "3 results"),
        ("cache verify flow.toml", " 0 damaged"),
        ("cache gc flow.toml --max-size 0B --dry-run", "would free"),
        ("cache pins flow.toml", ""),
    ] {
        call(test.beside(), command, 0, says, "");
    }
    for command in [
        "run flow.toml",
        "run flow.toml --force join",
        "get flow.toml join",
        "cache gc flow.toml --max-size 0B",
        "cache verify flow.toml --fix",
        "cache pin flow.toml name",
        "runs flow.toml --unname best",
    ] {
        let test = call(test.beside(), command, 1, "", "error: ");
        let said = &test.last().stderr;
        assert!(said.contains("ead-only file system"), "{command}: {said}");
    }
    store::assert_sound(&test.path(".flow"));
    test.run("").cached("text folder join").check();
    call(empty(), "run flow.toml", 1, "", "ead-only file system");
}
