//! What stages show: the views of all kinds on the digits, by the public format alone, and those of programs from outside.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flow_tests::{Test, store};
use serde_json::{Value, json};

/// The method with networks of one epoch.
const METHOD: &str = "[workflow]
name = 'views'
seed = 1
[stages.data]
uses = 'digits'
with = { limit = 300 }
[stages.coarse]
uses = 'train'
inputs = { data = 'data' }
with = { arch = 'cnn', width = 4, lr = 0.05, batch_size = 32, epochs = { min = 2, max = 2 }, threads = 1 }
[stages.scored]
uses = 'evaluate'
inputs = { data = 'data', model = 'coarse' }
with = { threads = 1 }
[stages.features]
uses = 'features'
inputs = { data = 'data', model = 'coarse' }
with = { layer = 'conv2', threads = 1 }
[stages.uncertainty]
uses = 'uncertainty'
inputs = { data = 'data', model = 'coarse' }
with = { threads = 1 }
[stages.certain]
uses = 'select'
inputs = { data = 'data', uncertainty = 'uncertainty' }
[stages.umap]
uses = 'umap'
inputs = { features = 'features', data = 'data', mask = 'certain' }
with = { n_neighbors = 10, n_components = 3 }
[stages.pca]
uses = 'pca'
inputs = { features = 'features', data = 'data' }
with = { n_components = 2 }
[stages.found]
uses = 'hdbscan'
inputs = { embedding = 'umap', data = 'data', mask = 'certain' }
with = { min_cluster_size = 8 }
[stages.parted]
uses = 'kmeans'
inputs = { embedding = 'pca', data = 'data', mask = 'certain' }
with = { k = 5 }
[stages.judged]
uses = 'score'
inputs = { labels = 'found', data = 'data' }
[stages.weighed]
uses = 'score'
inputs = { labels = 'parted', data = 'data' }
";

const STAGES: &str =
    "data coarse scored features uncertainty certain umap pca found parted judged weighed";

/// Takes the view of a stage out of the store and looks at all of it.
fn view(test: Test, stage: &str) -> (Test, Vec<Value>) {
    let test = test
        .flow(&format!("get flow.toml {stage}.view -o shown/{stage}"))
        .stdout(&format!("shown/{stage}\n"))
        .check();
    let folder = test.path(&format!("shown/{stage}"));
    let items = items(&folder);
    (test, items)
}

/// The items of a view, which hold what `docs/views.md` says.
fn items(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("view.json")).unwrap();
    let view: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(view["view"], 1);
    let items = view["items"].as_array().unwrap().clone();
    assert!(!items.is_empty(), "{text}");
    let mut named: BTreeSet<String> = BTreeSet::from(["view.json".to_owned()]);
    for item in &items {
        let sort = item["type"].as_str().unwrap();
        assert_eq!(item["title"].is_string(), sort != "thumbnails", "{item}");
        let seen = !matches!(sort, "text" | "table" | "thumbnails");
        assert_eq!(
            item["alt"].as_str().is_some_and(|alt| alt.len() > 10),
            seen,
            "{item}"
        );
        match sort {
            "table" => {
                let columns = item["columns"].as_array().unwrap().len();
                let rows = item["rows"].as_array().unwrap();
                assert!(
                    !rows.is_empty()
                        && rows
                            .iter()
                            .all(|row| row.as_array().unwrap().len() == columns)
                );
            }
            "vega-lite" => {
                let values = item["spec"]["data"]["values"].as_array().unwrap();
                assert!(!values.is_empty(), "{item}");
            }
            "gallery" | "thumbnails" => {
                let file = item["sprite"].as_str().unwrap();
                named.insert(file.into());
                let places = match sort {
                    "thumbnails" => item["row"].as_array().unwrap().len() as u64,
                    _ => {
                        let groups = item["groups"].as_array().unwrap();
                        let images = groups
                            .iter()
                            .flat_map(|group| group["images"].as_array().unwrap());
                        images
                            .map(|image| image["at"].as_u64().unwrap() + 1)
                            .max()
                            .unwrap()
                    }
                };
                let number = |value: &Value| value.as_u64().unwrap();
                let [wide, high] = size_of_png(&folder.join(file));
                let columns = number(&item["columns"]);
                assert_eq!(wide, columns * number(&item["size"][0]));
                assert!(high >= places.div_ceil(columns) * number(&item["size"][1]));
            }
            "points" => {
                let file = item["file"].as_str().unwrap();
                named.insert(file.into());
                let points = points(folder, item);
                let n = points["row"].as_array().unwrap().len();
                assert!(n > 50, "{n} points");
                let colours = points["colour"].as_array().unwrap();
                let columns = [&points["x"], &points["y"]].into_iter();
                for column in columns.chain(colours.iter().map(|colour| &colour["value"])) {
                    assert_eq!(column.as_array().unwrap().len(), n);
                }
            }
            _ => assert_eq!(sort, "text"),
        }
    }
    let there = fs::read_dir(folder).unwrap();
    let there: BTreeSet<String> = there
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, named);
    items
}

