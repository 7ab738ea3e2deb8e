//! `flow report` of runs that failed, of sweeps, of much and of little that can be shown, and as figures.

use std::fs;

use flow_tests::shown::{PUBLISH, SEE_ALL, document, opened, ran};
use flow_tests::{Test, store};
use serde_json::{Value, json};

#[test]
fn a_report_is_made_once_and_known_by_its_content() {
    let test = ran()
        .flow("report flow.toml -o first.html")
        .stdout_has("wrote first.html")
        .check();
    let again = test
        .flow("report flow.toml -o second.html")
        .stdout_has(", made before")
        .check();
    assert_eq!(again.read("first.html"), again.read("second.html"));
    let test = again
        .flow("show second.html")
        .stdout_has("is page of report of shown")
        .stdout_has("found.view = found.view ")
        .check();
    // Made anew it is the same.
    let first = test.read("first.html");
    remove_report(&test);
    let test = test
        .flow("report flow.toml -o first.html")
        .stdout_has("wrote first.html")
        .check();
    assert!(!test.last().stdout.contains("made before"));
    assert_eq!(test.read("first.html"), first);
    let test = test
        .edit("points = 1500", "points = 900")
        .flow("report flow.toml -o first.html")
        .stdout_has("wrote first.html")
        .check();
    let document = document(&test.read("first.html"));
    let states: Vec<&str> = document["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["up to date", "up to date", "up to date", "will run"]
    );
    test.file("mine.html", "<p>mine")
        .flow("report flow.toml -o mine.html")
        .status(2)
        .stderr("error: mine.html is there already, and is no report of flow's; name another file")
        .check()
        .flow("report 20200102-030405-abcd")
        .status(2)
        .stderr_has("there is no run `RUN`")
        .check();
}

/// Removes the record of the page from the store.
fn remove_report(test: &Test) {
    let records = store::files(&test.path(".flow/actions")).into_iter();
    let mut of_page = records.filter(|path| {
        fs::read_to_string(path)
            .unwrap()
            .contains("\"kind\":\"report\"")
    });
    fs::remove_file(of_page.next().unwrap()).unwrap();
    assert!(of_page.next().is_none());
}

