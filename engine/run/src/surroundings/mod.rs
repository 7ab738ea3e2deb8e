//! What a stage's program runs in, beside its inputs: an environment, and programs of the machine.
//!
//! - [`resolve`]: what an environment is, as a digest for the key, and how a program is started in it. [`venv`], `conda` and
//!   `image` are the three sorts; `lock` reads lock files.
//! - [`tools`]: what programs of the machine say of themselves.
//! - `seen`: what tells that files are as they were, so that a run with nothing to do reads none.

mod conda;
mod image;
mod lock;
pub(crate) mod seen;
pub mod tools;
pub mod venv;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use flow_cache::{Digest, Store};
use flow_plan::plan::Environment;
use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// An environment that is there.
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
    /// With its programs first on the PATH, and a variable that names its folder.
    Folder { variable: String, folder: PathBuf },
    /// By a program that runs containers.
    Image { engine: String, image: String },
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The program, by path or name.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// All of its variables.
    pub environment: BTreeMap<String, String>,
}

/// Where a program works.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The stage's folder.
    pub folder: &'a Path,
    /// What the program sees it as.
    pub seen_as: &'a Path,
    /// Inputs that lie elsewhere: they are there under the same path, to be read.
    pub inputs: &'a [PathBuf],
    /// Whether there is a network.
    pub network: bool,
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
    let name = format!("surroundings 1 {environment:?} {root:?} {inputs:?}");
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
    // Without it the next run reads again, nothing worse.
    let _ = store.note(&name, &known);
    Ok(known.surroundings)
}

impl Surroundings {
    /// The same program in it.
    pub fn wrap(&self, mut started: Started, place: &Place<'_>) -> Started {
        match &self.start {
            Start::Folder { variable, folder } => {
                let programs = folder.join("bin");
                let path = started.environment.remove("PATH").unwrap_or_default();
                let text = |path: &Path| path.display().to_string();
                let path = format!("{}:{path}", text(&programs));
                started.environment.insert("PATH".into(), path);
                started.environment.insert(variable.clone(), text(folder));
                // Whoever starts it looks a name up on flow's own PATH.
                let own = programs.join(&started.program);
                let is_name = Path::new(&started.program).components().count() == 1;
                if is_name && own.is_file() {
                    started.program = own.into();
                }
                started
            }
            Start::Image { engine, image } => image::wrap(engine, image, started, place),
        }
    }
}
