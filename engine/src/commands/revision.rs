//! A workflow file of a git revision: the revision's files in a temporary folder, as a checkout would have them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use flow_plan::plan::{Origin, is_glob};
use flow_run::record::again::surroundings;
use flow_run::record::commit::git;
use tempfile::TempDir;

use crate::failure::{Failure, wrong};
use crate::session::Session;

/// A file of a revision.
pub struct Revision {
    /// The commit.
    commit: String,
    /// The file, from the top of the repository.
    file: PathBuf,
    /// The top of the repository.
    top: PathBuf,
}

/// A revision that was checked out.
pub struct CheckedOut {
    /// Holds it until it is no longer needed.
    _folder: TempDir,
    /// Its files.
    tree: PathBuf,
    /// The workflow file in it.
    pub workflow: PathBuf,
    /// The file of the same name as it is now, which may be gone.
    pub now: PathBuf,
}

impl Revision {
    /// What `REV:FILE` means in the repository around this folder; none where it is no such thing. The file is named from this
    /// folder, or from the top of the repository as `git show` has it.
    pub fn read(text: &str) -> Option<Revision> {
        let (revision, file) = text.split_once(':')?;
        if Path::new(text).exists() || revision.starts_with('-') || file.is_empty() {
            return None;
        }
        let here = Path::new(".");
        let top = PathBuf::from(said(git(here).args(["rev-parse", "--show-toplevel"]))?);
        let prefix = said(git(here).args(["rev-parse", "--show-prefix"]))?;
        let commit = format!("{revision}^{{commit}}");
        let commit = said(git(here).args(["rev-parse", "--verify", "--quiet", &commit]))?;
        let mut files = [format!("{prefix}{file}"), file.to_string()].into_iter();
        let file = files.find(|file| {
            let object = format!("{commit}:{file}");
            let kind = said(git(here).args(["cat-file", "-t", &object]));
            kind.is_some_and(|kind| kind == "blob")
        })?;
        Some(Revision {
            commit,
            file: file.into(),
            top,
        })
    }

    /// Writes all files of the revision into a temporary folder. The repository, its index and its checkout stay as they are.
    pub fn check_out(&self) -> Result<CheckedOut, Failure> {
        let cannot = |why: String| {
            wrong(format!(
                "the revision {} can't be checked out: {why}",
                self.commit
            ))
        };
        let folder = tempfile::tempdir().map_err(|e| cannot(e.to_string()))?;
        let path = folder
            .path()
            .canonicalize()
            .map_err(|e| cannot(e.to_string()))?;
        let tree = path.join("tree");
        // As a checkout does it: with filters and line ends.
        let prefix = format!("--prefix={}/", tree.display());
        for arguments in [
            &["read-tree", &self.commit][..],
            &["checkout-index", "--all", &prefix],
        ] {
            let done = git(&self.top)
                .env("GIT_INDEX_FILE", path.join("index"))
                .args(arguments)
                .output();
            match done {
                Ok(done) if done.status.success() => {}
                Ok(done) => return Err(cannot(String::from_utf8_lossy(&done.stderr).into())),
                Err(error) => return Err(cannot(error.to_string())),
            }
        }
        Ok(CheckedOut {
            workflow: tree.join(&self.file),
            now: self.top.join(&self.file),
            tree,
            _folder: folder,
        })
    }
}

impl CheckedOut {
    /// Puts links to what the revision does not have, and the checkout has now: data and environments that nobody commits.
    pub fn link_the_rest(&self, session: &Session) -> Result<(), Failure> {
        let root = session.workflow.root();
        let Ok(below) = root.strip_prefix(&self.tree) else {
            return Ok(());
        };
        let depth = self
            .workflow
            .strip_prefix(&self.tree)
            .unwrap_or(&self.workflow);
        let top = self.now.ancestors().nth(depth.components().count());
        let now = top.unwrap_or(Path::new("/")).join(below);
        let inputs = session
            .plan
            .instances()
            .flat_map(|instance| &instance.inputs);
        let mut named: BTreeSet<PathBuf> = BTreeSet::new();
        for input in inputs {
            if let Origin::Path { files, .. } = &input.origin {
                named.extend(files.patterns.iter().map(|pattern| fixed(pattern)));
            }
        }
        for path in surroundings(&session.plan, root) {
            named.extend(path.strip_prefix(root).map(Path::to_path_buf));
        }
        for path in named.iter().filter(|path| path.is_relative()) {
            let (then, now) = (root.join(path), now.join(path));
            if then.symlink_metadata().is_err() && now.exists() {
                let folder = then.parent().unwrap_or(root);
                let linked = std::fs::create_dir_all(folder)
                    .and_then(|()| std::os::unix::fs::symlink(&now, &then));
                linked.map_err(|e| wrong(format!("{} can't be made: {e}", then.display())))?;
            }
        }
        Ok(())
    }
}

/// The part of a path that no glob is in.
fn fixed(pattern: &str) -> PathBuf {
    let parts = Path::new(pattern).components();
    parts
        .take_while(|part| !is_glob(&part.as_os_str().to_string_lossy()))
        .collect()
}

/// What a call of git prints, if it goes well.
fn said(command: &mut Command) -> Option<String> {
    let done = command.output().ok().filter(|done| done.status.success())?;
    let text = String::from_utf8(done.stdout).ok()?;
    Some(text.trim_end_matches('\n').to_string())
}
