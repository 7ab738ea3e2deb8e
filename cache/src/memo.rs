//! Digests of input files, remembered by their stat so that an unchanged file is not read again.
//!
//! The file `memo` in the store has one line a file, below a line with the digest of the rest. It may be deleted.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use crate::error::{At, Error};
use crate::tree::{Entry, Tree, walk};
use crate::{Digest, Store};

/// A file changed less than this long before it was looked at is not remembered: a later write in the same tick of its
/// file system's clock (two seconds on FAT) would leave the same stat. git calls such an entry racily clean.
const RACY: i64 = 2_000_000_000;

/// An entry that no run used for this many days is dropped.
const FORGET_DAYS: u64 = 60;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

const MAGIC: &str = "flow-cache memo 1 ";

/// What tells one state of a file from another. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    size: u64,
    modified: i64,
    changed: i64,
    inode: u64,
}

impl Stat {
    fn of(stat: &Metadata) -> Stat {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Stat {
            size: stat.len(),
            modified: nanoseconds(stat.mtime(), stat.mtime_nsec()),
            changed: nanoseconds(stat.ctime(), stat.ctime_nsec()),
            inode: stat.ino(),
        }
    }

    /// Whether a write after `now` (nanoseconds since 1970) could go unseen.
    fn is_racy(&self, now: i64) -> bool {
        now.saturating_sub(self.modified.max(self.changed)) < RACY
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    stat: Stat,
    digest: Digest,
    /// The day (since 1970) on which it was last of use, give or take a week.
    day: u64,
}

/// What is remembered, by absolute path.
#[derive(Default)]
pub(crate) struct Memo {
    seen: Option<HashMap<PathBuf, Seen>>,
    changed: bool,
}

impl Store {
    /// The digest of an input outside the store: of a file's content, or of a folder's tree. An output with the same
    /// content has the same digest.
    ///
    /// Links are followed. A file that was seen with the same path, size, times and inode is not read again.
    ///
    /// # Errors
    /// [`Error::BadInput`] where it is not there or special, holds something special, has a cycle of links or a name that
    /// is not UTF-8, or changes while it is read.
    pub fn digest_path(&self, path: &Path) -> Result<Digest, Error> {
        let path = std::path::absolute(path).at("finding", path)?;
        let now = since_1970().as_nanos() as i64;
        let stat = fs::metadata(&path).map_err(|e| bad(&path, e.to_string()))?;
        if stat.is_file() {
            let looked = Some((now, Stat::of(&stat)));
            return Ok(self.digest_file(&path, looked)?.0);
        }
        if !stat.is_dir() {
            return Err(bad(
                &path,
                "it is a special file (a pipe, socket or device)".to_owned(),
            ));
        }
        let found = walk(&path, true).map_err(|(at, why)| bad(&at, why))?;
        let entries: Result<Vec<_>, Error> = found
            .into_par_iter()
            .map(|(name, file)| match file {
                None => Ok((name, Entry::EmptyFolder)),
                Some(file) => {
                    let (digest, size) = self.digest_file(&file, None)?;
                    Ok((name, Entry::File { digest, size }))
                }
            })
            .collect();
        Ok(Tree::digest(&Tree::new(entries?).to_bytes()))
    }

    /// `looked`: when it was looked at just now, and its stat.
    fn digest_file(
        &self,
        path: &Path,
        mut looked: Option<(i64, Stat)>,
    ) -> Result<(Digest, u64), Error> {
        for _ in 0..ATTEMPTS {
            let (now, stat) = match looked.take() {
                Some(looked) => looked,
                None => {
                    let now = since_1970().as_nanos() as i64;
                    (now, Stat::of(&fs::metadata(path).at("reading", path)?))
                }
            };
            if let Some(digest) = self.recall(path, &stat) {
                return Ok((digest, stat.size));
            }
            let digest = File::open(path)
                .and_then(|file| {
                    Digest::of_file_heard(&file, &mut |bytes| {
                        if let Some(hear) = &self.hear {
                            hear(path, bytes);
                        }
                    })
                })
                .at("hashing", path)?;
            if stat != Stat::of(&fs::metadata(path).at("reading", path)?) {
                continue;
            }
            // One path a line: a name with a line break is hashed each time.
            if !stat.is_racy(now) && path.to_str().is_some_and(|p| !p.contains('\n')) {
                let mut memo = self.memo();
                memo.seen.get_or_insert_default().insert(
                    path.to_owned(),
                    Seen {
                        stat,
                        digest,
                        day: today(),
                    },
                );
                memo.changed = true;
            }
            return Ok((digest, stat.size));
        }
        Err(bad(
            path,
            "something writes to it while it is read".to_owned(),
        ))
    }

