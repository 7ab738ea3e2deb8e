//! What runs leave: its content is the caller's; that it stays as it was is looked after here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::list_folder;
use crate::envelope::{unwrap_json, wrap_json};
use crate::error::{At, Error, Problem};
use crate::store::Store;
use crate::walk::{Links, walk};

/// The file in a run's folder with the digests of all others, in an envelope with its own.
const DIGESTS: &str = "digests";

type Digests = BTreeMap<String, Digest>;

impl Store {
    /// Where the caller may keep what one run did. Not made here.
    pub fn run_folder(&self, id: &str) -> PathBuf {
        self.root().join("runs").join(id)
    }

    /// Makes the folder of a new run, and the store's own where they are not there.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn make_run_folder(&self, id: &str) -> Result<PathBuf, Error> {
        self.prepare()?;
        let folder = self.run_folder(id);
        fs::create_dir_all(&folder).at("making", &folder)?;
        Ok(folder)
    }

    /// Notes the digests of all files in a run's folder, which are final now, so that [`Store::verify`] can tell if they change.
    ///
    /// # Errors
    /// Where the folder can't be read or written.
    pub fn seal_run(&self, id: &str) -> Result<(), Error> {
        let folder = self.run_folder(id);
        let found = walk(&folder, Links::Refused, &|_, _| false)
            .map_err(|(path, why)| Error::BadInput { path, why })?;
        let mut digests = Digests::new();
        for (name, path) in found.files {
            if let Some(path) = path.filter(|_| name != DIGESTS) {
                let file = File::open(&path).at("reading", &path)?;
                digests.insert(name, Digest::of_file(&file).at("hashing", &path)?);
            }
        }
        write(&folder.join(DIGESTS), &digests)
    }

    /// A file that a sealed run left, as it was then; none where it is gone or changed.
    pub fn sealed_file(&self, id: &str, name: &str) -> Option<Vec<u8>> {
        let folder = self.run_folder(id);
        let digests: Digests = unwrap_json(&fs::read(folder.join(DIGESTS)).ok()?).ok()?;
        let bytes = fs::read(folder.join(name)).ok()?;
        (digests.get(name) == Some(&Digest::of_bytes(&bytes))).then_some(bytes)
    }

    /// Puts other content into a file of a run's folder. Where the run was sealed, that file is sealed anew.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn replace_in_run(&self, id: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let folder = self.run_folder(id);
        let path = folder.join(DIGESTS);
        let sealed = fs::read(&path).ok();
        let sealed = sealed.and_then(|found| unwrap_json::<Digests>(&found).ok());
        let Some(mut digests) = sealed else {
            return self.write_atomically(&folder.join(name), bytes);
        };
        // Who is killed in between leaves a run without digests, and none with wrong ones.
        fs::remove_file(&path).at("removing", &path)?;
        let file = folder.join(name);
        let written = self.write_atomically(&file, bytes);
        // It may be there although its folder could not be synced.
        if fs::read(&file).is_ok_and(|now| now == bytes) {
            digests.insert(name.to_owned(), Digest::of_bytes(bytes));
        }
        write(&path, &digests)?;
        written
    }

    /// What changed in the folders of runs since those were sealed. With `fix` it is removed; digests that are damaged are taken again.
    pub(crate) fn verify_runs(&self, fix: bool) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        for folder in list_folder(&self.root().join("runs"))? {
            let path = folder.join(DIGESTS);
            // A run that goes on, or that was killed, has none.
            let Ok(bytes) = fs::read(&path) else { continue };
            let mut digests: Digests = match unwrap_json(&bytes) {
                Ok(digests) => digests,
                Err(what) => {
                    // What it spoke of is taken as it is.
                    let id = folder.file_name().unwrap_or_default().to_string_lossy();
                    let fixed = fix && self.seal_run(&id).is_ok();
                    problems.push(Problem { path, what, fixed });
                    continue;
                }
            };
            let before = digests.len();
            digests.retain(|name, digest| {
                let file = folder.join(name);
                let Some(what) = difference(&file, digest) else {
                    return true;
                };
                let fixed = fix && (!file.exists() || fs::remove_file(&file).is_ok());
                problems.push(Problem {
                    path: file,
                    what,
                    fixed,
                });
                !fixed
            });
            if digests.len() < before {
                write(&path, &digests)?;
            }
        }
        Ok(problems)
    }
}

fn difference(file: &Path, digest: &Digest) -> Option<String> {
    match File::open(file).and_then(|file| Digest::of_file(&file)) {
        Ok(found) if found == *digest => None,
        Ok(_) => Some("was changed after its run ended".to_owned()),
        Err(e) => Some(format!("can't be read: {e}")),
    }
}

/// Not synced: it is no more durable than what it speaks of.
fn write(path: &Path, digests: &Digests) -> Result<(), Error> {
    let bytes = wrap_json(digests).map_err(|e| Error::io("writing", path, e.into()))?;
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, bytes).at("writing", &unfinished)?;
    fs::rename(&unfinished, path).at("writing", path)
}
