//! What a running stage is given: its inputs and outputs, its seed and threads, and a voice.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};

use crate::protocol::{Event, Request};

/// The surroundings of one running stage. Shared by reference between threads.
pub struct Context {
    request: Request,
    events: Mutex<Box<dyn Write + Send>>,
}

impl Context {
    /// A context for `request` that writes events, one a line, to `events`.
    pub fn new(request: Request, events: impl Write + Send + 'static) -> Self {
        Context {
            request,
            events: Mutex::new(Box::new(events)),
        }
    }

    /// The path of a declared input.
    ///
    /// # Errors
    /// Where the engine passed none, which it does for optional inputs alone.
    pub fn input(&self, role: &str) -> Result<&Path> {
        self.optional_input(role)
            .with_context(|| format!("the input `{role}` is missing from the request"))
    }

    /// The path of an optional input, where the workflow gives one.
    pub fn optional_input(&self, role: &str) -> Option<&Path> {
        self.request.inputs.get(role).map(PathBuf::as_path)
    }

    /// Where a declared output has to be written.
    ///
    /// # Errors
    /// Where the request does not name that output.
    pub fn output(&self, role: &str) -> Result<PathBuf> {
        self.request
            .outputs
            .get(role)
            .cloned()
            .with_context(|| format!("the output `{role}` is missing from the request"))
    }

    /// What an earlier action made as this output, where the stage may go on from it: an action that differs by smaller
    /// values of what the kind declares as `CONTINUES`, and by nothing else.
    pub fn earlier(&self, role: &str) -> Option<&Path> {
        self.request.earlier.get(role).map(PathBuf::as_path)
    }

    /// A folder of the stage's own, for scratch files and checkpoints.
    pub fn work(&self) -> &Path {
        &self.request.work
    }

    /// The stage's name in the workflow.
    pub fn stage(&self) -> &str {
        &self.request.stage
    }

    /// The seed of every random draw; see [`crate::random`].
    pub fn seed(&self) -> u64 {
        self.request.seed
    }

    /// The number of threads that the stage may use. Rayon's global pool and OpenMP are already bound to it.
    pub fn threads(&self) -> usize {
        self.request.threads.max(1) as usize
    }

    /// `cpu`, or the device that the workflow asked for.
    pub fn device(&self) -> &str {
        &self.request.device
    }

    /// Says how far the stage is: `done` of `total` (0: unknown) in `unit`s.
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        self.progress_message(done, total, unit, "");
    }

    /// Like [`Context::progress`], with a few words on what it is doing.
    pub fn progress_message(&self, done: u64, total: u64, unit: &str, message: &str) {
        self.emit(&Event::Progress {
            done,
            total,
            unit: unit.into(),
            message: message.into(),
        });
    }

    /// Reports a measured number, of `step` (epoch) where it is one of a series.
    pub fn metric(&self, name: &str, value: f64, step: Option<u64>) {
        self.emit(&Event::Metric {
            name: name.into(),
            value: value.is_finite().then_some(value),
            step,
        });
    }

    /// Writes a line to the stage's log.
    pub fn log(&self, message: impl Into<String>) {
        self.emit(&Event::Log {
            message: message.into(),
            facts: BTreeMap::new(),
            loaded: Vec::new(),
        });
    }

    /// Says what the stage computes with, by name and value: what decides results and stands in no parameter, such as a
    /// library's version or the instruction set that it chose. It goes into the log and into the result's provenance. To be
    /// called before anything is computed, so that the log of a stage that crashes has it.
    pub fn facts(&self, facts: BTreeMap<String, String>) {
        let named: Vec<String> = facts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        self.emit(&Event::Log {
            message: format!("computes with {}", named.join(", ")),
            facts,
            loaded: Vec::new(),
        });
    }

    /// Tells the user something that does not stop the stage.
    pub fn warning(&self, message: impl Into<String>) {
        self.emit(&Event::Warning {
            message: message.into(),
        });
    }

    pub(crate) fn error(&self, message: impl Into<String>) {
        self.emit(&Event::Error {
            message: message.into(),
        });
    }

    fn emit(&self, event: &Event) {
        let mut line = serde_json::to_string(event).expect("events hold nothing that JSON can't");
        line.push('\n');
        let mut events = self.events.lock().unwrap_or_else(|e| e.into_inner());
        // One write a line: the reader never sees half an event. Where the engine is gone nobody reads, and its
        // process group is about to be ended: nothing to do.
        let _ = events
            .write_all(line.as_bytes())
            .and_then(|()| events.flush());
    }
}
