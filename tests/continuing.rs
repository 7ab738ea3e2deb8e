//! A stage that only has to go on from what an earlier action made, by a plugin that counts.

use flow_tests::{Test, store};

/// `count` writes the numbers from 1 to `n`, and into the log where it began. `spoil` writes into what it goes on from.
const COUNT: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<END
{"protocol": 1, "plugin": "count", "version": "1", "kinds": [{"name": "count", "version": 1, "summary": "Counts",
"continues": ["/up/to", "/more"], "threads_parameter": "threads", "outputs": [{"name": "out", "type": "file"}], "parameters": {"type": "object",
"properties": {"up": {"type": "object", "properties": {"to": {"type": "integer"}}}, "more": {"type": "integer", "default": 0},
"word": {"type": "string", "default": ""}, "share": {"type": "number", "default": 0.1},
"spoil": {"type": "boolean", "default": false}, "threads": {"type": ["integer", "null"], "default": null}}}}]}
END
    exit
fi
read -r request
field() { printf %s "$request" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }
out=$(printf %s "$request" | sed -n 's/.*"outputs":{"out":"\([^"]*\)".*/\1/p')
earlier=$(printf %s "$request" | sed -n 's/.*"earlier":{"out":"\([^"]*\)".*/\1/p')
[ -n "$earlier" ] && cp "$earlier" "$out" && chmod u+w "$out" || : > "$out"
[ -n "$earlier" ] && [ "$(field spoil)" = true ] && cp -p "$earlier" kept && chmod u+w "$earlier" && echo spoilt > "$earlier" &&
    touch -r kept "$earlier"
begin=$(wc -l < "$out")
echo "{\"event\": \"log\", \"message\": \"began after $begin with $(field threads) thread(s)\"}"
i=$((begin + 1))
while [ $i -le $(($(field to) + $(field more))) ]; do echo $i >> "$out"; i=$((i + 1)); done
"#;

fn counting(with: &str) -> Test {
    Test::new()
        .executable("plugin", COUNT)
        .workflow(&workflow(with))
}

fn workflow(with: &str) -> String {
    format!("[plugins]\nmine = 'plugin'\n[stages.c]\nuses = 'count'\nwith = {{ {with} }}\n")
}

/// Runs; gives what the log says, and checks the output.
#[track_caller]
fn began(test: Test, with: &str, arguments: &str, count: usize) -> (Test, String) {
    let test = test
        .workflow(&workflow(with))
        .run(arguments)
        .ran("c")
        .check();
    let run = test.last().run.as_ref().unwrap()["run"]
        .as_str()
        .unwrap()
        .to_string();
    let log = test.read(&format!(".flow/runs/{run}/logs/c.log"));
    let out = String::from_utf8(test.output("c", "out")).unwrap();
    let expected: String = (1..=count).map(|i| format!("{i}\n")).collect();
    assert_eq!(out, expected);
    let began = log
        .lines()
        .find_map(|line| line.strip_prefix("began after "))
        .unwrap();
    (test, began.split(' ').next().unwrap().to_string())
}

#[test]
fn a_longer_one_goes_on_from_the_longest_shorter_one() {
    let (test, after) = began(counting(""), "up = { to = 3 }", "", 3);
    assert_eq!(after, "0");
    let (test, after) = began(test, "up = { to = 9 }", "", 9);
    assert_eq!(after, "3");
    // Not from 9, which is longer.
    let (test, after) = began(test, "up = { to = 7 }", "", 7);
    assert_eq!(after, "3");
    let (test, after) = began(test, "up = { to = 10 }", "", 10);
    assert_eq!(after, "9");
    // The second pointer counts where the first is equal.
    let (test, after) = began(test, "up = { to = 10 }, more = 4", "", 14);
    assert_eq!(after, "10");
    // By force it begins anew.
    let (test, after) = began(test, "up = { to = 10 }, more = 4", "--force c", 14);
    assert_eq!(after, "0");
    store::assert_sound(&test.path(".flow"));
}

#[test]
fn it_says_so_and_notes_it() {
    let test = counting("up = { to = 3 }, share = 0.30000000000000004")
        .run("")
        .ran("c")
        .check();
    let key = test.last().stages["c"].key.clone().unwrap();
    let test = test
        .workflow(&workflow("up = { to = 5 }, share = 0.30000000000000004"))
        .flow("run flow.toml")
        .stderr("continues c, from up.to = 3\nran       c TIME\nrun RUN: 1 ran, 0 cached, TIME\n")
        .check()
        .run("")
        .cached("c")
        .check();
    let longer = test.last().stages["c"].key.clone().unwrap();
    let record = store::content(&test.path(".flow"), &longer);
    assert_eq!(record["provenance"]["continues"], key.as_str());
}

#[test]
fn what_differs_in_anything_else_is_no_beginning() {
    let (test, _) = began(
        counting(""),
        "up = { to = 3 }, more = 2, threads = 1",
        "",
        5,
    );
    for with in [
        "up = { to = 6 }, more = 2, word = 'x', threads = 1",
        "up = { to = 6 }, more = 2, share = 0.2, threads = 1",
        "up = { to = 6 }, more = 2, threads = 2",
        "up = { to = 6 }, more = 1, threads = 1",
    ] {
        let count = if with.contains("more = 1") { 7 } else { 8 };
        let (next, after) = began(test.beside(), with, "", count);
        assert_eq!(after, "0", "{with}");
        drop(next);
    }
}

#[test]
fn what_it_went_on_from_may_only_be_read() {
    let test = counting("").always("FLOW_ISOLATION", "off");
    let (test, _) = began(test, "up = { to = 3 }", "", 3);
    let test = test
        .workflow(&workflow("up = { to = 5 }, spoil = true"))
        .run("")
        .ran("c")
        .check();
    // `spoil` is a parameter too: the first of its kind had nothing to spoil.
    let test = test
        .workflow(&workflow("up = { to = 6 }, spoil = true"))
        .run("")
        .status(1)
        .stages("failed", "c")
        .check();
    let (message, _) = test.last().stages["c"].failure.clone().unwrap();
    assert!(
        message.contains("what it went on from changed while it ran"),
        "{message}"
    );
    // What was spoilt counts no longer, and is no beginning.
    test.workflow(&workflow("up = { to = 8 }, spoil = true"))
        .run("")
        .ran("c")
        .check();
}

#[test]
fn pinned_threads_are_what_the_stage_gets() {
    for threads in [1, 3] {
        let test = counting(&format!("up = {{ to = 1 }}, threads = {threads}"))
            .run("")
            .ran("c")
            .check();
        let key = test.last().stages["c"].key.clone().unwrap();
        let record = store::content(&test.path(".flow"), &key);
        assert_eq!(record["provenance"]["threads"], threads);
    }
}

/// A name alone says nothing: a kind has to declare which parameter pins its threads.
#[test]
fn a_parameter_called_threads_is_like_any_other() {
    let undeclared = COUNT.replace(r#""threads_parameter": "threads", "#, "");
    assert_ne!(undeclared, COUNT);
    let test = Test::new()
        .executable("plugin", &undeclared)
        .workflow(&workflow("up = { to = 1 }, threads = 3"))
        .run("")
        .ran("c")
        .check();
    let key = test.last().stages["c"].key.clone().unwrap();
    let record = store::content(&test.path(".flow"), &key);
    assert_eq!(record["provenance"]["threads"], 1);
}
