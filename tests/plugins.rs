//! Plugins that misbehave: one clear error that names the stage, the log kept, the store as it was.

use std::time::{Duration, Instant};

use flow_tests::{Test, store};

/// A plugin whose only job is to misbehave on demand: the parameter `how` says how. It has a kind for each sort of
/// output.
const MISBEHAVE: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    kind() {
        echo '{"name": "'"$1"'", "version": 1, "summary": "Misbehaves", "outputs": [{"name": "out", "type": "'"$2"'"}],'
        echo '"parameters": {"type": "object", "properties": {"how": {"type": "string"}, "pids": {"type": "string"}}}}'
    }
    echo '{"protocol": 1, "plugin": "misbehave", "version": "1 with libmisery 2.13", "kinds": ['
    kind bad file; echo ,; kind bad-folder folder; echo ,; kind bad-array array; echo ,; kind bad-metrics metrics
    echo ']}'
    exit
fi
read -r request
field() { printf %s "$request" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
out=$(field out) how=$(field how) pids=$(field pids)
case $how in
    behave) echo fine > "$out" ;;
    exit-3) echo "a last word on stderr" >&2; exit 3 ;;
    error) echo '{"event": "error", "message": "the reason, and what to do"}'; exit 1 ;;
    garbage) echo '{"event": "log", "message": "still fine"}'; echo 'Loading data...'; echo fine > "$out" ;;
    unknown-event) echo '{"event": "dance"}'; echo fine > "$out" ;;
    missing) : ;;
    folder) mkdir "$out" ;;
    file) echo fine > "$out" ;;
    link) ln -s /etc/hostname "$out" ;;
    link-inside) mkdir "$out"; ln -s /etc/hostname "$out/link" ;;
    pipe) mkfifo "$out" ;;
    not-npy) echo 1,2,3 > "$out" ;;
    not-json) echo 1,2,3 > "$out" ;;
    hang) echo $$ > "$pids"; sleep 100 ;;
    crash) echo "a last word on stderr" >&2; kill -SEGV $$ ;;
    abort) echo "a last word on stderr" >&2; kill -ABRT $$ ;;
    illegal) echo "a last word on stderr" >&2; kill -ILL $$ ;;
    killed) kill -KILL $$ ;;
    huge-line) head -c 3000000 /dev/zero | tr '\0' x; echo; echo fine > "$out" ;;
    huge-message) printf '{"event": "log", "message": "'; head -c 900000 /dev/zero | tr '\0' x; echo '"}'; echo fine > "$out" ;;
    not-utf8) printf '\377\376\n'; echo fine > "$out" ;;
    flood) i=0; while [ $i -lt 3000 ]; do echo '{"event": "progress", "done": '$i', "total": 3000, "unit": "x"}'; i=$((i+1)); done
        echo fine > "$out" ;;
    deaf) exec <&-; sleep 0.1; echo fine > "$out" ;;
    child) sleep 100 & echo $! > "$pids"; echo fine > "$out" ;;
    extra) echo fine > "$out"; echo more > "$(dirname "$out")/extra" ;;
esac
"#;

fn plugin(kind: &str, how: &str) -> Test {
    Test::new()
        .executable("plugin", MISBEHAVE)
        .workflow(&workflow(kind, how))
}

fn workflow(kind: &str, how: &str) -> String {
    format!(
        "[plugins]\nmine = 'plugin'\n[stages.stage]\nuses = '{kind}'\nwith = {{ how = '{how}' }}\n"
    )
}

/// The stage fails with this message and these last lines of its log, which is kept; a good stage runs afterwards.
#[track_caller]
fn fails(kind: &str, how: &str, message: &str, tail: &[&str]) {
    let mut text = format!("failed    stage TIME\nerror: stage `stage` failed: {message}\n");
    for line in tail {
        text += &format!("  | {line}\n");
    }
    text += "  whole log: DIR/.flow/runs/RUN/logs/stage.log\nrun RUN: 0 ran, 0 cached, 1 failed, TIME\n";
    let test = plugin(kind, how)
        .flow("run flow.toml")
        .status(1)
        .stderr(&text)
        .check();
    recovers(test, tail);
}

