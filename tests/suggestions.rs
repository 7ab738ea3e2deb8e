//! Commands that flow suggests: each repeats what the call was given, so that whoever obeys gets on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use flow_tests::{Test, binaries};
use regex::Regex;

const WORKFLOW: &str = r#"[params]
n = "one"
keep = 0.5
[stages.a]
run = "echo ${n} ${keep} > ${outputs.o}"
outputs = { o = "o.txt" }
[stages.b]
run = "cat ${inputs.a} > ${outputs.o}"
inputs = { a = "a" }
outputs = { o = "o.txt" }
[variants.way.other]
stages.b = { run = "tac ${inputs.a} > ${outputs.o}" }
"#;

/// All that a call can be given, with names that a shell would take apart.
const GIVEN: &[&str] = &[
    "--params",
    "my params.toml",
    "--variant",
    "way=other",
    "--set",
    "n='two words'",
    "--sweep",
    "keep=0.1,0.2",
    "--seeds",
    "[7,8]",
    "--point",
    "keep=0.2",
    "--store",
    "a store",
];

fn project() -> Test {
    Test::new()
        .file("my flow.toml", WORKFLOW)
        .file("my params.toml", "keep = 0.7\n")
}

fn call(test: Test, words: &[&str]) -> Test {
    words.iter().fold(test, |test, word| test.arg(*word))
}

/// Obeys a suggested command, as a shell reads it.
#[track_caller]
fn obey(test: &Test, command: &str) {
    let arguments = command.strip_prefix("flow ").unwrap();
    let line = format!("'{}' {arguments}", binaries::find("flow").display());
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(test.path(""))
        .env("XDG_CACHE_HOME", binaries::cache_folder())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}\n{said}");
}

/// Says what is wrong, suggests a command, and is content once that was obeyed.
#[track_caller]
fn helps(words: &[&str], before: &str) {
    let test = call(call(project(), words), GIVEN).anyhow().check();
    let said = test.last().stderr.clone();
    assert_ne!(test.last().status, Some(0), "{said}");
    let (_, command) = said.split_once(before).unwrap_or_else(|| panic!("{said}"));
    for word in [
        "my params.toml",
        "way=other",
        "two words",
        "0.1,0.2",
        "[7,8]",
        "keep=0.2",
        "a store",
    ] {
        assert!(command.contains(word), "`{word}` in {command}");
    }
    obey(&test, command.trim());
    let test = call(call(test, words), GIVEN).anyhow().check();
    let said = &test.last().stderr;
    assert_eq!(test.last().status, Some(0), "after {command}\n{said}");
}

#[test]
fn get_says_how_a_result_is_made() {
    helps(&["get", "my flow.toml", "b", "-o", "out"], "first: ");
    helps(
        &["get", "my flow.toml", "a[keep=0.2].o", "-o", "out"],
        "first: ",
    );
}

#[test]
fn show_says_how_a_result_is_made() {
    helps(&["show", "my flow.toml", "b"], "first: ");
}

#[test]
fn only_says_how_what_it_reads_is_made() {
    helps(&["run", "my flow.toml", "--only", "b"], "first: ");
}

#[test]
fn check_says_how_what_it_compares_with_is_made() {
    helps(&["run", "my flow.toml", "--check", "1"], "first: ");
}

#[test]
fn show_says_where_the_stages_are_listed() {
    let words = ["show", "my flow.toml", "nothing"];
    // There has to be a store to look into.
    let test = call(project().flow("run").arg("my flow.toml"), GIVEN)
        .anyhow()
        .check();
    let test = call(call(test, &words), GIVEN).anyhow().check();
    let said = test.last().stderr.clone();
    let (_, rest) = said
        .split_once("digits; `")
        .unwrap_or_else(|| panic!("{said}"));
    let (command, _) = rest.split_once("` lists the stages").unwrap();
    assert!(
        command.contains("way=other") && command.contains("'a store'"),
        "{command}"
    );
    obey(&test, command);
}

