//! What lies below a folder, and what its links mean.

use std::fs;
use std::path::{Path, PathBuf};

/// What symbolic links below a folder stand for.
#[derive(Clone, Copy)]
pub(crate) enum Links<'a> {
    /// They are refused.
    Refused,
    /// What they point at, wherever it is.
    Followed,
    /// What they point at inside the folder; else a regular file below this other folder.
    Within(&'a Path),
}

/// Whether something below a folder is left out: its relative path with `/`, and whether it is a folder.
pub(crate) type LeaveOut<'a> = &'a (dyn Fn(&str, bool) -> bool + Sync);

/// What [`walk`] found below a folder.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Relative path with `/`, and where the file is; `None` for an empty folder.
    pub files: Vec<(String, Option<PathBuf>)>,
    /// Whether the folder itself shows just this: nothing was left out, and no link leads out of it.
    pub whole: bool,
}

/// Everything below `folder` but what `leave_out` names. `Err` is the path at fault and a sentence. Cycles of links are
/// refused.
pub(crate) fn walk(
    folder: &Path,
    links: Links<'_>,
    leave_out: LeaveOut<'_>,
) -> Result<Found, (PathBuf, String)> {
    let real = |path: &Path| path.canonicalize().map_err(|e| fault(path, e.to_string()));
    let within = match links {
        Links::Within(root) => Some((real(folder)?, real(root)?)),
        _ => None,
    };
    let mut walker = Walker {
        links,
        within,
        leave_out,
        above: Vec::new(),
        found: Found {
            files: Vec::new(),
            whole: true,
        },
    };
    walker.descend(folder, "")?;
    Ok(walker.found)
}

struct Walker<'a> {
    links: Links<'a>,
    /// The folder itself, and the one that its links may lead into, both as the system calls them.
    within: Option<(PathBuf, PathBuf)>,
    leave_out: LeaveOut<'a>,
    /// Device and inode of the folders that lead here.
    above: Vec<(u64, u64)>,
    found: Found,
}

fn fault(path: &Path, why: String) -> (PathBuf, String) {
    (path.to_owned(), why)
}

impl Walker<'_> {
    fn descend(&mut self, folder: &Path, prefix: &str) -> Result<(), (PathBuf, String)> {
        use std::os::unix::fs::MetadataExt;
        let stat = fs::metadata(folder).map_err(|e| fault(folder, e.to_string()))?;
        let identity = (stat.dev(), stat.ino());
        if self.above.contains(&identity) {
            return Err(fault(
                folder,
                "a link in it leads back to a folder above it".to_owned(),
            ));
        }
        self.above.push(identity);
        let mut empty = true;
        for entry in fs::read_dir(folder).map_err(|e| fault(folder, e.to_string()))? {
            let entry = entry.map_err(|e| fault(folder, e.to_string()))?;
            let path = entry.path();
            let mut kind = entry.file_type().map_err(|e| fault(&path, e.to_string()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(fault(&path, "its name is not UTF-8".to_owned()));
            };
            let relative = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}/{name}")
            };
            if (self.leave_out)(&relative, kind.is_dir()) {
                self.found.whole = false;
                continue;
            }
            empty = false;
            if kind.is_symlink() {
                kind = self.follow(&path)?;
            }
            if kind.is_dir() {
                self.descend(&path, &relative)?;
            } else if kind.is_file() {
                self.found.files.push((relative, Some(path)));
            } else {
                return Err(fault(
                    &path,
                    "it is a special file (a pipe, socket or device)".to_owned(),
                ));
            }
        }
        if empty && !prefix.is_empty() {
            self.found.files.push((prefix.to_owned(), None));
        }
        self.above.pop();
        Ok(())
    }

    /// What a link stands for.
    fn follow(&mut self, link: &Path) -> Result<fs::FileType, (PathBuf, String)> {
        if let Links::Refused = self.links {
            return Err(fault(
                link,
                "it is a symbolic link; write the file itself".to_owned(),
            ));
        }
        let stat = fs::metadata(link)
            .map_err(|e| fault(link, format!("a link that can't be followed: {e}")))?;
        let Some((folder, root)) = &self.within else {
            return Ok(stat.file_type());
        };
        let target = link
            .canonicalize()
            .map_err(|e| fault(link, format!("a link that can't be followed: {e}")))?;
        if target.starts_with(folder) {
            return Ok(stat.file_type());
        }
        self.found.whole = false;
        let leads = format!("it is a link to {}", target.display());
        if !target.starts_with(root) {
            return Err(fault(
                link,
                format!(
                    "{leads}, which is outside {}; put a copy in its place",
                    root.display()
                ),
            ));
        }
        if stat.is_dir() {
            return Err(fault(
                link,
                format!(
                    "{leads}, a folder outside this input; declare that folder as an input of its own"
                ),
            ));
        }
        Ok(stat.file_type())
    }
}
