//! The stages of the workflow, one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flow_plan::workflow::Located;
use serde_json::{Map, Value};

use super::graph::{Graph, Group, Made, Origin, Place, Stop, is_in};
use super::outputs::{Outputs, role_of};
use super::project::Params;
use super::values::{has_null, is_plain_file};
use super::write::{comment, inline, key, string, table};
use crate::failure::Failure;

/// Data that `.dvc` files track: path and file, below the root.
pub(super) type Tracked = BTreeMap<String, String>;

/// One stage on its way into the workflow.
struct Writing<'g, 'a> {
    graph: &'g Graph<'a>,
    outputs: &'g [Outputs],
    tracked: &'g Tracked,
    group: &'g Group,
    notes: Vec<String>,
    roles: BTreeSet<String>,
    /// Role, and what stands behind it.
    inputs: Vec<(String, String)>,
    /// The paths that these lie at, and which of them are the user's own files.
    places: Vec<(String, bool)>,
}

/// The text of a stage, but for its plots.
pub(super) fn written(
    graph: &Graph<'_>,
    outputs: &[Outputs],
    tracked: &Tracked,
    at: usize,
) -> Result<String, Stop> {
    let group = &graph.groups[at];
    let stage = graph.stage(group);
    let mut writing = Writing {
        graph,
        outputs,
        tracked,
        group,
        notes: Vec::new(),
        roles: BTreeSet::new(),
        inputs: Vec::new(),
        places: Vec::new(),
    };
    let run = writing.command()?;
    for dep in &stage.deps {
        writing.dependency(dep)?;
    }
    let mut files = Vec::new();
    for params in &stage.params {
        writing.params(params, &mut files)?;
    }
    writing.named_in_command()?;
    let mut text = String::new();
    let mut notes = std::mem::take(&mut writing.notes);
    notes.extend(outputs[at].notes.iter().cloned());
    if let Some(desc) = &stage.desc {
        text += &comment(desc.trim());
    }
    if group.of.len() < graph.instances[group.stage].len() {
        let name = &graph.instances[group.stage][group.of[0]].name;
        text += &comment(&format!("DVC's {name}."));
    }
    if stage.always_changed {
        notes.push(format!(
            "DVC runs this stage each time (always_changed). Here `flow run --force {}` does.",
            group.name
        ));
    }
    for note in notes {
        text += &comment(&note);
    }
    text += &format!("[stages.{}]\n", group.name);
    if stage.frozen {
        text += &comment(
            "It is frozen in DVC. Run it once, then take the `#` away: its last result stands.",
        );
        text += "# frozen = true\n";
    }
    if !group.axes.is_empty() {
        let axes = group.axes.iter();
        let axes: Vec<_> = axes
            .map(|axis| (axis.name.clone(), axis.toml.clone()))
            .collect();
        text += &table("matrix", &axes);
    }
    text += &format!("run = {}\n", string(&run));
    text += &table("inputs", &writing.inputs);
    text += &table("files", &files);
    let outs = outputs[at].named.iter().flatten();
    let outs: Vec<_> = outs
        .map(|(role, path)| (role.clone(), string(path)))
        .collect();
    text += &table("outputs", &outs);
    Ok(text)
}

impl Writing<'_, '_> {
    fn command(&mut self) -> Result<String, Stop> {
        let (graph, group) = (self.graph, self.group);
        let stage = graph.stage(group);
        let mut lost = BTreeSet::new();
        let mut lines = Vec::new();
        for cmd in &stage.cmd {
            let text = graph.template(group, cmd, Some(&mut lost))?;
            lines.extend(
                text.lines()
                    .filter(|line| !line.trim().is_empty())
                    .map(|line| line.trim_end().to_string()),
            );
        }
        if lines.len() > 1 {
            // DVC gives each line to a shell of its own.
            for line in &mut lines {
                let first = line.split_whitespace().next().unwrap_or_default();
                if matches!(
                    first,
                    "cd" | "pushd"
                        | "export"
                        | "set"
                        | "source"
                        | "."
                        | "exec"
                        | "exit"
                        | "unset"
                        | "alias"
                ) || first.contains('=')
                {
                    *line = format!("( {line} )");
                }
            }
        }
        let wdir = &graph.written[self.at()].0;
        if let Place::Inside(folder) = graph.place(wdir, "")
            && !folder.is_empty()
        {
            let folder = if folder.contains(' ') {
                format!("'{folder}'")
            } else {
                folder
            };
            let begin = format!("mkdir -p {folder} && cd {folder}");
            match &mut lines[..] {
                [line] if line.len() < 80 => *line = format!("{begin} && {line}"),
                _ => lines.insert(0, begin),
            }
        }
        if !lost.is_empty() {
            let lost: Vec<_> = lost.iter().map(String::as_str).collect();
            self.notes.push(format!(
                "The command has {} as it is now: flow gives a value as one word, and a list as several. `--set` does not \
                 reach it.",
                lost.join(", ")
            ));
        }
        Ok(lines.join("\n"))
    }

