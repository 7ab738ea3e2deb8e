//! Puts `flow`, its plugins and libtorch under one folder, as `cargo install` would if it knew of libtorch.
//!
//! ```text
//! ROOT/bin/flow, ROOT/bin/flow-stages-*     flow finds its plugins beside itself
//! ROOT/lib/flow/libtorch/lib/               where the rpath of flow-stages-torch leads
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Builds in release mode and installs under `root`; `libtorch` is the folder that was built against.
///
/// # Errors
/// Where the build fails or something can't be written.
pub fn install(root: Option<PathBuf>, libtorch: &Path) -> Result<()> {
    let root = match root {
        Some(root) => std::path::absolute(&root)
            .with_context(|| format!("{} is no folder", root.display()))?,
        None => default_root()?,
    };
    crate::build(&["--release"])?;
    let (target, binaries) = binaries()?;
    // Libraries first: a plugin that is there always finds them.
    let library = root.join("lib/flow");
    copy_folder(&libtorch.join("lib"), &library.join("libtorch/lib"))?;
    // NVIDIA's libraries of `setup --cuda`, which libtorch looks for relative to itself.
    if let Some(nvidia) = libtorch.parent().map(|p| p.join("nvidia"))
        && nvidia.is_dir()
    {
        copy_folder(&nvidia, &library.join("nvidia"))?;
    }
    let folder = root.join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    for name in &binaries {
        replace(&target.join("release").join(name), &folder.join(name))?;
        println!("{}", folder.join(name).display());
    }
    let on_path =
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|p| p == folder));
    if !on_path {
        eprintln!(
            "{} is not on your PATH: add it to call `flow` by name",
            folder.display()
        );
    }
    Ok(())
}

fn default_root() -> Result<PathBuf> {
    ["CARGO_INSTALL_ROOT", "CARGO_HOME"]
        .iter()
        .find_map(|name| {
            env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        })
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("there is no home folder to install into; name one with --root")
}

/// Cargo's target folder and the names of the workspace's binaries but this one.
fn binaries() -> Result<(PathBuf, Vec<String>)> {
    let output = crate::cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo can't be started")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .context("`cargo metadata` gave something that is not JSON")?;
    let Some(target) = metadata["target_directory"].as_str() else {
        bail!("`cargo metadata` names no target folder");
    };
    let mut names = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for found in package["targets"].as_array().into_iter().flatten() {
            let binary = found["kind"]
                .as_array()
                .is_some_and(|k| k.iter().any(|k| k == "bin"));
            if let Some(name) = found["name"].as_str()
                && binary
                && package["name"] != "xtask"
            {
                names.push(name.to_owned());
            }
        }
    }
    Ok((target.into(), names))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} can't be made", to.display()))?;
    let entries =
        fs::read_dir(from).with_context(|| format!("{} can't be read", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("{} can't be read", from.display()))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else if !same(&from, &to) {
            replace(&from, &to)?;
        }
    }
    Ok(())
}

/// Whether a former installation has this file already. libtorch's files differ in size from release to release, and
/// reading hundreds of megabytes to be surer would cost more than copying them.
fn same(from: &Path, to: &Path) -> bool {
    match (fs::metadata(from), fs::metadata(to)) {
        (Ok(from), Ok(to)) => {
            from.len() == to.len()
                && matches!((from.modified(), to.modified()), (Ok(a), Ok(b)) if a <= b)
        }
        _ => false,
    }
}

/// Copies a file over another in one step, so that a program that is running now goes on with the old one.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    let wrong = || format!("{} can't be copied to {}", from.display(), to.display());
    fs::copy(from, &new).with_context(wrong)?;
    fs::rename(&new, to).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_copied_over_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/a.so"), "new content").unwrap();
        fs::create_dir_all(to.join("deep")).unwrap();
        fs::write(to.join("deep/a.so"), "old").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(
            fs::read_to_string(to.join("deep/a.so")).unwrap(),
            "new content"
        );
        assert_eq!(fs::read_dir(to.join("deep")).unwrap().count(), 1);
        assert!(same(&from.join("deep/a.so"), &to.join("deep/a.so")));
    }
}
