//! How stages that were run again compare with their stored results, in words.

use flow_results::words::{duration, pair, plain};
use flow_run::record::check::{Again, CheckEnd, Checked, Verdict};
use flow_run::record::difference::{Difference, Elements, How};
use serde_json::Value;

/// As many files of one output are named; a folder may hold thousands.
pub(super) const NAMED: usize = 5;

/// A line for the stage, and one for each thing that differs.
pub(super) fn lines(end: &CheckEnd) -> Vec<String> {
    let seconds = end.runs.iter().map(|run| run.seconds).sum();
    let head = format!(
        "{:<9} {:<28} {:>9}  {}",
        word(end.status),
        plain(&end.label()),
        duration(seconds),
        threads(end)
    );
    let mut lines = vec![head];
    let several = end.runs.len() > 1;
    for (number, run) in end.runs.iter().enumerate() {
        let which = if several {
            format!("run {} with {}: ", number + 1, thread_count(run.threads))
        } else {
            String::new()
        };
        lines.extend(told(run).into_iter().map(|line| format!("  {which}{line}")));
        let tail = run.failure.iter().flat_map(|failure| &failure.tail);
        lines.extend(tail.map(|line| format!("  | {}", plain(line))));
    }
    if end.status == Verdict::Differs {
        lines.push(format!(
            "  the stored result was made {}",
            made(&end.stored)
        ));
    }
    lines
}

/// The last line.
pub(super) fn summary(checked: &Checked) -> String {
    let stages = checked.identical + checked.differs + checked.failed + checked.cancelled;
    let mut counts = vec![format!("{} of {stages} identical", checked.identical)];
    for (count, word) in [
        (checked.differs, "differing"),
        (checked.failed, "failed"),
        (checked.cancelled, "not run"),
    ] {
        if count > 0 {
            counts.push(format!("{count} {word}"));
        }
    }
    format!(
        "check: {}, {}",
        counts.join(", "),
        duration(checked.seconds)
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "identical",
        Verdict::Cancelled => "not run",
        Verdict::Differs => "differs",
        Verdict::Failed => "failed",
    }
}

fn thread_count(threads: u32) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// How often it ran and with how many threads, and how many the stored result had.
fn threads(end: &CheckEnd) -> String {
    let mut counts: Vec<u32> = end.runs.iter().map(|run| run.threads).collect();
    counts.dedup();
    let each = end.runs.len() / counts.len().max(1);
    let mut text = match each {
        0 | 1 => String::new(),
        n => format!("{n} times "),
    };
    let all: Vec<String> = counts.iter().map(u32::to_string).collect();
    text += &match counts[..] {
        [] => String::new(),
        [one] => format!("with {}", thread_count(one)),
        _ => format!("with {} threads", all.join(", ")),
    };
    match end.stored["threads"].as_u64() {
        Some(stored) if counts.iter().any(|n| u64::from(*n) != stored) => {
            format!("{text}; stored with {stored}")
        }
        _ => text,
    }
}

/// Where and with what the stored result was made.
pub(super) fn made(provenance: &Value) -> String {
    let text = |name: &str| provenance[name].as_str().map(plain);
    let mut parts = Vec::new();
    if let Some(threads) = provenance["threads"]
        .as_u64()
        .and_then(|n| n.try_into().ok())
    {
        parts.push(format!("with {}", thread_count(threads)));
    }
    let device = text("device").filter(|device| device != "cpu");
    parts.extend(device.map(|device| format!("and {device}")));
    parts.extend(text("host").map(|host| format!("on {host}")));
    parts.extend(text("platform").map(|platform| format!("({platform})")));
    parts.extend(text("plugin").map(|plugin| format!("by {plugin}")));
    parts.join(" ")
}

fn told(run: &Again) -> Vec<String> {
    let mut lines: Vec<String> = run
        .failure
        .iter()
        .map(|failure| plain(&failure.message))
        .collect();
    for (role, output) in &run.outputs {
        let files = output.files.iter().take(NAMED);
        lines.extend(files.map(|file| format!("{role}{}", difference(file))));
        if output.files.len() > NAMED {
            let more = output.files.len() - NAMED;
            lines.push(format!("{role}: {more} more files differ"));
        }
    }
    lines
}

