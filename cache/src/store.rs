//! Where things lie on disk, the format version, and atomic writing.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::digest::{Digest, Key};
use crate::disk::sync;
use crate::error::{At, Error, FORMAT};
use crate::live::{Live, SLACK};
use crate::memo::Memo;

/// What a store's root may hold. A folder with anything else and no `format` file is someone else's.
const NAMES: [&str; 14] = [
    IGNORE.0,
    TAG.0,
    "actions",
    "blobs",
    "delivered",
    "format",
    "live",
    "locks",
    "memo",
    "notes",
    "pins",
    "runs",
    "tmp",
    "work",
];

/// Keeps `git add` from taking a store in.
const IGNORE: (&str, &str) = (".gitignore", "# Made by flow.\n*\n");

/// Tells backup programs that all this can be made again (<https://bford.info/cachedir/>).
const TAG: (&str, &str) = (
    "CACHEDIR.TAG",
    "Signature: 8a477f597d28d172789f06886806bc55\n# A store of flow: what is in it can be computed again.\n",
);

/// Hears of input files that are hashed: which, and how many bytes of it since it last heard.
pub type Hear = dyn Fn(&Path, u64) + Send + Sync;

/// A content-addressed store in one folder. Cheap to clone; clones share what is remembered.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    /// Free text that others see while they wait for a key that this process holds.
    pub(crate) note: Arc<str>,
    /// Whether what a `stat` shows as untouched is handed on unread.
    pub(crate) trusting: bool,
    /// Hears of input files that are hashed.
    pub(crate) hear: Option<Arc<Hear>>,
}

pub(crate) struct Inner {
    pub root: PathBuf,
    /// Set once the file system has said that it can't clone files.
    pub no_reflink: AtomicBool,
    pub live: Live,
    pub memo: Memo,
    /// The blobs that this process has hashed.
    pub hashed: Mutex<HashSet<Digest>>,
    temporary: AtomicU64,
    ready: AtomicBool,
}

impl Store {
    /// Opens the store at `root`. Nothing is made on disk until the first write.
    ///
    /// Looking a record up costs a `stat` for each of its blobs. A blob is hashed where that `stat` shows a change, and
    /// before this process hands it on for the first time ([`Store::materialise`]): so what rotted on the disk is found too.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where `root` is a file, or a folder of other things; [`Error::Format`] where it is a store of
    /// another version.
    pub fn open(root: &Path) -> Result<Store, Error> {
        Store::open_with(root, SLACK)
    }

    pub(crate) fn open_with(root: &Path, slack: Duration) -> Result<Store, Error> {
        let root = std::path::absolute(root).at("finding the store at", root)?;
        check_format(&root)?;
        Ok(Store {
            inner: Arc::new(Inner {
                live: Live::at(root.clone(), slack),
                memo: Memo::at(root.join("memo")),
                root,
                hashed: Mutex::default(),
                no_reflink: AtomicBool::new(false),
                temporary: AtomicU64::new(0),
                ready: AtomicBool::new(false),
            }),
            note: Arc::from(""),
            trusting: false,
            hear: None,
        })
    }

    /// The same store, with the text that others see while they wait for what this one computes.
    #[must_use]
    pub fn with_note(self, note: String) -> Store {
        Store {
            note: Arc::from(note),
            ..self
        }
    }

    /// The same store, but a blob whose size and times are as they should be is handed on unread.
    #[must_use]
    pub fn trusting(self) -> Store {
        Store {
            trusting: true,
            ..self
        }
    }

    /// The same store, that tells `hear` of the input files that it hashes while it does so.
    #[must_use]
    pub fn with_hearing(self, hear: Arc<Hear>) -> Store {
        Store {
            hear: Some(hear),
            ..self
        }
    }

    /// Whether anything was ever stored in it.
    pub fn is_there(&self) -> bool {
        self.root().join("format").exists()
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Where the action with this key is computed, and what an attempt that failed has left. Not made here.
    pub fn work_folder(&self, key: &Key) -> PathBuf {
        self.work_path(key)
    }

    /// Where the blob with this digest lies, if it is there: for those who put it there and clear it away. Whoever reads
    /// content asks [`Store::sealed`].
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs", digest, "")
    }

