//! Every file of a store damaged in turn, in every way: never a wrong result, and `verify` names it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flow_cache::{Acquired, Error, Key, Lookup, Record, Store};

use crate::helpers::*;

/// Three records (a file, a folder, a file shared with it), a pin and a memo.
fn filled() -> (Bench, Vec<(Key, Record)>) {
    let bench = bench();
    let records = vec![
        (key(1), put(&bench.store, key(1), b"alone", 1.0)),
        (key(2), put_folder(&bench.store, key(2))),
        (key(3), put(&bench.store, key(3), b"a", 1.0)),
    ];
    bench.store.pin("best", &[key(1), key(2)]).unwrap();
    let input = bench.path("input");
    fs::write(&input, "input").unwrap();
    // Older than the racy limit, which the ctime would otherwise need two seconds to be.
    std::thread::sleep(std::time::Duration::from_millis(2050));
    bench.store.digest_path(&input).unwrap();
    bench.store.save_memo().unwrap();
    let names: Vec<_> = bench
        .files()
        .iter()
        .map(|f| f.strip_prefix(bench.store.root()).unwrap().to_owned())
        .collect();
    for kind in ["format", "memo", "actions", "blobs", "pins"] {
        assert!(
            names.iter().any(|name| name.starts_with(kind)),
            "no {kind} in {names:?}"
        );
    }
    (bench, records)
}

/// Writes as something that does not keep to the rules: over the read-only file, and the times set back.
fn overwrite(path: &Path, bytes: &[u8], hide: bool) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    if hide {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(before.modified().unwrap())
            .unwrap();
        fs::set_permissions(path, before.permissions()).unwrap();
    }
}

/// What lookup or read give is what was stored, or is said to be damaged.
fn never_wrong(store: &Store, records: &[(Key, Record)], hidden: bool) {
    for (key, record) in records {
        match store.lookup(key).unwrap() {
            Lookup::Hit(found) => {
                assert_eq!(found, *record);
                for output in found.outputs.values() {
                    let to = tempfile::tempdir().unwrap();
                    let exported = store.export(output, &to.path().join("out"));
                    assert!(
                        exported.is_ok() || hidden,
                        "a hit that can't be had: {exported:?}"
                    );
                    if exported.is_ok() {
                        assert_eq!(
                            store.digest_path(&to.path().join("out")).unwrap(),
                            output.digest
                        );
                    }
                }
            }
            Lookup::Damaged(why) => {
                assert!(why.contains("damaged") || why.contains("record"), "{why}")
            }
            Lookup::Miss => panic!("{key} is silently gone"),
        }
    }
}

/// From a file's bytes, and its number, to what is put there instead.
type Damage<'a> = dyn Fn(&[u8], usize) -> Option<Vec<u8>> + 'a;

