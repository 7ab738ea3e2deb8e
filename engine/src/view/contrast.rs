//! How two runs, or two points of a sweep, differ: in words, and as JSON.

use bytesize::ByteSize;
use flow_cache::Digest;
use flow_results::Stands;
use flow_results::contrast::{
    Changed, Content, Contrast, OutputDiffers, Side, Stage, StageDiffers,
};
use flow_results::words::{pair, plain, short};
use flow_run::record::difference::{Difference, How};
use flow_stage::view::Table;
use serde_json::{Value, json};

use super::check::{NAMED, elements, made};
use super::layout;

/// In words.
pub fn text(a: &Side, b: &Side, contrast: &Contrast) -> String {
    let mut blocks = vec![format!("A  {}\nB  {}", plain(&a.name), plain(&b.name))];
    if !contrast.params.is_empty() {
        blocks.push(block(
            "params",
            contrast.params.iter().map(|c| changed("", c)),
        ));
    }
    for changed in &contrast.code {
        blocks.push(code(changed));
    }
    let (mut only_a, mut only_b) = (Vec::new(), Vec::new());
    for differs in &contrast.stages {
        match (a.stage(&differs.stage), b.stage(&differs.stage)) {
            (Some(left), Some(right)) => blocks.push(stage(differs, left, right)),
            (Some(_), None) => only_a.push(plain(&differs.stage)),
            _ => only_b.push(plain(&differs.stage)),
        }
    }
    for (side, stages) in [("A", only_a), ("B", only_b)] {
        if !stages.is_empty() {
            let only = format!("only {side} has {}", stages.join(", "));
            blocks.push(layout::sentence(only));
        }
    }
    if !contrast.without.is_empty() {
        let names: Vec<String> = contrast.without.iter().map(|name| plain(name)).collect();
        let neither = format!("neither has a result of {}", names.join(", "));
        blocks.push(layout::sentence(neither));
    }
    let stages = |count: usize| format!("{count} stage{}", if count == 1 { "" } else { "s" });
    blocks.push(if contrast.is_empty() {
        format!(
            "nothing differs: {} with the same parameters, figures and artifacts",
            stages(contrast.same)
        )
    } else {
        let verb = if contrast.stages.len() == 1 {
            "differs"
        } else {
            "differ"
        };
        format!(
            "{} {verb}, {} the same",
            stages(contrast.stages.len()),
            contrast.same
        )
    });
    blocks.join("\n\n")
}

/// A file that differs: a unified diff, or why there is none.
fn code(changed: &flow_results::code::Changed) -> String {
    match (&changed.diff, changed.why) {
        (Some(diff), _) => {
            // Tabs are part of code.
            let line = |line: &str| line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
            let lines: Vec<String> = diff.lines().map(line).collect();
            lines.join("\n")
        }
        (None, why) => layout::sentence(format!(
            "{} differs: {}",
            plain(&changed.path),
            why.unwrap_or("not text")
        )),
    }
}

fn block(title: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows = rows.map(|row| row.iter().map(|cell| plain(cell)).collect());
    format!("{title}\n{}", layout::lines(rows, 2))
}

fn stage(differs: &StageDiffers, a: &Stage, b: &Stage) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    if a.record.is_none() || b.record.is_none() {
        for (side, stage) in [("A", a), ("B", b)] {
            rows.push(vec![side.into(), standing(stage)]);
        }
    }
    rows.extend(
        differs
            .parts
            .iter()
            .map(|part| match part.name.starts_with("input `") {
                // Digests say no more than that they differ.
                true => vec![part.name.clone(), input(part)],
                false => changed("", part),
            }),
    );
    rows.extend(
        differs
            .metrics
            .iter()
            .map(|metric| changed("figure ", metric)),
    );
    for output in &differs.outputs {
        rows.extend(self::output(output));
    }
    if a.key == b.key && a.record.is_some() && b.record.is_some() {
        for (side, stage) in [("A", a), ("B", b)] {
            let provenance = stage.provenance.as_ref().map_or(String::new(), made);
            rows.push(vec![
                "one key, made".into(),
                format!("{side}: {provenance}"),
            ]);
        }
    }
    block(&plain(&differs.stage), rows.into_iter())
}

/// How a stage without a result stands.
fn standing(stage: &Stage) -> String {
    let word = stage.status.word();
    match (&stage.failure, &stage.record, stage.status) {
        (Some(failure), ..) => format!("{word}: {failure}"),
        (None, None, Stands::Ended(status)) if status.is_done() => {
            format!("{word}, but its result is no longer in the store")
        }
        _ => word.into(),
    }
}

fn input(part: &Changed) -> String {
    match (&part.a, &part.b) {
        (Some(_), Some(_)) => "other content".into(),
        (Some(_), None) => "only in A".into(),
        _ => "only in B".into(),
    }
}

fn changed(what: &str, changed: &Changed) -> Vec<String> {
    let side = |value: &Option<Value>| match value {
        None => "-".to_string(),
        Some(Value::String(text)) => text.clone(),
        // Null stands for a figure that is not finite.
        Some(Value::Null) if !what.is_empty() => "NaN".into(),
        Some(value) => value.to_string(),
    };
    let rounded = |value: &Option<Value>| match value.as_ref().filter(|value| value.is_f64()) {
        Some(value) => format!("{:.6}", value.as_f64().unwrap_or(f64::NAN)),
        None => side(value),
    };
    let (mut a, mut b) = (rounded(&changed.a), rounded(&changed.b));
    if what.is_empty() || a == b {
        (a, b) = pair(&side(&changed.a), &side(&changed.b));
    }
    let mut text = format!("{a} → {b}");
    let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64);
    if !what.is_empty()
        && let (Some(a), Some(b)) = (number(&changed.a), number(&changed.b))
    {
        text += &format!(" ({})", difference_of(b - a));
    }
    vec![format!("{what}{}", changed.name), text]
}

