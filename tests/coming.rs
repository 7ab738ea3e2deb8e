//! Who comes from another tool: the pages that say how, followed word by word, and what `flow new --from` makes of a dvc.yaml.

use flow_tests::{Test, page};

#[test]
fn the_page_for_those_from_dvc() {
    page::follow(Test::new(), "docs/from-dvc.md");
}

#[test]
fn the_page_for_those_from_hydra() {
    page::follow(Test::new(), "docs/from-hydra.md");
}

#[test]
fn the_page_for_those_from_snakemake() {
    page::follow(Test::new(), "docs/from-snakemake.md");
}

/// A project of one dvc.yaml, made into a workflow.
fn made(test: Test, dvc: &str) -> Test {
    test.file("dvc.yaml", dvc)
        .flow("new --from dvc.yaml")
        .stdout_has("wrote workflow.toml; next: ")
        .check()
}

/// The workflow has these lines.
#[track_caller]
fn has(test: &Test, lines: &[&str]) {
    let text = test.read("workflow.toml");
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "no line\n{line}\nin\n{text}"
        );
    }
}

#[test]
fn each_of_a_list_and_of_a_matrix_is_an_instance() {
    let dvc = "
stages:
  one:
    foreach: ${models}
    do:
      cmd: echo ${item} ${scale} > one-${item}.txt
      outs: ['one-${item}.txt']
  many:
    matrix:
      size: [1, 2]
      shade: [red, blue]
    cmd: echo ${key} ${item.size} ${item.shade} > many/${item.shade}-${item.size}.txt
    outs: ['many/${item.shade}-${item.size}.txt']
  odd:
    foreach: [{name: x, words: 'a b'}, {name: y, words: c}]
    do:
      cmd: printf '%s;' ${item.words} > odd-${item.name}.txt
      outs: ['odd-${item.name}.txt']
  last:
    cmd: cat many/*.txt one-xgb.txt odd-x.txt > last.txt
    deps: [many, one-xgb.txt, odd-x.txt]
    outs: [last.txt]
";
    let test = Test::new().file("params.yaml", "models: [cnn, xgb]\nscale: 3\n");
    let test = made(test, dvc);
    has(
        &test,
        &[
            "matrix = { model = \"${models}\" }",
            "run = \"echo ${matrix.model} ${scale} > one-${matrix.model}.txt\"",
            "matrix = { size = [1, 2], shade = [\"red\", \"blue\"] }",
            "# DVC's odd@0.",
            "run = \"printf '%s;' a b > odd-x.txt\"",
        ],
    );
    let test = test.flow("check").stdout_has("is right").check();
    let test = test.flow("run").stderr_has("9 ran").check();
    assert_eq!(test.read("one-cnn.txt"), "cnn 3\n");
    assert_eq!(test.read("odd-x.txt"), "a;b;");
    assert_eq!(
        test.read("last.txt"),
        "1-blue 1 blue\n2-blue 2 blue\n1-red 1 red\n2-red 2 red\nxgb 3\na;b;"
    );
}

#[test]
fn a_list_that_two_stages_share_is_one_axis_and_rows_have_keys() {
    let dvc = "
stages:
  make:
    foreach: ${models}
    do:
      cmd: echo ${item} > make-${item}.txt
      outs: ['make-${item}.txt']
  use:
    foreach: ${models}
    do:
      cmd: cat make-${item}.txt > use-${item}.txt
      deps: ['make-${item}.txt']
      outs: ['use-${item}.txt']
  row:
    foreach: {uk: {epochs: 3}, us: {epochs: 10}}
    do:
      cmd: echo ${key} ${item.epochs} > row-${key}.txt
      outs: ['row-${key}.txt']
  one:
    cmd: cat use-a.txt row-us.txt > one.txt
    deps: [use-a.txt, row-us.txt]
    outs: [one.txt]
";
    let test = made(Test::new().file("params.yaml", "models: [a, b]\n"), dvc);
    has(
        &test,
        &[
            "inputs = { make = { from = \"make.make\", as = \"make-${matrix.model}.txt\" } }",
            "matrix.item = { key = \"key\", rows = [",
            "    { key = \"uk\", epochs = 3 },",
            "run = \"echo ${matrix.item} ${matrix.item.epochs} > row-${matrix.item}.txt\"",
            "inputs.use = { from = \"use[model=a].use\", as = \"use-a.txt\" }",
            "inputs.row = { from = \"row[item=us].row\", as = \"row-us.txt\" }",
        ],
    );
    let text = test.read("workflow.toml");
    assert_eq!(
        text.matches("matrix = { model = \"${models}\" }").count(),
        2
    );
    let test = test.flow("run workflow.toml").anyhow().check();
    assert_eq!(test.last().status, Some(0), "{}", test.last().stderr);
    assert_eq!(test.read("one.txt"), "a\nus 10\n");
    assert_eq!(test.read("row-uk.txt"), "uk 3\n");
}

#[test]
fn templates_lists_of_commands_and_folders_of_work() {
    let dvc = "
vars:
  - conf.json:a
  - out: {dir: res}
stages:
  whole:
    wdir: data
    frozen: true
    always_changed: true
    cmd:
      - cd ..
      - cat raw.txt > ../${out.dir}/x.txt
      - echo \"${a.b}\" \\${HOME:-} --rate ${train.rate} ${train.flags} >> ../${out.dir}/x.txt
    deps: [raw.txt]
    params:
      - ../params.yaml:
          - train.rate
      - ../other.json:
    outs:
      - ../${out.dir}/x.txt:
          persist: true
plots:
  - res/x.txt
";
    let test = Test::new()
        .file(
            "params.yaml",
            "train:\n  rate: 0.1\n  flags: {fast: true, slow: false, sizes: [1, 2], name: 'a b'}\n",
        )
        .file("conf.json", "{\"a\": {\"b\": 1}, \"c\": 2}")
        .file("other.json", "{}")
        .file("data/raw.txt", "raw\n");
    let test = made(test, dvc);
    has(
        &test,
        &[
            "# A copy of what conf.json has: an edit there does not reach it.",
            "a = { b = 1 }",
            "out = { dir = \"res\" }",
            "# frozen = true",
            "files = { \"params.yaml\" = { train = { rate = \"${train.rate}\" } } }",
            "outputs = { x = \"${out.dir}/x.txt\" }",
        ],
    );
    let text = test.read("workflow.toml");
    for note in [
        "(persist)",
        "(always_changed)",
        "It is frozen in DVC",
        "train.flags.fast",
        "the form txt",
    ] {
        assert!(text.contains(note), "{note} in\n{text}");
    }
    let test = test.flow("run").stderr_has("1 ran").check();
    let home = test.path("").with_file_name("");
    assert_eq!(
        test.read("res/x.txt"),
        format!(
            "raw\n1 {} --rate 0.1 --fast --name a b --sizes 1 2\n",
            home.display()
        )
    );
}

#[test]
fn a_dvc_yaml_in_a_folder_reads_what_lies_above() {
    let dvc = "
stages:
  copy:
    cmd: cat ../data/in.txt local.txt > out.txt
    deps: [../data/in.txt, local.txt]
    outs: [out.txt]
";
    let test = Test::new()
        .file("data/in.txt", "1\n")
        .file("sub/local.txt", "2\n")
        .file("sub/dvc.yaml", dvc)
        .flow("new --from sub/dvc.yaml")
        .stdout("wrote sub/workflow.toml; next: flow run sub/workflow.toml")
        .check()
        .flow("run sub")
        .stderr_has("1 ran")
        .check();
    assert_eq!(test.read("sub/out.txt"), "1\n2\n");
}

#[test]
fn what_a_dvc_file_tracks_is_pulled_first() {
    let dvc = "stages:\n  copy:\n    cmd: cp data/x.xml y\n    deps: [data/x.xml]\n    outs: [y: {desc: 'The copy.'}]\n";
    Test::new()
        .file(
            "data/x.xml.dvc",
            "outs:\n- md5: 22a1a2931c8370d3aeedd7183606fd7f\n  path: x.xml\n",
        )
        .file("dvc.yaml", dvc)
        .file("y", "old\n")
        .flow("new --from dvc.yaml")
        .stdout("wrote workflow.toml; next: dvc pull data/x.xml.dvc")
        .check()
        .file("data/x.xml", "new\n")
        // What DVC left there is another content: it is not overwritten.
        .flow("run")
        .status(1)
        .stderr_has("y")
        .check()
        .file("y", "new\n")
        .flow("run")
        .stderr_has("0 ran, 1 cached")
        .check();
}

#[test]
fn plots_beside_the_stages_belong_to_those_that_make_their_files() {
    let dvc = "
stages:
  evaluate:
    cmd: mkdir -p eval/roc && echo '{\"auc\":1}' > eval/metrics.json && cp roc.json eval/roc/train.json && cp roc.json eval/roc/test.json
    deps: [roc.json]
    outs: [eval]
metrics: [eval/metrics.json]
plots:
  - ROC:
      x: fpr
      y: {eval/roc/train.json: tpr, eval/roc/test.json: tpr}
  - README.md
artifacts:
  model: {path: model.pkl}
";
    let test = Test::new().file(
        "roc.json",
        "[{\"fpr\": 0, \"tpr\": 0}, {\"fpr\": 1, \"tpr\": 1}]",
    );
    let test = made(test, dvc);
    has(
        &test,
        &[
            "outputs = { dvclive = \"eval/\" }",
            "plots.ROC = { files = \"eval/roc/*.json\", x = \"fpr\", y = \"tpr\" }",
            "# The plot README.md is of README.md, which no stage makes: it has no counterpart.",
        ],
    );
    test.flow("run")
        .stderr_has("1 ran")
        .stdout_has("stage      auc\n")
        .check();
}

#[test]
fn what_is_wrong_in_a_dvc_yaml_is_said_with_its_line() {
    let wrong = |dvc: &str, message: &str| {
        let test = Test::new()
            .file("params.yaml", "lr: 1\n")
            .file("dvc.yaml", dvc)
            .flow("new --from dvc.yaml")
            .status(2)
            .stderr_has(message)
            .check();
        assert!(!test.has("workflow.toml"));
    };
    wrong("stages:\n  a:\n    cmd: [\n", "dvc.yaml:");
    wrong(
        "stages:\n  a:\n    deps: [x]\n",
        "dvc.yaml:2: the stage `a` has no `cmd`",
    );
    wrong(
        "stages:\n  a:\n    cmd: echo ${nope}\n",
        "dvc.yaml:3: `${nope}` is nothing",
    );
    wrong(
        "stages:\n  a:\n    cmd: echo\n    params: [nope]\n",
        "dvc.yaml:4: params.yaml has no `nope`",
    );
    wrong(
        "stages:\n  a:\n    cmd: echo\n    dep: [x]\n",
        "dvc.yaml:4: the stage `a` has the unknown key `dep`",
    );
    wrong(
        "stages:\n  a:\n    cmd: 3\n",
        "dvc.yaml:3: `cmd` has to be a string, not an integer",
    );
    wrong(
        "stages:\n  a:\n    foreach: ${lr}\n    do:\n      cmd: echo\n",
        "dvc.yaml:3: `foreach` has to be a list",
    );
    wrong("stage:\n  a: 1\n", "dvc.yaml:1: `stage` is no section");
    // Nothing is written over.
    Test::new()
        .file("dvc.yaml", "stages:\n  a:\n    cmd: echo\n")
        .file("workflow.toml", "# mine\n")
        .flow("new --from dvc.yaml")
        .status(2)
        .stderr_has("workflow.toml can't be written")
        .check()
        .flow("new --from nope.yaml")
        .status(2)
        .stderr_has("nope.yaml can't be read")
        .check();
}
