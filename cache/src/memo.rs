//! Digests of input files, remembered by their stat so that an unchanged file is not read again.
//!
//! The file `memo` in the store has one line a file, below a line with the digest of the rest. It may be deleted.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::error::Error;

/// A file changed less than this long before it was looked at is not remembered: a later write in the same tick of its
/// file system's clock (two seconds on FAT) would leave the same stat. git calls such an entry racily clean.
const RACY: i64 = 2_000_000_000;

/// An entry that no run used for this many days is dropped.
const FORGET_DAYS: u64 = 60;

const MAGIC: &str = "flow-cache memo 1 ";

/// What tells one state of a file from another. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub size: u64,
    modified: i64,
    changed: i64,
    inode: u64,
}

impl Stat {
    pub fn of(stat: &Metadata) -> Stat {
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

/// What is remembered of input files, and where it is kept.
pub(crate) struct Memo {
    path: PathBuf,
    known: Mutex<Known>,
}

/// By absolute path; nothing until the file was read.
#[derive(Default)]
struct Known {
    seen: Option<HashMap<PathBuf, Seen>>,
    changed: bool,
}

impl Memo {
    /// What the file at `path` remembers. It is read when it is first asked.
    pub fn at(path: PathBuf) -> Memo {
        Memo {
            path,
            known: Mutex::default(),
        }
    }

    /// Where it is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of a file that was seen with this very stat.
    pub fn recall(&self, path: &Path, stat: &Stat) -> Option<Digest> {
        let mut known = self.known();
        let Known { seen, changed } = &mut *known;
        let seen = seen.get_or_insert_with(|| load(&self.path)).get_mut(path)?;
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

    /// Remembers what a file with this stat holds, unless a write after `now` could leave the same stat.
    pub fn learn(&self, path: &Path, now: i64, stat: Stat, digest: Digest) {
        // One path a line: a name with a line break is hashed each time.
        if stat.is_racy(now) || path.to_str().is_none_or(|p| p.contains('\n')) {
            return;
        }
        let mut known = self.known();
        known.seen.get_or_insert_default().insert(
            path.to_owned(),
            Seen {
                stat,
                digest,
                day: today(),
            },
        );
        known.changed = true;
    }

    /// Gives `write` what was learnt, together with what other processes wrote meanwhile. Does nothing where nothing
    /// changed.
    pub fn save(&self, write: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut known = self.known();
        if !known.changed {
            return Ok(());
        }
        let mut all = load(&self.path);
        all.extend(
            known
                .seen
                .iter()
                .flatten()
                .map(|(path, seen)| (path.clone(), *seen)),
        );
        let today = today();
        all.retain(|_, seen| seen.day + FORGET_DAYS >= today);
        write(&to_bytes(&all))?;
        known.seen = Some(all);
        known.changed = false;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere can't leave it half changed.
        self.known
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
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

/// Now, in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    since_1970().as_nanos() as i64
}

fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn today() -> u64 {
    since_1970().as_secs() / 86_400
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::error::At;

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
    fn two_writers_lose_nothing_and_damage_is_only_forgetting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memo");
        let learn = |memo: &Memo, name: &str| {
            memo.learn(Path::new(name), RACY, stat(0, 0), Digest::of_bytes(b""));
        };
        let save = |memo: &Memo| {
            let write = |bytes: &[u8]| fs::write(&path, bytes).at("writing", &path);
            memo.save(write).unwrap();
        };
        let (one, two) = (Memo::at(path.clone()), Memo::at(path.clone()));
        learn(&one, "/a b");
        learn(&two, "/ü");
        save(&one);
        save(&two);
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
