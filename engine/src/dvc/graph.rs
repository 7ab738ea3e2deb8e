//! The stages of a dvc.yaml as those of a workflow: which of them stay one stage with axes, and where each path comes from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flow_plan::workflow::Located;
use serde_json::{Map, Value};

use super::axes::{self, Axis, Instance};
use super::outputs::{self, Output};
use super::project::{Project, Stage};
use super::values::{self, Piece, Values, is_plain, leaves, of_vars, pieces};
use crate::failure::Failure;

/// Why a group can't be written as it is.
pub(super) enum Stop {
    /// Each of its instances needs a stage of its own.
    Apart,
    Wrong(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Wrong(failure)
    }
}

/// A stage of the workflow: a stage of DVC's with all its instances, or one of them.
#[derive(Clone)]
pub(super) struct Group {
    pub name: String,
    /// The stage of DVC's.
    pub stage: usize,
    /// Its instances.
    pub of: Vec<usize>,
    /// None where it is one instance.
    pub axes: Vec<Axis>,
}

/// A path of DVC's.
#[derive(Clone, PartialEq)]
pub(super) enum Place {
    /// Below the root, relative to it.
    Inside(String),
    /// A URL, or a path elsewhere.
    Outside(String),
}

/// An output of one instance: the stage, the output and the instance by their numbers.
pub(super) type Made = (usize, usize, usize);

/// Where a path comes from.
#[derive(Clone, PartialEq)]
pub(super) enum Origin {
    Made(Made),
    File(Place),
}

pub(super) struct Graph<'a> {
    pub project: &'a Project,
    pub values: &'a Values,
    /// Where paths begin, absolute.
    pub root: PathBuf,
    /// The folder of the dvc.yaml, relative to the root.
    pub base: String,
    pub instances: Vec<Vec<Instance>>,
    /// What `vars` of a stage says.
    vars: Vec<Map<String, Value>>,
    pub outputs: Vec<Vec<Output>>,
    pub groups: Vec<Group>,
    /// How each output of each group is written, and the folder that it works in.
    pub written: Vec<(String, Vec<Place>)>,
}

