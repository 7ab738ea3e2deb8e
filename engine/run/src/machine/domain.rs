//! Where runs meet that share threads, memory and GPUs, and how many threads there are.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The variable that tells a flow inside a stage what share of the machine the stage has.
pub const SHARE: &str = "FLOW_SHARE";
/// The variable that names the folder in which runs meet.
pub const MEETING: &str = "FLOW_MACHINE";

/// Where all users' runs meet: in memory where that can be, which takes a fifth of the time. Not below `TMPDIR`, which
/// differs between users.
const COMMON: [&str; 2] = ["/dev/shm/flow-machine", "/tmp/flow-machine"];
/// What schedulers call an allocation by.
const JOBS: [&str; 6] = [
    "SLURM_JOB_ID",
    "PBS_JOBID",
    "LSB_JOBID",
    "FLUX_JOB_ID",
    "OAR_JOB_ID",
    "CONDOR_JOB_ID",
];
const CGROUPS: &str = "/sys/fs/cgroup";

/// What a stage has of the machine, as a flow inside it reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Where the runs inside the stage meet.
    pub folder: PathBuf,
    /// Threads.
    pub threads: u32,
    /// Bytes; 0 where the stage said nothing of it.
    pub memory: u64,
}

impl Given {
    /// What the stage has that this process runs in; none outside of any.
    pub fn here() -> Option<Given> {
        serde_json::from_str(&std::env::var(SHARE).ok()?).ok()
    }
}

/// A folder in which runs meet.
#[derive(Debug)]
pub struct Domain {
    /// The folder, which is there.
    pub folder: PathBuf,
    /// The threads that all of its runs share; none where it is for the process to say.
    pub threads: Option<u32>,
}

impl Domain {
    /// The one that this process is in.
    ///
    /// # Errors
    /// Where no folder can be made, with what is in the way.
    pub fn here() -> io::Result<Domain> {
        if let Some(given) = Given::here() {
            fs::create_dir_all(&given.folder)?;
            return Ok(Domain {
                folder: given.folder,
                threads: Some(given.threads),
            });
        }
        let (name, threads) = name();
        if let Some(folder) = std::env::var_os(MEETING).map(PathBuf::from) {
            fs::create_dir_all(&folder)?;
            return Ok(Domain { folder, threads });
        }
        let common = COMMON.iter().map(|base| {
            let folder = Path::new(base).join(&name);
            open_to_all(Path::new(base))?;
            open_to_all(&folder).map(|()| folder)
        });
        // Where someone has made them otherwise, at least the runs of one user meet.
        let folder = match common.into_iter().find_map(Result::ok) {
            Some(folder) => folder,
            None => own_folder(&name)?,
        };
        Ok(Domain { folder, threads })
    }
}

/// A folder of this user's.
fn own_folder(name: &str) -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let base = base
        .filter(|base| base.is_absolute())
        .unwrap_or("/tmp".into());
    let folder = base.join(format!("flow-machine-{user}"));
    match fs::create_dir(&folder) {
        Ok(()) => fs::set_permissions(&folder, Permissions::from_mode(0o700))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() || found.uid() != user {
        return Err(io::Error::other(format!(
            "{} is someone else's",
            folder.display()
        )));
    }
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Makes sure of a folder in which everyone may make files, and nobody remove those of others.
fn open_to_all(folder: &Path) -> io::Result<()> {
    const MODE: u32 = 0o1777;
    match fs::create_dir(folder) {
        // The umask takes bits away.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(MODE))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && found.mode() & 0o7777 == MODE {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} is no folder that all may share (mode 1777)",
        folder.display()
    )))
}

/// The name of what bounds this process, and the threads in it.
fn name() -> (String, Option<u32>) {
    for variable in JOBS {
        if let Ok(job) = std::env::var(variable)
            && !job.is_empty()
        {
            let job: String = job
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect();
            return (format!("{}-{job}", variable.to_lowercase()), None);
        }
    }
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    if let Some(group) = own.and_then(|own| bounded(Path::new(CGROUPS), own)) {
        return group;
    }
    ("machine".into(), online())
}

/// The innermost control group around `own` that bounds threads. Its inode tells it from others of the name in other
/// containers.
fn bounded(root: &Path, own: &str) -> Option<(String, Option<u32>)> {
    let own = root.join(own.trim_start_matches('/'));
    for group in own.ancestors().take_while(|group| group.starts_with(root)) {
        let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
        let quota = read("cpu.max");
        let mut quota = quota.split_whitespace().map(|word| word.parse::<f64>());
        let threads = match (quota.next(), quota.next()) {
            // As many as the quota lets run all the time.
            (Some(Ok(quota)), Some(Ok(period))) if period > 0.0 => {
                Some((quota / period).floor().max(1.0) as u32)
            }
            _ => None,
        };
        let of_set = count(&read("cpuset.cpus"));
        if let Some(threads) = [threads, of_set].into_iter().flatten().min() {
            let inode = fs::metadata(group).ok()?.ino();
            return Some((format!("cgroup-{inode}"), Some(threads)));
        }
    }
    None
}

/// The processors of the machine, whichever of them this process may use.
fn online() -> Option<u32> {
    count(&fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

/// How many numbers a list such as `0-3,8` has; none where that is no number at all.
fn count(list: &str) -> Option<u32> {
    let mut all = 0;
    for range in list.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        all += last.checked_sub(first)? + 1;
    }
    (all > 0).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count("0-3,8\n"), Some(5));
        assert_eq!(count("7"), Some(1));
        for list in ["", "\n", "x", "3-1", "0-"] {
            assert_eq!(count(list), None, "{list:?}");
        }
    }

    #[test]
    fn the_innermost_bounded_group_is_the_domain() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("a/b/c");
        fs::create_dir_all(&own).unwrap();
        let found = || bounded(root.path(), "/a/b/c").map(|(_, threads)| threads);
        assert_eq!(found(), None);
        fs::write(root.path().join("a/cpu.max"), "250000 100000\n").unwrap();
        assert_eq!(found(), Some(Some(2)));
        fs::write(root.path().join("a/b/cpu.max"), "max 100000\n").unwrap();
        assert_eq!(found(), Some(Some(2)));
        fs::write(own.join("cpuset.cpus"), "2-4\n").unwrap();
        assert_eq!(found(), Some(Some(3)));
    }

    #[test]
    fn a_folder_that_another_could_empty_is_not_shared() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
        open_to_all(&good).unwrap();
        open_to_all(&good).unwrap();
        fs::create_dir(&bad).unwrap();
        fs::set_permissions(&bad, Permissions::from_mode(0o777)).unwrap();
        assert!(open_to_all(&bad).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&good, &link).unwrap();
        assert!(open_to_all(&link).is_err());
    }
}
