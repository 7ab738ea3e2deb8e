//! Finds libtorch, or fetches it once into the user's cache folder, and links it to `target/libtorch`.
//!
//! The order: `LIBTORCH` of the user's environment; the link of an earlier call, where it leads into the cache folder
//! (that is how `setup --cuda` lasts); the cache folder; the wheels from PyPI.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::wheels::{self, VERSION, Variant, Wheel};

/// Makes sure that `target/libtorch` leads to a libtorch of the right version, and gives the folder it leads to.
/// `wanted` is what a person asked for by name; none takes what is there.
///
/// # Errors
/// One sentence that says what to do.
pub fn set_up(wanted: Option<Variant>) -> Result<PathBuf> {
    let link = crate::root().join("target/libtorch");
    if let Some(folder) = from_environment(env::var_os("LIBTORCH").as_deref(), &link) {
        check(&folder).with_context(|| {
            format!(
                "LIBTORCH is set to {}, which can't be used; unset it to have the right one fetched",
                folder.display()
            )
        })?;
        return point(&link, &folder);
    }
    let cache = cache_folder()?;
    if wanted.is_none()
        && let Ok(folder) = fs::canonicalize(&link)
        && fs::canonicalize(&cache).is_ok_and(|cache| folder.starts_with(cache))
        && check(&folder).is_ok()
    {
        return Ok(folder);
    }
    let folder = cached(&cache, wanted.unwrap_or(Variant::Cpu))?;
    point(&link, &folder)
}

/// The folder that the user's environment names. Cargo sets the variable too, to the link, for every program that it
/// runs here: that is not the user's word.
fn from_environment(value: Option<&OsStr>, link: &Path) -> Option<PathBuf> {
    let folder = PathBuf::from(value.filter(|v| !v.is_empty())?);
    (folder != link).then_some(folder)
}

/// Whether `folder` holds a libtorch that this workspace can be built with.
fn check(folder: &Path) -> Result<()> {
    let header = folder.join("include/torch/headeronly/version.h");
    let version = match fs::read_to_string(folder.join("build-version")) {
        Ok(text) => text,
        // The `torch` folder of a Python installation has no such file, but the same headers.
        Err(_) => fs::read_to_string(&header)
            .ok()
            .and_then(|text| Some(text.split('"').nth(1)?.to_owned()))
            .with_context(|| {
                format!(
                    "it has neither `build-version` nor `{}`, so it is no libtorch {VERSION}",
                    header.display()
                )
            })?,
    };
    let version = version.trim();
    let number = version.split('+').next().unwrap_or(version);
    ensure!(
        number == VERSION,
        "it is libtorch {version}, and {VERSION} is needed"
    );
    ensure!(
        folder.join("lib").is_dir(),
        "it has no folder `lib`, so it is damaged"
    );
    Ok(())
}

/// Makes `link` lead to `folder`, and has libtorch's binding built anew where it led elsewhere before.
fn point(link: &Path, folder: &Path) -> Result<PathBuf> {
    let folder = fs::canonicalize(folder)
        .with_context(|| format!("{} can't be opened", folder.display()))?;
    let before = fs::canonicalize(link).ok();
    if before.as_deref() == Some(&folder) {
        return Ok(folder);
    }
    let wrong = || format!("{} can't be linked to libtorch", link.display());
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent).with_context(wrong)?;
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("{} is in the way: move it elsewhere", link.display()));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(&folder, link).with_context(wrong)?;
    if before.is_some() {
        for profile in ["dev", "release"] {
            let cleaned = crate::cargo()
                .args([
                    "clean",
                    "--quiet",
                    "--profile",
                    profile,
                    "--package",
                    "torch-sys",
                ])
                .status();
            ensure!(
                cleaned.is_ok_and(|status| status.success()),
                "the binding to the former libtorch can't be removed; run `cargo clean`"
            );
        }
    }
    Ok(folder)
}

/// `$XDG_CACHE_HOME/flow` or its equal.
fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").map(PathBuf::from)
        && folder.is_absolute()
    {
        return Ok(folder.join("flow"));
    }
    let home = env::home_dir()
        .filter(|home| home.is_absolute())
        .context("there is no home folder to keep libtorch in; set XDG_CACHE_HOME to a folder")?;
    Ok(home.join(".cache/flow"))
}

