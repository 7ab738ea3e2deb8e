//! One `[stages.NAME]`.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;

use super::input::is_inside;
use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::program::{self, Program, Variables};
use super::reader::Reader;
use super::source::Span;
use super::{Action, Resources, Stage, Template};

/// The keys of a stage that are read here.
const KEYS: [&str; 12] = [
    "uses",
    "run",
    "inputs",
    "with",
    "matrix",
    "outputs",
    "resources",
    "timeout",
    "retries",
    "frozen",
    "env",
    "secret_env",
];

impl Reader<'_> {
    pub fn stage(&mut self, name: Located<String>, node: Node) -> Option<Stage> {
        let before = self.problems.count();
        let within = format!("stage `{}`", name.value);
        let mut actions = Vec::new();
        let mut with_key = None;
        // Keys that only stages of one action have.
        let mut keys: Vec<(&'static str, Span)> = Vec::new();
        let mut foreign = Vec::new();
        let mut secret_key = None;
        let mut stage = Stage {
            action: Action::Uses(name.clone()),
            inputs: Vec::new(),
            with: Vec::new(),
            matrix: Vec::new(),
            outputs: Vec::new(),
            resources: Resources::default(),
            timeout: None,
            retries: 0,
            frozen: None,
            env: Variables::default(),
            program: Program::default(),
            is_anew: false,
            name,
        };
        for (key, node) in self.table(&within, node) {
            match key.value.as_str() {
                "uses" => actions.extend(self.string("`uses`", node).map(Action::Uses)),
                "run" => actions.extend(self.command(node)),
                "inputs" => {
                    for (role, node) in self.table("`inputs`", node) {
                        self.name(&role);
                        let input = self.input(role, node, &mut foreign);
                        stage.inputs.extend(input);
                    }
                }
                "with" => {
                    with_key = Some(key.span);
                    stage.with = self.table("`with`", node);
                }
                "matrix" => {
                    for (axis, node) in self.table("`matrix`", node) {
                        self.name(&axis);
                        stage.matrix.extend(self.axis(axis, node));
                    }
                }
                "outputs" => {
                    keys.push(("outputs", key.span));
                    stage.outputs = self.outputs(node);
                }
                "resources" => stage.resources = self.resources(node),
                "timeout" => stage.timeout = self.timeout(node),
                "retries" => {
                    stage.retries = self.count("`retries`", &node, 100).unwrap_or(0);
                }
                "frozen" => {
                    let is_frozen = self.boolean("`frozen`", &node) == Some(true);
                    stage.frozen = is_frozen.then_some(key.span);
                }
                "env" => self.env(node, &mut stage.env),
                "secret_env" => {
                    secret_key = Some(key.span);
                    stage.env.secret = self.variables("`secret_env`", node);
                }
                other => match program::KEYS.iter().find(|known| **known == other) {
                    Some(known) => {
                        keys.push((known, key.span));
                        self.program(known, node, &mut stage.program);
                    }
                    None => self.unknown(&key, &within, &[&KEYS[..], &program::KEYS].concat()),
                },
            }
        }
        let name = stage.name.value.clone();
        let two = actions.len() > 1;
        if two {
            self.problems.add(
                Problem::TwoActions {
                    stage: name.clone(),
                },
                stage.name.span,
            );
        }
        let Some(action) = actions.pop() else {
            if self.problems.count() == before {
                self.problems
                    .add(Problem::NoAction { stage: name }, stage.name.span);
            }
            return None;
        };
        if !two {
            self.check_program(&action, &stage.program, &keys);
            self.only_of_programs(&action, foreign);
        }
        self.check_variables(&stage.env, secret_key);
        match (&action, with_key) {
            _ if two => {}
            (Action::Arguments(_) | Action::Shell(_), Some(span)) => {
                let problem = Problem::NotForThisAction {
                    key: "with",
                    belongs: "uses",
                };
                self.problems.add(problem, span);
            }
            (Action::Arguments(_) | Action::Shell(_), _)
                if stage.outputs.is_empty() && self.problems.count() == before =>
            {
                self.problems
                    .add(Problem::NoOutputs { stage: name }, stage.name.span);
            }
            _ => {}
        }
        Some(Stage { action, ..stage })
    }

    fn command(&mut self, node: Node) -> Option<Action> {
        match node.value {
            NodeValue::String(text) => {
                let text = Located {
                    value: text,
                    span: node.span,
                };
                if text.value.trim().is_empty() {
                    self.problems.add(Problem::EmptyCommand, node.span);
                }
                Some(Action::Shell(self.template(text)?))
            }
            NodeValue::Array(items) => {
                if items.is_empty() {
                    self.problems.add(Problem::EmptyCommand, node.span);
                }
                let arguments = items
                    .into_iter()
                    .map(|item| {
                        self.string("an argument", item)
                            .and_then(|text| self.template(text))
                    })
                    .collect::<Option<_>>()?;
                Some(Action::Arguments(arguments))
            }
            other => {
                self.wrong_type(
                    "`run`",
                    "a list of arguments, or a string for the shell",
                    &other,
                    node.span,
                );
                None
            }
        }
    }

    fn outputs(&mut self, node: Node) -> Vec<(Located<String>, Located<Template>)> {
        let mut outputs = Vec::new();
        let mut plain = Vec::new();
        for (role, node) in self.table("`outputs`", node) {
            self.name(&role);
            let text = self.string("an output's file name", node);
            let Some(file) = text.and_then(|text| self.template(text)) else {
                continue;
            };
            // What names refer to is known later.
            if file.value.names().next().is_none() {
                let name = file.value.plain();
                let span = file.span;
                plain.push(Located { value: name, span });
            }
            outputs.push((role, file));
        }
        check_outputs(&plain, self.problems);
        outputs
    }

    fn resources(&mut self, node: Node) -> Resources {
        let mut resources = Resources::default();
        for (key, node) in self.table("`resources`", node) {
            match key.value.as_str() {
                "cpus" => resources.cpus = self.count("`cpus`", &node, 4096),
                "gpus" => resources.gpus = self.count("`gpus`", &node, 64),
                "memory" => resources.memory = self.memory(node),
                _ => self.unknown(&key, "`resources`", &["cpus", "gpus", "memory"]),
            }
        }
        resources
    }

    fn count(&mut self, what: &'static str, node: &Node, most: i64) -> Option<u32> {
        let count = self.integer(what, node, 0, most)?;
        u32::try_from(count).ok()
    }

    fn memory(&mut self, node: Node) -> Option<u64> {
        let text = self.string("`memory`", node)?;
        let bytes = text
            .value
            .parse::<ByteSize>()
            .ok()
            .map(|size| size.as_u64());
        if bytes.is_none_or(|bytes| bytes == 0) {
            let problem = Problem::BadMemory { text: text.value };
            self.problems.add(problem, text.span);
        }
        bytes
    }

    fn timeout(&mut self, node: Node) -> Option<Duration> {
        let NodeValue::String(value) = node.value else {
            let wanted = "a length of time such as \"90s\" or \"2h 30m\"";
            self.wrong_type("`timeout`", wanted, &node.value, node.span);
            return None;
        };
        let text = Located {
            value,
            span: node.span,
        };
        let duration = text
            .value
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| !duration.is_zero());
        if duration.is_none() {
            self.problems
                .add(Problem::BadTimeout { text: text.value }, text.span);
        }
        duration
    }
}

