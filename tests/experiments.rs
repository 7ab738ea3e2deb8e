//! Runs as experiments: names and notes, what differs between runs, their results, and making them again.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flow_tests::{Signal, Test, skip, store};
use serde_json::{Value, json};

/// A model of a param, by code of the user's; and its figures.
const MODEL: &str = r#"
[params]
lr = 1

[stages.train]
run = "bash src/train.sh ${lr} ${inputs.data} > ${outputs.model}; echo {'\"loss\"': ${lr}} > ${outputs.metrics}"
inputs = { code = { path = "src/train.sh" }, data = { path = "data.txt" } }
outputs = { model = "model.txt", metrics = "metrics.json" }

[deliver]
"model.txt" = "train"
"#;

fn model() -> Test {
    Test::new()
        .workflow(MODEL)
        .file("src/train.sh", "echo first $1\ncat $2\n")
        .file("data.txt", "data\n")
}

/// The lines of the last call, as JSON.
fn lines(test: &Test) -> Vec<Value> {
    let lines = test.last().stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `flow runs --json`, newest first.
fn runs(test: Test, arguments: &str) -> (Test, Vec<Value>) {
    let test = test
        .flow("runs --json")
        .flow(arguments)
        .stdout_has("")
        .check();
    let runs = lines(&test);
    (test, runs)
}

/// The folder of the run with a name.
fn folder(test: &Test, name: &str) -> PathBuf {
    let mut runs = store::runs(&test.path(".flow")).into_iter();
    let named = |run: &PathBuf| {
        let head = fs::read_to_string(run.join("run.json")).unwrap();
        head.contains(&format!("\"name\": \"{name}\""))
    };
    runs.find(named).unwrap()
}

fn git(folder: &Path, arguments: &str) -> bool {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder);
    command.args(["-c", "user.name=a", "-c", "user.email=a@b"]);
    let done = command.args(arguments.split_whitespace()).output();
    done.is_ok_and(|done| done.status.success())
}

#[test]
fn named_experiments_and_their_notes() {
    let test = model()
        .run("--name baseline --note")
        .arg("as in the paper")
        .ran("train")
        .check();
    let (test, found) = runs(test, "");
    assert_eq!(found[0]["name"], "baseline");
    assert_eq!(found[0]["note"], "as in the paper");
    assert_eq!(found[0]["figures"], json!({"train.loss": 1}));
    // What is written of a run is of that run alone, also where nothing else is to do.
    let test = test
        .run("")
        .cached("train")
        .check()
        .run("")
        .cached("train")
        .check();
    let (test, found) = runs(test, "");
    assert_eq!(
        [&found[0]["name"], &found[0]["note"]],
        [&Value::Null, &Value::Null]
    );
    assert_eq!(found[0]["figures"], json!({"train.loss": 1}));
    let test = test.run("--name again").cached("train").check();
    let (test, found) = runs(test, "--name ag*");
    assert_eq!(found.len(), 1);
    test.flow("show baseline")
        .stdout_has("name        baseline")
        .stdout_has("note        as in the paper")
        .check()
        .flow("runs --limit 1")
        .stdout_has("again")
        .check();
}

#[test]
fn a_name_that_is_none_or_taken_is_refused() {
    let test = model().run("--name a").ran("train").check();
    let test = test
        .run("--name a")
        .status(2)
        .stderr_has("error: --name a: run RUN has that name: choose another")
        .check();
    for (name, why) in [
        ("20261124-093000-1f3a", "that is what ids of runs look like"),
        ("x.toml", "that is what workflow files look like"),
        ("a/b", "write letters, digits"),
    ] {
        let refused = test.beside().run("--name").arg(name).status(2);
        refused.stderr_has(why).check();
    }
    // One that did not end well gives its name up, and the name means the newest.
    let test = test
        .edit("bash src/train.sh", "exit 3; bash src/train.sh")
        .run("--name b")
        .status(1)
        .stages("failed", "train")
        .check()
        .edit("exit 3; bash", "bash")
        .run("--name b --set lr=2")
        .ran("train")
        .check();
    test.flow("get b train -o -")
        .stdout("first 2\ndata\n")
        .check();
}

