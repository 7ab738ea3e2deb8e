//! Making room: which records to evict under a budget, and removing what no record names.
//!
//! Nothing pinned goes, nothing that the caller wants kept, nothing that is being computed, and nothing that a live process can
//! be using (`live`).
//! A record goes before its blobs do, so whatever interrupts a gc leaves a store without dangling records.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::digest::{Digest, Key};
use crate::disk::{folder_bytes, list_folder, remove_folder, sync};
use crate::error::{At, Error};
use crate::live::gc_lock;
use crate::lock::Lock;
use crate::store::Store;

/// A work folder that nobody went on with for this long is not kept for its checkpoints any more.
const ABANDONED: Duration = Duration::from_secs(7 * 86_400);

/// What may stay. `Budget::default()` evicts nothing: it only removes what no record names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// The blobs' total size, in bytes.
    pub max_bytes: Option<u64>,
    /// The time since a record was last of use.
    pub max_age: Option<Duration>,
}

/// What a gc did, or in a dry run would do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Records that go, the cheapest to compute for its size first.
    pub evicted: Vec<Evicted>,
    /// How long it took to compute them, in seconds.
    pub seconds: f64,
    /// Bytes freed in all.
    pub freed: u64,
    /// Of those, what no record named before: leftovers of crashes and of damaged records.
    pub garbage: u64,
    /// Bytes of blobs that stay. More than the budget where the rest is pinned or in use.
    pub kept: u64,
    /// Records that stay because of a pin.
    pub pinned: usize,
    /// Records that stay because the caller wants them kept, and for no other reason.
    pub wanted: usize,
    /// Records that stay because a live process can be using them.
    pub in_use: usize,
    /// Live processes.
    pub live: usize,
}

/// A record that goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Evicted {
    /// Its key.
    pub key: Key,
    /// The size of its outputs in bytes; less is freed where other records share them.
    pub bytes: u64,
    /// How long it took to compute, in seconds.
    pub seconds: f64,
    /// When it was last of use.
    pub touched: SystemTime,
}

/// A record, as gc sees it.
struct Candidate {
    key: Key,
    touched: SystemTime,
    seconds: f64,
    blobs: Vec<Digest>,
    /// The size of its outputs in bytes.
    bytes: u64,
    /// Why it stays whatever the budget is; none where it may go.
    stays: Option<Stays>,
}

/// Why a record stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    InUse,
    Pinned,
    Wanted,
}

/// Sizes of blobs, and how many records that stay name each.
struct Ledger {
    size: HashMap<Digest, u64>,
    names: HashMap<Digest, u32>,
    /// The size of all named blobs.
    total: u64,
}

impl Candidate {
    /// By seconds a byte; among equals what was not of use for longest.
    fn cheapest_first(&self, other: &Candidate) -> Ordering {
        let cost = |c: &Candidate| c.seconds / c.bytes as f64;
        let by_cost = cost(self).total_cmp(&cost(other));
        by_cost
            .then(self.touched.cmp(&other.touched))
            .then(self.key.cmp(&other.key))
    }
}

impl Ledger {
    fn add(&mut self, candidate: &Candidate) {
        for blob in &candidate.blobs {
            self.name(*blob);
        }
    }

    /// Counts someone who names a blob.
    fn name(&mut self, blob: Digest) {
        let names = self.names.entry(blob).or_default();
        *names += 1;
        if *names == 1 {
            self.total += self.size.get(&blob).copied().unwrap_or_default();
        }
    }

    fn remove(&mut self, candidate: &Candidate) {
        for blob in &candidate.blobs {
            let names = self.names.entry(*blob).or_default();
            *names = names.saturating_sub(1);
            if *names == 0 {
                self.total -= self.size.get(blob).copied().unwrap_or_default();
            }
        }
    }

    /// What has to go of `candidates` (cheapest first), so that what is named fits in `max` bytes.
    fn fit(&mut self, max: u64, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let mut taken = Vec::new();
        for candidate in candidates {
            if candidate.stays.is_none() && self.total > max {
                self.remove(&candidate);
                taken.push(candidate);
            }
        }
        // The last one taken may be much larger than was needed, and some weigh nothing beside what stays: give back what
        // fits, the dearest first.
        taken.reverse();
        taken.retain(|candidate| {
            let before = self.total;
            self.add(candidate);
            let goes = self.total > max && self.total > before;
            if goes {
                self.remove(candidate);
            }
            goes
        });
        taken
    }
}

