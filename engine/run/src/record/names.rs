//! What people call runs: a name stands wherever a run's id does.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use flow_cache::{Key, Store};
use serde_json::{Map, Value};

use super::Ending;
use super::event::StageEnd;
use super::head;
use super::past::{PastRun, State, is_run};

/// A name may have as many characters.
const LONGEST: usize = 100;

/// Why a run can't be called so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    /// It looks like an id.
    #[error("that is what ids of runs look like")]
    Id,
    /// It looks like a file.
    #[error("that is what workflow files look like")]
    File,
    /// It has a character that names have not, or none.
    #[error(
        "write letters, digits, `-`, `_`, `.` and `+`, a letter or digit first, {LONGEST} characters at most"
    )]
    Form,
    /// Another run has it.
    #[error(
        "run {0} has that name: choose another. (A name is free again when the run that has it did not end well, or is gone.)"
    )]
    Taken(String),
}

/// Whether a run may be called so at all.
///
/// # Errors
/// Why not.
pub fn check(name: &str) -> Result<(), BadName> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    if is_run(name) {
        Err(BadName::Id)
    } else if !name.starts_with(char::is_alphanumeric)
        || !name.chars().all(plain)
        || name.chars().count() > LONGEST
    {
        Err(BadName::Form)
    } else if Path::new(name).extension().is_some_and(|end| end == "toml") {
        Err(BadName::File)
    } else {
        Ok(())
    }
}

/// Refuses a name that another run of the workflow file has. One that did not end well gives its name up: whoever tries again
/// means the same experiment.
///
/// # Errors
/// Where the store can't be read; inside, who has it.
pub fn is_free(store: &Store, workflow: &Path, name: &str) -> Result<Result<(), BadName>> {
    let holder = PastRun::all(store)?.into_iter().find(|run| {
        let keeps = matches!(run.state, State::Ended(Ending::Ok) | State::Running);
        keeps && run.head.path == workflow && run.head.name.as_deref() == Some(name)
    });
    Ok(holder.map_or(Ok(()), |run| Err(BadName::Taken(run.id))))
}

/// The runs that a text means, by their id or their name: of each workflow file the newest. Only those of `workflow`, where one is
/// named.
///
/// # Errors
/// Where the store can't be read.
pub fn find(store: &Store, text: &str, workflow: Option<&Path>) -> Result<Vec<PastRun>> {
    if is_run(text) {
        return Ok(PastRun::open(store, text)?.into_iter().collect());
    }
    if check(text).is_err() {
        return Ok(Vec::new());
    }
    let called = holders(PastRun::all(store)?).into_iter().filter(|run| {
        run.head.name.as_deref() == Some(text) && workflow.is_none_or(|path| run.head.path == path)
    });
    Ok(called.collect())
}

/// Of `runs`, newest first, those that a name means: of each name and workflow file the newest.
pub fn holders(runs: Vec<PastRun>) -> Vec<PastRun> {
    let mut seen = HashSet::new();
    let is_meant = |run: &PastRun| {
        let name = run.head.name.clone();
        name.is_some_and(|name| seen.insert((name, run.head.path.clone())))
    };
    runs.into_iter().filter(is_meant).collect()
}

/// The results that runs with names made and used, which gc leaves.
///
/// # Errors
/// Where a journal can't be read.
pub fn results(holders: &[PastRun]) -> Result<HashSet<Key>> {
    let mut keys = HashSet::new();
    for run in holders {
        let stages = run.stages().with_context(|| {
            format!("the results of run {} that gc leaves are not known", run.id)
        })?;
        keys.extend(stages.iter().filter_map(StageEnd::result));
    }
    Ok(keys)
}

/// Takes its name from a run, and from all runs of the same workflow file that gave it up before.
///
/// # Errors
/// Where a run's folder can't be written.
pub fn forget(store: &Store, run: &PastRun) -> Result<()> {
    let has =
        |other: &PastRun| other.head.name == run.head.name && other.head.path == run.head.path;
    for other in PastRun::all(store)?.into_iter().filter(has) {
        // Not by its type: what a later version of flow wrote stays.
        let path = other.folder.join(head::FILE);
        let cannot = || format!("{} can't be read", path.display());
        let text = fs::read(&path).with_context(cannot)?;
        let mut head: Map<String, Value> = serde_json::from_slice(&text).with_context(cannot)?;
        head.remove("name");
        let text = serde_json::to_string_pretty(&head)?;
        store.replace_in_run(&other.id, head::FILE, format!("{text}\n").as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_ids_files_and_options() {
        for good in ["baseline", "lr-0.1", "v2", "3rd_try", "größer", "a+b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("20261124-093000-1f3a", BadName::Id),
            ("flow.toml", BadName::File),
            ("", BadName::Form),
            ("-x", BadName::Form),
            (".x", BadName::Form),
            ("a b", BadName::Form),
            ("a/b", BadName::Form),
            ("a[b=1]", BadName::Form),
            ("HEAD:flow", BadName::Form),
        ] {
            assert_eq!(check(bad), Err(why), "{bad}");
        }
        assert_eq!(check(&"x".repeat(LONGEST + 1)), Err(BadName::Form));
    }
}
