//! Rows of named columns, read out of JSON, CSV and TSV.

use serde_json::{Map, Number, Value, json};

/// More rows than this make no chart.
pub const MOST: usize = 100_000;

/// What a file holds.
pub struct Rows<'a> {
    /// Names of columns, in the file's order.
    pub columns: Vec<String>,
    /// As many cells each; null where there is none.
    pub rows: Vec<Vec<Value>>,
    lines: Lines<'a>,
}

/// How the line of a row is found.
enum Lines<'a> {
    /// By number.
    Known(Vec<u64>),
    /// In a JSON text: the objects that lie directly in a list, as deep as that.
    Objects(&'a [u8], usize),
    /// Not by row.
    Unknown,
}

impl<'a> Rows<'a> {
    /// Reads a file by the ending of its name: `.json` (a list of objects, an object of columns, or an object with one list of
    /// objects in it), `.csv`, `.tsv`.
    ///
    /// # Errors
    /// What is wrong, beginning with the file's name and, where known, the line.
    pub fn read(name: &str, content: &'a [u8]) -> Result<Rows<'a>, String> {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let rows = match ending.to_ascii_lowercase().as_str() {
            "json" => json_rows(name, content)?,
            "csv" => Rows::table(name, content, b',')?,
            "tsv" => Rows::table(name, content, b'\t')?,
            _ => {
                return Err(format!(
                    "{name} is no plot by its ending: .json, .csv and .tsv have rows, .png, .jpg and .svg are pictures"
                ));
            }
        };
        match rows.rows.len() {
            0 => Err(format!("{name} has no rows")),
            many if many > MOST => Err(format!(
                "{name} has {many} rows, and a chart shows {MOST} at most"
            )),
            _ => Ok(rows),
        }
    }

    /// Reads CSV with this delimiter. A column whose cells are all numbers, or empty, is one of numbers, as Vega-Lite reads it.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn table(name: &str, content: &[u8], delimiter: u8) -> Result<Rows<'a>, String> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .from_reader(content);
        let wrong = |error: csv::Error| match error.position() {
            Some(position) => format!(
                "{name}:{}: it can't be read as a table: {error}",
                position.line()
            ),
            None => format!("{name} can't be read as a table: {error}"),
        };
        let columns = reader.headers().map_err(wrong)?.clone();
        let mut records = Vec::new();
        for record in reader.records() {
            records.push(record.map_err(wrong)?);
        }
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let numeric: Vec<bool> = (0..columns.len())
            .map(|column| {
                let mut cells = records.iter().filter_map(|record| record.get(column));
                cells.all(|cell| cell.is_empty() || number(cell).is_some())
            })
            .collect();
        let rows = records.iter().map(|record| {
            let cells = record.iter().zip(&numeric).map(|(cell, numeric)| {
                if !numeric {
                    return json!(cell);
                }
                let finite = number(cell).and_then(Number::from_f64);
                finite.map_or(Value::Null, Value::Number)
            });
            cells.collect()
        });
        let rows = rows.collect();
        let lines = records.iter().map(|record| record.position());
        Ok(Rows {
            columns: columns.iter().map(String::from).collect(),
            rows,
            lines: Lines::Known(lines.map(|at| at.map_or(0, csv::Position::line)).collect()),
        })
    }

    /// Where a row stands, as `name:line`, else as the name and the row's number.
    pub fn place(&self, name: &str, row: usize) -> String {
        match &self.lines {
            Lines::Known(lines) => format!("{name}:{}", lines[row]),
            Lines::Objects(text, depth) => match object(text, *depth, row) {
                Some(line) => format!("{name}:{line}"),
                None => format!("{name}, row {}", row + 1),
            },
            Lines::Unknown => format!("{name}, row {}", row + 1),
        }
    }

    /// The place of a column.
    ///
    /// # Errors
    /// That there is none, and which there are.
    pub fn column(&self, name: &str, column: &str) -> Result<usize, String> {
        let mut all = self.columns.iter();
        all.position(|known| known == column).ok_or_else(|| {
            let known: Vec<String> = self.columns.iter().map(|c| format!("`{c}`")).collect();
            format!(
                "{}: there is no column `{column}`; it has {}",
                self.head(name),
                known.join(", ")
            )
        })
    }

