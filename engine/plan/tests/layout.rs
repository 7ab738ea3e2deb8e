//! Where everything lies in the folder of a `run` stage, and what is in whose way.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop")]

use std::collections::BTreeSet;

use flow_plan::plan::Output;
use flow_plan::plan::layout::{Content, Form, Found, Given, Member, instance_names, layout};
use flow_stage::ArtifactType;
use proptest::prelude::*;

fn file(path: &str) -> Found {
    Found {
        path: path.into(),
        form: Form::File,
    }
}

fn folder(path: &str, entries: &[&str]) -> Found {
    Found {
        path: path.into(),
        form: Form::Folder(entries.iter().map(|e| e.to_string()).collect()),
    }
}

fn path(found: Found) -> Content {
    Content::Paths {
        found: vec![found],
        several: false,
    }
}

fn several(found: &[Found]) -> Content {
    Content::Paths {
        found: found.to_vec(),
        several: true,
    }
}

fn given<'a>(role: &'a str, place: Option<&'a str>, content: Content) -> Given<'a> {
    Given {
        role,
        place,
        writable: false,
        content,
    }
}

fn output(role: &str, file: &str) -> Output {
    Output {
        role: role.into(),
        artifact: ArtifactType::File,
        file: file.into(),
    }
}

/// The paths of one input that is alone.
#[track_caller]
fn places(place: Option<&str>, content: Content) -> Vec<String> {
    let layout = layout(&[given("r", place, content)], [], None, &[]).unwrap();
    layout["r"].iter().map(|place| place.path.clone()).collect()
}

