//! What tells one state of a path from another without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A path as it was seen: followed where it is a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    path: PathBuf,
    /// Size, times and inode; none where nothing was there.
    state: Option<String>,
}

impl Seen {
    /// As it is now.
    pub fn now(path: &Path) -> Seen {
        Seen {
            path: path.to_path_buf(),
            state: state(path),
        }
    }

    /// Whether it is now as it was.
    pub fn holds(&self) -> bool {
        state(&self.path) == self.state
    }

    /// Whether something was there.
    pub fn is_there(&self) -> bool {
        self.state.is_some()
    }

    /// All of it as one line.
    pub fn text(&self) -> String {
        let state = self.state.as_deref().unwrap_or("absent");
        format!("{} {state}", self.path.display())
    }
}

/// Size, times and inode of what a path leads to; none where nothing is there.
pub(crate) fn state(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    Some(format!(
        "{} {}.{:09} {}.{:09} {}",
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.ino()
    ))
}