impl Store {
    /// Evicts records until the budget is kept, then removes what no record names. A dry run removes nothing, and says
    /// what would be removed.
    ///
    /// First goes what was not of use for `max_age`. Then, while the blobs are larger than `max_bytes`, what took the fewest
    /// seconds a byte to compute. Runs may go on beside it; another gc waits.
    ///
    /// What `wanted` names stays beside what is pinned. It is asked when no process can begin unseen any more: what one that has
    /// ended before wants kept is known by then, and one that begins later touches all that it uses.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a pin can't be read, and what `wanted` fails with: then nothing is removed. Otherwise where the file
    /// system fails.
    pub fn gc<E: From<Error>>(
        &self,
        budget: &Budget,
        dry_run: bool,
        wanted: impl FnOnce() -> Result<HashSet<Key>, E>,
    ) -> Result<Plan, E> {
        if !self.root().join("format").exists() {
            return Ok(Plan::default());
        }
        // First the lock, then the slots: see `Store::take_slot`.
        let lock = if dry_run { None } else { Some(self.lock_gc()?) };
        let now = match &lock {
            Some(lock) => lock.touch()?,
            None => SystemTime::now(),
        };
        let (live, used_since) = self.inner.live.count()?;
        let used_since = used_since.map_or(now, |since| since.min(now));
        let wanted = wanted()?;

        let blobs = self.stat_blobs()?;
        let size = blobs
            .iter()
            .map(|(digest, _, stat)| (*digest, stat.len()))
            .collect();
        let mut candidates = self.candidates(&size, used_since, &wanted)?;
        candidates.sort_by(Candidate::cheapest_first);
        let mut ledger = Ledger {
            size,
            names: HashMap::new(),
            total: 0,
        };
        candidates
            .iter()
            .for_each(|candidate| ledger.add(candidate));
        for blob in self.kept_by_runs()? {
            ledger.name(blob);
        }
        let staying = |why| candidates.iter().filter(|c| c.stays == Some(why)).count();
        let mut plan = Plan {
            pinned: staying(Stays::Pinned),
            wanted: staying(Stays::Wanted),
            in_use: staying(Stays::InUse),
            live,
            ..Plan::default()
        };

        let too_old = |candidate: &Candidate| {
            let age = now.duration_since(candidate.touched).unwrap_or_default();
            candidate.stays.is_none() && budget.max_age.is_some_and(|max| age > max)
        };
        let (mut evict, keep): (Vec<_>, Vec<_>) = candidates.into_iter().partition(too_old);
        evict.iter().for_each(|candidate| ledger.remove(candidate));
        if let Some(max) = budget.max_bytes {
            evict.extend(ledger.fit(max, keep));
        }
        evict.sort_by(Candidate::cheapest_first);

        for candidate in evict {
            if !dry_run && !self.evict(&candidate)? {
                plan.in_use += 1;
                ledger.add(&candidate);
                continue;
            }
            plan.seconds += candidate.seconds;
            let Candidate {
                key,
                bytes,
                seconds,
                touched,
                ..
            } = candidate;
            plan.evicted.push(Evicted {
                key,
                bytes,
                seconds,
                touched,
            });
        }
        if !dry_run && !plan.evicted.is_empty() {
            // After a power cut, too, no record may be left without its blobs. (Not the whole file system at once: that
            // would wait for whatever else is being written to it.)
            let records = plan.evicted.iter().map(|e| self.record_path(&e.key));
            let folders: HashSet<PathBuf> =
                records.filter_map(|r| Some(r.parent()?.into())).collect();
            folders.par_iter().try_for_each(|folder| sync(folder))?;
        }
        self.sweep(&blobs, &ledger, used_since, dry_run, &mut plan)?;
        self.sweep_leftovers(budget, now, used_since, dry_run, &mut plan)?;
        Ok(plan)
    }

    /// All whole records.
    fn candidates(
        &self,
        size: &HashMap<Digest, u64>,
        used_since: SystemTime,
        wanted: &HashSet<Key>,
    ) -> Result<Vec<Candidate>, Error> {
        let pins: HashSet<Key> = self.pins()?.into_values().flatten().collect();
        let (briefs, _) = self.briefs()?;
        let candidates = briefs.into_par_iter().map(|(brief, touched)| {
            let mut blobs = Vec::new();
            match self.blobs_of(brief.outputs.values(), &mut |digest, _| blobs.push(digest)) {
                Ok(()) | Err(Error::Damaged { .. }) => {}
                Err(e) => return Err(e),
            }
            blobs.sort_unstable();
            blobs.dedup();
            Ok(Candidate {
                key: brief.key,
                touched,
                seconds: brief.seconds,
                bytes: blobs.iter().filter_map(|blob| size.get(blob)).sum(),
                blobs,
                stays: if touched >= used_since {
                    Some(Stays::InUse)
                } else if pins.contains(&brief.key) {
                    Some(Stays::Pinned)
                } else {
                    wanted.contains(&brief.key).then_some(Stays::Wanted)
                },
            })
        });
        candidates.collect()
    }

