//! A DVC project as a workflow: what `flow new --from dvc.yaml` writes.
//!
//! - `file`: YAML, and what is wrong with it, at its line.
//! - `project`: a dvc.yaml as it is written.
//! - `values`: what `${…}` stands for there; `axes`: `foreach` and `matrix`.
//! - `graph`: which stages keep their instances together, and where each path comes from.
//! - `outputs`, `stages`, `plots`: the workflow's text; `write`: values and comments in it.
//!
//! DVC's own words for all of it: <https://dvc.org/doc/user-guide/project-structure/dvcyaml-files>.

mod axes;
mod file;
mod graph;
mod outputs;
mod plots;
mod project;
mod stages;
mod values;
mod write;

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::failure::{Failure, wrong};
use file::File;
use graph::{Graph, Place, Stop};
use outputs::Outputs;
use project::Project;
use stages::Tracked;
use values::Values;

/// A workflow that does what a DVC project does.
pub struct Made {
    /// Its text.
    pub text: String,
    /// Data that `.dvc` files track and that is not there: the files.
    pub to_pull: Vec<String>,
}

/// Makes a workflow of the dvc.yaml at `from`, to be written to `output`.
///
/// # Errors
/// What is wrong in the project, with file and line.
pub fn workflow(from: &Path, output: &Path) -> Result<Made, Failure> {
    let absolute = |path: &Path| {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let found = folder.canonicalize();
        found.map_err(|error| wrong(format!("{}: {error}", folder.display())))
    };
    let (folder, beside) = (absolute(from)?, absolute(output)?);
    let project = Project::read(File::read(from)?)?;
    let named = project.stages.iter().flat_map(|stage| &stage.params);
    let named = named
        .filter_map(|params| params.file.as_ref())
        .map(|file| file.value.as_str());
    let named = named
        .clone()
        .find(|path| values::is_plain_file(path) && !path.contains("${"));
    let values = Values::read(&folder, &project.file, &project.vars, named)?;
    let mut graph = Graph::new(&project, &values, &folder, &beside)?;
    let tracked = tracked(&folder, &graph.base);
    let (stages, outputs, (plots, unmade)) = loop {
        match once(&mut graph, &tracked)? {
            Ok(whole) => break whole,
            Err(apart) => apart.into_iter().rev().for_each(|at| graph.part(at)),
        }
    };
    let mut body = String::new();
    for (stage, plots) in stages.iter().zip(&plots) {
        body += &format!("\n{stage}{plots}");
    }
    let mut deliver = String::new();
    for (group, outputs) in graph.groups.iter().zip(&outputs) {
        for (role, path) in outputs.named.iter().flatten() {
            let (path, from) = (path.trim_end_matches('/'), format!("{}.{role}", group.name));
            deliver += &format!("{} = {}\n", write::key(path), write::string(&from));
        }
    }
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let mut text = write::comment(&format!(
        "Made of {name} by `flow new --from`; docs/from-dvc.md says what stands for what. A stage works in a folder of its \
         own, which holds what it declares: what a script imports has to stand among its inputs too. Lines run in strict \
         bash (-euo pipefail)."
    ));
    text += "\n[workflow]\nlanguage = 2\n";
    if let Some(root) = up(&beside, &graph.root) {
        text += &format!("root = {}\n", write::string(&root));
    }
    if let Some((path, _)) = &values.file
        && let Place::Inside(path) = graph.place("", path)
    {
        let path = match up(&beside, &graph.root) {
            Some(root) => format!("{root}/{path}"),
            None => path,
        };
        text += &format!("params = {}\n", write::string(&path));
    }
    text += &params(&values, &body);
    for section in &project.others {
        let instead = match section.as_str() {
            "artifacts" => "`flow get` and [deliver] name results",
            "params" => "all of the file of params is known",
            _ => "a stage fetches data",
        };
        text += &format!(
            "\n{}",
            write::comment(&format!(
                "DVC's `{section}` has no counterpart here: {instead}."
            ))
        );
    }
    if !unmade.is_empty() {
        text += &format!("\n{unmade}");
    }
    text += &body;
    if !deliver.is_empty() {
        text += &format!(
            "\n{}[deliver]\n{deliver}",
            write::comment(
                "What DVC leaves in the project, flow puts there too. What lies there already with another content it \
                 leaves, and says so: move that away once."
            )
        );
    }
    let there = |(data, _): &(&String, &String)| !graph.root.join(data).exists();
    let to_pull = tracked
        .iter()
        .filter(there)
        .filter(|(data, _)| body.contains(data.as_str()));
    Ok(Made {
        to_pull: to_pull.map(|(_, file)| file.clone()).collect(),
        text,
    })
}

