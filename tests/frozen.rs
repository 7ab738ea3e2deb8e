//! `frozen = true`: a stage's last result stands, whatever its inputs are now.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use flow_tests::{Test, store};

const CHAIN: &str = "[params]
w = 1
v = 1
[stages.a]
run = 'echo ${w} > ${outputs.o}'
outputs = { o = 'o' }
[stages.train]
run = 'cat ${inputs.x} ${inputs.own} > ${outputs.o}'
inputs = { x = 'a', own = { path = 'own.txt' } }
outputs = { o = 'o' }
[stages.test]
run = 'cat ${inputs.x} > ${outputs.o}; echo ${v} >> ${outputs.o}'
inputs = { x = 'train' }
outputs = { o = 'o' }
";

fn chain() -> Test {
    Test::new().workflow(CHAIN).file("own.txt", "own\n")
}

fn freeze(test: Test) -> Test {
    test.edit("[stages.train]\n", "[stages.train]\nfrozen = true\n")
}

#[track_caller]
fn tested(test: &Test, text: &str) {
    let output = String::from_utf8(test.output("test", "o")).unwrap();
    assert_eq!(output, text);
}

#[test]
fn the_last_result_stands_whatever_the_inputs_are() {
    let test = freeze(chain().run("").ran("a train test").check());
    // Its file is gone, what it reads from has changed, and it would do something else.
    fs::remove_file(test.path("own.txt")).unwrap();
    let test = test
        .edit("cat ${inputs.x} ${inputs.own} >", "exit 3 >")
        .flow("check flow.toml --set w=2")
        .stdout("flow.toml is right: 3 stage(s), 3 instance(s)\nfrozen: train")
        .check()
        .run("--set w=2")
        .ran("a")
        .stages("frozen", "train")
        .cached("test")
        .stdout_has(r#""ran":1,"cached":1,"frozen":1"#)
        .check();
    tested(&test, "1\nown\n1\n");
    // What reads from it is keyed by its outputs as ever; and each run says that it is frozen.
    let test = test
        .run("--set w=2 --set v=2")
        .ran("test")
        .stages("frozen", "train")
        .cached("a")
        .check();
    tested(&test, "1\nown\n2\n");
    let test = test
        .flow("run flow.toml --set w=2")
        .stderr_has("frozen    train\n")
        .stderr_has("0 ran, 2 cached, 1 frozen")
        .check()
        .flow("run flow.toml --until train")
        .stderr_has("frozen    train\n")
        .stderr_has("0 ran, 0 cached, 1 frozen")
        .check();
    // Without `frozen` it is a stage as any other.
    test.edit("frozen = true\n", "")
        .edit("exit 3 >", "cat ${inputs.x} >")
        .file("own.txt", "own\n")
        .run("--set w=2")
        .ran("train test")
        .cached("a")
        .check();
}

#[test]
fn all_that_shows_stages_shows_it() {
    let test = freeze(chain().run("").ran("a train test").check());
    let test = test
        .flow("status flow.toml --set w=2")
        .stdout_has("frozen      train  its result of 20")
        .stdout_has("1 up to date, 1 will run, 0 may run, 1 frozen")
        .check()
        .flow("status flow.toml --set w=2 --json")
        .stages("frozen", "train")
        .stages("will run", "a")
        .stages("up to date", "test")
        .check()
        .run("--set w=2 --dry-run")
        .stages("frozen", "train")
        .stages("will run", "a")
        .stages("up to date", "test")
        .check()
        .flow("why flow.toml train --set w=2")
        .stdout_has("train: frozen, so this result stands, whatever its inputs are now\nkey ")
        .check()
        // The picture has what it reads from all the same.
        .flow("graph flow.toml --set w=2")
        .stdout_has("* train  ← a\n")
        .stdout_has("* frozen")
        .check()
        .run("--set w=2")
        .ran("a")
        .stages("frozen", "train")
        .cached("test")
        .check()
        .flow("report flow.toml --set w=2 -o now.html")
        .anyhow()
        .check();
    let runs = store::runs(&test.path(".flow")).into_iter();
    let is_it = |run: &PathBuf| {
        let events = fs::read_to_string(run.join("events.jsonl")).unwrap();
        events.contains(r#""status":"frozen""#)
    };
    let runs: Vec<PathBuf> = runs.filter(is_it).collect();
    let [run] = &runs[..] else {
        panic!("{runs:?}");
    };
    let id = run.file_name().unwrap().to_str().unwrap();
    let test = test
        .flow(&format!("show flow.toml {id}"))
        .stdout_has("frozen")
        .check()
        .flow(&format!("report flow.toml {id} -o then.html"))
        .anyhow()
        .check()
        .flow("show flow.toml test")
        .stdout_has("train.o")
        .check();
    for page in ["now.html", "then.html"] {
        assert!(test.read(page).contains(r#""status":"frozen""#), "{page}");
    }
}

#[test]
fn without_an_earlier_result_it_is_an_error_that_says_what_to_do() {
    let wrong = |test: Test, text: &str| {
        test.run("")
            .status(2)
            .stderr_has(text)
            .stderr_has(" --> flow.toml:8:1\n")
            .stderr_has(
                "help: run it once without `frozen = true`: its last result is what stands then",
            )
            .check()
    };
    let none = "error: `train` is frozen, and no run of this workflow file has left a result of it in this store";
    let test = wrong(freeze(chain()), none);
    // One that failed has none.
    let test = test
        .edit("frozen = true\n", "")
        .edit("cat ${inputs.x} ${inputs.own} >", "exit 3 >")
        .run("")
        .anyhow()
        .check();
    let test = wrong(freeze(test), none);
    // Another workflow's is another's, also where it is in this store.
    let test = test.file("other.toml", CHAIN);
    let test = test
        .flow("run other.toml --json")
        .ran("train test")
        .cached("a")
        .check();
    let test = wrong(test, none);
    let test = test
        .edit("frozen = true\n", "")
        .edit("exit 3 >", "cat ${inputs.x} ${inputs.own} >")
        .run("")
        .cached("a train test")
        .check();
    let test = freeze(test)
        .edit("inputs = { x = 'train' }", "inputs = { x = 'train.p' }")
        .edit(
            "outputs = { o = 'o' }\n[stages.test]",
            "outputs = { o = 'o', p = 'p' }\n[stages.test]",
        );
    let test = wrong(test, "it has no output `p` of this type");
    let test = test
        .edit("x = 'train.p'", "x = 'train'")
        .edit(", p = 'p'", "")
        .run("")
        .cached("a test")
        .stages("frozen", "train")
        .check();
    let test = test
        .flow("cache gc flow.toml --max-size 0B")
        .anyhow()
        .check();
    wrong(test, "can't stand: it is no longer in the store");
}

#[test]
fn what_a_sweep_varies_it_can_not_read() {
    let test = freeze(chain().run("").ran("a train test").check());
    let test = test.run("--sweep v=1,2").anyhow().check();
    let labels: Vec<&String> = test.last().stages.keys().collect();
    assert_eq!(labels, ["a", "test[v=1]", "test[v=2]", "train"]);
    test.run("--sweep w=1,2")
        .status(2)
        .stderr_has("error: stage `train` is frozen, and would read `w`, which the sweep varies\n --> flow.toml:8:1\n")
        .stderr_has("help: delete `frozen`, or sweep what the stage does not read")
        .check()
        .edit("cat ${inputs.x} ${inputs.own}", "echo ${seed}")
        .run("--seeds 2")
        .status(2)
        .stderr_has("would read `seed`")
        .check();
}

#[test]
fn all_that_is_forced_will_run_whatever_is_read() {
    let test = chain().run("").ran("a train test").check();
    test.flow("run flow.toml --from a --dry-run")
        .stdout_has("will run  train  forced\nwill run  test   forced\n")
        .check();
}

#[test]
fn what_is_forced_passes_it_over() {
    let test = freeze(chain().run("").ran("a train test").check());
    let test = test
        .run("--force")
        .ran("a test")
        .stages("frozen", "train")
        .check()
        .run("--from a")
        .ran("a")
        .stages("frozen", "train")
        .cached("test")
        .check()
        .flow("run flow.toml --until a --from a --dry-run")
        .stdout_has("will run  a  forced\n")
        .check()
        .run("--until a --force test")
        .status(2)
        .stderr("error: --force and --from: `test` is not among the stages that --only and --until name: name it there too")
        .check()
        .run("--only test --force test")
        .ran("test")
        .check();
    let stands = "`train` is frozen, so its last result stands; delete `frozen = true` to run it";
    let test = test
        .run("--force train")
        .status(2)
        .stderr(&format!("error: --force: {stands}"))
        .check()
        .run("--from train")
        .status(2)
        .stderr(&format!("error: --from: {stands}"))
        .check();
    let test = test
        .flow("run flow.toml --check 1")
        .stderr_has("frozen    train: not run again")
        .anyhow()
        .check();
    test.flow("debug flow.toml train")
        .status(2)
        .stderr_has("`train` is frozen, so nothing is made ready for it")
        .check();
}

#[test]
fn gc_leaves_what_says_which_result_stands() {
    let test = chain().run("").ran("a train test").check();
    let test = test.run("--set w=2").ran("a train test").check();
    // The newest run goes back to the first result.
    let test = test.run("").cached("a train test").check();
    let stands = |test: Test| {
        let test = test.run("--set w=3").anyhow().check();
        assert_eq!(test.last().stages["train"].status, "frozen");
        assert_eq!(test.output("train", "o"), b"1\nown\n");
        test
    };
    let test = stands(freeze(test));
    let runs = store::runs(&test.path(".flow"));
    for run in &runs {
        let events = File::options().append(true).open(run.join("events.jsonl"));
        let then = SystemTime::now() - Duration::from_secs(10 * 86_400);
        events.unwrap().set_modified(then).unwrap();
    }
    let test = test
        .flow("cache gc flow.toml --max-age 5d")
        .anyhow()
        .check();
    // Of the runs that only used results, that in which it was frozen is left.
    assert_eq!(store::runs(&test.path(".flow")).len(), runs.len() - 1);
    let test = stands(test);
    // A pin keeps the result too.
    let test = test
        .flow("cache pin flow.toml kept")
        .stdout_has("pinned ")
        .check()
        .flow("cache gc flow.toml --max-size 0B")
        .anyhow()
        .check();
    stands(test);
}

#[test]
fn a_result_moves_with_its_checkout() {
    let test = Test::new()
        .file("one/flow.toml", CHAIN)
        .file("one/own.txt", "own\n")
        .flow("run one/flow.toml")
        .anyhow()
        .check();
    fs::rename(test.path("one"), test.path("two")).unwrap();
    let frozen = CHAIN.replace("[stages.train]\n", "[stages.train]\nfrozen = true\n");
    test.file("two/flow.toml", frozen)
        .flow("check two/flow.toml --set w=2")
        .stdout_has("frozen: train")
        .check();
}
