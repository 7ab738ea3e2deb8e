//! Whether this machine lets a stage have namespaces of its own.

use std::fs;
use std::io;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

/// Where the stage's folder is seen, whatever its real place is: the same on every machine.
pub fn stage_folder() -> &'static Path {
    Path::new("/tmp/flow-stage")
}

/// Whether stages can be kept apart from this machine; tried out once, with all that it takes.
///
/// # Errors
/// Why not, and what to do, in words.
pub fn isolation() -> Result<(), String> {
    reach().map(drop)
}

/// As [`isolation`]: whether a stage gets its own processes, beside its own mounts.
#[cfg(not(target_os = "linux"))]
pub(super) fn reach() -> Result<bool, String> {
    Err("only Linux has namespaces".into())
}

/// As [`isolation`]: whether a stage gets its own processes, beside its own mounts.
#[cfg(target_os = "linux")]
pub(super) fn reach() -> Result<bool, String> {
    static FOUND: OnceLock<Result<bool, String>> = OnceLock::new();
    FOUND.get_or_init(try_out).clone()
}

#[cfg(target_os = "linux")]
fn try_out() -> Result<bool, String> {
    use super::namespaces::PROC;
    use super::{Confinement, Launch, Mount};

    if std::env::var_os("FLOW_ISOLATION").is_some_and(|value| value == "off") {
        return Err("FLOW_ISOLATION=off turns it off".into());
    }
    let folder = stage_folder();
    make(folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    let mut launch = Launch::new("");
    launch.confinement = Some(Confinement {
        mounts: vec![Mount::Bind {
            from: folder.into(),
            to: folder.into(),
            read_only: true,
        }],
        network: true,
    });
    let rehearse = |processes| super::supervised::Supervised::rehearse(&launch, processes);
    match rehearse(true) {
        Ok(()) => Ok(true),
        // A container that hides parts of /proc lets nobody mount a whole one.
        Err((Some(step), _)) if step == PROC => match rehearse(false) {
            Ok(()) => Ok(false),
            Err(refusal) => Err(reason(refusal)),
        },
        Err(refusal) => Err(reason(refusal)),
    }
}

/// Makes the folder, if it is not there. What is there may be of another user: only its place counts.
#[cfg(target_os = "linux")]
fn make(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if fs::symlink_metadata(folder)?.is_dir() {
        Ok(())
    } else {
        Err(io::Error::other("what is there is no folder; remove it"))
    }
}

/// Why it was refused, and what to do.
#[cfg(target_os = "linux")]
fn reason((step, error): super::supervised::Refusal) -> String {
    let step = step.unwrap_or_else(|| "starting a supervisor".into());
    let is = |name: &str, value: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
    };
    let in_container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| Path::new(path).exists());
    let advice = if !is_refusal(&error) {
        ""
    } else if is("user.max_user_namespaces", "0") {
        "; the system allows no namespaces of users: `sysctl user.max_user_namespaces=10000` does"
    } else if is("kernel.unprivileged_userns_clone", "0") {
        "; the system keeps namespaces for root: `sysctl kernel.unprivileged_userns_clone=1` opens them to all"
    } else if is("kernel.apparmor_restrict_unprivileged_userns", "1") {
        "; AppArmor keeps namespaces for chosen programs: \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0` opens them to all"
    } else if in_container {
        "; a container allows it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`, or \
         `--cap-add SYS_ADMIN`"
    } else {
        "; the system forbids it: a container or a seccomp filter may be the cause"
    };
    format!("{step} failed: {error}{advice}")
}

#[cfg(target_os = "linux")]
fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refusals = [Errno::PERM, Errno::ACCESS, Errno::NOSPC, Errno::NOSYS];
    refusals
        .iter()
        .any(|refusal| error.raw_os_error() == Some(refusal.raw_os_error()))
}
