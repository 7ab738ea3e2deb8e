//! How a result came to be: its record, those of what it was made from, back to the user's files. And which stage made a
//! content that someone has in hand.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use flow_cache::{Digest, Error, Key, Record, Store};
use flow_plan::plan::Files;
use serde::Deserialize;

use super::key::Manifest;

/// One action, and where its inputs came from.
#[derive(Debug)]
pub struct Action {
    /// Its record.
    pub record: Record,
    /// What its key is made of, where this version of flow understands it.
    pub manifest: Option<Manifest>,
    /// Input role to where it came from.
    pub inputs: BTreeMap<String, Vec<Source>>,
}

/// Where an input came from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// An output of another action, whose record may be gone.
    Result {
        /// The instance that made it.
        stage: String,
        /// The output's role.
        output: String,
        /// That action's key, where it is known.
        key: Option<Key>,
        /// The content.
        digest: Option<Digest>,
    },
    /// Files of the user's.
    Path {
        /// The path or glob, relative to the workflow's folder.
        path: String,
        /// All that was named, where that is more than one path or glob.
        files: Option<Files>,
        /// Of the content.
        digest: Digest,
    },
    /// Nothing is known but the content.
    Unknown {
        /// Of the content.
        digest: Digest,
    },
}

/// As it stands in a record's provenance.
#[derive(Deserialize)]
#[serde(untagged)]
enum Noted {
    Result {
        stage: String,
        output: String,
        key: Option<Key>,
        digest: Option<Digest>,
    },
    Path {
        path: String,
        files: Option<Files>,
    },
}

impl Action {
    /// The instance that it was made as.
    pub fn label(&self) -> &str {
        self.record.provenance["label"].as_str().unwrap_or("?")
    }

    /// The run that made it.
    pub fn run(&self) -> Option<&str> {
        self.record.provenance["run"].as_str()
    }
}

/// The actions that a record's own was made from directly, by their keys, as far as it tells.
pub fn sources(record: &Record) -> BTreeSet<Key> {
    let noted = record.provenance["inputs"]
        .as_object()
        .into_iter()
        .flatten();
    let noted = noted.flat_map(|(_, noted)| Vec::<Noted>::deserialize(noted).unwrap_or_default());
    let keys = noted.filter_map(|noted| match noted {
        Noted::Result { key, .. } => key,
        Noted::Path { .. } => None,
    });
    keys.collect()
}

/// What an action was made from: it first, none twice, each before what it was made from.
///
/// # Errors
/// Where the store can't be read. A damaged record ends its branch, as one that is gone does.
pub fn lineage(store: &Store, record: Record) -> Result<Vec<Action>, Error> {
    let mut search = Search {
        store,
        makers: None,
    };
    let mut found: Vec<Action> = Vec::new();
    let mut seen = BTreeSet::from([record.key]);
    let mut next = VecDeque::from([record]);
    while let Some(record) = next.pop_front() {
        let action = search.action(record)?;
        for source in action.inputs.values().flatten() {
            if let Source::Result { key: Some(key), .. } = source
                && seen.insert(*key)
                && let Some(record) = readable(store.record(key))?
            {
                next.push_back(record);
            }
        }
        found.push(action);
    }
    Ok(sorted(found))
}

/// The actions with these keys; none where a record is gone or damaged.
///
/// # Errors
/// Where the store can't be read.
pub fn actions(
    store: &Store,
    keys: impl IntoIterator<Item = Key>,
) -> Result<Vec<Option<Action>>, Error> {
    let mut search = Search {
        store,
        makers: None,
    };
    keys.into_iter()
        .map(|key| {
            readable(store.record(&key))?
                .map(|record| search.action(record))
                .transpose()
        })
        .collect()
}

/// Each action before those it was made from, otherwise in the order given.
fn sorted(actions: Vec<Action>) -> Vec<Action> {
    let mut readers: HashMap<Key, usize> = HashMap::new();
    let sources = |action: &Action| -> BTreeSet<Key> {
        let results = action.inputs.values().flatten();
        results
            .filter_map(|source| match source {
                Source::Result { key, .. } => *key,
                _ => None,
            })
            .collect()
    };
    for key in actions.iter().flat_map(sources) {
        *readers.entry(key).or_default() += 1;
    }
    let mut rest = VecDeque::from(actions);
    let mut ordered = Vec::new();
    let mut put_off = 0;
    while let Some(action) = rest.pop_front() {
        let waits = readers.get(&action.record.key).is_some_and(|n| *n > 0);
        // Keys are digests of what was made before, so there is no circle; damage must not make this loop for ever.
        if waits && put_off < rest.len() {
            put_off += 1;
            rest.push_back(action);
            continue;
        }
        put_off = 0;
        for key in sources(&action) {
            if let Some(count) = readers.get_mut(&key) {
                *count -= 1;
            }
        }
        ordered.push(action);
    }
    ordered
}

