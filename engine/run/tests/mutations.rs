//! The parser and the planner over mutated workflows: never a panic, never a hang, and every report can be rendered.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use flow_plan::plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::{self, Loaded, Overrides, Problem, Problems, Report};
use flow_run::plugin;
use flow_tests::binaries;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const PROGRAMS: &str = r#"include = []
[workflow]
name = "x"
seed = 7
[params]
a = { b = [1, 2.5, "ü"] }
keep = 0.9
[stages.one]
run = ["cp", "${inputs.i}", "${outputs.o}", "${a.b}", "$${x}"]
inputs = { i = { path = "*.csv" } }
outputs = { o = "o.txt", d = "dir/" }
matrix = { x = [1, "z"], y = [true] }
timeout = "2h 30m"
retries = 2
env = ["HOME"]
resources = { cpus = 2 }
[stages.two]
run = "cat ${inputs.all} ${inputs.last} > ${outputs.o} # ${matrix.k} ${keep}"
inputs = { all = { collect = "one.o" }, last = "one[x=1].o" }
outputs = { o = "o" }
matrix = { k = [1] }
[variants.v.w]
params.keep = 1
stages.two = { matrix = { k = [3] } }
"#;

/// Words that a mutation may put anywhere.
const WORDS: &[&str] = &[
    "${",
    "}",
    "$${",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\"",
    "\"\"\"",
    "'",
    "\n",
    "#",
    "ü",
    "\u{202e}",
    "\0",
    "[stages.two]",
    "include = [\"w.toml\"]",
    "uses = \"x\"",
    "run = []",
    "matrix = { x = [] }",
    "collect",
    "path",
    "one[x=1]",
    "-1",
    "1e999",
    "99999999999999999999",
    "1979-05-27",
    "true",
    "inf",
    "base",
];

#[derive(Debug, Clone)]
enum Mutation {
    Delete(prop::sample::Index, usize),
    Insert(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1usize..12).prop_map(|(at, count)| Mutation::Delete(at, count)),
        (index(), 0..WORDS.len()).prop_map(|(at, word)| Mutation::Insert(at, word)),
        (index(), index(), 1usize..60)
            .prop_map(|(from, to, count)| Mutation::Copy(from, to, count)),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for mutation in mutations {
        let length = chars.len() + 1;
        match mutation {
            Mutation::Delete(at, count) => {
                let at = at.index(length);
                let end = (at + count).min(chars.len());
                chars.drain(at..end);
            }
            Mutation::Insert(at, word) => {
                let at = at.index(length);
                chars.splice(at..at, WORDS[*word].chars());
            }
            Mutation::Copy(from, to, count) => {
                let from = from.index(length);
                let part = chars[from..(from + count).min(chars.len())].to_vec();
                let to = to.index(length);
                chars.splice(to..to, part);
            }
        }
    }
    chars.into_iter().collect()
}

fn shipped_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows")
}

/// Every workflow that is shipped: its path below `workflows/`, and its text.
static SHIPPED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let mut found = Vec::new();
    for folder in ["", "ablations/"] {
        for entry in fs::read_dir(shipped_folder().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".toml") {
                let path = format!("{folder}{name}");
                let text = fs::read_to_string(shipped_folder().join(&path)).unwrap();
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert_eq!(found.len(), 19);
    found
});

/// What the built plugins describe. A workflow names them here, since they don't lie beside a test.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut text = "[workflow]\nname = 'x'\n[plugins]\n".to_string();
    for (n, plugin) in binaries::plugins().iter().enumerate() {
        writeln!(text, "p{n} = '{}'", plugin.display()).unwrap();
    }
    text += "[stages.a]\nrun = 'true'\noutputs = { o = 'o' }\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, text).unwrap();
    let loaded = workflow::load(&path, &Overrides::default());
    let loaded = loaded.map_err(|report| report.render(false)).unwrap();
    let mut problems = Problems::default();
    let catalogue = plugin::find(Some(&loaded.workflow), &mut problems);
    assert!(problems.is_empty());
    for kind in ["digits", "umap", "train"] {
        assert!(
            catalogue.get(kind).is_some(),
            "no kind `{kind}`; first: cargo build --workspace"
        );
    }
    catalogue
});

/// What became of a text.
struct Read {
    /// What was wrong with it.
    report: Option<Report>,
    /// How many instances were planned.
    planned: usize,
}

/// Loads and plans a text as the workflow at `place` below `workflows/`.
fn read(place: &str, text: &str, overrides: &Overrides) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Which others include.
    for (name, text) in SHIPPED.iter().filter(|(name, _)| !name.contains('/')) {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::write(&path, text).unwrap();
    let Loaded {
        workflow,
        sources,
        mut problems,
        ..
    } = match workflow::load(&path, overrides) {
        Ok(loaded) => loaded,
        Err(report) => {
            return Read {
                report: Some(report),
                planned: 0,
            };
        }
    };
    let plan = plan::expand(&workflow, &CATALOGUE, &mut problems);
    assert!(plan.order.len() <= 1_000_000);
    Read {
        planned: plan.order.len(),
        report: (!problems.is_empty()).then(|| Report::new(sources, problems)),
    }
}

#[test]
fn nothing_panics() {
    let cases = (
        prop::option::of(0..SHIPPED.len()),
        prop::collection::vec(mutation(), 0..6),
        prop::option::of("[a-z.=${}\\[\\]0-9\"]{0,12}"),
        prop::option::of("[vw=base]{0,6}"),
    );
    let (planned, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    });
    let outcome = runner.run(&cases, |(shipped, mutations, set, variant)| {
        let (place, base) = match shipped {
            Some(n) => (SHIPPED[n].0.as_str(), SHIPPED[n].1.as_str()),
            None => ("w.toml", PROGRAMS),
        };
        let overrides = Overrides {
            params: None,
            set: set.into_iter().collect(),
            variants: variant.into_iter().collect(),
            ..Overrides::default()
        };
        let read = read(place, &mutate(base, &mutations), &overrides);
        if shipped.is_some() && read.planned > 0 {
            planned.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(report) = read.report {
            refused.fetch_add(1, Ordering::Relaxed);
            prop_assert!(!report.render(false).is_empty());
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Mutations that never got past the parser, or never hurt, would test little.
    let (planned, refused) = (planned.into_inner(), refused.into_inner());
    assert!(
        planned > 100,
        "{planned} of the shipped workflows were planned"
    );
    assert!(refused > 500, "{refused} were refused");
}

#[test]
fn the_unmutated_workflows_are_right() {
    let shipped = SHIPPED
        .iter()
        .map(|(place, text)| (place.as_str(), text.as_str()));
    for (place, text) in shipped.chain([("w.toml", PROGRAMS)]) {
        let read = read(place, text, &Overrides::default());
        let said = read.report.filter(Report::has_errors);
        assert!(said.is_none(), "{place}: {}", said.unwrap().render(false));
        assert!(read.planned > 1, "{place}");
    }
}

#[test]
fn a_product_of_more_than_a_million_instances_is_refused_with_its_arithmetic() {
    let axis: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let axis = axis.join(", ");
    let text = format!(
        "[stages.a]\nrun = \"true\"\noutputs = {{ o = \"o\" }}\nmatrix = {{ x = [{axis}], y = [{axis}], z = [{axis}] }}\n"
    );
    let report = read("w.toml", &text, &Overrides::default());
    let report = report.report.unwrap();
    let problem = report.problems().next().unwrap();
    assert!(
        matches!(problem, Problem::TooManyInstances { arithmetic, .. } if arithmetic == "200 × 200 × 200"),
        "{problem}"
    );
}
