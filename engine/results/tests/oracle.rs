//! Random workflows, random edits, and an independent oracle of which stages must run: none runs that need not, none is
//! missed, and `status` foretells what `run` does.
//!
//! The oracle knows nothing of keys: it computes what every stage would write, and remembers what was ever computed
//! from what, and which contents are still there. `FLOW_ORACLE_CASES` runs another number of cases, `FLOW_ORACLE_SEED`
//! another series.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use flow_cache::{Digest, Store};
use flow_plan::plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::{self, Overrides};
use flow_results::{Standing, Survey};
use flow_run::budget::Machine;
use flow_run::record::journal::{About, Journal, Process, Subject};
use flow_run::record::settled::Settled;
use flow_run::record::{Event, Externals, Status};
use flow_run::{Options, Runner};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const FILES: usize = 4;
const PARAMS: usize = 3;

/// A stage: it writes its word, its params' values, its axis value, then the content of its files and inputs.
#[derive(Clone)]
struct Stage {
    name: String,
    word: u64,
    params: BTreeSet<usize>,
    files: BTreeSet<usize>,
    /// Places of the stages that it reads from, all before its own.
    inputs: BTreeSet<usize>,
    axis: bool,
}

struct World {
    stages: Vec<Stage>,
    params: Vec<u64>,
    files: Vec<u64>,
    /// The values of every axis.
    axis: [u64; 2],
    /// Whether axes are known by their names. All differ, so that it makes no difference.
    by_name: bool,
    /// The order in which the file lists the stages.
    listed: Vec<usize>,
    names: u64,
}

/// Everything that decides what an instance writes.
type Action = (String, Vec<String>);

/// What was done so far.
#[derive(Default)]
struct Past {
    /// Every action that was ever done, with what it wrote.
    written: HashMap<Action, String>,
    /// The contents that are in the store.
    there: HashSet<String>,
}

impl Past {
    fn has(&self, action: &Action) -> bool {
        self.written
            .get(action)
            .is_some_and(|content| self.there.contains(content))
    }
}

impl World {
    fn new(draw: &mut Draw) -> World {
        let mut world = World {
            stages: Vec::new(),
            params: (0..PARAMS).map(|_| draw.below(5)).collect(),
            files: (0..FILES).map(|_| draw.below(5)).collect(),
            axis: [1, 2],
            by_name: draw.below(2) == 0,
            listed: Vec::new(),
            names: 0,
        };
        let largest = if draw.below(20) == 0 { 60 } else { 9 };
        for at in 0..1 + draw.below(largest) as usize {
            let name = world.name();
            let mut some = |count: usize, most: u64| -> BTreeSet<usize> {
                let wanted = if count == 0 { 0 } else { draw.below(most + 1) };
                (0..wanted)
                    .map(|_| draw.below(count as u64) as usize)
                    .collect()
            };
            let stage = Stage {
                name,
                params: some(PARAMS, 1),
                files: some(FILES, 1),
                inputs: some(at, 3),
                word: draw.below(4),
                axis: draw.below(8) == 0 && at < 12,
            };
            world.stages.push(stage);
            world.listed.push(at);
        }
        world
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("s{}", self.names)
    }

