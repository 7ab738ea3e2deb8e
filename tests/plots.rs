//! Figures and plots as programs write them: files of figures in other forms than one flat JSON object, curves, confusion
//! matrices and pictures, and DVCLive's folder.

use std::fs;

use flow_tests::Test;
use flow_tests::shown::{SEE_ALL, document, opened};
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

/// A program that writes curves, a confusion matrix and a picture, as others do.
const EVALUATE: &str = r#"
import json, os, sys
level = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
os.makedirs("eval/roc"), os.makedirs("eval/images")
for name, bend in [("train", 0.5), ("test", 1.0)]:
    rows = [{"fpr": i / 10, "tpr": (i / 10) ** (bend * level), "threshold": float("inf") if i == 0 else 1 - i / 10} for i in range(11)]
    json.dump({"roc": rows}, open(f"eval/roc/{name}.json", "w"), indent=1)
with open("eval/cm.csv", "w") as file:
    file.write("actual,predicted\n" + "cat,cat\n" * 3 + "cat,dog\n" + "dog,dog\n" * 2 + "<b>,cat\n")
with open("eval/loss.tsv", "w") as file:
    file.write("epoch\ttrain.loss\tval[loss]\tnote\n" + "".join(f"{e}\t{1 / e}\t{2 / e}\tx\n" for e in (1, 2, 3)))
