//! `flow report`: the page of a workflow or of a run, as a file.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::Args;
use flow_cache::Store;
use flow_plan::workflow::problem::Problems;
use flow_report::{Document, Subject, figures, gather, page};
use flow_results::Survey;
use flow_results::table::{Columns, Source, Table, Wrong};
use flow_run::plugin;
use flow_run::record::ends::Ends;
use flow_run::record::past::PastRun;
use flow_run::record::provenance::{self, Action};
use flow_run::record::replan::replan;
use petgraph::graph::NodeIndex;
use serde_json::Value;

use crate::arguments::StoreArguments;
use crate::arguments::{OverrideArguments, WorkflowArguments, workflow_of};
use crate::commands::report_cache;
use crate::commands::status::history;
use crate::failure::{Failure, wrong};
use crate::runs;
use crate::session::Session;
use crate::suggestion::again;
use crate::view;

/// What a page is of.
#[derive(Args)]
pub struct PageArguments {
    /// The workflow file, or a folder with one; or a run of the store of the current folder.
    #[arg(value_name = "WORKFLOW|RUN", default_value = ".")]
    what: PathBuf,
    /// A run of that workflow's store; `flow runs` lists them.
    run: Option<String>,
    #[command(flatten)]
    overrides: OverrideArguments,
    /// The folder that holds all results; by default .flow beside the workflow file.
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    store: Option<PathBuf>,
}

/// The arguments of `flow report`.
#[derive(Args)]
pub struct ReportArguments {
    #[command(flatten)]
    page: PageArguments,
    /// The file; a report that is there is replaced.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Write the page's figures into this folder instead, each as SVG and PNG, for papers.
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    figures: Option<PathBuf>,
    /// With --figures: those of this stage alone.
    #[arg(long, value_name = "STAGE", requires = "figures")]
    only: Vec<String>,
}

/// A workflow, or one run.
pub enum Target {
    Workflow(WorkflowArguments),
    Run(Store, String),
}

impl PageArguments {
    /// What the page is of; it has to be there.
    pub fn target(&self) -> Result<Target, Failure> {
        let arguments = WorkflowArguments {
            workflow: self.what.clone(),
            overrides: self.overrides.clone(),
            store: self.store.clone(),
            run: None,
        };
        let (store, run) = match &self.run {
            Some(run) => {
                let workflow = workflow_of(&self.what)?;
                let place = StoreArguments {
                    workflow: Some(workflow.clone()),
                    store: self.store.clone(),
                };
                let store = place.open()?;
                let run = runs::open(&store, run, Some(&workflow))?;
                (store, run)
            }
            None => match runs::instead_of_workflow(&self.what, self.store.as_deref())? {
                Some(found) => found,
                None => {
                    return Ok(Target::Workflow(WorkflowArguments {
                        workflow: workflow_of(&self.what)?,
                        ..arguments
                    }));
                }
            },
        };
        runs::as_it_was(&run.id, &arguments.overrides().options())?;
        Ok(Target::Run(store, run.id))
    }
}

