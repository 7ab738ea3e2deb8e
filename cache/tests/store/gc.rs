//! Making room without taking what is wanted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use flow_cache::{Budget, Key, Lookup, Plan};

use crate::helpers::*;

const DAY: Duration = Duration::from_secs(86_400);

fn record_path(bench: &Bench, key: Key) -> PathBuf {
    let hex = key.to_string();
    bench
        .store
        .root()
        .join("actions")
        .join(&hex[..2])
        .join(hex + ".json")
}

fn age(bench: &Bench, key: Key, age: Duration) {
    let file = File::options()
        .append(true)
        .open(record_path(bench, key))
        .unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn kept(bench: &Bench, keys: &[u64]) -> Vec<u64> {
    keys.iter()
        .copied()
        .filter(|n| record_path(bench, key(*n)).exists())
        .collect()
}

fn evicted(plan: &Plan) -> Vec<Key> {
    plan.evicted.iter().map(|evicted| evicted.key).collect()
}

fn at_most(max: u64) -> Budget {
    Budget {
        max_bytes: Some(max),
        max_age: None,
    }
}

fn older_than(max: Duration) -> Budget {
    Budget {
        max_bytes: None,
        max_age: Some(max),
    }
}

/// The dry run says what then happens; afterwards the store is whole.
fn collect_garbage(bench: &mut Bench, budget: &Budget) -> Plan {
    bench.reopen();
    wait_until_unused(&bench.store);
    let before = bench.files();
    let dry = gc(&bench.store, budget, true).unwrap();
    assert_eq!(bench.files(), before, "a dry run removes nothing");
    let plan = gc(&bench.store, budget, false).unwrap();
    assert_eq!(plan, dry);
    verifies_clean(&bench.store);
    assert_eq!(bench.store.stats().unwrap().bytes, plan.kept);
    plan
}

#[test]
fn takes_what_is_big_and_cheap_first() {
    let mut bench = bench();
    put(&bench.store, key(1), &[1; 1000], 3600.0); // a training
    put(&bench.store, key(2), &[2; 1000], 1.0); // a conversion: as big, and quick
    put(&bench.store, key(3), &[3; 10], 1.0); // as quick, and small
    let plan = collect_garbage(&mut bench, &at_most(1500));
    assert_eq!(evicted(&plan), [key(2)]);
    assert_eq!((plan.freed, plan.seconds, plan.kept), (1000, 1.0, 1010));
    let plan = collect_garbage(&mut bench, &at_most(1000));
    assert_eq!(evicted(&plan), [key(3)]);
    let plan = collect_garbage(&mut bench, &at_most(1000));
    assert_eq!(
        plan,
        Plan {
            kept: 1000,
            ..Plan::default()
        }
    );
    collect_garbage(&mut bench, &at_most(0));
    assert_eq!(bench.store.stats().unwrap().records, 0);
}

/// The cheapest by the byte is small; it alone is not enough, and beside the next it is not needed.
#[test]
fn gives_back_what_was_not_needed() {
    let mut bench = bench();
    put(&bench.store, key(1), &[1; 100], 0.1);
    put(&bench.store, key(2), &[2; 1000], 10.0);
    put(&bench.store, key(3), &[3; 100], 9.0);
    let plan = collect_garbage(&mut bench, &at_most(200));
    assert_eq!(evicted(&plan), [key(2)]);
}

#[test]
fn shared_content_goes_with_its_last_record() {
    let mut bench = bench();
    put(&bench.store, key(1), b"a", 1.0);
    put_folder(&bench.store, key(2)); // holds a file `a` too
    bench.store.pin("folder", &[key(2)]).unwrap();
    let plan = collect_garbage(&mut bench, &at_most(0));
    assert_eq!(plan.evicted, [], "evicting the file would free nothing");
    age(&bench, key(1), 2 * DAY);
    let plan = collect_garbage(&mut bench, &older_than(DAY));
    assert_eq!((evicted(&plan), plan.freed), (vec![key(1)], 0));
    assert!(is_hit(&bench.store, key(2)));
    bench.store.unpin("folder").unwrap();
    let plan = collect_garbage(&mut bench, &at_most(0));
    assert_eq!((evicted(&plan), plan.kept), (vec![key(2)], 0));
}

#[test]
fn age_is_the_time_since_the_last_use() {
    let mut bench = bench();
    for n in 1..=3 {
        put(&bench.store, key(n), &[n as u8; 10], 1e9);
        age(&bench, key(n), 10 * DAY);
    }
    bench.reopen();
    assert!(is_hit(&bench.store, key(2)), "used, so touched");
    bench.store.pin("three", &[key(3)]).unwrap();
    let plan = collect_garbage(&mut bench, &older_than(9 * DAY));
    assert_eq!(evicted(&plan), [key(1)]);
    assert_eq!(plan.pinned, 1);
    assert_eq!(kept(&bench, &[1, 2, 3]), [2, 3]);
}

#[test]
fn what_a_live_process_uses_stays() {
    let bench = bench();
    for n in 1..=4 {
        put(&bench.store, key(n), &[n as u8; 10], 1.0);
        age(&bench, key(n), DAY);
    }
    let root = bench.store.root().to_owned();
    let Bench { folder, store } = bench;
    drop(store);
    wait_until_unused(&open(&root));
    let run = open(&root);
    assert!(is_hit(&run, key(2)));
    let output = hit(&run, key(2)).outputs["out"].clone();
    let new = put(&run, key(5), b"new", 1.0);

    let other = open(&root);
    let plan = gc(&other, &at_most(0), false).unwrap();
    assert_eq!((plan.live, plan.in_use), (1, 2));
    assert_eq!(plan.evicted.len(), 3);
    assert!(is_hit(&run, key(2)) && is_hit(&run, key(5)));
    run.materialise(&output, &folder.path().join("late"))
        .unwrap();
    assert_eq!(run.read(&new.outputs["out"]).unwrap(), b"new");

    drop(run);
    wait_until_unused(&other);
    let plan = gc(&other, &at_most(0), false).unwrap();
    assert_eq!((plan.live, plan.evicted.len(), plan.kept), (0, 2, 0));
}

/// As between the moving of blobs and the writing of their record.
#[test]
fn blobs_of_a_commit_under_way_stay() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    let blob = bench.blob(&record.outputs["out"].digest);
    fs::remove_file(record_path(&bench, key(1))).unwrap();
    let other = open(bench.store.root());
    let plan = gc(&other, &at_most(0), false).unwrap();
    assert_eq!(
        (plan.live, plan.kept, blob.exists()),
        (1, 7, true),
        "{plan:?}"
    );
    drop(bench.store);
    wait_until_unused(&other);
    assert_eq!(gc(&other, &at_most(0), false).unwrap().garbage, 7);
    assert!(!blob.exists());
}

