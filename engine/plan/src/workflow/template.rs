//! `${name}` in strings. A `$${` stands for a literal `${`.

use serde::{Deserialize, Serialize};

use super::node::{Located, Node, NodeValue};
use super::problem::Problem;

/// A string with references in it. Serialised it is the string as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Template {
    /// The string as written, which is what the key holds.
    pub text: String,
    /// Its parts.
    pub pieces: Vec<Piece>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// `${name}`.
    Name(String),
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.text
    }
}

impl TryFrom<String> for Template {
    type Error = Problem;

    fn try_from(text: String) -> Result<Template, Problem> {
        Template::parse(&text)
    }
}

impl Template {
    /// Takes a string apart.
    ///
    /// # Errors
    /// Where a `${` is never closed, or what it names can't be a name.
    pub fn parse(text: &str) -> Result<Template, Problem> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal.push_str(&rest[..at - 1]);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                return Err(Problem::UnclosedReference);
            };
            let name = &rest[at + 2..at + end];
            let valid = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
            if name.is_empty() || !name.chars().all(valid) {
                return Err(Problem::NotAName { name: name.into() });
            }
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Name(name.into()));
            rest = &rest[at + end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Template {
            text: text.into(),
            pieces,
        })
    }

    /// The names that it refers to.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The string where it refers to nothing: as written, but for doubled dollars.
    pub fn plain(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) | Piece::Name(text) => text.as_str(),
        });
        pieces.collect()
    }

    /// The string as a template in which only the names are left that `value` gives nothing for.
    pub fn partly<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<String, E> {
        let mut text = String::new();
        for piece in &self.pieces {
            let literal = match piece {
                Piece::Text(piece) => piece.clone(),
                Piece::Name(name) => match value(name)? {
                    Some(value) => value,
                    None => {
                        text.push_str(&format!("${{{name}}}"));
                        continue;
                    }
                },
            };
            text.push_str(&literal.replace("${", "$${"));
        }
        Ok(text)
    }

    /// The string with each name replaced by what `value` gives for it.
    pub fn render<E>(&self, mut value: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Name(name) => text.push_str(&value(name)?),
            }
        }
        Ok(text)
    }
}

/// A value with every `${name}` in it replaced. A string that is nothing but one name takes the value with its type,
/// and with the place where that value was written.
///
/// # Errors
/// The first name that `lookup` does not know, and malformed references, with their place.
pub fn resolve(
    node: &Node,
    lookup: &mut dyn FnMut(&str) -> Result<Node, Problem>,
) -> Result<Node, Box<Located<Problem>>> {
    let at = |value: Problem| {
        Box::new(Located {
            value,
            span: node.span,
        })
    };
    let value = match &node.value {
        NodeValue::String(text) => {
            let template = Template::parse(text).map_err(at)?;
            if let [Piece::Name(name)] = &template.pieces[..] {
                return lookup(name).map_err(at);
            }
            let text = template.render(|name| lookup(name).map(|node| node.value.text()));
            NodeValue::String(text.map_err(at)?)
        }
        NodeValue::Array(items) => NodeValue::Array(
            items
                .iter()
                .map(|item| resolve(item, lookup))
                .collect::<Result<_, _>>()?,
        ),
        NodeValue::Table(entries) => NodeValue::Table(
            entries
                .iter()
                .map(|(key, node)| {
                    Ok::<_, Box<Located<Problem>>>((key.clone(), resolve(node, lookup)?))
                })
                .collect::<Result<_, _>>()?,
        ),
        scalar => scalar.clone(),
    };
    Ok(Located {
        value,
        span: node.span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_and_doubled_dollars_are_text() {
        let template = Template::parse("a ${x.y} $${z} ${b}").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["x.y", "b"]);
        let text = template.render(|name| Ok::<_, ()>(format!("<{name}>")));
        assert_eq!(text.unwrap(), "a <x.y> ${z} <b>");
    }

    #[test]
    fn what_is_left_is_a_template_again() {
        let template = Template::parse("${a} $${b} ${cpus}").unwrap();
        let value = |name: &str| Ok::<_, ()>((name == "a").then(|| "${x}".to_string()));
        let left = template.partly(value).unwrap();
        assert_eq!(left, "$${x} $${b} ${cpus}");
        let left = Template::parse(&left).unwrap();
        assert_eq!(
            left.render(|_| Ok::<_, ()>("4".into())),
            Ok("${x} ${b} 4".into())
        );
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert!(matches!(
            Template::parse("${x"),
            Err(Problem::UnclosedReference)
        ));
        assert!(matches!(
            Template::parse("${a + b}"),
            Err(Problem::NotAName { .. })
        ));
    }
}
