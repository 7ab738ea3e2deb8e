//! What runs left in the store, read again: which there were, how they ended, what their stages came to.
//!
//! A folder that an older flow wrote lacks some facts, and one of a run that was killed has no end: both are read as far
//! as they go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Key, Store};
use flow_plan::workflow::source::plain;

use super::event::{Ending, Event, RunEnd, STAGE_LINE, StageEnd};
use super::follow;
use super::head::{self, Head};

/// One run, as its folder tells.
#[derive(Debug, Clone)]
pub struct PastRun {
    /// Its id.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What `run.json` holds.
    pub head: Head,
    /// How it ended; none where it goes on or was killed.
    pub end: Option<RunEnd>,
    /// How it stands.
    pub state: State,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It ended, and said how.
    Ended(Ending),
    /// It goes on.
    Running,
    /// It ended without saying so.
    Killed,
}

impl State {
    /// The word that views show.
    pub fn word(self) -> &'static str {
        match self {
            State::Ended(ending) => ending.word(),
            State::Running => "running",
            State::Killed => "killed",
        }
    }
}

/// Whether a text has the form of a run's id: `20261124-093000-1f3a`.
pub fn is_run(text: &str) -> bool {
    let digits =
        |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [day, time, unique] if digits(day, 8)
        && digits(time, 6)
        && unique.len() == 4
        && unique.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl PastRun {
    /// The runs of a store, newest first.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn all(store: &Store) -> Result<Vec<PastRun>> {
        let folder = store.root().join("runs");
        let cannot = || format!("{} can't be read", folder.display());
        let entries = match fs::read_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(cannot)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.with_context(cannot)?.file_name().into_string());
        }
        let runs = names.iter().filter(|name| is_run(name));
        let runs = runs.filter_map(|name| PastRun::open(store, name).transpose());
        let mut runs: Vec<PastRun> = runs.collect::<Result<_>>()?;
        runs.sort_by_cached_key(|run| Reverse(run.began()));
        Ok(runs)
    }

    /// When it began, for comparing: the second by its id, what part of it had passed by its head, which may be torn.
    pub fn began(&self) -> (String, i32, String) {
        let second = self.id[.."20261124-093000".len()].to_string();
        let started = self.head.started.parse::<jiff::Timestamp>();
        let passed = started.map_or(0, jiff::Timestamp::subsec_nanosecond);
        (second, passed, self.id.clone())
    }

    /// The run of this id; none where there is none.
    ///
    /// # Errors
    /// Where its folder can't be read.
    pub fn open(store: &Store, id: &str) -> Result<Option<PastRun>> {
        let folder = store.run_folder(id);
        if !is_run(id) || !folder.is_dir() {
            return Ok(None);
        }
        // A head that is torn or of another form tells nothing, and hides no run.
        let head = fs::read(folder.join(head::FILE))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let events = folder.join("events.jsonl");
        let end = match last_line(&events).and_then(|line| Event::read(&line)) {
            Some(Event::Run(end)) => Some(end),
            _ => None,
        };
        let state = match &end {
            Some(end) => State::Ended(end.status),
            None if is_locked(&events) => State::Running,
            None => State::Killed,
        };
        Ok(Some(PastRun {
            id: id.into(),
            folder,
            head,
            end,
            state,
        }))
    }

    /// Where its events are.
    pub fn events(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// What its stages came to, in the order in which they ended.
    ///
    /// # Errors
    /// Where the events can't be read.
    pub fn stages(&self) -> Result<Vec<StageEnd>> {
        let mut stages = Vec::new();
        follow::lines(&self.events(), |line| {
            if line.starts_with(STAGE_LINE.as_bytes())
                && let Some(Event::Stage(end)) = Event::read(line)
            {
                stages.push(*end);
            }
        })?;
        Ok(stages)
    }

    /// The texts that its workflow was read from, by where they were, absolute and without `..`: its file, what that includes,
    /// files of params, tables of axes.
    ///
    /// # Errors
    /// Where its folder has no copy of the file.
    pub fn texts(&self) -> Result<BTreeMap<PathBuf, String>> {
        let copy = self.folder.join("workflow.toml");
        let text = fs::read_to_string(&copy)
            .with_context(|| format!("{} can't be read", copy.display()))?;
        let files = self.placed(&self.head.files);
        Ok(files.chain([(plain(&self.head.path), text)]).collect())
    }

    /// What else its axes were taken from: files that are no texts, and what globs matched, by the glob.
    pub fn others(&self) -> BTreeMap<PathBuf, String> {
        self.placed(&self.head.others).collect()
    }

    fn placed<'r>(
        &'r self,
        files: &'r BTreeMap<String, String>,
    ) -> impl Iterator<Item = (PathBuf, String)> + use<'r> {
        let folder = self.head.folder.clone().unwrap_or_default();
        let files = files.iter();
        files.map(move |(path, text)| (plain(&folder.join(path)), text.clone()))
    }

    /// What was laid over the workflow, as options of `flow run`.
    pub fn overrides(&self) -> Vec<String> {
        self.head.overrides().options()
    }
}