#[test]
fn what_is_being_computed_stays() {
    let mut bench = bench();
    put(&bench.store, key(1), b"old", 1.0);
    let root = bench.store.root().to_owned();
    let store = open(&root);
    let flow_cache::Acquired::Lease(lease) = store.acquire(&key(1), true, &mut at_once).unwrap()
    else {
        panic!()
    };
    fs::write(lease.work().join("out"), "half").unwrap();
    age(&bench, key(1), 30 * DAY);
    bench.reopen();
    gc(&bench.store, &older_than(DAY), false).unwrap();
    assert!(
        lease.work().join("out").exists(),
        "the work folder of a live lease"
    );
    assert_eq!(
        kept(&bench, &[1]),
        [1],
        "and the record that it is to replace"
    );
    let draft = draft(&lease, &["out"]);
    lease.commit(draft).unwrap();
    assert!(is_hit(&bench.store, key(1)));
}

#[test]
fn leftovers_go_and_checkpoints_stay_a_week() {
    let mut bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    // A crash before the record's rename leaves a blob that nothing names.
    let stray = lease(&bench.store, key(2));
    fs::write(stray.work().join("out"), "stray").unwrap();
    let draft = draft(&stray, &["out"]);
    stray.commit(draft).unwrap();
    fs::remove_file(record_path(&bench, key(2))).unwrap();
    // A killed training.
    let killed = lease(&bench.store, key(3));
    fs::write(killed.work().join("checkpoint"), "12345").unwrap();
    let work = killed.work().to_owned();
    drop(killed);
    // A crash between the commit and the clean-up.
    let late = bench.store.root().join("work").join(key(1).to_string());
    fs::create_dir_all(&late).unwrap();

    let plan = collect_garbage(&mut bench, &Budget::default());
    assert_eq!(
        (plan.evicted.len(), plan.garbage, plan.freed, plan.kept),
        (0, 5, 5, 7)
    );
    assert!(work.join("checkpoint").exists() && !late.exists());
    for path in [work.join("checkpoint"), work.clone()] {
        File::open(path)
            .unwrap()
            .set_modified(SystemTime::now() - 8 * DAY)
            .unwrap();
    }
    let plan = collect_garbage(&mut bench, &Budget::default());
    assert_eq!(plan.garbage, 5);
    assert!(!work.exists());
    assert_eq!(
        bench.store.read(&record.outputs["out"]).unwrap(),
        b"content"
    );
    assert_eq!(
        fs::read_dir(bench.store.root().join("locks"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_the_caller_wants_stays_and_where_nobody_knows_nothing_goes() {
    let bench = bench();
    for n in 1..=3 {
        put(&bench.store, key(n), &[n as u8; 10], 1.0);
        age(&bench, key(n), DAY);
    }
    bench.store.pin("best", &[key(1)]).unwrap();
    let Bench { folder, store } = bench;
    let root = store.root().to_owned();
    drop(store);
    let store = open(&root);
    wait_until_unused(&store);
    let unknown = store.gc(&at_most(0), false, || {
        Err(flow_cache::Error::BadName("x".into()))
    });
    assert!(unknown.is_err());
    let wanted = || Ok::<_, flow_cache::Error>(HashSet::from([key(1), key(2), key(9)]));
    for dry_run in [true, false] {
        let plan = store.gc(&at_most(0), dry_run, wanted).unwrap();
        assert_eq!(evicted(&plan), [key(3)]);
        assert_eq!((plan.pinned, plan.wanted, plan.kept), (1, 1, 20));
    }
    verifies_clean(&store);
    drop(folder);
}

#[test]
fn a_damaged_pin_stops_it() {
    let mut bench = bench();
    put(&bench.store, key(1), b"content", 1.0);
    bench.store.pin("best", &[key(1)]).unwrap();
    assert_eq!(bench.store.pins().unwrap()["best"], [key(1)]);
    fs::write(bench.store.root().join("pins/best.json"), "").unwrap();
    bench.reopen();
    let why = gc(&bench.store, &at_most(0), false)
        .unwrap_err()
        .to_string();
    assert!(why.contains("pin `best` again"), "{why}");
    assert!(is_hit(&bench.store, key(1)));
    assert!(bench.store.unpin("best").unwrap());
    assert!(!bench.store.unpin("best").unwrap());
    for name in ["", ".hidden", "../up", "a/b", "nul\0"] {
        assert!(bench.store.pin(name, &[]).is_err(), "{name:?}");
    }
}

#[test]
fn an_empty_or_absent_store_has_nothing_to_free() {
    let bench = bench();
    assert_eq!(
        gc(&bench.store, &at_most(0), false).unwrap(),
        Plan::default()
    );
    assert_eq!(bench.store.verify(true).unwrap().blobs, 0);
    assert_eq!(bench.store.stats().unwrap().records, 0);
    assert!(!bench.store.root().exists());
    assert_eq!(bench.store.lookup(&key(1)).unwrap(), Lookup::Miss);
}
