//! The machine's ledger, by two ledgers in one folder: to each other they are as two processes are.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flow_run::machine::domain::Domain;
use flow_run::machine::ledger::{Held, Ledger, Total, Wanted, Who};

fn ledger(folder: &Path, gpus: &[&str]) -> Arc<Ledger> {
    let gpus: Vec<String> = gpus.iter().map(ToString::to_string).collect();
    let domain = Domain {
        folder: folder.to_path_buf(),
        threads: Some(4),
    };
    let total = Total {
        threads: 1,
        memory: 100,
        identities: gpus.clone(),
        gpus,
    };
    Ledger::new(Some(domain), total)
}

/// Each a run of its own: r1, r2, …
fn who(stage: &str) -> Who {
    thread_local!(static RUNS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    RUNS.set(RUNS.get() + 1);
    Who {
        run: format!("r{}", RUNS.get()),
        workflow: "w".into(),
        stage: stage.into(),
        pid: std::process::id(),
    }
}

fn wanted(threads: u32, gpus: usize, memory: u64) -> Wanted {
    Wanted {
        threads,
        memory,
        gpus,
    }
}

/// What is there now, or what is in the way.
fn try_take(ledger: &Arc<Ledger>, wanted: Wanted) -> Result<Held, String> {
    let said = std::cell::RefCell::new(String::new());
    let stop = || !said.borrow().is_empty();
    let waits = |text: &str| *said.borrow_mut() = text.to_string();
    let held = ledger.take(wanted, &who("s"), "k", stop, waits).unwrap();
    held.ok_or_else(|| said.borrow().clone())
}

fn tickets(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().flatten();
    names
        .filter(|e| e.file_name().to_string_lossy().starts_with('0'))
        .count()
}

#[test]
fn all_is_taken_in_one_step_and_given_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        ledger(folder.path(), &["a", "b"]),
        ledger(folder.path(), &["b", "a"]),
    );
    let first = try_take(&one, wanted(2, 1, 60)).unwrap();
    assert_eq!(first.gpus, ["a"]);
    let why = |result: Result<Held, String>| result.map(|held| held.gpus.clone()).unwrap_err();
    let pid = std::process::id();
    assert_eq!(
        why(try_take(&two, wanted(1, 2, 0))),
        format!("2 GPUs: held by run r1 of workflow w, stage s, pid {pid}")
    );
    assert!(why(try_take(&two, wanted(3, 0, 0))).starts_with("3 threads: held by"));
    assert!(why(try_take(&two, wanted(1, 0, 50))).starts_with("50 B of memory: held by"));
    // Who gave up is in nobody's way.
    let second = try_take(&two, wanted(2, 1, 40)).unwrap();
    assert_eq!(second.gpus, ["b"]);
    drop(first);
    drop(second);
    assert_eq!(tickets(folder.path()), 0);
    let all = try_take(&two, wanted(99, 9, 1 << 40)).unwrap();
    assert_eq!(all.gpus, ["b", "a"]);
}

#[test]
fn what_a_child_keeps_open_is_held_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (ledger(folder.path(), &["a"]), ledger(folder.path(), &["a"]));
    let held = try_take(&one, wanted(1, 1, 0)).unwrap();
    let lock = held.lock();
    let child = File::from(
        lock.upgrade()
            .unwrap()
            .as_fd()
            .try_clone_to_owned()
            .unwrap(),
    );
    drop(held);
    assert!(lock.upgrade().is_none());
    for ledger in [&one, &two] {
        assert!(try_take(ledger, wanted(1, 1, 0)).is_err());
    }
    drop(child);
    assert!(try_take(&two, wanted(1, 1, 0)).is_ok());
    assert_eq!(tickets(folder.path()), 0);
}

#[test]
fn who_waits_is_served_in_order_and_in_nobodys_way_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let one = ledger(folder.path(), &["a", "b"]);
    let two = ledger(folder.path(), &["a", "b"]);
    let first = try_take(&one, wanted(1, 1, 0)).unwrap();
    std::thread::scope(|scope| {
        let big = scope.spawn(|| {
            let stop = || false;
            let held = two.take(wanted(1, 2, 0), &who("big"), "k", stop, |_| ());
            held.unwrap().unwrap().gpus.len()
        });
        let started = Instant::now();
        while tickets(folder.path()) < 2 {
            assert!(started.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
        let behind = try_take(&one, wanted(1, 1, 0)).unwrap_err();
        assert!(
            behind.contains("waited for by run r1 of workflow w, stage big"),
            "{behind}"
        );
        drop(try_take(&one, wanted(1, 0, 0)).unwrap());
        drop(first);
        assert_eq!(big.join().unwrap(), 2);
    });
}

#[test]
fn who_waits_for_a_run_hears_of_it_once_and_never_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let one = ledger(folder.path(), &[]);
    let (holder, other) = (who("s"), who("t"));
    let hold = || one.take(wanted(2, 0, 0), &holder, "k", || false, |_| ());
    let (first, second) = (hold().unwrap().unwrap(), hold().unwrap().unwrap());
    let hear = |waiter: &Who, left: std::cell::RefCell<Vec<Held>>| {
        let began = Instant::now();
        let mut heard = Vec::new();
        // Halfway one of the two ends: another stage is in the way then, of the same run.
        let stop = || {
            if began.elapsed() > Duration::from_millis(150) {
                left.borrow_mut().truncate(1);
            }
            began.elapsed() > Duration::from_millis(300)
        };
        let waits = |text: &str| heard.push(text.to_string());
        let none = one.take(wanted(4, 0, 0), waiter, "k", stop, waits);
        assert!(none.unwrap().is_none());
        heard
    };
    assert!(hear(&holder, Vec::new().into()).is_empty());
    assert_eq!(hear(&other, vec![first, second].into()).len(), 1);
}

#[test]
fn what_lies_about_in_the_folder_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Of someone who died, of someone who writes nonsense, and what is no file.
    let dead = r#"{"who":{"run":"","workflow":"","stage":"","pid":1},"threads":4,"memory":0,"gpus":0,"identities":[],"waits":false}"#;
    fs::write(at("000000000000-1-k"), dead).unwrap();
    fs::create_dir(at("share-k")).unwrap();
    fs::write(at("000000000001-1-n"), "nonsense").unwrap();
    let nonsense = File::open(at("000000000001-1-n")).unwrap();
    nonsense.lock().unwrap();
    fs::create_dir(at("000000000002-1-d")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("000000000003-1-l")).unwrap();
    let held = try_take(&ledger(folder.path(), &[]), wanted(4, 0, 0)).unwrap();
    assert!(!at("000000000000-1-k").exists() && !at("share-k").exists());
    assert!(at("000000000003-1-l").is_symlink());
    drop(held);
}

#[test]
fn a_share_costs_little_where_nobody_else_runs() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path(), &[]);
    drop(try_take(&ledger, wanted(1, 0, 0)).unwrap());
    let rounds = 200;
    let best = (0..5).map(|_| {
        let started = Instant::now();
        for _ in 0..rounds {
            drop(try_take(&ledger, wanted(1, 0, 0)).unwrap());
        }
        started.elapsed() / rounds
    });
    let best = best.min().unwrap();
    println!("{best:?} a share");
    assert!(best < Duration::from_millis(1), "{best:?}");
}
