//! What an earlier run read of the user's files, for a run that makes it again: small ones from the store, all else from where it
//! was, if it is still the same.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Output, Store};
use flow_plan::plan::{Environment, Files, Origin, Plan, Task, is_glob};
use flow_plan::workflow::problem::Problems;
use flow_plan::workflow::source::plain;
use flow_plan::workflow::{Workflow, axes};
use petgraph::graph::NodeIndex;

use super::external::{self, External, Externals, Reader};
use super::inputs::{self, Given, Place};
use super::past::PastRun;

/// Why a run can't be made again.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Nobody knows what it read.
    #[error("it was made by a version of flow that did not note yet what a run reads")]
    NoList,
    /// What it read is not there any more.
    #[error("what it read is no longer there: {}", .0.join("; "))]
    Inputs(Vec<String>),
}

impl Externals {
    /// What a run read, in the place of what is there now. Files that a kind reads, which wants them on the disk, are laid
    /// into `folder` where they are there no more.
    ///
    /// # Errors
    /// Where a file can't be written; inside, what is lost.
    pub fn of_run(
        run: &PastRun,
        plan: &Plan,
        nodes: &BTreeSet<NodeIndex>,
        (root, folder): (&Path, &Path),
        store: &Store,
        problems: &mut Problems,
    ) -> Result<Result<Externals, Lost>> {
        let Some(mut noted) = inputs::of(run) else {
            return Ok(Err(Lost::NoList));
        };
        let wanted = wanted(plan, nodes);
        noted.retain(|given| wanted.contains(&(&given.files, given.reader)));
        let (mut found, mut lost) = (HashMap::new(), Vec::new());
        for (files, reader) in &wanted {
            let mut all = noted.iter();
            let given = all.find(|given| given.files == **files && given.reader == *reader);
            let Some(given) = given else {
                lost.push(format!("`{}` was not read by that run", files.text()));
                continue;
            };
            let mut paths = Vec::new();
            let still = *reader == Reader::Kind && is_still(given, root, store);
            for (at, place) in given.found.iter().enumerate() {
                let path = root.join(&place.path);
                match there(given, place, &path, root, store) {
                    _ if still => paths.push(path),
                    Err(why) => lost.push(format!("`{}` {why}", place.path)),
                    Ok(There::Where) => paths.push(path),
                    Ok(There::Stored(_)) if *reader == Reader::Program => paths.push(path),
                    Ok(There::Stored(content)) => {
                        // Its ending may say what it is.
                        let name = path.file_name().unwrap_or_default();
                        let to = folder.join(format!("{}", found.len())).join(at.to_string());
                        fs::create_dir_all(&to)
                            .with_context(|| format!("{} can't be made", to.display()))?;
                        store.export(content, &to.join(name))?;
                        paths.push(to.join(name));
                    }
                }
            }
            let contents = given.found.iter().filter_map(|place| place.content.clone());
            let external = External {
                digest: given.digest,
                paths,
                contents: if still {
                    Vec::new()
                } else {
                    contents.collect()
                },
            };
            found.insert(((*files).clone(), *reader), external);
        }
        if !lost.is_empty() {
            return Ok(Err(Lost::Inputs(lost)));
        }
        let nodes: Vec<NodeIndex> = nodes.iter().copied().collect();
        let surroundings = external::surroundings(plan, &nodes, root, store, problems);
        Ok(Ok(Externals::noted(found, surroundings, root, noted)))
    }
}

/// What some instances read.
fn wanted<'p>(plan: &'p Plan, nodes: &BTreeSet<NodeIndex>) -> BTreeSet<(&'p Files, Reader)> {
    let instances = nodes.iter().map(|&node| &plan.graph[node]);
    let inputs = instances.flat_map(|instance| {
        let reader = Reader::of(&instance.task);
        instance.inputs.iter().map(move |input| (input, reader))
    });
    let named = inputs.filter_map(|(input, reader)| match &input.origin {
        Origin::Path { files, .. } => Some((files, reader)),
        _ => None,
    });
    named.collect()
}

/// Where a content is.
enum There<'a> {
    /// Where it was.
    Where,
    /// In the store.
    Stored(&'a Output),
}

fn there<'a>(
    given: &Given,
    place: &'a Place,
    path: &Path,
    root: &Path,
    store: &Store,
) -> Result<There<'a>, String> {
    let lies_there = || match path.exists() {
        true => "is another file or folder now",
        false => "is gone",
    };
    match &place.content {
        Some(content) if External::is_small(content) && store.check(content).is_ok() => {
            Ok(There::Stored(content))
        }
        Some(content) if external::is_still(&given.files, path, content, root, store) => {
            Ok(There::Where)
        }
        Some(content) if External::is_small(content) => Err(format!(
            "{}, and the store has its content no more",
            lies_there()
        )),
        Some(content) => Err(format!(
            "{}; it was too large to be kept (blake3 {})",
            lies_there(),
            content.digest
        )),
        None if is_still(given, root, store) => Ok(There::Where),
        None => Err(format!("{} (blake3 {})", lies_there(), given.digest)),
    }
}

/// Whether all that a kind's input names is what it was.
fn is_still(given: &Given, root: &Path, store: &Store) -> bool {
    let found = external::find(&given.files, given.reader, root, store);
    found.is_ok_and(|found| found.digest == given.digest)
}

