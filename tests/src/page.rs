//! Pages of `docs/` whose example is a test: its files are written, its commands run, and what they print is compared.
//!
//! - A block ```` ```LANGUAGE PATH ```` is a file.
//! - In a block ```` ```console ```` what follows `$ ` is given to bash, with flow on its `PATH`. The lines below have to be
//!   in what it prints, in this order; other lines may stand between them. `…` stands for anything, also for how much white
//!   space there is. A command ends with the status 0, unless one of these lines begins with `error: `.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Test, binaries};

/// Does what a page says in the folder of a test.
///
/// # Panics
/// Where something is not as the page has it.
#[track_caller]
pub fn follow(mut test: Test, page: &str) -> Test {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match head.split_once(' ') {
            Some((_, file)) => test = test.file(file, block.join("\n") + "\n"),
            None if head == "console" => {
                for call in block.join("\n").split("\n$ ") {
                    let call = call.strip_prefix("$ ").unwrap_or(call);
                    let (command, printed) = call.split_once('\n').unwrap_or((call, ""));
                    run(&test, command, printed);
                    commands += 1;
                }
            }
            None => {}
        }
    }
    assert!(commands > 0, "{page} has no command");
    test
}

#[track_caller]
fn run(test: &Test, line: &str, wanted: &str) {
    let mut paths = vec![binaries::folder()];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    paths.extend(std::env::split_paths(&inherited).collect::<Vec<PathBuf>>());
    let path: OsString = std::env::join_paths(paths).unwrap();
    let mut bash = Command::new("bash");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLOW_") {
            bash.env_remove(name);
        }
    }
    let output = bash
        .args(["-c", &format!("{{ {line}\n}} 2>&1")])
        .current_dir(test.path(""))
        .env("PATH", path)
        .env("HOME", test.path(".."))
        .env("XDG_CACHE_HOME", binaries::cache_folder())
        .env("FLOW_MACHINE", test.path("../machine"))
        .env("COLUMNS", "120")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let may_fail = wanted.lines().any(|line| line.starts_with("error: "));
    assert_eq!(output.status.success(), !may_fail, "$ {line}\n{printed}");
    let mut rest = printed.lines();
    for wanted in wanted.lines().filter(|line| !line.is_empty()) {
        assert!(
            rest.any(|line| matches(line, wanted)),
            "$ {line}\nprinted no (further) line\n  {wanted}\nbut\n{printed}"
        );
    }
}

/// Whether a line is as a page has it.
fn matches(line: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = plain(line);
    let pieces: Vec<String> = wanted.split('…').map(plain).collect();
    let [first, middle @ .., last] = &pieces[..] else {
        return line == pieces[0];
    };
    let Some(mut rest) = line.strip_prefix(first.as_str()) else {
        return false;
    };
    for piece in middle {
        match rest.split_once(piece.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn what_is_left_out_matches_anything() {
        assert!(matches("ran  a   12 ms", "ran a …"));
        assert!(matches("ran  a   12 ms", "ran … ms"));
        assert!(matches("a", "a"));
        assert!(!matches("ran  a", "ran b …"));
        assert!(!matches("ran  a  b", "ran a"));
        assert!(!matches("ab", "ab … b"));
    }
}
