//! `flow run --again`: an earlier run made again from what it kept; where it was, or laid out in a folder of its own.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use flow_cache::Store;
use flow_plan::plan::{Folder, Task};
use flow_plan::workflow::Overrides;
use flow_plan::workflow::problem::Problems;
use flow_run::record::again::{Lost, lay_out};
use flow_run::record::journal::About;
use flow_run::record::{Externals, PastRun, frozen};
use petgraph::graph::NodeIndex;

use crate::arguments::{HERE, OverrideArguments, RunArguments, StoreArguments, WorkflowArguments};
use crate::commands::run::{Bound, Chosen, go};
use crate::failure::{Failure, wrong};
use crate::runs;
use crate::session::{Session, settle};
use crate::suggestion;
use crate::view;

/// `flow run --again RUN`.
pub fn again(arguments: RunArguments, id: &str, started: Instant) -> Result<ExitCode, Failure> {
    let given = &arguments.workflow.workflow;
    let place = StoreArguments {
        workflow: (given != Path::new(HERE)).then(|| given.clone()),
        store: arguments.workflow.store.clone(),
    };
    let store = place.open()?;
    let run = runs::open(&store, id, place.workflow.as_deref())?;
    match arguments.folder.clone() {
        Some(folder) => laid_out(arguments, store, &run, &folder, started),
        None => in_place(&arguments, store, run, started),
    }
}

/// Where it was: its workflow, and the contents that it read, count, and not what lies there now.
fn in_place(
    arguments: &RunArguments,
    store: Store,
    run: PastRun,
    started: Instant,
) -> Result<ExitCode, Failure> {
    let root = run.head.root().to_path_buf();
    let overrides = run.head.overrides();
    let mut session = Session::of_run(store, run)?;
    let Some((run, _)) = session.past.take() else {
        return Err(wrong("the run is gone"));
    };
    let mut problems = Problems::default();
    session.frozen = frozen::of_run(&session.plan, &run, &session.store, &mut problems)?;
    let chosen = chosen(&session, arguments, &run)?;
    refuse_project(&session, chosen.wanted(), &run)?;
    // Until the run has ended.
    let folder = tempfile::tempdir().map_err(|e| wrong(format!("no temporary folder: {e}")))?;
    let nodes: BTreeSet<NodeIndex> = chosen.involved();
    let nodes = nodes.into_iter();
    let nodes = nodes
        .filter(|node| !session.frozen.contains_key(node))
        .collect();
    let places = (root.as_path(), folder.path());
    let externals = Externals::of_run(
        &run,
        &session.plan,
        &nodes,
        places,
        &session.store,
        &mut problems,
    )?;
    let externals = externals.map_err(|why| lost(&run, &why))?;
    session.sources = settle(
        std::mem::take(&mut session.sources),
        problems,
        &session.catalogue,
    )?;
    say_what_is_new(&session, &run);
    let bound = Bound {
        about: about(arguments, &session, &run)?,
        overrides,
        remembered: None,
    };
    go(arguments, &session, &externals, chosen, bound, started)
}