/// What is said of inputs and outputs that are in each other's way.
#[track_caller]
fn said(inputs: &[Given<'_>], files: &[&str], outputs: &[Output]) -> Vec<String> {
    let conflicts = layout(inputs, files.iter().copied(), Some("ckpt"), outputs).unwrap_err();
    conflicts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_path_below_the_root_lies_there_as_written_and_others_by_their_role() {
    assert_eq!(places(None, path(file("src/train.py"))), ["src/train.py"]);
    assert_eq!(places(None, path(file("./src//a.py"))), ["src/a.py"]);
    assert_eq!(places(None, path(file("/data/x.csv"))), ["inputs/r/x.csv"]);
    assert_eq!(places(None, path(file("../x.csv"))), ["inputs/r/x.csv"]);
    assert_eq!(places(None, path(folder("..", &[]))), ["inputs/r/r"]);
    let all = several(&[file("raw/a.csv"), file("raw/b/a.csv"), file("../c.csv")]);
    assert_eq!(
        places(None, all),
        ["raw/a.csv", "raw/b/a.csv", "inputs/r/c.csv"]
    );
    let made = Content::Output(file("sorted.bam"));
    assert_eq!(places(None, made), ["inputs/r/sorted.bam"]);
    assert_eq!(places(None, path(folder(".", &["a", "b"]))), ["a", "b"]);
}

#[test]
fn as_says_otherwise() {
    let made = || Content::Output(file("sorted.bam"));
    assert_eq!(places(Some("x.bam"), made()), ["x.bam"]);
    assert_eq!(places(Some("data/"), made()), ["data/sorted.bam"]);
    assert_eq!(places(Some("."), made()), ["sorted.bam"]);
    let made = || Content::Output(folder("features", &["a.npy", "sub"]));
    assert_eq!(places(Some("data/features"), made()), ["data/features"]);
    assert_eq!(places(Some("data/"), made()), ["data/features"]);
    assert_eq!(places(Some("."), made()), ["a.npy", "sub"]);
    let all = || several(&[file("raw/a.csv"), file("raw/b.csv")]);
    assert_eq!(places(Some("in/"), all()), ["in/a.csv", "in/b.csv"]);
    assert_eq!(places(Some("."), all()), ["a.csv", "b.csv"]);
}

#[test]
fn a_gather_is_called_by_its_instances() {
    let gather = |all: &[(&str, &str)]| {
        let all = all.iter().map(|(point, own)| Member {
            point: point.to_string(),
            output: "o".into(),
            found: file(own),
        });
        Content::Gathered(all.collect())
    };
    let one = || gather(&[("sample=A", "sorted.bam"), ("sample=B", "sorted.bam")]);
    assert_eq!(places(None, one()), ["inputs/r/A.bam", "inputs/r/B.bam"]);
    assert_eq!(places(Some("in/"), one()), ["in/A.bam", "in/B.bam"]);
    assert_eq!(places(Some("."), one()), ["A.bam", "B.bam"]);
    // The ending: what follows the instance's own name, else what looks like one.
    let endings = gather(&[
        ("s=A", "A.bam.bai"),
        ("s=0.1", "0.1.npy"),
        ("s=C", "calls.v1.2.vcf.gz"),
        ("s=D", "plain"),
        ("s=E", ".hidden"),
        ("s=F", "1.5"),
    ]);
    let expected = ["A.bam.bai", "0.1.npy", "C.vcf.gz", "D", "E", "F"];
    assert_eq!(places(Some("."), endings), expected);
    let two = gather(&[("alpha=0.1,s=a/b", "m.pt"), ("alpha=0.1,s=..", "m.pt")]);
    assert_eq!(
        places(Some("."), two),
        ["alpha=0.1,s=a%2Fb.pt", "alpha=0.1,s=...pt"]
    );
    // Several outputs side by side: where two would have one name, all have their roles in it.
    let beside = |owns: [&str; 2]| {
        let of = |point: &str, output: &str, own: &str| Member {
            point: point.into(),
            output: output.into(),
            found: file(own),
        };
        let of = |point| [of(point, "bam", owns[0]), of(point, "bai", owns[1])];
        Content::Gathered(["s=A", "s=B"].into_iter().flat_map(of).collect())
    };
    assert_eq!(
        places(Some("."), beside(["x.bam", "x.bam.bai"])),
        ["A.bam", "A.bam.bai", "B.bam", "B.bam.bai"]
    );
    assert_eq!(
        places(Some("."), beside(["x.txt", "y.TXT"])),
        ["A.bam.txt", "A.bai.TXT", "B.bam.txt", "B.bai.TXT"]
    );
}

#[test]
fn names_of_instances_are_file_names() {
    let points = ["s=..", "s=-n", "s=a/b", "s=", "s=a\nb", "s=50%", "s=a,b"];
    let names = ["%2E.", "%2Dn", "a%2Fb", "%", "a%0Ab", "50%25", "a,b"];
    assert_eq!(instance_names(&points), names);
    // Twins that differ in capitals.
    let twins = instance_names(&["s=a", "s=A", "s=b"]);
    assert!(
        twins[0].starts_with("a~") && twins[1].starts_with("A~"),
        "{twins:?}"
    );
    assert_ne!(twins[0][1..], twins[1][1..]);
    assert_eq!(twins[2], "b");
    let long = format!("s={}", "ä".repeat(200));
    let short = instance_names(&[&long]);
    assert!(short[0].len() <= 160 && short[0].contains('~'), "{short:?}");
    // A value that looks like a second axis keeps its axis.
    assert_eq!(instance_names(&["s=a,b=c"]), ["s=a,b=c"]);
    assert_eq!(instance_names(&["s=a=c"]), ["a=c"]);
}

#[test]
fn two_at_one_place_are_said_with_both_roles() {
    let a = given("a", Some("x"), Content::Output(file("o")));
    let b = given("b", Some("x"), Content::Output(file("p")));
    assert_eq!(
        said(&[a.clone(), b], &["x"], &[]),
        [
            "the input `b` and the input `a` would both lie at `x`",
            "the file `x` of `files` and the input `a` would both lie at `x`",
        ]
    );
    let all = several(&[file("p/x.csv"), file("q/x.csv")]);
    assert_eq!(
        said(&[given("a", Some("in/"), all)], &[], &[]),
        ["two files of the input `a` would lie at `in/x.csv`"]
    );
    let all = several(&[file("p/x.csv")]);
    assert_eq!(
        said(&[given("a", Some("x.csv"), all)], &[], &[]),
        ["the input `a` may be several files, and `x.csv` is the place of one"]
    );
    // Folders in the stage's folder itself merge where names differ.
    let left = given("a", Some("."), Content::Output(folder("o", &["x", "y"])));
    let right = given("b", Some("."), Content::Output(folder("o", &["z"])));
    assert!(layout(&[left.clone(), right], [], None, &[]).is_ok());
    let right = given("b", Some("."), Content::Output(folder("o", &["y"])));
    assert_eq!(
        said(&[left, right], &[], &[]),
        ["the input `b` and the input `a` would both lie at `y`"]
    );
}

#[test]
fn one_inside_another_is_said() {
    let src = given("src", None, path(folder("src", &["a.py"])));
    let conf = given("conf", None, path(file("src/conf/a.yaml")));
    assert_eq!(
        said(&[src, conf], &["ckpt/x"], &[]),
        [
            "the file `ckpt/x` of `files` would lie at `ckpt/x`, inside the folder of `checkpoints` at `ckpt`",
            "the input `conf` would lie at `src/conf/a.yaml`, inside the input `src` at `src`",
        ]
    );
    let near = given("near", None, path(file("src.py")));
    let src = given("src", None, path(folder("src", &[])));
    assert!(layout(&[src, near], [], None, &[]).is_ok());
    let work = given("w", Some(".work"), Content::Output(file("o")));
    assert_eq!(
        said(&[work], &[], &[]),
        ["the scratch folder `${work}` and the input `w` would both lie at `.work`"]
    );
}

#[test]
fn the_path_of_an_output_is_free() {
    let model = || given("model", Some("model.pkl"), Content::Output(file("o")));
    let data = |writable| Given {
        writable,
        ..given("data", None, path(folder("data", &["x"])))
    };
    assert_eq!(
        said(
            &[model(), data(false)],
            &[],
            &[
                output("out", "model.pkl"),
                output("inner", "data/x.bai"),
                output("many", "data/*.bai"),
            ]
        ),
        [
            "the output `out` is `model.pkl`, and the input `model` lies at `model.pkl` when the stage starts",
            "the output `inner` is `data/x.bai`, inside the input `data` at `data`, where nothing can be written",
            "the output `many` is `data/*.bai`, inside the input `data` at `data`, where nothing can be written",
        ]
    );
    let x = given("x", Some("eval/x.csv"), Content::Output(file("o")));
    assert_eq!(
        said(
            &[x],
            &["conf/a.yaml"],
            &[output("eval", "eval"), output("conf", "conf/a.yaml")]
        ),
        [
            "the output `eval` is `eval`, and the input `x` lies at `eval/x.csv` when the stage starts",
            "the output `conf` is `conf/a.yaml`, and the file `conf/a.yaml` of `files` lies at `conf/a.yaml` when the stage starts",
        ]
    );
    // A copy may be written to, and what a glob matches may be an input.
    let outputs = [output("inner", "data/x.bai"), output("all", "model.pkl*")];
    assert!(layout(&[model(), data(true)], [], None, &outputs).is_ok());
}

proptest! {
    #[test]
    fn no_two_instances_meet(values in prop::collection::btree_set("[aAbB./%~, =-]{0,3}|.{0,3}", 1..12)) {
        let points: Vec<String> = values.iter().map(|value| format!("s={value}")).collect();
        let points: Vec<&str> = points.iter().map(String::as_str).collect();
        let names = instance_names(&points);
        let distinct: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        prop_assert_eq!(distinct.len(), values.len(), "{:?}", names);
        for name in &names {
            prop_assert!(!name.is_empty() && !name.contains(['/', '\0']), "{name:?}");
            prop_assert!(!name.starts_with(['.', '-']), "{name:?}");
        }
    }
}
