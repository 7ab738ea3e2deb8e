//! `flow completions`: completions for a shell.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::view;

/// `flow completions`.
pub fn completions(
    shell: clap_complete::Shell,
    command: &mut clap::Command,
) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "flow", &mut script);
    view::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
