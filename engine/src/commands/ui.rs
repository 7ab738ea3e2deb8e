//! `flow ui`: the page live, while a run goes on.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Args;
use flow_cache::Store;
use flow_report::server::{Live, serve};
use flow_run::record::{PastRun, head};

use crate::commands::report::{PageArguments, Target, of_run, of_workflow};
use crate::failure::{Failure, wrong};
use crate::session::{Session, interruptible};
use crate::view;

/// The arguments of `flow ui`.
#[derive(Args)]
pub struct UiArguments {
    #[command(flatten)]
    page: PageArguments,
    /// The port on 127.0.0.1; a free one where none is named.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
}

/// `flow ui`.
pub fn ui(arguments: &UiArguments) -> Result<ExitCode, Failure> {
    let target = arguments.page.target()?;
    // What is wrong with the workflow is said here and now, not in the browser.
    let (store, path) = match &target {
        Target::Workflow(workflow) => {
            let session = Session::open(workflow)?;
            (session.store.clone(), session.workflow.path.clone())
        }
        Target::Run(store, _) => (store.clone(), PathBuf::new()),
    };
    let newest = Newest {
        store: &store,
        path: &path,
        found: Mutex::default(),
    };
    let shown = || match &target {
        Target::Run(_, run) => Some(run.clone()),
        Target::Workflow(_) => newest.run(),
    };
    let document = || {
        let mut document = match (shown(), &target) {
            (Some(run), _) => of_run(&store, &run)?,
            (None, Target::Workflow(workflow)) => {
                let made =
                    of_workflow(workflow).map_err(|failure| anyhow::anyhow!(failure.text))?;
                made.0
            }
            (None, Target::Run(_, run)) => anyhow::bail!("the run {run} is gone"),
        };
        flow_report::complete(&mut document, &store);
        Ok(document)
    };
    let journal = || Some(store.run_folder(&shown()?).join("events.jsonl"));
    let port = arguments.port.unwrap_or(0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| wrong(format!("127.0.0.1:{port} can't be listened on: {error}")))?;
    let port = listener.local_addr().map_err(wrong)?.port();
    let stop = interruptible()?;
    let what = match shown() {
        Some(run) => format!("run {run}"),
        None => "no run yet; the first will be shown".into(),
    };
    view::print(&format!(
        "http://127.0.0.1:{port}/ ({what}); Ctrl-C ends it"
    ))?;
    serve(
        listener,
        &Live {
            document: &document,
            journal: &journal,
        },
        &stop,
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The newest run of a workflow file, looked for whenever there is another run in the store.
struct Newest<'a> {
    store: &'a Store,
    path: &'a Path,
    /// The runs that were there when it was looked for, and what was found.
    found: Mutex<(Vec<OsString>, Option<String>)>,
}

impl Newest<'_> {
    fn run(&self) -> Option<String> {
        let entries = fs::read_dir(self.store.root().join("runs")).into_iter();
        let mut names: Vec<OsString> = entries.flatten().flatten().map(|e| e.file_name()).collect();
        // In one order, to be compared.
        names.sort();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.0 != names {
            // Names alone tell no more than the second.
            let runs = PastRun::all(self.store).unwrap_or_default();
            let newest = runs.iter().find(|run| run.head.path == self.path);
            let newest = newest.map(|run| run.id.clone());
            // A run that has just begun may have no head yet: then it is looked for again.
            let second = |run: &PastRun| run.began().0;
            let mut last = runs
                .iter()
                .take_while(|run| second(run) == second(&runs[0]));
            let whole = last.all(|run| run.folder.join(head::FILE).exists());
            let names = if whole { names } else { Vec::new() };
            *found = (names, newest);
        }
        found.1.clone()
    }
}
