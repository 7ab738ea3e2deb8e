//! What is installed in a virtual environment, read from what installers write down.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flow_cache::Digest;
use serde_json::Value;

use super::lock::{self, Pinned};
use super::seen::Seen;
use super::{Problem, Start, Surroundings};

/// What lies in the `site-packages` of a Python.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Distributions, by normalised name.
    pub packages: BTreeMap<String, Package>,
    /// `.pth` files, by name: their text.
    paths: BTreeMap<String, String>,
    /// Folders elsewhere that Python imports from, each with what leads there.
    pub linked: Vec<(String, PathBuf)>,
}

/// An installed distribution.
#[derive(Debug, PartialEq, Eq)]
pub struct Package {
    /// Its version.
    pub version: String,
    /// What its installer noted of its files, but for what differs with the place and the installer.
    record: Vec<String>,
}

/// What changes when something is installed, removed or linked: these paths' stat tells that [`installed`] is the same.
pub fn watched(site: &[PathBuf]) -> Vec<PathBuf> {
    let mut watched = site.to_vec();
    for folder in site {
        let entries = names(folder).unwrap_or_default();
        let links = entries.iter().filter(|name| is_link(name));
        watched.extend(links.map(|name| folder.join(name)));
    }
    watched
}

/// Reads what is installed in these folders; those that are not there hold nothing.
///
/// # Errors
/// Where something there can't be read.
pub fn installed(site: &[PathBuf]) -> io::Result<Installed> {
    let mut installed = Installed::default();
    for folder in site {
        for name in names(folder)? {
            installed.take_in(folder, &name)?;
        }
    }
    installed.linked.sort();
    installed.linked.dedup();
    Ok(installed)
}

impl Installed {
    /// Names, versions, and what the installer noted of the files.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for (name, package) in &self.packages {
            add("package");
            add(name);
            add(&package.version);
            package.record.iter().for_each(|line| add(line));
        }
        for (name, text) in &self.paths {
            add("pth");
            add(name);
            add(text);
        }
        hasher.finalize().to_hex().to_string()
    }

    fn take_in(&mut self, folder: &Path, name: &str) -> io::Result<()> {
        let path = folder.join(name);
        if let Some(stem) = name.strip_suffix(".dist-info") {
            let metadata = read(&path.join("METADATA"))?;
            self.package(stem, &metadata, record(&read(&path.join("RECORD"))?, name));
            let origin: Value =
                serde_json::from_str(&read(&path.join("direct_url.json"))?).unwrap_or_default();
            if origin["dir_info"]["editable"] == true {
                let url = origin["url"].as_str().unwrap_or_default();
                let place = url.strip_prefix("file://").unwrap_or(url);
                self.linked
                    .push((stem.into(), PathBuf::from(unescaped(place))));
            }
        } else if let Some(stem) = name.strip_suffix(".egg-info") {
            let metadata = match path.is_dir() {
                true => read(&path.join("PKG-INFO"))?,
                false => read(&path)?,
            };
            self.package(stem, &metadata, vec![metadata.clone()]);
        } else if name.ends_with(".egg-link") {
            let text = read(&path)?;
            let place = text.lines().next().unwrap_or_default();
            self.linked.push((name.into(), PathBuf::from(place.trim())));
        } else if name.ends_with(".pth") {
            let text = read(&path)?;
            for line in text.lines().map(str::trim_end) {
                let runs = line.starts_with("import ") || line.starts_with("import\t");
                let place = folder.join(line);
                if !runs && !line.is_empty() && !line.starts_with('#') && place.exists() {
                    self.linked.push((name.into(), place));
                }
            }
            self.paths.insert(name.into(), text);
        }
        Ok(())
    }

    fn package(&mut self, stem: &str, metadata: &str, record: Vec<String>) {
        let field = |name: &str| {
            let mut lines = metadata.lines().take_while(|line| !line.is_empty());
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(|value| value.trim().to_string())
        };
        let (name, version) = stem.split_once('-').unwrap_or((stem, ""));
        let name = field("Name").unwrap_or_else(|| name.into());
        let version = field("Version").unwrap_or_else(|| version.into());
        // The first on the path is the one that is imported.
        let package = Package { version, record };
        self.packages.entry(normalised(&name)).or_insert(package);
    }
}

/// A distribution's name as all who write it differently mean it.
pub fn normalised(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            letter => normal.extend(letter.to_lowercase()),
        }
    }
    normal
}

