//! Values and names on the command line and in flow's environment: one reader, and no text too odd for it. What is laid over the
//! file is tested without processes as well (`engine/plan/tests/arguments.rs`).

use flow_tests::Test;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const WORKFLOW: &str = r#"[params]
n = 1
ep = { min = 1, max = 2 }
[stages.s]
run = "echo ${n} ${ep} ${matrix.w} > ${outputs.o}; echo '{\"f\": 1, \"groups\": {\"a\": {\"f\": 2}}}' > ${outputs.metrics}"
outputs = { o = "o.txt", metrics = "metrics.json" }
matrix = { w = ["a", 1] }
"#;

/// A call with a place for a text: an option or an argument, or a variable.
const CALLS: &[&str] = &[
    "run flow.toml --set TEXT",
    "run flow.toml --set n=TEXT --dry-run",
    "status flow.toml --set ep.max=TEXT",
    "run flow.toml --sweep TEXT --dry-run",
    "table flow.toml --sweep n=TEXT",
    "status flow.toml --sweep n=1,2 --point TEXT",
    "status flow.toml --seeds TEXT",
    "status flow.toml --variant TEXT",
    "status flow.toml --params TEXT",
    "table flow.toml --metric TEXT",
    "table flow.toml --metric s[w=TEXT].f",
    "table flow.toml --by TEXT",
    "table flow.toml --cell TEXT",
    "run flow.toml --until TEXT",
    "run flow.toml --only TEXT",
    "run flow.toml --force TEXT --dry-run",
    "run flow.toml --check TEXT",
    "run flow.toml --check 1 --threads TEXT --only s",
    "run flow.toml --jobs TEXT --dry-run",
    "run flow.toml --verify TEXT --dry-run",
    "run flow.toml --store TEXT --dry-run",
    "why flow.toml TEXT",
    "get flow.toml TEXT -o out",
    "show flow.toml TEXT",
    "show TEXT",
    "compare TEXT flow.toml",
    "compare flow.toml[TEXT] flow.toml",
    "export flow.toml TEXT --ro-crate crate",
    "report flow.toml TEXT -o report.html",
    "stages TEXT",
    "graph flow.toml --format TEXT",
    "cache gc flow.toml --max-size TEXT --dry-run",
    "cache gc flow.toml --max-age TEXT --dry-run",
    "cache pin flow.toml TEXT",
    "cache unpin flow.toml TEXT",
    "FLOW_STORE status flow.toml",
    "FLOW_VERIFY run flow.toml --dry-run",
    "FLOW_PLUGIN_PATH check flow.toml",
];

const WORDS: &[&str] = &[
    "nan",
    "1e400",
    "9223372036854775808",
    "1979-05-27",
    "-1",
    "0",
    "1",
    "3",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "=",
    ",",
    ".",
    "s",
    "s[w=a]",
    "s[w=1].o",
    "w=a",
    "n",
    "n=1",
    "ep.max",
    "metrics",
    "f",
    "groups",
    "${n}",
    "${",
    "/",
    "..",
    "flow.toml",
    "ü",
    "\u{301}",
    "\u{202e}",
    "\n",
    "\t",
    "\u{1b}[31m",
    " ",
    "#",
    "-",
    "--",
    "0123456789abcdef",
    "20261124-093000-1f3a",
    "GB",
    "d",
    "size",
];

fn text() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(prop::sample::select(WORDS), 0..5);
    prop_oneof![
        6 => words.prop_map(|words| words.concat()),
        1 => "[^\\x00]{0,20}",
        1 => prop::sample::select(&["1", "[", "s[", "n=", ","][..]).prop_map(|word| word.repeat(3000)),
    ]
}

