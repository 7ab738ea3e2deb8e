//! `flow status`: how each stage stands, and why.

use std::collections::BTreeSet;
use std::process::ExitCode;

use flow_results::Survey;
use flow_results::explain::History;
use flow_results::price::Price;
use petgraph::graph::NodeIndex;

use crate::arguments::WorkflowArguments;
use crate::failure::Failure;
use crate::session::Session;
use crate::view;

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
