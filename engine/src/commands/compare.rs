//! `flow compare`: how two runs, or two points of a sweep, differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytesize::ByteSize;
use clap::{Args, Parser};
use flow_cache::{Key, Lookup, Store};
use flow_plan::plan::{self, plain_text};
use flow_plan::workflow::{node, selectors};
use flow_results::code::Code;
use flow_results::contrast::{Contrast, Side, Stage};
use flow_results::{Standing, Stands};
use flow_run::record::past::{self, PastRun};
use flow_run::record::provenance;
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};

use crate::arguments::StoreArguments;
use crate::arguments::{OverrideArguments, WorkflowArguments};
use crate::commands::report;
use crate::commands::revision::{CheckedOut, Revision};
use crate::failure::{Failure, wrong};
use crate::runs::{self, no_run};
use crate::session::Session;
use crate::suggestion;
use crate::view;

/// What is compared.
#[derive(Args)]
pub struct CompareArguments {
    /// A run, a workflow file as it stands now, or REV:FILE of a git revision; with a point of its sweep in brackets, or with options of its own, in quotes
    #[arg(value_name = "RUN|WORKFLOW[[AXIS=VALUE,…]]")]
    a: String,
    /// Another one.
    #[arg(value_name = "RUN|WORKFLOW[[AXIS=VALUE,…]]")]
    b: String,
    #[command(flatten)]
    overrides: OverrideArguments,
    /// The store's folder; by default that of the workflow file, else .flow in the current folder
    #[arg(long, value_name = "DIR", env = "FLOW_STORE")]
    store: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Write a page with what differs, and with the charts of both sides laid over each other; a report that is there is
    /// replaced
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    report: Option<PathBuf>,
}

/// A workflow file with options of its own, which are written behind it as for a shell.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct OptionsOfASide {
    what: String,
    #[command(flatten)]
    overrides: OverrideArguments,
}

/// One side, as it is written.
struct Written<'a> {
    text: &'a str,
    /// A run's id, or a file's name.
    what: String,
    /// The run that it is, if it is one.
    run: Option<(Store, PastRun)>,
    /// The revision of the file, if it is not that of now.
    revision: Option<Revision>,
    /// What is laid over the file, for both sides and for this one.
    overrides: OverrideArguments,
    /// Between the brackets; nothing without.
    point: Option<String>,
    /// Axis and value.
    selectors: Vec<(String, String)>,
}

