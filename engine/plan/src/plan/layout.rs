//! Where everything lies in the folder of a `run` stage, by names alone: inputs, files that are written, outputs. Pure: who
//! calls it says what was found.
//!
//! A path below the workflow's root lies there as written; one from elsewhere, and what another stage made, at
//! `inputs/ROLE/NAME`; a gather at `inputs/ROLE/INSTANCE.ENDING`. `as` says otherwise.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use petgraph::graph::{DiGraph, NodeIndex};

use super::{Files, Input, Instance, Origin, Output, Program, is_glob};

pub use super::file_names::{Named, instance_names, member_names};
pub use crate::workflow::places::{Conflict, Owner};

/// The scratch folder, `${work}`.
pub const WORK: &str = ".work";

/// One input, and what it stands for.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// Its role.
    pub role: &'a str,
    /// What `as` says.
    pub place: Option<&'a str>,
    /// Whether the stage may write to it.
    pub writable: bool,
    /// What it stands for.
    pub content: Content,
}

/// What an input stands for.
#[derive(Debug, Clone)]
pub enum Content {
    /// Files of the user's, each at its path: relative to the workflow's root, or absolute.
    Paths {
        /// What was found.
        found: Vec<Found>,
        /// Whether there may be several: a list or a glob, whatever was found.
        several: bool,
    },
    /// What another stage made, by its own name ([`own_name`]).
    Output(Found),
    /// What several instances made.
    Gathered(Vec<Member>),
}

/// One of what is gathered.
#[derive(Debug, Clone)]
pub struct Member {
    /// The matrix point of its instance as the plan has it, or the stage's name where that is empty.
    pub point: String,
    /// Its output's role.
    pub output: String,
    /// What it is, by its own name.
    pub found: Found,
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path or name.
    pub path: String,
    /// What it is.
    pub form: Form,
}

/// What is known of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A file.
    File,
    /// A folder, with the names of what lies in it directly.
    Folder(Vec<String>),
    /// Not known before the run.
    Unknown,
}

/// A place in the stage's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path, relative to the stage's folder.
    pub path: String,
    /// Which of what the input stands for lies there, in the order in which it was given.
    pub source: usize,
    /// The name in that folder, where the folder's content lies in the stage's folder itself.
    pub entry: Option<String>,
}

/// The places of each role, in the order of what was found.
pub type Layout = BTreeMap<String, Vec<Place>>;

/// Lays out a stage's folder.
///
/// # Errors
/// Everything that is in something else's way.
pub fn layout<'a>(
    inputs: &[Given<'_>],
    files: impl IntoIterator<Item = &'a str>,
    checkpoints: Option<&str>,
    outputs: &[Output],
) -> Result<Layout, Vec<Conflict>> {
    let mut conflicts = Vec::new();
    let mut taken = Taken::default();
    let mut layout = Layout::new();
    for input in inputs {
        let owner = Owner::Input(input.role.into());
        if let Some(path) = input.place
            && is_several(&input.content)
            && path != "."
            && !path.ends_with('/')
        {
            let path = path.into();
            conflicts.push(Conflict::Several { owner, path });
            continue;
        }
        let places = places(input);
        for place in &places {
            taken.add(&place.path, &owner, input.writable, &mut conflicts);
        }
        layout.insert(input.role.into(), places);
    }
    for path in files {
        let owner = Owner::File(path.into());
        taken.add(&normal(path), &owner, false, &mut conflicts);
    }
    if let Some(path) = checkpoints {
        taken.add(&normal(path), &Owner::Checkpoints, false, &mut conflicts);
    }
    taken.add(WORK, &Owner::Work, false, &mut conflicts);
    taken.check_nested(&mut conflicts);
    for output in outputs {
        taken.check_output(output, &mut conflicts);
    }
    if conflicts.is_empty() {
        Ok(layout)
    } else {
        Err(conflicts)
    }
}

