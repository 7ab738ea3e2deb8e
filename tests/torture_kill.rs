//! flow is killed with `kill -9` at random moments, again and again: the next run ends right, and nothing is lost.
//!
//! `FLOW_TORTURE=full` kills it 500 times over programs and 20 times over a training.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use flow_tests::torture::{Draws, count};
use flow_tests::{Test, store};

/// A ladder of short stages, each reading the two before it; every third makes a folder. A new `salt` gives new keys
/// and the same results.
fn ladder() -> String {
    let mut text = String::from("[params]\nsalt = 0\n");
    for i in 0..10usize {
        let (file, output) = if i % 3 == 2 {
            ("${outputs.o}/deep/sorted", "o/")
        } else {
            ("${outputs.o}", "o")
        };
        let before: Vec<usize> = (i.saturating_sub(2)..i).collect();
        let inputs: String = before.iter().map(|b| format!("i{b} = 's{b}', ")).collect();
        let names: String = before
            .iter()
            .map(|b| format!(" ${{inputs.i{b}}}"))
            .collect();
        text += &format!(
            "[stages.s{i}]\nrun = ': ${{salt}}; echo s{i} >> ~/log; sleep 0.01; mkdir -p $(dirname {file}); \
             find ${{work}}{names} -type f ! -name .command -exec cat {{}} + > ${{work}}/all; echo {i} | sort - ${{work}}/all > {file}'\n\
             inputs = {{ {inputs} }}\noutputs = {{ o = '{output}' }}\n",
        );
    }
    text
}

type Digests = BTreeMap<String, BTreeMap<String, String>>;

fn digests(test: &Test) -> Digests {
    let stages = test.last().stages.iter();
    stages
        .map(|(label, stage)| (label.clone(), stage.outputs.clone()))
        .collect()
}

/// Kills a call after a random part of `whole`. `false` where it had ended before.
fn kill_within(test: Test, whole: Duration, draws: &mut Draws) -> (Test, bool) {
    let mut running = test.start();
    std::thread::sleep(whole.mul_f64(draws.unit()));
    let killed = running.is_running();
    (running.kill(), killed)
}

#[test]
fn programs() {
    let mut draws = Draws::new();
    let undisturbed = |salt: u64| {
        let test = Test::new().workflow(&ladder());
        test.run(&format!("--set salt={salt}")).anyhow().check()
    };
    let began = Instant::now();
    let expected = digests(&undisturbed(0));
    let whole = began.elapsed();
    assert_eq!(expected.len(), 10);

    let wanted = count(40, 500);
    let mut test = Test::new().workflow(&ladder());
    let root = test.path(".flow");
    let (mut kills, mut salt) = (0, 0);
    while kills < wanted {
        salt += 1;
        let run = format!("--set salt={salt}");
        let _ = std::fs::remove_file(test.path("../log"));
        // Half of the runs are killed once, a quarter twice, and so on; now and then a gc is, on the side.
        loop {
            let killed;
            (test, killed) = kill_within(test.run(&run), whole, &mut draws);
            kills += u64::from(killed);
            store::assert_sound(&root);
            if draws.below(4) == 0 {
                let gc = test.flow("cache gc flow.toml --max-size 0B");
                (test, _) = kill_within(gc, whole.mul_f64(0.1), &mut draws);
                store::assert_sound(&root);
            }
            if draws.below(2) == 0 {
                break;
            }
        }
        test = test.run(&run).anyhow().check();
        let outcome = test.last();
        let text = format!("salt {salt}\n{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.status, Some(0), "{text}");
        assert_eq!(outcome.stderr, "", "{text}");
        assert_eq!(digests(&test), expected, "{text}");
        store::assert_sound(&root);
        // No attempt is left of what ran.
        for stage in outcome.stages.values().filter(|s| s.status == "ran") {
            let work = root.join("work").join(stage.key.as_ref().unwrap());
            assert!(!work.exists(), "{:?}", store::files(&work));
        }
        if salt % 25 == 1 {
            let elsewhere = undisturbed(salt);
            for (label, stage) in &elsewhere.last().stages {
                let here = &test.last().stages[label];
                assert_eq!((&here.key, &here.outputs), (&stage.key, &stage.outputs));
            }
            let verify = test.flow("cache verify flow.toml");
            test = verify.stdout_has(" 0 damaged").check();
        }
    }
    eprintln!("killed {kills} times over {salt} runs");
    // Nor is there anything that a gc would not clear. (It leaves what is in `tmp/` for an hour.)
    let gc = test.flow("cache gc flow.toml --max-size 0B");
    gc.stdout_has("0 B stays").check();
    assert_eq!(store::keys(&root).len(), 0);
    for name in ["blobs", "locks"] {
        assert_eq!(store::files(&root.join(name)), [] as [&Path; 0]);
    }
}

/// What was computed before the kill is not computed again; all the rest is, once.
#[test]
fn what_was_committed_stays() {
    let mut draws = Draws::new();
    let began = Instant::now();
    Test::new().workflow(&ladder()).run("").anyhow().check();
    let whole = began.elapsed();
    for _ in 0..count(10, 50) {
        let test = Test::new().workflow(&ladder());
        let (test, _) = kill_within(test.run(""), whole, &mut draws);
        // A stage that dies with flow may still be about to write to the log.
        test.ends_soon();
        let finished = store::keys(&test.path(".flow")).len();
        let _ = std::fs::remove_file(test.path("../log"));
        let test = test.run("").anyhow().check();
        assert_eq!(test.last().status, Some(0));
        let started = std::fs::read_to_string(test.path("../log")).unwrap_or_default();
        assert_eq!(started.lines().count(), 10 - finished);
    }
}

/// A network of many short epochs: killed in one, the next run goes on from the last checkpoint, and ends with the same bytes.
#[test]
fn a_training() {
    let mut draws = Draws::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let quickstart = std::fs::read_to_string(root.join("workflows/quickstart.toml")).unwrap();
    let epochs = "--until coarse --set epochs={min=10,max=10}";
    let began = Instant::now();
    let undisturbed = Test::new().workflow(&quickstart).run(epochs);
    let undisturbed = undisturbed.ran("data coarse").check();
    let whole = began.elapsed();
    let expected = digests(&undisturbed);
    let wanted = count(2, 20);
    let (mut kills, mut resumed) = (0, 0);
    while kills < wanted {
        let mut test = Test::new().workflow(&quickstart);
        let store = test.path(".flow");
        loop {
            let killed;
            (test, killed) = kill_within(test.run(epochs), whole, &mut draws);
            kills += u64::from(killed);
            store::assert_sound(&store);
            if draws.below(3) > 0 {
                break;
            }
        }
        let test = test.run(epochs).anyhow().check();
        assert_eq!(test.last().status, Some(0), "{}", test.last().stderr);
        assert_eq!(digests(&test), expected);
        store::assert_sound(&store);
        let logs = store::files(&store.join("runs"));
        resumed += usize::from(logs.iter().any(|path| {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            path.ends_with("logs/coarse.log") && log.contains("going on after epoch")
        }));
    }
    eprintln!("killed {kills} times; {resumed} trainings went on from a checkpoint");
    assert!(resumed > 0 || wanted < 10, "no training went on");
}
