//! `flow why`: which part of a key changed, or what upstream made a stage run.

use std::collections::BTreeSet;
use std::process::ExitCode;

use flow_results::explain::History;

use crate::arguments::WorkflowArguments;
use crate::failure::Failure;
use crate::session::Session;
use crate::view;

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
