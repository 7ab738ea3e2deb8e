//! What a program writes, where it works, and what is left of it.

use flow_tests::{Test, store};

use super::new;

pub fn two_instances_never_meet() {
    let test = new()
        .workflow(
            r#"
[params]
n = 1

[stages.model]
run = "echo ${n} > model.txt; sleep 0.5; cp model.txt ${outputs.m}"
outputs = { m = "m.txt" }
"#,
        )
        .run("--sweep n=1,2")
        .anyhow()
        .check();
    assert_eq!(test.last().status, Some(0), "{}", test.last().stderr);
    let made: Vec<_> = ["1", "2"]
        .iter()
        .map(|n| test.output(&format!("model[n={n}]"), "m"))
        .collect();
    assert_eq!(made, [b"1\n".to_vec(), b"2\n".to_vec()]);
}

pub fn an_index_lies_beside_its_input_and_outputs_are_found_at_their_paths() {
    let test = new()
        .workflow(
            r#"
[stages.sort]
run = ["sh", "-c", "mkdir -p made; echo bam > made/x.bam; echo bai > made/x.bam.bai"]
outputs = { bam = "made/x.bam", bai = "made/x.bam.bai" }

[stages.view]
run = "cat x.bam x.bam.bai > model.pkl"
inputs = { bam = { from = "sort.bam", as = "x.bam" }, bai = { from = "sort.bai", as = "x.bam.bai" } }
outputs = { model = "model.pkl" }
"#,
        )
        .run("")
        .ran("sort view")
        .check();
    assert_eq!(test.output("view", "model"), b"bam\nbai\n");
}

pub fn a_glob_takes_what_matches_and_the_inputs_among_it() {
    let test = new()
        .workflow(
            r#"
[stages.index]
run = "echo 1 > genome.fa.fai; echo 2 > genome.fa.bwt; echo 3 > .genome.fa"
inputs = { genome = { path = "data/genome.fa", as = "genome.fa" } }
outputs = { index = "genome.fa*" }

[stages.use]
run = "cat genome.fa genome.fa.fai genome.fa.bwt > ${outputs.all}; ls -A > ${outputs.list}"
inputs = { index = { from = "index", as = "." } }
outputs = { all = "all", list = "list" }

[stages.nothing]
run = "echo > other.txt"
outputs = { none = "*.vcf" }
"#,
        )
        .file("data/genome.fa", "ACGT\n")
        .run("--keep-going")
        .anyhow()
        .check();
    assert_eq!(test.output("use", "all"), b"ACGT\n1\n2\n");
    let (failure, _) = test.last().stages["nothing"].failure.clone().unwrap();
    assert!(failure.contains("nothing matches `*.vcf`"), "{failure}");
    assert!(failure.contains("`other.txt`"), "{failure}");
}

pub fn links_among_outputs_are_content() {
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "echo x > real; ln -s real rel; ln -s \"$PWD/real\" abs; mkdir dir; ln -s ../real dir/deep; ln -s dir twin"
outputs = { real = "real", rel = "rel", abs = "abs", dir = "dir/", twin = "twin/" }

[stages.out]
run = "ln -s /etc/hostname o"
outputs = { o = "o" }
"#,
        )
        .run("--keep-going")
        .anyhow()
        .check();
    for role in ["real", "rel", "abs"] {
        assert_eq!(test.output("s", role), b"x\n", "{role}");
    }
    let (failure, _) = test.last().stages["out"].failure.clone().unwrap();
    assert!(
        failure.contains("`o` is a link to /etc/hostname"),
        "{failure}"
    );
}

pub fn what_it_wrote_instead_is_said() {
    let test = new()
        .workflow(
            "[stages.s]\nrun = \"echo x > model.pkl2\"\noutputs = { model = \"model.pkl\" }\n",
        )
        .run("")
        .anyhow()
        .check();
    let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
    assert!(failure.contains("did you mean `model.pkl2`?"), "{failure}");
}

pub fn the_project_s_folder_is_the_way_out() {
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "cat undeclared > out.txt"
folder = "project"
outputs = { out = "out.txt" }

[stages.stale]
run = "true"
folder = "project"
outputs = { old = "old.txt" }
"#,
        )
        .file("undeclared", "u\n")
        .file("old.txt", "from before\n")
        .run("--keep-going")
        .anyhow()
        .check();
    assert_eq!(test.output("s", "out"), b"u\n");
    assert_eq!(test.read("out.txt"), "u\n");
    let (failure, _) = test.last().stages["stale"].failure.clone().unwrap();
    assert!(failure.contains("did not make it"), "{failure}");
}

