//! Environments and tools: what is in the key of them, and what is refused.

#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flow_cache::{Digest, Store};
use flow_plan::plan::Environment;
use flow_run::process::{Confinement, Launch, Mount, output};
use flow_run::surroundings::{Surroundings, resolve, tools};

/// A folder with a store and a virtual environment.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let made = Command::new("python3")
            .args(["-m", "venv", "--without-pip"])
            .arg(place.at("venv"))
            .status();
        assert!(made.unwrap().success());
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.at("store")).unwrap()
    }

    fn site(&self) -> PathBuf {
        let python = fs::read_dir(self.at("venv/lib")).unwrap().next();
        python.unwrap().unwrap().path().join("site-packages")
    }

    /// As pip leaves a distribution.
    fn install(&self, name: &str, version: &str, sum: &str) {
        let info = self.site().join(format!("{name}-{version}.dist-info"));
        fs::create_dir(&info).unwrap();
        let metadata =
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n");
        fs::write(info.join("METADATA"), metadata).unwrap();
        let record = format!(
            "{name}.py,sha256={sum},1\n../../../bin/{name},sha256={sum}x,1\n{name}-{version}.dist-info/RECORD,,\n"
        );
        fs::write(info.join("RECORD"), record).unwrap();
    }

    fn venv(&self, lock: Option<&str>, inputs: &[PathBuf]) -> Result<Surroundings, String> {
        let environment = Environment::Venv {
            folder: "venv".into(),
            lock: lock.map(String::from),
        };
        resolve(&environment, self.0.path(), inputs, &self.store()).map_err(|e| e.to_string())
    }
}

#[test]
fn a_virtual_environment_is_what_is_installed_there() {
    let place = Place::new();
    let empty = place.venv(None, &[]).unwrap();
    place.install("Thing_One", "1.0", "abc");
    let one = place.venv(None, &[]).unwrap();
    assert_ne!(one.digest, empty.digest);
    assert_eq!(place.venv(None, &[]).unwrap(), one);
    // The same elsewhere is the same.
    let other = Place::new();
    other.install("Thing_One", "1.0", "abc");
    assert_eq!(other.venv(None, &[]).unwrap().digest, one.digest);
    let third = Place::new();
    third.install("Thing_One", "1.0", "abd");
    assert_ne!(third.venv(None, &[]).unwrap().digest, one.digest);
}

#[test]
fn a_lock_file_has_to_agree() {
    let place = Place::new();
    place.install("Thing_One", "1.0", "abc");
    let of = |text: &str| {
        fs::write(place.at("requirements.txt"), text).unwrap();
        place.venv(Some("requirements.txt"), &[])
    };
    let agrees = of("thing.one==1.0\n").unwrap();
    assert_ne!(agrees.digest, place.venv(None, &[]).unwrap().digest);
    let error = of("thing-one==1.1\n").unwrap_err();
    assert!(
        error.contains("pins thing-one 1.1") && error.contains("thing-one 1.0"),
        "{error}"
    );
    let error = of("thing-one==1.0\nother==2\n").unwrap_err();
    assert!(
        error.contains("pins other 2") && error.contains("none"),
        "{error}"
    );
    let error = of("thing-one>=1.0\n").unwrap_err();
    assert!(error.contains("thing-one>=1.0"), "{error}");
}

#[test]
fn code_linked_from_elsewhere_is_refused_unless_it_is_an_input() {
    let place = Place::new();
    let source = place.at("source");
    fs::create_dir(&source).unwrap();
    fs::write(
        place.site().join("__editable__.mine.pth"),
        format!("{}\n", source.display()),
    )
    .unwrap();
    let error = place.venv(None, &[]).unwrap_err();
    assert!(
        error.contains("__editable__.mine.pth") && error.contains("--editable"),
        "{error}"
    );
    place.venv(None, std::slice::from_ref(&source)).unwrap();
    fs::remove_file(place.site().join("__editable__.mine.pth")).unwrap();
    place.venv(None, &[]).unwrap();
    place.install("mine", "1", "a");
    let url = format!(
        r#"{{"dir_info": {{"editable": true}}, "url": "file://{}"}}"#,
        source.display()
    );
    fs::write(place.site().join("mine-1.dist-info/direct_url.json"), url).unwrap();
    // Another time than when it was read before.
    fs::write(place.site().join("x.pth"), "").unwrap();
    assert!(place.venv(None, &[]).unwrap_err().contains("mine-1"));
    let error = resolve(
        &Environment::Venv {
            folder: "source".into(),
            lock: None,
        },
        place.0.path(),
        &[],
        &place.store(),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("no virtual environment")
    );
}

