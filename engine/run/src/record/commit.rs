//! The commit of the repository that a workflow lies in, as the program `git` tells it: it knows the user's own settings, filters
//! and file system monitors, which decide whether a file counts as changed.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// A commit, and whether what is checked out is just that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// Its digest.
    pub id: String,
    /// Whether no tracked file differed from it.
    pub clean: bool,
}

impl Commit {
    /// The commit that is checked out around a folder; none where there is no repository, no commit yet, or no `git`.
    pub fn around(folder: &Path) -> Option<Commit> {
        // A process costs some milliseconds: none is started where it would find nothing.
        if !folder.ancestors().any(|above| above.join(".git").exists()) {
            return None;
        }
        let asked = git(folder)
            .args([
                "status",
                "--porcelain=v2",
                "--branch",
                "--untracked-files=no",
            ])
            .output()
            .ok()
            .filter(|asked| asked.status.success())?;
        let text = String::from_utf8_lossy(&asked.stdout);
        let (facts, changes): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with('#'));
        let id = facts
            .iter()
            .find_map(|fact| fact.strip_prefix("# branch.oid "))?;
        id.bytes().all(|b| b.is_ascii_hexdigit()).then(|| Commit {
            id: id.into(),
            clean: changes.is_empty(),
        })
    }
}

/// `git` in a folder, asked for nothing yet. It leaves the repository as it is.
pub fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .stdin(Stdio::null())
        // Else `git status` may write the index, in the way of a `git` that the user has called.
        .env("GIT_OPTIONAL_LOCKS", "0");
    // Inside a hook these name another repository than the folder's.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command
}
