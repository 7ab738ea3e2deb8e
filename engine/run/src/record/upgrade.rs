//! What a stage of an earlier version of flow may do otherwise now. Told once: a result of this version ends it.

use flow_cache::Store;
use flow_plan::plan::{Command, Program};
use serde::Deserialize;

#[derive(Deserialize)]
struct Brief {
    manifest: Kind,
    provenance: Made,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    stage: String,
}

/// What to say where `sh` made the results that the store has of a stage, and bash reads its lines otherwise.
pub fn otherwise(store: &Store, stage: &str, program: &Program) -> Option<String> {
    let Command::Shell(lines) = &program.command else {
        return None;
    };
    if program.shell.is_some() || !is_read_otherwise(&lines.text) {
        return None;
    }
    let briefs: Vec<Brief> = store.read_records().ok()?;
    let mut of_stage = briefs
        .iter()
        .filter(|brief| brief.provenance.stage == stage && brief.manifest.kind == "run")
        .peekable();
    of_stage.peek()?;
    of_stage.all(|brief| brief.manifest.version == "1").then(|| {
        "its lines were run by `sh`, and bash runs them now, whose `echo` prints a backslash as it is: write `printf`, or keep \
         sh with shell = [\"sh\", \"-e\"]"
            .into()
    })
}

/// Whether a line has `echo`, without an option, before a backslash: the sh of some systems takes `\n` there for a line break.
fn is_read_otherwise(lines: &str) -> bool {
    lines.lines().any(|line| {
        let mut echoes = line.match_indices("echo ");
        echoes.any(|(at, word)| {
            let rest = line[at + word.len()..].trim_start();
            !rest.starts_with("-e") && rest.contains('\\')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_with_a_backslash_is_read_otherwise() {
        for line in [r"echo 'a\nb'", "true\necho a\\tb > x", r"x=1; echo $x\\"] {
            assert!(is_read_otherwise(line), "{line}");
        }
        for line in [
            r"printf 'a\n'",
            r"echo -e 'a\n'",
            "echo a",
            r"sed 's/\n//'; echo a",
        ] {
            assert!(!is_read_otherwise(line), "{line}");
        }
    }
}
