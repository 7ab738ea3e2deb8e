//! What stages need that no stage makes: found, hashed and complained about before anything runs. The user's files that they
//! read; environments and tools of the machine. What is small of a program's is
//! taken into the store before the first stage starts, so that the stages read the bytes that were hashed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flow_cache::{Bound, Digest, Error, Own, Snapshot, Store};
use flow_plan::plan::{Files, Instance, Origin, Plan, Spans, Task, Wanted, is_glob};
use flow_plan::workflow::Span;
use flow_plan::workflow::problem::{Problem, Problems};
use glob::Pattern;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::inputs::Given;
use super::{globs, places};
use crate::surroundings::{Found, Need};

/// What tools leave in folders, and what nobody wants to hand on: no part of a folder that a program reads.
const LEFT_OUT: [&str; 12] = [
    "__pycache__",
    "*.pyc",
    ".git",
    ".flow",
    ".ipynb_checkpoints",
    ".DS_Store",
    ".env",
    "id_rsa*",
    "id_ed25519*",
    "id_ecdsa*",
    "*.pem",
    "*.key",
];

/// What is small enough to be taken in, in bytes: code, settings, tables. What is larger is not copied.
const SMALL: Bound = Bound {
    file: 8 << 20,
    folder: 64 << 20,
};

/// Who reads files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// A stage kind: all that is there counts, as content alone.
    Kind,
    /// A program: execute bits count, and what tools leave behind does not.
    Program,
}

impl Reader {
    /// Who carries a task out.
    pub fn of(task: &Task) -> Reader {
        match task {
            Task::Kind { .. } => Reader::Kind,
            Task::Command(_) => Reader::Program,
        }
    }
}

/// Files or a folder that an input names.
#[derive(Debug, Clone)]
pub struct External {
    /// Of the content; for a glob also of the names, relative to the workflow's folder.
    pub digest: Digest,
    /// Absolute paths: one, or what lists and globs name, in order.
    pub paths: Vec<PathBuf>,
    /// What is at each of these paths, for a program; for a kind only where these are copies of what an earlier run read.
    pub contents: Vec<flow_cache::Output>,
}

impl External {
    /// Whether a content is small enough to be taken in.
    pub fn is_small(content: &flow_cache::Output) -> bool {
        let bound = if content.folder {
            SMALL.folder
        } else {
            SMALL.file
        };
        content.size <= bound
    }
}

/// What every path in a workflow stands for, and every environment and tool.
#[derive(Debug, Default)]
pub struct Externals {
    found: HashMap<(Files, Reader), External>,
    surroundings: HashMap<Need, Found>,
    /// What paths are relative to.
    root: PathBuf,
    /// What an earlier run read, where that counts and not what is there now.
    noted: Option<Vec<Given>>,
}

