//! What globs of the user's match.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flow_plan::plan::is_glob;
use flow_plan::workflow::problem::Problem;
use glob::Pattern;

/// What a glob matches below `folder`, in order, but for what is left out.
///
/// Of a folder that matches, what lies in it belongs to it. `**` stands for any number of folders, links to folders among them, but not for a way back into a folder that it
/// came through: a link to a folder above it would have no end.
///
/// # Errors
/// Where it is no glob, a folder can't be read, or a name that it matches is not UTF-8.
pub(super) fn matches(
    pattern: &str,
    folder: &Path,
    is_left_out: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Problem> {
    let bad_glob = |error: glob::PatternError| Problem::BadGlob {
        pattern: pattern.into(),
        cause: error.to_string(),
    };
    // By itself first, so that the message counts from its own beginning.
    Pattern::new(pattern).map_err(bad_glob)?;
    let parts: Result<Vec<Part>, _> = pattern
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| match part {
            "**" => Ok(Part::Folders),
            _ if is_glob(part) => Pattern::new(part).map(Part::Names),
            _ => Ok(Part::Name(part)),
        })
        .collect();
    let mut parts = parts.map_err(bad_glob)?;
    parts.dedup_by(|next, part| matches!((next, part), (Part::Folders, Part::Folders)));
    let around = match Path::new(pattern).is_absolute() {
        true => Path::new("/"),
        false => folder,
    };
    let mut walk = Walk {
        is_left_out,
        trail: Vec::new(),
        found: Vec::new(),
    };
    walk.go(around, &parts)
        .map_err(|(path, error)| Problem::UnreadableFile {
            path: path.display().to_string(),
            cause: error.to_string(),
        })?;
    let mut found = walk.found;
    if pattern.ends_with('/') {
        found.retain(|path| path.is_dir());
    }
    found.sort();
    // What lies in a folder comes directly after it.
    let mut whole: Option<PathBuf> = None;
    found.retain(|path| {
        let is_inside = whole.as_ref().is_some_and(|whole| path.starts_with(whole));
        if !is_inside {
            whole = Some(path.clone());
        }
        !is_inside
    });
    match found.iter().find(|path| path.to_str().is_none()) {
        Some(path) => Err(Problem::OddName {
            pattern: pattern.into(),
            name: format!("{:?}", path.strip_prefix(folder).unwrap_or(path)),
        }),
        None => Ok(found),
    }
}

/// What stands between two slashes of a glob.
enum Part<'a> {
    /// `**`.
    Folders,
    Names(Pattern),
    Name(&'a str),
}

/// A walk along the parts of a glob.
struct Walk<'a> {
    is_left_out: &'a dyn Fn(&Path) -> bool,
    /// The folders that the present one was reached through by `**`, by device and inode.
    trail: Vec<(u64, u64)>,
    found: Vec<PathBuf>,
}

impl Walk<'_> {
    /// Adds what the parts match below `folder`; of a folder whose name is not UTF-8, itself alone.
    fn go(&mut self, folder: &Path, parts: &[Part]) -> Result<(), (PathBuf, io::Error)> {
        let Some((first, rest)) = parts.split_first() else {
            self.add(folder.to_path_buf());
            return Ok(());
        };
        if let Part::Name(name) = first {
            let path = folder.join(name);
            return match path.symlink_metadata() {
                Ok(_) => self.go(&path, rest),
                Err(_) => Ok(()),
            };
        }
        let failed = |error| (folder.to_path_buf(), error);
        let Some(here) = place(folder) else {
            return Ok(());
        };
        let names = match first {
            Part::Names(names) => Some(names),
            _ => None,
        };
        if names.is_none() {
            self.trail.push(here);
            if !rest.is_empty() {
                self.go(folder, rest)?;
            }
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let path = folder.join(&name);
            let is_odd = name.to_str().is_none();
            match names {
                Some(names) if !names.matches(&name.to_string_lossy()) => {}
                Some(_) if is_odd => {
                    if rest.is_empty() || path.is_dir() {
                        self.add(path);
                    }
                }
                Some(_) => self.go(&path, rest)?,
                // At the end `**` is all that there is.
                None if rest.is_empty() => self.add(path),
                None if !self.is_way_down(&path) => {}
                None if is_odd => self.add(path),
                None => self.go(&path, parts)?,
            }
        }
        if names.is_none() {
            self.trail.pop();
        }
        Ok(())
    }

    /// Whether `**` goes into it.
    fn is_way_down(&self, path: &Path) -> bool {
        place(path).is_some_and(|place| !self.trail.contains(&place)) && !(self.is_left_out)(path)
    }

    fn add(&mut self, path: PathBuf) {
        if !(self.is_left_out)(&path) {
            self.found.push(path);
        }
    }
}