#[test]
fn a_run_that_failed_has_a_report_with_the_end_of_its_log() {
    let workflow = "[stages.a]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\n\
        [stages.b]\nrun = 'echo to the log; echo the end >&2; test -e good'\ninputs = { a = 'a' }\noutputs = { o = 'o' }\n\
        [stages.c]\nrun = 'cat ${inputs.b} > ${outputs.o}'\ninputs = { b = 'b' }\noutputs = { o = 'o' }\n";
    let test = Test::new().workflow(workflow).run("").anyhow().check();
    let run = store::runs(&test.path(".flow"))[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_string();
    // What the file says now does not matter: the run keeps its own.
    let test = test
        .edit("echo 1", "echo 2")
        .flow(&format!("report {run} -o run.html"))
        .stdout_has("wrote run.html")
        .check();
    let document = document(&test.read("run.html"));
    let facts = |at: usize| {
        let stage = &document["stages"][at];
        (
            stage["label"].as_str().unwrap().to_string(),
            stage["status"].as_str().unwrap().to_string(),
            stage["sources"].clone(),
        )
    };
    assert_eq!(facts(0), ("a".into(), "ran".into(), json!([])));
    assert_eq!(facts(1), ("b".into(), "failed".into(), json!([0])));
    assert_eq!(facts(2), ("c".into(), "skipped".into(), json!([1])));
    assert_eq!(
        document["stages"][1]["details"]["log"]["lines"],
        json!(["to the log", "the end"])
    );
    assert_eq!(
        document["stages"][1]["reason"],
        "it ended with exit status 1"
    );
    assert_eq!(document["stages"][0]["details"]["changed"], true);
    assert_eq!(document["run"]["status"], "failed");
    // So has the workflow as it stands: what failed last is not merely to be run.
    let test = test
        .edit("echo 2", "echo 1")
        .flow("report flow.toml -o now.html")
        .stdout_has("wrote now.html")
        .check();
    let now = self::document(&test.read("now.html"));
    assert_eq!(now["stages"][1]["status"], "failed");
    assert_eq!(now["stages"][1]["details"]["log"]["lines"][1], "the end");
    let Some(mut browser) = opened(&test, "run.html", 1280) else {
        return;
    };
    browser.click(".box[data-stage=b]");
    let panel = browser.text("document.getElementById('panel').textContent");
    assert!(
        panel.contains("it ended with exit status 1") && panel.contains("the end"),
        "{panel}"
    );
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn the_report_of_a_run_that_was_killed_has_the_stages_that_it_wanted_and_no_others() {
    let workflow = "[stages.a]\nrun = 'echo on > ~/began; sleep 60'\noutputs = { o = 'o' }\n\
        [stages.b]\nrun = 'cat ${inputs.a} > ${outputs.o}'\ninputs = { a = 'a' }\noutputs = { o = 'o' }\n\
        [stages.c]\nrun = 'echo 1 > ${outputs.o}'\noutputs = { o = 'o' }\n";
    let shown = |wanted: &str| {
        let mut running = Test::new().workflow(workflow).run(wanted).start();
        running.wait_for("../began");
        let test = running.kill();
        let run = store::runs(&test.path(".flow"))[0].clone();
        let run = run.file_name().unwrap().to_str().unwrap();
        let test = test
            .flow(&format!("report {run} -o run.html"))
            .stdout_has("wrote run.html")
            .check();
        let stages = document(&test.read("run.html"))["stages"].clone();
        let stages = stages.as_array().unwrap().iter();
        let stages = stages.map(|stage| json!([stage["label"], stage["status"]]));
        stages.collect::<Vec<Value>>()
    };
    let (a, b) = (json!(["a", "cancelled"]), json!(["b", "cancelled"]));
    // By their names, not by how the command line writes the option.
    assert_eq!(shown("--until=b"), [a.clone(), b.clone()]);
    assert_eq!(shown("--until b"), [a.clone(), b.clone()]);
    // `c` may have ended before the run was killed.
    let all = shown("--jobs 1");
    assert_eq!(all[..2], [a, b]);
    assert_eq!(all[2][0], "c");
}

#[test]
fn a_page_stays_below_its_size_and_says_what_is_left_out() {
    let workflow = "[stages.large]\nrun = 'python3 ${inputs.script} large ${outputs.view}'\n\
        inputs = { script = { path = 'publish.py' } }\noutputs = { view = 'view/' }\n";
    let test = Test::new()
        .file("publish.py", PUBLISH)
        .workflow(workflow)
        .run("")
        .ran("large")
        .check()
        .flow("report flow.toml")
        .stdout_has("wrote")
        .check();
    let page = test.read("report.html");
    assert!(
        page.len() < 15_000_000 && page.len() > 12_000_000,
        "{} bytes",
        page.len()
    );
    let document = document(&page);
    let items = document["views"][0]["items"].as_array().unwrap();
    let left_out = items
        .iter()
        .filter(|item| item["left_out"].is_string())
        .count();
    let sampled = items
        .iter()
        .filter(|item| item["sampled"].is_string())
        .count();
    assert!(
        left_out + sampled > 0 && document["told"].as_array().unwrap().len() == 1,
        "{}",
        document["told"]
    );
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    let told = browser.text("document.getElementById('told').textContent");
    assert!(told.contains("stays below 15 MB"), "{told}");
    assert_eq!(browser.errors(), [""; 0]);
}

/// A seeded kind: its accuracy is what `keep` makes of it, and a little of the seed's.
const MEASURE: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<'END'
{"protocol": 1, "plugin": "measure", "version": "1", "kinds": [{"name": "measure", "version": 1, "summary": "Measures",
"seeded": true, "headline": ["accuracy"], "inputs": [], "outputs": [{"name": "metrics", "type": "metrics"}],
"parameters": {"type": "object", "properties": {"keep": {"type": "number", "default": 0.9}, "way": {"type": "string", "default": "a"}}}}]}
END
    exit
fi
read -r request
field() { printf %s "$request" | sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }
if [ "$(field way)" = bad ]; then
    echo '{"event": "error", "message": "it was told to fail"}'
    exit 1
fi
awk -v keep="$(field keep)" -v seed="$(field seed)" 'BEGIN { printf "{\"accuracy\": %.4f}\n", 1 - keep / 10 + (seed * 7 % 5) / 1000 }' \
    > "$(field metrics)"
"#;

#[test]
fn a_sweep_has_its_table_and_a_chart_for_each_question() {
    let workflow = r#"
[plugins]
mine = "plugin"

[params]
keep = 0.9
way = "a"

[stages.fine]
uses = "measure"
with = { keep = "${keep}", way = "${way}" }

[stages.plain]
uses = "measure"

[sweep]
seeds = 3
goal = { maximise = "fine.accuracy" }
[sweep.axes]
keep = [0.8, 0.9]
way = ["a", "b", "bad"]
"#;
    let test = Test::new().executable("plugin", MEASURE).workflow(workflow);
    let test = test.run("").anyhow().check();
    assert_eq!(test.last().status, Some(1));
    let test = test.flow("table flow.toml --json").stdout_has("").check();
    let table: Value = serde_json::from_str(&test.last().stdout).unwrap();
    let test = test.flow("report flow.toml").stdout_has("wrote").check();
    assert_eq!(document(&test.read("report.html"))["table"], table);
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.value(SEE_ALL);
    browser.wait("document.querySelectorAll('#sweep .chart.drawn').length === 5");
    let titles = "[...document.querySelectorAll('#sweep h4')].map((h) => h.textContent)";
    assert_eq!(
        browser.value(titles),
        json!([
            "fine.accuracy by keep and way",
            "fine.accuracy against keep",
            "fine.accuracy against way",
            "All axes and fine.accuracy",
            "fine.accuracy by seed"
        ])
    );
    // Both ways give the same, so both are best; those that failed say why.
    let best = "[...document.querySelectorAll('#sweep tr.best')].map((row) => [...row.cells].map((c) => c.textContent).join(' | '))";
    let best = browser.value(best);
    let best: Vec<&str> = best
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_str().unwrap())
        .collect();
    assert_eq!(best.len(), 2, "{best:?}");
    assert!(
        best[0].starts_with("1 (best) | 0.8 | a | 0.92") && best[0].contains(" ± "),
        "{best:?}"
    );
    let failed = "[...document.querySelectorAll('#sweep td')].filter((c) => c.textContent.includes('it was told to fail')).length";
    assert_eq!(browser.value(failed), 2);
    let summaries =
        "[...document.querySelectorAll('#sweep details summary')].map((s) => s.textContent)";
    assert_eq!(
        browser.value(summaries),
        serde_json::json!([
            "2 points are not complete",
            "plain.accuracy is the same at every point"
        ])
    );
    // The stages of another point, by the choice above their table.
    let cell = "document.querySelector('#results tbody tr td').textContent";
    let before = browser.text(cell);
    browser.value("(() => { const s = document.getElementById('point'); s.value = '3'; s.dispatchEvent(new Event('change')); })()");
    assert_ne!(browser.text(cell), before);
    for (width, dark) in [(1280, false), (1280, true), (400, false), (400, true)] {
        browser.resize(width, 900);
        browser.dark(dark);
        let wider = browser.value("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(
            wider, false,
            "at {width} pixels the page is wider than the window"
        );
        browser.screenshot(&format!(
            "sweep-{width}-{}",
            if dark { "dark" } else { "light" }
        ));
    }
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn figures_for_papers_are_written_without_a_browser() {
    let test = ran()
        .flow("report flow.toml --figures paper")
        .stdout_has("figure(s) into paper")
        .check();
    let mut names: Vec<String> = fs::read_dir(test.path("paper"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("found-") && name.ends_with(".svg")),
        "{names:?}"
    );
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("coarse[level=0.5]-01-loss") && name.ends_with(".png")),
        "{names:?}"
    );
    for name in &names {
        let content = fs::read(test.path("paper").join(name)).unwrap();
        let beginning: &[u8] = if name.ends_with(".png") {
            b"\x89PNG"
        } else {
            b"<svg"
        };
        assert!(content.starts_with(beginning), "{name}");
    }
    assert!(!test.has("report.html"));
}

