//! Exclusive kernel locks on files, and who holds one: a dead holder's lock is free at once.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::disk::touch_now;
use crate::error::{At, Error};

/// Who computes a key. For people to read; no decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Its process id; 0 where it can't be read (the holder has just begun).
    pub pid: u32,
    /// Its machine's name.
    pub host: String,
    /// What it said of itself with [`crate::Store::with_note`].
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

/// What a lock file says of its holder; the default where it can't be read.
pub(crate) fn read_holder(path: &Path) -> Holder {
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

    pub fn write_holder(&mut self, note: &str) -> Result<(), Error> {
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
