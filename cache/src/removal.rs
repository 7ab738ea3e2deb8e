//! Removing what others may be using, under the lock that gc, repair and pinning share.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::disk::list_folder;
use crate::error::{At, Error};
use crate::live::gc_lock;
use crate::lock::Lock;
use crate::store::Store;

impl Store {
    /// Waits for the lock that gc, repair and pinning share.
    pub(crate) fn lock_gc(&self) -> Result<Lock, Error> {
        self.prepare()?;
        loop {
            if let Some(lock) = Lock::try_take(&gc_lock(self.root()))? {
                self.put_back()?;
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Removes a file unless it was exchanged or touched since it was judged. Only under the lock of gc.
    ///
    /// It is looked at with `same`, taken aside, looked at again, and put back if that says no. A process that is killed in
    /// between leaves it aside under its own name, for [`Store::put_back`].
    pub(crate) fn take_away(
        &self,
        path: &Path,
        same: impl Fn(&fs::Metadata) -> bool,
    ) -> Result<bool, Error> {
        let gone = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
        match fs::symlink_metadata(path) {
            Ok(stat) if !same(&stat) => return Ok(false),
            Err(e) if gone(&e) => return Ok(true),
            _ => {}
        }
        let aside = self
            .root()
            .join("tmp")
            .join(path.file_name().unwrap_or_default());
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(e) if gone(&e) => return Ok(true),
            Err(e) => return Err(Error::io("removing", path, e)),
        }
        if same(&fs::symlink_metadata(&aside).at("reading", &aside)?) {
            fs::remove_file(&aside).at("removing", &aside)?;
            return Ok(true);
        }
        fs::rename(&aside, path).at("putting back", path)?;
        Ok(false)
    }

    /// Removes a blob unless it was exchanged since it was judged, as [`Store::take_away`] does.
    pub(crate) fn take_blob_away(&self, path: &Path, judged: &fs::Metadata) -> Result<bool, Error> {
        // The number alone may have been given to the file that came in its place.
        let file = |stat: &fs::Metadata| (stat.ino(), stat.created().ok());
        self.take_away(path, |now| file(now) == file(judged))
    }

    /// Puts back what a process that was killed had taken aside. Only under the lock of gc.
    pub(crate) fn put_back(&self) -> Result<(), Error> {
        for aside in list_folder(&self.root().join("tmp"))? {
            let name = aside.file_name().unwrap_or_default().to_string_lossy();
            let place = match name.strip_suffix(".json") {
                Some(key) => key.parse().map(|key| self.record_path(&key)),
                None => name.parse().map(|digest| self.blob_path(&digest)),
            };
            let Ok(place) = place else { continue };
            // Not over what was made again meanwhile.
            match fs::hard_link(&aside, &place) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("putting back", &place, e));
                }
                _ => fs::remove_file(&aside).at("removing", &aside)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Digest, Key};

    #[test]
    fn what_was_exchanged_since_it_was_judged_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.prepare().unwrap();
        let path = folder.path().join("blobs/x");
        fs::write(&path, "judged").unwrap();
        let judged = fs::metadata(&path).unwrap();
        let newer = folder.path().join("tmp/newer");
        fs::write(&newer, "right").unwrap();
        fs::rename(&newer, &path).unwrap();
        assert!(!store.take_blob_away(&path, &judged).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"right");
        assert!(store.take_away(&path, |_| true).unwrap());
        assert!(!path.exists());
        assert!(store.take_away(&path, |_| true).unwrap(), "gone is gone");
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_gc_had_taken_aside_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.prepare().unwrap();
        let (one, two) = (Digest::of_bytes(b"1"), Digest::of_bytes(b"2"));
        let aside = |name: &str| folder.path().join("tmp").join(name);
        for place in [store.blob_path(&one), store.record_path(&Key(two))] {
            fs::create_dir(place.parent().unwrap()).unwrap();
        }
        fs::write(aside(&one.to_string()), "1").unwrap();
        fs::write(aside(&format!("{two}.json")), "old").unwrap();
        fs::write(store.record_path(&Key(two)), "made again").unwrap();
        fs::write(aside("17-1-0"), "someone's").unwrap();
        drop(store.lock_gc().unwrap());
        assert_eq!(fs::read(store.blob_path(&one)).unwrap(), b"1");
        let record = fs::read(store.record_path(&Key(two))).unwrap();
        assert_eq!(record, b"made again");
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 1);
    }
}
