//! Whether an action has been done and all that it made is still there. No lock is taken.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rayon::prelude::*;

use crate::digest::Key;
use crate::error::Error;
use crate::record::{Output, Record};
use crate::store::Store;

/// From this many keys on they are looked up by several threads: fewer take less time than threads take to start.
const MANY: usize = 64;

/// What [`Store::lookup`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// The record, and every blob that it names is there.
    Hit(Record),
    /// Nothing is known of this key.
    Miss,
    /// A record is there, but it or what it names is damaged: to be treated as a miss, and said aloud. One sentence.
    Damaged(String),
}

fn touched(stat: &fs::Metadata) -> i64 {
    stat.mtime() * 1_000_000_000 + stat.mtime_nsec()
}

impl Store {
    /// Whether the action with this key has been done, without waiting for anything.
    ///
    /// # Errors
    /// Only where the file system fails; damage is [`Lookup::Damaged`].
    pub fn lookup(&self, key: &Key) -> Result<Lookup, Error> {
        match self.lookup_once(key)? {
            // A gc beside us may have a blob in its hand that it is about to put back.
            Lookup::Damaged(_) => {
                std::thread::sleep(Duration::from_millis(10));
                self.lookup_once(key)
            }
            found => Ok(found),
        }
    }

    /// As [`Store::lookup`], of a whole wave at once, in its order. What is asked together is answered together: many keys on
    /// all cores.
    pub fn lookup_many(&self, keys: &[Key]) -> Vec<Result<Lookup, Error>> {
        if keys.len() < MANY {
            keys.iter().map(|key| self.lookup(key)).collect()
        } else {
            keys.par_iter().map(|key| self.lookup(key)).collect()
        }
    }

    fn lookup_once(&self, key: &Key) -> Result<Lookup, Error> {
        // A store that can't be written needs no place among the live: gc can't take anything from it.
        let _ = self.inner.live.join(&self.note);
        let path = self.record_path(key);
        let (record, touched) = match self.read_record::<Record>(&path) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Lookup::Miss),
            Err(Error::Damaged { what }) => return Ok(Lookup::Damaged(what)),
            Err(e) => return Err(e),
        };
        // Before its blobs are looked at: once it is touched a gc leaves them.
        if !self.inner.live.touch(&path, touched) {
            return Ok(Lookup::Miss);
        }
        if record.key != *key {
            return Ok(Lookup::Damaged(format!(
                "the record {} is that of another key",
                path.display()
            )));
        }
        for (role, output) in &record.outputs {
            match self.check(output) {
                Ok(()) => {}
                Err(Error::Damaged { what }) => {
                    return Ok(Lookup::Damaged(format!(
                        "output `{role}` of {key} is damaged: {what}"
                    )));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Lookup::Hit(record))
    }

    /// When the record of this key was last touched, in nanoseconds since 1970; for [`Store::is_untouched`].
    pub fn touched(&self, key: &Key) -> Option<i64> {
        let stat = fs::symlink_metadata(self.record_path(key)).ok()?;
        Some(touched(&stat))
    }

    /// Whether a record and the blobs that it names are as a [`Store::lookup`] found them when the record was `touched`: a
    /// `stat` each. `false` also where the record has to be touched again, which a lookup does.
    pub fn is_untouched(&self, key: &Key, touched_then: i64, outputs: &[Output]) -> bool {
        let _ = self.inner.live.join(&self.note);
        let path = self.record_path(key);
        fs::symlink_metadata(path).is_ok_and(|stat| {
            touched(&stat) == touched_then
                && stat
                    .modified()
                    .is_ok_and(|time| self.inner.live.is_fresh(time))
        }) && outputs.iter().all(|output| self.check(output).is_ok())
    }
}