#[test]
fn no_text_is_too_odd() {
    let config = Config {
        cases: 250,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let call = prop::sample::select(CALLS);
    let outcome = runner.run(&(call, text()), |(call, text)| {
        let mut test = Test::new()
            .workflow(WORKFLOW)
            .file("20261124-093000-1f3a", "x");
        let mut words = call.split(' ').peekable();
        if let Some(name) = words.next_if(|word| word.starts_with("FLOW_")) {
            test = test.env(name, &text);
        }
        for word in words {
            test = test.arg(word.replace("TEXT", &text));
        }
        let test = test.anyhow().check();
        let last = test.last();
        let said = format!("{call}\n{text:?}\n{}{}", last.stdout, last.stderr);
        let documented = matches!(last.status, Some(0..=2));
        prop_assert!(documented, "{:?}: {said}", last.status);
        prop_assert!(!said.contains("panicked"), "{said}");
        let silent = last.stderr.trim().is_empty() && last.stdout.trim().is_empty();
        prop_assert!(last.status == Some(0) || !silent, "{said}");
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn what_set_refuses_sweep_refuses() {
    let test = Test::new().workflow(WORKFLOW);
    let test = test
        .run("--set n=nan")
        .status(2)
        .stderr(
            "error: a number that is not finite can't be used in a workflow\n --> --set:1:3\n  |\n1 | n=nan\n  |   ^^^\n  |\n  \
             = help: in quotes it is a string, which can be used",
        )
        .check();
    let test = test
        .run("--sweep n=2,nan")
        .status(2)
        .stderr_has(" --> --sweep:1:5\n  |\n1 | n=2,nan\n  |     ^^^\n")
        .check();
    let test = test
        .run("--sweep n=")
        .status(2)
        .stderr_has("error: the axis `n` has no values\n --> --sweep:1:1\n")
        .check();
    let test = test
        .run("--sweep n=1,,2")
        .status(2)
        .stderr_has("error: there is no value\n --> --sweep:1:5\n")
        .check();
    let test = test
        .run("--set n=")
        .status(2)
        .stderr_has("error: there is no value\n --> --set:1:1\n")
        .check();
    assert!(!test.has(".flow"));
    // In quotes they are strings, for both.
    let test = test
        .edit("\nn = 1", "\nn = 'x'")
        .run("--dry-run")
        .arg("--sweep")
        .arg("n=\"nan\",\"a,b\"")
        .anyhow()
        .check();
    let labels: Vec<&String> = test.last().stages.keys().collect();
    assert_eq!(
        labels,
        [
            "s[n=a,b,w=1]",
            "s[n=a,b,w=a]",
            "s[n=nan,w=1]",
            "s[n=nan,w=a]"
        ]
    );
}

#[test]
fn one_seed_is_named_in_a_list() {
    let test = Test::new().workflow(WORKFLOW);
    let test = test.run("--seeds 12345").status(2).stderr(
        "error: `seeds` has to lie between 1 and 1000, and is 12345\n --> --seeds:1:1\n  |\n1 | 12345\n  \
         | ^^^^^\n  |\n  = help: a list names seeds: `seeds = [12345]`, on the command line --seeds '[12345]'",
    );
    test.check()
        .run("--seeds [12345]")
        .ran("s[w=1] s[w=a]")
        .check();
}

#[test]
fn an_empty_value_takes_a_parameter_away() {
    let data = "[stages.data]\nuses = 'digits'\nwith = { limit = 20, parity = { odd = 'yes' } }\n";
    let data = data.replace(", parity = { odd = 'yes' }", "");
    let test = Test::new().workflow(&data).run("").ran("data").check();
    let with = test.last().stages["data"].key.clone();
    let test = test
        .run("--set stages.data.with.limit=")
        .ran("data")
        .check();
    assert_ne!(test.last().stages["data"].key, with);
    let without = test.last().stages["data"].key.clone();
    let test = test
        .edit("with = { limit = 20 }", "")
        .run("")
        .cached("data")
        .check();
    assert_eq!(test.last().stages["data"].key, without);
    test.run("--set stages.data.with.limit=")
        .status(2)
        .stderr_has("error: `stages.data.with.limit` has no value that could be taken away\n --> --set:1:1\n")
        .check();
}

const TABLES: &str = r#"[params]
ep = { min = 1, max = 2 }
keep = 0.5
[stages.s]
uses = "train"
with = { epochs = "${ep}", lr = "${keep}" }
[stages.show]
run = "echo ${ep.min} ${keep} > ${outputs.o}"
outputs = { o = "o" }
"#;

#[test]
fn what_is_set_in_a_reference_is_laid_over_what_it_stands_for() {
    // `train` reads data: what its parameters are is said by the error about one of them.
    let wrong = |arguments: &str, said: &str| {
        let test = Test::new().workflow(TABLES);
        test.run(arguments).status(2).stderr_has(said).check();
    };
    wrong(
        "--set stages.s.with.epochs.max=-3",
        "parameter `epochs.max` of `train`: it takes integer 1",
    );
    // The rest of the table is still the param's, in whatever order things are set.
    wrong(
        "--set stages.s.with.epochs.max=3 --set ep.min=-7",
        "parameter `epochs.min` of `train`: it takes integer 1",
    );
    wrong(
        "--set stages.s.with.lr.more=3",
        "error: `stages.s.with.lr` is the string \"${keep}\", so nothing in it can be set\n --> --set:1:1\n",
    );
    wrong(
        "--set keep.more=3",
        "error: `keep` is a float, so nothing in it can be set\n --> --set:1:1\n",
    );
}

#[test]
fn a_file_of_params_may_have_the_header_and_names_what_there_is() {
    let text = "[params]\nn = 1\nt = { a = 1 }\n[stages.s]\nrun = 'echo ${n} ${t.a} > ${outputs.o}'\noutputs = { o = 'o' }\n";
    let test = Test::new()
        .workflow(text)
        .file("p.toml", "[params]\nn = 5\nt.a = 6\n")
        .run("--params p.toml")
        .ran("s")
        .check();
    assert_eq!(test.output("s", "o"), b"5 6\n");
    let test = test
        .file("p.toml", "n = 5\nm = 6\n")
        .run("--params p.toml")
        .status(2)
        .stderr_has("error: there is no param `m`\n --> p.toml:2:1\n")
        .check();
    let test = test
        .file("p.toml", "t = { b = 6 }\n")
        .run("--params p.toml")
        .status(2)
        .stderr_has("error: there is no param `t.b`\n --> p.toml:1:7\n")
        .check();
    test.file("p.toml", "[params]\nn = 5\n[stages.s]\nrun = 'x'\n")
        .run("--params p.toml")
        .status(2)
        .stderr_has("error: unknown key `stages` in a file of params\n --> p.toml:3:2\n")
        .check();
}
