//! What is left of an attempt that failed, and what its log says that it missed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flow_cache::{Key, Store, remove_folder};
use flow_plan::plan::is_glob;

use super::StageFolder;
use super::outputs::{fixed_part, is_inside, place};
use crate::process::Launch;
use crate::request::{Request, Source};

/// A folder with more bytes of its own is not kept.
const KEPT: u64 = 256 << 20;

/// The folder that the last attempt of a key worked in, as it left it; none where it did not fail, its folder was too large, or a
/// later one ended well. Beside it lie the request and the command that was started; no secret stands in them.
pub fn failed(store: &Store, key: &Key) -> Option<PathBuf> {
    let kept = store.work_folder(key).join("failed/folder");
    kept.is_dir().then_some(kept)
}

/// Keeps an attempt that failed in `work`, in the place of the one before, with what was taken out of it; one that is too
/// large is not kept.
///
/// # Errors
/// Where it can't be moved or written.
pub(super) fn keep(
    folder: &StageFolder,
    request: &Request,
    launch: &Launch,
    work: &Path,
) -> Result<()> {
    put_back(folder, request);
    let kept = work.join("failed");
    let _ = remove_folder(&kept);
    if own_bytes(&folder.path) > KEPT {
        return Ok(());
    }
    super::make(&kept)?;
    super::move_to(&folder.path, &kept.join("folder"))?;
    let words = std::iter::once(&launch.program).chain(&launch.arguments);
    let command: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    for (name, text) in [
        ("request.json", serde_json::to_vec_pretty(request)?),
        ("command.json", serde_json::to_vec_pretty(&command)?),
    ] {
        let path = kept.join(name);
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

/// Puts what was taken aside back where the program wrote it, as far as it is still there.
fn put_back(folder: &StageFolder, request: &Request) {
    // What was made in the project was copied.
    if folder.project.is_some() {
        return;
    }
    for output in &request.outputs {
        let path = match is_glob(&output.file) {
            true => fixed_part(&output.file),
            false => &output.file,
        };
        give_back(&folder.aside.join(place(output)), &folder.path.join(path));
    }
}

fn give_back(from: &Path, to: &Path) {
    if !to.is_dir() || !from.is_dir() {
        // What is there already was copied.
        if fs::symlink_metadata(to).is_err() {
            let _ = to.parent().map(super::make);
            let _ = super::move_to(from, to);
        }
        return;
    }
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        give_back(&entry.path(), &to.join(entry.file_name()));
    }
}

/// What lies in a folder and nowhere else, in bytes.
fn own_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match fs::symlink_metadata(entry.path()) {
        Ok(stat) if stat.is_dir() => own_bytes(&entry.path()),
        Ok(stat) if stat.nlink() == 1 => stat.len(),
        _ => 0,
    });
    sizes.sum()
}

/// Whether a line says that something is not there: any other may hold the name of a file as a word.
fn tells_of_missing(line: &str) -> bool {
    const WORDS: [&str; 10] = [
        "no such file",
        "not found",
        "can't open",
        "cannot open",
        "can't find",
        "cannot find",
        "does not exist",
        "doesn't exist",
        "no module named",
        "enoent",
    ];
    let line = line.to_lowercase();
    WORDS.iter().any(|words| line.contains(words))
}

/// A file that the last lines of a log name, which the project has and the stage did not declare: said with the line that
/// declares it.
pub(super) fn missed(request: &Request, tail: &[String]) -> Option<String> {
    let declared = |path: &Path| {
        request.inputs.iter().any(|input| match &input.source {
            Source::Path { paths, .. } => paths.iter().any(|found| path.starts_with(found)),
            _ => false,
        })
    };
    let is_text =
        |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '(' | ')' | ',' | '‘' | '’');
    // A folder of which a part is declared lies there.
    let has_declared = |path: &Path| {
        request.inputs.iter().any(|input| match &input.source {
            Source::Path { paths, .. } => paths.iter().any(|found| found.starts_with(path)),
            _ => false,
        })
    };
    for line in tail.iter().rev().filter(|line| tells_of_missing(line)) {
        let mut names: Vec<String> = line
            .split(is_text)
            .map(|word| {
                word.trim_matches([':', ';', '[', ']'])
                    .trim_end_matches('.')
            })
            .map(|word| word.trim_start_matches("./").to_string())
            .collect();
        // Python says which module it did not find, not which file.
        if let Some((_, rest)) = line.split_once("No module named '") {
            let module = rest
                .split('\'')
                .next()
                .unwrap_or_default()
                .replace('.', "/");
            let top = module.split('/').next().unwrap_or_default().to_string();
            names = vec![format!("{module}.py"), module, format!("{top}.py"), top];
            let beside = request.inputs.iter().flat_map(|input| match &input.source {
                Source::Path { paths, .. } => paths.clone(),
                _ => Vec::new(),
            });
            let beside: Vec<PathBuf> = beside
                .filter_map(|path| Some(path.parent()?.into()))
                .collect();
            let named = names.clone();
            names.extend(beside.iter().flat_map(|folder| {
                let inside = folder.strip_prefix(&request.folder).unwrap_or(folder);
                named
                    .iter()
                    .map(move |name| inside.join(name).display().to_string())
            }));
        }
        for name in names.iter().filter(|name| name.len() > 1) {
            let inside = Path::new(name.as_str());
            let inside = inside
                .strip_prefix(crate::process::stage_folder())
                .unwrap_or(inside);
            let path = request.folder.join(inside);
            let mut outputs = request.outputs.iter();
            if is_inside(inside)
                && path.exists()
                && !declared(&path)
                && !has_declared(&path)
                && !outputs.any(|output| Path::new(&output.file) == inside)
            {
                let name = inside.display();
                return Some(format!(
                    "the project has `{name}`, and the stage does not declare it: inputs = {{ NAME = {{ path = \"{name}\" }} }} lays it \
                     into its folder"
                ));
            }
        }
    }
    None
}
