//! Going over everything in the store: all records, all blobs, totals.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use rayon::prelude::*;
use serde::Deserialize;

use crate::digest::{Digest, Key};
use crate::disk::{folder_bytes, list_folder};
use crate::error::Error;
use crate::record::{Output, Record};
use crate::store::Store;

/// The part of a record that says what it holds and what that cost; much quicker to read than all of it.
#[derive(Deserialize)]
pub(crate) struct Brief {
    pub key: Key,
    pub outputs: std::collections::BTreeMap<String, Output>,
    pub seconds: f64,
}

/// How much a store holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Whole records.
    pub records: usize,
    /// Records that can't be read: `verify` names them.
    pub damaged: usize,
    /// How long it took to compute them all, in seconds.
    pub seconds: f64,
    /// Blobs, each content once.
    pub blobs: usize,
    /// Their sizes' sum, in bytes.
    pub bytes: u64,
    /// Work folders: of actions that are being computed, and that ended early.
    pub work_folders: usize,
    /// What lies in them, in bytes.
    pub work_bytes: u64,
    /// Pins.
    pub pins: usize,
    /// Processes that use the store now.
    pub live: usize,
}

impl Store {
    /// All records, by key. One that is damaged is an [`Error::Damaged`] among them, and the iteration goes on.
    ///
    /// Blobs are not looked at: [`Store::lookup`] says whether those of a record are there.
    ///
    /// # Errors
    /// Where the store can't be listed.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<Record, Error>> + use<>, Error> {
        let store = self.clone();
        Ok(self.list("actions")?.into_iter().filter_map(move |path| {
            let found = store
                .read_listed(&path, |record: &Record| record.key)
                .transpose()?;
            Some(found.map(|(record, _)| record))
        }))
    }

    /// What all whole records say of the fields that `T` names: much quicker than whole records.
    ///
    /// # Errors
    /// Where the store can't be listed or read. What is damaged is passed over.
    pub fn read_records<T: serde::de::DeserializeOwned + Send>(&self) -> Result<Vec<T>, Error> {
        let records = self.list("actions")?.into_par_iter().filter_map(|path| {
            match self.read_record::<T>(&path) {
                Err(Error::Damaged { .. }) => None,
                found => Some(found.transpose()?.map(|(record, _)| record)),
            }
        });
        records.collect()
    }

    /// Counts and sums.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats {
            live: self.inner.live.count()?.0,
            pins: self.pins()?.len(),
            ..Stats::default()
        };
        let (briefs, damaged) = self.briefs()?;
        stats.records = briefs.len();
        stats.damaged = damaged;
        stats.seconds = briefs.iter().map(|(brief, _)| brief.seconds).sum();
        for blob in self.list("blobs")? {
            if let Ok(stat) = fs::symlink_metadata(&blob) {
                stats.blobs += 1;
                stats.bytes += stat.len();
            }
        }
        for folder in list_folder(&self.root().join("work"))? {
            stats.work_folders += 1;
            stats.work_bytes += folder_bytes(&folder);
        }
        Ok(stats)
    }

    /// All whole records in brief, by key, with the time of their last touch; and how many are damaged.
    pub(crate) fn briefs(&self) -> Result<(Vec<(Brief, SystemTime)>, usize), Error> {
        let damaged = AtomicUsize::new(0);
        let briefs = self
            .list("actions")?
            .into_par_iter()
            .filter_map(
                |path| match self.read_listed(&path, |brief: &Brief| brief.key) {
                    Err(Error::Damaged { .. }) => {
                        damaged.fetch_add(1, Ordering::Relaxed);
                        None
                    }
                    found => found.transpose(),
                },
            )
            .collect::<Result<_, Error>>()?;
        Ok((briefs, damaged.into_inner()))
    }

    /// The blobs that outputs consist of, with their sizes: files, trees, and the files in those. A damaged tree ends the
    /// list early with [`Error::Damaged`].
    pub(crate) fn blobs_of<'a>(
        &self,
        outputs: impl IntoIterator<Item = &'a Output>,
        blob: &mut dyn FnMut(Digest, Option<u64>),
    ) -> Result<(), Error> {
        for output in outputs {
            if !output.folder {
                blob(output.digest, Some(output.size));
                continue;
            }
            blob(output.digest, None);
            for (_, digest, size) in self.read_tree(&output.digest)?.files() {
                blob(digest, Some(size));
            }
        }
        Ok(())
    }

    /// Everything two levels below `top`, sorted.
    pub(crate) fn list(&self, top: &str) -> Result<Vec<PathBuf>, Error> {
        let mut all = Vec::new();
        for folder in list_folder(&self.root().join(top))? {
            if folder.is_dir() {
                all.extend(list_folder(&folder)?);
            } else {
                all.push(folder);
            }
        }
        Ok(all)
    }
}
