//! `flow runs` and `flow show`: which runs there were, and how results came to be.

use std::fs;
use std::path::Path;

use flow_tests::{Signal, Test, store};
use serde_json::{Value, json};

/// A file of the user's, a matrix, all of its instances at once, a folder.
const CHAIN: &str = r#"
[params]
word = "x"

[stages.a]
run = "cat ${inputs.raw} > ${outputs.o}; echo ${word} >> ${outputs.o}"
inputs = { raw = { path = "raw/*.csv" } }
outputs = { o = "o.txt" }

[stages.m]
run = "cat ${inputs.a} > ${outputs.o}; echo ${matrix.n} >> ${outputs.o}"
inputs = { a = "a" }
matrix = { n = [1, 2] }
outputs = { o = "o.txt" }

[stages.all]
run = ["sh", "-c", "out=$1; shift; mkdir -p $out; cat \"$@\" > $out/all; echo 1 > \"$out/a b\"", "sh", "${outputs.o}", "${inputs.m}"]
inputs = { m = { collect = "m.o" } }
outputs = { o = "o/" }
"#;

fn chain() -> Test {
    Test::new()
        .workflow(CHAIN)
        .file("raw/1.csv", "one\n")
        .file("raw/2.csv", "two\n")
}

/// The lines of `--json`.
fn lines(test: &Test) -> Vec<Value> {
    let lines = test.last().stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn name(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_string()
}

/// So that names of runs, which have seconds, are in the order of the runs.
fn next_second() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn runs_are_listed_newest_first_with_what_was_laid_over() {
    let test = chain().run("").ran("a m[n=1] m[n=2] all").check();
    next_second();
    let test = test
        .run("--set word=y --until a")
        .ran("a")
        .check()
        .flow("runs flow.toml --json")
        .stdout_has("\"event\":\"run\"")
        .check();
    let facts: Vec<Value> = lines(&test)
        .into_iter()
        .map(|run| {
            json!([
                run["workflow"],
                run["status"],
                run["ran"],
                run["cached"],
                run["set"]
            ])
        })
        .collect();
    assert_eq!(
        facts,
        [
            json!(["flow", "ok", 1, 0, ["word=y"]]),
            json!(["flow", "ok", 4, 0, []])
        ]
    );
    let test = test
        .flow("runs")
        .stdout_has("overrides\n")
        .stdout_has("--set 'word=y'")
        .check();
    // Those of another workflow beside it are not this one's.
    let test = test
        .file("other.toml", CHAIN)
        .flow("runs other.toml")
        .stdout("no runs")
        .check();
    test.flow("runs --store nowhere")
        .status(2)
        .stderr_has("error: there is no store at DIR/nowhere")
        .check();
}

#[test]
fn runs_that_fail_go_on_or_were_killed_are_told_apart() {
    let workflow = "[stages.a]\nrun = 'test ! -e ~/slow || { echo on > ~/began; sleep 60; }; exit 1'\noutputs = { o = 'o' }";
    let test = Test::new()
        .workflow(workflow)
        .run("")
        .stages("failed", "a")
        .status(1)
        .check()
        .flow("runs --json")
        .stdout_has("\"failed\":1")
        .stdout_has("\"status\":\"failed\"")
        .check();
    next_second();
    let mut running = test.file("../slow", "").run("").start();
    running.wait_for("../began");
    let beside = Test::new();
    let store = running.path(".flow");
    let status = |test: Test| {
        let test = test
            .flow("runs --json --store")
            .arg(&store)
            .stdout_has("")
            .check();
        lines(&test)[0]["status"].as_str().unwrap().to_string()
    };
    assert_eq!(status(beside), "running");
    let test = running.kill();
    assert_eq!(status(test), "killed");
}

#[test]
fn runs_of_older_versions_are_listed_as_far_as_they_go() {
    let test = chain().run("").ran("a m[n=1] m[n=2] all").check();
    let folder = test.path(".flow/runs");
    let old = folder.join("20200102-030405-abcd");
    std::fs::create_dir(&old).unwrap();
    std::fs::create_dir(folder.join("20200102-030405-dead")).unwrap();
    let head = r#"{"run": "20200102-030405-abcd", "workflow": "old", "path": "/old.toml", "seed": 42, "params": {},
                   "set": [], "variants": [], "flow": "0.0.9", "started": "2020-01-02T03:04:05Z", "process": 7}"#;
    std::fs::write(old.join("run.json"), head).unwrap();
    let end = r#"{"event":"run","run":"20200102-030405-abcd","status":"ok","ran":1,"cached":0,"failed":0,"skipped":0,"cancelled":0,"seconds":2.5}"#;
    std::fs::write(old.join("events.jsonl"), format!("{end}\n")).unwrap();
    let test = test.flow("runs --json").stdout_has("\"old\"").check();
    let found: Vec<Value> = lines(&test)
        .iter()
        .skip(1)
        .map(|run| json!([run["workflow"], run["status"], run["seconds"]]))
        .collect();
    assert_eq!(
        found,
        [json!(["", "killed", null]), json!(["old", "ok", 2.5])]
    );
    test.flow("runs")
        .stdout_has("old ")
        .check()
        .flow("show 20200102-030405-abcd")
        .stdout_has("of old: ok")
        .stdout_has("an unknown machine, flow 0.0.9")
        .check()
        .flow("show 20200102-030405-dead")
        .stdout_has(": killed")
        .check()
        .flow("show 20200102-030405-0000")
        .status(2)
        .stderr_has("there is no run `RUN` in DIR/.flow; `flow runs` lists them")
        .check();
}

