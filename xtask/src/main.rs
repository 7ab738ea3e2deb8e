//! `cargo xtask …`: sets libtorch up, then builds, runs, tests and installs the workspace.
//!
//! - [`libtorch`]: finds libtorch or fetches it, and links it to `target/libtorch`.
//! - [`wheels`]: the pinned Python wheels that libtorch comes in: fetch, check, unpack.
//! - [`install`]: puts `flow` and its plugins on the PATH.
//! - [`torch`]: the tests of networks once more, for other processors.

mod install;
mod libtorch;
mod torch;
mod wheels;

use std::io::{BufRead, BufReader, ErrorKind, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Set-up, tests and installation of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
enum Arguments {
    /// Build flow and its plugins, then run flow with the arguments that follow
    Flow {
        /// The arguments of flow, such as `run workflows/quickstart.toml`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run everything that continuous integration runs: fmt, clippy, doc, test
    Test,
    /// Fetch libtorch, if need be, and link it to target/libtorch
    Setup {
        /// Take the build for CUDA with all its libraries: a download of about 2.5 GB
        #[arg(long)]
        cuda: bool,
    },
    /// Build in release mode and put flow, its plugins and libtorch under one folder
    Install {
        /// The folder that gets `bin/` and `lib/` [default: that of `cargo install`]
        #[arg(long)]
        root: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            if is_disk_full(&error) {
                eprintln!(
                    "The disk is full. libtorch needs 1.1 GB in the cache folder (7 GB with --cuda) while it is set up: \
                     make room, or let XDG_CACHE_HOME name a folder on another disk."
                );
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments {
        Arguments::Flow { arguments } => flow(&arguments),
        Arguments::Test => test(),
        Arguments::Setup { cuda } => {
            let variant = if cuda {
                wheels::Variant::Cuda
            } else {
                wheels::Variant::Cpu
            };
            let found = libtorch::set_up(Some(variant))?;
            eprintln!("libtorch {} is {}", wheels::VERSION, found.display());
            Ok(ExitCode::SUCCESS)
        }
        Arguments::Install { root } => {
            let found = libtorch::set_up(None)?;
            install::install(root, &found)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Builds every binary, then becomes `flow`: its exit status and its signals are the caller's.
fn flow(arguments: &[String]) -> Result<ExitCode> {
    libtorch::set_up(None)?;
    build(&[])?;
    // This binary was built into the same folder by `cargo xtask`.
    let binary = std::env::current_exe()
        .context("this program's own path is unknown")?
        .with_file_name("flow");
    let error = Command::new(&binary)
        .args(arguments)
        .env_remove("LIBTORCH")
        .exec();
    Err(error).with_context(|| format!("{} can't be started", binary.display()))
}

fn test() -> Result<ExitCode> {
    libtorch::set_up(None)?;
    if std::env::var_os("CI").is_some() {
        if !Path::new("/usr/share/datasets/fashion-mnist").exists() {
            fetch(&["dataset-fashion-mnist"]);
        }
        if !Path::new("/usr/bin/chromium").exists() {
            fetch(&["chromium"]);
        }
        let containers = ["podman", "runc", "catatonit", "busybox-static"];
        let is_there = |package: &&str| Path::new("/usr/share/doc").join(package).exists();
        if !containers.iter().all(is_there) {
            fetch(&containers);
        }
        fetch_taplo()?;
    }
    let cargo_with = |arguments: &[&str]| {
        let mut command = cargo();
        command.args(arguments);
        command
    };
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step("fmt", cargo_with(&["fmt", "--all", "--check"]))?;
    step("clippy", cargo_with(&clippy))?;
    let mut doc = cargo_with(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    step("doc", doc)?;
    // The end-to-end tests drive the built binaries.
    build(&[])?;
    let mut python = Command::new("python3");
    python.args(["-m", "unittest", "discover", "stages/python"]);
    let own = std::env::current_exe().context("this program's own path is unknown")?;
    python.env("FLOW", own.with_file_name("flow"));
    if std::env::var_os("CI").is_some() {
        python.env("PYTHONPATH", fetch_python(&own)?);
    }
    step("python", python)?;
    step(
        "test",
        cargo_with(&["test", "--workspace", "--no-fail-fast"]),
    )?;
    torch::test_as_if_without_avx512()?;
    Ok(ExitCode::SUCCESS)
}

/// Runs one step of the tests and says how long it took.
fn step(name: &str, mut command: Command) -> Result<()> {
    let begun = Instant::now();
    eprintln!("== {name}");
    let status = command
        .current_dir(root())
        .status()
        .with_context(|| format!("{} can't be started", command.get_program().display()))?;
    eprintln!("== {name}: {:.1} s", begun.elapsed().as_secs_f64());
    if !status.success() {
        bail!("{name} failed");
    }
    Ok(())
}

/// Installs packages that some tests need: images to train on, a browser to look at reports with, what runs containers. Where
/// this is a machine of continuous integration with Debian's packages; elsewhere those tests say that they are passed over.
fn fetch(packages: &[&str]) {
    let install = [&["install", "-q", "-y"], packages].concat();
    for arguments in [&["update", "-q"][..], &install] {
        let status = Command::new("apt-get")
            .args(arguments)
            .stdout(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            let (packages, arguments) = (packages.join(", "), arguments.join(" "));
            eprintln!("{packages} can't be installed: apt-get {arguments} failed");
            return;
        }
    }
}

/// What the tests of the Python packages need: what reads and writes arrays, tables and networks, shows notebooks, nests
/// parameters, and checks types and JSON Schemas.
const PYTHON: [&str; 7] = [
    "numpy>=2,<3",
    "pandas>=2.2,<4",
    "ipython>=8,<10",
    "safetensors>=0.5,<1",
    "pydantic>=2,<3",
    "mypy>=1.15,<3",
    "jsonschema>=4.20,<5",
];

/// Puts [`PYTHON`] beside the build, and gives its folder.
fn fetch_python(own: &Path) -> Result<PathBuf> {
    // `target/debug/xtask`.
    let folder = own.ancestors().nth(2).unwrap_or(root()).join("python");
    let is_there = |name| folder.join(name).exists();
    if ["pandas", "safetensors", "pydantic", "mypy", "jsonschema"]
        .into_iter()
        .all(is_there)
    {
        return Ok(folder);
    }
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--no-input", "--upgrade"])
        .arg("--target")
        .arg(&folder)
        .args(PYTHON)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("{} can't be installed with pip", PYTHON.join(", "));
    }
    Ok(folder)
}

/// Puts the validator that TOML editors use beside the build, for the test of the JSON Schema.
fn fetch_taplo() -> Result<()> {
    let own = std::env::current_exe().context("this program's own path is unknown")?;
    // `target/debug/xtask`.
    let target = own.ancestors().nth(2).unwrap_or(root());
    let folder = target.join("taplo");
    if folder.join("bin/taplo").exists() {
        return Ok(());
    }
    let status = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args(["--disable-pip-version-check", "--no-input"])
        .arg("--target")
        .arg(&folder)
        .arg("taplo==0.9.3")
        .status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("taplo can't be installed: python3 -m pip install taplo==0.9.3 failed");
    }
    Ok(())
}

/// Runs `cargo build` over the workspace's binaries, this one too: another choice would build shared crates once more with
/// other features. Says nothing where there is nothing to build.
fn build(arguments: &[&str]) -> Result<()> {
    let color = if std::io::stderr().is_terminal() {
        "always"
    } else {
        "never"
    };
    let mut child = cargo()
        .args(["build", "--workspace", "--bins"])
        .args(["--color", color])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo can't be started")?;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line.context("cargo's output can't be read")?;
            if !(line.contains("Finished") && line.contains("profile")) {
                eprintln!("{line}");
            }
        }
    }
    if !child.wait()?.success() {
        bail!("the build failed");
    }
    Ok(())
}

/// Cargo on this workspace. `.cargo/config.toml` sets LIBTORCH to the link in `target/` where the environment does
/// not, so it must not: one value for all calls, and libtorch's binding is built once.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env_remove("LIBTORCH");
    command
}

/// The workspace's folder.
fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn is_disk_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    })
}