/// What an input's files are as far as names tell: those that are no globs.
pub(super) fn named(_: &Input, files: &Files) -> Vec<Found> {
    let plain = files.patterns.iter().filter(|path| !is_glob(path));
    let found = plain.map(|path| Found {
        path: path.clone(),
        form: Form::Unknown,
    });
    found.collect()
}

/// What is in the way in an instance's folder, as far as it is known before what is in front of it has run. `own` tells what an
/// input's files of the user's are.
pub fn conflicts(
    graph: &DiGraph<Instance, ()>,
    inputs: &[Input],
    program: &Program,
    outputs: &[Output],
    own: impl Fn(&Input, &Files) -> Vec<Found>,
) -> Vec<Conflict> {
    let made = |node: NodeIndex, role: &str| {
        let mut outputs = graph[node].outputs.iter();
        let output = outputs.find(|output| output.role == role)?;
        let form = if output.artifact.is_folder() {
            Form::Unknown
        } else {
            Form::File
        };
        let path = own_name(output);
        Some(Found { path, form })
    };
    let given = inputs.iter().filter_map(|input| {
        let content = match &input.origin {
            Origin::Path { files, .. } => Content::Paths {
                several: files.is_several(),
                found: own(input, files),
            },
            Origin::Instance { node, output } => Content::Output(made(*node, output)?),
            Origin::Collected { all, .. } => {
                let all = all.iter().map(|one| {
                    Some(Member {
                        point: match one.point.as_str() {
                            "" => graph[one.node].stage.clone(),
                            point => point.into(),
                        },
                        output: one.output.clone(),
                        found: made(one.node, &one.output)?,
                    })
                });
                Content::Gathered(all.collect::<Option<_>>()?)
            }
        };
        Some(Given {
            role: &input.role,
            place: input.place.as_deref(),
            writable: input.writable,
            content,
        })
    });
    let given: Vec<Given<'_>> = given.collect();
    let files = program.files.keys().map(String::as_str);
    layout(&given, files, program.checkpoints.as_deref(), outputs)
        .err()
        .unwrap_or_default()
}

/// What an output is called where another stage reads it: the last part of its path; its role where that is a glob, which
/// is stored as a folder.
pub fn own_name(output: &Output) -> String {
    let name = output.file.rsplit('/').next().unwrap_or_default();
    if is_glob(&output.file) || name.is_empty() {
        return output.role.clone();
    }
    name.into()
}

fn is_several(content: &Content) -> bool {
    match content {
        Content::Paths { several, .. } => *several,
        Content::Output(_) => false,
        Content::Gathered(_) => true,
    }
}

/// The places of one input.
fn places(input: &Given<'_>) -> Vec<Place> {
    match &input.content {
        Content::Paths { found, .. } => {
            let of = found.iter().enumerate();
            of.flat_map(|(source, found)| match (input.place, below(&found.path)) {
                (None, Some(path)) if path.is_empty() => placed(".", "", found, source),
                (None, Some(path)) => vec![whole(path, source)],
                (None, None) => vec![whole(by_rule(input.role, &base(found, input)), source)],
                (Some(place), _) => placed(place, &base(found, input), found, source),
            })
            .collect()
        }
        Content::Output(found) => match input.place {
            None => vec![whole(by_rule(input.role, &found.path), 0)],
            Some(place) => placed(place, &found.path, found, 0),
        },
        Content::Gathered(all) => {
            let names = member_names(all.iter().map(|one| Named {
                point: &one.point,
                output: &one.output,
                own: &one.found.path,
            }));
            let of = names.into_iter().enumerate();
            of.map(|(source, file)| {
                let path = match input.place {
                    None => by_rule(input.role, &file),
                    Some(".") => file,
                    Some(folder) => normal(&format!("{folder}/{file}")),
                };
                whole(path, source)
            })
            .collect()
        }
    }
}

fn by_rule(role: &str, name: &str) -> String {
    format!("inputs/{role}/{name}")
}

