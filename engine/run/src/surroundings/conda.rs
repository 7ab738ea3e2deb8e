//! Conda environments by explicit lock files, made real by micromamba when the first stage starts in one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_cache::Digest;

use super::seen::Seen;
use super::{Problem, Start, Surroundings};
use crate::process::{Launch, output};

/// How long the making of an environment may take.
const LIMIT: Duration = Duration::from_secs(3600);
/// The file in an environment that says that it is whole.
const WHOLE: &str = "flow-made";

/// What an environment is, and what tells that it is the same.
pub(super) fn resolve(lock: &Path) -> Result<(Surroundings, Vec<Seen>), Problem> {
    let watched = Seen::now(lock);
    let text = fs::read_to_string(lock).map_err(Problem::reading(lock))?;
    let digest = digest(&text)
        .map_err(|why| Problem::Wrong(format!("the lock file {}: {why}", lock.display())))?;
    let base = process_cache().ok_or_else(|| {
        Problem::Wrong(
            "there is no folder for conda environments: set HOME or XDG_CACHE_HOME".into(),
        )
    })?;
    let folder = base.join("flow/environments").join(digest.to_string());
    let program = program();
    if !folder.join(WHOLE).exists() && !is_there(&program) {
        return Err(missing(&program, lock, "it is not on the PATH"));
    }
    let surroundings = Surroundings {
        digest,
        start: Start::Conda {
            folder,
            lock: lock.to_path_buf(),
        },
    };
    Ok((surroundings, vec![watched]))
}

/// What makes environments.
fn program() -> OsString {
    std::env::var_os("MAMBA_EXE").unwrap_or_else(|| "micromamba".into())
}

fn is_there(program: &OsStr) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn missing(program: &OsStr, lock: &Path, why: &str) -> Problem {
    Problem::Wrong(format!(
        "`{}` makes the environment of {}, and can't be started ({why}): install micromamba, or set MAMBA_EXE to its path",
        Path::new(program).display(),
        lock.display()
    ))
}

/// The digest of what is installed: file names and checksums, from whichever mirror.
fn digest(text: &str) -> Result<Digest, String> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    if lines.next() != Some("@EXPLICIT") {
        return Err(
            "it has no line `@EXPLICIT`: make it with `micromamba env export --explicit --md5`"
                .into(),
        );
    }
    let mut packages = Vec::new();
    for line in lines {
        let (url, checksum) = line.split_once('#').unwrap_or((line, ""));
        let checksum = checksum
            .trim_start_matches("sha256:")
            .trim_start_matches("md5:");
        let is_hex =
            matches!(checksum.len(), 32 | 64) && checksum.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hex {
            return Err(format!("`{line}` has no md5 or sha256 behind a `#`"));
        }
        // `linux-64/zlib-1.3.conda`
        let parts: Vec<&str> = url.rsplitn(3, '/').collect();
        let name: Vec<&str> = parts.iter().take(2).rev().copied().collect();
        packages.push(format!("{}#{checksum}", name.join("/")));
    }
    packages.sort();
    packages.dedup();
    Ok(Digest::of_bytes(
        format!("conda 1\n{}", packages.join("\n")).as_bytes(),
    ))
}

/// Makes it, if it is not there. Where two processes want the same, one waits for the other: its paths are written into its files, so it can't be
/// made elsewhere and moved.
pub(super) fn make(lock: &Path, folder: &Path) -> Result<(), Problem> {
    if folder.join(WHOLE).exists() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(Problem::reading(parent))?;
    let door = folder.with_extension("lock");
    let held = File::create(&door).map_err(Problem::reading(&door))?;
    held.lock().map_err(Problem::reading(&door))?;
    if folder.join(WHOLE).exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Problem::reading(folder))?;
    }
    let program = program();
    let mut launch = Launch::with_own_environment(&program);
    let options = ["create", "--yes", "--quiet", "--no-rc", "--prefix"];
    launch.arguments = options.map(OsString::from).to_vec();
    launch
        .arguments
        .extend([folder.into(), "--file".into(), lock.into()]);
    let output =
        output(&launch, LIMIT).map_err(|error| missing(&program, lock, &error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Problem::Wrong(format!(
            "micromamba could not make the environment of {}: {}",
            lock.display(),
            said.trim()
        )));
    }
    let whole = folder.join(WHOLE);
    fs::write(&whole, "").map_err(Problem::reading(&whole))
}

fn process_cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    named
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let line = |host: &str, sum: char| {
            let sum = sum.to_string().repeat(32);
            format!("https://{host}/conda-forge/linux-64/zlib-1.3-0.conda#{sum}\n")
        };
        let of = |lines: String| digest(&format!("# platform: linux-64\n@EXPLICIT\n{lines}"));
        assert_eq!(of(line("a", '0')), of(line("b", '0')));
        assert_ne!(of(line("a", '0')), of(line("a", '1')));
        assert!(
            of("https://a/linux-64/x.conda\n".into())
                .unwrap_err()
                .contains("x.conda")
        );
        assert!(digest("zlib=1.3\n").unwrap_err().contains("@EXPLICIT"));
    }
}
