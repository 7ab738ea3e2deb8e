//! `flow run`: the whole way from a workflow to results; or the short one, where nothing has changed since a run that found
//! all its work done.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flow_cache::Digest;
use flow_engine::record::journal::{Journal, Process, Subject};
use flow_engine::record::settled::{self, Settled};
use flow_engine::record::{Ending, Event};
use flow_engine::run::budget::Machine;
use flow_engine::run::{Options, Runner};
use flow_engine::view;
use flow_engine::view::hearing::Hearing;
use petgraph::graph::NodeIndex;

use crate::commands::show;
use crate::session::{FAILED, Failure, INTERRUPTED, Session, open_store, wrong};
use crate::suggestion::first;
use crate::{RunArguments, Verify, check_command, table_command};

/// `flow run`.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let name = name(arguments);
    if let Some(name) = &name
        && again(arguments, name, started)?
    {
        return Ok(ExitCode::SUCCESS);
    }
    let mut session = Session::open(&arguments.workflow)?;
    let only = session.named("--only", &arguments.only)?;
    let until = session.named("--until", &arguments.until)?;
    let forced = session.named("--force", &arguments.force)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let (wanted, looked_up) = if !only.is_empty() {
        let targets: Vec<_> = only.iter().copied().collect();
        let ancestors = session.plan.with_ancestors(&targets);
        (only.clone(), ancestors.difference(&only).copied().collect())
    } else if !until.is_empty() {
        let targets: Vec<_> = until.iter().copied().collect();
        (session.plan.with_ancestors(&targets), BTreeSet::new())
    } else {
        (all, BTreeSet::new())
    };
    if let Some(times) = arguments.check {
        let machine = machine_for(&session, &wanted)?;
        return check_command::check(&mut session, arguments, &wanted, times, &machine);
    }
    let involved: BTreeSet<NodeIndex> = wanted.union(&looked_up).copied().collect();
    let externals = session.externals(&involved)?;
    if arguments.dry_run || !looked_up.is_empty() {
        let survey = session.survey(&involved, &forced, &externals)?;
        if let Some(missing) = session
            .in_order(&looked_up)
            .into_iter()
            .find(|n| survey.record(*n).is_none())
        {
            let label = &session.plan.graph[missing].label;
            return Err(wrong(format!(
                "--only: stage `{label}`, which it reads from, has no up-to-date result in the store; use --until, or \
                 first: {}",
                first(&arguments.workflow, &[label])
            )));
        }
        if arguments.dry_run {
            return show(&session, &survey, &wanted, arguments.expand, arguments.json);
        }
    }
    let machine = machine_for(&session, &wanted)?;
    let columns = table_command::columns(&session, &wanted)?;
    let stop = interruptible()?;
    let options = Options {
        wanted,
        looked_up,
        forced,
        jobs: arguments.jobs.unwrap_or(machine.cores),
        machine,
        keep_going: arguments.keep_going || (session.plan.sweep.is_some() && !arguments.fail_fast),
    };
    let subject = Subject {
        workflow: &session.workflow,
        sources: &session.sources,
        overrides: &arguments.workflow.overrides(),
        plan: &session.plan,
        catalogue: &session.catalogue,
        wanted: &options.wanted,
    };
    let process = process(&options.machine, started);
    let mut journal = Journal::begin(&session.store, &subject, process)?;
    let store = match arguments.verify {
        Verify::Digest => session.store.clone(),
        Verify::Size => session.store.clone().trusting(),
    };
    let store = store.with_note(format!("run {} of {}", journal.id(), session.workflow.name));
    let runner = Runner {
        workflow: &session.workflow,
        plan: &session.plan,
        catalogue: &session.catalogue,
        externals: &externals,
        store: &store,
        stop: &stop,
        started,
    };
    let mut view = view::choose(arguments.json);
    let summary = runner.run(&options, &mut journal, &mut |event: &Event| {
        view.event(event)
    });
    // Also a run that the store has failed has an end, and what it has read is remembered.
    journal.end(&store);
    view.end()?;
    if let Err(error) = store.save_memo() {
        view::tell(&format!(
            "warning: {error}; so the next run reads the input files again"
        ));
    }
    let summary = summary?;
    let metrics = |node| Some(&summary.records.get(&node)?.metrics);
    let tables = match &columns {
        _ if session.plan.sweep.is_none() => {
            view::results::tables(&session.plan, &session.catalogue, metrics)
        }
        Some(columns) => vec![table_command::after(&session, columns, &externals)?],
        None => Vec::new(),
    };
    if !arguments.json {
        show_tables(&tables)?;
    }
    if let Some(name) = name
        && !session.warned
        && summary.end.cached == session.plan.order.len()
        && let Some(settled) = Settled::of(
            &summary.end.run,
            &session.workflow,
            &session.sources,
            &session.plan,
            &externals,
            &summary.records,
            tables,
            &session.store,
        )
    {
        // It saves the next run time, nothing else.
        let _ = session.store.note(&name, &settled);
    }
    Ok(ExitCode::from(match summary.end.status {
        Ending::Ok => 0,
        Ending::Cancelled => INTERRUPTED,
        Ending::Failed => FAILED,
    }))
}

