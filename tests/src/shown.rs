//! A workflow whose stages publish views, and its report in a browser.

use serde_json::Value;

use crate::Test;
use crate::browser::Browser;

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

/// The script `publish.py`, by which they do it.
pub const PUBLISH: &str = include_str!("../publish.py");

/// The workflow and its script, not run.
pub fn shown() -> Test {
    Test::new()
        .file("publish.py", PUBLISH)
        .workflow(&SHOWN.replace(
            "count=${points}",
            "count=${points}; echo a,1 > ${outputs.table}",
        ))
}

/// The workflow after a run.
pub fn ran() -> Test {
    shown()
        .run("")
        .ran("data coarse[level=1.0] coarse[level=0.5] found")
        .check()
}

/// A page of the test's folder in a browser of this width; none where there is no browser.
pub fn opened(test: &Test, name: &str, width: u32) -> Option<Browser> {
    let mut browser = Browser::start(width, 900)?;
    browser.open(&test.path(name));
    Some(browser)
}

/// The document that a page holds.
pub fn document(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"document\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

/// All charts, plots and pictures are drawn when they are seen.
pub const SEE_ALL: &str = "(async () => { for (let y = 0; y < document.documentElement.scrollHeight; y += 500) { scrollTo(0, y); \
    await new Promise((done) => setTimeout(done, 60)); } scrollTo(0, 0); })()";