fn readable(record: Result<Option<Record>, Error>) -> Result<Option<Record>, Error> {
    match record {
        Err(Error::Damaged { .. }) => Ok(None),
        found => found,
    }
}

struct Search<'a> {
    store: &'a Store,
    /// Content to who made it: what records of the first flow, which do not name their sources, are searched for in.
    makers: Option<HashMap<Digest, (Key, String, String)>>,
}

impl Search<'_> {
    fn action(&mut self, record: Record) -> Result<Action, Error> {
        let manifest = serde_json::from_value::<Manifest>(record.manifest.clone()).ok();
        let noted = &record.provenance["inputs"];
        let mut inputs = BTreeMap::new();
        for (role, digest) in manifest.iter().flat_map(|manifest| &manifest.inputs) {
            let noted = Vec::<Noted>::deserialize(&noted[role]).unwrap_or_default();
            let mut sources: Vec<Source> = noted
                .into_iter()
                .map(|noted| match noted {
                    Noted::Result {
                        stage,
                        output,
                        key,
                        digest,
                    } => Source::Result {
                        stage,
                        output,
                        key,
                        digest,
                    },
                    Noted::Path { path, files } => Source::Path {
                        path,
                        files,
                        digest: *digest,
                    },
                })
                .collect();
            if sources.is_empty() {
                sources.push(self.maker(digest)?);
            }
            inputs.insert(role.clone(), sources);
        }
        Ok(Action {
            record,
            manifest,
            inputs,
        })
    }

    fn maker(&mut self, digest: &Digest) -> Result<Source, Error> {
        if self.makers.is_none() {
            let mut makers = HashMap::new();
            for record in self.store.records()?.flatten() {
                let label = record.provenance["label"].as_str().unwrap_or("?");
                for (role, output) in &record.outputs {
                    let maker = (record.key, label.to_string(), role.clone());
                    makers.entry(output.digest).or_insert(maker);
                }
            }
            self.makers = Some(makers);
        }
        let maker = self.makers.as_ref().and_then(|makers| makers.get(digest));
        Ok(match maker {
            Some((key, stage, output)) => Source::Result {
                stage: stage.clone(),
                output: output.clone(),
                key: Some(*key),
                digest: Some(*digest),
            },
            None => Source::Unknown { digest: *digest },
        })
    }
}

/// Where a content was found.
#[derive(Debug)]
pub struct Found {
    /// The record that names it.
    pub record: Record,
    /// The output; none where the action itself was meant, by its key.
    pub output: Option<String>,
    /// The file inside an output that is a folder.
    pub file: Option<String>,
    /// The content's digest.
    pub digest: Digest,
}

/// Which actions made the content whose digest begins so, or have such a key: the newest first.
/// And which read it as an input, by their instance: where nothing made it.
///
/// # Errors
/// Where the store can't be read. What is damaged is passed over.
pub fn find(store: &Store, digits: &str) -> Result<(Vec<Found>, BTreeSet<String>), Error> {
    let is = |digest: &Digest| digest.to_string().starts_with(digits);
    let (mut found, mut readers) = (Vec::new(), BTreeSet::new());
    for record in store.records()?.flatten() {
        let mut add = |output: Option<&String>, file: Option<String>, digest: Digest| {
            found.push(Found {
                record: record.clone(),
                output: output.cloned(),
                file,
                digest,
            });
        };
        if is(&record.key.0) {
            add(None, None, record.key.0);
        }
        for (role, output) in &record.outputs {
            if is(&output.digest) {
                add(Some(role), None, output.digest);
            } else if output.folder {
                let files = store.files(output).unwrap_or_default();
                for (path, digest, _) in files.into_iter().filter(|(_, digest, _)| is(digest)) {
                    add(Some(role), Some(path), digest);
                }
            }
        }
        if let Ok(manifest) = serde_json::from_value::<Manifest>(record.manifest.clone())
            && manifest.inputs.values().any(is)
        {
            readers.extend(record.provenance["label"].as_str().map(String::from));
        }
    }
    found.sort_by(|a, b| {
        b.record
            .finished
            .cmp(&a.record.finished)
            .then_with(|| a.record.key.cmp(&b.record.key))
    });
    Ok((found, readers))
}
