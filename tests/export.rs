//! `flow export`: runs as RO-Crates.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use flow_tests::{Test, skip, store};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A file of the user's, a matrix, all of its instances at once, a folder.
const CHAIN: &str = r#"
[params]
word = "x"

[stages.a]
run = "cat ${inputs.raw} > ${outputs.o}; echo ${word} >> ${outputs.o}"
inputs = { raw = { path = "raw/*.csv" } }
outputs = { o = "o.txt" }

[stages.m]
run = "cat ${inputs.a} > ${outputs.o}; echo ${matrix.n} >> ${outputs.o}"
inputs = { a = "a" }
matrix = { n = [1, 2] }
outputs = { o = "o.txt" }

[stages.all]
run = ["sh", "-c", "out=$1; shift; mkdir -p $out; cat \"$@\" > $out/all; echo 1 > \"$out/a b\"", "sh", "${outputs.o}", "${inputs.m}"]
inputs = { m = { collect = "m.o" } }
outputs = { o = "o/" }
"#;

fn chain() -> Test {
    Test::new()
        .workflow(CHAIN)
        .file("raw/1.csv", "one\n")
        .file("raw/2.csv", "two\n")
}

fn name(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_string()
}

/// The crate's entities by their identifiers.
fn entities(folder: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder.join("ro-crate-metadata.json")).unwrap();
    let metadata: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        metadata["@context"][0],
        "https://w3id.org/ro/crate/1.1/context"
    );
    let mut entities = BTreeMap::new();
    for entity in metadata["@graph"].as_array().unwrap() {
        let id = entity["@id"].as_str().unwrap().to_string();
        let before = entities.insert(id.clone(), entity.clone());
        assert!(before.is_none(), "{id} is there twice");
    }
    entities
}

/// A property as a list, also where it is written as a single value.
fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    }
}

fn ids(value: &Value) -> Vec<String> {
    list(value)
        .iter()
        .filter_map(|one| Some(one["@id"].as_str()?.to_string()))
        .collect()
}

fn is_a(entity: &Value, kind: &str) -> bool {
    list(&entity["@type"]).iter().any(|one| one == kind)
}

