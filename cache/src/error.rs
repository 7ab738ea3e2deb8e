//! What can go wrong, as data that a caller can act on.

use std::io;
use std::path::{Path, PathBuf};

/// The version of everything under the store's root. A store of another one is refused; the refusal names it, so it stands here.
pub(crate) const FORMAT: &str = "flow-cache 1";

/// An error of the store. Each prints as one sentence that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root can't be a store.
    #[error("{} can't be a store: {why}", root.display())]
    NotAStore {
        /// The folder that was asked for.
        root: PathBuf,
        /// Why not, and what to do.
        why: String,
    },
    /// The store was made by another version of this format.
    #[error("{} is a store of format {found}, and this program reads format {}: use another folder, or the program that made it", root.display(), FORMAT)]
    Format {
        /// The store's folder.
        root: PathBuf,
        /// What its `format` file says.
        found: String,
    },
    /// No space, or no quota, is left.
    #[error("the disk is full while {doing} {}: free some space (such as by `flow cache gc --store STORE --max-size SIZE`), then run again", path.display())]
    Full {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
    },
    /// The store, or one of its folders, can't be written.
    #[error("no permission for {doing} {} ({cause})", path.display())]
    ReadOnly {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Any other failure of the file system.
    #[error("{doing} {} failed: {cause}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An output that can't be stored: a link, a special file, outside the work folder, not there.
    #[error("output `{role}` can't be stored: {why}")]
    BadOutput {
        /// The output's name.
        role: String,
        /// What is wrong with it.
        why: String,
    },
    /// An input whose content can't be digested: a special file, a cycle of links, a name that is not UTF-8.
    #[error("{} can't be used as an input: {why}", path.display())]
    BadInput {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A blob is missing or isn't what its name says.
    #[error(
        "{what}; `flow cache verify --fix --store STORE` removes what is damaged there, and the next run makes it again"
    )]
    Damaged {
        /// Which, and how.
        what: String,
    },
    /// The destination is there already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A name that can't be a pin's.
    #[error(
        "`{0}` can't name a pin: letters, digits, spaces and `-_.+` are wanted, and no `.` in front"
    )]
    BadName(String),
    /// A text that is not a digest.
    #[error("`{0}` is not a digest: 64 lower-case hex digits are wanted")]
    NotADigest(String),
}

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it: a clause that goes on from the path.
    pub what: String,
    /// Whether it was removed, so that the next run makes it again.
    pub fixed: bool,
}

/// Adds what was being done, and to which path, to an [`io::Error`].
pub(crate) trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|cause| Error::io(doing, path, cause))
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|e| Error::io(doing, path, e.into()))
    }
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Error {
        use io::ErrorKind::*;
        let path = path.to_owned();
        match cause.kind() {
            StorageFull | QuotaExceeded => Error::Full { doing, path },
            ReadOnlyFilesystem | PermissionDenied => Error::ReadOnly { doing, path, cause },
            _ => Error::Io { doing, path, cause },
        }
    }
}
