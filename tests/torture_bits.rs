//! One bit is flipped in each file of a store in turn, openly or as a disk does it: never a wrong result, and
//! `flow cache verify` names the file.
//!
//! `FLOW_TORTURE=full` does it at 100 places of each file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flow_tests::torture::{Draws, count};
use flow_tests::{Test, store};

const WORKFLOW: &str = r#"
[params]
again = 0

[stages.text]
run = "sort ${inputs.raw} > ${outputs.o}"
inputs = { raw = { path = "raw.txt" } }
outputs = { o = "o.txt" }

[stages.folder]
run = "mkdir -p ${outputs.o}/deep; cp ${inputs.raw} ${outputs.o}/deep/copy; echo x > ${outputs.o}/x"
inputs = { raw = { path = "raw.txt" } }
outputs = { o = "o/" }

[stages.join]
run = ": ${again}; cat ${inputs.text} ${inputs.folder}/deep/copy ${inputs.folder}/x > ${outputs.o}"
inputs = { text = "text", folder = "folder" }
outputs = { o = "o.txt" }
"#;
const RAW: &str = "some text\nand more of it\n";
const JOINED: &[u8] = b"and more of it\nsome text\nsome text\nand more of it\nx\n";

/// A store with results, a pin, a memo and a run.
fn filled() -> Test {
    let test = Test::new().workflow(WORKFLOW).file("raw.txt", RAW);
    // Older than the time within which a file is not remembered.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let test = test.run("").ran("text folder join").check();
    assert_eq!(test.output("join", "o"), JOINED);
    let test = test.flow("cache pin flow.toml best");
    test.stdout_has("pinned 3").check()
}

