//! Plots of one instance: their files, with what the names in them stand for, each among the instance's outputs.

use glob::{MatchOptions, Pattern};

use super::coordinates::Coordinates;
use super::names::Names;
use super::shown::Plot;
use super::{Output, is_glob};
use crate::workflow::problem::{Problem, Problems};
use crate::workflow::{Stage, is_inside};

impl Names<'_> {
    /// The plots of one instance. What is wrong with one goes to `problems`.
    pub fn plots(
        &mut self,
        stage: &Stage,
        outputs: &[Output],
        point: &Coordinates,
        problems: &mut Problems,
    ) -> Option<Vec<Plot>> {
        let mut plots = Vec::new();
        for plot in &stage.program.plots {
            let span = plot.files.span;
            let files = plot.files.value.render(|name| {
                let role = name.strip_prefix("outputs.");
                let mut all = outputs.iter();
                if let Some(output) = role.and_then(|role| all.find(|output| output.role == role)) {
                    return Ok(output.file.clone());
                }
                Ok(self.value(stage, point, name)?.value.text())
            });
            let files = match files {
                Ok(files) => files,
                Err(mut problem) => {
                    if let Problem::UnknownName { known, .. } = &mut problem {
                        known.extend(outputs.iter().map(|o| format!("outputs.{}", o.role)));
                    }
                    self.unresolved(stage, problem, span, problems);
                    return None;
                }
            };
            if let Err(cause) = Pattern::new(&files) {
                let cause = cause.to_string();
                let pattern = files.clone();
                problems.add(Problem::BadGlob { pattern, cause }, span);
                return None;
            }
            if !is_inside(&files) || !outputs.iter().any(|output| may_hold(output, &files)) {
                let known = outputs.iter().map(|output| output.file.clone()).collect();
                problems.add(Problem::PlotOfNothing { file: files, known }, span);
                return None;
            }
            plots.push(Plot {
                name: plot.name.value.clone(),
                files,
                x: plot.x.clone(),
                y: plot.y.clone(),
                kind: plot.kind,
            });
        }
        Some(plots)
    }
}

/// Whether a file, or some that a glob matches, may be an output or lie in it, as far as names tell.
fn may_hold(output: &Output, files: &str) -> bool {
    let (mut own, mut asked) = (output.file.split('/'), files.split('/'));
    loop {
        return match (own.next(), asked.next()) {
            (Some(own), Some(asked)) if asked == "**" || part(own, asked) => {
                if asked == "**" {
                    return true;
                }
                continue;
            }
            // Only a folder, or what a glob matches, has something in it.
            (None, Some(_)) => output.artifact.is_folder(),
            (None, None) => !output.artifact.is_folder() || is_glob(&output.file),
            _ => false,
        };
    }
}

fn part(own: &str, asked: &str) -> bool {
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    let matches = |glob: &str, name: &str| {
        is_glob(glob) && Pattern::new(glob).is_ok_and(|glob| glob.matches_with(name, options))
    };
    own == asked || (is_glob(own) && is_glob(asked)) || matches(own, asked) || matches(asked, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow_stage::ArtifactType;

    #[test]
    fn names_tell_what_may_lie_in_an_output() {
        let holds = |file: &str, artifact, asked: &str| {
            let output = Output {
                role: "o".into(),
                artifact,
                file: file.into(),
            };
            may_hold(&output, asked)
        };
        let (file, folder) = (ArtifactType::File, ArtifactType::Folder);
        assert!(holds("roc.json", file, "roc.json"));
        assert!(holds("roc.json", file, "*.json"));
        assert!(!holds("roc.json", file, "roc.json/x"));
        assert!(!holds("roc.json", file, "roc.csv"));
        assert!(holds("eval", folder, "eval/plots/*.json"));
        assert!(holds("eval/plots", folder, "eval/**/*.json"));
        assert!(!holds("eval", folder, "evil/roc.json"));
        assert!(holds("eval/*.json", folder, "eval/roc.json"));
        assert!(holds("eval/*", folder, "eval/*.json"));
        assert!(!holds("eval/*.json", folder, "eval/roc.csv"));
        assert!(!holds("eval", folder, "*"));
    }
}
