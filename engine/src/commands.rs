//! The commands: arguments resolved, rooms called in their order, views chosen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flow_cache::Store;
use flow_engine::plan::{self, Plan};
use flow_engine::plugin::Catalogue;
use flow_engine::run::explain::History;
use flow_engine::run::journal::Journal;
use flow_engine::run::{Event, Externals, Options, Runner, Survey, runner};
use flow_engine::view;
use flow_engine::workflow::problem::Problems;
use flow_engine::workflow::{self, Overrides, Reference, Report, Sources, Workflow};
use petgraph::graph::NodeIndex;

use crate::{RunArguments, WorkflowArguments};

/// A stage failed, or the machine did.
const FAILED: u8 = 1;
/// The workflow or the command line is wrong.
const WRONG: u8 = 2;
/// Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Why a command ended early.
pub struct Failure {
    /// What the user reads.
    pub text: String,
    /// The exit status.
    pub status: u8,
}

fn wrong(text: impl std::fmt::Display) -> Failure {
    Failure {
        text: format!("error: {text}"),
        status: WRONG,
    }
}

impl From<flow_cache::Error> for Failure {
    fn from(error: flow_cache::Error) -> Self {
        Failure {
            text: format!("error: {error}"),
            status: FAILED,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure {
            text: format!("error: {error:#}"),
            status: FAILED,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure {
            text: format!("error: the output can't be written: {error}"),
            status: FAILED,
        }
    }
}

/// A workflow that is known to be right, with all that commands ask of it.
struct Session {
    workflow: Workflow,
    catalogue: Catalogue,
    plan: Plan,
    store: Store,
    sources: Sources,
}

impl Session {
    fn open(arguments: &WorkflowArguments) -> Result<Session, Failure> {
        let (workflow, sources) =
            workflow::load(&arguments.workflow, &arguments.overrides()).map_err(report)?;
        let mut problems = Problems::default();
        let catalogue = Catalogue::find(Some(&workflow), &mut problems);
        let plan = plan::expand(&workflow, &catalogue, &mut problems);
        let sources = settle(sources, problems, &catalogue)?;
        let root = arguments
            .store
            .clone()
            .unwrap_or_else(|| workflow.folder().join(".flow"));
        let root = std::path::absolute(&root)
            .map_err(|e| wrong(format!("--store {}: {e}", root.display())))?;
        let store = Store::open(&root).map_err(wrong)?;
        Ok(Session {
            workflow,
            catalogue,
            plan,
            store,
            sources,
        })
    }

    /// Finds and hashes the files that these instances read; what is wrong with them ends the command.
    fn externals(&mut self, nodes: &BTreeSet<NodeIndex>) -> Result<Externals, Failure> {
        let mut problems = Problems::default();
        let nodes = nodes.iter().copied();
        let folder = self.workflow.folder();
        let externals = Externals::resolve(&self.plan, nodes, folder, &self.store, &mut problems);
        self.sources = settle(std::mem::take(&mut self.sources), problems, &self.catalogue)?;
        Ok(externals)
    }

    /// The instances that arguments name.
    fn named(&self, option: &str, names: &[String]) -> Result<BTreeSet<NodeIndex>, Failure> {
        let mut found = BTreeSet::new();
        for name in names {
            let reference: Reference = name
                .parse()
                .map_err(|problem| wrong(format!("{option} {name}: {problem}")))?;
            let nodes = self.plan.find(&reference).map_err(|known| {
                wrong(format!(
                    "{option} {name}: there is no such stage; there is {}",
                    known.join(", ")
                ))
            })?;
            found.extend(nodes);
        }
        Ok(found)
    }

    fn survey(
        &self,
        nodes: &BTreeSet<NodeIndex>,
        forced: &BTreeSet<NodeIndex>,
        externals: &Externals,
    ) -> Result<Survey, Failure> {
        let survey = Survey::of(
            &self.plan,
            |node| nodes.contains(&node),
            |node| forced.contains(&node),
            &self.catalogue,
            externals,
            &self.store,
        )?;
        Ok(survey)
    }

    /// The given instances in the plan's order.
    fn in_order(&self, nodes: &BTreeSet<NodeIndex>) -> Vec<NodeIndex> {
        self.plan
            .order
            .iter()
            .copied()
            .filter(|node| nodes.contains(node))
            .collect()
    }
}

fn report(report: Report) -> Failure {
    Failure {
        text: report.render(view::colour()),
        status: WRONG,
    }
}

/// Prints warnings and goes on, or ends the command with the errors.
fn settle(sources: Sources, problems: Problems, catalogue: &Catalogue) -> Result<Sources, Failure> {
    if problems.is_empty() {
        return Ok(sources);
    }
    let report = Report::new(sources, problems);
    let mut text = report.render(view::colour());
    if !report.has_errors() {
        eprintln!("{text}\n");
        return Ok(report.into_sources());
    }
    for (program, cause) in &catalogue.broken {
        text += &format!(
            "\n\nnote: the plugin {} was left out: {cause}",
            program.display()
        );
    }
    Err(Failure {
        text,
        status: WRONG,
    })
}

/// `flow run`.
pub fn run(arguments: &RunArguments) -> Result<ExitCode, Failure> {
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
    let involved: BTreeSet<NodeIndex> = wanted.union(&looked_up).copied().collect();
    let externals = session.externals(&involved)?;
    if arguments.dry_run || !looked_up.is_empty() {
        let survey = session.survey(&involved, &forced, &externals)?;
        if let Some(missing) = session
            .in_order(&looked_up)
            .into_iter()
            .find(|n| survey.record(*n).is_none())
        {
            return Err(wrong(format!(
                "--only: stage `{}`, which it reads from, has no up-to-date result in the store; use --until, or run \
                 that first",
                session.plan.graph[missing].label
            )));
        }
        if arguments.dry_run {
            return show(&session, &survey, &wanted, arguments.json);
        }
    }
    let stop = interruptible()?;
    let options = Options {
        wanted,
        looked_up,
        forced,
        jobs: arguments.jobs.unwrap_or_else(runner::cores),
        keep_going: arguments.keep_going,
    };
    let mut journal = Journal::begin(
        &session.store,
        &session.workflow,
        &arguments.workflow.overrides(),
    )?;
    let store = session.store.clone().with_note(format!(
        "run {} of {}",
        journal.id(),
        session.workflow.name
    ));
    let runner = Runner {
        workflow: &session.workflow,
        plan: &session.plan,
        catalogue: &session.catalogue,
        externals: &externals,
        store: &store,
        stop: &stop,
    };
    let mut view = view::choose(arguments.json);
    let summary = runner.run(&options, &mut journal, &mut |event: &Event| {
        view.event(event)
    })?;
    store.save_memo()?;
    if !arguments.json {
        let metrics = |node| summary.metrics.get(&node);
        for table in view::results::tables(&session.plan, &session.catalogue, metrics) {
            view::print(&format!("\n{table}"))?;
        }
    }
    Ok(ExitCode::from(match summary.end.status {
        "ok" => 0,
        "cancelled" => INTERRUPTED,
        _ => FAILED,
    }))
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the process at once, and its stages with it.
fn interruptible() -> Result<Arc<AtomicBool>, Failure> {
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

/// `flow status`.
pub fn status(arguments: &WorkflowArguments, json: bool) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    show(&session, &survey, &all, json)
}

/// The records that can explain why the given instances have to run.
fn history(session: &Session, survey: &Survey, nodes: &[NodeIndex]) -> Result<History, Failure> {
    let stale = nodes.iter().filter(|node| survey.record(**node).is_none());
    let stages = stale
        .map(|&node| session.plan.graph[node].stage.as_str())
        .collect();
    Ok(History::of(&session.store, &stages)?)
}

/// `flow why`.
pub fn why(arguments: &WorkflowArguments, stage: &str) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let nodes = session.named("why", &[stage.to_string()])?;
    let targets = session.in_order(&nodes);
    let involved = session.plan.with_ancestors(&targets);
    let externals = session.externals(&involved)?;
    let survey = session.survey(&involved, &BTreeSet::new(), &externals)?;
    let history = history(&session, &survey, &session.in_order(&involved))?;
    let texts: Vec<String> = targets
        .iter()
        .map(|&node| view::status::why(&session.plan, &survey, &history, node))
        .collect();
    view::print(&texts.join("\n\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn show(
    session: &Session,
    survey: &Survey,
    nodes: &BTreeSet<NodeIndex>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let nodes = session.in_order(nodes);
    let history = history(session, survey, &nodes)?;
    if json {
        for line in view::status::json(&session.plan, survey, &history, &nodes) {
            view::print(&line)?;
        }
    } else {
        view::print(&view::status::table(
            &session.plan,
            survey,
            &history,
            &nodes,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `flow get`.
pub fn get(
    arguments: &WorkflowArguments,
    artifact: &str,
    output: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let nodes: Vec<NodeIndex> = session
        .named("get", &[artifact.to_string()])?
        .into_iter()
        .collect();
    let [node] = nodes[..] else {
        let labels: Vec<&str> = nodes
            .iter()
            .map(|&n| session.plan.graph[n].label.as_str())
            .collect();
        return Err(wrong(format!(
            "`{artifact}` is several: name one of {}",
            labels.join(", ")
        )));
    };
    let reference: Reference = artifact.parse().map_err(wrong)?;
    let instance = &session.plan.graph[node];
    let roles: Vec<&str> = instance.outputs.iter().map(|o| o.role.as_str()).collect();
    let wanted = reference
        .output
        .as_deref()
        .or(roles.first().copied())
        .unwrap_or_default()
        .to_string();
    let Some(declared) = instance.outputs.iter().find(|o| o.role == wanted).cloned() else {
        return Err(wrong(format!(
            "`{}` has no output `{wanted}`; it has {}",
            instance.label,
            roles.join(", ")
        )));
    };
    let label = instance.label.clone();
    let ancestors = session.plan.with_ancestors(&[node]);
    let externals = session.externals(&ancestors)?;
    let survey = session.survey(&ancestors, &BTreeSet::new(), &externals)?;
    let Some(stored) = survey
        .record(node)
        .and_then(|record| record.outputs.get(&wanted))
    else {
        return Err(Failure {
            text: format!(
                "error: `{label}` is not up to date, so there is nothing to copy; first: flow run {} --until {}",
                arguments.workflow.display(),
                reference.stage
            ),
            status: FAILED,
        });
    };
    let path = output.unwrap_or_else(|| {
        let mut name = format!("{label}.{wanted}").replace('/', "_");
        if let Some(extension) = Path::new(&declared.file).extension() {
            name += &format!(".{}", extension.to_string_lossy());
        }
        PathBuf::from(name)
    });
    session.store.export(stored, &path)?;
    view::print(&path.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// `flow stages`.
pub fn stages(kind: Option<&str>, workflow: Option<&Path>) -> Result<ExitCode, Failure> {
    let loaded = workflow
        .map(|path| workflow::load(path, &Overrides::default()))
        .transpose()
        .map_err(report)?;
    let mut problems = Problems::default();
    let catalogue = Catalogue::find(loaded.as_ref().map(|(workflow, _)| workflow), &mut problems);
    let sources = loaded.map(|(_, sources)| sources).unwrap_or_default();
    settle(sources, problems, &catalogue)?;
    for (program, cause) in &catalogue.broken {
        eprintln!(
            "warning: the plugin {} was left out: {cause}",
            program.display()
        );
    }
    match kind {
        None => view::print(&view::pages::list(&catalogue))?,
        Some(name) => match catalogue.get(name) {
            Some(kind) => view::print(&view::pages::page(kind))?,
            None => {
                let known = catalogue
                    .kinds()
                    .map(|k| k.description.name.clone())
                    .collect();
                let problem = workflow::Problem::UnknownKind {
                    kind: name.into(),
                    known,
                };
                return Err(wrong(format!(
                    "{problem}; {}",
                    problem.help().unwrap_or_default()
                )));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
