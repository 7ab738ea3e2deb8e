//! `flow report` and `flow ui`: the page, looked at in a browser.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use flow_tests::browser::Browser;
use flow_tests::{Signal, Test, store};
use serde_json::{Value, json};

/// Stages that publish as any program can: thumbnails of rows, curves of two instances, points of the same rows.
const SHOWN: &str = r#"
[workflow]
name = "shown"

[params]
points = 1500

[stages.data]
run = "echo reading; python3 ${inputs.script} data ${outputs.view}"
inputs = { script = { path = "publish.py" } }
outputs = { view = "view/" }

[stages.coarse]
run = "python3 ${inputs.script} train ${outputs.view} level=${matrix.level}"
inputs = { script = { path = "publish.py" }, data = "data" }
matrix = { level = [1.0, 0.5] }
outputs = { view = "view/" }

[stages.found]
run = "python3 ${inputs.script} clusters ${outputs.view} count=${points}"
inputs = { script = { path = "publish.py" }, data = "data", coarse = { collect = "coarse" } }
outputs = { view = "view/", table = "table.csv" }
"#;

const PUBLISH: &str = include_str!("publish.py");

fn shown() -> Test {
    Test::new()
        .file("publish.py", PUBLISH)
        .workflow(&SHOWN.replace(
            "count=${points}",
            "count=${points}; echo a,1 > ${outputs.table}",
        ))
}

fn ran() -> Test {
    shown()
        .run("")
        .ran("data coarse[level=1.0] coarse[level=0.5] found")
        .check()
}

fn opened(test: &Test, name: &str, width: u32) -> Option<Browser> {
    let mut browser = Browser::start(width, 900)?;
    browser.open(&test.path(name));
    Some(browser)
}

