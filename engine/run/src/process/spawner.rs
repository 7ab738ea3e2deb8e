//! The spawner: forks a supervisor for each stage, and ends what a supervisor that was killed leaves behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

use super::child::Ends;
use super::namespaces::{self, Failure, Forked};
use super::supervisor;
use super::system::fork;
use super::wire::{MOST_DESCRIPTORS, OWN_PROCESSES};

/// Serves the flow that has the other end of stdin, until that is gone and all stages with it. To be called by a process
/// that has one thread, with nothing open but the standard streams.
///
/// # Errors
/// Where stdin is no such socket, or the system fails.
pub(super) fn supervise() -> io::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::sockopt::socket_type(&socket)?;
    // No supervisor may hold flow's socket open under this number.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    // What a killed supervisor leaves becomes a child of this process.
    set_child_subreaper(Some(getpid()))?;
    let (ended, sender) = UnixStream::pair()?;
    ended.set_nonblocking(true)?;
    let signals = signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, sender)?;
    let mut supervisors = BTreeSet::new();
    let mut is_flow_there = true;
    while is_flow_there || !supervisors.is_empty() {
        let mut waiting = vec![PollFd::new(&ended, PollFlags::IN)];
        if is_flow_there {
            waiting.push(PollFd::new(&socket, PollFlags::IN));
        }
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has_ended = !waiting[0].revents().is_empty();
        let is_asked = waiting.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if has_ended {
            supervisor::drain(&ended);
            reap(&mut supervisors);
        }
        if is_asked {
            match receive(&socket)? {
                None => is_flow_there = false,
                Some((word, descriptors)) => {
                    let Some(order) = Received::of(descriptors) else {
                        continue;
                    };
                    let first = match forked(word) {
                        Ok(Forked::Parent(supervisor)) => {
                            supervisors.insert(supervisor.as_raw_nonzero().get());
                            continue;
                        }
                        Ok(Forked::Copy(first)) => first,
                        Err(failure) => {
                            order.refuse(failure);
                            continue;
                        }
                    };
                    drop(socket);
                    drop(ended);
                    signal_hook::low_level::unregister(signals);
                    supervisor::supervise(order, first);
                }
            }
        }
    }
    Ok(())
}

/// A copy of this process for an order.
fn forked(word: u8) -> Result<Forked, Failure> {
    if word == OWN_PROCESSES {
        return namespaces::fork_first();
    }
    Ok(match fork().map_err(Failure::at("making a process"))? {
        Some(supervisor) => Forked::Parent(supervisor),
        None => Forked::Copy(None),
    })
}

/// The descriptors of an order.
pub(super) struct Received {
    /// To flow.
    pub control: UnixStream,
    /// The command's.
    pub ends: Ends,
    /// To be kept open.
    pub held: Vec<OwnedFd>,
}

impl Received {
    fn of(descriptors: Vec<OwnedFd>) -> Option<Received> {
        let mut all = descriptors.into_iter();
        Some(Received {
            control: all.next()?.into(),
            ends: [all.next()?, all.next()?, all.next()?],
            held: all.collect(),
        })
    }

    fn refuse(mut self, failure: Failure) {
        supervisor::refuse(&mut self.control, failure);
    }
}

/// The next order's word and descriptors; none where flow is gone.
fn receive(socket: &OwnedFd) -> io::Result<Option<(u8, Vec<OwnedFd>)>> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Ok(message) if message.bytes == 0 => return Ok(None),
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Some((byte[0], Vec::new()))),
        Err(Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(found) = message {
            descriptors.extend(found);
        }
    }
    Ok(Some((byte[0], descriptors)))
}

/// Takes note of who has ended. A supervisor that was killed leaves its stage to this process, which ends it.
fn reap(supervisors: &mut BTreeSet<i32>) {
    let mut has_strays = false;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let is_ours = supervisors.remove(&pid.as_raw_nonzero().get());
        has_strays |= !is_ours || status.exit_status() != Some(0);
    }
    if has_strays {
        for child in children() {
            if !supervisors.contains(&child.as_raw_nonzero().get()) {
                let _ = kill_process(child, Signal::KILL);
            }
        }
    }
}

/// The children of this process.
pub(super) fn children() -> Vec<Pid> {
    let own = getpid();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(Pid::from_raw)
        .filter(|pid| parent(*pid) == Some(own))
        .collect()
}

fn parent(pid: Pid) -> Option<Pid> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before it may hold anything.
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = String::from_utf8_lossy(&text[after_name..]);
    Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)
}
