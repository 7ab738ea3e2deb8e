//! Makes system calls of one process fail, or the process die, at a chosen one of its calls.
//!
//! A seccomp filter hands each call that changes files to this supervisor before the kernel does it. So no call is
//! missed, whether it comes from the standard library, from libc or from a crate that calls the kernel by itself, and
//! nothing has to be installed. Stages inherit the filter; their calls are let through. Linux on x86-64 and aarch64.

#![allow(
    unsafe_code,
    reason = "the kernel's seccomp interface has no safe wrapper"
)]

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

/// What happens to a process's calls that change files. They are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The n-th call fails with this error number, all others work.
    Fail(usize, i32),
    /// flow is killed in place of its n-th call.
    Kill(usize),
    /// From the n-th call on nothing that needs space works (`ENOSPC`).
    FullFrom(usize),
    /// Nothing can be made, changed or removed (`EROFS`).
    ReadOnly,
}

/// How a [`Fault`] ended.
#[derive(Debug, Clone, Default)]
pub struct Injected {
    /// How many calls that change files flow made.
    pub calls: usize,
    /// The name of the first call that was struck; none where flow made too few calls.
    pub struck: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Opens for writing.
    Open,
    /// Gives a file content.
    Write,
    /// Makes or moves a name.
    Name,
    /// Removes a name.
    Remove,
    /// Changes a mode or a time.
    Attribute,
    /// Makes durable.
    Sync,
    Lock,
}

struct Call {
    number: i64,
    name: &'static str,
    class: Class,
    only: Only,
}

/// Which uses of a call count.
#[derive(Clone, Copy)]
enum Only {
    All,
    /// Those whose argument of this index has one of these bits.
    Bits(usize, i32),
    /// Those whose argument of this index is this.
    Is(usize, u32),
}

const WRITING: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

fn calls() -> Vec<Call> {
    use Class::*;
    let mut calls = Vec::new();
    let mut add = |number: i64, name, class, only| {
        calls.push(Call {
            number,
            name,
            class,
            only,
        });
    };
    add(libc::SYS_openat, "openat", Open, Only::Bits(2, WRITING));
    for (number, name, class) in [
        (libc::SYS_write, "write", Write),
        (libc::SYS_writev, "writev", Write),
        (libc::SYS_pwrite64, "pwrite64", Write),
        (libc::SYS_pwritev, "pwritev", Write),
        (libc::SYS_pwritev2, "pwritev2", Write),
        (libc::SYS_ftruncate, "ftruncate", Write),
        (libc::SYS_truncate, "truncate", Write),
        (libc::SYS_fallocate, "fallocate", Write),
        (libc::SYS_copy_file_range, "copy_file_range", Write),
        (libc::SYS_sendfile, "sendfile", Write),
        (libc::SYS_splice, "splice", Write),
        (libc::SYS_renameat, "renameat", Name),
        (libc::SYS_renameat2, "renameat2", Name),
        (libc::SYS_linkat, "linkat", Name),
        (libc::SYS_symlinkat, "symlinkat", Name),
        (libc::SYS_mkdirat, "mkdirat", Name),
        (libc::SYS_unlinkat, "unlinkat", Remove),
        (libc::SYS_fchmod, "fchmod", Attribute),
        (libc::SYS_fchmodat, "fchmodat", Attribute),
        (libc::SYS_utimensat, "utimensat", Attribute),
        (libc::SYS_fsync, "fsync", Sync),
        (libc::SYS_fdatasync, "fdatasync", Sync),
        (libc::SYS_syncfs, "syncfs", Sync),
        (libc::SYS_flock, "flock", Lock),
    ] {
        add(number, name, class, Only::All);
    }
    #[cfg(target_arch = "x86_64")]
    for (number, name, class) in [
        (libc::SYS_creat, "creat", Open),
        (libc::SYS_rename, "rename", Name),
        (libc::SYS_link, "link", Name),
        (libc::SYS_symlink, "symlink", Name),
        (libc::SYS_mkdir, "mkdir", Name),
        (libc::SYS_unlink, "unlink", Remove),
        (libc::SYS_rmdir, "rmdir", Remove),
        (libc::SYS_chmod, "chmod", Attribute),
    ] {
        add(number, name, class, Only::All);
    }
    #[cfg(target_arch = "x86_64")]
    add(libc::SYS_open, "open", Open, Only::Bits(1, WRITING));
    let clone = libc::FICLONE as u32;
    add(libc::SYS_ioctl, "ioctl FICLONE", Write, Only::Is(1, clone));
    calls
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// The filter's program: those calls to the supervisor, all others to the kernel.
fn program(calls: &[Call]) -> Vec<libc::sock_filter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANY: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, yes: u8, no: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    };
    let notify = || step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF);
    let allow = || step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
    // Both machines are little-endian: the low half of an argument comes first.
    let argument = |i: usize| (offset_of!(libc::seccomp_data, args) + 8 * i) as u32;
    let mut program = vec![
        step(LOAD, 0, 0, offset_of!(libc::seccomp_data, arch) as u32),
        step(EQUAL, 1, 0, ARCHITECTURE),
        allow(),
        step(LOAD, 0, 0, offset_of!(libc::seccomp_data, nr) as u32),
    ];
    for call in calls {
        let test = match call.only {
            Only::All => vec![],
            Only::Bits(i, bits) => vec![
                step(LOAD, 0, 0, argument(i)),
                step(ANY, 1, 0, bits as u32),
                allow(),
            ],
            Only::Is(i, value) => vec![
                step(LOAD, 0, 0, argument(i)),
                step(EQUAL, 1, 0, value),
                allow(),
            ],
        };
        program.push(step(EQUAL, 0, test.len() as u8 + 1, call.number as u32));
        program.extend(test);
        program.push(notify());
    }
    program.push(allow());
    program
}

