//! What a program runs in beside its inputs: virtual environments, containers, tools of the machine.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use flow_tests::{Signal, Test, binaries, skip};

/// A workflow whose stage runs in a virtual environment of the project.
const VENV: &str = r#"
[environments.lit]
venv = ".venv"

[stages.s]
run = "python -c 'import lit, sys; print(lit.WORD, sys.prefix)' > out; echo $VIRTUAL_ENV $${PATH%%:*} >> out; ls -A >> out"
environment = "lit"
outputs = { out = "out" }
"#;

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) {
    let output = Command::new(&program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// A virtual environment of the project, with this version of the distribution `lit`.
fn venv(test: Test, version: &str) -> Test {
    run(
        "python3",
        &["-m", "venv", test.path(".venv").to_str().unwrap()],
    );
    install(test, version)
}

/// Has pip install a wheel that is made on the spot, as anyone would.
fn install(test: Test, version: &str) -> Test {
    let wheel = test.path(&format!("../lit-{version}-py3-none-any.whl"));
    let make = r#"
import sys, zipfile
path, version = sys.argv[1:]
info = f"lit-{version}.dist-info"
with zipfile.ZipFile(path, "w") as wheel:
    wheel.writestr("lit.py", f"WORD = 'lit {version}'\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: lit\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", f"lit.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
"#;
    run("python3", &["-c", make, wheel.to_str().unwrap(), version]);
    pip(&test, &[wheel.to_str().unwrap()]);
    test
}

fn pip(test: &Test, what: &[&str]) {
    let python = test.path(".venv/bin/python");
    let offline = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"];
    let more = ["--force-reinstall", "--no-build-isolation"];
    run(python, &[&offline, &more[..], what].concat());
}

fn text(test: &Test, label: &str) -> String {
    String::from_utf8(test.output(label, "out")).unwrap()
}

#[test]
fn a_virtual_environment_of_the_project_is_there_and_in_the_key() {
    let test = venv(Test::new().workflow(VENV), "1.0")
        .run("")
        .ran("s")
        .check();
    let place = test.path(".venv");
    let place = place.display();
    // The project is hidden, and holds this alone.
    let expected = format!("lit 1.0 {place}\n{place} {place}/bin\n.work\nout\n");
    assert_eq!(text(&test, "s"), expected);
    let test = test.run("").cached("s").check().run("").cached("s").check();
    let test = install(test, "1.1").run("").ran("s").check();
    assert!(text(&test, "s").starts_with("lit 1.1 "));
    // Back again: the first result stands, though pip wrote all files anew.
    let test = install(test, "1.0").run("").cached("s").check();
    // What says the same through a lock file is another key, and has to agree.
    let locked = test
        .edit(
            "venv = \".venv\"",
            "venv = \".venv\"\nlock = \"requirements.txt\"",
        )
        .file("requirements.txt", "lit==1.0\n")
        .run("")
        .ran("s")
        .check();
    locked
        .run("")
        .cached("s")
        .check()
        .file("requirements.txt", "lit==1.1\n")
        .run("")
        .status(2)
        .stderr_has("requirements.txt pins lit 1.1")
        .stderr_has("has lit 1.0")
        .stderr_has("environment = \"lit\"")
        .check();
}

#[test]
fn code_that_is_linked_into_an_environment_has_to_be_an_input() {
    let test = venv(Test::new().workflow(VENV), "1.0");
    let site = test.path(".venv/lib");
    let python = fs::read_dir(site).unwrap().next().unwrap().unwrap().path();
    // As `pip install -e` leaves it.
    let code = test.path("src");
    fs::write(
        python.join("site-packages/__editable__.mine.pth"),
        code.to_str().unwrap(),
    )
    .unwrap();
    let test = test
        .file("src/mine.py", "WORD = 'mine'\n")
        .run("")
        .status(2)
        .stderr_has("leads Python to")
        .stderr_has("declare the folder as an input of the stage")
        .stderr_has("environment = \"lit\"")
        .check();
    let test = test
        .edit(
            "environment = \"lit\"",
            "environment = \"lit\"\ninputs = { src = { path = \"src\" } }",
        )
        .edit(
            "import lit, sys; print(lit.WORD,",
            "import mine, sys; print(mine.WORD,",
        )
        .run("")
        .ran("s")
        .check();
    assert!(
        text(&test, "s").starts_with("mine "),
        "{}",
        text(&test, "s")
    );
    test.file("src/mine.py", "WORD = 'other'\n")
        .run("")
        .ran("s")
        .check();
}

#[test]
fn a_missing_environment_is_said_before_anything_runs() {
    Test::new()
        .workflow(VENV)
        .run("")
        .status(2)
        .stderr_has("is no virtual environment")
        .stderr_has("environment = \"lit\"")
        .stderr_has("python3 -m venv")
        .check()
        .flow("check flow.toml")
        .status(2)
        .stderr_has("is no virtual environment")
        .check();
}

/// A workflow whose stage depends on a tool.
const TOOL: &str = r#"
[stages.s]
run = "mytool > out"
tools = { mytool = "mytool --version" }
outputs = { out = "out" }
"#;

/// Puts a program into the folder `../bin`, and gives a PATH that begins there.
fn bin(test: &Test, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let bin = test.path("../bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join(name), text).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_tool_that_says_another_version_is_another_key() {
    let tool =
        |version: &str, more: &str| format!("#!/bin/sh\n# {more}\necho mytool {version} \"$@\"\n");
    let test = Test::new().workflow(TOOL);
    let path = bin(&test, "mytool", &tool("1", ""));
    let test = test.run("").env("PATH", &path).ran("s").check();
    // The command counts, and not the file.
    bin(&test, "mytool", &tool("1", "other bytes"));
    let test = test.run("").env("PATH", &path).cached("s").check();
    let test = test.run("").env("PATH", &path).cached("s").check();
    bin(&test, "mytool", &tool("2", ""));
    let test = test.run("").env("PATH", &path).ran("s").check();
    assert_eq!(text(&test, "s"), "mytool 2\n");
    let test = test
        .flow("show flow.toml s")
        .env("PATH", &path)
        .stdout_has("tool        mytool = mytool 2 --version")
        .check();
    bin(&test, "mytool", "#!/bin/sh\necho broken >&2\nexit 3\n");
    test.run("")
        .env("PATH", &path)
        .status(2)
        .stderr_has("the tool mytool is asked by `mytool --version`, which ended with exit status: 3: broken")
        .stderr_has("tools = { mytool")
        .check();
}

#[test]
fn a_tool_by_its_file_is_another_key_when_the_file_changes() {
    let test =
        Test::new().workflow(&TOOL.replace("{ mytool = \"mytool --version\" }", "[\"mytool\"]"));
    let path = bin(&test, "mytool", "#!/bin/sh\necho hello\n");
    let test = test
        .run("")
        .env("PATH", &path)
        .status(2)
        .stderr_has("(a script)")
        .stderr_has("tools = { mytool = \"mytool --version\" }")
        .check();
    let place = |program: &str| {
        let program = fs::canonicalize(program).unwrap();
        fs::copy(program, test.path("../bin/mytool")).unwrap();
    };
    place("/bin/pwd");
    let test = test.run("").env("PATH", &path).ran("s").check();
    let test = test.run("").env("PATH", &path).cached("s").check();
    fs::remove_file(test.path("../bin/mytool")).unwrap();
    let test = test
        .run("")
        .env("PATH", &path)
        .status(2)
        .stderr_has("the tool mytool is not on the PATH")
        .check();
    fs::copy(
        fs::canonicalize("/bin/date").unwrap(),
        test.path("../bin/mytool"),
    )
    .unwrap();
    let test = test.run("").env("PATH", &path).ran("s").check();
    fs::remove_file(test.path("../bin/mytool")).unwrap();
    symlink("/bin/sh", test.path("../bin/mytool")).unwrap();
    test.run("")
        .env("PATH", &path)
        .status(2)
        .stderr_has("(a link to ")
        .check();
}

#[test]
fn a_tool_is_asked_in_the_environment_of_its_stage() {
    let workflow = VENV.replace(
        "outputs =",
        "tools = { lit = \"python -c 'import lit; print(lit.WORD)'\" }\noutputs =",
    );
    let test = venv(Test::new().workflow(&workflow), "1.0")
        .run("")
        .ran("s")
        .check();
    let asked = test.flow("show flow.toml s").anyhow().check();
    let shown = &asked.last().stdout;
    assert!(shown.contains("tool        lit = lit 1.0"), "{shown}");
    assert!(shown.contains("runs in     DIR/.venv"), "{shown}");
}

/// Podman with a storage of its own, and an image made on the spot.
struct Podman {
    folder: tempfile::TempDir,
    image: String,
}

impl Podman {
    /// None where the machine has none of it.
    fn new() -> Option<Podman> {
        let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
        let lacks: Vec<&str> = ["podman", "runc"]
            .into_iter()
            .filter(|program| !is_there(program))
            .collect();
        let busybox = Path::new("/bin/busybox");
        if !lacks.is_empty() || !busybox.exists() {
            skip!(
                "no podman, runc or busybox (apt-get install podman runc catatonit busybox-static)"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // A machine of continuous integration has neither systemd nor overlays.
        let limits = "default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]";
        let engine = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        fs::write(
            at("containers.conf"),
            format!("[containers]\n{limits}\n{engine}"),
        )
        .unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            at("root"),
            at("run")
        );
        fs::write(at("storage.conf"), storage).unwrap();
        let programs = at("image/bin");
        fs::create_dir_all(&programs).unwrap();
        fs::copy(busybox, programs.join("busybox")).unwrap();
        for name in ["sh", "cat", "ls", "sleep", "env", "touch"] {
            symlink("busybox", programs.join(name)).unwrap();
        }
        let mut podman = Podman {
            image: String::new(),
            folder,
        };
        podman.image = podman.import("1");
        Some(podman)
    }

    /// An image that says this version of itself.
    fn import(&self, version: &str) -> String {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let (image, content) = (at("image.tar"), at("image"));
        fs::write(at("image/version"), version).unwrap();
        run("tar", &["-C", &content, "-cf", &image, "."]);
        let name = format!("localhost/tiny:{version}");
        self.call(&["import", "--change", "ENV PATH=/bin", &image, &name]);
        let digest = ["image", "inspect", "--format", "{{.Digest}}", &name];
        format!("localhost/tiny@{}", self.call(&digest).trim())
    }

    fn settings(&self) -> [(&'static str, PathBuf); 2] {
        let at = |name: &str| self.folder.path().join(name);
        [
            ("CONTAINERS_CONF", at("containers.conf")),
            ("CONTAINERS_STORAGE_CONF", at("storage.conf")),
        ]
    }

    fn call(&self, arguments: &[&str]) -> String {
        let mut podman = Command::new("podman");
        let output = podman
            .args(arguments)
            .envs(self.settings())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, test: Test) -> Test {
        self.with(test.run(""))
    }

    /// A call that finds the images here.
    fn with(&self, test: Test) -> Test {
        let settings = self.settings().into_iter();
        settings.fold(test, |test, (name, value)| test.env(name, value))
    }

    fn workflow(&self, rest: &str) -> String {
        format!("[environments.box]\nimage = \"{}\"\n{rest}", self.image)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let mut podman = Command::new("podman");
        let _ = podman.args(["rmi", "-af"]).envs(self.settings()).output();
    }
}

/// A stage that says what it sees of the machine.
const BOXED: &str = r#"
[stages.big]
run = "head -c 3000000 /dev/zero > big"
outputs = { big = "big" }

[stages.s]
run = ["sh", "-c", """exec > out 2>&1; pwd; ls -A; ls inputs/big; cat own.txt; echo x > inputs/big/big
  env | while IFS= read -r line; do case $line in (GIVEN=*|HIDDEN=*|PATH=*|LC_ALL=*|HOME=*|USER=*) echo "$line" > "env.${line%%=*}"; esac; done
  cat env.*; ls /sys/class/net; ls PROJECT; true"""]
inputs = { big = "big.big", own = { path = "own.txt" } }
env = { GIVEN = "a b, c=d", PATH = "/bin" }
secret_env = ["HIDDEN"]
isolation = { network = false }
environment = "box"
tools = { busybox = "busybox cat /version" }
outputs = { out = "out" }
"#;

#[test]
fn a_container_sees_the_stage_s_folder_and_nothing_else() {
    let Some(podman) = Podman::new() else {
        return;
    };
    let test = Test::new().file("own.txt", "mine\n");
    let project = test.path("").display().to_string();
    let boxed = BOXED.replace("PROJECT", &project).replace("$${", "${");
    let test = test.workflow(&podman.workflow(&boxed.replace("${line", "$${line")));
    let test = podman.run(test).env("HIDDEN", "hush").ran("big s").check();
    let expected = format!(
        "/tmp/flow-stage\n.work\ninputs\nout\nown.txt\nbig\nmine\nsh: can't create inputs/big/big: Read-only file system\n\
         GIVEN=a b, c=d\nHIDDEN=hush\nHOME=/\nLC_ALL=C.UTF-8\nPATH=/bin\nlo\nls: {project}: No such file or directory\n"
    );
    assert_eq!(text(&test, "s"), expected);
    let test = podman
        .run(test)
        .env("HIDDEN", "other")
        .cached("big s")
        .check();
    // Another image is another key.
    let image = podman.import("2");
    let test = test.edit(&podman.image, &image);
    let test = podman
        .run(test)
        .stages("cached", "big")
        .stages("ran", "s")
        .check();
    let shown = test.flow("show flow.toml s").anyhow().check();
    let shown = &shown.last().stdout;
    assert!(
        shown.contains(&format!("runs in     {image} by podman")),
        "{shown}"
    );
}

#[test]
fn what_a_container_leaves_behind_is_the_user_s_and_gc_deletes_it() {
    let Some(podman) = Podman::new() else {
        return;
    };
    let command = "busybox mkdir -p out/deep && echo x > out/deep/file && busybox chmod 500 out/deep && cat own.txt";
    let stage = "inputs = { own = { path = 'own.txt' } }\noutputs = { out = 'out/' }\nenvironment = 'box'\n";
    let text =
        format!("[stages.s]\nrun = ['sh', '-c', '{command} && exit $(cat own.txt)']\n{stage}");
    let test = Test::new()
        .workflow(&podman.workflow(&text))
        .file("own.txt", "3\n");
    let test = podman.run(test).status(1).stages("failed", "s").check();
    let user = rustix::process::getuid().as_raw();
    let left = || flow_tests::store::files(&test.path(".flow/work"));
    let found: Vec<_> = left()
        .into_iter()
        .filter(|path| path.ends_with("out/deep/file"))
        .collect();
    assert_eq!(found.len(), 1, "{:?}", left());
    for path in found[0].ancestors().take(3) {
        assert_eq!(
            fs::metadata(path).unwrap().uid(),
            user,
            "{}",
            path.display()
        );
    }
    // A folder that nobody may write to is removed all the same.
    let age = "cache gc flow.toml --max-age 0s";
    let test = test.flow(age).anyhow().check();
    let left = flow_tests::store::files(&test.path(".flow/work"));
    assert!(
        !left.iter().any(|path| path.ends_with("out/deep/file")),
        "{left:?}"
    );
    let test = test.file("own.txt", "0\n");
    podman.run(test).ran("s").check();
}

/// How many processes of the machine have this in their command line.
fn processes(mark: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let has = |line: &Vec<u8>| line.windows(mark.len()).any(|part| part == mark.as_bytes());
    lines.filter(has).count()
}

#[track_caller]
fn within(seconds: u64, what: &str, is: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(seconds);
    while !is() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_container_ends_with_its_stage() {
    let Some(podman) = Podman::new() else {
        return;
    };
    // Containers of a storage name its folder in the command line of what watches them.
    let storage = podman.folder.path().display().to_string();
    for signal in [Signal::INT, Signal::KILL] {
        let mark = format!("7{}.{}", std::process::id(), signal.as_raw());
        // What is in no key says whether it takes long.
        let stage = r#"
[stages.s]
run = ["sh", "-c", "if [ -n \"$LONG\" ]; then sleep $LONG & sleep $LONG; fi; touch o"]
secret_env = ["LONG"]
outputs = { o = "o" }
environment = "box"
"#;
        let test = Test::new().workflow(&podman.workflow(stage));
        let running = podman.run(test).env("LONG", &mark).anyhow().start();
        within(60, "the container starts", || processes(&mark) >= 2);
        running.signal(signal);
        let test = running.finish();
        within(5, "all of it ends", || {
            processes(&mark) == 0 && processes(&storage) == 0
        });
        podman.run(test).ran("s").check();
    }
    assert_eq!(podman.call(&["ps", "--all", "--quiet"]), "");
}

#[test]
fn a_stage_in_a_container_is_debugged_at_the_terminal() {
    let Some(podman) = Podman::new() else {
        return;
    };
    let stage = r#"
[stages.s]
run = ["sh", "-c", "if [ -t 0 ]; then echo terminal; else echo none; fi; touch o"]
outputs = { o = "o" }
environment = "box"
"#;
    let test = Test::new().workflow(&podman.workflow(stage));
    let debug = |more: &[&str]| {
        let spawn =
            "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let output = Command::new("python3")
            .args(["-c", spawn])
            .arg(binaries::find("flow"))
            .args(["debug", "flow.toml", "s"])
            .args(more)
            .envs(podman.settings())
            .current_dir(test.path(""))
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        assert!(output.status.success(), "{seen}");
        seen
    };
    assert_eq!(debug(&[]), "terminal\n");
    // A command in its place runs where it does.
    let seen = debug(&["--", "sh", "-c", "test -t 0 && pwd && test ! -e /usr/lib"]);
    assert_eq!(seen, "/tmp/flow-stage\n");
    // Without a terminal there is none.
    let test = test.beside().flow("debug flow.toml s");
    let test = podman.with(test).stdout("none\n").check();
    podman.run(test).ran("s").check();
}