fn points(folder: &Path, item: &Value) -> Value {
    let file = folder.join(item["file"].as_str().unwrap());
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Width and height, as the header of a PNG file has them.
fn size_of_png(path: &Path) -> [u64; 2] {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    [16, 20].map(|at| u64::from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())))
}

fn titles(items: &[Value]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item["title"].as_str().unwrap_or(""))
        .collect()
}

fn of_sort<'a>(items: &'a [Value], sort: &str) -> Vec<&'a Value> {
    items.iter().filter(|item| item["type"] == sort).collect()
}

/// What others do in the place of HDBSCAN, and a network that learns labels dealt out at random.
const NEIGHBOURS: &str = "[stages.mixed]
uses = 'gmm'
inputs = { embedding = 'umap', data = 'data', mask = 'certain' }
with = { k = 3, covariance = 'diag' }
[stages.searched]
uses = 'george'
inputs = { embedding = 'umap', data = 'data', mask = 'certain' }
with = { max_k = 6 }
[stages.dealt]
uses = 'shuffle-labels'
inputs = { labels = 'searched', data = 'data' }
[stages.compared]
uses = 'score'
inputs = { labels = 'dealt', embedding = 'umap', data = 'data' }
[stages.learned]
uses = 'multihead'
inputs = { data = 'data', labels = 'dealt' }
with = { arch = 'cnn', width = 4, lr = 0.05, batch_size = 32, epochs = { min = 1, max = 1 }, threads = 1 }
";

#[test]
fn the_neighbours_of_the_method_stand_in_the_place_of_hdbscan() {
    let added = "mixed searched dealt compared learned";
    let test = Test::new()
        .workflow(&format!("{METHOD}{NEIGHBOURS}"))
        .run("")
        .may_warn()
        .ran(&format!("{STAGES} {added}"))
        .check();
    let numbers =
        |stage: &str| -> Value { serde_json::from_slice(&test.output(stage, "metrics")).unwrap() };
    let (found, dealt) = (numbers("searched"), numbers("dealt"));
    assert_eq!(found["clusters"], dealt["clusters"]);
    assert_eq!(found["clusters"], numbers("compared")["clusters"]);
    // Clusters of an embedding hold together, random labels do not.
    let silhouette = |numbers: &Value| numbers["silhouette"].as_f64().unwrap();
    assert!(silhouette(&found) > 0.2, "{found}");
    assert!(silhouette(&numbers("compared")) < 0.1);
    assert!(dealt["ari"].as_f64().unwrap() < 0.1, "{dealt}");
    let only = "--only mixed --only searched --only dealt --only compared";
    let test = test
        .run(&format!("--check 1 --threads 1,2 {only}"))
        .stages("identical", "mixed searched dealt compared")
        .check();
    let (test, items) = view(test, "mixed");
    assert!(titles(&items).contains(&"Images of each label"));
    let (test, items) = view(test, "searched");
    assert_eq!(of_sort(&items, "points").len(), 2);
    let (_, items) = view(test, "dealt");
    assert_eq!(titles(&items), ["Labels dealt out at random"]);
}