    pub(crate) fn record_path(&self, key: &Key) -> PathBuf {
        self.sharded("actions", &key.0, ".json")
    }

    /// `FOLDER/ab/<digest>ENDING`, put together at once: a run with nothing to do spends a tenth of its time on names.
    fn sharded(&self, folder: &str, digest: &Digest, ending: &str) -> PathBuf {
        let root = self.root().as_os_str();
        let hex = digest.to_hex();
        let mut path = OsString::with_capacity(root.len() + folder.len() + ending.len() + 69);
        path.push(root);
        for part in ["/", folder, "/", &hex[..2], "/", &hex, ending] {
            path.push(part);
        }
        path.into()
    }

    pub(crate) fn lock_path(&self, key: &Key) -> PathBuf {
        self.root().join("locks").join(key.to_string())
    }

    pub(crate) fn work_path(&self, key: &Key) -> PathBuf {
        self.root().join("work").join(key.to_string())
    }

    /// A new name under `tmp/`, on the same file system as the rest of the store.
    pub(crate) fn temporary(&self) -> PathBuf {
        let n = self.inner.temporary.fetch_add(1, Ordering::Relaxed);
        // The clock keeps apart two machines that share a store and happen to use one process id.
        let now = jiff::Timestamp::now().as_nanosecond();
        self.root()
            .join("tmp")
            .join(format!("{now}-{}-{n}", std::process::id()))
    }

    /// Makes the store's folders and its `format` file, before the first write.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        if self.inner.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        for name in ["tmp", "actions", "blobs", "locks", "work"] {
            let folder = self.root().join(name);
            fs::create_dir_all(&folder).at("making", &folder)?;
        }
        // For people's sake: where one can't be written the store does without. What is there is left as it is.
        for (name, text) in [IGNORE, TAG] {
            let path = self.root().join(name);
            if fs::symlink_metadata(&path).is_err() {
                let _ = self.write_atomically(&path, text.as_bytes());
            }
        }
        let format = self.root().join("format");
        if !format.exists() {
            self.write_atomically(&format, format!("{FORMAT}\n").as_bytes())?;
            // The store's own name. A folder that we may write but not read can't be synced, which is no reason to stop.
            let _ = self.root().parent().map(sync);
        }
        self.inner.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes a whole file: temporary name, fsync, rename, fsync of the folder. A reader sees all of it or nothing.
    pub(crate) fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let temporary = self.temporary();
        let written = (|| {
            let mut file = File::create_new(&temporary).at("making", &temporary)?;
            file.write_all(content).at("writing", &temporary)?;
            file.sync_all().at("syncing", &temporary)?;
            fs::rename(&temporary, path).at("writing", path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        sync(path.parent().unwrap_or(self.root()))
    }
}

/// Whether `root` is a store of this format, or can become one.
pub(crate) fn check_format(root: &Path) -> Result<(), Error> {
    let refuse = |why: &str| {
        Err(Error::NotAStore {
            root: root.to_owned(),
            why: why.to_owned(),
        })
    };
    match fs::read_to_string(root.join("format")) {
        Ok(text) if text == format!("{FORMAT}\n") => Ok(()),
        Ok(text) if text.starts_with("flow-cache ") && text.ends_with('\n') => Err(Error::Format {
            root: root.to_owned(),
            found: text.trim_end().to_owned(),
        }),
        Ok(_) => refuse(
            "its `format` file is damaged; remove that file if the rest is a store of this program",
        ),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let entries = match fs::read_dir(root) {
                Ok(entries) => entries,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(Error::io("reading", root, e)),
            };
            for entry in entries {
                let name = entry.at("reading", root)?.file_name();
                if !NAMES.iter().any(|known| name == *known) {
                    let name = name.to_string_lossy().into_owned();
                    return refuse(&format!(
                        "it holds other things (`{name}`); name a new or empty folder"
                    ));
                }
            }
            Ok(())
        }
        Err(e) if e.kind() == ErrorKind::NotADirectory => refuse("it is a file; name a folder"),
        Err(e) => Err(Error::io("reading", &root.join("format"), e)),
    }
}
