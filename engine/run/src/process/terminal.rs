//! A command that takes flow's place at the terminal, until it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;

use super::launch::Launch;
use super::supervised::Supervised;
use super::system::give_terminal;

/// Runs the command under a supervisor with flow's own standard streams, or with `input` as its stdin. What the terminal
/// sends, Ctrl-C among it, is for the command. Whatever it started has ended with it.
///
/// # Errors
/// Where the command can't be started, or the system can't tell how it is.
pub fn at_terminal(launch: &Launch, input: Option<OwnedFd>) -> io::Result<ExitStatus> {
    let terminal = io::stdin().as_fd().try_clone_to_owned()?;
    let stdin = match input {
        Some(input) => input,
        None => terminal.try_clone()?,
    };
    let ends = [
        stdin,
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    ];
    let mut supervised = Supervised::start(launch, ends)?;
    let status = loop {
        if let Some((status, _)) = supervised.ended()? {
            break status;
        }
        let mut waiting = [PollFd::from_borrowed_fd(supervised.news(), PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    give_terminal(&terminal, getpgrp());
    Ok(status)
}
