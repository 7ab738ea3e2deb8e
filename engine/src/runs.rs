//! Runs that arguments name, by their id or their name.

use std::path::Path;

use flow_cache::Store;
use flow_plan::workflow::search;
use flow_run::record::names;
use flow_run::record::past::{self, PastRun};

use crate::arguments::StoreArguments;
use crate::failure::{Failure, wrong};
use crate::suggestion;
use crate::view;

/// That a store has no run of this id or name.
pub fn no_run(store: &Store, text: &str) -> Failure {
    wrong(format!(
        "there is no run `{}` in {}; `{}` lists them",
        view::plain(text),
        store.root().display(),
        suggestion::runs(Some(store.root()))
    ))
}

/// The run that a text means; of one workflow file's runs, where that is known.
pub fn open(store: &Store, text: &str, workflow: Option<&Path>) -> Result<PastRun, Failure> {
    find(store, text, workflow)?.ok_or_else(|| no_run(store, text))
}

/// The same; none where there is none.
pub fn find(
    store: &Store,
    text: &str,
    workflow: Option<&Path>,
) -> Result<Option<PastRun>, Failure> {
    let workflow = workflow.and_then(|path| path.canonicalize().ok());
    let mut found = names::find(store, text, workflow.as_deref())?;
    if found.is_empty() && workflow.is_some() {
        // The file may have moved since.
        found = names::find(store, text, None)?;
    }
    if found.len() > 1 {
        let runs = found.iter().map(|run| {
            let path = run.head.path.display();
            format!("{} of {path}", run.id)
        });
        return Err(wrong(format!(
            "`{}` is the name of runs of several workflows: name one of {}",
            view::plain(text),
            runs.collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(found.pop())
}

/// The run that stands where a workflow file could stand; none where it is a file or folder, or may become one. What is there
/// as a file is that file: `./NAME` and ids leave no doubt.
pub fn instead_of_workflow(
    path: &Path,
    store: Option<&Path>,
) -> Result<Option<(Store, PastRun)>, Failure> {
    let text = path.to_string_lossy();
    let is_id = past::is_run(&text);
    let is_workflow = path.is_file() || path.is_dir() && search::of_folder(path).is_ok();
    if !is_id && (is_workflow || names::check(&text).is_err()) {
        return Ok(None);
    }
    let place = StoreArguments {
        workflow: None,
        store: store.map(Path::to_path_buf),
    };
    let store = match place.open() {
        Err(failure) if is_id => return Err(failure),
        Err(_) => return Ok(None),
        Ok(store) => store,
    };
    match find(&store, &text, None)? {
        None if is_id => Err(no_run(&store, &text)),
        found => Ok(found.map(|run| (store, run))),
    }
}

/// Refuses what is laid over a workflow file where a run is meant.
pub fn as_it_was(text: &str, overrides: &[String]) -> Result<(), Failure> {
    match overrides {
        [] => Ok(()),
        _ => Err(changed(text)),
    }
}

/// That something is laid over a run.
pub fn changed(text: &str) -> Failure {
    wrong(format!(
        "`{}`: a run is as it was; options are for workflow files",
        view::plain(text)
    ))
}

/// The run of the same workflow file that began last before a run.
pub fn before(store: &Store, run: &PastRun) -> Result<Option<PastRun>, Failure> {
    let mut all = PastRun::all(store)?.into_iter();
    let is_before =
        |other: &PastRun| other.head.path == run.head.path && other.began() < run.began();
    Ok(all.find(is_before))
}
