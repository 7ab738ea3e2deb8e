//! `flow plugin new` and `flow plugin test`: what is begun works; a good plugin keeps every rule of the protocol, and each sort of bad one breaks the one that is its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use flow_tests::{Test, store};

/// A plugin in shell that keeps all rules but the one that `how` names. Its kind copies an array.
const PLUGIN: &str = r#"#!/bin/sh
how=HOW
case $1 in
describe)
    [ $how != describes-nothing ] || exit 0
    schema='{"type": "object"}'
    [ $how != schema ] || schema='{"type": "nonsense"}'
    version=1
    [ $how != fickle ] || version=$(date +%N)
    kind='{"name": "copy", "version": 1, "summary": "Copies", "parameters": '$schema',
        "inputs": [{"name": "from", "type": "array"}], "outputs": [{"name": "to", "type": "array"}]}'
    [ $how != two ] || kind="$kind, $kind"
    echo '{"protocol": 1, "plugin": "copy", "version": "'$version'", "kinds": ['"$kind"']}'
    exit ;;
run) [ "$2" = copy ] || { echo "there is no kind $2" >&2; [ $how = any-kind ] && exit 0; exit 2; } ;;
*) [ $how = any-command ] && exit 0
    [ $how = mute ] || echo "there is no command $1" >&2; exit 2 ;;
