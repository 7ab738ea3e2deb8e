//! Getting outputs out of the store: for a stage (materialise), for a reader who goes at once (point), for a person (export),
//! into memory (read).

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::blob::{ROTTEN, Use};
use crate::digest::Digest;
use crate::error::{At, Error};
use crate::record::Output;
use crate::store::Store;
use crate::tree::Entry;

/// One file, as a record or a folder's listing names it.
pub(crate) struct Content {
    pub digest: Digest,
    pub size: u64,
    pub executable: bool,
}

impl Store {
    /// Puts an output at `destination`, read-only, by reflink, else hard link, else copy. Folders are made whole. Each blob is
    /// hashed on its first use in this process, unless the store is [trusting](Store::trusting).
    ///
    /// # Errors
    /// [`Error::Exists`] where something is at `destination`; [`Error::Damaged`] where a blob is not there or was changed.
    pub fn materialise(&self, output: &Output, destination: &Path) -> Result<(), Error> {
        self.put(output, destination, &|file, to| {
            self.link(file, to).map(|_| ())
        })
    }

    /// Lays an output out at `destination` as symbolic links to its blobs, to be read soon: nothing is copied, and the store may
    /// be read-only. Blobs are checked as by [`Store::materialise`].
    ///
    /// # Errors
    /// [`Error::Exists`] where something is at `destination`; [`Error::Damaged`] where a blob is not there or was changed.
    pub fn point(&self, output: &Output, destination: &Path) -> Result<(), Error> {
        self.put(output, destination, &|file, to| {
            let blob = self.sealed(&file.digest, Use::HandOn(file.size))?;
            symlink(blob.path(), to).at("making", to)
        })
    }

    /// Writes a copy of an output that the caller owns: writable, never linked to the store, its digest checked.
    ///
    /// # Errors
    /// [`Error::Exists`] where something is at `destination`; [`Error::Damaged`] where a blob is not there or not what
    /// its name says: then what was written is removed.
    pub fn export(&self, output: &Output, destination: &Path) -> Result<(), Error> {
        self.put(output, destination, &|file, to| {
            self.copy(&file.digest, to)?;
            if !file.executable {
                return Ok(());
            }
            let mode = Permissions::from_mode(0o755);
            fs::set_permissions(to, mode).at("protecting", to)
        })
    }

    /// The files of an output that is a folder: path, digest and size of each, sorted by path. None for a file.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the folder's listing is not there or not what its name says.
    pub fn files(&self, output: &Output) -> Result<Vec<(String, Digest, u64)>, Error> {
        if !output.folder {
            return Ok(Vec::new());
        }
        let tree = self.read_tree(&output.digest)?;
        Ok(tree
            .files()
            .map(|(path, digest, size)| (path.to_string(), digest, size))
            .collect())
    }

    /// The names of what lies in an output that is a folder, directly: files and folders, empty ones too, sorted.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the folder's listing is not there or not what its name says.
    pub fn names(&self, output: &Output) -> Result<Vec<String>, Error> {
        let tree = self.read_tree(&output.digest)?;
        let mut names: Vec<String> = tree
            .entries
            .iter()
            .map(|(path, _)| path.split('/').next().unwrap_or(path).to_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    /// The bytes of an output that is a file, checked.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the blob is not there or not what its name says.
    pub fn read(&self, output: &Output) -> Result<Vec<u8>, Error> {
        if output.folder {
            return Err(Error::Io {
                doing: "reading",
                path: self.blob_path(&output.digest),
                cause: std::io::Error::new(ErrorKind::IsADirectory, "the output is a folder"),
            });
        }
        let blob = self.sealed(&output.digest, Use::ReadFile)?;
        let bytes = fs::read(blob.path()).map_err(|e| blob.error("reading", e))?;
        if Digest::of_bytes(&bytes) != output.digest {
            return Err(self.wrong_content(&output.digest, ROTTEN));
        }
        Ok(bytes)
    }

    pub(crate) fn put(
        &self,
        output: &Output,
        destination: &Path,
        file: &dyn Fn(&Content, &Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if fs::symlink_metadata(destination).is_ok() {
            return Err(Error::Exists(destination.to_owned()));
        }
        if !output.folder {
            let content = Content {
                digest: output.digest,
                size: output.size,
                executable: output.executable,
            };
            return file(&content, destination);
        }
        let tree = self.read_tree(&output.digest)?;
        fs::create_dir(destination).at("making", destination)?;
        let made = tree.entries.iter().try_for_each(|(name, entry)| {
            let to = destination.join(name);
            let folder = if let Entry::EmptyFolder = entry {
                Some(to.as_path())
            } else {
                to.parent()
            };
            if let Some(folder) = folder {
                fs::create_dir_all(folder).at("making", folder)?;
            }
            match entry {
                Entry::EmptyFolder => Ok(()),
                &Entry::File {
                    digest,
                    size,
                    executable,
                } => {
                    let content = Content {
                        digest,
                        size,
                        executable,
                    };
                    file(&content, &to)
                }
            }
        });
        if made.is_err() {
            let _ = fs::remove_dir_all(destination);
        }
        made
    }

    /// Puts one file at `to`, read-only, by the cheapest way. `true` where it is the blob itself, under a second name: never
    /// that of an executable file, since a blob has one mode for all.
    pub(crate) fn link(&self, file: &Content, to: &Path) -> Result<bool, Error> {
        let blob = self.sealed(&file.digest, Use::HandOn(file.size))?;
        let mode = if file.executable { 0o555 } else { 0o444 };
        let protect = || fs::set_permissions(to, Permissions::from_mode(mode)).at("protecting", to);
        if !self.inner.no_reflink.load(Ordering::Relaxed) {
            match reflink_copy::reflink(blob.path(), to) {
                Ok(()) => return protect().map(|()| false),
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    return Err(blob.error("reading", e));
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    return Err(Error::Exists(to.to_owned()));
                }
                Err(_) => self.inner.no_reflink.store(true, Ordering::Relaxed),
            }
        }
        if file.executable {
            self.copy(&file.digest, to)?;
            return protect().map(|()| false);
        }
        match fs::hard_link(blob.path(), to) {
            Ok(()) => return Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(blob.error("reading", e));
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::Exists(to.to_owned()));
            }
            // Another file system, no links on this one, or too many of one file: copy.
            Err(_) => {}
        }
        self.copy(&file.digest, to)?;
        protect().map(|()| false)
    }

    /// Copies and hashes in one pass.
    pub(crate) fn copy(&self, digest: &Digest, to: &Path) -> Result<(), Error> {
        let blob = self.sealed(digest, Use::ReadFile)?;
        let mut source = File::open(blob.path()).map_err(|e| blob.error("reading", e))?;
        let mut target = File::create_new(to).at("making", to)?;
        let copied = (|| {
            let mut hasher = blake3::Hasher::new();
            let length = source.metadata().at("reading", blob.path())?.len();
            let mut buffer = vec![0; length.clamp(1, 1 << 20) as usize];
            loop {
                let n = source.read(&mut buffer).at("reading", blob.path())?;
                if n == 0 {
                    break;
                }
                hasher.update_rayon(&buffer[..n]);
                target.write_all(&buffer[..n]).at("writing", to)?;
            }
            if hasher.finalize().as_bytes() != digest.as_bytes() {
                return Err(self.wrong_content(digest, ROTTEN));
            }
            Ok(())
        })();
        if copied.is_err() {
            let _ = fs::remove_file(to);
        }
        copied
    }
}