    fn recall(&self, path: &Path, stat: &Stat) -> Option<Digest> {
        let mut memo = self.memo();
        let Memo { seen, changed } = &mut *memo;
        let seen = seen
            .get_or_insert_with(|| load(&self.memo_path()))
            .get_mut(path)?;
        if seen.stat != *stat {
            return None;
        }
        // Weekly, so that a run that learns nothing writes nothing.
        if seen.day + 7 < today() {
            seen.day = today();
            *changed = true;
        }
        Some(seen.digest)
    }

    /// Writes what was learnt about input files for later runs, together with what other processes wrote meanwhile. Does
    /// nothing where nothing changed.
    ///
    /// # Errors
    /// Where the store can't be written. Nothing but time is lost then.
    pub fn save_memo(&self) -> Result<(), Error> {
        let mut memo = self.memo();
        if !memo.changed {
            return Ok(());
        }
        self.prepare()?;
        let path = self.memo_path();
        let mut all = load(&path);
        all.extend(
            memo.seen
                .iter()
                .flatten()
                .map(|(path, seen)| (path.clone(), *seen)),
        );
        let today = today();
        all.retain(|_, seen| seen.day + FORGET_DAYS >= today);
        self.write_atomically(&path, &to_bytes(&all))?;
        memo.seen = Some(all);
        memo.changed = false;
        Ok(())
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        // A panic elsewhere can't leave it half changed.
        let memo: &Mutex<Memo> = &self.inner.memo;
        memo.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn memo_path(&self) -> PathBuf {
        self.root().join("memo")
    }
}

fn to_bytes(seen: &HashMap<PathBuf, Seen>) -> Vec<u8> {
    let mut lines: Vec<_> = seen
        .iter()
        .filter_map(|(path, seen)| Some((path.to_str()?, seen)))
        .collect();
    lines.sort_unstable_by_key(|(path, _)| *path);
    let mut text = String::with_capacity(lines.len() * 200);
    for (path, Seen { stat, digest, day }) in lines {
        let Stat {
            size,
            modified,
            changed,
            inode,
        } = stat;
        let _ = writeln!(
            text,
            "{digest} {size} {modified} {changed} {inode} {day} {path}"
        );
    }
    format!("{MAGIC}{}\n{text}", Digest::of_bytes(text.as_bytes())).into_bytes()
}

/// What the file says; nothing where it is not there or damaged, since it only saves time.
fn load(path: &Path) -> HashMap<PathBuf, Seen> {
    fs::read(path)
        .ok()
        .and_then(|bytes| from_bytes(&bytes))
        .unwrap_or_default()
}

fn from_bytes(bytes: &[u8]) -> Option<HashMap<PathBuf, Seen>> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix(MAGIC)?;
    let (digest, lines) = text.split_once('\n')?;
    if Digest::of_bytes(lines.as_bytes()).to_string() != digest {
        return None;
    }
    let mut seen = HashMap::with_capacity(lines.len() / 128);
    for line in lines.lines() {
        let (path, entry) = parse_line(line)?;
        seen.insert(path, entry);
    }
    Some(seen)
}

fn parse_line(line: &str) -> Option<(PathBuf, Seen)> {
    let mut fields = line.splitn(7, ' ');
    let digest = fields.next()?.parse().ok()?;
    let size = fields.next()?.parse().ok()?;
    let modified = fields.next()?.parse().ok()?;
    let changed = fields.next()?.parse().ok()?;
    let inode = fields.next()?.parse().ok()?;
    let day = fields.next()?.parse().ok()?;
    let path = PathBuf::from(fields.next()?);
    Some((
        path,
        Seen {
            stat: Stat {
                size,
                modified,
                changed,
                inode,
            },
            digest,
            day,
        },
    ))
}

/// Whether the store's memo is whole; `Err` says in a clause how it is not.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    match fs::read(path) {
        Ok(bytes) if from_bytes(&bytes).is_none() => {
            Err("does not have the digest that it states".to_owned())
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("can't be read: {e}")),
        _ => Ok(()),
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn today() -> u64 {
    since_1970().as_secs() / 86_400
}

fn bad(path: &Path, why: String) -> Error {
    Error::BadInput {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A file that looks `age` old. (Its ctime is now, as it must be; so the age is put into both by hand where wanted.)
    fn stat(age_ns: i64, now: i64) -> Stat {
        Stat {
            size: 1,
            modified: now - age_ns,
            changed: now - age_ns,
            inode: 7,
        }
    }

    #[test]
    fn what_changed_just_now_is_racy() {
        let now = 1_000_000_000_000_000_000;
        assert!(stat(0, now).is_racy(now));
        assert!(stat(RACY - 1, now).is_racy(now));
        assert!(!stat(RACY, now).is_racy(now));
        assert!(
            stat(-5_000_000_000, now).is_racy(now),
            "a time in the future proves nothing"
        );
        let old_mtime = Stat {
            modified: 0,
            ..stat(0, now)
        };
        assert!(
            old_mtime.is_racy(now),
            "a set-back mtime does not hide a fresh ctime"
        );
    }

    #[test]
    fn remembers_and_forgets_by_stat() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let path = folder.path().join("input");
        fs::write(&path, "one").unwrap();
        let one = Digest::of_bytes(b"one");

        let store = Store::open(&root).unwrap();
        assert_eq!(store.digest_path(&path).unwrap(), one);
        store.save_memo().unwrap();
        assert!(
            !root.exists(),
            "a fresh file is not remembered, so nothing is written"
        );

        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(store.digest_path(&path).unwrap(), one);
        store.save_memo().unwrap();
        let later = Store::open(&root).unwrap();
        let now = Stat::of(&fs::metadata(&path).unwrap());
        assert_eq!(later.recall(&path, &now), Some(one));

        // Same size, and the mtime set back: the ctime tells.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        assert_eq!(later.digest_path(&path).unwrap(), Digest::of_bytes(b"two"));
    }

    #[test]
    fn two_writers_lose_nothing_and_damage_is_only_forgetting() {
        let folder = tempfile::tempdir().unwrap();
        let store = || Store::open(folder.path()).unwrap();
        let learn = |store: &Store, name: &str| {
            let mut memo = store.memo();
            let seen = Seen {
                stat: stat(0, 0),
                digest: Digest::of_bytes(b""),
                day: today(),
            };
            memo.seen
                .get_or_insert_with(|| load(&store.memo_path()))
                .insert(PathBuf::from(name), seen);
            memo.changed = true;
        };
        let (one, two) = (store(), store());
        learn(&one, "/a b");
        learn(&two, "/ü");
        one.save_memo().unwrap();
        two.save_memo().unwrap();
        let path = store().memo_path();
        assert_eq!(load(&path).len(), 2);

        let bytes = fs::read(&path).unwrap();
        for i in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[i] ^= 1 << (i % 8);
            assert_eq!(from_bytes(&flipped), None, "bit {} of byte {i}", i % 8);
            assert_eq!(from_bytes(&bytes[..i]), None, "torn at {i}");
        }
    }

    #[test]
    fn loads_ten_thousand_entries_quickly() {
        let seen = (0..10_000u64).map(|i| {
            let digest = Digest::of_bytes(&i.to_le_bytes());
            let stat = Stat {
                inode: i,
                ..stat(i as i64, 1_790_000_000_000_000_000)
            };
            (
                PathBuf::from(format!("/data/images/class-{}/{i:08}.png", i % 100)),
                Seen {
                    stat,
                    digest,
                    day: today(),
                },
            )
        });
        let seen: HashMap<_, _> = seen.collect();
        let bytes = to_bytes(&seen);
        let start = Instant::now();
        assert_eq!(from_bytes(&bytes), Some(seen));
        println!("{} bytes, {:?}", bytes.len(), start.elapsed());
        assert!(
            start.elapsed() < Duration::from_millis(200),
            "{:?}",
            start.elapsed()
        );
    }
}
