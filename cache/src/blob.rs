//! Blobs: how they are sealed, and whether one still is what it was.
//!
//! A blob is read-only, and its modification time is one second past the beginning of 1970. Whoever writes to it, even through a
//! hard link and as root, changes that time: so one `stat` shows that it is untouched, and only what is not gets hashed.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD};

use crate::error::{At, Error};
use crate::live::touch_now;
use crate::tree::Tree;
use crate::{Digest, Output, Store};

/// The modification time of every blob, in seconds since 1970. (Not zero: some tools take that for "unknown".)
const SEAL: i64 = 1;

/// How a blob is wrong whose `stat` is right.
pub(crate) const ROTTEN: &str = "does not have the digest that its name states";

/// Makes an open file read-only and gives it the time that says "untouched".
pub(crate) fn seal(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o444))?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(SEAL as u64))
}

/// Whether nobody has written to a blob since it was sealed. (Its mode says nothing: some file systems keep none.)
fn is_sealed(stat: &Metadata) -> bool {
    stat.mtime() == SEAL && stat.mtime_nsec() == 0
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

impl Store {
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
        let path = self.blob_path(digest);
        let damaged = |why: &str| {
            Err(Error::Damaged {
                what: format!("the blob {} {why}", path.display()),
            })
        };
        let stat = match fs::symlink_metadata(&path) {
            Ok(stat) => stat,
            Err(e) if e.kind() == ErrorKind::NotFound => return damaged("is missing"),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        if !stat.is_file() {
            return damaged("is not a file");
        }
        if stat.len() != size {
            return damaged(&format!("has {} bytes in place of {size}", stat.len()));
        }
        let sealed = is_sealed(&stat);
        if stat.mode() & 0o222 != 0 {
            // Not its content, but its protection was changed.
            let _ = fs::set_permissions(&path, Permissions::from_mode(0o444));
        }
        if sealed {
            return Ok(());
        }
        // Written to since, or brought here by a tool that does not keep times: the content decides.
        self.hash_blob(digest, "was changed after it was stored")?;
        let _ = File::open(&path).and_then(|file| seal(&file));
        Ok(())
    }

    /// As [`Store::check_blob`]; and on its first use in this process the blob is hashed, though it looks untouched.
    pub(crate) fn check_first_use(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        self.check_blob(digest, size)?;
        if self.trusting || self.hashed().contains(digest) {
            return Ok(());
        }
        self.hash_blob(digest, ROTTEN)
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

    fn hashed(&self) -> MutexGuard<'_, HashSet<Digest>> {
        let hashed = self.inner.hashed.lock();
        hashed.unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a blob that does not hold what its name says. Its seal is broken, so that the next lookup sees
    /// without reading that its record is a miss.
    pub(crate) fn wrong_content(&self, digest: &Digest, why: &str) -> Error {
        let path = self.blob_path(digest);
        let _ = rustix::fs::utimensat(CWD, &path, &touch_now(), AtFlags::SYMLINK_NOFOLLOW);
        Error::Damaged {
            what: format!("the blob {} {why}", path.display()),
        }
    }

    /// Reads a tree blob and checks its digest.
    pub(crate) fn read_tree(&self, digest: &Digest) -> Result<Tree, Error> {
        let path = self.blob_path(digest);
        let damaged = |why: &str| Error::Damaged {
            what: format!("the tree {} {why}", path.display()),
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(damaged("is missing")),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        if Tree::digest(&bytes) != *digest {
            return Err(damaged("does not have the digest that its name states"));
        }
        Tree::from_bytes(&bytes).map_err(|why| damaged(&format!("can't be understood: {why}")))
    }
}
