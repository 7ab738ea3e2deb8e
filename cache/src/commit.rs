//! From a draft to a record: hash, sync, move into place, write the record. The record's rename is the commit point.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::blob::seal;
use crate::digest::Digest;
use crate::disk::sync;
use crate::envelope::wrap_json;
use crate::error::{At, Error};
use crate::inputs::is_executable;
use crate::lease::Lease;
use crate::record::{Output, Record};
use crate::store::Store;
use crate::tree::{Entry, Tree};
use crate::walk::{Links, walk};

/// What an action made, before it is stored.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// What the key was made of, readable.
    pub manifest: Value,
    /// What it made, by role.
    pub outputs: BTreeMap<String, DraftOutput>,
    /// Where, when and with what it was made.
    pub provenance: Value,
    /// Its figures.
    pub metrics: Map<String, Value>,
    /// How long it took to compute, in seconds.
    pub seconds: f64,
}

/// One output: a file or folder below the lease's work folder.
#[derive(Debug, Clone)]
pub struct DraftOutput {
    /// Where it is.
    pub path: PathBuf,
    /// The artifact type that its record gets.
    pub artifact: String,
    /// What else is in a folder and in the store already, by its path in the folder. None of it lies at `path`.
    pub known: BTreeMap<String, Output>,
}

/// A finished file that waits to be moved to its place.
pub(crate) struct Staged {
    pub from: PathBuf,
    /// Whether `from` is ours to remove when the commit fails.
    pub temporary: bool,
    pub to: PathBuf,
}

/// No more files than this are made durable one by one.
const FEW: usize = 2;

/// More files than this are made durable by one sync of the whole file system, which costs less than one a file.
const MANY: usize = 32;

impl Lease {
    /// Stores the outputs and writes the record; then the work folder is removed and the key is free.
    ///
    /// Files are moved out of the work folder. After an error the key is free and the work folder is left, but what was to be
    /// stored may be read-only or gone from it; there is no new record, unless all but the last sync succeeded.
    ///
    /// # Errors
    /// [`Error::BadOutput`] where an output is not there, is a link, special, or outside the work folder;
    /// [`Error::Full`] and the like where the store can't be written.
    pub fn commit(self, draft: Draft) -> Result<Record, Error> {
        let mut staged = Vec::new();
        let committed = self.write(draft, &mut staged);
        if committed.is_err() {
            for file in staged.iter().filter(|file| file.temporary) {
                let _ = fs::remove_file(&file.from);
            }
            self.abandon(true);
        } else {
            self.abandon(false);
        }
        committed
    }

    fn write(&self, draft: Draft, staged: &mut Vec<Staged>) -> Result<Record, Error> {
        let outputs = draft
            .outputs
            .into_iter()
            .map(|(role, output)| Ok((role.clone(), self.stage(&role, output, staged)?)))
            .collect::<Result<_, Error>>()?;
        let record = Record {
            key: *self.key(),
            manifest: draft.manifest,
            outputs,
            provenance: draft.provenance,
            metrics: draft.metrics,
            seconds: draft.seconds,
            finished: jiff::Timestamp::now().to_string(),
        };
        let path = self.store.record_path(self.key());
        let bytes = wrap_json(&record).map_err(|e| Error::io("writing", &path, e.into()))?;
        // Not sealed: its modification time says when it was last of use.
        self.store.stage_bytes(&bytes, path, staged)?;
        let (blobs, record_file) = staged.split_at(staged.len() - 1);
        self.store.place(&[blobs, record_file])?;
        Ok(record)
    }

