//! Commands that show, begin and look after: `check`, `why`, `graph`, `stages`, `schema`, `new`, `cache`.

use flow_tests::Test;

const TWO: &str = r#"
[params]
word = "x"

[stages.a]
run = "echo ${word} > ${outputs.o}"
outputs = { o = "o.txt" }

[stages.b]
run = "cat ${inputs.a} > ${outputs.o}"
inputs = { a = "a" }
outputs = { o = "o.txt" }
"#;

#[test]
fn check_runs_nothing() {
    let test = Test::new()
        .workflow(TWO)
        .flow("check flow.toml")
        .stdout_has("2")
        .check();
    assert!(!test.has(".flow"));
    test.workflow(&TWO.replace("\"a\" }", "\"aa\" }"))
        .flow("check flow.toml")
        .status(2)
        .stderr_has("did you mean `a`?")
        .check();
}

#[test]
fn why_names_what_changed() {
    let test = Test::new().workflow(TWO).run("").ran("a b").check();
    let test = test
        .flow("why flow.toml a")
        .stdout_has("a: up to date")
        .check();
    test.edit("word = \"x\"", "word = \"y\"")
        .flow("why flow.toml a")
        .stdout_has("\"x\"")
        .stdout_has("\"y\"")
        .check()
        .flow("why flow.toml b")
        .stdout_has("a will run: ")
        .check()
        .flow("why flow.toml c")
        .status(2)
        .stderr_has("there is a, b")
        .check();
}

#[test]
fn the_graph_is_drawn() {
    let test = Test::new().workflow(TWO);
    let test = test.flow("graph flow.toml").stdout_has("a").check();
    let test = test
        .flow("graph flow.toml --format svg")
        .stdout_has("<svg")
        .check();
    assert!(test.last().stdout.trim_end().ends_with("</svg>"));
    test.flow("graph flow.toml --format mermaid")
        .stdout_has("-->")
        .check();
}

#[test]
fn stage_kinds_have_pages() {
    Test::new()
        .flow("stages")
        .stdout_has("digits")
        .stdout_has("hdbscan")
        .check()
        .flow("stages hdbscan")
        .stdout_has("min_cluster_size")
        .stdout_has("embedding")
        .check()
        .flow("stages hdbscn")
        .status(2)
        .stderr_has("error: there is no stage kind `hdbscn`; did you mean `hdbscan`?")
        .check();
}

#[test]
fn a_new_workflow_is_right_and_runs() {
    let test = Test::new()
        .flow("new -o flow.toml")
        .stdout_has("flow.toml")
        .check();
    let test = test.run("").stdout_has("\"status\":\"ok\"").check();
    // What is there is not written over.
    let before = test.read("flow.toml");
    let test = test
        .flow("new -o flow.toml")
        .status(2)
        .stderr_has("flow.toml")
        .check();
    assert_eq!(test.read("flow.toml"), before);
    let test = test
        .flow("new digits -o digits.toml")
        .stdout_has("digits.toml")
        .check();
    test.flow("check digits.toml").stdout_has("16").check();
}

#[test]
fn gc_leaves_what_is_pinned() {
    let test = Test::new().workflow(TWO).run("").ran("a b").check();
    let gc = "cache gc flow.toml --max-size 0B";
    test.flow("cache pin flow.toml paper")
        .stdout("pinned 2 of 2 result(s) as `paper`")
        .check()
        .flow(gc)
        .stdout_has("with 2 result(s) pinned")
        .check()
        .run("")
        .cached("a b")
        .check()
        .flow("cache unpin flow.toml paper")
        .stdout("`paper` is no longer pinned")
        .check()
        .flow(&format!("{gc} --dry-run"))
        .stdout_has("would free")
        .check()
        .run("")
        .cached("a b")
        .check()
        .flow(gc)
        .stdout_has("freed")
        .check()
        .run("")
        .ran("a b")
        .check();
}
