//! Digests of input files and folders, which lie outside the store.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::digest::Digest;
use crate::error::{At, Error};
use crate::memo::{self, Stat};
use crate::record::Output;
use crate::store::Store;
use crate::tree::{Entry, Tree};
use crate::walk::{Links, walk};

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// How an input that a program reads is read: with its execute bits, without what tools leave behind.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    /// Links below a folder may lead to regular files below this one.
    pub root: &'a Path,
    /// What is left out below a folder: asked with the path there and whether it is a folder.
    pub leave_out: &'a (dyn Fn(&str, bool) -> bool + Sync),
}

/// The files of a folder that is read as [`Own`] says.
#[derive(Debug)]
pub struct OwnFiles {
    /// Path in the folder, and where the file is; none for an empty folder.
    pub files: Vec<(String, Option<PathBuf>)>,
    /// Whether the folder itself shows just these.
    pub whole: bool,
}

pub(crate) fn is_executable(stat: &fs::Metadata) -> bool {
    stat.mode() & 0o100 != 0
}

impl Store {
    /// What an input of a program is, without a look at content that was seen before. Its digest is that of an output with
    /// the same content.
    ///
    /// # Errors
    /// As [`Store::digest_path`]; and of links that lead elsewhere than [`Own`] allows.
    pub fn digest_own(&self, path: &Path, own: &Own<'_>) -> Result<Output, Error> {
        let path = std::path::absolute(path).at("finding", path)?;
        let now = memo::now();
        let stat = fs::metadata(&path).map_err(|e| bad(&path, e.to_string()))?;
        if stat.is_file() {
            let (digest, size) = self.digest_file(&path, Some((now, Stat::of(&stat))))?;
            return Ok(Output {
                digest,
                size,
                folder: false,
                artifact: "file".to_owned(),
                executable: is_executable(&stat),
            });
        }
        let found = self.own_files(&path, own)?.files;
        Ok(self.tree(found, true)?.to_output())
    }

    /// The files of a folder that a program reads.
    ///
    /// # Errors
    /// [`Error::BadInput`] where it is no folder, or a link in it leads elsewhere than [`Own`] allows.
    pub fn own_files(&self, folder: &Path, own: &Own<'_>) -> Result<OwnFiles, Error> {
        if !folder.is_dir() {
            return Err(bad(
                folder,
                "it is a special file (a pipe, socket or device)".to_owned(),
            ));
        }
        let found = walk(folder, Links::Within(own.root), own.leave_out)
            .map_err(|(at, why)| bad(&at, why))?;
        Ok(OwnFiles {
            files: found.files,
            whole: found.whole,
        })
    }

    /// The digest of an input outside the store: of a file's content, or of a folder's tree. Execute bits do not count; but for
    /// them an output with the same content has the same digest.
    ///
    /// Links are followed. A file that was seen with the same path, size, times and inode is not read again.
    ///
    /// # Errors
    /// [`Error::BadInput`] where it is not there or special, holds something special, has a cycle of links or a name that
    /// is not UTF-8, or changes while it is read.
    pub fn digest_path(&self, path: &Path) -> Result<Digest, Error> {
        let path = std::path::absolute(path).at("finding", path)?;
        let now = memo::now();
        let stat = fs::metadata(&path).map_err(|e| bad(&path, e.to_string()))?;
        if stat.is_file() {
            let looked = Some((now, Stat::of(&stat)));
            return Ok(self.digest_file(&path, looked)?.0);
        }
        if !stat.is_dir() {
            return Err(bad(
                &path,
                "it is a special file (a pipe, socket or device)".to_owned(),
            ));
        }
        let found =
            walk(&path, Links::Followed, &|_, _| false).map_err(|(at, why)| bad(&at, why))?;
        // Kinds read content alone, and their keys hold nothing else.
        Ok(Tree::digest(&self.tree(found.files, false)?.to_bytes()))
    }

    /// The tree of what a folder holds, with execute bits or without.
    fn tree(&self, found: Vec<(String, Option<PathBuf>)>, with_bits: bool) -> Result<Tree, Error> {
        let entries: Result<Vec<_>, Error> = found
            .into_par_iter()
            .map(|(name, file)| {
                let Some(file) = file else {
                    return Ok((name, Entry::EmptyFolder));
                };
                let now = memo::now();
                let stat = fs::metadata(&file).at("reading", &file)?;
                let (digest, size) = self.digest_file(&file, Some((now, Stat::of(&stat))))?;
                let executable = with_bits && is_executable(&stat);
                let entry = Entry::File {
                    digest,
                    size,
                    executable,
                };
                Ok((name, entry))
            })
            .collect();
        Ok(Tree::new(entries?))
    }

    /// `looked`: when it was looked at just now, and its stat.
    pub(crate) fn digest_file(
        &self,
        path: &Path,
        mut looked: Option<(i64, Stat)>,
    ) -> Result<(Digest, u64), Error> {
        for _ in 0..ATTEMPTS {
            let (now, stat) = match looked.take() {
                Some(looked) => looked,
                None => {
                    let now = memo::now();
                    (now, Stat::of(&fs::metadata(path).at("reading", path)?))
                }
            };
            if let Some(digest) = self.inner.memo.recall(path, &stat) {
                return Ok((digest, stat.size));
            }
            let digest = File::open(path)
                .and_then(|file| {
                    Digest::of_file_heard(&file, &mut |bytes| {
                        if let Some(hear) = &self.hear {
                            hear(path, bytes);
                        }
                    })
                })
                .at("hashing", path)?;
            if stat != Stat::of(&fs::metadata(path).at("reading", path)?) {
                continue;
            }
            self.inner.memo.learn(path, now, stat, digest);
            return Ok((digest, stat.size));
        }
        Err(bad(
            path,
            "something writes to it while it is read".to_owned(),
        ))
    }

    /// Writes what was learnt about input files for later runs, together with what other processes wrote meanwhile. Does
    /// nothing where nothing changed.
    ///
    /// # Errors
    /// Where the store can't be written. Nothing but time is lost then.
    pub fn save_memo(&self) -> Result<(), Error> {
        let memo = &self.inner.memo;
        memo.save(|bytes| {
            self.prepare()?;
            self.write_atomically(memo.path(), bytes)
        })
    }
}

pub(crate) fn bad(path: &Path, why: String) -> Error {
    Error::BadInput {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn remembers_and_forgets_by_stat() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let path = folder.path().join("input");
        fs::write(&path, "one").unwrap();
        let one = Digest::of_bytes(b"one");

        let store = Store::open(&root).unwrap();
        assert_eq!(store.digest_path(&path).unwrap(), one);
        store.save_memo().unwrap();
        assert!(
            !root.exists(),
            "a fresh file is not remembered, so nothing is written"
        );

        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(store.digest_path(&path).unwrap(), one);
        store.save_memo().unwrap();
        let later = Store::open(&root).unwrap();
        let now = Stat::of(&fs::metadata(&path).unwrap());
        assert_eq!(later.inner.memo.recall(&path, &now), Some(one));

        // Same size, and the mtime set back: the ctime tells.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert_eq!(later.digest_path(&path).unwrap(), Digest::of_bytes(b"two"));
    }
}
