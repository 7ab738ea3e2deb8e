//! What runs again after which change, and what does not.

use std::fs;
use std::path::Path;

use flow_tests::{Test, store};

/// Two stages in a row and one beside them; each notes its start. The word is left out of `upper`'s key.
const PIPELINE: &str = r#"
[params]
word = "x"
times = 2

# Copies the text.
[stages.copy]
run = "echo copy >> ~/starts; cat ${inputs.text} > ${outputs.copied}"
inputs = { text = { path = "text.txt" } }
outputs = { copied = "copied.txt" }

[stages.upper]
run = "echo upper >> ~/starts; tr a-z A-Z < ${inputs.text} > ${outputs.upper}"
inputs = { text = "copy" }
outputs = { upper = "upper.txt" }

[stages.tagged]
run = "echo tagged >> ~/starts; echo ${word} ${times} | cat ${inputs.upper} - > ${outputs.tagged}"
inputs = { upper = "upper" }
outputs = { tagged = "tagged.txt" }

[stages.other]
run = "echo other >> ~/starts; wc -c < ${inputs.text} > ${outputs.count}"
inputs = { text = { path = "other.txt" } }
outputs = { count = "count.txt" }
"#;
const ALL: &str = "copy upper tagged other";

/// The pipeline, run once.
fn pipeline() -> Test {
    Test::new()
        .workflow(PIPELINE)
        .file("text.txt", "one\n")
        .file("other.txt", "other\n")
        .run("")
        .ran(ALL)
        .starts("copy\nupper\ntagged\nother")
        .check()
}

#[track_caller]
fn nothing_runs(test: Test) -> Test {
    test.run("").cached(ALL).starts("").check()
}

#[test]
fn a_second_run_runs_nothing() {
    let test = nothing_runs(pipeline());
    assert_eq!(test.output("tagged", "tagged"), b"ONE\nx 2\n");
}

#[test]
fn no_process_is_started_where_there_is_nothing_to_do() {
    let test = Test::new()
        .counting_plugins()
        .workflow("[stages.data]\nuses = 'digits'\nwith = { limit = 20 }")
        .run("")
        .ran("data")
        .check();
    let starts = test.read("../starts");
    assert!(starts.contains("flow-stages-data describe\n"), "{starts}");
    assert!(starts.contains("flow-stages-data run digits\n"), "{starts}");
    test.run("").cached("data").starts("").check();
}

#[test]
fn a_comment_changes_nothing() {
    nothing_runs(pipeline().edit("# Copies the text.", "# Copies it."));
}

#[test]
fn the_order_of_keys_and_stages_changes_nothing() {
    let test = pipeline();
    let text = test.read("flow.toml");
    let (head, stages) = text.split_once("[stages.copy]").unwrap();
    let mut stages: Vec<String> = format!("[stages.copy]{stages}")
        .split("\n\n")
        .map(|stage| {
            let mut lines: Vec<&str> = stage.trim().lines().collect();
            lines[1..].reverse();
            lines.join("\n")
        })
        .collect();
    stages.reverse();
    let (first, second) = ("word = \"x\"\n", "times = 2\n");
    assert!(head.contains(&format!("{first}{second}")));
    let head = head
        .replace(first, "")
        .replace(second, &format!("{second}{first}"));
    nothing_runs(test.workflow(&format!("{head}{}\n", stages.join("\n\n"))));
}

#[test]
fn resources_and_timeouts_change_nothing() {
    let output = "outputs = { upper = \"upper.txt\" }";
    let more = format!("{output}\nresources = {{ cpus = 2 }}\ntimeout = \"1h\"");
    nothing_runs(pipeline().edit(output, &more));
}

#[test]
fn a_touched_file_changes_nothing() {
    let test = pipeline();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let file = std::fs::File::options()
        .write(true)
        .open(test.path("text.txt"))
        .unwrap();
    file.set_modified(later).unwrap();
    nothing_runs(test);
}

/// Each command that reads an input notes what it read, so that the next need not.
#[test]
fn a_touched_file_is_read_once_by_whatever_command() {
    let digits: String = (0..2000).map(|n| format!("{n}\n")).collect();
    let test = Test::new()
        .file("in.txt", &digits)
        .workflow("[stages.a]\nrun = 'cat ${inputs.i} > ${outputs.o}'\ninputs = { i = { path = 'in.txt' } }\noutputs = { o = 'o' }\n");
    let touch = |test: &Test, seconds: u64| {
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
        let file = std::fs::File::options()
            .append(true)
            .open(test.path("in.txt"));
        file.unwrap().set_modified(then).unwrap();
        // What changed within two seconds is not remembered.
        std::thread::sleep(std::time::Duration::from_millis(2100));
    };
    let line = |test: &Test| {
        let memo = test.read(".flow/memo");
        let line = memo.lines().find(|line| line.ends_with("/in.txt"));
        line.unwrap().to_string()
    };
    touch(&test, 10);
    let mut test = test.run("").ran("a").check();
    let mut before = line(&test);
    for (i, command) in [
        "run flow.toml --json",
        "status flow.toml",
        "run flow.toml --dry-run",
        "why flow.toml a",
    ]
    .iter()
    .enumerate()
    {
        touch(&test, 100 + i as u64);
        test = test.flow(command).anyhow().check();
        let now = line(&test);
        assert_ne!(
            now, before,
            "flow {command} has read the file and does not remember it"
        );
        before = now;
        test = test.flow(command).anyhow().check();
        assert_eq!(line(&test), before);
    }
    test.run("").cached("a").check();
}