/// Notes outputs that lie outside the stage's folder, or in each other, or are no globs that flow knows; says whether all
/// are right.
pub(crate) fn check_outputs(files: &[Located<String>], problems: &mut Problems) -> bool {
    let mut sound = true;
    for (i, file) in files.iter().enumerate() {
        let name = || file.value.clone();
        if !is_inside(&file.value) {
            problems.add(Problem::OutputEscapes { name: name() }, file.span);
            sound = false;
        }
        if let Err(cause) = check_glob(&file.value) {
            let pattern = name();
            problems.add(Problem::BadGlob { pattern, cause }, file.span);
            sound = false;
            continue;
        }
        // One output inside another would make a file a folder.
        let mut others = files[..i].iter();
        if others.any(|other| meet(&other.value, &file.value)) {
            problems.add(Problem::SameOutput { name: name() }, file.span);
            sound = false;
        }
    }
    sound
}

/// Checks the name of an output that is a glob.
fn check_glob(file: &str) -> Result<(), String> {
    if !is_glob(file) {
        return Ok(());
    }
    if file.contains("**") {
        return Err("`**` is unknown: a `*` stays inside one folder".into());
    }
    if file.ends_with('/') {
        return Err("a glob matches files and folders, so no `/` ends it".into());
    }
    let parts = file.split('/').map(glob::Pattern::new);
    parts
        .collect::<Result<Vec<_>, _>>()
        .map_or_else(|e| Err(e.to_string()), |_| Ok(()))
}

/// Whether two outputs are one, or one lies in the other, as far as their names tell.
fn meet(a: &str, b: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = Path::new(path).components();
        let parts = parts.map(|part| part.as_os_str().to_string_lossy().into_owned());
        parts.collect()
    };
    let (a, b) = (parts(a), parts(b));
    let mut both = a.iter().zip(&b);
    both.all(|(a, b)| a == b || part_matches(a, b) || part_matches(b, a))
}

/// Whether a part of a glob matches a plain name. Two globs are told apart when their files are there.
fn part_matches(glob: &str, name: &str) -> bool {
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    is_glob(glob)
        && !is_glob(name)
        && glob::Pattern::new(glob).is_ok_and(|glob| glob.matches_with(name, options))
}

/// Whether a path may stand for several files: it holds characters that make a glob.
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}
