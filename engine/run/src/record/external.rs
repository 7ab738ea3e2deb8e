//! The user's files that stages read: found, hashed and complained about before anything runs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use flow_cache::{Digest, Store};
use flow_plan::plan::{Files, Origin, Plan, Wanted, is_glob};
use flow_plan::workflow::Span;
use flow_plan::workflow::problem::{Problem, Problems};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;

/// Files or a folder that an input names.
#[derive(Debug, Clone)]
pub struct External {
    /// Of the content; for a glob also of the names, relative to the workflow's folder.
    pub digest: Digest,
    /// Absolute paths: one, or what a glob matches, in order.
    pub paths: Vec<PathBuf>,
}

/// What every path in a workflow stands for.
#[derive(Debug, Default)]
pub struct Externals {
    found: HashMap<Files, External>,
}

impl Externals {
    /// Finds and hashes the files that the given instances read.
    pub fn resolve(
        plan: &Plan,
        nodes: impl IntoIterator<Item = NodeIndex>,
        folder: &Path,
        store: &Store,
        problems: &mut Problems,
    ) -> Externals {
        let mut named: BTreeMap<Files, Span> = BTreeMap::new();
        for node in nodes {
            for input in &plan.graph[node].inputs {
                if let Origin::Path { files, span, .. } = &input.origin {
                    named.entry(files.clone()).or_insert(*span);
                }
            }
        }
        let find = |(files, span): (Files, Span)| {
            let result = find(&files, folder, store);
            (files, span, result)
        };
        // One file may be large; a few take less time than threads take to start.
        const FEW: usize = 8;
        let results: Vec<_> = if named.len() < FEW {
            named.into_iter().map(find).collect()
        } else {
            named.into_par_iter().map(find).collect()
        };
        let mut found = HashMap::new();
        for (files, span, result) in results {
            match result {
                Ok(external) => {
                    found.insert(files, external);
                }
                Err(problem) => problems.add(problem, span),
            }
        }
        Externals { found }
    }

    /// What a path stands for.
    pub fn get(&self, files: &Files) -> Option<&External> {
        self.found.get(files)
    }

    /// All of them: what is named, and what is found.
    pub fn iter(&self) -> impl Iterator<Item = (&Files, &External)> {
        self.found.iter()
    }
}

/// What paths and globs, relative to `folder`, stand for now.
///
/// # Errors
/// What is wrong with it, or with what is there.
pub fn find(files: &Files, folder: &Path, store: &Store) -> Result<External, Problem> {
    let mut found = files
        .patterns
        .iter()
        .map(|pattern| one(pattern, files.wanted, folder, store));
    match found.next() {
        Some(first) => first,
        None => Ok(External {
            digest: Digest::of_bytes(&[]),
            paths: Vec::new(),
        }),
    }
}

fn one(pattern: &str, wanted: Wanted, folder: &Path, store: &Store) -> Result<External, Problem> {
    let path = folder.join(pattern);
    if !is_glob(pattern) || path.exists() {
        let wrong = match wanted {
            Wanted::File => path.is_dir(),
            Wanted::Folder => path.is_file(),
            Wanted::Either | Wanted::Many => false,
        };
        if wrong {
            return Err(Problem::WrongPath {
                path: pattern.into(),
                wanted: if wanted == Wanted::File {
                    "a file"
                } else {
                    "a folder"
                },
            });
        }
        let digest = digest(&path, pattern, store)?;
        return Ok(External {
            digest,
            paths: vec![path],
        });
    }
    let bad_glob = |cause: String| Problem::BadGlob {
        pattern: pattern.into(),
        cause,
    };
    // By itself first, so that the message counts from its own beginning.
    glob::Pattern::new(pattern).map_err(|e| bad_glob(e.to_string()))?;
    let escaped = if Path::new(pattern).is_absolute() {
        pattern.to_string()
    } else {
        let folder = glob::Pattern::escape(&folder.to_string_lossy());
        format!("{folder}/{pattern}")
    };
    let mut paths = Vec::new();
    for path in glob::glob(&escaped).map_err(|e| bad_glob(e.to_string()))? {
        paths.push(path.map_err(|e| bad_glob(e.to_string()))?);
    }
    paths.sort();
    match (wanted, paths.len()) {
        (_, 0) => Err(Problem::EmptyGlob {
            pattern: pattern.into(),
        }),
        (Wanted::Many, _) => {
            let mut hasher = blake3::Hasher::new();
            for path in &paths {
                let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
                hasher.update(&(name.len() as u64).to_le_bytes());
                hasher.update(name.as_bytes());
                hasher.update(digest(path, &name, store)?.as_bytes());
            }
            let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
            Ok(External { digest, paths })
        }
        (_, 1) => {
            let digest = digest(&paths[0], pattern, store)?;
            Ok(External { digest, paths })
        }
        (_, count) => Err(Problem::ManyFiles {
            pattern: pattern.into(),
            count,
        }),
    }
}

fn digest(path: &Path, written: &str, store: &Store) -> Result<Digest, Problem> {
    let found = store.digest_path(path);
    found.map_err(|error| match path.try_exists() {
        Ok(false) => Problem::MissingFile {
            path: written.into(),
        },
        _ => Problem::UnreadableFile {
            path: written.into(),
            cause: error.to_string(),
        },
    })
}