/// The lines of a RECORD that say what is installed. Left out is what differs with the place (scripts name their Python), with
/// the installer, and with what was imported since.
fn record(text: &str, own: &str) -> Vec<String> {
    const NOTES: [&str; 4] = ["INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"];
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| {
            let path = line.trim_start_matches('"');
            let note = path
                .strip_prefix(own)
                .and_then(|rest| rest.strip_prefix('/'));
            let is_note = note.is_some_and(|note| NOTES.iter().any(|n| note.starts_with(n)));
            !(path.starts_with("../") || line.ends_with(",,") || is_note)
        })
        .map(String::from)
        .collect();
    lines.sort();
    lines
}

fn is_link(name: &str) -> bool {
    name.ends_with(".pth") || name.ends_with(".egg-link")
}

/// The names in a folder, in order.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The text of a file; empty where there is none.
fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// A URL's path without `%20` and the like.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let byte = byte.filter(|_| first == b'%');
        bytes.push(byte.unwrap_or(first));
        rest = byte.map_or(after, |_| &after[2..]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a virtual environment is, and what tells that it is the same.
pub(super) fn resolve(
    folder: &Path,
    lock: Option<&Path>,
    inputs: &[PathBuf],
) -> Result<(Surroundings, Vec<Seen>), Problem> {
    let settings = folder.join("pyvenv.cfg");
    let mut seen = vec![Seen::now(&settings)];
    let text = fs::read_to_string(&settings).map_err(|_| {
        let folder = folder.display();
        Problem::Wrong(format!(
            "{folder} is no virtual environment (it has no pyvenv.cfg): make it with `python3 -m venv {folder}` or `uv venv {folder}`"
        ))
    })?;
    let setting = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(key, _)| key.trim() == name);
        found.map(|(_, value)| value.trim().to_string())
    };
    if setting("include-system-site-packages").as_deref() == Some("true") {
        return Err(Problem::Wrong(format!(
            "{} sees the packages of the system too, which are in no key: make it without --system-site-packages",
            folder.display()
        )));
    }
    let python = setting("version_info").or_else(|| setting("version"));
    let python = python.ok_or_else(|| {
        Problem::Wrong(format!("{} names no version of Python", settings.display()))
    })?;
    let site = site(folder).map_err(Problem::reading(folder))?;
    seen.extend(watched(&site).iter().map(|path| Seen::now(path)));
    let found = installed(&site).map_err(Problem::reading(folder))?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let inputs: Vec<PathBuf> = inputs.iter().map(|input| real(input)).collect();
    for (name, place) in &found.linked {
        let place = real(place);
        if !inputs.iter().any(|input| place.starts_with(input)) {
            return Err(Problem::Wrong(format!(
                "{name} in {} leads Python to {}, whose code is in no key: install it without --editable, or declare the folder as \
                 an input of the stage",
                folder.display(),
                place.display()
            )));
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("venv 1\n{python}\n{}\n", found.digest()).as_bytes());
    if let Some(lock) = lock {
        seen.push(Seen::now(lock));
        hasher.update(&fs::read(lock).map_err(Problem::reading(lock))?);
        agree(&found, &lock::pins(lock)?, folder, lock)?;
    }
    let surroundings = Surroundings {
        digest: Digest::from_bytes(*hasher.finalize().as_bytes()),
        start: Start::Venv {
            folder: folder.to_path_buf(),
        },
    };
    Ok((surroundings, seen))
}

/// Every distribution that the lock file pins is installed in that version.
fn agree(
    found: &Installed,
    pins: &BTreeMap<String, Pinned>,
    folder: &Path,
    lock: &Path,
) -> Result<(), Problem> {
    for (name, pinned) in pins {
        let is = found.packages.get(name).map(|package| &package.version);
        if is.map_or(!pinned.required, |is| pinned.versions.contains(is)) {
            continue;
        }
        let versions: Vec<&str> = pinned.versions.iter().map(String::as_str).collect();
        return Err(Problem::Wrong(format!(
            "{} pins {name} {}, and {} has {}: install what the lock file says (`uv sync`, `pip install -r`)",
            lock.display(),
            versions.join(" or "),
            folder.display(),
            is.map_or("none".into(), |is| format!("{name} {is}"))
        )));
    }
    Ok(())
}

/// The `site-packages` of a virtual environment.
fn site(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let lib = folder.join("lib");
    let pythons = names(&lib)?;
    let pythons = pythons
        .iter()
        .filter(|name| name.starts_with("python") || name.starts_with("pypy"));
    Ok(pythons
        .map(|name| lib.join(name).join("site-packages"))
        .collect())
}
