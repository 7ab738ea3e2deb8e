//! What stages make: under which role, whether it is a folder, and which of it has the figures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flow_plan::workflow::is_glob;

use super::graph::{Graph, Place, is_in};
use super::values::{Piece, pieces};
use crate::failure::Failure;

/// An output of all instances of a stage.
pub(super) struct Output {
    pub role: String,
    /// Of each instance.
    pub paths: Vec<Place>,
    pub is_folder: bool,
    /// Whether nothing says that it is a folder, or a file.
    pub is_guess: bool,
}

/// How the outputs of a group stand in the workflow.
#[derive(Clone, Default)]
pub(super) struct Outputs {
    /// Role and path, by the number of the output; none where it lies elsewhere.
    pub named: Vec<Option<(String, String)>>,
    pub notes: Vec<String>,
}

/// The outputs of all stages; `folder` is that of the dvc.yaml.
pub(super) fn read(graph: &Graph<'_>, folder: &Path) -> Result<Vec<Vec<Output>>, Failure> {
    let mut all = Vec::new();
    let lock = lock(folder);
    let mut known = Vec::new();
    for plot in &graph.project.plots {
        let files = plot.files.iter().map(|(file, _)| file);
        for file in files.chain([&plot.name]) {
            known.extend(graph.top_place(file).ok());
        }
    }
    for metrics in &graph.project.metrics {
        known.push(graph.top_place(metrics)?);
    }
    for (number, stage) in graph.project.stages.iter().enumerate() {
        for instance in 0..graph.instances[number].len() {
            for dep in &stage.deps {
                known.push(graph.place_of(number, instance, dep)?);
            }
        }
    }
    for (number, stage) in graph.project.stages.iter().enumerate() {
        let mut roles = BTreeSet::new();
        let mut outputs = Vec::new();
        for out in &stage.outs {
            let mut paths = Vec::new();
            let mut is_folder = out.path.value.ends_with('/').then_some(true);
            for instance in 0..graph.instances[number].len() {
                let place = graph.place_of(number, instance, &out.path)?;
                if let Place::Inside(path) = &place {
                    let written = graph.resolved(number, instance, &out.path)?;
                    let locked =
                        lock.get(&(graph.instances[number][instance].name.clone(), written));
                    is_folder = is_folder.or(locked.copied());
                    let there = graph.root.join(path);
                    is_folder = is_folder.or_else(|| there.exists().then(|| there.is_dir()));
                    let inner = |other: &Place| matches!(other, Place::Inside(other) if other != path && is_in(other, path));
                    is_folder = is_folder.or_else(|| known.iter().any(inner).then_some(true));
                }
                paths.push(place);
            }
            let last = out.path.value.rsplit('/').next().unwrap_or_default();
            outputs.push(Output {
                role: role_of(&out.path.value, &mut roles),
                paths,
                is_folder: is_folder.unwrap_or(!last.contains('.') && !out.is_metrics),
                is_guess: is_folder.is_none() && !last.contains('.') && !out.is_metrics,
            });
        }
        all.push(outputs);
    }
    Ok(all)
}

