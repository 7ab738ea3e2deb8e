//! What a `run` stage says of its program, beside the command: files that are written for it, its environment, where it
//! works.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::input::is_inside;
use super::node::{Located, Node, NodeValue};
use super::plots::Plot;
use super::problem::Problem;
use super::reader::Reader;
use super::source::Span;
use super::{Action, Template};

/// The keys that only `run` stages have, but for `outputs`.
pub(super) const KEYS: [&str; 8] = [
    "shell",
    "files",
    "checkpoints",
    "folder",
    "isolation",
    "tools",
    "environment",
    "plots",
];

/// What a stage says of its program. Unresolved.
#[derive(Debug, Default)]
pub struct Program {
    /// What runs its lines.
    pub shell: Option<Vec<String>>,
    /// Files that are written into its folder: path there, and value.
    pub files: Vec<(Located<String>, Node)>,
    /// A folder that survives its attempts.
    pub checkpoints: Option<Located<String>>,
    /// Where it works.
    pub folder: Folder,
    /// How far it is kept apart from the machine.
    pub isolation: Option<Isolation>,
    /// What belongs to its key: a name, and the command whose words count.
    pub tools: BTreeMap<String, Option<String>>,
    /// Where these stand.
    pub tools_span: Option<Span>,
    /// One of `[environments]`.
    pub environment: Option<Located<String>>,
    /// Which of its files are charts and pictures.
    pub plots: Vec<Plot>,
}

/// What a stage says of its environment. Unresolved.
#[derive(Debug, Default)]
pub struct Variables {
    /// Variables that are passed on, and part of the key.
    pub passed: Vec<String>,
    /// Variables that are set.
    pub set: Vec<(String, Located<Template>)>,
    /// Variables that are passed on, and in no key.
    pub secret: Vec<String>,
}

/// Where a program works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Folder {
    /// In a folder of its own, which holds what it declared.
    #[default]
    Own,
    /// In the workflow's root, as one at a time.
    Project,
}

/// How far a program is kept apart from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Whether it is an error where the system does not allow it.
    pub required: bool,
    /// Whether it may use the network.
    pub network: bool,
}

impl Default for Isolation {
    fn default() -> Isolation {
        Isolation {
            required: false,
            network: true,
        }
    }
}

/// What a program runs in: one of `[environments]`. Paths are relative to the workflow's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A Python virtual environment.
    Venv {
        /// Its folder.
        folder: String,
        /// The lock file with which it has to agree.
        lock: Option<String>,
    },
    /// An explicit conda lock file, made real by micromamba.
    Conda {
        /// The lock file.
        lock: String,
    },
    /// A container image.
    Image {
        /// The program that runs it: `podman`, `docker`, `apptainer`.
        engine: String,
        /// The image by digest, `NAME@sha256:…`, or an apptainer file.
        image: String,
    },
}

