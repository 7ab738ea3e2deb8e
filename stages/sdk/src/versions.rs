//! The guard of kind versions: a digest of the sources beside the declared versions.
//!
//! A kind's version is part of every key, so it must change when results change, and must not when they don't. No
//! program can tell which it is; this check makes sure that a person decided.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::protocol::{Description, Revision};

#[derive(PartialEq, Serialize, Deserialize)]
struct Lock {
    sources: String,
    versions: BTreeMap<String, u32>,
}

/// Compares `kind-versions.toml` in the crate's folder `root` with the crate's sources and its declared versions.
/// Called from a test of each plugin crate; `FLOW_BLESS=1` writes the file anew.
///
/// # Errors
/// Where sources or versions differ from what the file records; the text says what to decide.
pub fn check(root: &Path, description: &Description) -> Result<()> {
    for kind in &description.kinds {
        let passed = |revision: &&Revision| Some(revision.version) <= kind.version;
        if let Some(passed) = kind.revisions.iter().find(passed) {
            bail!(
                "version {} of `{}` is not below its revision {}: remove the revision, or raise it",
                kind.version.unwrap_or_default(),
                kind.name,
                passed.version
            );
        }
    }
    let found = Lock {
        sources: digest(&root.join("src"))?,
        versions: description
            .kinds
            .iter()
            .filter_map(|kind| Some((kind.name.clone(), kind.version?)))
            .collect(),
    };
    let path = root.join("kind-versions.toml");
    if std::env::var_os("FLOW_BLESS").is_some() {
        let text = format!(
            "# Written by `FLOW_BLESS=1 cargo test`, after deciding whether results changed (then raise VERSION first).\n{}",
            toml::to_string(&found)?
        );
        return fs::write(&path, text)
            .with_context(|| format!("{} can't be written", path.display()));
    }
    let recorded: Lock = toml::from_str(
        &fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?,
    )
    .with_context(|| format!("{} is damaged", path.display()))?;
    if recorded != found {
        bail!(
            "the sources of {} changed. If any kind now gives other results for the same inputs, raise its VERSION.\n\
             Then record the decision: FLOW_BLESS=1 cargo test -p {}",
            description.plugin,
            description.plugin
        );
    }
    Ok(())
}

fn digest(folder: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.context("the sources can't be listed")?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(folder)?.to_string_lossy();
            let content = fs::read(entry.path())?;
            for part in [name.as_bytes(), &content] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}