fn difference(difference: &Difference) -> String {
    let file = plain(&difference.file);
    let name = if file.is_empty() {
        String::new()
    } else {
        format!("/{file}")
    };
    format!("{name}: {}", how(&difference.how))
}

fn how(how: &How) -> String {
    match how {
        How::Gone => "it was not made again".into(),
        How::New => "the stored result does not have it".into(),
        How::Elements(found) => elements(found),
        How::Form { stored, made } => format!("{}, stored {}", plain(made), plain(stored)),
        How::Value { at, stored, made } => {
            let shown = |value: &Option<Value>| value.as_ref().map(Value::to_string);
            let at = if at.is_empty() { "the value" } else { at };
            format!(
                "{} is {}",
                plain(at),
                then_and_now(shown(stored), shown(made))
            )
        }
        How::Line { line, stored, made } => {
            let shown = |text: &Option<String>| text.as_ref().map(|text| format!("`{text}`"));
            format!(
                "line {line} is {}",
                then_and_now(shown(stored), shown(made))
            )
        }
        How::Byte { at, stored, made } => {
            format!("byte {at} differs; {made} bytes, stored {stored}")
        }
    }
}

/// How the elements of arrays differ.
pub(super) fn elements(found: &Elements) -> String {
    let mut text = format!(
        "{} of {} elements differ, by up to {:.2e} ({:.2e} relative)",
        found.differing, found.elements, found.largest_absolute, found.largest_relative
    );
    if found.not_finite > 0 {
        text += &format!("; {} of them are not finite", found.not_finite);
    }
    if let Some(tensor) = &found.tensor {
        text += &format!("; the most in {}", plain(tensor));
    }
    text
}

fn then_and_now(stored: Option<String>, made: Option<String>) -> String {
    let shown = |text: Option<String>| text.map_or("not there".into(), |text| plain(&text));
    let (made, stored) = pair(&shown(made), &shown(stored));
    format!("{made}, stored {stored}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow_cache::{Digest, Key};
    use flow_run::record::check::OutputDiffers;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn end(runs: Vec<Again>) -> CheckEnd {
        CheckEnd {
            stage: "a".into(),
            instance: BTreeMap::new(),
            status: runs.iter().map(|run| run.status).max().unwrap(),
            key: Key(Digest::of_bytes(b"")),
            stored: json!({"threads": 2, "host": "box", "platform": "linux x86_64", "plugin": "p 1"}),
            runs,
        }
    }

    fn run(threads: u32, files: Vec<Difference>) -> Again {
        let digest = Digest::of_bytes(b"");
        let output = OutputDiffers {
            stored: digest,
            made: digest,
            files,
        };
        let differs = !output.files.is_empty();
        Again {
            status: if differs {
                Verdict::Differs
            } else {
                Verdict::Identical
            },
            threads,
            seconds: 1.0,
            outputs: differs.then(|| ("o".into(), output)).into_iter().collect(),
            failure: None,
        }
    }

    #[test]
    fn threads_are_told_where_bytes_are_compared() {
        let told = |threads: &[u32]| {
            let runs = threads.iter().map(|n| run(*n, Vec::new())).collect();
            lines(&end(runs))[0].split("  ").last().unwrap().to_string()
        };
        assert_eq!(told(&[2]), "with 2 threads");
        assert_eq!(told(&[2, 2, 2]), "3 times with 2 threads");
        assert_eq!(told(&[1]), "with 1 thread; stored with 2");
        assert_eq!(
            told(&[1, 1, 5, 5]),
            "2 times with 1, 5 threads; stored with 2"
        );
    }

    #[test]
    fn what_differs_is_told_with_its_place_and_no_controls() {
        let line = Difference {
            file: "x\u{1b}.csv".into(),
            how: How::Line {
                line: 3,
                stored: Some("1\t2".into()),
                made: None,
            },
        };
        let told = lines(&end(vec![run(2, Vec::new()), run(1, vec![line])]));
        assert_eq!(
            told[1..],
            [
                r"  run 2 with 1 thread: o/x\u{1b}.csv: line 3 is not there, stored `1\t2`",
                "  the stored result was made with 2 threads on box (linux x86_64) by p 1"
            ]
        );
    }
}
