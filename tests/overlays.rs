//! What is laid over a workflow: one rule for includes, files of params, variants and `--set`; and what others got wrong
//! with theirs, each by its name.

use flow_tests::Test;

/// A stage whose output is its params.
const NETS: &str = r#"
[workflow]
language = 2

[params]
lr = 0.1
net = { width = 8, depth = 2 }
name = "n"

[stages.train]
run = "echo ${lr} ${net.width} ${net.depth} ${name} ${seed} > ${outputs.o}"
outputs = { o = "o.txt" }

[variants.model.linear]
params.net.depth = 1

[variants.model.dense]
params.net.depth = 9

[variants.experiment.a]
params.lr = 0.5
use = { model = "linear" }
workflow.seed = 7

[variants.experiment.b]
params.net.depth = 5
use = { model = "dense" }

[variants.experiment.whole]
replace.params.net = { width = 1, depth = 1 }
"#;

#[track_caller]
fn trained(test: Test, options: &str, text: &str) -> Test {
    let test = test.run(options).anyhow().check();
    assert_eq!(
        String::from_utf8(test.output("train", "o")).unwrap(),
        format!("{text}\n"),
        "{options}"
    );
    test
}

fn nets() -> Test {
    Test::new().workflow(NETS)
}

#[test]
fn variants_merge_table_by_table_in_the_order_given() {
    let test = trained(nets(), "", "0.1 8 2 n 42");
    let test = trained(test, "--variant model=linear", "0.1 8 1 n 42");
    let test = trained(
        test,
        "--variant model=linear --variant experiment=whole",
        "0.1 1 1 n 42",
    );
    let test = trained(
        test,
        "--variant experiment=whole --variant model=dense",
        "0.1 1 9 n 42",
    );
    let test = trained(
        test,
        "--variant experiment=whole --variant model=dense --set net.depth=3 --set net={width=4}",
        "0.1 4 3 n 42",
    );
    trained(
        test,
        "--set replace.params.net={width=4,depth=0}",
        "0.1 4 0 n 42",
    );
}

#[test]
fn a_variant_uses_others_as_defaults_and_sets_the_seed() {
    let test = trained(nets(), "--variant experiment=a", "0.5 8 1 n 7");
    // What is asked for wins over what a variant uses, wherever it stands.
    let test = trained(
        test,
        "--variant model=dense --variant experiment=a",
        "0.5 8 9 n 7",
    );
    let test = trained(
        test,
        "--variant experiment=a --variant model=base",
        "0.5 8 2 n 7",
    );
    // A variant wins over those that it uses.
    let test = trained(test, "--variant experiment=b", "0.1 8 5 n 42");
    let test = test
        .run("--sweep experiment=a,b --sweep model=base,linear")
        .anyhow()
        .check();
    let mut texts: Vec<String> = test
        .last()
        .stages
        .keys()
        .map(|label| String::from_utf8(test.output(label, "o")).unwrap())
        .collect();
    texts.sort();
    assert_eq!(
        texts,
        [
            "0.1 8 1 n 42\n",
            "0.1 8 5 n 42\n",
            "0.5 8 1 n 7\n",
            "0.5 8 2 n 7\n"
        ]
    );
}

#[test]
fn a_group_has_a_default_or_is_required() {
    let default = NETS.replace(
        "[variants.model.linear]",
        "[variants.model]\ndefault = 'linear'\n[variants.model.linear]",
    );
    let test = trained(Test::new().workflow(&default), "", "0.1 8 1 n 42");
    let test = trained(test, "--variant model=base", "0.1 8 2 n 42");
    let test = trained(test, "--variant experiment=b", "0.1 8 5 n 42");
    let required = NETS.replace(
        "[variants.model.linear]",
        "[variants.model]\nrequired = true\n[variants.model.linear]",
    );
    let test = test
        .workflow(&required)
        .run("")
        .status(2)
        .stderr_has("error: nothing is chosen of the group `model`, which is required")
        .stderr_has("help: write --variant model=NAME; there are `linear`, `dense`, `base`")
        .check();
    let test = trained(test, "--variant experiment=a", "0.5 8 1 n 7");
    let test = trained(test, "--variant model=dense", "0.1 8 9 n 42");
    test.run("--sweep model=linear,dense").anyhow().check();
}

