//! What a workflow file means: parameters, matrices, references, globs, quoting.

use flow_tests::{Test, store};

/// A plugin whose one kind writes the request's parameters to its output.
const ECHO: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
cat <<'END'
{"protocol": 1, "plugin": "echo", "version": "1", "kinds": [{
  "name": "echo", "version": 1, "summary": "Writes its parameters",
  "parameters": {"type": "object", "additionalProperties": false, "properties": {
    "text": {"type": "string"}, "whole": {"type": "integer"}, "number": {"type": "number"},
    "yes": {"type": "boolean"}, "list": {"type": "array", "items": {"type": "number"}},
    "epochs": {"type": "object", "default": {"min": 30, "max": 50}, "properties": {
      "min": {"type": "integer", "default": 30}, "max": {"type": "integer", "default": 50}}}}},
  "outputs": [{"name": "request", "type": "file"}]}]}
END
else
  read -r request
  output=$(printf %s "$request" | sed 's/.*"outputs":{"request":"\([^"]*\)".*/\1/')
  printf %s "$request" | sed 's/.*"parameters":\({.*}\),"inputs".*/\1/' > "$output"
fi
"#;

/// The parameters that stage `a` of kind `echo` got.
#[track_caller]
fn parameters(test: &Test, label: &str) -> String {
    String::from_utf8(test.output(label, "request")).unwrap()
}

fn echo(workflow: &str) -> Test {
    Test::new()
        .executable("plugin", ECHO)
        .workflow(&format!("[plugins]\nmine = 'plugin'\n{workflow}"))
}

#[test]
fn a_lone_reference_keeps_the_type_and_a_longer_string_formats() {
    let test = echo(
        "[params]\nword = 'w'\nwhole = 3\nnumber = 0.5\nyes = true\nlist = [1, 2.5]\nnested = { deep = { x = 7 } }\n\
         [stages.a]\nuses = 'echo'\nwith = { text = '${word}-${whole}-${number}-${yes}-${nested.deep.x}', whole = '${whole}', \
         number = '${number}', yes = '${yes}', list = '${list}', epochs = { max = '${nested.deep.x}' } }",
    )
    .run("")
    .ran("a")
    .check();
    assert_eq!(
        parameters(&test, "a"),
        r#"{"epochs":{"max":7,"min":30},"list":[1.0,2.5],"number":0.5,"text":"w-3-0.5-true-7","whole":3,"yes":true}"#
    );
}

#[test]
fn a_parameter_left_out_is_its_default_and_gives_the_same_key() {
    let a = "[stages.a]\nuses = 'echo'\nwith = { number = 1 }";
    let test = echo(a).run("").ran("a").check();
    assert_eq!(
        parameters(&test, "a"),
        r#"{"epochs":{"max":50,"min":30},"number":1.0}"#
    );
    // A default written out, a whole number written as a float, and another order are the same.
    test.edit("{ number = 1 }", "{ epochs = { max = 50 }, number = 1.0 }")
        .run("")
        .cached("a")
        .check();
}

