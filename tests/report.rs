//! `flow report`: the page, looked at in a browser.

use flow_tests::Test;
use flow_tests::shown::{PUBLISH, SEE_ALL, document, opened, ran, shown};
use serde_json::{Value, json};

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
fn many_points_are_hovered_zoomed_and_filtered() {
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
    // However often one zooms between two frames, each frame is drawn once: 300 turns of the wheel, 60 frames.
    let drawings = "(async () => { const canvas = document.querySelector('.plot canvas'); const b = canvas.getBoundingClientRect(); \
        const frames = document.querySelector('.plot').drawn.frames; frames.length = 0; for (let i = 0; i < 60; i++) { \
        for (let n = 0; n < 5; n++) canvas.dispatchEvent(new WheelEvent('wheel', \
        {deltaY: i < 30 ? -40 : 40, clientX: b.x + 200 + i, clientY: b.y + 150, cancelable: true})); \
        await new Promise(requestAnimationFrame); } return frames.length; })()";
    assert_eq!(browser.value(drawings), 60);
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
