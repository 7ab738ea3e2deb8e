//! A file system that is read-only, full, or fails at any call.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flow_cache::{Error, Lookup, Store};
use flow_tests::inject::{self, Fault, Injected};

use crate::helpers::*;

/// Runs an ignored test of this binary in a mount name space of its own, after the shell commands `mounts` (`$DIR` is a
/// folder). `None` where this machine does not let us.
fn in_namespace(name: &str, folder: &Path, mounts: &str) -> Option<Output> {
    let allowed = Command::new("unshare")
        .args(["-Urm", "mount", "-t", "tmpfs", "tmpfs"])
        .arg(folder)
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let binary = std::env::current_exe().unwrap();
    let script =
        format!("{mounts} && exec \"$0\" --exact {name} --ignored --nocapture --test-threads=1");
    let command = ["-Urm", "sh", "-e", "-c", &script];
    Some(
        Command::new("unshare")
            .args(command)
            .arg(binary)
            .env("DIR", folder)
            .output()
            .unwrap(),
    )
}

#[track_caller]
fn passed(output: Output) {
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn folder() -> PathBuf {
    std::env::var("DIR").unwrap().into()
}

#[test]
fn a_full_disk() {
    let bench = tempfile::tempdir().unwrap();
    let mounts = "mount -t tmpfs -o size=1m tmpfs \"$DIR\"";
    match in_namespace("faults::child_full", bench.path(), mounts) {
        Some(output) => passed(output),
        None => no_space_from_any_call_on(),
    }
}

#[test]
#[ignore = "run on a small file system by the test above"]
fn child_full() {
    let store = open(&folder().join("store"));
    let first = put(&store, key(0), &[7; 100_000], 1.0);
    // Fill what is left, to the last page.
    let mut filler = fs::File::create(folder().join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    let mut failures = 0;
    // A little more room each time, so that each step of the way in is the one that fails.
    for pages in 0..12u64 {
        let length = fs::metadata(folder().join("filler")).unwrap().len();
        if pages > 0 {
            filler.set_len(length - 4096).unwrap();
        }
        let attempt = (|| {
            let lease = match store.acquire(&key(1), false, &mut at_once)? {
                flow_cache::Acquired::Lease(lease) => lease,
                other => panic!("{other:?}"),
            };
            lease.clear_work()?;
            let out = lease.work().join("out");
            if fs::create_dir(&out).is_err() || fs::write(out.join("a"), [1; 5000]).is_err() {
                return Ok(None); // the stage's own failure
            }
            let draft = draft(&lease, &["out"]);
            lease.commit(draft).map(Some)
        })();
        match attempt {
            Ok(Some(_)) => break,
            Ok(None) => {}
            Err(Error::Full { .. }) => failures += 1,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(store.lookup(&key(1)).unwrap(), Lookup::Miss);
        assert_eq!(
            store.read(&hit(&store, key(0)).outputs["out"]).unwrap(),
            [7; 100_000]
        );
        verifies_clean(&store);
    }
    assert!(failures > 1, "{failures}");
    assert_eq!(hit(&store, key(0)), first);
    assert!(is_hit(&store, key(1)), "with room enough it goes in");

    // What the error advises works on a disk that is full to the last page.
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    drop(store);
    let store = open(&folder().join("store"));
    let all = flow_cache::Budget {
        max_bytes: Some(0),
        max_age: None,
    };
    assert_eq!(gc(&store, &all, false).unwrap().evicted.len(), 2);
    put(&store, key(2), &[7; 100_000], 1.0);
    drop(filler);
}

#[test]
fn a_read_only_store() {
    let bench = two_results();
    let mounts = "mount --bind \"$DIR\" \"$DIR\" && mount -o remount,bind,ro \"$DIR\"";
    match in_namespace("faults::child_read_only", bench.path(), mounts) {
        Some(output) => passed(output),
        None => a_store_that_we_may_not_write(),
    }
}

fn two_results() -> tempfile::TempDir {
    let bench = tempfile::tempdir().unwrap();
    let store = open(&bench.path().join("store"));
    put(&store, key(0), b"content", 1.0);
    put_folder(&store, key(1));
    bench
}

/// The permissions say no, to another user where this one may do everything.
#[test]
fn a_store_that_we_may_not_write() {
    let bench = two_results();
    let mut folders = vec![bench.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                fs::set_permissions(entry.path(), Permissions::from_mode(0o444)).unwrap();
            }
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    }
    // Where that user can start it.
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let binary = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let mut child = Command::new(&binary);
    child
        .args(["--exact", "faults::child_read_only", "--ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env("DIR", bench.path());
    if rustix::process::geteuid().is_root() {
        child.uid(65534).gid(65534);
    }
    let output = child.output().unwrap();
    // So that all can be removed.
    let mut folders = vec![bench.path().to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let below = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    passed(output);
}

#[test]
#[ignore = "run on a read-only file system by the test above"]
fn child_read_only() {
    let store = open(&folder().join("store"));
    let record = hit(&store, key(0));
    assert_eq!(store.read(&record.outputs["out"]).unwrap(), b"content");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    store
        .materialise(&record.outputs["out"], &elsewhere.path().join("a"))
        .unwrap();
    store
        .materialise(
            &hit(&store, key(1)).outputs["out"],
            &elsewhere.path().join("b"),
        )
        .unwrap();
    verifies_clean(&store);
    let stats = store.stats().unwrap();
    assert_eq!(stats.records, 2);
    assert_eq!(
        gc(&store, &flow_cache::Budget::default(), true)
            .unwrap()
            .kept,
        stats.bytes
    );
    let read_only = |result: Result<(), Error>| match result {
        Err(e @ Error::ReadOnly { .. }) => assert!(e.to_string().contains("no permission"), "{e}"),
        other => panic!("{other:?}"),
    };
    read_only(store.acquire(&key(2), false, &mut at_once).map(drop));
    read_only(store.pin("name", &[key(0)]));
    read_only(gc(&store, &flow_cache::Budget::default(), false).map(drop));
    let new = Store::open(&folder().join("new")).unwrap();
    read_only(new.acquire(&key(2), false, &mut at_once).map(drop));
}

/// ENOSPC, EIO, EACCES.
const ERRORS: [i32; 3] = [28, 5, 13];

/// Each call that changes the file system, or makes a change durable, fails once, with each error: a typed error, a store that
/// verifies clean, and the next attempt succeeds.
#[test]
fn any_call_fails() {
    let bench = tempfile::tempdir().unwrap();
    let mut failed = BTreeSet::new();
    for turn in 0..3 {
        for nth in 1.. {
            let folder = bench.path().join(format!("{turn}-{nth}"));
            let (injected, outcome) =
                commit_under(&folder, Fault::Fail(nth, ERRORS[(nth + turn) % 3]));
            let Some(call) = injected.struck else {
                assert_eq!(outcome.as_deref(), Some("committed"));
                break;
            };
            let store = open(&folder.join("store"));
            verifies_clean(&store);
            match outcome.as_deref() {
                // Failures that do not matter (cleaning up) pass unseen.
                Some("committed") => {
                    assert!(is_hit(&store, key(1)), "{call} {nth}");
                    continue;
                }
                Some(said) => {
                    let known = ["failed", "full", "permission"];
                    assert!(known.iter().any(|word| said.contains(word)), "{said}");
                    failed.insert(call);
                }
                // It struck the test harness around the child, which can't print.
                None => assert_eq!(call, "write", "{nth}"),
            }
            made_again(&store);
            assert!(is_hit(&store, key(1)), "{call} {nth}: {outcome:?}");
        }
    }
    for call in [
        "fsync",
        "write",
        "rename",
        "mkdir",
        "fchmod",
        "utimensat",
        "flock",
    ] {
        assert!(
            failed.iter().any(|name| name.starts_with(call)),
            "{call} never failed: is it still the call that is made? {failed:?}"
        );
    }
}

#[test]
fn a_disk_that_is_full_from_any_call_on() {
    no_space_from_any_call_on();
}

/// What was there before stays, the error says what it is, and with room the commit succeeds.
fn no_space_from_any_call_on() {
    let bench = tempfile::tempdir().unwrap();
    let mut full = 0;
    for nth in 1.. {
        let folder = bench.path().join(nth.to_string());
        let first = put(&open(&folder.join("store")), key(0), &[7; 100_000], 1.0);
        let (injected, outcome) = commit_under(&folder, Fault::FullFrom(nth));
        let outcome = outcome.unwrap();
        let store = open(&folder.join("store"));
        verifies_clean(&store);
        assert_eq!(hit(&store, key(0)), first);
        if injected.struck.is_none() {
            assert_eq!(outcome, "committed");
            break;
        }
        if outcome != "committed" {
            assert!(outcome.contains("the disk is full while"), "{outcome}");
            full += 1;
            made_again(&store);
        }
        assert!(is_hit(&store, key(1)), "{nth}: {outcome}");
    }
    assert!(full > 5, "{full}");
}

/// After a commit that failed.
fn made_again(store: &Store) {
    match store.acquire(&key(1), false, &mut at_once).unwrap() {
        flow_cache::Acquired::Hit(_) => {} // it failed after the commit point
        flow_cache::Acquired::Lease(lease) => {
            lease.abandon(false);
            put_folder(store, key(1));
        }
        other => panic!("{other:?}"),
    }
}

/// Commits a folder under a fault, in a process of its own, and says how that ended; nothing where the process could not.
fn commit_under(folder: &Path, fault: Fault) -> (Injected, Option<String>) {
    // What the stage itself writes is written before the fault can strike.
    let out = folder
        .join("store/work")
        .join(key(1).to_string())
        .join("out");
    fs::create_dir_all(out.join("deep")).unwrap();
    fs::write(out.join("a"), [1; 5000]).unwrap();
    fs::write(out.join("deep/b"), [2; 5000]).unwrap();
    let mut child = process("faults::child_faulty", &[("DIR", folder.to_str().unwrap())]);
    child.stdout(Stdio::piped()).stderr(Stdio::null());
    let (child, supervisor) = inject::spawn(child, fault).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let outcome = said
        .lines()
        .find_map(|line| Some(line.split_once("OUTCOME ")?.1.to_owned()));
    (supervisor.report(), outcome)
}

#[test]
#[ignore = "run with a fault by the tests above"]
fn child_faulty() {
    let store = open(&folder().join("store"));
    let result = (|| {
        let lease = match store.acquire(&key(1), false, &mut at_once)? {
            flow_cache::Acquired::Lease(lease) => lease,
            other => panic!("{other:?}"),
        };
        let draft = draft(&lease, &["out"]);
        lease.commit(draft)
    })();
    let outcome = match result {
        Ok(_) => "committed".to_owned(),
        Err(e) => e.to_string(),
    };
    // Twice: one write of it may be the one that fails.
    for _ in 0..2 {
        let line = format!("OUTCOME {outcome}\n");
        let _ = std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes());
    }
}
