//! `flow table`: the results of a sweep as a table, whose every number can be made again.

use std::fs;
use std::path::Path;
use std::process::Command;

use flow_tests::{Test, binaries};
use serde_json::{Value, json};

/// A seeded kind that measures. Its accuracy is what `keep` makes of it, and a little of the seed's; it fails where it is
/// told to.
const MEASURE: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<'END'
{"protocol": 1, "plugin": "measure", "version": "1", "kinds": [{"name": "measure", "version": 1, "summary": "Measures",
"seeded": true, "headline": ["accuracy", "loss", "never"],
"inputs": [{"name": "from", "type": "metrics", "optional": true}],
"outputs": [{"name": "metrics", "type": "metrics"}],
"parameters": {"type": "object", "properties": {"keep": {"type": "number", "default": 0.9}, "alpha": {"type": "number", "default": 1},
"bad": {"type": "string", "default": ""}, "nan": {"type": "string", "default": ""}}}}]}
END
    exit
fi
read -r request
field() { printf %s "$request" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }
out=$(printf %s "$request" | sed -n 's/.*"metrics":"\([^"]*\)".*/\1/p')
keep=$(field keep) alpha=$(field alpha) seed=$(field seed)
if [ "$(field bad)" = "$keep-$seed" ]; then
    echo '{"event": "error", "message": "it was told to fail"}'
    exit 1
fi
if [ "$(field nan)" = "$keep-$seed" ]; then
    echo '{"accuracy": null, "loss": 1, "groups": {}}' > "$out"
    exit
fi
awk -v keep="$keep" -v alpha="$alpha" -v seed="$seed" 'BEGIN {
    noise = (seed * 7 % 5) / 1000
    lead = keep == 0.8 ? 0.02 + (seed % 3) / 2000 : 0
    accuracy = 0.9 + noise + lead - alpha / 1000
    printf "{\"accuracy\": %.4f, \"loss\": %.4f, \"groups\": {\"even\": {\"accuracy\": %.4f}}}\n", accuracy, 1 - accuracy, accuracy / 2
}' > "$out"
"#;

/// `coarse` reads no axis, `fine` reads `keep`, `heads` has a matrix, `count` is a program that reads `way`.
const WORKFLOW: &str = r#"
[plugins]
mine = "plugin"

[params]
keep = 0.9
way = "a"
bad = ""
nan = ""

[stages.coarse]
uses = "measure"

[stages.fine]
uses = "measure"
inputs = { from = "coarse" }
with = { keep = "${keep}", bad = "${bad}", nan = "${nan}" }

[stages.heads]
uses = "measure"
inputs = { from = "fine" }
matrix = { alpha = [0.1, 0.9] }
with = { keep = "${keep}", alpha = "${matrix.alpha}" }

[stages.count]
run = "test ${way} = b && n=14 || n=10; echo '{\"clusters\":' $n '}' > ${outputs.metrics}"
outputs = { metrics = "metrics.json" }
"#;

const SWEEP: &str = r#"
[sweep]
seeds = 3
goal = { maximise = "fine.accuracy" }
[sweep.axes]
keep = [0.8, 0.9]
way = ["a", "b"]
"#;

fn sweep() -> Test {
    Test::new()
        .executable("plugin", MEASURE)
        .workflow(&format!("{WORKFLOW}{SWEEP}"))
}

/// Runs the sweep, whatever comes of it.
fn run(test: Test, arguments: &str) -> Test {
    test.flow("run flow.toml").flow(arguments).anyhow().check()
}

/// The lines of a call that prints JSON.
#[track_caller]
fn lines(test: &Test) -> Vec<Value> {
    let lines = test.last().stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `flow table` as JSON.
#[track_caller]
fn table(test: Test, arguments: &str) -> (Test, Value) {
    let test = test
        .flow("table flow.toml --json")
        .flow(arguments)
        .stdout_has("{")
        .check();
    let table = lines(&test).remove(0);
    (test, table)
}

/// What `flow table` prints is what is written beside this file; `FLOW_BLESS=1` writes that down anew.
#[track_caller]
fn is_golden(test: &Test, name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name);
    let found = &test.last().stdout;
    if std::env::var_os("FLOW_BLESS").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(*found, expected, "{name} is another:\n{found}");
}

