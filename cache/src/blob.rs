//! Blobs: how they are sealed, whether one still is what it was, and the one door to their content.
//!
//! A blob is read-only, and its modification time is the beginning of the year 2000. Whoever writes to it, even through a
//! hard link and as root, changes that time: so one `stat` shows that it is untouched, and only what is not gets hashed.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD};

use crate::digest::Digest;
use crate::disk::{MTIME, mtime, touch_now};
use crate::error::{At, Error};
use crate::record::Output;
use crate::store::Store;
use crate::tree::Tree;

/// The modification time of blobs in earlier versions, in seconds since 1970.
const FORMER_SEAL: i64 = 1;

/// How a blob is wrong whose `stat` is right.
pub(crate) const ROTTEN: &str = "does not have the digest that its name states";

/// Makes an open file read-only and gives it the time that says "untouched".
pub(crate) fn seal(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.set_modified(mtime())
}

/// Whether nobody has written to a blob since it was sealed. (Its mode says nothing: some file systems keep none.)
fn is_sealed(stat: &Metadata) -> bool {
    matches!(stat.mtime(), MTIME | FORMER_SEAL) && stat.mtime_nsec() == 0
}

/// Whether a file's content is what the blob's name says: a file's digest, or a tree's.
pub(crate) fn has_digest(path: &Path, digest: &Digest) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if Digest::of_file(&file)? == *digest {
        return Ok(true);
    }
    let mut start = Vec::new();
    file.rewind()?;
    file.take(64).read_to_end(&mut start)?;
    Ok(Tree::is_tree(&start) && Tree::digest(&fs::read(path)?) == *digest)
}

/// Where a blob is.
///
/// A remote store adds `Elsewhere`: not here, but it can be fetched. Then [`Store::check`] is content with it, since a record alone
/// answers what a stage made; [`Store::sealed`] fetches it; and `verify` asks nothing of it.
pub(crate) enum Presence {
    /// In this store, with this `stat`.
    Here(Metadata),
    /// Nowhere that this store knows.
    Absent,
}

/// How a reader uses a blob, which decides what is checked before it gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It reads all of it, and compares the digest of what it read.
    ReadFile,
    /// As [`Use::ReadFile`]; the blob is a folder's listing.
    ReadTree,
    /// It hands the blob, of this number of bytes, on to someone who checks nothing: the blob is untouched, and was hashed once in
    /// this process, unless the store is [trusting](Store::trusting).
    HandOn(u64),
}

/// The path of a blob that was found, and checked as its [`Use`] demands. Only [`Store::sealed`] makes one.
#[derive(Debug)]
pub(crate) struct Sealed(PathBuf);

impl Sealed {
    /// Where its content lies, read-only.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The error of an operation on it. It may have been taken away since it was found.
    pub fn error(&self, doing: &'static str, e: io::Error) -> Error {
        if e.kind() == ErrorKind::NotFound {
            return damaged("blob", &self.0, "is missing");
        }
        Error::io(doing, &self.0, e)
    }
}

fn damaged(what: &str, path: &Path, how: &str) -> Error {
    Error::Damaged {
        what: format!("the {what} {} {how}", path.display()),
    }
}

