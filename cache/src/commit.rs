//! From a draft to a record: hash, sync, move into place, write the record. The record's rename is the commit point.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{At, Error};
use crate::record::seal;
use crate::store::sync_folder;
use crate::tree::{Entry, Tree, walk};
use crate::{Digest, Lease, Output, Record, Store};

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
    /// The artifact type that it is to be recorded with.
    pub artifact: String,
}

/// A file that is hashed and waits to be moved to its blob.
struct Staged {
    from: PathBuf,
    digest: Digest,
}

impl Lease {
    /// Stores the outputs and writes the record; then the work folder is removed and the key is free.
    ///
    /// Files are moved out of the work folder. After an error no record was written, and the work folder is left.
    ///
    /// # Errors
    /// [`Error::BadOutput`] where an output is not there, is a link, special, or outside the work folder;
    /// [`Error::Full`] and the like where the store can't be written.
    pub fn commit(self, draft: Draft) -> Result<Record, Error> {
        let store = &self.store;
        let mut staged = Vec::new();
        let mut outputs = BTreeMap::new();
        for (role, output) in draft.outputs {
            let stored = self.stage(&role, &output, &mut staged)?;
            outputs.insert(role, stored);
        }
        let record = Record {
            key: self.key,
            manifest: draft.manifest,
            outputs,
            provenance: draft.provenance,
            metrics: draft.metrics,
            seconds: draft.seconds,
            finished: jiff::Timestamp::now().to_string(),
        };
        let path = store.record_path(&self.key);
        let bytes = seal(&record).map_err(|e| Error::io("writing", &path, e.into()))?;
        store.place(&staged)?;
        store.make_parent(&path)?;
        store.write_atomically(&path, &bytes)?;
        self.finish();
        Ok(record)
    }

    /// Checks and hashes one output. Nothing is moved yet, so that a bad output leaves all of them where they are.
    fn stage(
        &self,
        role: &str,
        output: &DraftOutput,
        staged: &mut Vec<Staged>,
    ) -> Result<Output, Error> {
        let bad = |why: String| Error::BadOutput {
            role: role.to_owned(),
            why,
        };
        let path = &output.path;
        let stat = fs::symlink_metadata(path)
            .map_err(|e| bad(format!("{} is not there ({e})", path.display())))?;
        let parent = path.parent().unwrap_or(path);
        let inside = parent.canonicalize().at("reading", parent)?;
        if !inside.starts_with(self.work().canonicalize().at("reading", self.work())?) {
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
        let artifact = output.artifact.clone();
        if stat.is_file() {
            let (digest, size) = self.store.stage_file(path, staged)?;
            return Ok(Output {
                digest,
                size,
                folder: false,
                artifact,
            });
        }
        if !stat.is_dir() {
            return Err(bad(format!(
                "{} is a special file (a pipe, socket or device)",
                path.display()
            )));
        }
        let found =
            walk(path, false).map_err(|(at, why)| bad(format!("{}: {why}", at.display())))?;
        let mut entries = Vec::with_capacity(found.len());
        for (name, file) in found {
            let entry = match file {
                None => Entry::EmptyFolder,
                Some(file) => {
                    let (digest, size) = self.store.stage_file(&file, staged)?;
                    Entry::File { digest, size }
                }
            };
            entries.push((name, entry));
        }
        let tree = Tree::new(entries);
        let bytes = tree.to_bytes();
        let digest = Tree::digest(&bytes);
        let from = self.store.temporary();
        fs::write(&from, &bytes).at("writing", &from)?;
        staged.push(Staged { from, digest });
        Ok(Output {
            digest,
            size: tree.size(),
            folder: true,
            artifact,
        })
    }
}

impl Store {
    /// Makes a file of the work folder read-only and hashes it.
    fn stage_file(&self, path: &Path, staged: &mut Vec<Staged>) -> Result<(Digest, u64), Error> {
        fs::set_permissions(path, Permissions::from_mode(0o444)).at("protecting", path)?;
        let before = fs::symlink_metadata(path).at("reading", path)?;
        let mut from = path.to_owned();
        // A file with a second name could be changed through it after it became a blob. Store a copy of such.
        if before.nlink() > 1 {
            from = self.temporary();
            reflink_copy::reflink_or_copy(path, &from).at("copying", path)?;
            fs::set_permissions(&from, Permissions::from_mode(0o444)).at("protecting", &from)?;
        }
        let digest = Digest::of_file(&from).at("hashing", &from)?;
        staged.push(Staged { from, digest });
        Ok((digest, before.len()))
    }

    /// Makes staged files durable, then moves them to their names, then makes the names durable.
    fn place(&self, staged: &[Staged]) -> Result<(), Error> {
        for file in staged {
            File::open(&file.from)
                .and_then(|f| f.sync_all())
                .at("syncing", &file.from)?;
        }
        let mut folders = BTreeSet::new();
        for file in staged {
            let blob = self.blob_path(&file.digest);
            self.make_parent(&blob)?;
            // What is there already is replaced: it may have been damaged since, and this content is known to be right.
            fs::rename(&file.from, &blob).at("storing", &blob)?;
            folders.extend(blob.parent().map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    fn make_parent(&self, path: &Path) -> Result<(), Error> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        match fs::create_dir(parent) {
            Ok(()) => parent.parent().map_or(Ok(()), sync_folder),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(Error::io("making", parent, e)),
        }
    }
}
