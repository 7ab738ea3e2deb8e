//! `stage`, `stage.output`, `stage[axis=value].output`.

use std::str::FromStr;

use super::problem::Problem;
use super::reader::is_name;

/// One or more instances of a stage, and an output of theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The stage's name.
    pub stage: String,
    /// The instances meant: axis and value, as text.
    pub selectors: Vec<(String, String)>,
    /// The output; the stage's first where none is named.
    pub output: Option<String>,
}

impl FromStr for Reference {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        parse(text).ok_or_else(|| Problem::MalformedReference { text: text.into() })
    }
}

fn parse(text: &str) -> Option<Reference> {
    let (head, selectors, tail) = match text.split_once('[') {
        Some((head, rest)) => {
            let (inside, tail) = rest.rsplit_once(']')?;
            (head, selectors(inside)?, tail)
        }
        None => match text.find('.') {
            Some(at) => (&text[..at], Vec::new(), &text[at..]),
            None => (text, Vec::new(), ""),
        },
    };
    let output = match tail.strip_prefix('.') {
        Some(output) if is_name(output) => Some(output.to_string()),
        None if tail.is_empty() => None,
        _ => return None,
    };
    is_name(head).then(|| Reference {
        stage: head.into(),
        selectors,
        output,
    })
}

/// `axis=value,axis=value`. A comma that no axis follows belongs to the value before it.
pub fn selectors(text: &str) -> Option<Vec<(String, String)>> {
    let mut selectors: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        match (part.split_once('='), selectors.last_mut()) {
            (Some((axis, value)), _) => {
                selectors.push((axis.trim().into(), value.trim().into()));
            }
            (None, Some((_, value))) => *value += &format!(",{}", part.trim_end()),
            (None, None) => return None,
        }
    }
    Some(selectors)
}
