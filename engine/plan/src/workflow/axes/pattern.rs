//! `raw/{sample}_R1.fastq`: a glob with names in braces. Each file that it matches is a row: what each brace matched is a
//! column of that name, and `path` is the file's path.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use super::table::near;
use super::{Files, Row};
use crate::workflow::is_glob;
use crate::workflow::node::{Located, Node, NodeValue};
use crate::workflow::problem::Problem;
use crate::workflow::reader::is_name;
use crate::workflow::source::Span;
use crate::workflow::tree::Entries;

/// The column of a file's path.
const PATH: &str = "path";

impl Files<'_> {
    /// The rows of what matches; the brace that is called as the axis is their key.
    pub fn matches(&mut self, axis: &str, text: &str, span: Span) -> Option<Vec<Row>> {
        let bad = |cause: String| Problem::BadGlob {
            pattern: text.into(),
            cause,
        };
        let parts = match parts(text) {
            Ok(parts) => parts,
            Err(cause) => {
                self.problems.add(bad(cause), span);
                return None;
            }
        };
        if !names(&parts).any(|name| name == axis) {
            let cause = format!("nothing in it says what `{axis}` is: write {{{axis}}}");
            self.problems.add(bad(cause), span);
            return None;
        }
        let whole = self.root.join(text);
        let listing = match self.sources.kept(&whole) {
            Some(kept) => serde_json::from_str::<Vec<String>>(kept).unwrap_or_default(),
            None => match list(&self.root, text) {
                Ok(found) => found,
                Err(problem) => {
                    self.problems.add(problem, span);
                    return None;
                }
            },
        };
        let source = self
            .sources
            .add_listing(&near(&whole), &self.root, text, as_text(&listing));
        let lines = self.sources.text(Span::new(source, 0..0)).to_string();
        let mut at = 0;
        let mut rows = Vec::new();
        for (path, line) in listing.iter().zip(lines.lines().skip(1)) {
            at = lines[at..].find(line).map_or(at, |found| at + found);
            let span = Span::new(source, at..at + line.trim_end_matches(',').len());
            at += line.len();
            let Some(captured) = captured(&parts, path) else {
                continue;
            };
            let node = |value: &str| Node {
                value: NodeValue::String(value.into()),
                span,
            };
            let name = |value: &str| Located {
                value: value.to_string(),
                span,
            };
            let mut cells: Entries = captured
                .iter()
                .map(|(brace, value)| (name(brace), node(value)))
                .collect();
            cells.push((name(PATH), node(path)));
            let key = captured.iter().find(|(brace, _)| brace == axis);
            rows.extend(key.map(|(_, key)| Row {
                key: node(key),
                cells,
            }));
        }
        self.check_names(&rows, text);
        Some(rows)
    }
}

/// What a pattern matches below `root`, in order.
///
/// # Errors
/// Where it is none, a folder can't be read, or a name is not UTF-8.
pub(in crate::workflow) fn list(root: &Path, text: &str) -> Result<Vec<String>, Problem> {
    let parts = parts(text).map_err(|cause| Problem::BadGlob {
        pattern: text.into(),
        cause,
    })?;
    let mut walk = Walk {
        text,
        known: Vec::new(),
        found: Vec::new(),
    };
    let (around, prefix) = match text.starts_with('/') {
        true => (Path::new("/"), "/"),
        false => (root, ""),
    };
    walk.go(around, prefix, &parts)?;
    let mut found = walk.found;
    if text.ends_with('/') {
        found.retain(|path| root.join(path).is_dir());
    }
    found.sort();
    Ok(found)
}

/// Whether a pattern matches a path, as far as names tell.
pub fn is_matched(pattern: &str, path: &str) -> bool {
    parts(pattern).is_ok_and(|parts| captured(&parts, path).is_some())
}

