//! A command with values in the place of its names. Pure: what names stand for, and how words are quoted, is the caller's.

use serde_json::Value;

use super::plain_text;
use crate::workflow::Template;
use crate::workflow::template::Piece;

/// What a name in a command stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// Where the name is a whole word: one word, several, or none.
    pub words: Vec<String>,
    /// Where other text is glued to it: one text. None: the words, with spaces between them.
    pub glued: Option<String>,
}

impl Words {
    /// One word, wherever it stands.
    pub fn one(word: impl Into<String>) -> Words {
        Words {
            words: vec![word.into()],
            glued: None,
        }
    }

    /// Paths: several words, wherever they stand.
    pub fn several(words: Vec<String>) -> Words {
        Words { words, glued: None }
    }

    /// A value: a list is as many words as it has items, or JSON where something is glued to it.
    pub fn of(value: &Value) -> Words {
        match value {
            Value::Array(items) => Words {
                words: items.iter().map(plain_text).collect(),
                glued: Some(value.to_string()),
            },
            value => Words::one(plain_text(value)),
        }
    }
}

/// An argument of a list: one that is nothing but a name becomes as many as the name has words.
///
/// # Errors
/// The first of `lookup`.
pub fn arguments<E>(
    template: &Template,
    mut lookup: impl FnMut(&str) -> Result<Words, E>,
) -> Result<Vec<String>, E> {
    if let [Piece::Name(name)] = &template.pieces[..] {
        return Ok(lookup(name)?.words);
    }
    let text = template.render(|name| {
        let words = lookup(name)?;
        Ok(words.glued.unwrap_or_else(|| words.words.join(" ")))
    });
    Ok(vec![text?])
}

/// Lines for a shell: each word quoted. A name is a whole word where white space, an operator of the shell or an end stands
/// on both sides of it.
///
/// # Errors
/// The first of `lookup` or `quote`.
pub fn line<E>(
    template: &Template,
    mut lookup: impl FnMut(&str) -> Result<Words, E>,
    mut quote: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    let parts = |c: char| c.is_whitespace() || matches!(c, ';' | '|' | '&' | '(' | ')' | '<' | '>');
    let mut line = String::new();
    for (i, piece) in template.pieces.iter().enumerate() {
        let name = match piece {
            Piece::Text(text) => {
                line.push_str(text);
                continue;
            }
            Piece::Name(name) => name,
        };
        let before = i.checked_sub(1).map(|i| &template.pieces[i]);
        let before = match before {
            None => true,
            Some(Piece::Text(text)) => text.ends_with(parts),
            Some(Piece::Name(_)) => false,
        };
        let after = match template.pieces.get(i + 1) {
            None => true,
            Some(Piece::Text(text)) => text.starts_with(parts),
            Some(Piece::Name(_)) => false,
        };
        let words = lookup(name)?;
        let words = match words.glued {
            Some(glued) if !(before && after) => vec![glued],
            _ => words.words,
        };
        let quoted: Vec<String> = words.iter().map(|w| quote(w)).collect::<Result<_, _>>()?;
        line.push_str(&quoted.join(" "));
    }
    Ok(line)
}
