//! The folder that a program of the user's works in: made of a request, with what the stage declared and nothing else; and what
//! the program made, back out of it.
//!
//! - `content`: what each input stands for, and where it is taken from.
//! - `inputs`: inputs laid out at their places.
//! - `names`: what the names in a command stand for; the command.
//! - `confine`: what the program sees of the machine beside its folder.
//! - `outputs`: outputs found, their links resolved.
//! - `project`: the other place to work in, `folder = "project"`.
//! - `failed`: the last attempt that failed; hints at what a program missed.

mod confine;
mod content;
pub mod failed;
mod inputs;
mod names;
mod outputs;
mod project;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use flow_cache::{Shared, remove_folder};
use flow_plan::plan::layout::{Layout, WORK, layout};
use flow_plan::plan::{Folder, Program, is_glob};

use self::content::Content;
use self::project::Project;
use super::site::Site;
use crate::process::{self, Launch};
use crate::record::log;

/// The modification time of all that lies in a stage's folder when it starts: what the store gives its own files.
const MTIME: Duration = Duration::from_secs(946_684_800);

/// Where the lines of a command stand, in the scratch folder.
const SCRIPT: &str = ".command";

/// Whether a program of a workflow with this root is kept apart from this machine.
///
/// # Errors
/// Why not, in words.
pub fn isolation(program: &Program, root: &Path) -> Result<(), String> {
    match confine::possible(root, program) {
        Ok(found) => found.map(drop),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// A stage's folder, ready for its program.
pub(super) struct StageFolder {
    /// Where it is.
    path: PathBuf,
    /// Where outputs are brought together that can't be stored from where they are.
    aside: PathBuf,
    /// Where the program sees it.
    seen: PathBuf,
    /// The places of each input, relative to the folder.
    layout: Layout,
    /// What each input stands for, in the order of its places' sources.
    contents: BTreeMap<String, Vec<Content>>,
    /// What lies in it that is no copy.
    pub shared: Vec<Shared>,
    /// Where it works instead, if that is the project.
    project: Option<Project>,
    /// What has to be mounted over what lies in it.
    mounts: Vec<inputs::Mounted>,
    /// Where its checkpoints are kept, and where it sees them, relative to the folder; none where that is a link.
    checkpoints: Option<(PathBuf, String)>,
    /// Why the program is not kept apart from the machine; none where it is.
    pub why_not: Option<String>,
}

/// Lays out the folder of a request's program below `attempt`. `work` outlives the attempt. `wait` hears what it waits for, once.
/// None where the run was asked to end while it waited for the project's folder.
pub(super) fn prepare(
    site: &Site<'_>,
    program: &Program,
    work: &Path,
    attempt: &Path,
    wait: &dyn Fn(String),
) -> Result<Option<(StageFolder, Launch)>> {
    let request = site.request;
    let confinement = confine::possible(&request.folder, program)?;
    let path = match &confinement {
        Ok(_) => attempt.to_path_buf(),
        Err(_) => confine::outside(attempt, &request.folder)?,
    };
    make(&path)?;
    let contents = content::of(site)?;
    let layout = lay(site, program, &contents)?;
    let seen = match &confinement {
        Ok(_) => process::stage_folder().to_path_buf(),
        Err(_) => path.clone(),
    };
    let mut folder = StageFolder {
        path,
        aside: attempt.with_extension("outputs"),
        seen,
        layout,
        contents,
        shared: Vec::new(),
        project: None,
        mounts: Vec::new(),
        checkpoints: None,
        why_not: None,
    };
    let mountable = confinement.is_ok() && program.folder == Folder::Own;
    inputs::lay_out(site, &mut folder, mountable)?;
    for (path, text) in &program.files {
        let to = folder.path.join(path);
        make_way(&folder.path, path)?;
        fs::write(&to, text).with_context(|| format!("{} can't be written", to.display()))?;
        age(&to)?;
    }
    let scratch = folder.path.join(WORK);
    make(&scratch)?;
    for output in &request.outputs {
        make_way(&folder.path, outputs::fixed_part(&output.file))?;
    }
    if let Some(checkpoints) = &program.checkpoints {
        let (kept, there) = (work.join("checkpoints"), folder.path.join(checkpoints));
        make_way(&folder.path, checkpoints)?;
        make(&kept)?;
        // They stay where they are, so that whatever ends this attempt leaves them to the next.
        if mountable {
            make(&there)?;
            folder.checkpoints = Some((kept, checkpoints.clone()));
        } else {
            symlink(&kept, &there).with_context(|| format!("{} can't be made", there.display()))?;
        }
    }
    if program.folder == Folder::Project {
        let Some(project) = Project::enter(site, wait)? else {
            return Ok(None);
        };
        folder.seen = folder.path.clone();
        folder.project = Some(project);
    }
    age_folders(&folder)?;
    let mut launch = names::launch(site, program, &folder)?;
    launch.folder = match &folder.project {
        Some(_) => request.folder.clone(),
        None => folder.seen.clone(),
    };
    launch.confinement = match &confinement {
        _ if confine::in_container(program) => Some(confine::boxed(&folder, request, program)?),
        Ok(Some(around)) => Some(confine::confinement(&folder, request, program, around)?),
        Ok(None) | Err(_) => None,
    };
    if let Some(surroundings) = &request.surroundings {
        launch = surroundings.enter(launch, Some(work))?;
    }
    match confinement {
        Ok(_) => {
            // The kernel holds links read-only; nobody has to look whether they were written to.
            folder.shared.retain(|shared| shared.mount.is_some());
        }
        Err(why) => folder.why_not = Some(why),
    }
    Ok(Some((folder, launch)))
}

impl StageFolder {
    /// Lets others work in the project, if it works there. Its outputs have been taken.
    pub fn leave_project(&mut self) {
        self.project.iter_mut().for_each(Project::leave);
    }

    /// Brings together what the program made. Gives the folder in which each output lies at the place that [`output_place`]
    /// gives it, and the inputs that belong to outputs.
    ///
    /// # Errors
    /// Where one is missing, or can't be taken.
    pub fn take_outputs(&self, site: &Site<'_>) -> Result<(PathBuf, Known)> {
        let mut outputs = site.request.outputs.iter();
        let is_stored_from_here = self.project.is_none()
            && self.path.parent() == self.aside.parent()
            && !outputs.any(|output| is_glob(&output.file));
        let to = match is_stored_from_here {
            true => self.path.clone(),
            false => self.aside.clone(),
        };
        let known = outputs::take(self, site, &to)?;
        Ok((to, known))
    }

    /// A failure of its program with what helps: what the program missed.
    pub fn failure(&self, site: &Site<'_>, error: anyhow::Error) -> anyhow::Error {
        match failed::missed(site.request, &log::tail(&site.request.log)) {
            Some(missed) => anyhow::anyhow!("{error:#}; {missed}"),
            None => error,
        }
    }

    /// Keeps it in `work` after a failure, with what was taken out of it. Gives the failure.
    pub fn keep(
        &self,
        site: &Site<'_>,
        error: anyhow::Error,
        launch: &Launch,
        work: &Path,
    ) -> anyhow::Error {
        match failed::keep(self, site.request, launch, work) {
            Ok(()) => error,
            Err(why) => anyhow::anyhow!("{error:#}; its folder could not be kept: {why:#}"),
        }
    }

    /// What lay in it when the program started: paths relative to it.
    fn given<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = &'a str> {
        let places = self.layout.values().flatten();
        let places = places.map(|place| place.path.as_str());
        let files = program.files.keys().map(String::as_str);
        places.chain(files).chain(program.checkpoints.as_deref())
    }
}

impl Drop for StageFolder {
    fn drop(&mut self) {
        // What was laid out beside the store is nobody's afterwards.
        let _ = remove_folder(&self.path);
        let _ = remove_folder(&self.aside);
        if let Some(parent) = self.path.parent()
            && Some(parent) != self.aside.parent()
        {
            let _ = fs::remove_dir(parent);
        }
    }
}

pub use confine::is_wanted as wants_isolation;
pub(super) use outputs::{Known, fixed_part, place as output_place};

/// The places of everything.
fn lay(
    site: &Site<'_>,
    program: &Program,
    contents: &BTreeMap<String, Vec<Content>>,
) -> Result<Layout> {
    let given = content::given(site, contents)?;
    let files = program.files.keys().map(String::as_str);
    let checkpoints = program.checkpoints.as_deref();
    match layout(&given, files, checkpoints, &site.request.outputs) {
        Ok(layout) => Ok(layout),
        Err(conflicts) => {
            let told: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
            bail!("its folder can't be laid out: {}", told.join("; "))
        }
    }
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))
}

