//! `flow man`: the manual pages.

use std::path::Path;
use std::process::ExitCode;

use crate::failure::{Failure, wrong};
use crate::view;

/// `flow man`.
pub fn man(command: &clap::Command, folder: &Path) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command.clone(), folder))
        .map_err(|e| wrong(format!("{}: {e}", folder.display())))?;
    view::print(&format!("wrote the manual pages to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