/// None of a run waits for another of it, for the machine is given to one at a time.
pub fn a_project_has_one_stage_at_a_time_in_a_run() {
    let stage = |name: &str| {
        format!(
            "[stages.{name}]\nrun = \"mkdir busy; sleep 0.1; rmdir busy; echo > {name}\"\nfolder = \"project\"\noutputs = {{ o = \"{name}\" }}\n"
        )
    };
    let test = new()
        .workflow(&["a", "b", "c"].map(stage).concat())
        .flow("run flow.toml --jobs 3")
        .anyhow()
        .check();
    let ended = test.last();
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("waiting"), "{}", ended.stderr);
}

pub fn a_project_has_one_stage_at_a_time_whatever_the_store() {
    let test = new().workflow(
        r#"
[stages.s]
run = "mkdir busy; echo > ../began; until test -e ../go; do sleep 0.02; done; rmdir busy; echo >> out.txt"
folder = "project"
outputs = { out = "out.txt" }
"#,
    );
    let mut first = test.beside().run("").ran("s").start();
    first.wait_for("../began");
    let mut second = test
        .beside()
        .flow("run flow.toml --store ../other")
        .anyhow()
        .start();
    second.wait_for_stderr("a run with another store, which works in");
    let test = test.file("../go", "");
    first.finish();
    assert_eq!(second.finish().last().status, Some(0));
    assert_eq!(test.read("out.txt"), "\n\n");
}

/// The first attempt fails, the second ends well and does not write its output.
pub fn checkpoints_survive_and_outputs_do_not() {
    let test = new()
        .workflow(
            r#"
[stages.s]
run = "echo epoch >> ckpt/log; test ! -e partial; touch partial; [ $(wc -l < ckpt/log) -ge 2 ]; [ $(wc -l < ckpt/log) -lt 3 ] || cp ckpt/log ${outputs.o}"
checkpoints = "ckpt/"
outputs = { o = "o" }
"#,
        )
        .run("")
        .anyhow()
        .check()
        .run("")
        .anyhow()
        .check()
        .run("")
        .ran("s")
        .check();
    assert_eq!(test.output("s", "o"), b"epoch\nepoch\nepoch\n");
}

#[test]
fn what_is_not_isolated_says_so_and_why() {
    let workflow = r#"
[stages.s]
run = "echo 1 > ${outputs.o}"
outputs = { o = "o" }

[stages.p]
run = "echo 1 > ${outputs.o}"
folder = "project"
outputs = { o = "made" }
"#;
    Test::new()
        .always("FLOW_ISOLATION", "off")
        .workflow(workflow)
        .flow("check flow.toml")
        .stdout_has("not isolated: s: FLOW_ISOLATION=off turns it off\n")
        .stdout_has(
            "not isolated: p: it works in the project's folder\n  what it reads and writes there",
        )
        .check()
        .run("")
        .ran("s p")
        .check()
        .flow("show flow.toml s.o")
        .stdout_has("not isolated: FLOW_ISOLATION=off turns it off\n")
        .check();
    for wish in ["isolation = 'required'", "isolation = { network = false }"] {
        let wishes = workflow.replacen("outputs = ", &format!("{wish}\noutputs = "), 1);
        let why = "it wants to be isolated, and can't be: FLOW_ISOLATION=off turns it off";
        let test = Test::new()
            .always("FLOW_ISOLATION", "off")
            .workflow(&wishes)
            .flow("check flow.toml")
            .status(2)
            .stdout_has("is right")
            .stderr_has(&format!("error: stage `s`: {why}"))
            .check()
            .run("--only s")
            .anyhow()
            .check();
        let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
        assert!(failure.contains(why), "{failure}");
    }
}

/// A large input is mounted, not copied; an input that a glob takes belongs to it by its digest.
pub fn a_glob_takes_large_inputs_as_they_are() {
    let test = new()
        .workflow(
            r#"
[stages.make]
run = "mkdir d; head -c 3000000 /dev/zero | tr '\\0' A > d/g.fa; echo small > d/g.txt"
outputs = { d = "d/" }

[stages.index]
run = "wc -c < g.dir/g.fa > g.index; echo other > own.txt; echo link > l; ln -s l g.link"
inputs = { d = { from = "make", as = "g.dir" }, own = { path = "own", as = "g.own" } }
outputs = { index = "g.*", again = "*.index" }

[stages.use]
run = "cat g.dir/g.fa g.own g.index g.link > ${outputs.o}; test ! -L g.link"
inputs = { index = { from = "index", as = "." } }
outputs = { o = "o" }
"#,
        )
        .file("own", vec![b'B'; 3_000_000])
        .run("")
        .ran("make index use")
        .check();
    let made = test.output("use", "o");
    assert_eq!(made.len(), 6_000_000 + "3000000\n".len() + "link\n".len());
    assert!(made.starts_with(b"A") && made[3_000_000] == b'B');
    store::assert_sound(&test.path(".flow"));
}
