//! Sixteen runs at once on one store, with gc in a loop: each key is computed once, nothing fails, nothing is lost.
//!
//! `FLOW_TORTURE=full` goes on for two minutes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use flow_tests::torture::{Draws, count};
use flow_tests::{Test, store};

const RUNS: usize = 16;

/// Each run looks at four of eight parts; all of them share what is made from `base`. Each execution leaves a
/// line in `log`, in one short write.
fn workflow() -> String {
    let mut text = String::from(
        "[params]\nround = 0\n\n[stages.base]\nrun = 'echo base-${round} >> ~/log; echo ${round} > ${outputs.o}'\n\
         outputs = { o = 'o' }\n",
    );
    for part in 0..8 {
        text += &format!(
            "[stages.p{part}]\nrun = 'echo p{part}-${{round}} >> ~/log; sleep 0.02; mkdir -p ${{outputs.o}}/deep; \
             echo {part} | cat - ${{inputs.b}} > ${{outputs.o}}/deep/x; echo same > ${{outputs.o}}/same'\n\
             inputs = {{ b = 'base' }}\noutputs = {{ o = 'o/' }}\n"
        );
    }
    text
}

/// What part `part` of a round holds.
fn right(test: &Test, part: usize, round: usize) {
    let digest = &test.last().stages[&format!("p{part}")].outputs["o"];
    let root = test.path(".flow");
    let listing = fs::read_to_string(store::blob(&root, digest)).unwrap();
    let x: serde_json::Value = serde_json::from_str(listing.lines().nth(1).unwrap()).unwrap();
    assert_eq!(x[0], "deep/x");
    let content = fs::read_to_string(store::blob(&root, x[1].as_str().unwrap())).unwrap();
    assert_eq!(content, format!("{part}\n{round}\n"));
}

/// Records that nobody uses, old enough to be taken while runs go on.
const JUNK: &str = "
[params]
n = 0
[stages.junk]
run = 'echo junk ${n} > ${outputs.o}'
outputs = { o = 'o' }
";

#[test]
fn many_runs_and_a_gc() {
    let mut draws = Draws::new();
    let time = Duration::from_secs(count(12, 120));
    let test = Test::new()
        .workflow(&workflow())
        .file("other.toml", workflow())
        .file("junk.toml", JUNK)
        .file(
            "hold.toml",
            "[stages.h]\nrun = 'echo > ~/held; until test -e ~/go; do sleep 0.1; done; echo > ${outputs.o}'\noutputs = { o = 'o' }",
        );
    let root = test.path(".flow");
    // A run that goes on all the while: what was of use since half an hour before it began is not gc's to take. So that each
    // key is computed once can be asked of the others, though each of them ends.
    let hold = test.beside().flow("run hold.toml").anyhow().start();
    let mut hold = hold;
    hold.wait_for("../held");

    let began = Instant::now();
    let over = || began.elapsed() > time;
    let (runs, taken, round) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(1),
    );
    let failed = AtomicBool::new(false);
    let seeds: Vec<u64> = (0..RUNS).map(|_| draws.bits()).collect();
    let executed = Mutex::new(BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        let (test, runs, taken, round, failed) = (&test, &runs, &taken, &round, &failed);
        let (root, executed) = (&root, &executed);
        let mut workers = Vec::new();
        for seed in seeds {
            workers.push(scope.spawn(move || {
                let mut seed = seed;
                while !over() && !failed.load(Ordering::Relaxed) {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let first = (seed >> 33) as usize % 8;
                    let round = round.load(Ordering::Relaxed);
                    let parts: Vec<usize> = (0..4).map(|i| (first + i) % 8).collect();
                    let until: String = parts.iter().map(|p| format!(" --until p{p}")).collect();
                    let file = ["flow.toml", "other.toml"][(seed >> 40) as usize % 2];
                    let run = format!("run {file} --json --set round={round}{until}");
                    let done = test.beside().flow(&run).anyhow().check();
                    let outcome = done.last();
                    let clean = outcome.status == Some(0) && outcome.stderr.is_empty();
                    failed.fetch_or(!clean, Ordering::Relaxed);
                    assert!(clean, "{}{}", outcome.stdout, outcome.stderr);
                    for (label, stage) in &outcome.stages {
                        if stage.status == "ran" {
                            let name = format!("{label}-{round}");
                            *executed.lock().unwrap().entry(name).or_default() += 1;
                        }
                    }
                    parts.iter().for_each(|&part| right(&done, part, round));
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        // New keys for all, again and again.
        scope.spawn(move || {
            while !over() {
                std::thread::sleep(Duration::from_millis(700));
                round.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(move || {
            let long_ago = SystemTime::now() - Duration::from_secs(7200);
            for n in 0.. {
                if over() || failed.load(Ordering::Relaxed) {
                    break;
                }
                let junk = test
                    .beside()
                    .flow(&format!("run junk.toml --json --set n={n}"));
                let junk = junk.anyhow().check();
                let key = junk.last().stages["junk"].key.clone().unwrap();
                let record = File::open(store::record(root, &key)).unwrap();
                record.set_modified(long_ago).unwrap();
                let gc = test.beside().flow("cache gc flow.toml --max-size 0B");
                let gc = gc.anyhow().check();
                let said = &gc.last().stdout;
                assert_eq!(gc.last().status, Some(0), "{said}{}", gc.last().stderr);
                taken.fetch_add(
                    usize::from(!store::record(root, &key).exists()),
                    Ordering::Relaxed,
                );
            }
        });
    });
    eprintln!("{:.1} s", began.elapsed().as_secs_f64());
    fs::write(test.path("../go"), "").unwrap();
    hold.finish();

    let log = test.read("../log");
    let mut started = BTreeMap::<String, usize>::new();
    log.lines()
        .for_each(|line| *started.entry(line.into()).or_default() += 1);
    let (runs, taken) = (runs.into_inner(), taken.into_inner());
    eprintln!(
        "{runs} runs computed {} keys; gc took {taken} of what was old",
        started.len()
    );
    let twice: Vec<_> = started.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "computed more than once: {twice:?}");
    assert_eq!(started, executed.into_inner().unwrap());
    assert!(runs > RUNS && taken > 0, "{runs} runs, {taken} taken");
    store::assert_sound(&root);
    // All that was made is still there.
    let test = test
        .flow("cache verify flow.toml")
        .stdout_has(" 0 damaged")
        .check();
    assert_eq!(store::keys(&root).len(), started.len() + 1);
    // And with nobody there, all of it may go.
    let gc = test.flow("cache gc flow.toml --max-size 0B");
    gc.stdout_has("0 B stays").check();
}
