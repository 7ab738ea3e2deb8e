//! YAML (1.2, as its core schema reads plain words) and JSON, read into values that remember where they were written.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::Span;
use super::tree::{Entries, find};

/// What stands for no value.
pub(super) const NULL: &str = "null";
/// Tables and lists may lie in each other as deep as that.
const DEPTH: usize = 100;
/// More values than this are refused: aliases multiply.
const VALUES: usize = 1_000_000;

/// What a text holds.
pub(super) struct Values {
    pub root: Node,
    /// Where `null` stands; some other value holds its place in the tree.
    pub nulls: HashSet<Span>,
}

/// Reads a text that stands at `place`; `None` where it is no YAML. An empty one is an empty table.
pub(super) fn yaml(text: &str, place: Span, problems: &mut Problems) -> Option<Values> {
    let (offsets, characters) = text.char_indices().unzip();
    read("YAML", characters, offsets, place, problems)
}

/// Reads JSON, which is YAML but for the two halves of a character beyond 16 bits.
pub(super) fn json(text: &str, place: Span, problems: &mut Problems) -> Option<Values> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let before: usize = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let at = (before + error.column().saturating_sub(1)).min(text.len());
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or("").into();
        let problem = Problem::Malformed {
            form: "JSON",
            message,
        };
        problems.add(problem, place.inside(at.unwrap_or(0)..at.unwrap_or(0)));
        return None;
    }
    let (mut offsets, mut characters) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let at = text.len() - rest.len();
        let (written, length) = match pair(rest) {
            Some(whole) => (format!("\\U{:08x}", u32::from(whole)), 12),
            // Between values alone. YAML has rules for lines and tabs that JSON has not.
            None if character.is_ascii_whitespace() && character != ' ' => (" ".into(), 1),
            // What is escaped begins nothing.
            None if character == '\\' => (rest.chars().take(2).collect(), 2),
            None => (character.to_string(), character.len_utf8()),
        };
        offsets.extend(std::iter::repeat_n(at, written.chars().count()));
        characters += &written;
        rest = &rest[length..];
    }
    read("JSON", characters, offsets, place, problems)
}

/// The character that two escapes stand for at the beginning of a text.
fn pair(text: &str) -> Option<char> {
    let unit = |range: Range<usize>| {
        let digits = text.get(range)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let units = [unit(0..6)?, unit(6..12)?];
    let mut characters = char::decode_utf16(units);
    let whole = characters.next()?.ok()?;
    characters.next().is_none().then_some(whole)
}

/// Reads a text; the bytes of its characters in the text that was written are `offsets`.
fn read(
    form: &'static str,
    text: String,
    offsets: Vec<usize>,
    place: Span,
    problems: &mut Problems,
) -> Option<Values> {
    let mut reading = Reading {
        parser: Parser::new_from_str(&text),
        form,
        offsets,
        place,
        anchors: HashMap::new(),
        values: 0,
        nulls: HashSet::new(),
        problems,
    };
    match reading.document() {
        Ok(root) => Some(Values {
            root,
            nulls: reading.nulls,
        }),
        Err(problem) => {
            problems.add(problem.value, problem.span);
            None
        }
    }
}

struct Reading<'a> {
    parser: Parser<'a, StrInput<'a>>,
    form: &'static str,
    offsets: Vec<usize>,
    place: Span,
    /// Values that have an anchor.
    anchors: HashMap<usize, Node>,
    /// How many values were read.
    values: usize,
    nulls: HashSet<Span>,
    problems: &'a mut Problems,
}

type Found<T> = Result<T, Box<Located<Problem>>>;

