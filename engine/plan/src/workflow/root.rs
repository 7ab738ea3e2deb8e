//! `[workflow] root`: the folder that the paths of stages start from.

use std::path::{Component, Path, PathBuf};

use super::folder;
use super::node::NodeValue;
use super::problem::{Problem, Problems};
use super::tree::{Entries, find_at};

/// The root that a tree names, else the folder of its file.
pub(super) fn resolve(tree: &Entries, path: &Path, problems: &mut Problems) -> PathBuf {
    let folder = folder(path);
    let Some(node) = find_at(tree, ["workflow", "root"]) else {
        return folder.to_path_buf();
    };
    // That it is no string is said where the tree is read.
    let NodeValue::String(text) = &node.value else {
        return folder.to_path_buf();
    };
    let root = real(&folder.join(text));
    if !real(folder).starts_with(&root) {
        let problem = Problem::BadRoot { root: text.clone() };
        problems.add(problem, node.span);
        return folder.to_path_buf();
    }
    root
}

/// A folder without links and `..`. An old text may be read when its folder is gone: then by the path alone.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let mut real = PathBuf::new();
        for part in path.components() {
            match part {
                Component::ParentDir => {
                    real.pop();
                }
                Component::CurDir => {}
                part => real.push(part),
            }
        }
        real
    })
}
