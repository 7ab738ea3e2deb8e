//! Folders as blobs: a sorted list of relative file paths with digests and sizes, and of empty folders.

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Separates the digests of folders from those of files with the same bytes (blake3's key derivation mode).
const CONTEXT: &str = "flow-cache 1 tree";

/// The first line of every tree blob.
const MAGIC: &str = "flow-cache tree 1\n";

/// A folder's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tree {
    /// Sorted by path; no path twice.
    pub entries: Vec<(String, Entry)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    File { digest: Digest, size: u64 },
    EmptyFolder,
}

impl Tree {
    pub fn new(entries: impl IntoIterator<Item = (String, Entry)>) -> Tree {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Tree { entries }
    }

    /// The blob's bytes: a magic line, then a JSON array of `[path, digest, size]` or `[path]`, one a line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from(MAGIC);
        for (path, entry) in &self.entries {
            let line = match entry {
                Entry::File { digest, size } => serde_json::json!([path, digest, size]),
                Entry::EmptyFolder => serde_json::json!([path]),
            };
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text.into_bytes()
    }

    /// The tree that these bytes describe; `Err` says what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tree, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
        let lines = text
            .strip_prefix(MAGIC)
            .ok_or("it does not begin as a tree")?;
        let mut entries: Vec<(String, Entry)> = Vec::new();
        for line in lines.lines() {
            let (path, entry) = if let Ok((path, digest, size)) =
                serde_json::from_str::<(String, Digest, u64)>(line)
            {
                (path, Entry::File { digest, size })
            } else {
                let (path,) = serde_json::from_str::<(String,)>(line).map_err(|e| e.to_string())?;
                (path, Entry::EmptyFolder)
            };
            // A tree blob may come from another machine: its paths must stay inside the folder it becomes.
            if path
                .split('/')
                .any(|part| part.is_empty() || part == "." || part == "..")
                || path.contains('\0')
            {
                return Err(format!("the path `{path}` leaves the folder"));
            }
            if entries.last().is_some_and(|(last, _)| *last >= path) {
                return Err("its paths are not sorted".to_owned());
            }
            entries.push((path, entry));
        }
        Ok(Tree { entries })
    }

    /// The digest of a tree's bytes.
    pub fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(blake3::derive_key(CONTEXT, bytes))
    }

    /// Whether a blob begins as trees do.
    pub fn is_tree(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC.as_bytes())
    }

    /// The sum of its files' sizes, in bytes.
    pub fn size(&self) -> u64 {
        self.files().map(|(_, _, size)| size).sum()
    }

    /// Its files: path, digest, size.
    pub fn files(&self) -> impl Iterator<Item = (&str, Digest, u64)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File { digest, size } => Some((path.as_str(), *digest, *size)),
            Entry::EmptyFolder => None,
        })
    }
}

/// What [`walk`] found below a folder: relative path with `/`, and where the file is; `None` for an empty folder.
pub(crate) type Found = Vec<(String, Option<PathBuf>)>;

/// Everything below `folder`. `Err` is the path at fault and a sentence.
///
/// With `follow`, links stand for what they point at and cycles are refused; without, links are refused.
pub(crate) fn walk(folder: &Path, follow: bool) -> Result<Found, (PathBuf, String)> {
    let mut found = Vec::new();
    descend(folder, "", follow, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn descend(
    folder: &Path,
    prefix: &str,
    follow: bool,
    above: &mut Vec<(u64, u64)>,
    found: &mut Found,
) -> Result<(), (PathBuf, String)> {
    use std::os::unix::fs::MetadataExt;
    let fault = |path: &Path, why: String| (path.to_owned(), why);
    let stat = fs::metadata(folder).map_err(|e| fault(folder, e.to_string()))?;
    let identity = (stat.dev(), stat.ino());
    if above.contains(&identity) {
        return Err(fault(
            folder,
            "a link in it leads back to a folder above it".to_owned(),
        ));
    }
    above.push(identity);
    let mut empty = true;
    for entry in fs::read_dir(folder).map_err(|e| fault(folder, e.to_string()))? {
        let entry = entry.map_err(|e| fault(folder, e.to_string()))?;
        empty = false;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return Err(fault(&path, "its name is not UTF-8".to_owned()));
        };
        let relative = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let mut kind = entry.file_type().map_err(|e| fault(&path, e.to_string()))?;
        if kind.is_symlink() {
            if !follow {
                return Err(fault(
                    &path,
                    "it is a symbolic link; write the file itself".to_owned(),
                ));
            }
            kind = fs::metadata(&path)
                .map_err(|e| fault(&path, format!("a link that can't be followed: {e}")))?
                .file_type();
        }
        if kind.is_dir() {
            descend(&path, &relative, follow, above, found)?;
        } else if kind.is_file() {
            found.push((relative, Some(path)));
        } else {
            return Err(fault(
                &path,
                "it is a special file (a pipe, socket or device)".to_owned(),
            ));
        }
    }
    if empty && !prefix.is_empty() {
        found.push((prefix.to_owned(), None));
    }
    above.pop();
    Ok(())
}
