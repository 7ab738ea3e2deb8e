//! Digests of input files and folders, which lie outside the store.

use std::fs::{self, File};
use std::path::Path;

use rayon::prelude::*;

use crate::digest::Digest;
use crate::error::{At, Error};
use crate::memo::{self, Stat};
use crate::store::Store;
use crate::tree::{Entry, Tree, walk};

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

impl Store {
    /// The digest of an input outside the store: of a file's content, or of a folder's tree. An output with the same
    /// content has the same digest.
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
        let found = walk(&path, true).map_err(|(at, why)| bad(&at, why))?;
        let entries: Result<Vec<_>, Error> = found
            .into_par_iter()
            .map(|(name, file)| match file {
                None => Ok((name, Entry::EmptyFolder)),
                Some(file) => {
                    let (digest, size) = self.digest_file(&file, None)?;
                    Ok((name, Entry::File { digest, size }))
                }
            })
            .collect();
        Ok(Tree::digest(&Tree::new(entries?).to_bytes()))
    }

    /// `looked`: when it was looked at just now, and its stat.
    fn digest_file(
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

fn bad(path: &Path, why: String) -> Error {
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
