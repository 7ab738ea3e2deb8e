//! One child process: its own group, a clean environment, a fixed number of threads, and an end in any case.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags};
use rustix::io::Errno;

#[cfg(target_os = "linux")]
use rustix::process::set_parent_process_death_signal;
use rustix::process::{Pid, Signal, kill_process_group};

/// What a stage may inherit undeclared: where programs, homes, temporary files and certificates are, the language,
/// proxies.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
];

/// Variables that bind the thread pools in use to the stage's budget.
const THREADS: &[&str] = &[
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
];

/// How long a process that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Gives the command only what is listed here, what is `declared`, and its share of the machine: a number of threads, and
/// the GPUs that it may see.
pub fn clean_environment(
    command: &mut Command,
    declared: &[String],
    threads: u32,
    gpus: &[String],
) {
    command.env_clear();
    for name in INHERITED
        .iter()
        .copied()
        .chain(declared.iter().map(String::as_str))
    {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for name in THREADS {
        command.env(name, threads.to_string());
    }
    // None where the stage has none, so that no two stages share one unasked.
    command.env("CUDA_VISIBLE_DEVICES", gpus.join(","));
    // Two OpenMP pools that spin on the same cores are five to ten times slower than two that sleep. GNU's, which libtorch
    // has, spins for about as long as going to sleep and waking costs: what that gains and costs is in docs/training-speed.md.
    command.env("OMP_WAIT_POLICY", "PASSIVE");
    command.env("GOMP_SPINCOUNT", "10000");
    command.env("PYTHONHASHSEED", "0");
    command.env("PYTHONUNBUFFERED", "1");
}

/// The command of a program that is called by its name. The name is looked for on the PATH once, and not by each stage that
/// starts it: the kernel is asked about each folder there.
pub fn program(name: &str) -> Command {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let path = found.get(name).cloned().or_else(|| {
        let path = find(name)?;
        found.insert(name.into(), path.clone());
        Some(path)
    });
    // What is not found now may be there when it is started; else the system says that it is not.
    let mut command = Command::new(path.as_deref().unwrap_or(Path::new(name)));
    command.arg0(name);
    command
}

/// The file that a name means; none where that depends on the folder in which it is started.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    for folder in std::env::split_paths(&path) {
        if !folder.is_absolute() {
            return None;
        }
        let file = folder.join(name);
        let is_program = rustix::fs::access(&file, Access::EXEC_OK).is_ok();
        if is_program && file.is_file() {
            return Some(file);
        }
    }
    None
}

/// Starts the command as the leader of a new process group that ends with this process.
fn spawn(mut command: Command) -> io::Result<Child> {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    // SAFETY: between fork and exec the closure does nothing but one system call, and allocates nothing.
    unsafe {
        // `kill -9` of flow must not leave a stage behind that writes where the next run works. The signal comes when
        // the *thread* that forks ends, so every caller waits for the child on the thread that started it.
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    command.spawn()
}

fn signal(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Where the group is gone already there is nothing to end.
        let _ = kill_process_group(group, signal);
    }
}

/// Why [`Process::attend`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process ended by itself.
    Exited(ExitStatus),
    /// It was ended because its time was over.
    TimedOut,
    /// It was ended because the run was interrupted, or because nobody wants to hear more of it.
    Interrupted,
}

/// Where a process wrote something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its stdout.
    Stdout,
    /// Its stderr; and its stdout, where the two are one.
    Stderr,
}

/// How a process's output is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Stdout and stderr are told apart.
    Apart,
    /// Both are one stream, in the order of their writes.
    AsOne,
}

/// How often a process that says nothing is looked after: whether it has to end, and has ended.
const TICK: Duration = Duration::from_millis(20);
/// The first pause where no pipe tells that the process ends.
const SHORTEST: Duration = Duration::from_micros(200);
/// What is read from a pipe at once.
const CHUNK: usize = 64 << 10;
/// What a pipe can still hold after the process has ended; more comes only from someone who goes on writing.
const LARGEST_PIPE: usize = 1 << 20;

/// A child process with the pipes to it. One thread serves all of them, so that a short stage costs no other.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Its stdin, and what is still to be written there.
    input: Option<(File, Vec<u8>)>,
    outputs: Vec<(Stream, File)>,
}

impl Process {
    /// Starts the command with `input` on its stdin; without any it gets none.
    ///
    /// # Errors
    /// Where the command can't be started.
    pub fn start(
        mut command: Command,
        input: Option<Vec<u8>>,
        hearing: Hearing,
    ) -> io::Result<Process> {
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut outputs: Vec<(Stream, File)> = Vec::new();
        match hearing {
            Hearing::Apart => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            Hearing::AsOne => {
                let (ours, theirs) = io::pipe()?;
                command.stdout(theirs.try_clone()?).stderr(theirs);
                outputs.push((Stream::Stderr, OwnedFd::from(ours).into()));
            }
        }
        // The command goes, and with it our copies of the child's ends.
        let mut child = spawn(command)?;
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        outputs.extend(stdout.map(|pipe| (Stream::Stdout, pipe.into())));
        outputs.extend(stderr.map(|pipe| (Stream::Stderr, pipe.into())));
        let stdin = child.stdin.take().map(OwnedFd::from);
        let process = Process {
            input: stdin.map(File::from).zip(input),
            child,
            outputs,
        };
        let input = process.input.iter().map(|(pipe, _)| pipe);
        for pipe in input.chain(process.outputs.iter().map(|(_, pipe)| pipe)) {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
        }
        Ok(process)
    }

