//! What is wrong with the plots of a stage that has just ended. Its result counts all the same: a training is not lost for a
//! chart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flow_plan::plan::Output;
use flow_plan::plan::shown::{DVCLIVE, Plot};
use flow_stage::ArtifactType;

use super::{Files, draw, inside_of, is_of};
use crate::folder::{self, Known};
use crate::metrics;

/// A sentence for each plot that can't be shown, of outputs that lie below `at`. Inputs that belong to outputs do not lie
/// there, so plots of them are looked at where they are shown.
pub(crate) fn faults(plots: &[Plot], outputs: &[Output], at: &Path, known: &Known) -> Vec<String> {
    let dvclive = outputs
        .iter()
        .find(|output| output.role == DVCLIVE && output.artifact == ArtifactType::Folder);
    if plots.is_empty() && dvclive.is_none() {
        return Vec::new();
    }
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut elsewhere = Vec::new();
    for output in outputs {
        let path = at.join(folder::output_place(output));
        if path.is_dir() {
            // What can't be listed can't be stored either, which is said.
            let found = metrics::files(&path).unwrap_or_default();
            let named = found.into_iter().filter_map(|inside| {
                Some((
                    inside_of(&output.file, inside.to_str()?),
                    path.join(&inside),
                ))
            });
            files.extend(named);
        } else {
            files.insert(output.file.clone(), path);
        }
        let known = known.get(&output.role).into_iter().flatten();
        elsewhere.extend(known.map(|(inside, _)| inside_of(&output.file, inside)));
    }
    let checked: Vec<Plot> = plots
        .iter()
        .filter(|plot| !elsewhere.iter().any(|name| is_of(plot, name)))
        .cloned()
        .collect();
    let read = |name: &str| Ok(std::fs::read(&files[name])?);
    let files = Files {
        names: files.keys().cloned().collect(),
        read: &read,
    };
    let drawn = draw(&checked, dvclive.map(|output| output.file.as_str()), &files);
    let faults = drawn
        .into_iter()
        .filter_map(|one| Some((one.title, one.item.err()?)));
    faults
        .map(|(title, problem)| format!("its plot `{title}` can't be shown: {problem}"))
        .collect()
}
