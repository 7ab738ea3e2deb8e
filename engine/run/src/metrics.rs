//! Figures, read out of the files that a stage wrote them to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use flow_plan::plan::shown::{DVCLIVE, Form};
use flow_plan::plan::{Output, is_glob};
use flow_plan::workflow::yaml_data;
use flow_stage::ArtifactType;
use serde_json::{Map, Value};
use walkdir::WalkDir;

use crate::record::figures;

/// The file with the figures in DVCLive's folder.
const OF_DVCLIVE: &str = "metrics.json";

/// The figures in an output that lies at `path`, and what of it is no figure, each with the reason.
///
/// # Errors
/// Where a file can't be read, or holds no table of names and values.
pub(super) fn read(output: &Output, path: &Path) -> Result<(Map<String, Value>, Vec<String>)> {
    let mut found = Map::new();
    let mut others = Vec::new();
    if output.artifact == ArtifactType::Metrics {
        return Ok(figures::read(table(output, path, None)?));
    }
    let files = match output.role == DVCLIVE {
        // A run that logged no figure has none.
        true => Vec::from_iter(path.join(OF_DVCLIVE).is_file().then(|| OF_DVCLIVE.into())),
        false => files(path)?,
    };
    for file in files {
        let name = file.to_string_lossy();
        if Form::of(&name).is_none() {
            // Beside figures a folder may hold anything; what a glob matches is meant.
            if is_glob(&output.file) {
                others.push(format!("{name} (no file of figures by its ending)"));
            }
            continue;
        }
        let (mut of_file, others_of_file) =
            figures::read(table(output, &path.join(&file), Some(&name))?);
        others.extend(
            others_of_file
                .iter()
                .map(|other| format!("{name}: {other}")),
        );
        for part in parts(&name).into_iter().rev() {
            of_file = Map::from_iter([(part, Value::Object(of_file))]);
        }
        let mut twice = Vec::new();
        figures::merge(&mut found, of_file, &mut twice);
        let twice = twice.iter();
        others.extend(twice.map(|path| format!("{path} (a second time, in {name})")));
    }
    Ok((found, others))
}

/// What the figures of one of several files are called by: its path without the ending; a file called `metrics` by its folder.
fn parts(name: &str) -> Vec<String> {
    let (stem, _) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut parts: Vec<String> = stem.split('/').map(String::from).collect();
    if parts.last().is_some_and(|last| last == "metrics") {
        parts.pop();
    }
    parts
}

/// The files below a folder, by their paths there, sorted.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.with_context(|| format!("{} can't be read", folder.display()))?;
        if entry.file_type().is_file() {
            found.push(entry.path().strip_prefix(folder)?.into());
        }
    }
    Ok(found)
}

/// What a file of figures holds; `name` is its own where an output has several.
fn table(output: &Output, path: &Path, name: Option<&str>) -> Result<Map<String, Value>> {
    let role = &output.role;
    let what = match name {
        Some(name) => format!("{name} of its output `{role}`"),
        None => format!("its output `{role}`"),
    };
    let text = fs::read(path).with_context(|| format!("{what} can't be read"))?;
    // A file of a kind has the ending of its type.
    let form = Form::of(name.unwrap_or(&output.file)).unwrap_or(Form::Json);
    let value = match form {
        Form::Json => return json(&text).with_context(|| not_an_object(&what, &text)),
        Form::Yaml => std::str::from_utf8(&text)
            .map_err(|_| anyhow!("it is not valid UTF-8"))
            .and_then(|text| yaml_data(text).map_err(|error| anyhow!(error))),
        Form::Toml => std::str::from_utf8(&text)
            .map_err(|_| anyhow!("it is not valid UTF-8"))
            .and_then(|text| Ok(text.parse::<toml::Table>()?))
            .map(|table| plain(toml::Value::Table(table))),
    };
    match value.with_context(|| format!("{what} is not {form}"))? {
        Value::Object(table) => Ok(table),
        _ => bail!("{what} is no table of names and numbers"),
    }
}

fn json(text: &[u8]) -> Result<Map<String, Value>> {
    Ok(serde_json::from_slice(text)?)
}

fn not_an_object(what: &str, text: &[u8]) -> String {
    let odd = ["NaN", "Infinity"].iter().any(|word| {
        let mut places = text.windows(word.len());
        places.any(|bytes| bytes == word.as_bytes())
    });
    let hint = if odd {
        " (JSON has no NaN and no Infinity: write null)"
    } else {
        ""
    };
    format!("{what} is not a JSON object{hint}")
}

/// A TOML value as JSON; a number that is not finite is null, a date a text.
fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(boolean) => boolean.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(plain).collect(),
        toml::Value::Table(table) => {
            let entries = table.into_iter();
            Value::Object(entries.map(|(key, value)| (key, plain(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn output(role: &str, file: &str, artifact: ArtifactType) -> Output {
        Output {
            role: role.into(),
            artifact,
            file: file.into(),
        }
    }

    #[test]
    fn files_are_read_by_their_ending() {
        let folder = tempfile::tempdir().unwrap();
        let read = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::write(&path, text).unwrap();
            let output = output("metrics", file, ArtifactType::Metrics);
            super::read(&output, &path).map_err(|error| format!("{error:#}"))
        };
        let expected = json!({"prec": {"test": 0.9}, "loss": null});
        for (file, text) in [
            ("m.json", r#"{"prec": {"test": 0.9}, "loss": null}"#),
            ("m.yaml", "prec:\n  test: 0.9\nloss: .nan\n"),
            ("m.YML", "{prec: {test: 0.9}, loss: ~}"),
            ("m.toml", "loss = nan\n[prec]\ntest = 0.9\n"),
        ] {
            let (figures, others) = read(file, text).unwrap();
            assert_eq!(Value::Object(figures), expected, "{file}");
            assert_eq!(others, [""; 0], "{file}");
        }
        for (file, text, says) in [
            ("m.json", "[1]", "its output `metrics` is not a JSON object"),
            ("m.json", "{\"a\": NaN}", "write null"),
            ("m.yaml", "- 1\n", "no table of names and numbers"),
            ("m.yaml", "a: 1\na: 2\n", "is not YAML: line 2: the key"),
            ("m.toml", "a = \n", "its output `metrics` is not TOML"),
        ] {
            let error = read(file, text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let (_, others) = read("m.toml", "day = 2026-01-01\n").unwrap();
        assert_eq!(others, ["day (a text)"]);
    }

    #[test]
    fn several_files_are_called_by_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/deep")).unwrap();
        fs::write(at("a/metrics.json"), r#"{"x": 1, "note": "n"}"#).unwrap();
        fs::write(at("a/deep/b.yaml"), "y: 2\n").unwrap();
        fs::write(at("a.toml"), "x = 3\nz = 4\n").unwrap();
        fs::write(at("read.me"), "text").unwrap();
        let glob = output("metrics", "eval/*", ArtifactType::Folder);
        let (figures, others) = read(&glob, folder.path()).unwrap();
        assert_eq!(
            Value::Object(figures),
            json!({"a": {"x": 1, "deep": {"b": {"y": 2}}, "z": 4}})
        );
        assert_eq!(
            others,
            [
                "a/metrics.json: note (a text)",
                "a.x (a second time, in a.toml)",
                "read.me (no file of figures by its ending)"
            ]
        );
        let whole = output("metrics", "eval", ArtifactType::Folder);
        assert_eq!(read(&whole, folder.path()).unwrap().1.len(), 2);
    }
}
