//! Rows of a file. What CSV and TSV hold is text; JSON and Parquet have types.

use std::path::Path;

use super::{Files, Row, parquet};
use crate::workflow::node::{Located, NodeValue};
use crate::workflow::problem::Problem;
use crate::workflow::reader::Reader;
use crate::workflow::source::Span;
use crate::workflow::tree::{Entries, find};
use crate::workflow::yaml;

/// So many mistakes of one table are shown.
const SHOWN: usize = 10;
/// A table has no more bytes: it is read whole, and kept with each run.
const LARGEST: u64 = 256 << 20;

impl Files<'_> {
    /// The rows of a file whose names stand in the column `key`; `span` is where the file is named.
    pub fn table(&mut self, path: &str, key: &str, span: Span) -> Option<Vec<Row>> {
        let ending = Path::new(path).extension().and_then(|e| e.to_str());
        let ending = ending.map(str::to_ascii_lowercase);
        let form = ending.as_deref().unwrap_or_default();
        if !matches!(form, "csv" | "tsv" | "json" | "parquet") {
            let path = path.to_string();
            self.problems.add(Problem::UnknownTable { path }, span);
            return None;
        }
        let (text, place) = self.text(path, form == "parquet", span)?;
        // A byte order mark is no part of what is written.
        let bom = text.len() - text.trim_start_matches('\u{feff}').len();
        let (text, place) = (&text[bom..], place.inside(bom..text.len()));
        let rows = match form {
            "csv" => self.separated(text, b',', path, key, place),
            "tsv" => self.separated(text, b'\t', path, key, place),
            _ => self.json(text, path, key, place),
        };
        let rows = rows?;
        self.check_names(&rows, path);
        Some(rows)
    }

    /// The text of a file, and its place; of Parquet as JSON.
    fn text(&mut self, path: &str, is_parquet: bool, span: Span) -> Option<(String, Span)> {
        let whole = self.root.join(path);
        let unreadable = |cause: String| Problem::Unreadable {
            path: path.into(),
            cause,
        };
        if let Some(kept) = self.sources.kept(&whole) {
            let text = kept.to_string();
            let shown = near(&whole);
            let digest = blake3::hash(text.as_bytes());
            let source = match is_parquet {
                true => self.sources.add_binary(&shown, text.clone(), digest),
                false => self.sources.add_file(&shown, text.clone()),
            };
            let place = Span::new(source, 0..text.len());
            return Some((text, place));
        }
        let size = std::fs::metadata(&whole).map(|found| found.len());
        let bytes = match size {
            Ok(size) if size > LARGEST => {
                let problem = unreadable(format!("it has more than {} MiB", LARGEST >> 20));
                self.problems.add(problem, span);
                return None;
            }
            Ok(_) => std::fs::read(&whole),
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                self.problems.add(unreadable(error.to_string()), span);
                return None;
            }
        };
        if is_parquet {
            let digest = blake3::hash(&bytes);
            return match parquet::as_json(&whole) {
                Ok(text) => {
                    let shown = near(&whole);
                    let source = self.sources.add_binary(&shown, text.clone(), digest);
                    let place = Span::new(source, 0..text.len());
                    Some((text, place))
                }
                Err(cause) => {
                    self.problems.add(unreadable(cause), span);
                    None
                }
            };
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let source = self.sources.add_file(&near(&whole), text.clone());
                let place = Span::new(source, 0..text.len());
                Some((text, place))
            }
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = &error.as_bytes()[..good];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let path = path.to_string();
                self.problems.add(Problem::NotUtf8 { path, line }, span);
                None
            }
        }
    }

    /// Lines of cells, the first of them the names of the columns.
    fn separated(
        &mut self,
        text: &str,
        separator: u8,
        path: &str,
        key: &str,
        place: Span,
    ) -> Option<Vec<Row>> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut columns: Option<Vec<Located<String>>> = None;
        let mut rows = Vec::new();
        let mut wrong = 0;
        let mut record = csv::StringRecord::new();
        loop {
            let start = offset(reader.position());
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let (path, cause) = (path.to_string(), error.to_string());
                    let problem = Problem::Unreadable { path, cause };
                    self.problems.add(problem, place);
                    return None;
                }
            }
            let span = place.inside(trimmed(text, start, offset(reader.position())));
            let Some(columns) = &columns else {
                columns = Some(self.header(&record, path, key, span)?);
                continue;
            };
            if record.len() != columns.len() {
                let problem = Problem::Ragged {
                    path: path.into(),
                    found: record.len(),
                    wanted: columns.len(),
                };
                self.problems.add(problem, span);
                wrong += 1;
                if wrong == SHOWN {
                    return None;
                }
                continue;
            }
            let cells = columns.iter().zip(&record).map(|(name, cell)| {
                let value = NodeValue::String(cell.into());
                (name.clone(), Located { value, span })
            });
            let cells: Entries = cells.collect();
            let key = find(&cells, key).cloned();
            rows.extend(key.map(|key| Row { key, cells }));
        }
        if columns.is_none() {
            let path = path.to_string();
            self.problems.add(Problem::EmptyTable { path }, place);
            return None;
        }
        Some(rows)
    }

    /// The names of the columns.
    fn header(
        &mut self,
        record: &csv::StringRecord,
        path: &str,
        key: &str,
        span: Span,
    ) -> Option<Vec<Located<String>>> {
        let columns: Vec<String> = record.iter().map(String::from).collect();
        for (i, column) in columns.iter().enumerate() {
            if columns[..i].contains(column) {
                let (column, path) = (column.clone(), path.to_string());
                self.problems
                    .add(Problem::ColumnTwice { column, path }, span);
                return None;
            }
        }
        if !columns.iter().any(|column| column == key) {
            self.no_column(key, path, columns, span);
            return None;
        }
        let located = columns.into_iter().map(|value| Located { value, span });
        Some(located.collect())
    }

    fn no_column(&mut self, column: &str, path: &str, known: Vec<String>, span: Span) {
        let problem = Problem::NoColumn {
            column: column.into(),
            within: format!("`{path}`"),
            known,
        };
        self.problems.add(problem, span);
    }

    /// A list of tables.
    fn json(&mut self, text: &str, path: &str, key: &str, place: Span) -> Option<Vec<Row>> {
        let values = yaml::json(text, place, self.problems)?;
        let reader = &mut Reader {
            problems: self.problems,
        };
        let items = reader.array(&format!("`{path}`"), values.root)?;
        let mut rows = Vec::new();
        let mut wrong = 0;
        for item in items {
            let span = item.span;
            let reader = &mut Reader {
                problems: self.problems,
            };
            let mut cells = reader.table("a row", item);
            // What is null is not there.
            cells.retain(|(_, node)| !values.nulls.contains(&node.span));
            match find(&cells, key).cloned() {
                Some(key) => rows.push(Row { key, cells }),
                None => {
                    let known = cells.iter().map(|(name, _)| name.value.clone()).collect();
                    self.no_column(key, path, known, span);
                    wrong += 1;
                    if wrong == SHOWN {
                        return None;
                    }
                }
            }
        }
        Some(rows)
    }
}

fn offset(position: &csv::Position) -> usize {
    usize::try_from(position.byte()).unwrap_or(usize::MAX)
}

/// The part of a text between two places, without the line breaks around it.
fn trimmed(text: &str, start: usize, end: usize) -> std::ops::Range<usize> {
    let part = text.get(start..end.min(text.len())).unwrap_or("");
    let breaks = ['\r', '\n'];
    let before = part.len() - part.trim_start_matches(breaks).len();
    let inner = part.trim_matches(breaks).len();
    start + before..start + before + inner
}

/// A path as messages call it: from the working directory where it lies below that.
pub(super) fn near(path: &Path) -> std::path::PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).to_path_buf()
}
