//! `flow run`: the whole way from a workflow to results; or the short one, where nothing has changed since a run that found
//! all its work done.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use flow_cache::Digest;
use flow_plan::workflow::Overrides;
use flow_results::Survey;
use flow_results::table::Columns;
use flow_run::budget::Machine;
use flow_run::record::Externals;
use flow_run::record::commit::Commit;
use flow_run::record::journal::{About, Journal, Process, Subject};
use flow_run::record::names;
use flow_run::record::settled::{self, Settled};
use flow_run::record::{Ending, Event};
use flow_run::{Options, Runner, Summary};
use petgraph::graph::NodeIndex;

use crate::arguments::{RunArguments, Verify};
use crate::commands::deliver::{self, Places};
use crate::commands::status::show;
use crate::commands::{run_again, run_check, table};
use crate::failure::{FAILED, Failure, INTERRUPTED, wrong};
use crate::session::{Session, interruptible, open_store};
use crate::suggestion::first;
use crate::view;
use crate::view::hearing::Hearing;

/// `flow run`.
pub fn run(arguments: RunArguments) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    if let Some(run) = arguments.again.clone() {
        return run_again::again(arguments, &run, started);
    }
    let arguments = &arguments;
    let name = name(arguments);
    if let Some(name) = &name
        && again(arguments, name, started)?
    {
        return Ok(ExitCode::SUCCESS);
    }
    let mut session = Session::open(&arguments.workflow)?;
    let folder = session.workflow.folder().to_path_buf();
    let commit = thread::spawn(move || Commit::around(&folder));
    deliver::check(arguments, &session)?;
    if let Some(name) = &arguments.name {
        may_be_called(name, &session)?;
    }
    let chosen = Chosen::of(&session, arguments)?;
    if let Some(times) = arguments.check {
        let machine = machine_for(&session, &chosen.wanted)?;
        return run_check::check(&mut session, arguments, &chosen.wanted, times, &machine);
    }
    let externals = session.externals(&chosen.involved())?;
    let bound = Bound {
        about: About {
            name: arguments.name.clone(),
            note: arguments.note.clone(),
            again: None,
            commit: commit.join().ok().flatten(),
        },
        overrides: arguments.workflow.overrides(),
        remembered: name,
    };
    go(arguments, &session, &externals, chosen, bound, started)
}

/// What a run is bound to, beside its workflow.
pub struct Bound {
    pub about: About,
    /// What is laid over the workflow.
    pub overrides: Overrides,
    /// Under which name it is noted where nothing is to do.
    pub remembered: Option<Digest>,
}

/// From a plan and what it reads to results, or to what would run.
pub fn go(
    arguments: &RunArguments,
    session: &Session,
    externals: &Externals,
    chosen: Chosen,
    bound: Bound,
    started: Instant,
) -> Result<ExitCode, Failure> {
    let involved = chosen.involved();
    if arguments.dry_run || !chosen.looked_up.is_empty() {
        let survey = session.survey(&involved, &chosen.forced, externals)?;
        chosen.has_what_it_reads(session, &survey, arguments)?;
        if arguments.dry_run {
            let wanted = &chosen.wanted;
            return show(session, &survey, wanted, arguments.expand, arguments.json);
        }
    }
    let machine = machine_for(session, &chosen.wanted)?;
    let columns = table::columns(session, &chosen.wanted)?;
    let (summary, places) = bring_up_to_date(
        arguments, session, externals, &bound, chosen, machine, started,
    )?;
    let tables = tables(session, externals, &summary, columns.as_ref())?;
    if !arguments.json {
        show_tables(&tables)?;
    }
    if places == Places::Right
        && let Some(name) = &bound.remembered
    {
        let delivered = deliver::names(arguments, session);
        remember(name, session, externals, &summary, tables, &delivered);
    }
    Ok(ExitCode::from(match summary.end.status {
        Ending::Ok => 0,
        Ending::Cancelled => INTERRUPTED,
        Ending::Failed => FAILED,
    }))
}

