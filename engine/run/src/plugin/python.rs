//! What the code of a plugin in Python is: its file, the modules that it imports from its own folder or below, what it
//! declares as `depends`, and the Python that runs it.
//!
//! Modules are found by the interpreter itself, started once with `-I` on a script of flow's: it has the grammar and the finders
//! that will run them. A parser in Rust would be a second grammar, which is behind or ahead of it. What the plugin says of
//! itself counts only as far as it adds to that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use flow_plan::plan::Variables;
use flow_plan::plan::kinds::Code;
use serde::Deserialize;

use crate::process::environment::{For, environment};
use crate::process::{Launch, output};
use crate::surroundings::seen::{self, Seen};
use crate::surroundings::venv;

/// The script that finds modules.
const SOURCES: &str = include_str!("sources.py");
/// How long it may take; 0.1 s and 1 ms for each module are usual.
const LIMIT: Duration = Duration::from_secs(60);

/// What the script prints.
#[derive(Deserialize)]
struct Sources {
    python: String,
    files: BTreeSet<PathBuf>,
    absent: Vec<PathBuf>,
    /// The interpreter itself, whatever script or link led to it.
    executable: PathBuf,
    site: Vec<PathBuf>,
    venv: Option<PathBuf>,
}

/// What tells the results of a plugin in Python from those of another.
pub(super) struct Python {
    hasher: blake3::Hasher,
    folder: PathBuf,
    /// The files.
    pub code: Vec<Code>,
    /// What was looked at, each before it was read. While all of it is the same, so is the plugin.
    pub seen: Vec<Seen>,
}

impl Python {
    /// Reads what can be known of a plugin without running it.
    pub fn of(program: &Path, interpreter: &Path) -> Result<Python> {
        let sources = ask(program, interpreter)?;
        let folder = program.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut python = Python {
            hasher: blake3::Hasher::new(),
            folder,
            code: Vec::new(),
            seen: sources.absent.iter().map(|path| Seen::now(path)).collect(),
        };
        python.seen.push(Seen::now(&sources.executable));
        python.add("flow python plugin 1");
        python.add(&sources.python);
        if let Some(venv) = sources.venv {
            python.seen.push(Seen::now(&venv.join("pyvenv.cfg")));
            let watched = venv::watched(&sources.site);
            python
                .seen
                .extend(watched.iter().map(|path| Seen::now(path)));
            let installed = venv::installed(&sources.site)
                .with_context(|| format!("{} can't be read", venv.display()))?;
            python.add(&installed.digest());
        }
        for path in &sources.files {
            let name = match path.strip_prefix(&python.folder) {
                // What the plugin itself is called decides nothing.
                _ if path == program => String::new(),
                Ok(name) => name.display().to_string(),
                Err(_) => bail!("{} lies outside of its folder", path.display()),
            };
            python.file(&name, path)?;
        }
        Ok(python)
    }

    /// Takes in what the plugin declares beside.
    pub fn depends(&mut self, depends: &[String]) -> Result<()> {
        for name in depends {
            let path = self.folder.join(name);
            ensure!(
                path.exists(),
                "its `depends` names {name}, and there is no {}; it is relative to the plugin's folder",
                path.display()
            );
            self.tree(&format!("depends {name}"), &path)
                .with_context(|| format!("its `depends` names {name}, which can't be read"))?;
        }
        Ok(())
    }

    /// The digest of all that was taken in.
    pub fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    fn add(&mut self, text: &str) {
        self.hasher.update(&(text.len() as u64).to_le_bytes());
        self.hasher.update(text.as_bytes());
    }

    fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        self.seen.push(Seen::now(path));
        let code = Code {
            path: path.to_path_buf(),
            state: seen::state(path).unwrap_or_default(),
            digest: digest(path)?,
        };
        self.add(name);
        self.add(&code.digest);
        self.code.push(code);
        Ok(())
    }

    /// A file, or all files of a folder but for what Python leaves there.
    fn tree(&mut self, name: &str, path: &Path) -> Result<()> {
        if !path.is_dir() {
            return self.file(name, path);
        }
        self.seen.push(Seen::now(path));
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name());
        }
        names.sort();
        for entry in names.iter().filter(|entry| *entry != "__pycache__") {
            let text = entry.to_string_lossy();
            self.tree(&format!("{name}/{text}"), &path.join(entry))?;
        }
        Ok(())
    }
}

fn ask(program: &Path, interpreter: &Path) -> Result<Sources> {
    let mut launch = Launch::new(interpreter);
    launch.arguments = vec!["-I".into(), "-c".into(), SOURCES.into(), program.into()];
    launch.environment = environment(For::Plugin, &Variables::default(), 1, &[]);
    let asked = || format!("`{}`, which runs it,", interpreter.display());
    let output = output(&launch, LIMIT).with_context(|| format!("{} can't be started", asked()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} can't tell what it imports: {}",
            asked(),
            stderr.lines().next_back().unwrap_or("no message")
        );
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} does not tell what it imports", asked()))
}

/// The digest of a file.
pub(super) fn digest(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_mmap_rayon(path)
        .with_context(|| format!("{} can't be read", path.display()))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Whether a stage ran nothing but this code of its plugin, and the code is what it was: `loaded` are the files that
/// the stage says that it ran.
///
/// # Errors
/// What is not so, and what to do.
pub fn check(code: &[Code], loaded: &BTreeSet<PathBuf>) -> Result<()> {
    for part in code {
        let path = &part.path;
        let is_same = seen::state(path).is_some_and(|state| state == part.state)
            || digest(path).is_ok_and(|digest| digest == part.digest);
        ensure!(
            is_same,
            "{}, of its plugin, changed while it ran, so the result belongs to neither version; run again",
            path.display()
        );
    }
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let known: BTreeSet<PathBuf> = code.iter().map(|part| real(&part.path)).collect();
    match loaded.iter().find(|path| !known.contains(&real(path))) {
        None => Ok(()),
        Some(path) => bail!(
            "it ran code of {}, which is not in its plugin's version: an edit there would not rerun it. Name the file, or its \
             folder, in `depends=[…]` of `flow_stage.main` or `flow_stage.Plugin`, or move it beside the plugin's file and \
             import it by name",
            path.display()
        ),
    }
}
