//! Which processes use the store now, so that gc leaves what they use.
//!
//! A process that looks anything up holds the kernel lock of one slot, `live/<n>`, until it ends; the slot's
//! modification time is when it began. It touches each record that it uses, unless that was touched less than
//! [`SLACK`] before it began: so a run that finds all its work done writes nothing. What was touched later than `SLACK`
//! before the oldest live process began is therefore everything that live processes can be using.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD};

use crate::disk::touch_now;
use crate::error::{At, Error};
use crate::lock::Holder;

/// How fresh a record's last touch may be for a process to leave it.
pub(crate) const SLACK: Duration = Duration::from_secs(30 * 60);

/// Who uses a store, and this process's place among them.
pub(crate) struct Live {
    /// The store's folder.
    root: PathBuf,
    /// How fresh a record's last touch may be for a process to leave it.
    slack: Duration,
    place: OnceLock<Place>,
}

/// This process's place among those that use the store.
struct Place {
    /// Locked until the store is closed, which is at the latest when the process ends.
    slot: File,
    /// Records last touched before this are touched when used.
    touch_before: SystemTime,
}

/// Held by the one gc that may run in the store at `root`.
pub(crate) fn gc_lock(root: &Path) -> PathBuf {
    root.join("locks").join("gc")
}

impl Live {
    /// Those who use the store at `root`; this process is not among them yet.
    pub fn at(root: PathBuf, slack: Duration) -> Live {
        Live {
            root,
            slack,
            place: OnceLock::new(),
        }
    }

    /// Takes a slot, once, if there is a store at all. To be called before a record is read. `note` is for people.
    pub fn join(&self, note: &str) -> Result<(), Error> {
        if self.place.get().is_none() && self.root.join("format").exists() {
            let place = self
                .take_slot(note)
                .at("announcing this process in", &self.root.join("live"))?;
            // Another thread may have been quicker: then the slot is given back here.
            let _ = self.place.set(place);
        }
        Ok(())
    }

