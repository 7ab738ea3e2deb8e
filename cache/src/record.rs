//! What an action made, and whether all of it is still there.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::tree::Tree;
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
pub(crate) fn seal<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let content = serde_json::to_string(content)?;
    let digest = Digest::of_bytes(content.as_bytes());
    Ok(format!("{HEAD}{digest}{MIDDLE}{content}{TAIL}").into_bytes())
}

/// What [`seal`] wrapped; `Err` says in a clause how it is damaged.
pub(crate) fn unseal<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
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

impl Store {
    /// Whether the action with this key has been done, without waiting for anything.
    ///
    /// # Errors
    /// Only where the file system fails; damage is [`Lookup::Damaged`].
    pub fn lookup(&self, key: &Key) -> Result<Lookup, Error> {
        let path = self.record_path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Lookup::Miss),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        let record: Record = match unseal(&bytes) {
            Ok(record) => record,
            Err(why) => {
                return Ok(Lookup::Damaged(format!(
                    "the record {} {why}",
                    path.display()
                )));
            }
        };
        if record.key != *key {
            return Ok(Lookup::Damaged(format!(
                "the record {} is that of another key",
                path.display()
            )));
        }
        for (role, output) in &record.outputs {
            if let Err(why) = self.check_output(output)? {
                return Ok(Lookup::Damaged(format!(
                    "output `{role}` of {key} is damaged: {why}"
                )));
            }
        }
        Ok(Lookup::Hit(record))
    }

    /// Whether all blobs of an output are there with their sizes; the inner `Err` says what is wrong.
    fn check_output(&self, output: &Output) -> Result<Result<(), String>, Error> {
        if !output.folder {
            return self.check_blob(&output.digest, output.size);
        }
        let tree = match self.read_tree(&output.digest) {
            Ok(tree) => tree,
            Err(Error::Damaged { what }) => return Ok(Err(what)),
            Err(e) => return Err(e),
        };
        for (_, digest, size) in tree.files() {
            if let Err(why) = self.check_blob(&digest, size)? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }

    fn check_blob(&self, digest: &Digest, size: u64) -> Result<Result<(), String>, Error> {
        let path = self.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(stat) if !stat.is_file() => {
                Ok(Err(format!("the blob {} is not a file", path.display())))
            }
            Ok(stat) if stat.len() != size => Ok(Err(format!(
                "the blob {} has {} bytes in place of {size}",
                path.display(),
                stat.len()
            ))),
            Ok(_) => Ok(Ok(())),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Ok(Err(format!("the blob {} is missing", path.display())))
            }
            Err(e) => Err(Error::io("reading", &path, e)),
        }
    }

    /// Reads a tree blob and checks its digest.
    pub(crate) fn read_tree(&self, digest: &Digest) -> Result<Tree, Error> {
        let path = self.blob_path(digest);
        let damaged = |why: &str| Error::Damaged {
            what: format!("the tree {} {why}", path.display()),
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(damaged("is missing")),
            Err(e) => return Err(Error::io("reading", &path, e)),
        };
        if Tree::digest(&bytes) != *digest {
            return Err(damaged("does not have the digest that its name states"));
        }
        Tree::from_bytes(&bytes).map_err(|why| damaged(&format!("can't be understood: {why}")))
    }
}