    /// The number of the group.
    fn at(&self) -> usize {
        self.graph.group_of((self.group.stage, 0, self.group.of[0]))
    }

    fn dependency(&mut self, dep: &Located<String>) -> Result<(), Stop> {
        let (graph, group) = (self.graph, self.group);
        let mut lists = Vec::new();
        let mut places = Vec::new();
        for &instance in &group.of {
            let place = graph.place_of(group.stage, instance, dep)?;
            lists.push(graph.origins((group.stage, instance), &place));
            places.push(place);
        }
        let first = lists[0].clone();
        let is_file = |list: &Vec<Origin>| matches!(&list[..], [Origin::File(_)]);
        if lists.iter().all(is_file) {
            let text = graph.template(group, dep, None)?;
            let wdir = &graph.written[self.at()].0;
            return self.own_file(&graph.place(wdir, &text), &places[0]);
        }
        if lists.iter().all(|list| *list == first) {
            for origin in first {
                match origin {
                    Origin::File(place) => self.own_file(&place, &place)?,
                    Origin::Made(made) => self.output(made, true)?,
                }
            }
            return Ok(());
        }
        // The outputs of one stage, each read by the instance that has its values.
        let length = first.len();
        for (slot, origin) in first.into_iter().enumerate() {
            let Origin::Made(one) = origin else {
                return Err(Stop::Apart);
            };
            let source = &graph.groups[graph.group_of(one)];
            for (list, &instance) in lists.iter().zip(&group.of) {
                let Some(Origin::Made(made)) = list.get(slot).filter(|_| list.len() == length)
                else {
                    return Err(Stop::Apart);
                };
                let agrees = source.axes.iter().enumerate().all(|(theirs, axis)| {
                    let ours = group.axes.iter().position(|own| own.name == axis.name);
                    ours.is_some_and(|ours| {
                        let theirs = graph.instances[made.0][made.2].at[theirs];
                        graph.instances[group.stage][instance].at[ours] == theirs
                    })
                });
                if (made.0, made.1) != (one.0, one.1) || source.axes.is_empty() || !agrees {
                    return Err(Stop::Apart);
                }
            }
            self.output(one, false)?;
        }
        Ok(())
    }

    /// An input that another stage makes: of one instance, or of that with the same values.
    fn output(&mut self, made: Made, pinned: bool) -> Result<(), Failure> {
        let graph = self.graph;
        let number = graph.group_of(made);
        let source = &graph.groups[number];
        let Some((role, path)) = &self.outputs[number].named[made.1] else {
            return Ok(());
        };
        let mut from = source.name.clone();
        let mut place = path.trim_end_matches('/').to_string();
        if pinned && !source.axes.is_empty() {
            let at = &graph.instances[made.0][made.2].at;
            let values = source.axes.iter().zip(at);
            let values: Vec<_> = values
                .map(|(axis, &i)| format!("{}={}", axis.name, axis.keys[i]))
                .collect();
            from += &format!("[{}]", values.join(","));
            if let Place::Inside(path) = graph.made(made) {
                place = path.replace("${", "$${");
            }
        }
        from += &format!(".{role}");
        let text = format!("{{ from = {}, as = {} }}", string(&from), string(&place));
        if self.inputs.iter().any(|(_, known)| *known == text) {
            return Ok(());
        }
        let role = role_of(role, &mut self.roles);
        self.inputs.push((role, text));
        self.places.push((place, false));
        Ok(())
    }

    /// An input that is the user's own; `now` is where it lies for the first instance.
    fn own_file(&mut self, written: &Place, now: &Place) -> Result<(), Stop> {
        let path = match written {
            Place::Inside(path) => path,
            Place::Outside(url) if url.contains("://") => {
                self.notes.push(format!(
                    "DVC looks whether {url} changed; flow does not. Let a stage fetch it, or run this one again with --force."
                ));
                return Ok(());
            }
            Place::Outside(path) => path,
        };
        let inside = |other: &(String, bool)| other.1 && is_in(path, &other.0);
        if self.places.iter().any(inside) {
            return Ok(());
        }
        // A folder holds what was named of it before.
        let within: Vec<_> = self
            .places
            .iter()
            .map(|(other, own)| *own && is_in(other, path))
            .collect();
        let mut keep = within.iter();
        self.inputs
            .retain(|_| !keep.next().copied().unwrap_or(false));
        let mut keep = within.iter();
        self.places
            .retain(|_| !keep.next().copied().unwrap_or(false));
        if let Place::Inside(now) = now {
            let tracked = self
                .tracked
                .iter()
                .find(|(data, _)| is_in(now, data) || is_in(data, now));
            if let Some((data, file)) = tracked {
                self.notes.push(format!(
                    "{file} tracks {data}: `dvc pull {file}` brings it."
                ));
            }
        }
        let role = role_of(path, &mut self.roles);
        self.inputs
            .push((role, format!("{{ path = {} }}", string(path))));
        self.places.push((path.clone(), true));
        Ok(())
    }

