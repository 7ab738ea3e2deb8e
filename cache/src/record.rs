//! What an action made, and whether all of it is still there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::{Digest, Key, Store};

/// One finished action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The action's key.
    pub key: Key,
    /// What the key was made of, readable; the store does not look into it.
    pub manifest: Value,
    /// What it made, by role.
    pub outputs: BTreeMap<String, Output>,
    /// Where, when and with what it was made; the store does not look into it.
    pub provenance: Value,
    /// Its figures; the store does not look into them.
    pub metrics: Map<String, Value>,
    /// How long it took to compute, in seconds.
    pub seconds: f64,
    /// When it was committed (RFC 3339, UTC).
    pub finished: String,
}

/// One output of an action: a file, or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The content's digest: of a file's bytes, or of a folder's tree blob.
    pub digest: Digest,
    /// The content's size in bytes: of a folder, the sum over its files.
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// The artifact type that the caller gave it, such as `npy`.
    pub artifact: String,
}

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

const HEAD: &str = "{\"blake3\":\"";
const MIDDLE: &str = "\",\"content\":";
const TAIL: &str = "}\n";

/// JSON in an envelope with its own digest, so that a flipped bit anywhere is seen: `{"blake3":"…","content":…}\n`.
pub(crate) fn wrap_json<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::to_string(content)?;
    let digest = Digest::of_bytes(content.as_bytes());
    Ok(format!("{HEAD}{digest}{MIDDLE}{content}{TAIL}").into_bytes())
}

/// What [`wrap_json`] wrapped; `Err` says in a clause how it is damaged.
pub(crate) fn unwrap_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let torn = || "is torn".to_owned();
    let rest = bytes.strip_prefix(HEAD.as_bytes()).ok_or_else(torn)?;
    let (digest, rest) = rest.split_at_checked(64).ok_or_else(torn)?;
    let content = rest
        .strip_prefix(MIDDLE.as_bytes())
        .and_then(|r| r.strip_suffix(TAIL.as_bytes()))
        .ok_or_else(torn)?;
    if Digest::of_bytes(content).to_string().as_bytes() != digest {
        return Err("does not have the digest that it states".to_owned());
    }
    serde_json::from_slice(content).map_err(|e| format!("can't be understood: {e}"))
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

    fn lookup_once(&self, key: &Key) -> Result<Lookup, Error> {
        // A store that can't be written needs no place among the live: gc can't take anything from it.
        let _ = self.join();
        let path = self.record_path(key);
        let (record, touched) = match self.read_record::<Record>(&path) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Lookup::Miss),
            Err(Error::Damaged { what }) => return Ok(Lookup::Damaged(what)),
            Err(e) => return Err(e),
        };
        // Before its blobs are looked at: once it is touched a gc leaves them.
        if !self.touch(&path, touched) {
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
        let _ = self.join();
        let path = self.record_path(key);
        fs::symlink_metadata(path).is_ok_and(|stat| {
            touched(&stat) == touched_then && stat.modified().is_ok_and(|time| self.is_fresh(time))
        }) && outputs.iter().all(|output| self.check(output).is_ok())
    }

    /// The record of an action, to be read about: nothing is touched, and whether its blobs are there is not looked at.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it can't be understood.
    pub fn record(&self, key: &Key) -> Result<Option<Record>, Error> {
        let path = self.record_path(key);
        Ok(self
            .read_listed(&path, |record: &Record| record.key)?
            .map(|(record, _)| record))
    }

    /// Reads a record, or part of one, and when it was last touched; `None` where there is none.
    pub(crate) fn read_record<T: DeserializeOwned>(
        &self,
        path: &Path,
    ) -> Result<Option<(T, SystemTime)>, Error> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|mut file| {
            let stat = file.metadata()?;
            bytes.reserve_exact(stat.len() as usize + 1);
            file.read_to_end(&mut bytes)?;
            stat.modified()
        });
        let touched = match read {
            Ok(touched) => touched,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("reading", path, e)),
        };
        match unwrap_json(&bytes) {
            Ok(record) => Ok(Some((record, touched))),
            Err(why) => Err(Error::Damaged {
                what: format!("the record {} {why}", path.display()),
            }),
        }
    }
}
