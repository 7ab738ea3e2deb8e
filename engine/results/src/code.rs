//! Code that differs between two sides: the texts of their workflows and the files of their programs, as unified diffs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use flow_cache::{Digest, Output, Own, Store};
use flow_plan::workflow::source::plain;
use flow_plan::workflow::{Sources, Workflow};
use flow_run::record::external::{Reader, leave_out};
use flow_run::record::inputs::{self, Given};
use flow_run::record::{Externals, PastRun};
use serde::Serialize;
use similar::TextDiff;

/// A larger file is not compared line by line, in bytes: nobody reads that, and it may take long.
const LARGE: u64 = 256 << 10;

/// The files of one side, by their paths from the workflow's root.
#[derive(Debug, Default)]
pub struct Code {
    /// The workflow file's.
    pub workflow: String,
    files: BTreeMap<String, File>,
}

/// A file of one side.
#[derive(Debug)]
struct File {
    digest: Digest,
    size: u64,
    at: At,
}

#[derive(Debug)]
enum At {
    Text(String),
    Stored(Output),
    /// Where it lies now.
    Disk(PathBuf),
    /// Nowhere any more.
    Gone,
}

/// A file that differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// Its digest in the first; none where that has no such file.
    pub a: Option<Digest>,
    /// In the second.
    pub b: Option<Digest>,
    /// The lines that differ; none where they can't be shown.
    pub diff: Option<String>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

impl Code {
    /// What a run read, as far as it noted that.
    pub fn of_run(run: &PastRun, store: &Store) -> Code {
        let root = run.head.root();
        let mut code = Code::of_workflow(&run.head.path, root);
        for (path, text) in run.texts().unwrap_or_default() {
            code.text(&path, root, text);
        }
        for given in inputs::of(run).unwrap_or_default() {
            code.given(&given, root, store, false);
        }
        code
    }

    /// What a workflow reads now.
    pub fn of_files(
        workflow: &Workflow,
        sources: &Sources,
        externals: &Externals,
        store: &Store,
    ) -> Code {
        let root = externals.root();
        let mut code = Code::of_workflow(&workflow.path, root);
        for (path, text) in inputs::texts(workflow, sources) {
            code.text(&plain(&path), root, text.into());
        }
        for given in externals.given(store) {
            code.given(&given, root, store, true);
        }
        code
    }

    fn of_workflow(path: &Path, root: &Path) -> Code {
        Code {
            workflow: inputs::from_root(path, root),
            files: BTreeMap::new(),
        }
    }

    fn text(&mut self, path: &Path, root: &Path, text: String) {
        let file = File {
            digest: Digest::of_bytes(text.as_bytes()),
            size: text.len() as u64,
            at: At::Text(text),
        };
        self.files.insert(inputs::from_root(path, root), file);
    }

    /// The files of a program; of kinds they are data.
    fn given(&mut self, given: &Given, root: &Path, store: &Store, is_now: bool) {
        if given.reader == Reader::Kind {
            return;
        }
        for place in given.found.iter().filter(|place| place.is_small()) {
            let Some(content) = &place.content else {
                continue;
            };
            let path = root.join(&place.path);
            for (name, digest, size, now) in files(given, content, &path, root, store, is_now) {
                let stored = Output {
                    digest,
                    size,
                    folder: false,
                    artifact: "file".into(),
                    executable: false,
                };
                let at = match now {
                    Some(path) => At::Disk(path),
                    None if content.folder && name.is_empty() => At::Gone,
                    None => At::Stored(stored),
                };
                let path = match name.is_empty() {
                    true => place.path.clone(),
                    false => format!("{}/{name}", place.path.trim_end_matches('/')),
                };
                self.files.insert(path, File { digest, size, at });
            }
        }
    }

    /// What differs.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn changed(
        (a, left): (&Code, &Store),
        (b, right): (&Code, &Store),
    ) -> Result<Vec<Changed>> {
        // Two workflow files are one thing, however they are called.
        let in_b = |name: &str| match name == a.workflow {
            true => b.files.get(&b.workflow),
            false => b.files.get(name).filter(|_| name != b.workflow),
        };
        let others = b.files.keys().filter(|name| **name != b.workflow);
        let names: BTreeSet<&String> = a.files.keys().chain(others).collect();
        let mut changed = Vec::new();
        for name in names {
            let (then, now) = (a.files.get(name), in_b(name));
            let digest = |file: Option<&File>| file.map(|file| file.digest);
            if digest(then) == digest(now) {
                continue;
            }
            let texts = (text(then, left), text(now, right));
            let (diff, why) = match texts {
                (Ok(then), Ok(now)) => (Some(diff(name, then.as_deref(), now.as_deref())), None),
                (Err(why), _) | (_, Err(why)) => (None, Some(why)),
            };
            changed.push(Changed {
                path: name.clone(),
                a: digest(then),
                b: digest(now),
                diff,
                why,
            });
        }
        Ok(changed)
    }
}

/// Name, digest and size of each file of a content, and where it lies, if that counts; a file itself has no name, and so has a folder
/// whose files nobody knows any more.
fn files(
    given: &Given,
    content: &Output,
    path: &Path,
    root: &Path,
    store: &Store,
    is_now: bool,
) -> Vec<(String, Digest, u64, Option<PathBuf>)> {
    let now = is_now.then(|| path.to_path_buf());
    if !content.folder {
        return vec![(String::new(), content.digest, content.size, now)];
    }
    if !is_now {
        let unknown = || vec![(String::new(), content.digest, content.size, None)];
        let found = store.files(content).map(|files| {
            let files = files.into_iter();
            files
                .map(|(name, digest, size)| (name, digest, size, None))
                .collect()
        });
        return found.unwrap_or_else(|_| unknown());
    }
    let leave_out = leave_out(&given.files);
    let own = Own {
        root,
        leave_out: &leave_out,
    };
    let found = store
        .own_files(path, &own)
        .map_or(Vec::new(), |own| own.files);
    let found = found.into_iter().filter_map(|(name, path)| {
        let path = path?;
        let size = fs::metadata(&path).ok()?.len();
        Some((name, store.digest_path(&path).ok()?, size, Some(path)))
    });
    found.collect()
}

/// The text of a file, none where there is none; or why it can't be compared line by line.
fn text(file: Option<&File>, store: &Store) -> Result<Option<String>, &'static str> {
    let Some(file) = file else {
        return Ok(None);
    };
    if file.size > LARGE {
        return Err("too large to be compared line by line");
    }
    let bytes = match &file.at {
        At::Text(text) => return Ok(Some(text.clone())),
        At::Stored(output) => store.read(output).ok(),
        At::Disk(path) => fs::read(path).ok(),
        At::Gone => None,
    };
    let bytes = bytes.ok_or("no longer in the store")?;
    let is_binary = bytes.contains(&0);
    let text = String::from_utf8(bytes).ok().filter(|_| !is_binary);
    text.map(Some).ok_or("not text")
}

fn diff(name: &str, then: Option<&str>, now: Option<&str>) -> String {
    let side = |side: &str, text: Option<&str>| match text {
        Some(_) => format!("{side}/{name}"),
        None => "/dev/null".into(),
    };
    let (a, b) = (side("A", then), side("B", now));
    let diff = TextDiff::from_lines(then.unwrap_or_default(), now.unwrap_or_default());
    diff.unified_diff()
        .context_radius(3)
        .header(&a, &b)
        .to_string()
}
