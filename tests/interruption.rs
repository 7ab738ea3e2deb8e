//! Runs that end early, by Ctrl-C or `kill -9`, and runs that go on at once.

use std::time::Duration;

use flow_tests::{Signal, Test, store};

/// `quick` ends at once; `slow` says so when it has started a child, and goes on for a minute.
const SLOW: &str = r#"
[stages.quick]
run = "echo quick >> ~/starts; echo 1 > ${outputs.o}"
outputs = { o = "o" }

[stages.slow]
run = "sleep 60 & echo on > ~/began; wait; echo 2 > ${outputs.o}"
inputs = { quick = "quick" }
outputs = { o = "o" }
"#;

#[test]
fn ctrl_c_ends_the_stages_and_says_what_is_kept() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut running = Test::new()
            .workflow(SLOW)
            .flow("run flow.toml")
            .status(130)
            .stderr(
                "ran       quick TIME\n\
                 interrupted: the finished stage is in the store; run the same command again to go on\n\
                 run RUN: 1 ran, 0 cached, 1 not run, TIME\n",
            )
            .start();
        running.wait_for("../began");
        assert!(running.is_inhabited());
        running.signal(signal);
        let test = running.finish();
        test.ends_soon();
        store::assert_sound(&test.path(".flow"));
        test.edit("sleep 60", "sleep 0")
            .run("")
            .cached("quick")
            .ran("slow")
            .check();
    }
}

/// A kind that goes on from what it left, and one that does not; both say when they wait.
const KINDS: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    kind() {
        echo '{"name": "'"$1"'", "version": 1, "summary": "Waits", "outputs": [{"name": "out", "type": "file"}],'
        echo '"parameters": {"type": "object", "properties": {}}, "checkpoints": '"$2}"
    }
    echo '{"protocol": 1, "plugin": "waits", "version": "1", "kinds": ['
    kind saves true; echo ,; kind forgets false
    echo ']}'
    exit
fi
read -r request
echo "$2" > saved
echo > "$(printf %s "$request" | sed -n 's/.*"work":"\([^"]*\)\/.flow.*/\1/p')/began-$2"
sleep 60
"#;

#[test]
fn what_goes_on_from_a_checkpoint_is_named_and_nothing_else() {
    let run = |stages: &str| {
        let test = Test::new()
            .executable("plugin", KINDS)
            .workflow(&format!("[plugins]\nmine = 'plugin'\n{stages}"));
        test.flow("run flow.toml --jobs 2").status(130)
    };
    let mut running = run("[stages.one]\nuses = 'saves'\n[stages.two]\nuses = 'forgets'\n")
        .stderr(
            "interrupted: no stage had finished, and `one` goes on from its last checkpoint; run the same command again \
             to go on\nrun RUN: 0 ran, 0 cached, 2 not run, TIME\n",
        )
        .start();
    running.wait_for_path("began-saves");
    running.wait_for_path("began-forgets");
    running.signal(Signal::INT);
    running.finish();
    let mut running = run("[stages.two]\nuses = 'forgets'\n")
        .stderr(
            "interrupted: no stage had finished; run the same command again to go on\n\
             run RUN: 0 ran, 0 cached, 1 not run, TIME\n",
        )
        .start();
    running.wait_for_path("began-forgets");
    running.signal(Signal::INT);
    running.finish();
}

#[test]
fn ctrl_c_in_json() {
    let mut running = Test::new()
        .workflow(SLOW)
        .run("")
        .status(130)
        .ran("quick")
        .stages("cancelled", "slow")
        .start();
    running.wait_for("../began");
    running.signal(Signal::INT);
    let test = running.finish();
    assert_eq!(test.last().run.as_ref().unwrap()["status"], "cancelled");
}

#[test]
fn a_stage_that_ignores_the_request_to_end_is_killed() {
    let stubborn = SLOW
        .replace("sleep 60 &", "trap '' TERM; sleep 60 &")
        .replace("; wait;", "; wait; sleep 60;");
    let mut running = Test::new()
        .workflow(&stubborn)
        .run("")
        .status(130)
        .ran("quick")
        .stages("cancelled", "slow")
        .start();
    running.wait_for("../began");
    assert!(running.is_inhabited());
    running.signal(Signal::INT);
    running.finish().ends_soon();
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let stubborn = SLOW
        .replace("sleep 60 &", "trap '' TERM; sleep 60 &")
        .replace("; wait;", "; wait; sleep 60;");
    let mut running = Test::new()
        .workflow(&stubborn)
        .flow("run flow.toml")
        .status(130)
        .stderr("ran       quick TIME\n")
        .start();
    running.wait_for("../began");
    assert!(running.is_inhabited());
    running.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(100));
    running.signal(Signal::INT);
    let test = running.finish();
    // On Linux all that a stage started ends with flow.
    if cfg!(target_os = "linux") {
        test.ends_soon();
    }
}

#[test]
fn nothing_is_started_after_ctrl_c() {
    let mut running = Test::new()
        .workflow(&format!(
            "{SLOW}[stages.later]\nrun = 'echo later >> ~/starts; echo 3 > ${{outputs.o}}'\n\
             inputs = {{ slow = 'slow' }}\noutputs = {{ o = 'o' }}\n"
        ))
        .run("")
        .status(130)
        .ran("quick")
        .stages("cancelled", "slow later")
        .starts("quick")
        .start();
    running.wait_for("../began");
    running.signal(Signal::INT);
    running.finish();
}

/// A ladder of short stages with a fan in the middle; what it comes to is fixed.
fn ladder() -> String {
    let mut text = String::from(
        "[stages.s0]\nrun = 'echo s0 >> ~/log; echo 0 > ${outputs.o}'\noutputs = { o = 'o' }\n",
    );
    for i in 1..10 {
        // Each reads the two before it.
        let (one, two) = (i - 1, if i > 1 { i - 2 } else { 0 });
        text += &format!(
            "[stages.s{i}]\nrun = 'echo s{i} >> ~/log; sleep 0.01; \
             cat ${{inputs.a}} ${{inputs.b}} > ${{outputs.o}}; echo {i} >> ${{outputs.o}}'\n\
             inputs = {{ a = 's{one}', b = 's{two}' }}\noutputs = {{ o = 'o' }}\n"
        );
    }
    text
}

#[test]
#[cfg_attr(
    not(target_os = "linux"),
    ignore = "only Linux ends a child with its parent"
)]
fn a_killed_flow_takes_its_stage_with_it() {
    let mut running = Test::new().workflow(SLOW).run("").start();
    running.wait_for("../began");
    assert!(running.is_inhabited());
    running.kill().ends_soon();
}