#[test]
fn programs_of_a_virtual_environment_come_first() {
    let place = Place::new();
    let surroundings = place.venv(None, &[]).unwrap();
    let mut launch = Launch::new("python3");
    launch.arguments = ["-c", "import sys; print(sys.prefix)"]
        .map(OsString::from)
        .to_vec();
    launch.environment = vec![
        ("CONDA_PREFIX".into(), "/another".into()),
        ("PATH".into(), std::env::var_os("PATH").unwrap()),
    ];
    let launch = surroundings.enter(launch, None).unwrap();
    let prefix = output(&launch, Duration::from_secs(60)).unwrap().stdout;
    let prefix = String::from_utf8(prefix).unwrap();
    assert_eq!(
        Path::new(prefix.trim()),
        place.at("venv").canonicalize().unwrap()
    );
    let has = |name: &str| launch.environment.iter().find(|(known, _)| known == name);
    assert_eq!(has("VIRTUAL_ENV").unwrap().1, place.at("venv"));
    assert_eq!(has("CONDA_PREFIX"), None);
}

/// A folder of programs, and the value of a tool there.
fn tool(place: &Path, name: &str, command: Option<&str>) -> Result<String, String> {
    let path = format!("{}:/usr/bin:/bin", place.join("bin").display());
    let environment = [("PATH".into(), path.into())];
    let store = Store::open(&place.join("store")).unwrap();
    store.note(&Digest::of_bytes(b""), &()).unwrap();
    tools::value(name, command, &environment, None, &store).map_err(|e| e.to_string())
}

fn program(place: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(place.join("bin")).unwrap();
    let path = place.join("bin").join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_tool_is_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let asked = place.join("asked");
    let text = |version: &str| {
        format!(
            "#!/bin/sh\necho x >> {}\necho {version}\necho more >&2\n",
            asked.display()
        )
    };
    program(place, "samtools", &text("1.19"));
    let ask = || tool(place, "samtools", Some("samtools --version")).unwrap();
    assert_eq!(ask(), "1.19\nmore");
    // A script may be a launcher of something else.
    assert_eq!(fs::read_to_string(&asked).unwrap(), "x\n");
    assert_eq!(ask(), "1.19\nmore");
    assert_eq!(fs::read_to_string(&asked).unwrap(), "x\nx\n");
    program(place, "samtools", &text("1.20"));
    assert_eq!(ask(), "1.20\nmore");
    program(place, "samtools", "#!/bin/sh\necho broken >&2\nexit 3\n");
    let error = tool(place, "samtools", Some("samtools --version")).unwrap_err();
    assert!(error.contains("exit status: 3: broken"), "{error}");
    program(place, "samtools", "#!/bin/sh\n");
    let error = tool(place, "samtools", Some("samtools --version")).unwrap_err();
    assert!(error.contains("printed nothing"), "{error}");
}

#[test]
fn a_program_with_options_alone_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let date = fs::canonicalize("/bin/date").unwrap();
    program(place, "now", "");
    fs::copy(&date, place.join("bin/now")).unwrap();
    let ask = |command: &str| tool(place, "now", Some(command)).unwrap();
    let plain = "now --rfc-3339=ns";
    let first = ask(plain);
    assert_eq!(ask(plain), first);
    // What else stands there may be of anything.
    for command in ["now +%s%N", "now --rfc-3339=ns | cat", "now -u $FORMAT +%N"] {
        assert_ne!(ask(command), ask(command), "{command}");
    }
    fs::copy(&date, place.join("bin/now")).unwrap();
    assert_ne!(ask(plain), first);
    // Another program of that name comes first.
    fs::create_dir(place.join("first")).unwrap();
    fs::copy(&date, place.join("first/now")).unwrap();
    let second = ask(plain);
    let path = format!(
        "{}:{}:/bin",
        place.join("first").display(),
        place.join("bin").display()
    );
    let environment = [("PATH".into(), path.into())];
    let store = Store::open(&place.join("store")).unwrap();
    let found = tools::value("now", Some(plain), &environment, None, &store);
    assert_ne!(found.unwrap(), second);
}

#[test]
fn a_tool_by_its_file_is_a_program_and_no_launcher() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    program(place, "shim", "#!/bin/sh\nexec other\n");
    let error = tool(place, "shim", None).unwrap_err();
    assert!(
        error.contains("a script") && error.contains("shim = \"shim --version\""),
        "{error}"
    );
    let cat = fs::canonicalize("/bin/cat").unwrap();
    fs::copy(&cat, place.join("bin/mine")).unwrap();
    let value = tool(place, "mine", None).unwrap();
    assert!(value.starts_with("file "), "{value}");
    std::os::unix::fs::symlink("mine", place.join("bin/many")).unwrap();
    let error = tool(place, "many", None).unwrap_err();
    assert!(error.contains("a link to"), "{error}");
    fs::copy(fs::canonicalize("/bin/ls").unwrap(), place.join("bin/mine")).unwrap();
    assert_ne!(tool(place, "mine", None).unwrap(), value);
    assert!(
        tool(place, "absent", None)
            .unwrap_err()
            .contains("not on the PATH")
    );
}