/// How the actions with these keys failed, where the newest run that tells of one says that it failed.
///
/// # Errors
/// Where the runs can't be read.
pub fn failures(store: &Store, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, StageEnd>> {
    let mut found: BTreeMap<Key, (usize, StageEnd)> = BTreeMap::new();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let runs = PastRun::all(store)?;
    // A run that has no end may have failures all the same.
    let may_have = |run: &PastRun| run.end.as_ref().is_none_or(|end| end.failed > 0);
    for (age, run) in runs.iter().enumerate().filter(|(_, run)| may_have(run)) {
        if found.len() == keys.len() {
            break;
        }
        for line in run.stages()? {
            if let Some(key) = line.key.filter(|key| keys.contains(key))
                && line.failure.is_some()
            {
                found.entry(key).or_insert((age, line));
            }
        }
    }
    // What ended well since did not fail last, though its result may be gone.
    let oldest = found.values().map(|(age, _)| *age).max().unwrap_or(0);
    for (age, run) in runs.iter().enumerate().take(oldest) {
        for line in run.stages()? {
            if let Some(key) = line.result()
                && found.get(&key).is_some_and(|(failed, _)| age < *failed)
            {
                found.remove(&key);
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|(key, (_, line))| (key, line))
        .collect())
}

/// Whether a process holds the lock that a run holds.
fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// The last line of a file; none where it has none or can't be read.
fn last_line(path: &Path) -> Option<Vec<u8>> {
    /// The line at a run's end has about 200, and more where it names many checkpoints.
    const BYTES: u64 = 64 << 10;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))
        .ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let end = end.strip_suffix(b"\n").unwrap_or(&end);
    end.rsplit(|&byte| byte == b'\n').next().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_told_from_other_words() {
        assert!(is_run("20261124-093000-1f3a"));
        for other in [
            "",
            "20261124-093000",
            "20261124-093000-1f3",
            "x0261124-093000-1f3a",
            "../20261124-093000-1f3a",
            "20261124-093000-1f3a-",
        ] {
            assert!(!is_run(other), "{other}");
        }
    }

    #[test]
    fn runs_are_read_as_far_as_they_go() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join(".flow")).unwrap();
        assert!(PastRun::all(&store).unwrap().is_empty());
        let write = |id: &str, name: &str, text: &str| {
            let folder = store.run_folder(id);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), text).unwrap();
        };
        // An empty folder; a torn head; a head of the first version and no end; a whole one.
        fs::create_dir_all(store.run_folder("20260101-000000-0000")).unwrap();
        write("20260101-000001-0000", "run.json", "{\"workflow\":\"w");
        write(
            "20260101-000002-0000",
            "run.json",
            r#"{"workflow":"w","path":"/w.toml","seed":42,"set":["a=1"]}"#,
        );
        write(
            "20260101-000002-0000",
            "events.jsonl",
            "{\"event\":\"stage\",\"stage\":\"torn",
        );
        write("20260101-000003-0000", "run.json", r#"{"workflow":"w"}"#);
        let stage = r#"{"event":"stage","stage":"a","instance":{"x":1},"status":"ran","key":null,"seconds":1.5,"outputs":{}}"#;
        let end = r#"{"event":"run","run":"r","status":"ok","ran":1,"cached":0,"failed":0,"skipped":0,"cancelled":0,"seconds":2.0}"#;
        write(
            "20260101-000003-0000",
            "events.jsonl",
            &format!("{stage}\n{end}\n"),
        );
        write("not a run", "run.json", "{}");
        let runs = PastRun::all(&store).unwrap();
        let found: Vec<(&str, &str)> = runs
            .iter()
            .map(|run| (&run.id[9..15], run.state.word()))
            .collect();
        assert_eq!(
            found,
            [
                ("000003", "ok"),
                ("000002", "killed"),
                ("000001", "killed"),
                ("000000", "killed")
            ]
        );
        assert_eq!(runs[0].stages().unwrap()[0].label(), "a[x=1]");
        assert_eq!(runs[1].stages().unwrap().len(), 0);
        assert_eq!(runs[1].overrides(), ["--set", "a=1"]);
        assert_eq!(runs[2].head.workflow, "");
    }

    #[test]
    fn a_run_that_holds_its_lock_is_running() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join(".flow")).unwrap();
        let id = "20260101-000000-0000";
        fs::create_dir_all(store.run_folder(id)).unwrap();
        let file = File::create(store.run_folder(id).join("events.jsonl")).unwrap();
        file.try_lock().unwrap();
        let status = || PastRun::open(&store, id).unwrap().unwrap().state;
        assert_eq!(status(), State::Running);
        drop(file);
        assert_eq!(status(), State::Killed);
    }
}
