//! What a stage's program runs in, beside its inputs: an environment, and programs of the machine.
//!
//! - [`Need`]: what a stage needs of it, and what is found.
//! - [`resolve`]: what an environment is, as a digest for the key, and how a program is started in it. [`venv`], `conda` and
//!   `image` are the three sorts; `lock` reads lock files.
//! - [`tools`]: what programs of the machine say of themselves.
//! - `seen`: what tells that files are as they were, so that a run with nothing to do reads none.

mod conda;
mod image;
mod lock;
mod need;
pub(crate) mod seen;
pub mod tools;
pub mod venv;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use flow_cache::{Digest, Store};
use flow_plan::plan::Environment;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use need::{Found, Need};

use crate::process::Launch;
use seen::Seen;

/// What is wrong with an environment or a tool: what, where, what to do.
#[derive(Debug, Error)]
pub enum Problem {
    /// A file or folder can't be read.
    #[error("{} can't be read: {cause}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is not what it should be.
    #[error("{0}")]
    Wrong(String),
}

impl Problem {
    fn reading(path: &Path) -> impl FnOnce(io::Error) -> Problem + '_ {
        move |cause| Problem::Unreadable {
            path: path.to_path_buf(),
            cause,
        }
    }
}

/// An environment that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// What of it decides results; part of the key.
    pub digest: Digest,
    start: Start,
}

/// How a program is started in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    /// With the programs of a virtual environment first on the PATH.
    Venv { folder: PathBuf },
    /// With those of a conda environment, which the lock file tells how to make.
    Conda { folder: PathBuf, lock: PathBuf },
    /// By a program that runs containers.
    Image { engine: String, image: String },
}

/// What is remembered of an environment.
#[derive(Serialize, Deserialize)]
struct Known {
    surroundings: Surroundings,
    seen: Vec<Seen>,
}

/// What an environment is. `root` is what its paths are relative to; `inputs` are folders whose content is in the key anyway,
/// so that code may be linked from there. The store remembers it as long as nothing there changes.
///
/// # Errors
/// What is not as declared, or not there.
pub fn resolve(
    environment: &Environment,
    root: &Path,
    inputs: &[PathBuf],
    store: &Store,
) -> Result<Surroundings, Problem> {
    let name = format!("surroundings 2 {environment:?} {root:?} {inputs:?}");
    let name = Digest::of_bytes(name.as_bytes());
    if let Some(known) = store.noted::<Known>(&name)
        && known.seen.iter().all(Seen::holds)
    {
        return Ok(known.surroundings);
    }
    let (surroundings, seen) = match environment {
        Environment::Venv { folder, lock } => {
            let lock = lock.as_ref().map(|lock| root.join(lock));
            venv::resolve(&root.join(folder), lock.as_deref(), inputs)?
        }
        Environment::Conda { lock } => conda::resolve(&root.join(lock))?,
        Environment::Image { engine, image } => image::resolve(engine, image, root)?,
    };
    let known = Known { surroundings, seen };
    // A command that only looks makes no store. Without the note the next run reads again, nothing worse.
    if store.is_there() {
        let _ = store.note(&name, &known);
    }
    Ok(known.surroundings)
}

impl Surroundings {
    /// The same command in it. What its confinement shows it, a container shows it too, and nothing else. `work` is a folder that
    /// no other command has at the same time: a container that was left there by one that was killed is removed.
    ///
    /// # Errors
    /// Where the environment can't be made, or can't show what it should.
    pub fn enter(&self, launch: Launch, work: Option<&Path>) -> Result<Launch, Problem> {
        match &self.start {
            Start::Venv { folder } => Ok(activated(launch, "VIRTUAL_ENV", folder)),
            Start::Conda { folder, lock } => {
                conda::make(lock, folder)?;
                Ok(activated(launch, "CONDA_PREFIX", folder))
            }
            Start::Image { engine, image } => image::enter(engine, image, launch, work),
        }
    }

    /// Whether programs see nothing of this machine in it but what they are shown.
    pub fn is_container(&self) -> bool {
        matches!(self.start, Start::Image { .. })
    }

    /// The folder that it is, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.start {
            Start::Venv { folder } | Start::Conda { folder, .. } => Some(folder),
            Start::Image { .. } => None,
        }
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.start {
            Start::Venv { folder } => write!(f, "{}", folder.display()),
            Start::Conda { lock, .. } => write!(f, "{}", lock.display()),
            Start::Image { engine, image } => write!(f, "{image} by {engine}"),
        }
    }
}

/// The command with the programs of an environment's folder first on its PATH, and a variable that names the folder.
fn activated(mut launch: Launch, variable: &str, folder: &Path) -> Launch {
    let mut path = folder.join("bin").into_os_string();
    let others = launch.environment.iter();
    if let Some((_, others)) = others.clone().find(|(name, _)| name == "PATH") {
        path.push(":");
        path.push(others);
    }
    // Those of the environment that flow itself was started in.
    let own = ["PATH", "VIRTUAL_ENV", "CONDA_PREFIX"];
    launch
        .environment
        .retain(|(name, _)| !own.iter().any(|own| name == own));
    let named = [
        ("PATH", path),
        (variable, OsString::from(folder.as_os_str())),
    ];
    let named = named.map(|(name, value)| (name.into(), value));
    launch.environment.extend(named);
    launch
}
