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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ends::{Doing, Ends};
    use crate::record::past::PastRun;
    use flow_cache::Store;

    #[test]
    fn a_journal_is_read_as_far_as_it_goes_and_on_from_there() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join(".flow")).unwrap();
        let id = "20260101-000000-0000";
        std::fs::create_dir_all(store.run_folder(id)).unwrap();
        let ends = || Ends::of(&PastRun::open(&store, id).unwrap().unwrap(), &store).unwrap();
        let path = store.run_folder(id).join("events.jsonl");
        assert!(ends().unfinished.is_empty());
        let mut follower = Follower::from_now(path.clone());
        let first = concat!(
            r#"{"event":"start","run":"r","workflow":"w","stages":2}"#,
            "\n",
            r#"{"event":"execute","label":"a[x=1]","threads":1}"#,
            "\n",
            r#"{"event":"metric","label":"a[x=1]","name":"loss","value":0.5,"step":1}"#,
            "\n",
            r#"{"event":"progress","label":"a[x=1]","done":1,"total":9,"unit":"epoch","message":""}"#,
            "\n",
            r#"{"event":"metric","label":"a[x=1]","na"#,
        );
        std::fs::write(&path, first).unwrap();
        assert_eq!(follower.more().len(), 4);
        assert_eq!(follower.more().len(), 0);
        let found = ends();
        assert!(matches!(
            found.unfinished["a[x=1]"],
            Doing::Progress {
                done: 1,
                total: 9,
                ..
            }
        ));
        assert_eq!(found.curves["a[x=1]"]["loss"], [(1, 0.5)]);
        let rest = concat!(
            r#"me":"loss","value":null,"step":2}"#,
            "\n",
            r#"{"event":"stage","stage":"a","instance":{"x":1},"status":"ran","key":null,"seconds":1.0,"outputs":{}}"#,
            "\n",
        );
        std::fs::write(&path, format!("{first}{rest}")).unwrap();
        assert_eq!(follower.more().len(), 2);
        assert!(ends().unfinished.is_empty());
    }
}