#[test]
fn the_model_of_last_weeks_run() {
    let test = model()
        .run("--name first")
        .ran("train")
        .check()
        .run("--name second --set lr=2")
        .ran("train")
        .check();
    // The project has moved on, and its file is broken.
    let test = test.workflow("[stages.train]\nrun = 1\n");
    let id = folder(&test, "first").file_name().unwrap().to_owned();
    let test = test
        .flow("get first train.model -o one.txt")
        .stdout("one.txt\n")
        .check();
    assert_eq!(test.read("one.txt"), "first 1\ndata\n");
    let test = test
        .flow("get")
        .arg(id)
        .arg("train")
        .flow("-o -")
        .stdout("first 1\ndata\n")
        .check();
    let test = test
        .flow("get second --all -o all")
        .stdout("all/model.txt\n")
        .check();
    assert_eq!(test.read("all/model.txt"), "first 2\ndata\n");
    let test = test
        .flow("table second --json")
        .stdout_has("\"train.loss\"")
        .check()
        .flow("show first train.model")
        .stdout_has("train")
        .stdout_has("--until train")
        .check()
        .flow("report first -o first.html")
        .stdout_has("wrote first.html")
        .check()
        .flow("export first --ro-crate crate")
        .stdout_has("wrote crate")
        .check()
        .flow("compare first second")
        .stdout_has("lr")
        .check();
    test.flow("get first train --set lr=3")
        .status(2)
        .stderr_has("a run is as it was; options are for workflow files")
        .check()
        .flow("get third train")
        .status(2)
        .stderr_has("third")
        .check()
        .flow("get first nothing")
        .status(2)
        .stderr_has("had no such stage")
        .check();
}

