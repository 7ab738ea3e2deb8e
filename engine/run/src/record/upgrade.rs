//! What a stage of an earlier version of flow may do otherwise now. Told once: a result of this version ends it.

use std::collections::BTreeSet;

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

/// The stages that this may be told of. Records are read once, and only where a program asks for it.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// Stages all of whose results `sh` made, that nothing was said of.
    stages: Option<BTreeSet<String>>,
}

impl Upgrade {
    /// What to say, once, where `sh` made the results that the store has of a stage, and bash reads its lines otherwise.
    pub fn otherwise(&mut self, store: &Store, stage: &str, program: &Program) -> Option<String> {
        let Command::Shell(lines) = &program.command else {
            return None;
        };
        if program.shell.is_some() || !is_read_otherwise(&lines.text) {
            return None;
        }
        let stages = self.stages.get_or_insert_with(|| of_sh(store));
        stages.remove(stage).then(|| {
            "its lines were run by `sh`, and bash runs them now, whose `echo` prints a backslash as it is: write `printf`, \
             or keep sh with shell = [\"sh\", \"-e\"]"
                .into()
        })
    }
}

/// The stages all of whose results are of the time when `sh` ran programs.
fn of_sh(store: &Store) -> BTreeSet<String> {
    // A store that can't tell them is no reason to run nothing.
    let briefs: Vec<Brief> = store.read_records().unwrap_or_default();
    let (mut then, mut now) = (BTreeSet::new(), BTreeSet::new());
    for brief in briefs
        .into_iter()
        .filter(|brief| brief.manifest.kind == "run")
    {
        let stages = if brief.manifest.version == "1" {
            &mut then
        } else {
            &mut now
        };
        stages.insert(brief.provenance.stage);
    }
    &then - &now
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
