//! What is kept of a run: `runs/<id>/` with `run.json`, the workflow as it was, `events.jsonl` and the stages' logs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use flow_cache::{Digest, Store};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{Plan, Task};
use flow_plan::workflow::{Overrides, Sources, Workflow, node};
use petgraph::graph::NodeIndex;

use super::commit::Commit;
use super::event::{self, Event, Status};
use super::head::{self, Head, UsedKind};
use super::inputs;
use super::settled::Settled;

/// The folder of one run.
#[derive(Debug)]
pub struct Journal {
    id: String,
    folder: PathBuf,
    events: BufWriter<File>,
}

/// What a run is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The workflow.
    pub workflow: &'a Workflow,
    /// The texts that it was read from.
    pub sources: &'a Sources,
    /// What the command line laid over it.
    pub overrides: &'a Overrides,
    /// Its instances.
    pub plan: &'a Plan,
    /// Where their kinds come from.
    pub catalogue: &'a Catalogue,
    /// The instances that the run brings up to date.
    pub wanted: &'a BTreeSet<NodeIndex>,
    /// What it is called, and where it comes from.
    pub about: &'a About,
}

/// What is known of a run beside its workflow.
#[derive(Debug, Default)]
pub struct About {
    /// Its name.
    pub name: Option<String>,
    /// What a person wrote of it.
    pub note: Option<String>,
    /// The run that it makes again.
    pub again: Option<String>,
    /// The commit that is checked out.
    pub commit: Option<Commit>,
}

/// Where and since when a run runs.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// When its command began.
    pub started: Instant,
    /// The machine's threads.
    pub cores: u32,
    /// The machine's GPUs, by name.
    pub gpus: &'a [String],
}

impl Journal {
    /// Begins the journal of a new run.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn begin(store: &Store, subject: &Subject<'_>, process: Process<'_>) -> Result<Journal> {
        let text = subject.sources.texts().next().map_or("", |(_, text)| text);
        Journal::with(store, subject.head(), text, process)
    }

    /// The journal of a run that does what an earlier one did, up to its last event; and the lines of the stages' and points' ends.
    /// `None` where what the earlier one left is no longer whole.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn again(
        store: &Store,
        earlier: &Settled,
        process: Process<'_>,
    ) -> Result<Option<(Journal, String)>> {
        let left = |name| String::from_utf8(store.sealed_file(&earlier.run, name)?).ok();
        let (Some(head), Some(text), Some(events)) = (
            left(head::FILE),
            left("workflow.toml"),
            left("events.jsonl"),
        ) else {
            return Ok(None);
        };
        let Ok(head) = serde_json::from_str::<Head>(&head) else {
            return Ok(None);
        };
        // Of the other run alone.
        let head = Head {
            name: None,
            note: None,
            again: None,
            commit: None,
            ..head
        };
        let stages: String = events
            .split_inclusive('\n')
            .filter(|line| {
                line.starts_with(event::STAGE_LINE) || line.starts_with(event::POINT_LINE)
            })
            .collect();
        let mut journal = Journal::with(store, head, &text, process)?;
        for name in [inputs::FILE, "snapshot"] {
            if let Some(bytes) = store.sealed_file(&earlier.run, name) {
                let path = journal.folder.join(name);
                fs::write(&path, bytes)
                    .with_context(|| format!("{} can't be written", path.display()))?;
            }
        }
        journal.keep(&Event::Start {
            run: journal.id.clone(),
            workflow: earlier.workflow.clone(),
            stages: earlier.stages,
        });
        // As for any event: what can't be written does not stop the run.
        let _ = journal.events.write_all(stages.as_bytes());
        Ok(Some((journal, stages)))
    }

    /// A journal that begins with what a run is of, and with this process.
    fn with(store: &Store, head: Head, workflow: &str, process: Process<'_>) -> Result<Journal> {
        // So that a run began, by its journal, as long before its end as it took.
        let now = jiff::Timestamp::now() - process.started.elapsed();
        let unique =
            Digest::of_bytes(format!("{} {}", std::process::id(), now.as_nanosecond()).as_bytes());
        let id = format!(
            "{}-{}",
            now.strftime("%Y%m%d-%H%M%S"),
            &unique.to_string()[..4]
        );
        let folder = store.make_run_folder(&id)?;
        let path = folder.join("events.jsonl");
        let file =
            File::create(&path).with_context(|| format!("{} can't be written", path.display()))?;
        // Held until this process ends, however it ends: so others can tell a run that goes on from one that was killed.
        // Where the file system has no locks they can't, and nothing else depends on it.
        let _ = file.try_lock();
        let arguments = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
        let head = Head {
            run: id.clone(),
            flow: env!("CARGO_PKG_VERSION").into(),
            command: arguments.collect(),
            folder: std::env::current_dir().ok(),
            host: Some(host()),
            platform: Some(platform()),
            cores: Some(process.cores),
            gpus: process.gpus.to_vec(),
            started: now.to_string(),
            process: Some(std::process::id()),
            ..head
        };
        let text = serde_json::to_string_pretty(&head)?;
        write(&folder.join(head::FILE), &format!("{text}\n"))?;
        write(&folder.join("workflow.toml"), workflow)?;
        Ok(Journal {
            id,
            folder,
            events: BufWriter::new(file),
        })
    }

    /// The run's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends the journal after its last event: from now on the store notices if it changes.
    pub fn end(self, store: &Store) {
        // What could not be written is dropped here, not written behind the seal.
        drop(self.events.into_parts());
        // A log that can't be sealed is a log all the same.
        let _ = store.seal_run(&self.id);
    }

    /// Where a stage's log is written.
    pub fn log(&self, label: &str) -> PathBuf {
        log(&self.folder, label)
    }

    /// Keeps an event. A journal that can't be written does not stop the run: results matter more.
    pub fn keep(&mut self, event: &Event) {
        if serde_json::to_writer(&mut self.events, event).is_ok() {
            let _ = self.events.write_all(b"\n");
        }
        // Those who watch the run read the file. Thousands of results that were there already can wait for each other.
        let flushed = match event {
            Event::Run(_) | Event::Execute { .. } | Event::Progress { .. } => true,
            Event::Stage(end) => end.status != Status::Cached,
            _ => false,
        };
        if flushed {
            let _ = self.events.flush();
        }
    }
}

