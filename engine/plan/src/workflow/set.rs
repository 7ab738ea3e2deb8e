//! Values from the command line: `--set name=value`, `--sweep axis=value,…`, `--seeds`. One reader for all of them.

use toml::de::DeValue;

use super::node::{self, Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::{Sources, Span};

/// A name with the value that it gets; none where its value is taken away.
pub(super) type Setting = (Located<String>, Option<Node>);

/// Reads one assignment: `keep=0.8`, `arch=cnn`, `epochs={min=1,max=3}`; `digest=` takes a value away.
pub(super) fn assignment(
    text: &str,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<Setting> {
    let (name, place) = named("--set", text, sources, problems)?;
    let node = match place.of(text) {
        "" => None,
        value => Some(self::value(value, place, problems)),
    };
    Some((name, node))
}

/// Reads one axis: a TOML list, or values with commas between them: `keep=0.8,0.9`, `arch=cnn,resnet18`.
pub(super) fn list(
    text: &str,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<(Located<String>, Vec<Node>)> {
    let (name, place) = named("--sweep", text, sources, problems)?;
    if place.of(text).is_empty() {
        return Some((name, Vec::new()));
    }
    let node = value(place.of(text), place, problems);
    let values = match node.value {
        NodeValue::Array(items) => items,
        // Whether it is one value or several is only known now.
        NodeValue::String(_) => values(text, place, problems),
        value => vec![Located {
            value,
            span: node.span,
        }],
    };
    Some((name, values))
}

/// Reads `--seeds`: a number of them, or two and more with commas between them, or a TOML list.
pub(super) fn seeds(text: &str, sources: &mut Sources, problems: &mut Problems) -> Node {
    let place = trimmed(sources.add_option("--seeds", text), text);
    let node = value(place.of(text), place, problems);
    if matches!(node.value, NodeValue::String(_)) && text.contains(',') {
        let value = NodeValue::Array(values(text, place, problems));
        return Located { value, span: place };
    }
    node
}

/// The name before the `=`, and the place of the value behind it.
fn named(
    option: &str,
    text: &str,
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<(Located<String>, Span)> {
    let whole = sources.add_option(option, text);
    let Some(at) = text.find('=') else {
        problems.add(Problem::SetWithoutValue, whole);
        return None;
    };
    let span = trimmed(whole.inside(0..at), text);
    let value = span.of(text).to_string();
    let rest = trimmed(whole.inside(at + 1..text.len()), text);
    Some((Located { value, span }, rest))
}

/// A place without the white space around it.
fn trimmed(place: Span, text: &str) -> Span {
    let within = place.of(text);
    let start = within.len() - within.trim_start().len();
    place.inside(start..start.max(within.trim_end().len()))
}

/// A value as TOML where it reads as such, else a string.
fn value(text: &str, place: Span, problems: &mut Problems) -> Node {
    match DeValue::parse(text) {
        Ok(parsed) => node::node(&parsed, text, place, problems),
        Err(_) => Located {
            value: NodeValue::String(text.to_string()),
            span: place,
        },
    }
}

/// The values at a place, with commas between them.
fn values(text: &str, place: Span, problems: &mut Problems) -> Vec<Node> {
    let parts = pieces(place.of(text)).into_iter();
    let parts: Vec<Span> = parts
        .map(|range| trimmed(place.inside(range), text))
        .collect();
    // One is enough: whoever types `,,,,` need not read it four times.
    if let Some(empty) = parts.iter().find(|part| part.of(text).is_empty()) {
        problems.add(Problem::NoValue, *empty);
    }
    parts
        .into_iter()
        .filter(|part| !part.of(text).is_empty())
        .map(|part| value(part.of(text), part, problems))
        .collect()
}

/// The pieces of a text between its commas. Those in quotes and brackets do not count, as long as these are closed.
fn pieces(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut cuts = Vec::new();
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    // Whether nothing but white space stands before, so that a quote begins a string: not that of `it's`.
    let mut begins = true;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some('"'), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) => quote = quote.filter(|_| character != open),
            (None, '"' | '\'') if begins || depth > 0 => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => cuts.push(at),
            _ => {}
        }
        begins = character == ',' || (begins && character.is_whitespace());
    }
    if depth > 0 || quote.is_some() {
        cuts = text.match_indices(',').map(|(at, _)| at).collect();
    }
    let starts = std::iter::once(0).chain(cuts.iter().map(|at| at + 1));
    let ends = cuts.iter().copied().chain([text.len()]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<serde_json::Value> {
        let (mut sources, mut problems) = Default::default();
        let (_, values) = list(text, &mut sources, &mut problems).unwrap();
        assert!(problems.is_empty(), "{text}");
        values.iter().map(|value| value.value.json()).collect()
    }

    #[test]
    fn commas_part_values_unless_they_belong_to_one() {
        let read = |text| serde_json::Value::from(read(text)).to_string();
        assert_eq!(read("x=0.8,0.9"), "[0.8,0.9]");
        assert_eq!(read("x=[1, 2]"), "[1,2]");
        assert_eq!(read("x=[1,2],[3]"), "[[1,2],[3]]");
        assert_eq!(read("x = {a=1,b=2}, {a=3}"), r#"[{"a":1,"b":2},{"a":3}]"#);
        assert_eq!(read(r#"x="a,b",c"#), r#"["a,b","c"]"#);
        assert_eq!(read(r#"x="a\",b","c,d""#), r#"["a\",b","c,d"]"#);
        assert_eq!(read("x=it's,7"), r#"["it's",7]"#);
        assert_eq!(read("x=[1,2"), r#"["[1",2]"#);
        assert_eq!(read("x="), "[]");
    }
}
