//! The axes of a workflow in which they are known by their names, and what `${matrix.…}` stands for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::coordinates::Coordinates;
use super::file_names::file_names;
use super::plain_text;
use crate::workflow::axes::{Row, Rows, Source};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{Axis, Column, Located, Node, NodeValue, Stage, Workflow};

/// The axes, by name. Where they are known by stage instead, there is none here.
#[derive(Default)]
pub(super) struct Axes {
    by_name: HashMap<String, Axis>,
    /// Whether all declarations of each name have one source.
    pub sound: bool,
    /// The names of files that values make, by axis: made when first asked for.
    files: HashMap<String, HashMap<String, String>>,
}

impl Axes {
    /// Those that stages declare. Two declarations of one name have to have one source.
    pub fn of(workflow: &Workflow, problems: &mut Problems) -> Axes {
        let mut axes = Axes {
            sound: true,
            ..Axes::default()
        };
        if workflow.by_name {
            for axis in workflow.stages.iter().flat_map(|stage| &stage.matrix) {
                axes.sound &= axes.add(axis, problems);
            }
        }
        axes
    }

    /// Takes in a declaration; says whether it fits those that were there.
    fn add(&mut self, axis: &Axis, problems: &mut Problems) -> bool {
        match self.by_name.get(&axis.name.value) {
            Some(known) if known.is_same(axis) => true,
            Some(known) => {
                let problem = Problem::AxisDiffers {
                    axis: axis.name.value.clone(),
                    other: known.span,
                };
                problems.add(problem, axis.span);
                false
            }
            None => {
                self.by_name.insert(axis.name.value.clone(), axis.clone());
                true
            }
        }
    }

    /// The key of an axis that a stage declares, in coordinates.
    pub fn key(stage: &Stage, axis: &str, by_name: bool) -> (String, String) {
        let stage = match by_name {
            true => String::new(),
            false => stage.name.value.clone(),
        };
        (stage, axis.into())
    }

    /// The axis that a column makes. Says whether it could be made.
    pub fn derive(&mut self, by: &Located<Column>, problems: &mut Problems) -> bool {
        let Some(column) = &by.value.column else {
            return true;
        };
        let source = Source::Column {
            axis: by.value.axis.clone(),
            column: column.clone(),
        };
        // Of thousands of values: once.
        if let Some(known) = self.by_name.get(column)
            && known.source == source
        {
            return true;
        }
        let Some(axis) = self.by_name.get(&by.value.axis) else {
            // Something is wrong with it, which is said.
            return false;
        };
        let mut rows: Vec<Row> = Vec::new();
        let mut seen = HashSet::new();
        for row in axis.rows.iter() {
            let key = row.at(column).filter(|node| {
                let is_plain = !matches!(node.value, NodeValue::Array(_) | NodeValue::Table(_));
                is_plain && !node.value.text().is_empty()
            });
            let Some(key) = key else {
                let known: Vec<String> = row.columns().map(String::from).collect();
                let problem = match known.contains(column) {
                    true => Problem::NothingToGatherBy {
                        key: row.key.value.text(),
                        column: column.clone(),
                    },
                    false => Problem::NoColumn {
                        column: column.clone(),
                        within: format!("the axis `{}`", by.value.axis),
                        known,
                    },
                };
                let span = match known_cell(row, column) {
                    true => row.key.span,
                    false => by.span,
                };
                problems.add(problem, span);
                return false;
            };
            if seen.insert(key.value.text()) {
                rows.push(Row {
                    key: key.clone(),
                    cells: Vec::new(),
                });
            }
        }
        let derived = Axis {
            name: Located {
                value: column.clone(),
                span: by.span,
            },
            source,
            span: by.span,
            rows: Arc::new(Rows::new(rows)),
        };
        self.add(&derived, problems)
    }

    /// What a row of an axis has in the column of `by`, or its key.
    pub fn gathered_by(&self, by: &Column, key: &serde_json::Value) -> Option<serde_json::Value> {
        match &by.column {
            None => Some(key.clone()),
            Some(column) => {
                let row = self.by_name.get(&by.axis)?.rows.find(&plain_text(key))?;
                Some(row.at(column)?.value.json())
            }
        }
    }

    /// What `matrix.NAME` stands for at a point.
    ///
    /// # Errors
    /// The names that it could be.
    pub fn value(&self, point: &Coordinates, name: &str) -> Result<&Node, Problem> {
        let (axis, way) = name.split_once('.').unwrap_or((name, ""));
        let at = point.get(&(String::new(), axis.to_string()));
        let row = at.and_then(|key| {
            let axis = self.by_name.get(axis)?;
            axis.rows.find(&plain_text(key))
        });
        if let Some(node) = row.and_then(|row| row.at(way)) {
            return Ok(node);
        }
        let mut known: Vec<String> = point.keys().map(|(_, a)| format!("matrix.{a}")).collect();
        known.extend(row.into_iter().flat_map(|row| {
            let columns = row.columns();
            columns.map(|column| format!("matrix.{axis}.{column}"))
        }));
        Err(Problem::UnknownName {
            name: format!("matrix.{name}"),
            known,
        })
    }

    /// The name of a file that a value of an axis makes: no two values of it make one, even where capitals count for nothing.
    pub fn file_name(&mut self, axis: &str, value: &str) -> String {
        if !self.files.contains_key(axis) {
            let rows = self.by_name.get(axis).map(|axis| axis.rows.clone());
            let values: Vec<String> = rows.iter().flat_map(|rows| rows.names()).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let names = file_names(&values);
            let names = values.iter().map(ToString::to_string).zip(names);
            self.files.insert(axis.into(), names.collect());
        }
        let known = self.files[axis].get(value).cloned();
        known.unwrap_or_else(|| file_names(&[value]).remove(0))
    }
}

fn known_cell(row: &Row, column: &str) -> bool {
    row.columns().any(|known| known == column)
}