#[test]
fn what_can_not_be_shown_says_so_and_hides_nothing_else() {
    let workflow = "[stages.a]\nrun = 'mkdir -p ${outputs.view}; cp view.json ${outputs.view}/'\ninputs = { view = { path = 'view.json' } }\noutputs = { view = 'view/' }\n\
        [stages.b]\nrun = 'mkdir -p ${outputs.view}; echo {} > ${outputs.view}/view.json'\noutputs = { view = 'view/' }\n";
    let view = json!({"view": 1, "items": [
        {"type": "image", "title": "Gone", "alt": "a", "file": "gone.png"},
        {"type": "vega-lite", "title": "Bad", "alt": "a", "spec": {"mark": "nothing", "data": {"values": []}}},
        {"type": "text", "title": "Good", "text": "shown"},
    ]});
    let test = Test::new()
        .workflow(workflow)
        .file("view.json", view.to_string())
        .run("")
        .anyhow()
        .check()
        .flow("report flow.toml")
        .stdout_has("wrote")
        .check();
    let document = document(&test.read("report.html"));
    assert_eq!(
        document["views"][0]["items"][0]["left_out"],
        "It can't be shown: there is no file gone.png"
    );
    assert!(
        document["views"][1]["problem"]
            .as_str()
            .unwrap()
            .starts_with("It can't be shown: ")
    );
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.value(SEE_ALL);
    browser.wait("document.querySelectorAll('.chart:not(.drawn)').length === 0");
    let text = browser.text("document.getElementById('main').textContent");
    for piece in [
        "there is no file gone.png",
        "shown",
        "This chart can't be drawn",
    ] {
        assert!(text.contains(piece), "{piece}: {text}");
    }
}