impl Store {
    /// Where a blob is.
    pub(crate) fn presence(&self, digest: &Digest) -> Result<Presence, Error> {
        let path = self.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(stat) => Ok(Presence::Here(stat)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Presence::Absent),
            Err(e) => Err(Error::io("reading", &path, e)),
        }
    }

    /// The one door to content: whoever reads a blob, or hands it on, gets its path here.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the blob is missing, or is not what `using` demands.
    pub(crate) fn sealed(&self, digest: &Digest, using: Use) -> Result<Sealed, Error> {
        let path = self.blob_path(digest);
        let presence = self.presence(digest)?;
        match (presence, using) {
            (Presence::Absent, Use::ReadTree) => Err(damaged("tree", &path, "is missing")),
            (Presence::Absent, _) => Err(damaged("blob", &path, "is missing")),
            (Presence::Here(_), Use::ReadFile | Use::ReadTree) => Ok(Sealed(path)),
            (Presence::Here(stat), Use::HandOn(size)) => {
                // Looked at again: what used it since the lookup may have changed it.
                self.check_stat(digest, size, &stat)?;
                if !self.trusting && !self.hashed().contains(digest) {
                    self.hash_blob(digest, ROTTEN)?;
                }
                Ok(Sealed(path))
            }
        }
    }

    /// Whether all blobs of an output are there and untouched: a `stat` each. To be asked once more after a stage has read
    /// an output, it tells whether what it read was right all the while.
    ///
    /// # Errors
    /// [`Error::Damaged`] says which blob is missing or was changed.
    pub fn check(&self, output: &Output) -> Result<(), Error> {
        if !output.folder {
            return self.check_blob(&output.digest, output.size);
        }
        let tree = self.read_tree(&output.digest)?;
        tree.files()
            .try_for_each(|(_, digest, size)| self.check_blob(&digest, size))
    }

    pub(crate) fn check_blob(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        match self.presence(digest)? {
            Presence::Here(stat) => self.check_stat(digest, size, &stat),
            Presence::Absent => Err(damaged("blob", &self.blob_path(digest), "is missing")),
        }
    }

    /// Whether a blob's `stat` shows it untouched; where it does not, its content decides.
    fn check_stat(&self, digest: &Digest, size: u64, stat: &Metadata) -> Result<(), Error> {
        let path = || self.blob_path(digest);
        if !stat.is_file() {
            return Err(damaged("blob", &path(), "is not a file"));
        }
        if stat.len() != size {
            let how = format!("has {} bytes in place of {size}", stat.len());
            return Err(damaged("blob", &path(), &how));
        }
        if stat.mode() & 0o222 != 0 {
            // Not its content, but its protection was changed.
            let _ = fs::set_permissions(path(), Permissions::from_mode(0o444));
        }
        if is_sealed(stat) {
            return Ok(());
        }
        // Written to since, or brought here by a tool that does not keep times: the content decides.
        self.hash_blob(digest, "was changed after it was stored")?;
        let _ = File::open(path()).and_then(|file| seal(&file));
        Ok(())
    }

    fn hash_blob(&self, digest: &Digest, otherwise: &str) -> Result<(), Error> {
        let path = self.blob_path(digest);
        if !has_digest(&path, digest).at("hashing", &path)? {
            return Err(self.wrong_content(digest, otherwise));
        }
        self.remember_hashed(*digest);
        Ok(())
    }

    /// Notes that this process has seen the blob's right content.
    pub(crate) fn remember_hashed(&self, digest: Digest) {
        self.hashed().insert(digest);
    }

    pub(crate) fn hashed(&self) -> MutexGuard<'_, HashSet<Digest>> {
        let hashed = self.inner.hashed.lock();
        hashed.unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a blob that does not hold what its name says. Its seal is broken, so that the next lookup sees
    /// without reading that its record is a miss.
    pub(crate) fn wrong_content(&self, digest: &Digest, why: &str) -> Error {
        let path = self.blob_path(digest);
        let _ = rustix::fs::utimensat(CWD, &path, &touch_now(), AtFlags::SYMLINK_NOFOLLOW);
        damaged("blob", &path, why)
    }

    /// Reads a tree blob and checks its digest.
    pub(crate) fn read_tree(&self, digest: &Digest) -> Result<Tree, Error> {
        let blob = self.sealed(digest, Use::ReadTree)?;
        let wrong = |how: &str| damaged("tree", blob.path(), how);
        let bytes = match fs::read(blob.path()) {
            Ok(bytes) => bytes,
            // Taken away since it was found.
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(wrong("is missing")),
            Err(e) => return Err(Error::io("reading", blob.path(), e)),
        };
        if Tree::digest(&bytes) != *digest {
            return Err(wrong(ROTTEN));
        }
        Tree::from_bytes(&bytes).map_err(|why| wrong(&format!("can't be understood: {why}")))
    }
}