impl Reader<'_> {
    /// Reads one of [`KEYS`].
    pub fn program(&mut self, key: &str, node: Node, program: &mut Program) {
        match key {
            "shell" => program.shell = self.shell(node),
            "files" => program.files = self.files(node),
            "checkpoints" => program.checkpoints = self.checkpoints(node),
            "folder" => program.folder = self.folder(node).unwrap_or_default(),
            "isolation" => program.isolation = self.isolation(node),
            "tools" => {
                program.tools_span = Some(node.span);
                program.tools = self.tools(node);
            }
            "plots" => program.plots = self.plots(node),
            _ => {
                program.environment = self.string("`environment`", node);
                if let Some(name) = &program.environment {
                    self.no_reference("an environment's name", name);
                }
            }
        }
    }

    /// Notes keys of programs in a stage that has another action, and what does not go together.
    pub fn check_program(
        &mut self,
        action: &Action,
        program: &Program,
        keys: &[(&'static str, Span)],
    ) {
        match action {
            Action::Uses(_) => {
                for &(key, span) in keys {
                    let belongs = "run";
                    self.problems
                        .add(Problem::NotForThisAction { key, belongs }, span);
                }
            }
            Action::Arguments(_) if program.shell.is_some() => {
                let found = keys.iter().find(|(key, _)| *key == "shell");
                if let Some((_, span)) = found {
                    self.problems.add(Problem::ShellWithoutLines, *span);
                }
            }
            Action::Arguments(_) | Action::Shell(_) => {}
        }
    }

    pub fn shell(&mut self, node: Node) -> Option<Vec<String>> {
        let span = node.span;
        let mut words = Vec::new();
        for item in self.array("`shell`", node)? {
            let word = self.string("a word of `shell`", item)?;
            self.no_reference("`shell`", &word);
            words.push(word.value);
        }
        if words.first().is_none_or(|program| program.is_empty()) {
            self.problems.add(Problem::EmptyCommand, span);
            return None;
        }
        Some(words)
    }

    fn files(&mut self, node: Node) -> Vec<(Located<String>, Node)> {
        let files = self.table("`files`", node);
        for (path, _) in &files {
            self.no_reference("a file's path", path);
            if !is_inside(&path.value) || path.value.ends_with('/') {
                let path_text = path.value.clone();
                self.problems
                    .add(Problem::BadFilePath { path: path_text }, path.span);
            }
        }
        files
    }

    fn checkpoints(&mut self, node: Node) -> Option<Located<String>> {
        let mut folder = self.string("`checkpoints`", node)?;
        self.no_reference("`checkpoints`", &folder);
        if !is_inside(&folder.value) {
            let place = folder.value.clone();
            self.problems.add(Problem::BadPlace { place }, folder.span);
        }
        let length = folder.value.trim_end_matches('/').len();
        folder.value.truncate(length);
        Some(folder)
    }

    fn folder(&mut self, node: Node) -> Option<Folder> {
        let word = self.string("`folder`", node)?;
        match word.value.as_str() {
            "own" => Some(Folder::Own),
            "project" => Some(Folder::Project),
            _ => {
                self.unknown_word("`folder`", &word, &["own", "project"]);
                None
            }
        }
    }

    pub fn isolation(&mut self, node: Node) -> Option<Isolation> {
        let mut isolation = Isolation::default();
        match node.value {
            NodeValue::String(value) if value == "required" => isolation.required = true,
            NodeValue::String(value) => {
                let span = node.span;
                self.unknown_word("`isolation`", &Located { value, span }, &["required"]);
                return None;
            }
            NodeValue::Table(entries) => {
                for (key, node) in entries {
                    match key.value.as_str() {
                        "required" => isolation.required = self.boolean("`required`", &node)?,
                        "network" => isolation.network = self.boolean("`network`", &node)?,
                        _ => self.unknown(&key, "`isolation`", &["required", "network"]),
                    }
                }
            }
            other => {
                let wanted = "\"required\" or { required = true, network = false }";
                self.wrong_type("`isolation`", wanted, &other, node.span);
                return None;
            }
        }
        Some(isolation)
    }

    fn tools(&mut self, node: Node) -> BTreeMap<String, Option<String>> {
        let mut tools = BTreeMap::new();
        let span = node.span;
        let mut add = |reader: &mut Self, name: Located<String>, words: Option<String>| {
            if name.value.trim().is_empty() || name.value.contains('\0') {
                let name_text = name.value.clone();
                reader
                    .problems
                    .add(Problem::BadTool { name: name_text }, name.span);
            }
            reader.no_reference("a tool's name", &name);
            tools.insert(name.value, words);
        };
        match node.value {
            NodeValue::Array(items) => {
                for item in items {
                    if let Some(name) = self.string("a tool", item) {
                        add(self, name, None);
                    }
                }
            }
            NodeValue::Table(entries) => {
                for (name, node) in entries {
                    let Some(words) = self.string("a tool's command", node) else {
                        continue;
                    };
                    if words.value.trim().is_empty() {
                        self.problems.add(Problem::EmptyCommand, words.span);
                    }
                    self.no_reference("a tool's command", &words);
                    add(self, name, Some(words.value));
                }
            }
            other => {
                let wanted = "a list of programs, or a table of commands";
                self.wrong_type("`tools`", wanted, &other, span);
            }
        }
        tools
    }

    /// `env`: a list passes on, a table sets.
    pub fn env(&mut self, node: Node, variables: &mut Variables) {
        match node.value {
            NodeValue::Table(entries) => {
                for (name, node) in entries {
                    self.variable(&name);
                    let text = self.string("a variable's value", node);
                    if let Some(value) = text.and_then(|text| self.template(text)) {
                        variables.set.push((name.value, value));
                    }
                }
            }
            NodeValue::Array(_) => variables.passed = self.variables("`env`", node),
            other => {
                let wanted = "a list of names, or a table of values";
                self.wrong_type("`env`", wanted, &other, node.span);
            }
        }
    }

    /// Names of variables that are passed on.
    pub fn variables(&mut self, what: &str, node: Node) -> Vec<String> {
        let mut names = Vec::new();
        for item in self.array(what, node).unwrap_or_default() {
            if let Some(name) = self.string("a variable's name", item) {
                self.variable(&name);
                names.push(name.value);
            }
        }
        names.sort();
        names.dedup();
        names
    }

    fn variable(&mut self, name: &Located<String>) {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            let name_text = name.value.clone();
            self.problems
                .add(Problem::BadVariable { name: name_text }, name.span);
        }
        self.no_reference("a variable's name", name);
    }

    /// Notes a variable that is secret, and passed on or set as well.
    pub fn check_variables(&mut self, variables: &Variables, span: Option<Span>) {
        let Some(span) = span else { return };
        let set = variables.set.iter().map(|(name, _)| name);
        for name in set.chain(&variables.passed) {
            if variables.secret.contains(name) {
                let name = name.clone();
                self.problems.add(Problem::SecretTwice { name }, span);
            }
        }
    }
}
