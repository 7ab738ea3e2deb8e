//! What of a program's outputs people are shown: files of figures, plots, and the folder of DVCLive.

use flow_stage::ArtifactType;
use serde::{Deserialize, Serialize};

use super::Output;

pub use crate::workflow::PlotKind;

/// The output of a program that has its figures: a file, a glob, or a folder.
pub const METRICS: &str = "metrics";
/// The output of a program that is DVCLive's folder, as it is.
pub const DVCLIVE: &str = "dvclive";

/// Files of a program that are shown as charts or pictures. In no key: another column is another look at the same result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// Its name.
    pub name: String,
    /// A file, or a glob, as in the stage's folder.
    pub files: String,
    /// The column for the first axis, or of the true classes; none: by the rule of docs/programs.md.
    pub x: Option<String>,
    /// The columns for the second axis, or the one of the predicted classes; empty: by rule.
    pub y: Vec<String>,
    /// What is drawn of rows.
    pub kind: PlotKind,
}

/// How a file of figures is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object.
    Json,
    /// YAML 1.2.
    Yaml,
    /// TOML.
    Toml,
}

impl Form {
    /// By a file's ending; none where it is no file of figures.
    pub fn of(file: &str) -> Option<Form> {
        let (_, ending) = file.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "json" => Some(Form::Json),
            "yaml" | "yml" => Some(Form::Yaml),
            "toml" => Some(Form::Toml),
            _ => None,
        }
    }
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Form::Json => "JSON",
            Form::Yaml => "YAML",
            Form::Toml => "TOML",
        })
    }
}

impl Output {
    /// Whether a program's figures are in it.
    pub fn has_figures(&self) -> bool {
        match self.artifact {
            ArtifactType::Metrics => true,
            ArtifactType::Folder => self.role == METRICS || self.role == DVCLIVE,
            _ => false,
        }
    }
}