/// `flow compare`.
pub fn compare(arguments: &CompareArguments) -> Result<ExitCode, Failure> {
    // A run lies in the store of the workflow that it is compared with.
    let (a, b) = (&arguments.a, &arguments.b);
    let [beside_a, beside_b] = [b, a].map(|other| workflow_of_side(other));
    let written = [
        written(a, beside_a.as_deref(), arguments)?,
        written(b, beside_b.as_deref(), arguments)?,
    ];
    // Until they are compared.
    let revisions = written.each_ref().map(|side| {
        let revision = side.revision.as_ref();
        revision.map(Revision::check_out).transpose()
    });
    let [at_a, at_b] = revisions;
    let at = [at_a?, at_b?];
    let side = |number: usize| match &written[number].run {
        Some((store, run)) => run_side(store, run, &written[number]),
        None => workflow_side(arguments, &written[number], at[number].as_ref()),
    };
    let (a, b) = (side(0)?, side(1)?);
    let contrast = Contrast::of(&a, &b)?;
    if let Some(path) = &arguments.report {
        report::refuse_other(path)?;
        let sides = [
            page_of(arguments, &written[0], at[0].as_ref())?,
            page_of(arguments, &written[1], at[1].as_ref())?,
        ];
        let [page_a, page_b] = sides;
        let title = format!("A {}, B {}", a.name, b.name);
        let page = flow_report::both(title, page_a, page_b, view::contrast::tables(&contrast));
        let page = flow_report::page::file(&page);
        report::write(path, page.as_bytes())?;
        let size = ByteSize(page.len() as u64);
        view::print(&format!(
            "wrote {}, {}",
            path.display(),
            size.display().si()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.json {
        for line in view::contrast::json(&a, &b, &contrast) {
            view::print(&line.to_string())?;
        }
    } else {
        view::print(&view::contrast::text(&a, &b, &contrast))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the page shows of a side.
fn page_of(
    arguments: &CompareArguments,
    written: &Written<'_>,
    at: Option<&CheckedOut>,
) -> Result<flow_report::Side, Failure> {
    let (document, store) = match (&written.run, &written.point) {
        (Some(_), Some(point)) => {
            return Err(wrong(format!(
                "a page shows a run as a whole: leave `[{}]` out, or name the workflow file",
                view::plain(point)
            )));
        }
        (Some((store, run)), None) => (report::of_run(store, &run.id)?, store.clone()),
        (None, _) => {
            let workflow = written.workflow(arguments, at);
            report::of_session(written.open(arguments, at)?, &workflow)?
        }
    };
    Ok(flow_report::Side { document, store })
}

/// The workflow file of a side, where it is one.
fn workflow_of_side(text: &str) -> Option<PathBuf> {
    let words = shlex::split(text).unwrap_or_default();
    let first = words.first().map_or(text, String::as_str);
    let mut ends = first.match_indices('[').map(|(at, _)| &first[..at]);
    let mut all = [text, first].into_iter().chain(ends.by_ref());
    all.find(|what| Path::new(what).is_file())
        .map(PathBuf::from)
}

/// Reads a side; a run is looked for in the store of the workflow file that it stands `beside`.
fn written<'t>(
    text: &'t str,
    beside: Option<&Path>,
    arguments: &CompareArguments,
) -> Result<Written<'t>, Failure> {
    let place = StoreArguments {
        workflow: beside.map(Path::to_path_buf),
        store: arguments.store.clone(),
    };
    let store = place.open();
    let run = |what: &str| -> Result<Option<PastRun>, Failure> {
        match (&store, Path::new(what).exists()) {
            (Ok(store), false) => runs::find(store, what, None),
            _ => Ok(None),
        }
    };
    let known = |what: &str| run(what).is_ok_and(|run| run.is_some());
    let is_one = |what: &str| {
        past::is_run(what)
            || Path::new(what).exists()
            || known(what)
            || Revision::read(what).is_some()
    };
    let options = match shlex::split(text) {
        Some(words) if !is_one(text) && words.iter().any(|word| word.starts_with("--")) => {
            Some(options_of(text, &words)?)
        }
        _ => None,
    };
    let (whole, overrides) = match options {
        Some(own) => (own.what, both(&arguments.overrides, own.overrides)),
        None => (text.to_string(), arguments.overrides.clone()),
    };
    // A file's name may have brackets in it.
    let mut ends = whole.match_indices('[').map(|(at, _)| at);
    let (what, point) = match ends.find(|&at| whole.ends_with(']') && is_one(&whole[..at])) {
        Some(at) if !is_one(&whole) => (&whole[..at], Some(&whole[at + 1..whole.len() - 1])),
        _ => (whole.as_str(), None),
    };
    if !is_one(what) {
        return Err(wrong(format!(
            "`{}` is no run and no file; name two of them, perhaps with a point: flow compare 'sweep.toml[keep=0.8]' \
             'sweep.toml[keep=0.9]'; `{}` lists the runs",
            view::plain(text),
            suggestion::runs(arguments.store.as_deref())
        )));
    }
    let selectors = match point {
        None => Vec::new(),
        Some(point) => selectors(point).ok_or_else(|| {
            wrong(format!(
                "`{}`: `{}` is no point; write axis=value,axis=value",
                view::plain(text),
                view::plain(point)
            ))
        })?,
    };
    let run = match (run(what)?, past::is_run(what)) {
        (Some(run), _) => Some(run),
        (None, true) => return Err(no_run(&store?, what)),
        (None, false) => None,
    };
    let run = match run {
        Some(_) if whole != text => return Err(runs::changed(text)),
        Some(run) => Some((store?, run)),
        None => None,
    };
    Ok(Written {
        text,
        revision: match run {
            Some(_) => None,
            None => Revision::read(what),
        },
        what: what.into(),
        run,
        overrides,
        point: point.map(String::from),
        selectors,
    })
}

fn options_of(text: &str, words: &[String]) -> Result<OptionsOfASide, Failure> {
    OptionsOfASide::try_parse_from(words).map_err(|error| {
        let error = error.render().to_string();
        let first = error.lines().next().unwrap_or_default();
        wrong(format!(
            "`{}`: {}",
            view::plain(text),
            first.trim_start_matches("error: ")
        ))
    })
}

/// What is laid over both sides, and over it what is laid over one.
fn both(common: &OverrideArguments, own: OverrideArguments) -> OverrideArguments {
    let one_after_the_other = |common: &[String], own: Vec<String>| [common, &own].concat();
    OverrideArguments {
        set: one_after_the_other(&common.set, own.set),
        variant: one_after_the_other(&common.variant, own.variant),
        params: own.params.or_else(|| common.params.clone()),
        sweep: one_after_the_other(&common.sweep, own.sweep),
        seeds: own.seeds.or_else(|| common.seeds.clone()),
        point: one_after_the_other(&common.point, own.point),
    }
}

impl Written<'_> {
    /// The workflow file with all that is laid over it.
    fn workflow(&self, arguments: &CompareArguments, at: Option<&CheckedOut>) -> WorkflowArguments {
        let mut overrides = self.overrides.clone();
        overrides.point.extend(self.point.clone());
        WorkflowArguments {
            workflow: at.map_or(PathBuf::from(&self.what), |at| at.workflow.clone()),
            overrides,
            store: match at {
                // The results lie where those of now do.
                Some(at) if arguments.store.is_none() => Some(at.now.with_file_name(".flow")),
                _ => arguments.store.clone(),
            },
            run: None,
        }
    }

    /// The workflow, or a revision of it.
    fn open(
        &self,
        arguments: &CompareArguments,
        at: Option<&CheckedOut>,
    ) -> Result<Session, Failure> {
        let workflow = self.workflow(arguments, at);
        let Some(at) = at else {
            return Session::open(&workflow);
        };
        let session = Session::open_with_frozen_of_file(&workflow, &at.now)?;
        at.link_the_rest(&session)?;
        Ok(session)
    }

    /// The name of an instance without the coordinates that the point fixes, so that it is that of its counterpart; none
    /// where it does not belong to the point.
    fn name(&self, stage: &str, coordinates: &BTreeMap<String, Value>) -> Option<String> {
        let mut own = coordinates.clone();
        for (axis, wanted) in &self.selectors {
            // Where a matrix has an axis of the same name, the sweep's is called so.
            let of_sweep = own.remove(&format!("sweep.{axis}"));
            if let Some(value) = of_sweep.or_else(|| own.remove(axis))
                && plain_text(&value) != *wanted
            {
                return None;
            }
        }
        Some(plan::label(stage, &own))
    }

    /// Gives the params the values of the point, which may name more than params: variants, the seed.
    fn add_point(&self, params: &mut Map<String, Value>) {
        for (axis, text) in &self.selectors {
            if params
                .get(axis)
                .is_none_or(|value| plain_text(value) != *text)
            {
                let value = serde_json::from_str(text).unwrap_or_else(|_| text.clone().into());
                params.insert(axis.clone(), value);
            }
        }
    }
}

/// What an earlier run came to.
fn run_side(store: &Store, run: &PastRun, written: &Written<'_>) -> Result<Side, Failure> {
    let mut stages = Vec::new();
    // Stages end in an order that differs from run to run: here they stand after all that they read from, then by name.
    let mut depths: HashMap<Key, usize> = HashMap::new();
    let mut axes = BTreeSet::new();
    for line in run.stages()? {
        axes.extend(line.instance.keys().cloned());
        let Some(name) = written.name(&line.stage, &line.instance) else {
            continue;
        };
        let record = match line.result() {
            Some(key) => match store.lookup(&key)? {
                Lookup::Hit(record) => Some(Box::new(record)),
                Lookup::Miss | Lookup::Damaged(_) => None,
            },
            None => None,
        };
        let depth = record.as_ref().map_or(usize::MAX, |record| {
            let sources = provenance::sources(record);
            let depths_of = sources.iter().filter_map(|key| depths.get(key));
            depths_of.max().map_or(0, |depth| depth + 1)
        });
        depths.extend(line.key.map(|key| (key, depth)));
        let stage = Stage {
            status: Stands::Ended(line.status),
            key: line.key,
            failure: line.failure.map(|failure| failure.message),
            provenance: record.as_ref().map(|record| record.provenance.clone()),
            record,
        };
        stages.push((depth, name, stage));
    }
    stages.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let stages = stages.into_iter();
    let stages = stages.map(|(_, name, stage)| (name, stage)).collect();
    for (axis, _) in &written.selectors {
        if !axes.contains(axis) && !axes.contains(&format!("sweep.{axis}")) {
            let known: Vec<String> = axes.iter().map(|axis| view::plain(axis)).collect();
            return Err(wrong(format!(
                "`{}`: no stage of that run depends on `{}`; they depend on {}",
                view::plain(written.text),
                view::plain(axis),
                if known.is_empty() {
                    "nothing of the kind".into()
                } else {
                    known.join(", ")
                }
            )));
        }
    }
    let mut params = run.head.params.clone();
    params.extend(run.head.seed.map(|seed| ("seed".into(), seed.into())));
    written.add_point(&mut params);
    let point = written
        .point
        .as_ref()
        .map_or(String::new(), |point| format!(" at {point}"));
    let name = run.head.name.as_ref();
    let name = name.map_or(String::new(), |name| format!(" ({name})"));
    Ok(Side {
        name: format!(
            "run {}{name} of {}{point}: {}",
            run.id,
            run.head.workflow,
            run.state.word()
        ),
        params,
        stages,
        code: Code::of_run(run, store),
        store: store.clone(),
    })
}

/// What of a workflow, or of a point of its sweep, is in the store now.
fn workflow_side(
    arguments: &CompareArguments,
    written: &Written<'_>,
    at: Option<&CheckedOut>,
) -> Result<Side, Failure> {
    let mut session = written.open(arguments, at)?;
    let all: BTreeSet<NodeIndex> = session.plan.order.iter().copied().collect();
    let externals = session.externals(&all)?;
    let survey = session.survey(&all, &BTreeSet::new(), &externals)?;
    let absent = all.iter().filter_map(|node| match survey.get(*node)? {
        Standing::WillRun { key, .. } => Some(*key),
        _ => None,
    });
    let absent: BTreeSet<Key> = absent.collect();
    let mut failures = if absent.is_empty() {
        BTreeMap::new()
    } else {
        past::failures(&session.store, &absent)?
    };
    let mut stages = Vec::new();
    for &node in &session.plan.order {
        let instance = &session.plan.graph[node];
        let Some(name) = written.name(&instance.stage, &instance.coordinates) else {
            continue;
        };
        let key = survey.get(node).and_then(Standing::key);
        let record = survey.record(node);
        let stage = Stage {
            status: Stands::Now(survey.state(node)),
            key,
            failure: key.and_then(|key| Some(failures.remove(&key)?.failure?.message)),
            provenance: record.map(|record| record.provenance.clone()),
            record: record.cloned().map(Box::new),
        };
        stages.push((name, stage));
    }
    let combinations = session
        .workflow
        .sweep
        .as_ref()
        .map(|sweep| &sweep.combinations[..]);
    let at = match combinations {
        Some([one]) => &one.workflow,
        _ => &session.workflow,
    };
    let mut params: Map<String, Value> = node::object(&at.params);
    params.insert("seed".into(), session.workflow.seed.into());
    written.add_point(&mut params);
    Ok(Side {
        name: written.text.into(),
        params,
        stages,
        code: Code::of_files(
            &session.workflow,
            &session.sources,
            &externals,
            &session.store,
        ),
        store: session.store,
    })
}
