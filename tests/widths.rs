//! Every table of the command line, on screens of any width: no line is wider, no word is cut.

use std::collections::BTreeSet;
use std::process::Command;

use flow_tests::{Test, binaries};

/// A kind with defaults that are objects, long names and many figures.
const PLUGIN: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<'END'
{"protocol": 1, "plugin": "wide", "version": "1", "kinds": [{"name": "wide", "version": 1,
"summary": "Measures what a network makes of images that were augmented, and says a good deal about each of them",
"headline": ["test_accuracy", "worst_subclass_accuracy", "calibration_error", "true_classes", "silhouette"],
"inputs": [{"name": "images", "type": "file", "optional": true, "summary": "the images, in the order of the data set, with one row a sample"}],
"outputs": [{"name": "metrics", "type": "metrics", "summary": "the figures of the test images and of each group of them"}],
"parameters": {"type": "object", "properties": {
"augment": {"type": "object", "description": "What is done to the images before they are shown to the network, each with its probability.",
"default": {"brightness": 0.0, "contrast": 0.0, "crop": 0, "hflip": 0.0, "saturation": 0.0, "vflip": 0.0, "hue": null}},
"min_cluster_size": {"type": "integer", "minimum": 2, "maximum": 100000, "default": 5, "description": "The fewest rows of a cluster."},
"kernel": {"enum": ["gaussian", "laplacian", "epanechnikov", "triangular", "uniform"], "default": "gaussian", "description": "How near rows count."}}}}]}
END
    exit
fi
read -r request
out=$(printf %s "$request" | sed -n 's/.*"metrics":"\([^"]*\)".*/\1/p')
echo '{"test_accuracy": 0.91, "worst_subclass_accuracy": 0.72, "calibration_error": 0.03, "true_classes": 10, "silhouette": 0.5,
"groups": {"even": {"test_accuracy": 0.9}, "odd": {"test_accuracy": 0.8}}}' > "$out"
"#;

const WORKFLOW: &str = r#"
[plugins]
mine = "plugin"

[params]
size = 20

[stages.discovered_by_density]
uses = "wide"
with = { min_cluster_size = "${size}" }

[stages.discovered_by_centres]
uses = "wide"
with = { augment = { crop = 4 }, min_cluster_size = "${size}" }

[stages.summary]
run = ["cp", "${inputs.first}", "${outputs.all}"]
inputs = { first = "discovered_by_density", second = "discovered_by_centres" }
outputs = { all = "all.json" }
"#;

/// What a call prints on a screen of this width; none: in a pipe.
fn printed(test: &Test, arguments: &[&str], columns: Option<usize>) -> String {
    let mut command = Command::new(binaries::find("flow"));
    command.args(arguments).current_dir(test.path("."));
    command.env_remove("COLUMNS").env_remove("FLOW_STORE");
    if let Some(columns) = columns {
        command.env("COLUMNS", columns.to_string());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words, without rules, and without what differs from call to call.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split_whitespace();
    let words = words.filter(|word| !word.starts_with('─'));
    words
        .map(|word| word.trim_end_matches(':').to_string())
        .collect()
}

#[test]
fn tables_fit_the_screen() {
    let test = Test::new().executable("plugin", PLUGIN).workflow(WORKFLOW);
    let run = ["run", "flow.toml"];
    printed(&test, &run, None);
    let other = ["run", "flow.toml", "--set", "size=50", "--seeds", "2"];
    printed(&test, &other, None);
    let runs = printed(&test, &["runs"], None);
    // What is behind an empty line is about the table.
    let lines = runs.lines().skip(1).take_while(|line| !line.is_empty());
    let ids: Vec<&str> = lines.map(|line| &line[..20]).collect();
    let edited = "flow.toml";
    let sweep = ["--sweep", "size=20,50", "--seeds", "2"];
    let calls: Vec<Vec<&str>> = vec![
        vec!["stages", "--workflow", edited],
        vec!["stages", "wide", "--workflow", edited],
        vec!["status", edited, "--set", "size=70"],
        vec![
            "status", edited, "--expand", "--set", "size=70", "--seeds", "3",
        ],
        vec!["why", edited, "discovered_by_density", "--set", "size=70"],
        vec!["graph", edited, "--expand"],
        vec!["runs"],
        vec!["show", ids[0]],
        vec!["show", edited, "discovered_by_centres"],
        vec!["compare", ids[0], ids[1]],
        vec!["table", edited],
        [&["table", edited][..], &sweep].concat(),
        [&["run", edited][..], &sweep].concat(),
        run.to_vec(),
    ];
    for call in calls {
        let wide = printed(&test, &call, None);
        for columns in [60, 80, 200] {
            let text = printed(&test, &call, Some(columns));
            assert!(!text.is_empty(), "{call:?} at {columns}");
            for line in text.lines() {
                let width = line.chars().count();
                // A command is there to be copied, and a digest or a path is one word.
                let whole = [
                    "  called as",
                    "  workflow",
                    "  as it was",
                    "  log",
                    "  again",
                ];
                let digest = |word: &str| word.len() == 64;
                let may =
                    whole.iter().any(|name| line.starts_with(name)) || line.split(' ').any(digest);
                assert!(
                    width <= columns || may,
                    "{call:?} at {columns}: {width}\n{text}"
                );
            }
            if call[0] == "run" || call.contains(&"--sweep") {
                // Names of figures stand in two lines, or in one.
                continue;
            }
            let lost: Vec<String> = words(&wide).difference(&words(&text)).cloned().collect();
            assert!(
                lost.is_empty(),
                "{call:?} at {columns}: {lost:?} in\n{text}\nnot as in\n{wide}"
            );
        }
    }
}

/// A pipe has no width: what scripts read has each row on one line.
#[test]
fn lists_have_one_line_a_row_in_a_pipe() {
    let test = Test::new().executable("plugin", PLUGIN).workflow(WORKFLOW);
    let long = format!("size={}", 20);
    printed(
        &test,
        &[
            "run",
            "flow.toml",
            "--set",
            &long,
            "--seeds",
            "11,12,13,14,15,16,17",
        ],
        None,
    );
    let runs = printed(&test, &["runs"], None);
    assert_eq!(runs.lines().count(), 2, "{runs}");
}
