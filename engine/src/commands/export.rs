//! `flow export`: a run with its artifacts as an RO-Crate.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Args;
use flow_cache::{Digest, Key, Output, Store};
use flow_plan::plan::{Files, Wanted};
use flow_run::record::event::{StageEnd, Status};
use flow_run::record::external::{self, Reader};
use flow_run::record::past::{PastRun, State};
use flow_run::record::provenance::{self, Action, Source};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use crate::arguments::StoreArguments;
use crate::failure::{FAILED, Failure, INTERRUPTED, wrong};
use crate::runs;
use crate::session::interruptible;
use crate::suggestion;
use crate::view;
use crate::view::ro_crate::{self, Crate, Part, PartFile, Step};

/// What is exported, and where to.
#[derive(Args)]
pub struct ExportArguments {
    /// The workflow file whose store is meant; without it that of the current folder.
    workflow: Option<PathBuf>,
    /// The run; `flow runs` lists them.
    run: String,
    /// Write a Workflow Run RO-Crate into this folder, which must not exist yet.
    #[arg(long, value_name = "DIR")]
    ro_crate: PathBuf,
    /// The store's folder.
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    store: Option<PathBuf>,
}

/// `flow export`.
pub fn export(arguments: &ExportArguments) -> Result<ExitCode, Failure> {
    let place = StoreArguments {
        workflow: arguments.workflow.clone(),
        store: arguments.store.clone(),
    };
    let store = place.open()?;
    let run = runs::open(&store, &arguments.run, arguments.workflow.as_deref())?;
    if run.state == State::Running {
        return Err(wrong(format!("the run {} still goes on", run.id)));
    }
    let target = std::path::absolute(&arguments.ro_crate).map_err(wrong)?;
    if target.symlink_metadata().is_ok() {
        return Err(wrong(format!(
            "{} is there already; name a new folder",
            arguments.ro_crate.display()
        )));
    }
    let parent = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)
        .map_err(|e| wrong(format!("{} can't be made: {e}", parent.display())))?;
    // Under another name until it is whole.
    let unfinished = tempfile::Builder::new()
        .prefix(".ro-crate-")
        .tempdir_in(parent)
        .map_err(|e| wrong(format!("{} can't be written: {e}", parent.display())))?;
    let lines = run.stages()?;
    let stop = interruptible()?;
    let written = write(&store, &run, &lines, unfinished.path(), &stop);
    if stop.load(Ordering::Relaxed) {
        return Err(Failure {
            text: "interrupted; nothing was written".into(),
            status: INTERRUPTED,
        });
    }
    let warnings = written?;
    fs::set_permissions(unfinished.path(), permissions(0o755))?;
    fs::rename(unfinished.path(), &target)
        .with_context(|| format!("{} can't be made", target.display()))?;
    for warning in warnings {
        view::tell(&format!("warning: {}", view::plain(&warning)));
    }
    view::print(&format!("wrote {}", arguments.ro_crate.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

/// Fills the folder; gives what could not be put into it.
fn write(
    store: &Store,
    run: &PastRun,
    lines: &[StageEnd],
    folder: &Path,
    stop: &AtomicBool,
) -> Result<Vec<String>, Failure> {
    let done: Vec<(&StageEnd, Key)> = lines
        .iter()
        .filter_map(|line| Some((line, line.result()?)))
        .collect();
    let actions = provenance::actions(store, done.iter().map(|(_, key)| *key))?;
    let mut gone: Vec<String> = done
        .iter()
        .zip(&actions)
        .filter(|(_, action)| action.is_none())
        .map(|((line, _), _)| line.label())
        .collect();
    if !gone.is_empty() {
        // Stages end in any order.
        gone.sort();
        return Err(Failure {
            text: format!(
                "error: the results of {} are no longer in the store; run the workflow again as that run did \
                 (`{}`), and export the new run",
                gone.join(", "),
                suggestion::on(Some(store.root()), &["show", &run.id])
            ),
            status: FAILED,
        });
    }
    let mut writer = Writer {
        store,
        run,
        folder,
        parts: Vec::new(),
        made: HashMap::new(),
        given: HashMap::new(),
        warnings: Vec::new(),
        stop,
        bar: ProgressBar::new(bytes(&actions)).with_style(
            ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        ),
    };
    let (workflow, included) = writer.workflow()?;
    let mut steps: Vec<Step<'_>> = Vec::new();
    for ((line, key), action) in done.iter().zip(&actions) {
        let mut outputs = Vec::new();
        for (role, output) in action.iter().flat_map(|action| &action.record.outputs) {
            outputs.push((
                role.clone(),
                writer.result(&line.label(), *key, role, output)?,
            ));
        }
        steps.push(Step {
            line,
            action: action.as_ref(),
            inputs: Vec::new(),
            outputs,
        });
    }
    // Stages end in any order, so what each read is known only now.
    for step in &mut steps {
        for (role, source) in step.action.iter().flat_map(|action| sources(action)) {
            let places = writer.input(source)?;
            step.inputs
                .extend(places.into_iter().map(|place| (role.clone(), place)));
        }
    }
    let failed = lines.iter().filter(|line| line.status == Status::Failed);
    steps.extend(failed.map(|line| Step {
        line,
        action: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
    }));
    let Writer {
        parts, warnings, ..
    } = writer;
    let metadata = ro_crate::metadata(&Crate {
        run,
        workflow,
        included,
        parts,
        steps,
        now: jiff::Timestamp::now(),
    });
    let path = folder.join("ro-crate-metadata.json");
    fs::write(&path, format!("{metadata:#}\n"))
        .with_context(|| format!("{} can't be written", path.display()))?;
    Ok(warnings)
}

/// The sizes' sum of what the actions made.
fn bytes(actions: &[Option<Action>]) -> u64 {
    let outputs = actions
        .iter()
        .flatten()
        .flat_map(|action| action.record.outputs.values());
    outputs.map(|output| output.size).sum()
}

fn sources(action: &Action) -> impl Iterator<Item = (&String, &Source)> {
    let inputs = action.inputs.iter();
    inputs.flat_map(|(role, sources)| sources.iter().map(move |source| (role, source)))
}

/// Puts files into the crate, each once.
struct Writer<'a> {
    store: &'a Store,
    run: &'a PastRun,
    folder: &'a Path,
    parts: Vec<Part>,
    /// Key and output role of a result to its place in `parts`.
    made: HashMap<(Key, String), usize>,
    /// Path and content of the user's files to their places.
    given: HashMap<(String, Digest), Vec<usize>>,
    warnings: Vec<String>,
    /// Set to end it; looked at before each file or folder.
    stop: &'a AtomicBool,
    /// On a terminal, how far it is.
    bar: ProgressBar,
}

impl Writer<'_> {
    /// The workflow file as it was, and what it includes.
    fn workflow(&mut self) -> Result<(Part, Vec<Part>)> {
        let name = self.run.head.path.file_name();
        let name = name.map_or("workflow.toml".into(), |name| {
            plain_name(&name.to_string_lossy())
        });
        let text = fs::read(self.run.folder.join("workflow.toml"))
            .context("the run's workflow can't be read")?;
        let workflow = self.text(name, self.run.head.workflow.clone(), &text)?;
        let mut included = Vec::new();
        for (number, (path, text)) in self.run.head.files.iter().enumerate() {
            let name = Path::new(path).file_name().unwrap_or_default();
            let name = format!(
                "included/{}-{}",
                number + 1,
                plain_name(&name.to_string_lossy())
            );
            included.push(self.text(name, path.clone(), text.as_bytes())?);
        }
        Ok((workflow, included))
    }

    fn text(&self, path: String, name: String, text: &[u8]) -> Result<Part> {
        let to = self.place(&path)?;
        fs::write(&to, text).with_context(|| format!("{} can't be written", to.display()))?;
        Ok(Part {
            files: described(&to, false)?,
            path,
            name,
            digest: Digest::of_bytes(text),
            folder: false,
        })
    }

    /// An output of a stage; gives its place.
    fn result(&mut self, label: &str, key: Key, role: &str, output: &Output) -> Result<usize> {
        if let Some(place) = self.made.get(&(key, role.to_string())) {
            return Ok(*place);
        }
        let record = self.store.record(&key)?;
        let file = record
            .as_ref()
            .and_then(|record| record.manifest["outputs"][role].as_str())
            .and_then(|file| Path::new(file).file_name())
            .map_or(role.into(), |file| plain_name(&file.to_string_lossy()));
        // By role, since two outputs of a stage may have one file name in two folders.
        let path = self.free(format!("artifacts/{}/{role}", plain_name(label)), &file);
        let to = self.place(&path)?;
        self.store.export(output, &to)?;
        self.bar.inc(output.size);
        let place = self.parts.len();
        self.parts.push(Part {
            files: described(&to, output.folder)?,
            path,
            name: format!("{label}.{role}"),
            digest: output.digest,
            folder: output.folder,
        });
        self.made.insert((key, role.to_string()), place);
        Ok(place)
    }

    /// What a stage read; gives the places, none where it is gone.
    fn input(&mut self, source: &Source) -> Result<Vec<usize>> {
        match source {
            Source::Result {
                stage,
                output,
                key: Some(key),
                digest,
            } => {
                if let Some(place) = self.made.get(&(*key, output.clone())) {
                    return Ok(vec![*place]);
                }
                // What it was made from may have been made again since, under another key and to the same bytes.
                let same = |part: &Part| Some(part.digest) == *digest;
                if let Some(place) = self.parts.iter().position(same) {
                    return Ok(vec![place]);
                }
                // `--only`: the run looked it up, and did not list it.
                if let Some(record) = self.store.record(key)?
                    && let Some(stored) = record.outputs.get(output)
                {
                    return Ok(vec![self.result(stage, *key, output, stored)?]);
                }
                self.lack(format!("{stage}.{output}"), "is no longer in the store");
                Ok(Vec::new())
            }
            Source::Result { stage, output, .. } => {
                self.lack(format!("{stage}.{output}"), "is not known by its key");
                Ok(Vec::new())
            }
            Source::Path {
                path,
                files,
                digest,
            } => self.given(path, files.as_ref(), *digest),
            Source::Unknown { digest } => {
                self.lack(digest.to_string(), "was made by nothing that is known");
                Ok(Vec::new())
            }
        }
    }

    /// The user's files, if they are still what the stage read.
    fn given(
        &mut self,
        pattern: &str,
        files: Option<&Files>,
        digest: Digest,
    ) -> Result<Vec<usize>> {
        if let Some(places) = self.given.get(&(pattern.to_string(), digest)) {
            return Ok(places.clone());
        }
        let head = &self.run.head;
        let beside = head.path.parent().unwrap_or(Path::new("/"));
        let base = head.root.as_deref().unwrap_or(beside);
        // A pattern that matches one file may have been meant as that file, or as a list of one.
        let named = match files {
            Some(files) => vec![files.clone()],
            None => [Wanted::Many, Wanted::Either]
                .map(|wanted| Files::one(pattern, wanted))
                .to_vec(),
        };
        let found = named
            .iter()
            .flat_map(|files| [(files, Reader::Kind), (files, Reader::Program)])
            .filter_map(|(files, reader)| external::find(files, reader, base, self.store).ok())
            .find(|external| external.digest == digest);
        let mut places = Vec::new();
        match found {
            None => self.lack(pattern.to_string(), "has changed since, or is gone"),
            Some(external) => {
                for from in external.paths {
                    let inside = from.strip_prefix(base).unwrap_or(&from);
                    let name = inside.display().to_string();
                    let file = from.file_name().unwrap_or_default().to_string_lossy();
                    let path = self.free("inputs".into(), &plain_name(&file));
                    let to = self.place(&path)?;
                    copy(&from, &to)?;
                    let content = self.store.digest_path(&to)?;
                    let folder = to.is_dir();
                    places.push(self.parts.len());
                    self.parts.push(Part {
                        files: described(&to, folder)?,
                        path,
                        name,
                        digest: content,
                        folder,
                    });
                }
            }
        }
        self.given
            .insert((pattern.to_string(), digest), places.clone());
        Ok(places)
    }

    fn lack(&mut self, what: String, why: &str) {
        let warning = format!("the input {what} {why}, so it is not in the crate");
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A path in the crate that nothing has yet.
    fn free(&self, folder: String, file: &str) -> String {
        let taken = |path: &str| self.folder.join(path).symlink_metadata().is_ok();
        let mut path = format!("{folder}/{file}");
        let mut number = 2;
        while taken(&path) {
            path = format!("{folder}/{number}/{file}");
            number += 1;
        }
        path
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
        let to = self.folder.join(path);
        let parent = to.parent().unwrap_or(self.folder);
        fs::create_dir_all(parent)
            .with_context(|| format!("{} can't be made", parent.display()))?;
        Ok(to)
    }
}

/// A name that any file system takes, and that stays inside its folder.
fn plain_name(name: &str) -> String {
    let name: String = name
        .chars()
        .filter(|c| *c != ']')
        .map(|c| match c {
            '[' => '-',
            c if c.is_alphanumeric() || matches!(c, '-' | '_' | '=' | '.' | ',') => c,
            _ => '_',
        })
        .take(120)
        .collect();
    if name.is_empty() || name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}

/// Copies a file or folder; links are followed, as they were when it was hashed.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let cannot = || format!("{} can't be copied", from.display());
    if from.is_dir() {
        fs::create_dir(to).with_context(cannot)?;
        for entry in fs::read_dir(from).with_context(cannot)? {
            let name = entry.with_context(cannot)?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    ensure!(
        from.is_file(),
        "{} is neither a file nor a folder",
        from.display()
    );
    let mut source = File::open(from).with_context(cannot)?;
    let mut target = File::create_new(to).with_context(cannot)?;
    io::copy(&mut source, &mut target).with_context(cannot)?;
    Ok(())
}

/// The files of a part, sorted, with sizes and SHA-256 digests.
fn described(path: &Path, folder: bool) -> Result<Vec<PartFile>> {
    let mut files = Vec::new();
    if folder {
        collect(path, "", &mut files)?;
        files.sort();
    } else {
        files.push(String::new());
    }
    files
        .into_iter()
        .map(|inside| {
            let file = if inside.is_empty() {
                path.to_path_buf()
            } else {
                path.join(&inside)
            };
            let (size, sha256) =
                digest(&file).with_context(|| format!("{} can't be read", file.display()))?;
            Ok(PartFile {
                path: inside,
                size,
                sha256,
            })
        })
        .collect()
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push(name);
        }
    }
    Ok(())
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
    let hex = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((size, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_their_folder() {
        assert_eq!(plain_name("multihead[alpha=0.1]"), "multihead-alpha=0.1");
        assert_eq!(plain_name("../x"), "_.._x");
        assert_eq!(plain_name(""), "_");
        assert_eq!(plain_name("a b"), "a_b");
    }
}
