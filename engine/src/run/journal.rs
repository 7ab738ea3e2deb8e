//! What is kept of a run: `runs/<id>/` with `run.json`, the workflow as it was, `events.jsonl` and the stages' logs.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Digest, Store};
use serde_json::{Value, json};

use super::event::Event;
use crate::workflow::{Overrides, Workflow, node};

/// The folder of one run.
#[derive(Debug)]
pub struct Journal {
    id: String,
    folder: PathBuf,
    events: BufWriter<File>,
}

impl Journal {
    /// Begins the journal of a new run.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn begin(store: &Store, workflow: &Workflow, overrides: &Overrides) -> Result<Journal> {
        let now = jiff::Timestamp::now();
        let unique =
            Digest::of_bytes(format!("{} {}", std::process::id(), now.as_nanosecond()).as_bytes());
        let id = format!(
            "{}-{}",
            now.strftime("%Y%m%d-%H%M%S"),
            &unique.to_string()[..4]
        );
        let folder = store.run_folder(&id);
        fs::create_dir_all(&folder)
            .with_context(|| format!("{} can't be made", folder.display()))?;
        let params: serde_json::Map<String, Value> = node::object(&workflow.params);
        let head = json!({
            "run": id,
            "workflow": workflow.name,
            "path": workflow.path,
            "seed": workflow.seed,
            "params": params,
            "set": overrides.set,
            "variants": overrides.variants,
            "flow": env!("CARGO_PKG_VERSION"),
            "started": now.to_string(),
            "process": std::process::id(),
        });
        write(&folder.join("run.json"), &format!("{head:#}\n"))?;
        let text = fs::read_to_string(&workflow.path).unwrap_or_default();
        write(&folder.join("workflow.toml"), &text)?;
        let path = folder.join("events.jsonl");
        let file =
            File::create(&path).with_context(|| format!("{} can't be written", path.display()))?;
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

    /// Ends the journal after its last event: from now on the store notices if it changes.
    pub fn end(self, store: &Store) {
        // What could not be written is dropped here, not written behind the seal.
        drop(self.events.into_parts());
        // A log that can't be sealed is a log all the same.
        let _ = store.seal_run(&self.id);
    }

    /// Where a stage's log is written.
    pub fn log(&self, label: &str) -> PathBuf {
        let plain = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '.' | '[' | ']' | ',')
        };
        let mut name: String = label
            .chars()
            .map(|c| if plain(c) { c } else { '_' })
            .take(120)
            .collect();
        if name != label {
            // Two labels must not share a log because their odd characters were replaced.
            name += &format!("-{}", &Digest::of_bytes(label.as_bytes()).to_string()[..8]);
        }
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// Keeps an event. A journal that can't be written does not stop the run: results matter more.
    pub fn keep(&mut self, event: &Event) {
        if serde_json::to_writer(&mut self.events, event).is_ok() {
            let _ = self.events.write_all(b"\n");
        }
        if matches!(
            event,
            Event::Run(_) | Event::Execute { .. } | Event::Progress { .. }
        ) {
            let _ = self.events.flush();
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}
