//! Many processes and threads on one store, and processes killed at any moment.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flow_cache::{Acquired, Budget, Digest, Key, Store};

use crate::helpers::*;

const KEYS: u64 = 12;

/// What key `n` yields, wherever it is computed. Every third is a folder.
fn expected(n: u64) -> Vec<u8> {
    vec![n as u8; 3000 * (n as usize + 1)]
}

/// Computes key `n` unless it is there; writes a line to `log` if it did.
fn run(store: &Store, n: u64, log: &Path) {
    let patient = &mut |_: &_| ControlFlow::Continue(());
    match store.acquire(&key(n), false, patient).unwrap() {
        Acquired::Hit(record) => assert_eq!(record.outputs.len(), 1),
        Acquired::GaveUp => panic!("gave up"),
        Acquired::Lease(lease) => {
            // One write of one short line: appends of several processes do not mix.
            fs::File::options()
                .append(true)
                .create(true)
                .open(log)
                .unwrap()
                .write_all(format!("{n}\n").as_bytes())
                .unwrap();
            lease.clear_work().unwrap();
            if n.is_multiple_of(3) {
                fs::create_dir(lease.work().join("out")).unwrap();
                fs::write(lease.work().join("out/shared"), expected(0)).unwrap();
                fs::write(lease.work().join("out/own"), expected(n)).unwrap();
            } else {
                fs::write(lease.work().join("out"), expected(n)).unwrap();
            }
            let draft = draft(&lease, &["out"]);
            lease.commit(draft).unwrap();
        }
    }
}

fn all_right(store: &Store, n: u64) {
    let output = &hit(store, key(n)).outputs["out"];
    if n.is_multiple_of(3) {
        let to = tempfile::tempdir().unwrap();
        store.export(output, &to.path().join("out")).unwrap();
        assert_eq!(fs::read(to.path().join("out/own")).unwrap(), expected(n));
        assert_eq!(fs::read(to.path().join("out/shared")).unwrap(), expected(0));
    } else {
        assert_eq!(output.digest, Digest::of_bytes(&expected(n)));
        assert_eq!(store.read(output).unwrap(), expected(n));
    }
}

fn lines(log: &Path) -> Vec<u64> {
    let text = fs::read_to_string(log).unwrap();
    let mut lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    lines
}