    fn take_slot(&self, note: &str) -> io::Result<Place> {
        let folder = self.root.join("live");
        fs::create_dir_all(&folder)?;
        for n in 0u32.. {
            let mut slot = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(n.to_string()))?;
            match slot.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(e)) => return Err(e),
            }
            let holder = serde_json::to_vec(&Holder::here(note)).unwrap_or_default();
            let _ = slot.set_len(0).and_then(|()| slot.write_all(&holder));
            // The file system's clock, not ours: it also stamps the records, and hosts may disagree.
            rustix::fs::futimens(&slot, &touch_now())?;
            let since = slot.metadata()?.modified()?;
            // A gc that began before we took the slot does not know of us: then touch all. It takes its lock first and
            // looks at the slots second, we the other way round, so one of the two sees the other.
            let gc_runs = gc_lock(&self.root).exists();
            let touch_before = if gc_runs {
                since + self.slack * 1000
            } else {
                since - self.slack
            };
            return Ok(Place { slot, touch_before });
        }
        Err(ErrorKind::ResourceBusy.into())
    }

    /// Marks a record as used now, if its last touch is old. `false` where it is no longer there.
    pub fn touch(&self, record: &Path, touched: SystemTime) -> bool {
        if self.is_fresh(touched) {
            return true;
        }
        let done = rustix::fs::utimensat(CWD, record, &touch_now(), AtFlags::SYMLINK_NOFOLLOW);
        done != Err(rustix::io::Errno::NOENT)
    }

    /// Whether a record was touched so lately that gc leaves it while this process lives.
    pub fn is_fresh(&self, touched: SystemTime) -> bool {
        let place = self.place.get();
        place.is_none_or(|place| touched >= place.touch_before)
    }

    /// The number of processes that use the store, and since when they can be using what was touched.
    pub fn count(&self) -> Result<(usize, Option<SystemTime>), Error> {
        let folder = self.root.join("live");
        let mut count = 0;
        let mut oldest: Option<SystemTime> = None;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok((0, None)),
            Err(e) => return Err(Error::io("reading", &folder, e)),
        };
        for entry in entries {
            let path = entry.at("reading", &folder)?.path();
            let slot = File::open(&path).at("reading", &path)?;
            match slot.try_lock_shared() {
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(Error::io("locking", &path, e)),
            }
            count += 1;
            let since = slot
                .metadata()
                .and_then(|stat| stat.modified())
                .at("reading", &path)?
                - self.slack;
            oldest = Some(oldest.map_or(since, |other| other.min(since)));
        }
        Ok((count, oldest))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Closing the file isn't enough: a child that another thread is just starting has a copy until it becomes its
        // program, and the lock lasts as long as the last copy.
        let _ = self.slot.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::{Acquired, Budget, Digest, Draft, DraftOutput, Key, Lookup, Output, Store};

    /// A store as a process of its own would open it, with a slack so short that a gc really takes what others left.
    fn process(root: &Path) -> Store {
        let store = Store::open_with(root, Duration::from_millis(20));
        store.unwrap().trusting()
    }

    fn key(n: usize) -> Key {
        Key(Digest::of_bytes(&n.to_le_bytes()))
    }

    /// Eight contents for twice as many keys, so that what one record gives up another takes.
    fn content(n: usize) -> Vec<u8> {
        vec![n as u8 % 8; 100 + n % 8]
    }

    fn has(store: &Store, n: usize) -> Output {
        let patient = &mut |_: &Holder| ControlFlow::Continue(());
        let record = match store.acquire(&key(n), false, patient).unwrap() {
            Acquired::Hit(record) => record,
            Acquired::GaveUp => unreachable!(),
            Acquired::Lease(lease) => {
                assert_eq!(lease.damage(), None);
                lease.clear_work().unwrap();
                let path = lease.work().join("out");
                fs::write(&path, content(n)).unwrap();
                let artifact = String::new();
                let output = DraftOutput {
                    path,
                    artifact,
                    known: Default::default(),
                };
                let draft = Draft {
                    outputs: [("out".to_owned(), output)].into(),
                    ..Draft::default()
                };
                lease.commit(draft).unwrap()
            }
        };
        record.outputs["out"].clone()
    }

    /// A process that is being started has copies of its parent's files for a moment, and with them their locks.
    #[test]
    fn a_closed_store_is_not_in_use_whatever_was_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let store = process(folder.path());
        has(&store, 0);
        let inherited = store
            .inner
            .live
            .place
            .get()
            .unwrap()
            .slot
            .try_clone()
            .unwrap();
        let other = process(folder.path());
        assert_eq!(other.inner.live.count().unwrap().0, 1);
        drop(store);
        assert_eq!(other.inner.live.count().unwrap().0, 0);
        drop(inherited);
    }

    /// Processes come and go, and use what others made; a gc without mercy runs all the while. Whatever a process has once
    /// found stays until it ends.
    #[test]
    fn gc_takes_nothing_that_a_live_process_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let (finished, evicted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = Instant::now();
        let over = || start.elapsed() > Duration::from_secs(3);
        std::thread::scope(|scope| {
            for worker in 0..4usize {
                let (finished, over) = (&finished, &over);
                scope.spawn(move || {
                    for round in 0.. {
                        if over() {
                            break;
                        }
                        let store = process(root);
                        let mut found = Vec::new();
                        for i in 0..6 {
                            let n = (worker * 5 + round * 7 + i * 3) % 16;
                            found.push((n, has(&store, n)));
                        }
                        for (n, output) in &found {
                            assert_eq!(store.read(output).unwrap(), content(*n));
                            let known = store.lookup(&key(*n)).unwrap();
                            assert!(matches!(known, Lookup::Hit(_)), "{known:?}");
                        }
                        finished.fetch_add(1, Ordering::Relaxed);
                        drop(store);
                        // Now and then all are gone at once.
                        std::thread::sleep(Duration::from_millis(round as u64 * 13 % 40));
                    }
                });
            }
            while !over() {
                let budget = Budget {
                    max_bytes: Some(0),
                    max_age: None,
                };
                let plan = process(root)
                    .gc(&budget, false, || Ok::<_, Error>(HashSet::new()))
                    .unwrap();
                evicted.fetch_add(plan.evicted.len(), Ordering::Relaxed);
            }
        });
        println!("{finished:?} processes, {evicted:?} evicted");
        assert!(finished.into_inner() > 5 && evicted.into_inner() > 5);
        let found = process(root).verify(false).unwrap();
        assert!(found.problems.is_empty(), "{found:?}");
    }
}
