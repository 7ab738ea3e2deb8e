//! `flow compare`: how two runs, or two points of a sweep, differ.

use flow_tests::{Test, store};
use serde_json::{Value, json};

/// `a` reads `word`; `b` what it makes; `n` writes figures, and an array.
const CHAIN: &str = r#"
[params]
word = "x"
n = 1

[stages.a]
run = "echo ${word} > ${outputs.o}"
outputs = { o = "o.txt" }

[stages.b]
run = "mkdir -p ${outputs.o}/deep; cat ${inputs.a} > ${outputs.o}/one; echo 1 > ${outputs.o}/deep/two"
inputs = { a = "a" }
outputs = { o = "o/" }

[stages.n]
run = "echo '{\"clusters\":' ${n} ', \"same\": 1}' > ${outputs.metrics}"
outputs = { metrics = "metrics.json" }
"#;

fn chain() -> Test {
    Test::new().workflow(CHAIN)
}

/// The names of all runs, the oldest first.
fn runs(test: &Test) -> Vec<String> {
    store::runs(&test.path(".flow"))
        .iter()
        .map(|run| run.file_name().unwrap().to_str().unwrap().to_string())
        .collect()
}

fn lines(test: &Test) -> Vec<Value> {
    let lines = test.last().stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_side_has_options_of_its_own() {
    let test = chain()
        .run("")
        .ran("a b n")
        .check()
        .run("--set word=y --set n=3")
        .ran("a b n")
        .check()
        .flow("compare --json flow.toml")
        .arg("flow.toml --set 'word=y' --set n=3")
        .stdout_has("compared")
        .check();
    let found = lines(&test);
    assert_eq!(
        found[0]["params"],
        json!([{"name": "n", "a": 1, "b": 3}, {"name": "word", "a": "x", "b": "y"}])
    );
    let stages: Vec<&Value> = found[1..4].iter().map(|line| &line["stage"]).collect();
    assert_eq!(stages, ["a", "b", "n"]);
    // What both sides are given holds under it.
    let test = test
        .flow("compare --json --set word=y flow.toml")
        .arg("flow.toml --set n=3")
        .stdout_has("compared")
        .check();
    assert_eq!(
        lines(&test)[0]["params"],
        json!([{"name": "n", "a": 1, "b": 3}])
    );
    let run = runs(&test)[0].clone();
    test.flow("compare flow.toml")
        .arg("flow.toml --sett n=3")
        .status(2)
        .stderr_has("unexpected argument '--sett'")
        .check()
        .flow("compare flow.toml")
        .arg("none.toml --set n=3")
        .status(2)
        .stderr_has("is no run and no file")
        .check()
        .flow("compare flow.toml")
        .arg(format!("{run} --set n=3"))
        .status(2)
        .stderr_has("a run is as it was; options are for workflow files")
        .check();
}

#[test]
fn two_runs_differ_in_parameters_figures_and_artifacts() {
    let test = chain()
        .run("")
        .ran("a b n")
        .check()
        .run("--set word=y --set n=3")
        .ran("a b n")
        .check();
    let runs = runs(&test);
    let test = test
        .flow("compare")
        .arg(&runs[0])
        .arg(&runs[1])
        .stdout_has(
            "A  run RUN of flow: ok\nB  run RUN of flow: ok\n\n\
             params\n  n     1 → 3\n  word  x → y\n\n\
             a\n  value `word`  \"x\" → \"y\"\n",
        )
        .stdout_has("line 1: `x` → `y`\n")
        .stdout_has("\nb\n  input `a`  other content\n")
        .stdout_has("one: line 1: `x` → `y`\n")
        .stdout_has("  figure clusters  1 → 3 (+2)\n")
        .stdout_has("/clusters: 1 → 3\n")
        .stdout_has("\n3 stages differ, 0 the same\n")
        .check();
    let test = test
        .flow("compare --json")
        .arg(&runs[0])
        .arg(&runs[1])
        .stdout_has("\"event\":\"compare\"")
        .check();
    let found = lines(&test);
    assert_eq!(
        found[0]["params"],
        json!([{"name": "n", "a": 1, "b": 3}, {"name": "word", "a": "x", "b": "y"}])
    );
    let n = found.iter().find(|line| line["stage"] == "n").unwrap();
    assert_eq!(n["a"]["status"], "ran");
    assert_eq!(n["metrics"], json!([{"name": "clusters", "a": 1, "b": 3}]));
    let output = &n["outputs"][0];
    assert_eq!(
        (&output["role"], &output["a"]["size"]),
        (&json!("metrics"), &json!(28))
    );
    assert_ne!(output["a"]["digest"], output["b"]["digest"]);
    assert_eq!(
        output["files"],
        json!([{"difference": "value", "at": "/clusters", "stored": 1, "made": 3}])
    );
    assert_eq!(
        *found.last().unwrap(),
        json!({"event": "compared", "same": 0, "without": [], "differs": 3})
    );
}

#[test]
fn two_equal_things_differ_in_nothing() {
    let test = chain()
        .run("")
        .ran("a b n")
        .check()
        .run("")
        .cached("a b n")
        .check();
    let runs = runs(&test);
    let test = test
        .flow("compare")
        .arg(&runs[0])
        .arg(&runs[1])
        .stdout_has("nothing differs: 3 stages with the same parameters, figures and artifacts")
        .check()
        .flow("compare flow.toml")
        .arg(&runs[0])
        .stdout(
            "A  flow.toml\nB  run RUN of flow: ok\n\n\
             nothing differs: 3 stages with the same parameters, figures and artifacts",
        )
        .check();
    let test = test
        .flow("compare flow.toml flow.toml --json")
        .stdout_has("\"differs\":0")
        .check();
    assert_eq!(lines(&test).len(), 2);
}

#[test]
fn what_only_one_side_has_is_named() {
    let test = chain().run("").ran("a b n").check();
    let before = runs(&test).remove(0);
    // `c` is new, `n` fails, `a` has not run.
    let test = test
        .edit(
            "[stages.n]",
            "[stages.c]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\n\n[stages.n]",
        )
        .edit(
            "echo '{\\\"clusters\\\":'",
            "exit 3; echo '{\\\"clusters\\\":'",
        )
        .run("--keep-going")
        .stages("cached", "a b")
        .stages("ran", "c")
        .stages("failed", "n")
        .status(1)
        .check();
    let after = runs(&test).remove(1);
    let test = test
        .flow("compare")
        .arg(&before)
        .arg(&after)
        .stdout_has("\nn\n  A  ran\n  B  failed: it ended with exit status 3\n\nonly B has c\n\n2 stages differ, 2 the same")
        .check();
    // What stands now knows of the failure too.
    let test = test
        .flow("compare flow.toml")
        .arg(&before)
        .flow("--set word=z")
        .stdout_has("\na\n  A  will run\n  B  ran\n")
        .stdout_has("\nb\n  A  may run\n  B  ran\n")
        .stdout_has("\nn\n  A  will run: it ended with exit status 3\n  B  ran\n")
        .stdout_has("only A has c")
        .check();
    // A result that is gone is said to be.
    let test = test
        .flow("cache gc flow.toml --max-size 0B")
        .stdout_has("freed")
        .check();
    test.flow("compare")
        .arg(&before)
        .arg(&after)
        .stdout_has("ran, but its result is no longer in the store")
        .stdout_has("\n\nneither has a result of a, b\n\n2 stages differ, 0 the same")
        .check();
}

#[test]
fn points_of_a_sweep_are_compared_stage_by_stage() {
    let sweep = "[sweep]\n[sweep.axes]\nn = [1, 2]\nword = ['x', 'y']\n";
    let test = chain();
    let text = format!("{}{sweep}", test.read("flow.toml"));
    let test = test
        .workflow(&text)
        .run("")
        .ran("a[word=x] a[word=y] b[word=x] b[word=y] n[n=1] n[n=2]")
        .check();
    let run = runs(&test).remove(0);
    // The other axis stays in the names, and the same on both sides.
    for (a, b) in [
        ("flow.toml[n=1]".to_string(), "flow.toml[n=2]".to_string()),
        (format!("{run}[n=1]"), "flow.toml[n=2]".into()),
        (format!("{run}[n=1]"), format!("{run}[n=2]")),
    ] {
        let _ = &test
            .beside()
            .flow("compare")
            .arg(a)
            .arg(b)
            .stdout_has("\nparams\n  n  1 → 2\n\nn\n  value `n`        1 → 2\n")
            .stdout_has("\n1 stage differs, 4 the same")
            .check();
    }
    test.flow("compare flow.toml[n=1,word=x] flow.toml[n=1,word=y]")
        .stdout_has("\na\n  value `word`  \"x\" → \"y\"\n")
        .stdout_has("\n2 stages differ, 1 the same")
        .check()
        .flow("compare flow.toml[n=7] flow.toml[n=1]")
        .status(2)
        .stderr_has("n=7")
        .check()
        .flow("compare flow.toml")
        .arg(format!("{run}[m=1]"))
        .status(2)
        .stderr("error: `RUN[m=1]`: no stage of that run depends on `m`; they depend on n, word")
        .check()
        .flow("compare flow.toml nothing.toml")
        .status(2)
        .stderr_has("error: `nothing.toml` is no run and no file; name two of them")
        .check()
        .flow("compare flow.toml 20200101-000000-0000")
        .status(2)
        .stderr_has("there is no run `RUN` in DIR/.flow")
        .check();
}

#[test]
fn one_key_with_other_bytes_says_where_both_were_made() {
    // What does not repeat, in two stores.
    let workflow = "[stages.a]\nrun = 'date +%s%N > ${outputs.o}'\noutputs = { o = 'o' }";
    let test = Test::new()
        .workflow(workflow)
        .file("other/flow.toml", workflow)
        .run("")
        .ran("a")
        .check()
        .flow("run other/flow.toml")
        .stderr_has("1 ran")
        .check();
    test.flow("compare flow.toml other/flow.toml")
        .stdout_has("\na\n  output o ")
        .stdout_has("line 1: `")
        .stdout_has("  one key, made  A: with 1 thread on ")
        .check();
}
