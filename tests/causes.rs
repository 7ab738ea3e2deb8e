//! Why stages have to run: `status` and `why` after failures, of instances beside each other, with long values, with many.

use flow_tests::Test;
use serde_json::Value;

/// A program with two params that fails for one value of the second, and one with a matrix that fails for another.
const WORKFLOW: &str = r#"
[params]
a = 1
b = 1

[stages.two]
run = "test ${b} != 13 && echo ${a} ${b} > ${outputs.o}"
outputs = { o = "o" }

[stages.m]
run = "test ${matrix.s} != A$(cat ${inputs.bad}) && echo ${matrix.s} ${a} > ${outputs.o}"
inputs = { bad = { path = "bad" } }
matrix = { s = ["A", "B"] }
outputs = { o = "o" }
"#;

#[test]
fn what_failed_last_time_is_said_first() {
    let test = Test::new()
        .workflow(WORKFLOW)
        .file("bad", "none")
        .run("")
        .ran("two m[s=A] m[s=B]")
        .check()
        .run("--set a=2 --until two")
        .ran("two")
        .check()
        .run("--set a=2 --set b=13 --until two")
        .stages("failed", "two")
        .status(1)
        .check();
    // Of two params one differs from the run before; the first run differs in both.
    let failed =
        "failed last time: it ended with exit status 1; since its last result: value `b` 1 → 13\n";
    test.flow("status flow.toml --set a=2 --set b=13 --expand")
        .stdout_has(failed)
        .check()
        .flow("why flow.toml two --set a=2 --set b=13")
        .stdout_has("\nfailed last time: it ended with exit status 1\n  whole log: ")
        .stdout_has("\nvalue `b`  1 ")
        .check()
        .flow("status flow.toml --set a=2 --set b=14")
        .stdout_has("will run  two   value `b` 1 → 14\n")
        .check();
}

#[test]
fn a_success_after_a_failure_is_the_last_word_though_its_result_is_gone() {
    let workflow = "[stages.a]\nrun = 'test -e ~/ok && echo > ${outputs.o}'\noutputs = { o = 'o' }";
    let test = Test::new()
        .workflow(workflow)
        .run("")
        .stages("failed", "a")
        .status(1)
        .check();
    let test = test
        .flow("status flow.toml")
        .stdout_has("will run  a  failed last time: it ended with exit status 1\n")
        .check()
        .file("../ok", "")
        .run("")
        .ran("a")
        .check()
        .flow("cache gc flow.toml --max-size 0B")
        .stdout_has("freed")
        .check();
    test.flow("status flow.toml")
        .stdout_has("will run  a  no earlier result\n")
        .check();
}

#[test]
fn the_nearest_record_is_one_of_the_same_instance() {
    let test = Test::new()
        .workflow(WORKFLOW)
        .file("bad", "none")
        .run("")
        .ran("two m[s=A] m[s=B]")
        .check()
        .file("bad", "")
        .run("--set a=2 --keep-going")
        .stages("failed", "m[s=A]")
        .ran("two m[s=B]")
        .status(1)
        .check();
    // The record of m[s=B] differs in one value, and its own in two.
    let test = test
        .flow("status flow.toml --set a=2")
        .stdout_has(
            "m[s=A]  failed last time: it ended with exit status 1; since its last result: value `a` 1 → 2, its\n                    \
             file `bad` changed\n",
        )
        .check();
    // An instance that never ran is compared with another, by name.
    let test = test
        .edit("[\"A\", \"B\"]", "[\"B\", \"C\"]")
        .flow("status flow.toml --set a=2")
        .stdout_has("will run    m[s=C]  compared with m[s=B]: value `matrix.s` \"B\" → \"C\"\n")
        .check()
        .flow("why flow.toml m[s=C] --set a=2")
        .stdout_has("compared with m[s=B], which is nearest:\n")
        .check();
    // A sweep gives instances coordinates; they are the same all the same.
    test.flow("run flow.toml --sweep a=2,3 --until two")
        .anyhow()
        .check()
        .flow("status flow.toml --set a=3 --set b=2")
        .stdout_has("two   compared with two[a=3]: value `b` 1 → 2\n")
        .check();
}

