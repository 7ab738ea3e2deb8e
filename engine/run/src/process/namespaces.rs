//! A supervisor's own view of the machine: mounts, processes and network that only its stage sees.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, openat, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Gid, Pid, Uid, getegid, geteuid};
use rustix::thread::UnshareFlags;

use super::launch::{Confinement, Mount};
use super::system;

/// What could not be done.
#[derive(Debug)]
pub(super) struct Failure {
    /// At which step; none where the program itself could not be executed.
    pub step: Option<String>,
    pub error: io::Error,
}

impl Failure {
    /// To be given an error.
    pub fn at<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Failure {
        move |error| Failure {
            step: Some(step.into()),
            error: error.into(),
        }
    }
}

/// The step that systems forbid which have no namespaces for this user.
const NAMESPACES: &str = "making namespaces";

/// The step of a new process namespace that containers forbid alone.
pub(super) const PROC: &str = "mounting /proc";

/// Of a process that is the first of its own.
#[derive(Debug)]
pub(super) struct First {
    /// Who it was, where it has users of its own.
    was: Option<(Uid, Gid)>,
}

/// What came of making a copy of this process.
pub(super) enum Forked {
    /// In this process: its number.
    Parent(Pid),
    /// In the copy, which is the first of its own processes, if it has some.
    Copy(Option<First>),
}

/// Makes a copy of this process that is the first of its own: if it is killed, so are all of them.
pub(super) fn fork_first() -> Result<Forked, Failure> {
    let forked = |found: Option<Pid>, was| match found {
        Some(pid) => Forked::Parent(pid),
        None => Forked::Copy(Some(First { was })),
    };
    let (user, group) = (geteuid(), getegid());
    // Root keeps its users: in a namespace of users it could not read what belongs to others.
    if user.is_root()
        && let Ok(found) = system::fork_into(UnshareFlags::NEWPID)
    {
        return Ok(forked(found, None));
    }
    system::fork_into(UnshareFlags::NEWPID | UnshareFlags::NEWUSER)
        .map(|found| forked(found, Some((user, group))))
        .map_err(Failure::at(NAMESPACES))
}

/// Leaves the mounts of the machine, and its network where the stage has none.
pub(super) fn leave(confinement: &Confinement, first: Option<&First>) -> Result<(), Failure> {
    let mut flags = UnshareFlags::NEWNS;
    flags.set(UnshareFlags::NEWNET, !confinement.network);
    let (user, group) = (geteuid(), getegid());
    let was = match first {
        Some(first) => first.was,
        None if user.is_root() && system::unshare(flags).is_ok() => return Ok(()),
        None => {
            system::unshare(UnshareFlags::NEWUSER).map_err(Failure::at(NAMESPACES))?;
            Some((user, group))
        }
    };
    if let Some((user, group)) = was {
        let (user, group) = (user.as_raw(), group.as_raw());
        for (file, text) in [
            ("setgroups", "deny".into()),
            ("uid_map", format!("{user} {user} 1")),
            ("gid_map", format!("{group} {group} 1")),
        ] {
            let path = format!("/proc/self/{file}");
            fs::write(&path, text).map_err(Failure::at(format!("writing {path}")))?;
        }
    }
    system::unshare(flags).map_err(Failure::at(NAMESPACES))
}

/// Makes the mounts in the new namespaces.
pub(super) fn furnish(confinement: &Confinement, processes: bool) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(Failure::at("making mounts private"))?;
    if processes {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("proc", "/proc", "proc", flags, None).map_err(Failure::at(PROC))?;
    }
    if !confinement.network {
        socket(AddressFamily::INET, SocketType::DGRAM, None)
            .map_err(io::Error::from)
            .and_then(|socket| system::bring_up_loopback(&socket))
            .map_err(Failure::at("bringing up the loopback device"))?;
    }
    let mut sources = Vec::new();
    for mount in &confinement.mounts {
        sources.push(match mount {
            Mount::Bind { from, .. } => Some(open(from).map_err(Failure::at(mount.to_string()))?),
            Mount::Cover { .. } => None,
        });
    }
    let mut covers: Vec<(&Mount, &Path, OwnedFd)> = Vec::new();
    for (mount, source) in confinement.mounts.iter().zip(&sources) {
        let failed = || Failure::at::<io::Error>(mount.to_string());
        match (mount, source) {
            (Mount::Bind { to, read_only, .. }, Some(source)) => {
                if covers.iter().any(|(_, at, _)| to.starts_with(at)) {
                    make_place(source, to).map_err(failed())?;
                }
                bind(source, to, *read_only).map_err(failed())?;
            }
            (Mount::Cover { at }, _) => {
                covers.push((mount, at, cover(at).map_err(failed())?));
            }
            (Mount::Bind { .. }, None) => {}
        }
    }
    for (mount, _, cover) in &covers {
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(link(cover), flags, "").map_err(Failure::at(mount.to_string()))?;
    }
    Ok(())
}

/// Remembers a place, whatever is mounted over its path later.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// A path to an open place.
fn link(place: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", place.as_raw_fd()).into()
}

fn bind(source: &OwnedFd, to: &Path, read_only: bool) -> io::Result<()> {
    mount_bind_recursive(link(source), to)?;
    if read_only && system::make_read_only(to).is_err() {
        // An older kernel: it does it for this mount, without those below, and only where all that is locked stays as it is.
        let mut flags = MountFlags::BIND | MountFlags::RDONLY;
        let has = statvfs(to)?.f_flag;
        for (had, flag) in [
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
            (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        ] {
            flags.set(flag, has.contains(had));
        }
        mount_remount(to, flags, "")?;
    }
    Ok(())
}

fn cover(at: &Path) -> io::Result<OwnedFd> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", at, "tmpfs", flags, c"mode=0755")?;
    open(at)
}

/// Makes the file or folder in a covered folder over which `source` is mounted.
fn make_place(source: &OwnedFd, to: &Path) -> io::Result<()> {
    if link(source).is_dir() {
        return fs::create_dir_all(to);
    }
    let make = || File::create_new(to).map(drop);
    let made = match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            to.parent().map_or(Ok(()), fs::create_dir_all)?;
            make()
        }
        made => made,
    };
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
