//! What a program runs in beside its inputs: virtual environments, containers, tools of the machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use flow_tests::Test;

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
