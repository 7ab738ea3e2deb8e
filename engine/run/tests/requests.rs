//! A request is complete: read from its JSON, without the plan that it was made of, it makes the same record.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use flow_cache::{Lookup, Record, Store};
use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{self, Plan};
use flow_plan::workflow::{self, Overrides, Workflow};
use flow_run::budget::{Budget, Machine, Share};
use flow_run::perform::{Outcome, Told, perform};
use flow_run::plugin;
use flow_run::record::{Event, Externals, Manifest};
use flow_run::request::{Request, Requests, Source, Task};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

/// `say` writes its parameters, its seed, a declared variable and its input. `count` writes the numbers from 1 to `n`, and
/// goes on from an earlier result.
const PLUGIN: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<END
{"protocol": 1, "plugin": "mine", "version": "1", "kinds": [
{"name": "say", "version": 1, "summary": "Says", "seeded": true, "path_parameters": ["file"], "inputs": [{"name": "from", "type": "file"}],
"outputs": [{"name": "out", "type": "file"}, {"name": "figures", "type": "metrics"}], "parameters": {"type": "object",
"properties": {"file": {"type": "string"}, "numbers": {"type": "array", "items": {"type": "number"}}}}},
{"name": "count", "version": 1, "summary": "Counts", "continues": ["/n"], "outputs": [{"name": "out", "type": "file"}],
"parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}]}
END
    exit
fi
read -r request
part() { printf %s "$request" | sed -n 's/.*"'"$1"'":\([^,}]*\).*/\1/p' | tr -d '{"'; }
if [ "$2" = say ]; then
    out=$(printf %s "$request" | sed -n 's/.*"out":"\([^"]*\)".*/\1/p')
    figures=$(printf %s "$request" | sed -n 's/.*"figures":"\([^"]*\)".*/\1/p')
    from=$(printf %s "$request" | sed -n 's/.*"from":"\([^"]*\)".*/\1/p')
    printf %s "$request" | sed 's/.*"parameters":\(.*\),"inputs":.*"seed":\([0-9]*\).*/\1 \2/' > "$out"
    cat "$from" >> "$out"
    echo "$HOME" >> "$out"
    echo '{"event": "log", "message": "said", "facts": {"shell": "sh"}}'
    echo '{"share": 0.30000000000000004}' > "$figures"
else
    out=$(printf %s "$request" | sed -n 's/.*"outputs":{"out":"\([^"]*\)".*/\1/p')
    earlier=$(printf %s "$request" | sed -n 's/.*"earlier":{"out":"\([^"]*\)".*/\1/p')
    [ -n "$earlier" ] && cp "$earlier" "$out" && chmod u+w "$out" || : > "$out"
    i=$(($(wc -l < "$out") + 1))
    while [ $i -le $(part n) ]; do echo $i >> "$out"; i=$((i + 1)); done
fi
"#;

const WORKFLOW: &str = r#"
[plugins]
mine = "plugin"

[params]
word = "it's"

[stages.one]
run = "cat ${inputs.f} > ${outputs.o}; echo ${word} ${matrix.a} >> ${outputs.o}"
inputs = { f = { path = "user*.txt" } }
outputs = { o = "o.txt" }
matrix = { a = [0.1, 0.30000000000000004] }
env = ["HOME"]

[stages.all]
run = ["sh", "-c", 'cat "$@" > "$0"', "${outputs.o}", "${inputs.one}"]
inputs = { one = { collect = "one" } }
outputs = { o = "o.csv" }
resources = { cpus = 2 }
timeout = "60s"
retries = 1

[stages.say]
uses = "say"
with = { file = "user 1.txt", numbers = NUMBERS }
inputs = { from = "all" }
env = ["HOME"]

[stages.five]
uses = "count"
with = { n = 5 }

[stages.nine]
uses = "count"
with = { n = 9 }

[stages.last]
run = "cat ${inputs.five} ${inputs.nine} ${inputs.said} > ${outputs.o}"
inputs = { five = "five", nine = "nine", said = "say.out" }
outputs = { o = "folder/o.txt" }
"#;

struct World {
    folder: tempfile::TempDir,
    workflow: Workflow,
    catalogue: Catalogue,
    plan: Plan,
    externals: Externals,
    store: Store,
    share: Share,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("plugin"), PLUGIN).unwrap();
        fs::set_permissions(at("plugin"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("user 1.txt"), "mine\n").unwrap();
        let mut draw = ChaCha8Rng::seed_from_u64(1);
        let numbers: Vec<f64> = std::iter::repeat_with(|| f64::from_bits(draw.next_u64()))
            .filter(|number| number.is_normal())
            .take(500)
            .collect();
        let text = WORKFLOW.replace("NUMBERS", &format!("{numbers:?}"));
        fs::write(at("w.toml"), text).unwrap();
        let loaded = workflow::load(&at("w.toml"), &Overrides::default())
            .map_err(|report| report.render(false))
            .unwrap();
        let (workflow, mut problems) = (loaded.workflow, loaded.problems);
        let catalogue = plugin::find(Some(&workflow), &mut problems);
        let plan = plan::expand(&workflow, &catalogue, &mut problems);
        let store = Store::open(&at(".flow")).unwrap();
        let all: BTreeSet<_> = plan.order.iter().copied().collect();
        let externals = Externals::resolve(&plan, all, workflow.root(), &store, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        let machine = Machine {
            cores: 2,
            gpus: Vec::new(),
            memory: u64::MAX,
        };
        let resources = plan
            .instances()
            .find(|i| i.stage == "all")
            .unwrap()
            .resources;
        let share = Budget::new(machine, 2).take(&resources).unwrap();
        World {
            folder,
            workflow,
            catalogue,
            plan,
            externals,
            store,
            share,
        }
    }

    /// Makes the request of each instance, once those before it are performed by `perform`.
    fn each(&self, mut perform: impl FnMut(Request) -> Record) {
        let requests = Requests {
            plan: &self.plan,
            catalogue: &self.catalogue,
            externals: &self.externals,
            folder: self.workflow.root(),
            run: "run",
        };
        let mut records: HashMap<_, Record> = HashMap::new();
        for &node in &self.plan.order {
            let made = |source, output: &str| records.get(&source)?.outputs.get(output);
            let (plan, catalogue) = (&self.plan, &self.catalogue);
            let instance = &plan.graph[node];
            let manifest = Manifest::of(plan, node, catalogue, &self.externals, made).unwrap();
            let log = self.folder.path().join("logs").join(&instance.label);
            let key = manifest.key();
            let request = requests.of(node, key, manifest, &records, log).unwrap();
            records.insert(node, perform(request));
        }
    }

    fn perform(&self, store: &Store, request: &Request) -> (Record, Vec<Event>) {
        let told = Mutex::new(Vec::new());
        let stop = AtomicBool::new(false);
        let outcome = perform(store, request, &self.share, &stop, &|word| {
            told.lock().unwrap().push(word);
        });
        let told = told.into_inner().unwrap().into_iter();
        let events = told.filter_map(|word| match word {
            Told::Event(event) => Some(event),
            Told::Freed => None,
        });
        match outcome {
            Outcome::Ran(record) => (*record, events.collect()),
            other => panic!("{}: {other:?}", request.label),
        }
    }
}

fn open(folder: &Path, name: &str) -> Store {
    Store::open(&folder.join(name)).unwrap()
}

fn read_back(request: &Request) -> Request {
    serde_json::from_str(&serde_json::to_string(request).unwrap()).unwrap()
}

/// A record without what another execution has otherwise.
fn lasting(mut record: Record) -> Record {
    record.seconds = 0.0;
    record.finished = String::new();
    record.provenance["started"] = Value::Null;
    record.provenance["used"] = Value::Null;
    record
}

#[test]
fn a_request_read_from_its_json_makes_the_same_record() {
    let world = World::new();
    let other = open(world.folder.path(), "other");
    let mut labels = Vec::new();
    world.each(|request| {
        let again = read_back(&request);
        assert_eq!(again, request);
        let (record, events) = world.perform(&world.store, &request);
        let (copy, copy_events) = world.perform(&other, &again);
        assert_eq!(lasting(copy.clone()), lasting(record.clone()));
        assert_eq!(copy_events, events);
        assert_eq!(other.lookup(&request.key).unwrap(), Lookup::Hit(copy));
        assert_eq!(record.key, request.key);
        match request.stage.as_str() {
            "one" => assert!(matches!(request.inputs[0].source, Source::Path { .. })),
            "all" => assert!(matches!(&request.inputs[0].source, Source::Collected(all) if all.len() == 2)),
            "say" => {
                assert_eq!(record.metrics["share"], 0.1 + 0.2);
                assert_eq!(record.provenance["facts"]["shell"], "sh");
                let said = String::from_utf8(world.store.read(&record.outputs["out"]).unwrap());
                let said = said.unwrap();
                // The parameters that its process had: the numbers, and the file's place.
                let Task::Kind { parameters, .. } = &request.task else {
                    panic!("a kind")
                };
                let mut lines = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
                let had = lines.next().unwrap().unwrap();
                assert_eq!(had["numbers"], parameters["numbers"]);
                let place = world.workflow.root().join("user 1.txt");
                assert_eq!(had["file"], place.to_str().unwrap());
                assert!(said.contains("mine\nit's 0.1\nmine\nit's 0.30000000000000004\n"), "{said}");
            }
            "nine" => {
                let is_continued = |event: &Event| {
                    matches!(event, Event::Continue { then, .. } if then == "n = 5")
                };
                assert!(copy_events.iter().any(is_continued), "{copy_events:?}");
            }
            _ => {}
        }
        labels.push(request.label);
        record
    });
    let expected = [
        "one[a=0.1]",
        "one[a=0.30000000000000004]",
        "all",
        "say",
        "five",
        "nine",
        "last",
    ];
    assert_eq!(labels, expected);
}

#[test]
fn a_result_can_go_into_a_store_of_its_own() {
    let world = World::new();
    let mut made = 0;
    world.each(|request| {
        let root = world.folder.path().join(format!("scratch {made}"));
        let apart = Request {
            results: Some(root.clone()),
            ..request.clone()
        };
        let (copy, _) = world.perform(&world.store, &read_back(&apart));
        assert_eq!(world.store.lookup(&request.key).unwrap(), Lookup::Miss);
        let scratch = Store::open(&root).unwrap();
        assert_eq!(scratch.records().unwrap().count(), 1);
        let (record, _) = world.perform(&world.store, &request);
        assert_eq!(record.outputs, copy.outputs);
        made += 1;
        record
    });
    assert_eq!(made, 7);
}