    fn edit(&mut self, draw: &mut Draw, folder: &Path, past: &mut Past) -> &'static str {
        let stage = draw.below(self.stages.len() as u64) as usize;
        match draw.below(10) {
            0 => {
                self.params[draw.below(PARAMS as u64) as usize] = draw.below(5);
                "param"
            }
            1 => {
                self.files[draw.below(FILES as u64) as usize] = draw.below(5);
                "file"
            }
            2 => {
                self.stages[stage].word = draw.below(4);
                "command"
            }
            3 => {
                self.stages[stage].name = self.name();
                "rename"
            }
            4 => {
                let (a, b) = (
                    draw.below(self.listed.len() as u64),
                    draw.below(self.listed.len() as u64),
                );
                self.listed.swap(a as usize, b as usize);
                "reorder"
            }
            5 => {
                if stage > 0 {
                    let source = draw.below(stage as u64) as usize;
                    let inputs = &mut self.stages[stage].inputs;
                    if !inputs.remove(&source) && instances(self, 2000) {
                        self.stages[stage].inputs.insert(source);
                    }
                }
                "rewire"
            }
            6 => {
                self.axis = [[1, 2], [2, 3], [1, 3]][draw.below(3) as usize];
                "axis"
            }
            7 => {
                // An output is deleted; one that a single action writes, so that none brings it back for another.
                let written: Vec<String> = self.actions().into_values().map(|a| a.1).collect();
                let content = &written[draw.below(written.len() as u64) as usize];
                if written.iter().filter(|other| *other == content).count() > 1 {
                    return "nothing";
                }
                let name = blake3::hash(content.as_bytes()).to_hex().to_string();
                let blob = folder.join(".flow/blobs").join(&name[..2]).join(name);
                assert_eq!(past.there.remove(content), fs::remove_file(blob).is_ok());
                "output deleted"
            }
            8 => {
                // The same bytes with another time.
                let path = folder.join("f0");
                let bytes = fs::read(&path).unwrap();
                fs::remove_file(&path).unwrap();
                fs::write(&path, bytes).unwrap();
                "touch"
            }
            _ => "nothing",
        }
    }

    fn write(&self, folder: &Path) {
        for (i, content) in self.files.iter().enumerate() {
            let path = folder.join(format!("f{i}"));
            let text = format!("file {content}\n");
            if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                fs::write(path, text).unwrap();
            }
        }
        let head = match self.by_name {
            true => "[workflow]\nlanguage = 2\n",
            false => "",
        };
        let mut text = format!("{head}[params]\n");
        for (i, value) in self.params.iter().enumerate() {
            let _ = writeln!(text, "p{i} = {value}");
        }
        for &at in &self.listed {
            let stage = &self.stages[at];
            let mut line = format!("echo word {}", stage.word);
            stage
                .params
                .iter()
                .for_each(|p| line += &format!(" ${{p{p}}}"));
            if stage.axis {
                line += &format!(" ${{matrix.x{at}}}");
            }
            line += " > ${outputs.o}";
            let mut inputs = Vec::new();
            for f in &stage.files {
                inputs.push(format!("f{f} = {{ path = \"f{f}\" }}"));
                line += &format!("; cat ${{inputs.f{f}}} >> ${{outputs.o}}");
            }
            // Roles are numbered, not named after stages, so that a renamed stage changes nothing.
            for (i, source) in stage.inputs.iter().enumerate() {
                inputs.push(format!("i{i} = \"{}\"", self.stages[*source].name));
                line += &format!("; cat ${{inputs.i{i}}} >> ${{outputs.o}}");
            }
            let _ = writeln!(
                text,
                "[stages.{}]\nrun = \"{line}\"\noutputs = {{ o = \"o\" }}",
                stage.name
            );
            let _ = writeln!(text, "inputs = {{ {} }}", inputs.join(", "));
            if stage.axis {
                text += &format!("matrix = {{ x{at} = {:?} }}\n", self.axis);
            }
        }
        fs::write(folder.join("w.toml"), text).unwrap();
    }

    /// Every instance by stage and point, with the action that it is and what that writes.
    fn actions(&self) -> BTreeMap<(String, String), (Action, String)> {
        // For each stage: its points (axis owner to value), with what the instance there writes.
        let mut made: Vec<Vec<(BTreeMap<usize, u64>, String)>> = Vec::new();
        let mut actions = BTreeMap::new();
        for (at, stage) in self.stages.iter().enumerate() {
            let mut rows: Vec<(BTreeMap<usize, u64>, Vec<String>)> = vec![Default::default()];
            for &source in &stage.inputs {
                rows = rows
                    .iter()
                    .flat_map(|(point, contents)| {
                        made[source].iter().filter_map(move |(other, content)| {
                            let agrees = other
                                .iter()
                                .all(|(k, v)| point.get(k).is_none_or(|mine| mine == v));
                            let mut point = point.clone();
                            point.extend(other);
                            let mut contents = contents.clone();
                            contents.push(content.clone());
                            agrees.then_some((point, contents))
                        })
                    })
                    .collect();
            }
            let mut here = Vec::new();
            for (point, contents) in rows {
                for &x in if stage.axis { &self.axis[..] } else { &[0] } {
                    let mut point = point.clone();
                    if stage.axis {
                        point.insert(at, x);
                    }
                    let params: Vec<u64> = stage.params.iter().map(|&p| self.params[p]).collect();
                    // Each axis has a name of its own, which a command has in it.
                    let axis = stage.axis.then_some((at, x));
                    let shape = format!(
                        "{} {:?} {:?} {axis:?} {params:?}",
                        stage.word, stage.params, stage.files
                    );
                    let mut parts: Vec<String> = stage
                        .files
                        .iter()
                        .map(|&f| format!("file {}\n", self.files[f]))
                        .collect();
                    parts.extend(contents.iter().cloned());
                    let mut words = vec![format!("word {}", stage.word)];
                    words.extend(params.iter().map(u64::to_string));
                    if stage.axis {
                        words.push(x.to_string());
                    }
                    let written = format!("{}\n{}", words.join(" "), parts.concat());
                    actions.insert(
                        (stage.name.clone(), format!("{:?}", point.values())),
                        ((shape, parts), written.clone()),
                    );
                    here.push((point, written));
                }
            }
            made.push(here);
        }
        actions
    }
}

