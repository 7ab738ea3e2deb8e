//! What a stage made: there, of the declared kind, and its figures.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use flow_cache::DraftOutput;
use flow_plan::plan::Output;
use flow_stage::ArtifactType;
use flow_stage::view::{self, Coordinates, Item, View};
use serde_json::{Map, Value};

use super::folder::{self, Known};
use super::request::{Request, Task};
use crate::metrics;
use crate::plots;
use crate::record::event::Event;
use crate::record::figures;

/// Checks the declared outputs and reads the figures out of the metrics among them. `known` says what else is in folders and
/// in the store already.
pub(super) fn collect(
    request: &Request,
    at: &Path,
    mut known: Known,
    tell: &impl Fn(Event),
) -> Result<(BTreeMap<String, DraftOutput>, Map<String, Value>)> {
    let faults = match &request.task {
        Task::Command(program) => {
            plots::ended::faults(&program.plots, &request.outputs, at, &known)
        }
        Task::Kind { .. } => Vec::new(),
    };
    let mut kept = BTreeMap::new();
    let mut found = Map::new();
    let of_kind = matches!(request.task, Task::Kind { .. });
    for output in &request.outputs {
        let path = at.join(folder::output_place(output));
        check(output, &path, of_kind)?;
        if output.has_figures() {
            let (figures, mut others) = metrics::read(output, &path)?;
            let mut twice = Vec::new();
            figures::merge(&mut found, figures, &mut twice);
            let twice = twice.iter();
            others.extend(twice.map(|path| format!("{path} (a second time)")));
            // Kinds know what they write; who writes a program counts on all of it.
            if !others.is_empty() && !of_kind {
                let message = no_figures(&output.role, &others);
                let label = Some(request.label.clone());
                tell(Event::Warning { label, message });
            }
        }
        if output.artifact == ArtifactType::View
            && let Some(problem) = problem(&path)
        {
            // What can't be shown is not worth the work of a stage that ended well.
            let role = &output.role;
            let message = format!("its output `{role}` can't be shown: {problem}");
            let label = Some(request.label.clone());
            tell(Event::Warning { label, message });
        }
        let artifact = output.artifact.to_string();
        let known = known.remove(&output.role).unwrap_or_default();
        let draft = DraftOutput {
            path,
            artifact,
            known,
        };
        kept.insert(output.role.clone(), draft);
    }
    let declared = |name: &str| {
        request.outputs.iter().any(|o| {
            Path::new(&o.file)
                .components()
                .next()
                .is_some_and(|c| c.as_os_str() == name)
        })
    };
    let left = fs::read_dir(at).into_iter().flatten().flatten();
    // Of a program only outputs come here.
    for entry in left.filter(|_| of_kind) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !declared(&name) {
            let message =
                format!("it wrote `{name}`, which is not a declared output and is not kept");
            tell(Event::Warning {
                label: Some(request.label.clone()),
                message,
            });
        }
    }
    for message in faults {
        let label = Some(request.label.clone());
        tell(Event::Warning { label, message });
    }
    Ok((kept, found))
}

/// Whether an output is there, and of the declared sort.
///
/// # Errors
/// Where it is not.
pub(super) fn check(output: &Output, path: &Path, of_kind: bool) -> Result<()> {
    let role = &output.role;
    let Ok(metadata) = path.symlink_metadata() else {
        bail!(
            "it ended well and did not write its output `{role}` ({})",
            output.file
        );
    };
    if metadata.is_dir() && !output.artifact.is_folder() {
        let hint = if of_kind {
            ""
        } else {
            "; a folder is declared with a slash at its end"
        };
        bail!("its output `{role}` has to be a file, and is a folder{hint}");
    }
    ensure!(
        metadata.is_dir() || !output.artifact.is_folder(),
        "its output `{role}` has to be a folder"
    );
    if matches!(
        output.artifact,
        ArtifactType::Array | ArtifactType::Labels | ArtifactType::Mask
    ) {
        let mut magic = [0; 6];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        ensure!(
            read.is_ok() && magic == *b"\x93NUMPY",
            "its output `{role}` is not a .npy file"
        );
    }
    Ok(())
}

/// What is wrong with the view in a folder.
fn problem(folder: &Path) -> Option<String> {
    let file = |name: &str| {
        let path = folder.join(name);
        // A link would lead out of the folder.
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(path),
            Ok(_) => Err(format!("`{name}` is not a file")),
            Err(_) => Err(format!("it has no file `{name}`")),
        }
    };
    let read = |name: &str| {
        fs::read(file(name)?).map_err(|error| format!("`{name}` can't be read: {error}"))
    };
    let check = || {
        let view = View::parse(&read(view::FILE)?)?;
        for name in view.files() {
            file(name)?;
        }
        for item in &view.items {
            if let Item::Points(points) = item {
                let name = &points.file;
                Coordinates::parse(&read(name)?).map_err(|error| format!("`{name}`: {error}"))?;
            }
        }
        Ok::<(), String>(())
    };
    check().err()
}

/// What is said of the values of a metrics file that are no figures.
fn no_figures(role: &str, others: &[String]) -> String {
    const NAMED: usize = 5;
    let named = others.iter().take(NAMED).cloned().collect::<Vec<_>>();
    let more = match others.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "its output `{role}` has values that are no figures: {}{more}; tables show numbers, and null for one that is not \
         finite",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_view_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let of = |text: &str| {
            fs::write(path.join("view.json"), text).unwrap();
            problem(path).unwrap_or_default()
        };
        assert_eq!(problem(path).unwrap(), "it has no file `view.json`");
        assert_eq!(of(r#"{"view": 1, "items": []}"#), "");
        let image = r#"{"view": 1, "items": [{"type": "image", "title": "t", "alt": "a", "file": "x.png"}]}"#;
        assert_eq!(of(image), "it has no file `x.png`");
        fs::create_dir(path.join("x.png")).unwrap();
        assert_eq!(of(image), "`x.png` is not a file");
        fs::remove_dir(path.join("x.png")).unwrap();
        std::os::unix::fs::symlink("view.json", path.join("x.png")).unwrap();
        assert_eq!(of(image), "`x.png` is not a file");
        let points = r#"{"view": 1, "items": [{"type": "points", "title": "t", "alt": "a", "file": "p.json"}]}"#;
        fs::write(path.join("p.json"), r#"{"row": [1], "x": [], "y": [0]}"#).unwrap();
        assert_eq!(
            of(points),
            "`p.json`: \"x\" has 0 value(s), and \"row\" has 1"
        );
    }
}