#[track_caller]
fn recovers(test: Test, tail: &[&str]) {
    assert_eq!(store::keys(&test.path(".flow")), Vec::<String>::new());
    let logs = store::files(&test.path(".flow/runs"));
    let log = logs
        .iter()
        .find(|path| path.ends_with("logs/stage.log"))
        .unwrap();
    let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    assert!(tail.iter().all(|line| log.contains(line)), "{log}");
    let test = test
        .workflow(&workflow("bad", "behave"))
        .run("")
        .ran("stage")
        .check();
    store::assert_sound(&test.path(".flow"));
    test.run("").cached("stage").check();
}

#[test]
fn it_exits_with_3() {
    fails(
        "bad",
        "exit-3",
        "it ended with exit status 3",
        &["a last word on stderr"],
    );
}

#[test]
fn it_says_why() {
    fails(
        "bad",
        "error",
        "the reason, and what to do",
        &["error: the reason, and what to do"],
    );
}

#[test]
fn it_prints_garbage() {
    fails(
        "bad",
        "garbage",
        "it printed a line on stdout that is not an event of the protocol: `Loading data...` (a plugin logs on stderr)",
        &["still fine", "Loading data..."],
    );
    fails(
        "bad",
        "unknown-event",
        "it printed a line on stdout that is not an event of the protocol: `{\"event\": \"dance\"}` (a plugin logs on stderr)",
        &["{\"event\": \"dance\"}"],
    );
    fails(
        "bad",
        "not-utf8",
        "it printed a line on stdout that is not an event of the protocol: `\u{fffd}\u{fffd}` (a plugin logs on stderr)",
        &["\u{fffd}\u{fffd}"],
    );
}

#[test]
fn it_prints_a_huge_line() {
    // What is shown and kept in memory is cut.
    let line = "x".repeat(200);
    let test = plugin("bad", "huge-line")
        .run("")
        .status(1)
        .stages("failed", "stage")
        .check();
    let (message, _) = test.last().stages["stage"].failure.clone().unwrap();
    assert_eq!(
        message,
        format!(
            "it printed a line on stdout that is not an event of the protocol: `{line}` (a plugin logs on stderr)"
        )
    );
    assert!(test.last().stdout.len() < 20_000);
    recovers(test, &[&line]);
    // A long message is none of flow's business.
    plugin("bad", "huge-message").run("").ran("stage").check();
}

#[test]
fn it_writes_no_output() {
    fails(
        "bad",
        "missing",
        "it ended well and did not write its output `out` (out)",
        &[],
    );
}

#[test]
fn it_writes_a_folder_or_a_file_where_the_other_is_due() {
    fails(
        "bad",
        "folder",
        "its output `out` has to be a file, and is a folder",
        &[],
    );
    fails(
        "bad-folder",
        "file",
        "its output `out` has to be a folder",
        &[],
    );
}

#[test]
fn it_writes_what_can_not_be_kept() {
    for (kind, how) in [
        ("bad", "link"),
        ("bad-folder", "link-inside"),
        ("bad", "pipe"),
    ] {
        let test = plugin(kind, how)
            .run("")
            .status(1)
            .stages("failed", "stage")
            .check();
        let (message, _) = test.last().stages["stage"].failure.clone().unwrap();
        let what = if how == "pipe" {
            "a special file"
        } else {
            "a symbolic link"
        };
        assert!(message.contains(what), "{how}: {message}");
        recovers(test, &[]);
    }
}

#[test]
fn it_writes_another_format_than_it_declares() {
    fails(
        "bad-array",
        "not-npy",
        "its output `out` is not a .npy file",
        &[],
    );
    fails(
        "bad-metrics",
        "not-json",
        "its output `out` is not a JSON object: invalid type: integer `1`, expected a map at line 1 column 1",
        &[],
    );
}

#[test]
fn it_hangs() {
    let test = plugin("bad", "hang").edit("'hang' }", "'hang', pids = 'PIDS' }\ntimeout = '1s'");
    let pids = test.path("pids").display().to_string();
    let test = test
        .edit("PIDS", &pids)
        .flow("run flow.toml")
        .status(1)
        .stderr_has(
            "error: stage `stage` failed: it was ended after its timeout of 1 s; raise `timeout`, or find out in the \
             log what it waits for\n  whole log: DIR/",
        )
        .check();
    assert!(test.has("pids"));
    test.ends_soon();
    recovers(test, &[]);
}