esac
request=$(cat)
field() { printf %s "$request" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
fail() { echo '{"event": "error", "message": "'"$1"'"}'; exit ${2-1}; }
case $request in *'}') ;; *) [ $how = no-json ] && exit 0; fail "the request is no JSON" 2 ;; esac
case $request in *'"protocol":1'[,}]*) ;; *) [ $how = any-protocol ] && exit 0; fail "another protocol" 2 ;; esac
from=$(field from) to=$(field to) work=$(field work)
case $how in
    garbage) echo "Loading data..." ;;
    nothing) exit 0 ;;
    picky) fail "three rows, please" ;;
    text) echo text > "$to"; exit 0 ;;
    reads) chmod u+w "$from"; printf x >> "$from" ;;
    places) echo more > "$(dirname "$to")/more" ;;
    beside) echo more > "$work/../more" ;;
    strict) case $request in *of_a_later_version*) fail "an unknown field" ;; esac ;;
    fickle-bytes) { printf '\223NUMPY'; date +%N; } > "$to"; exit 0 ;;
    threads) case $request in *'"threads":2'*) { printf '\223NUMPY'; echo 2; } > "$to"; exit 0 ;; esac ;;
    stubborn) case $work in */told/*) ;; *) i=60 ;; esac; trap '' TERM; i=${i-0}; while [ $i -lt 60 ]; do sleep 0.1; i=$((i+1)); done ;;
    anything) cp "$from" "$to" 2> /dev/null; head -c 6 "$from" | grep -q NUMPY || { printf '\223NUMPY'; } > "$to"; exit 0 ;;
    silent) head -c 6 "$from" | grep -aq NUMPY || exit 1 ;;
esac
head -c 6 "$from" | grep -aq NUMPY || fail "the input is no array"
cp "$from" "$to"
"#;

fn plugin(how: &str) -> Test {
    Test::new().executable("plugin", &PLUGIN.replace("how=HOW", &format!("how={how}")))
}

const ALL: &str = "  holds    describes itself with one JSON object of protocol 1
  holds    describes itself the same way twice
  holds    has kinds of different names, with schemas that flow can use
  holds    refuses a command that it does not know
  holds    refuses a kind that it does not have
  holds    refuses a request that is no JSON
  holds    refuses another version of the protocol

copy
  holds    prints events and nothing else
  holds    ends well and writes each output in its format
  holds    leaves its inputs as they are
  holds    writes nowhere but to its outputs and its work folder
  holds    takes a request with a field that it does not know
  holds    gives the same bytes again
  holds    gives the same bytes with two threads
  holds    ends within five seconds of being told to (SIGTERM)
  holds    says why it can't use an input that is damaged

16 rules: none broken
";

#[test]
fn a_good_plugin_keeps_every_rule() {
    plugin("good")
        .flow("plugin test plugin")
        .stdout(&format!("DIR/plugin\n{ALL}"))
        .check();
}

#[test]
fn each_bad_plugin_breaks_a_rule_of_its_own() {
    for (how, rule, said) in [
        (
            "describes-nothing",
            "describes itself with one JSON object of protocol 1",
            "printed no JSON",
        ),
        (
            "fickle",
            "describes itself the same way twice",
            "the second description is not the first",
        ),
        (
            "schema",
            "has kinds of different names, with schemas that flow can use",
            "the schema of `copy` is none",
        ),
        (
            "two",
            "has kinds of different names, with schemas that flow can use",
            "two of its kinds have one name",
        ),
        (
            "any-command",
            "refuses a command that it does not know",
            "it ended with status 0",
        ),
        (
            "mute",
            "refuses a command that it does not know",
            "said nothing of why",
        ),
        (
            "any-kind",
            "refuses a kind that it does not have",
            "it ended with status 0",
        ),
        (
            "no-json",
            "refuses a request that is no JSON",
            "it ended with status 0",
        ),
        (
            "any-protocol",
            "refuses another version of the protocol",
            "it ended with status 0",
        ),
        (
            "garbage",
            "prints events and nothing else",
            "it printed `Loading data...` on stdout",
        ),
        (
            "nothing",
            "ends well and writes each output in its format",
            "did not write its output `to`",
        ),
        (
            "text",
            "ends well and writes each output in its format",
            "is not a .npy file",
        ),
        (
            "reads",
            "leaves its inputs as they are",
            "an input has other bytes than before",
        ),
        (
            "places",
            "writes nowhere but to its outputs and its work folder",
            "it wrote `more`",
        ),
        (
            "beside",
            "writes nowhere but to its outputs and its work folder",
            "it wrote `more`",
        ),
        (
            "strict",
            "takes a request with a field that it does not know",
            "an unknown field",
        ),
        (
            "fickle-bytes",
            "gives the same bytes again",
            "its output `to` has other bytes",
        ),
        (
            "threads",
            "gives the same bytes with two threads",
            "its output `to` has other bytes",
        ),
        (
            "stubborn",
            "ends within five seconds of being told to (SIGTERM)",
            "it had to be killed after 5 s",
        ),
        (
            "anything",
            "says why it can't use an input that is damaged",
            "held garbage, and it ended well",
        ),
        (
            "silent",
            "says why it can't use an input that is damaged",
            "without an `error` event",
        ),
    ] {
        let test = plugin(how).flow("plugin test plugin").anyhow().check();
        let ended = test.last();
        assert_eq!(
            ended.status,
            Some(1),
            "{how}: {}{}",
            ended.stdout,
            ended.stderr
        );
        let mut lines = ended.stdout.lines();
        let broken = lines.find(|line| line.starts_with("  BROKEN"));
        assert_eq!(
            broken,
            Some(&format!("  BROKEN   {rule}")[..]),
            "{how}: {}",
            ended.stdout
        );
        let next = lines.next().unwrap_or_default();
        assert!(next.contains(said), "{how}: {next}");
    }
}

#[test]
fn an_input_that_was_given_is_watched_too() {
    let test = plugin("reads");
    fs::write(test.path("rows.npy"), b"\x93NUMPY rows").unwrap();
    test.flow("plugin test plugin copy --input from=rows.npy")
        .status(1)
        .stdout_has("  BROKEN   leaves its inputs as they are\n")
        .check();
}

#[test]
fn who_refuses_what_was_made_up_is_not_tried() {
    plugin("picky")
        .file("rows", "no array\n")
        .flow("plugin test plugin")
        .stdout_has("it refuses what was made for it: three rows, please; give inputs with `--input ROLE=PATH`")
        .stdout_has("8 rules: none broken, 1 kind not tried\n")
        .check()
        .flow("plugin test plugin copy --input from=rows")
        .status(1)
        .stdout_has("it ended with exit status: 1: three rows, please")
        .check();
}

#[test]
fn what_can_not_be_made_up_is_given() {
    let describe = r#"{"protocol": 1, "plugin": "p", "version": "1", "kinds": [{"name": "k", "version": 1, "summary": "s",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "inputs": [{"name": "net", "type": "model"}], "outputs": [{"name": "to", "type": "file"}]}]}"#;
    let script = format!(
        "#!/bin/sh\n[ $1 != describe ] || {{ cat <<'X'\n{describe}\nX\nexit; }}\n\
         [ \"$2\" = k ] || {{ echo no >&2; exit 2; }}\nrequest=$(cat)\n\
         case $request in *'\"protocol\":1'[,}}]*) ;; *) echo '{{\"event\": \"error\", \"message\": \"no\"}}'; exit 2 ;; esac\n\
         net=$(printf %s \"$request\" | sed -n 's/.*\"net\":\"\\([^\"]*\\)\".*/\\1/p')\n\
         grep -q weights \"$net\" || {{ echo '{{\"event\": \"error\", \"message\": \"no weights\"}}'; exit 1; }}\n\
         to=$(printf %s \"$request\" | sed -n 's/.*\"to\":\"\\([^\"]*\\)\".*/\\1/p')\ncp \"$net\" \"$to\"\n"
    );
    let test = Test::new()
        .executable("plugin", &script)
        .file("net", "weights\n");
    test.flow("plugin test plugin")
        .stdout_has("  untried  ends well and writes each output in its format\n")
        .stdout_has("its parameters lack something: \"n\" is a required property; give it with `--set NAME=VALUE`")
        .stdout_has("7 rules: none broken, 1 kind not tried\n")
        .check()
        .flow("plugin test plugin k --set n=3")
        .stdout_has("its input `net` is a model, which can't be made up; give one with `--input net=PATH`")
        .check()
        .flow("plugin test plugin k --set n=3 --input net=net")
        .stdout_has("16 rules: none broken\n")
        .check()
        .flow("plugin test plugin nothing")
        .status(2)
        .stderr("error: DIR/plugin has no kind `nothing`; it has k\n")
        .check()
        .flow("plugin test plugin k --input nothing=net")
        .status(2)
        .stderr("error: `k` has no input `nothing`; it has net\n")
        .check()
        .flow("plugin test nowhere")
        .status(2)
        .stderr("error: nowhere can't be used: No such file or directory (os error 2)\n")
        .check();
}

