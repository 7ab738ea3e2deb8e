//! Wrong workflows: `golden/*.toml`, and beside each what flow says of it. `FLOW_BLESS=1` writes that down anew.
//!
//! A first line `# arguments: …` adds arguments to the call.

use std::fs;
use std::path::{Path, PathBuf};

use flow_tests::Test;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The wrong workflows, by name.
fn mistakes() -> Vec<PathBuf> {
    let entries = fs::read_dir(golden()).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    found.sort();
    found
}

/// What flow says of a workflow; checks that it does nothing else.
#[track_caller]
fn said_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let arguments = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# arguments: "))
        .unwrap_or("");
    let test = Test::new()
        .file(name, &text)
        .file("data.txt", "some data\n")
        .file("raw/a.csv", "1\n")
        .file("raw/b.csv", "2\n")
        .flow(&format!("run {name} {arguments}"))
        .status(2)
        .stderr_has("error: ")
        .check();
    let mut left: Vec<_> = fs::read_dir(test.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|left| left != name)
        .collect();
    left.sort();
    assert_eq!(left, ["data.txt", "raw"], "{name}: something was written");
    let said = test.last().stderr.clone();
    let places = [name, "--set", "--variant", "--sweep", "--seeds", "--point"]
        .map(|text| format!(" --> {text}:"));
    assert!(
        places.iter().any(|place| said.contains(place)),
        "{name}: it does not say where\n{said}"
    );
    said
}

#[test]
fn each_mistake_is_said_as_it_was() {
    let bless = std::env::var_os("FLOW_BLESS").is_some();
    let mut changed = Vec::new();
    for path in mistakes() {
        let said = said_of(&path);
        let expected = path.with_extension("stderr");
        if bless {
            fs::write(expected, said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            changed.push(format!("=== {}\n{said}", path.display()));
        }
    }
    assert!(
        changed.is_empty(),
        "flow says something else; if it is better: FLOW_BLESS=1 cargo test -p flow-tests --test mistakes\n{}",
        changed.join("\n")
    );
}

#[test]
fn a_workflow_file_that_is_not_there() {
    let test = Test::new()
        .run("")
        .status(2)
        .stderr_has("flow.toml can't be read")
        .check();
    assert!(!test.has(".flow"));
    let test = Test::new()
        .file("flow.toml", [0xff, 0xfe, 0x00])
        .run("")
        .status(2)
        .stderr_has("error: ")
        .check();
    assert!(!test.has(".flow"));
}

#[test]
fn status_get_and_why_check_as_well() {
    for command in [
        "status flow.toml",
        "get flow.toml data",
        "why flow.toml data",
        "run flow.toml --dry-run",
    ] {
        let test = Test::new()
            .workflow("[stages.data]\nuses = 'digit'\n")
            .flow(command)
            .status(2)
            .stderr_has("did you mean `digits`?")
            .check();
        assert!(!test.has(".flow"), "{command}");
    }
}

#[test]
fn a_wrong_workflow_leaves_an_old_store_as_it_was() {
    let good = "[stages.data]\nuses = 'digits'\nwith = { limit = 20 }\n";
    let test = Test::new().workflow(good).run("").ran("data").check();
    let before = flow_tests::store::files(&test.path(".flow"));
    let test = test.edit("limit", "limt").run("").status(2);
    let test = test.stderr_has("did you mean `limit`?").check();
    assert_eq!(flow_tests::store::files(&test.path(".flow")), before);
    test.workflow(good).run("").cached("data").check();
}