#[test]
fn it_is_killed() {
    fails(
        "bad",
        "killed",
        "it was killed (signal 9): by someone, or by the system when memory ran out",
        &[],
    );
}

/// What this machine says of its processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    name.map_or(String::new(), |name| {
        name.trim_start_matches([' ', '\t', ':']).to_string()
    })
}

#[test]
fn it_crashes() {
    for (how, signal) in [
        ("crash", "a segmentation fault (SIGSEGV: "),
        ("abort", "an abort (SIGABRT: "),
        ("illegal", "an illegal instruction (SIGILL: "),
    ] {
        let test = plugin("bad", how)
            .flow("run flow.toml")
            .status(1)
            .stderr_has(&format!("error: stage `stage` failed: it crashed with {signal}"))
            // The plugin's own words about itself, though it can't say anything any more.
            .stderr_has("That is a fault in misbehave 1 with libmisery 2.13, or in this machine; the processor is ")
            .stderr_has(&processor())
            .stderr_has("A report to the plugin's makers is welcome, with this message and the last lines of the log\n")
            .stderr_has("  | a last word on stderr\n  whole log: DIR/.flow/runs/RUN/logs/stage.log\n")
            .check();
        recovers(test, &["a last word on stderr"]);
    }
}

#[test]
fn a_command_crashes() {
    let crash = |command: &str| {
        let workflow = format!("[stages.a]\nrun = {command}\noutputs = {{ o = 'o' }}\n");
        Test::new()
            .workflow(&workflow)
            .flow("run flow.toml")
            .status(1)
    };
    crash("['sh', '-c', 'kill -SEGV $$']")
        .stderr_has("failed: it crashed with a segmentation fault (SIGSEGV: it used memory that it does not have), on ")
        .check();
    // The shell tells of it with its own status.
    crash("'sh -c \"kill -ABRT \\$\\$\"; exit $?'")
        .stderr_has("failed: it ended with exit status 134: a program in it crashed with an abort (SIGABRT: ")
        .check();
    crash("'exit 130'")
        .stderr_has("failed: it ended with exit status 130\n")
        .check();
}

#[test]
fn it_leaves_a_child_behind() {
    let began = Instant::now();
    let test = plugin("bad", "child").edit("'child' }", "'child', pids = 'PIDS' }");
    let pids = test.path("pids").display().to_string();
    let test = test.edit("PIDS", &pids).run("").ran("stage").check();
    assert!(
        began.elapsed() < Duration::from_secs(50),
        "flow waited for the child"
    );
    assert!(test.has("pids"));
    test.ends_soon();
}

#[test]
fn it_does_not_read_its_request_or_tells_very_much() {
    plugin("bad", "deaf").run("").status(0).ran("stage").check();
    plugin("bad", "flood").run("").ran("stage").check();
}

#[test]
fn it_writes_more_than_it_declares() {
    plugin("bad", "extra")
        .run("")
        .stderr("warning: stage: it wrote `extra`, which is not a declared output and is not kept")
        .ran("stage")
        .check();
}

/// A workflow whose plugin describes itself with this script.
fn describes(script: &str) -> Test {
    Test::new()
        .executable("plugin", &format!("#!/bin/sh\n{script}\n"))
        .workflow(&workflow("bad", "behave"))
}

#[track_caller]
fn is_refused(script: &str, cause: &str) {
    let test = describes(script).run("").status(2);
    let test = test
        .stderr_has("error: the plugin plugin can't be used: ")
        .stderr_has(cause)
        .stderr_has("--> flow.toml:2:8")
        .check();
    assert!(!test.has(".flow"));
}

#[test]
fn its_description_is_refused() {
    is_refused("echo Hello", "`DIR/plugin describe` printed no JSON");
    is_refused("true", "`DIR/plugin describe` printed no JSON");
    is_refused(
        "echo '{\"protocol\": 2, \"kinds\": []}'",
        "DIR/plugin speaks protocol 2, this flow speaks 1; install a plugin and a flow of the same release",
    );
    is_refused(
        "echo '{\"kinds\": []}'",
        "DIR/plugin speaks protocol nothing known, this flow speaks 1",
    );
    is_refused(
        "echo '{\"protocol\": 1, \"plugin\": \"x\"}'",
        "`DIR/plugin describe` printed no description: missing field",
    );
    is_refused(
        "echo oops >&2; exit 4",
        "`DIR/plugin describe` ended with exit status: 4: oops",
    );
}