/// This machine, if it has what the given instances must have.
fn machine_for(session: &Session, wanted: &BTreeSet<NodeIndex>) -> Result<Machine, Failure> {
    let machine = Machine::here();
    for &node in wanted {
        let instance = &session.plan.graph[node];
        if let Some(lack) = machine.lacks(&instance.resources) {
            return Err(wrong(format!("stage `{}` {lack}", instance.label)));
        }
    }
    Ok(machine)
}

/// What a journal says of the process.
fn process(machine: &Machine, started: Instant) -> Process<'_> {
    Process {
        started,
        cores: machine.cores,
        gpus: &machine.gpus,
    }
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the process at once, and its stages with it.
pub fn interruptible() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(
            signal,
            INTERRUPTED.into(),
            Arc::clone(&stop),
        )
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
        .map_err(|e| wrong(format!("signals can't be watched: {e}")))?;
    }
    Ok(stop)
}

/// The name of what is remembered of runs with these arguments; none where they ask for anything but bringing all of a
/// workflow up to date.
fn name(arguments: &RunArguments) -> Option<Digest> {
    let choices = [&arguments.only, &arguments.until, &arguments.force];
    let all = choices.iter().all(|names| names.is_empty());
    let workflow = &arguments.workflow;
    (all && !arguments.dry_run && arguments.check.is_none()).then(|| {
        settled::name(
            &workflow.workflow,
            &workflow.overrides(),
            view::layout::width(),
        )
    })?
}

/// Does what the last run did, where that found all its work done and all is as it was; says whether it is so.
fn again(arguments: &RunArguments, name: &Digest, started: Instant) -> Result<bool, Failure> {
    let Ok(path) = arguments.workflow.workflow.canonicalize() else {
        return Ok(false);
    };
    let folder = path.parent().unwrap_or(&path);
    let store = open_store(&arguments.workflow, folder)?;
    let hearing = Hearing::new();
    let settled = Settled::find(&hearing.of(&store), name, folder);
    hearing.end();
    // It saves the next run time, nothing else.
    let _ = store.save_memo();
    let Some(settled) = settled else {
        return Ok(false);
    };
    let machine = Machine::here();
    let process = process(&machine, started);
    let Some((mut journal, stages)) = Journal::again(&store, &settled, process)? else {
        return Ok(false);
    };
    let mut view = view::choose(arguments.json);
    let end = settled.end(journal.id(), started.elapsed().as_secs_f64());
    if arguments.json {
        view::print(stages.trim_end())?;
    }
    journal.keep(&end);
    view.event(&end);
    journal.end(&store);
    view.end()?;
    if !arguments.json {
        show_tables(&settled.tables)?;
    }
    Ok(true)
}

fn show_tables(tables: &[String]) -> Result<(), Failure> {
    for table in tables {
        view::print(&format!("\n{table}"))?;
    }
    Ok(())
}