#[test]
fn set_takes_toml_and_words() {
    let text = "[params]\nword = 'w'\nwhole = 1\nepochs = { min = 1 }\n\
                [stages.a]\nuses = 'echo'\nwith = { text = '${word}', whole = '${whole}', epochs = '${epochs}' }";
    let test = echo(text)
        .run("--set word=hello --set whole=-5 --set epochs={min=2,max=3}")
        .ran("a")
        .check();
    assert_eq!(
        parameters(&test, "a"),
        r#"{"epochs":{"max":3,"min":2},"text":"hello","whole":-5}"#
    );
    let test = test
        .run("--set word='3'")
        .arg("--set")
        .arg("word=two words = 1")
        .ran("a")
        .check();
    assert!(parameters(&test, "a").contains(r#""text":"two words = 1""#));
}

#[test]
fn a_matrix_has_an_instance_for_each_combination_and_fans_out() {
    let text = r#"
[params]
base = 10

[stages.data]
run = "echo data >> ~/starts; echo ${base} > ${outputs.o}"
outputs = { o = "o" }

[stages.multi]
run = "cat ${inputs.data} > ${outputs.o}; echo ${matrix.alpha} ${matrix.arch} >> ${outputs.o}"
inputs = { data = "data" }
matrix = { alpha = [0.1, 0.9], arch = ["cnn", "resnet"] }
outputs = { o = "o" }

[stages.score]
run = "tail -n 1 ${inputs.model} > ${outputs.o}"
inputs = { model = "multi" }
outputs = { o = "o" }

[stages.one]
run = "cat ${inputs.model} > ${outputs.o}"
inputs = { model = "multi[alpha=0.1].o" }
outputs = { o = "o" }

[stages.pair]
run = "cat ${inputs.a} ${inputs.b} > ${outputs.o}"
inputs = { a = "multi[alpha=0.9,arch=cnn].o", b = "score[alpha=0.1,arch=cnn]" }
outputs = { o = "o" }
"#;
    let points = |stage: &str| {
        format!(
            "{stage}[alpha=0.1,arch=cnn] {stage}[alpha=0.1,arch=resnet] {stage}[alpha=0.9,arch=cnn] \
             {stage}[alpha=0.9,arch=resnet] "
        )
    };
    let all = format!(
        "data {}{}one[arch=cnn] one[arch=resnet] pair",
        points("multi"),
        points("score")
    );
    let test = Test::new()
        .workflow(text)
        .run("")
        .ran(&all)
        .starts("data")
        .check();
    assert_eq!(
        test.output("score[alpha=0.9,arch=resnet]", "o"),
        b"0.9 resnet\n"
    );
    assert_eq!(test.output("one[arch=resnet]", "o"), b"10\n0.1 resnet\n");
    assert_eq!(test.output("pair", "o"), b"10\n0.9 cnn\n0.1 cnn\n");
    // One more value is one more instance of each stage that has the axis.
    let test = test
        .edit("arch = [\"cnn\", \"resnet\"]", "arch = [\"cnn\", \"resnet\", \"mlp\"]")
        .run("")
        .cached(&all)
        .ran("multi[alpha=0.1,arch=mlp] multi[alpha=0.9,arch=mlp] score[alpha=0.1,arch=mlp] score[alpha=0.9,arch=mlp] one[arch=mlp]")
        .starts("")
        .check();
    // An option may name one instance.
    test.run("--until multi[alpha=0.1,arch=cnn] --force multi[alpha=0.1,arch=cnn]")
        .cached("data")
        .ran("multi[alpha=0.1,arch=cnn]")
        .check();
}

#[test]
fn two_inputs_from_one_matrix_agree_and_those_of_two_multiply() {
    let text = r#"
[stages.x]
run = "echo ${matrix.n} > ${outputs.o}"
matrix = { n = [1, 2] }
outputs = { o = "o" }
[stages.y]
run = "echo ${matrix.m} > ${outputs.o}"
matrix = { m = ["p", "q"] }
outputs = { o = "o" }
[stages.twice]
run = "cat ${inputs.a} > ${outputs.o}"
inputs = { a = "x" }
outputs = { o = "o" }
[stages.same]
run = "cat ${inputs.a} ${inputs.b} > ${outputs.o}"
inputs = { a = "x", b = "twice" }
outputs = { o = "o" }
[stages.product]
run = "cat ${inputs.a} ${inputs.b} > ${outputs.o}"
inputs = { a = "same", b = "y" }
outputs = { o = "o" }
"#;
    let test = Test::new()
        .workflow(text)
        .run("")
        .ran(
            "x[n=1] x[n=2] y[m=p] y[m=q] twice[n=1] twice[n=2] same[n=1] same[n=2] \
             product[m=p,n=1] product[m=p,n=2] product[m=q,n=1] product[m=q,n=2]",
        )
        .check();
    assert_eq!(test.output("same[n=2]", "o"), b"2\n2\n");
    assert_eq!(test.output("product[m=q,n=1]", "o"), b"1\n1\nq\n");
}

/// Values that a careless shell would run, split or swallow.
const HOSTILE: &[&str] = &[
    "plain",
    "two words",
    "it's",
    "\"double\"",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "a\nb",
    "$HOME",
    "*",
    "-n",
    "\\",
    "ünïcödé ☃",
    "",
];

#[test]
fn values_are_quoted_for_the_shell() {
    for value in HOSTILE {
        // Rust's escapes of these are TOML's.
        let text = format!(
            "[params]\nvalue = {value:?}\n\
             [stages.shell]\nrun = \"printf '<%s>' ${{value}} > ${{outputs.o}}\"\noutputs = {{ o = \"o\" }}\n\
             [stages.inside]\nrun = \"printf '<%s>' x${{value}}y > ${{outputs.o}}\"\noutputs = {{ o = \"o\" }}\n\
             [stages.list]\nrun = [\"sh\", \"-c\", \"printf '<%s>' \\\"$1\\\" > \\\"$2\\\"\", \"sh\", \"${{value}}\", \
             \"${{outputs.o}}\"]\noutputs = {{ o = \"o\" }}\n"
        );
        let test = Test::new()
            .workflow(&text)
            .run("")
            .ran("shell inside list")
            .check();
        assert_eq!(
            test.output("shell", "o"),
            format!("<{value}>").as_bytes(),
            "{value:?}"
        );
        assert_eq!(
            test.output("inside", "o"),
            format!("<x{value}y>").as_bytes(),
            "{value:?}"
        );
        assert_eq!(
            test.output("list", "o"),
            format!("<{value}>").as_bytes(),
            "{value:?}"
        );
        assert!(!test.has("pwned"), "{value:?}");
    }
}

#[test]
fn file_names_are_quoted_for_the_shell() {
    let odd = [
        "two words",
        "it's",
        "$(touch pwned)",
        "a\nb",
        "; touch pwned",
        "-n",
        "ünïcödé",
    ];
    let mut test = Test::new();
    for (i, name) in odd.iter().enumerate() {
        test = test.file(&format!("raw/{name}"), format!("{i}"));
    }
    let text = "[stages.all]\nrun = 'cat ${inputs.raw} > ${outputs.o}'\ninputs = { raw = { path = 'raw/*' } }\n\
                outputs = { o = 'it is.txt' }\n\
                [stages.list]\nrun = ['sh', '-c', 'printf \"%s.\" $# > \"$0\"', '${outputs.o}', '${inputs.raw}']\n\
                inputs = { raw = { path = 'raw/*' } }\noutputs = { o = '$(touch pwned)' }\n\
                [stages.one]\nrun = 'cat ${inputs.o} > ${outputs.o}'\ninputs = { o = { path = 'raw/a\nb' } }\noutputs = { o = 'o' }\n";
    let text = text.replace("'raw/a\nb'", "\"raw/a\\nb\"");
    let test = test.workflow(&text).run("").ran("all list one").check();
    assert_eq!(test.output("list", "o"), b"7.");
    assert_eq!(test.output("all", "o").len(), 7);
    assert_eq!(test.output("one", "o"), b"3");
    assert!(!test.has("pwned"));
}

#[test]
fn a_folder_with_an_odd_name_works() {
    let text = "[stages.a]\nrun = 'cat ${inputs.x} ${inputs.g} > ${outputs.o}; ls -A > ${outputs.list}'\n\
                inputs = { x = { path = 'x.txt' }, g = { path = '*.csv' } }\noutputs = { o = 'o', list = 'list' }";
    let folder = "it's [a] $(touch pwned) folder";
    let test = Test::new()
        .file(&format!("{folder}/w.toml"), text)
        .file(&format!("{folder}/x.txt"), "1")
        .file(&format!("{folder}/y.csv"), "2")
        .flow("run")
        .arg(format!("{folder}/w.toml"))
        .arg("--json")
        .ran("a")
        .check();
    // A run stage works in a folder of its own; the store lies in the workflow's.
    let blob = |output: &str| {
        let digest = &test.last().stages["a"].outputs[output];
        std::fs::read_to_string(store::blob(&test.path(&format!("{folder}/.flow")), digest))
            .unwrap()
    };
    assert_eq!(blob("o"), "12");
    assert_eq!(blob("list"), ".work\nlist\no\nx.txt\ny.csv\n");
    assert!(test.has(&format!("{folder}/.flow")));
    assert!(!test.has("pwned") && !test.has(&format!("{folder}/pwned")));
}

#[test]
fn a_doubled_dollar_is_the_shells() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'x=1; echo $x $${x} \"$(echo 2)\" ${work} > ${outputs.o}; test -d ${work}'\noutputs = { o = 'o' }")
        .run("")
        .ran("a")
        .check();
    let text = String::from_utf8(test.output("a", "o")).unwrap();
    assert_eq!(text, "1 1 2 .work\n");
}

#[test]
fn outputs_may_lie_in_folders() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'echo 1 > ${outputs.x}; echo 2 > ${outputs.y}'\noutputs = { x = 'deep/er/x.txt', y = 'deep/y.txt' }")
        .run("")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "x"), b"1\n");
    assert_eq!(test.output("a", "y"), b"2\n");
}