/// The libtorch of the cache folder, fetched if it is not there yet.
fn cached(cache: &Path, variant: Variant) -> Result<PathBuf> {
    let name = match variant {
        Variant::Cpu => format!("libtorch-{VERSION}-cpu"),
        Variant::Cuda => format!("libtorch-{VERSION}-cuda"),
    };
    let done = cache.join(&name);
    let libtorch = done.join("libtorch");
    if check(&libtorch).is_ok() {
        return Ok(libtorch);
    }
    let wheels = wheels::of_this_machine(variant)?;
    let wrong = || format!("{} can't be written", cache.display());
    fs::create_dir_all(cache).with_context(wrong)?;
    // A second call at the same time waits here, and then finds the work done. The kernel lets go when we end.
    let lock = File::create(cache.join(format!("{name}.lock"))).with_context(wrong)?;
    lock.lock().with_context(wrong)?;
    if check(&libtorch).is_ok() {
        return Ok(libtorch);
    }
    // What an interrupted call left: whole wheels are used again, the rest is made anew.
    let partial = cache.join(format!("{name}.partial"));
    let tree = partial.join("tree");
    remove_folder(&tree)?;
    remove_folder(&done)?;
    unpack(&wheels, &partial.join("wheels"), &tree)?;
    check(&tree.join("libtorch")).context("what was unpacked can't be used")?;
    fs::rename(&tree, &done).with_context(wrong)?;
    remove_folder(&partial)?;
    Ok(libtorch)
}

fn unpack(wheels: &[Wheel], downloads: &Path, tree: &Path) -> Result<()> {
    let wrong = || format!("{} can't be written", tree.display());
    fs::create_dir_all(downloads).with_context(wrong)?;
    for wheel in wheels {
        let file = wheels::fetch(wheel, downloads)?;
        eprintln!("Unpacking {}", wheel.file);
        wheels::unpack(wheel, &file, tree)?;
    }
    let libtorch = tree.join("libtorch");
    fs::create_dir_all(&libtorch).with_context(wrong)?;
    fs::write(libtorch.join("build-version"), format!("{VERSION}\n")).with_context(wrong)?;
    // The real libtorch.so is an empty library that asks for all of CUDA. Where that was left out, a linker script
    // of the same name leads to the library that has the code.
    if cfg!(target_os = "linux") && !libtorch.join("lib/libtorch.so").exists() {
        fs::write(libtorch.join("lib/libtorch.so"), "INPUT(-ltorch_cpu)\n").with_context(wrong)?;
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} can't be removed", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libtorch(folder: &Path, version: &str) {
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::write(folder.join("build-version"), version).unwrap();
    }

    #[test]
    fn what_cargo_sets_is_not_the_users_word() {
        let link = Path::new("/repository/target/libtorch");
        assert_eq!(from_environment(None, link), None);
        assert_eq!(from_environment(Some(OsStr::new("")), link), None);
        assert_eq!(from_environment(Some(link.as_os_str()), link), None);
        assert_eq!(
            from_environment(Some(OsStr::new("/opt/libtorch")), link),
            Some("/opt/libtorch".into())
        );
    }

    #[test]
    fn only_the_right_version_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", check(folder.path()).unwrap_err());
        assert!(error.contains("it is no libtorch 2.13.0"), "{error}");
        libtorch(folder.path(), "2.9.1+cpu\n");
        let error = format!("{:#}", check(folder.path()).unwrap_err());
        assert_eq!(error, "it is libtorch 2.9.1+cpu, and 2.13.0 is needed");
        libtorch(folder.path(), "2.13.0+cu130\n");
        check(folder.path()).unwrap();
    }

    #[test]
    fn a_python_installation_is_known_by_its_header() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib")).unwrap();
        let headers = folder.path().join("include/torch/headeronly");
        fs::create_dir_all(&headers).unwrap();
        let text = |version| format!("#define TORCH_VERSION \\\n  \"{version}\"\n");
        fs::write(headers.join("version.h"), text("2.13.0")).unwrap();
        check(folder.path()).unwrap();
        fs::write(headers.join("version.h"), text("2.12.0")).unwrap();
        let error = format!("{:#}", check(folder.path()).unwrap_err());
        assert_eq!(error, "it is libtorch 2.12.0, and 2.13.0 is needed");
    }

    #[test]
    fn the_link_leads_where_it_is_told_and_respects_what_is_in_its_way() {
        let folder = tempfile::tempdir().unwrap();
        let (a, link) = (
            folder.path().join("a"),
            folder.path().join("target/libtorch"),
        );
        libtorch(&a, VERSION);
        assert_eq!(point(&link, &a).unwrap(), fs::canonicalize(&a).unwrap());
        assert_eq!(
            fs::canonicalize(&link).unwrap(),
            fs::canonicalize(&a).unwrap()
        );
        let folder_in_the_way = folder.path().join("other/libtorch");
        fs::create_dir_all(&folder_in_the_way).unwrap();
        let error = format!("{:#}", point(&folder_in_the_way, &a).unwrap_err());
        assert!(error.contains("is in the way"), "{error}");
    }
}
