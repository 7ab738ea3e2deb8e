//! Pins: named sets of keys that gc leaves alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::digest::Key;
use crate::disk::list_folder;
use crate::envelope::{unwrap_json, wrap_json};
use crate::error::{At, Error};
use crate::store::Store;

impl Store {
    /// Keeps these keys from gc under this name, in place of what the name stood for.
    ///
    /// Waits while a gc runs; a record that the gc took, or that never was there, is pinned all the same: look the keys up
    /// afterwards to know.
    ///
    /// # Errors
    /// [`Error::BadName`]; or where the store can't be written.
    pub fn pin(&self, name: &str, keys: &[Key]) -> Result<(), Error> {
        let path = self.pin_path(name)?;
        let _lock = self.lock_gc()?;
        let folder = self.root().join("pins");
        fs::create_dir_all(&folder).at("making", &folder)?;
        let bytes = wrap_json(&keys).map_err(|e| Error::io("writing", &path, e.into()))?;
        self.write_atomically(&path, &bytes)
    }

    /// Removes a pin. `false` where there was none of this name.
    ///
    /// # Errors
    /// [`Error::BadName`]; or where the store can't be written.
    pub fn unpin(&self, name: &str) -> Result<bool, Error> {
        let path = self.pin_path(name)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("removing", &path, e)),
        }
    }

    /// All pins: name to keys.
    ///
    /// # Errors
    /// [`Error::Damaged`] where one can't be read: then nobody knows what it pins.
    pub fn pins(&self) -> Result<BTreeMap<String, Vec<Key>>, Error> {
        let mut pins = BTreeMap::new();
        for path in list_folder(&self.root().join("pins"))? {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("reading", &path, e)),
            };
            let keys = unwrap_json(&bytes).map_err(|why| Error::Damaged {
                what: format!(
                    "the pin {} {why}; pin `{name}` again, or unpin it",
                    path.display()
                ),
            })?;
            pins.insert(name, keys);
        }
        Ok(pins)
    }

    fn pin_path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | ' ');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain)
        {
            return Err(Error::BadName(name.to_owned()));
        }
        Ok(self.root().join("pins").join(format!("{name}.json")))
    }
}