#[test]
fn an_unused_param_is_a_warning() {
    Test::new()
        .workflow(
            "[params]\nunused = 1\n[stages.a]\nrun = 'echo > ${outputs.o}'\noutputs = { o = 'o' }",
        )
        .run("")
        .stderr(
            "warning: the param `unused` is never used\n \
             --> flow.toml:2:1\n  \
             |\n\
             2 | unused = 1\n  \
             | ^^^^^^\n  \
             |\n  \
             = help: delete it, or refer to it as ${name}\n",
        )
        .ran("a")
        .check();
}

#[test]
fn a_seed_counts_for_seeded_kinds_alone() {
    let text = "[workflow]\nseed = 1\n[stages.data]\nuses = 'digits'\nwith = { limit = 50 }\n\
                [stages.plain]\nrun = 'echo > ${outputs.o}'\noutputs = { o = 'o' }";
    let unread = "warning: nothing reads stage `data`";
    let test = Test::new().workflow(text).run("").stderr_has(unread);
    let test = test.ran("data plain").check();
    test.edit("seed = 1", "seed = 2")
        .run("")
        .stderr_has(unread)
        .ran("data")
        .cached("plain")
        .check();
}

#[test]
fn a_stage_that_nothing_uses_is_a_warning_where_others_are_of_use() {
    let data = "[stages.data]\nuses = 'digits'\nwith = { limit = 50 }\n";
    Test::new()
        .workflow(data)
        .flow("check flow.toml")
        .stdout_has("is right")
        .check();
    let table = "[stages.table]\nrun = 'echo > ${outputs.o}'\noutputs = { o = 'o' }\n";
    Test::new()
        .workflow(&format!("{data}{table}"))
        .flow("check flow.toml")
        .stdout("flow.toml is right: 2 stage(s), 2 instance(s)")
        .stderr_has("warning: nothing reads stage `data`, and `digits` has no figures to show\n --> flow.toml:1:9\n")
        .check();
    let reading = table.replace("outputs =", "inputs = { data = 'data' }\noutputs =");
    Test::new()
        .workflow(&format!("{data}{reading}"))
        .flow("check flow.toml")
        .stdout_has("is right")
        .check();
}