#[test]
fn a_result_is_shown_back_to_the_files_it_came_from() {
    let test = chain()
        .run("--set word=y")
        .ran("a m[n=1] m[n=2] all")
        .check();
    let outputs = test.last().stages.clone();
    let digest = outputs["all"].outputs["o"].clone();
    let test = test
        .flow("show flow.toml all --set word=y")
        .stdout_has(&format!("{digest} is o of all\n\nall\n"))
        .stdout_has("\n\nm[n=2]\n")
        .stdout_has("  values      matrix.n = 2\n")
        .stdout_has("  values      word = \"y\"\n")
        .stdout_has("  input       m = m[n=1].o ")
        .stdout_has("  input       raw = raw/*.csv ")
        .stdout_has("  log         DIR/.flow/runs/RUN/logs/a.log\n")
        .stdout_has("  again       flow run flow.toml --set 'word=y' --until all\n")
        .check();
    let test = test
        .flow("show flow.toml all.o --json --set word=y")
        .stdout_has("")
        .check();
    let actions = lines(&test);
    let labels: Vec<&str> = actions
        .iter()
        .map(|a| a["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["all", "m[n=1]", "m[n=2]", "a"]);
    let all = &actions[0];
    assert_eq!(all["key"], outputs["all"].key.clone().unwrap());
    assert_eq!(all["inputs"]["m"][1]["stage"], "m[n=2]");
    assert_eq!(
        all["inputs"]["m"][1]["digest"],
        outputs["m[n=2]"].outputs["o"]
    );
    assert_eq!(actions[3]["inputs"]["raw"][0]["path"], "raw/*.csv");
    assert_eq!(actions[3]["provenance"]["run"], "RUN");
    assert_eq!(
        all["again"],
        json!([
            "flow",
            "run",
            "flow.toml",
            "--set",
            "word=y",
            "--until",
            "all"
        ])
    );
    test.flow("show flow.toml all")
        .status(1)
        .stderr(
            "error: `all` is not up to date, so there is nothing to show; first: flow run flow.toml --until all",
        )
        .check()
        .flow("show flow.toml m --set word=y")
        .status(2)
        .stderr("error: `m` is several: name one of m[n=1], m[n=2]")
        .check();
}

#[test]
fn a_file_that_lies_around_is_found_by_its_content() {
    let test = chain()
        .run("--set word=y")
        .ran("a m[n=1] m[n=2] all")
        .check();
    let outputs = test.last().stages.clone();
    let digest = &outputs["m[n=2]"].outputs["o"];
    let content = test.output("m[n=2]", "o");
    let test = test
        .file("found.txt", &content)
        .flow("show found.txt")
        .stdout_has(&format!("found.txt ({digest}) is o of m[n=2]\n"))
        .stdout_has("  again       flow run flow.toml --set 'word=y' --until 'm[n=2]'\n")
        .check();
    // By its digest, by the first digits, by the key, and from elsewhere.
    for what in [digest.as_str(), &digest[..12]] {
        let shown = test.beside().flow(&format!("show {what}"));
        shown
            .stdout_has(&format!("{digest} is o of m[n=2]\n"))
            .check();
    }
    let key = outputs["m[n=2]"].key.clone().unwrap();
    let by_key = test.beside().flow(&format!("show {key}"));
    by_key.stdout_has("is the key of m[n=2]\n").check();
    let elsewhere = Test::new()
        .file("copy", &content)
        .flow("show copy --store")
        .arg(test.path(".flow"))
        .stdout_has("is o of m[n=2]\n");
    elsewhere.check();
    // A file inside a folder that a stage made, and the folder.
    let test = test
        .flow("get flow.toml all --set word=y -o copy")
        .stdout("copy")
        .check()
        .arg("show")
        .arg("copy/a b")
        .stdout_has("is the file a b in o of all\n")
        .check()
        .flow("show copy")
        .stdout_has("is o of all\n")
        .check();
    // The workflow has changed since; a file that stages only read; one that nobody knows.
    let test = test
        .edit("word = \"x\"", "word = \"z\"")
        .flow("show found.txt")
        .stdout_has("the workflow file has changed since")
        .check();
    let test = test
        .workflow(&CHAIN.replace("raw/*.csv", "raw/1.csv"))
        .run("--until a")
        .ran("a")
        .check();
    test.flow("show raw/1.csv")
        .stdout_has("no stage made raw/1.csv (")
        .stdout_has("; read by a")
        .check()
        .file("other", "nobody made this")
        .flow("show other")
        .status(1)
        .stderr_has("error: no stage made other (")
        .check()
        .flow("show flow.toml nothing")
        .status(2)
        .stderr_has("error: `nothing` is no stage of flow.toml, no run, no file, and no digest")
        .check()
        .flow("show nothing")
        .status(2)
        .stderr_has("a stage needs its workflow: flow show WORKFLOW nothing")
        .check()
        .flow("show ab")
        .status(2)
        .stderr_has("no digest of at least 6 digits")
        .check();
}

#[test]
fn records_that_name_no_sources_are_traced_by_content() {
    let test = chain().run("").ran("a m[n=1] m[n=2] all").check();
    // As the first version of flow wrote them.
    for path in store::files(&test.path(".flow/actions")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut record: Value = serde_json::from_str(&text).unwrap();
        let provenance = record["content"]["provenance"].as_object_mut().unwrap();
        provenance.remove("inputs").unwrap();
        let content = record["content"].to_string();
        let digest = blake3::hash(content.as_bytes());
        std::fs::write(
            &path,
            format!("{{\"blake3\":\"{digest}\",\"content\":{content}}}\n"),
        )
        .unwrap();
    }
    let test = test
        .arg("show")
        .arg("flow.toml")
        .arg("m[n=1]")
        .stdout_has("  input       a = a.o ")
        .stdout_has("\n\na\n")
        .check();
    test.flow("show flow.toml all")
        .stdout_has(", which nothing here made\n")
        .check();
}

#[test]
fn what_a_terminal_would_act_on_is_shown_as_escapes() {
    let test = Test::new()
        .workflow("[params]\nw = \"\\u009b31m\"\n[stages.a]\nrun = 'echo ${w} > ${outputs.o}'\noutputs = { o = 'o' }")
        .run("")
        .ran("a")
        .check();
    let run = name(&store::runs(&test.path(".flow"))[0]);
    let test = test
        .flow("show flow.toml a")
        .stdout_has("\\u{9b}31m")
        .check();
    assert!(!test.last().stdout.contains('\u{9b}'));
    let test = test
        .flow(&format!("show {run}"))
        .stdout_has("params")
        .check();
    assert!(!test.last().stdout.contains('\u{9b}'));
    // What the compared files hold, too.
    let test = test
        .workflow("[stages.a]\nrun = 'cat ~/side > ${outputs.o}'\noutputs = { o = 'o' }")
        .file("../side", "1")
        .run("")
        .ran("a")
        .check();
    let test = test
        .file("../side", "\u{1b}[2J")
        .flow("run flow.toml --check 1")
        .stderr_has("`\\u{1b}[2J`, stored `1`")
        .status(1)
        .check();
    assert!(!test.last().stderr.contains('\u{1b}'));
}

#[test]
fn what_a_workflow_includes_is_kept_with_the_run() {
    let test = Test::new()
        .file("common.toml", "[params]\nword = 'x'\n")
        .file("more.toml", "word = 'y'\n")
        .workflow("include = ['common.toml']\n[stages.a]\nrun = 'echo ${word} > ${outputs.o}'\noutputs = { o = 'o' }")
        .run("--params more.toml")
        .ran("a")
        .check();
    let folder = &store::runs(&test.path(".flow"))[0];
    let head: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!(
        head["files"],
        json!({
            test.path("common.toml").to_str().unwrap(): "[params]\nword = 'x'\n",
            test.path("more.toml").to_str().unwrap(): "word = 'y'\n",
        })
    );
    assert_eq!(head["params"], json!({"word": "y"}));
    for fact in ["host", "platform", "cores", "command", "flow", "kinds"] {
        assert!(!head[fact].is_null(), "{fact}");
    }
    // An interrupted run of it says how it ended.
    let mut running = test
        .edit(
            "echo ${word} >",
            "echo on > ~/began; sleep 60; echo ${word} >",
        )
        .run("")
        .stages("cancelled", "a")
        .status(130)
        .start();
    running.wait_for("../began");
    running.signal(Signal::INT);
    let test = running.finish();
    test.flow("runs --json")
        .stdout_has("\"status\":\"cancelled\"")
        .check();
}

#[test]
fn of_two_workflows_that_made_the_same_bytes_the_given_one_comes_first() {
    let stage = |name: &str, seed: u32| {
        format!(
            "[stages.{name}]\nrun = 'echo one; echo {seed} > /dev/null; echo one > ${{outputs.o}}'\noutputs = {{ o = 'o.txt' }}\n"
        )
    };
    let test = Test::new()
        .file("a.toml", stage("ours", 1))
        .file("b.toml", stage("theirs", 2))
        .file("o.txt", "one\n")
        .flow("run a.toml")
        .anyhow()
        .check();
    next_second();
    let test = test.flow("run b.toml").anyhow().check();
    let test = test
        .flow("show a.toml o.txt")
        .stdout_has(") is o of ours\n")
        .stdout_has("  again       flow run a.toml --until ours\n")
        .stdout_has("\nThe same content is o of theirs, with the key ")
        .check()
        .flow("show b.toml o.txt")
        .stdout_has(") is o of theirs\n")
        .check();
    // The newer one's file is gone.
    fs::remove_file(test.path("b.toml")).unwrap();
    let test = test
        .flow("show o.txt")
        .stdout_has(") is o of ours\n")
        .check();
    fs::remove_file(test.path("a.toml")).unwrap();
    let test = test
        .flow("show o.txt")
        .stdout_has("  again       the workflow file is gone; its run keeps a copy of it\n")
        .check()
        .flow("show o.txt --json")
        .stdout_has("\"again\":null")
        .check();
    // One action of two workflows, whose record names the first.
    test.file("b.toml", stage("theirs", 2))
        .file("c.toml", stage("renamed", 2))
        .flow("run c.toml")
        .anyhow()
        .check()
        .flow("show c.toml o.txt")
        .stdout_has(") is o of renamed\n")
        .stdout_has("  again       flow run c.toml --until renamed\n")
        .check();
}
