//! Does one thing with a store and prints how many seconds it took; `bench/cache/run.py` compares them with peers.

#![allow(clippy::unwrap_used, reason = "a measurement that can not go on ends")]
#![allow(clippy::print_stdout, reason = "a program")]

use std::fs::{self, File, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use flow_cache::{Acquired, Digest, Draft, DraftOutput, Key, Lookup, Output, Store};
use rayon::prelude::*;
use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seconds = match arguments[..] {
        ["hash", store, file] => hash(store, file),
        ["commit", store, file] => commit(store, file),
        ["commits", store, count] => commits(store, count.parse().unwrap()),
        ["materialise", store, to] => materialise(&Store::open(store.as_ref()).unwrap(), to),
        ["link", store, to] => materialise(&Store::open(store.as_ref()).unwrap().trusting(), to),
        ["fill", store, records, bytes] => {
            fill(store, records.parse().unwrap(), bytes.parse().unwrap())
        }
        ["lookup", store, records] => lookup(store, records.parse().unwrap()),
        _ => panic!(
            "hash STORE FILE | commit STORE FILE | commits STORE COUNT | materialise STORE TO | link STORE TO | \
             fill STORE RECORDS BYTES | lookup STORE RECORDS"
        ),
    };
    println!("{}", seconds.as_secs_f64());
}

fn key(n: u64) -> Key {
    Key(Digest::of_bytes(&n.to_le_bytes()))
}

/// The digest of an input file, through the memo.
fn hash(store: &str, file: &str) -> Duration {
    let began = Instant::now();
    let store = Store::open(store.as_ref()).unwrap();
    store.digest_path(file.as_ref()).unwrap();
    store.save_memo().unwrap();
    began.elapsed()
}

/// What a stage left in its work folder, into the store. The file is moved.
fn commit(store: &str, file: &str) -> Duration {
    commit_as(&Store::open(store.as_ref()).unwrap(), key(0), |path| {
        fs::rename(file, path).unwrap();
    })
}

/// The mean over many small ones.
fn commits(store: &str, count: u32) -> Duration {
    let store = Store::open(store.as_ref()).unwrap();
    let all = (0..count).map(|n| {
        let content = format!("small output {n}\n");
        commit_as(&store, key(1000 + u64::from(n)), |path| {
            fs::write(path, &content).unwrap();
        })
    });
    all.sum::<Duration>() / count
}

fn commit_as(store: &Store, key: Key, make: impl Fn(&Path)) -> Duration {
    let acquired = store.acquire(&key, true, &mut |_| ControlFlow::Break(()));
    let Acquired::Lease(lease) = acquired.unwrap() else {
        panic!("the key is being computed")
    };
    let path = lease.work().join("out");
    make(&path);
    let artifact = "test".to_owned();
    let output = DraftOutput {
        path,
        artifact,
        known: Default::default(),
    };
    let draft = Draft {
        outputs: [("out".to_owned(), output)].into(),
        seconds: 1.0,
        ..Draft::default()
    };
    let began = Instant::now();
    lease.commit(draft).unwrap();
    began.elapsed()
}

/// What was committed, as an input of a stage.
fn materialise(store: &Store, to: &str) -> Duration {
    let Lookup::Hit(record) = store.lookup(&key(0)).unwrap() else {
        panic!("commit first")
    };
    let began = Instant::now();
    store
        .materialise(&record.outputs["out"], to.as_ref())
        .unwrap();
    began.elapsed()
}

/// A store by its public format: `records` records, and as many sparse blobs, `bytes` in all.
fn fill(store: &str, records: u64, bytes: u64) -> Duration {
    let began = Instant::now();
    let root = Path::new(store);
    for top in ["actions", "blobs"] {
        for n in 0..256 {
            fs::create_dir_all(root.join(top).join(format!("{n:02x}"))).unwrap();
        }
    }
    fs::write(root.join("format"), "flow-cache 1\n").unwrap();
    (0..records).into_par_iter().for_each(|n| {
        let digest = Digest::of_bytes(&[n.to_le_bytes(), n.to_le_bytes()].concat());
        let output = Output {
            digest,
            size: bytes / records,
            folder: false,
            artifact: "npy".into(),
            executable: false,
        };
        let name = digest.to_string();
        let blob = File::create(root.join("blobs").join(&name[..2]).join(name)).unwrap();
        blob.set_len(output.size).unwrap();
        blob.set_permissions(Permissions::from_mode(0o444)).unwrap();
        blob.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800))
            .unwrap();
        // As large as the engine's: a manifest with a dozen parameters.
        let manifest: serde_json::Map<_, _> = (0..12)
            .map(|i| (format!("parameter_{i}"), json!({ "value": n, "digest": digest })))
            .collect();
        let record = json!({
            "key": key(n), "outputs": { "out": output }, "manifest": manifest, "provenance": { "host": "here" },
            "metrics": {}, "seconds": n as f64, "finished": "2026-01-01T00:00:00Z",
        });
        let content = record.to_string();
        let text = format!("{{\"blake3\":\"{}\",\"content\":{content}}}\n", Digest::of_bytes(content.as_bytes()));
        let hex = key(n).to_string();
        fs::write(root.join("actions").join(&hex[..2]).join(hex + ".json"), text).unwrap();
    });
    began.elapsed()
}

/// The mean over a thousand records, spread over the store.
fn lookup(store: &str, records: u64) -> Duration {
    let store = Store::open(store.as_ref()).unwrap();
    let look = || {
        for n in 0..1000 {
            let found = store.lookup(&key(n * 7919 % records)).unwrap();
            assert!(matches!(found, Lookup::Hit(_)), "{found:?}");
        }
    };
    // The first time touches them, as a process does with what was long not of use.
    look();
    let began = Instant::now();
    look();
    began.elapsed() / 1000
}