#[test]
fn a_matrix_takes_its_values_from_params() {
    let text = "[params]\nwords = ['x', 'y']\nlast = 3\n[stages.a]\n\
                run = 'echo ${matrix.word} ${matrix.number} > ${outputs.o}'\noutputs = { o = 'o' }\n\
                matrix = { word = '${words}', number = [1, '${last}'] }\n";
    let test = Test::new()
        .workflow(text)
        .run("")
        .ran("a[number=1,word=x] a[number=1,word=y] a[number=3,word=x] a[number=3,word=y]")
        .check();
    assert_eq!(test.output("a[number=3,word=y]", "o"), b"y 3\n");
    test.run("--set words=['y']")
        .cached("a[number=1,word=y] a[number=3,word=y]")
        .check()
        .run("--set words=7")
        .status(2)
        .stderr_has("the axis `word` has to be a list, not an integer")
        .check();
}

#[test]
fn a_gpu_that_is_asked_for_has_to_be_there_and_is_lent() {
    let text = "[stages.a]\nrun = 'echo \"<$CUDA_VISIBLE_DEVICES>\" > ${outputs.o}'\noutputs = { o = 'o' }\n\
                resources = { gpus = 2, memory = '1GB' }\n";
    let test = Test::new()
        .workflow(text)
        .run("")
        .env("CUDA_VISIBLE_DEVICES", "5")
        .status(2)
        .stderr_has("error: stage `a` asks for 2 GPU(s), and this machine has 1")
        .check();
    assert!(!test.has(".flow"));
    let test = test
        .run("")
        .env("CUDA_VISIBLE_DEVICES", "5,7,9")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "o"), b"<5,7>\n");
    // Not asked for, not seen; and resources are in no key.
    let test = test
        .edit("resources = { gpus = 2, memory = '1GB' }", "")
        .run("")
        .cached("a")
        .check();
    let test = test
        .run("--force a")
        .env("CUDA_VISIBLE_DEVICES", "5")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "o"), b"<>\n");
}

