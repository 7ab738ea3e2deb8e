//! System calls that have no safe wrapper.

#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::wire::Used;

/// Makes a copy of this process, which has to have one thread only; none in the copy.
///
/// # Errors
/// Where the system has no room for it.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the spawner and supervisors, which call this, have one thread: no lock is held by another that the copy lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// As [`fork`], into new namespaces.
///
/// # Errors
/// Where the system does not allow it.
pub(super) fn fork_into(namespaces: UnshareFlags) -> io::Result<Option<Pid>> {
    let flags = namespaces.bits() | libc::SIGCHLD.cast_unsigned();
    // SAFETY: as in `fork`, and nothing is shared with the copy, which goes on with this stack. The C library is not told: what it
    // knows of its thread's number is out of date, which only an abort asks for.
    match unsafe { libc::syscall(libc::SYS_clone, libc::c_ulong::from(flags), 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid as libc::pid_t)),
    }
}

/// Ends this process at once: what is registered to run at an end is the parent's.
pub(super) fn leave() -> ! {
    // SAFETY: nothing of this process is used afterwards.
    unsafe { libc::_exit(0) }
}

/// Makes a process group the one that a terminal listens to. Nothing happens where it is no terminal of this session's.
pub(super) fn give_terminal(terminal: &OwnedFd, group: Pid) {
    // SAFETY: nothing of this process handles that signal, which would stop it for what the next line does.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
    let _ = rustix::termios::tcsetpgrp(terminal, group);
}

/// Leaves namespaces of the parent's.
///
/// # Errors
/// Where the system does not allow it.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: descriptors stay shared, which is all that can go wrong with it.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// What the children that were waited for have used.
pub(super) fn used_by_children() -> Used {
    // SAFETY: zeros are valid for numbers, and the kernel fills them in.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let bytes = |count: libc::c_long, unit: u64| u64::try_from(count).unwrap_or(0) * unit;
    Used {
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_memory: bytes(usage.ru_maxrss, 1 << 10),
        bytes_read: bytes(usage.ru_inblock, 512),
        bytes_written: bytes(usage.ru_oublock, 512),
    }
}

/// Makes a mount, and all below it, read-only.
///
/// # Errors
/// Where the kernel is older than 5.12, or does not allow it.
pub(super) fn make_read_only(at: &Path) -> io::Result<()> {
    let path = CString::new(at.as_os_str().as_bytes())?;
    // SAFETY: all zeros are valid for it.
    let mut attributes: libc::mount_attr = unsafe { mem::zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: the kernel reads a path that ends with a zero, and a structure of the size that it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Brings up the loopback device of a new network namespace.
///
/// # Errors
/// Where the system does not allow it.
pub(super) fn bring_up_loopback(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: all zeros are valid for it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads one request.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has the kernel kill the command when the thread that starts it ends.
pub(super) fn end_with_this_thread(command: &mut Command) {
    // SAFETY: between fork and exec the closure does nothing but one system call, and allocates nothing.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}
