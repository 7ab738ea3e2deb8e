//! The document, scripts and styles as one HTML file that loads nothing.
//!
//! Nothing of the document stands in the HTML itself: it is JSON in a script element of another type, and the scripts set it as
//! text. The page's policy names its scripts and its style by their digests, and allows no connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flow_cache::Digest;
use flow_stage::view::Item;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::document::Document;

/// What a page begins with, so that a report can be told from other files.
pub const BEGINNING: &str = "<!doctype html>\n<!-- flow report ";

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");

/// The scripts that are in every page, in their order: later ones use earlier ones.
const SCRIPTS: [&str; 12] = [
    include_str!("page/dom.js"),
    include_str!("page/files.js"),
    include_str!("page/table.js"),
    include_str!("page/shapes.js"),
    include_str!("page/charts.js"),
    include_str!("page/points.js"),
    include_str!("page/gallery.js"),
    include_str!("page/stage.js"),
    include_str!("page/dag.js"),
    include_str!("page/views.js"),
    include_str!("page/sweep.js"),
    include_str!("page/live.js"),
];
/// The last, which begins.
const MAIN: &str = include_str!("page/main.js");

const VEGA: &str = include_str!("vendor/vega.min.js");
const VEGA_LITE: &str = include_str!("vendor/vega-lite.min.js");
const INTERPRETER: &str = include_str!("vendor/vega-interpreter.js");

/// The policy beside scripts and style.
const POLICY: &str = "default-src 'none'; img-src data: blob:; base-uri 'none'; form-action 'none'";

/// The page of a document, for a file.
pub fn file(document: &Document) -> String {
    let data = format!(
        "<script type=\"application/json\" id=\"document\">{}</script>\n",
        escaped(document)
    );
    let scripts = scripts(has_charts(document));
    let policy = policy(&scripts, "connect-src 'none'");
    page(&policy, &data, &scripts)
}

/// The page that asks for its document, and its policy, which belongs into the header too.
pub fn live() -> (String, String) {
    let scripts = scripts(true);
    let policy = policy(&scripts, "connect-src 'self'");
    (page(&policy, "", &scripts), policy)
}

/// What a page of this flow takes without its document, in bytes.
pub fn frame_size(document: &Document) -> usize {
    let scripts = scripts(has_charts(document));
    let policy = policy(&scripts, "connect-src 'none'");
    page(&policy, "", &scripts).len() + 100
}

/// The digest of all that makes a page out of a document: another flow may make another page.
pub fn version() -> Digest {
    let mut all: Vec<&str> = vec![env!("CARGO_PKG_VERSION"), FRAME, STYLE];
    all.extend(SCRIPTS);
    all.extend([MAIN, VEGA, VEGA_LITE, INTERPRETER]);
    let digests: Vec<String> = all
        .iter()
        .map(|text| Digest::of_bytes(text.as_bytes()).to_string())
        .collect();
    Digest::of_bytes(digests.join("\n").as_bytes())
}

/// JSON that can stand inside a script element, whatever is in it.
pub fn escaped(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
    let mut text = String::with_capacity(json.len() + json.len() / 50);
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            c => text.push(c),
        }
    }
    text
}

fn has_charts(document: &Document) -> bool {
    let shown = document.views.iter().flat_map(|view| &view.items);
    let charts = shown.filter(|shown| matches!(shown.item, Item::VegaLite(_)));
    charts.count() + document.figures.len() + document.compared.len() > 0
}

fn scripts(charts: bool) -> Vec<String> {
    let mut scripts = Vec::new();
    if charts {
        scripts.push(VEGA.to_string());
        scripts.push(VEGA_LITE.to_string());
        scripts.push(interpreter());
    }
    scripts.extend(SCRIPTS.map(String::from));
    scripts.push(MAIN.into());
    scripts
}

/// The interpreter as a script: it is published as a module.
fn interpreter() -> String {
    let lines = INTERPRETER.lines().map(|line| {
        if let Some(names) = line
            .strip_prefix("import ")
            .and_then(|l| l.strip_suffix(" from 'vega-util';"))
        {
            format!("(() => {{ const {names} = vega;")
        } else if let Some(name) = line
            .strip_prefix("export { ")
            .and_then(|l| l.strip_suffix(" as expressionInterpreter };"))
        {
            format!("globalThis.vegaInterpreter = {name}; }})();")
        } else if line.starts_with("//#") {
            String::new()
        } else {
            line.into()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn policy(scripts: &[String], connect: &str) -> String {
    let hash = |text: &str| {
        format!(
            "'sha256-{}'",
            STANDARD.encode(Sha256::digest(text.as_bytes()))
        )
    };
    let hashes: Vec<String> = scripts.iter().map(|script| hash(script)).collect();
    format!(
        "{POLICY}; {connect}; script-src {}; style-src {}",
        hashes.join(" "),
        hash(STYLE)
    )
}

fn page(policy: &str, data: &str, scripts: &[String]) -> String {
    let scripts: Vec<String> = scripts
        .iter()
        .map(|script| format!("<script>{script}</script>"))
        .collect();
    // Each is replaced once and looked at no more: a document may hold any text.
    let mut page = String::with_capacity(data.len() + 1_000_000);
    let mut rest = FRAME;
    for (place, text) in [("@POLICY@", policy), ("@STYLE@", STYLE)] {
        if let Some((before, after)) = rest.split_once(place) {
            page.push_str(before);
            page.push_str(text);
            rest = after;
        }
    }
    if let Some((before, after)) = rest.split_once("@SCRIPTS@") {
        page.push_str(before);
        page.push_str(data);
        page.push_str(&scripts.join("\n"));
        page.push_str(after);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_document_ends_no_script() {
        let hostile = "</script><script>alert(1)</script><!--\u{2028}&amp;";
        let document = Document {
            workflow: hostile.into(),
            ..Document::default()
        };
        let page = file(&document);
        assert!(page.starts_with(BEGINNING));
        let empty = file(&Document::default());
        assert_eq!(
            page.matches("</script").count(),
            empty.matches("</script").count()
        );
        assert!(!page.contains("alert(1)</script>"));
        let json = escaped(&hostile);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    }

    #[test]
    fn no_script_of_ours_or_of_vega_ends_itself_and_none_has_a_place_for_text() {
        for script in scripts(true) {
            assert!(!script.to_lowercase().contains("</script"));
            assert!(!script.contains("<!--"));
        }
        assert!(!STYLE.contains("</style"));
        let page = file(&Document::default());
        for place in ["@POLICY@", "@STYLE@", "@SCRIPTS@"] {
            assert!(!page.contains(place), "{place}");
        }
    }

    #[test]
    fn the_vendored_files_are_those_that_were_published() {
        let sums = include_str!("vendor/SHA256SUMS");
        for (name, content) in [
            ("vega.min.js", VEGA),
            ("vega-lite.min.js", VEGA_LITE),
            ("vega-interpreter.js", INTERPRETER),
        ] {
            let digest = Sha256::digest(content.as_bytes());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(sums.contains(&format!("{hex}  {name}\n")), "{name}");
        }
        let interpreter = interpreter();
        assert!(!interpreter.contains("import ") && !interpreter.contains("export "));
        assert!(interpreter.contains("globalThis.vegaInterpreter = "));
    }
}
