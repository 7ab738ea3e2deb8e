//! What a program sees of the machine beside its folder: everything but the project, of which it sees what it declared.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flow_plan::plan::{Environment, Folder, Program};

use super::{StageFolder, make};
use crate::process::{self, Confinement, Mount};
use crate::request::Request;
use crate::surroundings::Surroundings;

/// Inputs of more places than this are mounted with what lies beside them.
const FEW: usize = 32;

/// The project that is hidden, none where the program sees nothing of the machine, or why the program can't be kept apart from the machine.
///
/// # Errors
/// Where the stage wants to be kept apart, and that can't be.
pub fn possible(root: &Path, program: &Program) -> Result<Result<Option<PathBuf>, String>> {
    let found = match program.folder {
        Folder::Own if in_container(program) => Ok(None),
        Folder::Own => process::isolation().and_then(|()| project(root).map(Some)),
        Folder::Project => Err("it works in the project's folder".into()),
    };
    if let Err(why) = &found {
        ensure!(
            !is_wanted(program),
            "it wants to be isolated, and can't be: {why}"
        );
    }
    Ok(found)
}

/// Whether a program must not run where it can't be kept apart.
pub fn is_wanted(program: &Program) -> bool {
    program.isolation.required || !program.isolation.network
}

/// Whether the program runs in a container.
pub fn in_container(program: &Program) -> bool {
    matches!(program.environment, Some(Environment::Image { .. }))
}

/// The repository around the workflow's root, or the root.
///
/// # Errors
/// Where hiding it would hide what every program needs.
pub fn project(root: &Path) -> Result<PathBuf, String> {
    let root = root.canonicalize().map_err(|e| e.to_string())?;
    let around = root.ancestors().find(|folder| folder.join(".git").exists());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let needed = [home, Some(std::env::temp_dir()), Some("/tmp".into())];
    let needed: Vec<PathBuf> = needed
        .into_iter()
        .flatten()
        .filter_map(|folder| folder.canonicalize().ok())
        .collect();
    let holds = |folder: &Path| needed.iter().find(|needed| needed.starts_with(folder));
    let folder = around
        .filter(|around| holds(around).is_none())
        .unwrap_or(&root);
    match holds(folder) {
        None => Ok(folder.to_path_buf()),
        Some(needed) => Err(format!(
            "the workflow's root {} holds {}, which programs need; move the workflow into a folder of its own",
            folder.display(),
            needed.display()
        )),
    }
}

/// A place for the folder of a program that can't be kept apart: outside the project, so that nothing that looks upwards
/// finds it.
///
/// # Errors
/// Where it can't be made.
pub fn outside(attempt: &Path, root: &Path) -> Result<PathBuf> {
    let project = project(root).unwrap_or_else(|_| root.to_path_buf());
    if !attempt.starts_with(&project) {
        return Ok(attempt.to_path_buf());
    }
    let user = rustix::process::getuid().as_raw();
    let all = std::env::temp_dir().join(format!("flow-stages-{user}"));
    match fs::DirBuilder::new().mode(0o700).create(&all) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("{} can't be made", all.display()));
        }
        _ => {}
    }
    let stat = fs::symlink_metadata(&all)?;
    if !stat.is_dir() || stat.uid() != user {
        bail!(
            "{} belongs to someone else; remove it, or set TMPDIR",
            all.display()
        );
    }
    let key = attempt
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default();
    let name = attempt.file_name().unwrap_or_default();
    let folder = all.join(key).join(name);
    make(&folder)?;
    Ok(folder)
}

/// What a container shows of the machine: the stage's folder with its inputs, and the project to one that works there.
///
/// # Errors
/// Where the project's folder is gone.
pub fn boxed(folder: &StageFolder, request: &Request, program: &Program) -> Result<Confinement> {
    let mut mounts = vec![Mount::Bind {
        from: folder.path.clone(),
        to: folder.seen.clone(),
        read_only: false,
    }];
    if folder.project.is_some() {
        mounts.push(Mount::Bind {
            from: request.folder.canonicalize()?,
            to: request.folder.clone(),
            read_only: false,
        });
    }
    mounts.extend(folder.mounts.iter().map(|mounted| Mount::Bind {
        from: mounted.from.clone(),
        to: folder.seen.join(&mounted.to),
        read_only: true,
    }));
    mounts.extend(checkpoints(folder));
    Ok(Confinement {
        mounts,
        network: program.isolation.network,
    })
}

/// The checkpoints, where they are kept.
fn checkpoints(folder: &StageFolder) -> Option<Mount> {
    let (kept, place) = folder.checkpoints.clone()?;
    Some(Mount::Bind {
        from: kept,
        to: folder.seen.join(place),
        read_only: false,
    })
}

/// All mounts of a program whose project is `around`.
///
/// # Errors
/// Where the folder can't be listed.
pub fn confinement(
    folder: &StageFolder,
    request: &Request,
    program: &Program,
    around: &Path,
) -> Result<Confinement> {
    let seen = process::stage_folder();
    let root = request.folder.canonicalize()?;
    let bind = |from: &Path, to: PathBuf, read_only| Mount::Bind {
        from: from.to_path_buf(),
        to,
        read_only,
    };
    let mut mounts = vec![Mount::Cover {
        at: around.to_path_buf(),
    }];
    mounts.push(bind(&folder.path, seen.to_path_buf(), false));
    let inner = |base: &Path| -> Vec<Mount> {
        let inner = folder.mounts.iter();
        inner
            .map(|mounted| bind(&mounted.from, base.join(&mounted.to), true))
            .collect()
    };
    mounts.extend(inner(seen));
    mounts.extend(checkpoints(folder));
    // The same under the paths of the project: editable installs and settings name these.
    let mut shown: Vec<&str> = folder.given(program).collect();
    shown.sort_unstable();
    if shown.len() > FEW {
        shown = shown
            .iter()
            .filter_map(|path| path.split('/').next())
            .collect();
        shown.dedup();
    }
    for path in &shown {
        mounts.push(bind(&folder.path.join(path), root.join(path), true));
    }
    mounts.extend(inner(&root));
    for environment in environments(request, around) {
        mounts.push(bind(&environment, environment.clone(), true));
    }
    Ok(Confinement {
        mounts,
        network: program.isolation.network,
    })
}

/// The environments inside the project whose programs the stage runs: the one that it names, and those on the PATH.
fn environments(request: &Request, around: &Path) -> Vec<PathBuf> {
    let own = request.surroundings.as_ref().and_then(Surroundings::folder);
    let mut found: Vec<PathBuf> = own.map(Path::to_path_buf).into_iter().collect();
    found.retain(|folder| folder.starts_with(around) && folder.is_dir());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let above = std::env::split_paths(&path).filter_map(|bin| bin.parent().map(Path::to_path_buf));
    found.extend(above.filter(|folder| folder.starts_with(around) && is_environment(folder)));
    found.sort();
    found.dedup();
    found
}

fn is_environment(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file() || folder.join("conda-meta").is_dir()
}