    /// Waits for its end, and hands on what it writes as it comes. Ends its group when `limit` is over, when `stop` says so, or
    /// when `heard` has had enough.
    ///
    /// # Errors
    /// Where the system can't tell how the child is.
    pub fn attend(
        mut self,
        limit: Option<Duration>,
        stop: impl Fn() -> bool,
        mut heard: impl FnMut(Stream, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<Ending> {
        let started = Instant::now();
        let mut buffer = vec![0; CHUNK];
        let enough = Cell::new(false);
        let mut hear = |stream, bytes: &[u8]| {
            if heard(stream, bytes).is_break() {
                enough.set(true);
            }
        };
        let mut asked: Option<(Instant, Ending)> = None;
        let mut pause = SHORTEST;
        while self.child.try_wait()?.is_none() {
            match asked {
                None if limit.is_some_and(|limit| started.elapsed() >= limit) => {
                    asked = Some((Instant::now(), Ending::TimedOut));
                    signal(&self.child, Signal::TERM);
                }
                None if enough.get() || stop() => {
                    asked = Some((Instant::now(), Ending::Interrupted));
                    signal(&self.child, Signal::TERM);
                }
                Some((at, _)) if at.elapsed() >= GRACE => break,
                _ => {}
            }
            // The pipes close when the process ends, so with one open its end is noticed at once.
            let wait = if self.outputs.is_empty() { pause } else { TICK };
            self.serve(wait, &mut buffer, &mut hear)?;
            pause = (pause * 2).min(TICK);
        }
        // Whatever else the stage started ends with it.
        signal(&self.child, Signal::KILL);
        let status = self.child.wait()?;
        self.drain(&mut buffer, &mut hear);
        Ok(asked.map_or(Ending::Exited(status), |(_, why)| why))
    }

    /// Waits until a pipe is ready, for `wait` at most, and serves those that are.
    fn serve(
        &mut self,
        wait: Duration,
        buffer: &mut [u8],
        hear: &mut impl FnMut(Stream, &[u8]),
    ) -> io::Result<()> {
        let outputs = self.outputs.iter().map(|(_, pipe)| (pipe, PollFlags::IN));
        let input = self.input.iter().map(|(pipe, _)| (pipe, PollFlags::OUT));
        let mut pipes: Vec<PollFd<'_>> = outputs
            .chain(input)
            .map(|(pipe, flags)| PollFd::new(pipe, flags))
            .collect();
        if pipes.is_empty() {
            thread::sleep(wait);
            return Ok(());
        }
        let wait = Timespec {
            tv_sec: wait.as_secs().cast_signed(),
            tv_nsec: wait.subsec_nanos().into(),
        };
        match poll(&mut pipes, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = pipes
            .iter()
            .map(|pipe| !pipe.revents().is_empty())
            .collect();
        if ready.len() > self.outputs.len() && ready[self.outputs.len()] {
            self.feed();
        }
        let mut ready = ready.into_iter();
        self.outputs.retain_mut(|(stream, pipe)| {
            !ready.next().unwrap_or(false) || receive(*stream, pipe, buffer, hear).is_some()
        });
        Ok(())
    }

    /// Writes of the input what the pipe takes, and closes it after the last byte.
    fn feed(&mut self) {
        if let Some((pipe, rest)) = &mut self.input {
            match pipe.write(rest) {
                Ok(written) => {
                    rest.drain(..written);
                }
                Err(error) if is_temporary(&error) => {}
                // A plugin that ends without reading breaks the pipe; its exit status tells more than the pipe does.
                Err(_) => rest.clear(),
            }
        }
        self.input.take_if(|(_, rest)| rest.is_empty());
    }

    /// Hands on what is left in the pipes. Someone who left the process's group may hold them open: nobody waits for that one.
    fn drain(&mut self, buffer: &mut [u8], hear: &mut impl FnMut(Stream, &[u8])) {
        for (stream, pipe) in &mut self.outputs {
            let mut taken = 0;
            while taken < LARGEST_PIPE
                && let Some(length) = receive(*stream, pipe, buffer, hear)
                && length > 0
            {
                taken += length;
            }
        }
    }
}

/// Reads once from a pipe that is ready and hands it on: how much it was; none where the pipe is closed.
fn receive(
    stream: Stream,
    pipe: &mut File,
    buffer: &mut [u8],
    hear: &mut impl FnMut(Stream, &[u8]),
) -> Option<usize> {
    match pipe.read(buffer) {
        Ok(0) => None,
        Ok(length) => {
            hear(stream, &buffer[..length]);
            Some(length)
        }
        Err(error) if is_temporary(&error) => Some(0),
        Err(_) => None,
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// Where it can't be started, or takes longer than `limit`.
pub fn output(command: Command, limit: Duration) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let process = Process::start(command, None, Hearing::Apart)?;
    let ending = process.attend(
        Some(limit),
        || false,
        |stream, bytes| {
            let kept = match stream {
                Stream::Stdout => &mut stdout,
                Stream::Stderr => &mut stderr,
            };
            let room = LARGEST_OUTPUT - kept.len();
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            ControlFlow::Continue(())
        },
    )?;
    match ending {
        Ending::Exited(status) => Ok(Output {
            status,
            stdout,
            stderr,
        }),
        _ => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it took more than {} s", limit.as_secs()),
        )),
    }
}

/// More than any description holds; what lies beyond is not kept.
const LARGEST_OUTPUT: usize = 64 << 20;

/// The longest line that is taken from a stage's stdout; a longer one is cut into several.
const LONGEST_LINE: usize = 1 << 20;

/// Puts lines together from the pieces that they come in.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a piece in, and gives each line that is whole with it.
    pub fn add(&mut self, piece: &[u8], mut each: impl FnMut(&str)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") || self.begun.len() >= LONGEST_LINE {
                self.end(&mut each);
            }
        }
    }

    /// Gives the last line, where it has no line break.
    pub fn end(&mut self, mut each: impl FnMut(&str)) {
        if !self.begun.is_empty() {
            each(String::from_utf8_lossy(&self.begun).trim_end_matches(['\n', '\r']));
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn a_process_that_hangs_is_ended_with_its_children() {
        let started = Instant::now();
        let error = output(shell("sleep 60 & sleep 60"), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < GRACE);
    }

    #[test]
    fn only_declared_variables_are_passed() {
        let mut command = shell("echo $OMP_NUM_THREADS $CARGO_MANIFEST_DIR");
        clean_environment(&mut command, &[], 3, &[]);
        let output = output(command, Duration::from_secs(10)).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n");
    }

    /// More than any pipe holds goes both ways at once.
    #[test]
    fn what_goes_in_comes_out_whatever_its_size() {
        let input: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let process = Process::start(shell("cat"), Some(input.clone()), Hearing::Apart).unwrap();
        let mut output = Vec::new();
        let ending = process.attend(
            None,
            || false,
            |_, bytes| {
                output.extend_from_slice(bytes);
                ControlFlow::Continue(())
            },
        );
        assert!(matches!(ending, Ok(Ending::Exited(status)) if status.success()));
        assert!(output == input);
    }

    #[test]
    fn nobody_waits_for_who_left_the_group_and_holds_the_pipes() {
        let started = Instant::now();
        let output = output(
            shell("setsid sleep 20 & echo said; exit 3"),
            Duration::from_secs(15),
        );
        let output = output.unwrap();
        assert_eq!(
            (output.status.code(), &output.stdout[..]),
            (Some(3), &b"said\n"[..])
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_process_without_pipes_is_waited_for() {
        let output = output(shell("exec >&- 2>&-; sleep 0.1; exit 4"), GRACE).unwrap();
        assert_eq!(output.status.code(), Some(4));
    }

    #[test]
    fn a_process_is_ended_when_it_was_heard_enough() {
        let process = Process::start(shell("echo a; echo b >&2; sleep 60"), None, Hearing::AsOne);
        let mut heard = Vec::new();
        let ending = process.unwrap().attend(
            None,
            || false,
            |stream, bytes| {
                assert_eq!(stream, Stream::Stderr);
                heard.extend_from_slice(bytes);
                if heard.ends_with(b"b\n") {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        assert_eq!(
            (ending.unwrap(), &heard[..]),
            (Ending::Interrupted, &b"a\nb\n"[..])
        );
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["on", "e\r\n\ntwo\nthr", "ee", "ü"] {
            lines.add(piece.as_bytes(), |line| found.push(line.to_string()));
        }
        lines.end(|line| found.push(line.to_string()));
        assert_eq!(found, ["one", "", "two", "threeü"]);
        let mut lengths = Vec::new();
        for _ in 0..48 {
            lines.add(&[b'x'; CHUNK], |line| lengths.push(line.len()));
        }
        assert_eq!(lengths, [LONGEST_LINE; 3]);
    }

    #[test]
    fn a_program_is_found_as_the_shell_finds_it() {
        assert!(Path::new(program("sh").get_program()).is_absolute());
        assert_eq!(program("./sh").get_program(), "./sh");
        assert_eq!(
            program("there-is-no-such").get_program(),
            "there-is-no-such"
        );
        let mut command = program("sh");
        command.args(["-c", "echo $0"]);
        let output = output(command, GRACE).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "sh\n");
    }
}
