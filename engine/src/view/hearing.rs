//! Input files while they are hashed: said where it takes long, and nothing otherwise.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use flow_cache::Store;
use indicatif::{ProgressBar, ProgressStyle};

use super::tell;

/// What takes less is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is told where nobody watches, as of running stages.
const INTERVAL: Duration = Duration::from_secs(10);

/// Tells of hashing until its [`end`](Hearing::end).
#[derive(Debug, Clone, Default)]
pub struct Hearing {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    began: Option<Instant>,
    bytes: u64,
    told: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Hearing {
    /// One that has heard of nothing.
    pub fn new() -> Hearing {
        Hearing::default()
    }

    /// The same store, whose hashing is told of.
    pub fn of(&self, store: &Store) -> Store {
        let heard = Arc::clone(&self.heard);
        let terminal = io::stderr().is_terminal();
        store
            .clone()
            .with_hearing(Arc::new(move |file: &Path, bytes| {
                lock(&heard).hear(file, bytes, terminal);
            }))
    }

    /// Takes the line away.
    pub fn end(&self) {
        if let Some(bar) = lock(&self.heard).bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heard {
    fn hear(&mut self, file: &Path, bytes: u64, terminal: bool) {
        let began = *self.began.get_or_insert_with(Instant::now);
        self.bytes += bytes;
        let wait = if terminal { PATIENCE } else { INTERVAL };
        if began.elapsed() < wait {
            return;
        }
        if terminal {
            let text = text(file, self.bytes, began.elapsed());
            self.bar.get_or_insert_with(bar).set_message(text);
        } else if self.told.is_none_or(|told| told.elapsed() >= INTERVAL) {
            tell(&text(file, self.bytes, began.elapsed()));
            self.told = Some(Instant::now());
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn text(file: &Path, bytes: u64, time: Duration) -> String {
    let rate = bytes as f64 / time.as_secs_f64().max(0.001);
    format!(
        "hashing   input files: {} so far, {}/s, now {}",
        ByteSize(bytes),
        ByteSize(rate as u64),
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_hashing_is_not_told_of_and_long_one_is() {
        let mut heard = Heard::default();
        heard.hear(Path::new("/data/x.npy"), 1 << 30, true);
        assert!(heard.bar.is_none() && heard.told.is_none());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(20));
        heard.began = long_ago;
        heard.hear(Path::new("/data/x.npy"), 1 << 30, false);
        assert!(heard.told.is_some() && heard.bytes == 2 << 30);
        let text = text(
            Path::new("/data/x.npy"),
            heard.bytes,
            Duration::from_secs(4),
        );
        assert_eq!(
            text,
            "hashing   input files: 2.0 GiB so far, 512.0 MiB/s, now /data/x.npy"
        );
    }
}
