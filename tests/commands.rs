//! Commands that show, begin and look after: `check`, `why`, `graph`, `stages`, `schema`, `new`, `cache`.

use std::fs;

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
fn get_links_to_the_store_and_tells_what_it_is() {
    let test = Test::new()
        .workflow(TWO)
        .run("")
        .ran("a b")
        .check()
        .flow("get flow.toml a --link --json -o there/a.txt")
        .stdout_has("there/a.txt")
        .check();
    let told: serde_json::Value = serde_json::from_str(&test.last().stdout).unwrap();
    let digest = told["digest"].as_str().unwrap();
    let blob = test.path(&format!(".flow/blobs/{}/{digest}", &digest[..2]));
    assert_eq!(fs::read_link(test.path("there/a.txt")).unwrap(), blob);
    assert_eq!(
        (&told["label"], &told["output"], &told["size"]),
        (&"a".into(), &"o".into(), &2.into())
    );
    // Content that is not what its name says is not handed out.
    let mut permissions = fs::metadata(&blob).unwrap().permissions();
    let before = fs::metadata(&blob).unwrap().modified().unwrap();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&blob, permissions.clone()).unwrap();
    fs::write(&blob, "y\n").unwrap();
    let file = fs::File::options().write(true).open(&blob).unwrap();
    file.set_modified(before).unwrap();
    permissions.set_readonly(true);
    fs::set_permissions(&blob, permissions).unwrap();
    test.flow("get flow.toml a --link -o there/b.txt")
        .status(1)
        .stderr_has(&digest[..12])
        .check();
}

#[test]
fn a_run_prints_all_that_it_tells_where_that_is_asked_for() {
    let test = Test::new()
        .workflow(TWO)
        .flow("run flow.toml --json --events")
        .stdout_has("start")
        .check();
    let events = |test: &Test| -> Vec<String> {
        let lines = test.last().stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].to_string()
            })
            .collect()
    };
    assert_eq!(
        events(&test),
        [
            "\"start\"",
            "\"execute\"",
            "\"stage\"",
            "\"execute\"",
            "\"stage\"",
            "\"run\""
        ]
    );
    test.flow("run flow.toml --events")
        .status(2)
        .stderr_has("--json")
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
        .stderr_has("there are a, b")
        .check();
}

/// `a` reads a file, `b` what `a` makes of it, `c` has two instances.
const CHAIN: &str = "[params]\nword = 'x'\n\
    [stages.a]\nrun = 'head -n 1 ${inputs.text} > ${outputs.o}'\ninputs = { text = { path = 'text.txt' } }\noutputs = { o = 'o' }\n\
    [stages.b]\nrun = 'cat ${inputs.a} > ${outputs.o}; echo ${word} >> ${outputs.o}'\ninputs = { a = 'a' }\noutputs = { o = 'o' }\n\
    [stages.c]\nrun = 'cat ${inputs.b} > ${outputs.o}; echo ${matrix.n} >> ${outputs.o}'\ninputs = { b = 'b' }\noutputs = { o = 'o' }\n\
    matrix = { n = [1, 2] }\n";

#[test]
fn status_names_the_first_reason_of_each_stage_and_collapses_instances() {
    let test = Test::new()
        .workflow(CHAIN)
        .file("text.txt", "one\ntwo\n")
        .flow("status flow.toml")
        .stdout(
            "will run  a     no earlier result\n\
             may run   b     once a has run, unless that gives the same bytes\n\
             may run   c ×2  once b has run, unless that gives the same bytes\n\n\
             0 up to date, 1 will run, 3 may run; how long that takes is not known yet",
        )
        .check()
        .run("")
        .ran("a b c[n=1] c[n=2]")
        .check()
        .flow("status flow.toml")
        .stdout_has("up to date  c ×2  took ")
        .stdout_has("4 up to date, 0 will run, 0 may run")
        .check();
    test.file("text.txt", "three\ntwo\n")
        .flow("status flow.toml --set word=y")
        .stdout_has("will run  a     its file `text.txt` changed\n")
        .stdout_has("0 up to date, 1 will run, 3 may run; about ")
        .check()
        .flow("status flow.toml --expand")
        .stdout_has("may run   c[n=1]  once b has run, unless that gives the same bytes\n")
        .check()
        .run("--until a")
        .ran("a")
        .check()
        .flow("status flow.toml --set word=y")
        .stdout_has("will run    b     value `word` \"x\" → \"y\", input `a` changed: `a` gives other bytes\n")
        .check();
}