/// Device and inode of a folder; none for all else.
fn place(path: &Path) -> Option<(u64, u64)> {
    let metadata = path.metadata().ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    #[cfg_attr(target_os = "macos", ignore = "its file systems have no such names")]
    fn names_that_are_not_utf_8_are_found_where_a_glob_matches_them() {
        let folder = tempfile::tempdir().unwrap();
        let odd = |name: &[u8]| folder.path().join(OsString::from_vec(name.to_vec()));
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::create_dir_all(odd(b"a/odd\xff")).unwrap();
        for name in [
            &b"a/b/x.txt"[..],
            b"a/b/y\xff.txt",
            b"a/odd\xff/x.txt",
            b"a/z",
        ] {
            fs::write(odd(name), "").unwrap();
        }
        let told = |pattern: &str| match matches(pattern, folder.path(), &|_| false) {
            Ok(found) => format!("{}", found.len()),
            Err(problem) => problem.to_string(),
        };
        for (pattern, expected) in [
            ("a/z*", "1"),
            ("a/b/*.csv", "0"),
            ("a/b/x*", "1"),
            ("a/[bz]/x*", "1"),
            ("*/z", "1"),
            ("a/b/*.txt", r"a/b/y\xFF.txt"),
            ("a/*/x.txt", r"a/odd\xFF"),
            ("a/**/x.txt", r"a/odd\xFF"),
            ("a/b/**/*.txt", r"a/b/y\xFF.txt"),
            ("a/*", r"a/odd\xFF"),
        ] {
            let told = told(pattern);
            assert!(
                told.ends_with(&format!("{expected}\"")) || told == expected,
                "{pattern}: {told}"
            );
        }
        let left_out = |path: &Path| path.to_string_lossy().contains("odd");
        assert_eq!(matches("a/*", folder.path(), &left_out).unwrap().len(), 2);
    }

    #[test]
    fn any_number_of_folders_is_walked_once_each_way_and_links_to_folders_above_have_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["data/sub/deep", "data/.hidden", "data/__pycache__", "more"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in [
            "data/top.txt",
            "data/sub/deep/x.txt",
            "data/.hidden/h.txt",
            "data/__pycache__/c.txt",
            "more/m.txt",
        ] {
            fs::write(at(path), "").unwrap();
        }
        for (link, target) in [
            ("data/a", "."),
            ("data/b", "."),
            ("data/sub/up", "../.."),
            ("data/more", "../more"),
            ("more/back", "../data"),
        ] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let left_out = |path: &Path| path.ends_with("__pycache__");
        let found = |pattern: &str| -> Vec<String> {
            let found = matches(pattern, folder.path(), &left_out).unwrap();
            let relative = found.iter().map(|path| path.strip_prefix(folder.path()));
            relative
                .map(|path| path.unwrap().display().to_string())
                .collect()
        };
        for pattern in ["data/**/*.txt", "data/**/**/*.txt", "./data//**/*.txt"] {
            assert_eq!(
                found(pattern),
                [
                    "data/.hidden/h.txt",
                    "data/more/m.txt",
                    "data/sub/deep/x.txt",
                    "data/sub/up/more/m.txt",
                    "data/top.txt",
                ],
                "{pattern}"
            );
        }
        assert_eq!(
            found("**/deep/*"),
            ["data/sub/deep/x.txt", "more/back/sub/deep/x.txt"]
        );
        assert_eq!(found("data/s*/"), ["data/sub"]);
        assert_eq!(found("data/t*/"), Vec::<String>::new());
        // All that there is: files, and folders with what lies in them.
        assert_eq!(found("more/**"), ["more/back", "more/m.txt"]);
        assert_eq!(found("data/sub/**"), ["data/sub/deep", "data/sub/up"]);
        assert_eq!(
            found("data/**/[dx]*"),
            ["data/sub/deep", "data/sub/up/data"]
        );
        assert_eq!(found("data/.*"), ["data/.hidden"]);
        let absolute = at("mor[e]/*.txt");
        assert_eq!(found(absolute.to_str().unwrap()), ["more/m.txt"]);
    }
}
