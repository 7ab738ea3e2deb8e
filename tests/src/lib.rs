//! End-to-end tests of flow: each is a sentence that drives the real binaries in a folder of its own.
//!
//! ```no_run
//! use flow_tests::Test;
//! Test::new()
//!     .file("flow.toml", "[stages.a]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }")
//!     .run("")
//!     .ran("a")
//!     .check()
//!     .run("")
//!     .cached("a")
//!     .check();
//! ```
//!
//! What a test does not state is expected not to be: the exit status is 0, stdout and stderr are empty. A call gets an
//! environment without `FLOW_…` and `COLUMNS`, and a cache folder of the tests' own. `FLOW_TEST_KEEP=1` keeps the folders and prints
//! their paths; `FLOW_TEST_BIN` names a folder with other binaries than those of this build.
//!
//! - [`binaries`]: where the binaries under test are.
//! - [`browser`]: a page in headless Chromium.
//! - [`shown`]: a workflow whose stages publish views.
//! - [`page`]: a page of the documents whose example is followed.
//! - `outcome`: what a call printed, and what of it is compared.
//! - [`store`]: a store read by its public format alone.
//! - [`inject`]: system calls that fail.
//! - [`skip!`]: passing a test over, never where `CI` is set.
//! - [`torture`]: how much of the long tests is done.

pub mod binaries;
pub mod browser;
#[cfg(target_os = "linux")]
pub mod inject;
mod outcome;
pub mod packages;
pub mod page;
pub mod shown;
pub mod skip;
pub mod store;
pub mod torture;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outcome::{Expected, Text};
pub use outcome::{Outcome, Stage};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// After this a call counts as hung; the slowest test trains networks for a minute.
const LIMIT: Duration = Duration::from_secs(900);
/// The workflow file that [`Test::run`] and its like mean.
pub const WORKFLOW: &str = "flow.toml";

/// A folder, and the next call of flow in it.
pub struct Test {
    folder: Arc<Folder>,
    /// The `flow` that is called.
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// Variables for all calls.
    always: Vec<(OsString, OsString)>,
    /// Whose calls they are, if not our own.
    user: Option<u32>,
    expected: Expected,
    #[cfg(target_os = "linux")]
    fault: Option<inject::Fault>,
    last: Option<Outcome>,
}

/// The temporary folder of a test: the project, and beside it what calls print.
struct Folder {
    root: Option<tempfile::TempDir>,
    project: PathBuf,
    calls: AtomicUsize,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(root) = self.root.take()
            && std::env::var_os("FLOW_TEST_KEEP").is_some()
        {
            eprintln!("kept {}", root.keep().display());
        }
    }
}

impl Default for Test {
    fn default() -> Self {
        Test::new()
    }
}

impl Test {
    /// An empty folder.
    pub fn new() -> Test {
        let root = tempfile::Builder::new()
            .prefix("flow-test-")
            .tempdir()
            .unwrap();
        let project = root.path().canonicalize().unwrap().join("project");
        fs::create_dir(&project).unwrap();
        let folder = Folder {
            root: Some(root),
            project,
            calls: AtomicUsize::new(0),
        };
        Test::within(Arc::new(folder), binaries::find("flow"))
    }

    /// Another call in the same folder, for two that go on at once.
    pub fn beside(&self) -> Test {
        Test {
            always: self.always.clone(),
            user: self.user,
            ..Test::within(Arc::clone(&self.folder), self.program.clone())
        }
    }

    fn within(folder: Arc<Folder>, program: PathBuf) -> Test {
        Test {
            folder,
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            always: Vec::new(),
            user: None,
            expected: Expected::default(),
            #[cfg(target_os = "linux")]
            fault: None,
            last: None,
        }
    }

    /// Writes a file, and the folders it lies in.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Test {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Writes a file that can be executed.
    pub fn executable(self, name: &str, content: &str) -> Test {
        let test = self.file(name, content);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(test.path(name), mode).unwrap();
        test
    }

