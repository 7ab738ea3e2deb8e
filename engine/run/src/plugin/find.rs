//! Finding plugins on this machine, and asking them what they offer.
//!
//! What a plugin describes is remembered by the identity of its file, and of all other files of its code where they are
//! known, so that a run with nothing to do starts no process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use flow_plan::plan::Variables;
use flow_plan::plan::kinds::{Catalogue, Code, From, Plugin};
use flow_plan::workflow::Workflow;
use flow_plan::workflow::problem::{Problem, Problems};
use flow_stage::protocol::{Description, PROTOCOL};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::python::{self, Python};
use super::script;
use crate::process::environment::{For, environment};
use crate::process::{Launch, output};
use crate::surroundings::seen::Seen;

/// How executables are called that are looked for beside flow and on the PATH.
const PREFIX: &str = "flow-stages-";
/// How long `describe` may take; a plugin that links libtorch needs 0.2 s.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(60);

/// Looks beside flow, at `[plugins]` of the workflow, at `FLOW_PLUGIN_PATH` and on the PATH, in this order. Of two plugins
/// that are called alike, the first that is found counts.
pub fn find(workflow: Option<&Workflow>, problems: &mut Problems) -> Catalogue {
    let mut catalogue = Catalogue::default();
    for program in beside() {
        add_found(&mut catalogue, &program, From::Flow);
    }
    for (name, path) in workflow.iter().flat_map(|workflow| &workflow.plugins) {
        let program = workflow.map_or_else(PathBuf::new, |w| w.folder().join(&path.value));
        if let Err(error) = add(&mut catalogue, &program, name, From::Elsewhere, true) {
            let problem = Problem::BadPlugin {
                path: path.value.clone(),
                cause: format!("{error:#}"),
            };
            problems.add(problem, path.span);
        }
    }
    for program in around() {
        add_found(&mut catalogue, &program, From::Elsewhere);
    }
    catalogue
}