impl<'a> Reading<'a> {
    fn document(&mut self) -> Found<Node> {
        let empty = Located {
            value: NodeValue::Table(Entries::new()),
            span: self.place.inside(0..0),
        };
        let mut document = None;
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentEnd | Event::Nothing, _) => {}
                (Event::StreamEnd, _) => return Ok(document.unwrap_or(empty)),
                (Event::DocumentStart(_), span) if document.is_some() => {
                    return Err(self.wrong("a second document begins here", span));
                }
                (Event::DocumentStart(_), _) => {}
                // Nothing but comments.
                (Event::Scalar(text, ScalarStyle::Plain, ..), _) if text.is_empty() => {}
                (event, span) => document = Some(self.value(event, span, 0)?),
            }
        }
    }

    fn next(&mut self) -> Found<(Event<'a>, Span)> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.span(span.start, span.end))),
            Some(Err(error)) => {
                let span = self.span(*error.marker(), *error.marker());
                Err(self.wrong(error.info(), span))
            }
            None => Ok((Event::StreamEnd, self.place)),
        }
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let whole = self.place.range().len();
        let byte = |marker: Marker| self.offsets.get(marker.index()).copied().unwrap_or(whole);
        self.place.inside(byte(start)..byte(end).max(byte(start)))
    }

    fn wrong(&self, message: &str, span: Span) -> Box<Located<Problem>> {
        let value = Problem::Malformed {
            form: self.form,
            message: message.into(),
        };
        Box::new(Located { value, span })
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Found<Node> {
        if depth > DEPTH {
            return Err(self.wrong("values lie in each other more than 100 deep", span));
        }
        self.count(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), span)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.wrong("this alias stands inside of what it names", span));
                };
                self.count(size(&node), span)?;
                return Ok(node);
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag_of("seq", tag.as_deref(), span)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.value(event, span, depth + 1)?),
                    }
                }
                (NodeValue::Array(items), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.tag_of("map", tag.as_deref(), span)?;
                (NodeValue::Table(self.table(depth)?), anchor)
            }
            _ => return Err(self.wrong("a value is missing", span)),
        };
        let node = Located { value, span };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// What stands in a table until its end. A key `<<` takes in what other tables have.
    fn table(&mut self, depth: usize) -> Found<Entries> {
        let mut entries = Entries::new();
        let mut merged = Vec::new();
        loop {
            let (value, style, span) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(text, style, ..), span) => (text.into_owned(), style, span),
                (_, span) => return Err(self.wrong("a key has to be a word or a number", span)),
            };
            let (event, at) = self.next()?;
            let node = self.value(event, at, depth + 1)?;
            if value == "<<" && style == ScalarStyle::Plain {
                match node.value {
                    NodeValue::Array(items) => merged.extend(items),
                    _ => merged.push(node),
                }
                continue;
            }
            if find(&entries, &value).is_some() {
                return Err(self.wrong(&format!("the key `{value}` stands here twice"), span));
            }
            entries.push((Located { value, span }, node));
        }
        for Located { value, span } in merged {
            let NodeValue::Table(more) = value else {
                return Err(self.wrong("`<<` takes tables in, and this is none", span));
            };
            for (key, node) in more {
                if find(&entries, &key.value).is_none() {
                    entries.push((key, node));
                }
            }
        }
        Ok(entries)
    }

    fn count(&mut self, more: usize, span: Span) -> Found<()> {
        self.values += more;
        if self.values > VALUES {
            return Err(self.wrong("there are more than a million values up to here", span));
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: Span,
    ) -> Found<NodeValue> {
        let is_text = style != ScalarStyle::Plain;
        let is = |name| tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == name);
        match tag {
            None if is_text => return Ok(NodeValue::String(text.into())),
            None => {}
            Some(_) if is("str") => return Ok(NodeValue::String(text.into())),
            Some(_) if is("float") => {
                if let Ok(number) = text.parse::<f64>()
                    && number.is_finite()
                {
                    return Ok(NodeValue::Float(number));
                }
            }
            Some(_) => {}
        }
        let value = plain(text).unwrap_or_else(|what| {
            match what {
                NULL => drop(self.nulls.insert(span)),
                _ => self.problems.add(Problem::UnusableValue { what }, span),
            }
            NodeValue::Boolean(false)
        });
        let name = match value {
            NodeValue::Boolean(_) => "bool",
            NodeValue::Integer(_) => "int",
            NodeValue::Float(_) => "float",
            _ => "str",
        };
        self.tag_of(name, tag, span)?;
        Ok(value)
    }

    /// Checks the tag of a value that is what the core schema calls `name`.
    fn tag_of(&self, name: &str, tag: Option<&Tag>, span: Span) -> Found<()> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == name) => {
                let message = format!("the tag `{}{}` does not fit here", tag.handle, tag.suffix);
                Err(self.wrong(&message, span))
            }
            _ => Ok(()),
        }
    }
}

/// A plain word by the core schema; what of it no workflow can use.
fn plain(text: &str) -> Result<NodeValue, &'static str> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let based = |prefix, base| {
        let digits = text.strip_prefix(prefix)?;
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
        plain.then(|| i64::from_str_radix(digits, base))
    };
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => return Err(NULL),
        "true" | "True" | "TRUE" => NodeValue::Boolean(true),
        "false" | "False" | "FALSE" => NodeValue::Boolean(false),
        _ if matches!(unsigned, ".inf" | ".Inf" | ".INF") => {
            return Err("a number that is not finite");
        }
        ".nan" | ".NaN" | ".NAN" => return Err("a number that is not finite"),
        _ => {
            let whole = digits(unsigned).then(|| text.parse::<i64>());
            let whole = whole.or_else(|| based("0x", 16)).or_else(|| based("0o", 8));
            if let Some(whole) = whole {
                let number = whole.map_err(|_| "an integer beyond 64 bits")?;
                return Ok(NodeValue::Integer(number));
            }
            let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            match text.parse::<f64>() {
                Ok(number) if begins && number.is_finite() => NodeValue::Float(number),
                Ok(_) if begins => return Err("a number that is not finite"),
                _ => NodeValue::String(text.into()),
            }
        }
    })
}

