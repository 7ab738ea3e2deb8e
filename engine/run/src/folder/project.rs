//! The way out: a program that works in the project itself, as one at a time.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flow_cache::{Claim, Holder};

use super::outputs::matches;
use crate::site::Site;

/// How often a folder that others work in is asked for again.
const POLL: Duration = Duration::from_millis(50);

/// What tells whether a file was written to: inode, size, time of its last change.
type State = (u64, u64, i64, i64);

/// The right to work in the project's folder, and what lay there at outputs' paths.
pub struct Project {
    held: Option<(Claim, File)>,
    before: BTreeMap<PathBuf, State>,
}

impl Project {
    /// Waits until nobody else works in the project's folder, and tells for whom; none where the run was asked to end.
    ///
    /// # Errors
    /// Where the folder can't be read, or the store can't be written.
    pub fn enter(site: &Site<'_>, wait: &dyn Fn(String)) -> Result<Option<Project>> {
        let root = site.request.folder.canonicalize()?;
        let mut told = false;
        let mut tell = |holder: String| {
            if !told {
                wait(format!("{holder}, which works in {}", root.display()));
                told = true;
            }
        };
        let mut waiting = |holder: &Holder| {
            tell(holder.to_string());
            match site.stopped() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        // Others that use this store, also where the file system has no locks on folders.
        let Some(claim) = site.inputs.claim(&root, &mut waiting)? else {
            return Ok(None);
        };
        let lock =
            File::open(&root).with_context(|| format!("{} can't be read", root.display()))?;
        while let Err(TryLockError::WouldBlock) = lock.try_lock() {
            tell("a run with another store".into());
            if site.stopped() {
                return Ok(None);
            }
            sleep(POLL);
        }
        let mut before = BTreeMap::new();
        for output in &site.request.outputs {
            for path in matches(&root, output)? {
                states(&path, &mut before);
            }
        }
        Ok(Some(Project {
            held: Some((claim, lock)),
            before,
        }))
    }

    /// Lets others work there. What the program made has been taken.
    pub fn leave(&mut self) {
        self.held = None;
    }

    /// Whether the program wrote to any of these paths.
    ///
    /// # Errors
    /// Where it did not.
    pub fn wrote(&self, file: &str, paths: &[PathBuf]) -> Result<()> {
        let mut now = BTreeMap::new();
        for path in paths {
            states(path, &mut now);
        }
        let mut now = now.iter();
        ensure!(
            now.any(|(path, state)| self.before.get(path) != Some(state)),
            "`{file}` is as it was before the stage began, so the stage did not make it"
        );
        Ok(())
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
