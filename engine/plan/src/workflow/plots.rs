//! `plots` of a `run` stage: which of the files that it makes are charts and pictures, and of which columns.

use super::node::{Located, Node, NodeValue};
use super::problem::Problem;
use super::reader::Reader;
use super::template::Template;
use serde::{Deserialize, Serialize};

/// One of `plots`. Its files are unresolved.
#[derive(Debug)]
pub struct Plot {
    /// Its name.
    pub name: Located<String>,
    /// A file, or a glob, as in the stage's folder.
    pub files: Located<Template>,
    /// The column for the first axis, or of the true classes; none: by rule.
    pub x: Option<String>,
    /// The columns for the second axis, or the one of the predicted classes; empty: by rule.
    pub y: Vec<String>,
    /// What is drawn of rows.
    pub kind: PlotKind,
}

/// What is drawn of the rows of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlotKind {
    /// Lines.
    #[default]
    Line,
    /// How often each class was taken for each.
    Confusion,
}

/// The keys of a plot.
const KEYS: [&str; 5] = ["file", "files", "x", "y", "kind"];

impl Reader<'_> {
    /// Reads `plots`.
    pub(super) fn plots(&mut self, node: Node) -> Vec<Plot> {
        let mut plots = Vec::new();
        for (name, node) in self.table("`plots`", node) {
            self.name(&name);
            plots.extend(self.plot(name, node));
        }
        plots
    }

    fn plot(&mut self, name: Located<String>, node: Node) -> Option<Plot> {
        let within = format!("the plot `{}`", name.value);
        let before = self.problems.count();
        let (mut files, mut x, mut y) = (None, None, Vec::new());
        let (mut kind, mut several) = (PlotKind::Line, None);
        for (key, node) in self.table(&within, node) {
            match key.value.as_str() {
                "file" | "files" => {
                    if files.is_some() {
                        self.problems.add(Problem::TwoPlotFiles, key.span);
                    }
                    let text = self.string("a plot's file", node);
                    files = text.and_then(|text| self.template(text));
                }
                "x" => x = self.column(node),
                "y" if matches!(node.value, NodeValue::Array(_)) => {
                    several = Some(node.clone());
                    for node in self.array("`y`", node).unwrap_or_default() {
                        y.extend(self.column(node));
                    }
                }
                "y" => y.extend(self.column(node)),
                "kind" => {
                    let word = self.string("`kind`", node)?;
                    match word.value.as_str() {
                        "line" => kind = PlotKind::Line,
                        "confusion" => kind = PlotKind::Confusion,
                        _ => self.unknown_word("`kind`", &word, &["line", "confusion"]),
                    }
                }
                _ => self.unknown(&key, &within, &KEYS),
            }
        }
        if let (PlotKind::Confusion, Some(node)) = (kind, several) {
            let what = "`y` of a confusion matrix";
            self.wrong_type(what, "a string", &node.value, node.span);
        }
        if files.is_none() && self.problems.count() == before {
            let problem = Problem::PlotWithoutFile {
                name: name.value.clone(),
            };
            self.problems.add(problem, name.span);
        }
        Some(Plot {
            name,
            files: files?,
            x,
            y,
            kind,
        })
    }

    fn column(&mut self, node: Node) -> Option<String> {
        let column = self.string("a column's name", node)?;
        self.no_reference("a column's name", &column);
        Some(column.value)
    }
}