#[test]
fn a_glob_may_be_absolute() {
    let test = Test::new().file("data/a.csv", "1").file("data/b.csv", "2");
    let pattern = test.path("data/*.csv").display().to_string();
    let test = test
        .workflow(&format!(
            "[stages.a]\nrun = 'cat ${{inputs.raw}} > ${{outputs.o}}'\ninputs = {{ raw = {{ path = '{pattern}' }} }}\n\
             outputs = {{ o = 'o' }}"
        ))
        .run("")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "o"), b"12");
}

#[test]
fn all_instances_of_a_stage_are_collected() {
    let text = r#"
[stages.multi]
run = "echo ${matrix.n} > ${outputs.o}"
matrix = { n = [1, 2, 3] }
outputs = { o = "o.txt" }

[stages.all]
run = "cat ${inputs.parts} > ${outputs.o}"
inputs = { parts = { collect = "multi.o" } }
outputs = { o = "o.txt" }
"#;
    let test = Test::new()
        .workflow(text)
        .run("")
        .ran("multi[n=1] multi[n=2] multi[n=3] all")
        .check();
    assert_eq!(test.output("all", "o"), b"1\n2\n3\n");
    let test = test
        .edit("[1, 2, 3]", "[1, 2, 3, 4]")
        .run("")
        .cached("multi[n=1] multi[n=2] multi[n=3]")
        .ran("multi[n=4] all")
        .check();
    assert_eq!(test.output("all", "o"), b"1\n2\n3\n4\n");
}

#[test]
fn what_is_laid_over_wins_in_its_order() {
    let text = "include = ['common/base.toml']\n[params]\nb = 'file'\nc = 'file'\nd = 'file'\ne = 'file'\n\
                [variants.size.big]\nparams = { d = 'variant', e = 'variant' }\n";
    let base = "[params]\na = 'base'\nb = 'base'\n[stages.s]\nrun = 'echo ${a} ${b} ${c} ${d} ${e} > ${outputs.o}'\n\
                outputs = { o = 'o' }\n";
    let test = Test::new()
        .workflow(text)
        .file("common/base.toml", base)
        .file("params.toml", "c = 'params'\nd = 'params'\n")
        .run("--params params.toml --variant size=big --set e=set")
        .ran("s")
        .check();
    assert_eq!(test.output("s", "o"), b"base file params variant set\n");
    let test = test.run("").ran("s").check();
    assert_eq!(test.output("s", "o"), b"base file file file file\n");
    test.run("--variant size=base").cached("s").check();
}