/// How the outputs of a group are written.
pub(super) fn written(graph: &Graph<'_>, at: usize, paths: &[Place]) -> Result<Outputs, Failure> {
    let group = &graph.groups[at];
    let mut all = Outputs::default();
    let (mut figures, mut more) = (None, Vec::new());
    for (number, out) in graph.stage(group).outs.iter().enumerate() {
        let output = &graph.outputs[group.stage][number];
        let Place::Inside(path) = &paths[number] else {
            let path = &out.path.value;
            all.notes.push(format!(
                "{path} lies elsewhere: flow keeps what lies in the stage's folder. Let the program write there."
            ));
            all.named.push(None);
            continue;
        };
        if out.persist {
            all.notes.push(format!(
                "{path} stays in DVC from one run to the next (persist). Here it is not there when the stage starts: \
                 `checkpoints` is a folder that stays, of the attempts at one result."
            ));
        }
        if out.checkpoint {
            all.notes.push(format!(
                "{path} is a checkpoint in DVC: see `checkpoints` in docs/programs.md."
            ));
        }
        if let Some(desc) = &out.desc {
            all.notes.push(format!("{path}: {desc}"));
        }
        if output.is_guess {
            let (what, end) = if output.is_folder {
                ("a folder", "/")
            } else {
                ("a file", "")
            };
            all.notes.push(format!(
                "Whether {path} is a file or a folder, neither dvc.lock nor the project says: \"{path}{end}\" is {what}."
            ));
        }
        let mut role = output.role.clone();
        let is_figures = |path: &str| {
            [".json", ".yaml", ".yml", ".toml"]
                .iter()
                .any(|end| path.ends_with(end))
        };
        let first = &output.paths[group.of[0]];
        let named = |inner: bool| -> Result<Option<String>, Failure> {
            for metrics in &graph.project.metrics {
                if let (Place::Inside(file), Place::Inside(out)) =
                    (graph.top_place(metrics)?, first)
                    && is_in(&file, out)
                    && (file != *out) == inner
                {
                    return Ok(Some(file));
                }
            }
            Ok(None)
        };
        if (out.is_metrics || named(false)?.is_some()) && !output.is_folder && is_figures(path) {
            match &figures {
                None => role = "metrics".into(),
                Some(_) => more.push(path.clone()),
            }
            figures = Some(role.clone());
        } else if let (Some(file), true, None) = (named(true)?, output.is_folder, &figures) {
            let inner = first_part(&file, first);
            let drawn = graph.project.plots.iter().any(|plot| {
                let files = plot.files.iter().map(|(file, _)| file).chain([&plot.name]);
                files.into_iter().any(|file| {
                    matches!((graph.top_place(file), first), (Ok(Place::Inside(file)), Place::Inside(out)) if is_in(&file, out))
                })
            });
            match (inner.as_str(), drawn) {
                // Its figures are those of `metrics.json`, whatever else lies there.
                ("metrics.json", _) => role = "dvclive".into(),
                (_, false) => role = "metrics".into(),
                _ => all.notes.push(format!(
                    "The figures of {file} are in no table here: let the program write them beside {path}, as an output \
                     `metrics`."
                )),
            }
            if role != output.role {
                figures = Some(role.clone());
            }
        }
        let end = if output.is_folder { "/" } else { "" };
        if is_glob(path) {
            all.notes
                .push(format!("In {path}, `*`, `?` and `[` make a glob here."));
        }
        all.named.push(Some((role, format!("{path}{end}"))));
    }
    if !more.is_empty() {
        all.notes.push(format!(
            "One output has a stage's figures here. Those of {} too: a glob, as in metrics = \"eval/*.json\".",
            more.join(", ")
        ));
    }
    Ok(all)
}

fn first_part(file: &str, out: &Place) -> String {
    match out {
        Place::Inside(out) => file
            .strip_prefix(out.as_str())
            .unwrap_or(file)
            .trim_start_matches('/')
            .into(),
        Place::Outside(_) => file.into(),
    }
}

/// A role of its own, after the last part of a path.
pub(super) fn role_of(path: &str, taken: &mut BTreeSet<String>) -> String {
    let last = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let plain: String = match pieces(last) {
        Ok(pieces) => pieces
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text),
                Piece::Name(_) => None,
            })
            .collect(),
        Err(_) => last.into(),
    };
    let (stem, ending) = plain.split_once('.').unwrap_or((&plain, ""));
    let clean = |text: &str| {
        let kept: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '_' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        kept.trim_matches(['-', '_']).to_string()
    };
    let mut name = clean(stem);
    if name.is_empty() {
        name = clean(ending);
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name = format!("file-{name}").trim_end_matches('-').into();
    }
    // These mean something to flow.
    if matches!(&name[..], "view" | "metrics" | "dvclive") {
        name += "-file";
    }
    let more = [format!("{name}-{}", clean(ending))]
        .into_iter()
        .filter(|_| !ending.is_empty());
    let more = more.chain((2..).map(|n| format!("{name}-{n}")));
    let mut names = std::iter::once(name.clone()).chain(more);
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

/// What dvc.lock knows of outputs: by stage and path, whether each is a folder.
fn lock(folder: &Path) -> BTreeMap<(String, String), bool> {
    let mut known = BTreeMap::new();
    let text = std::fs::read_to_string(folder.join("dvc.lock")).unwrap_or_default();
    let lock = flow_plan::workflow::yaml_data(&text).unwrap_or_default();
    for (name, stage) in lock["stages"].as_object().into_iter().flatten() {
        for out in stage["outs"].as_array().into_iter().flatten() {
            if let Some(path) = out["path"].as_str() {
                let is_folder = out["md5"].as_str().is_some_and(|md5| md5.ends_with(".dir"));
                known.insert(
                    (name.clone(), path.to_string()),
                    is_folder || out.get("nfiles").is_some(),
                );
            }
        }
    }
    known
}
