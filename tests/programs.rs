//! What a program of the user's is given, what of it stays secret, and how people look into it.

use std::fs;
use std::path::Path;
use std::process::Command;

use flow_tests::{Test, binaries};

/// All files below a folder that hold these bytes.
fn holding(folder: &Path, bytes: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holding(&path, bytes, found);
        } else if let Ok(content) = fs::read(&path)
            && content.windows(bytes.len()).any(|piece| piece == bytes)
        {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn a_secret_is_in_no_key_record_log_or_report() {
    let secret = "s3cret-of-the-lab";
    let test = Test::new()
        .workflow(
            r#"
[stages.train]
run = "echo key is $WANDB_API_KEY >&2; test -n \"$WANDB_API_KEY\"; echo 1 > ${outputs.o}"
outputs = { o = "o" }
secret_env = ["WANDB_API_KEY"]

[stages.fails]
run = "echo again $WANDB_API_KEY; exit 3"
outputs = { o = "o" }
secret_env = ["WANDB_API_KEY"]
"#,
        )
        .run("--keep-going")
        .env("WANDB_API_KEY", secret)
        .anyhow()
        .check();
    let outcome = test.last();
    assert!(outcome.stdout.contains("again ***"), "{}", outcome.stdout);
    assert!(!outcome.stderr.contains(secret) && !outcome.stdout.contains(secret));
    // Another key is no other result.
    let test = test
        .run("--until train")
        .env("WANDB_API_KEY", "another one")
        .cached("train")
        .check()
        .flow("show flow.toml train")
        .anyhow()
        .check();
    let run = test.last().stdout.clone();
    assert!(run.contains("train"), "{run}");
    let test = test
        .flow("report flow.toml -o page.html")
        .env("WANDB_API_KEY", secret)
        .anyhow()
        .check();
    let mut found = Vec::new();
    holding(&test.path(""), secret.as_bytes(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn sorting_and_dates_are_the_same_everywhere() {
    let workflow = r#"
[stages.s]
run = "printf 'b\nA\na\nB\n' | sort > ${outputs.o}; date -d @0 +%H:%M >> ${outputs.o}; env | grep -c '^LANG=' >> ${outputs.o} || true"
outputs = { o = "o" }
"#;
    for (language, zone) in [("de_DE.UTF-8", "Asia/Tokyo"), ("C", "America/New_York")] {
        let test = Test::new()
            .workflow(workflow)
            .run("")
            .env("LANG", language)
            .env("LC_ALL", language)
            .env("TZ", zone)
            .env("FLOW_NOTHING", "1")
            .ran("s")
            .check();
        assert_eq!(test.output("s", "o"), b"A\nB\na\nb\n00:00\n0\n");
    }
}

#[test]
fn searches_upwards_end_in_the_stage_s_folder() {
    let script = r#"
import pathlib, subprocess
here = pathlib.Path.cwd()
marks = [".git", ".project-root", "pyproject.toml"]
print([str(p) for p in here.parents for mark in marks if (p / mark).exists()])
print(subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True).returncode != 0)
"#;
    for isolation in ["", "off"] {
        let test = Test::new()
            .workflow(
                "[stages.s]\nrun = 'python3 look.py > ${outputs.o}'\ninputs = { code = { path = 'look.py' } }\noutputs = { o = 'o' }\n",
            )
            .file("look.py", script)
            .file(".project-root", "")
            .file("pyproject.toml", "")
            .file(".git/HEAD", "ref: refs/heads/main\n")
            .run("")
            .env("FLOW_ISOLATION", isolation)
            .ran("s")
            .check();
        assert_eq!(
            String::from_utf8_lossy(&test.output("s", "o")),
            "[]\nTrue\n"
        );
    }
}

#[test]
fn a_program_is_debugged_in_a_folder_as_it_begins_with() {
    let test = Test::new()
        .workflow(
            r#"
[params]
lr = 0.1

[stages.data]
run = "echo 7 > ${outputs.o}"
outputs = { o = "seven.txt" }

[stages.train]
run = "cat params.yaml ${inputs.data}; python3 code.py"
inputs = { code = { path = "code.py" }, data = "data" }
files = { "params.yaml" = { lr = "${lr}" } }
outputs = { o = "o" }
env = { MODE = "fast" }
"#,
        )
        .file("code.py", "import os\nprint(os.environ['MODE'], open('o', 'w').write('x'))\nraise SystemExit(4)\n")
        .run("")
        .anyhow()
        .check();
    assert_eq!(test.last().status, Some(1));
    let test = test
        .flow("debug flow.toml train")
        .status(4)
        .anyhow()
        .check();
    let outcome = test.last();
    assert_eq!(outcome.stdout, "lr: 0.1\n7\nfast 1\n");
    assert!(
        outcome.stderr.contains("the last attempt failed and left "),
        "{}",
        outcome.stderr
    );
    let test = test
        .flow("debug flow.toml train -- sh -c")
        .arg("ls; cat inputs/data/seven.txt; echo $MODE")
        .anyhow()
        .check();
    assert_eq!(
        test.last().stdout,
        "code.py\ninputs\nparams.yaml\n7\nfast\n"
    );
    // Nothing of it was committed.
    test.flow("status flow.toml").anyhow().check();
}

/// What the store can't take, or what can't be what was declared, is as much worth a look as what a program itself failed of.
#[test]
fn what_was_made_stays_where_it_could_not_be_kept() {
    let test = Test::new().workflow(
        r#"
[stages.odd]
run = "echo 1,2 > m.json; mkdir parts; echo a > parts/a.txt; echo b > parts/b.csv; echo c > other"
outputs = { metrics = "m.json", parts = "parts/*.txt", other = "other" }

[stages.late]
run = "echo made > out.txt; mkdir folder; echo x > folder/x; touch ~/began; until [ -e ~/go ]; do sleep 0.02; done"
outputs = { out = "out.txt", folder = "folder/" }
"#,
    );
    let mut running = test
        .flow("run flow.toml --keep-going")
        .status(1)
        .anyhow()
        .start();
    running.wait_for_path("../began");
    // A store that can't be written.
    let blobs = running.path(".flow/blobs");
    fs::create_dir_all(running.path(".flow")).unwrap();
    let _ = fs::rename(&blobs, running.path("aside"));
    fs::write(&blobs, "").unwrap();
    fs::write(running.path("../go"), "").unwrap();
    let test = running.finish();
    fs::remove_file(&blobs).unwrap();
    let told = &test.last().stderr;
    assert!(told.contains("is not a JSON object"), "{told}");
    assert!(told.contains(".flow/blobs"), "{told}");
    let work = fs::read_dir(test.path(".flow/work")).unwrap();
    let kept: Vec<_> = work
        .map(|key| key.unwrap().path().join("failed/folder"))
        .collect();
    for files in [
        &["m.json", "parts/a.txt", "parts/b.csv", "other"][..],
        &["out.txt", "folder/x"],
    ] {
        let folder = kept.iter().find(|kept| kept.join(files[0]).is_file());
        let folder = folder.unwrap_or_else(|| panic!("{files:?} in none of {kept:?}"));
        for file in files {
            assert!(
                folder.join(file).is_file(),
                "{file} in {}",
                folder.display()
            );
        }
        let key = folder.ancestors().nth(2).and_then(|key| key.file_name());
        let named = format!("its folder: DIR/.flow/work/{}/", key.unwrap().display());
        assert!(told.contains(&named), "{named}: {told}");
    }
    test.flow("debug flow.toml late -- true")
        .stderr_has("the last attempt failed and left ")
        .check();
}

/// Runs a program in a terminal of its own: types a line at each prompt, prints all that it shows, and ends as it does.
const TERMINAL: &str = r#"
import os, pty, sys
typed, program = sys.argv[1].splitlines(), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
seen = b""
while True:
    try:
        piece = os.read(terminal, 1024)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if seen.endswith(b"(Pdb) ") and typed:
        os.write(terminal, typed.pop(0).encode() + b"\n")
sys.stdout.buffer.write(seen)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// `pdb` reads from the terminal, which a stage of a run does not have.
#[test]
fn pdb_works_at_the_terminal() {
    let test = Test::new()
        .workflow(
            "[stages.s]\nrun = 'python3 -m pdb code.py'\ninputs = { code = { path = 'code.py' } }\noutputs = { o = 'o' }\n",
        )
        .file("code.py", "answer = 41\nprint('end')\n");
    let typed = "next\nprint(answer + 1)\nquit\n";
    let output = Command::new("python3")
        .args(["-c", TERMINAL, typed])
        .arg(binaries::find("flow"))
        .args(["debug", "flow.toml", "s"])
        .current_dir(test.path(""))
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(seen.contains("\n42\n"), "{seen}");
    assert!(output.status.success(), "{seen}");
}

#[test]
fn what_stages_print_is_shown_while_they_print_it() {
    let mut running = Test::new()
        .workflow(
            "[stages.s]\nrun = 'echo first; until [ -e ~/go ]; do sleep 0.02; done; printf last; echo x > ${outputs.o}'\noutputs = { o = 'o' }\n",
        )
        .flow("run flow.toml --show-output")
        .anyhow()
        .start();
    running.wait_for_stderr("s | first\n");
    fs::write(running.path("../go"), "").unwrap();
    let test = running.finish();
    let stderr = &test.last().stderr;
    let (last, end) = (stderr.find("s | last\n"), stderr.find("ran       s"));
    assert!(last.is_some() && last < end, "{stderr}");
}

#[test]
fn what_a_stage_used_is_a_column_and_too_much_memory_is_a_warning() {
    let test = Test::new()
        .workflow(
            r#"
[stages.big]
run = "python3 -c 'x = bytearray(b\"1\") * 100_000_000' && echo x > ${outputs.o}"
outputs = { o = "o" }
resources = { memory = "50MB" }
"#,
        )
        .run("")
        .anyhow()
        .check();
    assert!(
        test.last().stderr.contains("warning: big: it took 1"),
        "{}",
        test.last().stderr
    );
    let test = test
        .flow("table flow.toml --metric big.peak_memory --metric big.cpu_seconds --json")
        .anyhow()
        .check();
    let table: serde_json::Value = serde_json::from_str(&test.last().stdout).unwrap();
    let peak = table["rows"][0]["cells"]["big.peak_memory"]["mean"].as_f64();
    assert!(
        peak.is_some_and(|peak| (1e8..2e8).contains(&peak)),
        "{table}"
    );
    let test = test.flow("show flow.toml big").anyhow().check();
    let shown = &test.last().stdout;
    assert!(shown.contains("of memory at most"), "{shown}");
}

#[test]
fn a_folder_in_itself_is_refused_at_once() {
    let test = Test::new()
        .workflow(
            "[stages.s]\nrun = 'mkdir -p d/e; echo x > d/x; ln -s .. d/e/up'\noutputs = { o = 'd/' }\n",
        )
        .run("")
        .anyhow()
        .check();
    let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
    assert!(
        failure.contains("`d/e/up` leads back to a folder above it"),
        "{failure}"
    );
}

#[test]
fn a_hint_names_what_is_missing_and_no_other_word_of_the_log() {
    for (run, hinted) in [
        (
            "echo writing results; echo the rate is too large >&2; exit 3",
            false,
        ),
        ("cat results/a.csv", true),
    ] {
        let test = Test::new()
            .workflow(&format!(
                "[stages.s]\nrun = '{run}'\noutputs = {{ o = 'o' }}\n"
            ))
            .file("results/a.csv", "1\n")
            .run("")
            .anyhow()
            .check();
        let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
        assert_eq!(
            failure.contains("the project has `results/a.csv`"),
            hinted,
            "{failure}"
        );
        assert_eq!(failure.contains("the project has"), hinted, "{failure}");
    }
}

#[test]
fn checkpoints_survive_kill_9() {
    for isolation in ["", "off"] {
        let mut running = Test::new()
            .workflow(
                "[stages.s]\nrun = 'ls ckpt; touch ckpt/one ~/made; until [ -e ~/go ]; do sleep 0.02; done; ls ckpt > o'\n\
                 checkpoints = 'ckpt/'\noutputs = { o = 'o' }\n",
            )
            .flow("run flow.toml --show-output")
            .env("FLOW_ISOLATION", isolation)
            .anyhow()
            .start();
        running.wait_for_path("../made");
        let test = running.kill();
        let test = test
            .file("../go", "")
            .run("--show-output")
            .env("FLOW_ISOLATION", isolation)
            .anyhow()
            .check();
        assert!(
            test.last().stderr.contains("s | one\n"),
            "{}",
            test.last().stderr
        );
        assert_eq!(test.output("s", "o"), b"one\n");
    }
}

#[test]
fn a_path_is_no_option() {
    let test = Test::new()
        .workflow(
            "[stages.s]\nrun = 'cat ${inputs.a} > ${outputs.o}'\ninputs = { a = { path = '-n' } }\noutputs = { o = '-o' }\n",
        )
        .file("-n", "1\n")
        .run("")
        .ran("s")
        .check();
    assert_eq!(test.output("s", "o"), b"1\n");
}

/// Becomes a program for which the kernel forbids new namespaces, as the filters of containers do.
const FILTERED: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
UNSHARE = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
# Load the call's number; where it is `unshare`, fail with EPERM; else allow.
code = [(0x20, 0, 0, 0), (0x15, 0, 1, UNSHARE), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filter))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn where_a_filter_forbids_namespaces_that_is_said() {
    let test = Test::new()
        .workflow(
            r#"
[stages.s]
run = "sleep 1000 & python3 code.py > ${outputs.o}"
inputs = { code = { path = "code.py" } }
outputs = { o = "o" }

[stages.strict]
run = "echo 1 > ${outputs.o}"
outputs = { o = "o" }
isolation = "required"
"#,
        )
        .file(
            "code.py",
            "import os\nprint(sorted(os.listdir()), os.path.exists('helper.py'))\n",
        )
        .file("helper.py", "");
    let flow = |arguments: &[&str]| {
        let output = Command::new("python3")
            .args(["-c", FILTERED])
            .arg(binaries::find("flow"))
            .args(arguments)
            .current_dir(test.path(""))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stdout) + &text(&output.stderr)
    };
    let said = flow(&["run", "flow.toml", "--keep-going"]);
    assert!(said.contains("ran       s "), "{said}");
    assert!(
        said.contains("it wants to be isolated, and can't be"),
        "{said}"
    );
    flow(&["get", "flow.toml", "s", "-o", "made"]);
    assert_eq!(test.read("made"), "['.work', 'code.py', 'o'] False\n");
    let shown = flow(&["show", "flow.toml", "s"]);
    assert!(shown.contains("not isolated"), "{shown}");
}
