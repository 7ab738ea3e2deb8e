//! Options that choose what runs, and where results go: `--only`, `--until`, `--force`, `--dry-run`, `--jobs`,
//! `--keep-going`, `--store`; and `flow get`, `flow status`.

use flow_tests::{Test, store};

/// `a` → `b` → `c`, and `d` beside them. Each notes its start.
const CHAIN: &str = r#"
[stages.a]
run = "echo a >> ~/starts; cat ${inputs.text} > ${outputs.o}"
inputs = { text = { path = "text.txt" } }
outputs = { o = "o.txt" }

[stages.b]
run = "echo b >> ~/starts; cat ${inputs.a} ${inputs.a} > ${outputs.o}"
inputs = { a = "a" }
outputs = { o = "o.txt" }

[stages.c]
run = "echo c >> ~/starts; cat ${inputs.b} ${inputs.b} > ${outputs.o}"
inputs = { b = "b" }
outputs = { o = "o.txt" }

[stages.d]
run = "echo d >> ~/starts; echo d > ${outputs.o}"
outputs = { o = "o.txt" }
"#;

fn chain() -> Test {
    Test::new().workflow(CHAIN).file("text.txt", "x\n")
}

#[test]
fn until_runs_a_stage_and_what_it_needs() {
    chain()
        .run("--until b")
        .ran("a b")
        .starts("a\nb")
        .check()
        .run("--until c --until d")
        .cached("a b")
        .ran("c d")
        .check();
}

#[test]
fn only_runs_one_stage() {
    chain()
        .run("")
        .ran("a b c d")
        .check()
        .edit("cat ${inputs.a} ${inputs.a}", "cat ${inputs.a}")
        .run("--only b")
        .ran("b")
        .starts("b")
        .check();
}

#[test]
fn only_needs_what_it_reads() {
    chain()
        .run("--only b")
        .status(2)
        .stderr(
            "error: --only: stage `a`, which it reads from, has no up-to-date result in the store; use --until, or \
             first: flow run flow.toml --until a",
        )
        .check();
}

#[test]
fn force_runs_a_stage_again_and_the_same_bytes_stop_the_wave() {
    chain()
        .run("")
        .ran("a b c d")
        .check()
        .run("--force a --force d")
        .ran("a d")
        .cached("b c")
        .starts("a\nd")
        .check();
}

#[test]
fn from_runs_a_stage_and_all_behind_it() {
    chain()
        .run("")
        .ran("a b c d")
        .check()
        .run("--from b")
        .ran("b c")
        .cached("a d")
        .starts("b\nc")
        .check()
        .run("--from b --until b")
        .cached("a")
        .ran("b")
        .check()
        .run("--from bb")
        .status(2)
        .stderr_has("error: --from bb: there is no such stage")
        .check();
}

#[test]
fn force_alone_runs_all() {
    chain()
        .run("")
        .ran("a b c d")
        .check()
        .run("--force")
        .ran("a b c d")
        .check()
        .run("--until b --force")
        .ran("a b")
        .check()
        // No stage is called like a file: this one is the workflow.
        .flow("run --json --force flow.toml")
        .ran("a b c d")
        .check()
        .flow("run --json --force b")
        .ran("b")
        .cached("a c d")
        .check();
}

#[test]
fn a_workflow_needs_no_name_where_there_is_one() {
    let test = chain().flow("run --json").ran("a b c d").check();
    let test = test.flow("check").stdout_has("flow.toml is right").check();
    let test = test
        .flow("status --json")
        .stages("up to date", "a b c d")
        .check();
    let test = test.flow("get c.o -o c.txt").stdout("c.txt").check();
    let test = test.flow("why c").stdout_has("c").check();
    let test = test
        .file("other.toml", "include = ['flow.toml']\n")
        .file("pyproject.toml", "[project]\n")
        .flow("run")
        .status(2)
        .stderr("error: . has no workflow.toml, and several workflows; name one of flow.toml, other.toml")
        .check();
    let test = test
        .file("workflow.toml", CHAIN)
        .flow("check")
        .stdout_has("workflow.toml is right")
        .check();
    let test = test.file("sub/x.toml", CHAIN).file("sub/text.txt", "x\n");
    test.flow("check sub")
        .stdout_has("sub/x.toml is right")
        .check();
    Test::new()
        .flow("run")
        .status(2)
        .stderr("error: there is no workflow in .: name one, or write a workflow.toml")
        .check();
}

#[test]
fn an_option_that_names_no_stage_says_which_there_are() {
    for option in ["--only", "--until", "--force"] {
        chain()
            .run(&format!("{option} bb"))
            .status(2)
            .stderr(&format!(
                "error: {option} bb: there is no such stage; there are a, b, c, d"
            ))
            .check();
    }
}

#[test]
fn a_dry_run_runs_nothing() {
    let test = chain()
        .flow("run flow.toml --dry-run")
        .stdout(
            "will run  a  no earlier result\n\
             may run   b  once a has run, unless that gives the same bytes\n\
             may run   c  once b has run, unless that gives the same bytes\n\
             will run  d  no earlier result\n\
             \n\
             0 up to date, 2 will run, 2 may run; how long that takes is not known yet\n",
        )
        .starts("")
        .check();
    assert!(!test.has(".flow"), "a dry run writes nothing");
    test.run("")
        .ran("a b c d")
        .check()
        .run("--dry-run --force d")
        .stages("up to date", "a b c")
        .stages("will run", "d")
        .starts("")
        .check();
}