    fn params(&mut self, params: &Params, files: &mut Vec<(String, String)>) -> Result<(), Stop> {
        let (graph, group) = (self.graph, self.group);
        let one = |text: &Located<String>| -> Result<String, Stop> {
            let first = graph.resolved(group.stage, group.of[0], text)?;
            for &instance in &group.of {
                if graph.resolved(group.stage, instance, text)? != first {
                    return Err(Stop::Apart);
                }
            }
            Ok(first)
        };
        let file = match &params.file {
            Some(file) => one(file)?,
            None => "params.yaml".into(),
        };
        let mut keys = Vec::new();
        for key in &params.keys {
            keys.push((one(key)?, key.span));
        }
        let wdir = match &graph.stage(group).wdir {
            Some(wdir) => one(wdir)?,
            None => String::new(),
        };
        let place = graph.place(&wdir, &file);
        let known = graph.values.file.as_ref();
        let known = known.filter(|(path, _)| is_plain_file(path) && graph.place("", path) == place);
        let (Some((path, Value::Object(all))), Place::Inside(name)) = (known, &place) else {
            if !keys.is_empty() {
                let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
                self.notes.push(format!(
                    "Of {file} all counts here; DVC looks at {} alone. What is in params.yaml, `--set` reaches.",
                    keys.join(", ")
                ));
            }
            return self.own_file(&place, &place);
        };
        for (key, span) in &keys {
            if super::values::at(all, key).is_none() {
                let message = format!("{path} has no `{key}`");
                return Err(Stop::Wrong(graph.project.file.wrong(*span, message)));
            }
        }
        let keys: BTreeSet<String> = match keys.is_empty() {
            true => all.keys().cloned().collect(),
            false => keys
                .into_iter()
                .map(|(key, _)| key.replace('[', ".").replace(']', ""))
                .collect(),
        };
        let known = |key: &String| {
            let value = super::values::at(all, key);
            graph.values.reference(key).is_some()
                && graph.values.find(key) == value
                && !value.is_some_and(has_null)
        };
        if let Some(odd) = keys.iter().find(|key| !known(key)) {
            self.notes.push(format!(
                "Of {file} all counts here: no reference can stand for `{odd}`."
            ));
            return self.own_file(&place, &place);
        }
        if self.places.iter().any(|(other, _)| is_in(name, other)) {
            return Ok(());
        }
        files.push((name.clone(), chosen("", all, &keys).0));
        Ok(())
    }

    /// Files of the project that the command names and DVC was not told of: here they would not be there.
    fn named_in_command(&mut self) -> Result<(), Stop> {
        let (graph, group) = (self.graph, self.group);
        let wdir = graph.written[self.at()].0.clone();
        let mut found = Vec::new();
        for cmd in &graph.stage(group).cmd {
            for word in shlex::split(&cmd.value).unwrap_or_default() {
                let word = word.rsplit('=').next().unwrap_or_default();
                if word.contains("${") || word.starts_with('/') || word.starts_with('-') {
                    continue;
                }
                let Place::Inside(path) = graph.place(&wdir, word) else {
                    continue;
                };
                let known = self
                    .places
                    .iter()
                    .any(|(other, _)| is_in(&path, other) || is_in(other, &path));
                let params =
                    graph.values.file.as_ref().is_some_and(|(file, _)| {
                        graph.place("", file) == Place::Inside(path.clone())
                    });
                let made = graph.origins((group.stage, group.of[0]), &Place::Inside(path.clone()));
                let is_file = matches!(made[..], [Origin::File(_)])
                    && Path::new(&graph.root).join(&path).is_file();
                if is_file && !known && !params && !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        self.notes.push(format!(
            "DVC is not told of {}: the command names it, so it is an input here.",
            found.join(", ")
        ));
        for path in found {
            let place = Place::Inside(path);
            self.own_file(&place, &place)?;
        }
        Ok(())
    }
}

/// What of a table a file of params has, and whether it is all of it.
fn chosen(prefix: &str, table: &Map<String, Value>, keys: &BTreeSet<String>) -> (String, bool) {
    let mut entries = Vec::new();
    let mut all = !prefix.is_empty();
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let inner = format!("{path}.");
        let (written, whole) = match value {
            _ if keys.contains(&path) => (string(&format!("${{{path}}}")), true),
            Value::Object(table) if keys.iter().any(|key| key.starts_with(&inner)) => {
                chosen(&path, table, keys)
            }
            _ => {
                all = false;
                continue;
            }
        };
        all &= whole;
        entries.push(format!("{} = {written}", key(name)));
    }
    match all {
        true => (string(&format!("${{{prefix}}}")), true),
        false => (inline(&entries), false),
    }
}
