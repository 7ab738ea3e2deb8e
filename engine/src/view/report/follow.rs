//! The journal of a run that goes on, or that ended early: read as far as it goes, and on from there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::plan;

/// What is known of a stage that has begun and not ended.
#[derive(Debug, Default, Clone)]
pub(super) struct Unfinished {
    /// How far it is, in words.
    pub progress: Option<String>,
}

/// An event, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Execute {
        label: String,
    },
    Waiting {
        label: String,
        holder: String,
    },
    Progress {
        label: String,
        done: u64,
        total: u64,
        unit: String,
        message: String,
    },
    Metric {
        label: String,
        name: String,
        value: Option<f64>,
        step: Option<u64>,
    },
    Stage {
        stage: String,
        instance: BTreeMap<String, serde_json::Value>,
    },
    #[serde(other)]
    Other,
}

/// The lines of a journal that are whole. One that can't be read has none: it may have just been begun.
fn lines(events: &Path) -> impl Iterator<Item = Line> {
    let file = File::open(events).ok().map(BufReader::new);
    let lines = file.into_iter().flat_map(|reader| reader.split(b'\n'));
    lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_slice(&line).ok())
}

/// The stages that have begun and not ended, by label.
pub(super) fn unfinished(events: &Path) -> BTreeMap<String, Unfinished> {
    let mut found: BTreeMap<String, Unfinished> = BTreeMap::new();
    for line in lines(events) {
        match line {
            Line::Execute { label } => {
                found.insert(label, Unfinished::default());
            }
            Line::Waiting { label, holder } => {
                found.entry(label).or_default().progress = Some(format!("waits for {holder}"));
            }
            Line::Progress {
                label,
                done,
                total,
                unit,
                message,
            } => {
                let mut text = format!("{unit} {done}");
                if total > 0 {
                    text += &format!("/{total}");
                }
                if !message.is_empty() {
                    text += &format!(", {message}");
                }
                found.entry(label).or_default().progress = Some(text);
            }
            Line::Stage { stage, instance } => {
                found.remove(&plan::label(&stage, &instance));
            }
            Line::Metric { .. } | Line::Other => {}
        }
    }
    found
}

/// The figures that stages told by step: label → name → steps and values.
pub(super) fn curves(events: &Path) -> BTreeMap<String, BTreeMap<String, Vec<(u64, f64)>>> {
    let mut found: BTreeMap<String, BTreeMap<String, Vec<(u64, f64)>>> = BTreeMap::new();
    for line in lines(events) {
        match line {
            // A second attempt begins anew.
            Line::Execute { label } => {
                found.remove(&label);
            }
            Line::Metric {
                label,
                name,
                value: Some(value),
                step: Some(step),
            } => found
                .entry(label)
                .or_default()
                .entry(name)
                .or_default()
                .push((step, value)),
            _ => {}
        }
    }
    found
}

/// Reads a journal on as it grows.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    /// Where the next line begins.
    at: u64,
}

impl Follower {
    /// Begins at the journal's present end.
    pub fn from_now(path: PathBuf) -> Follower {
        let mut follower = Follower { path, at: 0 };
        follower.next();
        follower
    }

    /// The whole lines that came since.
    pub fn next(&mut self) -> Vec<String> {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.at))?;
            file.read_to_end(&mut text)
        });
        if read.is_err() {
            return Vec::new();
        }
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        self.at += whole as u64;
        let lines = String::from_utf8_lossy(&text[..whole]);
        lines.lines().map(String::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_far_as_it_goes_and_on_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        assert!(unfinished(&path).is_empty());
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
        assert_eq!(follower.next().len(), 4);
        assert_eq!(follower.next().len(), 0);
        let found = unfinished(&path);
        assert_eq!(found["a[x=1]"].progress.as_deref(), Some("epoch 1/9"));
        assert_eq!(curves(&path)["a[x=1]"]["loss"], [(1, 0.5)]);
        let rest = concat!(
            r#"me":"loss","value":null,"step":2}"#,
            "\n",
            r#"{"event":"stage","stage":"a","instance":{"x":1},"status":"ran","key":null,"seconds":1.0,"outputs":{}}"#,
            "\n",
        );
        std::fs::write(&path, format!("{first}{rest}")).unwrap();
        assert_eq!(follower.next().len(), 2);
        assert!(unfinished(&path).is_empty());
    }
}