/// What tells one catalogue from another without reading it: the places and times of all plugin files, those that a
/// workflow names among them, and of the files that they import.
pub fn identity(named: &[PathBuf]) -> String {
    let programs = beside().into_iter().chain(named.iter().cloned());
    let mut hasher = blake3::Hasher::new();
    for program in programs.chain(around()) {
        let Ok(program) = program.canonicalize() else {
            continue;
        };
        let interpreter = script::python(&program);
        let identity = identity_of(&program, interpreter.as_deref()).unwrap_or_default();
        hasher.update(identity.as_bytes());
        hasher.update(b"\n");
        // Where nothing is remembered of its modules, nobody can say that they are the same.
        if interpreter.is_some() && Known::remembered(&identity).is_none() {
            hasher.update(format!("{:?}", SystemTime::now()).as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// A plugin that merely lies where plugins are looked for must not stop a workflow that does without it.
fn add_found(catalogue: &mut Catalogue, program: &Path, origin: From) {
    let name = program.file_name().map(|name| name.to_string_lossy());
    let name = name.as_deref().unwrap_or_default();
    let owner = name.strip_prefix(PREFIX).unwrap_or(name);
    if let Err(error) = add(catalogue, program, owner, origin, false) {
        catalogue
            .broken
            .push((program.to_path_buf(), format!("{error:#}")));
    }
}

/// Adds a plugin; `is_named`: the workflow names it.
fn add(
    catalogue: &mut Catalogue,
    program: &Path,
    owner: &str,
    origin: From,
    is_named: bool,
) -> Result<()> {
    let program = program
        .canonicalize()
        .with_context(|| format!("{} can't be found", program.display()))?;
    if let Some(kind) = catalogue.kinds().find(|kind| kind.program == program) {
        if is_named && kind.owner != owner {
            bail!(
                "this plugin is called `{0}` already: write `{0}/KIND` for its kinds, and take this line away",
                kind.owner
            );
        }
        return Ok(());
    }
    // On the PATH the first of a name counts; what a workflow names must not be left out without a word.
    let mut others = catalogue.kinds().filter(|kind| kind.owner == owner);
    if is_named && let Some(other) = others.next() {
        bail!(
            "{} is called `{owner}` too: give this one another name under [plugins]",
            other.program.display()
        );
    }
    drop(others);
    let known = Known::of(&program)?;
    let plugin = Plugin {
        program,
        name: format!("{} {}", known.description.plugin, known.description.version),
        digest: known.digest,
        owner: owner.into(),
        origin,
        code: known.code,
    };
    catalogue.add(&plugin, known.description.kinds);
    Ok(())
}

/// The plugins beside flow.
fn beside() -> Vec<PathBuf> {
    let program = std::env::current_exe().and_then(|program| program.canonicalize());
    let folder = program.ok().and_then(|p| p.parent().map(Path::to_path_buf));
    folder.map_or_else(Vec::new, |folder| executables(&folder))
}

/// The plugins in FLOW_PLUGIN_PATH and on the PATH, in this order.
fn around() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for listed in ["FLOW_PLUGIN_PATH", "PATH"]
        .iter()
        .filter_map(std::env::var_os)
    {
        for folder in std::env::split_paths(&listed) {
            // One folder often has several names there, and may hold thousands of programs.
            if let Ok(folder) = folder.canonicalize()
                && !folders.contains(&folder)
            {
                folders.push(folder);
            }
        }
    }
    folders
        .iter()
        .flat_map(|folder| executables(folder))
        .collect()
}

/// What tells a plugin's file, and the Python that runs it, from others without reading them.
fn identity_of(program: &Path, interpreter: Option<&Path>) -> Result<String> {
    let seen = Seen::now(program);
    ensure!(seen.is_there(), "{} can't be looked at", program.display());
    let interpreter = interpreter.map(|path| format!("\n{}", Seen::now(path).text()));
    Ok(seen.text() + &interpreter.unwrap_or_default())
}

/// The plugins in a folder, by name.
fn executables(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(PREFIX) && !name.ends_with(".d")
        })
        .map(|entry| entry.path())
        .filter(|path| {
            path.metadata()
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
        .collect();
    found.sort();
    found
}

/// What is remembered of one plugin.
#[derive(Serialize, Deserialize)]
struct Known {
    identity: String,
    digest: String,
    description: Description,
    /// The files of its code, where they are known.
    #[serde(default)]
    code: Vec<Code>,
    /// What else has to be as it was.
    #[serde(default)]
    seen: Vec<Seen>,
}

impl Known {
    fn of(program: &Path) -> Result<Known> {
        let interpreter = script::python(program);
        let identity = identity_of(program, interpreter.as_deref())?;
        if let Some(known) = Known::remembered(&identity) {
            return Ok(known);
        }
        let known = match interpreter {
            Some(interpreter) => {
                let mut python = Python::of(program, &interpreter)?;
                let description = describe(program)?;
                python.depends(&description.depends)?;
                Known {
                    digest: python.digest(),
                    identity,
                    description,
                    code: python.code,
                    seen: python.seen,
                }
            }
            None => Known {
                digest: python::digest(program)?,
                identity,
                description: describe(program)?,
                code: Vec::new(),
                seen: Vec::new(),
            },
        };
        // Without a memory the next start asks the plugin again, nothing worse.
        if let Some(path) = memo(&known.identity) {
            let _ = remember(&path, &known);
        }
        Ok(known)
    }

    /// What is remembered of a plugin with this identity, while all of its files are as they were.
    fn remembered(identity: &str) -> Option<Known> {
        let known: Known = serde_json::from_slice(&fs::read(memo(identity)?).ok()?).ok()?;
        let is_same = known.identity == identity
            && known.description.protocol == PROTOCOL
            && known.seen.iter().all(Seen::holds);
        is_same.then_some(known)
    }
}

/// The file that remembers a plugin.
fn memo(identity: &str) -> Option<PathBuf> {
    let name = blake3::hash(identity.as_bytes()).to_hex();
    Some(memo_folder()?.join(format!("{}.json", &name[..32])))
}

fn remember(path: &Path, known: &Known) -> Result<()> {
    let folder = path.parent().context("a memo lies in a folder")?;
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&file, known)?;
    file.persist(path)?;
    Ok(())
}

/// The user's cache folder for what plugins describe.
fn memo_folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("flow/plugins"))
}

/// Asks a plugin what it offers.
///
/// # Errors
/// Where it gives no description of this flow's protocol.
pub fn describe(program: &Path) -> Result<Description> {
    let mut launch = Launch::new(program);
    launch.arguments.push("describe".into());
    launch.environment = environment(For::Plugin, &Variables::default(), 1, &[]);
    let output = output(&launch, DESCRIBE_LIMIT)
        .with_context(|| format!("`{} describe` failed", program.display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{} describe` ended with {}: {}",
            program.display(),
            output.status,
            stderr.lines().next_back().unwrap_or("no message")
        );
    }
    let value: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`{} describe` printed no JSON", program.display()))?;
    let protocol = value.get("protocol").and_then(Value::as_u64);
    ensure!(
        protocol == Some(u64::from(PROTOCOL)),
        "{} speaks protocol {}, this flow speaks {PROTOCOL}; install a plugin and a flow of the same release",
        program.display(),
        protocol.map_or("nothing known".into(), |p| p.to_string())
    );
    serde_json::from_value(value)
        .with_context(|| format!("`{} describe` printed no description", program.display()))
}
