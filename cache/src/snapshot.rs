//! Taking the user's small files in, so that a stage gets the bytes that were digested, and what a run keeps of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::blob::seal;
use crate::commit::Staged;
use crate::digest::Digest;
use crate::disk::list_folder;
use crate::envelope::{unwrap_json, wrap_json};
use crate::error::{At, Error};
use crate::inputs::{Own, bad, is_executable};
use crate::record::Output;
use crate::store::Store;
use crate::tree::{Entry, Tree};

/// The file in a run's folder that says what was taken in for it.
const FILE: &str = "snapshot";

/// What is small enough to be taken in, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// A file.
    pub file: u64,
    /// All files of a folder.
    pub folder: u64,
}

/// What was taken in for a run: path, as the caller names it, and content.
pub type Snapshot = BTreeMap<String, Output>;

impl Store {
    /// Takes files and folders of the user's in: each digested from the very bytes that were copied. None where it is larger than
    /// `bound`. Nobody's record names these contents: gc leaves them while this process lives, and then as long as a run's
    /// [snapshot](Store::keep_snapshot) does.
    ///
    /// # Errors
    /// As [`Store::digest_own`]; or where the store can't be written.
    pub fn take_in(
        &self,
        inputs: &[(&Path, Own<'_>)],
        bound: Bound,
    ) -> Result<Vec<Option<Output>>, Error> {
        self.prepare()?;
        self.inner.live.join(&self.note)?;
        let mut staged = Vec::new();
        let taken = inputs
            .iter()
            .map(|(path, own)| self.take_one(path, own, bound, &mut staged))
            .collect::<Result<Vec<_>, Error>>()
            .and_then(|taken| {
                self.place(&[&staged])?;
                Ok(taken)
            });
        if taken.is_err() {
            for file in &staged {
                let _ = fs::remove_file(&file.from);
            }
        }
        taken
    }

    fn take_one(
        &self,
        path: &Path,
        own: &Own<'_>,
        bound: Bound,
        staged: &mut Vec<Staged>,
    ) -> Result<Option<Output>, Error> {
        let stat = fs::metadata(path).map_err(|e| bad(path, e.to_string()))?;
        if stat.is_file() {
            let taken = self.take_file(path, bound.file, staged)?;
            return Ok(taken.map(|(digest, size, executable)| Output {
                digest,
                size,
                folder: false,
                artifact: "file".to_owned(),
                executable,
            }));
        }
        let found = self.own_files(path, own)?.files;
        let mut total = 0;
        for file in found.iter().filter_map(|(_, file)| file.as_ref()) {
            total += fs::metadata(file).at("reading", file)?.len();
        }
        if total > bound.folder {
            return Ok(None);
        }
        let mut entries = Vec::new();
        for (name, file) in found {
            let entry = match file {
                None => Entry::EmptyFolder,
                Some(file) => match self.take_file(&file, bound.folder, staged)? {
                    Some((digest, size, executable)) => Entry::File {
                        digest,
                        size,
                        executable,
                    },
                    // It has grown since.
                    None => return Ok(None),
                },
            };
            entries.push((name, entry));
        }
        let tree = Tree::new(entries);
        let output = tree.to_output();
        self.take_bytes(&output.digest, &tree.to_bytes(), staged)?;
        Ok(Some(output))
    }

    fn take_file(
        &self,
        path: &Path,
        bound: u64,
        staged: &mut Vec<Staged>,
    ) -> Result<Option<(Digest, u64, bool)>, Error> {
        let file = File::open(path).at("reading", path)?;
        let stat = file.metadata().at("reading", path)?;
        let mut bytes = Vec::with_capacity(usize::try_from(stat.len().min(bound)).unwrap_or(0));
        file.take(bound + 1)
            .read_to_end(&mut bytes)
            .at("reading", path)?;
        let size = bytes.len() as u64;
        if size > bound {
            return Ok(None);
        }
        let digest = Digest::of_bytes(&bytes);
        self.take_bytes(&digest, &bytes, staged)?;
        Ok(Some((digest, size, is_executable(&stat))))
    }

    /// Stages a blob. One that is there is sealed anew, so that a gc beside this takes it for one that came just now.
    fn take_bytes(
        &self,
        digest: &Digest,
        bytes: &[u8],
        staged: &mut Vec<Staged>,
    ) -> Result<(), Error> {
        let path = self.blob_path(digest);
        if self.check_blob(digest, bytes.len() as u64).is_ok()
            && File::open(&path).and_then(|blob| seal(&blob)).is_ok()
            && path.exists()
        {
            return Ok(());
        }
        if staged.iter().any(|other| other.to == path) {
            return Ok(());
        }
        let file = self.stage_bytes(bytes, path.clone(), staged)?;
        seal(&file).at("protecting", &path)
    }

    /// Notes what was taken in for a run, which keeps it from gc as long as the run's folder is there.
    ///
    /// # Errors
    /// Where the run's folder can't be written.
    pub fn keep_snapshot(&self, run: &str, snapshot: &Snapshot) -> Result<(), Error> {
        let path = self.make_run_folder(run)?.join(FILE);
        let bytes = wrap_json(snapshot).map_err(|e| Error::io("writing", &path, e.into()))?;
        self.write_atomically(&path, &bytes)
    }

    /// What was taken in for a run; none where it took nothing in, or its folder is gone or damaged.
    pub fn snapshot(&self, run: &str) -> Option<Snapshot> {
        unwrap_json(&fs::read(self.run_folder(run).join(FILE)).ok()?).ok()
    }

    /// The blobs that the snapshots of all runs name.
    pub(crate) fn kept_by_runs(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut kept = BTreeSet::new();
        for folder in list_folder(&self.root().join("runs"))? {
            let name = folder.file_name().and_then(|name| name.to_str());
            let snapshot = name.and_then(|run| self.snapshot(run)).unwrap_or_default();
            let listed = self.blobs_of(snapshot.values(), &mut |digest, _| {
                kept.insert(digest);
            });
            match listed {
                Ok(()) | Err(Error::Damaged { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(kept)
    }
}
