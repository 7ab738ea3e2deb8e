//! Random texts in all options that are laid over a workflow: never a panic, and what is wrong with a text is shown in it.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;
use std::path::Path;

use flow_plan::plan;
use flow_plan::plan::kinds::Catalogue;
use flow_plan::workflow::{self, Loaded, Overrides, Report};
use proptest::prelude::*;

const WORKFLOW: &str = r#"[params]
x = 1
ep = { min = 1, max = 2 }
words = ["a", "b"]
[stages.one]
run = "echo ${x} ${ep} ${matrix.w} > ${outputs.o}"
outputs = { o = "${matrix.w}.txt" }
matrix = { w = "${words}" }
[stages.two]
run = "cat ${inputs.all} > ${outputs.o}"
inputs = { all = { collect = "one.o" } }
outputs = { o = "o" }
[stages.three]
uses = "nothing"
with = { epochs = "${ep}", keep = 0.5 }
[variants.v.w]
params.x = 2
"#;

const NAMES: &[&str] = &[
    "x",
    "ep",
    "ep.max",
    "ep.max.more",
    "params.x",
    "words",
    "v",
    "variants.v",
    "seed",
    "stages",
    "stages.",
    "stages.one",
    "stages.three.uses",
    "stages.three.with.epochs.max",
    "stages.three.with.keep",
    "stages.three.with.keep.more",
    "stages.three.with.new.more",
    "stages.one.with.a",
    "nothing",
    "",
];

const VALUES: &[&str] = &[
    "nan",
    "-inf",
    "1e400",
    "9223372036854775808",
    "0x7fffffffffffffff",
    "0xffffffffffffffff",
    "1_000.5",
    "1979-05-27",
    "07:32:00",
    "[1,nan]",
    "{a=1e999}",
    "{a={b=[1979-05-27]}}",
    "{a=1,a=2}",
    "[1,2",
    "\"a",
    "'''",
    "\"\"\"a\nb\"\"\"",
    "\"\\u{1F600}\"",
    "\"\\q\"",
    "1",
    "2",
    "3",
    "0.5",
    "true",
    "w",
    "base",
    "a",
    "${x}",
    "${",
    "$${",
    "ü",
    "\u{301}",
    "\u{feff}",
    "\u{202e}",
    "\t",
    "\r\n",
    "\u{1b}[31m",
    "\0",
    " ",
    "#",
    "=",
    ",",
    ".",
    "]",
    "}",
    "",
];

fn value() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(prop::sample::select(VALUES), 0..4);
    prop_oneof![
        40 => words.prop_map(|words| words.concat()),
        10 => any::<String>(),
        1 => prop::sample::select(&['1', '[', '{', '"', ',', 'ü'][..])
            .prop_map(|c| c.to_string().repeat(5000)),
    ]
}

fn assignment() -> impl Strategy<Value = String> {
    let named = (prop::sample::select(NAMES), value()).prop_map(|(name, value)| {
        if name.is_empty() {
            value
        } else {
            format!("{name}={value}")
        }
    });
    prop_oneof![9 => named, 1 => any::<String>()]
}

fn overrides() -> impl Strategy<Value = (Overrides, Option<String>)> {
    let several = || prop::collection::vec(assignment(), 0..3);
    let seeds = prop::option::weighted(0.3, value());
    let params = prop::option::weighted(0.3, assignment());
    (several(), several(), several(), several(), seeds, params).prop_map(
        |(set, sweep, point, variants, seeds, params)| {
            let overrides = Overrides {
                params: None,
                variants,
                set,
                sweep,
                seeds,
                point,
            };
            (overrides, params)
        },
    )
}

/// What is wrong, as it is shown.
fn said(overrides: &Overrides, folder: &Path) -> String {
    let path = folder.join("w.toml");
    fs::write(&path, WORKFLOW).unwrap();
    match workflow::load(&path, overrides) {
        Err(report) => report.render(true) + &report.render(false),
        Ok(Loaded {
            workflow,
            sources,
            mut problems,
            ..
        }) => {
            plan::expand(&workflow, &Catalogue::default(), &mut problems);
            let report = Report::new(sources, problems);
            report.render(true);
            report.render(false)
        }
    }
}

/// Every place in an option's text lies in one that was given.
fn places_are_in_what_was_given(said: &str, overrides: &Overrides) {
    let seeds: Vec<String> = overrides.seeds.iter().cloned().collect();
    let given = [
        ("--set", &overrides.set),
        ("--sweep", &overrides.sweep),
        ("--point", &overrides.point),
        ("--variant", &overrides.variants),
        ("--seeds", &seeds),
    ];
    for line in said.lines() {
        let Some((_, place)) = line.split_once("--> --") else {
            continue;
        };
        let mut parts = place.rsplitn(3, ':');
        let column: usize = parts.next().unwrap().trim().parse().unwrap();
        let row: usize = parts.next().unwrap().parse().unwrap();
        let option = format!("--{}", parts.next().unwrap());
        let (_, texts) = given.iter().find(|(name, _)| *name == option).unwrap();
        let is_in = |text: &String| {
            let line = text.split('\n').nth(row - 1);
            line.is_some_and(|line| column <= line.chars().count() + 1)
        };
        assert!(texts.iter().any(is_in), "{line}\n{texts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_is_too_odd((mut overrides, params) in overrides()) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = params {
            let path = folder.path().join("params.toml");
            fs::write(&path, text).unwrap();
            overrides.params = Some(path);
        }
        let said = said(&overrides, folder.path());
        places_are_in_what_was_given(&said, &overrides);
    }
}

#[test]
fn what_a_file_may_not_hold_no_option_may() {
    let folder = tempfile::tempdir().unwrap();
    let digits = "1".repeat(5000);
    let cases = [
        ("nan", "a number that is not finite", 3..6),
        ("1e400", "a number that is not finite", 3..8),
        ("9223372036854775808", "an integer beyond 64 bits", 3..22),
        ("1979-05-27", "a date", 3..13),
        ("[1,nan]", "a number that is not finite", 6..9),
        ("{a=1e999}", "a number that is not finite", 6..11),
        (digits.as_str(), "an integer beyond 64 bits", 3..5003),
    ];
    for (value, what, place) in cases {
        let text = vec![format!("x={value}")];
        let set = Overrides {
            set: text.clone(),
            ..Overrides::default()
        };
        let sweep = Overrides {
            sweep: text,
            ..Overrides::default()
        };
        for (option, overrides) in [("--set", set), ("--sweep", sweep)] {
            let said = said(&overrides, folder.path());
            let column = place.start;
            let message = format!("error: {what} can't be used in a workflow\n");
            assert!(said.contains(&message), "{said}");
            assert!(
                said.contains(&format!("--> {option}:1:{column}\n")),
                "{said}"
            );
            let carets = format!(" {}\n", "^".repeat(place.len()));
            assert!(place.len() > 100 || said.contains(&carets), "{said}");
        }
    }
}
