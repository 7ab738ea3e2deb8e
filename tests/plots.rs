//! Figures and plots as programs write them: files of figures in other forms than one flat JSON object, curves, confusion
//! matrices and pictures, and DVCLive's folder.

use flow_tests::Test;
use serde_json::{Value, json};

/// The figures of the one row of `flow table --json`, by column.
fn figures(test: &Test) -> Value {
    let table: Value = serde_json::from_str(&test.last().stdout).unwrap();
    let cells = table["rows"][0]["cells"].as_object().unwrap().iter();
    let means = cells.map(|(name, cell)| (name.clone(), cell["mean"].clone()));
    Value::Object(means.collect())
}

#[test]
fn nested_metrics_and_metrics_in_yaml_and_toml_are_figures() {
    let workflow = r#"
[stages.json]
run = 'echo "{\"prec\": {\"test\": 0.9}, \"note\": \"n\"}" > ${outputs.metrics}'
outputs = { metrics = "m.json" }
[stages.yaml]
run = 'printf "prec:\n  test: 0.8\nloss: .nan\n" > ${outputs.metrics}'
outputs = { metrics = "eval/m.yaml" }
[stages.toml]
run = 'printf "top = 1\n[prec]\ntest = 0.7\n" > ${outputs.metrics}'
outputs = { metrics = "m.toml" }
"#;
    let test = Test::new()
        .workflow(workflow)
        .run("")
        .ran("json yaml toml")
        .stderr_has(
            "warning: json: its output `metrics` has values that are no figures: note (a text)",
        )
        .check()
        .flow("table flow.toml --json")
        .stdout_has("{")
        .check();
    assert_eq!(
        figures(&test),
        json!({"json.prec.test": 0.9, "yaml.prec.test": 0.8, "yaml.loss": null, "toml.top": 1.0, "toml.prec.test": 0.7})
    );
    let test = test
        .flow("table flow.toml --metric toml.prec.test --metric yaml.prec.test --format csv")
        .stdout_has("toml.prec.test,")
        .check()
        .flow("table flow.toml --cell toml.prec.test")
        .stdout_has("0.7")
        .check();
    let test = test.edit("test = 0.7", "test = 0.75");
    test.run("")
        .ran("toml")
        .cached("json yaml")
        .may_warn()
        .check();
}

#[test]
fn metrics_by_glob_are_called_by_their_paths() {
    let workflow = r#"
[params]
lr = 0.1
[stages.a]
run = '''
mkdir -p eval/train eval/deep
echo '{"loss": ${lr}}' > eval/train/metrics.json
echo 'loss: 0.5' > eval/test.yaml
echo '{"loss": 9}' > eval/test.json
echo text > eval/read.me
'''
outputs = { metrics = "eval/*" }
[stages.b]
run = '''
mkdir -p scores/deep
echo 'x = 1' > scores/deep/b.toml
echo text > scores/read.me
'''
outputs = { metrics = "scores/" }
"#;
    let test = Test::new()
        .workflow(workflow)
        .run("--sweep lr=0.1,0.2")
        .ran("a[lr=0.1] a[lr=0.2] b")
        .stderr_has(
            "its output `metrics` has values that are no figures: read.me (no file of figures by its ending), test.loss (a \
             second time, in test.yaml)",
        )
        .check()
        .flow("table flow.toml --sweep lr=0.1,0.2 --json")
        .stdout_has("{")
        .check();
    let table: Value = serde_json::from_str(&test.last().stdout).unwrap();
    assert_eq!(
        table["metrics"],
        json!(["a.test.loss", "a.train.loss", "b.deep.b.x"])
    );
    let of = |row: usize, name: &str| table["rows"][row]["cells"][name]["mean"].clone();
    assert_eq!(
        [of(0, "a.train.loss"), of(1, "a.train.loss")],
        [json!(0.1), json!(0.2)]
    );
    assert_eq!(of(0, "a.test.loss"), json!(9.0));
    // A goal and the order of rows take such a name too.
    test.flow("table flow.toml --sweep lr=0.1,0.2 --by a.train.loss --format csv")
        .stdout_has("p_holm\n0.2,false,")
        .check()
        .flow("compare flow.toml[lr=0.1] flow.toml[lr=0.2] --sweep lr=0.1,0.2")
        .stdout_has("figure train.loss")
        .stdout_has("0.100000 → 0.200000 (+0.1000)")
        .check();
}

#[test]
fn metrics_that_are_no_figures_are_said_and_never_dropped() {
    let test = Test::new().workflow(
        "[stages.a]\nrun = 'echo x > metrics.csv'\noutputs = { metrics = 'metrics.csv' }\n",
    );
    test.flow("check flow.toml")
        .stdout_has("flow.toml is right")
        .stderr_has(
            "warning: `metrics.csv` is no file of figures by its ending\n --> flow.toml:3:23\n",
        )
        .stderr_has(
            "help: an output `metrics` is .json, .yaml or .toml, so that tables show its numbers",
        )
        .check();
    for (file, text, says) in [
        (
            "m.yaml",
            "- 1",
            "its output `metrics` is no table of names and numbers",
        ),
        (
            "*.yaml",
            "a: 1\n b: [",
            "m.yaml of its output `metrics` is not YAML: line 2: ",
        ),
    ] {
        let test = Test::new()
            .file("m.txt", text)
            .workflow(&format!(
                "[stages.a]\nrun = 'cp m.txt m.yaml'\ninputs = {{ m = {{ path = 'm.txt' }} }}\noutputs = {{ metrics = '{file}' }}\n"
            ))
            .run("")
            .status(1)
            .stages("failed", "a")
            .check();
        let (message, _) = test.last().stages["a"].failure.clone().unwrap();
        assert!(message.contains(says), "{message}");
    }
}