#[test]
fn a_renamed_stage_changes_nothing() {
    pipeline()
        .edit("[stages.other]", "[stages.another]")
        .run("")
        .cached("copy upper tagged another")
        .starts("")
        .check();
}

#[test]
fn a_moved_file_with_the_same_content_changes_nothing() {
    // Where it lies in the stage's folder counts, and that `as` says.
    let test = pipeline()
        .edit(
            "path = \"text.txt\"",
            "path = \"text.txt\", as = \"in.txt\"",
        )
        .run("")
        .ran("copy")
        .cached("upper tagged other")
        .check();
    nothing_runs(
        test.file("moved/again.txt", "one\n")
            .edit("path = \"text.txt\"", "path = \"moved/again.txt\""),
    );
}

#[test]
fn one_changed_byte_reruns_what_reads_it() {
    let test = pipeline()
        .file("text.txt", "oni\n")
        .run("")
        .ran("copy upper tagged")
        .cached("other")
        .starts("copy\nupper\ntagged")
        .check();
    assert_eq!(test.output("tagged", "tagged"), b"ONI\nx 2\n");
    test.file("other.txt", "othir\n")
        .run("")
        .ran("other")
        .cached("copy upper tagged")
        .starts("other")
        .check();
}

#[test]
fn a_byte_changed_back_reruns_nothing() {
    let test = pipeline()
        .file("text.txt", "two\n")
        .run("")
        .ran("copy upper tagged");
    nothing_runs(test.cached("other").check().file("text.txt", "one\n"));
}

#[test]
fn the_same_bytes_stop_the_wave() {
    // `upper` gives the same for another case of letters, so `tagged` has nothing to do.
    pipeline()
        .file("text.txt", "oNe\n")
        .run("")
        .ran("copy upper")
        .cached("tagged other")
        .starts("copy\nupper")
        .check();
}

#[test]
fn a_changed_param_reruns_what_follows_it() {
    pipeline()
        .edit("times = 2", "times = 3")
        .run("")
        .ran("tagged")
        .cached("copy upper other")
        .starts("tagged")
        .check();
}

#[test]
fn a_changed_command_reruns_its_stage() {
    pipeline()
        .edit("tr a-z A-Z", "tr a-y A-Y")
        .run("")
        .ran("upper")
        .cached("copy tagged other")
        .check();
}

#[test]
fn set_wins_over_the_file() {
    let test = pipeline()
        .run("--set times=3 --set word=y")
        .ran("tagged")
        .cached("copy upper other")
        .check();
    assert_eq!(test.output("tagged", "tagged"), b"ONE\ny 3\n");
    // The file says the same as `--set` said, so its result is there.
    test.edit("times = 2", "times = 3")
        .run("--set word=y")
        .cached(ALL)
        .check();
}

#[test]
fn swapped_inputs_are_another_action() {
    let diff = r#"
[stages.joined]
run = "cat ${inputs.a} ${inputs.b} > ${outputs.o}"
inputs = { a = { path = "a.txt" }, b = { path = "b.txt" } }
outputs = { o = "o" }
"#;
    let test = Test::new()
        .workflow(diff)
        .file("a.txt", "a")
        .file("b.txt", "b")
        .run("")
        .ran("joined")
        .check();
    assert_eq!(test.output("joined", "o"), b"ab");
    let test = test
        .edit(
            "a = { path = \"a.txt\" }, b = { path = \"b.txt\" }",
            "a = { path = \"b.txt\" }, b = { path = \"a.txt\" }",
        )
        .run("")
        .ran("joined")
        .check();
    assert_eq!(test.output("joined", "o"), b"ba");
}

#[test]
fn the_names_of_a_globs_files_count() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'ls raw > ${outputs.o}'\ninputs = { raw = { path = 'raw/*.csv' } }\noutputs = { o = 'o' }")
        .file("raw/a.csv", "1")
        .file("raw/b.csv", "2")
        .run("")
        .ran("a")
        .check()
        .file("raw/c.txt", "not meant")
        .run("")
        .cached("a")
        .check();
    std::fs::rename(test.path("raw/b.csv"), test.path("raw/c.csv")).unwrap();
    test.run("").ran("a").check();
}