/// The children's part: `STORE`, `LOG`, `SEED`; every key once, in an order of its own; with `HOLD`, hold key 1 instead.
#[test]
#[ignore = "run as a process of their own by the tests below"]
fn child() {
    let var = |name: &str| std::env::var(name).unwrap();
    let store = open(Path::new(&var("STORE"))).with_note(format!("run {}", var("SEED")));
    let log = var("LOG");
    if std::env::var("HOLD").is_ok() {
        let lease = lease(&store, key(1));
        fs::write(lease.work().join("checkpoint"), "epoch 3").unwrap();
        fs::write(&log, "held").unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
    let seed: u64 = var("SEED").parse().unwrap();
    let mut order: Vec<u64> = (0..KEYS).collect();
    order.sort_by_key(|n| Digest::of_bytes(&[seed.to_le_bytes(), n.to_le_bytes()].concat()));
    order
        .into_iter()
        .for_each(|n| run(&store, n, Path::new(&log)));
}

#[test]
fn many_processes_compute_each_key_once() {
    let bench = bench();
    let log = bench.path("log");
    let (root, log_name) = (bench.store.root().to_str().unwrap(), log.to_str().unwrap());
    let children: Vec<_> = (0..16)
        .map(|seed: u32| {
            spawn(
                "concurrent::child",
                &[
                    ("STORE", root),
                    ("LOG", log_name),
                    ("SEED", &seed.to_string()),
                ],
            )
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(lines(&log), (0..KEYS).collect::<Vec<_>>());
    (0..KEYS).for_each(|n| all_right(&bench.store, n));
    verifies_clean(&bench.store);
    assert_eq!(
        fs::read_dir(bench.store.root().join("locks"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs::read_dir(bench.store.root().join("work"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn many_threads_compute_each_key_once_beside_a_gc() {
    let bench = bench();
    let log = bench.path("log");
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (store, log, done) = (bench.store.clone(), &log, &done);
            scope.spawn(move || {
                for round in 0..KEYS {
                    run(&store, (round + thread) % KEYS, log);
                    all_right(&store, (round + thread) % KEYS);
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut rounds = 0;
        while done.load(Ordering::Relaxed) < 8 {
            gc(
                &open(bench.store.root()),
                &Budget {
                    max_bytes: Some(0),
                    max_age: Some(Duration::ZERO),
                },
                false,
            )
            .unwrap();
            rounds += 1;
        }
        assert!(rounds > 1, "{rounds} gcs");
    });
    assert_eq!(lines(&log), (0..KEYS).collect::<Vec<_>>());
    verifies_clean(&bench.store);
}

#[test]
fn a_waiter_sees_the_holder_and_gets_the_key_when_that_dies() {
    let bench = bench();
    let log = bench.path("log");
    let env = [
        ("STORE", bench.store.root().to_str().unwrap()),
        ("LOG", log.to_str().unwrap()),
    ];
    let mut child = spawn(
        "concurrent::child",
        &[env[0], env[1], ("SEED", "7"), ("HOLD", "1")],
    );
    let start = Instant::now();
    while !log.exists() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the child does not begin"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut seen = None;
    let gave_up = bench.store.acquire(&key(1), false, &mut |holder| {
        seen = Some(holder.clone());
        ControlFlow::Break(())
    });
    assert!(matches!(gave_up.unwrap(), Acquired::GaveUp));
    let holder = seen.unwrap();
    assert_eq!((holder.pid, holder.note.as_str()), (child.id(), "run 7"));
    assert!(
        holder
            .to_string()
            .starts_with(&format!("process {} on ", child.id())),
        "{holder}"
    );

    let mut waits = 0;
    let acquired = bench.store.acquire(&key(1), false, &mut |_| {
        waits += 1;
        if waits == 2 {
            child.kill().unwrap(); // SIGKILL
        }
        assert!(waits < 100, "a dead holder's lock is not free");
        ControlFlow::Continue(())
    });
    let Acquired::Lease(lease) = acquired.unwrap() else {
        panic!("not a lease")
    };
    assert_eq!(
        fs::read(lease.work().join("checkpoint")).unwrap(),
        b"epoch 3"
    );
    child.wait().unwrap();
}

/// A process is killed at random moments, again and again, on one store: what is there is always whole.
#[test]
fn killed_at_any_moment() {
    let bench = bench();
    let log = bench.path("log");
    let (root, log_name) = (bench.store.root().to_str().unwrap(), log.to_str().unwrap());
    let seed = std::env::var("FLOW_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| std::process::id().into());
    println!("FLOW_TEST_SEED={seed}");
    let begin = |store: &str, name: &str| {
        let settings = [("STORE", store), ("LOG", log_name), ("SEED", name)];
        spawn("concurrent::child", &settings)
    };
    // How long a child takes that nobody kills, on this machine.
    let elsewhere = bench.path("elsewhere");
    let started = std::time::Instant::now();
    assert!(
        begin(elsewhere.to_str().unwrap(), "0")
            .wait()
            .unwrap()
            .success()
    );
    let whole = started.elapsed();
    let mut finished = 0;
    for round in 0..60u64 {
        let name = (seed + round).to_string();
        let mut child = begin(root, &name);
        let dice = Digest::of_bytes(&(seed + round).to_le_bytes()).as_bytes()[0];
        std::thread::sleep(whole.mul_f64(f64::from(dice) / 256.0));
        finished += usize::from(child.try_wait().unwrap().is_some());
        let _ = child.kill();
        child.wait().unwrap();
        let store = open(bench.store.root());
        verifies_clean(&store);
        let done: Vec<Key> = store
            .records()
            .unwrap()
            .map(|record| record.unwrap().key)
            .collect();
        for n in (0..KEYS).filter(|n| done.contains(&key(*n))) {
            all_right(&store, n);
        }
        if done.len() == KEYS as usize {
            // Once more from the beginning; the temporary files and blobs of the dead are in the way of nothing.
            drop(store);
            let all = Budget {
                max_bytes: Some(0),
                max_age: None,
            };
            gc(&open(bench.store.root()), &all, false).unwrap();
            assert_eq!(open(bench.store.root()).stats().unwrap().bytes, 0);
        }
    }
    println!("{finished} of 60 were not killed in time");
    assert!(finished < 50, "the test kills too late to mean anything");
    (0..KEYS).for_each(|n| run(&bench.store, n, &log));
    (0..KEYS).for_each(|n| all_right(&bench.store, n));
}
