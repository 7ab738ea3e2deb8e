//! Programs of the user's: what ran is what was hashed. Each test is named after what went wrong elsewhere, or in an earlier
//! version of flow.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use flow_tests::Test;

#[test]
fn two_instances_never_meet() {
    let test = Test::new()
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

/// A script that takes its neighbour in, in four languages.
#[test]
fn an_undeclared_neighbour_is_not_there() {
    for (name, script, neighbour, run) in [
        ("a.py", "import helper", "helper.py", "python3 a.py"),
        ("a.py", "import helper", "helper.py", "python3 -m a"),
        (
            "pkg/a.py",
            "import pkg.helper",
            "pkg/helper.py",
            "python3 -m pkg.a",
        ),
        ("a.sh", ". ./helper.sh", "helper.sh", "bash a.sh"),
    ] {
        let workflow = format!(
            "[stages.s]\nrun = \"{run} > out\"\ninputs = {{ code = {{ path = \"{name}\" }} }}\noutputs = {{ out = \"out\" }}\n"
        );
        let test = Test::new()
            .workflow(&workflow)
            .file(name, script)
            .file(neighbour, "")
            .run("")
            .anyhow()
            .check();
        let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
        let declares = format!("path = \"{neighbour}\"");
        assert!(failure.contains(&declares), "{run}: {failure}");
    }
}

#[test]
fn python_writes_its_caches_where_nobody_reads_them_and_code_may_be_edited_meanwhile() {
    let test = Test::new()
        .workflow(
            r#"
[stages.train]
run = "touch ~/began; while ! [ -e ~/go ]; do sleep 0.05; done; python3 -m src.train > ${outputs.model}"
inputs = { src = { path = "src" } }
outputs = { model = "model.txt" }
"#,
        )
        .file("src/train.py", "from . import helper\nprint(helper.x)\n")
        .file("src/helper.py", "x = 1\n")
        .file("src/__pycache__/left.pyc", "left by a tool");
    let mut running = test.run("").ran("train").start();
    running.wait_for_path("../began");
    fs::write(running.path("src/helper.py"), "x = 2\n").unwrap();
    fs::write(running.path("../go"), "").unwrap();
    let test = running.finish();
    assert_eq!(test.output("train", "model"), b"1\n");
    assert!(!test.has("src/__pycache__/train.cpython-311.pyc"));
    let test = test
        .file("src/__pycache__/other.pyc", "left by another")
        .run("")
        .ran("train")
        .check();
    assert_eq!(test.output("train", "model"), b"2\n");
    test.run("").cached("train").check();
}

#[test]
fn without_pipefail_a_failed_first_half_is_a_success() {
    for (run, why) in [
        ("false | cat > ${outputs.out}", "exit status 1"),
        ("true\nfalse\necho x > ${outputs.out}", "exit status 1"),
        ("echo $NO_SUCH > ${outputs.out}", "exit status 1"),
    ] {
        let workflow = format!("[stages.s]\nrun = '''{run}'''\noutputs = {{ out = \"out\" }}\n");
        let test = Test::new().workflow(&workflow).run("").anyhow().check();
        let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
        assert!(failure.contains(why), "{run}: {failure}");
    }
}

/// A refactoring must not lose strict mode unnoticed: the shell itself says what it is in.
#[test]
fn the_shell_says_that_it_is_strict() {
    let test = Test::new()
        .workflow(
            r#"
[stages.s]
run = "echo $- > ${outputs.out}; set -o | grep pipefail >> ${outputs.out}"
outputs = { out = "out" }
"#,
        )
        .run("")
        .ran("s")
        .check();
    let text = String::from_utf8(test.output("s", "out")).unwrap();
    let (flags, pipefail) = text.split_once('\n').unwrap();
    assert!(flags.contains('e') && flags.contains('u'), "{text}");
    assert!(pipefail.ends_with("on\n"), "{text}");
}

#[test]
fn status_141_is_explained() {
    let test = Test::new()
        .workflow(
            "[stages.s]\nrun = \"yes | head -1 > ${outputs.out}\"\noutputs = { out = \"out\" }\n",
        )
        .run("")
        .anyhow()
        .check();
    let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
    for piece in [
        "cut off by the one behind it",
        "|| test $? = 141",
        "`shell`",
    ] {
        assert!(failure.contains(piece), "{failure}");
    }
    test.edit(
        "head -1 > ${outputs.out}",
        "head -1 > ${outputs.out} || test $? = 141",
    )
    .run("")
    .ran("s")
    .check();
}

/// Tools write their command line into what they make.
#[test]
fn a_command_line_is_the_same_at_each_attempt_and_in_each_checkout() {
    let workflow = r#"
[stages.s]
run = "for word in \"$0\" ${inputs.a} ${outputs.out} ${work} \"$PWD\" \"$FLOW_WORK\" ${inputs.a.absolute}; do echo $word; done > ${outputs.out}"
inputs = { a = { path = "data/a.txt" } }
outputs = { out = "out.txt" }
"#;
    let made = |store: &str| {
        let test = Test::new()
            .workflow(workflow)
            .file("data/a.txt", "a")
            .run(store)
            .ran("s")
            .check();
        String::from_utf8(test.output("s", "out")).unwrap()
    };
    let first = made("");
    if first.contains("/tmp/flow-stage\n") {
        assert_eq!(first, made(""));
    }
    assert!(first.contains("\ndata/a.txt\nout.txt\n.work\n"), "{first}");
}

#[test]
fn an_index_lies_beside_its_input_and_outputs_are_found_at_their_paths() {
    let test = Test::new()
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

#[test]
fn a_glob_takes_what_matches_and_the_inputs_among_it() {
    let test = Test::new()
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

#[test]
fn files_are_written_before_the_program_starts() {
    let test = Test::new()
        .workflow(
            r#"
[params]
train = { lr = 0.5, name = "yes" }

[stages.s]
run = "cat params.yaml conf/x.json > ${outputs.out}"
files = { "params.yaml" = { train = "${train}" }, "conf/x.json" = [1, "b c"] }
outputs = { out = "out" }
"#,
        )
        .run("")
        .ran("s")
        .check();
    let text = String::from_utf8(test.output("s", "out")).unwrap();
    assert!(text.contains("lr: 0.5"), "{text}");
    test.edit("lr = 0.5", "lr = 0.25").run("").ran("s").check();
}

/// As root; anyone else is refused by the file's mode.
#[test]
fn nothing_is_written_through_to_another_input() {
    let workflow = r#"
[stages.a]
run = "head -c 2000000 /dev/zero | tr '\\0' A > ${outputs.o}"
outputs = { o = "o" }

[stages.b]
run = "head -c 2000000 /dev/zero | tr '\\0' B > ${outputs.o}"
outputs = { o = "o" }

[stages.bad]
run = "cp -p ${inputs.a} ${inputs.b}; touch ${outputs.o}"
inputs = { a = "a", b = "b" }
outputs = { o = "o" }

[stages.later]
run = "head -c 4 ${inputs.b} > ${outputs.o}"
inputs = { b = "b" }
outputs = { o = "o" }
"#;
    for isolation in ["on", "off"] {
        let test = Test::new()
            .workflow(workflow)
            .env("FLOW_ISOLATION", isolation)
            .run("--keep-going")
            .anyhow()
            .check();
        assert_eq!(test.last().stages["bad"].status, "failed", "{isolation}");
        let test = test
            .env("FLOW_ISOLATION", isolation)
            .run("--until later")
            .anyhow()
            .check();
        assert_eq!(test.output("later", "o"), b"BBBB", "{isolation}");
    }
}

#[test]
fn execute_bits_are_kept_and_empty_files_are_files() {
    let test = Test::new()
        .workflow(
            r#"
[stages.make]
run = "printf '#!/bin/sh\\necho hello\\n' > tool; chmod +x tool"
outputs = { tool = "tool" }

[stages.use]
run = ["sh", "-c", "$0 > out; $1 >> out; test -f pkg/__init__.py; stat -c %F pkg/__init__.py >> out", "${inputs.tool}", "./own.sh"]
inputs = { tool = "make", own = { path = "own.sh" }, pkg = { path = "pkg" } }
outputs = { out = "out" }
"#,
        )
        .executable("own.sh", "#!/bin/sh\necho own\n")
        .file("pkg/__init__.py", "")
        .run("")
        .ran("make use")
        .check();
    assert_eq!(
        String::from_utf8(test.output("use", "out")).unwrap(),
        "hello\nown\nregular empty file\n"
    );
    // Content alone is not what the file is.
    let own = test.path("own.sh");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    test.run("").anyhow().check();
}

#[test]
fn links_among_the_inputs_are_content_or_an_error_that_names_them() {
    let test = Test::new()
        .workflow(
            r#"
[stages.s]
run = "cat data/inside data/beside > ${outputs.o}; find data -type l >> ${outputs.o}"
inputs = { data = { path = "data" } }
outputs = { o = "o" }
"#,
        )
        .file("data/real", "real\n")
        .file("other/y", "y\n")
        .file("../stranger", "secret\n");
    symlink("real", test.path("data/inside")).unwrap();
    symlink("../other/y", test.path("data/beside")).unwrap();
    let test = test.run("").ran("s").check();
    assert_eq!(test.output("s", "o"), b"real\ny\n");
    for target in ["../../stranger", "nowhere", "../other"] {
        let link = test.path("data/link");
        symlink(target, &link).unwrap();
        let test = test.beside().flow("check flow.toml").anyhow().check();
        let told = format!("{}{}", test.last().stdout, test.last().stderr);
        assert!(told.contains("data/link"), "{target}: {told}");
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn links_among_outputs_are_content() {
    let test = Test::new()
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

#[test]
fn all_files_have_one_time() {
    let test = Test::new()
        .workflow(
            r#"
[stages.s]
run = "find . -type f ! -path './.work/*' -printf '%P %TY-%Tm-%Td\\n' | sort > ${outputs.o}"
inputs = { data = { path = "data" } }
files = { "a.txt" = "a" }
outputs = { o = "o" }
"#,
        )
        .file("data/x/y", "y")
        .run("")
        .ran("s")
        .check();
    let text = String::from_utf8(test.output("s", "o")).unwrap();
    let told: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("o "))
        .collect();
    assert_eq!(told, ["a.txt 2000-01-01", "data/x/y 2000-01-01"]);
}

#[test]
fn what_it_wrote_instead_is_said() {
    let test = Test::new()
        .workflow(
            "[stages.s]\nrun = \"echo x > model.pkl2\"\noutputs = { model = \"model.pkl\" }\n",
        )
        .run("")
        .anyhow()
        .check();
    let (failure, _) = test.last().stages["s"].failure.clone().unwrap();
    assert!(failure.contains("did you mean `model.pkl2`?"), "{failure}");
}

#[test]
fn arguments_of_any_kind_arrive() {
    let test = Test::new()
        .workflow(
            r#"
[params]
odd = ["a b", "c'd", "e\"f", "g\nh", "$HOME", "*", ""]

[stages.list]
run = ["python3", "show.py", "${outputs.o}", "${odd}"]
inputs = { code = { path = "show.py" } }
outputs = { o = "o" }

[stages.line]
run = "python3 show.py ${outputs.o} ${odd}"
inputs = { code = { path = "show.py" } }
outputs = { o = "o" }
"#,
        )
        .file(
            "show.py",
            "import json, sys\njson.dump(sys.argv[2:], open(sys.argv[1], 'w'))\n",
        )
        .run("")
        .ran("list line")
        .check();
    let expected = r#"["a b", "c'd", "e\"f", "g\nh", "$HOME", "*", ""]"#;
    for stage in ["list", "line"] {
        assert_eq!(test.output(stage, "o"), expected.as_bytes(), "{stage}");
    }
}

#[test]
fn the_project_s_folder_is_the_way_out() {
    let test = Test::new()
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

#[test]
fn checkpoints_survive_and_outputs_do_not() {
    let test = Test::new()
        .workflow(
            r#"
[stages.s]
run = "echo epoch >> ckpt/log; test ! -e partial; touch partial; [ $(wc -l < ckpt/log) -ge 3 ]; cp ckpt/log ${outputs.o}"
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
