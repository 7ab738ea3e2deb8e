//! What most commands begin with: a workflow that is known to be right, its plan and its store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flow_cache::{Record, Store};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{self, Instance, Plan, Task};
use flow_plan::workflow::problem::{Problems, is_or_are};
use flow_plan::workflow::{self, Loaded, Reference, Report, Sources, Workflow};
use flow_results::Survey;
use flow_run::folder;
use flow_run::plugin;
use flow_run::record::ends::Ends;
use flow_run::record::replan::{Replanned, replan};
use flow_run::record::{Externals, PastRun, frozen};
use petgraph::graph::NodeIndex;

use crate::arguments::WorkflowArguments;
use crate::failure::{FAILED, Failure, INTERRUPTED, WRONG, wrong};
use crate::runs;
use crate::suggestion::first;
use crate::view;
use crate::view::hearing::Hearing;

/// A workflow that is known to be right, with all that commands ask of it.
pub struct Session {
    pub workflow: Workflow,
    pub catalogue: Catalogue,
    pub plan: Plan,
    pub store: Store,
    pub sources: Sources,
    /// The results of frozen instances, which stand.
    pub frozen: HashMap<NodeIndex, Record>,
    /// Whether the workflow has warnings, which every run of it shows.
    pub warned: bool,
    /// The run whose results count, and not what is up to date; these are its results.
    pub past: Option<(PastRun, HashMap<NodeIndex, Record>)>,
}