/// Counts differ by whole numbers, and small differences are not none.
fn difference_of(difference: f64) -> String {
    if difference.fract() == 0.0 && difference.abs() < 1e15 {
        format!("{difference:+.0}")
    } else if difference.abs() < 1e-4 {
        format!("{difference:+.1e}")
    } else {
        format!("{difference:+.4}")
    }
}

fn output(output: &OutputDiffers) -> Vec<Vec<String>> {
    let side = |content: Option<Content>| {
        content.map_or("-".to_string(), |content| {
            let digest = short(&content.digest.to_string());
            format!("{digest}, {}", ByteSize(content.size))
        })
    };
    let mut rows = vec![vec![
        format!("output {}", output.role),
        format!("{} → {}", side(output.a), side(output.b)),
    ]];
    let files = output.files.iter().take(NAMED);
    rows.extend(files.map(|file| vec![String::new(), difference(file)]));
    if output.files.len() > NAMED {
        let more = output.files.len() - NAMED;
        rows.push(vec![String::new(), format!("{more} more files differ")]);
    }
    rows
}

fn difference(difference: &Difference) -> String {
    let place = match difference.file.as_str() {
        "" => String::new(),
        file => format!("{file}: "),
    };
    let value = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
    let line = |text: &Option<String>| {
        let text = text.as_ref();
        text.map_or("-".into(), |text| format!("`{text}`"))
    };
    let how = match &difference.how {
        How::Gone => "only A has it".into(),
        How::New => "only B has it".into(),
        How::Elements(found) => elements(found),
        How::Form { stored, made } => format!("{stored} → {made}"),
        How::Value { at, stored, made } => {
            let at = if at.is_empty() { "the value" } else { at };
            let (a, b) = pair(&value(stored), &value(made));
            format!("{at}: {a} → {b}")
        }
        How::Line {
            line: at,
            stored,
            made,
        } => {
            let (a, b) = pair(&line(stored), &line(made));
            format!("line {at}: {a} → {b}")
        }
        How::Byte { at, .. } => format!("the first byte that differs is that at {at}"),
    };
    format!("{place}{how}")
}

/// An object for what is compared, one for each stage that differs, one that counts.
pub fn json(a: &Side, b: &Side, contrast: &Contrast) -> Vec<Value> {
    let side = |side: &Side| json!({"name": side.name, "store": side.store.root()});
    let mut lines = vec![json!({
        "event": "compare",
        "a": side(a),
        "b": side(b),
        "params": contrast.params,
    })];
    for changed in &contrast.code {
        lines.push(json!({
            "event": "code",
            "path": changed.path,
            "a": changed.a,
            "b": changed.b,
            "diff": changed.diff,
            "why": changed.why,
        }));
    }
    for differs in &contrast.stages {
        lines.push(json!({
            "event": "difference",
            "stage": differs.stage,
            "a": a.stage(&differs.stage),
            "b": b.stage(&differs.stage),
            "parts": differs.parts,
            "metrics": differs.metrics,
            "outputs": differs.outputs,
        }));
    }
    lines.push(json!({
        "event": "compared",
        "same": contrast.same,
        "without": contrast.without,
        "differs": contrast.stages.len(),
    }));
    lines
}

/// What differs, as tables of a page.
pub fn tables(contrast: &Contrast) -> Vec<Table> {
    let shown = |value: &Option<Value>| match value {
        Some(Value::String(text)) => json!(text),
        Some(Value::Number(number)) => json!(number),
        Some(other) => json!(other.to_string()),
        None => Value::Null,
    };
    let table = |title: &str, first: &str, rows: Vec<Vec<Value>>| Table {
        title: title.into(),
        columns: [first, "A", "B"].map(String::from).into(),
        rows,
    };
    let row =
        |name: String, changed: &Changed| vec![json!(name), shown(&changed.a), shown(&changed.b)];
    let params = contrast.params.iter();
    let params = params
        .map(|changed| row(changed.name.clone(), changed))
        .collect();
    let digest = |digest: &Option<Digest>| {
        let shown = digest.map(|digest| short(&digest.to_string()));
        json!(shown)
    };
    let code = contrast.code.iter();
    let code = code
        .map(|changed| vec![json!(changed.path), digest(&changed.a), digest(&changed.b)])
        .collect();
    let of_stages = |of: fn(&StageDiffers) -> &[Changed]| {
        let rows = contrast.stages.iter().flat_map(|stage| {
            let changed = of(stage).iter();
            changed.map(|changed| row(format!("{}.{}", stage.stage, changed.name), changed))
        });
        rows.collect()
    };
    let all = [
        table("Params", "param", params),
        table("Code", "file", code),
        table("Figures", "figure", of_stages(|stage| &stage.metrics)),
        table(
            "What decides results",
            "of the key",
            of_stages(|stage| &stage.parts),
        ),
    ];
    all.into_iter()
        .filter(|table| !table.rows.is_empty())
        .collect()
}
