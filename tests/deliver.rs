//! `[deliver]`: results under names of the user's own, put right by every run.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::thread;
use std::time::Duration;

use flow_tests::{Test, binaries, torture};

/// A stage that writes its param, and a folder with a file of that name.
const ONE: &str = "\
[params]
n = 1
[stages.a]
run = 'echo ${n} > ${outputs.o}; mkdir ${outputs.d}; echo ${n} > ${outputs.d}/${n}.txt'
outputs = { o = 'o.txt', d = 'd/' }
[deliver]
'results/number.txt' = 'a'
'results/all' = 'a.d'
";

/// The events of the last run about deliveries: path and status.
fn deliveries(test: &Test) -> Vec<String> {
    let lines = test.last().stdout.lines();
    let events = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let events = events.filter(|event| event["event"] == "delivery");
    events
        .map(|event| {
            format!(
                "{} {}",
                event["path"].as_str().unwrap(),
                event["status"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn results_delivered_under_other_parameters_are_put_right_from_the_cache() {
    let test = Test::new().workflow(ONE).run("").ran("a").check();
    assert_eq!(
        deliveries(&test),
        ["results/number.txt new", "results/all new"]
    );
    assert_eq!(test.read("results/number.txt"), "1\n");
    let test = test.run("--set n=2").ran("a").check();
    assert_eq!(test.read("results/number.txt"), "2\n");
    // Back, with everything in the store: and a folder is replaced as a whole.
    let test = test.run("").cached("a").check();
    assert_eq!(
        deliveries(&test),
        ["results/number.txt replaced", "results/all replaced"]
    );
    assert_eq!(test.read("results/number.txt"), "1\n");
    assert_eq!(test.read("results/all/1.txt"), "1\n");
    assert!(!test.has("results/all/2.txt"));
    let left = fs::read_dir(test.path("results")).unwrap().count();
    assert_eq!(left, 2, "nothing half made is left");
    let test = test.run("").cached("a").check();
    assert_eq!(deliveries(&test), Vec::<String>::new());
    // A person reads what was replaced.
    test.flow("run flow.toml --set n=2")
        .stdout_has("")
        .stderr_has("replaced results/number.txt by `a.o`")
        .stderr_has("delivered 2 result(s)")
        .check();
}

#[test]
fn what_was_taken_away_comes_back_with_the_next_run() {
    let test = Test::new().workflow(ONE).run("").ran("a").check();
    let test = test.run("").cached("a").check();
    fs::remove_dir_all(test.path("results")).unwrap();
    let test = test.run("").cached("a").check();
    assert_eq!(test.read("results/number.txt"), "1\n");
    assert_eq!(test.read("results/all/1.txt"), "1\n");
    fs::remove_file(test.path("results/all/1.txt")).unwrap();
    // What was changed inside a delivered folder is the user's.
    let test = test
        .run("")
        .cached("a")
        .status(1)
        .stderr_has("results/all")
        .check();
    assert!(!test.has("results/all/1.txt"));
}

#[test]
fn what_is_delivered_is_a_copy_that_the_user_owns() {
    let test = Test::new().workflow(ONE).run("").ran("a").check();
    let path = test.path("results/number.txt");
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.is_file());
    assert_eq!(metadata.nlink(), 1);
    assert_ne!(metadata.permissions().mode() & 0o200, 0);
    fs::write(&path, "mine").unwrap();
    assert_eq!(test.output("a", "o"), b"1\n");
}

#[test]
fn nothing_is_overwritten_that_flow_did_not_write() {
    let test = Test::new()
        .workflow(ONE)
        .file("results/number.txt", "my own\n")
        .run("")
        .ran("a")
        .status(1)
        .stderr_has("error: `a.o` was not delivered to results/number.txt: what is at results/number.txt flow did not write")
        .check();
    assert_eq!(test.read("results/number.txt"), "my own\n");
    assert_eq!(
        deliveries(&test),
        ["results/number.txt left", "results/all new"]
    );
    // It is said again as long as it is so, also where nothing has to run.
    let test = test.run("").cached("a").status(1).anyhow().check();
    assert_eq!(deliveries(&test), ["results/number.txt left"]);
    // The same content is taken for flow's, and followed from then on.
    let test = test
        .file("results/number.txt", "1\n")
        .run("")
        .cached("a")
        .check();
    let test = test.run("--set n=2").ran("a").check();
    assert_eq!(test.read("results/number.txt"), "2\n");
    // What the user changed since is the user's.
    let test = test
        .file("results/number.txt", "2, I think\n")
        .run("")
        .cached("a")
        .status(1)
        .stderr_has("results/number.txt")
        .check();
    assert_eq!(test.read("results/number.txt"), "2, I think\n");
    // A link leads elsewhere.
    fs::remove_file(test.path("results/number.txt")).unwrap();
    let test = test.file("elsewhere", "1\n");
    std::os::unix::fs::symlink("../elsewhere", test.path("results/number.txt")).unwrap();
    let test = test.run("").cached("a").status(1).anyhow().check();
    assert_eq!(test.read("elsewhere"), "1\n");
}

#[test]
fn what_is_delivered_no_longer_goes_when_that_is_asked_for() {
    let text = "\
[params]
names = ['x', 'y']
[stages.a]
matrix = { name = '${names}' }
run = 'echo ${matrix.name} > ${outputs.o}'
outputs = { o = 'o.txt' }
[deliver]
'results/${matrix.name}/${matrix.name}.txt' = 'a'
";
    let test = Test::new().workflow(text).run("").anyhow().check();
    assert_eq!(test.read("results/y/y.txt"), "y\n");
    let text = text.replace("['x', 'y']", "['x']");
    let test = test
        .workflow(&text)
        .run("")
        .cached("a[name=x]")
        .stderr_has("note: no longer under [deliver]: results/y/y.txt; --prune removes it")
        .check();
    assert!(test.has("results/y/y.txt"));
    // A sweep does not deliver, so nothing is gone by it.
    let test = test.run("--prune").cached("a[name=x]").check();
    assert_eq!(deliveries(&test), ["results/y/y.txt removed"]);
    assert!(!test.has("results/y"));
    assert!(test.has("results/x/x.txt"));
    // What the user made of it stays.
    let text = text.replace(
        "[deliver]\n'results/${matrix.name}/${matrix.name}.txt' = 'a'\n",
        "",
    );
    let test = test
        .workflow(&text)
        .file("results/x/x.txt", "better")
        .run("--prune")
        .cached("a[name=x]")
        .stderr_has("warning: results/x/x.txt was not removed: it was there before flow delivered it, or was changed since")
        .check();
    assert_eq!(test.read("results/x/x.txt"), "better");
}

/// Runs a command at a terminal of its own, and types an answer when it is asked `[y/N]`.
const ANSWER: &str = r#"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
def said():
    try:
        return os.read(terminal, 1024)
    except OSError:
        return b""
seen = b""
while b"[y/N]" not in seen and (piece := said()):
    seen += piece
os.write(terminal, os.fsencode(sys.argv[1]))
while piece := said():
    seen += piece
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn at_a_terminal_it_is_asked_and_ctrl_c_is_an_answer_too() {
    let test = Test::new().workflow(ONE).run("").anyhow().check();
    let test = test.edit("'results/number.txt' = 'a'\n", "");
    let asked = |answer: &str| {
        let call = Command::new("python3")
            .args(["-c", ANSWER, answer])
            .arg(binaries::find("flow"))
            .args(["run", "flow.toml"])
            .env("FLOW_MACHINE", test.path("../machine"))
            .env("COLUMNS", "200")
            .current_dir(test.path(""))
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&call.stdout).replace('\r', "");
        let ask = "no longer under [deliver]: results/number.txt; remove? [y/N]";
        assert!(seen.contains(ask), "{seen}");
        (call.status.code(), seen)
    };
    let newest = |status: &str| {
        let list = test.beside().flow("runs --limit 1 --json");
        list.stdout_has(&format!("\"status\":\"{status}\"")).check();
    };
    let (status, seen) = asked("\u{3}");
    assert_eq!(status, Some(130), "{seen}");
    assert!(seen.contains("--prune removes it"), "{seen}");
    newest("cancelled");
    assert!(test.has("results/number.txt"));
    // No answer but yes is a yes.
    let (status, seen) = asked("\n");
    assert_eq!(status, Some(0), "{seen}");
    newest("ok");
    assert!(test.has("results/number.txt"));
    let (status, seen) = asked("y\n");
    assert_eq!(status, Some(0), "{seen}");
    assert!(seen.contains("removed results/number.txt"), "{seen}");
    assert!(!test.has("results/number.txt"));
}

#[test]
fn values_make_file_names_that_stay_where_they_belong() {
    let text = r#"
[stages.a]
matrix = { v = ["../up", "a b", ".x", "-f", "100%", "ä"] }
run = 'printf %s ${matrix.v} > ${outputs.o}'
outputs = { o = "o.txt" }
[stages.b]
run = 'cat ${inputs.a} > ${outputs.o}'
inputs = { a = "a" }
outputs = { o = "o.txt" }
[deliver]
"r/${matrix.v}.txt" = "b.o"
"#;
    let test = Test::new().workflow(text).run("").anyhow().check();
    for (name, content) in [
        ("..%2Fup", "../up"),
        ("a b", "a b"),
        ("%2Ex", ".x"),
        ("%2Df", "-f"),
        ("100%25", "100%"),
        ("ä", "ä"),
    ] {
        let name = match name {
            "..%2Fup" => "r/%2E.%2Fup.txt".to_string(),
            name => format!("r/{name}.txt"),
        };
        assert_eq!(test.read(&name), content, "{name}");
    }
}

#[test]
fn mistakes_are_shown_before_anything_runs() {
    let stages = "\
[stages.a]
matrix = { n = [1, 2] }
run = 'echo ${matrix.n} > ${outputs.o}'
inputs = { data = { path = 'data' } }
outputs = { o = 'o.txt' }
[deliver]
";
    for (line, message) in [
        (
            "'x.txt' = 'a'",
            "`a[n=1].o` is delivered to `x.txt`, and `a[n=2].o` to `x.txt`",
        ),
        (
            "'x' = 'a[n=1]'\n'x/y' = 'a[n=2]'",
            "`a[n=1].o` is delivered to `x`, and `a[n=2].o` to `x/y`",
        ),
        (
            "'data/${matrix.n}' = 'a'",
            "`data/1` is, or lies in, the input `data`: a run would change what it reads",
        ),
        (
            "'../${matrix.n}' = 'a'",
            "nothing can be delivered to `../1`",
        ),
        (
            "'/tmp/${matrix.n}' = 'a'",
            "nothing can be delivered to `/tmp/1`",
        ),
        (
            "'.flow/${matrix.n}' = 'a'",
            "nothing can be delivered to `.flow/1`",
        ),
        ("'${matrix.m}' = 'a'", "`${matrix.m}` refers to nothing"),
        ("'${nothing}' = 'a'", "`${nothing}` refers to nothing"),
        ("'x' = 'b'", "there is no stage `b`"),
        ("'x' = 'a[n=1].p'", "stage `a` has no output `p`"),
        ("'x' = 3", "what is delivered"),
    ] {
        let test = Test::new()
            .workflow(&format!("{stages}{line}\n"))
            .file("data/1.txt", "")
            .flow("check flow.toml")
            .status(2)
            .stderr_has(message)
            .stderr_has("flow.toml:7:")
            .anyhow()
            .check();
        assert!(!test.has("x"));
    }
}

#[test]
fn a_sweep_delivers_only_where_that_is_asked_for_and_each_point_has_its_place() {
    let text = "\
[params]
n = 1
[stages.a]
run = 'echo ${n} > ${outputs.o}'
outputs = { o = 'o.txt' }
[deliver]
'results/${n}.txt' = 'a'
";
    let test = Test::new()
        .workflow(text)
        .run("--sweep n=1,2")
        .anyhow()
        .check();
    assert!(!test.has("results"));
    let test = test.run("--sweep n=1,2 --deliver").anyhow().check();
    assert_eq!(test.read("results/1.txt"), "1\n");
    assert_eq!(test.read("results/2.txt"), "2\n");
    test.edit("results/${n}.txt", "result.txt")
        .run("--sweep n=1,2 --deliver")
        .status(2)
        .stderr_has("name in the path what differs between the points")
        .check()
        .edit("[deliver]\n'result.txt' = 'a'\n", "")
        .run("--deliver")
        .status(2)
        .stderr_has("--deliver: the workflow has nothing under [deliver]")
        .check();
}

#[test]
fn all_that_is_delivered_can_be_had_in_another_folder_and_a_file_on_standard_output() {
    let test = Test::new().workflow(ONE).run("").ran("a").check();
    let test = test.flow("get flow.toml --all -o out").anyhow().check();
    assert_eq!(test.read("out/results/number.txt"), "1\n");
    assert_eq!(test.read("out/results/all/1.txt"), "1\n");
    let test = test.flow("get flow.toml a -o -").stdout("1\n").check();
    let test = test
        .flow("get flow.toml a.d -o -")
        .status(2)
        .stderr_has("`a.d` is a folder")
        .check();
    // Nothing is replaced unless that is said.
    let test = test.run("--set n=2").ran("a").check();
    let test = test
        .flow("get flow.toml a --set n=2 -o out/results/number.txt")
        .status(1)
        .anyhow()
        .check();
    assert_eq!(test.read("out/results/number.txt"), "1\n");
    let test = test
        .flow("get flow.toml --set n=2 --all --force -o out")
        .anyhow()
        .check();
    assert_eq!(test.read("out/results/number.txt"), "2\n");
    assert!(!test.has("out/results/all/1.txt"));
    // What is not up to date is not had in part.
    test.flow("get flow.toml --set n=3 --all -o new")
        .status(1)
        .stderr_has("`a` is not up to date")
        .check();
}

#[test]
fn a_run_that_was_killed_while_it_delivered_knows_its_own_files_again() {
    let text = "\
[params]
n = 1
[stages.a]
run = 'mkdir ${outputs.d}; for i in $(seq 200); do echo ${n} $i > ${outputs.d}/$i; done; echo ${n} > ${outputs.o}'
outputs = { d = 'd/', o = 'o.txt' }
[deliver]
'results/all' = 'a.d'
'results/number.txt' = 'a.o'
";
    let mut test = Test::new().workflow(text).run("").ran("a").check();
    test = test.run("--set n=2").ran("a").check();
    let mut draws = torture::Draws::new();
    for round in 0..torture::count(8, 200) {
        let n = 1 + round % 2;
        let running = test.run(&format!("--set n={n}")).start();
        thread::sleep(Duration::from_millis(draws.below(40) as u64));
        test = running.kill();
        let n = 1 + draws.below(2);
        test = test.run(&format!("--set n={n}")).cached("a").check();
        assert_eq!(test.read("results/number.txt"), format!("{n}\n"));
        assert_eq!(test.read("results/all/200"), format!("{n} 200\n"));
        let left = fs::read_dir(test.path("results")).unwrap().count();
        assert_eq!(left, 2, "nothing half made is left");
    }
}

#[test]
fn one_place_has_one_name_and_what_is_in_the_way_makes_room_first() {
    let text = "\
[params]
x = 'old'
[stages.f]
run = 'mkdir d; echo ${x} > d/f'
outputs = { d = 'd/' }
[deliver]
'p' = 'f'
";
    let test = Test::new().workflow(text).run("").ran("f").check();
    assert_eq!(test.read("p/f"), "old\n");
    // The same place in other words is no other one.
    let test = test
        .workflow(&text.replace("'p' =", "'p/.' ="))
        .run("--prune")
        .cached("f")
        .check();
    assert_eq!(test.read("p/f"), "old\n");
    // Into what was a delivered folder, and back.
    let inside = text.replace("'p' =", "'p/q' =").replace("old", "new");
    let test = test.workflow(&inside).run("").ran("f").check();
    assert_eq!(test.read("p/q/f"), "new\n");
    assert!(!test.has("p/f"));
    let test = test.workflow(text).run("").cached("f").check();
    assert_eq!(test.read("p/f"), "old\n");
    assert!(!test.has("p/q"));
    // A file of the user's is in nobody's way: it is named.
    fs::remove_dir_all(test.path("p")).unwrap();
    let test = test
        .file("p", "mine")
        .workflow(&inside)
        .run("")
        .cached("f")
        .status(1)
        .stderr_has("was not delivered to p/q: what is at p flow did not write")
        .stderr_has("warning: p was not removed")
        .check();
    assert_eq!(test.read("p"), "mine");
}

#[test]
fn what_was_there_before_is_followed_and_never_removed() {
    let text = "\
[stages.a]
run = 'echo hello > ${outputs.o}'
outputs = { o = 'o.txt' }
[deliver]
'mine.txt' = 'a'
";
    let test = Test::new()
        .workflow(text)
        .file("mine.txt", "hello\n")
        .run("")
        .ran("a")
        .check();
    let test = test
        .edit("mine.txt", "other.txt")
        .run("--prune")
        .cached("a")
        .stderr_has("warning: mine.txt was not removed")
        .check();
    assert_eq!(test.read("mine.txt"), "hello\n");
    assert_eq!(test.read("other.txt"), "hello\n");
}

#[test]
fn one_point_of_a_sweep_leaves_what_the_others_delivered() {
    let text = "\
[params]
x = 'a'
[sweep]
axes.x = ['a', 'b']
[stages.a]
run = 'echo ${x} > ${outputs.o}'
outputs = { o = 'o.txt' }
[deliver]
'r/${x}' = 'a'
";
    let test = Test::new().workflow(text).run("--deliver").anyhow().check();
    let test = test.run("--deliver --point x=a --prune").anyhow().check();
    assert!(test.has("r/a") && test.has("r/b"));
    assert!(!test.last().stderr.contains("no longer"));
}

#[test]
fn nothing_is_delivered_over_the_workflow_or_into_the_store() {
    let stage = "[stages.a]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o.txt' }\n[deliver]\n";
    for (path, store) in [
        ("flow.toml", ".flow"),
        ("flow.toml/x", ".flow"),
        ("st/actions/x", "st"),
        ("st", "st"),
    ] {
        Test::new()
            .workflow(&format!("{stage}'{path}' = 'a'\n"))
            .flow(&format!("check flow.toml --store {store}"))
            .status(2)
            .stderr_has(&format!(
                "nothing can be delivered to `{path}`, which is, or lies in, "
            ))
            .check();
    }
}

#[test]
fn force_replaces_a_file_by_a_file_and_nothing_that_is_needed() {
    let test = Test::new().workflow(ONE).run("").ran("a").check();
    let test = test.file("tree/p", "precious").file("own", "old");
    let here = test.path("").display().to_string();
    for (artifact, path, message) in [
        (
            "a",
            "tree",
            "tree is a folder, and the output is a file: move it away first",
        ),
        (
            "a.d",
            "own",
            "own is a file, and the output is a folder: move it away first",
        ),
        ("a", "flow.toml", "it is not replaced"),
        ("a", ".flow/format", "it is not replaced"),
        ("a.d", ".flow/blobs", "it is not replaced"),
        ("a.d", ".", "it is not replaced"),
        ("a.d", here.as_str(), "it is not replaced"),
    ] {
        test.beside()
            .flow(&format!("get flow.toml {artifact} --force -o {path}"))
            .status(2)
            .stderr_has(message)
            .check();
    }
    assert_eq!(test.read("tree/p"), "precious");
    let test = test.flow("get flow.toml a --force -o own").anyhow().check();
    assert_eq!(test.read("own"), "1\n");
}

#[test]
fn who_runs_next_may_be_another_user() {
    let test = Test::new().workflow(ONE).run("").ran("a").check();
    let list = test.path(".flow/delivered/flow.toml.json");
    assert_eq!(
        fs::metadata(&list).unwrap().permissions().mode() & 0o444,
        0o444
    );
    fs::write(&list, "").unwrap();
    test.run("--set n=2")
        .ran("a")
        .status(1)
        .stderr_has(
            "is damaged: remove it; then what lies where something is delivered counts as yours",
        )
        .check();
}