/// Whose last results stand where a stage is frozen.
enum Last<'a> {
    /// Those of the workflow file.
    Itself,
    /// Those of another one.
    File(&'a Path),
    /// Those of one run.
    Run(&'a PastRun),
}

/// The store that the arguments name, else the one beside the workflow.
pub fn open_store(arguments: &WorkflowArguments, folder: &Path) -> Result<Store, Failure> {
    let root = arguments.store.clone();
    let root = root.unwrap_or_else(|| folder.join(".flow"));
    let root = std::path::absolute(&root)
        .map_err(|e| wrong(format!("--store {}: {e}", root.display())))?;
    Store::open(&root).map_err(wrong)
}

impl Session {
    /// A workflow as it is now; or a run as it was, where the arguments mean one.
    pub fn open(arguments: &WorkflowArguments) -> Result<Session, Failure> {
        if let Some(id) = &arguments.run {
            runs::as_it_was(id, &arguments.overrides().options())?;
            let store = arguments.runs_store()?;
            let run = runs::open(&store, id, None)?;
            return Session::of_run(store, run);
        }
        Session::load(arguments, Last::Itself)
    }

    /// A workflow as it is now, in which the results of frozen stages are those of an earlier run.
    pub fn open_with_frozen_of(
        arguments: &WorkflowArguments,
        run: &PastRun,
    ) -> Result<Session, Failure> {
        Session::load(arguments, Last::Run(run))
    }

    /// A workflow in which the results of frozen stages are those of another file: of which it is an earlier text.
    pub fn open_with_frozen_of_file(
        arguments: &WorkflowArguments,
        file: &Path,
    ) -> Result<Session, Failure> {
        Session::load(arguments, Last::File(file))
    }

    fn load(arguments: &WorkflowArguments, last: Last<'_>) -> Result<Session, Failure> {
        let Loaded {
            workflow,
            sources,
            mut problems,
            ..
        } = workflow::load(&arguments.workflow, &arguments.overrides()).map_err(report)?;
        let catalogue = plugin::find(Some(&workflow), &mut problems);
        let plan = plan::expand(&workflow, &catalogue, &mut problems);
        let warned = !problems.is_empty();
        let sources = settle(sources, problems, &catalogue)?;
        let store = open_store(arguments, workflow.folder())?;
        let mut problems = Problems::default();
        let frozen = match last {
            Last::Itself => frozen::find(&plan, &workflow.path, &store, &mut problems)?,
            Last::File(path) => frozen::find(&plan, path, &store, &mut problems)?,
            Last::Run(run) => frozen::of_run(&plan, run, &store, &mut problems)?,
        };
        let sources = settle(sources, problems, &catalogue)?;
        check_deliveries(&plan, &workflow, &sources, &store)?;
        Ok(Session {
            frozen,
            warned,
            workflow,
            catalogue,
            plan,
            store,
            sources,
            past: None,
        })
    }

    /// A run as it was, planned again from the texts that it keeps.
    ///
    /// # Errors
    /// Where they can't be planned any more: kinds are gone, or take other parameters.
    pub fn of_run(store: Store, run: PastRun) -> Result<Session, Failure> {
        let Replanned {
            workflow,
            plan,
            catalogue,
            sources,
        } = replan(&run).map_err(|report| {
            wrong(format!(
                "the workflow of run {} can't be planned again with what is here now:\n{}",
                run.id,
                report.render(view::colour())
            ))
        })?;
        let records = Ends::of(&run, &store)?.records(&plan).into_iter().collect();
        Ok(Session {
            frozen: HashMap::new(),
            warned: false,
            workflow,
            catalogue,
            plan,
            store,
            sources,
            past: Some((run, records)),
        })
    }

    /// How these instances, and what they read from, stand: now, or in the run that counts.
    pub fn standing(&mut self, nodes: &[NodeIndex]) -> Result<Survey, Failure> {
        if let Some((_, records)) = &self.past {
            let records = records.iter().map(|(node, record)| (*node, record.clone()));
            return Ok(Survey::of_records(&self.plan, records));
        }
        let involved = self.plan.with_ancestors(nodes);
        let externals = self.externals(&involved)?;
        self.survey(&involved, &BTreeSet::new(), &externals)
    }

    /// That an instance has no result; `what` can't be done with it.
    pub fn no_result(&self, arguments: &WorkflowArguments, label: &str, what: &str) -> Failure {
        let text = match &self.past {
            Some((run, _)) => format!(
                "error: run {} has no result of `{label}` that is still in the store, so there is nothing to {what}",
                run.id
            ),
            None => format!(
                "error: `{label}` is not up to date, so there is nothing to {what}; first: {}",
                first(arguments, &[label])
            ),
        };
        Failure {
            text,
            status: FAILED,
        }
    }

    /// Finds and hashes the files that these instances read, but for frozen ones; what is wrong with them ends the command.
    pub fn externals(&mut self, nodes: &BTreeSet<NodeIndex>) -> Result<Externals, Failure> {
        let mut problems = Problems::default();
        let nodes = nodes.iter().copied();
        let nodes = nodes.filter(|node| !self.frozen.contains_key(node));
        let folder = self.workflow.root();
        let hearing = Hearing::new();
        let store = hearing.of(&self.store);
        let externals = Externals::resolve(&self.plan, nodes, folder, &store, &mut problems);
        hearing.end();
        if store.is_there() {
            // Whatever the command is: what was read now need not be read by the next. Nothing but time is lost without.
            let _ = store.save_memo();
        }
        self.sources = settle(std::mem::take(&mut self.sources), problems, &self.catalogue)?;
        Ok(externals)
    }

    /// The instances of programs that are not kept apart from this machine, by why not.
    ///
    /// # Errors
    /// Where one of them wants to be kept apart.
    pub fn not_isolated(
        &self,
        nodes: &BTreeSet<NodeIndex>,
    ) -> Result<BTreeMap<String, Vec<&Instance>>, Failure> {
        let mut found: BTreeMap<String, Vec<&Instance>> = BTreeMap::new();
        for instance in self
            .in_order(nodes)
            .iter()
            .map(|node| &self.plan.graph[*node])
            .filter(|instance| instance.frozen.is_none())
        {
            let Task::Command(program) = &instance.task else {
                continue;
            };
            let Err(why) = folder::isolation(program, self.workflow.root()) else {
                continue;
            };
            if folder::wants_isolation(program) {
                let label = &instance.label;
                return Err(wrong(format!("stage `{label}`: {why}")));
            }
            found.entry(why).or_default().push(instance);
        }
        Ok(found)
    }

    /// The instances that arguments name.
    pub fn named(&self, option: &str, names: &[String]) -> Result<BTreeSet<NodeIndex>, Failure> {
        let mut found = BTreeSet::new();
        for name in names {
            let reference: Reference = name
                .parse()
                .map_err(|problem| wrong(format!("{option} {name}: {problem}")))?;
            let nodes = self.plan.find(&reference).map_err(|known| {
                wrong(format!(
                    "{option} {name}: there is no such stage; {} {}",
                    is_or_are(known.len()),
                    view::some(&known, view::MANY)
                ))
            })?;
            found.extend(nodes);
        }
        Ok(found)
    }

    pub fn survey(
        &self,
        nodes: &BTreeSet<NodeIndex>,
        forced: &BTreeSet<NodeIndex>,
        externals: &Externals,
    ) -> Result<Survey, Failure> {
        let survey = Survey::of(
            &self.plan,
            |node| nodes.contains(&node),
            |node| forced.contains(&node),
            &self.frozen,
            &self.catalogue,
            externals,
            &self.store,
        )?;
        Ok(survey)
    }

    /// The one instance, and the output, that a reference means.
    pub fn artifact(
        &self,
        reference: &Reference,
        written: &str,
    ) -> Result<(NodeIndex, String), Failure> {
        let nodes = self.plan.find(reference).map_err(|known| {
            wrong(format!(
                "{written}: there is no such stage; {} {}",
                is_or_are(known.len()),
                view::some(&known, view::MANY)
            ))
        })?;
        let [node] = nodes[..] else {
            let labels: Vec<&str> = nodes
                .iter()
                .map(|&n| self.plan.graph[n].label.as_str())
                .collect();
            return Err(wrong(format!(
                "`{written}` is several: name one of {}",
                view::some(&labels, view::MANY)
            )));
        };
        let instance = &self.plan.graph[node];
        let roles: Vec<&str> = instance.outputs.iter().map(|o| o.role.as_str()).collect();
        let wanted = reference
            .output
            .as_deref()
            .or(roles.first().copied())
            .unwrap_or_default();
        if !roles.contains(&wanted) {
            return Err(wrong(format!(
                "`{}` has no output `{wanted}`; it has {}",
                instance.label,
                roles.join(", ")
            )));
        }
        Ok((node, wanted.to_string()))
    }

    /// The given instances in the plan's order.
    pub fn in_order(&self, nodes: &BTreeSet<NodeIndex>) -> Vec<NodeIndex> {
        self.plan
            .order
            .iter()
            .copied()
            .filter(|node| nodes.contains(node))
            .collect()
    }
}

/// Refuses deliveries over the workflow itself, and into the store.
fn check_deliveries(
    plan: &Plan,
    workflow: &Workflow,
    sources: &Sources,
    store: &Store,
) -> Result<(), Failure> {
    for delivery in &plan.deliveries {
        let path = workflow.root().join(&delivery.path);
        let meets = |other: &Path| other.starts_with(&path) || path.starts_with(other);
        let mut files = sources.paths();
        let taken = if meets(store.root()) {
            Some(format!("the store, {}", store.root().display()))
        } else {
            let file = files.find(|file| meets(file));
            file.map(|file| format!("the workflow's own file {}", file.display()))
        };
        if let Some(taken) = taken {
            return Err(wrong(format!(
                "nothing can be delivered to `{}`, which is, or lies in, {taken}; name another path under [deliver]",
                delivery.path
            )));
        }
    }
    Ok(())
}

pub fn report(report: Report) -> Failure {
    Failure {
        text: report.render(view::colour()),
        status: WRONG,
    }
}

/// Prints warnings and goes on, or ends the command with the errors.
pub fn settle(
    sources: Sources,
    problems: Problems,
    catalogue: &Catalogue,
) -> Result<Sources, Failure> {
    if problems.is_empty() {
        return Ok(sources);
    }
    let report = Report::new(sources, problems);
    let mut text = report.render(view::colour());
    if !report.has_errors() {
        view::tell(&format!("{text}\n"));
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

/// A flag that Ctrl-C sets; a second Ctrl-C ends the process at once, and its stages with it.
pub fn interruptible() -> Result<Arc<AtomicBool>, Failure> {
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
