//! The axes that stages declare: where their values come from, and what these are.
//!
//! - `declare`: an entry of `matrix`.
//! - `table`: rows of a file: CSV, TSV, JSON; `parquet` makes the last of Parquet.
//! - `pattern`: rows of the files that a glob with names in braces matches.
//!
//! Declarations are read with the tree, files afterwards: `read` looks at each once, however many stages, and points of a
//! sweep, name it.

mod declare;
mod parquet;
mod pattern;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Workflow;
use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::{Sources, Span};
use super::tree::{Entries, find};

pub use pattern::is_matched;
pub(super) use pattern::{as_text, list};

/// An axis as a stage declares it.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Its name.
    pub name: Located<String>,
    /// Where its values come from.
    pub source: Source,
    /// Where that stands.
    pub span: Span,
    /// Its values; none before a file was read.
    pub rows: Arc<Rows>,
}

/// Where the values of an axis come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// They stand in the workflow: values, or rows that a column names.
    Listed {
        /// The column.
        key: Option<String>,
    },
    /// Rows of a file.
    Table {
        /// The file, relative to the workflow's root.
        path: String,
        /// The column that names them.
        key: String,
    },
    /// What names in braces match.
    Glob {
        /// The glob, relative to the workflow's root.
        pattern: String,
    },
    /// A column of another axis, by which something is gathered.
    Column {
        /// That axis.
        axis: String,
        /// The column.
        column: String,
    },
}

/// The values of an axis, in order.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    by_name: HashMap<String, usize>,
}

/// One value of an axis.
#[derive(Debug, Clone)]
pub struct Row {
    /// What instances, logs and tables call it by, and what `${matrix.axis}` stands for.
    pub key: Node,
    /// What else is known of it, by column.
    pub cells: Entries,
}

impl Rows {
    /// Rows whose names differ; of those that are alike, all but the first are found by nobody.
    pub fn new(rows: Vec<Row>) -> Rows {
        let mut by_name = HashMap::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            by_name.entry(row.key.value.text()).or_insert(at);
        }
        Rows { rows, by_name }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row that is called so.
    pub fn find(&self, name: &str) -> Option<&Row> {
        Some(&self.rows[*self.by_name.get(name)?])
    }

    /// The names of all rows, in order.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|row| row.key.value.text())
    }
}

impl Row {
    /// What lies at a way of columns and keys in it: its key for an empty one.
    pub fn at(&self, way: &str) -> Option<&Node> {
        if way.is_empty() {
            return Some(&self.key);
        }
        let mut parts = way.split('.');
        let first = parts.next()?;
        let inside = |node| super::tree::inside(Some(node));
        let start = find(&self.cells, first).or_else(|| find(inside(&self.key), first))?;
        parts.try_fold(start, |node, part| find(inside(node), part))
    }

    /// The columns, for messages.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let own = super::tree::inside(Some(&self.key)).iter();
        own.chain(&self.cells).map(|(name, _)| name.value.as_str())
    }
}

impl Axis {
    /// Whether two declarations mean one axis: the same source, and so the same values in the same order.
    pub fn is_same(&self, other: &Axis) -> bool {
        let same_rows = || {
            let json = |row: &Row| (row.key.value.json(), super::node::object(&row.cells));
            Arc::ptr_eq(&self.rows, &other.rows)
                || self.rows.len() == other.rows.len()
                    && self
                        .rows
                        .iter()
                        .zip(other.rows.iter())
                        .all(|(a, b)| json(a) == json(b))
        };
        self.source == other.source
            && (!matches!(self.source, Source::Listed { .. }) || same_rows())
    }

    /// Why it has no values, where it has none.
    pub fn why_empty(&self) -> String {
        match &self.source {
            Source::Listed { .. } => "its list is empty".into(),
            Source::Table { path, .. } => format!("`{path}` has no rows"),
            Source::Glob { pattern } => format!("nothing matches `{pattern}`"),
            Source::Column { axis, .. } => format!("the axis `{axis}` has none"),
        }
    }
}

/// What a table that is no text is kept as: JSON.
///
/// # Errors
/// Why it can't be read, in words.
pub fn as_kept(path: &Path) -> Result<String, String> {
    parquet::as_json(path)
}

/// Looks at the files that axes name. An axis that something is wrong with is taken out, and its stage is incomplete.
pub(super) fn read(workflow: &mut Workflow, sources: &mut Sources, problems: &mut Problems) {
    let mut files = Files {
        root: workflow.root().to_path_buf(),
        known: HashMap::new(),
        sources,
        problems,
    };
    files.read(workflow);
    let Some(mut sweep) = workflow.sweep.take() else {
        return;
    };
    for combination in &mut sweep.combinations {
        files.read(&mut combination.workflow);
    }
    workflow.sweep = Some(sweep);
}

/// The files that axes name, each read once.
struct Files<'a> {
    root: PathBuf,
    /// By source as text; none where something is wrong.
    known: HashMap<String, Option<Arc<Rows>>>,
    sources: &'a mut Sources,
    problems: &'a mut Problems,
}

impl Files<'_> {
    fn read(&mut self, workflow: &mut Workflow) {
        let mut damaged = BTreeSet::new();
        for stage in &mut workflow.stages {
            stage.matrix.retain_mut(|axis| match self.rows(axis) {
                Some(rows) => {
                    axis.rows = rows;
                    true
                }
                None => {
                    workflow.incomplete.insert(stage.name.value.clone());
                    damaged.insert(axis.name.value.clone());
                    false
                }
            });
        }
        workflow.damaged_axes.extend(damaged);
    }

    fn rows(&mut self, axis: &Axis) -> Option<Arc<Rows>> {
        if let Source::Listed { .. } | Source::Column { .. } = axis.source {
            return Some(axis.rows.clone());
        }
        let mut name = format!("{:?}", axis.source);
        if let Source::Glob { .. } = axis.source {
            // Which brace is the key depends on it.
            name += &axis.name.value;
        }
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        let before = self.problems.count();
        let rows = match &axis.source {
            Source::Table { path, key } => self.table(path, key, axis.span),
            Source::Glob { pattern } => self.matches(&axis.name.value, pattern, axis.span),
            _ => None,
        };
        let rows = rows.filter(|_| self.problems.count() == before);
        let rows = rows.map(|rows| Arc::new(Rows::new(rows)));
        self.known.insert(name, rows.clone());
        rows
    }

    /// Notes rows of one name, and of none; `within` is what they are of.
    fn check_names(&mut self, rows: &[Row], within: &str) {
        /// More are of no use to anyone.
        const SHOWN: usize = 10;
        let mut seen: HashMap<String, &Row> = HashMap::new();
        let mut noted = 0;
        for row in rows {
            let name = row.key.value.text();
            let problem = match &row.key.value {
                NodeValue::Array(_) | NodeValue::Table(_) => Problem::KeyNotPlain {
                    within: within.into(),
                    found: row.key.value.type_name(),
                },
                _ if name.is_empty() => Problem::NoKey {
                    within: within.into(),
                },
                _ => match seen.insert(name.clone(), row) {
                    Some(first) => Problem::KeyTwice {
                        key: name,
                        within: within.into(),
                        first: self.sources.place(first.key.span),
                        other: first.key.span,
                    },
                    None => continue,
                },
            };
            self.problems.add(problem, row.key.span);
            noted += 1;
            if noted == SHOWN {
                break;
            }
        }
    }
}
