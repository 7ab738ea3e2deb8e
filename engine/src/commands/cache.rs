//! `flow cache`: what the store holds, whether it is sound, and making room.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::Subcommand;
use flow_cache::{Budget, Key, Lookup, Store};
use flow_run::record::{PastRun, names, retire};
use petgraph::graph::NodeIndex;
use serde_json::json;

use crate::arguments::{StoreArguments, WorkflowArguments};
use crate::failure::{FAILED, Failure, wrong};
use crate::runs;
use crate::session::Session;
use crate::suggestion;
use crate::view;

/// What can be asked of a store.
#[derive(Subcommand)]
pub enum CacheCommand {
    /// Says how much is in the store.
    Stats {
        #[command(flatten)]
        store: StoreArguments,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Reads everything in the store again and names what is damaged; exit status 1 where something is.
    Verify {
        #[command(flatten)]
        store: StoreArguments,
        /// Remove what is damaged, so that it is computed again.
        #[arg(long)]
        fix: bool,
    },
    /// Makes room: what is big and quick to compute goes first, what is pinned, of a run with a name, or in use stays. Runs and
    /// their logs go when none of the results that they made is left.
    #[command(after_help = "Example:\n  flow cache gc --max-size 50GB --max-age 30d --dry-run")]
    Gc {
        #[command(flatten)]
        store: StoreArguments,
        /// The size that may stay: 500MB, 50GB.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
        /// The time since a result was last of use: 12h, 30d.
        #[arg(long, value_name = "TIME", value_parser = age)]
        max_age: Option<Duration>,
        /// Say what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Keeps a workflow's results from gc, under a name: those that are up to date, or all that a run made and used.
    #[command(
        allow_missing_positional = true,
        after_help = "Examples:\n  flow cache pin workflows/quickstart.toml paper\n  \
        flow cache pin workflows/quickstart.toml paper --run 20261124-093000-1f3a"
    )]
    Pin {
        #[command(flatten)]
        workflow: WorkflowArguments,
        /// The name.
        name: String,
        /// The run, by its id or name; `flow runs` lists them.
        #[arg(long, value_name = "RUN", conflicts_with_all = ["set", "variant", "params"])]
        run: Option<String>,
    },
    /// Removes a pin.
    Unpin {
        /// The workflow file whose store is meant.
        workflow: PathBuf,
        /// The pin's name.
        name: String,
        /// The store's folder.
        #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
        store: Option<PathBuf>,
    },
    /// Lists the pins.
    Pins {
        #[command(flatten)]
        store: StoreArguments,
    },
}

fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.as_u64())
}

pub(super) fn age(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text.parse().map_err(|e| format!("{e}"))?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    span.to_duration(days)
        .and_then(Duration::try_from)
        .map_err(|e| format!("{e}; write it like 12h or 30d"))
}