/// Whether the workflow has fewer instances than that.
fn instances(world: &World, most: usize) -> bool {
    let axes = world.stages.iter().filter(|s| s.axis).count();
    axes < 8 && world.stages.len() << axes < most
}

struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }
}

/// Runs the workflow; gives how many ran of how many, and the stages that `status` had wrong.
fn run(folder: &Path) -> (BTreeMap<String, Vec<Status>>, Vec<String>) {
    let path = folder.join("w.toml");
    let loaded = workflow::load(&path, &Overrides::default()).unwrap();
    let (workflow, mut problems) = (loaded.workflow, loaded.problems);
    let catalogue = Catalogue::default();
    let plan = plan::expand(&workflow, &catalogue, &mut problems);
    let store = Store::open(&folder.join(".flow")).unwrap();
    let note = Digest::of_bytes(b"settled");
    let settled = Settled::find(&store, &note).is_some();
    let all: BTreeSet<_> = plan.order.iter().copied().collect();
    let externals = Externals::resolve(&plan, all.clone(), folder, &store, &mut problems);
    let survey = Survey::of(
        &plan,
        |_| true,
        |_| false,
        &HashMap::new(),
        &catalogue,
        &externals,
        &store,
    )
    .unwrap();
    let stop = AtomicBool::new(false);
    let runner = Runner {
        workflow: &workflow,
        plan: &plan,
        catalogue: &catalogue,
        externals: &externals,
        store: &store,
        stop: &stop,
        started: Instant::now(),
    };
    let options = Options {
        frozen: HashMap::new(),
        wanted: all,
        looked_up: BTreeSet::new(),
        forced: BTreeSet::new(),
        machine: Machine::here(),
        jobs: 2,
        keep_going: false,
    };
    let subject = Subject {
        workflow: &workflow,
        sources: &loaded.sources,
        overrides: &Overrides::default(),
        plan: &plan,
        catalogue: &catalogue,
        wanted: &options.wanted,
        about: &About::default(),
    };
    let process = Process {
        started: runner.started,
        cores: options.machine.cores,
        gpus: &options.machine.gpus,
    };
    let mut journal = Journal::begin(&store, &subject, process).unwrap();
    let mut by_label = BTreeMap::new();
    let mut ended: BTreeMap<String, Vec<Status>> = BTreeMap::new();
    let mut keys: HashSet<String> = HashSet::new();
    let summary = runner
        .run(&options, &mut journal, &mut |event| {
            if let Event::Stage(end) = event {
                let twin = !keys.insert(format!("{:?}", end.key));
                by_label.insert(end.label(), (end.status, twin));
                ended.entry(end.stage.clone()).or_default().push(end.status);
            }
        })
        .unwrap();
    journal.keep(&Event::Run(summary.end.clone()));
    journal.end(&store);
    store.save_memo().unwrap();
    let idle = summary.end.cached == plan.order.len();
    let mut wrong = Vec::new();
    if settled && !idle {
        wrong.push("what was remembered of an idle run still held".into());
    }
    if idle {
        let end = &summary.end;
        let records = &summary.records;
        let sources = &loaded.sources;
        let seen = Settled::of(
            end,
            &workflow,
            sources,
            &plan,
            &externals,
            records,
            Vec::new(),
            &store,
        );
        store.note(&note, &seen.unwrap()).unwrap();
        if Settled::find(&store, &note).is_none() {
            wrong.push("what was remembered of this idle run does not hold".into());
        }
    }
    let foretold = plan.order.iter().filter_map(|&node| {
        let label = &plan.graph[node].label;
        let (status, twin) = by_label[label];
        let foretold = match survey.get(node).unwrap() {
            Standing::UpToDate(_) => status == Status::Cached,
            Standing::Frozen(_) => status == Status::Frozen,
            // Two stages of one action do the work once.
            Standing::WillRun { .. } => status == Status::Ran || (twin && status == Status::Cached),
            Standing::Forced => status == Status::Ran,
            Standing::MayRun => matches!(status, Status::Ran | Status::Cached),
        };
        (!foretold).then(|| format!("{label}: {status:?}"))
    });
    wrong.extend(foretold);
    (ended, wrong)
}

