//! `flow run --again`: what a run read is what counts, wherever it comes from.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use flow_tests::{Test, skip, store};
use serde_json::{Value, json};

/// A kind that copies a file.
const COPY: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    echo '{"protocol": 1, "plugin": "mine", "version": "1", "kinds": [{"name": "copy", "version": 1, "summary": "Copies",'
    echo '"inputs": [{"name": "words", "type": "file"}], "outputs": [{"name": "copied", "type": "file"}],'
    echo '"parameters": {"type": "object", "properties": {}}}]}'
    exit
fi
read -r request
field() { printf %s "$request" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
cat "$(field words)" > "$(field copied)"
"#;

#[test]
fn a_small_input_of_a_kind_is_that_of_then() {
    let test = Test::new()
        .executable("plugin", COPY)
        .file("words.txt", "of then\n")
        .workflow(
            "[plugins]\nmine = 'plugin'\n[stages.a]\nuses = 'copy'\ninputs = { words = { path = 'words.txt' } }",
        )
        .run("--name first")
        .ran("a")
        .check()
        .file("words.txt", "of now\n")
        .run("")
        .ran("a")
        .check();
    fs::remove_file(test.path("words.txt")).unwrap();
    let test = test
        .flow("run --again first --json")
        .cached("a")
        .check()
        .flow("run --again first --force --json")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "copied"), b"of then\n");
    let test = test
        .flow("run --again first --in old --force --json")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "copied"), b"of then\n");
    assert_eq!(test.read("old/words.txt"), "of then\n");
    // What is large or not the user's text is a link.
    assert!(test.path("old/plugin").is_symlink());
}

/// A workflow whose texts lie around it: an include above it, a file of params that it names, one that it is given.
fn spread() -> Test {
    Test::new()
        .file("shared/common.toml", "[params]\na = 1\nb = 1\nc = 1\n")
        .file("wf/params.yaml", "b: 2\n")
        .file("given/over.yaml", "c: 3\n")
        .file("src/code.txt", "code\n")
        .file(
            "wf/flow.toml",
            "include = ['../shared/common.toml']
[workflow]
root = '..'
params = 'params.yaml'
[stages.a]
run = 'cat ${inputs.code} > ${outputs.o}; echo ${a} ${b} ${c} >> ${outputs.o}'
inputs = { code = { path = 'src/code.txt' } }
outputs = { o = 'o.txt' }
",
        )
}

/// Gives each text of it another value.
fn moved_on(test: Test) -> Test {
    let test = test
        .file("shared/common.toml", "[params]\na = 9\nb = 9\nc = 9\n")
        .file("wf/params.yaml", "b: 8\n")
        .file("given/over.yaml", "c: 7\n");
    test.file("src/code.txt", "other\n")
}

