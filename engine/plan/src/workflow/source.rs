//! Texts that a workflow is read from, and places in them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::axes;

/// The texts: the workflow file, what it includes, and one for each option that is laid over it.
#[derive(Debug, Default)]
pub struct Sources {
    texts: Vec<(String, String)>,
    /// Those that are files: their paths and numbers, and the digests of the bytes of those that are no texts.
    files: Vec<(PathBuf, usize, Option<blake3::Hash>)>,
    /// What patterns matched: where they point, the number of the text, and what tells whether it is as it was.
    listings: Vec<(PathBuf, usize, Mark)>,
    /// Texts that count in the place of files.
    kept: BTreeMap<PathBuf, String>,
}

/// A place in one of the [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    source: usize,
    start: usize,
    end: usize,
}

impl Sources {
    /// None yet; those of `kept` will count in the place of the files, which are named by absolute paths.
    pub fn with_kept(kept: BTreeMap<PathBuf, String>) -> Self {
        let kept = kept.into_iter();
        Sources {
            kept: kept.map(|(path, text)| (plain(&path), text)).collect(),
            ..Sources::default()
        }
    }

    /// The text that counts in the place of a file.
    pub fn kept(&self, path: &Path) -> Option<&str> {
        if self.kept.is_empty() {
            return None;
        }
        let path = std::path::absolute(path).ok()?;
        self.kept.get(&plain(&path)).map(String::as_str)
    }

    /// Takes a text in, under the name by which messages call it.
    pub fn add(&mut self, name: String, text: String) -> usize {
        self.texts.push((name, text));
        self.texts.len() - 1
    }

    /// Takes the text of an option in, and says where it stands.
    pub(super) fn add_option(&mut self, option: &str, text: &str) -> Span {
        let source = self.add(option.into(), text.into());
        Span::new(source, 0..text.len())
    }

    /// Takes the text of a file in.
    pub fn add_file(&mut self, path: &Path, text: String) -> usize {
        let source = self.add(path.display().to_string(), text);
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        self.files.push((path, source, None));
        source
    }

    /// Takes in what a file that is no text came to; `digest` is of its bytes.
    pub(super) fn add_binary(&mut self, path: &Path, text: String, digest: blake3::Hash) -> usize {
        let source = self.add_file(path, text);
        if let Some((_, _, of_bytes)) = self.files.last_mut() {
            *of_bytes = Some(digest);
        }
        source
    }

    /// Takes in what a pattern below `root` matched, as a text under the name `path`.
    pub(super) fn add_listing(
        &mut self,
        path: &Path,
        root: &Path,
        pattern: &str,
        text: String,
    ) -> usize {
        let mark = Mark::Listing {
            root: root.to_path_buf(),
            pattern: pattern.into(),
            digest: *blake3::hash(text.as_bytes()).as_bytes(),
        };
        let source = self.add(path.display().to_string(), text);
        let path = std::path::absolute(root.join(pattern)).unwrap_or_else(|_| path.to_path_buf());
        self.listings.push((path, source, mark));
        source
    }

    /// What tells later whether all that was read is as it was: of files, and of what patterns match.
    pub fn marks(&self) -> Vec<Mark> {
        let files = self.files.iter().map(|(path, source, of_bytes)| {
            let text = self.texts[*source].1.as_bytes();
            let digest = of_bytes.unwrap_or_else(|| blake3::hash(text));
            Mark::File(path.clone(), *digest.as_bytes())
        });
        let listings = self.listings.iter().map(|(_, _, mark)| mark.clone());
        files.chain(listings).collect()
    }

    /// The paths of all files, absolute, that of the workflow first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, ..)| path.as_path())
    }

    /// The files that are texts, by absolute path, with these.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        let files = self
            .files
            .iter()
            .filter(|(_, _, of_bytes)| of_bytes.is_none());
        files.map(|(path, source, _)| (path.as_path(), self.text_of(*source)))
    }

    /// What files that are no texts came to, by absolute path; and what patterns matched, by the pattern.
    pub fn others(&self) -> impl Iterator<Item = (&Path, &str)> {
        let files = self
            .files
            .iter()
            .filter(|(_, _, of_bytes)| of_bytes.is_some());
        let files = files.map(|(path, source, _)| (path.as_path(), self.text_of(*source)));
        let listings = self.listings.iter();
        files.chain(listings.map(|(path, source, _)| (path.as_path(), self.text_of(*source))))
    }

    fn text_of(&self, source: usize) -> &str {
        &self.texts[source].1
    }

    /// The beginning of the text that will be taken in next.
    pub fn next(&self) -> Span {
        Span::new(self.texts.len(), 0..0)
    }

    /// The texts with their names, in the order in which they were read.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.texts.iter();
        texts.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The name of the text that a place lies in.
    pub fn name(&self, span: Span) -> &str {
        &self.texts[span.source].0
    }

    /// Where a place lies: a file and its line, or an option as it was given.
    pub fn place(&self, span: Span) -> String {
        let (name, text) = &self.texts[span.source];
        if name.starts_with("--") {
            return format!("{name} {text}");
        }
        let line = text[..span.start].matches('\n').count() + 1;
        format!("{name}:{line}")
    }

    /// The whole text that a place lies in.
    pub fn text(&self, span: Span) -> &str {
        &self.texts[span.source].1
    }
}

/// A path without `..`, by its text alone: the folders of kept texts may be gone.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What was read, as it can be compared later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// A file, and the digest of its bytes.
    File(PathBuf, [u8; 32]),
    /// What a pattern matches.
    Listing {
        /// Where it begins.
        root: PathBuf,
        /// The pattern.
        pattern: String,
        /// The digest of what it matched.
        digest: [u8; 32],
    },
}

impl Mark {
    /// Whether it is as it was.
    pub fn holds(&self) -> bool {
        let now = match self {
            Mark::File(path, _) => std::fs::read(path).ok(),
            Mark::Listing { root, pattern, .. } => {
                let found = axes::list(root, pattern).ok();
                found.map(|found| axes::as_text(&found).into_bytes())
            }
        };
        let (Mark::File(_, digest) | Mark::Listing { digest, .. }) = self;
        now.is_some_and(|now| blake3::hash(&now) == *digest)
    }
}

impl Span {
    /// The bytes `range` of the text number `source`.
    pub fn new(source: usize, range: Range<usize>) -> Self {
        Span {
            source,
            start: range.start,
            end: range.end,
        }
    }

    /// The bytes inside the text.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// A part of this place, by bytes from its beginning.
    pub(crate) fn inside(self, range: Range<usize>) -> Self {
        Span {
            start: self.start + range.start,
            end: self.start + range.end,
            ..self
        }
    }

    /// Whether it lies in the same text as another place.
    pub(super) fn is_beside(self, other: Span) -> bool {
        self.source == other.source
    }

    /// Whether it lies in another place.
    pub(super) fn is_in(self, other: Span) -> bool {
        self.source == other.source && self.start >= other.start && self.end <= other.end
    }

    /// What stands at this place of its text.
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.range()]
    }
}
