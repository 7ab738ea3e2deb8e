//! The right to compute one key: a kernel lock, so that a dead holder's is free at once.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{At, Error};
use crate::live::touch_now;
use crate::{Key, Lookup, Record, Store};

const POLL: Duration = Duration::from_millis(50);

/// The first waits, of which nobody is told: a gc tries every lock for a moment.
const BRIEF: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(4)];

/// Who computes a key. For people to read; no decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Its process id; 0 where it can't be read (the holder has just begun).
    pub pid: u32,
    /// Its machine's name.
    pub host: String,
    /// What it said of itself with [`Store::with_note`].
    pub note: String,
    /// Since when (RFC 3339, UTC).
    pub since: String,
}

impl Holder {
    /// This process.
    pub(crate) fn here(note: &str) -> Holder {
        Holder {
            pid: std::process::id(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            note: note.to_owned(),
            since: jiff::Timestamp::now().to_string(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("another process");
        }
        write!(f, "process {} on {}", self.pid, self.host)?;
        if self.note.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.note)
        }
    }
}

/// What [`Store::acquire`] ended with.
#[derive(Debug)]
pub enum Acquired {
    /// Someone has computed it.
    Hit(Record),
    /// The caller is to compute it.
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
        self.join()?;
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

impl Lease {
    /// The key that is to be computed.
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
        remove_folder(&self.work)?;
        fs::create_dir_all(&self.work).at("making", &self.work)
    }

    /// Gives the key up. What is in the work folder stays for the next attempt if `keep_work`.
    pub fn abandon(self, keep_work: bool) {
        if !keep_work {
            let _ = remove_folder(&self.work);
        }
        self.lock.release();
    }
}

/// Removes a folder and all in it, also where a program made folders in it read-only.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            make_writable(folder);
            fs::remove_dir_all(folder).at("removing", folder)
        }
        Err(e) => Err(Error::io("removing", folder, e)),
    }
}

fn make_writable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

fn read_holder(path: &Path) -> Holder {
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// An exclusive kernel lock on a file that exists only while someone holds or wants it.
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, or says that someone else has it.
    pub fn try_take(path: &Path) -> Result<Option<Lock>, Error> {
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .at("making", path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(Error::io("locking", path, e)),
            }
            // Who had it before may have removed the file between our open and our lock: then this is a lock on
            // nothing, and another process can hold the name.
            let held = file.metadata().at("reading", path)?;
            match fs::metadata(path) {
                Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => {
                    return Ok(Some(Lock {
                        file,
                        path: path.to_owned(),
                    }));
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("reading", path, e)),
            }
        }
    }

    fn write_holder(&mut self, note: &str) -> Result<(), Error> {
        let text = serde_json::to_vec(&Holder::here(note)).unwrap_or_default();
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all(&text))
            .at("writing", &self.path)
    }

    /// Sets the lock file's modification time to now, and says what the file system takes for now.
    pub(crate) fn touch(&self) -> Result<SystemTime, Error> {
        rustix::fs::futimens(&self.file, &touch_now()).at("touching", &self.path)?;
        self.file
            .metadata()
            .and_then(|stat| stat.modified())
            .at("reading", &self.path)
    }

    /// Frees the lock and removes its file.
    pub fn release(self) {}
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while held, so that nobody else's lock is removed; the lock itself ends when the file is closed.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// Each release removes the file, so that threads often lock one that has just lost its name.
    #[test]
    fn only_one_holds_a_lock_though_its_file_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (inside, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    // However the system shares its processors out: until it was held often.
                    while taken.load(Ordering::Relaxed) < 2000 {
                        let Some(lock) = Lock::try_take(&path).unwrap() else {
                            std::thread::yield_now();
                            continue;
                        };
                        assert!(!inside.swap(true, Ordering::SeqCst), "two hold it");
                        std::thread::yield_now();
                        inside.store(false, Ordering::SeqCst);
                        taken.fetch_add(1, Ordering::Relaxed);
                        drop(lock);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