#[test]
fn a_sweep_is_a_table_that_says_what_is_better() {
    let mut test = run(sweep(), "");
    for (format, name) in [
        ("text", "table.txt"),
        ("markdown", "table.md"),
        ("latex", "table.tex"),
        ("csv", "table.csv"),
    ] {
        test = test
            .flow("table flow.toml --format")
            .arg(format)
            .stdout_has("0.8")
            .check();
        is_golden(&test, name);
    }
    let (_, table) = table(test, "");
    assert_eq!(table["mode"], "grid");
    assert_eq!(table["axes"], json!(["keep", "way"]));
    assert_eq!(table["seeds"], json!([42, 43, 44]));
    assert_eq!(
        table["metrics"],
        json!([
            "fine.accuracy",
            "coarse.accuracy",
            "coarse.loss",
            "fine.loss",
            "heads[alpha=0.1].accuracy",
            "heads[alpha=0.1].loss",
            "heads[alpha=0.9].accuracy",
            "heads[alpha=0.9].loss",
            "count.clusters"
        ])
    );
    let row = &table["rows"][0];
    assert_eq!(row["point"], json!({"keep": 0.8, "way": "a"}));
    assert_eq!((&row["status"], &row["n"]), (&json!("complete"), &json!(3)));
    let cell = &row["cells"]["fine.accuracy"];
    let values: Vec<f64> = cell["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["value"].as_f64().unwrap())
        .collect();
    // 0.9 + noise + lead - 0.001, by seed.
    assert_eq!(values, [0.923, 0.9205, 0.923]);
    assert_eq!(cell["values"][1]["stage"], "fine[keep=0.8,seed=43]");
    // With two degrees of freedom t has closed forms: the interval of [0.923, 0.9205, 0.923], the test against
    // [0.903, 0.9, 0.902]. Holm over three rows, of which
    // one is the base's twin in this figure and can't be tested.
    let close = |found: &Value, expected: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    };
    close(&cell["mean"], 2.7665 / 3.0);
    close(&cell["half_width"], 0.003_585_543_941_458);
    close(&cell["lead"]["difference"], 0.0205);
    close(&cell["lead"]["p"], 0.000_198_235_704_197_64);
    close(&cell["lead"]["p_holm"], 2.0 * 0.000_198_235_704_197_64);
    assert_eq!(cell["lead"]["significant"], true);
    assert_eq!((&row["base"], &row["best"]), (&json!(false), &json!(true)));
    // `way` does not count for `fine`: the two are equally good.
    assert_eq!(table["rows"][1]["best"], true);
    let twin = &table["rows"][3]["cells"]["fine.accuracy"]["lead"];
    assert_eq!(
        *twin,
        json!({"difference": 0.0, "p": null, "p_holm": null, "significant": false})
    );
    // The base has no lead over itself; the seed does not count for `count`.
    assert_eq!(table["rows"][2]["base"], true);
    assert_eq!(
        table["rows"][2]["cells"]["fine.accuracy"]["lead"],
        Value::Null
    );
    let count = &table["rows"][1]["cells"]["count.clusters"];
    assert_eq!((&count["n"], &count["mean"]), (&json!(1), &json!(14.0)));
    assert_eq!(count["half_width"], Value::Null);
    assert_eq!(count["lead"]["difference"], 4.0);
    assert_eq!(count["lead"]["p"], Value::Null);
}

#[test]
fn equal_results_make_the_same_bytes() {
    let tables = || {
        let mut test = run(sweep(), "--set bad=0.9-43");
        let formats = ["text", "markdown", "latex", "csv", "json"];
        formats.map(|format| {
            let next = std::mem::take(&mut test);
            test = next
                .flow("table flow.toml --set bad=0.9-43 --format")
                .arg(format)
                .stdout_has("0.8")
                .check();
            test.last().stdout.clone()
        })
    };
    assert_eq!(tables(), tables());
}

