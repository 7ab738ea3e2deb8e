//! What the user's own files are to the layout of a stage's folder, and what is in whose way there.

use std::fs;
use std::io;
use std::path::{Component, Path};

use flow_plan::plan::layout::{Form, Found, conflicts};
use flow_plan::plan::{Files, Folder, Input, Origin, Plan, Task, is_glob};
use flow_plan::workflow::places::Owner;
use flow_plan::workflow::problem::{Problem, Problems};
use petgraph::graph::NodeIndex;

use super::external::{External, Externals, Reader, leave_out};

/// Notes what is in something else's way in the folders of these instances, where only the user's files tell: what globs match,
/// and what lies in a folder whose content goes into the stage's folder itself. All else the plan has told.
pub fn check(plan: &Plan, nodes: &[NodeIndex], externals: &Externals, problems: &mut Problems) {
    for instance in nodes.iter().map(|&node| &plan.graph[node]) {
        let Task::Command(program) = &instance.task else {
            continue;
        };
        let tells = |input: &Input| match &input.origin {
            Origin::Path { files, .. } => {
                let mut patterns = files.patterns.iter();
                patterns.any(|path| is_glob(path) || is_spread(input.place.as_deref(), path))
            }
            _ => false,
        };
        if program.folder == Folder::Project || !instance.inputs.iter().any(tells) {
            continue;
        }
        // What can't be read is a problem of its own.
        let own = |input: &Input, files: &Files| {
            let external = externals.get(files, Reader::Program);
            external.map_or_else(Vec::new, |external| {
                found(input, files, external, externals.root())
            })
        };
        let found = conflicts(
            &plan.graph,
            &instance.inputs,
            program,
            &instance.outputs,
            own,
        );
        for conflict in found {
            let spans = instance
                .inputs
                .iter()
                .filter_map(|input| match &input.origin {
                    Origin::Path { span, .. } => Some((Owner::Input(input.role.clone()), *span)),
                    _ => None,
                });
            // Who the user's files belong to may be either of the two.
            let of = |owner: &Owner| spans.clone().find(|(known, _)| known == owner);
            let place = of(conflict.owner()).or_else(|| conflict.other().and_then(of));
            problems.add_at(Problem::Place { conflict }, place.map(|(_, span)| span));
        }
    }
}

/// Whether the content of a folder at this path goes into the stage's folder itself.
pub fn is_spread(place: Option<&str>, path: &str) -> bool {
    match place {
        Some(place) => place == ".",
        None => Path::new(path)
            .components()
            .all(|part| part == Component::CurDir),
    }
}

/// A path of the user's as the layout takes it: relative to the root, or absolute; none where it is not UTF-8.
pub fn named(root: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(root).unwrap_or(path);
    Some(below.to_str()?.trim_end_matches('/').to_string())
}

/// The names in a folder of the user's that a program finds there, in order.
///
/// # Errors
/// Where the folder can't be listed.
pub fn names(files: &Files, folder: &Path) -> io::Result<Vec<String>> {
    let leave_out = leave_out(files);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !leave_out(&name, entry.path().is_dir()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn found(input: &Input, files: &Files, external: &External, root: &Path) -> Vec<Found> {
    let all = external.paths.iter().zip(&external.contents);
    let found = all.filter_map(|(path, content)| {
        let name = named(root, path)?;
        let form = match content.folder {
            false => Form::File,
            true if is_spread(input.place.as_deref(), &name) => {
                Form::Folder(names(files, path).ok()?)
            }
            true => Form::Folder(Vec::new()),
        };
        Some(Found { path: name, form })
    });
    found.collect()
}