/// Damages each file of the store in turn, and mends it again.
fn damage_each(records: &[(Key, Record)], bench: &Bench, hide: bool, damage: &Damage) {
    let root = bench.store.root();
    for (n, path) in bench.files().into_iter().enumerate() {
        let bytes = fs::read(&path).unwrap();
        let Some(damaged) = damage(&bytes, n) else {
            continue;
        };
        let before = fs::metadata(&path).unwrap();
        overwrite(&path, &damaged, hide);
        match Store::open(root) {
            Ok(store) => {
                let found = problems(&store);
                assert!(
                    found.contains(&path),
                    "{} is not among {found:?}",
                    path.display()
                );
                never_wrong(&store, records, hide);
            }
            Err(e) => assert!(path.ends_with("format"), "{e}"),
        }
        overwrite(&path, &bytes, false);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        fs::set_permissions(&path, before.permissions()).unwrap();
        verifies_clean(&open(root));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (bench, records) = filled();
    for round in 0..12usize {
        // Other places each round: first, last, and spread between.
        let flip = |bytes: &[u8], n: usize| {
            let mut bytes = bytes.to_vec();
            let length = bytes.len();
            let at = match round {
                0 => 0,
                1 => length.checked_sub(1)?,
                _ => (n * 7919 + round * 104_729) % length.max(1),
            };
            *bytes.get_mut(at)? ^= 1 << ((n + round) % 8);
            Some(bytes)
        };
        damage_each(&records, &bench, round.is_multiple_of(2), &flip);
    }
}

#[test]
fn torn_and_empty_files_are_found() {
    let (bench, records) = filled();
    damage_each(&records, &bench, false, &|bytes, _| {
        (!bytes.is_empty()).then(Vec::new)
    });
    damage_each(&records, &bench, false, &|bytes, _| {
        Some(bytes[..bytes.len().checked_sub(1)?].to_vec())
    });
    damage_each(&records, &bench, true, &|bytes, _| {
        (bytes.len() > 1).then(|| bytes[..bytes.len() / 2].to_vec())
    });
    damage_each(&records, &bench, false, &|bytes, _| {
        Some([bytes, b"\n"].concat())
    });
    damage_each(&records, &bench, false, &|bytes, _| {
        (bytes.len() > 3).then(|| vec![0; bytes.len()])
    });
}

#[test]
fn a_write_through_a_hard_link_is_caught_at_the_next_lookup() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    let input = bench.path("input");
    bench
        .store
        .materialise(&record.outputs["out"], &input)
        .unwrap();
    // Same length, and as someone who may do anything.
    overwrite(&input, b"tampers", false);
    let Lookup::Damaged(why) = bench.store.lookup(&key(1)).unwrap() else {
        panic!("served")
    };
    assert!(why.contains("was changed after it was stored"), "{why}");

    // The next computation mends it, though the damaged blob has the right name.
    let lease = lease(&bench.store, key(1));
    assert!(lease.damage().unwrap().contains("was changed"));
    fs::write(lease.work().join("out"), "content").unwrap();
    let draft = draft(&lease, &["out"]);
    lease.commit(draft).unwrap();
    assert_eq!(
        bench
            .store
            .read(&hit(&bench.store, key(1)).outputs["out"])
            .unwrap(),
        b"content"
    );
    verifies_clean(&bench.store);
}

/// A stage that scribbles on its input does so for those that share it: they get an error, not the scribble.
#[test]
fn what_was_changed_since_the_lookup_is_not_handed_on() {
    let bench = bench();
    let output = &put(&bench.store, key(1), b"content", 1.0).outputs["out"];
    let folder = &put_folder(&bench.store, key(2)).outputs["out"];
    bench
        .store
        .materialise(output, &bench.path("first"))
        .unwrap();
    bench
        .store
        .materialise(folder, &bench.path("first folder"))
        .unwrap();
    bench.store.check(output).unwrap();
    bench.store.check(folder).unwrap();
    overwrite(&bench.path("first"), b"tampers", false);
    overwrite(&bench.path("first folder/a.txt"), b"b", false);
    for (output, to) in [(output, "second"), (folder, "second folder")] {
        assert!(matches!(
            bench.store.check(output),
            Err(Error::Damaged { .. })
        ));
        assert!(matches!(
            bench.store.materialise(output, &bench.path(to)),
            Err(Error::Damaged { .. })
        ));
        assert!(!bench.path(to).exists());
    }
}

