//! Reading everything again: does each file say what its name, or its own digest, says?

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::blob::{Presence, ROTTEN, has_digest, seal};
use crate::digest::{Digest, Key};
use crate::disk::list_folder;
use crate::envelope::unwrap_json;
use crate::error::{At, Error, Problem};
use crate::lock::Lock;
use crate::memo;
use crate::scan::Brief;
use crate::store::{Store, check_format};

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

impl Store {
    /// Hashes every blob, reads every record, pin and note, the memo and what finished runs left. With `fix`, what is damaged is removed: a blob, the records
    /// that name it or are damaged themselves. Then those actions are misses.
    ///
    /// Runs of actions may go on beside it; with `fix` it waits for a gc that runs.
    ///
    /// # Errors
    /// Where the store can't be read (or with `fix`, written). Damage is not an error.
    pub fn verify(&self, fix: bool) -> Result<Verification, Error> {
        check_format(self.root())?;
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
        let path = self.inner.memo.path().to_owned();
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
        let fixed = fix && self.take_blob_away(path, &stat)?;
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
            let why = match self.presence(&digest) {
                Ok(Presence::Absent) | Err(_) => "is missing",
                Ok(Presence::Here(_)) if damaged.contains(&self.blob_path(&digest)) => "is damaged",
                Ok(Presence::Here(stat)) if size.is_some_and(|size| size != stat.len()) => {
                    "has another size"
                }
                Ok(Presence::Here(_)) => return,
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
}