/// Where the log of a stage lies in the folder of a run.
pub fn log(run: &Path, label: &str) -> PathBuf {
    run.join("logs").join(format!("{}.log", file_name(label)))
}

/// A stage's label as a name that any file system takes; of two labels never the same.
pub fn file_name(label: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '.' | '[' | ']' | ',');
    let mut name: String = label
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .take(120)
        .collect();
    if name != label {
        // Two labels must not share a log because their odd characters were replaced.
        name += &format!("-{}", &Digest::of_bytes(label.as_bytes()).to_string()[..8]);
    }
    name
}

impl Subject<'_> {
    /// What `run.json` holds of the workflow.
    fn head(&self) -> Head {
        let Subject {
            workflow,
            sources,
            overrides,
            plan,
            about,
            ..
        } = *self;
        let params = overrides.params.as_ref();
        // Includes and the file of params: without them the workflow file is not whole.
        let by_path =
            |(path, text): (PathBuf, &str)| (path.display().to_string(), text.to_string());
        let files = inputs::texts(workflow, sources).skip(1).map(by_path);
        let others = inputs::others(workflow, sources).map(by_path);
        let wanted = plan.order.iter().filter(|node| self.wanted.contains(node));
        let wanted: Vec<String> = wanted.map(|&node| plan.graph[node].label.clone()).collect();
        Head {
            name: about.name.clone(),
            note: about.note.clone(),
            again: about.again.clone(),
            commit: about.commit.clone(),
            workflow: workflow.name.clone(),
            path: workflow.path.clone(),
            root: (workflow.root() != workflow.folder()).then(|| workflow.root().to_path_buf()),
            seed: Some(workflow.seed),
            params: node::object(&workflow.params),
            set: overrides.set.clone(),
            variants: overrides.variants.clone(),
            sweep: overrides.sweep.clone(),
            seeds: overrides.seeds.clone(),
            point: overrides.point.clone(),
            params_file: params.map(|file| {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                inputs::place(&file, workflow, sources)
            }),
            wanted: (wanted.len() < plan.order.len()).then_some(wanted),
            files: files.collect(),
            others: others.collect(),
            kinds: self.kinds().collect(),
            ..Head::default()
        }
    }

    /// The kinds that the workflow uses: their versions, and the plugins that have them.
    fn kinds(&self) -> impl Iterator<Item = (String, UsedKind)> {
        let names: BTreeSet<&str> = self
            .plan
            .instances()
            .filter_map(|instance| match &instance.task {
                Task::Kind { kind, .. } => Some(kind.as_str()),
                Task::Command(_) => None,
            })
            .collect();
        names.into_iter().filter_map(|name| {
            let kind = self.catalogue.get(name)?;
            let used = UsedKind {
                version: kind.version.clone(),
                plugin: kind.plugin.clone(),
                plugin_digest: kind.digest.clone(),
            };
            Some((name.to_string(), used))
        })
    }
}

/// This machine's name.
pub fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The operating system and the processor's architecture.
pub(crate) fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// This machine's processor: what it calls itself, and what of its instructions libraries choose their ways by.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        (field.trim() == "model name").then(|| value.trim().to_string())
    });
    let name = name.unwrap_or_else(platform);
    match widest() {
        Some(widest) => format!("{name} ({widest})"),
        None => name,
    }
}

#[cfg(target_arch = "x86_64")]
fn widest() -> Option<&'static str> {
    Some(if is_x86_feature_detected!("avx512f") {
        "it has AVX-512"
    } else if is_x86_feature_detected!("avx2") {
        "it has AVX2 and no AVX-512"
    } else {
        "it has no AVX2"
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn widest() -> Option<&'static str> {
    None
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}
