//! How an output that was made again differs from the stored one: file by file, by what the formats mean.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::arrays::{self, Compared};
use crate::record::difference::{Difference, How};

/// The files that differ in two outputs, both files or both folders; in the order of their names.
///
/// # Errors
/// Where one can't be read.
pub fn compare(stored: &Path, made: &Path) -> Result<Vec<Difference>> {
    if stored.is_file() && made.is_file() {
        let how = files(stored, made)?;
        return Ok(how.map(whole).into_iter().collect());
    }
    let (mut then, mut now) = (BTreeSet::new(), BTreeSet::new());
    list(stored, "", &mut then)?;
    list(made, "", &mut now)?;
    let mut found = Vec::new();
    for file in then.union(&now) {
        let how = match (then.contains(file), now.contains(file)) {
            (true, false) => Some(How::Gone),
            (false, true) => Some(How::New),
            _ if file.ends_with('/') => None,
            _ => files(&stored.join(file), &made.join(file))?,
        };
        found.extend(how.map(|how| Difference {
            file: file.clone(),
            how,
        }));
    }
    Ok(found)
}

fn whole(how: How) -> Difference {
    Difference {
        file: String::new(),
        how,
    }
}

/// All files below a folder, and its empty folders with a slash at their end.
fn list(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let cannot = || format!("{} can't be read", folder.display());
    let mut empty = true;
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        empty = false;
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.insert(name);
        }
    }
    if empty && !prefix.is_empty() {
        found.insert(prefix.to_string());
    }
    Ok(())
}

/// How two files differ; none where they are the same bytes.
fn files(stored: &Path, made: &Path) -> Result<Option<How>> {
    let cannot = || {
        format!(
            "{} can't be compared with {}",
            made.display(),
            stored.display()
        )
    };
    let Some(at) = first_byte(stored, made).with_context(cannot)? else {
        return Ok(None);
    };
    let extension = stored.extension().and_then(|e| e.to_str()).unwrap_or("");
    let arrays = match extension {
        "npy" => arrays::npy(stored, made).with_context(cannot)?,
        "safetensors" => arrays::safetensors(stored, made).with_context(cannot)?,
        _ => Compared::Unknown,
    };
    match arrays {
        // Where no element differs the rest of the file does.
        Compared::Elements(elements) if elements.differing > 0 => {
            return Ok(Some(How::Elements(elements)));
        }
        Compared::Form(stored, made) => return Ok(Some(How::Form { stored, made })),
        Compared::Elements(_) | Compared::Unknown => {}
    }
    if extension == "json"
        && let Some(how) = values(stored, made).with_context(cannot)?
    {
        return Ok(Some(how));
    }
    if let Some(how) = lines(stored, made).with_context(cannot)? {
        return Ok(Some(how));
    }
    let size = |path: &Path| fs::metadata(path).map(|stat| stat.len());
    Ok(Some(How::Byte {
        at,
        stored: size(stored)?,
        made: size(made)?,
    }))
}

