//! Commands that messages suggest. They repeat what this call was given: the same workflow with the same things laid over it, and
//! the same store.

use std::path::Path;

use flow_cache::Store;
use flow_results::words::command;

use crate::arguments::WorkflowArguments;

/// `flow NAME WORKFLOW …` as a shell reads it, with what the call's workflow was given.
pub fn suggest(name: &str, arguments: &WorkflowArguments, more: &[&str]) -> String {
    let overrides = arguments.overrides().options();
    let workflow = arguments.workflow.display().to_string();
    let names = [&[name, &workflow][..], more].concat();
    command(&words(&names, arguments.store.as_deref(), &overrides))
}

/// The command that makes these instances, or all where none is named.
pub fn first<L: AsRef<str>>(arguments: &WorkflowArguments, labels: &[L]) -> String {
    let until = labels.iter().flat_map(|label| ["--until", label.as_ref()]);
    suggest("run", arguments, &until.collect::<Vec<_>>())
}

/// The command that lists the runs of a store, or of the one that is meant without a word.
pub fn runs(store: Option<&Path>) -> String {
    on(store, &["runs"])
}

/// A command with these names, as `["show", RUN]`, on a store or the one that is meant without a word.
pub fn on(store: Option<&Path>, names: &[&str]) -> String {
    command(&words(names, store.and_then(not_here), &[]))
}

/// The command that makes a run of a store again.
pub fn whole_again(store: Option<&Path>, id: &str, more: &[&str]) -> String {
    on(store, &[&["run", "--again", id][..], more].concat())
}

/// The command that makes an instance as a run did.
pub fn again_run(store: &Store, id: &str, label: &str) -> Vec<String> {
    let names = ["run", "--again", id, "--until", label];
    words(&names, not_here(store.root()), &[])
}

/// The store's folder, where it is not the one that is meant without a word.
fn not_here(root: &Path) -> Option<&Path> {
    let meant = std::env::var_os("FLOW_STORE").unwrap_or(".flow".into());
    let meant = std::path::absolute(meant);
    let is_meant = meant.is_ok_and(|meant| meant == root);
    (!is_meant).then_some(root)
}

/// The command that makes an instance, with what is laid over the workflow.
pub fn again(store: &Store, workflow: &Path, overrides: &[String], label: &str) -> Vec<String> {
    let beside = workflow
        .canonicalize()
        .map(|path| path.with_file_name(".flow"));
    let root = store.root();
    let elsewhere = beside.is_ok_and(|beside| root.canonicalize().is_ok_and(|root| root != beside));
    let store = elsewhere.then_some(root);
    let mut words = words(&["run", &workflow.display().to_string()], store, overrides);
    words.extend(["--until".into(), label.into()]);
    words
}

/// Names first: between two of them options may not stand everywhere.
fn words(names: &[&str], store: Option<&Path>, overrides: &[String]) -> Vec<String> {
    let mut words = vec!["flow".to_string()];
    words.extend(names.iter().map(|name| (*name).to_string()));
    if let Some(store) = store {
        words.extend(["--store".to_string(), store.display().to_string()]);
    }
    words.extend(overrides.iter().cloned());
    words
}
