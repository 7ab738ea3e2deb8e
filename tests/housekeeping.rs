//! What runs leave: logs within bounds, folders that gc takes, and files that keep others from the store.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use flow_tests::{Test, store};

/// Prints 40 MB between two lines, and ends so.
fn loud(end: &str) -> Test {
    Test::new().workflow(&format!(
        "[stages.a]\nrun = 'echo first; seq -f \"line %08.0f of many\" 2000000; echo last >&2; {end}'\noutputs = {{ o = 'o' }}\n"
    ))
}

const EIGHT_MEBIBYTES: u64 = 8 << 20;

/// The one log, which has to be within bounds and has both ends of what was printed.
fn bounded_log(test: &Test) -> String {
    let run = store::runs(&test.path(".flow")).pop().unwrap();
    let path = run.join("logs/a.log");
    let size = fs::metadata(&path).unwrap().len();
    assert!((5 << 20..=EIGHT_MEBIBYTES).contains(&size), "{size}");
    let log = fs::read_to_string(path).unwrap();
    assert!(log.starts_with("first\nline 00000001 of many\nline 00000002"));
    assert!(log.ends_with("line 02000000 of many\nlast\n"));
    let line = log.lines().find(|line| line.starts_with("[flow left out "));
    let line = line.expect("the log says what is not in it");
    assert!(
        line.contains("a log keeps its first 2.0 MiB and at least its last 3.0 MiB"),
        "{line}"
    );
    let left_out: u64 = line["[flow left out ".len()..]
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let printed = 6 + 5 + 2_000_000 * 22;
    assert_eq!(log.len() as u64 + left_out, printed + line.len() as u64 + 2);
    log
}

#[test]
fn a_log_keeps_both_ends_and_says_what_it_left_out() {
    let test = loud("echo > ${outputs.o}").run("").ran("a").check();
    bounded_log(&test);
    test.flow("show flow.toml a")
        .stdout_has("  log         DIR/.flow/runs/RUN/logs/a.log (without 3")
        .check();
}

#[test]
fn where_a_log_is_shown_it_is_said_that_it_is_not_whole() {
    let test = loud("exit 3").flow("run flow.toml").status(1);
    let test = test
        .stderr_has("  | line 02000000 of many\n  | last\n  log, without 3")
        .stderr_has(" in its middle: DIR/.flow/runs/RUN/logs/a.log\n")
        .check();
    bounded_log(&test);
}

#[test]
fn lines_of_both_streams_stand_in_the_order_of_their_writes() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'echo 1; echo 2 >&2; echo 3; echo 4 >&2; printf 5; echo > ${outputs.o}'\noutputs = { o = 'o' }\n")
        .run("")
        .ran("a")
        .check();
    let run = store::runs(&test.path(".flow")).pop().unwrap();
    assert_eq!(
        fs::read_to_string(run.join("logs/a.log")).unwrap(),
        "1\n2\n3\n4\n5"
    );
}

const TWO: &str = "[params]\nx = 1\n[stages.a]\nrun = 'echo ${x} > ${outputs.o}'\noutputs = { o = 'o' }\n\
                   [stages.b]\nrun = 'cat ${inputs.a} > ${outputs.o}'\ninputs = { a = 'a' }\noutputs = { o = 'o' }\n";

/// Sets back when a run last told something.
fn age(run: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
    let events = File::options().append(true).open(run.join("events.jsonl"));
    events.unwrap().set_modified(then).unwrap();
}

fn runs(test: &Test) -> Vec<PathBuf> {
    store::runs(&test.path(".flow"))
}