/// A kind whose output is its parameters.
const ECHO: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
cat <<'END'
{"protocol": 1, "plugin": "echo", "version": "1", "kinds": [
{"name": "echo", "version": 1, "summary": "Writes its parameters", "parameters": {"type": "object"},
 "outputs": [{"name": "request", "type": "file"}]},
{"name": "other", "version": 1, "summary": "Does too", "parameters": {"type": "object"},
 "outputs": [{"name": "request", "type": "file"}]}]}
END
else
  read -r request
  output=$(printf %s "$request" | sed 's/.*"outputs":{"request":"\([^"]*\)".*/\1/')
  printf %s "$request" | sed 's/.*"parameters":\({.*}\),"inputs".*/\1/' > "$output"
fi
"#;

fn echo(head: &str, rest: &str) -> Test {
    Test::new().executable("plugin", ECHO).workflow(&format!(
        "{head}[plugins]\nmine = 'plugin'\n[stages.a]\nuses = 'echo'\nwith = {{ lr = 3, note = 'x' }}\n{rest}"
    ))
}

#[track_caller]
fn got(test: Test, options: &str, parameters: &str) -> Test {
    let test = test.run(options).anyhow().may_warn().check();
    assert_eq!(
        String::from_utf8(test.output("a", "request")).unwrap(),
        parameters,
        "{options}"
    );
    test
}

