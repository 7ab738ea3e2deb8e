//! Journals in `journals/`, as earlier versions wrote them, are read as far as they tell; and what this version writes is
//! read again byte for byte.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flow_cache::Store;
use flow_run::record::ends::{Doing, Ends};
use flow_run::record::past::State;
use flow_run::record::replan::replan;
use flow_run::record::{Ending, Event, PastRun, Status};

/// A store that has a run of this name, with the journal of that folder.
fn store(root: &Path, run: &str, journal: &str) -> Store {
    let store = Store::open(&root.join(".flow")).unwrap();
    let folder = store.run_folder(run);
    fs::create_dir_all(&folder).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/journals")
        .join(journal);
    for name in ["run.json", "workflow.toml", "events.jsonl"] {
        fs::copy(from.join(name), folder.join(name)).unwrap();
    }
    store
}

#[test]
fn each_event_is_read_as_it_was_written() {
    let lines = include_str!("journals/events.jsonl");
    let mut kinds = BTreeSet::new();
    for line in lines.lines() {
        let event = Event::read(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        // A list without a wildcard: an event that is new here belongs into the file too.
        kinds.insert(match event {
            Event::Start { .. } => 0,
            Event::Execute { .. } => 1,
            Event::Continue { .. } => 2,
            Event::Waiting { .. } => 3,
            Event::Progress { .. } => 4,
            Event::Metric { .. } => 5,
            Event::Warning { .. } => 6,
            Event::Stage(_) => 7,
            Event::Point(_) => 8,
            Event::Run(_) => 9,
            Event::Check(_) => 10,
            Event::Checked(_) => 11,
        });
    }
    assert_eq!(kinds.len(), 12);
    for torn in [
        "",
        "\n",
        "{}",
        "{\"event\":\"stage\",\"stage\":\"a",
        "{\"event\":\"new\"}",
    ] {
        assert_eq!(Event::read(torn.as_bytes()), None, "{torn}");
    }
}

/// Of the first version, killed in the middle of a line. Its head has neither what was wanted nor a folder.
#[test]
fn a_journal_of_the_first_version_is_read_as_far_as_it_goes() {
    let root = tempfile::tempdir().unwrap();
    let id = "20261123-220102-1f3a";
    let store = store(root.path(), id, "first");
    let run = PastRun::open(&store, id).unwrap().unwrap();
    assert_eq!(run.state, State::Killed);
    assert_eq!((run.head.seed, run.head.wanted.as_ref()), (Some(42), None));
    assert_eq!((run.head.cores, &run.head.flow[..]), (None, "0.1.0"));
    let ends = Ends::of(&run, &store).unwrap();
    assert_eq!(ends.order, ["a"]);
    assert_eq!(ends.lines["a"].status, Status::Ran);
    let progress = Doing::Progress {
        done: 1,
        total: 3,
        unit: "epoch".into(),
        message: String::new(),
    };
    assert_eq!(
        ends.unfinished.into_iter().collect::<Vec<_>>(),
        [("b".into(), progress)]
    );
    assert_eq!(ends.curves["b"]["loss"], [(1, 0.5)]);
    // No record is there, and the workflow can be planned all the same.
    assert!(ends.actions.is_empty());
    let plan = replan(&run).unwrap().plan;
    let labels: Vec<&str> = plan.instances().map(|i| i.label.as_str()).collect();
    assert_eq!(labels, ["a", "b", "c"]);
}

/// Of the last version that did not say what was wanted; it ended with a failure.
#[test]
fn a_journal_that_does_not_say_what_was_wanted_is_of_all() {
    let root = tempfile::tempdir().unwrap();
    let id = "20261128-153346-f277";
    let store = store(root.path(), id, "without_wanted");
    let run = PastRun::open(&store, id).unwrap().unwrap();
    assert_eq!(run.state, State::Ended(Ending::Failed));
    assert_eq!(run.head.wanted, None);
    assert_eq!(run.overrides(), ["--set", "word=bye"]);
    let stages = run.stages().unwrap();
    let told: Vec<(String, Status)> = stages.iter().map(|s| (s.label(), s.status)).collect();
    assert_eq!(
        told,
        [
            ("a".into(), Status::Ran),
            ("m[n=2]".into(), Status::Failed),
            ("all".into(), Status::Skipped),
            ("m[n=1]".into(), Status::Ran),
        ]
    );
    assert!(stages[1].failure.is_some() && stages[1].result().is_none());
    let ends = Ends::of(&run, &store).unwrap();
    assert_eq!((ends.order.len(), ends.unfinished.len()), (4, 0));
    // The file that it includes is gone; its text is in the head.
    assert_eq!(replan(&run).unwrap().plan.order.len(), 4);
}