#[test]
fn a_stage_is_tried_again_as_often_as_it_says() {
    let flaky = "[stages.a]\nrun = 'echo try >> ~/starts; test $(wc -l < ~/starts) -ge 3; echo $? > ${outputs.o}; \
                 test $(wc -l < ~/starts) -ge 3'\noutputs = { o = 'o' }\nretries = 2\n";
    let test = Test::new()
        .workflow(flaky)
        .run("")
        .stderr_has("warning: a: ")
        .ran("a");
    let test = test.starts("try\ntry\ntry").check();
    assert_eq!(test.output("a", "o"), b"0\n");
    // Once less is once too few; and the number is in no key.
    let failing = flaky.replace("retries = 2", "retries = 1");
    Test::new()
        .workflow(&failing)
        .run("")
        .status(1)
        .stderr_has("warning: a: ")
        .stages("failed", "a")
        .starts("try\ntry")
        .check();
    test.workflow(&failing).run("").cached("a").check();
}

#[test]
fn a_folder_is_declared_with_a_slash() {
    let test = Test::new()
        .workflow("[stages.a]\nrun = 'mkdir -p ${outputs.o}; echo 1 > ${outputs.o}/x'\noutputs = { o = 'o' }")
        .run("")
        .status(1)
        .stages("failed", "a")
        .check();
    let (message, _) = test.last().stages["a"].failure.clone().unwrap();
    assert_eq!(
        message,
        "its output `o` has to be a file, and is a folder; a folder is declared with a slash at its end"
    );
    test.edit("{ o = 'o' }", "{ o = 'o/' }")
        .run("")
        .ran("a")
        .check();
}

#[test]
fn names_of_outputs_are_resolved() {
    let text = "[params]\nname = 'table'\n[stages.a]\nrun = 'basename ${outputs.o} > ${outputs.o}'\n\
                matrix = { s = ['x', 'y'] }\noutputs = { o = '${name}-${matrix.s}.txt' }\n";
    let test = Test::new()
        .workflow(text)
        .run("")
        .ran("a[s=x] a[s=y]")
        .check();
    assert_eq!(test.output("a[s=x]", "o"), b"table-x.txt\n");
    assert_eq!(test.output("a[s=y]", "o"), b"table-y.txt\n");
    // The name is in the key, and so is what it refers to.
    let test = test.run("--set name=t").ran("a[s=x] a[s=y]").check();
    assert_eq!(test.output("a[s=x]", "o"), b"t-x.txt\n");
    // What varies over the points of a sweep does so in names as well.
    let test = test.run("--sweep name=t,table").anyhow().check();
    let ends: Vec<(&str, &str)> = test
        .last()
        .stages
        .iter()
        .map(|(label, stage)| (label.as_str(), stage.status.as_str()))
        .collect();
    let labels = [
        "a[name=t,s=x]",
        "a[name=t,s=y]",
        "a[name=table,s=x]",
        "a[name=table,s=y]",
    ];
    assert_eq!(ends, labels.map(|label| (label, "cached")));
}

/// The plugin of another name that has a kind of this name.
fn with_kind(name: &str) -> String {
    ECHO.replace("\"name\": \"echo\"", &format!("\"name\": \"{name}\""))
}

