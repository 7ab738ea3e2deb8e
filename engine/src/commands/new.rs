//! `flow new`: a workflow to begin with, or that of a DVC project.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use flow_results::words;

use crate::dvc;
use crate::failure::{Failure, wrong};
use crate::view;

/// A workflow to begin with.
#[derive(Clone, Copy, ValueEnum)]
pub enum Template {
    /// Two programs, one after the other.
    Programs,
    /// The whole method on handwritten digits.
    Digits,
}

/// `flow new`.
pub fn new(
    template: Template,
    from: Option<&Path>,
    output: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    // Beside the file that it is made of.
    let folder = from.and_then(Path::parent).unwrap_or(Path::new(""));
    let output = output.unwrap_or_else(|| folder.join("workflow.toml"));
    let made;
    let (text, to_pull) = match (from, template) {
        (Some(from), _) => {
            made = dvc::workflow(from, &output)?;
            (made.text.as_str(), &made.to_pull[..])
        }
        (None, Template::Programs) => (include_str!("../templates/programs.toml"), &[][..]),
        (None, Template::Digits) => (include_str!("../templates/digits.toml"), &[][..]),
    };
    std::fs::File::create_new(&output)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| wrong(format!("{} can't be written: {e}", output.display())))?;
    let next = match to_pull {
        [] => words::command(&["flow".into(), "run".into(), output.display().to_string()]),
        files => format!("dvc pull {}", files.join(" ")),
    };
    view::print(&format!("wrote {}; next: {next}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