#[test]
fn a_declared_variable_counts_and_others_do_not_arrive() {
    let stage = "[stages.a]\nrun = 'echo \"$${COLOUR-} $${SIZE-}\" > ${outputs.o}'\noutputs = { o = 'o' }\nenv = ['COLOUR']";
    let test = Test::new()
        .workflow(stage)
        .run("")
        .env("COLOUR", "red")
        .env("SIZE", "1")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "o"), b"red \n");
    let test = test
        .run("")
        .env("COLOUR", "red")
        .env("SIZE", "2")
        .cached("a")
        .check();
    let test = test.run("").env("COLOUR", "blue").ran("a").check();
    assert_eq!(test.output("a", "o"), b"blue \n");
    test.run("").ran("a").check();
}

#[test]
fn folders_are_inputs_and_outputs() {
    let test = Test::new()
        .workflow(
            "[stages.a]\nrun = 'cp -r ${inputs.tree} ${outputs.copy}'\ninputs = { tree = { path = 'tree' } }\n\
             outputs = { copy = 'copy/' }\n\
             [stages.b]\nrun = 'cat ${inputs.copy}/deep/er/x > ${outputs.o}'\ninputs = { copy = 'a' }\noutputs = { o = 'o' }",
        )
        .file("tree/deep/er/x", "1")
        .file("tree/y", "2")
        .run("")
        .ran("a b")
        .check();
    assert_eq!(test.output("b", "o"), b"1");
    let test = test.file("tree/y", "3").run("").ran("a b").check();
    test.run("").cached("a b").check();
}

#[test]
fn two_empty_stores_give_the_same_keys_and_digests() {
    let kinds = r#"
[stages.data]
uses = "digits"
with = { limit = 300 }

[stages.pixels]
run = "cp ${inputs.data}/images.npy ${outputs.images}"
inputs = { data = "data" }
outputs = { images = "images.npy" }
"#;
    let run = |threads: &str| {
        Test::new()
            .workflow(&format!("{PIPELINE}{kinds}"))
            .file("text.txt", "one\n")
            .file("other.txt", "other\n")
            .run(&format!("--jobs {threads}"))
            .ran(&format!("{ALL} data pixels"))
            .check()
    };
    let (one, two) = (run("1"), run("8"));
    assert_eq!(one.last().stages, two.last().stages);
    store::assert_sound(&one.path(".flow"));
}

#[test]
fn two_stages_of_one_action_do_the_work_once() {
    let twins = "[stages.a]\nrun = 'echo a >> ~/starts; sleep 0.1; echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\n";
    let twins = format!("{twins}{}", twins.replace("stages.a", "stages.b"));
    let test = Test::new()
        .workflow(&twins)
        .run("--jobs 2")
        .ran("a")
        .cached("b")
        .starts("a")
        .check();
    let stages = &test.last().stages;
    assert_eq!(stages["a"].key, stages["b"].key);
    assert_eq!(stages["a"].outputs, stages["b"].outputs);
}

#[test]
fn a_failed_stage_is_not_cached() {
    let test = pipeline()
        .edit("tr a-z A-Z <", "test -e ~/mended; tr a-z A-Z <")
        .edit("echo upper >> ~/starts;", "set -e; echo upper >> ~/starts;")
        .run("")
        .status(1)
        .cached("copy other")
        .stages("failed", "upper")
        .stages("skipped", "tagged")
        .check();
    test.file("../mended", "")
        .run("")
        .ran("upper")
        .cached("copy tagged other")
        .starts("upper")
        .check();
}

/// The store is one that flow 0.1.0 wrote, without its blobs: two results of `sh`.
#[test]
fn what_bash_reads_otherwise_than_sh_is_told_once_after_an_upgrade() {
    let mut test = Test::new().workflow(
        r#"
[stages.a]
run = 'echo "a\tb" > ${outputs.o}'
outputs = { o = "o" }

[stages.b]
run = "printf 'x\\n' > ${outputs.o}"
outputs = { o = "o" }
"#,
    );
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("old_store");
    for path in store::files(&old) {
        let name = path.strip_prefix(&old).unwrap().display().to_string();
        test = test.file(&format!(".flow/{name}"), fs::read(&path).unwrap());
    }
    let test = test
        .run("")
        .ran("a b")
        .stderr_has("warning: a: its lines were run by `sh`, and bash runs them now")
        .check();
    assert_eq!(test.last().stderr.matches("warning").count(), 1);
    // A result of bash is there now.
    test.edit("a\\tb", "a\\tc")
        .run("")
        .ran("a")
        .cached("b")
        .check();
}
