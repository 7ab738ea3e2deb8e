//! `events.jsonl`, read line by line: as far as it goes, or on as it grows.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::event::Event;

/// Gives each line of a journal to `take`, the last one torn perhaps. A journal that is not there has none: its run ended
/// before its first event.
///
/// # Errors
/// Where it can't be read.
pub(super) fn lines(events: &Path, mut take: impl FnMut(&[u8])) -> Result<()> {
    let cannot = || format!("{} can't be read", events.display());
    let file = match File::open(events) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.with_context(cannot)?,
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).with_context(cannot)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}

/// Reads a journal on as it grows.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Where the next line begins.
    at: u64,
}

impl Follower {
    /// Begins at the journal's present end.
    pub fn from_now(path: PathBuf) -> Follower {
        let mut follower = Follower { path, at: 0 };
        follower.text();
        follower
    }

    /// The events that came since.
    pub fn more(&mut self) -> Vec<Event> {
        let text = self.text();
        text.split(|&byte| byte == b'\n')
            .filter_map(Event::read)
            .collect()
    }

    /// The whole lines that came since.
    fn text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.at))?;
            file.read_to_end(&mut text)
        });
        if read.is_err() {
            return Vec::new();
        }
        let whole = text.iter().rposition(|&byte| byte == b'\n');
        text.truncate(whole.map_or(0, |at| at + 1));
        self.at += text.len() as u64;
        text
    }
}