/// How many values a value holds, itself among them.
fn size(node: &Node) -> usize {
    1 + match &node.value {
        NodeValue::Array(items) => items.iter().map(size).sum(),
        NodeValue::Table(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Sources;
    use super::*;

    fn said(read: fn(&str, Span, &mut Problems) -> Option<Values>, text: &str) -> String {
        let (mut sources, mut problems) = (Sources::default(), Problems::default());
        let place = sources.add_option("text", text);
        match read(text, place, &mut problems) {
            Some(values) if problems.is_empty() && values.nulls.is_empty() => {
                values.root.value.json().to_string()
            }
            Some(values) => {
                let null = Problem::UnusableValue { what: NULL };
                let nulls = values.nulls.iter();
                nulls.for_each(|span| problems.add(null.clone(), *span));
                super::super::Report::new(sources, problems).to_string()
            }
            _ => super::super::Report::new(sources, problems).to_string(),
        }
    }

    #[test]
    fn plain_words_are_those_of_the_core_schema() {
        let text = "a: 1\nb: 0x1F\nc: 1e-3\nd: .5\ne: yes\nf: 012\ng: '7'\nh: 2020-01-01\ni: [true, -3, 1.]\nj: !!str 5\n\
                    l: !!float 5\nm: !!map {n: !!int '7', o: !!bool true}\nk: |\n  x\n  y\n";
        assert_eq!(
            said(yaml, text),
            r#"{"a":1,"b":31,"c":0.001,"d":0.5,"e":"yes","f":12,"g":"7","h":"2020-01-01","i":[true,-3,1.0],"j":"5","k":"x\ny\n","l":5.0,"m":{"n":7,"o":true}}"#
        );
        assert_eq!(said(yaml, "# nothing\n"), "{}");
        assert_eq!(said(yaml, ""), "{}");
    }

    #[test]
    fn aliases_and_merges_are_taken_in() {
        let text = "base: &b {x: 1, y: 2}\none: *b\ntwo: {<<: *b, y: 3}\n";
        assert_eq!(
            said(yaml, text),
            r#"{"base":{"x":1,"y":2},"one":{"x":1,"y":2},"two":{"x":1,"y":3}}"#
        );
    }

    #[test]
    fn what_is_wrong_is_shown_at_its_place() {
        let places = [
            ("ü: 1\nb: null\n", "text:2:4"),
            ("a: [1, 2\nb: 3\n", "text:2"),
            ("a: 1\na: 2\n", "text:2:1"),
            ("a: .nan\n", "text:1:4"),
            ("a: !mine 5\n", "text:1:"),
            ("a: !mine {b: 1}\n", "text:1:"),
            ("a: !!set {b: 1}\n", "text:1:"),
            ("a: !!int no\n", "text:1:"),
            ("? [a]\n: 1\n", "text:1:"),
            ("a: 1\n---\nb: 2\n", "text:2:1"),
            ("a: 99999999999999999999\n", "text:1:4"),
        ];
        for (text, place) in places {
            let said = said(yaml, text);
            assert!(said.contains(place), "{text:?}: {said}");
        }
        assert!(said(json, "{\"a\": 1,}\n").contains("text:1:9"));
        assert!(said(json, "{a: 1}").contains("not valid JSON"));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "[".repeat(5000);
        assert!(said(yaml, &format!("a: {deep}")).contains("error: "));
        let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_string();
        for i in 1..9 {
            let before = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb += &format!("a{i}: &a{i} [{before}]\n");
        }
        assert!(said(yaml, &bomb).contains("more than a million values"));
    }

    #[test]
    fn json_keeps_its_characters_and_places() {
        let text = "{\n\t\"a\": \"\\ud83d\\ude00 \\\\ud83d\\u00e9\", \"b\"\t:\t[1,\r\n2.0],\t\"c\"\n:\n\nnull\n}";
        assert!(
            said(json, text).contains("text:6:1\n"),
            "{}",
            said(json, text)
        );
        assert_eq!(
            said(json, &text.replace("null", "true")),
            r#"{"a":"😀 \\ud83dé","b":[1,2.0],"c":true}"#
        );
    }
}