#[test]
fn includes_and_files_of_params_are_laid_out_as_they_lay() {
    let test = spread()
        .flow("run wf/flow.toml --params given/over.yaml --name first --json")
        .ran("a")
        .check();
    let test = moved_on(test)
        .flow("run wf/flow.toml --params given/over.yaml --name second --json")
        .ran("a")
        .check();
    // Each text is called by its place.
    let test = test
        .flow("compare first second --store wf/.flow --json")
        .stdout_has("")
        .check();
    let lines = test.last().stdout.lines();
    let lines: Vec<Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    let code = lines.iter().filter(|line| line["event"] == "code");
    let paths: Vec<&str> = code.map(|line| line["path"].as_str().unwrap()).collect();
    let all = [
        "given/over.yaml",
        "shared/common.toml",
        "src/code.txt",
        "wf/params.yaml",
    ];
    assert_eq!(paths, all);
    let test = test
        .flow("runs --store wf/.flow --limit 1 --json")
        .stdout_has("")
        .check();
    let listed: Value = serde_json::from_str(&test.last().stdout).unwrap();
    assert_eq!(listed["changed"]["files"], json!(all));

    let test = test
        .flow("run --again first --store wf/.flow --force --json")
        .ran("a")
        .check()
        .flow("get first a --store wf/.flow -o -")
        .stdout("code\n1 2 3\n")
        .check()
        .flow("run --again first --store wf/.flow --in old --json")
        .cached("a")
        .check();
    assert_eq!(test.read("old/wf/params.yaml"), "b: 2\n");
    assert_eq!(test.read("old/given/over.yaml"), "c: 3\n");
    assert_eq!(test.read("old/src/code.txt"), "code\n");
    // Without a run of it.
    let test = test
        .flow("run --again first --store wf/.flow --in look --dry-run")
        .stderr("laid out run RUN in look: 5 copied, 0 linked to where they are; from then on: flow run DIR/look/wf/flow.toml --store DIR/wf/.flow --params DIR/look/given/over.yaml")
        .stdout_has("1 up to date")
        .check();
    assert_eq!(test.read("look/src/code.txt"), "code\n");
    // Two files of one name are told apart, and so is what was made again.
    let test = test
        .flow("runs --store wf/.flow")
        .stdout_has(" wf/flow.toml ")
        .stdout_has(" old/wf/flow.toml ")
        .stdout_has("again")
        .check();
    // From then on it is a project like any other.
    test.flow("run old/wf/flow.toml --params old/given/over.yaml --store wf/.flow --json")
        .cached("a")
        .check();
}

#[test]
fn a_workflow_that_is_called_by_a_link_has_its_texts_too() {
    for (link, to, called) in [
        ("link", "wf", "link/flow.toml"),
        ("other.toml", "wf/flow.toml", "other.toml"),
    ] {
        let test = spread();
        // Beside a link to the file lie the texts that it names.
        if called == "other.toml" {
            fs::create_dir(test.path("../shared")).unwrap();
            fs::copy(
                test.path("shared/common.toml"),
                test.path("../shared/common.toml"),
            )
            .unwrap();
            fs::copy(test.path("wf/params.yaml"), test.path("params.yaml")).unwrap();
        }
        symlink(test.path(to), test.path(link)).unwrap();
        let test = test
            .flow(&format!("run {called} --name first --json"))
            .ran("a")
            .check();
        let test = moved_on(test)
            .flow("run --again first --store wf/.flow --force --json")
            .ran("a")
            .check();
        test.flow("get first a --store wf/.flow -o -")
            .stdout("code\n1 2 1\n")
            .check();
    }
}

fn run(program: impl AsRef<Path>, arguments: &[&str]) -> bool {
    let mut command = Command::new(program.as_ref());
    let done = command.args(arguments).output();
    done.is_ok_and(|done| done.status.success())
}

#[test]
fn declared_environments_are_those_of_now() {
    let test = Test::new()
        .workflow(
            "[environments.own]
venv = '.venv'
[stages.a]
run = 'python ${inputs.code} > ${outputs.metrics}'
environment = 'own'
inputs = { code = { path = 'code.py' } }
outputs = { metrics = 'metrics.json' }
",
        )
        .file(
            "code.py",
            "import sys; print('{\"first\": %d}' % (sys.prefix != sys.base_prefix))\n",
        )
        .file(".gitignore", ".flow\n.venv\n");
    let venv = test.path(".venv").display().to_string();
    assert!(run("python3", &["-m", "venv", "--without-pip", &venv]));
    let project = test.path("").display().to_string();
    let git = |arguments: &str| {
        let own = ["-C", &project, "-c", "user.name=a", "-c", "user.email=a@b"];
        let words: Vec<&str> = own.into_iter().chain(arguments.split(' ')).collect();
        run("git", &words)
    };
    if !git("init -q") {
        skip!("git is not here");
    }
    assert!(git("add .") && git("commit -q -m one"));
    let test = test.run("--name first").ran("a").check();
    let test = test
        .file("code.py", "print('{\"second\": 2}')\n")
        .run("")
        .ran("a")
        .check();
    // The environment is in no commit, and no run keeps it: it is found where it is.
    let test = test
        .flow("compare HEAD:flow.toml flow.toml")
        .stdout_has("first")
        .stdout_has("+print('{\"second\": 2}')")
        .check()
        .flow("run --again first --force --json")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "metrics"), b"{\"first\": 1}\n");
    let test = test
        .flow("run --again first --in old --json")
        .cached("a")
        .check()
        .flow("run old/flow.toml --store .flow --force --json")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "metrics"), b"{\"first\": 1}\n");
    assert!(test.path("old/.venv").is_symlink());
    // Another one makes the stage run anew.
    let site = fs::read_dir(test.path(".venv/lib")).unwrap().next();
    let site = site.unwrap().unwrap().path().join("site-packages");
    fs::create_dir_all(site.join("lit-1.0.dist-info")).unwrap();
    let about = "Metadata-Version: 2.1\nName: lit\nVersion: 1.0\n";
    fs::write(site.join("lit-1.0.dist-info/METADATA"), about).unwrap();
    fs::write(site.join("lit-1.0.dist-info/RECORD"), "").unwrap();
    let test = test.flow("run --again first --json").ran("a").check();
    fs::remove_dir_all(test.path(".venv")).unwrap();
    test.flow("run --again first")
        .status(2)
        .stderr_has(".venv")
        .check();
}

