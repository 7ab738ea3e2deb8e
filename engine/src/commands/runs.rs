//! `flow runs`: the earlier runs, and what differs between them.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use flow_cache::Store;
use flow_run::record::changes::Changes;
use flow_run::record::past::State;
use flow_run::record::{Ending, PastRun, names};
use glob::Pattern;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use crate::arguments::{StoreArguments, workflow_of};
use crate::commands::cache::age;
use crate::failure::{Failure, wrong};
use crate::runs;
use crate::suggestion;
use crate::view;
use crate::view::runs::Listed;

/// Which runs, and how.
#[derive(Args)]
pub struct RunsArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Those with this name alone, or with names that a glob matches.
    #[arg(long, value_name = "NAME|GLOB")]
    name: Option<Pattern>,
    /// Those that stand so alone.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS,…")]
    status: Vec<Status>,
    /// Those that began since then alone: a time as 12h or 7d, or a date as 2026-11-24
    #[arg(long, value_name = "TIME|DATE", value_parser = since)]
    since: Option<Timestamp>,
    /// The newest N alone.
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// Take the name from a run: others may be called so then, and gc may take its results
    #[arg(long, value_name = "RUN", conflicts_with_all = ["name", "status", "since", "limit", "json"])]
    unname: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Ok,
    Failed,
    Cancelled,
    Running,
    Killed,
}

impl Status {
    fn of(run: &PastRun) -> Status {
        match run.state {
            State::Ended(Ending::Ok) => Status::Ok,
            State::Ended(Ending::Failed) => Status::Failed,
            State::Ended(Ending::Cancelled) => Status::Cancelled,
            State::Running => Status::Running,
            State::Killed => Status::Killed,
        }
    }
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(local) = text.parse::<civil::DateTime>() {
        let local = local.to_zoned_datetime(TimeZone::system());
        return local
            .map(|zoned| zoned.timestamp())
            .map_err(|e| e.to_string());
    }
    let past: Duration =
        age(text).map_err(|_| "write it like 12h, 7d or 2026-11-24".to_string())?;
    Timestamp::now()
        .checked_sub(past)
        .map_err(|e| e.to_string())
}

/// Takes its name from a run.
fn unname(store: &Store, run: PastRun) -> Result<ExitCode, Failure> {
    let Some(name) = &run.head.name else {
        return Err(wrong(format!("run {} has no name", run.id)));
    };
    names::forget(store, &run)?;
    view::print(&format!(
        "run {} is no longer called `{}`; gc may take its results",
        run.id,
        view::plain(name)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// `flow runs`.
pub fn runs(arguments: &RunsArguments) -> Result<ExitCode, Failure> {
    let workflow = arguments.store.workflow.as_deref();
    if let Some(what) = workflow.filter(|what| !what.exists())
        && let Some((store, _)) = runs::instead_of_workflow(what, arguments.store.store.as_deref())?
    {
        let text = what.to_string_lossy();
        return Err(wrong(format!(
            "`{text}` is a run, and a workflow file is wanted; `{}` shows it",
            suggestion::on(Some(store.root()), &["show", &text])
        )));
    }
    let workflow = workflow.map(workflow_of);
    let workflow = workflow.transpose()?;
    let place = StoreArguments {
        workflow: workflow.clone(),
        store: arguments.store.store.clone(),
    };
    let store = place.open()?;
    if let Some(run) = &arguments.unname {
        return unname(&store, runs::open(&store, run, workflow.as_deref())?);
    }
    let mut runs = PastRun::all(&store)?;
    if let Some(workflow) = &workflow {
        let path = workflow
            .canonicalize()
            .map_err(|e| wrong(format!("{}: {e}", workflow.display())))?;
        runs.retain(|run| run.head.path == path);
    }
    let listed = |run: &&PastRun| {
        let name = run.head.name.as_deref();
        let began = run.head.started.parse::<Timestamp>().ok();
        arguments
            .name
            .as_ref()
            .is_none_or(|wanted| name.is_some_and(|name| wanted.matches(name)))
            && (arguments.status.is_empty() || arguments.status.contains(&Status::of(run)))
            && arguments
                .since
                .is_none_or(|since| began.is_some_and(|began| began >= since))
    };
    let all = runs.iter().enumerate();
    let chosen = all.filter(|(_, run)| listed(run));
    let chosen = chosen.take(arguments.limit.unwrap_or(usize::MAX));
    // The one before may be none of those that are listed.
    let before = |at: usize, run: &PastRun| {
        let mut older = runs.iter().skip(at + 1);
        older.find(|other| other.head.path == run.head.path)
    };
    if arguments.json {
        for (at, run) in chosen {
            view::print(&view::runs::json(run, before(at, run)).to_string())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = chosen.map(|(at, run)| Listed {
        run,
        changes: before(at, run).map(|before| Changes::between(before, run)),
    });
    view::print(&view::runs::table(&chosen.collect::<Vec<_>>()))?;
    Ok(ExitCode::SUCCESS)
}