/// Flips a bit of a file. Where it is hidden, no time and no mode tells of it.
fn flip(path: &Path, bit: usize, hidden: bool) {
    let before = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    if hidden {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    fs::set_permissions(path, before.permissions()).unwrap();
}

/// Files whose content means nothing to flow: locks, with a line for people, and what tells others to pass the store by.
fn means_nothing(root: &Path, file: &Path) -> bool {
    let names = ["live", "locks", ".gitignore", "CACHEDIR.TAG"];
    names.iter().any(|name| file.starts_with(root.join(name)))
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = store::files(root);
    files.retain(|file| fs::metadata(file).unwrap().len() > 0);
    files
}

#[test]
fn a_flipped_bit_of_any_file() {
    let mut draws = Draws::new();
    let names: Vec<PathBuf> = {
        let test = filled();
        let root = test.path(".flow");
        let kinds = ["actions", "blobs", "format", "memo", "pins", "runs"];
        let files = files(&root);
        for kind in kinds {
            let kind = root.join(kind);
            assert!(files.iter().any(|f| f.starts_with(&kind)), "{kind:?}");
        }
        files
    };
    println!("{} files", names.len());
    for round in 0..count(1, 100) {
        let mut test = filled();
        let root = test.path(".flow");
        let mut again = 0;
        for (i, file) in files(&root).into_iter().enumerate() {
            // An earlier turn may have removed what `verify --fix` took for damaged.
            if !file.exists() {
                continue;
            }
            let hidden = (i as u64 + round).is_multiple_of(2);
            let bits = fs::metadata(&file).unwrap().len() as usize * 8;
            flip(&file, draws.below(bits), hidden);
            again += 1;
            test = survives(test, &root, &file, hidden, again);
        }
        assert!(again * 2 > names.len(), "{again} of {} files", names.len());
    }
}

/// `verify` names the file, a run that uses everything gives the right result, and the store ends whole.
#[track_caller]
fn survives(test: Test, root: &Path, file: &Path, hidden: bool, again: usize) -> Test {
    let name = file.strip_prefix(root).unwrap().display().to_string();
    let what = format!("{name}, hidden: {hidden}");
    let verify = test.flow("cache verify flow.toml").anyhow().check();
    let outcome = verify.last();
    let text = format!("{what}\n{}{}", outcome.stdout, outcome.stderr);
    if means_nothing(root, file) {
        assert_eq!(outcome.status, Some(0), "{text}");
    } else if name == "format" {
        assert_eq!(outcome.status, Some(2), "{text}");
        assert!(outcome.stderr.contains("format"), "{text}");
        // No command works on a store of nobody knows which format; the message says what to do.
        let refused = verify.run("").status(2).stderr_has("format").check();
        fs::remove_file(file).unwrap();
        return refused;
    } else {
        assert_eq!(outcome.status, Some(1), "{text}");
        // What a call printed has `RUN` for a run's name.
        let mut parts: Vec<&str> = name.split('/').collect();
        if parts[0] == "runs" {
            parts[1] = "RUN";
        }
        let line = format!("{}: ", parts.join("/"));
        assert!(outcome.stdout.contains(&line), "{text}");
    }

    // Another key for the last stage, so that all that was made before is read. Where it was damaged without a trace the
    // stage that would get it fails, and the next run makes it again.
    let run = format!("--set again={again}");
    let mut test = verify;
    for attempt in 0.. {
        test = test.run(&run).anyhow().check();
        let outcome = test.last();
        let text = format!("{what}\n{}{}", outcome.stdout, outcome.stderr);
        if outcome.status == Some(1) {
            assert!(
                hidden && attempt == 0 && name.starts_with("blobs"),
                "{text}"
            );
            let (why, _) = outcome.stages["join"].failure.clone().unwrap();
            assert!(why.contains("does not have the digest"), "{text}");
            continue;
        }
        assert_eq!(outcome.status, Some(0), "{text}");
        break;
    }
    assert_eq!(test.output("join", "o"), JOINED, "{what}");
    let fix = test.flow("cache verify flow.toml --fix").anyhow().check();
    assert_eq!(fix.last().status, Some(0), "{what}\n{}", fix.last().stdout);
    let clean = fix.flow("cache verify flow.toml");
    let test = clean.stdout_has(" 0 damaged").check();
    store::assert_sound(root);
    test
}

/// `get` and the next stages read what they hand out.
#[test]
fn a_rotten_result_is_not_handed_out() {
    for output in ["text", "folder", "join"] {
        let test = filled();
        let test = test.run("").cached("text folder join").check();
        let root = test.path(".flow");
        let digest = &test.last().stages[output].outputs["o"];
        flip(&store::blob(&root, digest), 8, true);
        let get = test.flow(&format!("get flow.toml {output} -o copy"));
        let test = get.status(1).stderr_has("error: ").check();
        assert!(!test.has("copy"));
        let test = test.run("").anyhow().check();
        assert_eq!(test.last().status, Some(0));
        store::assert_sound(&root);
        let get = test.flow(&format!("get flow.toml {output} -o copy"));
        get.stdout("copy").check();
    }
}

/// Whoever wants no reading gets what the disk gives: that is what the option says.
#[test]
fn trust_is_an_option() {
    let test = filled().run("").cached("text folder join").check();
    let digest = &test.last().stages["text"].outputs["o"];
    let blob = store::blob(&test.path(".flow"), digest);
    flip(&blob, 8, true);
    let refused = test.run("--set again=1").status(1);
    let refused = refused
        .stages("cached", "text folder")
        .stages("failed", "join");
    let test = refused.check();
    let test = test.run("--set again=1").may_warn().anyhow().check();
    assert_eq!(test.output("join", "o"), JOINED);
    flip(&blob, 8, true);
    let trusting = test.run("--set again=2 --verify size");
    let test = trusting.cached("text folder").ran("join").check();
    assert_ne!(test.output("join", "o"), JOINED);
    flip(&blob, 8, true);
    let by_variable = test.run("--set again=3").env("FLOW_VERIFY", "size");
    let test = by_variable.cached("text folder").ran("join").check();
    assert_eq!(test.output("join", "o"), JOINED);
}
