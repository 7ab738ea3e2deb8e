//! `flow show`: how results were made, and what runs did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use flow_cache::{Key, Record, Store};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::{self, Loaded, Reference, search};
use flow_run::record::past::{self, PastRun};
use flow_run::record::provenance::{self, Found};
use serde_json::json;

use crate::arguments::StoreArguments;
use crate::arguments::{OverrideArguments, WorkflowArguments, workflow_of};
use crate::failure::{FAILED, Failure, wrong};
use crate::runs;
use crate::session::{Session, report, settle};
use crate::suggestion::{again, again_run, suggest};
use crate::view;
use crate::view::hearing::Hearing;
use crate::view::provenance::Again;

/// As many digits of a digest are asked for at least: fewer would often be found by chance.
const FEWEST_DIGITS: usize = 6;

/// What to show.
#[derive(Args)]
pub struct ShowArguments {
    /// What to show: a stage's output; a run; a file or folder that a stage may have made; a digest or key, or its first digits.
    /// Before it the workflow file that the stage belongs to, or whose store is meant; without it that of the current folder
    #[arg(value_name = "[WORKFLOW] STAGE[.OUTPUT]|RUN|FILE|DIGEST", num_args = 0..=2)]
    names: Vec<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArguments,
    /// The store's folder.
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    store: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// `flow show`.
pub fn show(arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    let (workflow, what) = match &arguments.names[..] {
        [] | [_] if arguments.overrides.params.is_some() => return values(arguments),
        [what] => (None, what),
        [run, what, ..] if !past::is_run(&what.to_string_lossy()) => {
            match runs::instead_of_workflow(run, arguments.store.as_deref())? {
                Some((_, run)) => return show_of_run(arguments, run.id, &what.to_string_lossy()),
                None => (Some(workflow_of(run)?), what),
            }
        }
        [workflow, what, ..] => (Some(workflow_of(workflow)?), what),
        [] => {
            return Err(wrong(
                "name what to show: a stage's output, a run, a file, a digest; or --params, which shows where the values of a \
                 workflow come from",
            ));
        }
    };
    if arguments.overrides.is_without_file() {
        return Err(wrong(
            "--params without a file shows the values of a whole workflow: name no stage, or a file of params",
        ));
    }
    let arguments = &Asked {
        workflow,
        what: what.to_string_lossy().into_owned(),
        overrides: arguments.overrides.clone(),
        store: arguments.store.clone(),
        json: arguments.json,
    };
    let what = arguments.what.as_str();
    if past::is_run(what) {
        let store = arguments.place().open()?;
        let run = runs::open(&store, what, None)?;
        return show_run(&store, &run, arguments.json);
    }
    if arguments.workflow.is_none()
        && let Some((store, run)) =
            runs::instead_of_workflow(Path::new(what), arguments.store.as_deref())?
    {
        return show_run(&store, &run, arguments.json);
    }
    if let Some(workflow) = &arguments.workflow {
        let workflow = arguments.on(workflow.clone());
        let session = Session::open(&workflow)?;
        if let Ok(reference) = what.parse::<Reference>()
            && session.plan.find(&reference).is_ok()
        {
            return show_stage(session, &workflow, &reference, what, arguments.json);
        }
        if let Some(run) = runs::find(&session.store, what, Some(&workflow.workflow))? {
            return show_run(&session.store, &run, arguments.json);
        }
        let own = own(session, &workflow);
        return show_content(arguments, &own);
    }
    show_content(arguments, &Own::default())
}

/// Where the values of a workflow come from.
fn values(arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    let mut path = arguments.names.first().map(PathBuf::as_path);
    let mut overrides = arguments.overrides.clone();
    if overrides.is_without_file() {
        overrides.params = None;
    } else if let (None, Some(file)) = (path, &arguments.overrides.params)
        && search::is_workflow(file)
    {
        // `flow show --params flow.toml`.
        path = Some(file);
        overrides.params = None;
    }
    let workflow = WorkflowArguments {
        workflow: workflow_of(path.unwrap_or(Path::new(".")))?,
        overrides,
        store: arguments.store.clone(),
        run: None,
    };
    let Loaded {
        workflow,
        sources,
        problems,
        laid,
    } = workflow::load(&workflow.workflow, &workflow.overrides()).map_err(report)?;
    let sources = settle(sources, problems, &Catalogue::default())?;
    let combinations = workflow.sweep.as_ref().map(|sweep| &sweep.combinations[..]);
    let workflow = match combinations {
        Some([one]) => &one.workflow,
        _ => &workflow,
    };
    if arguments.json {
        for line in view::values::json(&laid, workflow, &sources) {
            view::print(&line.to_string())?;
        }
    } else {
        view::print(&view::values::text(&laid, workflow, &sources))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked for.
struct Asked {
    /// The workflow file that a stage belongs to, or whose store is meant.
    workflow: Option<PathBuf>,
    what: String,
    overrides: OverrideArguments,
    store: Option<PathBuf>,
    json: bool,
}

impl Asked {
    /// The same of a workflow.
    fn on(&self, workflow: PathBuf) -> WorkflowArguments {
        WorkflowArguments {
            workflow,
            overrides: self.overrides.clone(),
            store: self.store.clone(),
            run: None,
        }
    }

    fn place(&self) -> StoreArguments {
        StoreArguments {
            workflow: self.workflow.clone(),
            store: self.store.clone(),
        }
    }
}

/// A stage of a run, as it was in it.
fn show_of_run(arguments: &ShowArguments, run: String, what: &str) -> Result<ExitCode, Failure> {
    let workflow = WorkflowArguments {
        workflow: PathBuf::new(),
        overrides: arguments.overrides.clone(),
        store: arguments.store.clone(),
        run: Some(run),
    };
    let session = Session::open(&workflow)?;
    let reference = what.parse::<Reference>().map_err(wrong)?;
    show_stage(session, &workflow, &reference, what, arguments.json)
}

fn show_run(store: &Store, run: &PastRun, json: bool) -> Result<ExitCode, Failure> {
    let stages = run.stages()?;
    if json {
        let before = runs::before(store, run)?;
        view::print(&view::runs::json(run, before.as_ref()).to_string())?;
        for stage in &stages {
            let line = json!({
                "event": "stage", "stage": stage.stage, "instance": stage.instance, "status": stage.status,
                "key": stage.key, "seconds": stage.seconds, "outputs": stage.outputs,
            });
            view::print(&line.to_string())?;
        }
    } else {
        view::print(&view::provenance::run(run, &stages))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_stage(
    mut session: Session,
    workflow: &WorkflowArguments,
    reference: &Reference,
    what: &str,
    json: bool,
) -> Result<ExitCode, Failure> {
    let (node, output) = session.artifact(reference, what)?;
    let survey = session.standing(&[node])?;
    let label = &session.plan.graph[node].label;
    let Some(record) = survey.record(node) else {
        return Err(session.no_result(workflow, label, "show"));
    };
    let options = workflow.overrides().options();
    let again = match &session.past {
        Some((run, _)) => Again::new(again_run(&session.store, &run.id, label)),
        None => Again {
            frozen: session.frozen.contains_key(&node),
            ..Again::new(again(&session.store, &workflow.workflow, &options, label))
        },
    };
    let made = &record.outputs[&output];
    let title = format!("{} is {output} of {label}", made.digest);
    show_record(&session.store, record.clone(), &title, Some(&again), json)
}

/// What a workflow has made, as far as it is up to date: by its key, the instance and the command that makes it.
#[derive(Default)]
struct Own {
    instances: BTreeMap<Key, (String, Vec<String>)>,
    /// The workflow file, whatever of it is up to date.
    path: Option<PathBuf>,
}

/// What of the given workflow is up to date; nothing where its inputs are not there.
fn own(mut session: Session, workflow: &WorkflowArguments) -> Own {
    let mut own = Own {
        instances: BTreeMap::new(),
        path: workflow.workflow.canonicalize().ok(),
    };
    let all: BTreeSet<_> = session.plan.order.iter().copied().collect();
    let survey = session.externals(&all);
    let survey = survey.and_then(|externals| session.survey(&all, &BTreeSet::new(), &externals));
    let Ok(survey) = survey else {
        return own;
    };
    let options = workflow.overrides().options();
    for node in all {
        if let Some(record) = survey.record(node) {
            let label = session.plan.graph[node].label.clone();
            let command = again(&session.store, &workflow.workflow, &options, &label);
            own.instances.insert(record.key, (label, command));
        }
    }
    own
}

/// A file, a folder, or the first digits of a digest or key. Of several that made the content the given workflow's `own`
/// come first.
fn show_content(arguments: &Asked, own: &Own) -> Result<ExitCode, Failure> {
    let what = arguments.what.as_str();
    let store = arguments.place().open()?;
    let path = Path::new(what);
    let digits = if path.exists() {
        let hearing = Hearing::new();
        let digest = hearing.of(&store).digest_path(path);
        hearing.end();
        // It saves the next look at the file time, nothing else.
        let _ = store.save_memo();
        digest?.to_string()
    } else if what.len() >= FEWEST_DIGITS && what.bytes().all(|b| b.is_ascii_hexdigit()) {
        what.to_ascii_lowercase()
    } else {
        return Err(unknown(arguments));
    };
    let (mut found, readers) = provenance::find(&store, &digits)?;
    if found.len() > 1 {
        prefer(&mut found, &store, own)?;
    }
    let contents: BTreeSet<String> = found.iter().map(|f| f.digest.to_string()).collect();
    if contents.len() > 1 {
        let contents: Vec<String> = contents.into_iter().collect();
        return Err(wrong(format!(
            "{what} is the beginning of several: {}",
            contents.join(", ")
        )));
    }
    let Some(first) = found.first() else {
        let readers: Vec<String> = readers.iter().map(|label| view::plain(label)).collect();
        let mut text = format!(
            "no stage made {}, as far as {} knows",
            named(what, &digits),
            store.root().display()
        );
        if readers.is_empty() {
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let workflow = arguments.on(PathBuf::from(what));
                text += &format!(
                    "; for a result of a workflow, name its stage: {}",
                    view::plain(&suggest("show", &workflow, &["STAGE"]))
                );
            }
            return Err(Failure {
                text: format!("error: {text}"),
                status: FAILED,
            });
        }
        text += &format!("; read by {}", readers.join(", "));
        view::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    };
    let again = match own.instances.get(&first.record.key) {
        Some((_, command)) => Some(Again::new(command.clone())),
        None => again_as_then(&store, &first.record)?,
    };
    let title = format!(
        "{} is {}",
        named(what, &first.digest.to_string()),
        place(first, own)
    );
    let status = show_record(
        &store,
        first.record.clone(),
        &title,
        again.as_ref(),
        arguments.json,
    )?;
    for other in found.iter().skip(1).filter(|_| !arguments.json) {
        view::print(&format!(
            "\nThe same content is {}, with the key {}",
            place(other, own),
            other.record.key
        ))?;
    }
    Ok(status)
}

/// Puts first what is up to date in the given workflow, then what it made before, then what a workflow made whose file is
/// there. Otherwise the order stays.
fn prefer(found: &mut [Found], store: &Store, own: &Own) -> Result<(), Failure> {
    let mut places: BTreeMap<Key, (bool, bool, bool)> = BTreeMap::new();
    for record in found.iter().map(|found| &found.record) {
        let run = record.provenance["run"].as_str();
        let run = run
            .map(|id| PastRun::open(store, id))
            .transpose()?
            .flatten();
        let path = run.map(|run| run.head.path);
        let place = (
            !own.instances.contains_key(&record.key),
            own.path.is_none() || path != own.path,
            !path.is_some_and(|path| path.is_file()),
        );
        places.insert(record.key, place);
    }
    found.sort_by_key(|found| places.get(&found.record.key).copied());
    Ok(())
}

fn unknown(arguments: &Asked) -> Failure {
    let what = &arguments.what;
    match &arguments.workflow {
        Some(workflow) => wrong(format!(
            "`{what}` is no stage of {}, no run, no file, and no digest of at least {FEWEST_DIGITS} digits; `{}` lists \
             the stages",
            workflow.display(),
            suggest("status", &arguments.on(workflow.clone()), &[])
        )),
        None => wrong(format!(
            "`{what}` is no run, no file, and no digest of at least {FEWEST_DIGITS} digits; a stage needs its workflow: \
             {}",
            suggest("show", &arguments.on("WORKFLOW".into()), &[what])
        )),
    }
}

/// The digest, after the file's name where a file is meant.
fn named(what: &str, digest: &str) -> String {
    if digest.starts_with(what) {
        digest.to_string()
    } else {
        format!("{} ({digest})", view::plain(what))
    }
}

fn place(found: &Found, own: &Own) -> String {
    let label = match own.instances.get(&found.record.key) {
        Some((label, _)) => label,
        None => found.record.provenance["label"].as_str().unwrap_or("?"),
    };
    let text = match (&found.output, &found.file) {
        (None, _) => format!("the key of {label}"),
        (Some(output), None) => format!("{output} of {label}"),
        (Some(output), Some(file)) => format!("the file {file} in {output} of {label}"),
    };
    view::plain(&text)
}

fn show_record(
    store: &Store,
    record: Record,
    title: &str,
    again: Option<&Again>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let actions = provenance::lineage(store, record)?;
    if !json {
        view::print(&view::plain(title))?;
    }
    for (i, action) in actions.iter().enumerate() {
        let again = again.filter(|_| i == 0);
        if json {
            view::print(&view::provenance::action_json(action, again).to_string())?;
        } else {
            let runs = store.root().join("runs");
            let text = view::provenance::action(action, &runs, again);
            view::print(&format!("\n{text}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The command that makes a result as the run that made it did; none where that run's folder is gone.
fn again_as_then(store: &Store, record: &Record) -> Result<Option<Again>, Failure> {
    let text = |name: &str| record.provenance[name].as_str();
    let (Some(id), Some(label)) = (text("run"), text("label")) else {
        return Ok(None);
    };
    let Some(run) = PastRun::open(store, id)? else {
        return Ok(None);
    };
    if run.head.path.as_os_str().is_empty() {
        return Ok(None);
    }
    let path = match std::env::current_dir() {
        Ok(here) => run.head.path.strip_prefix(here).unwrap_or(&run.head.path),
        Err(_) => &run.head.path,
    };
    let read = |path: &Path| std::fs::read(path).ok();
    Ok(Some(Again {
        command: again(store, path, &run.overrides(), label),
        changed: read(&run.head.path) != read(&run.folder.join("workflow.toml")),
        gone: !run.head.path.exists(),
        frozen: false,
    }))
}