json.dump({"epoch": ["a", "b"], "acc": [0.5, 0.75]}, open("eval/acc.json", "w"))
open("eval/images/p.svg", "w").write('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
json.dump({"auc": level}, open("metrics.json", "w"))
"#;

const PLOTS: &str = r#"
[params]
level = 1.0
[stages.evaluate]
run = "python3 evaluate.py ${level}"
inputs = { code = { path = "evaluate.py" } }
outputs = { metrics = "metrics.json", plots = "eval/" }
plots.roc = { files = "eval/roc/*.json", x = "fpr", y = "tpr" }
plots.confusion = { file = "eval/cm.csv", x = "actual", y = "predicted", kind = "confusion" }
plots.loss = { file = "${outputs.plots}/loss.tsv" }
plots.accuracy = { file = "eval/acc.json", x = "epoch", y = ["acc"] }
plots.pictures = { files = "eval/images/*" }
"#;

/// What a stage shows on a page, by title.
fn items(page: &str) -> Vec<Value> {
    let document = document(page);
    let views = document["views"].as_array().unwrap();
    let plots = views.iter().filter(|view| view["output"] == "plots");
    plots
        .flat_map(|view| view["items"].as_array().unwrap().clone())
        .collect()
}

/// The run of whose files one holds a text.
fn run_with(test: &Test, file: &str, text: &str) -> String {
    let runs = fs::read_dir(test.path(".flow/runs")).unwrap();
    let found = runs.map(|entry| entry.unwrap().path()).find(|run| {
        let content = fs::read_to_string(run.join(file));
        content.is_ok_and(|content| content.contains(text))
    });
    let run = found.unwrap_or_else(|| panic!("no run has {text} in its {file}"));
    run.file_name().unwrap().to_str().unwrap().into()
}

#[test]
fn plots_are_charts_and_pictures_on_the_page() {
    let test = Test::new()
        .file("evaluate.py", EVALUATE)
        .workflow(PLOTS)
        .run("")
        .ran("evaluate")
        .stderr("")
        .check()
        .flow("report flow.toml")
        .stdout_has("wrote report.html, ")
        .check();
    let page = test.read("report.html");
    let items = items(&page);
    let titles: Vec<&str> = items
        .iter()
        .map(|item| item["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["roc", "confusion", "loss", "accuracy", "pictures"]);
    let [roc, confusion, loss, accuracy, picture] = &items[..] else {
        panic!("{titles:?}")
    };
    let values = |item: &Value| item["spec"]["data"]["values"].clone();
    assert_eq!(
        values(accuracy),
        json!([{"x": "a", "y": 0.5}, {"x": "b", "y": 0.75}])
    );
    assert_eq!(
        values(loss)[3],
        json!({"x": 1.0, "y": 2.0, "series": "val[loss]"})
    );
    assert_eq!(loss["spec"]["encoding"]["x"]["title"], "epoch");
    let roc_values = values(roc);
    assert_eq!(roc_values.as_array().unwrap().len(), 22);
    assert_eq!(roc_values[0], json!({"x": 0.0, "y": 0.0, "series": "test"}));
    assert_eq!(roc["spec"]["encoding"]["y"]["title"], "tpr");
    let cells = values(confusion);
    let cells = cells.as_array().unwrap();
    let cat = cells
        .iter()
        .find(|cell| cell["row"] == "cat" && cell["column"] == "dog");
    assert_eq!((&cat.unwrap()["count"], cells.len()), (&json!(1), 4));
    assert_eq!(picture["type"], "image");
    // They are figures for papers too.
    let test = test
        .flow("report flow.toml --figures figures")
        .stdout_has("wrote 5 figure(s)")
        .check();
    assert!(
        test.has("figures/evaluate-01-roc.svg"),
        "{:?}",
        test.path("figures").read_dir().unwrap().collect::<Vec<_>>()
    );
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.value(SEE_ALL);
    browser.wait("document.querySelectorAll('.chart.drawn').length === 4");
    assert_eq!(
        browser.value("document.querySelectorAll('.chart .problem').length"),
        0
    );
    assert_eq!(
        browser.value("document.querySelectorAll('.chart svg').length"),
        4
    );
    assert_eq!(
        browser.value("document.querySelectorAll('#main b').length"),
        0
    );
    browser.screenshot("plots");
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn plots_are_in_no_key_and_what_is_wrong_loses_no_result() {
    let wrong = PLOTS.replace("x = \"fpr\"", "x = \"fprr\"").replace(
        "plots.pictures",
        "plots.gone = { file = \"eval/none.json\" }\nplots.pictures",
    );
    let test = Test::new()
        .file("evaluate.py", EVALUATE)
        .workflow(&wrong)
        .run("")
        .ran("evaluate")
        .stderr_has(
            "warning: evaluate: its plot `roc` can't be shown: eval/roc/test.json:3: there is no column `fprr`; it has `fpr`, \
             `threshold`, `tpr`\n",
        )
        .stderr_has("its plot `gone` can't be shown: no file of its outputs is `eval/none.json`; there are `eval/acc.json`, ")
        .check()
        // It is said once.
        .run("")
        .cached("evaluate")
        .check()
        .flow("report flow.toml")
        .stdout_has("wrote")
        .check();
    let said = |test: &Test, title: &str| {
        let items = items(&test.read("report.html"));
        let item = items.iter().find(|item| item["title"] == title).cloned();
        item.map(|item| item["left_out"].clone())
    };
    let fault = said(&test, "roc").unwrap();
    assert!(
        fault
            .as_str()
            .unwrap()
            .starts_with("It can't be shown: eval/roc/test.json:3: there is no column `fprr`"),
        "{fault}"
    );
    // Another column is another look at the same result.
    let test = test
        .edit("x = \"fprr\"", "x = \"fpr\"")
        .run("")
        .cached("evaluate")
        .check()
        .flow("report flow.toml")
        .stdout_has("wrote")
        .check();
    assert_eq!(said(&test, "roc"), Some(Value::Null));
    // The page of a run has the plots that its workflow had.
    let run = run_with(&test, "workflow.toml", "x = \"fpr\"");
    let run = test
        .flow("report flow.toml")
        .arg(run)
        .stdout_has("wrote")
        .check();
    assert_eq!(said(&run, "roc"), Some(Value::Null));
}

#[test]
fn plots_of_runs_with_other_outcomes_lie_over_each_other() {
    let test = Test::new()
        .file("evaluate.py", EVALUATE)
        .workflow(PLOTS)
        .run("--sweep level=1.0,2.0")
        .ran("evaluate[level=1.0] evaluate[level=2.0]")
        .check()
        .flow("report flow.toml --sweep level=1.0,2.0")
        .stdout_has("wrote")
        .check();
    let document = document(&test.read("report.html"));
    let compared = document["compared"].as_array().unwrap();
    let titles: Vec<&Value> = compared.iter().map(|one| &one["title"]).collect();
    assert_eq!(titles, ["roc", "loss", "accuracy"]);
    assert_eq!(
        compared[0]["instances"],
        json!(["evaluate[level=1.0]", "evaluate[level=2.0]"])
    );
    assert_eq!(
        compared[0]["spec"]["data"]["values"]
            .as_array()
            .unwrap()
            .len(),
        44
    );
    assert_eq!(
        compared[0]["spec"]["encoding"]["strokeDash"]["field"],
        "series"
    );
}

#[test]
fn what_is_wrong_with_a_plot_in_the_workflow_is_shown_at_its_place() {
    let stage = "[stages.a]\nrun = 'x'\noutputs = { o = 'eval/', t = 't.csv' }\n";
    for (plot, says, place) in [
        (
            "plots.p = { file = 'evil/roc.json' }",
            "`evil/roc.json` is no file among the stage's outputs",
            "4:20",
        ),
        ("plots.p = { x = 'a' }", "the plot `p` has no `file`", "4:7"),
        (
            "plots.p = { file = 't.csv', files = '*.csv' }",
            "a plot has one of `file` and `files`",
            "4:29",
        ),
        (
            "plots.p = { file = 't.csv', kind = 'pie' }",
            "`pie`",
            "4:36",
        ),
        (
            "plots.p = { file = 't.csv', kind = 'confusion', y = ['a', 'b'] }",
            "`y` of a confusion matrix has to be a string, not a list",
            "4:53",
        ),
        (
            "plots.p = { file = 't.csv', z = 'a' }",
            "unknown key `z` in the plot `p`",
            "4:29",
        ),
        ("plots.p = { file = '${outputs.u}' }", "outputs.u", "4:21"),
        ("plots.p = { file = 'eval/[' }", "eval/[", "4:20"),
    ] {
        let test = Test::new()
            .workflow(&format!("{stage}{plot}\n"))
            .flow("check flow.toml")
            .status(2)
            .stderr_has(says)
            .check();
        let stderr = &test.last().stderr;
        assert!(stderr.contains(&format!("flow.toml:{place}\n")), "{stderr}");
    }
    Test::new()
        .workflow("[stages.a]\nuses = 'digits'\nplots.p = { file = 'x.csv' }\n")
        .flow("check flow.toml")
        .status(2)
        .stderr_has("`plots` belongs to stages with `run`")
        .check();
}

/// What DVCLive 3 writes, as it writes it.
const DVCLIVE: &str = r#"
import json, os
for folder in ["metrics/train", "sklearn", "custom", "images"]:
    os.makedirs("dvclive/plots/" + folder)
def write(name, text):
    open("dvclive/" + name, "w").write(text)
write("metrics.json", json.dumps({"train": {"loss": 0.25, "acc": 0.5}, "step": 2}, indent=4))
write("params.yaml", "lr: 0.1\nnet:\n  depth: 3\n")
write("plots/metrics/train/loss.tsv", "timestamp\tstep\tloss\n1\t0\t1.0\n2\t1\t0.5\n3\t2\t0.25\n")
write("plots/metrics/acc.tsv", "step\tacc\n0\t0.1\n1\t0.5\n")
roc = [{"fpr": 0.0, "tpr": 0.0, "threshold": float("inf")}, {"fpr": 1.0, "tpr": 1.0, "threshold": 0.5}]
write("plots/sklearn/roc.json", json.dumps({"roc": roc}))
write("plots/sklearn/cm.json", json.dumps([{"actual": "0", "predicted": "1"}, {"actual": "1", "predicted": "1"}]))
write("plots/custom/lift.json", json.dumps([{"decile": 1, "lift": 2.5}, {"decile": 2, "lift": 1.5}]))
write("plots/images/p.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>')
write("report.html", "<html></html>")
"#;

#[test]
fn the_folder_of_dvclive_is_shown_as_it_is() {
    let test = Test::new()
        .file("train.py", DVCLIVE)
        .workflow(
            "[stages.train]\nrun = 'python3 train.py'\ninputs = { code = { path = 'train.py' } }\n\
             outputs = { dvclive = 'dvclive/' }\nplots.lift = { file = 'dvclive/plots/custom/lift.json', x = 'decile', y = 'lift' }\n",
        )
        .run("")
        .ran("train")
        .stderr("")
        .check()
        .flow("table flow.toml --json")
        .stdout_has("{")
        .check();
    assert_eq!(
        figures(&test),
        json!({"train.train.loss": 0.25, "train.train.acc": 0.5, "train.step": 2.0})
    );
    let test = test.flow("report flow.toml").stdout_has("wrote").check();
    let items = items(&test.read("report.html"));
    let shown: Vec<(&str, &str)> = items
        .iter()
        .map(|item| {
            (
                item["title"].as_str().unwrap(),
                item["type"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("lift", "vega-lite"),
            ("Parameters", "table"),
            ("p", "image"),
            ("acc", "vega-lite"),
            ("train/loss", "vega-lite"),
            ("cm", "vega-lite"),
            ("roc", "vega-lite"),
        ]
    );
    assert!(items.iter().all(|item| item["left_out"].is_null()));
    assert_eq!(items[1]["rows"], json!([["lr", "0.1"], ["net.depth", "3"]]));
    assert_eq!(
        items[4]["spec"]["data"]["values"][0],
        json!({"x": 0.0, "y": 1.0})
    );
    assert_eq!(items[4]["spec"]["encoding"]["x"]["title"], "step");
    assert_eq!(items[6]["spec"]["encoding"]["y"]["title"], "tpr");
}

#[test]
fn a_page_of_two_sides_lays_their_plots_over_each_other() {
    let test = Test::new()
        .file("evaluate.py", EVALUATE)
        .workflow(&format!(
            "{PLOTS}\n[stages.same]\nrun = 'echo x,y > s.csv; echo 1,2 >> s.csv'\noutputs = {{ s = 's.csv' }}\nplots.same = {{ file = 's.csv' }}\n"
        ))
        .run("")
        .ran("evaluate same")
        .check()
        .run("--set level=2.0")
        .ran("evaluate")
        .cached("same")
        .check();
    let sides = ["\"set\": []", "level=2.0"].map(|text| run_with(&test, "run.json", text));
    let test = test
        .flow("compare")
        .arg(&sides[0])
        .arg(&sides[1])
        .arg("--report")
        .arg("both.html")
        .stdout_has("wrote both.html, ")
        .check();
    let page = test.read("both.html");
    let both = document(&page);
    assert_eq!(
        both["differs"][1],
        json!({"title": "Figures", "columns": ["figure", "A", "B"], "rows": [["evaluate.auc", 1.0, 2.0]]})
    );
    let labels: Vec<&Value> = both["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| &stage["label"])
        .collect();
    assert_eq!(labels, ["A: evaluate", "same", "B: evaluate"]);
    let compared = both["compared"].as_array().unwrap();
    let roc = compared.iter().find(|one| one["title"] == "roc").unwrap();
    assert_eq!(roc["instances"], json!(["A: evaluate", "B: evaluate"]));
    // Two workflows as they stand, and what is no report is not replaced.
    let test = test
        .flow("compare flow.toml")
        .arg("flow.toml --set level=2.0")
        .arg("--report")
        .arg("both.html")
        .stdout_has("wrote both.html, ")
        .check()
        .flow("compare flow.toml flow.toml --report evaluate.py")
        .status(2)
        .stderr_has("is there already, and is no report of flow's")
        .check();
    let Some(mut browser) = opened(&test, "both.html", 1280) else {
        return;
    };
    browser.value(SEE_ALL);
    browser.wait("document.querySelectorAll('#compared .chart.drawn').length === 3");
    assert_eq!(
        browser.text("document.querySelector('#main h2').textContent"),
        "What differs"
    );
    browser.screenshot("both");
    assert_eq!(browser.errors(), [""; 0]);
}