/// What was learned from the training images, for all of them.
const PLACING: &str = "[stages.all_features]
uses = 'features'
inputs = { data = 'data', model = 'coarse' }
with = { layer = 'conv2', threads = 1, rows = 'all' }
[stages.placed]
uses = 'umap-transform'
inputs = { model = 'umap.model', features = 'all_features', data = 'data' }
[stages.all_labels]
uses = 'hdbscan-predict'
inputs = { model = 'found.model', embedding = 'placed', data = 'data' }
[stages.tested]
uses = 'score'
inputs = { labels = 'all_labels', embedding = 'placed', data = 'data' }
with = { split = 'test' }
";

#[test]
fn what_was_found_labels_new_images_and_nothing_that_reads_it_runs_again() {
    let test = Test::new()
        .workflow(METHOD)
        .run("")
        .may_warn()
        .ran(STAGES)
        .check();
    let labels = test.output("found", "labels");
    let keeping = METHOD
        .replace("uses = 'umap'", "uses = 'umap-model'")
        .replace("uses = 'hdbscan'", "uses = 'hdbscan-model'");
    let placing = "all_features placed all_labels tested";
    let test = test
        .workflow(&format!("{keeping}{PLACING}"))
        .run("")
        .may_warn()
        .ran(&format!("umap found {placing}"))
        .cached("data coarse scored features uncertainty certain pca parted judged weighed")
        .check();
    assert_eq!(test.output("found", "labels"), labels);
    let metrics: Value = serde_json::from_slice(&test.output("all_labels", "metrics")).unwrap();
    assert!(metrics["new"].as_u64().unwrap() > 0, "{metrics}");
    let only = "--only umap --only found --only placed --only all_labels --only tested";
    let test = test
        .run(&format!("--check 1 --threads 1,2,5 {only}"))
        .stages("identical", "umap found placed all_labels tested")
        .check();
    let (test, placed) = view(test, "placed");
    assert_eq!(of_sort(&placed, "points").len(), 2);
    let (test, items) = view(test, "all_labels");
    assert_eq!(titles(&items)[0], "Discovered labels of new rows");
    assert!(titles(&items).contains(&"Images of each label"));
    let folder = test.path("shown/all_labels");
    let points = points(&folder, of_sort(&items, "points")[0]);
    let names: Vec<&str> = (points["colour"].as_array().unwrap().iter())
        .map(|colour| colour["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "discovered label",
            "true fine label",
            "origin",
            "probability"
        ]
    );
}

#[test]
fn every_kind_of_the_method_shows_what_it_found() {
    let test = Test::new()
        .workflow(METHOD)
        .run("")
        .may_warn()
        .ran(STAGES)
        .check();
    store::assert_sound(&test.path(".flow"));
    let test = test.run("").cached(STAGES).check();
    let test = test.run("--check 1").stages("identical", STAGES).check();

    let (test, data) = view(test, "data");
    assert_eq!(titles(&data), ["Images", "Images of each class", ""]);
    assert_eq!(data[0]["rows"].as_array().unwrap().len(), 1 + 2 + 10);
    let thumbnails: BTreeSet<u64> = data[2]["row"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_u64().unwrap())
        .collect();

    let (test, coarse) = view(test, "coarse");
    let (test, scored) = view(test, "scored");
    let shared = [
        "Test images, coarse classes",
        "Confusion matrix: images",
        "Confusion matrix: shares of the true class",
        "Accuracy of each class",
        "Coarse accuracy of each true fine class",
    ];
    assert_eq!(titles(&scored)[..5], shared);
    assert!(
        titles(&scored)[5].starts_with("Calibration: ECE 0."),
        "{:?}",
        titles(&scored)
    );
    let compared: Vec<&str> = coarse
        .iter()
        .filter_map(|item| item["compare"].as_str())
        .collect();
    assert_eq!(compared, ["loss", "accuracy", "learning rate"]);
    // What the last epoch left and what the file says are the same network.
    assert_eq!(
        of_sort(&coarse, "vega-lite")[3],
        of_sort(&scored, "vega-lite")[0]
    );

    let (test, uncertainty) = view(test, "uncertainty");
    let groups = uncertainty[2]["groups"].as_array().unwrap();
    let names: Vec<&str> = groups
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "even: most certain",
            "even: least certain",
            "odd: most certain",
            "odd: least certain"
        ]
    );
    let (test, certain) = view(test, "certain");
    assert_eq!(
        titles(&certain),
        [
            "What is kept of each class",
            "Uncertainty, and where it is cut"
        ]
    );

    let mut test = test;
    for (stage, colours) in [
        ("umap", &["true fine label", "certain"][..]),
        ("pca", &["true fine label"]),
        (
            "found",
            &["discovered label", "true fine label", "probability"],
        ),
        (
            "parted",
            &["discovered label", "true fine label", "certain"],
        ),
    ] {
        let (next, items) = view(test, stage);
        test = next;
        let plots = of_sort(&items, "points");
        let classes: Vec<&Value> = plots.iter().map(|plot| &plot["class"]).collect();
        assert_eq!(classes, [&json!("even"), &json!("odd")], "{stage}");
        for plot in plots {
            let points = points(&test.path(&format!("shown/{stage}")), plot);
            let found = points["colour"].as_array().unwrap().iter();
            let found: Vec<&str> = found
                .map(|colour| colour["name"].as_str().unwrap())
                .collect();
            assert_eq!(found, colours, "{stage}");
            // Every point has its thumbnail.
            let mut rows = points["row"].as_array().unwrap().iter();
            assert!(
                rows.all(|row| thumbnails.contains(&row.as_u64().unwrap())),
                "{stage}"
            );
        }
        let galleries = of_sort(&items, "gallery");
        assert_eq!(
            galleries.len(),
            usize::from(matches!(stage, "found" | "parted")),
            "{stage}"
        );
    }
}