/// The instances that a run is about.
pub struct Chosen {
    /// Those that it brings up to date.
    wanted: BTreeSet<NodeIndex>,
    /// Those that have to be so before.
    looked_up: BTreeSet<NodeIndex>,
    /// Those that run whatever is in the store.
    forced: BTreeSet<NodeIndex>,
}

impl Chosen {
    /// `--only`, `--until`, `--force` and `--from`; without the first two, all.
    pub fn of(session: &Session, arguments: &RunArguments) -> Result<Chosen, Failure> {
        let only = session.named("--only", &arguments.only)?;
        let until = session.named("--until", &arguments.until)?;
        let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
        let (every, force): (Vec<String>, Vec<String>) =
            arguments.force.iter().cloned().partition(String::is_empty);
        let mut forced = match every.is_empty() {
            true => session.named("--force", &force)?,
            false => all.clone(),
        };
        let from = session.named("--from", &arguments.from)?;
        for (option, named) in [("--force", forced.iter()), ("--from", from.iter())] {
            let mut named = named.filter(|node| session.frozen.contains_key(node));
            if let Some(&node) = named
                .next()
                .filter(|_| option == "--from" || every.is_empty())
            {
                let label = &session.plan.graph[node].label;
                return Err(wrong(format!(
                    "{option}: `{label}` is frozen, so its last result stands; delete `frozen = true` to run it"
                )));
            }
        }
        let mut named = from.clone();
        if every.is_empty() {
            named.extend(&forced);
        }
        forced.extend(session.plan.with_descendants(&from));
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
        if let Some(&node) = named.difference(&wanted).next() {
            let label = &session.plan.graph[node].label;
            return Err(wrong(format!(
                "--force and --from: `{label}` is not among the stages that --only and --until name: name it there too"
            )));
        }
        Ok(Chosen {
            wanted,
            looked_up,
            forced,
        })
    }

    /// Those that it brings up to date.
    pub fn wanted(&self) -> &BTreeSet<NodeIndex> {
        &self.wanted
    }

    /// All that have to do with it.
    pub fn involved(&self) -> BTreeSet<NodeIndex> {
        self.wanted.union(&self.looked_up).copied().collect()
    }

    /// The same for other instances.
    pub fn only_for(self, wanted: BTreeSet<NodeIndex>) -> Chosen {
        Chosen { wanted, ..self }
    }

    /// Refuses where something that these instances read from has no result.
    fn has_what_it_reads(
        &self,
        session: &Session,
        survey: &Survey,
        arguments: &RunArguments,
    ) -> Result<(), Failure> {
        let mut looked_up = session.in_order(&self.looked_up).into_iter();
        let Some(missing) = looked_up.find(|n| survey.record(*n).is_none()) else {
            return Ok(());
        };
        let label = &session.plan.graph[missing].label;
        Err(wrong(format!(
            "--only: stage `{label}`, which it reads from, has no up-to-date result in the store; use --until, or \
             first: {}",
            first(&arguments.workflow, &[label])
        )))
    }
}

/// Refuses a name that is none, or that another run has.
pub fn may_be_called(name: &str, session: &Session) -> Result<(), Failure> {
    let refused = |why| wrong(format!("--name {}: {why}", view::plain(name)));
    names::check(name).map_err(refused)?;
    names::is_free(&session.store, &session.workflow.path, name)?.map_err(refused)
}

