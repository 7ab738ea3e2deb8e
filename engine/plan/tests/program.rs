//! What a `run` stage says of its program, in the plan: files that are written, environments, variables, places, seeds.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use flow_plan::plan::kinds::Catalogue;
use flow_plan::plan::{
    self, Environment, Folder, Instance, Isolation, Origin, Plan, Program, Task,
};
use flow_plan::workflow::{self, Overrides, Report};
use flow_stage::ArtifactType;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::Value;

fn planned(text: &str, overrides: &Overrides) -> (Plan, Report) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, text).unwrap();
    let mut loaded = workflow::load(&path, overrides).unwrap_or_else(|report| panic!("{report}"));
    let plan = plan::expand(
        &loaded.workflow,
        &Catalogue::default(),
        &mut loaded.problems,
    );
    (plan, Report::new(loaded.sources, loaded.problems))
}

#[track_caller]
fn plan(text: &str) -> Plan {
    let (plan, report) = planned(text, &Overrides::default());
    assert!(!report.has_errors(), "{report}");
    plan
}

fn program(instance: &Instance) -> &Program {
    match &instance.task {
        Task::Command(program) => program,
        Task::Kind { .. } => panic!("{} is no program", instance.label),
    }
}

/// The text of the one file of the one stage.
#[track_caller]
fn written(name: &str, value: &str) -> String {
    let text =
        format!("[stages.a]\nrun = 'true'\noutputs = {{ o = 'o' }}\nfiles.'{name}' = {value}\n");
    let plan = plan(&text);
    let instance = plan.instances().next().unwrap();
    program(instance).files[name].clone()
}

const VALUE: &str = r#"{ z = 1, a = 1.0, tiny = 1e-5, big = 1e16, yes = "yes", n = "n", v = "1.0", nothing = "null",
    tilde = "~", colon = "a: b", hash = "a #b", day = "2024-01-02", ends = " a ", lines = "a\nb", empty = "", plain = "adam w",
    path = "data/x.csv", none = [], no = {}, list = [1, "two", [3, []], { b = true, c = { d = "e" } }] }"#;

#[test]
fn yaml_is_what_every_reader_takes_for_the_same() {
    assert_eq!(
        written("p.yaml", VALUE),
        r#"z: 1
a: 1.0
tiny: 1.0e-5
big: 1.0e+16
"yes": "yes"
"n": "n"
v: "1.0"
nothing: "null"
tilde: "~"
colon: "a: b"
hash: "a #b"
day: "2024-01-02"
ends: " a "
lines: "a\nb"
empty: ""
plain: adam w
path: data/x.csv
none: []
"no": {}
list:
  - 1
  - two
  - - 3
    - []
  - b: true
    c:
      d: e
"#
    );
}