/// The example of `docs/views.md`: a workflow's stage, and its script.
fn example() -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/views.md")).unwrap();
    let block = |language: &str| {
        let begin = format!("```{language}\n");
        let rest = page.split_once(&begin).unwrap().1;
        rest.split_once("```").unwrap().0.to_owned()
    };
    (block("toml"), block("python"))
}

#[test]
fn any_program_shows_something() {
    let (stage, script) = example();
    let stage = stage.replace("\"fine_labels.clusters\"", "{ path = 'clusters.csv' }");
    let test = Test::new()
        .file("sizes.py", script)
        .file("clusters.csv", "label,rows\n0,5\n1,7\n1,2\n")
        .workflow(&stage)
        .run("")
        .ran("sizes")
        .check();
    let (test, items) = view(test, "sizes");
    assert_eq!(titles(&items), ["Sizes", "Sizes"]);
    assert_eq!(items[0]["rows"], json!([["0", 1], ["1", 2]]));
    // The store knows what it is.
    let record = test.flow("show flow.toml sizes --json").anyhow().check();
    let text = &record.last().stdout;
    assert!(text.contains("\"view\""), "{text}");
}

#[test]
fn a_view_that_can_not_be_shown_costs_a_warning_and_nothing_else() {
    let shows = |text: &str| {
        format!(
            "[stages.work]\nrun = 'mkdir ${{outputs.view}}; echo result > ${{outputs.result}}; {text}'\n\
             outputs = {{ view = 'view/', result = 'result.txt' }}\n"
        )
    };
    for (text, problem) in [
        ("true", "it has no file `view.json`"),
        (
            "echo hello > ${outputs.view}/view.json",
            "view.json is not JSON: ",
        ),
        (
            "echo \"{\\\"view\\\": 1, \\\"items\\\": [{\\\"type\\\": \\\"film\\\"}]}\" > ${outputs.view}/view.json",
            "item 1 of view.json: unknown variant `film`",
        ),
    ] {
        let text = shows(text)
            .replace("run = '", "run = '''")
            .replace("'\noutputs", "'''\noutputs");
        let test = Test::new()
            .workflow(&text)
            .flow("run flow.toml")
            .stderr_has(&format!(
                "work: its output `view` can't be shown: {problem}"
            ))
            .stderr_has("1 ran, 0 cached")
            .check();
        let test = test
            .flow("get flow.toml work.result -o result.txt")
            .stdout("result.txt\n")
            .check();
        assert_eq!(test.read("result.txt"), "result\n");
        store::assert_sound(&test.path(".flow"));
    }
    // It has to be a folder, as every output that is declared as one.
    Test::new()
        .workflow("[stages.work]\nrun = 'echo x > ${outputs.view}'\noutputs = { view = 'view/' }\n")
        .flow("run flow.toml")
        .status(1)
        .stderr_has("its output `view` has to be a folder")
        .check();
}