impl Externals {
    /// Finds and hashes the files that the given instances read, and the environments and tools that they need.
    pub fn resolve(
        plan: &Plan,
        nodes: impl IntoIterator<Item = NodeIndex>,
        folder: &Path,
        store: &Store,
        problems: &mut Problems,
    ) -> Externals {
        let mut named: BTreeMap<(Files, Reader), Span> = BTreeMap::new();
        let nodes: Vec<NodeIndex> = nodes.into_iter().collect();
        for &node in &nodes {
            let reader = Reader::of(&plan.graph[node].task);
            for input in &plan.graph[node].inputs {
                if let Origin::Path { files, span, .. } = &input.origin {
                    named.entry((files.clone(), reader)).or_insert(*span);
                }
            }
        }
        let find = |((files, reader), span): ((Files, Reader), Span)| {
            let result = find(&files, reader, folder, store);
            ((files, reader), span, result)
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
        let surroundings = surroundings(plan, &nodes, folder, store, problems);
        let externals = Externals {
            found,
            surroundings,
            root: folder.to_path_buf(),
            noted: None,
        };
        places::check(plan, &nodes, &externals, problems);
        externals
    }

    /// What an earlier run noted that it read.
    pub(super) fn noted(
        found: HashMap<(Files, Reader), External>,
        surroundings: HashMap<Need, Found>,
        root: &Path,
        noted: Vec<Given>,
    ) -> Externals {
        Externals {
            found,
            surroundings,
            root: root.into(),
            noted: Some(noted),
        }
    }

    /// What paths are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was found of what an instance needs of the machine, nothing where it needs nothing; `None` where it was not looked
    /// for.
    pub fn surroundings(&self, instance: &Instance) -> Option<Found> {
        match Need::of(instance, &self.root) {
            Some(need) => self.surroundings.get(&need).cloned(),
            None => Some(Found::default()),
        }
    }

    /// All needs, and what was found.
    pub fn needs(&self) -> impl Iterator<Item = (&Need, &Found)> {
        self.surroundings.iter()
    }

    /// What a path stands for.
    pub fn get(&self, files: &Files, reader: Reader) -> Option<&External> {
        self.found.get(&(files.clone(), reader))
    }

    /// All of them: what is named, by whom, and what is found.
    pub fn iter(&self) -> impl Iterator<Item = (&Files, Reader, &External)> {
        let found = self.found.iter();
        found.map(|((files, reader), external)| (files, *reader, external))
    }

    /// What an earlier run noted, where that counts.
    pub(super) fn of_the_past(&self) -> Option<&Vec<Given>> {
        self.noted.as_ref()
    }

    /// Takes what is small of the user's files into the store, and keeps it as what the run took in.
    ///
    /// # Errors
    /// Where one of them is no longer what it was when it was found, or the store can't be written.
    pub fn take_in(&self, folder: &Path, store: &Store, run: &str) -> Result<(), Error> {
        let mut snapshot = Snapshot::new();
        for given in self.given(store) {
            let small = given.found.iter().filter(|place| place.is_small());
            for (path, content) in small.filter_map(|p| Some((&p.path, p.content.as_ref()?))) {
                // What an earlier run read may be no longer what lies there.
                if self.noted.is_none() || store.check(content).is_err() {
                    take_in(&given.files, &folder.join(path), content, folder, store)?;
                }
                snapshot.insert(path.clone(), content.clone());
            }
        }
        if snapshot.is_empty() {
            return Ok(());
        }
        store.keep_snapshot(run, &snapshot)
    }
}

/// The environments and tools that some instances need.
pub(super) fn surroundings(
    plan: &Plan,
    nodes: &[NodeIndex],
    folder: &Path,
    store: &Store,
    problems: &mut Problems,
) -> HashMap<Need, Found> {
    let mut needs: BTreeMap<Need, Spans> = BTreeMap::new();
    for &node in nodes {
        if let Some(need) = Need::of(&plan.graph[node], folder) {
            needs.entry(need).or_insert(plan.graph[node].spans);
        }
    }
    let needs: Vec<_> = needs.into_iter().collect();
    let look = |(need, spans): (Need, Spans)| {
        let result = need.find(folder, &spans, store);
        (need, result)
    };
    let results: Vec<_> = match needs.len() {
        0 | 1 => needs.into_iter().map(look).collect(),
        _ => needs.into_par_iter().map(look).collect(),
    };
    let mut surroundings = HashMap::new();
    for (need, result) in results {
        match result {
            Ok(found) => {
                surroundings.insert(need, found);
            }
            Err((span, why)) => {
                let cause = why.to_string();
                let span = span.unwrap_or(Span::new(0, 0..0));
                problems.add(Problem::BadSurroundings { cause }, span);
            }
        }
    }
    surroundings
}

/// Takes in what a program reads at one path, and was `content` when it was found.
///
/// # Errors
/// Where it is no longer that, or the store can't be written.
pub fn take_in(
    files: &Files,
    path: &Path,
    content: &flow_cache::Output,
    folder: &Path,
    store: &Store,
) -> Result<(), Error> {
    // Any other process has it taken in too; which of the two puts it there is the same.
    let leave_out = leave_out(files);
    let own = Own {
        root: folder,
        leave_out: &leave_out,
    };
    let taken = store.take_in(&[(path, own)], SMALL)?;
    if taken
        .first()
        .is_some_and(|taken| taken.as_ref() == Some(content))
    {
        return Ok(());
    }
    Err(Error::BadInput {
        path: path.to_path_buf(),
        why: "it changed after it was hashed and before its stage began; run again".into(),
    })
}

/// Whether what a program reads at one path is still what it was.
pub fn is_still(
    files: &Files,
    path: &Path,
    content: &flow_cache::Output,
    folder: &Path,
    store: &Store,
) -> bool {
    let leave_out = leave_out(files);
    let own = Own {
        root: folder,
        leave_out: &leave_out,
    };
    store
        .digest_own(path, &own)
        .is_ok_and(|now| now == *content)
}

/// Whether a program's folder goes without something in it.
pub fn leave_out(files: &Files) -> impl Fn(&str, bool) -> bool + Sync + use<> {
    // Once: a plan has thousands of inputs, and most are single files.
    static ALWAYS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
        let patterns = LEFT_OUT.iter().map(|text| Pattern::new(text));
        patterns.filter_map(Result::ok).collect()
    });
    let excluded: Vec<Pattern> = files
        .exclude
        .iter()
        .filter_map(|text| Pattern::new(text.trim_end_matches('/')).ok())
        .collect();
    move |path, _| {
        let name = path.rsplit('/').next().unwrap_or(path);
        ALWAYS.iter().any(|pattern| pattern.matches(name))
            || excluded.iter().any(|pattern| pattern.matches(path))
    }
}

