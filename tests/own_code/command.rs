//! The command: strict, the same everywhere, whatever its arguments.

use flow_tests::Test;

use super::new;

pub fn without_pipefail_a_failed_first_half_is_a_success() {
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
pub fn the_shell_says_that_it_is_strict() {
    let test = new()
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

pub fn status_141_is_explained() {
    let test = new()
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
pub fn a_command_line_is_the_same_at_each_attempt_and_in_each_checkout() {
    let workflow = r#"
[stages.s]
run = "for word in \"$0\" ${inputs.a} ${outputs.out} ${work} \"$PWD\" \"$FLOW_WORK\" ${inputs.a.absolute}; do echo $word; done > ${outputs.out}"
inputs = { a = { path = "data/a.txt" } }
outputs = { out = "out.txt" }
"#;
    let made = |store: &str| {
        let test = new()
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

pub fn files_are_written_before_the_program_starts() {
    let test = new()
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

pub fn arguments_of_any_kind_arrive() {
    let test = new()
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

/// A line and a folder that no command line would hold.
pub fn many_files_are_no_long_command_line() {
    let mut test = new().workflow(
        r#"
[stages.s]
run = "for file in ${inputs.all}; do cat $file; done > ${outputs.o}; cat parts/* | cmp - ${outputs.o}"
inputs = { all = { path = "parts/*" } }
outputs = { o = "o" }
"#,
    );
    let mut expected = String::new();
    for i in 0..810 {
        let line = format!("{i:03}\n");
        test = test.file(&format!("parts/{i:03}{}", "-".repeat(200)), &line);
        expected += &line;
    }
    let test = test.run("").ran("s").check();
    assert_eq!(test.output("s", "o"), expected.as_bytes());
}

#[test]
fn a_gather_of_810_instances_is_a_folder() {
    let points: Vec<String> = (0..810).map(|i| format!("{i:03}")).collect();
    let workflow = format!(
        r#"
[stages.part]
matrix = {{ n = {points:?} }}
run = "echo ${{matrix.n}} > ${{outputs.o}}"
outputs = {{ o = "o.txt" }}

[stages.all]
run = "cat inputs/parts/*.txt > ${{outputs.o}}; ls inputs/parts | head -1 >> ${{outputs.o}} || test $? = 141"
inputs = {{ parts = {{ collect = "part" }} }}
outputs = {{ o = "o" }}
"#
    );
    let test = Test::new().workflow(&workflow).run("").anyhow().check();
    assert_eq!(test.last().status, Some(0), "{}", test.last().stderr);
    let expected: String = points.iter().map(|point| format!("{point}\n")).collect();
    assert_eq!(test.output("all", "o"), (expected + "000.txt\n").as_bytes());
}
