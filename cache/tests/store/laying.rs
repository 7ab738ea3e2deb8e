//! What a stage gets of the store, and what it can do to it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use flow_cache::{Bound, Budget, Digest, Error, Lay, Lookup, Own, Record, Snapshot};

use crate::helpers::*;

const SMALL: Lay = Lay {
    copy_below: 1 << 20,
    writable: false,
    mount: false,
};

/// Nothing is small: all of it is shared.
const SHARED: Lay = Lay {
    copy_below: 0,
    ..SMALL
};

const BOUND: Bound = Bound {
    file: 8 << 20,
    folder: 64 << 20,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn own(root: &Path) -> Own<'_> {
    Own {
        root,
        leave_out: &|path, _| path.ends_with(".pyc"),
    }
}

/// Computes a key: a folder with a program and a text, and the program as an output of its own.
fn put_program(bench: &Bench, mode: u32) -> Record {
    let lease = lease(&bench.store, key(mode.into()));
    let folder = lease.work().join("folder");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::write(folder.join("text"), "text").unwrap();
    for path in [folder.join("bin/tool"), lease.work().join("tool")] {
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let draft = draft(&lease, &["folder", "tool"]);
    lease.commit(draft).unwrap()
}

#[test]
fn execute_bits_are_kept_and_only_where_set() {
    let bench = bench();
    let (plain, program) = (put_program(&bench, 0o644), put_program(&bench, 0o744));
    for lay in [SMALL, SHARED] {
        let to = bench.path("laid");
        fs::create_dir(&to).unwrap();
        for role in ["folder", "tool"] {
            let output = &program.outputs[role];
            bench.store.lay_out(output, &to.join(role), lay).unwrap();
        }
        assert_eq!(mode(&to.join("tool")), 0o555);
        assert_eq!(mode(&to.join("folder/bin/tool")), 0o555);
        assert_eq!(mode(&to.join("folder/text")), 0o444);
        fs::remove_dir_all(&to).unwrap();
    }
    for role in ["folder", "tool"] {
        let to = bench.path(role);
        bench.store.export(&program.outputs[role], &to).unwrap();
    }
    assert_eq!(mode(&bench.path("tool")), 0o755);
    assert_eq!(mode(&bench.path("folder/bin/tool")), 0o755);
    assert_eq!(mode(&bench.path("folder/text")) & 0o111, 0);

    let (tool, other) = (&program.outputs["tool"], &plain.outputs["tool"]);
    assert_eq!(tool.digest, other.digest, "the blob is one");
    assert_eq!(mode(&bench.blob(&tool.digest)), 0o444);
    assert_ne!(tool.identity(), other.identity());
    assert_eq!(other.identity(), other.digest);
    assert_ne!(
        program.outputs["folder"].digest,
        plain.outputs["folder"].digest
    );
    let json = serde_json::to_string(other).unwrap();
    assert!(!json.contains("executable"), "{json}");
    // The listing of a folder without programs is what it always was.
    let text = fs::read_to_string(bench.blob(&plain.outputs["folder"].digest)).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.ends_with(",10]"), "{line}");
}

#[test]
fn a_user_s_program_counts_as_one_only_where_it_is_asked_for() {
    let bench = bench();
    let path = bench.path("tool");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let root = bench.folder.path();
    let before = bench.store.digest_path(&path).unwrap();
    assert_eq!(
        bench
            .store
            .digest_own(&path, &own(root))
            .unwrap()
            .identity(),
        before
    );
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(bench.store.digest_path(&path).unwrap(), before);
    let program = bench.store.digest_own(&path, &own(root)).unwrap();
    assert_eq!(program.digest, before);
    assert_ne!(program.identity(), before);
    let taken = bench.store.take_in(&[(&path, own(root))], BOUND).unwrap();
    assert_eq!(taken, [Some(program)]);
}

#[test]
fn all_that_is_laid_out_has_one_time() {
    let bench = bench();
    let record = put_folder(&bench.store, key(1));
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
    for (name, lay) in [
        ("copied", SMALL),
        ("shared", SHARED),
        (
            "writable",
            Lay {
                writable: true,
                ..SMALL
            },
        ),
    ] {
        let to = bench.path(name);
        bench
            .store
            .lay_out(&record.outputs["out"], &to, lay)
            .unwrap();
        for below in ["", "a.txt", "deep", "deep/empty", "deep/ü b.txt", "void"] {
            let time = fs::metadata(to.join(below)).unwrap().modified().unwrap();
            assert_eq!(time, then, "{name}: {below}");
        }
        assert_eq!(mode(&to.join("a.txt")) & 0o200 != 0, name == "writable");
    }
}

#[test]
fn the_mark_of_earlier_versions_is_still_one() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    let blob = bench.blob(&record.outputs["out"].digest);
    let file = File::open(&blob).unwrap();
    let former = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_modified(former).unwrap();
    assert!(is_hit(&bench.store, key(1)));
    let kept = fs::metadata(&blob).unwrap().modified().unwrap();
    assert_eq!(kept, former, "it was not hashed, which would seal it anew");
}

#[test]
fn what_is_small_is_a_copy_and_what_is_large_is_shared_or_mounted() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"content", 1.0);
    let output = &record.outputs["out"];
    let blob = fs::metadata(bench.blob(&output.digest)).unwrap();
    let copied = bench.path("copied");
    assert_eq!(bench.store.lay_out(output, &copied, SMALL).unwrap(), []);
    assert_ne!(fs::metadata(&copied).unwrap().ino(), blob.ino());
    assert_eq!(fs::read(&copied).unwrap(), b"content");

    let mounted = bench.path("mounted");
    let lay = Lay {
        mount: true,
        ..SHARED
    };
    let shared = bench.store.lay_out(output, &mounted, lay).unwrap();
    assert_eq!(shared[0].path, mounted);
    assert_eq!(
        shared[0].mount.as_deref(),
        Some(&*bench.blob(&output.digest))
    );
    assert_eq!(fs::metadata(&mounted).unwrap().len(), 0);
    let again = fs::metadata(bench.blob(&output.digest)).unwrap();
    assert_eq!((again.ctime(), again.nlink()), (blob.ctime(), 1));
}