/// Where flow has the filter's other end, until the supervisor takes it over. Below every limit of open files.
const PLACE: i32 = 200;

/// A supervisor at work.
#[derive(Debug)]
pub struct Supervisor {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Injected>,
}

/// Starts the command under a supervisor.
///
/// # Errors
/// Where this machine does not allow it.
pub fn spawn(mut command: Command, fault: Fault) -> io::Result<(Child, Supervisor)> {
    let calls = calls();
    let mut program = program(&calls);
    // SAFETY: between fork and exec nothing but system calls, on memory that was laid out before.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog {
                len: program.len() as u16,
                filter: program.as_mut_ptr(),
            };
            let mode = libc::SECCOMP_SET_MODE_FILTER;
            let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            let listener = libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter);
            if listener < 0 || libc::dup2(listener as i32, PLACE) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let of_child = pidfd_open(pid, PidfdFlags::empty())?;
    let listener = match pidfd_getfd(&of_child, PLACE, PidfdGetfdFlags::empty()) {
        // It has ended already: then it made no call that is watched, or it would wait for an answer.
        Err(Errno::SRCH) => None,
        found => Some(found?),
    };
    let done = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let done = Arc::clone(&done);
        move || match listener {
            Some(listener) => serve(&listener, pid, fault, &calls, &done),
            None => Injected::default(),
        }
    });
    Ok((child, Supervisor { done, thread }))
}

impl Supervisor {
    /// What happened; to be asked once the process has ended.
    ///
    /// # Panics
    /// Where the supervisor did.
    pub fn report(self) -> Injected {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn serve(
    listener: &OwnedFd,
    flow: Pid,
    fault: Fault,
    calls: &[Call],
    done: &AtomicBool,
) -> Injected {
    let mut injected = Injected::default();
    let threads = PathBuf::from(format!("/proc/{}/task", flow.as_raw_nonzero()));
    loop {
        let mut waiting = [PollFd::new(listener, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let _ = poll(&mut waiting, Some(&patience));
        let found = waiting[0].revents();
        if !found.contains(PollFlags::IN) {
            if done.load(Ordering::Relaxed) || found.contains(PollFlags::HUP) {
                return injected;
            }
            continue;
        }
        // SAFETY: all zeros are valid for both, and wanted by the kernel.
        let (mut request, mut response): (libc::seccomp_notif, libc::seccomp_notif_resp) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        const {
            assert!(size_of::<libc::seccomp_notif>() == 80);
            assert!(size_of::<libc::seccomp_notif_resp>() == 24);
        }
        let fd = listener.as_raw_fd();
        // SAFETY: the kernel writes one request into `request`.
        if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut request) } != 0 {
            continue; // who called is dead
        }
        response.id = request.id;
        let number = i64::from(request.data.nr);
        let call = calls.iter().find(|call| call.number == number);
        let ours = threads.join(request.pid.to_string()).exists();
        let strike = match call {
            Some(call) if ours => {
                injected.calls += 1;
                let strike = fault.strikes(injected.calls, call.class, request.data.args[0]);
                if strike.is_some() {
                    injected.struck.get_or_insert(call.name);
                }
                strike
            }
            _ => None,
        };
        match strike {
            None => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            Some(Strike::Error(number)) => response.error = -number,
            Some(Strike::Kill) => {
                let _ = kill_process(flow, Signal::KILL);
            }
        }
        // SAFETY: the kernel reads one response. Where who called is dead it says so, which changes nothing.
        unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
    }
}

enum Strike {
    Error(i32),
    Kill,
}

impl Fault {
    /// What happens to the n-th call.
    fn strikes(self, n: usize, class: Class, first_argument: u64) -> Option<Strike> {
        // A full or read-only disk does not keep flow from saying so.
        let speaks = class == Class::Write && matches!(first_argument, 1 | 2);
        match self {
            Fault::Fail(nth, number) => (n == nth).then_some(Strike::Error(number)),
            Fault::Kill(nth) => (n == nth).then_some(Strike::Kill),
            Fault::FullFrom(nth) => {
                let grows = matches!(class, Class::Open | Class::Write | Class::Name);
                (n >= nth && grows && !speaks).then_some(Strike::Error(libc::ENOSPC))
            }
            Fault::ReadOnly => {
                let changes = !matches!(class, Class::Write | Class::Sync | Class::Lock);
                changes.then_some(Strike::Error(libc::EROFS))
            }
        }
    }
}
