//! An entry of `matrix`: a name, and where its values come from.

use std::sync::Arc;

use super::{Axis, Row, Rows, Source};
use crate::workflow::node::{Located, Node, NodeValue};
use crate::workflow::problem::Problem;
use crate::workflow::reader::Reader;
use crate::workflow::source::Span;
use crate::workflow::tree::{Entries, find};

/// What the table of an axis may hold.
const KEYS: [&str; 4] = ["table", "glob", "rows", "key"];

impl Reader<'_> {
    /// Reads an axis.
    pub fn axis(&mut self, name: Located<String>, node: Node) -> Option<Axis> {
        let span = node.span;
        let what = format!("the axis `{}`", name.value);
        let (source, rows) = match node.value {
            NodeValue::Array(values) => {
                values.iter().for_each(|value| self.plain(value));
                self.distinct(&name.value, &values);
                let rows = values.into_iter().map(|key| Row {
                    key,
                    cells: Entries::new(),
                });
                (Source::Listed { key: None }, rows.collect())
            }
            NodeValue::Table(entries) => self.sourced(&what, entries, span)?,
            other => {
                self.wrong_type(&what, "a list", &other, span);
                return None;
            }
        };
        Some(Axis {
            name,
            source,
            span,
            rows: Arc::new(Rows::new(rows)),
        })
    }

    /// An axis whose values come from elsewhere, or are rows.
    fn sourced(&mut self, what: &str, entries: Entries, span: Span) -> Option<(Source, Vec<Row>)> {
        let before = self.problems.count();
        let (mut sources, mut key_column, mut rows) = (Vec::new(), None, Vec::new());
        let mut key_span = None;
        for (key, node) in entries {
            match key.value.as_str() {
                "table" => {
                    let path = self.string("`table`", node)?.value;
                    let key = String::new();
                    sources.push(Source::Table { path, key });
                }
                "glob" => {
                    let pattern = self.string("`glob`", node)?.value;
                    sources.push(Source::Glob { pattern });
                }
                "rows" => {
                    rows = self.array("`rows`", node)?;
                    sources.push(Source::Listed { key: None });
                }
                "key" => {
                    key_span = Some(key.span);
                    key_column = Some(self.string("`key`", node)?);
                }
                _ => self.unknown(&key, what, &KEYS),
            }
        }
        if self.problems.count() > before {
            return None;
        }
        let source = sources.pop().filter(|_| sources.is_empty());
        let column = key_column.map_or_else(String::new, |column| column.value);
        let source = match (source, key_span) {
            (Some(Source::Glob { .. }), Some(span)) => {
                self.problems.add(Problem::KeyOfGlob, span);
                return None;
            }
            (Some(Source::Glob { pattern }), None) => Source::Glob { pattern },
            (Some(Source::Table { path, .. }), Some(_)) => Source::Table { path, key: column },
            (Some(Source::Listed { .. }), Some(_)) => {
                let rows = self.listed(rows, &column);
                return Some((Source::Listed { key: Some(column) }, rows));
            }
            (Some(Source::Table { .. } | Source::Listed { .. }), None) => {
                self.problems.add(Problem::AxisWithoutKey, span);
                return None;
            }
            (Some(Source::Column { .. }) | None, _) => {
                self.problems.add(Problem::AxisWithoutSource, span);
                return None;
            }
        };
        Some((source, Vec::new()))
    }

    /// Rows that stand in the workflow.
    fn listed(&mut self, rows: Vec<Node>, column: &str) -> Vec<Row> {
        let mut found = Vec::new();
        for node in rows {
            self.plain(&node);
            let span = node.span;
            let cells = self.table("a row", node);
            match find(&cells, column) {
                Some(key) => found.push(Row {
                    key: key.clone(),
                    cells,
                }),
                None => {
                    let known = cells.iter().map(|(name, _)| name.value.clone()).collect();
                    let problem = Problem::NoColumn {
                        column: column.into(),
                        within: "this row".into(),
                        known,
                    };
                    self.problems.add(problem, span);
                }
            }
        }
        let keys: Vec<Node> = found.iter().map(|row| row.key.clone()).collect();
        self.distinct(column, &keys);
        found
    }
}