/// A listing as runs keep it: JSON, a path a line.
pub(in crate::workflow) fn as_text(listing: &[String]) -> String {
    let lines: Vec<String> = listing
        .iter()
        .map(|path| serde_json::Value::from(path.as_str()).to_string())
        .collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Plain(String),
    Pattern(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    One(char),
    /// `?`.
    Any,
    /// `*`.
    Star,
    /// `[…]`.
    Set(glob::Pattern),
    /// `{name}`: at least one character.
    Brace(String),
}

/// Takes a pattern apart.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let parts = text.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| match is_glob(part) || part.contains(['{', '}']) {
        false => Ok(Part::Plain(part.into())),
        true => tokens(part).map(Part::Pattern),
    });
    parts.collect()
}

fn tokens(part: &str) -> Result<Vec<Token>, String> {
    if part.contains("**") {
        return Err("`**` is unknown here: a `*` stays inside one folder".into());
    }
    let mut tokens = Vec::new();
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let until = |end: char| rest[1..].find(end).map(|at| 1 + at);
        let (token, length) = match first {
            '?' => (Token::Any, 1),
            '*' => (Token::Star, 1),
            '[' => {
                // A bracket directly at the beginning is one of the set.
                let skip = if rest.starts_with("[]") || rest.starts_with("[!]") {
                    3
                } else {
                    1
                };
                let end = rest.get(skip..).and_then(|tail| tail.find(']'));
                let end = end.ok_or("a `[` is never closed")? + skip + 1;
                let set = glob::Pattern::new(&rest[..end]).map_err(|error| error.to_string())?;
                (Token::Set(set), end)
            }
            '{' => {
                let end = until('}').ok_or("a `{` is never closed")?;
                let name = &rest[1..end];
                if !is_name(name) {
                    return Err(format!("`{{{name}}}` is no name in braces"));
                }
                let brace = Token::Brace(name.into());
                if tokens.contains(&brace) {
                    return Err(format!("`{{{name}}}` stands twice between two slashes"));
                }
                (brace, end + 1)
            }
            '}' => return Err("a `}` has no `{` before it".into()),
            other => (Token::One(other), other.len_utf8()),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// The names in braces.
fn names(parts: &[Part]) -> impl Iterator<Item = &str> {
    let tokens = parts.iter().flat_map(|part| match part {
        Part::Pattern(tokens) => &tokens[..],
        Part::Plain(_) => &[],
    });
    tokens.filter_map(|token| match token {
        Token::Brace(name) => Some(name.as_str()),
        _ => None,
    })
}

/// What braces matched: names and values.
type Captured = Vec<(String, String)>;

/// What the braces match in a path; none where the pattern does not match it.
fn captured(parts: &[Part], path: &str) -> Option<Captured> {
    let mut known = Captured::new();
    let mut names = path.split('/').filter(|name| !name.is_empty());
    for part in parts {
        known = matched(part, names.next()?, &known)?;
    }
    names.next().is_none().then_some(known)
}

/// What the braces match in a name too; none where the part does not match it.
fn matched(part: &Part, name: &str, known: &Captured) -> Option<Captured> {
    let tokens = match part {
        Part::Plain(plain) => return (plain == name).then(|| known.clone()),
        Part::Pattern(tokens) => tokens,
    };
    // What tools hide nobody means.
    if name.starts_with('.') && tokens.first() != Some(&Token::One('.')) {
        return None;
    }
    // A brace that matched in front has its value here too.
    let mut filled = Vec::new();
    for token in tokens {
        let value = match token {
            Token::Brace(brace) => known.iter().find(|(known, _)| known == brace),
            _ => None,
        };
        match value {
            Some((_, value)) => filled.extend(value.chars().map(Token::One)),
            None => filled.push(token.clone()),
        }
    }
    let letters: Vec<char> = name.chars().collect();
    let mut ends = Vec::new();
    let mut failed = HashSet::new();
    if !fits(&filled, &letters, (0, 0), &mut ends, &mut failed) {
        return None;
    }
    let mut all = known.clone();
    for (brace, from, to) in ends {
        all.push((brace, letters[from..to].iter().collect()));
    }
    Some(all)
}

/// Whether the tokens from one on fit the letters from one on, braces as much as they can, the first of them first; notes
/// what each brace takes.
fn fits(
    tokens: &[Token],
    letters: &[char],
    (token, letter): (usize, usize),
    braces: &mut Vec<(String, usize, usize)>,
    failed: &mut HashSet<(usize, usize)>,
) -> bool {
    let Some(first) = tokens.get(token) else {
        return letter == letters.len();
    };
    if failed.contains(&(token, letter)) {
        return false;
    }
    let (least, most) = match first {
        Token::Star => (letter, letters.len()),
        Token::Brace(_) => (letter + 1, letters.len()),
        single => {
            let fits = letters.get(letter).is_some_and(|found| match single {
                Token::One(wanted) => wanted == found,
                Token::Set(set) => set.matches(found.encode_utf8(&mut [0; 4])),
                _ => true,
            });
            match fits {
                true => (letter + 1, letter + 1),
                false => (1, 0),
            }
        }
    };
    for end in (least..=most).rev() {
        let before = braces.len();
        if let Token::Brace(name) = first {
            braces.push((name.clone(), letter, end));
        }
        if fits(tokens, letters, (token + 1, end), braces, failed) {
            return true;
        }
        braces.truncate(before);
    }
    failed.insert((token, letter));
    false
}

/// A walk along the parts of a pattern.
struct Walk<'a> {
    text: &'a str,
    /// What braces matched on the way.
    known: Captured,
    found: Vec<String>,
}

impl Walk<'_> {
    fn go(&mut self, folder: &Path, prefix: &str, parts: &[Part]) -> Result<(), Problem> {
        let Some((first, rest)) = parts.split_first() else {
            self.found.push(prefix.trim_end_matches('/').into());
            return Ok(());
        };
        if let Part::Plain(name) = first {
            let path = folder.join(name);
            return match path.symlink_metadata() {
                Ok(_) => self.go(&path, &format!("{prefix}{name}/"), rest),
                Err(_) => Ok(()),
            };
        }
        let failed = |error: io::Error| Problem::UnreadableFile {
            path: folder.display().to_string(),
            cause: error.to_string(),
        };
        if !folder.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let shown = name.to_string_lossy();
            let Some(known) = matched(first, &shown, &self.known) else {
                continue;
            };
            let path = folder.join(&name);
            if name.to_str().is_none() {
                return Err(Problem::OddName {
                    pattern: self.text.into(),
                    name: format!("{:?}", path),
                });
            }
            let before = std::mem::replace(&mut self.known, known);
            self.go(&path, &format!("{prefix}{shown}/"), rest)?;
            self.known = before;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_take_as_much_as_they_can_and_one_name_has_one_value() {
        let found = |pattern: &str, path: &str| {
            let captured = captured(&parts(pattern).unwrap(), path)?;
            let parts = captured
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            Some(parts.collect::<Vec<_>>().join(" "))
        };
        for (pattern, path, expected) in [
            ("raw/{s}_R1.fq", "raw/a_R1_R1.fq", Some("s=a_R1")),
            ("raw/{s}_R1.fq", "raw/_R1.fq", None),
            ("raw/{s}_R1.fq", "raw/x/a_R1.fq", None),
            ("{s}/{s}.fq", "a/a.fq", Some("s=a")),
            ("{s}/{s}.fq", "a/b.fq", None),
            ("{s}_{lane}.fq", "a_b_c.fq", Some("s=a_b lane=c")),
            ("{s}-[12]?*.fq", "a-2x.fq", Some("s=a")),
            ("{s}[]x].fq", "a].fq", Some("s=a")),
            ("{s}", ".hidden", None),
            (".{s}", ".hidden", Some("s=hidden")),
            ("{s}.fq", "ä ö.fq", Some("s=ä ö")),
        ] {
            assert_eq!(
                found(pattern, path).as_deref(),
                expected,
                "{pattern} {path}"
            );
        }
        // What could be tried in many ways has an end.
        let many = "*a".repeat(30);
        assert_eq!(found(&format!("{{s}}{many}b"), &"a".repeat(200)), None);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for pattern in ["{s", "s}", "{}", "{a b}", "{s}{s}", "**/{s}", "[a"] {
            assert!(parts(pattern).is_err(), "{pattern}");
        }
    }
}
