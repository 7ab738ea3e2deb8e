//! What stages print, while they print it: their logs, followed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use flow_run::record::{Event, journal};

use super::{View, tell};

/// How often logs are looked at.
const TICK: Duration = Duration::from_millis(100);
/// What is read of a log at once, in bytes.
const CHUNK: usize = 64 << 10;
/// A longer line is shown in several, in bytes.
const LONGEST_LINE: usize = 64 << 10;

/// Another view, with the lines of all logs between its own.
pub struct Output {
    view: Box<dyn View>,
    /// The run's folder.
    run: PathBuf,
    followed: Arc<Mutex<Followed>>,
}

/// The logs of the stages that run, by label. The thread that follows them ends where only it has them.
type Followed = BTreeMap<String, Log>;

struct Log {
    path: PathBuf,
    /// How much of it was read.
    read: u64,
    /// The line that has not ended.
    rest: Vec<u8>,
}

impl Output {
    /// Shows the logs of a run, whose folder is `run`, in `view`.
    pub fn new(view: Box<dyn View>, run: PathBuf) -> Output {
        let followed = Arc::new(Mutex::new(Followed::new()));
        let watched = Arc::downgrade(&followed);
        thread::spawn(move || {
            while let Some(followed) = watched.upgrade() {
                for (label, log) in lock(&followed).iter_mut() {
                    log.show(label);
                }
                drop(followed);
                thread::sleep(TICK);
            }
        });
        Output {
            view,
            run,
            followed,
        }
    }
}

fn lock(followed: &Mutex<Followed>) -> std::sync::MutexGuard<'_, Followed> {
    followed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View for Output {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Execute { label, .. } => {
                let log = Log {
                    path: journal::log(&self.run, label),
                    read: 0,
                    rest: Vec::new(),
                };
                // A retry begins a new log, after the last lines of the one before.
                if let Some(mut before) = lock(&self.followed).insert(label.clone(), log) {
                    before.end(label);
                }
            }
            Event::Stage(end) => {
                let label = end.label();
                if let Some(mut log) = lock(&self.followed).remove(&label) {
                    log.show(&label);
                    log.end(&label);
                }
            }
            _ => {}
        }
        self.view.event(event);
    }

    fn end(&mut self) -> io::Result<()> {
        self.view.end()
    }
}

impl Log {
    /// Shows the lines that have come since.
    fn show(&mut self, label: &str) {
        // A stage that has printed nothing may have no log yet.
        let Ok(file) = File::open(&self.path) else {
            return;
        };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length < self.read {
            // Its middle was left out, behind the end of what is shown.
            self.read = length;
        }
        let mut buffer = vec![0; CHUNK];
        while let Ok(count) = file.read_at(&mut buffer, self.read)
            && count > 0
        {
            self.read += count as u64;
            for &byte in &buffer[..count] {
                match byte {
                    b'\n' => self.line(label),
                    _ => self.rest.push(byte),
                }
                if self.rest.len() >= LONGEST_LINE {
                    self.line(label);
                }
            }
            if count < buffer.len() {
                break;
            }
        }
    }

    /// Shows the last line, if it did not end with a line break.
    fn end(&mut self, label: &str) {
        if !self.rest.is_empty() {
            self.line(label);
        }
    }

    fn line(&mut self, label: &str) {
        let line = std::mem::take(&mut self.rest);
        // As it is, colours included: who asks for a stage's output wants what the stage wrote.
        let text = String::from_utf8_lossy(&line);
        tell(&format!("{label} | {}", text.trim_end_matches('\r')));
    }
}
