//! `flow run --check`: stages run again beside their stored results.

use std::collections::BTreeSet;
use std::process::ExitCode;

use flow_run::budget::Machine;
use flow_run::check::{Checker, Options};
use flow_run::record::Event;
use flow_run::record::check::Verdict;
use petgraph::graph::NodeIndex;

use crate::arguments::RunArguments;
use crate::failure::{FAILED, Failure, INTERRUPTED, wrong};
use crate::session::{Session, interruptible};
use crate::suggestion::first;
use crate::view;

/// Runs the chosen stages `times` times again.
pub fn check(
    session: &mut Session,
    arguments: &RunArguments,
    chosen: &BTreeSet<NodeIndex>,
    times: u32,
    machine: &Machine,
) -> Result<ExitCode, Failure> {
    let (frozen, nodes): (Vec<_>, Vec<_>) = session
        .in_order(chosen)
        .into_iter()
        .partition(|node| session.frozen.contains_key(node));
    for node in frozen {
        let label = &session.plan.graph[node].label;
        view::tell(&format!("frozen    {label}: not run again"));
    }
    let involved = session.plan.with_ancestors(&nodes);
    let externals = session.externals(&involved)?;
    let survey = session.survey(&involved, &BTreeSet::new(), &externals)?;
    let records = involved
        .iter()
        .filter_map(|&node| Some((node, survey.record(node)?.clone())))
        .collect();
    if let Some(&missing) = nodes.iter().find(|node| survey.record(**node).is_none()) {
        let label = &session.plan.graph[missing].label;
        return Err(wrong(format!(
            "--check compares with the results in the store, and `{label}` has none that is up to date; first: {}",
            first(
                &arguments.workflow,
                &[&arguments.only[..], &arguments.until].concat()
            )
        )));
    }
    let stop = interruptible()?;
    let checker = Checker {
        folder: session.workflow.root(),
        plan: &session.plan,
        catalogue: &session.catalogue,
        externals: &externals,
        store: &session.store,
        records,
        stop: &stop,
    };
    let options = Options {
        nodes,
        times,
        threads: arguments.threads.clone(),
        jobs: arguments.jobs.unwrap_or(machine.cores),
    };
    let mut view = view::choose(arguments.told());
    let checked = checker.run(&options, &mut |event: &Event| view.event(event))?;
    Ok(match checked.status {
        Verdict::Identical => ExitCode::SUCCESS,
        Verdict::Cancelled => ExitCode::from(INTERRUPTED),
        Verdict::Differs | Verdict::Failed => ExitCode::from(FAILED),
    })
}
