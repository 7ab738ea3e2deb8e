//! Inputs, laid out at their places.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Lay, Own, Shared};
use flow_plan::plan::Files;
use flow_plan::plan::layout::Place;

use super::content::Content;
use super::{StageFolder, age, copy_all, make, make_way};
use crate::record::external::leave_out;
use crate::site::Site;

/// Files of no more than this are copied, code above all: a link leads an interpreter to what was not declared.
const COPIED: u64 = 1 << 20;

/// Something that is mounted, read-only, over what lies in the folder.
pub struct Mounted {
    /// What is mounted.
    pub from: PathBuf,
    /// Where, relative to the folder.
    pub to: String,
}

/// Lays all inputs out. With `mount` what is large is an empty file or folder until what [`StageFolder`] notes is mounted there.
///
/// # Errors
/// Where something can't be laid out.
pub fn lay_out(site: &Site<'_>, folder: &mut StageFolder, mount: bool) -> Result<()> {
    for input in &site.request.inputs {
        let places = folder.layout.get(&input.role).cloned().unwrap_or_default();
        let contents = folder.contents.get(&input.role).cloned();
        for (source, content) in contents.unwrap_or_default().iter().enumerate() {
            let of: Vec<&Place> = places
                .iter()
                .filter(|place| place.source == source)
                .collect();
            let laid = lay_one(site, folder, content, &of, input.writable, mount);
            laid.with_context(|| format!("its input `{}` can't be laid out", input.role))?;
        }
    }
    Ok(())
}

fn lay_one(
    site: &Site<'_>,
    folder: &mut StageFolder,
    content: &Content,
    places: &[&Place],
    writable: bool,
    mount: bool,
) -> Result<()> {
    let mut entries: BTreeMap<&str, &Place> = BTreeMap::new();
    for place in places {
        match &place.entry {
            None => {
                let shared = lay_whole(site, folder, content, &place.path, writable, mount)?;
                if mount {
                    folder.mount(&folder.path.join(&place.path), &place.path, &shared);
                }
                folder.shared.extend(shared);
            }
            Some(entry) => {
                entries.insert(entry, place);
            }
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    // First aside, as a whole: the store knows folders, not what lies in them.
    let aside = ".aside";
    let mut shared = lay_whole(site, folder, content, aside, writable, false)?;
    for (entry, place) in entries {
        let to = folder.path.join(&place.path);
        make_way(&folder.path, &place.path)?;
        let from = folder.path.join(aside).join(entry);
        fs::rename(&from, &to).with_context(|| format!("{} can't be made", to.display()))?;
        let mut inside = Vec::new();
        for mut shared in shared.extract_if(.., |shared| shared.path.starts_with(&from)) {
            let rest = shared.path.strip_prefix(&from).unwrap_or(Path::new(""));
            shared.path = match rest.as_os_str().is_empty() {
                true => to.clone(),
                false => to.join(rest),
            };
            inside.push(shared);
        }
        if mount {
            folder.mount(&to, &place.path, &inside);
        }
        folder.shared.extend(inside);
    }
    let aside = folder.path.join(aside);
    fs::remove_dir_all(&aside).with_context(|| format!("{} can't be removed", aside.display()))
}

/// Lays all of a content out at one place; gives what is shared with the store.
fn lay_whole(
    site: &Site<'_>,
    folder: &mut StageFolder,
    content: &Content,
    place: &str,
    writable: bool,
    mount: bool,
) -> Result<Vec<Shared>> {
    let to = folder.path.join(place);
    make_way(&folder.path, place)?;
    match content {
        Content::Stored(stored) => {
            let lay = Lay {
                copy_below: COPIED,
                writable,
                mount,
            };
            Ok(site.inputs.lay_out(stored, &to, lay)?)
        }
        Content::Own { path, files, .. } => {
            let laid = lay_own(site, path, files, &to, writable, mount)?;
            let mounts = laid.into_iter().map(|(from, inside)| Mounted {
                from,
                to: match inside.as_str() {
                    "" => place.to_string(),
                    inside => format!("{place}/{inside}"),
                },
            });
            folder.mounts.extend(mounts);
            Ok(Vec::new())
        }
    }
}

impl StageFolder {
    /// Notes what has to be mounted at `place`: blobs where they are not linked; the whole, read-only, where they are.
    fn mount(&mut self, to: &Path, place: &str, shared: &[Shared]) {
        if shared.iter().any(|shared| shared.mount.is_none()) {
            self.mounts.push(Mounted {
                from: to.to_path_buf(),
                to: place.to_string(),
            });
        }
        for shared in shared {
            let inside = shared.path.strip_prefix(&self.path).ok();
            if let (Some(blob), Some(inside)) = (&shared.mount, inside.and_then(Path::to_str)) {
                self.mounts.push(Mounted {
                    from: blob.clone(),
                    to: inside.to_string(),
                });
            }
        }
    }
}

/// Lays out what is the user's own and large: mounted or linked from where it is. Gives what has to be mounted, and where
/// below `to`.
fn lay_own(
    site: &Site<'_>,
    path: &Path,
    files: &Files,
    to: &Path,
    writable: bool,
    mount: bool,
) -> Result<Vec<(PathBuf, String)>> {
    if !path.is_dir() {
        return lay_own_file(path, to, "", writable, mount);
    }
    let leave_out = leave_out(files);
    let own = Own {
        root: &site.request.folder,
        leave_out: &leave_out,
    };
    let found = site.inputs.own_files(path, &own)?;
    make(to)?;
    if mount && found.whole && !writable {
        return Ok(vec![(path.to_path_buf(), String::new())]);
    }
    let mut mounts = Vec::new();
    for (name, file) in &found.files {
        let to = to.join(name);
        match file {
            None => make(&to)?,
            Some(file) => {
                make(to.parent().unwrap_or(&to))?;
                mounts.extend(lay_own_file(file, &to, name, writable, mount)?);
            }
        }
    }
    Ok(mounts)
}

fn lay_own_file(
    path: &Path,
    to: &Path,
    name: &str,
    writable: bool,
    mount: bool,
) -> Result<Vec<(PathBuf, String)>> {
    if writable {
        copy_all(path, to)?;
        let mode = fs::metadata(to).map(|stat| stat.permissions().mode());
        let mode = mode.unwrap_or(0o644) | 0o200;
        fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
        age(to)?;
        return Ok(Vec::new());
    }
    if mount {
        File::create_new(to).with_context(|| format!("{} can't be made", to.display()))?;
        return Ok(vec![(path.to_path_buf(), name.to_string())]);
    }
    // A clone where that costs nothing; a second name would change the time by which the file is known.
    if reflink_copy::reflink(path, to).is_ok() {
        return age(to).map(|()| Vec::new());
    }
    symlink(path, to).with_context(|| format!("{} can't be made", to.display()))?;
    Ok(Vec::new())
}