/// The path that a relative URI stands for.
fn unescape(uri: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = uri.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The requirements ("MUST") of RO-Crate 1.1 and of the Workflow Run RO-Crate profiles 0.5, as far as this crate has the
/// entities that they speak of; and that files are what their entities say.
fn assert_is_a_provenance_run_crate(folder: &Path) -> BTreeMap<String, Value> {
    let all = entities(folder);
    let get = |id: &str| all.get(id).unwrap_or_else(|| panic!("no entity {id}"));
    let descriptor = get("ro-crate-metadata.json");
    assert!(is_a(descriptor, "CreativeWork"));
    assert_eq!(descriptor["about"]["@id"], "./");
    assert!(ids(&descriptor["conformsTo"]).contains(&"https://w3id.org/ro/crate/1.1".into()));
    let root = get("./");
    assert!(is_a(root, "Dataset"));
    for property in ["name", "description", "datePublished", "license"] {
        assert!(root[property].is_string(), "the root has no {property}");
    }
    for profile in [
        "https://w3id.org/ro/wfrun/process/0.5",
        "https://w3id.org/ro/wfrun/workflow/0.5",
        "https://w3id.org/ro/wfrun/provenance/0.5",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    ] {
        assert!(ids(&root["conformsTo"]).contains(&profile.into()));
        assert!(is_a(get(profile), "CreativeWork"));
    }
    // Nothing is referred to that is not there, but what stands on the web by itself.
    for (id, entity) in &all {
        for (property, value) in entity.as_object().unwrap() {
            for other in ids(value) {
                let known = all.contains_key(&other) || other == "https://w3id.org/ro/crate/1.1";
                assert!(known, "{id} {property} {other}");
            }
        }
    }
    let main = root["mainEntity"]["@id"].as_str().unwrap();
    let workflow = get(main);
    for kind in [
        "File",
        "SoftwareSourceCode",
        "ComputationalWorkflow",
        "HowTo",
    ] {
        assert!(is_a(workflow, kind));
    }
    assert!(is_a(
        get(workflow["programmingLanguage"]["@id"].as_str().unwrap()),
        "ComputerLanguage"
    ));
    for property in ["input", "output"] {
        for parameter in ids(&workflow[property]) {
            assert!(is_a(get(&parameter), "FormalParameter"));
        }
    }
    let used: BTreeSet<String> = all.values().flat_map(|e| ids(&e["instrument"])).collect();
    let tools = ids(&workflow["hasPart"]);
    for tool in &tools {
        assert!(is_a(get(tool), "SoftwareApplication") && used.contains(tool));
    }
    // Every file of the folder is a data entity below the root, and is what it says.
    let mut described = BTreeSet::from(["ro-crate-metadata.json".to_string()]);
    let mut next = ids(&root["hasPart"]);
    while let Some(id) = next.pop() {
        let entity = get(&id);
        if is_a(entity, "Dataset") {
            assert!(
                id.ends_with('/') && folder.join(unescape(&id)).is_dir(),
                "{id}"
            );
            next.extend(ids(&entity["hasPart"]));
            continue;
        }
        assert!(is_a(entity, "File"), "{id}");
        let path = unescape(&id);
        let bytes = std::fs::read(folder.join(&path)).unwrap();
        assert_eq!(entity["contentSize"], bytes.len().to_string(), "{id}");
        let digest: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(entity["sha256"], digest, "{id}");
        if let Some(identifier) = entity["identifier"].as_str() {
            assert_eq!(
                identifier,
                format!("blake3:{}", blake3::hash(&bytes)),
                "{id}"
            );
        }
        described.insert(path);
    }
    let present: BTreeSet<String> = store::files(folder)
        .iter()
        .map(|path| {
            path.strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_string()
        })
        .collect();
    assert_eq!(present, described);
    let (mut of_workflow, mut controlled) = (0, 0);
    for (id, entity) in &all {
        match entity["@type"].as_str().unwrap_or("") {
            "CreateAction" => {
                let instrument = entity["instrument"]["@id"].as_str().unwrap().to_string();
                of_workflow += usize::from(instrument == main);
                assert!(instrument == main || tools.contains(&instrument), "{id}");
                assert!(ids(&root["mentions"]).contains(id), "{id}");
                for other in ids(&entity["object"]).iter().chain(&ids(&entity["result"])) {
                    let other = get(other);
                    assert!(
                        ["File", "Dataset", "PropertyValue"]
                            .iter()
                            .any(|kind| is_a(other, kind))
                    );
                    assert!(!ids(&other["exampleOfWork"]).is_empty(), "{other}");
                }
            }
            "ControlAction" => {
                controlled += 1;
                assert!(is_a(
                    get(entity["instrument"]["@id"].as_str().unwrap()),
                    "HowToStep"
                ));
                assert!(is_a(
                    get(entity["object"]["@id"].as_str().unwrap()),
                    "CreateAction"
                ));
            }
            "HowToStep" => {
                assert!(ids(&workflow["step"]).contains(id));
                assert!(tools.contains(&entity["workExample"]["@id"].as_str().unwrap().into()));
                entity["position"].as_str().unwrap().parse::<u32>().unwrap();
            }
            "OrganizeAction" => {
                assert!(is_a(
                    get(entity["instrument"]["@id"].as_str().unwrap()),
                    "SoftwareApplication"
                ));
                assert_eq!(
                    get(entity["result"]["@id"].as_str().unwrap())["instrument"]["@id"],
                    main
                );
                for control in ids(&entity["object"]) {
                    assert!(is_a(get(&control), "ControlAction"));
                }
            }
            "FormalParameter" => assert!(entity["additionalType"].is_string()),
            "PropertyValue" if entity.get("unitCode").is_some() => {
                assert!(entity["propertyID"].is_string());
            }
            _ => {}
        }
    }
    assert_eq!(of_workflow, 1);
    assert_eq!(controlled, ids(&workflow["step"]).len());
    all
}

/// Puts the crate before the Python package `roc-validator` where that is wanted: in continuous integration, or where
/// `FLOW_TEST_ROCRATE` is set. The package is fetched.
fn validate(folder: &Path) {
    static VALIDATOR: LazyLock<Option<PathBuf>> = LazyLock::new(validator);
    let Some(packages) = VALIDATOR.as_ref() else {
        return;
    };
    let options = "--no-interactive --disable-color validate --verbose --no-paging --profile-identifier \
                   provenance-run-crate --requirement-severity required --offline --cache-path";
    run(Command::new("python3")
        .env("PYTHONPATH", packages)
        .arg(packages.join("bin/rocrate-validator"))
        .args(options.split_whitespace())
        .arg(packages.join(CONTEXT))
        .arg(folder));
}

/// The validator's cache of what it would fetch, without the ending that it adds.
const CONTEXT: &str = "context";

/// Puts the JSON-LD context of RO-Crate 1.1, which the package `rocrate` has as a file, into the validator's cache: w3id.org need
/// not be in reach.
const KEEP_CONTEXT: &str = r#"
import io, sys
import requests, requests_cache, urllib3

class File(requests.adapters.BaseAdapter):
    def send(self, request, **options):
        with open(sys.argv[1], "rb") as file:
            body = io.BytesIO(file.read())
        headers = {"Content-Type": "application/ld+json"}
        raw = urllib3.HTTPResponse(body, headers, 200, preload_content=False)
        return requests.adapters.HTTPAdapter().build_response(request, raw)

session = requests_cache.CachedSession(sys.argv[2], backend="sqlite", expire_after=-1)
session.mount("https://", File())
session.get("https://w3id.org/ro/crate/1.1/context")
"#;

/// The folder of the validator and what it needs; none where it is not wanted.
fn validator() -> Option<PathBuf> {
    let wanted = ["CI", "FLOW_TEST_ROCRATE"];
    if wanted.iter().all(|name| std::env::var_os(name).is_none()) {
        skip!(
            "rocrate-validator did not look at the crates (FLOW_TEST_ROCRATE=1 fetches and runs it)"
        );
    }
    let executable = std::env::current_exe().unwrap();
    let target = executable.ancestors().nth(3).unwrap();
    let packages = target.join("tmp/roc-validator-0.13.0");
    let install = |package: &str, target: &Path, more: &[&str]| {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", package, "--target"])
            .arg(target)
            .args(more));
    };
    if !packages.join("bin/rocrate-validator").exists() {
        install("roc-validator==0.13.0", &packages, &[]);
    }
    // Of this one a file is wanted, and nothing that it needs.
    let other = target.join("tmp/rocrate-0.13.0");
    let context = other.join("rocrate/data/ro-crate.jsonld");
    if !context.exists() {
        install("rocrate==0.13.0", &other, &["--no-deps"]);
    }
    run(Command::new("python3")
        .env("PYTHONPATH", &packages)
        .args(["-c", KEEP_CONTEXT])
        .arg(context)
        .arg(packages.join(CONTEXT)));
    Some(packages)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_run_becomes_an_ro_crate() {
    let test = chain().run("").ran("a m[n=1] m[n=2] all").check();
    let test = test
        .run("--set word=y --set word=z")
        .ran("a m[n=1] m[n=2] all")
        .check();
    let digests = test.last().stages.clone();
    let run = name(store::runs(&test.path(".flow")).last().unwrap());
    let test = test
        .flow(&format!("export flow.toml {run} --ro-crate out/crate"))
        .stdout("wrote out/crate")
        .check();
    let crate_folder = test.path("out/crate");
    let all = assert_is_a_provenance_run_crate(&crate_folder);
    assert_eq!(test.read("out/crate/flow.toml"), CHAIN);
    assert_eq!(test.read("out/crate/inputs/1.csv"), "one\n");
    assert_eq!(
        test.read("out/crate/artifacts/m-n=2/o/o.txt").as_bytes(),
        test.beside()
            .run("--set word=z")
            .cached("a m[n=1] m[n=2] all")
            .check()
            .output("m[n=2]", "o")
    );
    // The stage with the matrix: what it read, its values, what it made.
    let stage = &all["#stage-m%5Bn%3D2%5D"];
    assert_eq!(stage["result"]["@id"], "artifacts/m-n%3D2/o/o.txt");
    assert_eq!(ids(&stage["object"])[0], "artifacts/a/o/o.txt");
    let key = digests["m[n=2]"].key.clone().unwrap();
    assert_eq!(stage["identifier"], format!("flow-key:{key}"));
    assert_eq!(
        stage["actionStatus"],
        "http://schema.org/CompletedActionStatus"
    );
    // The run: from the user's files and the params to what nobody read.
    let action = &all[&format!("#run-{run}")];
    let objects = ids(&action["object"]);
    assert_eq!(
        objects,
        ["#param-word-value", "inputs/1.csv", "inputs/2.csv"]
    );
    assert_eq!(all["#param-word-value"]["value"], "z");
    assert_eq!(action["result"]["@id"], "artifacts/all/o/o/");
    validate(&crate_folder);
    // It is not written over, and inputs that changed since are left out, aloud.
    let test = test
        .flow(&format!("export {run} --ro-crate out/crate"))
        .status(2)
        .stderr("error: out/crate is there already; name a new folder")
        .check()
        .file("raw/1.csv", "other")
        .flow(&format!("export {run} --ro-crate out/second"))
        .stdout("wrote out/second")
        .stderr(
            "warning: the input raw/*.csv has changed since, or is gone, so it is not in the crate",
        )
        .check();
    assert_is_a_provenance_run_crate(&test.path("out/second"));
    assert_eq!(std::fs::read_dir(test.path("out")).unwrap().count(), 2);
    // What gc removed can't be exported.
    test.flow("cache gc flow.toml --max-size 0B")
        .stdout_has("freed")
        .check()
        .flow(&format!("export {run} --ro-crate out/third"))
        .status(1)
        .stderr_has("error: the results of a, all, m[n=1], m[n=2] are no longer in the store")
        .check();
}

#[test]
fn a_failed_run_becomes_a_crate_that_says_so() {
    let workflow = "[stages.a]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\n\
                    [stages.b]\nrun = 'exit 3'\ninputs = { a = 'a' }\noutputs = { o = 'o' }";
    let test = Test::new()
        .workflow(workflow)
        .run("")
        .ran("a")
        .stages("failed", "b")
        .status(1)
        .check();
    let run = name(&store::runs(&test.path(".flow"))[0]);
    let test = test
        .flow(&format!("export {run} --ro-crate crate"))
        .stdout("wrote crate")
        .check();
    let all = assert_is_a_provenance_run_crate(&test.path("crate"));
    assert_eq!(
        all["#stage-b"]["actionStatus"],
        "http://schema.org/FailedActionStatus"
    );
    assert_eq!(all["#stage-b"]["error"], "it ended with exit status 3");
    assert_eq!(
        all[&format!("#run-{run}")]["actionStatus"],
        "http://schema.org/FailedActionStatus"
    );
    validate(&test.path("crate"));
}

#[test]
fn included_files_are_in_the_crate() {
    let test = Test::new()
        .file("common.toml", "[params]\nword = 'x'\n")
        .file("more.toml", "word = 'y'\n")
        .workflow("include = ['common.toml']\n[stages.a]\nrun = 'echo ${word} > ${outputs.o}'\noutputs = { o = 'o' }")
        .run("--params more.toml")
        .ran("a")
        .check();
    let run = name(&store::runs(&test.path(".flow"))[0]);
    let test = test
        .flow(&format!("export {run} --ro-crate crate"))
        .stdout("wrote crate")
        .check();
    assert_is_a_provenance_run_crate(&test.path("crate"));
    assert_eq!(test.read("crate/included/2-more.toml"), "word = 'y'\n");
}
