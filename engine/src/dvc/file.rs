//! A file in YAML, and what is wrong in it with its line.

use std::path::{Path, PathBuf};

use flow_plan::workflow::{Located, Node, NodeValue, Span, Yaml};
use serde_json::Value;

use crate::failure::{Failure, wrong};

/// A file that was read.
pub(super) struct File {
    path: PathBuf,
    yaml: Yaml,
}

/// A table's entries.
pub(super) type Entries = [(Located<String>, Node)];

impl File {
    pub fn read(path: &Path) -> Result<File, Failure> {
        let yaml = Yaml::read(&text(path)?).map_err(|(line, problem)| {
            wrong(format!("{}:{line}: no YAML: {problem}", path.display()))
        })?;
        let path = path.to_path_buf();
        Ok(File { path, yaml })
    }

    /// A message about a place.
    pub fn wrong(&self, span: Span, message: impl std::fmt::Display) -> Failure {
        let line = self.yaml.line(span);
        wrong(format!("{}:{line}: {message}", self.path.display()))
    }

    pub fn root(&self) -> &Node {
        self.yaml.root()
    }

    pub fn value(&self, node: &Node) -> Value {
        self.yaml.value(node)
    }

    /// The entries of a table; none of `null`.
    pub fn table<'n>(&self, what: &str, node: &'n Node) -> Result<&'n Entries, Failure> {
        match &node.value {
            NodeValue::Table(entries) => Ok(entries),
            _ if self.yaml.is_unusable(node) => Ok(&[]),
            other => Err(self.other(what, "a table", other, node.span)),
        }
    }

    /// The items of a list; none of `null`.
    pub fn list<'n>(&self, what: &str, node: &'n Node) -> Result<&'n [Node], Failure> {
        match &node.value {
            NodeValue::Array(items) => Ok(items),
            _ if self.yaml.is_unusable(node) => Ok(&[]),
            other => Err(self.other(what, "a list", other, node.span)),
        }
    }

    pub fn string(&self, what: &str, node: &Node) -> Result<Located<String>, Failure> {
        match &node.value {
            NodeValue::String(value) => Ok(Located {
                value: value.clone(),
                span: node.span,
            }),
            other => Err(self.other(what, "a string", other, node.span)),
        }
    }

    pub fn boolean(&self, what: &str, node: &Node) -> Result<bool, Failure> {
        match node.value {
            NodeValue::Boolean(value) => Ok(value && !self.yaml.is_unusable(node)),
            ref other => Err(self.other(what, "true or false", other, node.span)),
        }
    }

    fn other(&self, what: &str, wanted: &str, found: &NodeValue, span: Span) -> Failure {
        let found = found.type_name();
        self.wrong(span, format!("{what} has to be {wanted}, not {found}"))
    }
}

/// The values in a file of params: YAML, JSON or TOML by its ending.
pub(super) fn values(path: &Path) -> Result<Value, Failure> {
    let is = |ending| path.extension().is_some_and(|found| found == ending);
    if is("py") {
        let why = "values can't be taken from Python here: write them into a YAML file";
        return Err(wrong(format!("{}: {why}", path.display())));
    }
    if is("toml") {
        let read = text(path)?
            .parse::<toml::Table>()
            .map_err(|e| e.to_string());
        let read = read.and_then(|table| serde_json::to_value(table).map_err(|e| e.to_string()));
        return read.map_err(|error| wrong(format!("{}: no TOML: {error}", path.display())));
    }
    let file = File::read(path)?;
    Ok(file.value(file.root()))
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("{} can't be read: {error}", path.display())))
}
