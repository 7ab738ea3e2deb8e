//! Outputs, found where the program wrote them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flow_cache::{Digest, Output as Stored};
use flow_plan::plan::layout::{Place, WORK};
use flow_plan::plan::{Output, is_glob};
use glob::{MatchOptions, Pattern};

use super::content::Content;
use super::{StageFolder, copy_all, make, move_to};
use crate::process;
use crate::site::Site;

/// How names are matched: a star crosses no slash, and takes no leading dot.
const AS_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What a message names of what was found in its place.
const NAMED: usize = 10;

/// A chain of more links than this is a circle.
const LINKS: usize = 40;

/// Where an output lies once it was taken, below the folder for all: at its path; what a glob matches, in a folder that is
/// called after the role.
pub fn place(output: &Output) -> PathBuf {
    if is_glob(&output.file) {
        Path::new(".globs").join(&output.role)
    } else {
        PathBuf::from(&output.file)
    }
}

/// The part of an output's path in front of its first pattern; all of a path without one.
pub fn fixed_part(file: &str) -> &str {
    if !is_glob(file) {
        return file;
    }
    let pattern = file.find(['*', '?', '[']).unwrap_or(file.len());
    file[..pattern]
        .rfind('/')
        .map_or("", |slash| &file[..=slash])
}

/// Inputs that belong to outputs which are globs: by role, and by the path in the folder that such an output is stored as.
pub type Known = BTreeMap<String, BTreeMap<String, Stored>>;

/// Moves all outputs to their places below `to`, which may be where they lie. Inputs among them are not touched, where the
/// result's store has them.
///
/// # Errors
/// Where one is missing or has a link that leads out of the folder.
pub fn take(folder: &StageFolder, site: &Site<'_>, to: &Path) -> Result<Known> {
    let request = site.request;
    let of = |output: &Output| format!("its output `{}`", output.role);
    let mut found = Vec::new();
    for output in &request.outputs {
        let paths = find(folder, site, output).with_context(|| of(output))?;
        if let Some(project) = &folder.project {
            project
                .wrote(&output.file, &paths)
                .with_context(|| of(output))?;
        }
        found.push((output, paths));
    }
    let inputs = inputs(folder);
    let input = |path: &Path| {
        let inside = path.strip_prefix(base(folder, site)).ok();
        inputs.get(inside.and_then(Path::to_str)?).copied()
    };
    // All links first: what they lead to may be an output as well.
    if folder.project.is_none() {
        for (output, paths) in &found {
            for path in paths.iter().filter(|path| input(path).is_none()) {
                let settled = Resolver { folder }.settle(path);
                settled.with_context(|| of(output))?;
            }
        }
    }
    // Globs first: they may take what belongs to another output too.
    found.sort_by_key(|(output, _)| !is_glob(&output.file));
    let mut known = Known::new();
    for (output, paths) in &found {
        let target = to.join(place(output));
        make(target.parent().unwrap_or(&target))?;
        let taken = if is_glob(&output.file) {
            let known = known.entry(output.role.clone()).or_default();
            take_glob(folder, site, output, paths, &target, &input, known)
        } else {
            match (&folder.project, &paths[..]) {
                (None, [path]) => move_to(path, &target),
                (_, paths) => paths.iter().try_for_each(|path| copy_all(path, &target)),
            }
        };
        taken.with_context(|| of(output))?;
    }
    Ok(known)
}

/// Where outputs' paths begin.
fn base<'a>(folder: &'a StageFolder, site: &'a Site<'_>) -> &'a Path {
    match &folder.project {
        Some(_) => &site.request.folder,
        None => &folder.path,
    }
}

/// What is there of an output.
fn find(folder: &StageFolder, site: &Site<'_>, output: &Output) -> Result<Vec<PathBuf>> {
    let found = matches(base(folder, site), output)?;
    ensure!(!found.is_empty(), "{}", missing(folder, site, &output.file));
    Ok(found)
}