#[test]
fn a_kind_of_two_plugins_is_named_with_its_plugin() {
    let text = "[plugins]\nmine = 'plugin'\n[stages.a]\nuses = 'umap'\n";
    let test = Test::new()
        .executable("plugin", &with_kind("umap"))
        .workflow(text)
        .run("")
        .status(2)
        .stderr_has("several plugins have a stage kind `umap`")
        .stderr_has("uses = \"cluster/umap\" or uses = \"mine/umap\"")
        .check();
    let test = test
        .flow("stages umap --workflow flow.toml")
        .status(2)
        .stderr_has("uses = \"cluster/umap\" or uses = \"mine/umap\"")
        .check();
    // A kind that only one has needs no more than its name; with its plugin's it is the same.
    let text = "[plugins]\nmine = 'plugin'\n[stages.a]\nuses = 'mine/umap'\nwith = { whole = 3 }\n\
                [stages.b]\nuses = 'digits'\nwith = { limit = 20 }\n";
    let test = test.workflow(text).run("").ran("a b").check();
    assert!(parameters(&test, "a").contains("\"whole\":3"));
    let text = text.replace("'digits'", "'data/digits'");
    test.workflow(&text).run("").cached("a b").check();
}

#[test]
fn a_plugin_is_not_called_like_one_of_flow() {
    Test::new()
        .executable("plugin", &with_kind("umap"))
        .workflow("[plugins]\ncluster = 'plugin'\n[stages.a]\nuses = 'cluster/umap'\n")
        .run("")
        .status(2)
        .stderr_has("is called `cluster` too: give this one another name under [plugins]")
        .check();
    // A second name would be ignored without a word.
    let cluster = flow_tests::binaries::find("flow-stages-cluster");
    Test::new()
        .workflow(&format!(
            "[plugins]\nmine = '{}'\n[stages.a]\nuses = 'mine/umap'\n",
            cluster.display()
        ))
        .run("")
        .status(2)
        .stderr_has("this plugin is called `cluster` already: write `cluster/KIND` for its kinds")
        .check();
}

#[test]
fn of_two_plugins_on_the_path_neither_is_taken_silently() {
    let test = Test::new()
        .executable("bin/flow-stages-one", ECHO)
        .executable("bin/flow-stages-two", ECHO)
        .workflow("[stages.a]\nuses = 'echo'\n");
    let bin = test.path("bin").display().to_string();
    let test = test
        .run("")
        .env("FLOW_PLUGIN_PATH", &bin)
        .status(2)
        .stderr_has("uses = \"one/echo\" or uses = \"two/echo\"")
        .check();
    test.workflow("[stages.a]\nuses = 'two/echo'\n")
        .run("")
        .env("FLOW_PLUGIN_PATH", &bin)
        .ran("a")
        .check();
}

#[test]
fn two_stars_at_the_end_of_a_glob_are_all_that_is_there() {
    let text = "\
[stages.a]
run = 'find data -type f | sort > ${outputs.o}'
inputs = { d = { path = 'data/**' } }
outputs = { o = 'o.txt' }
";
    let test = Test::new()
        .workflow(text)
        .file("data/top", "1")
        .file("data/sub/deep/s", "2")
        .run("")
        .ran("a")
        .check();
    assert_eq!(test.output("a", "o"), b"data/sub/deep/s\ndata/top\n");
    test.file("data/top", "other").run("").ran("a").check();
}

#[test]
fn line_breaks_of_another_editor_are_line_breaks() {
    let text = "[stages.a]\nrun = \"\"\"\necho one > ${outputs.o}\necho two >> o.txt\n\"\"\"\noutputs = { o = 'o.txt' }\n";
    let test = Test::new().workflow(text).run("").ran("a").check();
    let test = test
        .workflow(&text.replace('\n', "\r\n"))
        .run("")
        .cached("a")
        .check();
    assert_eq!(test.output("a", "o"), b"one\ntwo\n");
    // One that is written as an escape is meant.
    let text = r#"[stages.a]
run = "printf %s ${words} > ${outputs.o}"
outputs = { o = 'o.txt' }
[params]
words = "a\r\nb"
"#;
    let test = test.workflow(text).run("").ran("a").check();
    assert_eq!(test.output("a", "o"), b"a\r\nb");
}