    /// Where the columns are named.
    pub fn head(&self, name: &str) -> String {
        match &self.lines {
            Lines::Known(_) => format!("{name}:1"),
            Lines::Objects(..) => self.place(name, 0),
            Lines::Unknown => name.into(),
        }
    }

    /// Whether all cells of a column are numbers, or empty, and some is a number.
    pub fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().map(|row| &row[column]);
        cells.clone().all(|cell| cell.is_number() || cell.is_null()) && cells.any(Value::is_number)
    }

    /// The rows as objects.
    pub fn objects(self) -> Value {
        let rows = self.rows.into_iter().map(|row| {
            let cells = self.columns.iter().cloned().zip(row);
            Value::Object(Map::from_iter(cells))
        });
        rows.collect()
    }
}

fn json_rows<'a>(name: &str, content: &'a [u8]) -> Result<Rows<'a>, String> {
    let value = match serde_json::from_slice(content) {
        Ok(value) => value,
        // Python writes numbers that are not finite as JSON has none.
        Err(error) => serde_json::from_slice(&finite(content))
            .map_err(|_| format!("{name}:{}: it is not JSON: {error}", error.line()))?,
    };
    let is_rows = |value: &Value| {
        let rows = value.as_array();
        rows.is_some_and(|rows| !rows.is_empty() && rows.iter().all(Value::is_object))
    };
    let nothing = || {
        format!(
            "{name} holds no rows: they are a list of objects, an object of columns, or an object with one list of objects \
             in it"
        )
    };
    match &value {
        list if is_rows(list) => Ok(objects(list, content, 1)),
        Value::Array(list) if list.is_empty() => Err(format!("{name} has no rows")),
        Value::Object(fields) => {
            let mut inside = fields.values().filter(|value| is_rows(value));
            match (inside.next(), inside.next()) {
                (Some(list), None) => Ok(objects(list, content, 2)),
                (Some(_), Some(_)) => Err(format!(
                    "{name} has more than one list of rows; a plot is of one"
                )),
                _ => columns(name, fields)?.ok_or_else(nothing),
            }
        }
        _ => Err(nothing()),
    }
}

fn objects<'a>(list: &Value, content: &'a [u8], depth: usize) -> Rows<'a> {
    let list = || list.as_array().into_iter().flatten();
    let mut columns: Vec<String> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for name in list().filter_map(Value::as_object).flat_map(Map::keys) {
        if known.insert(name) {
            columns.push(name.clone());
        }
    }
    let rows = list().map(|row| {
        let cells = columns.iter().map(|column| row[column.as_str()].clone());
        cells.collect()
    });
    let rows = rows.collect();
    Rows {
        columns,
        rows,
        lines: Lines::Objects(content, depth),
    }
}

/// Columns, each a list; none where there is no list.
fn columns<'a>(name: &str, fields: &Map<String, Value>) -> Result<Option<Rows<'a>>, String> {
    let lists: Vec<(&String, &Vec<Value>)> = fields
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_array()?)))
        .collect();
    let Some(&(first, longest)) = lists.first() else {
        return Ok(None);
    };
    if let Some((other, cells)) = lists.iter().find(|(_, cells)| cells.len() != longest.len()) {
        return Err(format!(
            "{name}: its columns are of different lengths: `{first}` has {}, `{other}` {}",
            longest.len(),
            cells.len()
        ));
    }
    let rows = (0..longest.len()).map(|row| {
        let cells = lists.iter().map(|(_, cells)| cells[row].clone());
        cells.collect()
    });
    Ok(Some(Rows {
        columns: lists.iter().map(|(name, _)| (*name).clone()).collect(),
        rows: rows.collect(),
        lines: Lines::Unknown,
    }))
}

