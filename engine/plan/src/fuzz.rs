//! Any bytes in the place of what people write: bodies of fuzz targets (`fuzz/`), which the tests run for a
//! moment too.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::plan::{self, kinds::Catalogue};
use crate::workflow::{self, Loaded, Overrides, Report};

/// What options are laid over.
const WORKFLOW: &str = "[params]\nkeep = 0.8\nnet = { arch = 'cnn', width = 4 }\n\
    [variants.size.large]\nparams.net = { arch = 'cnn', width = 8 }\nstages.a.outputs = { o = 'p' }\n\
    [sweep]\nmode = 'grid'\naxes = { keep = [0.8, 0.9], size = ['base', 'large'] }\n\
    [environments.e]\nvenv = '.v'\n\
    [stages.a]\nrun = ['sh', '-c', 'echo ${keep} ${net.arch} > ${outputs.o}']\noutputs = { o = 'o' }\n\
    files = { 'p.yaml' = { n = '${net}', s = '${seed}' } }\nenvironment = 'e'\ntools = ['bwa']\n\
    inputs = { c = { path = ['src', 'x*'], as = 'in/', exclude = ['*.b'] } }\nenv = { K = '${keep} ${cpus}' }\n\
    [stages.b]\nmatrix = { x = [1, 2] }\nrun = 'cat ${inputs.i} > ${outputs.o}'\ninputs = { i = { from = 'a', as = '${matrix.x}/' } }\n\
    outputs = { o = '${matrix.x}.txt' }\n[stages.c]\nrun = 'x ${inputs.all}'\ninputs = { all = { collect = 'b' } }\noutputs = { g = 'g*' }\n";

/// A workflow in which axes are known by their names.
const BY_NAME: &str = "[workflow]\nlanguage = 2\n[params]\ns = ['B', 'A']\n\
    [stages.map]\nmatrix = { s = { table = 's.csv', key = 'id' }, r = '${s}' }\nrun = 'x ${matrix.s.group} > ${outputs.a}'\n\
    outputs = { a = '${matrix.s}.a', b = 'b' }\n\
    [stages.pair]\nmatrix = { r = '${s}' }\nrun = 'x ${matrix.r}'\ninputs = { i = 'map[s=${matrix.r}].a' }\noutputs = { o = 'o' }\n\
    [stages.all]\nrun = 'x ${inputs.g.a} ${inputs.g.list}'\n\
    inputs = { g = { collect = ['map.a', 'map.b'], by = ['s.group', 'r'], allow_empty = true } }\noutputs = { o = 'o' }\n\
    [deliver]\n'${matrix.group}.${matrix.r}' = 'all'\n";
/// A table that it takes its axis from.
const TABLE: &str = "id,group\nA,g\nB,\"h,\n\"\n";

/// The text of a workflow. Nothing panics: it is planned, or everything that is wrong is shown.
pub fn workflow(bytes: &[u8]) {
    plan(&String::from_utf8_lossy(bytes), &Overrides::default());
}

/// Options of the command line over a workflow, one a line; the first letter says which. Nothing panics.
pub fn overlay(bytes: &[u8]) {
    plan(WORKFLOW, &options(&String::from_utf8_lossy(bytes)));
}

fn options(text: &str) -> Overrides {
    let mut overrides = Overrides::default();
    // A few are enough to meet each other.
    for line in text.lines().take(8) {
        let mut letters = line.chars();
        let option = letters.next();
        let value = letters.as_str().to_string();
        match option {
            Some('v') => overrides.variants.push(value),
            Some('w') => overrides.sweep.push(value),
            Some('n') => overrides.seeds = Some(value),
            Some('p') => overrides.point.push(value),
            _ => overrides.set.push(value),
        }
    }
    overrides
}

/// A table that an axis is taken from. Nothing panics.
pub fn table(bytes: &[u8]) {
    let table = String::from_utf8_lossy(bytes);
    plan_with(BY_NAME, &table, &Overrides::default());
    plan_with(
        &BY_NAME.replace("s.csv", "s.json"),
        &table,
        &Overrides::default(),
    );
}

fn plan(text: &str, overrides: &Overrides) -> Report {
    plan_with(text, TABLE, overrides)
}

fn plan_with(text: &str, table: &str, overrides: &Overrides) -> Report {
    let path = PathBuf::from("/fuzz/flow.toml");
    let tables = ["/fuzz/s.csv", "/fuzz/s.json"].map(PathBuf::from);
    let mut kept = BTreeMap::from(tables.map(|path| (path, table.to_string())));
    kept.insert(path.clone(), text.to_string());
    let report = match workflow::load_kept(&path, overrides, kept) {
        Ok(Loaded {
            workflow,
            sources,
            mut problems,
            ..
        }) => {
            plan::expand(&workflow, &Catalogue::default(), &mut problems);
            Report::new(sources, problems)
        }
        Err(report) => report,
    };
    let shown = report.to_string();
    assert_eq!(shown.is_empty(), report.problems().next().is_none());
    report
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    const OPTIONS: &str =
        "snet={arch='mlp'}\nsnet.arch=cnn\nvsize=large\nwkeep=1,2\nn2\npkeep=1,seed=43";
    /// What tears a text apart, or puts it together otherwise.
    const PIECES: [&str; 20] = [
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "=",
        ".",
        ",",
        "\n",
        "${",
        "$${",
        "}}",
        "#",
        "\\",
        "é",
        "base",
        "stages.a.",
        "-1",
        "1e999",
    ];

    #[test]
    fn what_is_good_is_planned() {
        for overrides in [Overrides::default(), options(OPTIONS)] {
            let report = plan(WORKFLOW, &overrides);
            assert!(!report.has_errors(), "{report}");
        }
        let report = plan(BY_NAME, &Overrides::default());
        assert!(!report.has_errors(), "{report}");
        assert_eq!(options(OPTIONS).point, ["keep=1,seed=43"]);
    }

    /// A text in which some pieces stand in other places.
    fn edited(text: &str, edits: &[(Index, Index, &str)]) -> Vec<u8> {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, end, piece) in edits {
            let at = at.index(letters.len() + 1);
            let end = (at + end.index(4)).min(letters.len());
            letters.splice(at..end, piece.chars());
        }
        String::from_iter(letters).into_bytes()
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            workflow(&bytes);
            overlay(&bytes);
            table(&bytes);
        }

        #[test]
        fn texts_that_were_good(
            edits in prop::collection::vec((any::<Index>(), any::<Index>(), select(&PIECES[..])), 1..5),
        ) {
            workflow(&edited(WORKFLOW, &edits));
            workflow(&edited(BY_NAME, &edits));
            table(&edited(TABLE, &edits));
            overlay(&edited(OPTIONS, &edits));
        }
    }
}