/// What paths and globs, relative to `folder`, stand for now.
///
/// # Errors
/// What is wrong with it, or with what is there.
pub fn find(
    files: &Files,
    reader: Reader,
    folder: &Path,
    store: &Store,
) -> Result<External, Problem> {
    let finder = Finder {
        files,
        reader,
        folder,
        store,
    };
    if let [pattern] = &files.patterns[..] {
        return finder.one(pattern);
    }
    let mut paths = Vec::new();
    for pattern in &files.patterns {
        match finder.matches(pattern)? {
            Some(found) => paths.extend(found),
            None => paths.push(folder.join(pattern)),
        }
    }
    paths.sort();
    paths.dedup();
    finder.several(paths)
}

struct Finder<'a> {
    files: &'a Files,
    reader: Reader,
    folder: &'a Path,
    store: &'a Store,
}

impl Finder<'_> {
    fn one(&self, pattern: &str) -> Result<External, Problem> {
        let wanted = self.files.wanted;
        let Some(mut paths) = self.matches(pattern)? else {
            let path = self.folder.join(pattern);
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
            return self.single(path, pattern);
        };
        match (wanted, paths.len()) {
            (Wanted::Many, _) => self.several(paths),
            (_, 1) => self.single(paths.remove(0), pattern),
            (_, count) => Err(Problem::ManyFiles {
                pattern: pattern.into(),
                count,
            }),
        }
    }

    /// What a glob matches, in order; none for a path.
    fn matches(&self, pattern: &str) -> Result<Option<Vec<PathBuf>>, Problem> {
        if !is_glob(pattern) || self.folder.join(pattern).exists() {
            return Ok(None);
        }
        let leave_out = leave_out(self.files);
        let is_left_out = |path: &Path| {
            let below = path.strip_prefix(self.folder).unwrap_or(path);
            self.reader == Reader::Program && leave_out(&below.to_string_lossy(), path.is_dir())
        };
        let paths = globs::matches(pattern, self.folder, &is_left_out)?;
        if paths.is_empty() {
            return Err(Problem::EmptyGlob {
                pattern: pattern.into(),
            });
        }
        Ok(Some(paths))
    }

    fn single(&self, path: PathBuf, written: &str) -> Result<External, Problem> {
        let (digest, content) = self.content(&path, written)?;
        Ok(External {
            digest,
            paths: vec![path],
            contents: content.into_iter().collect(),
        })
    }

    fn several(&self, paths: Vec<PathBuf>) -> Result<External, Problem> {
        let mut hasher = blake3::Hasher::new();
        let mut contents = Vec::new();
        for path in &paths {
            let name = path.strip_prefix(self.folder).unwrap_or(path);
            let name = name.to_string_lossy();
            let (digest, content) = self.content(path, &name)?;
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(digest.as_bytes());
            contents.extend(content);
        }
        Ok(External {
            digest: Digest::from_bytes(*hasher.finalize().as_bytes()),
            paths,
            contents,
        })
    }

    fn content(
        &self,
        path: &Path,
        written: &str,
    ) -> Result<(Digest, Option<flow_cache::Output>), Problem> {
        let found = match self.reader {
            Reader::Kind => self.store.digest_path(path).map(|digest| (digest, None)),
            Reader::Program => {
                let leave_out = leave_out(self.files);
                let own = Own {
                    root: self.folder,
                    leave_out: &leave_out,
                };
                let content = self.store.digest_own(path, &own);
                content.map(|content| (content.identity(), Some(content)))
            }
        };
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
}
