//! Results under names of the user's own: `[deliver]` of a workflow, put right by content.
//!
//! What was written where stands in a file of the checkout, so that nothing is overwritten that flow did not write, and what is
//! no longer asked for can go. A change is written down there before it is made: a run that is killed in between leaves either
//! content, and both are known as flow's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Output, Own, Store};
use serde::{Deserialize, Serialize};
use tempfile::{Builder, TempDir};

/// How what is half delivered is called. Only one process delivers at a time, so what it finds is litter.
const HALF: &str = ".flow-delivery-";

/// What can go wrong with all deliveries of a workflow.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The list of what was delivered can't be read or written.
    #[error("the list of what was delivered, {}, can't be used: {source}", path.display())]
    List {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list says nothing that flow could have written.
    #[error(
        "the list of what was delivered, {}, is damaged: remove it; then what lies where something is delivered counts as \
         yours, as long as it is not what flow would write",
        path.display()
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
    },
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The result was there.
    Same,
    /// It was written where nothing was.
    New,
    /// It took the place of an earlier one.
    Replaced,
    /// Something is at this path that flow did not write, or that was changed since; it was left as it is.
    Strange(PathBuf),
    /// It could not be written, and why.
    Failed(String),
}

/// What one workflow delivered into one checkout. While it lives, no other process delivers for a workflow of that folder.
pub struct Delivered {
    /// Where it is written down.
    path: PathBuf,
    /// What the names are relative to.
    root: PathBuf,
    list: BTreeMap<String, Written>,
    _lock: File,
}

/// What flow wrote under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    content: Output,
    /// What was there before, while it is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Output>,
    /// Whether it was there before flow wrote anything: it is followed from then on, and never removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    found: bool,
}

impl Written {
    fn is(&self, found: &Output) -> bool {
        let mut known = [Some(&self.content), self.before.as_ref()].into_iter();
        known.any(|known| known.is_some_and(|known| is_same(known, found)))
    }
}

/// What is at a path.
enum Found {
    Nothing,
    Content(Output),
    /// A link, a special file, or something that can't be read.
    Other,
    /// A file in the way of its folder.
    Under(PathBuf),
}

