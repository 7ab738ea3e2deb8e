//! The JSON Schema of workflow files: up to date, right about what is shipped, and as strict as a schema can be.
//! `FLOW_BLESS=1` writes `workflows/schema.json` anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flow_tests::{Test, binaries, skip};
use serde_json::Value;

/// Mistakes that no schema can see: TOML that is none, what names refer to, files, and the command line.
const BEYOND_A_SCHEMA: &[&str] = &[
    "as_one_place_for_several",
    "as_outside_by_reference",
    "axis_of_one_name",
    "axis_of_two_stages",
    "axis_twice",
    "bad_glob",
    "collect_unknown",
    "cycle",
    "date_value",
    "duplicate_key",
    "empty_glob",
    "expression",
    "file_of_an_unknown_name",
    "file_of_the_wrong_type",
    "folder_for_a_file",
    "group_without_choice",
    "include_itself",
    "include_missing",
    "input_inside_another",
    "input_of_the_kind_before",
    "many_files_for_one",
    "missing_data_folder",
    "missing_file",
    "no_such_instance",
    "output_glob_by_reference",
    "output_glob_of_many_folders",
    "output_in_a_glob",
    "output_inside_an_input",
    "output_of_an_unknown_name",
    "output_outside_by_reference",
    "output_where_a_file_is_written",
    "output_where_an_input_lies",
    "outputs_at_one_place_by_reference",
    "param_cycle",
    "param_of_nothing",
    "parameter_out_of_range",
    "plugin_missing",
    "reads_itself",
    "reference_in_a_matrix",
    "reference_inside_a_command_line",
    "reference_into_a_table",
    "root_that_is_not_around",
    "set_a_group",
    "set_not_settable",
    "set_of_another_type",
    "set_out_of_range",
    "set_stage_parameter",
    "set_unknown",
    "set_without_value",
    "shell_for_a_list",
    "sweep_goal_unknown_stage",
    "sweep_malformed_point",
    "sweep_no_points",
    "sweep_no_such_point",
    "sweep_not_settable",
    "sweep_option_unknown_axis",
    "sweep_option_without_value",
    "sweep_param_and_group",
    "sweep_point_without_sweep",
    "sweep_points_of_one_name",
    "sweep_repeated_point",
    "sweep_seeds_out_of_range",
    "sweep_too_many_points",
    "sweep_unequal_zip",
    "sweep_unknown_axis",
    "sweep_unknown_stage",
    "sweep_unknown_variant",
    "sweep_where_unknown_axis",
    "sweep_where_unknown_value",
    "sweep_wrong_value_at_one_point",
    "syntax",
    "too_many_in_all",
    "too_many_instances",
    "two_inputs_at_one_place",
    "two_outputs_at_one_place",
    "unclosed_reference",
    "unknown_axis",
    "unknown_environment",
    "unknown_kind_of_a_plugin",
    "unknown_output",
    "unknown_param",
    "unknown_reference_in_a_command",
    "unknown_stage",
    "unknown_stage_far",
    "unknown_variant",
    "variable_of_an_unknown_name",
    "variable_set_and_secret",
    "variant_of_a_param",
    "variant_without_name",
    "wrong_artifact",
];

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join(name)
}

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(folder("workflows/schema.json")).unwrap()).unwrap()
}

/// The workflows in a folder: name, and content where it is TOML.
fn workflows(name: &str) -> Vec<(String, Option<Value>)> {
    let mut found: Vec<_> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, toml::from_str(&text).ok())
        })
        .collect();
    assert!(found.len() > 5, "{name} has {} workflows", found.len());
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

#[test]
fn it_is_what_flow_prints() {
    let test = Test::new().flow("schema").stdout_has("stages").check();
    let printed = &test.last().stdout;
    let path = folder("workflows/schema.json");
    if std::env::var_os("FLOW_BLESS").is_some() {
        fs::write(&path, printed).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == *printed,
        "workflows/schema.json is not what `flow schema` prints: FLOW_BLESS=1 cargo test -p flow-tests --test schema"
    );
}

/// What is shipped, with the line that names the schema.
const SHIPPED: &[(&str, &str)] = &[
    ("workflows", "#:schema schema.json\n"),
    ("workflows/ablations", "#:schema ../schema.json\n"),
];

