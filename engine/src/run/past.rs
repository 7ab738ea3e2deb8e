//! What runs left in the store, read again: which there were, how they ended, what their stages came to.
//!
//! A folder that an older flow wrote lacks some facts, and one of a run that was killed has no end: both are read as far
//! as they go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Digest, Key, Store};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::plan;
use crate::workflow::Overrides;

/// One run, as its folder tells.
#[derive(Debug)]
pub struct PastRun {
    /// Its name.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What `run.json` holds.
    pub head: Head,
    /// How it ended; none where it goes on or was killed.
    pub end: Option<End>,
    /// `ok`, `failed`, `cancelled`; `running`, or `killed` where it ended without saying so.
    pub status: String,
}

/// What a run was of, as far as it is known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The workflow's name.
    pub workflow: String,
    /// Where its file was.
    pub path: PathBuf,
    /// The seed of every seeded stage.
    pub seed: Option<u64>,
    /// Its params, after everything that was laid over them.
    pub params: Map<String, Value>,
    /// `--set`.
    pub set: Vec<String>,
    /// `--variant`.
    pub variants: Vec<String>,
    /// `--sweep`.
    pub sweep: Vec<String>,
    /// `--seeds`.
    pub seeds: Option<String>,
    /// `--point`.
    pub point: Vec<String>,
    /// `--params`.
    pub params_file: Option<PathBuf>,
    /// Texts of included files, and of the file of params.
    pub files: BTreeMap<String, String>,
    /// The kinds that it uses: version and plugin.
    pub kinds: Map<String, Value>,
    /// flow's version.
    pub flow: String,
    /// The command line.
    pub command: Vec<String>,
    /// The folder that the command was called in.
    pub folder: Option<PathBuf>,
    /// The machine.
    pub host: Option<String>,
    /// Its system.
    pub platform: Option<String>,
    /// Its threads.
    pub cores: Option<u32>,
    /// When it began (RFC 3339, UTC).
    pub started: String,
}

/// How a run ended.
#[derive(Debug, Clone, Deserialize)]
pub struct End {
    /// `ok`, `failed` or `cancelled`.
    pub status: String,
    /// Stages that were executed.
    pub ran: u64,
    /// Stages whose result was in the store.
    pub cached: u64,
    /// Stages that failed.
    pub failed: u64,
    /// Stages that read from one that failed.
    pub skipped: u64,
    /// Stages that the end of the run came before.
    pub cancelled: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What a stage came to in a run.
#[derive(Debug, Clone, Deserialize)]
pub struct StageLine {
    /// The stage's name.
    pub stage: String,
    /// The instance's matrix point.
    pub instance: BTreeMap<String, Value>,
    /// `ran`, `cached`, `failed`, `skipped` or `cancelled`.
    pub status: String,
    /// Its key, where the run came as far as that.
    pub key: Option<Key>,
    /// How long it took in that run.
    pub seconds: f64,
    /// Digests of what it made.
    pub outputs: BTreeMap<String, Digest>,
    /// Why it failed.
    pub failure: Option<FailureLine>,
}

/// Why a stage failed.
#[derive(Debug, Clone, Deserialize)]
pub struct FailureLine {
    /// What happened, in a sentence.
    pub message: String,
    /// Its log.
    pub log: PathBuf,
}

impl StageLine {
    /// The instance.
    pub fn label(&self) -> String {
        plan::label(&self.stage, &self.instance)
    }
}

/// Whether a text has the form of a run's name: `20261124-093000-1f3a`.
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
        // A name begins with the time.
        names.sort_unstable_by(|a, b| b.cmp(a));
        let runs = names.iter().filter(|name| is_run(name));
        runs.filter_map(|name| PastRun::open(store, name).transpose())
            .collect()
    }

    /// The run of this name; none where there is none.
    ///
    /// # Errors
    /// Where its folder can't be read.
    pub fn open(store: &Store, id: &str) -> Result<Option<PastRun>> {
        let folder = store.run_folder(id);
        if !is_run(id) || !folder.is_dir() {
            return Ok(None);
        }
        // A head that is torn or of another form tells nothing, and hides no run.
        let head = fs::read(folder.join("run.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let events = folder.join("events.jsonl");
        let end = last_line(&events)
            .and_then(|line| serde_json::from_str::<Value>(&line).ok())
            .filter(|event| event["event"] == "run")
            .and_then(|event| serde_json::from_value::<End>(event).ok());
        let status = match &end {
            Some(end) => end.status.clone(),
            None if is_locked(&events) => "running".into(),
            None => "killed".into(),
        };
        Ok(Some(PastRun {
            id: id.into(),
            folder,
            head,
            end,
            status,
        }))
    }

    /// What its stages came to, in the order in which they ended.
    ///
    /// # Errors
    /// Where the events can't be read.
    pub fn stages(&self) -> Result<Vec<StageLine>> {
        let path = self.folder.join("events.jsonl");
        let cannot = || format!("{} can't be read", path.display());
        let file = match File::open(&path) {
            // The run ended before its first event.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.with_context(cannot)?,
        };
        let mut reader = BufReader::new(file);
        let mut stages = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).with_context(cannot)? == 0 {
                return Ok(stages);
            }
            // A last line may be torn.
            if line.starts_with(br#"{"event":"stage","#) {
                stages.extend(serde_json::from_slice::<StageLine>(&line));
            }
        }
    }

    /// What was laid over the workflow, as options of `flow run`.
    pub fn overrides(&self) -> Vec<String> {
        let overrides = Overrides {
            params: self.head.params_file.clone(),
            variants: self.head.variants.clone(),
            set: self.head.set.clone(),
            sweep: self.head.sweep.clone(),
            seeds: self.head.seeds.clone(),
            point: self.head.point.clone(),
        };
        overrides.options()
    }
}

/// How the actions with these keys failed, where the newest run that tells of one says that it failed.
///
/// # Errors
/// Where the runs can't be read.
pub fn failures(store: &Store, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, StageLine>> {
    let mut found: BTreeMap<Key, (usize, StageLine)> = BTreeMap::new();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut runs = PastRun::all(store)?;
    // Names have whole seconds, and say nothing of two runs within one.
    runs.sort_by_key(|run| Reverse(run.head.started.parse::<jiff::Timestamp>().ok()));
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
            let well = line.status == "ran" || line.status == "cached";
            if let Some(key) = line.key.filter(|_| well)
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
fn last_line(path: &Path) -> Option<String> {
    /// The line at a run's end has about 200.
    const BYTES: u64 = 4096;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))
        .ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    end.lines().last().map(String::from)
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
            .map(|run| (&run.id[9..15], run.status.as_str()))
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
        let status = || PastRun::open(&store, id).unwrap().unwrap().status;
        assert_eq!(status(), "running");
        drop(file);
        assert_eq!(status(), "killed");
    }
}
