//! The way out: a program that works in the project itself, as one at a time.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use flow_cache::Claim;

use super::copy_all;
use crate::site::Site;

/// What tells whether a file was written to: inode, size, time of its last change.
type State = (u64, u64, i64, i64);

/// The right to work in the project's folder, and what lay there at outputs' paths.
pub struct Project {
    _claim: Claim,
    root: PathBuf,
    before: BTreeMap<PathBuf, State>,
}

impl Project {
    /// Waits until nobody else works in the project's folder; none where the run was asked to end.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn enter(site: &Site<'_>) -> Result<Option<Project>> {
        let root = site.request.folder.canonicalize()?;
        let mut waiting = |_: &_| match site.stopped() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let Some(claim) = site.inputs.claim(&root, &mut waiting)? else {
            return Ok(None);
        };
        let mut before = BTreeMap::new();
        for output in &site.request.outputs {
            states(&root.join(&output.file), &mut before);
        }
        Ok(Some(Project {
            _claim: claim,
            root,
            before,
        }))
    }

    /// Copies an output to `to`, if the program wrote it.
    ///
    /// # Errors
    /// Where it did not.
    pub fn take(&self, file: &str, to: &Path) -> Result<()> {
        let path = self.root.join(file);
        ensure!(path.exists(), "it ended well and did not write `{file}`");
        let mut now = BTreeMap::new();
        states(&path, &mut now);
        let wrote = now
            .iter()
            .any(|(path, state)| self.before.get(path) != Some(state));
        ensure!(
            wrote,
            "`{file}` is as it was before the stage began, so the stage did not make it"
        );
        copy_all(&path, to)
    }
}

fn states(path: &Path, states_of: &mut BTreeMap<PathBuf, State>) {
    let Ok(stat) = fs::symlink_metadata(path) else {
        return;
    };
    if stat.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            states(&entry.path(), states_of);
        }
    }
    let state = (stat.ino(), stat.len(), stat.ctime(), stat.ctime_nsec());
    states_of.insert(path.to_path_buf(), state);
}
