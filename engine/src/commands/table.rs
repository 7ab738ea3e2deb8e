//! `flow table`: results over the points of a sweep, and how the numbers of one cell came to be.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use flow_plan::workflow::Overrides;
use flow_plan::workflow::problem::is_or_are;
use flow_results::table::{Columns, Row, Source, Table, Wrong};
use flow_run::record::{Externals, provenance};
use petgraph::graph::NodeIndex;

use crate::arguments::WorkflowArguments;
use crate::failure::{Failure, wrong};
use crate::session::Session;
use crate::suggestion::{again, again_run};
use crate::view;
use crate::view::cell::Made;
use crate::view::provenance::Again;
use crate::view::table::Format;

/// Which table, and how.
#[derive(Args)]
pub struct TableArguments {
    #[command(flatten)]
    pub workflow: WorkflowArguments,
    /// Show this figure, and those of further --metric, instead of those that kinds call their headline
    #[arg(long, value_name = "STAGE.METRIC")]
    metric: Vec<String>,
    /// Put the rows in the order of this column
    #[arg(long, value_name = "STAGE.METRIC")]
    by: Option<String>,
    /// The form.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Print one JSON object; as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Show how the numbers of this figure came to be, and the command that makes each alone; --point chooses the row
    #[arg(long, value_name = "STAGE.METRIC", conflicts_with_all = ["metric", "by", "format"])]
    cell: Option<String>,
}

/// `flow table`.
pub fn table(arguments: &TableArguments) -> Result<ExitCode, Failure> {
    let mut session = Session::open(&arguments.workflow)?;
    let chosen: &[String] = match &arguments.cell {
        Some(figure) => std::slice::from_ref(figure),
        None => &arguments.metric,
    };
    let (columns, mut table) = gather(&mut session, chosen)?;
    if arguments.cell.is_some() {
        for row in &table.rows {
            for column in columns.named() {
                cell(&session, arguments, &table, row, &column)?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(metric) = &arguments.by {
        if !table.metrics.contains(metric) {
            return Err(wrong(format!(
                "--by {metric}: there is no such column; {} {}",
                is_or_are(table.metrics.len()),
                table.metrics.join(", ")
            )));
        }
        table.sort_by(metric);
    }
    let format = if arguments.json {
        Format::Json
    } else {
        arguments.format
    };
    view::print(&view::table::print(&table, format, chosen.is_empty())?)?;
    Ok(ExitCode::SUCCESS)
}

/// The table of the figures that are chosen, or of those that people want to see first.
pub fn gather(session: &mut Session, chosen: &[String]) -> Result<(Columns, Table), Failure> {
    let columns = Columns::choose(&source(session), chosen, |_| true).map_err(wrong)?;
    let nodes: Vec<_> = columns.nodes().into_iter().collect();
    let survey = session.standing(&nodes)?;
    let table = Table::of(&source(session), &columns, &survey);
    let table = table.map_err(|error| match error.downcast::<Wrong>() {
        Ok(mistake) => wrong(mistake),
        Err(error) => error.into(),
    })?;
    Ok((columns, table))
}

/// The columns that are shown at the end of a run of these instances; none where nothing is swept, or nothing of it has
/// figures. A goal that can't be right is said before anything runs.
pub fn columns(
    session: &Session,
    wanted: &BTreeSet<NodeIndex>,
) -> Result<Option<Columns>, Failure> {
    let Some(sweep) = &session.plan.sweep else {
        return Ok(None);
    };
    match Columns::choose(&source(session), &[], |node| wanted.contains(&node)) {
        Err(Wrong::NoFigures) if sweep.goal.is_none() => Ok(None),
        columns => {
            let mut columns = columns.map_err(wrong)?;
            Ok(columns.retain(wanted).then_some(columns))
        }
    }
}

/// The table at the end of a run.
pub fn after(
    session: &Session,
    columns: &Columns,
    externals: &Externals,
) -> Result<String, Failure> {
    let nodes: Vec<_> = columns.nodes().into_iter().collect();
    let involved = session.plan.with_ancestors(&nodes);
    let survey = session.survey(&involved, &BTreeSet::new(), externals)?;
    match Table::of(&source(session), columns, &survey) {
        Ok(table) => Ok(view::table::print(&table, Format::Text, true)?),
        // The results are there, whatever the goal is called.
        Err(error) if error.is::<Wrong>() => Ok(format!("no table: {error}")),
        Err(error) => Err(error.into()),
    }
}

fn source(session: &Session) -> Source<'_> {
    Source {
        workflow: &session.workflow,
        plan: &session.plan,
        catalogue: &session.catalogue,
        store: &session.store,
    }
}

/// Prints how the numbers of a cell came to be.
fn cell(
    session: &Session,
    arguments: &TableArguments,
    table: &Table,
    row: &Row,
    column: &str,
) -> Result<(), Failure> {
    let values = row.cells.get(column).map_or(&[][..], |cell| &cell.values);
    let keys = values.iter().map(|value| value.key);
    let actions = provenance::actions(&session.store, keys)?;
    let made: Vec<Made> = values
        .iter()
        .zip(actions)
        .map(|(value, action)| Made {
            again: Again::new(command(session, arguments, row, column, value.seed)),
            value: value.clone(),
            action,
        })
        .collect();
    if arguments.json {
        for made in &made {
            view::print(&view::cell::json(row, column, made).to_string())?;
        }
    } else {
        let runs = session.store.root().join("runs");
        view::print(&view::cell::text(table, row, column, &made, &runs))?;
    }
    Ok(())
}

/// The command that makes the number of one seed alone.
fn command(
    session: &Session,
    arguments: &TableArguments,
    row: &Row,
    column: &str,
    seed: u64,
) -> Vec<String> {
    let point = session.plan.sweep.as_ref().and_then(|sweep| {
        let mut points = sweep.points.iter();
        let point = points.find(|point| point.coordinates == row.point && point.seed == seed)?;
        Some(sweep.label(point))
    });
    let overrides = Overrides {
        point: point.into_iter().collect(),
        ..arguments.workflow.overrides()
    };
    let (instance, _) = Columns::split(column).unwrap_or((column, ""));
    if let Some((run, _)) = &session.past {
        return again_run(&session.store, &run.id, instance);
    }
    again(
        &session.store,
        &arguments.workflow.workflow,
        &overrides.options(),
        instance,
    )
}
