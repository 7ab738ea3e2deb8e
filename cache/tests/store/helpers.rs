//! Few verbs to put things into a store and to look at it.

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::time::{Duration, Instant};

use flow_cache::{
    Acquired, Budget, Digest, Draft, DraftOutput, Error, Holder, Key, Lease, Lookup, Plan, Record,
    Store,
};
use serde_json::json;

/// A store in a temporary folder, and room beside it.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub store: Store,
}

pub fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    Bench { folder, store }
}

impl Bench {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store as another process would open it; what this one remembers and holds is dropped.
    pub fn reopen(&mut self) {
        self.store = open(self.store.root());
    }

    /// Where the format says that this blob lies.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.store.root().join("blobs").join(&name[..2]).join(name)
    }

    /// Every file in the store that has a meaning: all but scratch and locks.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for name in ["format", "memo", "actions", "blobs", "pins"] {
            collect(&self.store.root().join(name), &mut files);
        }
        files.sort();
        files
    }
}

pub fn open(root: &Path) -> Store {
    Store::open(root).unwrap()
}

/// A gc for which nothing stays but what is pinned or in use.
pub fn gc(store: &Store, budget: &Budget, dry_run: bool) -> Result<Plan, Error> {
    store.gc(budget, dry_run, || Ok(HashSet::new()))
}

pub fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.exists() {
        files.push(path.to_owned());
    }
}

pub fn key(n: u64) -> Key {
    Key(Digest::of_bytes(&n.to_le_bytes()))
}

/// Fails where one has to wait.
pub fn at_once(holder: &Holder) -> ControlFlow<()> {
    panic!("waits for {holder}")
}

pub fn lease(store: &Store, key: Key) -> Lease {
    match store.acquire(&key, false, &mut at_once).unwrap() {
        Acquired::Lease(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// A draft with these outputs, which are names in the work folder.
pub fn draft(lease: &Lease, names: &[&str]) -> Draft {
    let output = |name: &str| DraftOutput {
        path: lease.work().join(name),
        artifact: "test".to_owned(),
        known: Default::default(),
    };
    Draft {
        manifest: json!({ "kind": "test", "of": lease.key() }),
        outputs: names
            .iter()
            .map(|name| (name.to_string(), output(name)))
            .collect(),
        provenance: json!({ "host": "here" }),
        metrics: serde_json::from_value(json!({ "accuracy": 0.5 })).unwrap(),
        seconds: 1.0,
    }
}

/// Computes a key: one file, `out`, with this content, as if it had taken these seconds.
pub fn put(store: &Store, key: Key, content: &[u8], seconds: f64) -> Record {
    let lease = lease(store, key);
    fs::write(lease.work().join("out"), content).unwrap();
    let draft = Draft {
        seconds,
        ..draft(&lease, &["out"])
    };
    lease.commit(draft).unwrap()
}

/// Computes a key: one folder, `out`, of a few files.
pub fn put_folder(store: &Store, key: Key) -> Record {
    let lease = lease(store, key);
    let out = lease.work().join("out");
    fs::create_dir_all(out.join("deep/empty")).unwrap();
    fs::write(out.join("a.txt"), "a").unwrap();
    fs::write(out.join("deep/ü b.txt"), "b").unwrap();
    fs::write(out.join("void"), "").unwrap();
    let draft = draft(&lease, &["out"]);
    lease.commit(draft).unwrap()
}

pub fn hit(store: &Store, key: Key) -> Record {
    match store.lookup(&key).unwrap() {
        Lookup::Hit(record) => record,
        other => panic!("{other:?}"),
    }
}

pub fn is_hit(store: &Store, key: Key) -> bool {
    matches!(store.lookup(&key).unwrap(), Lookup::Hit(_))
}

/// The names of what `verify` finds wrong.
pub fn problems(store: &Store) -> Vec<PathBuf> {
    let found = store.verify(false).unwrap();
    found
        .problems
        .into_iter()
        .map(|problem| problem.path)
        .collect()
}

pub fn verifies_clean(store: &Store) {
    let found = store.verify(false).unwrap();
    assert!(found.problems.is_empty(), "{:#?}", found.problems);
}

/// Waits until no process has a slot. A slot that was dropped stays locked for a moment where another test's thread was
/// just starting a process: between its fork and its exec the child has the file open too.
pub fn wait_until_unused(store: &Store) {
    let start = Instant::now();
    while store.stats().unwrap().live > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "someone uses the store"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The ignored test `name` of this binary, to be run in a process of its own.
pub fn process(name: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        name,
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.envs(env.iter().copied()).stdout(Stdio::null());
    command
}

pub fn spawn(name: &str, env: &[(&str, &str)]) -> Child {
    process(name, env).spawn().unwrap()
}
