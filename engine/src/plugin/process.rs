//! One child process: its own group, a clean environment, a fixed number of threads, and an end in any case.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

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
pub const GRACE: Duration = Duration::from_secs(5);

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
    // None where none are lent, so that no two stages share one unasked.
    command.env("CUDA_VISIBLE_DEVICES", gpus.join(","));
    // Two OpenMP pools that spin on the same cores are five to ten times slower than two that sleep. GNU's, which libtorch
    // has, spins for about as long as going to sleep and waking costs: what that gains and costs is in docs/training-speed.md.
    command.env("OMP_WAIT_POLICY", "PASSIVE");
    command.env("GOMP_SPINCOUNT", "10000");
    command.env("PYTHONHASHSEED", "0");
    command.env("PYTHONUNBUFFERED", "1");
}

/// Starts the command as the leader of a new process group that ends with this process.
pub fn spawn(mut command: Command) -> io::Result<Child> {
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

/// Asks the whole group of a child to end.
pub fn terminate(child: &Child) {
    signal(child, Signal::TERM);
}

/// Ends the whole group of a child.
pub fn kill(child: &Child) {
    signal(child, Signal::KILL);
}

fn signal(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Where the group is gone already there is nothing to end.
        let _ = kill_process_group(group, signal);
    }
}

/// Why [`wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process ended by itself.
    Exited(ExitStatus),
    /// It was ended because its time was over.
    TimedOut,
    /// It was ended because the run was interrupted.
    Interrupted,
}

/// Waits for a child; ends its group when `limit` is over or `stop` says so.
///
/// # Errors
/// Where the system can't tell how the child is.
pub fn wait(
    child: &mut Child,
    limit: Option<Duration>,
    stop: impl Fn() -> bool,
) -> io::Result<Ending> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    let ending = loop {
        if let Some(status) = child.try_wait()? {
            break Ending::Exited(status);
        }
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            break Ending::TimedOut;
        }
        if stop() {
            break Ending::Interrupted;
        }
        thread::sleep(pause);
        // Short stages are noticed at once, long ones cost nothing.
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    if !matches!(ending, Ending::Exited(_)) {
        terminate(child);
        let asked = Instant::now();
        while child.try_wait()?.is_none() && asked.elapsed() < GRACE {
            thread::sleep(Duration::from_millis(10));
        }
    }
    // Whatever else the stage started ends with it.
    kill(child);
    child.wait()?;
    Ok(ending)
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// Where it can't be started, or takes longer than `limit`.
pub fn output(mut command: Command, limit: Duration) -> io::Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let mut pipes = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(pipes.0.take()));
        let stderr = scope.spawn(|| read_all(pipes.1.take()));
        let ending = wait(&mut child, Some(limit), || false)?;
        let join = |reader: thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>| {
            reader
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the reader failed")))
        };
        let (stdout, stderr) = (join(stdout)?, join(stderr)?);
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
    })
}

/// More than any description holds; what lies beyond is not read.
const LARGEST_OUTPUT: u64 = 64 << 20;

fn read_all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(LARGEST_OUTPUT).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The longest line that is taken from a stage's stdout; a longer one is cut.
const LONGEST_LINE: u64 = 1 << 20;

/// Reads lines until the pipe closes, none longer than a mebibyte.
///
/// # Errors
/// Where the pipe breaks.
pub fn lines(pipe: impl Read, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(());
        }
        each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
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
}
