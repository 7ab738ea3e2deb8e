//! Notes: what the caller remembers from one process to the next, only to save time. Any of them may be deleted at any
//! moment, and gc does so.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::envelope::{unwrap_json, wrap_json};
use crate::error::{At, Error};
use crate::store::Store;

impl Store {
    /// Remembers a value under a name, in place of what the name stood for.
    ///
    /// # Errors
    /// Where the store can't be written. Nothing but time is lost then.
    pub fn note<T: Serialize>(&self, name: &Digest, value: &T) -> Result<(), Error> {
        self.prepare()?;
        let path = self.note_path(name);
        let folder = self.root().join("notes");
        fs::create_dir_all(&folder).at("making", &folder)?;
        let bytes = wrap_json(value).map_err(|e| Error::io("writing", &path, e.into()))?;
        // Not synced: a torn one is recognised, and is no loss.
        let temporary = self.temporary();
        let written = fs::write(&temporary, bytes)
            .at("writing", &temporary)
            .and_then(|()| fs::rename(&temporary, &path).at("writing", &path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// What is remembered under a name; none where nothing is, or it is damaged.
    pub fn noted<T: DeserializeOwned>(&self, name: &Digest) -> Option<T> {
        unwrap_json(&fs::read(self.note_path(name)).ok()?).ok()
    }

    fn note_path(&self, name: &Digest) -> PathBuf {
        self.root().join("notes").join(name.to_string())
    }
}