#[test]
fn it_is_not_there_or_not_executable() {
    Test::new()
        .workflow(&workflow("bad", "behave"))
        .run("")
        .status(2)
        .stderr_has("error: the plugin plugin can't be used: DIR/plugin can't be found")
        .check();
    Test::new()
        .file("plugin", MISBEHAVE)
        .workflow(&workflow("bad", "behave"))
        .run("")
        .status(2)
        .stderr_has("error: the plugin plugin can't be used: `DIR/plugin describe` failed: Permission denied")
        .check();
}

#[test]
fn a_broken_plugin_that_is_not_needed_is_no_obstacle() {
    let test = Test::new()
        .executable("more/flow-stages-broken", "#!/bin/sh\nexit 4\n")
        .workflow("[stages.a]\nrun = 'echo > ${outputs.o}'\noutputs = { o = 'o' }\n");
    let path = test.path("more");
    test.run("").env("FLOW_PLUGIN_PATH", &path).ran("a").check();
}

#[test]
fn a_broken_plugin_is_named_where_a_kind_is_missing() {
    let test = Test::new()
        .executable("more/flow-stages-broken", "#!/bin/sh\nexit 4\n")
        .workflow("[stages.a]\nuses = 'nowhere'\n");
    let path = test.path("more");
    test.run("")
        .env("FLOW_PLUGIN_PATH", &path)
        .status(2)
        .stderr_has("error: there is no stage kind `nowhere`")
        .stderr_has("note: the plugin DIR/more/flow-stages-broken was left out: ")
        .check();
}

#[test]
fn plugins_are_found_on_the_plugin_path_and_the_path() {
    for variable in ["FLOW_PLUGIN_PATH", "PATH"] {
        let test = Test::new()
            .executable("more/flow-stages-mine", MISBEHAVE)
            .workflow("[stages.stage]\nuses = 'bad'\nwith = { how = 'behave' }\n");
        let mut path = test.path("more").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        test.run("").env(variable, path).ran("stage").check();
    }
}

#[test]
fn a_changed_plugin_without_a_version_is_another_kind() {
    let unversioned = MISBEHAVE.replace("\"version\": 1, \"summary\"", "\"summary\"");
    let test = Test::new()
        .executable("plugin", &unversioned)
        .workflow(&workflow("bad", "behave"))
        .run("")
        .ran("stage")
        .check()
        .run("")
        .cached("stage")
        .check();
    let changed = unversioned.replace("behave) echo fine", "behave) echo better");
    let test = test
        .executable("plugin", &changed)
        .run("")
        .ran("stage")
        .check();
    assert_eq!(test.output("stage", "out"), b"better\n");
    // One that declares its version is asked again, and is the same kind while the version is.
    let changed = MISBEHAVE.replace("behave) echo fine", "behave) echo best");
    let test = test
        .executable("plugin", MISBEHAVE)
        .run("")
        .ran("stage")
        .check();
    test.executable("plugin", &changed)
        .run("")
        .cached("stage")
        .check();
}

#[test]
fn a_revision_makes_only_the_parameters_that_it_is_for_run_again() {
    let revised = |when: &str| {
        let revisions = format!(r#""version": 1, "revisions": [{{"version": 2, "when": {when}}}]"#);
        MISBEHAVE.replace("\"version\": 1", &revisions)
    };
    let stage = |name: &str, how: &str| {
        format!("[stages.{name}]\nuses = 'bad'\nwith = {{ how = '{how}' }}\n")
    };
    let workflow = format!(
        "[plugins]\nmine = 'plugin'\n{}{}",
        stage("a", "behave"),
        stage("b", "file")
    );
    let test = Test::new()
        .executable("plugin", MISBEHAVE)
        .workflow(&workflow)
        .run("")
        .ran("a b")
        .check()
        .executable(
            "plugin",
            &revised(r#"{"properties": {"how": {"const": "file"}}}"#),
        )
        .run("")
        .cached("a")
        .ran("b")
        .check()
        .run("")
        .cached("a b")
        .check();
    test.executable("plugin", &revised(r#"{"type": "sorrow"}"#))
        .run("")
        .status(2)
        .stderr_has("revision 2")
        .check();
}
