//! The commands: arguments resolved, rooms called in their order, views chosen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flow_engine::plugin;
use flow_engine::results::Survey;
use flow_engine::results::explain::History;
use flow_engine::results::price::Price;
use flow_engine::view;
use flow_engine::view::graph::Format;
use flow_engine::words;
use flow_engine::workflow::problem::Problems;
use flow_engine::workflow::{self, Overrides, Reference};
use petgraph::graph::NodeIndex;

use crate::session::{FAILED, Failure, Session, report, settle, wrong};
use crate::suggestion::first;
use crate::{Template, WorkflowArguments};

/// `flow status`.
pub fn status(
    arguments: &WorkflowArguments,
    expand: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    show(&session, &survey, &all, expand, json)
}

/// The records that can explain why the given instances have to run.
pub fn history(
    session: &Session,
    survey: &Survey,
    nodes: &[NodeIndex],
) -> Result<History, Failure> {
    let stale = nodes.iter().filter(|node| survey.record(**node).is_none());
    let stages = stale
        .map(|&node| session.plan.graph[node].stage.as_str())
        .collect();
    let history = History::of(&session.store, &stages)?;
    Ok(history.with_failures(&session.store, &session.plan, survey)?)
}

/// `flow why`.
pub fn why(
    arguments: &WorkflowArguments,
    stage: &str,
    output: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let nodes = session.named("why", &[stage.to_string()])?;
    let targets = session.in_order(&nodes);
    let involved = session.plan.with_ancestors(&targets);
    let externals = session.externals(&involved)?;
    let survey = session.survey(&involved, &BTreeSet::new(), &externals)?;
    let explain = if output {
        view::why::outputs
    } else {
        view::why::key
    };
    let stages = session.in_order(&involved);
    let stages = stages
        .iter()
        .map(|&node| session.plan.graph[node].stage.as_str());
    let history = History::of(&session.store, &stages.collect())?;
    let history = history.with_failures(&session.store, &session.plan, &survey)?;
    if json {
        for &node in &targets {
            let line = view::status::line(&session.plan, &survey, &history, node);
            view::print(&line.unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let texts: Vec<String> = targets
        .iter()
        .map(|&node| explain(&session.plan, &survey, &history, node))
        .collect();
    view::print(&texts.join("\n\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// How the given instances stand.
pub fn show(
    session: &Session,
    survey: &Survey,
    nodes: &BTreeSet<NodeIndex>,
    expand: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let nodes = session.in_order(nodes);
    let history = history(session, survey, &nodes)?;
    let price = Price::of(&session.plan, survey, &history, &nodes);
    if json {
        for line in view::status::json(&session.plan, survey, &history, &nodes, &price) {
            view::print(&line)?;
        }
    } else {
        view::print(&view::status::table(
            &session.plan,
            survey,
            &history,
            &nodes,
            &price,
            expand,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `flow graph`.
pub fn graph(
    arguments: &WorkflowArguments,
    format: Format,
    expand: bool,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    view::print(&view::graph::print(&session.plan, &survey, format, expand))?;
    Ok(ExitCode::SUCCESS)
}

/// `flow check`.
pub fn check(arguments: &WorkflowArguments) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    session.externals(&all)?;
    view::print(&format!(
        "{} is right: {} stage(s), {} instance(s)",
        arguments.workflow.display(),
        session.workflow.stages.len(),
        all.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// `flow get`.
pub fn get(
    arguments: &WorkflowArguments,
    artifact: &str,
    output: Option<PathBuf>,
) -> Result<ExitCode, Failure> {
    let mut session = Session::open(arguments)?;
    let reference: Reference = artifact.parse().map_err(wrong)?;
    let (node, wanted) = session.artifact(&reference, artifact)?;
    let instance = &session.plan.graph[node];
    let declared = instance.outputs.iter().find(|o| o.role == wanted).cloned();
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
                "error: `{label}` is not up to date, so there is nothing to copy; first: {}",
                first(arguments, &[&label])
            ),
            status: FAILED,
        });
    };
    let path = output.unwrap_or_else(|| {
        let mut name = format!("{label}.{wanted}").replace('/', "_");
        let file = declared.map_or(String::new(), |output| output.file);
        if let Some(extension) = Path::new(&file).extension() {
            name += &format!(".{}", extension.to_string_lossy());
        }
        PathBuf::from(name)
    });
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| wrong(format!("{} can't be made: {e}", folder.display())))?;
    }
    session.store.export(stored, &path)?;
    view::print(&path.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// `flow stages`.
pub fn stages(kind: Option<&str>, workflow_path: Option<&Path>) -> Result<ExitCode, Failure> {
    let loaded = workflow_path
        .map(|path| workflow::load(path, &Overrides::default()))
        .transpose()
        .map_err(report)?;
    let (workflow, sources, mut problems) = match loaded {
        Some(loaded) => (Some(loaded.workflow), loaded.sources, loaded.problems),
        None => Default::default(),
    };
    let catalogue = plugin::find(workflow.as_ref(), &mut problems);
    settle(sources, problems, &catalogue)?;
    for (program, cause) in &catalogue.broken {
        view::tell(&format!(
            "warning: the plugin {} was left out: {cause}",
            program.display()
        ));
    }
    match kind {
        None => {
            let list = view::pages::list(&catalogue);
            let plugins = workflow_path.map_or_else(String::new, |path| {
                let option = ["--workflow".into(), path.display().to_string()];
                format!(" {}", words::command(&option))
            });
            view::print(&format!(
                "{list}\n\nA page for one of them:\n  flow stages KIND{plugins}"
            ))?;
        }
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

/// `flow schema`.
pub fn schema() -> Result<ExitCode, Failure> {
    let catalogue = plugin::find(None, &mut Problems::default());
    view::print(&format!("{:#}", view::schema::schema(&catalogue)))?;
    Ok(ExitCode::SUCCESS)
}

/// `flow new`.
pub fn new(template: Template, output: &Path) -> Result<ExitCode, Failure> {
    use std::io::Write;
    let text = match template {
        Template::Programs => include_str!("templates/programs.toml"),
        Template::Digits => include_str!("templates/digits.toml"),
    };
    std::fs::File::create_new(output)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| wrong(format!("{} can't be written: {e}", output.display())))?;
    let next = words::command(&["flow".into(), "run".into(), output.display().to_string()]);
    view::print(&format!("wrote {}; next: {next}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// `flow completions`.
pub fn completions(
    shell: clap_complete::Shell,
    command: &mut clap::Command,
) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "flow", &mut script);
    view::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// `flow man`.
pub fn man(command: &clap::Command, folder: &Path) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command.clone(), folder))
        .map_err(|e| wrong(format!("{}: {e}", folder.display())))?;
    view::print(&format!("wrote the manual pages to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