    fn stat_blobs(&self) -> Result<Vec<(Digest, PathBuf, Metadata)>, Error> {
        let blobs = self.list("blobs")?.into_par_iter().filter_map(|path| {
            let digest = path.file_name()?.to_str()?.parse().ok()?;
            match fs::symlink_metadata(&path) {
                Ok(stat) => Some(Ok((digest, path, stat))),
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                Err(e) => Some(Err(Error::io("reading", &path, e))),
            }
        });
        blobs.collect()
    }

    /// Removes a record, unless someone computes its key or has used it since. `true` where it is gone.
    fn evict(&self, candidate: &Candidate) -> Result<bool, Error> {
        let Some(_lock) = Lock::try_take(&self.lock_path(&candidate.key))? else {
            return Ok(false);
        };
        self.take_away(&self.record_path(&candidate.key), |stat| {
            stat.modified()
                .is_ok_and(|touched| touched == candidate.touched)
        })
    }

    /// Removes blobs that no record names. A blob that came after `used_since` may belong to a commit that is under way.
    fn sweep(
        &self,
        blobs: &[(Digest, PathBuf, Metadata)],
        ledger: &Ledger,
        used_since: SystemTime,
        dry_run: bool,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        for (digest, path, stat) in blobs {
            let named = ledger.names.get(digest).copied();
            let old = changed(stat) < used_since;
            if named.is_some_and(|names| names > 0)
                || !old
                || !dry_run && !self.take_blob_away(path, stat)?
            {
                plan.kept += stat.len();
                continue;
            }
            plan.freed += stat.len();
            if named.is_none() {
                plan.garbage += stat.len();
            }
        }
        Ok(())
    }

    /// Removes temporary files of dead processes, notes, work folders that nobody will go on with, and stale lock files.
    fn sweep_leftovers(
        &self,
        budget: &Budget,
        now: SystemTime,
        used_since: SystemTime,
        dry_run: bool,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let notes = list_folder(&self.root().join("notes"))?;
        for path in list_folder(&self.root().join("tmp"))?
            .into_iter()
            .chain(notes)
        {
            // An hour for those who write without a slot: the memo, a pin.
            let Ok(stat) = fs::symlink_metadata(&path) else {
                continue;
            };
            if changed(&stat) + Duration::from_secs(3600) < used_since {
                match if dry_run {
                    Ok(())
                } else {
                    fs::remove_file(&path)
                } {
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    done => done.at("removing", &path)?,
                }
                plan.freed += stat.len();
                plan.garbage += stat.len();
            }
        }
        let max_age = budget.max_age.unwrap_or(ABANDONED).min(ABANDONED);
        for path in list_folder(&self.root().join("work"))? {
            let Some(key) = path
                .file_name()
                .and_then(|name| name.to_str()?.parse::<Key>().ok())
            else {
                continue;
            };
            let done = self.record_path(&key).exists();
            let age = now.duration_since(newest(&path)).unwrap_or_default();
            if !done && age <= max_age {
                continue;
            }
            // Under the key's lock: a process may be at work in it.
            let Some(_lock) = Lock::try_take(&self.lock_path(&key))? else {
                continue;
            };
            let bytes = folder_bytes(&path);
            if !dry_run {
                remove_folder(&path)?;
            }
            plan.freed += bytes;
            plan.garbage += bytes;
        }
        if !dry_run {
            for path in list_folder(&self.root().join("locks"))? {
                if path != gc_lock(self.root()) {
                    // Taking it and letting go removes it. Another user's may not be ours to take.
                    drop(Lock::try_take(&path));
                }
            }
        }
        Ok(())
    }
}

/// When a file was last changed, moved or linked: what nobody can set back.
fn changed(stat: &Metadata) -> SystemTime {
    let seconds = Duration::new(
        stat.ctime().max(0) as u64,
        stat.ctime_nsec().clamp(0, 999_999_999) as u32,
    );
    SystemTime::UNIX_EPOCH + seconds
}

/// The newest modification time in a folder and below it.
fn newest(folder: &Path) -> SystemTime {
    let own = fs::symlink_metadata(folder)
        .and_then(|stat| stat.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    below
        .map(|entry| newest(&entry.path()))
        .fold(own, SystemTime::max)
}