/// How many bytes are the same before the first that differs; none where all are.
fn first_byte(stored: &Path, made: &Path) -> io::Result<Option<u64>> {
    const AT_ONCE: usize = 1 << 16;
    let (mut a, mut b) = (File::open(stored)?, File::open(made)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut same = 0;
    loop {
        for (file, buffer) in [(&mut a, &mut left), (&mut b, &mut right)] {
            buffer.clear();
            file.take(AT_ONCE as u64).read_to_end(buffer)?;
        }
        if left != right {
            let equal = left.iter().zip(&right).take_while(|(x, y)| x == y).count();
            return Ok(Some(same + equal as u64));
        }
        if left.is_empty() {
            return Ok(None);
        }
        same += left.len() as u64;
    }
}

/// The first value that differs in two JSON files; none where they are not JSON, or the same but for their layout.
fn values(stored: &Path, made: &Path) -> io::Result<Option<How>> {
    let read = |path: &Path| fs::read(path).map(|text| serde_json::from_slice::<Value>(&text));
    let (Ok(then), Ok(now)) = (read(stored)?, read(made)?) else {
        return Ok(None);
    };
    Ok(first_value(&then, &now, String::new()))
}

fn first_value(then: &Value, now: &Value, at: String) -> Option<How> {
    let below = |step: &str| format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"));
    let one = |step: &str, then: Option<&Value>, now: Option<&Value>| match (then, now) {
        (Some(then), Some(now)) => first_value(then, now, below(step)),
        (then, now) => Some(How::Value {
            at: below(step),
            stored: then.cloned(),
            made: now.cloned(),
        }),
    };
    match (then, now) {
        (Value::Object(a), Value::Object(b)) => {
            let steps: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            steps
                .into_iter()
                .find_map(|step| one(step, a.get(step), b.get(step)))
        }
        (Value::Array(a), Value::Array(b)) => {
            (0..a.len().max(b.len())).find_map(|i| one(&i.to_string(), a.get(i), b.get(i)))
        }
        _ => (then != now).then(|| How::Value {
            at,
            stored: Some(then.clone()),
            made: Some(now.clone()),
        }),
    }
}

/// The first line that differs in two texts; none where they are no texts up to there.
fn lines(stored: &Path, made: &Path) -> io::Result<Option<How>> {
    let (mut a, mut b) = (
        BufReader::new(File::open(stored)?),
        BufReader::new(File::open(made)?),
    );
    let mut line = 0;
    loop {
        line += 1;
        let (then, now) = (text_line(&mut a)?, text_line(&mut b)?);
        match (&then, &now) {
            (Text::Binary, _) | (_, Text::Binary) | (Text::End, Text::End) => return Ok(None),
            _ if then == now => {}
            _ => {
                return Ok(Some(How::Line {
                    line,
                    stored: then.line(),
                    made: now.line(),
                }));
            }
        }
    }
}

#[derive(PartialEq)]
enum Text {
    Line(String),
    End,
    Binary,
}

impl Text {
    fn line(self) -> Option<String> {
        match self {
            Text::Line(text) => Some(text.trim_end_matches(['\n', '\r']).to_string()),
            Text::End | Text::Binary => None,
        }
    }
}

fn text_line(reader: &mut impl BufRead) -> io::Result<Text> {
    /// No line that a person wrote or reads is longer.
    const LONGEST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    reader.take(LONGEST).read_until(b'\n', &mut bytes)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Text::End,
        Ok(text) if !text.contains('\0') => Text::Line(text),
        _ => Text::Binary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn how(name: &str, stored: &[u8], made: &[u8]) -> Option<How> {
        let folder = tempfile::tempdir().unwrap();
        let file = |side: &str, bytes: &[u8]| {
            let path = folder.path().join(side).join(name);
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        };
        let found = compare(&file("stored", stored), &file("made", made)).unwrap();
        assert!(found.len() <= 1);
        found.into_iter().next().map(|difference| difference.how)
    }

    fn line(line: u64, stored: Option<&str>, made: Option<&str>) -> Option<How> {
        Some(How::Line {
            line,
            stored: stored.map(String::from),
            made: made.map(String::from),
        })
    }

    #[test]
    fn text_differs_in_its_first_line_that_is_not_the_same() {
        assert_eq!(how("t.csv", b"a,b\n1,2\n", b"a,b\n1,2\n"), None);
        assert_eq!(
            how("t.csv", b"a,b\n1,2\n", b"a,b\n1,3\n"),
            line(2, Some("1,2"), Some("1,3"))
        );
        assert_eq!(how("t.csv", b"a\n", b"a\nb\n"), line(2, None, Some("b")));
        // A line break at the end is not nothing.
        assert_eq!(how("t", b"a", b"a\n"), line(1, Some("a"), Some("a")));
        assert_eq!(how("t", b"", b"x"), line(1, None, Some("x")));
    }

    #[test]
    fn json_differs_in_its_first_value_that_is_not_the_same() {
        let value = |at: &str, stored: Option<Value>, made: Option<Value>| {
            let at = at.to_string();
            Some(How::Value { at, stored, made })
        };
        assert_eq!(
            how(
                "m.json",
                br#"{"a":1,"b":[1,{"c/d":2}]}"#,
                br#"{"a":1,"b":[1,{"c/d":3}]}"#
            ),
            value("/b/1/c~1d", Some(json!(2)), Some(json!(3)))
        );
        assert_eq!(
            how("m.json", br#"{"a":1}"#, br#"{"a":1,"b":null}"#),
            value("/b", None, Some(Value::Null))
        );
        assert_eq!(
            how("m.json", b"[1]", b"{}"),
            value("", Some(json!([1])), Some(json!({})))
        );
        // The same values in another layout, and what is no JSON, differ as text.
        assert_eq!(
            how("m.json", b"[1]", b"[ 1]"),
            line(1, Some("[1]"), Some("[ 1]"))
        );
        assert_eq!(how("m.json", b"[1", b"[2"), line(1, Some("[1"), Some("[2")));
    }

    #[test]
    fn what_is_no_text_differs_in_its_first_byte() {
        let byte = |at, stored, made| Some(How::Byte { at, stored, made });
        assert_eq!(how("x.bin", b"\x00abc", b"\x00abd"), byte(3, 4, 4));
        assert_eq!(how("x.bin", b"\xff\xfe", b"\xff\xfe\x00"), byte(2, 2, 3));
        // A damaged array is still compared as bytes.
        assert_eq!(
            how("x.npy", b"\x93NUMPY\x01", b"\x93NUMPY\x02"),
            byte(6, 7, 7)
        );
    }

    #[test]
    fn folders_differ_in_files_and_empty_folders() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for side in ["stored", "made"] {
            write(&format!("{side}/same"), "x");
            write(&format!("{side}/deep/text"), side);
        }
        write("stored/gone", "");
        write("made/new/file", "");
        fs::create_dir(folder.path().join("made/empty")).unwrap();
        let found = compare(&folder.path().join("stored"), &folder.path().join("made")).unwrap();
        let names: Vec<(&str, bool, bool)> = found
            .iter()
            .map(|d| (d.file.as_str(), d.how == How::Gone, d.how == How::New))
            .collect();
        assert_eq!(
            names,
            [
                ("deep/text", false, false),
                ("empty/", false, true),
                ("gone", true, false),
                ("new/file", false, true)
            ]
        );
    }
}
