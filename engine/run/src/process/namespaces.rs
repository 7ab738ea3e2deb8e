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
use rustix::process::{getegid, geteuid};
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

/// The step of a new process namespace that containers forbid alone.
pub(super) const PROC: &str = "mounting /proc";

/// Leaves the namespaces of the machine. With `processes` the next child is the first of its own.
pub(super) fn leave(confinement: &Confinement, processes: bool) -> Result<(), Failure> {
    let mut flags = UnshareFlags::NEWNS;
    flags.set(UnshareFlags::NEWPID, processes);
    flags.set(UnshareFlags::NEWNET, !confinement.network);
    let (user, group) = (geteuid(), getegid());
    // Root keeps its users: in a namespace of users it could not read what belongs to others.
    if user.is_root() && system::unshare(flags).is_ok() {
        return Ok(());
    }
    system::unshare(flags | UnshareFlags::NEWUSER).map_err(Failure::at("making namespaces"))?;
    let write = |file: &str, text: String| {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).map_err(Failure::at(format!("writing {path}")))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{user} {user} 1", user = user.as_raw()))?;
    write(
        "gid_map",
        format!("{group} {group} 1", group = group.as_raw()),
    )
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
            (
                Mount::Bind {
                    from,
                    to,
                    read_only,
                },
                Some(source),
            ) => {
                if covers.iter().any(|(_, at, _)| to.starts_with(at)) {
                    make_place(source, to).map_err(failed())?;
                }
                bind(source, to, *read_only).map_err(failed())?;
                let _ = from;
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
    if to.exists() {
        return Ok(());
    }
    if link(source).is_dir() {
        return fs::create_dir_all(to);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(to).map(drop)
}