/// Makes what leads to `inside` a folder that is there.
fn make_way(folder: &Path, inside: &str) -> Result<()> {
    match inside.trim_end_matches('/').rfind('/') {
        Some(end) => make(&folder.join(&inside[..end])),
        None => Ok(()),
    }
}

/// Gives a file or folder the one time that all have.
fn age(path: &Path) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + MTIME;
    let aged = fs::File::open(path).and_then(|file| file.set_modified(time));
    aged.with_context(|| format!("{} can't be given its time", path.display()))
}

/// Gives the folders that were made around what was laid out their time, each after what lies in it.
fn age_folders(folder: &StageFolder) -> Result<()> {
    let places = folder.layout.values().flatten();
    let mut around = std::collections::BTreeSet::new();
    for place in places {
        let mut path = Path::new(&place.path);
        while let Some(parent) = path.parent() {
            around.insert(folder.path.join(parent));
            path = parent;
        }
    }
    around.iter().rev().try_for_each(|path| age(path))
}

/// Moves a file or folder, also to another file system.
fn move_to(from: &Path, to: &Path) -> Result<()> {
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    copy_all(from, to)?;
    let removed = if from.is_dir() {
        fs::remove_dir_all(from)
    } else {
        fs::remove_file(from)
    };
    removed.with_context(|| format!("{} can't be removed", from.display()))
}

/// Copies a file or folder with its execute bits; links are followed.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("{} can't be copied to {}", from.display(), to.display());
    if !from.is_dir() {
        reflink_copy::reflink_or_copy(from, to).with_context(failed)?;
        let mode = fs::metadata(from).with_context(failed)?.permissions();
        return fs::set_permissions(to, mode).with_context(failed);
    }
    make(to)?;
    for entry in fs::read_dir(from).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