#[test]
fn why_follows_the_causes_up_to_the_edit() {
    let test = Test::new()
        .workflow(CHAIN)
        .file("text.txt", "one\ntwo\n")
        .run("")
        .ran("a b c[n=1] c[n=2]")
        .check()
        .file("text.txt", "three\ntwo\n")
        .flow("why flow.toml c[n=1]")
        .stdout(
            "c[n=1]: may run, unless what it reads from gives the same bytes as before\n  \
             b may run\n    \
             a will run: its file `text.txt` changed",
        )
        .check()
        .run("--until b")
        .ran("a b")
        .check()
        .flow("why flow.toml c[n=1]")
        .stdout_has("input `b`")
        .stdout_has(
            "\n  b gave other bytes: input `a` changed: `a` gives other bytes\n    \
             a gave other bytes: its file `text.txt` changed",
        )
        .check();
    // The first line stays as it was: the wave ends at `a`.
    test.file("text.txt", "three\nfour\n")
        .run("")
        .ran("a c[n=1] c[n=2]")
        .cached("b")
        .check()
        .flow("why flow.toml a --output")
        .stdout_has("the same bytes: the wave ends here")
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
fn the_example_on_a_kinds_page_is_a_stage_of_that_kind() {
    let kinds = Test::new().flow("stages").stdout_has("hdbscan").check();
    let kinds: Vec<String> = kinds
        .last()
        .stdout
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_string()))
        .collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    for kind in kinds {
        let page = Test::new()
            .flow("stages")
            .arg(&kind)
            .stdout_has("example")
            .check();
        let page = page.last().stdout.clone();
        let example: Vec<&str> = page
            .lines()
            .skip_while(|line| *line != "example")
            .skip(1)
            .take_while(|line| !line.is_empty())
            .collect();
        // The stages and files that it names are not there; nothing else may be wrong with it.
        assert!(!example.is_empty(), "{kind}: {page}");
        let test = Test::new().workflow(&example.join("\n"));
        let test = test.flow("check flow.toml").anyhow().check();
        let text = &test.last().stderr;
        assert!(matches!(test.last().status, Some(0 | 2)), "{kind}: {text}");
        for line in text.lines().filter(|line| line.starts_with("error: ")) {
            assert!(
                line.contains("there is no stage `") || line.contains("does not exist"),
                "{kind}: {text}"
            );
        }
    }
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
    // It is the shipped workflow, but for the schema that lies beside that one.
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../workflows/quickstart.toml");
    let shipped = fs::read_to_string(shipped).unwrap();
    let shipped = shipped.strip_prefix("#:schema schema.json\n").unwrap();
    assert_eq!(test.read("digits.toml"), shipped);
    test.flow("check digits.toml").stdout_has("16").check();
}

#[test]
fn what_an_earlier_run_made_can_be_pinned() {
    let test = Test::new().workflow(TWO).run("").ran("a b").check();
    let run = fs::read_dir(test.path(".flow/runs"))
        .unwrap()
        .next()
        .unwrap();
    let run = run.unwrap().file_name().into_string().unwrap();
    let test = test
        .edit("word = \"x\"", "word = \"y\"")
        .run("")
        .ran("a b")
        .check()
        .flow("cache pin flow.toml first --run")
        .arg(&run)
        .stdout("pinned 2 of 2 result(s) of run RUN as `first`")
        .check()
        .flow("cache gc flow.toml --max-size 0B")
        .stdout_has("with 2 result(s) pinned")
        .check();
    test.edit("word = \"y\"", "word = \"x\"")
        .run("")
        .cached("a b")
        .check()
        .flow("cache pin flow.toml second --run 20200101-000000-0000")
        .status(2)
        .stderr_has("`flow runs` lists them")
        .check();
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
