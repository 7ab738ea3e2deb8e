//! A file system that is read-only, full, or fails at any call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flow_cache::{Error, Lookup, Store};

use crate::helpers::*;

/// Runs an ignored test of this binary in a mount name space of its own, after the shell commands `mounts` (`$DIR` is a
/// folder). `None` where this machine does not let us.
fn in_namespace(name: &str, folder: &Path, mounts: &str) -> Option<Output> {
    let allowed = Command::new("unshare")
        .args(["-Urm", "mount", "-t", "tmpfs", "tmpfs"])
        .arg(folder)
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this machine does not allow user name spaces with mounts");
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

fn passed(output: Option<Output>) {
    if let Some(output) = output {
        let text = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
}

fn folder() -> PathBuf {
    std::env::var("DIR").unwrap().into()
}

#[test]
fn a_full_disk() {
    let bench = tempfile::tempdir().unwrap();
    passed(in_namespace(
        "faults::child_full",
        bench.path(),
        "mount -t tmpfs -o size=1m tmpfs \"$DIR\"",
    ));
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
    assert_eq!(store.gc(&all, false).unwrap().evicted.len(), 2);
    put(&store, key(2), &[7; 100_000], 1.0);
    drop(filler);
}

#[test]
fn a_read_only_store() {
    let bench = tempfile::tempdir().unwrap();
    let store = open(&bench.path().join("store"));
    put(&store, key(0), b"content", 1.0);
    put_folder(&store, key(1));
    drop(store);
    let mounts = "mount --bind \"$DIR\" \"$DIR\" && mount -o remount,bind,ro \"$DIR\"";
    passed(in_namespace(
        "faults::child_read_only",
        bench.path(),
        mounts,
    ));
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
        store.gc(&flow_cache::Budget::default(), true).unwrap().kept,
        stats.bytes
    );
    let read_only = |result: Result<(), Error>| match result {
        Err(e @ Error::ReadOnly { .. }) => assert!(e.to_string().contains("no permission"), "{e}"),
        other => panic!("{other:?}"),
    };
    read_only(store.acquire(&key(2), false, &mut at_once).map(drop));
    read_only(store.pin("name", &[key(0)]));
    read_only(store.gc(&flow_cache::Budget::default(), false).map(drop));
    let new = Store::open(&folder().join("new")).unwrap();
    read_only(new.acquire(&key(2), false, &mut at_once).map(drop));
}

/// Each call that changes the file system, or makes a change durable, fails once, at each of its places on the way of a
/// commit: a typed error, a store that verifies clean, and the next attempt succeeds.
#[test]
fn any_call_fails() {
    let bench = tempfile::tempdir().unwrap();
    let faults = [
        ("fsync", "EIO"),
        ("write", "ENOSPC"),
        ("/^rename", "EIO"),
        ("/^mkdir", "ENOSPC"),
        ("fchmod", "EACCES"),
        ("utimensat", "EIO"),
        ("flock", "ENOLCK"),
        ("/^unlink", "EIO"),
    ];
    for (call, fault) in faults {
        let mut failures = 0;
        for nth in 1.. {
            let folder = bench.path().join(format!("{}-{nth}", &call[2..]));
            fs::create_dir(&folder).unwrap();
            let Some(outcome) = inject(&folder, &format!("inject={call}:error={fault}:when={nth}"))
            else {
                eprintln!("skipped: this machine has no strace, or does not allow it");
                return;
            };
            let store = open(&folder.join("store"));
            verifies_clean(&store);
            if outcome == "committed" {
                assert!(is_hit(&store, key(1)), "{call} {nth}");
                // Failures that do not matter (cleaning up) pass unseen; the end is where there is no nth call.
                if nth > failures + 3 {
                    break;
                }
                continue;
            }
            failures += 1;
            assert!(
                outcome.contains("failed")
                    || outcome.contains("full")
                    || outcome.contains("permission"),
                "{outcome}"
            );
            match store.acquire(&key(1), false, &mut at_once).unwrap() {
                flow_cache::Acquired::Hit(_) => {} // it failed after the commit point
                flow_cache::Acquired::Lease(lease) => {
                    lease.abandon(false);
                    put_folder(&store, key(1));
                }
                other => panic!("{other:?}"),
            }
            assert!(is_hit(&store, key(1)), "{call} {nth}: {outcome}");
        }
        println!("{call}: {failures} places");
        assert!(
            failures > 0 || call == "/^unlink",
            "{call} never failed: is it still the call that is made?"
        );
    }
}

/// Runs the child below under strace with this fault, and says how it ended.
fn inject(folder: &Path, fault: &str) -> Option<String> {
    // The fault may also strike the test harness in it, which then complains.
    let mut child = process("faults::child_faulty", &[("DIR", folder.to_str().unwrap())]);
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    let wait_for = |name: &str, alive: &mut dyn FnMut() -> bool| {
        while !folder.join(name).exists() {
            if !alive() {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        true
    };
    assert!(wait_for("ready", &mut || child
        .try_wait()
        .unwrap()
        .is_none()));
    let log = fs::File::create(folder.join("attached")).unwrap();
    let strace = Command::new("strace")
        .args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            fault,
            "-p",
            &child.id().to_string(),
        ])
        .stderr(log)
        .spawn();
    let attached = strace.and_then(|mut strace| {
        while !fs::read_to_string(folder.join("attached"))?.contains("attached") {
            if strace.try_wait()?.is_some() {
                return Err(std::io::ErrorKind::PermissionDenied.into());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(strace)
    });
    let Ok(mut strace) = attached else {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    };
    fs::File::create(folder.join("go")).unwrap();
    child.wait().unwrap();
    strace.wait().unwrap();
    let outcomes = ["outcome", "outcome again"]
        .map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default());
    Some(
        outcomes
            .into_iter()
            .find(|outcome| !outcome.is_empty())
            .expect("an outcome"),
    )
}

#[test]
#[ignore = "run with a fault by the test above"]
fn child_faulty() {
    let folder = folder();
    let store = open(&folder.join("store"));
    // What the stage itself writes is written before the fault can strike.
    let made = folder.join("made");
    fs::create_dir_all(made.join("deep")).unwrap();
    fs::write(made.join("a"), [1; 5000]).unwrap();
    fs::write(made.join("deep/b"), [2; 5000]).unwrap();
    fs::File::create(folder.join("ready")).unwrap();
    while !folder.join("go").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let result = (|| {
        let lease = match store.acquire(&key(1), false, &mut at_once)? {
            flow_cache::Acquired::Lease(lease) => lease,
            other => panic!("{other:?}"),
        };
        let out = lease.work().join("out");
        // Not the call that is to fail.
        fs::rename(&made, &out)
            .or_else(|_| fs::rename(&made, &out))
            .unwrap();
        let draft = draft(&lease, &["out"]);
        lease.commit(draft)
    })();
    let outcome = match result {
        Ok(_) => "committed".to_owned(),
        Err(e) => e.to_string(),
    };
    // Twice: one write of it may be the one that fails.
    let _ = fs::write(folder.join("outcome"), &outcome);
    let _ = fs::write(folder.join("outcome again"), &outcome);
}