#[test]
fn long_values_are_shown_where_they_differ_and_whole_as_json() {
    let long = "x".repeat(200);
    let workflow = |end: &str| {
        format!("[stages.a]\nrun = 'echo {long}{end} > ${{outputs.o}}'\noutputs = {{ o = 'o' }}")
    };
    let test = Test::new()
        .workflow(&workflow("1"))
        .run("")
        .ran("a")
        .check();
    let test = test.workflow(&workflow("2"));
    let (one, two) = ("…xxxxxxxxxxxx1 > ${outputs…", "…xxxxxxxxxxxx2 > ${outputs…");
    let test = test
        .flow("status flow.toml")
        .stdout_has(&format!("command {one}"))
        .stdout_has(&format!("→ {two}"))
        .check()
        .flow("why flow.toml a")
        .stdout_has(one)
        .stdout_has(two)
        .check()
        .flow("why flow.toml a --json")
        .anyhow()
        .check();
    let line: Value = serde_json::from_str(&test.last().stdout).unwrap();
    let difference = &line["nearest"]["differences"][0];
    assert_eq!(difference["part"], "command");
    for (side, end) in [("then", "1"), ("now", "2")] {
        let text = difference[side].as_str().unwrap();
        assert!(text.contains(&format!("{long}{end} >")), "{line}");
    }
    let test = test.run("").ran("a").check();
    // Two results of one stage, as `compare` shows them.
    let runs = std::fs::read_dir(test.path(".flow/runs")).unwrap();
    let mut runs: Vec<String> = runs
        .map(|run| run.unwrap().file_name().into_string().unwrap())
        .collect();
    runs.sort();
    test.flow("compare")
        .arg(&runs[0])
        .arg(&runs[1])
        .stdout_has("…xxxxxxxxxxxx1")
        .stdout_has("…xxxxxxxxxxxx2")
        .stdout_has("line 1: …xxxxxxxxxxxx")
        .check();
}

#[test]
fn many_predecessors_are_counted() {
    let values: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let test = Test::new()
        .workflow(&format!(
            "[stages.part]\nrun = 'echo ${{matrix.n}} > ${{outputs.o}}'\nmatrix = {{ n = [{}] }}\noutputs = {{ o = 'o' }}\n\
             [stages.all]\nrun = 'cat ${{inputs.parts}} > ${{outputs.o}}'\ninputs = {{ parts = {{ collect = 'part.o' }} }}\n\
             outputs = {{ o = 'o' }}\n",
            values.join(", ")
        ))
        .flow("status flow.toml")
        .stdout(
            "will run  part ×60  no earlier result\n\
             may run   all       once part[n=0], part[n=1], part[n=2], part[n=3], part[n=4] and 55 more have run, unless\n                    \
             they give the same bytes\n\n\
             0 up to date, 60 will run, 1 may run; how long that takes is not known yet",
        )
        .check()
        .flow("why flow.toml all")
        .stdout_has("\n  part[n=4] will run: no earlier result\n  and 55 more of part")
        .check();
    test.flow("get flow.toml part.o")
        .status(2)
        .stderr_has("is several: name one of part[n=0], part[n=1], part[n=2], ")
        .stderr_has("part[n=29] and 30 more")
        .check();
}

#[test]
fn what_changed_in_a_written_file_is_told_by_its_line() {
    let test = Test::new()
        .workflow(
            r#"
[stages.a]
run = "cp params.yaml ${outputs.o}"
files = { "params.yaml" = { train = { epochs = 20, lr = 0.1 } } }
outputs = { o = "o" }
"#,
        )
        .run("")
        .ran("a")
        .check()
        .edit("epochs = 20", "epochs = 30");
    let told = |command: &str| {
        let test = test.beside().flow(command).anyhow().check();
        test.last().stdout.clone()
    };
    let why = told("why flow.toml a");
    let line = why.lines().find(|line| line.contains("line 2"));
    let words: Vec<&str> = line.unwrap_or(&why).split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "file `params.yaml`, line 2 epochs: 20 epochs: 30",
        "{why}"
    );
    let status = told("status flow.toml");
    assert!(status.contains("epochs: 20 → "), "{status}");
}