#[test]
fn a_sweep_of_2000_points_opens_on_its_charts() {
    let workflow = r#"
[params]
lr = 0
net = "n0"
[stages.fit]
run = 'echo top: ${lr} > m.yaml; echo ${net}'
outputs = { metrics = "m.yaml" }
[sweep]
goal = { maximise = "fit.top" }
[sweep.axes]
"#;
    let values = |of: &dyn Fn(usize) -> String, n| (0..n).map(of).collect::<Vec<_>>().join(", ");
    let lr = values(&|i| i.to_string(), 50);
    let net = values(&|i| format!("\"n{i}<b>\""), 40);
    let test = Test::new()
        .workflow(&format!("{workflow}lr = [{lr}]\nnet = [{net}]\n"))
        .run("")
        .anyhow()
        .check();
    assert_eq!(test.last().run.as_ref().unwrap()["ran"], 2000);
    let test = test.flow("report flow.toml").stdout_has("wrote").check();
    let size = test.path("report.html").metadata().unwrap().len();
    assert!(size < 15_000_000, "{size}");
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.wait("document.querySelectorAll('#sweep .chart').length >= 4");
    // The charts stand before the table, and the map first.
    let above = "(() => { const [chart, table] = ['.chart', 'table'].map((s) => document.querySelector('#sweep ' + s)); \
                 return Boolean(chart.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING); })()";
    assert_eq!(browser.value(above), true);
    assert_eq!(
        browser.text("document.querySelector('#sweep h4').textContent"),
        "fit.top by lr and net, mean of each cell"
    );
    browser.value("document.querySelector('#sweep').scrollIntoView()");
    browser.wait("document.querySelector('#sweep .chart.drawn svg')");
    let rows = "document.querySelectorAll('#sweep .paged tbody tr').length";
    assert_eq!(browser.value(rows), 50);
    let status = "document.querySelector('#sweep .paged [role=status]').textContent";
    assert_eq!(browser.text(status), "rows 1 to 50 of 2000");
    let first = "[...document.querySelector('#sweep .paged tbody tr').cells].map((c) => c.textContent).join(' | ')";
    let best = browser.text(first);
    assert!(best.contains(" | 49 | n0<b> | 49"), "{best}");
    let press = |name: &str| {
        format!(
            "[...document.querySelectorAll('#sweep .paged button')].find((b) => b.textContent === '{name}').click()"
        )
    };
    browser.value(&press("next"));
    assert_eq!(browser.text(status), "rows 51 to 100 of 2000");
    let write = |text: &str| {
        format!(
            "(() => {{ const f = document.querySelector('#sweep .paged input'); f.value = '{text}'; f.dispatchEvent(new \
             Event('input')); }})()"
        )
    };
    browser.value(&write("lr=1 n3"));
    assert_eq!(browser.text(status), "rows 1 to 11 of 11");
    browser.value(&write("lr=1 NET=n3<b>"));
    assert_eq!(browser.value(rows), 1);
    browser.value(&write("nothing of the kind"));
    assert_eq!(browser.text(status), "no row fits");
    browser.value(&write(""));
    browser.value("document.querySelectorAll('#sweep .paged th button')[1].click()");
    let sorted = browser.text(first);
    assert!(sorted.contains(" | 49 | n0<b>"), "{sorted}");
    assert_eq!(
        browser.value("document.querySelectorAll('#main b').length"),
        0
    );
    browser.screenshot("sweep-2000");
    assert_eq!(browser.errors(), [""; 0]);
}