/// The stages, their outputs, their plots; or the groups that have to be taken apart.
type Whole = (Vec<String>, Vec<Outputs>, (Vec<String>, String));

fn once(graph: &mut Graph<'_>, tracked: &Tracked) -> Result<Result<Whole, Vec<usize>>, Failure> {
    let mut apart = Vec::new();
    graph.written = Vec::new();
    for (at, group) in graph.groups.iter().enumerate() {
        match graph.paths(group) {
            Ok(paths) => graph.written.push(paths),
            Err(Stop::Apart) => apart.push(at),
            Err(Stop::Wrong(failure)) => return Err(failure),
        }
    }
    if !apart.is_empty() {
        return Ok(Err(apart));
    }
    let mut made = Vec::new();
    for (at, (_, paths)) in graph.written.iter().enumerate() {
        made.push(outputs::written(graph, at, paths)?);
    }
    let mut texts = Vec::new();
    for at in 0..graph.groups.len() {
        match stages::written(graph, &made, tracked, at) {
            Ok(text) => texts.push(text),
            Err(Stop::Apart) => apart.push(at),
            Err(Stop::Wrong(failure)) => return Err(failure),
        }
    }
    if !apart.is_empty() {
        return Ok(Err(apart));
    }
    let plots = plots::written(graph, &made)?;
    Ok(Ok((texts, made, plots)))
}

/// `[params]`: what `vars` says and some template uses.
fn params(values: &Values, body: &str) -> String {
    let mut text = String::new();
    for (name, value, from) in &values.vars {
        let used = body.contains(&format!("${{{name}}}")) || body.contains(&format!("${{{name}."));
        let Some(value) = write::inline_value(value).filter(|_| used) else {
            continue;
        };
        if from != "dvc.yaml" {
            text += &write::comment(&format!(
                "A copy of what {from} has: an edit there does not reach it."
            ));
        }
        text += &format!("{} = {value}\n", write::key(name));
    }
    match text.is_empty() {
        true => text,
        false => format!("\n[params]\n{text}"),
    }
}

/// The way from a folder up to one around it.
fn up(from: &Path, to: &Path) -> Option<String> {
    let depth = from.strip_prefix(to).ok()?.components().count();
    (depth > 0).then(|| vec![".."; depth].join("/"))
}

/// What the `.dvc` files below a folder track.
fn tracked(folder: &Path, base: &str) -> Tracked {
    let hidden = |name: &str| name.starts_with('.') && name.len() > 1;
    let files = WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = files
        .filter_entry(|entry| entry.depth() == 0 || !hidden(&entry.file_name().to_string_lossy()));
    let mut tracked = Tracked::new();
    for entry in files.flatten() {
        let path = entry.path();
        if !entry.file_type().is_file() || path.extension().is_none_or(|ending| ending != "dvc") {
            continue;
        }
        let Ok(Ok(read)) =
            std::fs::read_to_string(path).map(|text| flow_plan::workflow::yaml_data(&text))
        else {
            continue;
        };
        let inside = |path: &Path| {
            let inside = path.strip_prefix(folder).unwrap_or(path);
            Path::new(base).join(inside).to_string_lossy().into_owned()
        };
        let around: PathBuf = path
            .parent()
            .unwrap_or(folder)
            .join(read["wdir"].as_str().unwrap_or(""));
        for out in read["outs"].as_array().into_iter().flatten() {
            if let Some(data) = out["path"].as_str() {
                tracked.insert(inside(&around.join(data)), inside(path));
            }
        }
    }
    tracked
}