#[test]
fn an_image_is_named_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let of = |engine: &str, image: &str| {
        let environment = Environment::Image {
            engine: engine.into(),
            image: image.into(),
        };
        resolve(&environment, folder.path(), &[], &store).map_err(|e| e.to_string())
    };
    let named = format!("docker.io/library/debian@sha256:{}", "0".repeat(64));
    assert_eq!(
        of("podman", &named).unwrap().digest,
        of("docker", &named).unwrap().digest
    );
    assert!(of("podman", "debian:12").unwrap_err().contains("@sha256:"));
    assert!(
        of("apptainer", "absent.sif")
            .unwrap_err()
            .contains("absent.sif")
    );
    assert!(of("rkt", &named).unwrap_err().contains("rkt"));
}

/// Storage and settings of a podman of the test's own, which needs neither systemd nor overlays, and an image made of busybox.
/// Gives the variables, and the image by digest.
fn podman(folder: &Path) -> Option<(Vec<(&'static str, PathBuf)>, String)> {
    let there = |name: &str| {
        let places = ["/usr/bin", "/usr/sbin", "/bin"];
        places
            .iter()
            .map(|place| Path::new(place).join(name))
            .find(|path| path.is_file())
    };
    let (Some(_), Some(_), Some(busybox)) = (there("podman"), there("runc"), there("busybox"))
    else {
        flow_tests::skip!(
            "no podman, runc and busybox, so no container was run (apt-get install podman runc busybox-static)"
        );
    };
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n",
        folder.display()
    );
    let settings = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                    [containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n";
    fs::write(folder.join("storage.conf"), storage).unwrap();
    fs::write(folder.join("containers.conf"), settings).unwrap();
    let variables = vec![
        ("CONTAINERS_STORAGE_CONF", folder.join("storage.conf")),
        ("CONTAINERS_CONF", folder.join("containers.conf")),
    ];
    let bin = folder.join("image/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(busybox, bin.join("busybox")).unwrap();
    for name in ["sh", "cat", "ls", "echo"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let said = |command: &mut Command| {
        let output = command.envs(variables.iter().cloned()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    };
    let archive = folder.join("image.tar");
    said(
        Command::new("tar")
            .arg("-C")
            .arg(folder.join("image"))
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    );
    let change = ["import", "--change", "ENV PATH=/bin"];
    said(
        Command::new("podman")
            .args(change)
            .arg(&archive)
            .arg("localhost/tiny:1"),
    );
    let inspect = [
        "image",
        "inspect",
        "localhost/tiny:1",
        "--format",
        "{{.Digest}}",
    ];
    let digest = said(Command::new("podman").args(inspect));
    Some((variables, format!("localhost/tiny@{digest}")))
}

#[test]
fn a_program_in_a_container_sees_its_folder_and_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let Some((variables, image)) = podman(folder.path()) else {
        return;
    };
    let environment = Environment::Image {
        engine: "podman".into(),
        image,
    };
    let store = Store::open(&folder.path().join("store")).unwrap();
    let surroundings = resolve(&environment, folder.path(), &[], &store).unwrap();
    // A name that command lines and CSV would read otherwise.
    let (stage, input) = (
        folder.path().join("a, \"b\" c"),
        folder.path().join("input"),
    );
    fs::create_dir(&stage).unwrap();
    fs::write(&input, "read me\n").unwrap();
    let script = format!(
        "ls /sys/class/net; echo \"$ONE\"; cat {0}; echo no > {0} || echo refused; echo made > out; exit 7",
        input.display()
    );
    let path = std::env::var("PATH").unwrap();
    let mut launch = Launch::new("sh");
    launch.arguments = vec!["-c".into(), script.into()];
    launch.environment = vec![
        ("ONE".into(), "1  '2'".into()),
        ("PATH".into(), path.into()),
    ];
    launch.folder = "/flow/stage".into();
    let bind = |from: &Path, to: &Path, read_only| Mount::Bind {
        from: from.into(),
        to: to.into(),
        read_only,
    };
    launch.confinement = Some(Confinement {
        mounts: vec![
            bind(&stage, Path::new("/flow/stage"), false),
            bind(&input, &input, true),
        ],
        network: false,
    });
    let started = surroundings.enter(launch, None).unwrap();
    let output = Command::new(&started.program)
        .args(&started.arguments)
        .env_clear()
        .envs(started.environment.iter().cloned())
        .envs(variables)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "lo\n1  '2'\nread me\nrefused\n",
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(stage.join("out")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(&input).unwrap(), "read me\n");
}