/// What is at an output's path or paths.
pub fn matches(base: &Path, output: &Output) -> Result<Vec<PathBuf>> {
    if !is_glob(&output.file) {
        let path = base.join(&output.file);
        let there = fs::symlink_metadata(&path).is_ok();
        return Ok(there.then_some(path).into_iter().collect());
    }
    let mut found = Vec::new();
    matches_below(base, Path::new(""), &output.file, &mut found)?;
    found.sort();
    Ok(found)
}

/// What a glob matches below `inside`. Not by the glob crate, which panics where a name is no UTF-8.
fn matches_below(base: &Path, inside: &Path, glob: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let pattern = Pattern::new(glob)?;
    let deep = glob.contains("**") || inside.components().count() + 1 < glob.split('/').count();
    let folder = base.join(inside);
    let failed = || format!("{} can't be read", folder.display());
    for entry in fs::read_dir(&folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        let path = inside.join(entry.file_name());
        if pattern.matches_with(&path.to_string_lossy(), AS_A_SHELL) {
            ensure!(
                path.to_str().is_some(),
                "the name `{}` is not valid UTF-8; give it another one",
                path.display()
            );
            found.push(base.join(path));
        } else if deep && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            matches_below(base, &path, glob, found)?;
        }
    }
    Ok(())
}

fn take_glob<'a>(
    folder: &StageFolder,
    site: &Site<'_>,
    output: &Output,
    paths: &[PathBuf],
    to: &Path,
    input: &impl Fn(&Path) -> Option<(&'a Content, &'a Place)>,
    known: &mut BTreeMap<String, Stored>,
) -> Result<()> {
    make(to)?;
    let base = base(folder, site);
    let fixed = base.join(fixed_part(&output.file));
    let is_another_s = |path: &Path| {
        let inside = path.strip_prefix(base).unwrap_or(path);
        let mut others = site
            .request
            .outputs
            .iter()
            .filter(|other| other.role != output.role);
        others.any(|other| {
            let pattern = Pattern::new(&other.file).ok();
            is_glob(&other.file)
                && pattern.is_some_and(|pattern| pattern.matches_path_with(inside, AS_A_SHELL))
        })
    };
    for path in paths {
        let inside = path.strip_prefix(&fixed).unwrap_or(path);
        let to = to.join(inside);
        let input = input(path);
        if let Some((Content::Stored(stored), place)) = input
            && place.entry.is_none()
            && site.request.results.is_none()
            && is_still(folder, site, path, stored)
            && let Some(name) = inside.to_str()
        {
            known.insert(name.into(), stored.clone());
            continue;
        }
        make(to.parent().unwrap_or(&to))?;
        if input.is_some() || folder.project.is_some() || is_another_s(path) {
            copy_seen(folder, path, &to)?;
        } else {
            move_to(path, &to)?;
        }
    }
    Ok(())
}

/// Whether an input is still what was laid out. What is mounted nobody could write to; of the rest the content tells.
fn is_still(folder: &StageFolder, site: &Site<'_>, path: &Path, stored: &Stored) -> bool {
    let files = match stored.folder {
        false => vec![(String::new(), stored.digest, stored.size)],
        true => site.inputs.files(stored).unwrap_or_default(),
    };
    let file = |name: &str| match name {
        "" => path.to_path_buf(),
        name => path.join(name),
    };
    let found = |path: &Path| walk(folder, path).map_or(0, |found| found.len());
    files.len() == found(path)
        && files.iter().all(|(name, digest, _)| {
            let file = file(name);
            mounted(folder, &file).is_some()
                || fs::symlink_metadata(&file).is_ok_and(|stat| stat.is_file())
                    && File::open(&file)
                        .and_then(|file| Digest::of_file(&file))
                        .is_ok_and(|now| now == *digest)
        })
}

