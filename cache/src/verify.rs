//! Reading everything again: does each file say what its name, or its own digest, says?

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::blob::{ROTTEN, has_digest, seal};
use crate::error::{At, Error};
use crate::lease::Lock;
use crate::record::unwrap_json;
use crate::scan::{Brief, list_folder};
use crate::{Digest, Key, Store, memo};

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verification {
    /// Records read.
    pub records: usize,
    /// Blobs hashed.
    pub blobs: usize,
    /// Bytes hashed.
    pub bytes: u64,
    /// What is wrong, sorted by path.
    pub problems: Vec<Problem>,
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

impl Store {
    /// Hashes every blob, reads every record, pin and note, the memo and what finished runs left. With `fix`, what is damaged is removed: a blob, the records
    /// that name it or are damaged themselves. Then those actions are misses.
    ///
    /// Runs of actions may go on beside it; with `fix` it waits for a gc that runs.
    ///
    /// # Errors
    /// Where the store can't be read (or with `fix`, written). Damage is not an error.
    pub fn verify(&self, fix: bool) -> Result<Verification, Error> {
        crate::store::check_format(self.root())?;
        if !self.root().join("format").exists() {
            return Ok(Verification::default());
        }
        let _lock = if fix { Some(self.lock_gc()?) } else { None };
        let mut found = Verification::default();

        let blobs = self.list("blobs")?;
        let checked: Vec<_> = blobs
            .par_iter()
            .map(|path| self.verify_blob(path, fix))
            .collect::<Result<_, Error>>()?;
        let mut damaged = HashSet::new();
        for (bytes, problem) in checked {
            found.blobs += 1;
            found.bytes += bytes;
            if let Some(problem) = problem {
                damaged.insert(problem.path.clone());
                found.problems.push(problem);
            }
        }

        for path in self.list("actions")? {
            found.records += 1;
            found
                .problems
                .extend(self.verify_record(&path, &damaged, fix)?);
        }
        for path in list_folder(&self.root().join("pins"))? {
            let bytes = fs::read(&path).at("reading", &path)?;
            if let Err(what) = unwrap_json::<Vec<Key>>(&bytes) {
                let fixed = fix && fs::remove_file(&path).is_ok();
                found.problems.push(Problem { path, what, fixed });
            }
        }
        for path in list_folder(&self.root().join("notes"))? {
            let bytes = fs::read(&path).at("reading", &path)?;
            if let Err(what) = unwrap_json::<serde::de::IgnoredAny>(&bytes) {
                let fixed = fix && fs::remove_file(&path).is_ok();
                found.problems.push(Problem { path, what, fixed });
            }
        }
        let path = self.memo_path();
        if let Err(what) = memo::check(&path) {
            let fixed = fix && fs::remove_file(&path).is_ok();
            found.problems.push(Problem { path, what, fixed });
        }
        found.problems.extend(self.verify_runs(fix)?);
        found.problems.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn verify_blob(&self, path: &Path, fix: bool) -> Result<(u64, Option<Problem>), Error> {
        let problem = |what: &str, fixed| {
            Some(Problem {
                path: path.to_owned(),
                what: what.to_owned(),
                fixed,
            })
        };
        let stat = match fs::symlink_metadata(path) {
            Ok(stat) => stat,
            // Taken by a gc since it was listed.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((0, None)),
            Err(e) => return Err(Error::io("reading", path, e)),
        };
        let digest = path
            .file_name()
            .and_then(|name| name.to_str()?.parse::<Digest>().ok());
        let Some(digest) = digest.filter(|digest| stat.is_file() && self.blob_path(digest) == path)
        else {
            return Ok((0, problem("is no blob: it does not belong here", false)));
        };
        let right = has_digest(path, &digest);
        if let Ok(true) = right {
            if fix {
                fs::File::open(path)
                    .and_then(|file| seal(&file))
                    .at("protecting", path)?;
            }
            return Ok((stat.len(), None));
        }
        let what = match right {
            Err(e) => format!("can't be read: {e}"),
            Ok(_) if stat.len() == 0 => "is empty".to_owned(),
            Ok(_) => ROTTEN.to_owned(),
        };
        // Only the file that was read: a commit may just have put a right one in its place.
        let fixed = fix && self.take_away(path, |now| now.ino() == stat.ino())?;
        Ok((stat.len(), problem(&what, fixed)))
    }

    fn verify_record(
        &self,
        path: &Path,
        damaged: &HashSet<PathBuf>,
        fix: bool,
    ) -> Result<Option<Problem>, Error> {
        let what = match self.read_listed(path, |brief: &Brief| brief.key) {
            Ok(None) => return Ok(None),
            Ok(Some((brief, _))) => match self.verify_outputs(&brief, damaged) {
                None => return Ok(None),
                Some(what) => what,
            },
            Err(Error::Damaged { what }) => {
                let which = format!("the record {} ", path.display());
                what.strip_prefix(&which).unwrap_or(&what).to_owned()
            }
            Err(e) => return Err(e),
        };
        // Evicted by a gc since it was read, and its blobs after it: then nothing is wrong.
        if !path.exists() {
            return Ok(None);
        }
        let key = path
            .file_stem()
            .and_then(|name| name.to_str()?.parse::<Key>().ok());
        let lock = key
            .filter(|_| fix)
            .map(|key| Lock::try_take(&self.lock_path(&key)))
            .transpose()?
            .flatten();
        // Under its lock, and only if it is still bad: a run may just have made it again.
        let fixed = lock.is_some() && (!self.is_bad(path) || self.take_away(path, |_| true)?);
        Ok(Some(Problem {
            path: path.to_owned(),
            what,
            fixed,
        }))
    }

    /// Whether a record is damaged, or an output of it.
    fn is_bad(&self, path: &Path) -> bool {
        match self.read_listed(path, |brief: &Brief| brief.key) {
            Ok(None) => false,
            Ok(Some((brief, _))) => brief
                .outputs
                .values()
                .any(|output| self.check(output).is_err()),
            Err(_) => true,
        }
    }

    fn verify_outputs(&self, brief: &Brief, damaged: &HashSet<PathBuf>) -> Option<String> {
        let mut wrong = None;
        let listed = self.blobs_of(brief.outputs.values(), &mut |digest, size| {
            let path = self.blob_path(&digest);
            let why = match fs::symlink_metadata(&path) {
                Err(_) => "is missing",
                Ok(_) if damaged.contains(&path) => "is damaged",
                Ok(stat) if size.is_some_and(|size| size != stat.len()) => "has another size",
                Ok(_) => return,
            };
            wrong.get_or_insert_with(|| format!("names the blob {digest}, which {why}"));
        });
        wrong.or_else(|| {
            listed.err().map(|e| match e {
                Error::Damaged { what } => what,
                other => other.to_string(),
            })
        })
    }

    /// Removes a file unless it was exchanged or touched since it was judged. Only under the lock of gc.
    ///
    /// It is looked at with `same`, taken aside, looked at again, and put back if that says no. A process that is killed in
    /// between leaves it aside under its own name, for [`Store::put_back`].
    pub(crate) fn take_away(
        &self,
        path: &Path,
        same: impl Fn(&fs::Metadata) -> bool,
    ) -> Result<bool, Error> {
        let gone = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
        match fs::symlink_metadata(path) {
            Ok(stat) if !same(&stat) => return Ok(false),
            Err(e) if gone(&e) => return Ok(true),
            _ => {}
        }
        let aside = self
            .root()
            .join("tmp")
            .join(path.file_name().unwrap_or_default());
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(e) if gone(&e) => return Ok(true),
            Err(e) => return Err(Error::io("removing", path, e)),
        }
        if same(&fs::symlink_metadata(&aside).at("reading", &aside)?) {
            fs::remove_file(&aside).at("removing", &aside)?;
            return Ok(true);
        }
        fs::rename(&aside, path).at("putting back", path)?;
        Ok(false)
    }

    /// Puts back what a process that was killed had taken aside. Only under the lock of gc.
    pub(crate) fn put_back(&self) -> Result<(), Error> {
        for aside in list_folder(&self.root().join("tmp"))? {
            let name = aside.file_name().unwrap_or_default().to_string_lossy();
            let place = match name.strip_suffix(".json") {
                Some(key) => key.parse().map(|key| self.record_path(&key)),
                None => name.parse().map(|digest| self.blob_path(&digest)),
            };
            let Ok(place) = place else { continue };
            // Not over what was made again meanwhile.
            match fs::hard_link(&aside, &place) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("putting back", &place, e));
                }
                _ => fs::remove_file(&aside).at("removing", &aside)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_exchanged_since_it_was_judged_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.prepare().unwrap();
        let path = folder.path().join("blobs/x");
        fs::write(&path, "judged").unwrap();
        let judged = fs::metadata(&path).unwrap();
        let newer = folder.path().join("tmp/newer");
        fs::write(&newer, "right").unwrap();
        fs::rename(&newer, &path).unwrap();
        assert!(
            !store
                .take_away(&path, |now| now.ino() == judged.ino())
                .unwrap()
        );
        assert_eq!(fs::read(&path).unwrap(), b"right");
        assert!(store.take_away(&path, |_| true).unwrap());
        assert!(!path.exists());
        assert!(store.take_away(&path, |_| true).unwrap(), "gone is gone");
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_gc_had_taken_aside_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.prepare().unwrap();
        let (one, two) = (Digest::of_bytes(b"1"), Digest::of_bytes(b"2"));
        let aside = |name: &str| folder.path().join("tmp").join(name);
        for place in [store.blob_path(&one), store.record_path(&Key(two))] {
            fs::create_dir(place.parent().unwrap()).unwrap();
        }
        fs::write(aside(&one.to_string()), "1").unwrap();
        fs::write(aside(&format!("{two}.json")), "old").unwrap();
        fs::write(store.record_path(&Key(two)), "made again").unwrap();
        fs::write(aside("17-1-0"), "someone's").unwrap();
        drop(store.lock_gc().unwrap());
        assert_eq!(fs::read(store.blob_path(&one)).unwrap(), b"1");
        let record = fs::read(store.record_path(&Key(two))).unwrap();
        assert_eq!(record, b"made again");
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 1);
    }
}
