//! The workflow of a folder, where none is named.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

/// What a workflow is called that needs no name.
const NAME: &str = "workflow.toml";

/// Why a folder has not one workflow that is meant.
#[derive(Debug, thiserror::Error)]
pub enum NoWorkflow {
    /// There is none.
    #[error("there is no workflow in {}: name one, or write a {NAME}", .0.display())]
    None(PathBuf),
    /// There are several.
    #[error("{} has no {NAME}, and several workflows; name one of {}", .0.display(), .1.join(", "))]
    Several(PathBuf, Vec<String>),
    /// It can't be looked at.
    #[error("{} can't be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, std::io::Error),
}

/// The workflow that is meant by a folder: `workflow.toml`, else the only one.
///
/// # Errors
/// Where there is none, or several.
pub fn of_folder(folder: &Path) -> Result<PathBuf, NoWorkflow> {
    // `x.toml`, and not `./x.toml`, as a person would write it.
    let path = |name: &str| match folder == Path::new(".") {
        true => PathBuf::from(name),
        false => folder.join(name),
    };
    if folder.join(NAME).is_file() {
        return Ok(path(NAME));
    }
    let unreadable = |error| NoWorkflow::Unreadable(folder.into(), error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if let Some(name) = name.to_str()
            && name.ends_with(".toml")
            && is_workflow(&folder.join(name))
        {
            found.push(name.to_string());
        }
    }
    found.sort();
    match &found[..] {
        [] => Err(NoWorkflow::None(folder.into())),
        [name] => Ok(path(name)),
        _ => Err(NoWorkflow::Several(folder.into(), found)),
    }
}

/// Whether a file has stages, or takes them from another.
pub fn is_workflow(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    // One that is damaged is a workflow all the same: what is wrong with it is said when it is read.
    let (table, _) = DeTable::parse_recoverable(&text);
    let mut keys = table.get_ref().keys();
    keys.any(|key| matches!(key.get_ref().as_ref(), "stages" | "include"))
}