/// All files at a path, as the program saw it.
fn walk(folder: &StageFolder, path: &Path) -> Result<Vec<PathBuf>> {
    let seen = mounted(folder, path).unwrap_or_else(|| path.to_path_buf());
    if !seen.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&seen)? {
        found.extend(walk(folder, &path.join(entry?.file_name()))?);
    }
    Ok(found)
}

/// What was mounted at a path, or lay in a folder that was, while the program ran.
fn mounted(folder: &StageFolder, path: &Path) -> Option<PathBuf> {
    let inside = path.strip_prefix(&folder.path).ok()?;
    let mounts = folder.mounts.iter();
    let mut over = mounts.filter_map(|mount| {
        let rest = inside.strip_prefix(&mount.to).ok()?;
        Some(match rest.as_os_str().is_empty() {
            true => mount.from.clone(),
            false => mount.from.join(rest),
        })
    });
    over.next_back()
}

/// Copies what the program saw at a path.
fn copy_seen(folder: &StageFolder, path: &Path, to: &Path) -> Result<()> {
    let seen = mounted(folder, path).unwrap_or_else(|| path.to_path_buf());
    if !seen.is_dir() {
        return copy_all(&seen, to);
    }
    make(to)?;
    for entry in fs::read_dir(&seen)? {
        let name = entry?.file_name();
        copy_seen(folder, &path.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// Inputs by their places.
fn inputs(folder: &StageFolder) -> BTreeMap<&str, (&Content, &Place)> {
    let mut inputs = BTreeMap::new();
    for (role, places) in &folder.layout {
        let contents = folder.contents.get(role).map_or(&[][..], Vec::as_slice);
        for place in places {
            if let Some(content) = contents.get(place.source) {
                inputs.insert(place.path.as_str(), (content, place));
            }
        }
    }
    inputs
}

/// Puts what links stand for in their places.
struct Resolver<'a> {
    folder: &'a StageFolder,
}

impl Resolver<'_> {
    /// Makes a file or folder one without links, all of whose content lies in the stage's folder.
    fn settle(&self, path: &Path) -> Result<()> {
        let stat = fs::symlink_metadata(path)
            .with_context(|| format!("{} can't be read", self.name(path)))?;
        if stat.is_symlink() {
            let target = self.target(path)?;
            self.is_no_circle(path, &target)?;
            let aside = path.with_file_name(".settled");
            fs::remove_file(path).with_context(|| self.name(path))?;
            self.copy(&target, &aside, 0)?;
            return fs::rename(&aside, path).with_context(|| self.name(path));
        }
        if stat.is_dir() {
            // A program may have made its own folder read-only, which then could not be moved either.
            let mode = stat.permissions().mode() | 0o700;
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
            for entry in fs::read_dir(path).with_context(|| self.unreadable(path))? {
                self.settle(&entry?.path())?;
            }
            return Ok(());
        }
        ensure!(
            stat.is_file(),
            "{} is a special file (a pipe, socket or device)",
            self.name(path)
        );
        File::open(path)
            .map(drop)
            .or_else(|error| {
                // A program may have made its own file unreadable; one of another user is not ours to read.
                fs::set_permissions(path, fs::Permissions::from_mode(0o444)).map_err(|_| error)
            })
            .with_context(|| self.unreadable(path))
    }

    /// A folder in itself has no end.
    fn is_no_circle(&self, link: &Path, target: &Path) -> Result<()> {
        let real = link.parent().unwrap_or(link).canonicalize();
        let real = real.with_context(|| self.name(link))?;
        ensure!(
            !real.starts_with(target),
            "{} leads back to a folder above it",
            self.name(link)
        );
        Ok(())
    }

    fn unreadable(&self, path: &Path) -> String {
        format!(
            "{} can't be read: it belongs to another user, such as that of a container",
            self.name(path)
        )
    }

    /// Copies what links lead to, each link as its content. A second name of a file will do: the store takes a copy of such.
    fn copy(&self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        ensure!(
            depth < LINKS,
            "{} leads back to a folder above it",
            self.name(from)
        );
        let stat = fs::symlink_metadata(from).with_context(|| self.name(from))?;
        if stat.is_symlink() {
            let target = self.target(from)?;
            self.is_no_circle(from, &target)?;
            return self.copy(&target, to, depth + 1);
        }
        if !stat.is_dir() {
            return copy_all(from, to);
        }
        make(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            self.copy(&entry.path(), &to.join(entry.file_name()), depth + 1)?;
        }
        Ok(())
    }

    /// Where a link leads, as it is called outside the namespace.
    fn target(&self, link: &Path) -> Result<PathBuf> {
        let said = fs::read_link(link).with_context(|| self.name(link))?;
        let at = link.parent().unwrap_or(link).join(self.real(&said));
        let lead = || {
            format!(
                "{} is a link to {}, which is not in the stage's folder; write the file itself",
                self.name(link),
                said.display()
            )
        };
        // By the parts of its path, since what they lead through may be a link as well.
        let mut real = at.clone();
        for _ in 0..LINKS {
            if let Ok(found) = fs::symlink_metadata(&real)
                && !found.is_symlink()
            {
                break;
            }
            let Ok(next) = fs::read_link(&real) else {
                break;
            };
            real = real.parent().unwrap_or(&real).join(self.real(&next));
        }
        let real = real.canonicalize().with_context(lead)?;
        let folder = self.folder.path.canonicalize()?;
        ensure!(real.starts_with(&folder), "{}", lead());
        let inside = real.strip_prefix(&folder).unwrap_or(&real);
        Ok(mounted(self.folder, &self.folder.path.join(inside)).unwrap_or(real))
    }

    /// A path as it is outside: the program knows the folder by its fixed one.
    fn real(&self, path: &Path) -> PathBuf {
        let seen = [self.folder.seen.as_path(), process::stage_folder()];
        let inside = seen.iter().find_map(|seen| path.strip_prefix(seen).ok());
        inside.map_or(path.to_path_buf(), |inside| self.folder.path.join(inside))
    }

    fn name(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.folder.path).unwrap_or(path);
        format!("`{}`", inside.display())
    }
}

