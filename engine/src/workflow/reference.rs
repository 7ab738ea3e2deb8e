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
            let selectors = inside
                .split(',')
                .map(|part| {
                    let (axis, value) = part.split_once('=')?;
                    Some((axis.trim().to_string(), value.trim().to_string()))
                })
                .collect::<Option<Vec<_>>>()?;
            (head, selectors, tail)
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