#[test]
fn a_new_plugin_runs_passes_its_test_and_keeps_every_rule() {
    let test = Test::new()
        .flow("plugin new my-mean")
        .stdout_has("wrote my-mean: the plugin flow-stages-my-mean, its test,")
        .check();
    // The package that it imports is this one.
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stages/python/flow_stage");
    let names = |folder: &Path| {
        let found = store::files(folder).into_iter();
        let names = found.map(|path| path.file_name().unwrap().to_owned());
        names
            .filter(|name| !name.to_string_lossy().ends_with(".pyc"))
            .collect::<BTreeSet<_>>()
    };
    let copied = test.path("my-mean/flow_stage");
    assert_eq!(names(&copied), names(&package));
    for name in names(&package) {
        let both = [copied.join(&name), package.join(&name)].map(|path| fs::read(path).unwrap());
        assert_eq!(both[0], both[1], "{name:?}");
    }
    let tested = Command::new("python3")
        .args(["-m", "unittest"])
        .current_dir(test.path("my-mean"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tested.stderr);
    assert!(
        tested.status.success() && said.contains("Ran 1 test"),
        "{said}"
    );
    test.flow("run my-mean/workflow.toml")
        .anyhow()
        .check()
        .flow("get my-mean/workflow.toml mean -o -")
        .stdout("{\n  \"mean\": 2.5,\n  \"rows\": 3\n}\n")
        .check()
        .flow("plugin test my-mean/flow-stages-my-mean column-mean --input table=my-mean/example.csv")
        .stdout_has("rules: none broken\n")
        .check()
        .flow("plugin new my-mean")
        .status(2)
        .stderr("error: the folder my-mean can't be made: File exists (os error 17)\n")
        .check()
        .flow("plugin new ../mine")
        .status(2)
        .stderr("error: `../mine` can't name a plugin: write small letters, digits and `-`, a letter first\n")
        .check();
}