fn whole(path: String, source: usize) -> Place {
    Place {
        path,
        source,
        entry: None,
    }
}

/// The last part of a path of the user's.
fn base(found: &Found, input: &Given<'_>) -> String {
    let name = Path::new(&found.path).file_name();
    name.map_or_else(
        || input.role.into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Where `as` lays something that is called `name` by itself.
fn placed(place: &str, name: &str, found: &Found, source: usize) -> Vec<Place> {
    if place == "." {
        return match &found.form {
            Form::File => vec![whole(name.into(), source)],
            Form::Folder(entries) => entries
                .iter()
                .map(|entry| Place {
                    path: entry.clone(),
                    source,
                    entry: Some(entry.clone()),
                })
                .collect(),
            Form::Unknown => Vec::new(),
        };
    }
    let path = if place.ends_with('/') {
        normal(&format!("{place}{name}"))
    } else {
        normal(place)
    };
    vec![whole(path, source)]
}

/// A path below the workflow's root, without what means nothing; none for one from elsewhere.
fn below(path: &str) -> Option<String> {
    let mut parts = Path::new(path).components();
    let own = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    parts.all(own).then(|| normal(path))
}

/// A path without doubled slashes and single dots.
fn normal(path: &str) -> String {
    let parts = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

/// What has a place when the stage starts.
#[derive(Default)]
struct Taken {
    by_path: BTreeMap<String, (Owner, bool)>,
}

impl Taken {
    fn add(&mut self, path: &str, owner: &Owner, writable: bool, conflicts: &mut Vec<Conflict>) {
        if let Some((other, _)) = self.by_path.get(path) {
            conflicts.push(Conflict::Same {
                owner: owner.clone(),
                other: other.clone(),
                path: path.into(),
            });
            return;
        }
        self.by_path.insert(path.into(), (owner.clone(), writable));
    }

    /// Notes what lies inside something else.
    fn check_nested(&self, conflicts: &mut Vec<Conflict>) {
        for (path, (owner, _)) in &self.by_path {
            if let Some((other_path, (other, _))) = self.around(path) {
                conflicts.push(Conflict::Inside {
                    owner: owner.clone(),
                    path: path.clone(),
                    other: other.clone(),
                    other_path: other_path.into(),
                });
            }
        }
    }

    /// The nearest that a path lies inside.
    fn around<'p>(&self, path: &'p str) -> Option<(&'p str, &(Owner, bool))> {
        let slashes = path.rmatch_indices('/');
        let mut around = slashes.map(|(at, _)| &path[..at]);
        around.find_map(|around| Some((around, self.by_path.get(around)?)))
    }

    fn check_output(&self, output: &Output, conflicts: &mut Vec<Conflict>) {
        let path = normal(&output.file);
        let owner = Owner::Output(output.role.clone());
        if let Some((other_path, (other, writable))) = self.around(&path)
            && !writable
        {
            conflicts.push(Conflict::OutputInside {
                owner: owner.clone(),
                path: path.clone(),
                other: other.clone(),
                other_path: other_path.into(),
            });
        }
        // What a glob matches may be an input.
        if is_glob(&path) {
            return;
        }
        let inside = format!("{path}/");
        let behind = self.by_path.range(inside.clone()..);
        let mut behind = behind.take_while(|(other, _)| other.starts_with(&inside));
        let there = self.by_path.get_key_value(&path).or_else(|| behind.next());
        if let Some((other_path, (other, _))) = there {
            conflicts.push(Conflict::OutputTaken {
                owner,
                path,
                other: other.clone(),
                other_path: other_path.clone(),
            });
        }
    }
}

/// The folder that the files of a gather lie in, as `as` says or by rule; `.` is the stage's folder itself.
pub fn gather_folder(role: &str, place: Option<&str>) -> String {
    match place {
        None => format!("inputs/{role}"),
        Some(".") => ".".into(),
        Some(folder) => normal(folder),
    }
}