/// A JSON text with `null` in the place of the words that Python writes for numbers that are not finite.
fn finite(text: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut quoted = false;
    while let Some(&byte) = rest.first() {
        let word = ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|word| !quoted && rest.starts_with(word.as_bytes()));
        if let Some(word) = word {
            made.extend(b"null");
            rest = &rest[word.len()..];
            continue;
        }
        let length = if quoted && byte == b'\\' { 2 } else { 1 };
        quoted ^= byte == b'"';
        made.extend(&rest[..length.min(rest.len())]);
        rest = rest.get(length..).unwrap_or_default();
    }
    made
}

/// The line on which an object begins that lies directly in a list, so deep in brackets, by number.
fn object(text: &[u8], depth: usize, number: usize) -> Option<usize> {
    let (mut line, mut quoted, mut escaped) = (1, false, false);
    let mut open = Vec::new();
    let mut seen = 0;
    for &byte in text {
        line += usize::from(byte == b'\n');
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                if byte == b'{' && open.len() == depth && open.last() == Some(&b'[') {
                    if seen == number {
                        return Some(line);
                    }
                    seen += 1;
                }
                open.push(byte);
            }
            b'}' | b']' => drop(open.pop()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Value, String> {
        Ok(Rows::read(name, text.as_bytes())?.objects())
    }

    #[test]
    fn rows_come_in_all_their_forms() {
        let expected = json!([{"fpr": 0.0, "tpr": 0.5}, {"fpr": 1.0, "tpr": null}]);
        for (name, text) in [
            ("a.json", r#"[{"fpr": 0.0, "tpr": 0.5}, {"fpr": 1.0}]"#),
            (
                "a.json",
                r#"{"fpr": [0.0, 1.0], "tpr": [0.5, null], "auc": 0.7}"#,
            ),
            (
                "a.json",
                r#"{"roc": [{"fpr": 0.0, "tpr": 0.5}, {"fpr": 1.0, "tpr": Infinity}], "auc": 0.5}"#,
            ),
            ("a.csv", "fpr,tpr\n0,0.5\n1,\n"),
            ("a.TSV", "fpr\ttpr\r\n0\t0.5\r\n1\tnan\r\n"),
        ] {
            assert_eq!(read(name, text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            read("a.csv", "class,n\n\"cat, \"\"big\"\"\",1\n").unwrap(),
            json!([{"class": "cat, \"big\"", "n": 1.0}])
        );
        assert_eq!(
            read(
                "a.json",
                r#"[{"a": "NaN \" Infinity", "b": NaN, "c": -Infinity}]"#
            )
            .unwrap(),
            json!([{"a": "NaN \" Infinity", "b": null, "c": null}])
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        for (name, text, says) in [
            ("e/a.json", "[1, 2]", "e/a.json holds no rows"),
            ("a.json", "{\n\"a\": [1,\n}", "a.json:3: it is not JSON: "),
            ("a.json", "[]", "a.json has no rows"),
            (
                "a.json",
                "{\"a\": [1], \"b\": [1, 2]}",
                "a.json: its columns are of different lengths: `a` has 1, `b` 2",
            ),
            (
                "a.json",
                "{\"a\": [{}], \"b\": [{}]}",
                "more than one list of rows",
            ),
            (
                "a.csv",
                "a,b\n1,2\n3\n",
                "a.csv:3: it can't be read as a table: ",
            ),
            ("a.csv", "a,b\n", "a.csv has no rows"),
            ("a.xml", "<a/>", "a.xml is no plot by its ending"),
        ] {
            let error = read(name, text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let text = "{\"roc\": [\n {\"a\": \"{[\\\"\"},\n {\"a\": {\"b\": [{}]}},\n {}\n]}";
        let rows = Rows::read("r.json", text.as_bytes()).unwrap();
        assert_eq!(rows.place("r.json", 2), "r.json:4");
        assert_eq!(
            rows.column("r.json", "b").unwrap_err(),
            "r.json:2: there is no column `b`; it has `a`"
        );
        let rows = Rows::read("r.csv", b"a\n\"1\n2\"\n3\n").unwrap();
        assert_eq!(rows.place("r.csv", 1), "r.csv:4");
    }
}
