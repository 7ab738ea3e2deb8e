//! What is started, as plain data.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

/// A command, complete: of flow's own environment it gets nothing that does not stand here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// The program, as a person wrote it: a path, or a name that is looked for on the `PATH` of `environment`.
    pub program: OsString,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// All its variables.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder that it starts in, as it is called where the mounts of `confinement` are made.
    #[serde(with = "path")]
    pub folder: PathBuf,
    /// How it is kept apart from the machine; not at all where nothing stands here.
    pub confinement: Option<Confinement>,
    /// Descriptors, such as locks, that stay open until the command and all that it started are gone. It does not see them.
    #[serde(skip)]
    pub held: Vec<Arc<File>>,
    /// Whether it is the one that the terminal listens to, if its stdin is one: then Ctrl-C is for it.
    pub at_terminal: bool,
}

/// How a command is kept apart from the machine: it has its own mounts and, where the system allows it, its own processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// What is mounted, in this order.
    pub mounts: Vec<Mount>,
    /// Whether it may use the network.
    pub network: bool,
}

/// One mount. All sources are looked up before the first mount, so what one of them covers can be bound again inside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mount {
    /// A file or folder is also seen at another place, with what is mounted below it. The place must exist, or lie in a
    /// covered folder, where it is made.
    Bind {
        /// What is seen.
        #[serde(with = "path")]
        from: PathBuf,
        /// Where it is seen.
        #[serde(with = "path")]
        to: PathBuf,
        /// Whether nobody can write there, root included.
        read_only: bool,
    },
    /// A folder looks empty, but for what is mounted in it, and nobody can write there.
    Cover {
        /// The folder.
        #[serde(with = "path")]
        at: PathBuf,
    },
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mount::Bind { from, to, .. } => {
                write!(f, "mounting {} at {}", from.display(), to.display())
            }
            Mount::Cover { at } => write!(f, "covering {}", at.display()),
        }
    }
}

/// Paths that need not be UTF-8.
mod path {
    use super::{Deserialize, OsString, Path, PathBuf, Serialize};

    pub fn serialize<S: serde::Serializer>(path: &Path, out: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(out)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::deserialize(from)?.into())
    }
}

impl Launch {
    /// A program without arguments and variables, in flow's own folder.
    pub fn new(program: impl Into<OsString>) -> Launch {
        Launch {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: ".".into(),
            confinement: None,
            held: Vec::new(),
            at_terminal: false,
        }
    }

    /// The command at the terminal; where `instead` is not empty that command in its place.
    pub fn take_terminal(&mut self, instead: &[OsString]) {
        self.at_terminal = true;
        if let Some(term) = std::env::var_os("TERM") {
            self.environment.push(("TERM".into(), term));
        }
        if let [program, arguments @ ..] = instead {
            self.program.clone_from(program);
            self.arguments = arguments.to_vec();
        }
    }

    /// A program with flow's own variables.
    pub fn with_own_environment(program: impl Into<OsString>) -> Launch {
        Launch {
            environment: std::env::vars_os().collect(),
            ..Launch::new(program)
        }
    }

    /// As the system starts it.
    pub(super) fn command(&self) -> Command {
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        // With the file's own path std needs no fork.
        let found = path.and_then(|(_, path)| find(&self.program, path));
        let mut command = Command::new(found.as_deref().unwrap_or(Path::new(&self.program)));
        command
            .arg0(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .process_group(0);
        command
    }
}

/// The file that a name means on flow's own `PATH`, else the name.
pub fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find(OsStr::new(name), &path).unwrap_or_else(|| name.into())
}

/// The file that a name means on this `PATH`; none where that depends on the folder in which it is started.
fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return None;
    }
    for folder in std::env::split_paths(path) {
        if !folder.is_absolute() {
            return None;
        }
        let file = folder.join(name);
        if access(&file, Access::EXEC_OK).is_ok() && file.is_file() {
            return Some(file);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_its_own_path_as_a_shell_finds_it() {
        let found = |program: &str, path: &str| {
            let mut launch = Launch::new(program);
            launch.environment.push(("PATH".into(), path.into()));
            launch.command().get_program().to_os_string()
        };
        assert!(Path::new(&found("sh", "/no/such:/usr/bin:/bin")).is_absolute());
        assert_eq!(found("sh", "/no/such"), "sh");
        assert_eq!(found("./sh", "/bin"), "./sh");
        assert_eq!(found("there-is-no-such", "/bin"), "there-is-no-such");
    }

    #[test]
    fn a_launch_of_any_bytes_reads_back() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![b'a', 0xff, b'\n', b'"', b' ']);
        let mut launch = Launch::new(odd.clone());
        launch.arguments = vec![odd.clone(), "".into()];
        launch.environment = vec![("A".into(), odd.clone())];
        launch.folder = odd.clone().into();
        launch.confinement = Some(Confinement {
            mounts: vec![
                Mount::Bind {
                    from: odd.clone().into(),
                    to: "/b".into(),
                    read_only: true,
                },
                Mount::Cover { at: odd.into() },
            ],
            network: false,
        });
        let bytes = postcard::to_stdvec(&launch).unwrap();
        let read: Launch = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{launch:?}"));
    }
}
