//! Laying outputs out in the folder of a stage, so that they look the same everywhere, and nothing is written through them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::blob::{Use, has_digest};
use crate::digest::{Digest, LARGE};
use crate::disk::MTIME;
use crate::error::{At, Error};
use crate::fetch::Content;
use crate::record::Output;
use crate::store::Store;
use crate::tree::Entry;

/// An output that is larger than this in all is shared even where its files are small.
const COPIED: u64 = 64 << 20;

/// An output of more files than this is not mounted file by file.
const MOUNTED: usize = 64;

/// How an output is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Lay {
    /// Files of no more bytes than this are copied, unless the output is a folder of much more; what is larger is shared with the
    /// store. Code wants to be a copy.
    pub copy_below: u64,
    /// Whether the reader may write: then all of it is a copy.
    pub writable: bool,
    /// Whether the caller can mount: then what is shared is an empty file, over which it mounts the blob.
    pub mount: bool,
}

/// A file that was laid out and is no copy: whoever can write to it can write to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Where it was laid out.
    pub path: PathBuf,
    /// What has to be mounted there, read-only; none where it is a link to the blob.
    pub mount: Option<PathBuf>,
    digest: Digest,
    /// When the blob was last changed, by the time that nobody can set back.
    changed: (i64, i64),
}

impl Store {
    /// Lays an output out at `destination`, read-only unless it is to be `writable`, all of it with one modification time. What
    /// comes back is shared with the store: to be asked about by [`Store::check_shared`] before anything is made of it.
    ///
    /// # Errors
    /// [`Error::Exists`] where something is at `destination`; [`Error::Damaged`] where a blob is not there or was changed.
    pub fn lay_out(
        &self,
        output: &Output,
        destination: &Path,
        lay: Lay,
    ) -> Result<Vec<Shared>, Error> {
        let small = output.size <= COPIED;
        let mount = lay.mount
            && (!output.folder || self.read_tree(&output.digest)?.files().count() <= MOUNTED);
        let shared = RefCell::new(Vec::new());
        self.put(output, destination, &|file, to| {
            if lay.writable || file.executable || small && file.size <= lay.copy_below {
                return self.lay_copy(file, to, lay.writable);
            }
            let placed = self.share(file, to, mount)?;
            shared.borrow_mut().extend(placed);
            Ok(())
        })?;
        if output.folder {
            self.finish_folders(output, destination)?;
        }
        Ok(shared.into_inner())
    }

    fn lay_copy(&self, file: &Content, to: &Path, writable: bool) -> Result<(), Error> {
        let cloned = file.size > LARGE && self.clone_blob(file, to)?;
        if !cloned {
            if self.trusting {
                let blob = self.sealed(&file.digest, Use::HandOn(file.size))?;
                let mut source = File::open(blob.path()).map_err(|e| blob.error("reading", e))?;
                let mut target = File::create_new(to).at("making", to)?;
                io::copy(&mut source, &mut target).at("copying to", to)?;
            } else {
                self.copy(&file.digest, to)?;
            }
        }
        let mode = match (writable, file.executable) {
            (false, false) => 0o444,
            (false, true) => 0o555,
            (true, false) => 0o644,
            (true, true) => 0o755,
        };
        // First the time: a read-only file can't be opened to write.
        set_mtime(to)?;
        fs::set_permissions(to, Permissions::from_mode(mode)).at("protecting", to)
    }

    /// A clone costs nothing, where the file system has them.
    fn clone_blob(&self, file: &Content, to: &Path) -> Result<bool, Error> {
        let blob = self.sealed(&file.digest, Use::HandOn(file.size))?;
        Ok(reflink_copy::reflink(blob.path(), to).is_ok())
    }

    /// Puts the blob itself at `to`: what is shared then, if anything is.
    fn share(&self, file: &Content, to: &Path, mount: bool) -> Result<Option<Shared>, Error> {
        let blob = if mount {
            let blob = self.sealed(&file.digest, Use::HandOn(file.size))?;
            File::create_new(to).at("making", to)?;
            Some(blob.path().to_owned())
        } else if self.link(file, to)? {
            None
        } else {
            set_mtime(to)?;
            return Ok(None);
        };
        let path = self.blob_path(&file.digest);
        let stat = fs::symlink_metadata(&path).at("reading", &path)?;
        Ok(Some(Shared {
            path: to.to_owned(),
            mount: blob,
            digest: file.digest,
            changed: (stat.ctime(), stat.ctime_nsec()),
        }))
    }

    /// Gives folders their time, each after what lies in it.
    fn finish_folders(&self, output: &Output, destination: &Path) -> Result<(), Error> {
        let tree = self.read_tree(&output.digest)?;
        let mut folders = BTreeSet::from([destination.to_owned()]);
        for (name, entry) in &tree.entries {
            let path = destination.join(name);
            let mut folder = match entry {
                Entry::EmptyFolder => Some(path.as_path()),
                Entry::File { .. } => path.parent(),
            };
            while let Some(path) = folder
                && path != destination
                && folders.insert(path.to_owned())
            {
                folder = path.parent();
            }
        }
        folders
            .iter()
            .rev()
            .try_for_each(|folder| set_mtime(folder))
    }

    /// Whether what was shared is still what it was. A program that runs as root, or as the owner, can write to a blob through a
    /// link and set its modification time back; when it was last changed tells, and then its content decides. A blob that does not
    /// hold what its name says is removed, so that whatever needs it makes it again.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is not; or where the store can't be read.
    pub fn check_shared(&self, shared: &Shared) -> Result<(), Error> {
        let path = self.blob_path(&shared.digest);
        let stat = match fs::symlink_metadata(&path) {
            Ok(stat) => stat,
            // Taken away since, which changes nothing of what was read.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        // Another link to it, or one less, changes that time too; and another run may have put its own in this place.
        if (stat.ctime(), stat.ctime_nsec()) == shared.changed
            || has_digest(&path, &shared.digest).at("hashing", &path)?
        {
            return Ok(());
        }
        self.hashed().remove(&shared.digest);
        fs::remove_file(&path).at("removing", &path)?;
        Err(Error::Damaged {
            what: format!(
                "the blob {} was written to, and was removed",
                path.display()
            ),
        })
    }
}

/// Gives a file or folder the one time that all have.
fn set_mtime(path: &Path) -> Result<(), Error> {
    let time = Timespec {
        tv_sec: MTIME,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).at("touching", path)
}
