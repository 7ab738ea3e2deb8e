//! Which of the user's files a run read, and what they were: `inputs.json` in its folder. What is small of them is in the store, by
//! the run's snapshot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Digest, Output, Own, Snapshot, Store};
use flow_plan::plan::Files;
use flow_plan::workflow::{Sources, Workflow};
use serde::{Deserialize, Serialize};

use super::PastRun;
use super::external::{External, Externals, Reader};

/// The file in a run's folder.
pub const FILE: &str = "inputs.json";

/// What one input named, and what was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// What is named.
    pub files: Files,
    /// Who read it.
    pub reader: Reader,
    /// Of all of it, as it stands in keys.
    pub digest: Digest,
    /// What was found there.
    pub found: Vec<Place>,
}

/// A file or folder of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it was: relative to the workflow's root, or absolute where it lies outside.
    pub path: String,
    /// What it was; none of what a kind reads and is not small, of which only the whole's digest is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Output>,
}

impl Place {
    /// Whether it is, or could be, in the store.
    pub fn is_small(&self) -> bool {
        self.content.as_ref().is_some_and(External::is_small)
    }
}

impl Externals {
    /// What a run reads of the user's.
    pub fn given(&self, store: &Store) -> Vec<Given> {
        if let Some(noted) = self.of_the_past() {
            return noted.clone();
        }
        let mut given: Vec<Given> = self
            .iter()
            .map(|(files, reader, external)| {
                let places = external.paths.iter().enumerate().map(|(i, path)| Place {
                    path: name(path.strip_prefix(self.root()).unwrap_or(path)),
                    content: match reader {
                        Reader::Program => external.contents.get(i).cloned(),
                        Reader::Kind => small_file(path, self.root(), store),
                    },
                });
                Given {
                    files: files.clone(),
                    reader,
                    digest: external.digest,
                    found: places.collect(),
                }
            })
            .collect();
        given.sort_by(|a, b| (&a.files, a.reader).cmp(&(&b.files, b.reader)));
        given
    }

    /// Writes down what a run reads; and names as its snapshot what of it is in the store.
    ///
    /// # Errors
    /// Where the run's folder can't be written.
    pub fn note(&self, store: &Store, run: &str) -> Result<()> {
        let given = self.given(store);
        let path = store.make_run_folder(run)?.join(FILE);
        let bytes = serde_json::to_vec(&given)?;
        fs::write(&path, bytes).with_context(|| format!("{} can't be written", path.display()))?;
        let small = given.iter().flat_map(|given| &given.found);
        let small = small.filter(|place| place.is_small());
        let kept = small.filter_map(|place| Some((place.path.clone(), place.content.clone()?)));
        let kept: Snapshot = kept
            .filter(|(_, content)| store.check(content).is_ok())
            .collect();
        if !kept.is_empty() {
            store.keep_snapshot(run, &kept)?;
        }
        Ok(())
    }
}

/// A small file that a kind reads; folders of kinds are data, and stay where they are.
fn small_file(path: &Path, root: &Path, store: &Store) -> Option<Output> {
    path.is_file().then_some(())?;
    let own = Own {
        root,
        leave_out: &|_, _| false,
    };
    let content = store.digest_own(path, &own).ok()?;
    External::is_small(&content).then_some(content)
}

/// The files that a workflow was read from, and their texts: by where they are from the workflow file itself, also where it was
/// called by a link.
pub fn texts<'s>(
    workflow: &Workflow,
    sources: &'s Sources,
) -> impl Iterator<Item = (PathBuf, &'s str)> {
    let files = sources.files();
    files.map(|(path, text)| (place(path, workflow, sources), text))
}

/// What was read beside texts, as [`texts`]: files that are none, and what patterns matched, by the pattern.
pub fn others<'s>(
    workflow: &Workflow,
    sources: &'s Sources,
) -> impl Iterator<Item = (PathBuf, &'s str)> {
    let others = sources.others();
    others.map(|(path, text)| (place(path, workflow, sources), text))
}

/// Where a file is from the workflow file itself.
pub fn place(path: &Path, workflow: &Workflow, sources: &Sources) -> PathBuf {
    let called = sources.paths().next();
    if called == Some(path) {
        return workflow.path.clone();
    }
    let folder = called.and_then(Path::parent);
    match folder.and_then(|folder| path.strip_prefix(folder).ok()) {
        Some(below) => workflow.folder().join(below),
        None => path.into(),
    }
}

/// How a file is called from a root, also where it lies elsewhere.
pub fn from_root(path: &Path, root: &Path) -> String {
    let mut above = root.ancestors().enumerate();
    let found = above.find_map(|(up, folder)| {
        let below = path.strip_prefix(folder).ok()?;
        Some(format!("{}{}", "../".repeat(up), below.display()))
    });
    found.unwrap_or_else(|| name(path))
}

/// A path as lists and snapshots name it.
pub(super) fn name(path: &Path) -> String {
    path.display().to_string()
}

/// What a run read; none of one that an earlier version of flow made, or whose list is damaged.
pub fn of(run: &PastRun) -> Option<Vec<Given>> {
    serde_json::from_slice(&fs::read(run.folder.join(FILE)).ok()?).ok()
}
