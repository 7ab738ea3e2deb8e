//! A supervisor: one stage's command from its start until nothing of it is left.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};

use signal_hook::consts::SIGCHLD;

use super::child::Ends;
use super::launch::Launch;
use super::namespaces::{self, Failure, First};
use super::spawner::{Received, children};
use super::system::{give_terminal, leave, used_by_children};
use super::wire::{KILL, Order, TERM, Told};

/// Carries out one order, and leaves. `first` where this process is the first of its own.
pub(super) fn supervise(received: Received, first: Option<First>) -> ! {
    let Received {
        mut control,
        ends,
        held,
    } = received;
    // Without an order flow is gone.
    if let Ok(order) = read_order(&mut control) {
        let done = prepare(&order.launch, first.as_ref()).and_then(|()| match order.rehearsal {
            true => {
                tell(&mut control, &Told::Started);
                Ok(())
            }
            false => carry_out(&mut control, &order.launch, ends, held, first.is_some()),
        });
        if let Err(failure) = done {
            refuse(&mut control, failure);
        }
    }
    leave()
}

/// Makes the namespaces that are asked for.
fn prepare(launch: &Launch, first: Option<&First>) -> Result<(), Failure> {
    if let Some(confinement) = &launch.confinement {
        namespaces::leave(confinement, first)?;
        namespaces::furnish(confinement, first.is_some())?;
    }
    Ok(())
}

/// Starts the command, and stays until nothing of it is left.
fn carry_out(
    control: &mut UnixStream,
    launch: &Launch,
    ends: Ends,
    held: Vec<OwnedFd>,
    own_processes: bool,
) -> Result<(), Failure> {
    // What leaves its parents comes to this process: the first of its own is given it unasked.
    if !own_processes {
        set_child_subreaper(Some(getpid())).map_err(Failure::at("becoming a subreaper"))?;
    }
    let (ended, sender) = UnixStream::pair().map_err(Failure::at("making a socket"))?;
    ended
        .set_nonblocking(true)
        .and_then(|()| signal_hook::low_level::pipe::register(SIGCHLD, sender))
        .map_err(Failure::at("hearing of children"))?;
    let mut command = launch.command();
    let [stdin, stdout, stderr] = ends;
    // A plugin's stdin is its request.
    let terminal = [&stdin, &stdout, &stderr]
        .into_iter()
        .find(|end| launch.at_terminal && rustix::termios::isatty(end))
        .map(OwnedFd::try_clone)
        .transpose()
        .map_err(Failure::at("keeping the terminal"))?;
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let group = match command.spawn() {
        Ok(child) => Pid::from_child(&child),
        Err(error) => return Err(Failure { step: None, error }),
    };
    // After the start, since the command would ignore what this process ignores.
    if let Some(terminal) = terminal {
        give_terminal(&terminal, group);
        // It may have read too early, which stops it.
        let _ = kill_process_group(group, Signal::CONT);
    }
    // Nobody else's ends of the pipes stay open.
    drop(command);
    tell(control, &Told::Started);
    let mut status = None;
    let mut is_flow_there = true;
    while status.is_none() && is_flow_there {
        let mut waiting = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::new(&*control, PollFlags::IN),
        ];
        // Errors but an interruption can't be: both are open.
        let _ = poll(&mut waiting, None);
        let [has_ended, is_asked] = waiting.map(|fd| !fd.revents().is_empty());
        if has_ended {
            drain(&ended);
            status = reap(group);
        }
        if is_asked && status.is_none() {
            let mut word = [0];
            match control.read(&mut word) {
                Ok(1) if word[0] == TERM => {
                    let _ = kill_process_group(group, Signal::TERM);
                }
                Ok(1) if word[0] == KILL => {
                    let _ = kill_process_group(group, Signal::KILL);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => is_flow_there = false,
            }
        }
    }
    if status.is_none() {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let rest = end_all(group, own_processes);
    let status = status.or(rest).unwrap_or(Signal::KILL.as_raw());
    let used = used_by_children();
    // Before flow hears of it: what waits for a lock among them would find it taken until this process is gone.
    drop(held);
    tell(control, &Told::Ended { status, used });
    Ok(())
}

/// Takes note of who has ended: the command's status, if it is among them.
fn reap(command: Pid) -> Option<i32> {
    let mut found = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == command {
            found = Some(status.as_raw());
        }
    }
    found
}

/// Kills whatever is left, and waits until it is gone: the command's status, if it is among it.
fn end_all(command: Pid, own_processes: bool) -> Option<i32> {
    let mut found = None;
    let mut options = WaitOptions::NOHANG;
    loop {
        match wait(options) {
            Ok(Some((pid, status))) => {
                if pid == command {
                    found = Some(status.as_raw());
                }
                options = WaitOptions::NOHANG;
            }
            Err(Errno::INTR) => {}
            Err(_) => return found,
            Ok(None) => {
                let is_any_killed = if own_processes {
                    // `kill(-1)`: all but the first, which is this one.
                    kill_process_group(Pid::INIT, Signal::KILL).is_ok()
                } else {
                    let kill = |child| kill_process(child, Signal::KILL).is_ok();
                    children().into_iter().filter(|child| kill(*child)).count() > 0
                };
                // What became another user's, by `sudo`, this one can't end.
                if !is_any_killed {
                    return found;
                }
                options = WaitOptions::empty();
            }
        }
    }
}

fn read_order(control: &mut UnixStream) -> io::Result<Order<Launch>> {
    let mut length = [0; 8];
    control.read_exact(&mut length)?;
    let mut bytes = Vec::new();
    let length = u64::from_le_bytes(length);
    if control.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}

/// Tells flow, where it is still there.
pub(super) fn tell(control: &mut UnixStream, told: &Told) {
    let Ok(mut line) = serde_json::to_vec(told) else {
        return;
    };
    line.push(b'\n');
    let _ = control.write_all(&line);
}

pub(super) fn refuse(control: &mut UnixStream, failure: Failure) {
    let Failure { step, error } = failure;
    tell(control, &Told::failed(step, &error));
}

/// Takes the bytes out that signals have put in.
pub(super) fn drain(mut signals: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(signals.read(&mut bytes), Ok(length) if length > 0) {}
}
