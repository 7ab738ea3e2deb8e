//! Digests of files and folders outside the store.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use flow_cache::{Digest, Error};

use crate::helpers::*;

#[test]
fn links_are_followed_and_cycles_refused() {
    let bench = bench();
    let (real, alias) = (bench.path("real"), bench.path("alias"));
    fs::create_dir_all(real.join("sub")).unwrap();
    fs::write(real.join("sub/x"), "x").unwrap();
    fs::create_dir(&alias).unwrap();
    symlink(real.join("sub"), alias.join("sub")).unwrap();
    assert_eq!(
        bench.store.digest_path(&real).unwrap(),
        bench.store.digest_path(&alias).unwrap()
    );
    symlink(real.join("sub/x"), bench.path("x")).unwrap();
    assert_eq!(
        bench.store.digest_path(&bench.path("x")).unwrap(),
        Digest::of_bytes(b"x")
    );

    // The same folder twice, side by side, is no cycle.
    symlink(real.join("sub"), real.join("twin")).unwrap();
    bench.store.digest_path(&real).unwrap();
    symlink(&real, real.join("sub/up")).unwrap();
    let why = bench.store.digest_path(&real).unwrap_err().to_string();
    assert!(why.contains("leads back to a folder above it"), "{why}");
}

#[test]
fn special_missing_and_dangling_are_refused_in_a_sentence() {
    let bench = bench();
    let folder = bench.path("folder");
    fs::create_dir(&folder).unwrap();
    let refuse = |name: &str| match bench.store.digest_path(&bench.path(name)) {
        Err(e @ Error::BadInput { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(
        refuse("nothing").contains("No such file"),
        "{}",
        refuse("nothing")
    );
    assert!(
        Command::new("mkfifo")
            .arg(folder.join("pipe"))
            .status()
            .unwrap()
            .success()
    );
    assert!(refuse("folder").contains("special file"));
    assert!(refuse("folder/pipe").contains("special file"));
    fs::remove_file(folder.join("pipe")).unwrap();
    symlink("nowhere", folder.join("link")).unwrap();
    assert!(refuse("folder").contains("can't be followed"));
}

#[test]
fn a_folder_is_its_names_and_contents() {
    let bench = bench();
    let digest = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir_in(bench.folder.path()).unwrap();
        for (name, content) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), content).unwrap();
        }
        bench.store.digest_path(folder.path()).unwrap()
    };
    let base = digest(&[("a", "1"), ("b", "2")]);
    assert_eq!(base, digest(&[("b", "2"), ("a", "1")]));
    for other in [
        digest(&[]),
        digest(&[("a", "2"), ("b", "1")]),
        digest(&[("a", "1"), ("c", "2")]),
        digest(&[("a", "1"), ("b", "2"), ("c", "")]),
        digest(&[("a", "1"), ("d/b", "2")]),
    ] {
        assert_ne!(base, other);
    }
}
