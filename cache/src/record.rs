//! What an action made, and whether all of it is still there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::{Digest, Key};
use crate::envelope::unwrap_json;
use crate::error::Error;
use crate::store::Store;

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
    /// Whether it is a file that may be executed. (A folder's listing says it of each file.)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// Separates what [`Output::identity`] makes of an executable file from the digest of any content.
const EXECUTABLE: &str = "flow-cache 1 executable";

impl Output {
    /// What tells it from any other output: the digest of its content, and for an executable file another one that is made of
    /// that.
    pub fn identity(&self) -> Digest {
        if self.executable {
            Digest::from_bytes(blake3::derive_key(EXECUTABLE, self.digest.as_bytes()))
        } else {
            self.digest
        }
    }
}

impl Store {
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

    /// Reads a record that a listing named; `None` where it was removed meanwhile.
    pub(crate) fn read_listed<T: serde::de::DeserializeOwned>(
        &self,
        path: &Path,
        key: impl Fn(&T) -> Key,
    ) -> Result<Option<(T, SystemTime)>, Error> {
        let Some((record, touched)) = self.read_record::<T>(path)? else {
            return Ok(None);
        };
        if self.record_path(&key(&record)) != path {
            let what = format!("the record {} is that of another key", path.display());
            return Err(Error::Damaged { what });
        }
        Ok(Some((record, touched)))
    }
}