#[test]
fn status_tells_how_each_stage_stands() {
    chain()
        .run("--until b")
        .ran("a b")
        .check()
        .flow("status flow.toml --json")
        .stages("up to date", "a b")
        .stages("will run", "c d")
        .check()
        .edit("cat ${inputs.text}", "tac ${inputs.text}")
        .flow("status flow.toml --json")
        .stages("will run", "a d")
        .stages("may run", "b c")
        .starts("")
        .check();
}

#[test]
fn a_failure_ends_the_run_and_keep_going_goes_on_with_the_rest() {
    let failing = CHAIN.replace("echo b >> ~/starts;", "echo b >> ~/starts; exit 7;");
    let test = Test::new()
        .workflow(&failing)
        .file("text.txt", "x\n")
        .run("--keep-going --jobs 1")
        .status(1)
        .ran("a d")
        .stages("failed", "b")
        .stages("skipped", "c")
        .starts("a\nb\nd")
        .check();
    let (message, log) = test.last().stages["b"].failure.clone().unwrap();
    assert_eq!(message, "it ended with exit status 7");
    assert!(std::path::Path::new(&log).is_file(), "{log}");
    // Without it nothing new begins after the failure.
    let slow = failing.replace("echo d >> ~/starts;", "echo d >> ~/starts; exit 1;");
    let test = test.workflow(&slow).run("--jobs 1").status(1).cached("a");
    test.stages("failed", "b")
        .stages("skipped", "c")
        .stages("cancelled", "d")
        .starts("b")
        .check();
}

#[test]
fn jobs_bounds_the_threads_that_are_given_out() {
    // Each stage waits until it has seen the other one; alone it gives up after some tries.
    let meet = |me: &str, other: &str| {
        format!(
            "[stages.{me}]\nrun = 'touch ~/{me}; n=0; until test -e ~/{other} || test $n -ge ${{tries}}; \
             do n=$((n+1)); sleep 0.02; done; test -e ~/{other} && echo met > ${{outputs.o}} || echo alone > ${{outputs.o}}'\n\
             outputs = {{ o = 'o' }}\n"
        )
    };
    let workflow = format!(
        "[params]\ntries = 50\n{}{}",
        meet("left", "right"),
        meet("right", "left")
    );
    let run = |options: &str| {
        let test = Test::new().workflow(&workflow);
        test.run(options)
            .ran("left right")
            .check()
            .output("left", "o")
    };
    assert_eq!(run("--jobs 1"), b"alone\n");
    assert_eq!(run("--jobs 2 --set tries=1000"), b"met\n");
}

#[test]
fn a_stage_gets_its_threads_in_its_environment() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'echo $OMP_NUM_THREADS $RAYON_NUM_THREADS > ${outputs.o}'\noutputs = { o = 'o' }")
        .run("")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "o"), b"1 1\n");
}

#[test]
fn the_store_can_lie_elsewhere() {
    let test = chain()
        .run("--store elsewhere/results")
        .ran("a b c d")
        .check();
    assert!(!test.has(".flow"));
    store::assert_sound(&test.path("elsewhere/results"));
    let test = test
        .run("")
        .env("FLOW_STORE", "elsewhere/results")
        .cached("a b c d")
        .check();
    // The option wins over the variable.
    let test = test
        .run("--store third")
        .env("FLOW_STORE", "elsewhere/results")
        .ran("a b c d")
        .check();
    // Two folders with one store share results.
    let store = test.path("third").into_os_string();
    let other = chain()
        .run("")
        .env("FLOW_STORE", store)
        .cached("a b c d")
        .check();
    assert!(!other.has(".flow"));
}

#[test]
fn get_copies_an_output() {
    let test = chain()
        .flow("get flow.toml c")
        .status(1)
        .stderr(
            "error: `c` is not up to date, so there is nothing to copy; first: flow run flow.toml --until c",
        )
        .check()
        .run("")
        .ran("a b c d")
        .check()
        .flow("get flow.toml c.o -o copy.txt")
        .stdout("copy.txt")
        .check()
        .flow("get flow.toml c.o -o deep/er/copy.txt")
        .stdout("deep/er/copy.txt")
        .check()
        .flow("get flow.toml c")
        .stdout("c.o.txt")
        .check();
    assert_eq!(test.read("copy.txt"), "x\nx\nx\nx\n");
    assert_eq!(test.read("c.o.txt"), "x\nx\nx\nx\n");
    // A copy is the user's: it can be written, and the store does not see it.
    test.file("copy.txt", "mine")
        .run("")
        .cached("a b c d")
        .check();
}

#[test]
fn people_read_a_line_for_each_stage_that_runs() {
    chain()
        .flow("run flow.toml --until c")
        .stderr(
            "ran       a TIME\n\
             ran       b TIME\n\
             ran       c TIME\n\
             run RUN: 3 ran, 0 cached, TIME\n",
        )
        .check()
        .flow("run flow.toml --until c")
        .stderr("run RUN: 0 ran, 3 cached, TIME\n")
        .check();
}

#[test]
fn the_command_line_is_checked() {
    chain()
        .run("--jobs 0")
        .status(2)
        .stderr_has("--jobs <N>")
        .check();
    chain()
        .run("--only a --until b")
        .status(2)
        .stderr_has("--until")
        .check();
    chain()
        .flow("runn flow.toml")
        .status(2)
        .stderr_has("'run'")
        .check();
    let test = chain().flow("--version");
    test.stdout_has("flow 0.").check();
}