#[test]
fn bit_rot_is_found_on_first_use() {
    let bench = bench();
    let output = &put(&bench.store, key(1), b"content", 1.0).outputs["out"];
    let blob = bench.blob(&output.digest);
    let before = open(bench.store.root());
    before.materialise(output, &bench.path("before")).unwrap();
    overwrite(&blob, b"rotting", true);

    assert!(is_hit(&bench.store, key(1)), "a stat shows nothing");
    for (which, store) in [
        ("once a process", &before),
        ("made by this process", &bench.store),
        ("told to trust", &open(bench.store.root()).trusting()),
    ] {
        let to = bench.path(which);
        store.materialise(output, &to).unwrap();
        assert_eq!(fs::read(to).unwrap(), b"rotting", "{which}");
    }
    let pointed = open(bench.store.root()).point(output, &bench.path("pointed"));
    assert!(matches!(pointed, Err(Error::Damaged { .. })), "{pointed:?}");
    assert!(!bench.path("pointed").is_symlink());
    overwrite(&blob, b"rotting", true);
    let after = open(bench.store.root());
    let refused = after.materialise(output, &bench.path("after"));
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    assert!(!bench.path("after").exists());
    // Now a stat shows it, so that the key is computed again.
    let trusting = open(bench.store.root()).trusting();
    assert!(matches!(
        trusting.lookup(&key(1)).unwrap(),
        Lookup::Damaged(_)
    ));
    put(&trusting, key(1), b"content", 1.0);
    after.materialise(output, &bench.path("after")).unwrap();
}

#[test]
fn what_a_run_left_is_looked_after() {
    let bench = bench();
    put(&bench.store, key(1), b"content", 1.0);
    let folder = bench.store.run_folder("1");
    fs::create_dir_all(folder.join("logs")).unwrap();
    fs::write(folder.join("events.jsonl"), "{}\n").unwrap();
    fs::write(folder.join("logs/a.log"), "").unwrap();
    bench.store.seal_run("1").unwrap();
    // One that goes on.
    fs::create_dir(bench.store.run_folder("2")).unwrap();
    fs::write(bench.store.run_folder("2").join("events.jsonl"), "").unwrap();
    verifies_clean(&bench.store);

    fs::write(folder.join("events.jsonl"), "{]\n").unwrap();
    fs::write(folder.join("logs/a.log"), "x").unwrap();
    let damaged = [folder.join("events.jsonl"), folder.join("logs/a.log")];
    assert_eq!(problems(&bench.store), damaged);
    assert!(
        bench
            .store
            .verify(true)
            .unwrap()
            .problems
            .iter()
            .all(|p| p.fixed)
    );
    assert!(!damaged[0].exists() && !damaged[1].exists());
    verifies_clean(&bench.store);
    fs::write(folder.join("digests"), "").unwrap();
    assert_eq!(problems(&bench.store), [folder.join("digests")]);
    bench.store.verify(true).unwrap();
    verifies_clean(&bench.store);
    assert!(folder.join("digests").exists());
}

#[test]
fn a_store_copied_without_its_times_is_hashed_once() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    let blob = bench.blob(&record.outputs["out"].digest);
    overwrite(&blob, b"content", false);
    assert!(is_hit(&bench.store, key(1)));
    assert_eq!(
        fs::metadata(&blob).unwrap().permissions().mode() & 0o777,
        0o444,
        "sealed again"
    );
}

#[test]
fn a_missing_blob_is_said_aloud_and_made_again() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    fs::remove_file(bench.blob(&record.outputs["out"].digest)).unwrap();
    let Lookup::Damaged(why) = bench.store.lookup(&key(1)).unwrap() else {
        panic!("served")
    };
    assert!(why.contains("is missing"), "{why}");
    put(&bench.store, key(1), b"content", 1.0);
    assert!(is_hit(&bench.store, key(1)));
}

#[test]
fn fix_removes_what_is_damaged_and_what_names_it() {
    let (bench, records) = filled();
    for path in bench.files() {
        if !path.ends_with("format") && fs::metadata(&path).unwrap().len() > 0 {
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 4;
            overwrite(&path, &bytes, true);
        }
    }
    let store = open(bench.store.root());
    let found = store.verify(true).unwrap();
    assert!(
        found.problems.iter().all(|problem| problem.fixed),
        "{:?}",
        found.problems
    );
    verifies_clean(&store);
    for (key, _) in &records {
        assert_eq!(store.lookup(key).unwrap(), Lookup::Miss);
        let Acquired::Lease(lease) = store.acquire(key, false, &mut at_once).unwrap() else {
            panic!("a hit")
        };
        assert_eq!(lease.damage(), None);
    }
    assert_eq!(store.pins().unwrap().len(), 0);
}
