//! `flow new`: a workflow to begin with.

use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use flow_results::words;

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
pub fn new(template: Template, output: &Path) -> Result<ExitCode, Failure> {
    use std::io::Write;
    let text = match template {
        Template::Programs => include_str!("../templates/programs.toml"),
        Template::Digits => include_str!("../templates/digits.toml"),
    };
    std::fs::File::create_new(output)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| wrong(format!("{} can't be written: {e}", output.display())))?;
    let next = words::command(&["flow".into(), "run".into(), output.display().to_string()]);
    view::print(&format!("wrote {}; next: {next}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