/// `flow cache …`.
pub fn cache(command: &CacheCommand) -> Result<ExitCode, Failure> {
    match command {
        CacheCommand::Stats { store, json } => stats(&store.open()?, *json),
        CacheCommand::Verify { store, fix } => verify(&store.open()?, *fix),
        CacheCommand::Gc {
            store,
            max_size,
            max_age,
            dry_run,
        } => {
            let budget = Budget {
                max_bytes: *max_size,
                max_age: *max_age,
            };
            gc(&store.open()?, &budget, *dry_run)
        }
        CacheCommand::Pin {
            workflow,
            name,
            run: None,
        } => pin(workflow, name),
        CacheCommand::Pin {
            workflow,
            name,
            run: Some(run),
        } => pin_run(&store_of(workflow)?, name, run),
        CacheCommand::Unpin {
            workflow,
            name,
            store,
        } => {
            let place = StoreArguments {
                workflow: Some(workflow.clone()),
                store: store.clone(),
            };
            if !place.open()?.unpin(name)? {
                return Err(wrong(format!("there is no pin `{name}`")));
            }
            view::print(&format!("`{name}` is no longer pinned"))?;
            Ok(ExitCode::SUCCESS)
        }
        CacheCommand::Pins { store } => {
            for (name, keys) in store.open()?.pins()? {
                view::print(&format!("{name}: {} result(s)", keys.len()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn stats(store: &Store, as_json: bool) -> Result<ExitCode, Failure> {
    let stats = store.stats()?;
    if as_json {
        let object = json!({
            "event": "stats", "records": stats.records, "damaged": stats.damaged, "seconds": stats.seconds,
            "blobs": stats.blobs, "bytes": stats.bytes, "work_folders": stats.work_folders,
            "work_bytes": stats.work_bytes, "pins": stats.pins, "live": stats.live,
        });
        view::print(&object.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    view::print(&format!(
        "{}\n{} results that took {} to compute, {} damaged, {} pin(s)\n{} blobs, {}\n{} unfinished stage(s), {}\n{} \
         process(es) use it now",
        store.root().display(),
        stats.records,
        view::duration(stats.seconds),
        stats.damaged,
        stats.pins,
        stats.blobs,
        ByteSize(stats.bytes),
        stats.work_folders,
        ByteSize(stats.work_bytes),
        stats.live
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn verify(store: &Store, fix: bool) -> Result<ExitCode, Failure> {
    let found = store.verify(fix)?;
    for problem in &found.problems {
        let fixed = if problem.fixed { "; removed" } else { "" };
        view::print(&format!(
            "{}: {}{fixed}",
            problem.path.display(),
            problem.what
        ))?;
    }
    view::print(&format!(
        "{} results and {} blobs ({}) read, {} damaged",
        found.records,
        found.blobs,
        ByteSize(found.bytes),
        found.problems.len()
    ))?;
    let sound = found.problems.iter().all(|problem| problem.fixed);
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn gc(store: &Store, budget: &Budget, dry_run: bool) -> Result<ExitCode, Failure> {
    let mut named = Vec::new();
    let plan = store.gc(budget, dry_run, || -> anyhow::Result<_> {
        named = names::holders(PastRun::all(store)?);
        names::results(&named)
    })?;
    let evicted = plan.evicted.iter().map(|evicted| evicted.key).collect();
    let retired = retire::retire(store, budget.max_age, &evicted, dry_run)?;
    let now = SystemTime::now();
    for evicted in &plan.evicted {
        let idle = now.duration_since(evicted.touched).unwrap_or_default();
        view::print(&format!(
            "{}  {:>10}  took {}, last of use {} ago",
            &evicted.key.to_string()[..12],
            ByteSize(evicted.bytes).to_string(),
            view::duration(evicted.seconds),
            view::duration(idle.as_secs_f64())
        ))?;
    }
    if !retired.runs.is_empty() {
        view::print(&format!(
            "{:>12}  {:>10}  and the logs of {} run(s) that have no more use: {}",
            "runs",
            ByteSize(retired.bytes).to_string(),
            retired.runs.len(),
            some(&retired.runs)
        ))?;
    }
    view::print(&format!(
        "{} {} ({} of it leftovers): {} result(s) that took {} to compute; {} stays, with {} result(s) pinned, {} of named \
         runs and {} in use",
        if dry_run { "would free" } else { "freed" },
        ByteSize(plan.freed + retired.bytes),
        ByteSize(plan.garbage),
        plan.evicted.len(),
        view::duration(plan.seconds),
        ByteSize(plan.kept),
        plan.pinned,
        plan.wanted,
        plan.in_use
    ))?;
    if plan.wanted > 0 {
        let names = named.into_iter().filter_map(|run| run.head.name);
        view::print(&format!(
            "results of named runs stay: {}; `{}` lets them go",
            view::plain(&some(&names.collect::<Vec<_>>())),
            suggestion::on(Some(store.root()), &["runs", "--unname", "NAME"])
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first few names of many.
fn some(names: &[String]) -> String {
    const FEW: usize = 3;
    let first = names[..names.len().min(FEW)].join(", ");
    match names.len().saturating_sub(FEW) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// The store of a workflow file, which need not be right any more.
fn store_of(arguments: &WorkflowArguments) -> Result<Store, Failure> {
    let place = StoreArguments {
        workflow: Some(arguments.workflow.clone()),
        store: arguments.store.clone(),
    };
    place.open()
}

fn pin_run(store: &Store, name: &str, id: &str) -> Result<ExitCode, Failure> {
    let run = runs::open(store, id, None)?;
    let id = &run.id;
    let keys: Vec<Key> = run.stages()?.iter().filter_map(|stage| stage.key).collect();
    let mut there = Vec::new();
    for key in &keys {
        if let Lookup::Hit(_) = store.lookup(key)? {
            there.push(*key);
        }
    }
    if there.is_empty() {
        return Err(wrong(format!(
            "none of the results of run {id} is in the store any more, so there is nothing to pin"
        )));
    }
    store.pin(name, &there)?;
    view::print(&format!(
        "pinned {} of {} result(s) of run {id} as `{name}`",
        there.len(),
        keys.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn pin(arguments: &WorkflowArguments, name: &str) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    let keys: Vec<Key> = all
        .iter()
        .filter_map(|node| survey.record(*node))
        .map(|record| record.key)
        .collect();
    if keys.is_empty() {
        return Err(wrong(
            "none of the workflow's results is in the store, so there is nothing to pin",
        ));
    }
    session.store.pin(name, &keys)?;
    view::print(&format!(
        "pinned {} of {} result(s) as `{name}`",
        keys.len(),
        all.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}