impl Delivered {
    /// What the workflow file at `workflow` delivered below `root`. Waits while another process delivers.
    ///
    /// # Errors
    /// Where the list can't be read or made.
    pub fn open(workflow: &Path, root: &Path) -> std::result::Result<Delivered, Error> {
        let path = list(workflow);
        let folder = path.parent().unwrap_or(root);
        let failed = |source| Error::List {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(failed)?;
        }
        // Of whatever user it is: to lock it, reading is enough.
        let lock = folder.join("lock");
        let lock = match File::open(&lock) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => File::create(&lock),
            opened => opened,
        };
        let lock = lock.map_err(failed)?;
        lock.lock().map_err(failed)?;
        let list = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| Error::Damaged { path: path.clone() })?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(failed(e)),
        };
        Ok(Delivered {
            path,
            root: root.to_path_buf(),
            list,
            _lock: lock,
        })
    }

    /// Puts results under their names, relative to the root; says what became of each, in order.
    ///
    /// # Errors
    /// Where the list can't be written: then nothing is.
    pub fn put(
        &mut self,
        store: &Store,
        due: &[(String, Output)],
    ) -> std::result::Result<Vec<Put>, Error> {
        let folders = due.iter().filter_map(|(name, _)| Path::new(name).parent());
        for folder in folders.collect::<BTreeSet<_>>() {
            clean(&self.root.join(folder));
        }
        let before = self.list.clone();
        let mut puts: Vec<Put> = Vec::with_capacity(due.len());
        for (name, output) in due {
            let known = self.list.get(name);
            let (put, before) = match self.look(store, name) {
                Found::Nothing => (Put::New, None),
                Found::Content(found) if is_same(&found, output) => (Put::Same, None),
                Found::Content(found) if known.is_some_and(|known| known.is(&found)) => {
                    (Put::Replaced, Some(found))
                }
                Found::Content(_) | Found::Other => (Put::Strange(name.into()), None),
                Found::Under(above) => (Put::Strange(above), None),
            };
            if !matches!(put, Put::Strange(_)) {
                let written = Written {
                    content: output.clone(),
                    before,
                    found: put == Put::Same && known.is_none_or(|known| known.found),
                };
                self.list.insert(name.clone(), written);
            }
            puts.push(put);
        }
        self.save_unless(&before)?;
        let before = self.list.clone();
        for ((name, output), put) in due.iter().zip(&mut puts) {
            if matches!(put, Put::New | Put::Replaced)
                && let Err(error) = replace(store, output, &self.root.join(name))
            {
                *put = Put::Failed(format!("{error:#}"));
                continue;
            }
            if let Some(written) = self.list.get_mut(name)
                && !matches!(put, Put::Strange(_))
            {
                written.before = None;
            }
        }
        self.save_unless(&before)?;
        Ok(puts)
    }

    /// The names of what flow delivered once, and that are not among `wanted`.
    pub fn gone(&self, wanted: &BTreeSet<&str>) -> Vec<String> {
        let names = self.list.keys();
        let gone = names.filter(|name| !wanted.contains(name.as_str()));
        gone.cloned().collect()
    }

    /// Those of `gone` that are in the way of what is wanted: a name is a folder of another.
    pub fn in_the_way(gone: &[String], wanted: &BTreeSet<&str>) -> Vec<String> {
        let lies_in = |a: &str, b: &str| a != b && Path::new(a).starts_with(b);
        let meets = |name: &&String| wanted.iter().any(|w| lies_in(name, w) || lies_in(w, name));
        gone.iter().filter(meets).cloned().collect()
    }

    /// Removes what was delivered under these names, but nothing that flow did not write; says which are left.
    ///
    /// # Errors
    /// Where the list can't be written.
    pub fn remove(
        &mut self,
        store: &Store,
        names: &[String],
    ) -> std::result::Result<Vec<String>, Error> {
        let before = self.list.clone();
        let mut left = Vec::new();
        for name in names {
            let Some(written) = self.list.get(name) else {
                continue;
            };
            let path = self.root.join(name);
            let removed = match self.look(store, name) {
                Found::Nothing => Ok(()),
                Found::Content(found) if written.is(&found) && !written.found => {
                    match found.folder {
                        true => fs::remove_dir_all(&path),
                        false => fs::remove_file(&path),
                    }
                }
                // It is the user's now.
                Found::Content(_) | Found::Other | Found::Under(_) => {
                    left.push(name.clone());
                    Ok(())
                }
            };
            if removed.is_err() {
                left.push(name.clone());
                continue;
            }
            self.list.remove(name);
            // Folders that nothing is in any more, up to the root.
            let above = path.ancestors().skip(1);
            for folder in above.take_while(|folder| *folder != self.root) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        self.save_unless(&before)?;
        Ok(left)
    }

    fn look(&self, store: &Store, name: &str) -> Found {
        let path = self.root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() || metadata.is_dir() => {}
            Ok(_) => return Found::Other,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                let mut above = Path::new(name).ancestors().skip(1);
                let file = above.find(|above| self.root.join(above).is_file());
                return Found::Under(file.unwrap_or(Path::new(name)).to_path_buf());
            }
            Err(_) => return Found::Other,
        }
        let own = Own {
            root: &path,
            leave_out: &|_, _| false,
        };
        match store.digest_own(&path, &own) {
            Ok(found) => Found::Content(found),
            Err(_) => Found::Other,
        }
    }

    fn save_unless(&self, before: &BTreeMap<String, Written>) -> std::result::Result<(), Error> {
        if self.list == *before {
            return Ok(());
        }
        let saved = (|| {
            let folder = self.path.parent().unwrap_or(&self.root);
            // For all who may read the project: another user may run the workflow next.
            let all = fs::Permissions::from_mode(0o666);
            let mut file = Builder::new().permissions(all).tempfile_in(folder)?;
            serde_json::to_writer_pretty(&mut file, &self.list)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        })();
        saved.map_err(|source| Error::List {
            path: self.path.clone(),
            source,
        })
    }
}

/// Removes what a run that was killed left half delivered.
fn clean(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(HALF) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Writes a result to a path, whatever is there: first beside it, then moved to its place.
///
/// # Errors
/// Where it can't be written: then what is there stays.
pub fn replace(store: &Store, output: &Output, path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let cannot = || format!("{} can't be written", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let half = TempDir::with_prefix_in(HALF, folder).with_context(cannot)?;
    let (new, old) = (half.path().join("new"), half.path().join("old"));
    store.export(output, &new)?;
    let cannot = || format!("{} can't be replaced", path.display());
    // A file takes the place of a file at once; a folder can't take that of one with something in it.
    if output.folder || path.is_dir() {
        match fs::rename(path, &old) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).with_context(cannot),
            _ => {}
        }
    }
    fs::rename(&new, path)
        .inspect_err(|_| {
            // Where it fails too, both are lost from sight; the store has the new one.
            let _ = fs::rename(&old, path);
        })
        .with_context(cannot)
}

/// Where it is written down what the workflow file at `workflow` delivered: in the checkout, whatever store it uses.
pub fn list(workflow: &Path) -> PathBuf {
    let folder = workflow.parent().unwrap_or(Path::new("/"));
    let name = workflow.file_name().unwrap_or_default();
    let name = format!("{}.json", name.to_string_lossy());
    folder.join(".flow/delivered").join(name)
}

fn is_same(a: &Output, b: &Output) -> bool {
    a.folder == b.folder && a.digest == b.digest && a.executable == b.executable
}
