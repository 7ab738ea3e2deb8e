//! A short command of flow's own, such as a plugin's description, without a supervisor.

use std::io;
use std::ops::ControlFlow;
use std::process::{Child, ExitStatus, Output};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::child::{Ending, Ends, Hearing, Process, Stream};
use super::launch::Launch;
#[cfg(target_os = "linux")]
use super::system;

/// Starts the command as the leader of a new process group that ends with this process.
pub(super) fn spawn(launch: &Launch, ends: Ends) -> io::Result<Child> {
    let mut command = launch.command();
    let [stdin, stdout, stderr] = ends;
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    // `kill -9` of flow must not leave it behind. The signal comes when the *thread* that forks ends, so every caller
    // waits for the child on the thread that started it.
    #[cfg(target_os = "linux")]
    system::end_with_this_thread(&mut command);
    command.spawn()
}

/// Its status, once it is gone; whatever else is in its group ends with it.
pub(super) fn ended(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let status = child.try_wait()?;
    if status.is_some() {
        signal(child, Signal::KILL);
    }
    Ok(status)
}

pub(super) fn signal(child: &Child, signal: Signal) {
    // Where the group is gone already there is nothing to end.
    let _ = kill_process_group(Pid::from_child(child), signal);
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// Where it can't be started, or takes longer than `limit`.
pub fn output(launch: &Launch, limit: Duration) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let process = Process::start_directly(launch, None, Hearing::Apart)?;
    let end = process.attend(
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
    match end.why {
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
