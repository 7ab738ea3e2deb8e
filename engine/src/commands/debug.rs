//! `flow debug`: a stage at the terminal.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;

use flow_plan::workflow::Reference;
use flow_run::debug;
use flow_run::folder::failed;
use flow_run::record::key::Manifest;
use flow_run::request::Requests;

use crate::arguments::WorkflowArguments;
use crate::failure::{FAILED, Failure, wrong};
use crate::session::Session;
use crate::suggestion::first;
use crate::view;

/// `flow debug`.
pub fn debug(
    arguments: &WorkflowArguments,
    stage: &str,
    command: &[OsString],
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let reference: Reference = stage.parse().map_err(wrong)?;
    let (node, _) = session.artifact(&reference, stage)?;
    if session.frozen.contains_key(&node) {
        return Err(wrong(format!(
            "`{stage}` is frozen, so nothing is made ready for it; delete `frozen = true` to run it"
        )));
    }
    let involved = session.plan.with_ancestors(&[node]);
    let externals = session.externals(&involved)?;
    let survey = session.survey(&involved, &BTreeSet::new(), &externals)?;
    for source in session.plan.sources(node) {
        if survey.record(source).is_none() {
            let label = &session.plan.graph[source].label;
            return Err(wrong(format!(
                "`{label}`, which it reads from, has no up-to-date result in the store; first: {}",
                first(arguments, &[label])
            )));
        }
    }
    let records = involved
        .iter()
        .filter_map(|&node| Some((node, survey.record(node)?.clone())))
        .collect();
    let made = |node, output: &str| survey.record(node)?.outputs.get(output);
    let manifest = Manifest::of(&session.plan, node, &session.catalogue, &externals, made);
    let requests = Requests {
        plan: &session.plan,
        catalogue: &session.catalogue,
        externals: &externals,
        folder: session.workflow.root(),
        run: "debug",
    };
    let request = manifest.and_then(|manifest| {
        let key = manifest.key();
        requests.of(node, key, manifest, &records, "log".into())
    });
    let Some(request) = request else {
        return Err(wrong(format!(
            "`{stage}` can't be prepared: something that it reads is gone"
        )));
    };
    if let Some(failed) = failed::failed(&session.store, &request.key) {
        view::tell(&format!(
            "the last attempt failed and left {}; this one begins anew, and nothing of it is kept",
            failed.display()
        ));
    }
    let status = debug::debug(&session.store, &request, command, &|holder| {
        view::tell(&format!("waiting for {holder}"));
    })?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(FAILED)),
        None => ExitCode::from(FAILED),
    })
}
