//! Programs of the machine that a result depends on: what they say of themselves, or what they are.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_cache::{Digest, Store};
use serde::{Deserialize, Serialize};

use super::seen::Seen;
use super::{Problem, Surroundings};
use crate::process::{Confinement, Launch, output};

/// How long a program may take to say its version.
const LIMIT: Duration = Duration::from_secs(60);
/// The parts of the C library, which belong to the system and not to a program.
const SYSTEM: [&str; 8] = [
    "linux-vdso",
    "ld-linux",
    "libc",
    "libm",
    "libpthread",
    "libdl",
    "librt",
    "libresolv",
];

/// What is remembered of a tool.
#[derive(Serialize, Deserialize)]
struct Known {
    value: String,
    seen: Vec<Seen>,
}

/// What stands in the key for a tool: what its command prints, or the digest of its file and of its own shared libraries. It
/// is asked with these variables, and in these surroundings, if any. The store remembers what can't change as long as the
/// program and its libraries are the same files; anything else is asked each time.
///
/// # Errors
/// Where the command fails, or the file is none whose content says what it does.
pub fn value(
    name: &str,
    command: Option<&str>,
    environment: &[(OsString, OsString)],
    surroundings: Option<&Surroundings>,
    store: &Store,
) -> Result<String, Problem> {
    let mut launch = Launch::new("sh");
    launch.arguments = vec!["-c".into(), command.unwrap_or_default().into()];
    launch.environment = environment.to_vec();
    let is_container = surroundings.is_some_and(Surroundings::is_container);
    if is_container {
        launch.folder = "/".into();
        launch.confinement = Some(Confinement {
            mounts: Vec::new(),
            network: false,
        });
    }
    if let Some(surroundings) = surroundings {
        launch = surroundings.enter(launch, None)?;
    }
    let path = launch.environment.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(""), |(_, path)| path);
    let called = command.map_or(name, |command| {
        command.split_whitespace().next().unwrap_or_default()
    });
    let program = match is_container {
        true => None,
        false => find(called, path),
    };
    let folder = surroundings.and_then(Surroundings::folder);
    let is_part = is_container
        || folder.is_some_and(|folder| program.iter().any(|program| program.starts_with(folder)));
    let digest = surroundings.map(|surroundings| surroundings.digest);
    let note = format!("tool 2 {name:?} {command:?} {environment:?} {program:?} {digest:?}");
    let note = Digest::of_bytes(note.as_bytes());
    if let Some(known) = store.noted::<Known>(&note)
        && known.seen.iter().all(Seen::holds)
    {
        return Ok(known.value);
    }
    let (value, seen) = match (command, &program) {
        (Some(command), program) => {
            // Seen before it is asked.
            let seen = match program {
                _ if is_container => Some(Vec::new()),
                Some(program) if is_plain(command) => same(program, is_part),
                _ => None,
            };
            (said(name, command, &launch)?, seen)
        }
        (None, _) if is_part => ("part of the environment".into(), None),
        (None, Some(program)) => {
            let (value, seen) = file(name, program)?;
            (value, Some(seen))
        }
        (None, None) => {
            return Err(Problem::Wrong(format!(
                "the tool {name} is not on the PATH: install it, or leave it out of `tools`"
            )));
        }
    };
    // A command that only looks makes no store.
    if let Some(seen) = seen
        && store.is_there()
    {
        let known = Known { value, seen };
        let _ = store.note(&note, &known);
        return Ok(known.value);
    }
    Ok(value)
}

/// Whether a command is a program and nothing but options: what it prints is then of the program alone.
fn is_plain(command: &str) -> bool {
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_./=+".contains(&byte))
    };
    let is_option = |word: &str| word.starts_with('-') || word == "version";
    command.split_whitespace().all(is_word) && command.split_whitespace().skip(1).all(is_option)
}

