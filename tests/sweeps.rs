//! `[sweep]`: how values are put together, what is shared, what a failure or a kill leaves, and the price beforehand.

use std::collections::BTreeSet;
use std::path::Path;

use flow_tests::{Outcome, Test, store};
use serde_json::Value;

/// `base` reads nothing, `mid` reads keep, `leaf` reads size: each notes its start.
const CHAIN: &str = r#"
[params]
keep = 0.9
size = 100

[stages.base]
run = "echo base >> ~/starts; echo base > ${outputs.o}"
outputs = { o = "o.txt" }

[stages.mid]
run = "echo mid >> ~/starts; cat ${inputs.base} > ${outputs.o}; echo ${keep} >> ${outputs.o}"
inputs = { base = "base" }
outputs = { o = "o.txt" }

[stages.leaf]
run = "echo leaf >> ~/starts; cat ${inputs.mid} > ${outputs.o}; echo ${size} >> ${outputs.o}"
inputs = { mid = "mid" }
outputs = { o = "o.txt" }

[variants.red.none]
stages.mid = { run = "echo mid >> ~/starts; echo none > ${outputs.o}" }
"#;

fn swept(sweep: &str) -> Test {
    Test::new().workflow(&format!("{CHAIN}\n[sweep]\n{sweep}\n"))
}