#[test]
fn a_run_goes_when_nothing_that_it_made_is_left() {
    let test = Test::new().workflow(TWO);
    let test = test.run("").ran("a b").check();
    let test = test.run("--set x=2").ran("a b").check();
    let test = test.run("--set x=2").cached("a b").check();
    let [first, second, third] = &runs(&test)[..] else {
        panic!("three runs")
    };
    for run in [first, second, third] {
        age(run, 10);
    }
    let pin = "cache pin flow.toml best --set x=2";
    let test = test
        .flow(pin)
        .stdout("pinned 2 of 2 result(s) as `best`\n")
        .check();
    // Everything is of use to someone, as long as nobody says how old it may be.
    let test = test
        .flow("cache gc flow.toml")
        .stdout_has("0 result(s)")
        .check();
    assert_eq!(runs(&test).len(), 3);
    // A dry run says what would go, and the first of them is the run that made what goes.
    let gc = "cache gc flow.toml --max-size 0B";
    let name = first.file_name().unwrap().to_str().unwrap().to_string();
    let test = test
        .flow(gc)
        .arg("--dry-run")
        .stdout_has("and the logs of 1 run(s) that have no more use: RUN\n")
        .stdout_has("would free")
        .check();
    assert_eq!(runs(&test).len(), 3);
    let test = test
        .flow(gc)
        .stdout_has("and the logs of 1 run(s) that have no more use: RUN\n")
        .check();
    assert!(!test.has(&format!(".flow/runs/{name}")));
    // What is pinned keeps the runs that made it and that used nothing else.
    let test = test
        .flow("cache gc flow.toml --max-age 1d")
        .stdout_has("0 result(s)")
        .check();
    assert_eq!(runs(&test).len(), 2);
    let test = test
        .flow("cache unpin flow.toml best")
        .stdout_has("no longer")
        .check();
    let test = test.flow(gc).stdout_has("the logs of 2 run(s)").check();
    assert_eq!(runs(&test).len(), 0);
    test.flow("cache verify flow.toml")
        .stdout_has("0 damaged")
        .check();
}

#[test]
fn a_run_that_only_used_results_goes_by_its_age() {
    let test = Test::new().workflow(TWO).run("").ran("a b").check();
    let test = test.run("").cached("a b").check();
    let [first, second] = &runs(&test)[..] else {
        panic!("two runs")
    };
    age(first, 10);
    age(second, 10);
    let test = test
        .flow("cache gc flow.toml --max-age 20d")
        .stdout_has("0 result(s)")
        .check();
    assert_eq!(runs(&test).len(), 2);
    let test = test
        .flow("cache gc flow.toml --max-age 5d")
        .stdout_has("the logs of 1 run(s)")
        .stdout_has("0 result(s)")
        .check();
    // The other one has the log of how the results were made.
    assert_eq!(runs(&test), std::slice::from_ref(first));
}

#[test]
fn a_failed_run_keeps_its_log_for_a_week() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'echo why; exit 1'\noutputs = { o = 'o' }\n")
        .run("")
        .status(1)
        .stages("failed", "a")
        .check();
    let run = runs(&test).pop().unwrap();
    age(&run, 6);
    let test = test
        .flow("cache gc flow.toml --max-size 0B")
        .stdout_has("freed")
        .check();
    assert_eq!(runs(&test).len(), 1);
    age(&run, 8);
    let test = test
        .flow("cache gc flow.toml")
        .stdout_has("the logs of 1 run(s)")
        .check();
    assert_eq!(runs(&test).len(), 0);
}

#[test]
fn a_run_that_goes_on_is_left_alone() {
    let test = Test::new().workflow(
        "[stages.a]\nrun = 'echo > ~/began; until test -e ~/go; do sleep 0.02; done; echo > ${outputs.o}'\noutputs = { o = 'o' }\n",
    );
    let gc = test.beside();
    let mut running = test.run("").ran("a").start();
    running.wait_for("../began");
    let run = store::runs(&running.path(".flow")).pop().unwrap();
    age(&run, 30);
    gc.flow("cache gc flow.toml --max-age 1d --max-size 0B")
        .stdout_has("0 result(s)")
        .check();
    assert!(run.join("logs/a.log").is_file());
    fs::write(running.path("../go"), "").unwrap();
    running.finish();
}

#[test]
fn git_and_backups_leave_the_store_alone() {
    let test = Test::new().workflow(TWO).run("").ran("a b").check();
    let tag = test.read(".flow/CACHEDIR.TAG");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(test.path("."))
            .output();
        String::from_utf8(output.expect("git is installed").stdout).unwrap()
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    assert_eq!(git(&["ls-files"]), "flow.toml\n");
    // One that was made before gets them with its next run, and what a person wrote stays.
    fs::remove_file(test.path(".flow/CACHEDIR.TAG")).unwrap();
    let test = test
        .file(".flow/.gitignore", "# mine\n")
        .run("")
        .cached("a b")
        .check();
    assert_eq!(test.read(".flow/.gitignore"), "# mine\n");
    assert!(test.has(".flow/CACHEDIR.TAG"));
    test.flow("cache verify flow.toml")
        .stdout_has("0 damaged")
        .check();
}