#[test]
fn an_experiment_changes_one_parameter_and_leaves_the_others() {
    let rest = "[variants.experiment]\na.stages.a.with.note = 'a'\n\
                b.replace.stages.a.with = { note = 'b' }\nc.stages.a.uses = 'other'\n\
                d.stages.a = { uses = 'other', with = { k = 1 } }\n\
                e.stages.a = { run = 'echo e > ${outputs.request}', outputs = { request = 'r' } }\n\
                f.stages.b = { uses = 'other', with = { k = 2 } }\n\
                [stages.b]\nrun = 'echo b > ${outputs.request}'\noutputs = { request = 'r' }\nshell = ['sh', '-e']\n";
    let test = echo("[workflow]\nlanguage = 2\n", rest);
    let test = got(test, "--variant experiment=a", r#"{"lr":3,"note":"a"}"#);
    let test = got(test, "--variant experiment=b", r#"{"note":"b"}"#);
    // Another kind takes nothing from the old `with`.
    let test = got(test, "--variant experiment=c", "{}");
    let test = got(test, "--variant experiment=d", r#"{"k":1}"#);
    // A program has no `with`, and a kind nothing of what only programs have.
    let test = got(test, "--variant experiment=e", "e\n");
    let test = got(test, "--variant experiment=f", r#"{"lr":3,"note":"x"}"#);
    assert_eq!(test.output("b", "request"), br#"{"k":2}"#);
    let test = got(test, "--set stages.a.uses=echo", r#"{"lr":3,"note":"x"}"#);
    let test = got(
        test,
        "--set stages.a.with.k=2 --set stages.a.uses=other",
        r#"{"k":2}"#,
    );
    let test = test
        .file(
            "base.toml",
            "[stages.a]\nuses = 'other'\nwith = { q = 1 }\n",
        )
        .edit("[workflow]", "include = ['base.toml']\n[workflow]");
    got(test, "", r#"{"lr":3,"note":"x"}"#);
}

/// Stages that read files.
const READS: &str = "[stages.train]\nrun = 'cat ${inputs.a} ${inputs.b} > ${outputs.o}'\noutputs = { o = 'o' }\n\
                     inputs = { a = { path = 'a' }, b = { path = 'b' } }\n\
                     [variants.v]\nmore.stages.train.inputs.b = { path = 'c' }\n\
                     less = { stages.train.run = 'cat ${inputs.a} > ${outputs.o}', \
                     replace.stages.train.inputs = { a = { path = 'c' } } }\n";

#[test]
fn inputs_merge_unless_they_are_replaced() {
    let files = |test: Test| test.file("a", "a").file("b", "b").file("c", "c\n");
    let test = files(Test::new().workflow(&format!("[workflow]\nlanguage = 2\n{READS}")));
    let test = trained(test, "--variant v=more", "ac");
    trained(test, "--variant v=less", "c");
    // Up to flow 0.2 the first of them left `a` out. What is said to be replaced needs no warning.
    let test = files(Test::new().workflow(READS));
    let test = test
        .flow("check flow.toml --variant v=more")
        .stderr_has(
            "warning: `stages.train.inputs` keeps `a` of what stood there\n --> flow.toml:6:",
        )
        .stderr_has("`replace.stages.train.inputs = …` still does")
        .stdout_has("is right")
        .check();
    trained(test, "--variant v=less", "c");
}

#[test]
fn an_old_workflow_whose_variants_replaced_is_told() {
    let rest = "[variants.experiment]\na.stages.a.with.note = 'a'\nc.stages.a.uses = 'other'\n";
    let test = echo("", rest).run("--variant experiment=a").stderr(
        "warning: `stages.a.with` keeps `lr` of what stood there\n \
         --> flow.toml:7:12\n  \
         |\n\
         7 | a.stages.a.with.note = 'a'\n  \
         |            ^^^^\n  \
         |\n  \
         = help: flow 0.2 replaced it. In a variant and after --set, `replace.stages.a.with = …` still does; `language = 2` under \
         [workflow] says that it is right to keep them\n",
    );
    let test = test.ran("a").check();
    let test = test
        .flow("check flow.toml --variant experiment=a")
        .stderr_has("warning: `stages.a.with` keeps `lr` of what stood there")
        .stdout_has("is right")
        .check();
    let test = test
        .run("--variant experiment=c")
        .stderr_has(
            "warning: the stage does something else here, so `stages.a.with` loses `lr`, `note`",
        )
        .stderr_has("flow.toml:8:19")
        .ran("a")
        .check();
    let test = test
        .run("--set stages.a.uses=other")
        .stderr_has("loses `lr`, `note`")
        .cached("a")
        .check();
    Test::new()
        .workflow("[params]\nnet = { w = 1, d = 2 }\n[stages.a]\nrun = 'echo ${net} > ${outputs.o}'\noutputs = { o = 'o' }\n")
        .run("--set net={w=3}")
        .stderr_has("warning: `params.net` keeps `d` of what stood there\n --> --set:1:1")
        .stderr_has("`replace.params.net = …` still does")
        .ran("a")
        .check();
    // Where both give the same, there is nothing to say.
    let test = test.edit(
        "a.stages.a.with.note = 'a'",
        "a.stages.a.with = { lr = 1, note = 'a' }",
    );
    test.run("--variant experiment=a").ran("a").check();
}

#[test]
fn which_override_wins_depends_on_nothing_but_the_order() {
    // Hydra 3229, 3026.
    let test = Test::new()
        .workflow(
            "include = ['base.toml']\n[workflow]\nparams = 'params.yaml'\n[params]\nb = 'file'\n\
             [variants.z.v]\nparams = { e = 'z', f = 'z' }\n[variants.y.v]\nparams = { e = 'y', g = 'y' }\n",
        )
        .file(
            "base.toml",
            "[params]\na = 'base'\nb = 'base'\nc = 'base'\nd = 'base'\ne = 'base'\nf = 'base'\ng = 'base'\n\
             [stages.train]\nrun = 'echo ${a} ${b} ${c} ${d} ${e} ${f} ${g} > ${outputs.o}'\noutputs = { o = 'o' }\n",
        )
        .file("params.yaml", "c: yaml\nd: yaml\ne: yaml\n")
        .file("over.json", "{\"d\": \"json\", \"e\": \"json\"}");
    let all = "--params over.json --variant z=v --variant y=v --set g=set";
    let test = trained(test, all, "base file yaml json y z set");
    let test = trained(
        test,
        "--set g=set --variant y=v --variant z=v --params over.json",
        "base file yaml json z z set",
    );
    let all = format!("show flow.toml {all}");
    test.flow(&all)
        .arg("--json")
        .stdout_has(r#""from":"--set g=set","name":"params.g","value":"set""#)
        .stdout_has(r#""from":"over.json:1","name":"params.d""#)
        .stdout_has(r#""from":"params.yaml:1","name":"params.c""#)
        .stdout_has(r#""from":"flow.toml:5","name":"params.b""#)
        .stdout_has(r#""from":"base.toml:2","name":"params.a""#)
        .stdout_has(r#""from":"flow.toml:9","name":"params.e""#)
        .check();
}

#[test]
fn show_params_says_where_each_value_comes_from() {
    let shown = "\
variants.experiment  a           --variant experiment=a
variants.model       dense       --variant model=dense
variants.model       not linear  experiment=a uses it, flow.toml:22
workflow.seed        7           flow.toml:23
params.lr            0.5         flow.toml:21
params.net.width     3           --set net.width=3
params.net.depth     9           flow.toml:18
params.name          \"n\"         flow.toml:8
";
    let test = nets()
        .flow("show flow.toml --variant experiment=a --variant model=dense --set net.width=3 --params")
        .stdout(shown)
        .check();
    let test = test
        .flow("show --params flow.toml")
        .stdout_has("params.net.width  8    flow.toml:7\n")
        .check();
    // At one point of a sweep, what is there; and a file of params may be laid over it.
    test.file("over.yaml", "name: other\n")
        .flow("show --sweep experiment=a,b --point experiment=b --params=over.yaml flow.toml")
        .stdout_has("variants.model       dense    experiment=b uses it, flow.toml:27\n")
        .stdout_has("params.net.depth     5        flow.toml:26\n")
        .stdout_has("params.name          \"other\"  over.yaml:1")
        .check();
}

#[test]
fn show_params_says_what_a_variant_lays_over_a_stage() {
    Test::new()
        .workflow(
            "[stages.a]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\ntimeout = '1h'\n\
             [variants.g.two.stages.a]\nrun = 'echo 2 > ${outputs.o}'\nresources = { cpus = 2 }\n",
        )
        .flow("show flow.toml --params")
        .stdout("the workflow has no params, and no stage has any\n")
        .check()
        .flow("show flow.toml --variant g=one --variant g=two --params")
        .stdout(
            "variants.g               two                      --variant g=two\n\
             stages.a.run             \"echo 2 > ${outputs.o}\"  flow.toml:6\n\
             stages.a.resources.cpus  2                        flow.toml:7\n",
        )
        .check();
}

#[test]
fn of_two_variants_of_one_group_the_last_counts() {
    nets()
        .flow("show flow.toml --variant model=base --variant model=dense --params")
        .stdout_has("variants.model    dense")
        .check();
}

#[test]
fn what_can_t_be_read_is_said_once() {
    let test = Test::new()
        .workflow(
            "[params]\na = 1\nlist = [1]\n[stages.x]\nrun = 'echo ${a} ${list} > ${outputs.o}'\noutputs = { o = 'o' }\n",
        )
        .file("nan.yaml", "a: .nan\n")
        .file("big.toml", "a = 1e400\n");
    let mut test = test;
    for (file, line, place, caret) in [
        ("nan.yaml", "a: .nan", 4, "   ^^^^"),
        ("big.toml", "a = 1e400", 5, "    ^^^^^"),
    ] {
        test = test
            .run(&format!("--params {file}"))
            .status(2)
            .stderr(&format!(
                "error: a number that is not finite can't be used in a workflow\n --> {file}:1:{place}\n  |\n\
                 1 | {line}\n  | {caret}\n  |\n  = help: in quotes it is a string, which can be used"
            ))
            .check();
    }
    std::fs::write(test.path("odd.yaml"), b"a: 1\nb: \xff\n").unwrap();
    test.run("--params odd.yaml")
        .status(2)
        .stderr_has("error: the file odd.yaml is not UTF-8 text: see line 2\n")
        .stderr_has("help: save it as UTF-8")
        .check()
        .run("--set list=[1,")
        .status(2)
        .stderr_has("error: the param `list` is a list in the workflow, and a string here\n")
        .check();
}

#[test]
fn a_group_and_a_value_are_told_apart() {
    // Hydra 2390, 3068.
    nets()
        .run("--set model=linear")
        .status(2)
        .stderr_has("error: `model` is a group of variants, and no param\n --> --set:1:1\n")
        .stderr_has("help: write --variant model=linear")
        .check()
        .run("--variant lr=0.3")
        .status(2)
        .stderr_has("error: there is no group of variants `lr`\n --> --variant:1:1\n")
        .stderr_has("help: `lr` is a param: --set lr=VALUE")
        .check();
}

#[test]
fn a_param_keeps_its_type() {
    for (option, place) in [
        ("--set lr=fast", "--set:1:4"),
        ("--set lr=true", "--set:1:4"),
        // A fraction where the file has a whole number; the other way is right.
        ("--set net.width=2.5", "--set:1:11"),
        ("--set net={depth=0.5}", "--set:1:5"),
        ("--set name=3", "--set:1:6"),
        ("--sweep lr=fast,0.1", "--sweep:1:4"),
        ("--params p.yaml", "p.yaml:2:5"),
    ] {
        nets()
            .file("p.yaml", "# other\nlr: fast\n")
            .run(option)
            .status(2)
            .stderr_has(" in the workflow, and ")
            .stderr_has(place)
            .check();
    }
    let test = trained(nets(), "--set lr=1 --set name=7x", "1 8 2 7x 42");
    // The type is that of the workflow, and not of what another layer gave.
    let test = test.file("p.yaml", "lr: 1\n");
    let test = trained(test, "--params p.yaml --set lr=0.5", "0.5 8 2 n 42");
    // A list or a table is for the stage that takes it to judge.
    let test = trained(test, "--set name=['a','b']", "0.1 8 2 a b 42");
    test.run("--set net=3")
        .status(2)
        .stderr_has("`${net.width}` refers to nothing that is known here")
        .check();
}

/// A stage that copies a written file of params.
fn written() -> Test {
    Test::new()
        .workflow(
            "[workflow]\nparams = 'params.yaml'\n[stages.train]\nrun = 'cat params.yaml > ${outputs.o}'\n\
             files = { 'params.yaml' = { train = '${train}' } }\noutputs = { o = 'o' }\n",
        )
        .file("params.yaml", "train:\n  lr: 0.1\n  epochs: 3\n")
}

#[test]
fn a_stage_reads_what_flow_wrote_and_not_the_file() {
    // DVC 10186.
    let set = "--set train.lr=0.5";
    let test = trained(written(), set, "train:\n  lr: 0.5\n  epochs: 3");
    assert_eq!(test.read("params.yaml"), "train:\n  lr: 0.1\n  epochs: 3\n");
}

#[test]
fn nothing_that_was_set_sticks() {
    // DVC 8355.
    let set = "--set train.lr=0.5";
    let test = trained(written(), set, "train:\n  lr: 0.5\n  epochs: 3");
    let test = trained(test, "", "train:\n  lr: 0.1\n  epochs: 3");
    let test = test.file("params.yaml", "train:\n  lr: 0.2\n  epochs: 3\n");
    trained(test, "", "train:\n  lr: 0.2\n  epochs: 3");
}

#[test]
fn params_are_made_of_others() {
    let text = "[params]\ndata = 'cifar'\nsize = 100\nname = '${data}-${size}'\nlimit = '${size}'\n\
                deep = { both = ['${name}', '${limit}'], again = '${net}' }\nnet = { width = '${size}' }\n\
                [stages.train]\nrun = 'echo ${name} ${limit} ${deep.both} ${deep.again.width} > ${outputs.o}'\n\
                outputs = { o = 'o' }\n";
    let test = Test::new().workflow(text);
    let test = trained(test, "", "cifar-100 100 cifar-100 100 100");
    let test = trained(test, "--set size=7", "cifar-7 7 cifar-7 7 7");
    // Whose params are made of a swept one depends on it.
    let test = test.run("--sweep size=1,2").anyhow().check();
    let labels: Vec<&String> = test.last().stages.keys().collect();
    assert_eq!(labels, ["train[size=1]", "train[size=2]"]);
    // What is set in it reaches through a reference.
    trained(
        test,
        "--set deep.again.width=5",
        "cifar-100 100 cifar-100 100 5",
    );
}

#[test]
fn params_that_multiply_are_refused() {
    let mut params = "[params]\np0 = 'x'\n".to_string();
    for i in 1..40 {
        params += &format!("p{i} = '${{p{}}}${{p{}}}'\n", i - 1, i - 1);
    }
    let text = "[stages.a]\nrun = 'echo ${p39} > ${outputs.o}'\noutputs = { o = 'o' }\n";
    Test::new()
        .workflow(&(params + text))
        .run("")
        .status(2)
        .stderr_has("error: params lead to more than 100000 others through their references\n --> flow.toml:")
        .check();
}

#[test]
fn params_of_a_project_are_read_as_they_are() {
    for (name, text) in [
        ("p.yaml", "train: {lr: 0.1, layers: [1, 2]}\nname: ü\n"),
        // What other programs read is no mistake; nor is a byte order mark.
        (
            "p.yaml",
            "\u{feff}train: {lr: 0.1, layers: [1, 2], other: 1}\r\nname: ü\r\nqueue: {gpus: 2, memory: ~}\r\nresume:\r\n1: {a b: [~]}\r\n",
        ),
        (
            "p.json",
            "\u{feff}{\"train\": {\"lr\": 0.1, \"layers\": [1, 2]}, \"name\": \"ü\", \"queue\": 1}",
        ),
        (
            "p.yml",
            "train:\n  lr: 0.1\n  layers:\n  - 1\n  - 2\nname: ü\n",
        ),
        (
            "p.json",
            "{\"train\": {\"lr\": 0.1, \"layers\": [1, 2]},\n\t\"name\": \"\\u00fc\"}",
        ),
        ("p.toml", "name = 'ü'\n[train]\nlr = 0.1\nlayers = [1, 2]\n"),
    ] {
        let workflow = format!(
            "[workflow]\nparams = '{name}'\n[stages.train]\n\
             run = 'echo ${{train.lr}} ${{train.layers}} ${{name}} > ${{outputs.o}}'\noutputs = {{ o = 'o' }}\n"
        );
        let test = Test::new().workflow(&workflow).file(name, text);
        let test = trained(test, "", "0.1 1 2 ü");
        trained(test, "--set train.lr=2", "2 1 2 ü");
    }
    let workflow = "[workflow]\nparams = 'p.yaml'\n[stages.train]\nrun = 'echo ${a} > ${outputs.o}'\noutputs = { o = 'o' }\n";
    for (text, said) in [
        ("a: [1\nb: 2\n", "this is not valid YAML"),
        (
            "a: [1, null]\n",
            "null can't be used in a workflow\n --> p.yaml:1:8",
        ),
        ("a: null\n", "`${a}` refers to nothing that is known here"),
        ("[1]", "a file of params has to be a table, not a list"),
    ] {
        let test = Test::new().workflow(workflow).file("p.yaml", text);
        test.run("").status(2).stderr_has(said).check();
    }
    let test = Test::new().workflow(&format!("{workflow}[params]\na = 1\n"));
    let test = test.file("p.yaml", "a: ~\n").run("").status(2);
    test.stderr_has("null can't be used in a workflow\n --> p.yaml:1:4")
        .check();
    // What the workflow itself declares is its own, wherever its value comes from.
    let own = format!("{workflow}[params]\nb = 1\n");
    let test = Test::new()
        .workflow(&own)
        .file("p.yaml", "a: 1\nb: 2\nc: 3\n");
    let test = test.run("").stderr_has("the param `b` is never used");
    test.ran("train").check();
    Test::new()
        .workflow(&workflow.replace("p.yaml", "p.ini"))
        .file("p.ini", "a = 1")
        .run("")
        .status(2)
        .stderr_has("error: `p.ini` is no file of params by its ending\n --> flow.toml:2:10")
        .check();
}
