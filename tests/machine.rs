//! Runs that go on at once on one machine share it: what one stage has no other gets.

use std::fs;
use std::path::PathBuf;

use flow_tests::{Running, Test};

/// Three stages that say when they begin, wait for a word, and write which GPUs they have.
struct Three {
    test: Test,
    marks: PathBuf,
}

impl Three {
    fn new(resources: &str) -> Three {
        let test = Test::new();
        let marks = test.path("../marks");
        fs::create_dir(&marks).unwrap();
        let at = marks.display();
        let stage = |name: &str| {
            format!(
                "[stages.{name}]\nrun = '''touch {at}/began-{name}; until test -e {at}/go-{name}; do sleep 0.02; done\n\
                 echo \"$CUDA_VISIBLE_DEVICES\" > ${{outputs.o}}'''\noutputs = {{ o = 'o' }}\n\
                 resources = {{ {resources} }}\n"
            )
        };
        let text: String = ["a", "b", "c"].map(stage).concat();
        Three {
            test: test.workflow(&text),
            marks,
        }
    }

    fn start(&self, stage: &str) -> Running {
        self.start_with(stage, "--jobs 8")
    }

    /// With other arguments than those that let runs of one thread each go on at once, however few processors there are.
    fn start_with(&self, stage: &str, arguments: &str) -> Running {
        let test = self.test.beside().flow("run flow.toml").flow(arguments);
        test.flow("--until")
            .arg(stage)
            .env("CUDA_VISIBLE_DEVICES", "GPU-one,GPU-two")
            .stderr_has(&format!("ran       {stage}"))
            .start()
    }

    fn begins(&self, run: &mut Running, stage: &str) {
        run.wait_for_path(&format!("../marks/began-{stage}"));
    }

    fn go(&self, stage: &str) {
        fs::write(self.marks.join(format!("go-{stage}")), "").unwrap();
    }

    fn began(&self, stage: &str) -> bool {
        self.marks.join(format!("began-{stage}")).exists()
    }
}

fn gpus(test: &Test, stage: &str) -> String {
    let found = test
        .beside()
        .run("--until")
        .arg(stage)
        .env("CUDA_VISIBLE_DEVICES", "GPU-one,GPU-two");
    let output = found.cached(stage).check().output(stage, "o");
    String::from_utf8(output).unwrap().trim().to_string()
}

#[test]
fn two_runs_that_want_one_gpu_of_two_get_different_ones() {
    let three = Three::new("cpus = 1, gpus = 1");
    let (mut a, mut b) = (three.start("a"), three.start("b"));
    three.begins(&mut a, "a");
    three.begins(&mut b, "b");
    // The third waits, and says for whom.
    let mut c = three.start("c");
    c.wait_for_stderr("waiting   c for 1 GPU: held by run ");
    c.wait_for_stderr(" of workflow flow, stage a, pid ");
    assert!(!three.began("c"));
    three.go("b");
    b.finish();
    three.begins(&mut c, "c");
    three.go("a");
    three.go("c");
    a.finish();
    c.finish();
    let names = ["a", "b", "c"].map(|stage| gpus(&three.test, stage));
    assert_ne!(names[0], names[1]);
    assert_eq!(names[1], names[2], "what b gave back");
}

#[test]
fn two_runs_that_want_all_processors_go_one_after_the_other() {
    let three = Three::new("cpus = 0");
    let mut a = three.start_with("a", "");
    three.begins(&mut a, "a");
    let mut b = three.start_with("b", "");
    b.wait_for_stderr(": held by run ");
    assert!(!three.began("b"));
    three.go("a");
    a.finish();
    three.begins(&mut b, "b");
    three.go("b");
    b.finish();
}

#[test]
fn who_is_killed_holds_nothing() {
    let three = Three::new("cpus = 0");
    let mut a = three.start_with("a", "");
    three.begins(&mut a, "a");
    let mut b = three.start_with("b", "");
    b.wait_for_stderr(": held by run ");
    a.kill();
    three.begins(&mut b, "b");
    three.go("b");
    b.finish();
}

#[test]
fn who_comes_first_and_wants_much_is_not_overtaken() {
    let three = Three::new("cpus = 1, gpus = 1");
    let test = three.test.beside();
    let text = test.read("flow.toml");
    let (head, tail) = text.split_once("[stages.b]").unwrap();
    let tail = tail.replacen("gpus = 1", "gpus = 2", 1);
    let test = test.workflow(&format!("{head}[stages.b]{tail}"));
    let mut a = three.start("a");
    three.begins(&mut a, "a");
    let mut b = three.start("b");
    b.wait_for_stderr("2 GPUs: held by run ");
    // One GPU is free, and the two that b wants are not for c.
    let mut c = three.start("c");
    c.wait_for_stderr("waited for by run ");
    three.go("a");
    a.finish();
    three.begins(&mut b, "b");
    assert!(!three.began("c"));
    three.go("b");
    b.finish();
    three.begins(&mut c, "c");
    three.go("c");
    c.finish();
    drop(test);
}

#[test]
fn a_flow_inside_a_stage_lives_from_its_share() {
    let flow = flow_tests::binaries::find("flow");
    let test = Test::new();
    let (inner, said, store) = (
        test.path("../inner.toml"),
        test.path("../said"),
        test.path("../store"),
    );
    // It asks for all, and gets all that the stage around it has: neither more, nor does it wait for that stage.
    let text = format!(
        "[stages.i]\nrun = 'echo \"$OMP_NUM_THREADS:$CUDA_VISIBLE_DEVICES\" > {}; echo > ${{outputs.o}}'\n\
         outputs = {{ o = 'o' }}\nresources = {{ cpus = 0, gpus = 1 }}\n",
        said.display()
    );
    fs::write(&inner, text).unwrap();
    let outer = |cpus: u32| {
        format!(
            "[stages.outer]\nrun = 'env -u FLOW_MACHINE {} run {} --force i --store {} >&2; echo {cpus} > ${{outputs.o}}'\n\
             outputs = {{ o = 'o' }}\nresources = {{ cpus = {cpus}, gpus = 1 }}\n",
            flow.display(),
            inner.display(),
            store.display()
        )
    };
    let mut test = test;
    for cpus in [1, 0] {
        test = test
            .workflow(&outer(cpus))
            .run("")
            .env("CUDA_VISIBLE_DEVICES", "GPU-one,GPU-two")
            .ran("outer")
            .check();
        let all = std::thread::available_parallelism().unwrap().get();
        let threads = if cpus == 0 { all } else { 1 };
        assert_eq!(
            fs::read_to_string(&said).unwrap(),
            format!("{threads}:GPU-one\n")
        );
    }
}

#[test]
fn a_run_with_nothing_to_do_looks_at_nobody() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'echo > ${outputs.o}'\noutputs = { o = 'o' }\n")
        .run("")
        .ran("a")
        .check();
    let machine = test.path("../machine");
    assert!(machine.join("door").exists());
    fs::remove_dir_all(&machine).unwrap();
    test.run("").cached("a").check();
    assert!(!machine.exists());
}