#[test]
fn json_and_toml_keep_the_order() {
    assert_eq!(
        written("p.json", r#"{ b = 1.0, a = [1e-5, "x\n"], c = {} }"#),
        "{\n  \"b\": 1.0,\n  \"a\": [\n    0.00001,\n    \"x\\n\"\n  ],\n  \"c\": {}\n}\n"
    );
    assert_eq!(
        written(
            "p.toml",
            r#"{ b = 1.0, t = { y = 2 }, a = [1e-5, 1], s = "x" }"#
        ),
        "b = 1.0\na = [0.00001, 1]\ns = \"x\"\n\n[t]\ny = 2\n"
    );
    assert_eq!(written("run.sh", r#""echo a\n""#), "echo a\n");
    assert_eq!(written("p.yaml", r#""as: it is""#), "as: it is");
    assert_eq!(written("n.json", "3"), "3\n");
}

#[test]
fn names_keep_their_types_in_files() {
    let plan = plan(
        "[params]\nlr = 0.5\nnet = { kind = 'a', widths = [1, 2] }\n[stages.a]\nrun = 'true'\nmatrix = { s = ['x', 'y'] }\n\
         outputs = { o = 'o' }\nfiles.'p.yaml' = { net = '${net}', lr = '${lr}', text = 'lr ${lr}', s = '${matrix.s}', seed = '${seed}' }\n",
    );
    let texts: Vec<&str> = plan
        .instances()
        .map(|i| program(i).files["p.yaml"].as_str())
        .collect();
    assert_eq!(
        texts[1],
        "net:\n  kind: a\n  widths:\n    - 1\n    - 2\nlr: 0.5\ntext: lr 0.5\ns: \"y\"\nseed: 42\n"
    );
    assert!(plan.instances().all(|instance| instance.seed == Some(42)));
}

#[test]
fn a_program_that_names_the_seed_has_one_for_each() {
    let text = "[stages.a]\nrun = 'train --seed ${seed} > ${outputs.o}'\noutputs = { o = 'o' }\nfiles.'p.json' = '${seed}'\n\
        env = { SEED = '${seed}' }\n[stages.b]\nrun = 'cat ${inputs.a} > ${outputs.o}'\ninputs = { a = 'a' }\noutputs = { o = 'o' }\n\
        [stages.c]\nrun = 'true'\noutputs = { o = 'o' }\n";
    let overrides = Overrides {
        seeds: Some("[42, 7]".into()),
        ..Overrides::default()
    };
    let (plan, report) = planned(text, &overrides);
    assert!(!report.has_errors(), "{report}");
    let labels: Vec<&str> = plan.instances().map(|i| i.label.as_str()).collect();
    assert_eq!(
        labels,
        ["a[seed=42]", "b[seed=42]", "c", "a[seed=7]", "b[seed=7]"]
    );
    for (label, seed) in [("a[seed=42]", 42u64), ("a[seed=7]", 7)] {
        let found = plan.instances().find(|i| i.label == label).unwrap();
        assert_eq!(found.seed, Some(seed));
        assert_eq!(program(found).values["seed"], Value::from(seed));
        assert_eq!(program(found).files["p.json"], format!("{seed}\n"));
        assert_eq!(found.env.set["SEED"], seed.to_string());
    }
    // A param of that name was there before.
    let plan =
        self::plan("[params]\nseed = 5\n[stages.a]\nrun = 'echo ${seed}'\noutputs = { o = 'o' }\n");
    let instance = plan.instances().next().unwrap();
    assert_eq!(instance.seed, None);
    assert_eq!(program(instance).values["seed"], Value::from(5));
}

#[test]
fn all_that_a_program_says_is_in_the_plan() {
    let digest = "0".repeat(64);
    let text = format!(
        "[workflow]\nshell = ['dash', '-e']\nisolation = 'required'\n[params]\nx = 'a b'\n\
         [environments]\nlit = {{ venv = '.venv', lock = 'uv.lock' }}\nbox = {{ image = 'x@sha256:{digest}' }}\nsif = {{ image = 'x.sif' }}\nc = {{ conda = 'l.txt' }}\n\
         [stages.a]\nrun = 'echo ${{cpus}} ${{memory}} ${{work}} ${{inputs.src.absolute}} ${{outputs.o}}'\n\
         inputs = {{ src = {{ path = ['src', 'conf'], exclude = ['*.bak'], writable = true }} }}\noutputs = {{ o = 'g-${{x}}*' }}\n\
         env = {{ A = '${{x}} ${{cpus}} $${{y}}', B = '${{inputs.src}}' }}\nsecret_env = ['KEY']\nfolder = 'own'\ncheckpoints = 'ckpt/'\n\
         tools = {{ samtools = 'samtools --version' }}\nenvironment = 'lit'\n\
         [stages.b]\nrun = ['x', '${{inputs.a}}']\ninputs = {{ a = {{ from = 'a.o', as = 'in/${{x}}' }} }}\noutputs = {{ o = 'o' }}\nshell = ['x']\n"
    );
    let (_, report) = planned(&text, &Overrides::default());
    assert!(
        report.to_string().contains("`shell` runs a `run` string"),
        "{report}"
    );
    let text = text.replace("shell = ['x']\n", "isolation = { network = false }\ntools = ['bwa']\nfolder = 'project'\nenvironment = 'box'\n");
    let text = format!(
        "{text}[stages.c]\nrun = 'true'\nenvironment = 'sif'\noutputs = {{ o = 'o' }}\nshell = ['zsh']\n\
         [stages.d]\nrun = 'true'\nenvironment = 'c'\nenv = ['HOME']\noutputs = {{ o = 'o' }}\n"
    );
    let plan = plan(&text);
    let all: Vec<&Instance> = plan.instances().collect();
    let [a, b, c, d] = all[..] else {
        panic!("{all:?}")
    };
    assert_eq!(program(a).shell, Some(vec!["dash".into(), "-e".into()]));
    assert_eq!(
        program(a).isolation,
        Isolation {
            required: true,
            network: true
        }
    );
    assert_eq!(program(a).checkpoints.as_deref(), Some("ckpt"));
    assert_eq!(program(a).values.len(), 0);
    assert_eq!(
        program(a).tools["samtools"].as_deref(),
        Some("samtools --version")
    );
    assert_eq!(a.env.set["A"], "a b ${cpus} $${y}");
    assert_eq!(a.env.secret, ["KEY"]);
    let set = a
        .env
        .values(|name| Ok::<_, ()>(format!("<{name}>")))
        .unwrap();
    assert_eq!(
        (set["A"].as_str(), set["B"].as_str()),
        ("a b <cpus> ${y}", "<inputs.src>")
    );
    assert_eq!(a.outputs[0].artifact, ArtifactType::Folder);
    assert_eq!(a.outputs[0].file, "g-a b*");
    assert!(a.inputs[0].writable);
    let Origin::Path { files, .. } = &a.inputs[0].origin else {
        panic!()
    };
    assert_eq!(
        (&files.patterns[..], &files.exclude[..]),
        (&["src".into(), "conf".into()][..], &["*.bak".into()][..])
    );
    let venv = Environment::Venv {
        folder: ".venv".into(),
        lock: Some("uv.lock".into()),
    };
    assert_eq!(program(a).environment, Some(venv));
    assert_eq!(b.inputs[0].place.as_deref(), Some("in/a b"));
    assert_eq!(program(b).folder, Folder::Project);
    assert_eq!(program(b).shell, None);
    assert_eq!(
        program(b).isolation,
        Isolation {
            required: false,
            network: false
        }
    );
    assert_eq!(program(b).tools["bwa"], None);
    assert_eq!(program(c).shell, Some(vec!["zsh".into()]));
    let image = |engine: &str, image: &str| Environment::Image {
        engine: engine.into(),
        image: image.into(),
    };
    assert_eq!(
        program(b).environment,
        Some(image("podman", &format!("x@sha256:{digest}")))
    );
    assert_eq!(program(c).environment, Some(image("apptainer", "x.sif")));
    assert_eq!(
        program(d).environment,
        Some(Environment::Conda {
            lock: "l.txt".into()
        })
    );
    assert_eq!(d.env.passed, ["HOME"]);
}

#[test]
fn the_root_is_around_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("flows/deep");
    fs::create_dir_all(&inner).unwrap();
    let path = inner.join("w.toml");
    let root = |line: &str| {
        let stage = "[stages.a]\nrun = 'true'\noutputs = { o = 'o' }\n";
        fs::write(&path, format!("[workflow]\n{line}\n{stage}")).unwrap();
        let loaded = workflow::load(&path, &Overrides::default()).unwrap();
        let root = loaded.workflow.root().to_path_buf();
        assert_eq!(loaded.workflow.folder(), inner.canonicalize().unwrap());
        (root, Report::new(loaded.sources, loaded.problems))
    };
    let real = folder.path().canonicalize().unwrap();
    for (line, expected) in [
        ("", "flows/deep"),
        ("root = '.'", "flows/deep"),
        ("root = '..'", "flows"),
        ("root = '../..'", ""),
    ] {
        let (found, report) = root(line);
        assert!(!report.has_errors(), "{report}");
        assert_eq!(
            found,
            real.join(expected)
                .components()
                .collect::<std::path::PathBuf>()
        );
    }
    for line in ["root = 'other'", "root = '../../nowhere'"] {
        let (_, report) = root(line);
        assert!(
            report
                .to_string()
                .contains("is no folder that the workflow file lies in"),
            "{report}"
        );
    }
}

/// Reads texts by Python: its `json`, its `tomllib`, and PyYAML where that is there.
const READER: &str = r#"
import json, sys
def yaml(text):
    try:
        import yaml
    except ImportError:
        return None
    return yaml.safe_load(text)
def toml(text):
    try:
        import tomllib
    except ImportError:
        return None
    return tomllib.loads(text)
for line in sys.stdin:
    kind, text = json.loads(line)
    print(json.dumps({"json": json.loads, "toml": toml, "yaml": yaml}[kind](text)), flush=True)
"#;

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,6}",
        "\\PC{0,4}",
        any::<String>(),
        prop::sample::select(vec![
            "yes",
            "No",
            "ON",
            "null",
            "~",
            "1",
            "0x1f",
            "1e3",
            "1_000",
            "12:30",
            ".5",
            ".inf",
            "<<",
            "=",
            "---",
            "...",
            "- a",
            "? a",
            "a: b",
            "a:",
            ": a",
            "#",
            "a #",
            "!x",
            "&a",
            "*a",
            "@",
            "`",
            "%",
            "|",
            ">",
            "'",
            "\"",
            "[",
            "{",
            " a",
            "a ",
            "\u{85}",
            "\u{feff}",
            "\u{2028}",
            "2024-01-01",
            "0o7",
            "+1",
            "-",
            "y",
        ])
        .prop_map(String::from),
    ];
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        prop::sample::select(vec![1.0, 1e-5, 1e16, 1e300, -0.5, 5e-324]).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    let inner = scalar.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-z]{1,3}|yes|1\\.0", inner, 1..4)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

/// A value as TOML.
fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_of).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), toml_of(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => quoted(text),
        Value::Number(number) if number.is_f64() => format!("{:?}", number.as_f64().unwrap()),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let letters = text.chars().map(|c| format!("\\U{:08x}", u32::from(c)));
    format!("\"{}\"", letters.collect::<String>())
}

#[test]
fn what_is_written_is_read_back_by_others() {
    let mut python = Command::new("python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 reads what is written");
    let mut questions = python.stdin.take().unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut expected = Vec::new();
    let mut asked = String::new();
    for _ in 0..200 {
        let tree = value().new_tree(&mut runner).unwrap();
        let value = tree.current();
        // A reference in a text has a meaning of its own.
        if value.to_string().contains("${") {
            continue;
        }
        for kind in ["json", "toml", "yaml"] {
            let text = written(&format!("p.{kind}"), &toml_of(&value));
            asked += &format!("{}\n", serde_json::json!([kind, text]));
            expected.push((kind, text, value.clone()));
        }
    }
    let writer = std::thread::spawn(move || questions.write_all(asked.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), expected.len());
    let mut read = 0;
    for (answer, (kind, text, value)) in answers.into_iter().zip(expected) {
        // No reader of this kind is there.
        if answer.is_null() {
            continue;
        }
        read += 1;
        assert_eq!(answer, value, "{kind}:\n{text}");
    }
    assert!(read > 100, "only {read} were read");
}
