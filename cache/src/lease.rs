//! The right to compute one key: a kernel lock, so that a dead holder's is free at once.

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::{Digest, Key};
use crate::disk::{list_folder, remove_folder};
use crate::error::{At, Error};
use crate::lock::{Holder, Lock, read_holder};
use crate::lookup::Lookup;
use crate::record::Record;
use crate::store::Store;

const POLL: Duration = Duration::from_millis(50);

/// The first waits, of which nobody is told: a gc tries every lock for a moment.
const BRIEF: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(4)];

/// What [`Store::acquire`] ended with.
#[derive(Debug)]
pub enum Acquired {
    /// Someone has computed it.
    Hit(Record),
    /// The caller has to compute it.
    Lease(Lease),
    /// The callback gave up waiting.
    GaveUp,
}

/// The right to compute one key, and to commit it. Dropping it frees the key and keeps the work folder.
#[must_use]
pub struct Lease {
    pub(crate) store: Store,
    key: Key,
    work: PathBuf,
    damage: Option<String>,
    lock: Lock,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.key)
    }
}

impl Store {
    /// The record of `key`, or the right to compute it.
    ///
    /// While another process or thread computes it this waits, and calls `waiting` about every 50 ms;
    /// `Break` ends the wait. With `fresh` a record that is there is not looked at (it stays until the commit).
    ///
    /// # Errors
    /// Where the store can't be written or read.
    pub fn acquire(
        &self,
        key: &Key,
        fresh: bool,
        waiting: &mut dyn FnMut(&Holder) -> ControlFlow<()>,
    ) -> Result<Acquired, Error> {
        self.prepare()?;
        self.inner.live.join(&self.note)?;
        let path = self.lock_path(key);
        let mut tries = 0;
        let mut lock = loop {
            if let Some(lock) = Lock::try_take(&path)? {
                break lock;
            }
            tries += 1;
            if tries <= BRIEF.len() {
                std::thread::sleep(BRIEF[tries - 1]);
                continue;
            }
            if waiting(&read_holder(&path)).is_break() {
                return Ok(Acquired::GaveUp);
            }
            std::thread::sleep(POLL);
        };
        let damage = match self.lookup(key)? {
            Lookup::Hit(record) if !fresh => {
                // Left by a process that was killed between its commit and its cleaning up.
                let _ = remove_folder(&self.work_path(key));
                return Ok(Acquired::Hit(record));
            }
            Lookup::Damaged(why) => Some(why),
            Lookup::Hit(_) | Lookup::Miss => None,
        };
        lock.write_holder(&self.note)?;
        let work = self.work_path(key);
        fs::create_dir_all(&work).at("making", &work)?;
        Ok(Acquired::Lease(Lease {
            store: self.clone(),
            key: *key,
            work,
            damage,
            lock,
        }))
    }
}

/// The right to work in a folder outside the store, as long as it lives.
#[must_use]
pub struct Claim {
    _lock: Lock,
}

impl Store {
    /// Waits for the right to work in a folder outside the store, which one at a time has among those that use this store.
    /// Calls `waiting` about every 50 ms; none where that breaks the wait.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn claim(
        &self,
        folder: &Path,
        waiting: &mut dyn FnMut(&Holder) -> ControlFlow<()>,
    ) -> Result<Option<Claim>, Error> {
        self.prepare()?;
        let path = folder.as_os_str().as_encoded_bytes();
        let path = self.lock_path(&Key(Digest::of_bytes(path)));
        loop {
            if let Some(mut lock) = Lock::try_take(&path)? {
                lock.write_holder(&self.note)?;
                return Ok(Some(Claim { _lock: lock }));
            }
            if waiting(&read_holder(&path)).is_break() {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Lease {
    /// The key to compute.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The folder to compute in. It is there, and holds what an earlier attempt that ended early left in it.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// What was wrong with the record that was there, if one was: a sentence to be said aloud.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Empties the work folder.
    ///
    /// # Errors
    /// Where something in it can't be removed.
    pub fn clear_work(&self) -> Result<(), Error> {
        for entry in list_folder(&self.work)? {
            if entry.is_dir() && !entry.is_symlink() {
                remove_folder(&entry)?;
            } else {
                fs::remove_file(&entry).at("removing", &entry)?;
            }
        }
        Ok(())
    }

    /// Gives the key up. What is in the work folder stays for the next attempt if `keep_work`.
    pub fn abandon(self, keep_work: bool) {
        if !keep_work {
            let _ = remove_folder(&self.work);
        }
        self.lock.release();
    }
}
