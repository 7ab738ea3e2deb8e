//! Into the store and out of it again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use flow_cache::{Error, Key, Lookup, Output, Store};

use crate::helpers::*;

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_file_goes_in_and_comes_out() {
    let mut bench = bench();
    assert_eq!(bench.store.lookup(&key(1)).unwrap(), Lookup::Miss);
    assert!(!bench.store.root().exists(), "looking makes nothing");
    let record = put(&bench.store, key(1), b"content", 2.5);
    bench.reopen();
    assert_eq!(hit(&bench.store, key(1)), record);
    assert_eq!(record.key, key(1));
    assert_eq!(record.seconds, 2.5);
    assert_eq!(record.metrics["accuracy"], 0.5);
    assert_eq!(record.manifest["kind"], "test");
    record.finished.parse::<jiff::Timestamp>().unwrap();
    let output = &record.outputs["out"];
    let expected = Output {
        digest: flow_cache::Digest::of_bytes(b"content"),
        size: 7,
        folder: false,
        artifact: "test".into(),
        executable: false,
    };
    assert_eq!(*output, expected);
    assert_eq!(bench.store.read(output).unwrap(), b"content");
    assert!(
        !bench
            .store
            .root()
            .join("work")
            .join(key(1).to_string())
            .exists()
    );
    assert!(
        !bench
            .store
            .root()
            .join("locks")
            .join(key(1).to_string())
            .exists()
    );
    assert_eq!(
        fs::read_dir(bench.store.root().join("tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_is_materialised_is_read_only_and_what_is_exported_is_not_linked() {
    let bench = bench();
    let output = &put(&bench.store, key(1), b"content", 1.0).outputs["out"];
    let (input, copy) = (bench.path("input"), bench.path("copy"));
    bench.store.materialise(output, &input).unwrap();
    bench.store.export(output, &copy).unwrap();
    for path in [&input, &copy] {
        assert_eq!(fs::read(path).unwrap(), b"content");
        assert!(matches!(
            bench.store.materialise(output, path),
            Err(Error::Exists(_))
        ));
        assert!(matches!(
            bench.store.export(output, path),
            Err(Error::Exists(_))
        ));
    }
    assert_eq!(fs::metadata(&input).unwrap().mode() & 0o777, 0o444);
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o200, 0o200);
    assert_eq!(fs::metadata(&copy).unwrap().nlink(), 1);
    fs::write(&copy, "mine").unwrap();
    assert_eq!(bench.store.read(output).unwrap(), b"content");
}

#[test]
fn a_folder_goes_in_and_comes_out() {
    let bench = bench();
    let record = put_folder(&bench.store, key(1));
    let output = &record.outputs["out"];
    assert!(output.folder);
    assert_eq!(output.size, 2);
    assert_eq!(hit(&bench.store, key(1)), record);
    for (name, writable) in [("input", false), ("copy", true)] {
        let to = bench.path(name);
        if writable {
            bench.store.export(output, &to).unwrap();
        } else {
            bench.store.materialise(output, &to).unwrap();
        }
        assert_eq!(fs::read(to.join("a.txt")).unwrap(), b"a");
        assert_eq!(fs::read(to.join("deep/ü b.txt")).unwrap(), b"b");
        assert_eq!(fs::read(to.join("void")).unwrap(), b"");
        assert!(to.join("deep/empty").is_dir());
        assert_eq!(
            fs::metadata(to.join("a.txt")).unwrap().mode() & 0o200 != 0,
            writable
        );
        assert_eq!(
            bench.store.digest_path(&to).unwrap(),
            output.digest,
            "an input like it has the same digest"
        );
        fs::remove_dir_all(&to).unwrap();
    }
    assert!(bench.store.read(output).is_err());
}

#[test]
fn a_folder_and_a_file_of_its_listing_differ() {
    let bench = bench();
    let record = put_folder(&bench.store, key(1));
    let listing = bench.blob(&record.outputs["out"].digest);
    let file = bench.path("file");
    fs::copy(listing, &file).unwrap();
    assert_ne!(
        bench.store.digest_path(&file).unwrap(),
        record.outputs["out"].digest
    );
}

#[test]
fn refuses_outputs_that_are_not_plain_files_in_the_work_folder() {
    let bench = bench();
    let elsewhere = bench.path("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    let try_with = |make: &dyn Fn(&std::path::Path), name: &str| {
        let lease = lease(&bench.store, key(1));
        lease.clear_work().unwrap();
        make(lease.work());
        let draft = draft(&lease, &[name]);
        refusal(lease.commit(draft))
    };
    let fifo = |path: &std::path::Path| {
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    };
    assert!(try_with(&|_| {}, "out").contains("`out` can't be stored"));
    assert!(try_with(&|_| {}, "out").contains("is not there"));
    assert!(
        try_with(
            &|work| symlink(&elsewhere, work.join("out")).unwrap(),
            "out"
        )
        .contains("symbolic link")
    );
    assert!(
        try_with(&|work| symlink("nowhere", work.join("out")).unwrap(), "out")
            .contains("symbolic link")
    );
    let up = "../../../elsewhere";
    assert!(try_with(&|_| {}, up).contains("outside the work folder"));
    assert!(try_with(&|_| {}, "..").contains("outside the work folder"));
    assert!(try_with(&|work| fifo(&work.join("out")), "out").contains("special file"));
    let linked = |work: &std::path::Path| {
        fs::create_dir(work.join("out")).unwrap();
        symlink(&elsewhere, work.join("out/link")).unwrap();
    };
    assert!(try_with(&linked, "out").contains("symbolic link"));
    let piped = |work: &std::path::Path| {
        fs::create_dir(work.join("out")).unwrap();
        fifo(&work.join("out/pipe"));
    };
    assert!(try_with(&piped, "out").contains("special file"));
    let through =
        |work: &std::path::Path| symlink(elsewhere.parent().unwrap(), work.join("sub")).unwrap();
    assert!(try_with(&through, "sub/elsewhere").contains("outside the work folder"));
    assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    assert_eq!(bench.store.lookup(&key(1)).unwrap(), Lookup::Miss);
    verifies_clean(&bench.store);
    // The key is free, and the next attempt can do it right.
    put(&bench.store, key(1), b"right", 1.0);
}

#[test]
fn an_output_with_a_second_name_is_copied() {
    let bench = bench();
    let other = bench.path("other");
    fs::write(&other, "content").unwrap();
    let lease = lease(&bench.store, key(1));
    fs::hard_link(&other, lease.work().join("out")).unwrap();
    let draft = draft(&lease, &["out"]);
    let record = lease.commit(draft).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&other, "changed").unwrap();
    assert_eq!(
        bench.store.read(&record.outputs["out"]).unwrap(),
        b"content"
    );
    assert!(is_hit(&bench.store, key(1)));
}

/// A stage that passes an input on, as the same file.
#[test]
fn a_materialised_input_can_be_an_output() {
    let bench = bench();
    let first = put(&bench.store, key(1), b"content", 1.0);
    let lease = lease(&bench.store, key(2));
    bench
        .store
        .materialise(&first.outputs["out"], &lease.work().join("out"))
        .unwrap();
    let draft = draft(&lease, &["out"]);
    let second = lease.commit(draft).unwrap();
    assert_eq!(first.outputs, second.outputs);
    assert!(is_hit(&bench.store, key(1)) && is_hit(&bench.store, key(2)));
    verifies_clean(&bench.store);
}

#[test]
fn two_outputs_may_have_one_content() {
    let bench = bench();
    let lease = lease(&bench.store, key(1));
    fs::write(lease.work().join("a"), "same").unwrap();
    fs::write(lease.work().join("b"), "same").unwrap();
    let draft = draft(&lease, &["a", "b"]);
    let record = lease.commit(draft).unwrap();
    assert_eq!(record.outputs["a"].digest, record.outputs["b"].digest);
    assert!(is_hit(&bench.store, key(1)));
    assert_eq!(bench.store.stats().unwrap().blobs, 1);
}

#[test]
fn the_work_folder_outlives_an_attempt_that_ended_early() {
    let bench = bench();
    let lease1 = lease(&bench.store, key(1));
    fs::write(lease1.work().join("checkpoint"), "epoch 3").unwrap();
    drop(lease1);
    let lease2 = lease(&bench.store, key(1));
    assert_eq!(
        fs::read(lease2.work().join("checkpoint")).unwrap(),
        b"epoch 3"
    );
    lease2.clear_work().unwrap();
    assert_eq!(fs::read_dir(lease2.work()).unwrap().count(), 0);
    fs::write(lease2.work().join("checkpoint"), "epoch 4").unwrap();
    lease2.abandon(true);
    let lease3 = lease(&bench.store, key(1));
    assert!(lease3.work().join("checkpoint").exists());
    let work = lease3.work().to_owned();
    // Folders that a program made read-only are no obstacle.
    fs::create_dir(work.join("closed")).unwrap();
    fs::write(work.join("closed/file"), "").unwrap();
    fs::set_permissions(work.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    lease3.abandon(false);
    assert!(!work.exists());
}

#[test]
fn a_fresh_computation_replaces_the_record() {
    let bench = bench();
    put(&bench.store, key(1), b"old", 1.0);
    let flow_cache::Acquired::Lease(lease) =
        bench.store.acquire(&key(1), true, &mut at_once).unwrap()
    else {
        panic!("not fresh")
    };
    assert!(
        is_hit(&bench.store, key(1)),
        "the old one stays until the commit"
    );
    fs::write(lease.work().join("out"), "new").unwrap();
    let draft = draft(&lease, &["out"]);
    lease.commit(draft).unwrap();
    assert_eq!(
        bench
            .store
            .read(&hit(&bench.store, key(1)).outputs["out"])
            .unwrap(),
        b"new"
    );
}

#[test]
fn refuses_what_is_not_a_store() {
    let bench = bench();
    let refuse =
        |root: &std::path::Path| refusal(Store::open(root).map(|store| store.root().to_owned()));
    let file = bench.path("file");
    fs::write(&file, "").unwrap();
    assert!(refuse(&file).contains("it is a file"), "{}", refuse(&file));
    let home = bench.path("home");
    fs::create_dir(&home).unwrap();
    Store::open(&home).unwrap();
    fs::write(home.join("thesis.tex"), "").unwrap();
    assert!(refuse(&home).contains("`thesis.tex`"));
    put(&bench.store, key(1), b"", 1.0);
    let format = bench.store.root().join("format");
    fs::write(&format, "flow-cache 2\n").unwrap();
    assert!(refuse(bench.store.root()).contains("a store of format flow-cache 2"));
    for damaged in ["", "flow-cache 1", "flow-cacha 1\n"] {
        fs::write(&format, damaged).unwrap();
        assert!(
            refuse(bench.store.root()).contains("`format` file is damaged"),
            "{damaged:?}"
        );
    }
    fs::remove_file(&format).unwrap();
    Store::open(bench.store.root()).unwrap();
}

#[test]
fn records_are_listed_by_key_past_damaged_ones() {
    let bench = bench();
    let mut keys: Vec<Key> = (0..20).map(key).collect();
    for (n, key) in keys.iter().enumerate() {
        put(&bench.store, *key, n.to_string().as_bytes(), 1.5);
    }
    keys.sort();
    let hex = keys[3].to_string();
    fs::write(
        bench
            .store
            .root()
            .join("actions")
            .join(&hex[..2])
            .join(hex + ".json"),
        "{",
    )
    .unwrap();
    fs::write(bench.store.root().join("actions/stray"), "").unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = bench.store.records().unwrap().partition(Result::is_ok);
    assert_eq!(bad.len(), 2);
    let found: Vec<Key> = good.into_iter().map(|record| record.unwrap().key).collect();
    keys.remove(3);
    assert_eq!(found, keys);
    let stats = bench.store.stats().unwrap();
    assert_eq!((stats.records, stats.damaged, stats.seconds), (19, 2, 28.5));
    assert_eq!((stats.blobs, stats.bytes), (20, 30));
}

#[test]
fn an_output_is_pointed_at_without_a_copy() {
    let bench = bench();
    let file = put(&bench.store, key(1), b"content", 1.0).outputs["out"].clone();
    bench.store.point(&file, &bench.path("file")).unwrap();
    assert_eq!(
        fs::read_link(bench.path("file")).unwrap(),
        bench.blob(&file.digest)
    );
    let folder = put_folder(&bench.store, key(2)).outputs["out"].clone();
    let place = bench.path("folder");
    bench.store.point(&folder, &place).unwrap();
    assert_eq!(bench.store.digest_path(&place).unwrap(), folder.digest);
    let again = refusal(bench.store.point(&folder, &place));
    assert!(again.contains("exists already"), "{again}");
}

#[test]
fn a_wave_is_answered_in_its_order() {
    let bench = bench();
    let made: Vec<_> = (0..100)
        .step_by(3)
        .map(|n| put(&bench.store, key(n), &n.to_le_bytes(), 1.0))
        .collect();
    let damaged = bench.blob(&made[4].outputs["out"].digest);
    fs::remove_file(damaged).unwrap();
    for wave in [0..100, 7..20] {
        let keys: Vec<Key> = wave.clone().map(key).collect();
        let answers = bench.store.lookup_many(&keys);
        assert_eq!(answers.len(), keys.len());
        for (n, answer) in wave.zip(answers) {
            match answer.unwrap() {
                Lookup::Miss => assert_ne!(n % 3, 0, "{n}"),
                Lookup::Damaged(_) => assert_eq!(n, 12),
                Lookup::Hit(record) => assert_eq!(record.key, key(n)),
            }
        }
    }
}