#[test]
fn two_runs_at_once_compute_each_key_once() {
    let test = Test::new().workflow(&ladder());
    let other = test.beside();
    let one = test
        .flow("run flow.toml --json")
        .stdout_has("\"status\":\"ok\"")
        .start();
    let two = other
        .flow("run flow.toml --json")
        .stdout_has("\"status\":\"ok\"")
        .start();
    let (one, two) = (one.finish(), two.finish());
    let ran = |test: &Test| {
        test.last()
            .stages
            .values()
            .filter(|s| s.status == "ran")
            .count()
    };
    assert_eq!(ran(&one) + ran(&two), 10);
    assert_eq!(one.read("../log").lines().count(), 10);
    for (label, stage) in &one.last().stages {
        assert_eq!(stage.outputs, two.last().stages[label].outputs);
    }
    store::assert_sound(&one.path(".flow"));
}

#[test]
fn a_run_says_for_whom_it_waits() {
    let waiting = "[stages.a]\nrun = 'echo > ~/began; until test -e ~/go; do sleep 0.02; done; echo 1 > ${outputs.o}'\noutputs = { o = 'o' }";
    let test = Test::new().workflow(waiting);
    let other = test.beside().flow("run flow.toml");
    let mut first = test.run("").ran("a").start();
    first.wait_for("../began");
    let mut second = other
        .stderr_has("waiting   a for process ")
        .stderr_has("of flow), which computes it")
        .stderr_has("cached    a")
        .start();
    second.wait_for_stderr("which computes it");
    std::fs::write(first.path("../go"), "").unwrap();
    first.finish();
    second.finish();
}

#[test]
fn the_waiting_run_takes_over_from_a_killed_one() {
    let waiting = "[stages.a]\nrun = 'echo >> ~/began; until test -e ~/go; do sleep 0.02; done; echo 1 > ${outputs.o}'\noutputs = { o = 'o' }";
    let test = Test::new().workflow(waiting);
    let other = test.beside().flow("run flow.toml");
    let mut first = test.run("").start();
    first.wait_for("../began");
    let mut second = other.stderr_has("ran       a").start();
    second.wait_for_stderr("which computes it");
    let test = first.kill();
    std::fs::write(test.path("../go"), "").unwrap();
    let test = second.finish();
    assert_eq!(test.read("../began").lines().count(), 2);
    test.run("").cached("a").check();
}
