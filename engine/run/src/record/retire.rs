//! Runs that gc takes: their folders, and with them the logs of their stages.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use flow_cache::{Key, Store};

use super::event::{Ending, StageEnd, Status};
use super::names;
use super::past::{PastRun, State};

/// A run that began or ended so lately is left alone: it may not hold its lock yet.
const FRESH: Duration = Duration::from_secs(60);
/// What a run without any result leaves is of use for so long, as unfinished work is.
const ABANDONED: Duration = Duration::from_secs(7 * 86_400);

/// Runs that went, or in a dry run would go.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Their names, newest first.
    pub runs: Vec<String>,
    /// What their folders held, in bytes.
    pub bytes: u64,
}

/// Removes the runs that are of no more use, once gc has taken the records in `evicted`; a dry run only names them.
///
/// A run that is meant by its name stays. So does one while it goes on, while a result that it made or that was frozen in it is in
/// the store, and while all its results are pinned. One that made none of what is there goes after `max_age`; one of which nothing
/// is left goes at once if it ended well, else after a week or `max_age`, whichever is less.
///
/// # Errors
/// Where the store can't be read, or a folder can't be removed.
pub fn retire(
    store: &Store,
    max_age: Option<Duration>,
    evicted: &HashSet<Key>,
    dry_run: bool,
) -> Result<Retired> {
    let pinned: HashSet<Key> = store.pins()?.into_values().flatten().collect();
    let there = |key: &Key| store.touched(key).is_some() && !evicted.contains(key);
    let mut retired = Retired::default();
    let runs = PastRun::all(store)?;
    let named = names::holders(runs.clone()).into_iter();
    let named: HashSet<String> = named.map(|run| run.id).collect();
    for run in runs {
        let age = age(&run.folder);
        if run.state == State::Running || age < FRESH || named.contains(&run.id) {
            continue;
        }
        let lines = run.stages()?;
        let keys = |lines: &mut dyn Iterator<Item = &StageEnd>| -> Vec<Key> {
            lines.filter_map(|line| line.key).collect()
        };
        // What stands may be what only this run still tells of.
        let is_of = |line: &&StageEnd| matches!(line.status, Status::Ran | Status::Frozen);
        let made = keys(&mut lines.iter().filter(is_of));
        let used = keys(&mut lines.iter().filter(|line| line.status == Status::Cached));
        let mut all = made.iter().chain(&used);
        let is_pinned = all.clone().next().is_some() && all.clone().all(|key| pinned.contains(key));
        if made.iter().any(there) || is_pinned {
            continue;
        }
        let patience = if all.any(there) {
            max_age
        } else if run.state == State::Ended(Ending::Ok) {
            Some(Duration::ZERO)
        } else {
            Some(max_age.unwrap_or(ABANDONED).min(ABANDONED))
        };
        if patience.is_none_or(|patience| age <= patience) {
            continue;
        }
        retired.bytes += bytes(&run.folder);
        if !dry_run {
            match fs::remove_dir_all(&run.folder) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                done => {
                    done.with_context(|| format!("{} can't be removed", run.folder.display()))?;
                }
            }
        }
        retired.runs.push(run.id);
    }
    Ok(retired)
}

/// The time since a run last told something.
fn age(folder: &Path) -> Duration {
    let events = fs::metadata(folder.join("events.jsonl"));
    let changed = events
        .or_else(|_| fs::metadata(folder))
        .and_then(|stat| stat.modified());
    // What can't be looked at is not taken.
    let age = changed.map(|changed| SystemTime::now().duration_since(changed));
    age.ok().and_then(Result::ok).unwrap_or_default()
}

/// The sizes' sum of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(stat) if stat.is_dir() => bytes(&entry.path()),
        Ok(stat) => stat.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