/// Files that lie over `base.toml`, the quickstart: each form that the language has.
const OVERLAYS: &[(&str, &str)] = &[
    ("nothing", "include = ['base.toml']\n"),
    (
        "params",
        "include = ['base.toml']\n[params]\nkeep = 0.8\nepochs.max = 12\n",
    ),
    ("seed", "include = ['base.toml']\n[workflow]\nseed = 7\n"),
    (
        "with",
        "include = ['base.toml']\n[stages.umap]\nwith = { n_neighbors = 20 }\n",
    ),
    (
        "part_of_a_table",
        "include = ['base.toml']\n[stages.coarse]\nwith.lr = 0.1\n",
    ),
    (
        "inputs",
        "include = ['base.toml']\n[stages.fine]\ninputs = { labels = 'other' }\n[stages.other]\nuses = 'hdbscan'\n\
      inputs = { embedding = 'umap', data = 'data' }\n",
    ),
    (
        "matrix",
        "include = ['base.toml']\n[stages.multihead]\nmatrix = { alpha = [0.5] }\n",
    ),
    (
        "machine",
        "include = ['base.toml']\n[stages.coarse]\nresources = { cpus = 2 }\ntimeout = '1h'\nretries = 1\n",
    ),
    (
        "another_kind",
        "include = ['base.toml']\n[stages.umap]\nuses = 'pca'\n",
    ),
    (
        "kind_that_needs_more",
        "include = ['base.toml']\n[stages.kmeans]\nuses = 'kmeans'\nwith = { k = '${k}' }\n\
      inputs = { embedding = 'umap' }\n[params]\nk = 10\n",
    ),
    (
        "variants",
        "include = ['base.toml']\n[variants.way]\npca.stages.umap = { uses = 'pca', with = { n_components = 8 } }\n\
      keep.params.keep = 0.5\nalpha.stages.multihead = { matrix = { alpha = [0.5] } }\n\
      inputs.stages.finetune = { inputs = { data = 'data', model = 'coarse.model' } }\n\
      with.stages.fine_labels = { with = { min_cluster_size = 20 } }\n",
    ),
    (
        "sweep",
        "include = ['base.toml']\n[sweep]\nseeds = 2\ngoal = { maximise = 'found.ari' }\n[sweep.axes]\nkeep = [0.8, 0.9]\n\
      stages.umap.with.n_neighbors = [15, 30]\n",
    ),
    (
        "half_a_program",
        "include = ['half.toml']\n[stages.count]\noutputs = { table = '${n}.csv' }\n",
    ),
];

/// A stage that only what lies over it makes whole.
const HALF: &str = "[params]\nn = 3\n[stages.count]\nrun = 'echo ${n} > ${outputs.table}'\n";

fn errors(content: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let errors = validator.iter_errors(content);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn shipped_workflows_are_valid_and_name_it() {
    for (folder_name, line) in SHIPPED {
        for (name, content) in workflows(folder_name) {
            assert_eq!(errors(&content.unwrap()), Vec::<String>::new(), "{name}");
            let text = fs::read_to_string(folder(&format!("{folder_name}/{name}.toml"))).unwrap();
            assert!(
                text.starts_with(line),
                "{name} names its schema for editors"
            );
        }
    }
}

/// The overlays beside what they lie over.
fn overlays() -> Test {
    let quickstart = fs::read_to_string(folder("workflows/quickstart.toml")).unwrap();
    let test = Test::new()
        .file("base.toml", quickstart)
        .file("half.toml", HALF);
    OVERLAYS.iter().fold(test, |test, (name, text)| {
        test.file(&format!("{name}.toml"), text)
    })
}

#[test]
fn every_form_of_overlay_is_valid_and_right() {
    let mut test = overlays();
    for (name, text) in OVERLAYS {
        let content: Value = toml::from_str(text).unwrap();
        assert_eq!(errors(&content), Vec::<String>::new(), "{name}");
        let call = test.flow(&format!("check {name}.toml"));
        test = call.stdout_has("is right").may_warn().check();
    }
    // What is no overlay has to be whole.
    let content: Value = toml::from_str("[stages.umap]\nwith = { n_neighbors = 20 }\n").unwrap();
    assert_ne!(errors(&content), Vec::<String>::new());
    let content: Value = toml::from_str("[stages.k]\nuses = 'kmeans'\n").unwrap();
    assert_ne!(errors(&content), Vec::<String>::new());
}

/// The validator that editors use. Where there is none the test is passed over.
fn taplo() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where `cargo xtask test` puts it.
    let own = binaries::folder()
        .parent()
        .map(|target| target.join("taplo/bin"));
    let found = own
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("taplo"))
        .find(|program| program.is_file());
    if found.is_none() {
        skip!("no taplo, so no editor's validator looked at the schema (pip install taplo)");
    }
    found
}

#[test]
fn an_editor_underlines_nothing_that_is_right_and_what_is_wrong() {
    let Some(taplo) = taplo() else { return };
    let lint = |path: &Path, schema: Option<&Path>| {
        let mut command = Command::new(&taplo);
        command.arg("lint").current_dir(path.parent().unwrap());
        if let Some(schema) = schema {
            let url = format!("file://{}", schema.canonicalize().unwrap().display());
            command.args(["--schema", &url]);
        }
        let output = command.arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    for (folder_name, _) in SHIPPED {
        for (name, _) in workflows(folder_name) {
            let path = folder(&format!("{folder_name}/{name}.toml"));
            let (right, said) = lint(&path.canonicalize().unwrap(), None);
            assert!(right, "{name}\n{said}");
        }
    }
    let test = overlays();
    let schema = folder("workflows/schema.json");
    for (name, _) in OVERLAYS {
        let (right, said) = lint(&test.path(&format!("{name}.toml")), Some(&schema));
        assert!(right, "{name}\n{said}");
    }
    // It does read the schema.
    for wrong in [
        "[stages.a]\nuses = 'digit'\n",
        "[stages.a]\nuses = 'kmeans'\ninputs = { embedding = 'b' }\n",
        "include = ['x.toml']\n[stages.a]\nusess = 'digits'\n",
        "include = ['x.toml']\n[variants.a.b.stages.c]\nwiht = {}\n",
    ] {
        let test = Test::new().file("wrong.toml", wrong);
        let (right, said) = lint(&test.path("wrong.toml"), Some(&schema));
        assert!(!right, "{wrong}\n{said}");
    }
}

#[test]
fn it_catches_every_mistake_that_a_schema_can() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let missed: Vec<String> = workflows("tests/golden")
        .into_iter()
        .filter(|(_, content)| {
            content
                .as_ref()
                .is_none_or(|content| validator.is_valid(content))
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(missed, BEYOND_A_SCHEMA);
}
