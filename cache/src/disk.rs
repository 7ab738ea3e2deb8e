//! Folders, times and durability: what is done to files, with the path in the error.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::error::{At, Error};

/// The modification time of every blob, and of all that is laid out for a stage, in seconds since 1970: the beginning of the
/// year 2000, UTC. So programs that compare times see no file newer than another, and archives repeat. (Some tools take zero
/// for "unknown", and zip knows nothing before 1980.)
pub(crate) const MTIME: i64 = 946_684_800;

/// [`MTIME`] as the standard library has times.
pub(crate) fn mtime() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME.unsigned_abs())
}

/// Makes a file's content, or the names in a folder, durable.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .at("syncing", path)
}

/// Sets the modification time to now, by the file system's clock.
pub(crate) fn touch_now() -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
    }
}

/// What is in a folder, sorted; nothing where there is no folder.
pub(crate) fn list_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("reading", folder, e)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).at("reading", folder))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// The sizes' sum of all files below a folder, in bytes. What goes away meanwhile counts nothing.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let stat = fs::symlink_metadata(entry.path()).ok()?;
            Some(if stat.is_dir() {
                folder_bytes(&entry.path())
            } else {
                stat.len()
            })
        })
        .sum()
}

/// Removes a folder and all in it, also where a program made folders in it read-only.
///
/// # Errors
/// Where the system does not let it.
pub fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            make_writable(folder);
            fs::remove_dir_all(folder).at("removing", folder)
        }
        Err(e) => Err(Error::io("removing", folder, e)),
    }
}

fn make_writable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