/// As root, `cp -p ${inputs.a} ${inputs.b}` does this.
#[test]
fn nothing_is_written_through_unseen() {
    let bench = bench();
    let record = put(&bench.store, key(1), b"BBBB", 1.0);
    let output = &record.outputs["out"];
    let to = bench.path("b");
    let shared = bench.store.lay_out(output, &to, SHARED).unwrap();
    let Some(shared) = shared.first() else {
        // A file system with clones shares nothing.
        assert_eq!(fs::metadata(&to).unwrap().nlink(), 1);
        return;
    };
    bench.store.check_shared(shared).unwrap();
    // Another reader comes and goes: the time of the last change moves, the content does not.
    let other = bench.path("other");
    bench.store.lay_out(output, &other, SHARED).unwrap();
    fs::remove_file(&other).unwrap();
    bench.store.check_shared(shared).unwrap();
    assert!(is_hit(&bench.store, key(1)));

    let blob = bench.blob(&output.digest);
    let time = fs::metadata(&to).unwrap().modified().unwrap();
    fs::set_permissions(&to, Permissions::from_mode(0o644)).unwrap();
    fs::write(&to, "AAAA").unwrap();
    File::open(&to).unwrap().set_modified(time).unwrap();
    fs::set_permissions(&to, Permissions::from_mode(0o444)).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), b"AAAA");
    let told = bench.store.check_shared(shared).unwrap_err();
    assert!(matches!(told, Error::Damaged { .. }), "{told}");
    assert!(!blob.exists());
    assert!(matches!(
        bench.store.lookup(&key(1)).unwrap(),
        Lookup::Damaged(_)
    ));
    put(&bench.store, key(1), b"BBBB", 1.0);
    assert!(is_hit(&bench.store, key(1)));
}

#[test]
fn links_lead_into_the_folder_or_to_a_file_below_the_root() {
    let bench = bench();
    let root = bench.path("root");
    let folder = root.join("folder");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::create_dir_all(root.join("elsewhere")).unwrap();
    fs::write(folder.join("sub/x"), "x").unwrap();
    fs::write(folder.join("sub/x.pyc"), "left out").unwrap();
    fs::write(root.join("elsewhere/y"), "y").unwrap();
    fs::write(bench.path("stranger"), "secret").unwrap();
    symlink("sub", folder.join("inside")).unwrap();
    symlink("../elsewhere/y", folder.join("beside")).unwrap();
    let take = || {
        let taken = bench.store.take_in(&[(&folder, own(&root))], BOUND);
        let digested = bench.store.digest_own(&folder, &own(&root));
        taken.map(|mut taken| {
            let output = taken.remove(0).unwrap();
            assert_eq!(output, digested.unwrap());
            output
        })
    };
    let files = bench.store.files(&take().unwrap()).unwrap();
    let names: Vec<_> = files.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["beside", "inside/x", "sub/x"]);

    for (target, why) in [
        ("../../stranger", "which is outside"),
        ("../elsewhere", "a folder outside this input"),
        ("nowhere", "can't be followed"),
        ("sub/../..", "a folder outside this input"),
    ] {
        let link = folder.join("link");
        symlink(target, &link).unwrap();
        let told = take().unwrap_err().to_string();
        assert!(told.contains(why) && told.contains("/link"), "{told}");
        fs::remove_file(link).unwrap();
    }
    take().unwrap();
}

#[test]
fn what_a_run_took_in_stays_as_long_as_the_run() {
    let mut bench = bench();
    let path = bench.path("code.py");
    fs::write(&path, "1").unwrap();
    let root = bench.folder.path().to_owned();
    let taken = bench.store.take_in(&[(&path, own(&root))], BOUND).unwrap();
    let output = taken[0].clone().unwrap();
    assert_eq!(output.digest, Digest::of_bytes(b"1"));
    let gc = |store: &flow_cache::Store| gc(store, &Budget::default(), false).unwrap();
    gc(&bench.store);
    assert_eq!(bench.store.read(&output).unwrap(), b"1", "it is live");
    let snapshot = Snapshot::from([("code.py".to_owned(), output.clone())]);
    bench.store.keep_snapshot("run", &snapshot).unwrap();
    bench.reopen();
    wait_until_unused(&bench.store);
    gc(&bench.store);
    assert_eq!(bench.store.snapshot("run"), Some(snapshot));
    assert_eq!(bench.store.read(&output).unwrap(), b"1");
    verifies_clean(&bench.store);
    bench.reopen();
    wait_until_unused(&bench.store);
    fs::remove_dir_all(bench.store.run_folder("run")).unwrap();
    gc(&bench.store);
    assert!(!bench.blob(&output.digest).exists());
}

#[test]
fn what_is_too_large_is_not_taken_in() {
    let bench = bench();
    let path = bench.path("folder");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), "1234").unwrap();
    fs::write(path.join("b"), "1234").unwrap();
    let bound = |file, folder| Bound { file, folder };
    let root = bench.folder.path();
    let take = |path: &Path, bound| {
        let taken = bench.store.take_in(&[(path, own(root))], bound).unwrap();
        taken[0].is_some()
    };
    assert!(take(&path, bound(0, 8)));
    assert!(!take(&path, bound(8, 7)));
    assert!(take(&path.join("a"), bound(4, 0)));
    assert!(!take(&path.join("a"), bound(3, 9)));
}