#[test]
fn its_code_and_what_differed_in_code() {
    let test = model()
        .run("--name first")
        .ran("train")
        .check()
        .file("src/train.sh", "echo second $1\ncat $2\n")
        .run("--name second")
        .ran("train")
        .check();
    let test = test
        .flow("compare first second")
        .stdout_has("A  run RUN (first) of flow: ok\nB  run RUN (second) of flow: ok\n")
        .stdout_has("--- A/src/train.sh\n+++ B/src/train.sh\n@@ -1,2 +1,2 @@\n-echo first $1\n+echo second $1\n cat $2\n")
        .check();
    // As it is now, which no run has seen.
    let test = test
        .file("src/train.sh", "echo third $1\ncat $2\n")
        .flow("compare second flow.toml --json")
        .stdout_has("-echo second $1\\n+echo third $1\\n")
        .check();
    let found = lines(&test);
    let code: Vec<&Value> = found
        .iter()
        .filter(|line| line["event"] == "code")
        .collect();
    assert_eq!(code.len(), 1);
    assert_eq!(code[0]["path"], "src/train.sh");
    // The list names it, too.
    let (test, found) = runs(test, "--limit 1");
    assert_eq!(found[0]["changed"]["files"], json!(["src/train.sh"]));
    // What is no text, and what is too much to read.
    let test = test
        .file("data.txt", [0, 1, 2])
        .run("--name binary")
        .ran("train")
        .check()
        .file("data.txt", "x\n".repeat(300_000))
        .run("--name large")
        .ran("train")
        .check();
    let test = test
        .flow("compare first second --report both.html")
        .stdout_has("wrote both.html")
        .check();
    assert!(test.read("both.html").contains(r#""title":"Code""#));
    test.flow("compare second binary")
        .stdout_has("data.txt differs: not text")
        .check()
        .flow("compare second large")
        .stdout_has("data.txt differs: too large to be compared line by line")
        .check();
}

#[test]
fn run_it_again() {
    let test = model().run("--name first --set lr=3").ran("train").check();
    let test = test
        .file("src/train.sh", "echo second $1\ncat $2\n")
        .run("")
        .ran("train")
        .check();
    assert_eq!(test.read("model.txt"), "second 1\ndata\n");
    let test = test.workflow("not a workflow");
    // From the store; then all of it anew, with the code of then.
    let test = test
        .flow("run --again first --json")
        .cached("train")
        .check()
        .flow("run --again first --force --json")
        .ran("train")
        .check();
    assert_eq!(test.output("train", "model"), b"first 3\ndata\n");
    assert_eq!(
        test.read("model.txt"),
        "second 1\ndata\n",
        "nothing is delivered over what is now"
    );
    let (test, found) = runs(test, "--limit 1");
    assert_eq!(found[0]["set"], json!(["lr=3"]));
    assert!(found[0]["again"].is_string());
    let test = test
        .flow("run --again first --in old --json")
        .cached("train")
        .check();
    assert_eq!(test.read("old/src/train.sh"), "echo first $1\ncat $2\n");
    assert_eq!(test.read("old/flow.toml"), MODEL);
    assert_eq!(test.read("old/model.txt"), "first 3\ndata\n");
    test.flow("run --again first --in old")
        .status(2)
        .stderr_has("it is there already and not empty")
        .check()
        .flow("run --again first --set lr=4")
        .status(2)
        .stderr_has("cannot be used with")
        .check();
}

#[test]
fn large_inputs_are_taken_from_where_they_are_or_named() {
    let large = vec![b'x'; 9 << 20];
    let test = Test::new()
        .workflow(
            "[stages.a]\nrun = 'wc -c < ${inputs.data} > ${outputs.o}'\ninputs = { data = { path = 'data.bin' } }\noutputs = { o = 'o' }",
        )
        .file("data.bin", &large)
        .run("--name first")
        .ran("a")
        .check();
    let test = test
        .flow("run --again first --force --json")
        .ran("a")
        .check()
        .flow("run --again first --in copy --force --json")
        .ran("a")
        .check();
    assert!(test.path("copy/data.bin").is_symlink());
    test.file("data.bin", "other")
        .flow("run --again first --force")
        .status(2)
        .stderr_has("can't be made again: what it read is no longer there: `data.bin` is another file or folder now")
        .check();
}

#[test]
fn named_experiments_note_the_commit() {
    let test = model();
    let folder = test.path("");
    if !git(&folder, "init -q") {
        skip!("git is not here");
    }
    fs::write(test.path(".gitignore"), ".flow\nmodel.txt\n").unwrap();
    // No commit yet: nothing is said.
    let test = test.run("").ran("train").check();
    let (test, found) = runs(test, "--limit 1");
    assert_eq!(found[0]["commit"], Value::Null);
    assert!(git(&folder, "add .") && git(&folder, "commit -q -m one"));
    let test = test.run("--name clean").cached("train").check();
    let (test, found) = runs(test, "--limit 1");
    let commit = found[0]["commit"]["id"].as_str().unwrap().to_string();
    assert_eq!(commit.len(), 40);
    assert_eq!(found[0]["commit"]["clean"], true);
    let test = test
        .file("src/train.sh", "echo other $1\n")
        .run("--name changed")
        .ran("train")
        .check();
    let (test, found) = runs(test, "--limit 1");
    assert_eq!(found[0]["commit"], json!({"id": commit, "clean": false}));
    test.flow("show changed")
        .stdout_has(&format!("commit      {commit}, with files changed since"))
        .check()
        .flow("runs")
        .stdout_has(&format!("{}+", &commit[..12]))
        .check();
}

#[test]
fn a_workflow_of_a_git_revision_is_compared() {
    let test = model();
    let folder = test.path("");
    if !git(&folder, "init -q") {
        skip!("git is not here");
    }
    // Data is in no commit.
    fs::write(test.path(".gitignore"), ".flow\nmodel.txt\ndata.txt\n").unwrap();
    assert!(git(&folder, "add .") && git(&folder, "commit -q -m one"));
    let test = test
        .run("")
        .ran("train")
        .check()
        .file("src/train.sh", "echo second $1\ncat $2\n")
        .edit("lr = 1", "lr = 2")
        .run("")
        .ran("train")
        .check()
        .flow("compare HEAD:flow.toml flow.toml")
        .stdout_has("lr  1 → 2")
        .stdout_has("-echo first $1\n+echo second $1\n")
        .stdout_has("figure loss")
        .check();
    assert!(
        git(&folder, "diff --cached --quiet"),
        "the index is as it was"
    );
    test.flow("compare HEAD:nothing.toml flow.toml")
        .status(2)
        .stderr_has("`HEAD:nothing.toml` is no run and no file")
        .check()
        .flow("compare nowhere:flow.toml flow.toml")
        .status(2)
        .stderr_has("is no run and no file")
        .check();
}

#[test]
fn a_list_of_runs_with_their_params_and_figures() {
    let test = model();
    // Within one second, most likely: they stand in the order in which they began.
    let mut test = test.run("--name r0").ran("train").check();
    for lr in 2..6 {
        test = test
            .run(&format!("--name r{lr} --set lr={lr}"))
            .ran("train")
            .check();
    }
    let (test, found) = runs(test, "");
    let names: Vec<&Value> = found.iter().map(|run| &run["name"]).collect();
    assert_eq!(names, ["r5", "r4", "r3", "r2", "r0"]);
    assert_eq!(
        found[0]["changed"]["values"],
        json!([{"name": "lr", "then": 4, "now": 5}])
    );
    assert_eq!(found[0]["figures"], json!({"train.loss": 5}));
    assert_eq!(found[4]["changed"], Value::Null);
    let (test, found) = runs(test, "--status failed");
    assert!(found.is_empty());
    let (test, found) = runs(test, "--since 1h --status ok,failed -n 2");
    assert_eq!(found.len(), 2);
    let (test, found) = runs(test, "--since 2999-01-01");
    assert!(found.is_empty());
    test.flow("runs --limit 2")
        .stdout_has("train.loss")
        .stdout_has("lr=5")
        .stdout_has("lr=4")
        .check()
        .flow("runs --since yesterday")
        .status(2)
        .stderr_has("write it like 12h, 7d or 2026-11-24")
        .check();
}

#[test]
fn secrets_are_in_no_record_of_a_run() {
    let test = Test::new()
        .workflow(
            "[stages.a]\nrun = 'echo $TOKEN; echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\nsecret_env = ['TOKEN']",
        )
        .env("TOKEN", "a-secret-value")
        .run("--name first")
        .ran("a")
        .check();
    let run = &store::runs(&test.path(".flow"))[0];
    for name in ["run.json", "inputs.json", "events.jsonl", "workflow.toml"] {
        let text = fs::read_to_string(run.join(name)).unwrap();
        assert!(!text.contains("a-secret-value"), "{name}");
    }
}

#[test]
fn a_run_whose_delivery_was_refused_did_not_end_well() {
    let test = model()
        .file("model.txt", "mine")
        .run("")
        .status(1)
        .anyhow()
        .check();
    let end = lines(&test).pop().unwrap();
    assert_eq!([&end["event"], &end["status"]], ["run", "failed"]);
    assert_eq!(end["undelivered"], 1);
    let (_, found) = runs(test, "");
    assert_eq!(found[0]["status"], "failed");
}

#[test]
fn a_folder_that_is_named_for_a_file_is_refused_clearly() {
    model()
        .run("")
        .ran("train")
        .check()
        .flow("get flow.toml train.model -o new/")
        .status(2)
        .stderr_has("that names a folder, and `train.model` is a file: name the file, as new/model")
        .check();
}

#[test]
fn a_name_stands_wherever_a_run_does() {
    let test = model()
        .run("--name first")
        .ran("train")
        .check()
        .run("--name second --set lr=2")
        .ran("train")
        .check()
        .flow("cache pin flow.toml kept --run first")
        .stdout("pinned 1 of 1 result(s) of run RUN as `kept`")
        .check()
        .flow("show first")
        .stdout_has("name        first")
        .check()
        .flow("show first train")
        .stdout_has("--until train")
        .check()
        .flow("report flow.toml first -o first.html")
        .stdout_has("wrote first.html")
        .check()
        .flow("export first --ro-crate crate")
        .stdout_has("wrote crate")
        .check();
    // Their ids begin with one second, most likely, and end as chance will have it.
    let (first, second) = (folder(&test, "first"), folder(&test, "second"));
    let id = |folder: &Path| folder.file_name().unwrap().to_str().unwrap().to_string();
    let (first, second) = (id(&first), id(&second));
    for (arguments, shown) in [
        ("ui first", &first),
        ("ui flow.toml first", &first),
        ("ui flow.toml", &second),
    ] {
        let mut page = test
            .beside()
            .flow(arguments)
            .stdout_has("(run RUN)")
            .start();
        let printed = page.wait_for_stdout("Ctrl-C");
        assert!(printed.contains(shown), "{arguments}: {printed}");
        page.signal(Signal::INT);
        page.finish();
    }
    // Where a run can't stand, that is said.
    for (arguments, why) in [
        ("run first", "`flow run --again first` makes it again"),
        (
            "status first",
            "`first` is a run, and a workflow file is wanted; `flow show first` shows it",
        ),
        (
            "why first train",
            "`first` is a run, and a workflow file is wanted",
        ),
        (
            "runs first",
            "`first` is a run, and a workflow file is wanted; `flow show first` shows it",
        ),
        (
            "get flow.toml first",
            "`first` is a run: name what to copy of it: flow get first STAGE",
        ),
    ] {
        test.beside()
            .flow(arguments)
            .status(2)
            .stderr_has(why)
            .check();
    }
    test.flow("ui third")
        .status(2)
        .stderr_has("third")
        .check()
        .flow("cache pin flow.toml kept --run third")
        .status(2)
        .stderr_has("there is no run `third`")
        .check();
}

#[test]
fn gc_leaves_what_a_run_with_a_name_made_and_used() {
    let two = format!(
        "{MODEL}\n[stages.more]\nrun = 'echo ${{lr}} > ${{outputs.o}}'\noutputs = {{ o = 'o' }}\n"
    );
    let test = model()
        .workflow(&two)
        .run("--until train")
        .ran("train")
        .check()
        // It used one result and made another.
        .run("--name kept")
        .stages("cached", "train")
        .ran("more")
        .check()
        .run("--name failed --set lr=2")
        .ran("train more")
        .check()
        .run("--set lr=3")
        .ran("train more")
        .check();
    let gc = "cache gc flow.toml --max-size 0B";
    for dry in ["--dry-run", ""] {
        let test = test.beside().flow(gc).flow(dry);
        test.stdout_has(": 2 result(s) that took")
            .stdout_has("with 0 result(s) pinned, 4 of named runs and 0 in use")
            .stdout_has(
                "results of named runs stay: failed, kept; `flow runs --unname NAME` lets them go",
            )
            .check();
    }
    let test = test
        .flow("get kept train -o -")
        .stdout("first 1\ndata\n")
        .check()
        .flow("run --again kept --json")
        .cached("train more")
        .check()
        .flow("cache verify flow.toml")
        .stdout_has("0 damaged")
        .check();
    // Who gives the name away, or removes the run, lets them go.
    let test = test
        .flow("runs flow.toml --unname kept")
        .stdout("run RUN is no longer called `kept`; gc may take its results")
        .check()
        .flow("cache verify flow.toml")
        .stdout_has("0 damaged")
        .check()
        .flow("runs --unname kept")
        .status(2)
        .stderr_has("there is no run `kept`")
        .check();
    let (test, found) = runs(test, "--name *");
    assert_eq!(found.len(), 1);
    let test = test
        .flow(gc)
        .stdout_has(": 2 result(s) that took")
        .stdout_has("2 of named runs")
        .check();
    fs::remove_dir_all(folder(&test, "failed")).unwrap();
    test.flow(gc)
        .stdout_has(": 2 result(s) that took")
        .stdout_has("0 of named runs")
        .check()
        .flow("get kept train")
        .status(2)
        .stderr_has("kept")
        .check();
}

#[test]
fn a_name_that_was_given_up_keeps_nothing() {
    let test = model()
        .edit("bash src/train.sh", "exit 3; bash src/train.sh")
        .run("--name a")
        .status(1)
        .stages("failed", "train")
        .check()
        .edit("exit 3; bash", "bash")
        .run("--name a --set lr=2")
        .ran("train")
        .check();
    // Both were called so: the name means the newest, and taking it away leaves none of them.
    let test = test
        .flow("runs --unname a")
        .stdout_has("no longer called `a`")
        .check();
    let (test, found) = runs(test, "");
    assert!(found.iter().all(|run| run["name"].is_null()));
    test.run("--name a")
        .ran("train")
        .check()
        .flow("cache gc flow.toml --max-size 0B")
        .stdout_has("1 of named runs")
        .check();
}

#[test]
fn a_frozen_stage_is_in_the_list_and_in_the_run() {
    let test = model()
        .run("")
        .ran("train")
        .check()
        .edit("[stages.train]\n", "[stages.train]\nfrozen = true\n")
        .run("--name stands --set lr=2")
        .stages("frozen", "train")
        .check();
    let (test, found) = runs(test, "");
    let counts = |run: &Value| [&run["ran"], &run["cached"], &run["frozen"]].map(Value::clone);
    assert_eq!(counts(&found[0]), [json!(0), json!(0), json!(1)]);
    assert_eq!(counts(&found[1]), [json!(1), json!(0), json!(0)]);
    // The figures are those of what stands.
    assert_eq!(found[0]["figures"], json!({"train.loss": 1}));
    let test = test.flow("runs").stdout_has("frozen").check();
    test.flow("show stands")
        .stdout_has("frozen")
        .check()
        .flow("show stands train")
        .stdout_has("train")
        .check()
        .flow("get stands train -o -")
        .stdout("first 1\ndata\n")
        .check();
}

#[test]
fn a_standard_output_that_is_none_is_an_error() {
    let test = model().run("--name first").ran("train").check();
    for (to, why) in [
        (">&-", "standard output is closed"),
        ("1< data.txt", "standard output can't be written"),
        ("> /dev/full", "standard output can't be written"),
    ] {
        let script = format!("exec \"$0\" get first train -o - {to}");
        let call = Command::new("bash")
            .args(["-c", &script])
            .arg(flow_tests::binaries::find("flow"))
            .current_dir(test.path(""))
            .env_remove("FLOW_STORE")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&call.stderr);
        assert_eq!(call.status.code(), Some(1), "{to}: {said}");
        assert!(said.contains(why), "{to}: {said}");
    }
}