/// In a folder of its own, which is a project like any other from then on.
fn laid_out(
    arguments: RunArguments,
    store: Store,
    run: &PastRun,
    folder: &Path,
    started: Instant,
) -> Result<ExitCode, Failure> {
    let target = std::path::absolute(folder).map_err(wrong)?;
    let is_free = match std::fs::read_dir(&target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(wrong(format!(
            "--in {}: it is there already and not empty; name a new folder",
            folder.display()
        )));
    }
    let session = Session::of_run(store.clone(), run.clone())?;
    let out = lay_out(run, &session.workflow, &session.plan, &store, &target)?;
    let out = out.map_err(|why| lost(run, &why))?;
    let overrides = Overrides {
        params: out.params,
        ..run.head.overrides()
    };
    let arguments = RunArguments {
        workflow: WorkflowArguments {
            workflow: out.workflow,
            overrides: OverrideArguments {
                set: overrides.set.clone(),
                variant: overrides.variants.clone(),
                params: overrides.params.clone(),
                sweep: overrides.sweep.clone(),
                seeds: overrides.seeds.clone(),
                point: overrides.point.clone(),
            },
            store: Some(store.root().to_path_buf()),
            run: None,
        },
        ..arguments
    };
    if !arguments.json {
        view::tell(&format!(
            "laid out run {} in {}: {} copied, {} linked to where they are; from then on: {}",
            run.id,
            folder.display(),
            out.copied,
            out.linked,
            suggestion::suggest("run", &arguments.workflow, &[])
        ));
    }
    let mut session = Session::open_with_frozen_of(&arguments.workflow, run)?;
    let chosen = chosen(&session, &arguments, run)?;
    let externals = session.externals(&chosen.involved())?;
    say_what_is_new(&session, run);
    let bound = Bound {
        about: about(&arguments, &session, run)?,
        overrides,
        remembered: None,
    };
    go(&arguments, &session, &externals, chosen, bound, started)
}

/// The instances that are asked for, else those that the run was about.
fn chosen(session: &Session, arguments: &RunArguments, run: &PastRun) -> Result<Chosen, Failure> {
    let chosen = Chosen::of(session, arguments)?;
    if !arguments.only.is_empty() || !arguments.until.is_empty() {
        return Ok(chosen);
    }
    let Some(labels) = &run.head.wanted else {
        return Ok(chosen);
    };
    let labels: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
    let nodes = session.plan.order.iter().copied();
    let nodes = nodes.filter(|&node| labels.contains(session.plan.graph[node].label.as_str()));
    let nodes: Vec<NodeIndex> = nodes.collect();
    Ok(chosen.only_for(session.plan.with_ancestors(&nodes)))
}

/// A program that works in the project itself would meet the files that lie there now.
fn refuse_project(
    session: &Session,
    wanted: &BTreeSet<NodeIndex>,
    run: &PastRun,
) -> Result<(), Failure> {
    let mut instances = wanted.iter().map(|&node| &session.plan.graph[node]);
    let in_project = instances.find(|instance| match &instance.task {
        Task::Command(program) => program.folder == Folder::Project,
        Task::Kind { .. } => false,
    });
    match in_project {
        None => Ok(()),
        Some(instance) => Err(wrong(format!(
            "`{}` works in the project itself, where the files of now lie; lay the run out in a folder of its own: {}",
            instance.label,
            suggestion::whole_again(Some(session.store.root()), &run.id, &["--in", "FOLDER"])
        ))),
    }
}

fn about(arguments: &RunArguments, session: &Session, run: &PastRun) -> Result<About, Failure> {
    if let Some(name) = &arguments.name {
        super::run::may_be_called(name, session)?;
    }
    Ok(About {
        name: arguments.name.clone(),
        note: arguments.note.clone(),
        again: Some(run.id.clone()),
        // What is checked out now has nothing to do with it.
        commit: run.head.commit.clone(),
    })
}

fn lost(run: &PastRun, why: &Lost) -> Failure {
    wrong(format!("run {} can't be made again: {why}", run.id))
}

/// Says which kinds are others now: their stages do not find the results of then.
fn say_what_is_new(session: &Session, run: &PastRun) {
    let versions: HashMap<&str, &str> = session
        .catalogue
        .kinds()
        .map(|kind| (kind.description.name.as_str(), kind.version.as_str()))
        .collect();
    for (name, used) in &run.head.kinds {
        let known = session
            .catalogue
            .get(name)
            .map(|kind| kind.version.as_str());
        let now = known.or_else(|| versions.get(name.as_str()).copied());
        if now.is_some_and(|now| now != used.version) {
            view::tell(&format!(
                "note: the kind `{name}` is another now than in run {}; its stages may make something else",
                run.id
            ));
        }
    }
}
