//! The JSON Schema of workflow files: up to date, right about what is shipped, and as strict as a schema can be.
//! `FLOW_BLESS=1` writes `workflows/schema.json` anew.

use std::fs;
use std::path::{Path, PathBuf};

use flow_tests::Test;
use serde_json::Value;

/// Mistakes that no schema can see: TOML that is none, what names refer to, files, and the command line.
const BEYOND_A_SCHEMA: &[&str] = &[
    "bad_glob",
    "collect_unknown",
    "cycle",
    "date_value",
    "duplicate_key",
    "empty_glob",
    "expression",
    "folder_for_a_file",
    "include_itself",
    "include_missing",
    "many_files_for_one",
    "missing_data_folder",
    "missing_file",
    "no_such_instance",
    "parameter_out_of_range",
    "plugin_missing",
    "reads_itself",
    "reference_in_a_matrix",
    "reference_inside_a_command_line",
    "reference_into_a_table",
    "set_not_settable",
    "set_out_of_range",
    "set_stage_parameter",
    "set_unknown",
    "set_without_value",
    "sweep_goal_unknown_stage",
    "sweep_malformed_point",
    "sweep_no_points",
    "sweep_no_such_point",
    "sweep_not_settable",
    "sweep_option_unknown_axis",
    "sweep_option_without_value",
    "sweep_param_and_group",
    "sweep_point_without_sweep",
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
    "two_outputs_at_one_place",
    "unclosed_reference",
    "unknown_axis",
    "unknown_output",
    "unknown_param",
    "unknown_reference_in_a_command",
    "unknown_stage",
    "unknown_stage_far",
    "unknown_variant",
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

#[test]
fn shipped_workflows_are_valid_and_name_it() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for (name, content) in workflows("workflows") {
        let errors: Vec<String> = validator
            .iter_errors(&content.unwrap())
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
        let text = fs::read_to_string(folder(&format!("workflows/{name}.toml"))).unwrap();
        assert!(
            text.starts_with("#:schema schema.json\n"),
            "{name} names its schema for editors"
        );
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