/// What tells that a program says the same as now. None of a script: it may be a launcher of something else.
fn same(program: &Path, is_part: bool) -> Option<Vec<Seen>> {
    if is_part {
        return Some(vec![Seen::now(program)]);
    }
    let real = program.canonicalize().ok()?;
    let mut head = [0; 4];
    File::open(&real).ok()?.read_exact(&mut head).ok()?;
    if head != *b"\x7fELF" {
        return None;
    }
    let files = std::iter::once(real.clone()).chain(libraries(&real));
    Some(files.map(|path| Seen::now(&path)).collect())
}

/// What a command prints.
fn said(name: &str, command: &str, asked: &Launch) -> Result<String, Problem> {
    let wrong = |why: String| {
        Problem::Wrong(format!(
            "the tool {name} is asked by `{command}`, which {why}"
        ))
    };
    let output = output(asked, LIMIT).map_err(|error| wrong(format!("can't be run: {error}")))?;
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.concat().trim().to_string();
    if !output.status.success() {
        return Err(wrong(format!("ended with {}: {text}", output.status)));
    }
    if text.is_empty() {
        return Err(wrong("printed nothing, so that no version is known".into()));
    }
    Ok(text)
}

/// The digest of a program and its own shared libraries, and what tells that they are the same.
fn file(name: &str, program: &Path) -> Result<(String, Vec<Seen>), Problem> {
    let other = |what: &str| {
        Problem::Wrong(format!(
            "the tool {name} is {} {what}, whose content does not say what runs: name a command whose words count, \
             `tools = {{ {name} = \"{name} --version\" }}`",
            program.display()
        ))
    };
    let real = program.canonicalize().map_err(Problem::reading(program))?;
    let mut head = Vec::new();
    let opened = File::open(&real).map_err(Problem::reading(&real))?;
    opened
        .take(4)
        .read_to_end(&mut head)
        .map_err(Problem::reading(&real))?;
    if head.starts_with(b"#!") {
        return Err(other("(a script)"));
    }
    if head != b"\x7fELF" {
        return Err(other("(no program of this system)"));
    }
    // `python3` may lead to `python3.11`, and `awk` by the system's alternatives to `mawk`; what leads to a file of another
    // name is a launcher, or one program that does many things.
    let own = real.file_name().unwrap_or_default().to_string_lossy();
    let first = std::fs::read_link(program).unwrap_or_default();
    if !own.starts_with(name) && !first.starts_with("/etc/alternatives") {
        return Err(other(&format!("(a link to {})", real.display())));
    }
    let mut files = vec![real.clone()];
    files.extend(libraries(&real));
    let seen = files.iter().map(|path| Seen::now(path)).collect();
    let mut hasher = blake3::Hasher::new();
    for path in &files {
        let mut content = blake3::Hasher::new();
        content
            .update_mmap_rayon(path)
            .map_err(Problem::reading(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        hasher.update(format!("{name} {}\n", content.finalize().to_hex()).as_bytes());
    }
    Ok((format!("file {}", hasher.finalize().to_hex()), seen))
}

/// The shared libraries of a program but for the C library, as the system's own loader finds them: it alone knows all of the
/// rules. A static program has none.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let mut launch = Launch::with_own_environment("ldd");
    launch.arguments.push(program.into());
    let Ok(output) = output(&launch, LIMIT) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_once(" => ")?.1.split(" (").next())
        .map(|path| PathBuf::from(path.trim()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let stem = name.split(['.', '-']).next().unwrap_or_default();
            path.is_absolute()
                && !SYSTEM
                    .iter()
                    .any(|system| stem == *system || name.starts_with("ld-linux"))
        })
        .collect();
    found.sort();
    found
}

/// The file that a name means on a PATH.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let candidates = std::env::split_paths(path).map(|folder| folder.join(name));
    let is_program = |path: &PathBuf| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    candidates
        .filter(|path| path.is_absolute())
        .find(is_program)
}