#[test]
fn a_workflow_that_is_shown_is_asked_for_its_stage() {
    let test = call(project().flow("run").arg("my flow.toml"), GIVEN)
        .anyhow()
        .check();
    // With `--params` it would be asked where its values come from.
    let test = call(test.flow("show").arg("my flow.toml"), &GIVEN[2..])
        .anyhow()
        .check();
    let said = test.last().stderr.clone();
    let (_, command) = said
        .split_once("name its stage: ")
        .unwrap_or_else(|| panic!("{said}"));
    assert!(command.contains("'a store'"), "{command}");
    obey(&test, &command.trim().replace("STAGE", "b"));
}

#[test]
fn runs_are_listed_where_they_were_looked_for() {
    let run = "20261124-093000-1f3a";
    let named = Regex::new("`(flow runs[^`]*)`").unwrap();
    let test = project()
        .flow("run")
        .arg("my flow.toml")
        .arg("--store")
        .arg("a store");
    let test = test.anyhow().check();
    for words in [
        &["show", run][..],
        &["report", "my flow.toml", run],
        &["export", run, "--ro-crate", "crate"],
        &["compare", run, "my flow.toml"],
        &["cache", "pin", "my flow.toml", "paper", "--run", run],
        &["compare", "nothing", "my flow.toml"],
    ] {
        let test = call(test.beside(), words)
            .arg("--store")
            .arg("a store")
            .anyhow()
            .check();
        let said = test.last().stderr.clone();
        let found = named.captures(&said);
        let command = found.unwrap_or_else(|| panic!("{words:?}\n{said}"))[1].to_string();
        let command = command.replace("DIR", &test.path("").display().to_string());
        assert!(command.contains("a store"), "{words:?}: {command}");
        obey(&test, &command);
    }
    // The variable is as good as the option, for whoever obeys as well.
    let by_variable = test
        .beside()
        .flow("show")
        .arg(run)
        .env("FLOW_STORE", "a store");
    by_variable
        .status(2)
        .stderr_has("; `flow runs` lists them")
        .check();
}

#[test]
fn the_next_command_after_new_can_be_obeyed() {
    let test = Test::new()
        .flow("new programs -o")
        .arg("my flow.toml")
        .anyhow()
        .check();
    let said = test.last().stdout.clone();
    let (_, command) = said.split_once("next: ").unwrap();
    assert_eq!(command.trim(), "flow run 'my flow.toml'");
    obey(&test, command.trim());
}

/// Where a command is named outside `engine/src/suggestion.rs`: as such, or as an example of its form. Whoever suggests one to be
/// obeyed uses that file, and gets a test above.
const NAMED: &[(&str, &str)] = &[
    ("plan/src/workflow/problem.rs", "flow stages"),
    ("report/src/budget.rs", "flow get"),
    ("report/src/details.rs", "flow show"),
    ("report/src/page.rs", "flow report"),
    ("report/src/server.rs", "flow ui"),
    ("src/commands/cache.rs", "flow cache"),
    ("src/commands/compare.rs", "flow compare"),
    ("src/commands/plugin_new.rs", "flow run"),
    ("src/commands/stages.rs", "flow stages"),
    ("src/dvc/mod.rs", "flow get"),
    ("src/dvc/mod.rs", "flow new"),
    ("src/dvc/stages.rs", "flow run"),
    ("src/main.rs", "flow"),
    ("src/view/schema.rs", "flow stages"),
];

#[test]
fn no_message_suggests_a_command_by_itself() {
    let commands =
        "cache|check|compare|export|get|graph|new|report|run|runs|show|stages|status|table|ui|why";
    let pattern = Regex::new(&format!(r"\bflow ({commands})\b")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine");
    let mut found = BTreeSet::new();
    for path in flow_tests::store::files(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        if !name.ends_with(".rs") || name.contains("tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for named in lines.flat_map(|line| pattern.find_iter(line)) {
            found.insert((name.clone(), named.as_str().to_string()));
        }
    }
    let is_known = |(file, command): &&(String, String)| {
        NAMED
            .iter()
            .any(|(known, named)| file == known && command.starts_with(named))
    };
    let unknown: Vec<_> = found.iter().filter(|found| !is_known(found)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