/// A folder in memory where there is one: thousands of stages are committed, each with its syncs.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.into()
    } else {
        std::env::temp_dir()
    }
}

#[test]
fn what_must_run_runs_and_nothing_else() {
    let number = |name: &str, default: u64| -> u64 {
        std::env::var(name)
            .ok()
            .map_or(default, |text| text.parse().unwrap())
    };
    let (seed, cases) = (
        number("FLOW_ORACLE_SEED", 1),
        number("FLOW_ORACLE_CASES", 2000),
    );
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
    let mut case = 0;
    while case < cases {
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let mut world = World::new(&mut draw);
        if !instances(&world, 2000) {
            continue;
        }
        let mut past = Past::default();
        let mut edits = vec!["begin"];
        for _ in 0..8 {
            world.write(&folder);
            let actions = world.actions();
            let (ended, wrong) = run(&folder);
            let place = format!("FLOW_ORACLE_SEED={seed}, case {case}, after {edits:?}");
            assert_eq!(wrong, Vec::<String>::new(), "status was wrong: {place}");
            // Each action that was never computed is computed once; whichever of several twins comes first does it.
            let fresh: HashSet<&Action> = actions
                .values()
                .map(|(action, _)| action)
                .filter(|action| !past.has(action))
                .collect();
            let ran: usize = ended
                .values()
                .flatten()
                .filter(|s| **s == Status::Ran)
                .count();
            assert_eq!(ran, fresh.len(), "{place}");
            for (stage, statuses) in &ended {
                let possible = actions
                    .iter()
                    .filter(|((name, _), (action, _))| name == stage && fresh.contains(action))
                    .count();
                let ran = statuses.iter().filter(|s| **s == Status::Ran).count();
                assert!(
                    ran <= possible,
                    "{stage} ran {ran} times, {possible} at most: {place}"
                );
            }
            past.there
                .extend(actions.values().map(|(_, written)| written.clone()));
            past.written.extend(actions.into_values());
            case += 1;
            edits.push(world.edit(&mut draw, &folder, &mut past));
        }
    }
}