#[test]
fn what_is_not_there_is_said_in_its_row() {
    // Nothing has run.
    let (test, nothing) = table(sweep(), "");
    assert!(!test.has(".flow/runs"));
    let first = &nothing["rows"][0];
    assert_eq!(first["status"], "missing");
    assert_eq!(
        first["reason"],
        "coarse, count (seeds 42, 43, 44): not run yet"
    );
    let cell = &first["cells"]["fine.accuracy"];
    assert_eq!(
        *cell,
        json!({"n": 0, "mean": null, "half_width": null, "values": [], "lead": null})
    );
    // One seed of the points with keep = 0.9 fails, and what reads from it does not run.
    let test = run(test, "--set bad=0.9-43");
    let (test, partial) = table(test, "--set bad=0.9-43");
    let told = |row: &Value| json!([row["point"]["keep"], row["status"], row["n"], row["reason"]]);
    let rows: Vec<Value> = partial["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(told)
        .collect();
    let reason = "fine (seed 43): it was told to fail";
    assert_eq!(
        rows,
        [
            json!([0.8, "complete", 3, null]),
            json!([0.8, "complete", 3, null]),
            json!([0.9, "partial", 2, reason]),
            json!([0.9, "partial", 2, reason]),
        ]
    );
    assert_eq!(partial["rows"][2]["cells"]["fine.accuracy"]["n"], 2);
    // The lead is over the seeds that both have: [0.020, 0.021]. With one degree of freedom t is Cauchy's distribution.
    let cell = &partial["rows"][0]["cells"]["fine.accuracy"];
    assert_eq!(
        (&cell["n"], &partial["rows"][0]["best"]),
        (&json!(3), &json!(true))
    );
    let (difference, p) = (
        cell["lead"]["difference"].as_f64(),
        cell["lead"]["p"].as_f64(),
    );
    assert!(
        (difference.unwrap() - 0.0205).abs() < 1e-9,
        "{difference:?}"
    );
    let expected = 2.0 * (1.0f64 / 41.0).atan() / std::f64::consts::PI;
    assert!((p.unwrap() - expected).abs() < 1e-9, "{p:?}");
    let seeds = &partial["rows"][2]["cells"]["fine.accuracy"]["values"];
    assert_eq!(
        (&seeds[0]["seed"], &seeds[1]["seed"]),
        (&json!(42), &json!(44))
    );
    // A stage that would be another now has not failed; it has not run.
    let (test, edited) = table(test, "");
    assert_eq!(
        edited["rows"][2]["reason"],
        "fine (seeds 42, 43, 44): not run yet"
    );
    assert_eq!(edited["rows"][2]["status"], "partial");
    // With a single seed it is all that failed.
    let failing = "--set bad=0.9-42 --seeds 1 --point keep=0.9,way=a";
    let test = run(test, failing);
    let (test, failed) = table(test, failing);
    assert_eq!(failed["rows"][0]["status"], "failed");
    assert_eq!(failed["rows"][0]["reason"], "fine: it was told to fail");
    test.flow("table flow.toml")
        .flow(failing)
        .stdout_has("failed: fine: it was told to fail")
        .check();
}

#[test]
fn a_result_that_is_not_finite_is_no_mean_and_never_the_best() {
    let test = run(sweep(), "--set nan=0.8-44");
    let (test, table) = table(test, "--set nan=0.8-44");
    let row = &table["rows"][0];
    assert_eq!(
        (&row["status"], &row["best"]),
        (&json!("complete"), &json!(false))
    );
    let cell = &row["cells"]["fine.accuracy"];
    assert_eq!(cell["n"], 3);
    assert_eq!((&cell["mean"], &cell["lead"]), (&Value::Null, &Value::Null));
    assert_eq!(cell["values"][2]["value"], Value::Null);
    assert_eq!(table["rows"][2]["best"], true);
    test.flow("table flow.toml --set nan=0.8-44")
        .stdout_has("NaN")
        .stdout_has("Best by fine.accuracy, the largest: keep=0.9,way=a and keep=0.9,way=b, equally good; the base is among them.")
        .check();
}

#[test]
fn columns_and_rows_can_be_chosen() {
    let test = run(sweep(), "");
    let (test, found) = table(
        test,
        "--metric fine.even.accuracy --metric heads.loss --by heads[alpha=0.9].loss",
    );
    assert_eq!(
        found["metrics"],
        json!([
            "fine.accuracy",
            "fine.even.accuracy",
            "heads[alpha=0.1].loss",
            "heads[alpha=0.9].loss"
        ])
    );
    let keeps: Vec<&Value> = found["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["point"]["keep"])
        .collect();
    assert_eq!(keeps, [0.9, 0.9, 0.8, 0.8]);
    // By the goal, the best are first.
    let (test, found) = table(test, "--by fine.accuracy");
    assert_eq!(found["rows"][0]["best"], true);
    let (test, found) = table(test, "--point keep=0.9,way=b,seed=43");
    assert_eq!(found["rows"].as_array().unwrap().len(), 1);
    assert_eq!(found["seeds"], json!([43]));
    test.flow("table flow.toml --metric fine.acuracy")
        .status(2)
        .stderr("error: `fine.acuracy`: `fine` has no figure `acuracy`; it has accuracy, loss, even.accuracy")
        .check()
        .flow("table flow.toml --metric nothing.accuracy")
        .status(2)
        .stderr(
            "error: `nothing.accuracy`: there is no stage `nothing` with figures; there are coarse, fine, heads[alpha=0.1], \
             heads[alpha=0.9], count",
        )
        .check()
        .flow("table flow.toml --metric fine")
        .status(2)
        .stderr("error: `fine` names no figure; write STAGE.METRIC, such as coarse.accuracy")
        .check()
        .flow("table flow.toml --by fine.loos")
        .status(2)
        .stderr_has("error: --by fine.loos: there is no such column; there are fine.accuracy, coarse.accuracy")
        .check()
        .edit("\"fine.accuracy\" }", "\"heads.accuracy\" }")
        .flow("table flow.toml")
        .status(2)
        .stderr("error: `heads.accuracy` is several: name one of heads[alpha=0.1].accuracy, heads[alpha=0.9].accuracy")
        .check();
    Test::new()
        .workflow("[stages.a]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o.json' }")
        .flow("table flow.toml")
        .status(2)
        .stderr_has("error: no stage of this workflow has figures; a program gives its own with an output `metrics`")
        .check();
}

#[test]
fn without_a_sweep_it_is_one_row() {
    let test = Test::new().executable("plugin", MEASURE).workflow(WORKFLOW);
    let test = run(test, "");
    let (test, table) = table(test, "");
    assert_eq!(
        (&table["mode"], &table["goal"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(table["seeds"], json!([42]));
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["point"], json!({}));
    let cell = &rows[0]["cells"]["heads[alpha=0.1].accuracy"];
    assert_eq!((&cell["n"], &cell["half_width"]), (&json!(1), &Value::Null));
    let test = test
        .flow("table flow.toml --metric heads.accuracy --metric count.clusters")
        .stdout(
            "heads[alpha=0.1]   heads[alpha=0.9]      count\n\
             \x20       accuracy           accuracy   clusters\n\
             ──────────────────────────────────────────────\n\
             \x20         0.9039             0.9031         10\n\
             ──────────────────────────────────────────────",
        )
        .check();
    // The command that makes a number needs no point.
    let test = test
        .flow("table flow.toml --cell heads[alpha=0.9].accuracy")
        .stdout_has("heads[alpha=0.9].accuracy: 0.9031\n\nseed 42: 0.9031\nheads[alpha=0.9]\n")
        .stdout_has("  again       flow run flow.toml --until 'heads[alpha=0.9]'\n")
        .check();
    // A program's figures stand at a run's end too.
    test.flow("run flow.toml")
        .stdout_has("stage   clusters\n")
        .stderr_has("run RUN: ")
        .check();
}

#[test]
fn one_seed_has_no_interval_and_says_so() {
    let test = run(sweep(), "--seeds 1");
    let (test, table) = table(test, "--seeds 1");
    let cell = &table["rows"][0]["cells"]["fine.accuracy"];
    assert_eq!(cell["n"], 1);
    assert_eq!(cell["half_width"], Value::Null);
    assert_eq!(cell["values"][0]["stage"], "fine[keep=0.8]");
    let test = test
        .flow("table flow.toml --seeds 1")
        .stdout_has("One seed: there is no interval")
        .check();
    assert!(!test.last().stdout.contains('±'));
}

/// The commands that a cell tells, as a shell reads them.
fn told(test: &Test) -> Vec<String> {
    let lines = test.last().stdout.lines();
    let told = lines.filter_map(|line| line.strip_prefix("  again "));
    told.map(|command| command.trim().to_string()).collect()
}

#[test]
fn the_command_of_a_cell_makes_its_number_alone() {
    // An axis whose values want quotes.
    let quoted = "\"it's a\", \"b c\"";
    let test = sweep()
        .edit("way = \"a\"", "way = \"it's a\"")
        .edit("[\"a\", \"b\"]", &format!("[{quoted}]"));
    let test = run(test, "--set nan=none");
    let (test, whole) = table(test, "--set nan=none");
    let test = test
        .flow("table flow.toml --set nan=none --cell heads[alpha=0.9].accuracy --point")
        .arg("keep=0.8,way=it's a")
        .stdout_has("heads[alpha=0.9].accuracy at keep=0.8, way=it's a: ")
        .stdout_has(" (mean of n = 3)\n\nseed 42: 0.9231\nheads[alpha=0.9,keep=0.8,seed=42]\n")
        .stdout_has("  kind        measure 1 of measure 1")
        .stdout_has("  input       from = fine[keep=0.8,seed=43].metrics ")
        .stdout_has("  key         ")
        .stdout_has("  made        ")
        .check();
    let commands = told(&test);
    assert_eq!(commands.len(), 3);
    assert!(
        commands[1].contains("--until 'heads[alpha=0.9]'"),
        "{}",
        commands[1]
    );
    let test = test
        .flow("table flow.toml --set nan=none --json --cell heads[alpha=0.9].accuracy --point")
        .arg("keep=0.8,way=it's a,seed=43")
        .stdout_has("\"event\":\"cell\"")
        .check();
    let cells = lines(&test);
    assert_eq!(cells.len(), 1);
    let again: Vec<&str> = cells[0]["again"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a.as_str().unwrap())
        .collect();
    assert_eq!(
        again,
        [
            "flow",
            "run",
            "flow.toml",
            "--set",
            "nan=none",
            "--point",
            "keep=0.8,way=it's a,seed=43",
            "--until",
            "heads[alpha=0.9]"
        ]
    );
    assert_eq!(
        cells[0]["action"]["label"],
        "heads[alpha=0.9,keep=0.8,seed=43]"
    );
    // In an empty store the command, as it is printed, runs what this number needs, and gives it.
    fs::rename(test.path(".flow"), test.path("before")).unwrap();
    let flow = binaries::find("flow");
    let path = format!(
        "{}:{}",
        flow.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let shell = Command::new("sh")
        .args(["-c", &format!("{} --json", commands[1])])
        .current_dir(test.path(""))
        .env("PATH", path)
        .env("XDG_CACHE_HOME", binaries::cache_folder())
        .output()
        .unwrap();
    assert!(shell.status.success(), "{shell:?}");
    let printed = String::from_utf8(shell.stdout).unwrap();
    let mut ran: Vec<String> = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "stage")
        .map(|event| {
            format!(
                "{} {}",
                event["status"].as_str().unwrap(),
                event["stage"].as_str().unwrap()
            )
        })
        .collect();
    ran.sort();
    assert_eq!(ran, ["ran coarse", "ran fine", "ran heads"]);
    let (test, alone) = table(test, "--set nan=none --metric heads[alpha=0.9].accuracy");
    let value = |table: &Value| {
        let values = &table["rows"][0]["cells"]["heads[alpha=0.9].accuracy"]["values"];
        let found = values
            .as_array()
            .unwrap()
            .iter()
            .find(|value| value["seed"] == 43);
        found.unwrap().clone()
    };
    assert_eq!(value(&alone), value(&whole));
    assert_eq!(
        alone["rows"][0]["cells"]["heads[alpha=0.9].accuracy"]["n"],
        1
    );
    // And `flow show` follows the instance back.
    test.flow("show flow.toml heads[alpha=0.9,keep=0.8,seed=43] --set nan=none")
        .stdout_has("is metrics of heads[alpha=0.9,keep=0.8,seed=43]\n")
        .stdout_has("\n\nfine[keep=0.8,seed=43]\n")
        .stdout_has("\n\ncoarse[seed=43]\n")
        .stdout_has("--until 'heads[alpha=0.9,keep=0.8,seed=43]'\n")
        .check();
}

#[test]
fn a_seed_that_does_not_count_is_told_once() {
    let test = run(sweep(), "");
    test.flow("table flow.toml --cell count.clusters --point keep=0.9,way=b")
        .stdout_has("count.clusters at keep=0.9, way=b: 14\n\nseeds 42, 43, 44, which do not count here: 14\ncount[way=b]\n")
        .check();
}

#[test]
fn a_program_that_writes_no_json_is_told_what_is_wrong() {
    let test = Test::new().workflow(
        "[stages.a]\nrun = 'echo \"{\\\"loss\\\": NaN}\" > ${outputs.metrics}'\noutputs = { metrics = 'metrics.json' }",
    );
    let test = test.run("").stages("failed", "a").status(1).check();
    let (message, _) = test.last().stages["a"].failure.clone().unwrap();
    assert!(
        message.starts_with(
            "its output `metrics` is not a JSON object (JSON has no NaN and no Infinity: write null): "
        ),
        "{message}"
    );
    // Under another name a program may write what it likes.
    test.workflow("[stages.a]\nrun = 'echo NaN > ${outputs.o}'\noutputs = { o = 'metrics.json' }")
        .run("")
        .ran("a")
        .check();
}

#[test]
fn a_matrix_and_a_sweep_may_have_axes_of_one_name() {
    let test = Test::new().executable("plugin", MEASURE).workflow(
        r#"
[plugins]
mine = "plugin"
[params]
keep = 0.9
[stages.heads]
uses = "measure"
matrix = { keep = [1, 2] }
with = { keep = "${keep}", alpha = "${matrix.keep}" }
[stages.alone]
uses = "measure"
matrix = { keep = [1, 2] }
with = { alpha = "${matrix.keep}" }
[sweep]
axes = { keep = [0.8, 0.9] }
"#,
    );
    let test = run(test, "");
    let (test, table) = table(test, "--metric heads.accuracy --metric alone.accuracy");
    let columns = [
        "heads[keep=1].accuracy",
        "heads[keep=2].accuracy",
        "alone[keep=1].accuracy",
        "alone[keep=2].accuracy",
    ];
    assert_eq!(table["metrics"], json!(columns));
    let value =
        |row: usize, column: usize| table["rows"][row]["cells"][columns[column]]["mean"].clone();
    assert_eq!(
        [value(0, 0), value(0, 1), value(1, 0), value(1, 1)],
        [0.923, 0.922, 0.903, 0.902]
    );
    assert_eq!([value(0, 2), value(1, 2)], [0.903, 0.903]);
    test.flow("table flow.toml --point keep=0.8 --cell heads[keep=2].accuracy")
        .stdout_has("again       flow run flow.toml --point 'keep=0.8' --until 'heads[keep=2]'\n")
        .check()
        .flow("run flow.toml --point keep=0.8 --until heads[keep=2] --dry-run")
        .stdout_has("1 up to date, 0 will run, 0 may run")
        .check();
}

#[test]
fn figures_inside_objects_are_called_by_their_path() {
    let test = Test::new()
        .workflow(
            r#"
[stages.raw]
run = ["cp", "${inputs.from}", "${outputs.metrics}"]
inputs = { from = { path = "raw.json" } }
outputs = { metrics = "metrics.json" }
[stages.grp]
run = ["cp", "${inputs.from}", "${outputs.metrics}"]
inputs = { from = { path = "grp.json" } }
outputs = { metrics = "metrics.json" }
[stages.txt]
run = ["cp", "${inputs.from}", "${outputs.metrics}"]
inputs = { from = { path = "txt.json" } }
outputs = { metrics = "metrics.json" }
"#,
        )
        .file(
            "raw.json",
            r#"{"test": {"x": 0.5, "top": {"5": 0.75}}, "runs": [1, 2], "note": "good"}"#,
        )
        .file(
            "grp.json",
            r#"{"groups": {"even": {"accuracy": 0.25}, "odd": {"accuracy": 0.125}}}"#,
        )
        .file("txt.json", r#"{"note": "good"}"#);
    // What is no figure is said when it is made, with its path.
    let warned = |stage: &str, what: &str| {
        format!(
            "warning: {stage}: its output `metrics` has values that are no figures: {what}; tables show numbers, and null for one \
             that is not finite"
        )
    };
    let test = test
        .flow("run flow.toml --jobs 1")
        .stderr_has(&warned("raw", "note (a text), runs (a list)"))
        .stderr_has(&warned("txt", "note (a text)"))
        .stdout_has("test.top.5   test.x\n")
        .stdout_has("raw         0.7500   0.5000\n")
        .stdout_has("  even     0.2500\n")
        .check();
    let (test, table) = table(test, "");
    let columns = [
        "raw.test.top.5",
        "raw.test.x",
        "grp.even.accuracy",
        "grp.odd.accuracy",
    ];
    assert_eq!(table["metrics"], json!(columns));
    let (test, table) = self::table(test, "--metric raw.test.x --metric grp.odd.accuracy");
    let cells = &table["rows"][0]["cells"];
    assert_eq!(cells["raw.test.x"]["mean"], 0.5);
    assert_eq!(cells["grp.odd.accuracy"]["mean"], 0.125);
    test.flow("table flow.toml --metric raw.x")
        .status(2)
        .stderr("error: `raw.x`: `raw` has no figure `x`; it has test.top.5, test.x")
        .check()
        .flow("table flow.toml --metric txt.note")
        .status(2)
        .stderr_has("error: `txt.note`: the results of `txt` have no figures: ")
        .check();
}

#[test]
fn where_no_kind_has_a_headline_the_last_figures_are_shown() {
    let plugin = MEASURE.replace(r#""headline": ["accuracy", "loss", "never"],"#, "");
    let workflow = r#"
[plugins]
mine = "plugin"
[params]
keep = 0.9
[stages.first]
uses = "measure"
[stages.last]
uses = "measure"
inputs = { from = "first" }
with = { keep = "${keep}" }
"#;
    let test = Test::new().executable("plugin", &plugin).workflow(workflow);
    let test = test
        .flow("table flow.toml")
        .stdout_has("Which figures there are is known once the stages have run.")
        .check()
        .flow("run flow.toml")
        .anyhow()
        .check();
    let shown = &test.last().stdout;
    assert!(shown.contains("last       0.9030   0.0970"), "{shown}");
    assert!(!shown.contains("first"), "{shown}");
    let (test, table) = table(test, "");
    assert_eq!(table["metrics"], json!(["last.accuracy", "last.loss"]));
    // Of a part of the workflow, the last of that part; so too of a sweep.
    let test = test.flow("run flow.toml --until first").anyhow().check();
    assert!(test.last().stdout.contains("first      0.9030   0.0970"));
    let test = test
        .flow("run flow.toml --sweep keep=0.8,0.9 --seeds 2")
        .anyhow()
        .check();
    assert!(
        test.last().stdout.contains("accuracy"),
        "{}",
        test.last().stdout
    );
    // A program that writes figures is where they are looked for first.
    let count = "[stages.count]\nrun = 'echo \"{\\\"n\\\": 3}\" > ${outputs.metrics}'\noutputs = { metrics = 'metrics.json' }\n";
    let (_, table) = self::table(test.workflow(&format!("{workflow}{count}")), "");
    assert_eq!(table["rows"][0]["status"], "missing");
    // Nothing that has figures: then it says so, and how to have some.
    Test::new()
        .workflow("[stages.a]\nrun = 'echo > ${outputs.o}'\noutputs = { o = 'o' }")
        .flow("table flow.toml")
        .status(2)
        .stderr_has("error: no stage of this workflow has figures; ")
        .check();
}
