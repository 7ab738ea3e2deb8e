//! Folders as blobs: a sorted list of relative file paths with digests and sizes, and of empty folders.

use crate::digest::Digest;
use crate::record::Output;

/// Separates the digests of folders from those of files with the same bytes (blake3's key derivation mode).
const CONTEXT: &str = "flow-cache 1 tree";

/// What stands behind the size of a file that may be executed. Nothing stands there for any other file, so a folder without
/// such files has the digest that it always had.
const EXECUTABLE: &str = "x";

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
    File {
        digest: Digest,
        size: u64,
        executable: bool,
    },
    EmptyFolder,
}

impl Tree {
    pub fn new(entries: impl IntoIterator<Item = (String, Entry)>) -> Tree {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Tree { entries }
    }

    /// The blob's bytes: a magic line, then a JSON array of `[path, digest, size]`, `[path, digest, size, "x"]` for an
    /// executable file, or `[path]`, one a line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from(MAGIC);
        for (path, entry) in &self.entries {
            let line = match entry {
                Entry::File {
                    digest,
                    size,
                    executable: false,
                } => serde_json::json!([path, digest, size]),
                Entry::File { digest, size, .. } => {
                    serde_json::json!([path, digest, size, EXECUTABLE])
                }
                Entry::EmptyFolder => serde_json::json!([path]),
            };
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text.into_bytes()
    }

    /// What a folder with this content is, as an output.
    pub fn to_output(&self) -> Output {
        Output {
            digest: Tree::digest(&self.to_bytes()),
            size: self.size(),
            folder: true,
            artifact: "folder".to_owned(),
            executable: false,
        }
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
                let executable = false;
                (
                    path,
                    Entry::File {
                        digest,
                        size,
                        executable,
                    },
                )
            } else if let Ok((path, digest, size, mark)) =
                serde_json::from_str::<(String, Digest, u64, String)>(line)
            {
                if mark != EXECUTABLE {
                    return Err(format!("the mark `{mark}` of `{path}` is unknown"));
                }
                let executable = true;
                (
                    path,
                    Entry::File {
                        digest,
                        size,
                        executable,
                    },
                )
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
            Entry::File { digest, size, .. } => Some((path.as_str(), *digest, *size)),
            Entry::EmptyFolder => None,
        })
    }
}
