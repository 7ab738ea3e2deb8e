//! Nothing that a stage started outlives flow, whatever kills that.

#![cfg(target_os = "linux")]

use std::fs;
use std::time::{Duration, Instant};

use flow_tests::{Signal, Test, store};

/// A number of seconds that no other process sleeps.
fn mark(test: u32) -> String {
    format!("8{}.{test:04}", std::process::id())
}

/// How many processes of the machine have the mark among their arguments, those of other namespaces included.
fn marked(mark: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let has_mark = |line: &Vec<u8>| line.windows(mark.len()).any(|part| part == mark.as_bytes());
    // /proc/self and /proc/thread-self are this test.
    lines.filter(has_mark).count()
}

#[track_caller]
fn within(limit: Duration, what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A stage that starts one process that has left its parent, its group and its session, one that has only left its parent, and
/// goes on itself.
fn workflow(mark: &str) -> String {
    format!(
        "[stages.slow]\nrun = '''setsid sh -c 'sleep {mark} & sleep {mark} &' & (trap \"\" TERM HUP INT; sleep {mark}) & \
         sleep {mark}; echo 1 > ${{outputs.o}}'''\noutputs = {{ o = 'o' }}\n"
    )
}

fn is_killed_with_all(number: u32, isolation: Option<&str>) {
    let mark = mark(number);
    let mut test = Test::new().workflow(&workflow(&mark)).run("");
    if let Some(value) = isolation {
        test = test.env("FLOW_ISOLATION", value);
    }
    let running = test.start();
    within(Duration::from_secs(30), "the stage starts", || {
        marked(&mark) >= 4
    });
    let test = running.kill();
    within(Duration::from_secs(1), "all of it ends", || {
        marked(&mark) == 0
    });
    store::assert_sound(&test.path(".flow"));
}

#[test]
fn kill_9_of_flow_ends_all_that_a_stage_started() {
    is_killed_with_all(1, None);
}

#[test]
fn kill_9_of_flow_ends_all_that_a_stage_started_without_namespaces() {
    is_killed_with_all(2, Some("off"));
}

#[test]
fn ctrl_c_ends_all_that_a_stage_started() {
    let mark = mark(3);
    let test = Test::new().workflow(&workflow(&mark)).run("").status(130);
    let running = test.stages("cancelled", "slow").start();
    within(Duration::from_secs(30), "the stage starts", || {
        marked(&mark) >= 4
    });
    running.signal(Signal::INT);
    running.finish();
    assert_eq!(marked(&mark), 0);
}

#[test]
fn a_daemon_is_gone_before_its_stage_is_committed() {
    let mark = mark(4);
    let text = format!(
        "[stages.one]\nrun = '''setsid sh -c 'sleep {mark} & sleep {mark} &' & sleep 0.2; echo 1 > ${{outputs.o}}'''\n\
         outputs = {{ o = 'o' }}\n"
    );
    let test = Test::new().workflow(&text).run("").ran("one").check();
    assert_eq!(marked(&mark), 0);
    store::assert_sound(&test.path(".flow"));
}

#[test]
fn a_missing_program_is_named() {
    let test = Test::new()
        .workflow("[stages.one]\nrun = ['there-is-no-such', 'x']\noutputs = { o = 'o' }\n");
    test.flow("run flow.toml")
        .status(1)
        .stderr_has("`there-is-no-such` can't be started: No such file or directory")
        .check();
}

#[test]
fn a_run_with_nothing_to_do_starts_no_spawner() {
    let workflow = "[stages.one]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\n";
    let test = Test::new().workflow(workflow).run("").ran("one").check();
    // Nobody could start a stage with it.
    let test = test.env("FLOW_SUPERVISOR", "/no/such/flow");
    let test = test.run("").cached("one").check();
    let test = test
        .env("FLOW_SUPERVISOR", "/no/such/flow")
        .flow("run flow.toml --force one");
    test.status(1)
        .stderr_has("/no/such/flow, which starts stages, can't be started")
        .check();
}