    /// Puts the package `flow_stage` there, as it is copied beside a plugin in Python.
    pub fn python_sdk(mut self) -> Test {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stages/python/flow_stage");
        for entry in fs::read_dir(package).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "py") {
                let name = path.file_name().unwrap().to_string_lossy();
                let text = fs::read_to_string(&path).unwrap();
                self = self.file(&format!("flow_stage/{name}"), &text);
            }
        }
        self
    }

    /// Writes the workflow file.
    pub fn workflow(self, text: &str) -> Test {
        self.file(WORKFLOW, text)
    }

    /// Replaces a piece of text, which has to be there once, in the workflow file.
    pub fn edit(self, from: &str, to: &str) -> Test {
        let text = self.read(WORKFLOW);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in\n{text}");
        self.workflow(&text.replace(from, to))
    }

    /// From now on calls a `flow` that stands alone with plugins that note each of their starts in the file `starts`.
    pub fn counting_plugins(mut self) -> Test {
        let folder = self.folder.project.with_file_name("bin");
        self.program = binaries::counted(&folder, &self.path("../starts"));
        self
    }

    /// `flow` with these arguments, split at white space.
    #[must_use = "nothing is tested before `check`"]
    pub fn flow(mut self, arguments: &str) -> Test {
        self.arguments
            .extend(arguments.split_whitespace().map(OsString::from));
        self
    }

    /// `flow run flow.toml --json` with more arguments, split at white space.
    #[must_use = "nothing is tested before `check`"]
    pub fn run(self, arguments: &str) -> Test {
        self.flow(&format!("run {WORKFLOW} --json")).flow(arguments)
    }

    /// One more argument, as it is.
    #[must_use = "nothing is tested before `check`"]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Test {
        self.arguments.push(argument.into());
        self
    }

    /// A variable for this call.
    #[must_use = "nothing is tested before `check`"]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Test {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A variable for this call and all that follow.
    pub fn always(mut self, name: &str, value: impl Into<OsString>) -> Test {
        self.always.push((name.into(), value.into()));
        self
    }

    /// From now on calls are those of another user, to whom all of the folder is given. Only root can do that.
    pub fn as_user(mut self, id: u32) -> Test {
        self.user = Some(id);
        self
    }

    /// Expects an exit status.
    #[must_use = "nothing is tested before `check`"]
    pub fn status(mut self, status: i32) -> Test {
        self.expected.status = status;
        self
    }

    /// Expects stdout to be this. The folder reads `DIR`, a run's id `RUN`, a length of time `TIME`.
    #[must_use = "nothing is tested before `check`"]
    pub fn stdout(mut self, text: &str) -> Test {
        self.expected.stdout = Text::Is(text.into());
        self
    }

    /// Expects stdout to hold this, among other things.
    #[must_use = "nothing is tested before `check`"]
    pub fn stdout_has(mut self, text: &str) -> Test {
        self.expected.stdout.also(text);
        self
    }

    /// Expects stderr to be this; see [`Test::stdout`].
    #[must_use = "nothing is tested before `check`"]
    pub fn stderr(mut self, text: &str) -> Test {
        self.expected.stderr = Text::Is(text.into());
        self
    }

    /// Expects stderr to hold this, among other things.
    #[must_use = "nothing is tested before `check`"]
    pub fn stderr_has(mut self, text: &str) -> Test {
        self.expected.stderr.also(text);
        self
    }

    /// Expects warnings, if anything, on stderr.
    #[must_use = "nothing is tested before `check`"]
    pub fn may_warn(mut self) -> Test {
        self.expected.stderr = Text::Warnings;
        self
    }

    /// Expects that these stages, and no others, ran.
    #[must_use = "nothing is tested before `check`"]
    pub fn ran(self, labels: &str) -> Test {
        self.stages("ran", labels)
    }

    /// Expects that these stages, and no others, were cached.
    #[must_use = "nothing is tested before `check`"]
    pub fn cached(self, labels: &str) -> Test {
        self.stages("cached", labels)
    }

    /// Expects of these stages, by label, that they ended so; every stage of the run has to be named.
    #[must_use = "nothing is tested before `check`"]
    pub fn stages(mut self, status: &str, labels: &str) -> Test {
        let labels = labels.split_whitespace();
        let stages = self.expected.stages.get_or_insert_default();
        stages.extend(labels.map(|label| (label.to_string(), status.to_string())));
        self
    }

    /// Expects the file `starts` in the home folder to hold these lines after the call, in any order; none if the text is empty. The file
    /// is removed before each call.
    #[must_use = "nothing is tested before `check`"]
    pub fn starts(mut self, lines: &str) -> Test {
        let mut lines: Vec<String> = lines.lines().map(|line| line.trim().into()).collect();
        lines.sort();
        self.expected.starts = Some(lines);
        self
    }

    /// Expects any exit status and any output; [`Test::last`] says what they were.
    #[must_use = "nothing is tested before `check`"]
    pub fn anyhow(mut self) -> Test {
        self.expected.anything = true;
        self
    }

    /// Lets system calls of flow fail; [`Outcome::injected`] says which did.
    #[cfg(target_os = "linux")]
    #[must_use = "nothing is tested before `check`"]
    pub fn fault(mut self, fault: inject::Fault) -> Test {
        self.fault = Some(fault);
        self
    }

    /// Runs flow and compares; the next sentence follows in the same folder.
    #[track_caller]
    pub fn check(self) -> Test {
        self.start().finish()
    }

    /// Starts flow and does not wait for it.
    pub fn start(self) -> Running {
        let home = self.folder.project.with_file_name("");
        let _ = fs::remove_file(home.join("starts"));
        let number = self.folder.calls.fetch_add(1, Ordering::Relaxed);
        let printed = |stream: &str| {
            let name = format!("{stream}-{number}");
            self.folder.project.with_file_name(name)
        };
        let (stdout, stderr) = (printed("stdout"), printed("stderr"));
        let mut command = match self.user {
            None => Command::new(&self.program),
            Some(id) => {
                give(&home, id);
                let mut command = Command::new("setpriv");
                let ids = [format!("--reuid={id}"), format!("--regid={id}")];
                command.args(ids).arg("--clear-groups").arg(&self.program);
                command
            }
        };
        let cache = match self.user {
            None => binaries::cache_folder(),
            Some(_) => home.join("cache"),
        };
        for (name, _) in std::env::vars_os() {
            // Tables are as wide as COLUMNS says.
            if name.to_string_lossy().starts_with("FLOW_") || name == "COLUMNS" {
                command.env_remove(name);
            }
        }
        command
            .args(&self.arguments)
            .current_dir(&self.folder.project)
            .env("HOME", &home)
            .env("XDG_CACHE_HOME", cache)
            // Tests that run at once have nothing to do with each other; calls in one folder share the machine.
            .env(
                "FLOW_MACHINE",
                self.folder.project.with_file_name("machine"),
            )
            .envs(self.always.iter().map(|(name, value)| (name, value)))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        #[cfg(target_os = "linux")]
        let (child, supervisor) = match self.fault {
            None => (command.spawn().unwrap(), None),
            Some(fault) => {
                let (child, supervisor) = inject::spawn(command, fault).unwrap();
                (child, Some(supervisor))
            }
        };
        #[cfg(not(target_os = "linux"))]
        let child = command.spawn().unwrap();
        Running {
            test: Some(self),
            child,
            #[cfg(target_os = "linux")]
            supervisor,
            stdout,
            stderr,
        }
    }

    /// The path of something in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.project.join(name)
    }

    /// Whether something is in the folder.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The text of a file in the folder.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What the last call printed, and how its stages ended.
    #[track_caller]
    pub fn last(&self) -> &Outcome {
        self.last.as_ref().unwrap()
    }

    /// Whether a process is there that a call in this folder started, or the call itself.
    pub fn is_inhabited(&self) -> bool {
        is_home(&self.folder.project.with_file_name(""))
    }

    /// Waits some seconds until no such process is there.
    #[track_caller]
    pub fn ends_soon(&self) {
        let began = Instant::now();
        while self.is_inhabited() {
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "a process is still there"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The bytes of an output, as the store has it now; the last call named it in its `--json`.
    #[track_caller]
    pub fn output(&self, stage: &str, output: &str) -> Vec<u8> {
        let digest = &self.last().stages[stage].outputs[output];
        fs::read(store::blob(&self.path(".flow"), digest)).unwrap()
    }
}

/// A call that goes on.
#[must_use = "a call is finished or killed"]
pub struct Running {
    test: Option<Test>,
    child: Child,
    #[cfg(target_os = "linux")]
    supervisor: Option<inject::Supervisor>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Waits until a stage has written a line to this file of the folder, and gives the file's text.
    #[track_caller]
    pub fn wait_for(&mut self, name: &str) -> String {
        let path = self.path(name);
        self.wait_until(&path, |text| text.ends_with('\n'))
    }

    /// Waits until flow has written this to stderr.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, piece: &str) {
        let path = self.stderr.clone();
        self.wait_until(&path, |text| text.contains(piece));
    }

    /// Waits until flow has written this to stdout, and gives all that it wrote.
    #[track_caller]
    pub fn wait_for_stdout(&mut self, piece: &str) -> String {
        let path = self.stdout.clone();
        self.wait_until(&path, |text| text.contains(piece))
    }

    /// Waits until something is in the folder.
    #[track_caller]
    pub fn wait_for_path(&mut self, name: &str) {
        let path = self.path(name);
        let began = Instant::now();
        while !path.exists() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < LIMIT,
                "flow ended, and there is no {name}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[track_caller]
    fn wait_until(&mut self, path: &Path, enough: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(path)
                && enough(&text)
            {
                return text;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < LIMIT,
                "flow wrote to {} not what was waited for:\n{}",
                path.display(),
                fs::read_to_string(&self.stderr).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The path of something in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.test.as_ref().unwrap().path(name)
    }

    /// Sends flow, and not its stages, a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // Where it has just ended by itself there is nobody to tell.
        let _ = kill_process(pid, signal);
    }

    /// See [`Test::is_inhabited`].
    pub fn is_inhabited(&self) -> bool {
        self.test.as_ref().unwrap().is_inhabited()
    }

    /// Whether flow has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends flow with SIGKILL. Nothing is compared.
    pub fn kill(mut self) -> Test {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.next()
    }

    /// Waits for the end and compares.
    #[track_caller]
    pub fn finish(mut self) -> Test {
        let status = self.wait();
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let test = self.test.as_ref().unwrap();
        #[allow(unused_mut, reason = "faults are injected on Linux alone")]
        let mut outcome = Outcome::new(status, stdout, stderr, &test.folder.project);
        #[cfg(target_os = "linux")]
        if let Some(supervisor) = self.supervisor.take() {
            outcome.injected = supervisor.report();
        }
        let starts = fs::read_to_string(test.path("../starts")).unwrap_or_default();
        let differences = test.expected.differences(&outcome, &starts);
        assert!(
            differences.is_empty(),
            "flow {}\n{}\n--- stdout\n{}\n--- stderr\n{}",
            test.arguments.join(&OsString::from(" ")).to_string_lossy(),
            differences.join("\n"),
            outcome.stdout,
            outcome.stderr,
        );
        let mut next = self.next();
        next.last = Some(outcome);
        next
    }

    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                began.elapsed() < LIMIT,
                "flow hangs:\n{}",
                fs::read_to_string(&self.stderr).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn next(&mut self) -> Test {
        let test = self.test.take().unwrap();
        Test {
            arguments: Vec::new(),
            environment: Vec::new(),
            expected: Expected::default(),
            #[cfg(target_os = "linux")]
            fault: None,
            ..test
        }
    }
}

impl Drop for Running {
    /// A test that fails while flow goes on leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives a folder and all in it to a user.
fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// Whether a process has this folder as its home. Ids tell nothing: a stage may have process ids of its own.
fn is_home(folder: &Path) -> bool {
    let variable = format!("HOME={}", folder.display());
    let Ok(processes) = fs::read_dir("/proc") else {
        let mut ps = Command::new("ps");
        let listed = ps.args(["-A", "-E", "-ww", "-o", "command="]).output();
        let listed = listed.expect("ps lists processes");
        return String::from_utf8_lossy(&listed.stdout).contains(&variable);
    };
    // A process that merely waits to be reaped has no environment.
    let mut environments = processes
        .flatten()
        .filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments.any(|all| {
        all.split(|byte| *byte == 0)
            .any(|one| one == variable.as_bytes())
    })
}
