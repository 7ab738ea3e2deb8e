//! What globs of the user's match.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flow_plan::plan::is_glob;
use flow_plan::workflow::problem::Problem;
use glob::Pattern;

/// What a glob matches below `folder`, in order, but for what is left out.
///
/// # Errors
/// Where it is no glob, a folder can't be read, or a name that it matches is not UTF-8.
pub(super) fn matches(
    pattern: &str,
    folder: &Path,
    is_left_out: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Problem> {
    let bad_glob = |cause: String| Problem::BadGlob {
        pattern: pattern.into(),
        cause,
    };
    // By itself first, so that the message counts from its own beginning.
    Pattern::new(pattern).map_err(|e| bad_glob(e.to_string()))?;
    let escaped = if Path::new(pattern).is_absolute() {
        pattern.to_string()
    } else {
        let around = folder.to_str().ok_or_else(|| Problem::OddName {
            pattern: pattern.into(),
            name: format!("{folder:?}"),
        })?;
        format!("{}/{pattern}", Pattern::escape(around))
    };
    let unreadable = |path: &Path, error: &io::Error| Problem::UnreadableFile {
        path: path.display().to_string(),
        cause: error.to_string(),
    };
    let mut paths = Vec::new();
    for path in glob::glob(&escaped).map_err(|e| bad_glob(e.to_string()))? {
        paths.push(path.map_err(|e| unreadable(e.path(), e.error()))?);
    }
    paths.retain(|path| !is_left_out(path));
    paths.sort();
    // The crate passes names over that are not UTF-8.
    let parts: Vec<&str> = pattern.split_terminator('/').collect();
    let around = if Path::new(pattern).is_absolute() {
        Path::new("/")
    } else {
        folder
    };
    let mut odd = Vec::new();
    add_odd(around, &parts, &mut odd).map_err(|(path, error)| unreadable(&path, &error))?;
    odd.retain(|path| !is_left_out(path));
    match odd.into_iter().min() {
        Some(path) => Err(Problem::OddName {
            pattern: pattern.into(),
            name: format!("{:?}", path.strip_prefix(folder).unwrap_or(&path)),
        }),
        None => Ok(paths),
    }
}

/// Adds what the parts of a glob match below `folder` as far as the first name that is not UTF-8.
fn add_odd(
    folder: &Path,
    parts: &[&str],
    found: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let Some((first, rest)) = parts.split_first() else {
        return Ok(());
    };
    if !is_glob(first) {
        return add_odd(&folder.join(first), rest, found);
    }
    let failed = |error| (folder.to_path_buf(), error);
    if !folder.is_dir() {
        return Ok(());
    }
    let any_depth = *first == "**";
    if any_depth {
        add_odd(folder, rest, found)?;
    }
    let pattern = Pattern::new(first).map_err(|e| failed(io::Error::other(e)))?;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_odd = name.to_str().is_none();
        // Of a file only the last part can be the name.
        if !any_depth && rest.is_empty() && !is_odd {
            continue;
        }
        let path = folder.join(&name);
        if any_depth {
            if path.is_dir() {
                match is_odd {
                    true => found.push(path),
                    false => add_odd(&path, parts, found)?,
                }
            }
        } else if pattern.matches(&name.to_string_lossy()) {
            match is_odd {
                true if rest.is_empty() || path.is_dir() => found.push(path),
                true => {}
                false => add_odd(&path, rest, found)?,
            }
        }
    }
    Ok(())
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
}