impl<'a> Graph<'a> {
    /// `folder` is that of the dvc.yaml, absolute; paths will begin there or further up, where `beside` is.
    pub fn new(
        project: &'a Project,
        values: &'a Values,
        folder: &Path,
        beside: &Path,
    ) -> Result<Graph<'a>, Failure> {
        let mut graph = Graph {
            project,
            values,
            root: folder.to_path_buf(),
            base: String::new(),
            instances: Vec::new(),
            vars: Vec::new(),
            outputs: Vec::new(),
            groups: Vec::new(),
            written: Vec::new(),
        };
        let (mut known, mut axes) = (Vec::new(), Vec::new());
        for stage in &project.stages {
            let mut vars = Map::new();
            for node in &stage.vars {
                vars.extend(of_vars(folder, &project.file, node)?.0);
            }
            graph.vars.push(vars);
            let (own, instances) = axes::read(&project.file, stage, values, &mut known)?;
            axes.push(own);
            graph.instances.push(instances);
        }
        graph.begin(folder, beside)?;
        for (number, stage) in project.stages.iter().enumerate() {
            let all: Vec<usize> = (0..graph.instances[number].len()).collect();
            let name = graph.free_name(&stage.name.value);
            graph.groups.push(Group {
                name,
                stage: number,
                of: all,
                axes: std::mem::take(&mut axes[number]),
            });
        }
        graph.outputs = outputs::read(&graph, folder)?;
        Ok(graph)
    }

    /// Finds the root: the folder around all that is named.
    fn begin(&mut self, folder: &Path, beside: &Path) -> Result<(), Failure> {
        let mut up = 0;
        for (number, stage) in self.project.stages.iter().enumerate() {
            for instance in 0..self.instances[number].len() {
                let wdir = self.wdir(number, instance)?;
                let outs = stage.outs.iter().map(|out| &out.path);
                let files = stage
                    .params
                    .iter()
                    .filter_map(|params| params.file.as_ref());
                for path in stage.deps.iter().chain(outs).chain(files) {
                    let path = self.resolved(number, instance, path)?;
                    if !path.contains("://") && !path.starts_with('/') {
                        up = up.max(climb(&wdir, &path));
                    }
                }
                up = up.max(climb(&wdir, ""));
            }
        }
        let mut root = folder;
        while up > 0 || !beside.starts_with(root) {
            up = up.saturating_sub(1);
            root = root.parent().unwrap_or(root);
            if root.parent().is_none() {
                let message = "no folder holds the dvc.yaml, all that it names, and the workflow";
                return Err(crate::failure::wrong(message));
            }
        }
        self.base = folder
            .strip_prefix(root)
            .unwrap_or(folder)
            .to_string_lossy()
            .into_owned();
        self.root = root.to_path_buf();
        Ok(())
    }

    pub fn stage(&self, group: &Group) -> &'a Stage {
        &self.project.stages[group.stage]
    }

    fn wdir(&self, stage: usize, instance: usize) -> Result<String, Failure> {
        match &self.project.stages[stage].wdir {
            Some(text) => self.resolved(stage, instance, text),
            None => Ok(String::new()),
        }
    }

    /// A path as DVC has it for one instance.
    pub fn place_of(
        &self,
        stage: usize,
        instance: usize,
        path: &Located<String>,
    ) -> Result<Place, Failure> {
        let wdir = self.wdir(stage, instance)?;
        Ok(self.place(&wdir, &self.resolved(stage, instance, path)?))
    }

    /// A path that stands beside the stages.
    pub fn top_place(&self, path: &Located<String>) -> Result<Place, Failure> {
        let text = self.text_with(path, |name| self.values.find(name))?;
        Ok(self.place("", &text))
    }

    pub fn place(&self, wdir: &str, path: &str) -> Place {
        if path.contains("://") {
            return Place::Outside(path.into());
        }
        let path = match Path::new(path).strip_prefix(&self.root) {
            Ok(inside) => return Place::Inside(inside.to_string_lossy().into_owned()),
            Err(_) if path.starts_with('/') => return Place::Outside(path.into()),
            Err(_) => path,
        };
        let mut parts = Vec::new();
        for part in [&self.base, wdir, path]
            .into_iter()
            .flat_map(|path| path.split('/'))
        {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        Place::Inside(parts.join("/"))
    }

    fn lookup(&self, stage: usize, instance: usize, name: &str) -> Option<&Value> {
        let locals = &self.instances[stage][instance].locals;
        let own = values::at(locals, name).or_else(|| values::at(&self.vars[stage], name));
        own.or_else(|| self.values.find(name))
    }

    /// A text as DVC has it for one instance.
    pub fn resolved(
        &self,
        stage: usize,
        instance: usize,
        text: &Located<String>,
    ) -> Result<String, Failure> {
        self.text_with(text, |name| self.lookup(stage, instance, name))
    }

    fn text_with<'v>(
        &self,
        text: &Located<String>,
        find: impl Fn(&str) -> Option<&'v Value>,
    ) -> Result<String, Failure> {
        let wrong = |message: String| self.project.file.wrong(text.span, message);
        let mut whole = String::new();
        for piece in pieces(&text.value).map_err(wrong)? {
            match piece {
                Piece::Text(text) => whole += &text,
                Piece::Name(name) => {
                    let value = find(&name).ok_or_else(|| wrong(unknown(&name)))?;
                    let value = values::text(value);
                    whole += &value
                        .ok_or_else(|| wrong(format!("`${{{name}}}` is a list or a table")))?;
                }
            }
        }
        Ok(whole)
    }

    /// A text as a workflow has it, for all instances of a group; `command` takes the names of what a command has
    /// as it is now.
    pub fn template(
        &self,
        group: &Group,
        text: &Located<String>,
        mut command: Option<&mut BTreeSet<String>>,
    ) -> Result<String, Stop> {
        let (stage, instance) = (group.stage, group.of[0]);
        let wrong = |message: String| Stop::Wrong(self.project.file.wrong(text.span, message));
        let pieces = pieces(&text.value).map_err(wrong)?;
        let mut whole = String::new();
        let mut closing = false;
        for (i, piece) in pieces.iter().enumerate() {
            let name = match piece {
                Piece::Text(text) => {
                    whole += &text[usize::from(closing)..].replace("${", "$${");
                    closing = false;
                    continue;
                }
                Piece::Name(name) => name,
            };
            let value = self
                .lookup(stage, instance, name)
                .ok_or_else(|| wrong(unknown(name)))?;
            let next = match pieces.get(i + 1) {
                Some(Piece::Text(next)) => next.chars().next(),
                _ => None,
            };
            let quoted = command.is_some()
                && next.is_some_and(|next| matches!(next, '"' | '\'') && whole.ends_with(next));
            let is_local = values::at(&self.instances[stage][instance].locals, name).is_some();
            let is_own = is_local || values::at(&self.vars[stage], name).is_some();
            if is_local && !group.axes.is_empty() {
                let of = group.of.iter().map(|&i| self.instances[stage][i].clone());
                let found = axes::reference(&group.axes, &of.collect::<Vec<_>>(), name);
                whole += &found.ok_or(Stop::Apart)?;
                continue;
            }
            let reference = self.values.reference(name).filter(|_| !is_own);
            match (value, reference, &mut command) {
                (Value::Object(table), _, Some(lost)) => {
                    whole += &self.options(name, table, is_own, lost);
                }
                (Value::Array(_) | Value::Object(_), ..) => {
                    return Err(wrong(format!("`${{{name}}}` is a list or a table")));
                }
                // Flow quotes each value for the shell as one word.
                (_, Some(reference), _) if quoted => {
                    whole.pop();
                    whole += &reference;
                    closing = true;
                }
                (Value::String(text), Some(_), Some(lost)) if !is_plain(text) && !is_path(text) => {
                    lost.insert(name.clone());
                    whole += &text.replace("${", "$${");
                }
                (_, Some(reference), _) => whole += &reference,
                (value, None, command) => {
                    if let (Some(lost), false) = (command, is_local) {
                        lost.insert(name.clone());
                    }
                    whole += &values::text(value).unwrap_or_default().replace("${", "$${");
                }
            }
        }
        Ok(whole)
    }

    /// A table in a command: DVC makes options of it.
    fn options(
        &self,
        name: &str,
        table: &Map<String, Value>,
        is_own: bool,
        lost: &mut BTreeSet<String>,
    ) -> String {
        let mut words = Vec::new();
        for (key, value) in leaves("", table) {
            let whole = format!("{name}.{key}");
            let reference = self.values.reference(&whole).filter(|_| !is_own);
            let literal = |value: &Value| {
                let text = values::text(value).unwrap_or_default();
                shlex::try_quote(&text)
                    .map_or(text.clone(), |text| text.into_owned())
                    .replace("${", "$${")
            };
            match (value, reference) {
                (Value::Bool(truth), _) => {
                    lost.insert(whole);
                    words.extend(truth.then(|| format!("--{key}")));
                }
                (Value::Array(items), None) => {
                    lost.insert(whole);
                    words.extend((!items.is_empty()).then(|| format!("--{key}")));
                    words.extend(items.iter().map(literal));
                }
                (Value::Array(items), Some(_)) if items.is_empty() => drop(lost.insert(whole)),
                (_, Some(reference)) => words.push(format!("--{key} {reference}")),
                (value, None) => {
                    lost.insert(whole);
                    words.push(format!("--{key} {}", literal(value)));
                }
            }
        }
        words.join(" ")
    }

    /// Takes a group apart into one for each of its instances.
    pub fn part(&mut self, at: usize) {
        let group = self.groups.remove(at);
        for (i, &instance) in group.of.iter().enumerate() {
            let name = self.free_name(&self.instances[group.stage][instance].name);
            let own = Group {
                name,
                stage: group.stage,
                of: vec![instance],
                axes: Vec::new(),
            };
            self.groups.insert(at + i, own);
        }
    }

    fn free_name(&self, name: &str) -> String {
        let allowed = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') {
                c
            } else {
                '-'
            }
        };
        let mut name: String = name.chars().map(allowed).collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            name = format!("stage-{name}");
        }
        let free = |name: &String| self.groups.iter().all(|group| group.name != *name);
        let more = (2..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.clone()).chain(more);
        names.find(free).unwrap_or_default()
    }

    /// The group that an instance belongs to.
    pub fn group_of(&self, (stage, _, instance): Made) -> usize {
        let found = self
            .groups
            .iter()
            .position(|group| group.stage == stage && group.of.contains(&instance));
        found.unwrap_or_default()
    }

    /// How the outputs of a group are written, and its folder.
    pub fn paths(&self, group: &Group) -> Result<(String, Vec<Place>), Stop> {
        let wdir = match &self.stage(group).wdir {
            Some(text) => self.template(group, text, None)?,
            None => String::new(),
        };
        let outs = self.stage(group).outs.iter();
        let outs = outs.map(|out| Ok(self.place(&wdir, &self.template(group, &out.path, None)?)));
        Ok((wdir.clone(), outs.collect::<Result<_, Stop>>()?))
    }

    /// Where a path comes from; more than one where it is a folder around outputs.
    pub fn origins(&self, reader: (usize, usize), place: &Place) -> Vec<Origin> {
        let Place::Inside(path) = place else {
            return vec![Origin::File(place.clone())];
        };
        let mut within = Vec::new();
        for made in self.all_made() {
            let Place::Inside(out) = self.made(made) else {
                continue;
            };
            if is_in(path, out) {
                return vec![Origin::Made(made)];
            }
            if is_in(out, path) && (made.0, made.2) != reader {
                within.push(made);
            }
        }
        if within.is_empty() {
            return vec![Origin::File(place.clone())];
        }
        let mut origins: Vec<_> = within.iter().copied().map(Origin::Made).collect();
        self.files_beside(path, &mut origins);
        origins
    }

    pub fn made(&self, (stage, out, instance): Made) -> &Place {
        &self.outputs[stage][out].paths[instance]
    }

    fn all_made(&self) -> impl Iterator<Item = Made> {
        let stages = self.outputs.iter().enumerate();
        stages.flat_map(|(stage, outs)| {
            outs.iter().enumerate().flat_map(move |(out, output)| {
                (0..output.paths.len()).map(move |instance| (stage, out, instance))
            })
        })
    }

    /// The user's own files in a folder where outputs lie too.
    fn files_beside(&self, folder: &str, origins: &mut Vec<Origin>) {
        let entries = std::fs::read_dir(self.root.join(folder))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            if name == ".gitignore" || name.ends_with(".dvc") {
                continue;
            }
            let path = format!("{folder}/{name}");
            let outs = self.all_made().filter_map(|made| match self.made(made) {
                Place::Inside(out) => Some(out),
                Place::Outside(_) => None,
            });
            let outs: Vec<_> = outs.collect();
            if outs.iter().any(|out| is_in(&path, out)) {
                continue;
            }
            match outs.iter().any(|out| is_in(out, &path)) {
                true => self.files_beside(&path, origins),
                false => origins.push(Origin::File(Place::Inside(path))),
            }
        }
    }
}

fn unknown(name: &str) -> String {
    format!("`${{{name}}}` is nothing that params, vars or `item` have")
}

/// Whether a path lies in another, or is it.
pub(super) fn is_in(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) || folder.is_empty()
}

fn is_path(text: &str) -> bool {
    text.split('/')
        .all(|part| part.is_empty() || is_plain(part) || matches!(part, "." | ".."))
}

/// How many folders up a path leads.
fn climb(wdir: &str, path: &str) -> usize {
    let (mut depth, mut up) = (0_usize, 0);
    for part in wdir.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if depth == 0 => up += 1,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    up
}