#[test]
fn what_stood_frozen_then_stands_again() {
    let test = Test::new()
        .workflow(
            "[params]
w = 1
[stages.train]
run = 'echo ${w} > ${outputs.o}'
outputs = { o = 'o' }
[stages.test]
run = 'cat ${inputs.model} > ${outputs.o}'
inputs = { model = 'train' }
outputs = { o = 'o' }
",
        )
        .run("")
        .ran("train test")
        .check()
        .edit("[stages.train]\n", "[stages.train]\nfrozen = true\n")
        .run("--name first --set w=2")
        .stages("frozen", "train")
        .cached("test")
        .check();
    // Its last result is another one by now.
    let test = test
        .edit("frozen = true\n", "")
        .run("--set w=3")
        .ran("train test")
        .check()
        .flow("run --again first --json")
        .stages("frozen", "train")
        .cached("test")
        .check();
    assert_eq!(test.output("train", "o"), b"1\n");
    assert_eq!(store::runs(&test.path(".flow")).len(), 4);
}

/// What a glob matched is no file to write back, and a table is.
#[test]
fn axes_have_the_values_of_then() {
    let test = Test::new()
        .file("raw/A.txt", "a\n")
        .file("raw/B.txt", "b\n")
        .file("groups.csv", "id,word\nx,one\n")
        .workflow(
            "[workflow]\nlanguage = 2\n[stages.read]\nmatrix = { sample = { glob = 'raw/{sample}.txt' } }\n\
             run = 'cat ${inputs.raw} > ${outputs.o}'\ninputs = { raw = { path = '${matrix.sample.path}' } }\noutputs = { o = 'o' }\n\
             [stages.say]\nmatrix = { group = { table = 'groups.csv', key = 'id' } }\n\
             run = 'echo ${matrix.group.word} > ${outputs.o}'\noutputs = { o = 'o' }\n",
        )
        .run("--name first")
        .ran("read[sample=A] read[sample=B] say[group=x]")
        .check()
        .file("raw/C.txt", "c\n")
        .file("groups.csv", "id,word\nx,another\ny,two\n");
    fs::remove_file(test.path("raw/A.txt")).unwrap();
    let all = "read[sample=A] read[sample=B] say[group=x]";
    let test = test
        .flow("run --again first --json")
        .cached(all)
        .check()
        .flow("run --again first --in old --json")
        .cached(all)
        .check();
    assert_eq!(test.read("old/groups.csv"), "id,word\nx,one\n");
    let found = store::files(&test.path("old/raw"));
    let names = found.iter().map(|path| path.file_name().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["A.txt", "B.txt"]);
    // It is a project from then on.
    test.flow("run old/flow.toml --store .flow --json")
        .cached(all)
        .check();
}
