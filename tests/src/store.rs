//! A store, read by its public format (`docs/cache.md`) and not by flow's own code.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The path of a blob.
pub fn blob(store: &Path, digest: &str) -> PathBuf {
    store.join("blobs").join(&digest[..2]).join(digest)
}

/// The path of a record.
pub fn record(store: &Path, key: &str) -> PathBuf {
    store
        .join("actions")
        .join(&key[..2])
        .join(format!("{key}.json"))
}

/// What a record holds.
#[track_caller]
pub fn content(store: &Path, key: &str) -> Value {
    let text = fs::read(record(store, key)).unwrap();
    let mut record: Value = serde_json::from_slice(&text).unwrap();
    record["content"].take()
}

/// The keys of all records.
pub fn keys(store: &Path) -> Vec<String> {
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_string());
    files(&store.join("actions"))
        .into_iter()
        .filter_map(name)
        .collect()
}

/// The folders of all runs, the oldest first: names have whole seconds, and say nothing of two within one.
pub fn runs(store: &Path) -> Vec<PathBuf> {
    let began = |run: &PathBuf| {
        let head = fs::read_to_string(run.join("run.json")).unwrap();
        let head: Value = serde_json::from_str(&head).unwrap();
        head["started"].as_str().unwrap().to_string()
    };
    let entries = fs::read_dir(store.join("runs")).unwrap();
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    runs.sort_by_key(began);
    runs
}

/// Checks that every record and every blob is what its name and its digest say, and that no record lacks a blob.
#[track_caller]
pub fn assert_sound(store: &Path) {
    for path in files(&store.join("blobs")) {
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let file = blake3::hash(&bytes).to_hex();
        let folder = blake3::Hasher::new_derive_key("flow-cache 1 tree")
            .update(&bytes)
            .finalize()
            .to_hex();
        assert!(
            name == file.as_str() || name == folder.as_str(),
            "{} holds something else than its name says",
            path.display()
        );
    }
    for path in files(&store.join("actions")) {
        let text = fs::read_to_string(&path).unwrap();
        let content = text
            .split_once("\"content\":")
            .and_then(|(_, rest)| rest.trim_end().strip_suffix('}'))
            .unwrap_or_else(|| panic!("{} is no record", path.display()));
        let record: Value = serde_json::from_str(&text).unwrap();
        let digest = blake3::hash(content.as_bytes()).to_hex();
        assert_eq!(record["blake3"], digest.as_str(), "{}", path.display());
        for output in record["content"]["outputs"].as_object().unwrap().values() {
            let digest = output["digest"].as_str().unwrap();
            assert!(blob(store, digest).is_file(), "no blob {digest}");
        }
    }
}

/// All files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