/// What is said of an output that is not there: what is.
fn missing(folder: &StageFolder, site: &Site<'_>, file: &str) -> String {
    let what = match is_glob(file) {
        true => format!("it ended well, and nothing matches `{file}`"),
        false => format!("it ended well and did not write `{file}`"),
    };
    if folder.project.is_some() {
        return what;
    }
    let wrote = written(folder, site);
    if wrote.is_empty() {
        return format!("{what}; it wrote nothing");
    }
    let near = |name: &&String| {
        let (name, file) = (name.to_lowercase(), file.to_lowercase());
        strsim::damerau_levenshtein(&name, &file) <= 1 + file.len() / 5
            || Path::new(&name).file_name() == Path::new(&file).file_name()
    };
    let meant = wrote.iter().find(near);
    let mut list: Vec<String> = wrote
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    if wrote.len() > NAMED {
        list.push(format!("{} more", wrote.len() - NAMED));
    }
    let hint = meant.map_or(String::new(), |name| format!(": did you mean `{name}`?"));
    format!("{what}; it wrote {}{hint}", list.join(", "))
}

/// The files in the folder that were not there when the program started.
fn written(folder: &StageFolder, site: &Site<'_>) -> Vec<String> {
    let crate::request::Task::Command(program) = &site.request.task else {
        return Vec::new();
    };
    let given: Vec<&str> = folder.given(program).collect();
    let mut found = Vec::new();
    let mut left = vec![String::new()];
    while let Some(inside) = left.pop() {
        for entry in fs::read_dir(folder.path.join(&inside))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = match inside.as_str() {
                "" => name.clone(),
                inside => format!("{inside}/{name}"),
            };
            if path == WORK || given.contains(&path.as_str()) || name == "__pycache__" {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A path that stays below where it begins.
pub fn is_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