/// What was laid out of a run.
#[derive(Debug)]
pub struct LaidOut {
    /// The workflow file.
    pub workflow: PathBuf,
    /// The file of params that the run was given, if it was.
    pub params: Option<PathBuf>,
    /// Files and folders that were copied.
    pub copied: usize,
    /// Files and folders that are links to where they were: large data, environments, plugins.
    pub linked: usize,
}

/// Lays the files of a run out in a folder, as they lay around its workflow: the texts of the workflow and what is small as copies,
/// all else as links to where it is.
///
/// # Errors
/// Where something can't be written; inside, what is lost.
pub fn lay_out(
    run: &PastRun,
    workflow: &Workflow,
    plan: &Plan,
    store: &Store,
    folder: &Path,
) -> Result<Result<LaidOut, Lost>> {
    let Some(noted) = inputs::of(run) else {
        return Ok(Err(Lost::NoList));
    };
    let root = workflow.root();
    let texts = run.texts()?;
    let given_params = run.head.params_file.as_deref().map(plain);
    // What lies around the workflow: all that is named by a path from there.
    let mut around: Vec<PathBuf> = vec![root.into(), workflow.folder().into()];
    let of_workflow = texts
        .keys()
        .filter(|path| Some(*path) != given_params.as_ref());
    around.extend(of_workflow.filter_map(|path| path.parent().map(Path::to_path_buf)));
    let outside = |given: &&Given| {
        given
            .files
            .patterns
            .iter()
            .all(|path| Path::new(path).is_relative())
    };
    for given in noted.iter().filter(outside) {
        let paths = given
            .found
            .iter()
            .map(|place| plain(&root.join(&place.path)));
        around.extend(paths.filter_map(|path| path.parent().map(Path::to_path_buf)));
    }
    let base = common(&around);
    let to = |path: &Path| Some(folder.join(plain(path).strip_prefix(&base).ok()?));
    let mut out = LaidOut {
        workflow: to(&workflow.path).unwrap_or_default(),
        params: None,
        copied: 0,
        linked: 0,
    };
    for (path, text) in &texts {
        let inside = to(path);
        // A file of params may come from anywhere.
        let to = inside.unwrap_or_else(|| folder.join(path.file_name().unwrap_or_default()));
        if Some(path) == given_params.as_ref() {
            out.params = Some(to.clone());
        }
        make_parent(&to)?;
        fs::write(&to, text).with_context(|| format!("{} can't be written", to.display()))?;
        out.copied += 1;
    }
    let mut lost = Vec::new();
    // What a glob matched lies there as an input, where a stage reads it.
    for (path, text) in run.others() {
        let Some(to) = to(&path).filter(|_| path.is_file()) else {
            continue;
        };
        match axes::as_kept(&path) {
            Ok(now) if now == text => out.linked += link(&path, &to)?,
            _ => lost.push(format!("`{}` is not what it was", path.display())),
        }
    }
    let mut places: Vec<(&Given, &Place)> = noted
        .iter()
        .flat_map(|given| given.found.iter().map(move |place| (given, place)))
        .collect();
    // Folders before what lies in them.
    places.sort_by_key(|(_, place)| &place.path);
    for (given, place) in places {
        let path = root.join(&place.path);
        let from = there(given, place, &path, root, store);
        let (Ok(from), Some(to)) = (&from, to(&path)) else {
            if let Err(why) = from {
                lost.push(format!("`{}` {why}", place.path));
            }
            continue;
        };
        if to.symlink_metadata().is_ok() {
            continue;
        }
        match from {
            There::Stored(content) => {
                make_parent(&to)?;
                store.export(content, &to)?;
                out.copied += 1;
            }
            There::Where => out.linked += link(&path, &to)?,
        }
    }
    let plugins = workflow.plugins.iter();
    let plugins = plugins.map(|(_, path)| workflow.folder().join(&path.value));
    for path in plugins
        .chain(surroundings(plan, root))
        .collect::<BTreeSet<_>>()
    {
        if let Some(to) = to(&path)
            && path.exists()
            && to.symlink_metadata().is_err()
        {
            out.linked += link(&path, &to)?;
        }
    }
    Ok(match lost.is_empty() {
        true => Ok(out),
        false => Err(Lost::Inputs(lost)),
    })
}

/// What programs run in, where that may lie beside the workflow: environments, lock files, images.
pub fn surroundings(plan: &Plan, root: &Path) -> Vec<PathBuf> {
    let mut named: Vec<&str> = Vec::new();
    for instance in plan.instances() {
        let Task::Command(program) = &instance.task else {
            continue;
        };
        match &program.environment {
            Some(Environment::Venv { folder, lock }) => {
                named.push(folder);
                named.extend(lock.as_deref());
            }
            Some(Environment::Conda { lock }) => named.push(lock),
            Some(Environment::Image { image, .. }) => named.push(image),
            None => {}
        }
    }
    named
        .into_iter()
        .filter(|path| !is_glob(path))
        .map(|path| root.join(path))
        .collect()
}

fn link(path: &Path, to: &Path) -> Result<usize> {
    make_parent(to)?;
    std::os::unix::fs::symlink(path, to)
        .with_context(|| format!("{} can't be made", to.display()))?;
    Ok(1)
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))
}

/// The folder that holds all of these.
fn common(paths: &[PathBuf]) -> PathBuf {
    let first = paths.first().map(|path| plain(path)).unwrap_or_default();
    let mut all = first.ancestors();
    let holds = |folder: &&Path| paths.iter().all(|path| plain(path).starts_with(folder));
    all.find(holds).unwrap_or(Path::new("/")).to_path_buf()
}