/// Brings the chosen instances up to date and delivers: events go to the view and into the journal.
fn bring_up_to_date(
    arguments: &RunArguments,
    session: &Session,
    externals: &Externals,
    bound: &Bound,
    chosen: Chosen,
    machine: Machine,
    started: Instant,
) -> Result<(Summary, Places), Failure> {
    let stop = interruptible()?;
    let options = Options {
        wanted: chosen.wanted,
        looked_up: chosen.looked_up,
        forced: chosen.forced,
        frozen: session.frozen.clone(),
        jobs: arguments.jobs.unwrap_or(machine.cores),
        machine,
        keep_going: arguments.keep_going || (session.plan.sweep.is_some() && !arguments.fail_fast),
    };
    let subject = Subject {
        workflow: &session.workflow,
        sources: &session.sources,
        overrides: &bound.overrides,
        plan: &session.plan,
        catalogue: &session.catalogue,
        wanted: &options.wanted,
        about: &bound.about,
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
        externals,
        store: &store,
        stop: &stop,
        started,
    };
    let mut view = if arguments.show_output {
        view::with_output(arguments.told(), journal.folder())
    } else {
        view::choose(arguments.told())
    };
    let mut summary = runner.run(&options, &mut journal, &mut |event: &Event| {
        view.event(event)
    })?;
    view.settle();
    let end = &mut summary.end;
    // What could not be delivered is no run that went well.
    let delivered = match &summary.broken {
        _ if bound.about.again.is_some() && arguments.folder.is_none() => {
            if !arguments.json && !session.plan.deliveries.is_empty() {
                view::tell(
                    "note: nothing is delivered: the files of then would take the place of those of now",
                );
            }
            Ok((Places::Right, 0))
        }
        None => deliver::deliver(arguments, session, &summary.records, &stop),
        Some(_) => Ok((Places::Right, 0)),
    };
    let well = end.status == Ending::Ok;
    match &delivered {
        Ok((Places::Interrupted, _)) => end.status = Ending::Cancelled,
        Ok((Places::Wrong, count)) => {
            end.undelivered = *count;
            end.status = if well { Ending::Failed } else { end.status };
        }
        Err(_) if well => end.status = Ending::Failed,
        _ => {}
    }
    end.seconds = started.elapsed().as_secs_f64();
    // Also a run that the store has failed has an end, and what it has read is remembered.
    let end = Event::Run(end.clone());
    journal.keep(&end);
    view.event(&end);
    journal.end(&store);
    view.end()?;
    if let Err(error) = store.save_memo() {
        view::tell(&format!(
            "warning: {error}; so the next run reads the input files again"
        ));
    }
    if let Some(error) = summary.broken.take() {
        return Err(error.into());
    }
    Ok((summary, delivered?.0))
}

/// What a run shows at its end; of a sweep only where a table can be made of it.
fn tables(
    session: &Session,
    externals: &Externals,
    summary: &Summary,
    columns: Option<&Columns>,
) -> Result<Vec<String>, Failure> {
    let metrics = |node| Some(&summary.records.get(&node)?.metrics);
    Ok(match columns {
        _ if session.plan.sweep.is_none() => {
            view::results::tables(&session.plan, &session.catalogue, metrics)
        }
        Some(columns) => vec![table::after(session, columns, externals)?],
        None => Vec::new(),
    })
}

/// Notes what the run saw, where it found all its work done. It saves the next run time, nothing else.
fn remember(
    name: &Digest,
    session: &Session,
    externals: &Externals,
    summary: &Summary,
    tables: Vec<String>,
    delivered: &[&str],
) {
    if session.warned || summary.end.cached != session.plan.order.len() {
        return;
    }
    let settled = Settled::of(
        &summary.end,
        &session.workflow,
        &session.sources,
        &session.plan,
        externals,
        &summary.records,
        tables,
        &session.store,
    );
    if let Some(settled) =
        settled.and_then(|s| s.with_delivered(delivered, &session.workflow, &session.store))
    {
        let _ = session.store.note(name, &settled);
    }
}

/// This machine, if it has what the given instances must have.
fn machine_for(session: &Session, wanted: &BTreeSet<NodeIndex>) -> Result<Machine, Failure> {
    let machine = Machine::here();
    for &node in wanted
        .iter()
        .filter(|node| !session.frozen.contains_key(node))
    {
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

/// The name of what is remembered of runs with these arguments; none where they ask for anything but bringing all of a
/// workflow up to date.
fn name(arguments: &RunArguments) -> Option<Digest> {
    let RunArguments {
        only,
        until,
        force,
        from,
        ..
    } = arguments;
    let choices = [only, until, force, from];
    let all = choices.iter().all(|names| names.is_empty())
        && !arguments.prune
        && !arguments.deliver
        // What people write of a run is of that run alone.
        && arguments.name.is_none()
        && arguments.note.is_none();
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
    let settled = Settled::find(&hearing.of(&store), name);
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
    let mut view = view::choose(arguments.told());
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