/// `flow report`.
pub fn report(arguments: &ReportArguments) -> Result<ExitCode, Failure> {
    let target = arguments.page.target()?;
    if arguments.figures.is_none() {
        refuse_other(&arguments.output)?;
    }
    let (mut document, store) = match target {
        Target::Workflow(workflow) => of_workflow(&workflow)?,
        Target::Run(store, run) => (of_run(&store, &run)?, store),
    };
    if let Some(folder) = &arguments.figures {
        keep_only(&mut document, &arguments.only)?;
        let written = figures::write(&document, &store, folder)?;
        for left_out in &written.left_out {
            view::tell(&format!("left out: {}", view::plain(left_out)));
        }
        view::print(&format!(
            "wrote {} figure(s) into {}",
            written.figures,
            folder.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (page, was_there) = report_cache::page(document, &store)?;
    write(&arguments.output, &page)?;
    let from = if was_there { ", made before" } else { "" };
    view::print(&format!(
        "wrote {}, {}{from}",
        arguments.output.display(),
        ByteSize(page.len() as u64).display().si()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Takes all figures away but those of these stages, if any is named.
fn keep_only(document: &mut Document, only: &[String]) -> Result<(), Failure> {
    if only.is_empty() {
        return Ok(());
    }
    let stages = &document.stages;
    let is_called = |at: usize, name: &String| {
        let found = stages.get(at);
        found.is_some_and(|stage| stage.label == *name || stage.stage == *name)
    };
    for name in only {
        if !(0..stages.len()).any(|at| is_called(at, name)) {
            let known: Vec<&str> = stages.iter().map(|stage| stage.label.as_str()).collect();
            return Err(wrong(format!(
                "--only {}: there is no such stage; there are {}",
                view::plain(name),
                view::some(&known, view::MANY)
            )));
        }
    }
    let named = |at: usize| only.iter().any(|name| is_called(at, name));
    document
        .published
        .retain(|published| named(published.stage));
    document.figures.clear();
    Ok(())
}

/// A file that is there and no report may be somebody's work.
pub(super) fn refuse_other(path: &Path) -> Result<(), Failure> {
    let mut beginning = vec![0; page::BEGINNING.len()];
    match fs::File::open(path).and_then(|mut file| file.read_exact(&mut beginning)) {
        Ok(()) if beginning == page::BEGINNING.as_bytes() => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(wrong(format!(
            "{} is there already, and is no report of flow's; name another file",
            path.display()
        ))),
    }
}

/// Under another name until it is whole.
pub(super) fn write(path: &Path, page: &[u8]) -> Result<()> {
    let cannot = || format!("{} can't be written", path.display());
    let absolute = std::path::absolute(path).with_context(cannot)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(cannot)?;
    let mut file = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(cannot)?;
    file.write_all(page).with_context(cannot)?;
    file.persist(&absolute).with_context(cannot)?;
    Ok(())
}

/// A workflow as the store has it now.
pub fn of_workflow(arguments: &WorkflowArguments) -> Result<(Document, Store), Failure> {
    of_session(Session::open(arguments)?, arguments)
}

/// A workflow that was opened, as the store has it now.
pub fn of_session(
    mut session: Session,
    arguments: &WorkflowArguments,
) -> Result<(Document, Store), Failure> {
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    let source = Source {
        workflow: &session.workflow,
        plan: &session.plan,
        catalogue: &session.catalogue,
        store: &session.store,
    };
    let table = table(&source, &survey)?;
    let overrides = arguments.overrides().options();
    let again = |label: &str| again(&session.store, &arguments.workflow, &overrides, label);
    let history = history(&session, &survey, &session.plan.order)?;
    let document = gather::document(&Subject {
        workflow: &session.workflow,
        plan: &session.plan,
        catalogue: &session.catalogue,
        survey: &survey,
        actions: &actions(&session, &survey)?,
        history: &history,
        runs: &session.store.root().join("runs"),
        overrides: &overrides,
        again: &again,
        table: table.as_ref(),
    })?;
    Ok((document, session.store.clone()))
}

/// What made the results that are there, and where each of their inputs came from.
fn actions(session: &Session, survey: &Survey) -> Result<HashMap<NodeIndex, Action>> {
    let nodes = session.plan.order.iter();
    let known = nodes.filter_map(|&node| Some((node, survey.record(node)?.key)));
    let (nodes, keys): (Vec<_>, Vec<_>) = known.unzip();
    let actions = provenance::actions(&session.store, keys)?;
    let found = nodes.into_iter().zip(actions);
    Ok(found
        .filter_map(|(node, action)| Some((node, action?)))
        .collect())
}

/// The results as `flow table --json` prints them; none where there are no figures.
fn table(source: &Source<'_>, survey: &Survey) -> Result<Option<Value>> {
    let made = match Columns::choose(source, &[], |_| true) {
        Ok(columns) => Table::of(source, &columns, survey),
        Err(_) => return Ok(None),
    };
    match made {
        Ok(table) => Ok(Some(serde_json::to_value(table)?)),
        // A goal that no result has: `flow table` says so, and the page has all the rest.
        Err(error) if error.is::<Wrong>() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A run, as far as it has come.
pub fn of_run(store: &Store, id: &str) -> Result<Document> {
    let run = PastRun::open(store, id)?.with_context(|| format!("the run {id} is gone"))?;
    let replanned = replan(&run).ok();
    let found;
    let catalogue = match &replanned {
        Some(replanned) => &replanned.catalogue,
        None => {
            found = plugin::find(None, &mut Problems::default());
            &found
        }
    };
    let here = std::env::current_dir().unwrap_or_default();
    let path = run.head.path.strip_prefix(here).unwrap_or(&run.head.path);
    let overrides = run.overrides();
    let again = |label: &str| again(store, path, &overrides, label);
    let read = |path: &Path| fs::read(path).ok();
    let ends = Ends::of(&run, store)?;
    let table = match &replanned {
        Some(replanned) => {
            let source = Source {
                workflow: &replanned.workflow,
                plan: &replanned.plan,
                catalogue: &replanned.catalogue,
                store,
            };
            let plan = &replanned.plan;
            table(&source, &Survey::of_records(plan, ends.records(plan)))?
        }
        None => None,
    };
    flow_report::past::document(&flow_report::past::Subject {
        run: &run,
        ends: &ends,
        replanned: replanned.as_ref(),
        catalogue,
        runs: &store.root().join("runs"),
        again: &again,
        changed: read(&run.head.path) != read(&run.folder.join("workflow.toml")),
        table: table.as_ref(),
    })
}