/// The document that a page holds.
fn document(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"document\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

/// All charts, plots and pictures are drawn when they are seen.
const SEE_ALL: &str = "(async () => { for (let y = 0; y < document.documentElement.scrollHeight; y += 500) { scrollTo(0, y); \
    await new Promise((done) => setTimeout(done, 60)); } scrollTo(0, 0); })()";

#[test]
fn a_report_is_one_file_that_shows_what_stages_publish() {
    let test = ran()
        .flow("report flow.toml")
        .stdout_has("wrote report.html, ")
        .check();
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.wait("document.querySelectorAll('#main h2').length > 0");
    browser.value(SEE_ALL);
    browser.wait("document.querySelectorAll('.chart').length === 3");
    browser.wait("document.querySelectorAll('.chart:not(.drawn)').length === 0");
    assert_eq!(browser.errors(), [""; 0]);
    // It asked for itself, and for nothing else.
    let foreign = |url: &&String| {
        !url.starts_with("file://") && !url.starts_with("blob:") && !url.starts_with("data:")
    };
    let requests = browser.requests();
    assert!(!requests.iter().any(|url| foreign(&url)), "{requests:?}");
    assert_eq!(
        requests
            .iter()
            .filter(|url| url.starts_with("file://"))
            .count(),
        1
    );
    let headings =
        browser.value("[...document.querySelectorAll('h2, h3')].map((h) => h.textContent)");
    assert_eq!(
        headings,
        json!([
            "Stages",
            "Side by side",
            "What the stages show",
            "data",
            "coarse",
            "found"
        ])
    );
    assert_eq!(browser.text("document.title"), "shown – flow report");
    // A picture of every sort is there, and has its words.
    for selector in [
        ".chart svg",
        ".plot canvas",
        ".sprite",
        "table",
        "img[alt='A blue rectangle']",
    ] {
        assert!(
            browser
                .value(&format!(
                    "document.querySelectorAll({}).length",
                    json!(selector)
                ))
                .as_u64()
                > Some(0),
            "{selector}"
        );
    }
    browser.wait("document.querySelector('img').naturalWidth === 120");
    assert_eq!(
        browser.value("window.hostile"),
        Value::Null,
        "a script in a picture ran"
    );
    let silent = "[...document.querySelectorAll('img, [role=img], button, select, a')].filter((e) => \
        !(e.alt || e.ariaLabel || e.textContent.trim() || (e.labels && e.labels.length))).length";
    assert_eq!(browser.value(silent), 0, "elements without a name");
    for (width, dark) in [(1280, false), (1280, true), (400, false), (400, true)] {
        browser.resize(width, 900);
        browser.dark(dark);
        browser.wait("document.querySelectorAll('.chart:not(.drawn)').length === 0");
        let wider = browser.value("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(
            wider, false,
            "at {width} pixels the page is wider than the window"
        );
        browser.screenshot(&format!(
            "stages-{width}-{}",
            if dark { "dark" } else { "light" }
        ));
    }
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn a_click_on_a_stage_shows_how_its_result_came_to_be() {
    let test = ran().flow("report flow.toml").stdout_has("wrote").check();
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    let boxes = "[...document.querySelectorAll('.box')].map((box) => box.textContent)";
    let boxes = browser.value(boxes);
    let boxes: Vec<&str> = boxes
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b.as_str().unwrap())
        .collect();
    assert_eq!(boxes.len(), 3);
    assert!(
        boxes[1].starts_with("✓ coarse ×22 up to date, "),
        "{boxes:?}"
    );
    browser.click(".box[data-stage=found]");
    let panel = browser.text("document.getElementById('panel').textContent");
    for piece in [
        "flow run flow.toml --until found",
        "points",
        "1500",
        "script",
        "publish.py",
        "coarse[level=0.5].view",
        "view, ",
        "threads",
    ] {
        assert!(panel.contains(piece), "{piece} is not in {panel}");
    }
    let document = document(&test.read("report.html"));
    let found = &document["stages"][3];
    assert!(panel.contains(found["key"].as_str().unwrap()));
    // By keyboard: the next button, and the other instance of a stage that has two.
    browser.value("document.querySelector('.box[data-stage=coarse]').focus()");
    browser.key("Enter");
    browser.wait("document.querySelector('#panel h3').textContent === 'coarse[level=1.0]'");
    browser.value("(() => { const s = document.querySelector('#panel select'); s.value = '2'; s.dispatchEvent(new Event('change')); })()");
    browser.wait("document.querySelector('#panel h3').textContent === 'coarse[level=0.5]'");
    browser.click(".box[data-stage=data]");
    let log = browser.text("[...document.querySelectorAll('#panel pre')].at(-1).textContent");
    assert!(log.contains("reading"), "{log}");
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn tables_are_sorted_and_charts_laid_over_each_other_are_filtered() {
    let test = ran().flow("report flow.toml").stdout_has("wrote").check();
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    let column = "[...document.querySelectorAll('#stage-1 tbody tr')].map((row) => row.cells[0].textContent)";
    let section = browser.text("[...document.querySelectorAll('section')].find((s) => s.getAttribute('aria-label') === 'data').id");
    let column = column.replace("stage-1", &section);
    assert_eq!(browser.value(&column), json!(["even", "odd", "unsure"]));
    browser.click(&format!("#{section} thead th:nth-child(2) button"));
    assert_eq!(
        browser.value(&column),
        json!(["even", "odd", "unsure"]),
        "the largest first"
    );
    browser.click(&format!("#{section} thead th:nth-child(2) button"));
    assert_eq!(browser.value(&column), json!(["unsure", "odd", "even"]));
    // An empty cell is last, whatever the order.
    browser.click(&format!("#{section} thead th:nth-child(3) button"));
    browser.click(&format!("#{section} thead th:nth-child(3) button"));
    assert_eq!(browser.value(&column), json!(["unsure", "even", "odd"]));
    assert_eq!(
        browser.text(&format!(
            "document.querySelector('#{section} thead th:nth-child(3)').ariaSort"
        )),
        "ascending"
    );
    // Two instances, each a line for the training and one for the validation.
    browser.middle("#compared .chart");
    browser.wait("document.querySelector('#compared .chart.drawn')");
    let lines = "document.querySelectorAll('#compared .mark-line path').length";
    assert_eq!(browser.value(lines), 4);
    browser.click("#compared .legend li:nth-child(2) button");
    browser.wait("document.querySelector('#compared .chart.drawn')");
    browser.wait(&format!("{lines} === 2"));
    assert_eq!(browser.errors(), [""; 0]);
}

/// Where on the window a point of the first plot is.
const PLACE: &str = "(() => { const plot = document.querySelector('.plot'); \
    plot.scrollIntoView({block: 'center', behavior: 'instant'}); const b = plot.getBoundingClientRect(); \
    const [x, y] = plot.drawn.placeOf(AT); return [b.x + x, b.y + y]; })()";

#[test]
fn many_points_are_hovered_zoomed_and_filtered_smoothly() {
    let test = shown()
        .run("--set points=25000")
        .ran("data coarse[level=1.0] coarse[level=0.5] found")
        .check()
        .flow("report flow.toml --set points=25000")
        .stdout_has("wrote")
        .check();
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.value(SEE_ALL);
    browser.wait("document.querySelector('.plot')?.drawn.frames.length > 0");
    // Hover: row 17 has a thumbnail, which an earlier stage publishes.
    let place = browser.value(&PLACE.replace("AT", "17"));
    browser.point_at(place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
    browser.wait("!document.getElementById('tip').hidden");
    let tip = browser.text("document.getElementById('tip').textContent");
    assert!(
        tip.contains("row") && tip.contains("discovered label") && tip.contains("cluster "),
        "{tip}"
    );
    // Another point may lie over it; with the filter below there are fewer. A row of the first 400 has a picture.
    let hovered = "(async () => { const plot = document.querySelector('.plot'); const canvas = plot.querySelector('canvas'); \
        const b = canvas.getBoundingClientRect(); let pictures = 0; for (let row = 0; row < 400; row++) { \
        const [x, y] = plot.drawn.placeOf(row); canvas.dispatchEvent(new PointerEvent('pointermove', \
        {clientX: b.x + x, clientY: b.y + y})); if (document.querySelector('#tip .sprite')) pictures++; } return pictures; })()";
    assert!(
        browser.value(hovered).as_u64() > Some(0),
        "no picture in 400 rows that have one"
    );
    // A click on a label shows its points alone.
    let filled = "(() => { const c = document.querySelector('.plot canvas'); const d = c.getContext('2d').getImageData(0, 0, \
        c.width, c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i] !== 255 || d[i + 1] !== 255) n++; return n; })()";
    browser.dark(false);
    let frame = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
    browser.value(frame);
    let all = browser.value(filled).as_u64().unwrap();
    browser.click(".legend:has(.name) li:first-child button");
    browser.value("document.querySelector('.plot').scrollIntoView({block: 'center'})");
    let plot_legend = "document.querySelector('.plot').nextElementSibling";
    browser.value(&format!("{plot_legend}.querySelector('button').click()"));
    browser.value(frame);
    let few = browser.value(filled).as_u64().unwrap();
    assert!(few * 3 < all * 2 && few > 0, "{few} of {all} pixels");
    assert_eq!(
        browser.text(&format!(
            "{plot_legend}.querySelector('button').ariaPressed"
        )),
        "true"
    );
    browser.value(&format!("{plot_legend}.querySelector('button').click()"));
    // Frames while one zooms and moves: from one picture to the next.
    let frames = "(async () => { const canvas = document.querySelector('.plot canvas'); const b = canvas.getBoundingClientRect(); \
        const times = []; let last = performance.now(); for (let i = 0; i < 60; i++) { \
        canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: i < 30 ? -40 : 40, clientX: b.x + 200 + i, clientY: b.y + 150, cancelable: true})); \
        await new Promise(requestAnimationFrame); const now = performance.now(); times.push(now - last); last = now; } \
        times.sort((a, b) => a - b); const drawn = [...document.querySelector('.plot').drawn.frames].sort((a, b) => a - b); \
        return [times[30], drawn[Math.floor(drawn.length / 2)]]; })()";
    let medians = browser.value(frames);
    eprintln!(
        "25,000 points: a frame every {} ms, of which {} ms are drawing (medians)",
        medians[0], medians[1]
    );
    assert!(
        medians[0].as_f64().unwrap() < 33.0,
        "a frame every {medians} ms"
    );
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn hostile_names_are_nothing_but_text() {
    let name = "<b>&\"'</script><script>window.hostile=1</script>\u{202e}";
    let escaped = json!(name).to_string();
    let test = Test::new().file("publish.py", PUBLISH).workflow(&format!(
        r#"
[workflow]
name = {escaped}

[params]
word = {escaped}

[stages.hostile]
run = "printf '%s\n' ${{word}}; python3 ${{inputs.script}} hostile ${{outputs.view}}; echo {{}} > ${{outputs.metrics}}"
inputs = {{ script = {{ path = "publish.py" }} }}
matrix = {{ axis = [{escaped}] }}
outputs = {{ view = "view/", metrics = "{{}}<i>.json" }}
"#
    ));
    let test = test.run("").may_warn().anyhow().check();
    assert_eq!(test.last().status, Some(0), "{}", test.last().stderr);
    let test = test.flow("report flow.toml").stdout_has("wrote").check();
    let page = test.read("report.html");
    assert!(!page.contains("<b>&"));
    let Some(mut browser) = opened(&test, "report.html", 1280) else {
        return;
    };
    browser.value(SEE_ALL);
    browser.wait("document.querySelectorAll('.chart.drawn').length >= 5");
    browser.click(".box");
    assert_eq!(
        browser.text("document.querySelector('h1').textContent"),
        name
    );
    let panel = browser.text("document.getElementById('panel').textContent");
    assert!(panel.contains(name), "{panel}");
    assert_eq!(browser.value("window.hostile"), Value::Null);
    // No element that the page does not make itself.
    assert_eq!(
        browser.value(
            "document.querySelectorAll('#main b, #main script, #main img[src=x], #main i').length"
        ),
        0
    );
    assert_eq!(
        browser.value(
            "document.querySelectorAll('a[href^=javascript], a[*|href^=javascript]').length"
        ),
        0
    );
    for text in ["&lt;", "</script>", "onerror", "window.hostile"] {
        let found = browser.value(&format!(
            "document.getElementById('main').textContent.includes({})",
            json!(text)
        ));
        assert_eq!(found, true, "{text} is not shown");
    }
    for width in [1280, 400] {
        browser.resize(width, 900);
        let wider = browser.value("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(
            wider, false,
            "at {width} pixels the page is wider than the window"
        );
    }
    browser.screenshot("hostile");
    assert_eq!(browser.value("window.hostile"), Value::Null);
    assert_eq!(browser.errors(), [""; 0]);
}

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
    browser.wait("document.querySelectorAll('#sweep .chart.drawn').length === 4");
    let titles = "[...document.querySelectorAll('#sweep h4')].map((h) => h.textContent)";
    assert_eq!(
        browser.value(titles),
        json!([
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

/// What a request gets.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn port_of(text: &str) -> u16 {
    let (_, rest) = text.split_once("http://127.0.0.1:").unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

/// A kind that tells a figure by step, and waits before each further one.
const STEPS: &str = r#"#!/bin/sh
if [ "$1" = describe ]; then
    cat <<'END'
{"protocol": 1, "plugin": "steps", "version": "1", "kinds": [{"name": "steps", "version": 1, "summary": "Counts",
"headline": ["loss"], "inputs": [], "outputs": [{"name": "metrics", "type": "metrics"}], "parameters": {"type": "object", "properties": {}}}]}
END
    exit
fi
read -r request
for step in 1 2 3; do
    until test -e "$(dirname "$0")/step-$step"; do sleep 0.05; done
    printf '{"event": "metric", "name": "loss", "value": 0.%d, "step": %d}\n' $((9 - step)) $step
    printf '{"event": "progress", "done": %d, "total": 3, "unit": "epoch"}\n' $step
done
echo '{"loss": 0.6}' > "$(printf %s "$request" | sed -n 's/.*"metrics":"\([^"]*\)".*/\1/p')"
"#;

#[test]
fn the_live_page_follows_a_run_that_was_started_elsewhere() {
    let workflow = r#"
[plugins]
mine = "plugin"

[stages.steps]
uses = "steps"

[stages.first]
run = "until test -e go-1; do sleep 0.05; done; python3 ${inputs.script} train ${outputs.view}"
inputs = { script = { path = "publish.py" } }
outputs = { view = "view/" }

[stages.second]
run = "until test -e go-2; do sleep 0.05; done; cat ${inputs.first}/view.json > ${outputs.o}"
inputs = { first = "first" }
outputs = { o = "o" }
"#;
    let test = Test::new()
        .executable("plugin", STEPS)
        .file("publish.py", PUBLISH)
        .workflow(workflow);
    let mut page = test
        .beside()
        .flow("ui flow.toml")
        .stdout_has("no run yet")
        .start();
    let printed = page.wait_for_stdout("Ctrl-C");
    let port = port_of(&printed);
    let browser = Browser::start(1280, 900);
    if let Some(mut browser) = browser {
        browser.visit(&format!("http://127.0.0.1:{port}/"));
        let state = |label: &str| {
            format!("document.querySelector('.box[data-stage={label}] .state')?.textContent")
        };
        browser.wait(&format!("{}?.includes('will run')", state("first")));
        let run = test.run("").ran("steps first second").start();
        browser.wait(&format!("{}?.includes('running')", state("first")));
        browser.wait(&format!("{}?.includes('waiting')", state("second")));
        // A curve grows while its stage runs.
        browser.click(".box[data-stage=steps]");
        let line = "document.querySelector('#panel polyline')?.getAttribute('points')";
        for step in 1..=2 {
            fs::write(run.path(&format!("step-{step}")), "").unwrap();
            browser.wait(&format!("{line}?.split(' ').length === {step}"));
            browser.wait(&format!("{}?.includes('epoch {step}/3')", state("steps")));
        }
        assert!(
            browser
                .text("document.querySelector('#panel .curves').textContent")
                .contains("loss 0.7000 at 2")
        );
        fs::write(run.path("step-3"), "").unwrap();
        browser.wait(&format!("{}?.startsWith('ran')", state("steps")));
        fs::write(run.path("go-1"), "").unwrap();
        browser.wait(&format!("{}?.startsWith('ran')", state("first")));
        browser.wait(&format!("{}?.includes('running')", state("second")));
        // Its chart came without a new page.
        browser.value(SEE_ALL);
        browser.wait("document.querySelectorAll('.chart.drawn').length === 2");
        fs::write(run.path("go-2"), "").unwrap();
        run.finish();
        browser.wait(&format!("{}?.startsWith('ran')", state("second")));
        browser.wait("document.getElementById('facts').textContent.includes(': ok')");
        assert_eq!(browser.errors(), [""; 0]);
    }
    let host = format!("Host: 127.0.0.1:{port}\r\n");
    let get = |path: &str, headers: &str| {
        ask(
            port,
            &format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"),
        )
    };
    assert!(get("/", &host).starts_with("HTTP/1.1 200 "));
    assert!(get("/document.json", &host).contains("\"stages\""));
    for (path, headers, status) in [
        ("/", "Host: flow.example\r\n".to_string(), 403),
        (
            "/document.json",
            format!("Host: flow.example:{port}\r\n"),
            403,
        ),
        (
            "/document.json",
            format!("{host}Origin: http://flow.example\r\n"),
            403,
        ),
        (
            "/document.json",
            format!("{host}Sec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        ("/../../etc/passwd", host.clone(), 404),
        ("/.flow/format", host.clone(), 404),
    ] {
        let answer = get(path, &headers);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path} {headers}: {answer}"
        );
    }
    let post = ask(
        port,
        &format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nConnection: close\r\n\r\n"),
    );
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    page.signal(Signal::INT);
    page.finish();
}

#[test]
fn what_can_not_be_shown_says_so_and_hides_nothing_else() {
    let workflow = "[stages.a]\nrun = 'mkdir -p ${outputs.view}; cp view.json ${outputs.view}/'\noutputs = { view = 'view/' }\n\
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