/// The points of a dry run's or run's `--json`.
fn points(test: Test) -> Vec<String> {
    let test = test.run("--until leaf").anyhow().check();
    let mut points: Vec<String> = events(test.last(), "point")
        .iter()
        .map(|event| {
            let point = event["point"].as_object().unwrap();
            let point = point.iter().map(|(axis, value)| format!("{axis}={value}"));
            let seed = format!("seed={}", event["seed"]);
            point.chain([seed]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    points.sort();
    points
}

fn events(outcome: &Outcome, name: &str) -> Vec<Value> {
    let lines = outcome.stdout.lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == name).collect()
}

#[test]
fn each_distinct_stage_of_a_grid_runs_once() {
    swept("axes = { keep = [0.8, 0.9], size = [1, 2], red = ['base', 'none'] }")
        .run("--dry-run")
        .stages("will run", "base")
        .stages("may run", "mid[keep=0.8,red=base] mid[keep=0.9,red=base] mid[red=none]")
        .stages(
            "may run",
            "leaf[keep=0.8,red=base,size=1] leaf[keep=0.8,red=base,size=2] leaf[keep=0.9,red=base,size=1] \
             leaf[keep=0.9,red=base,size=2] leaf[red=none,size=1] leaf[red=none,size=2]",
        )
        .check_price(8, 24, 10, 0)
        .run("")
        .ran("base mid[keep=0.8,red=base] mid[keep=0.9,red=base] mid[red=none]")
        .ran(
            "leaf[keep=0.8,red=base,size=1] leaf[keep=0.8,red=base,size=2] leaf[keep=0.9,red=base,size=1] \
             leaf[keep=0.9,red=base,size=2] leaf[red=none,size=1] leaf[red=none,size=2]",
        )
        .starts("base\nmid\nmid\nmid\nleaf\nleaf\nleaf\nleaf\nleaf\nleaf")
        .check()
        // One value more: only what reads it runs.
        .edit("size = [1, 2]", "size = [1, 2, 3]")
        .run("--dry-run")
        .anyhow()
        .check_price(12, 36, 13, 10)
        .run("")
        .anyhow()
        .starts("leaf\nleaf\nleaf")
        .check()
        // The same again, and one point of it: nothing runs.
        .run("")
        .anyhow()
        .starts("")
        .check()
        .run("--point keep=0.8,red=none,size=2")
        .cached("base mid[red=none] leaf[red=none,size=2]")
        .starts("")
        .check();
}

/// A price to be checked on the last line of a dry run.
trait Price {
    fn check_price(self, points: u64, separate: u64, distinct: u64, cached: u64) -> Test;
}

impl Price for Test {
    #[track_caller]
    fn check_price(self, points: u64, separate: u64, distinct: u64, cached: u64) -> Test {
        let test = self.check();
        let price = events(test.last(), "price").remove(0);
        for (name, expected) in [
            ("points", points),
            ("separate", separate),
            ("distinct", distinct),
            ("cached", cached),
            ("to_run", distinct - cached),
        ] {
            assert_eq!(price[name], expected, "{name} in {price}");
        }
        test
    }
}

#[test]
fn people_read_the_price_before_they_pay_it() {
    swept("axes = { keep = [0.8, 0.9], size = [1, 2] }")
        .flow("run flow.toml --dry-run")
        .stdout(
            "will run  base     no earlier result\n\
             may run   mid ×2   once base has run, unless that gives the same bytes\n\
             may run   leaf ×4  leaf[keep=0.8,size=1]: once mid[keep=0.8] has run, unless that gives the same bytes, …\n\
             \n\
             4 points: 12 stages as separate runs, 7 distinct\n\
             0 up to date, 1 will run, 6 may run; how long that takes is not known yet",
        )
        .check()
        .run("--point keep=0.8,size=1")
        .ran("base mid[keep=0.8] leaf[keep=0.8,size=1]")
        .check()
        .flow("run flow.toml --dry-run")
        .stdout_has("3 up to date, 2 will run, 2 may run; about ")
        .stdout_has(" of computing, as it took before")
        .check();
}

#[test]
fn the_modes_put_values_together() {
    let axes = "axes = { keep = [0.8, 0.9], size = [100, 200] }";
    let grid = [
        "keep=0.8 size=100 seed=42",
        "keep=0.8 size=200 seed=42",
        "keep=0.9 size=100 seed=42",
        "keep=0.9 size=200 seed=42",
    ];
    assert_eq!(points(swept(axes)), grid);
    assert_eq!(
        points(swept(&format!("mode = 'zip'\n{axes}"))),
        [grid[0], grid[3]]
    );
    // The base is keep = 0.9, size = 100.
    assert_eq!(
        points(swept(&format!("mode = 'one-at-a-time'\n{axes}"))),
        [grid[0], grid[2], grid[3]]
    );
    let drawn = points(swept(&format!("random = 2\n{axes}")));
    assert_eq!(drawn.len(), 2);
    assert!(drawn.iter().all(|point| grid.contains(&point.as_str())));
    assert_eq!(drawn, points(swept(&format!("random = 2\n{axes}"))));
    let other = |seed| {
        let test = swept(&format!("random = 2\n{axes}"));
        let text = format!("[workflow]\nseed = {seed}\n{}", test.read("flow.toml"));
        let points = points(test.workflow(&text));
        points
            .iter()
            .map(|p| p.rsplit_once(' ').unwrap().0.to_string())
            .collect::<Vec<_>>()
    };
    let drawn: BTreeSet<Vec<String>> = (0..8).map(other).collect();
    assert!(drawn.len() > 1, "{drawn:?}");
    // Listed points; what one leaves out is as in the base.
    let listed = "points = [{ keep = 0.5 }, { keep = 0.7, size = 1 }]";
    assert_eq!(
        points(swept(listed)),
        ["keep=0.5 size=100 seed=42", "keep=0.7 size=1 seed=42"]
    );
    let dotted = "[sweep.axes]\nstages.mid.with.x = [1]";
    swept(dotted)
        .run("")
        .status(2)
        .stderr_has("`with` belongs to stages with `uses`")
        .check();
}

#[test]
fn where_leaves_points_out() {
    let axes = "axes = { keep = [0.8, 0.9], size = [1, 2, 3] }";
    assert_eq!(
        points(swept(&format!(
            "{axes}\nwhere.not = [{{ keep = 0.8, size = [1, 2] }}]"
        ))),
        [
            "keep=0.8 size=3 seed=42",
            "keep=0.9 size=1 seed=42",
            "keep=0.9 size=2 seed=42",
            "keep=0.9 size=3 seed=42"
        ]
    );
    assert_eq!(
        points(swept(&format!(
            "{axes}\nwhere.only = [{{ keep = 0.8, size = 1 }}, {{ size = 3 }}]"
        ))),
        [
            "keep=0.8 size=1 seed=42",
            "keep=0.8 size=3 seed=42",
            "keep=0.9 size=3 seed=42"
        ]
    );
    swept(&format!(
        "{axes}\nwhere.only = [{{ keep = 0.8 }}]\nwhere.not = [{{ keep = 0.8 }}]"
    ))
    .run("")
    .status(2)
    .stderr_has("the sweep has no points: `where` leaves all of them out")
    .check();
}

#[test]
fn the_command_line_sweeps_too_and_what_it_sets_is_not_swept() {
    let test = Test::new().workflow(CHAIN);
    let test = test
        .run("--sweep keep=0.8,0.9 --sweep red=base,none")
        .ran("base mid[keep=0.8,red=base] mid[keep=0.9,red=base] mid[red=none]")
        .ran("leaf[keep=0.8,red=base] leaf[keep=0.9,red=base] leaf[red=none]")
        .check();
    // Keys are those of single runs: nothing is computed again.
    let test = test
        .run("--set keep=0.8")
        .cached("base mid leaf")
        .check()
        .run("--variant red=none")
        .cached("base mid leaf")
        .stderr_has("the param `keep` is never used")
        .check();
    test.edit(
        "[variants.red",
        "[sweep.axes]\nkeep = [0.8, 0.9]\n[variants.red",
    )
    .run("--set keep=0.8")
    .cached("base mid[keep=0.8] leaf[keep=0.8]")
    .check()
    .run("--sweep keep=[0.9]")
    .cached("base mid[keep=0.9] leaf[keep=0.9]")
    .check()
    .run("--point keep=0.7")
    .status(2)
    .stderr_has("no point of the sweep is `keep=0.7`")
    .check()
    .run("--point kep=0.7")
    .status(2)
    .stderr_has("did you mean `keep`?")
    .check();
    Test::new()
        .workflow(CHAIN)
        .run("--point keep=0.8")
        .status(2)
        .stderr_has("nothing is swept")
        .check();
}

#[test]
fn what_lies_in_a_table_that_is_set_is_not_swept_either() {
    let workflow = "[params]\nepochs = { min = 1, max = 2 }\n[stages.a]\nrun = 'echo ${epochs.max} > ${outputs.o}'\n\
        outputs = { o = 'o' }\n[sweep.axes]\nepochs.max = [2, 3, 4]\n";
    Test::new()
        .workflow(workflow)
        .run("")
        .ran("a[epochs.max=2] a[epochs.max=3] a[epochs.max=4]")
        .check()
        .run("--set epochs={min=1,max=3}")
        .cached("a[epochs.max=3]")
        .check()
        .run("--set epochs.min=0")
        .cached("a[epochs.max=2] a[epochs.max=3] a[epochs.max=4]")
        .check();
}

#[test]
fn seeds_are_replicates_of_what_is_seeded() {
    let workflow = "[workflow]\nseed = 7\n[stages.plain]\nrun = 'echo > ${outputs.o}'\n\
        outputs = { o = 'o' }\n[stages.umap]\nuses = 'umap'\ninputs = { features = { path = 'x.npy' } }\n\
        with = { n_neighbors = 5 }\n[stages.last]\nrun = 'cat ${inputs.u} > ${outputs.o}'\n\
        inputs = { u = 'umap' }\noutputs = { o = 'o' }\n";
    // 40 x 3 numbers as NumPy writes them.
    let header = format!(
        "{:<117}\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (40, 3), }"
    );
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    npy.extend(header.as_bytes());
    npy.extend((0..120u32).flat_map(|i| ((i * i % 37) as f32).to_le_bytes()));
    let test = Test::new().file("x.npy", npy).workflow(workflow);
    test.run("--seeds 3")
        .may_warn()
        .ran("plain umap[seed=7] umap[seed=8] umap[seed=9] last[seed=7] last[seed=8] last[seed=9]")
        .check()
        .run("--seeds 9,11")
        .may_warn()
        .cached("plain umap[seed=9] last[seed=9]")
        .ran("umap[seed=11] last[seed=11]")
        .check()
        .run("")
        .may_warn()
        .cached("plain umap last")
        .check()
        .run("--seeds 0")
        .status(2)
        .stderr_has("`seeds` has to lie between 1 and 1000, and is 0")
        .check();
}

#[test]
fn a_point_that_fails_leaves_the_others_alone() {
    let failing = CHAIN.replace(
        "echo leaf >> ~/starts;",
        "echo leaf >> ~/starts; test ${size} != 2 || exit 3;",
    );
    let sweep = "[sweep.axes]\nsize = [1, 2, 3]\n";
    let test = Test::new()
        .workflow(&format!("{failing}{sweep}"))
        .run("--jobs 1")
        .status(1)
        .ran("base mid leaf[size=1] leaf[size=3]")
        .stages("failed", "leaf[size=2]")
        .check();
    let mut ends: Vec<(Value, Value)> = events(test.last(), "point")
        .into_iter()
        .map(|event| (event["point"]["size"].clone(), event["status"].clone()))
        .collect();
    // A failure is told while the results of others are still on their way to the disk.
    ends.sort_by_key(|(size, _)| size.as_u64());
    assert_eq!(
        ends,
        [(1, "ok"), (2, "failed"), (3, "ok")].map(|(size, status)| (size.into(), status.into()))
    );
    Test::new()
        .workflow(&format!("{failing}{sweep}"))
        .run("--jobs 1 --fail-fast")
        .status(1)
        .ran("base mid leaf[size=1]")
        .stages("failed", "leaf[size=2]")
        .stages("cancelled", "leaf[size=3]")
        .check();
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    let slow = CHAIN.replace(
        "echo leaf >> ~/starts;",
        "echo leaf >> ~/starts; sleep 0.2;",
    );
    let test = Test::new().workflow(&format!("{slow}[sweep.axes]\nsize = [1, 2, 3, 4, 5, 6]\n"));
    let mut running = test.run("--jobs 1").start();
    running.wait_for_stdout("\"event\":\"point\"");
    let test = running.kill();
    let test = test.run("--jobs 1").anyhow().check();
    let run = test.last().run.clone().unwrap();
    let (ran, cached) = (
        run["ran"].as_u64().unwrap(),
        run["cached"].as_u64().unwrap(),
    );
    assert_eq!(ran + cached, 8, "{run}");
    assert!(cached >= 3, "base, mid and a leaf were there: {run}");
    store::assert_sound(&test.path(".flow"));
}

#[test]
fn what_many_points_share_is_started_first_and_then_the_longest_way() {
    // `own` is of one point, `shared` of three; `long` has two more after it.
    let workflow = r#"
[params]
x = 1
[stages.own]
run = "echo own${x} >> ~/order; echo ${x} > ${outputs.o}"
outputs = { o = "o" }
[stages.short]
run = "echo short >> ~/order; echo > ${outputs.o}"
outputs = { o = "o" }
[stages.long]
run = "echo long >> ~/order; echo > ${outputs.o}"
outputs = { o = "o" }
[stages.after]
run = "echo after >> ~/order; cat ${inputs.o} > ${outputs.o}"
inputs = { o = "long" }
outputs = { o = "o" }
[sweep.axes]
x = [1, 2, 3]
"#;
    let test = Test::new()
        .workflow(workflow)
        .run("--jobs 1")
        .anyhow()
        .check();
    let order = test.read("../order");
    // When `after` can begin depends on when the disk has the bytes of `long`.
    assert!(order.starts_with("long\nshort\n"), "{order}");
    assert_eq!(order.lines().count(), 6, "{order}");
}

#[test]
fn the_quickstart_trains_its_baseline_once_for_each_seed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let quickstart = std::fs::read_to_string(root.join("workflows/quickstart.toml")).unwrap();
    let sweep = "--set epochs={min=1,max=1} --until found --seeds 3 --sweep min_cluster_size=20,50,100 \
                 --sweep keep=0.8,0.9,1.0 --sweep stages.fine_labels.with.min_samples=5,10";
    let run = || {
        let test = Test::new()
            .workflow(&quickstart)
            .run(sweep)
            .anyhow()
            .check();
        assert_eq!(test.last().status, Some(0), "{}", test.last().stderr);
        test
    };
    let test = run();
    let count = |stage: &str| {
        let of_stage = |label: &&String| label.split('[').next() == Some(stage);
        test.last().stages.keys().filter(of_stage).count()
    };
    assert_eq!(
        [
            "data",
            "coarse",
            "features",
            "uncertainty",
            "certain",
            "umap",
            "fine_labels",
            "found"
        ]
        .map(count),
        [3, 3, 3, 3, 9, 9, 54, 54]
    );
    assert_eq!(events(test.last(), "point").len(), 54);
    // Another empty store: the same keys and bytes.
    assert_eq!(run().last().stages, test.last().stages);
    let test = test.run(sweep).anyhow().check();
    let end = test.last().run.clone().unwrap();
    assert_eq!(
        (end["ran"].as_u64(), end["cached"].as_u64()),
        (Some(0), Some(138))
    );
}