    /// Checks, seals and hashes one output. Nothing is moved yet, so that a bad output leaves all of them where they are.
    fn stage(
        &self,
        role: &str,
        output: DraftOutput,
        staged: &mut Vec<Staged>,
    ) -> Result<Output, Error> {
        let DraftOutput {
            path,
            artifact,
            known,
        } = output;
        let bad = |why: String| Error::BadOutput {
            role: role.to_owned(),
            why,
        };
        let stat = fs::symlink_metadata(&path)
            .map_err(|e| bad(format!("{} is not there ({e})", path.display())))?;
        let parent = path.parent().unwrap_or(&path);
        let inside = parent.canonicalize().at("reading", parent)?;
        if path.file_name().is_none()
            || !inside.starts_with(self.work().canonicalize().at("reading", self.work())?)
        {
            return Err(bad(format!(
                "{} is outside the work folder {}",
                path.display(),
                self.work().display()
            )));
        }
        if stat.is_symlink() {
            return Err(bad(format!(
                "{} is a symbolic link; write the file itself",
                path.display()
            )));
        }
        if stat.is_file() {
            let size = stat.len();
            let (file, digest) = self.store.stage_file(&path, size)?;
            staged.push(file);
            return Ok(Output {
                digest,
                size,
                folder: false,
                artifact,
                executable: is_executable(&stat),
            });
        }
        if !stat.is_dir() {
            return Err(bad(format!(
                "{} is a special file (a pipe, socket or device)",
                path.display()
            )));
        }
        let found = walk(&path, Links::Refused, &|_, _| false)
            .map_err(|(at, why)| bad(format!("{}: {why}", at.display())))?;
        let entries = found
            .files
            .into_par_iter()
            .map(|(name, file)| {
                let Some(path) = file else {
                    return Ok((name, Entry::EmptyFolder, None));
                };
                let stat = fs::symlink_metadata(&path).at("reading", &path)?;
                let (file, digest) = self.store.stage_file(&path, stat.len())?;
                let entry = Entry::File {
                    digest,
                    size: stat.len(),
                    executable: is_executable(&stat),
                };
                Ok((name, entry, Some(file)))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let mut named = Vec::new();
        for (name, entry, file) in entries {
            staged.extend(file);
            // What is known may lie in a folder of which nothing else is there.
            let is_known = |known: &String| Path::new(known).starts_with(&name);
            if entry != Entry::EmptyFolder || !known.keys().any(is_known) {
                named.push((name, entry));
            }
        }
        for (name, output) in known {
            named.extend(self.store.entries(&name, &output)?);
        }
        let tree = Tree::new(named);
        let output = tree.to_output();
        let path = self.store.blob_path(&output.digest);
        let file = self
            .store
            .stage_bytes(&tree.to_bytes(), path.clone(), staged)?;
        seal(&file).at("protecting", &path)?;
        Ok(Output { artifact, ..output })
    }
}

impl Store {
    /// What a folder holds that has this output at `name`.
    fn entries(&self, name: &str, output: &Output) -> Result<Vec<(String, Entry)>, Error> {
        if !output.folder {
            let entry = Entry::File {
                digest: output.digest,
                size: output.size,
                executable: output.executable,
            };
            return Ok(vec![(name.to_owned(), entry)]);
        }
        let entries = self.read_tree(&output.digest)?.entries;
        if entries.is_empty() {
            return Ok(vec![(name.to_owned(), Entry::EmptyFolder)]);
        }
        let inside = |(path, entry)| (format!("{name}/{path}"), entry);
        Ok(entries.into_iter().map(inside).collect())
    }

    /// Seals and hashes a file of the work folder.
    fn stage_file(&self, path: &Path, size: u64) -> Result<(Staged, Digest), Error> {
        // First by path: a program may have made the file unreadable.
        fs::set_permissions(path, Permissions::from_mode(0o444)).at("protecting", path)?;
        let mut file = File::open(path).at("reading", path)?;
        let stat = file.metadata().at("reading", path)?;
        let mut from = path.to_owned();
        // A file with a second name could be changed through it after it became a blob, and one on another file system
        // (a work folder that is a mount) can't be moved here: store a copy of such.
        let temporary = stat.nlink() > 1 || stat.dev() != self.device()?;
        if temporary {
            from = self.temporary();
            if let Err(e) = reflink_copy::reflink_or_copy(path, &from) {
                let _ = fs::remove_file(&from);
                return Err(Error::io("copying into the store", path, e));
            }
            file = File::open(&from).at("reading", &from)?;
        }
        seal(&file).at("protecting", &from)?;
        let state = || {
            file.metadata()
                .map(|stat| (stat.mtime(), stat.mtime_nsec(), stat.len()))
                .at("reading", &from)
        };
        let before = state()?;
        let digest = Digest::of_file(&file).at("hashing", &from)?;
        if before != state()? || before.2 != size {
            return Err(Error::Io {
                doing: "storing",
                path: path.to_owned(),
                cause: io::Error::new(ErrorKind::ResourceBusy, "something still writes to it"),
            });
        }
        Ok((
            Staged {
                from,
                temporary,
                to: self.blob_path(&digest),
            },
            digest,
        ))
    }

    /// Writes a file of ours under `tmp/`.
    pub(crate) fn stage_bytes(
        &self,
        bytes: &[u8],
        to: PathBuf,
        staged: &mut Vec<Staged>,
    ) -> Result<File, Error> {
        let from = self.temporary();
        staged.push(Staged {
            from: from.clone(),
            temporary: true,
            to,
        });
        let mut file = File::create_new(&from).at("making", &from)?;
        file.write_all(bytes).at("writing", &from)?;
        Ok(file)
    }

    /// Makes staged files durable and moves them to their places, one group after the other: the record when the names of all
    /// others are durable. So not even a power cut leaves a record without its blobs, whatever order the file system keeps.
    ///
    /// Three waits for the disk in all, whatever the number of files.
    pub(crate) fn place(&self, groups: &[&[Staged]]) -> Result<(), Error> {
        let staged = || groups.iter().copied().flatten();
        self.sync_each(staged().map(|file| file.from.as_path()).collect())?;
        for files in groups {
            let mut folders = BTreeSet::new();
            for Staged { from, to, .. } in *files {
                let folder = to.parent().unwrap_or(self.root());
                match fs::create_dir(folder) {
                    Ok(()) => {
                        folders.extend(folder.parent());
                    }
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(Error::io("making", folder, e)),
                }
                // What is there already is replaced: it may have been damaged since, and this content is known to be right.
                fs::rename(from, to).at("storing", to)?;
                folders.insert(folder);
            }
            self.sync_each(folders.into_iter().collect())?;
        }
        let digests = staged().filter_map(|file| file.to.file_name());
        digests
            .filter_map(|name| name.to_str()?.parse().ok())
            .for_each(|digest| self.remember_hashed(digest));
        Ok(())
    }

    fn sync_each(&self, paths: Vec<&Path>) -> Result<(), Error> {
        if paths.len() > MANY {
            self.sync_all()
        } else if paths.len() > FEW {
            // In parallel, since the file system then answers several with one write.
            paths.into_par_iter().try_for_each(sync)
        } else {
            // The usual stage has these few. Threads that wait for work would spin meanwhile, for longer than the disk takes.
            paths.into_iter().try_for_each(sync)
        }
    }

    fn device(&self) -> Result<u64, Error> {
        Ok(fs::metadata(self.root()).at("reading", self.root())?.dev())
    }

    /// Makes everything on the store's file system durable.
    fn sync_all(&self) -> Result<(), Error> {
        let root = File::open(self.root()).at("reading", self.root())?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&root).at("syncing", self.root())?;
        #[cfg(not(target_os = "linux"))]
        {
            rustix::fs::sync();
            root.sync_all().at("syncing", self.root())?;
        }
        Ok(())
    }
}
