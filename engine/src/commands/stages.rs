//! `flow stages`: the stage kinds at hand.

use std::path::Path;
use std::process::ExitCode;

use flow_plan::workflow::{self, Overrides};
use flow_results::words;
use flow_run::plugin;

use crate::failure::{Failure, wrong};
use crate::session::{report, settle};
use crate::view;

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
        Some(name) => match catalogue.resolve(name) {
            Ok(kind) => view::print(&view::pages::page(kind))?,
            Err(unresolved) => {
                let problem = unresolved.problem(name);
                return Err(wrong(format!(
                    "{problem}; {}",
                    problem.help().unwrap_or_default()
                )));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
