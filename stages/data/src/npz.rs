//! Arrays by name: a `.npz` file, as `numpy.savez` writes it, or a folder of `.npy` files and of folders of such.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use walkdir::WalkDir;
use zip::ZipArchive;

/// Arrays by name. Members of an archive are asked for by name, so that no path in it matters.
pub struct Arrays {
    place: Place,
    name: String,
    /// The arrays' names, sorted.
    members: Vec<String>,
}

enum Place {
    Archive(ZipArchive<BufReader<File>>),
    Folder(PathBuf),
}

impl Arrays {
    /// Opens a `.npz` file, or a folder of `.npy` files.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut members: Vec<String>;
        let place = if path.is_dir() {
            members = Vec::new();
            for entry in WalkDir::new(path).follow_links(true) {
                let entry = entry.with_context(|| format!("{name} can't be read"))?;
                let inside = entry.path().strip_prefix(path).unwrap_or(entry.path());
                if entry.file_type().is_file() {
                    members.push(inside.to_string_lossy().into_owned());
                }
            }
            Place::Folder(path.to_owned())
        } else {
            let file = File::open(path).with_context(|| format!("{name} can't be opened"))?;
            let archive = ZipArchive::new(BufReader::new(file))
                .with_context(|| format!("{name} is not a whole .npz file"))?;
            members = archive
                .file_names()
                .filter_map(|name| Some(name.ok()?.into_owned()))
                .collect();
            Place::Archive(archive)
        };
        members.retain(|member| member.ends_with(".npy"));
        for member in &mut members {
            member.truncate(member.len() - ".npy".len());
        }
        members.sort();
        Ok(Arrays {
            place,
            name,
            members,
        })
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What errors call an array in it.
    pub fn shown(&self, member: &str) -> String {
        format!("`{member}` in {}", self.name)
    }

    /// The names of the arrays, in alphabetical order; those in folders have the path in front.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Opens an array.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn member(&mut self, member: &str) -> Result<Box<dyn Read + '_>> {
        // Not by the path: what lies outside is no part of what the stage may read.
        if self
            .members
            .binary_search_by(|m| m.as_str().cmp(member))
            .is_err()
        {
            let members = &self.members;
            bail!(
                "{} has no array `{member}`; it has {}",
                self.name,
                match members.len() {
                    0 => "none".to_owned(),
                    1..=20 => members.join(", "),
                    more => format!("{}, … ({more} in all)", members[..20].join(", ")),
                }
            );
        }
        let file = format!("{member}.npy");
        let shown = self.shown(member);
        Ok(match &mut self.place {
            Place::Archive(archive) => {
                let content = archive.by_name(&file);
                Box::new(content.with_context(|| format!("{shown} can't be read"))?)
            }
            Place::Folder(folder) => Box::new(crate::unpack::open_raw(&folder.join(file))?),
        })
    }

    /// The file of an array. One of an archive is unpacked to the folder `work`, and may have `most` bytes.
    ///
    /// # Errors
    /// Where there is none of this name, or it is damaged.
    pub fn file(&mut self, member: &str, work: &Path, most: u64) -> Result<PathBuf> {
        if let Place::Folder(folder) = &self.place {
            return Ok(folder.join(format!("{member}.npy")));
        }
        ensure!(
            !member.contains(['/', '\\']),
            "{} has a name that is a path",
            self.shown(member)
        );
        fs::create_dir_all(work).with_context(|| format!("{} can't be made", work.display()))?;
        let path = work.join(format!("{member}.npy"));
        let wrong = || format!("{} can't be written", path.display());
        let mut file = File::create(&path).with_context(wrong)?;
        let shown = self.shown(member);
        let mut content = self.member(member)?.take(most + 1);
        io::copy(&mut content, &mut file)
            .with_context(|| format!("{shown} is damaged, or can't be unpacked"))?;
        Ok(path)
    }
}
