//! The parser and the planner over mutated workflows: never a panic, never a hang, and every report can be rendered.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;

use flow_engine::plan;
use flow_engine::plugin::Catalogue;
use flow_engine::workflow::{self, Loaded, Overrides, Problem, Report};
use proptest::prelude::*;

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

/// Loads and plans; gives the report, rendered, where something is wrong.
fn read(text: &str, overrides: &Overrides) -> Option<Report> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.toml");
    fs::write(&path, text).unwrap();
    let Loaded {
        workflow,
        sources,
        mut problems,
    } = match workflow::load(&path, overrides) {
        Ok(loaded) => loaded,
        Err(report) => return Some(report),
    };
    let plan = plan::expand(&workflow, &Catalogue::default(), &mut problems);
    assert!(plan.order.len() <= 1_000_000);
    (!problems.is_empty()).then(|| Report::new(sources, problems))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics(
        shipped in any::<bool>(),
        mutations in prop::collection::vec(mutation(), 0..6),
        set in prop::option::of("[a-z.=${}\\[\\]0-9\"]{0,12}"),
        variant in prop::option::of("[vw=base]{0,6}"),
    ) {
        let base = if shipped { include_str!("../../workflows/quickstart.toml") } else { PROGRAMS };
        let overrides = Overrides {
            params: None,
            set: set.into_iter().collect(),
            variants: variant.into_iter().collect(),
            ..Overrides::default()
        };
        if let Some(report) = read(&mutate(base, &mutations), &overrides) {
            prop_assert!(!report.render(false).is_empty());
        }
    }
}

#[test]
fn the_unmutated_workflow_is_right() {
    assert!(read(PROGRAMS, &Overrides::default()).is_none_or(|report| !report.has_errors()));
}

#[test]
fn a_product_of_more_than_a_million_instances_is_refused_with_its_arithmetic() {
    let axis: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let axis = axis.join(", ");
    let text = format!(
        "[stages.a]\nrun = \"true\"\noutputs = {{ o = \"o\" }}\nmatrix = {{ x = [{axis}], y = [{axis}], z = [{axis}] }}\n"
    );
    let report = read(&text, &Overrides::default()).unwrap();
    let problem = report.problems().next().unwrap();
    assert!(
        matches!(problem, Problem::TooManyInstances { arithmetic, .. } if arithmetic == "200 × 200 × 200"),
        "{problem}"
    );
}
