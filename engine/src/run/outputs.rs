//! What a stage made: there, of the declared kind, and its figures.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use flow_cache::DraftOutput;
use flow_stage::ArtifactType;
use serde_json::{Map, Value};

use super::event::Event;
use crate::plan::{Instance, Output, Task};

/// Checks the declared outputs and reads the figures out of the metrics among them.
pub(super) fn collect(
    instance: &Instance,
    folder: &Path,
    tell: &impl Fn(Event),
) -> Result<(BTreeMap<String, DraftOutput>, Map<String, Value>)> {
    let mut kept = BTreeMap::new();
    let mut metrics = Map::new();
    for output in &instance.outputs {
        let path = folder.join(&output.file);
        check(output, &path, matches!(instance.task, Task::Kind { .. }))?;
        if output.artifact == ArtifactType::Metrics {
            metrics.extend(figures(&output.role, &path)?);
        }
        let artifact = output.artifact.to_string();
        kept.insert(output.role.clone(), DraftOutput { path, artifact });
    }
    let declared = |name: &str| {
        instance.outputs.iter().any(|o| {
            Path::new(&o.file)
                .components()
                .next()
                .is_some_and(|c| c.as_os_str() == name)
        })
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !declared(&name) {
            let message =
                format!("it wrote `{name}`, which is not a declared output and is not kept");
            tell(Event::Warning {
                label: Some(instance.label.clone()),
                message,
            });
        }
    }
    Ok((kept, metrics))
}

fn check(output: &Output, path: &Path, of_kind: bool) -> Result<()> {
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

/// The numbers of a metrics file, those that are not finite among them, and its `groups`.
fn figures(role: &str, path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read(path).with_context(|| format!("its output `{role}` can't be read"))?;
    let value: Map<String, Value> = serde_json::from_slice(&text).with_context(|| {
        let odd = ["NaN", "Infinity"].iter().any(|word| {
            let mut places = text.windows(word.len());
            places.any(|bytes| bytes == word.as_bytes())
        });
        let hint = if odd {
            " (JSON has no NaN and no Infinity: write null)"
        } else {
            ""
        };
        format!("its output `{role}` is not a JSON object{hint}")
    })?;
    Ok(value
        .into_iter()
        .filter(|(name, value)| {
            // Null stands for a number that is not finite.
            value.is_number() || value.is_null() || (name == "groups" && value.is_object())
        })
        .collect())
}
