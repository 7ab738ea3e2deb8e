//! An input of a stage: where it comes from, and where it lies in the folder of a program.

use std::path::{Component, Path};

use super::node::{Located, Node, NodeValue};
use super::problem::Problem;
use super::reader::Reader;
use super::source::Span;
use super::{Action, Input, Origin, Reference, Template};

/// What an input's table may hold.
const KEYS: [&str; 6] = ["from", "collect", "path", "as", "exclude", "writable"];

impl Reader<'_> {
    /// Reads an input. `foreign` takes the keys that only the inputs of programs have, with their places.
    pub fn input(
        &mut self,
        role: Located<String>,
        node: Node,
        foreign: &mut Vec<(&'static str, Span)>,
    ) -> Option<Input> {
        let span = node.span;
        let entries = match node.value {
            NodeValue::String(value) => {
                let origin = Origin::Stage(self.reference(Located { value, span })?);
                return Some(Input {
                    role,
                    origin,
                    place: None,
                    writable: false,
                });
            }
            NodeValue::Table(entries) => entries,
            other => {
                let what = format!("the input `{}`", role.value);
                self.wrong_type(&what, "a stage's name or { path = \"…\" }", &other, span);
                return None;
            }
        };
        let before = self.problems.count();
        let (mut origins, mut place, mut writable) = (Vec::new(), None, false);
        let mut exclude = Vec::new();
        for (key, node) in entries {
            let at = node.span;
            match key.value.as_str() {
                "from" => {
                    let text = self.string("`from`", node);
                    let reference = text.and_then(|text| self.reference(text));
                    origins.extend(reference.map(Origin::Stage));
                }
                "collect" => {
                    let text = self.string("`collect`", node);
                    let reference = text.and_then(|text| self.reference(text));
                    origins.extend(reference.map(Origin::Collect));
                }
                "path" => {
                    if matches!(node.value, NodeValue::Array(_)) {
                        foreign.push(("path = […]", at));
                    }
                    let patterns = self.paths(node);
                    origins.extend(patterns.map(|patterns| Origin::Path {
                        patterns,
                        exclude: Vec::new(),
                        span: at,
                    }));
                }
                "as" => {
                    foreign.push(("as", key.span));
                    place = self.place(node);
                }
                "exclude" => {
                    foreign.push(("exclude", key.span));
                    exclude = self.exclude(node);
                    if exclude.is_empty() {
                        continue;
                    }
                }
                "writable" => {
                    foreign.push(("writable", key.span));
                    writable = self.boolean("`writable`", &node).unwrap_or(false);
                }
                _ => self.unknown(&key, &format!("the input `{}`", role.value), &KEYS),
            }
        }
        if self.problems.count() > before {
            return None;
        }
        if origins.len() > 1 {
            let role = role.value;
            self.problems.add(Problem::TwoOrigins { role }, span);
            return None;
        }
        let Some(mut origin) = origins.pop() else {
            let text = format!("{} = {{}}", role.value);
            self.problems
                .add(Problem::MalformedReference { text }, span);
            return None;
        };
        if !exclude.is_empty() {
            match &mut origin {
                Origin::Path { exclude: own, .. } => *own = exclude,
                _ => {
                    let role = role.value;
                    self.problems.add(Problem::NothingToExclude { role }, span);
                    return None;
                }
            }
        }
        Some(Input {
            role,
            origin,
            place,
            writable,
        })
    }

    fn paths(&mut self, node: Node) -> Option<Vec<Located<Template>>> {
        let span = node.span;
        let items = match node.value {
            NodeValue::Array(items) => items,
            value => vec![Located { value, span }],
        };
        if items.is_empty() {
            let what = "`path`";
            self.problems.add(Problem::EmptyList { what }, span);
        }
        let paths = items.into_iter().map(|item| {
            let text = self.string("`path`", item)?;
            self.template(text)
        });
        let paths: Vec<_> = paths.collect::<Option<_>>()?;
        Some(paths).filter(|paths| !paths.is_empty())
    }

    fn place(&mut self, node: Node) -> Option<Located<Template>> {
        let text = self.string("`as`", node)?;
        let place = self.template(text)?;
        // What names refer to is known later.
        if place.value.names().next().is_none()
            && let Err(problem) = check_place(&place.value.plain())
        {
            self.problems.add(problem, place.span);
        }
        Some(place)
    }

    fn exclude(&mut self, node: Node) -> Vec<String> {
        let mut globs = Vec::new();
        for item in self.array("`exclude`", node).unwrap_or_default() {
            let Some(text) = self.string("what is excluded", item) else {
                continue;
            };
            self.no_reference("`exclude`", &text);
            if let Err(error) = glob::Pattern::new(&text.value) {
                let problem = Problem::BadGlob {
                    pattern: text.value.clone(),
                    cause: error.to_string(),
                };
                self.problems.add(problem, text.span);
            }
            globs.push(text.value);
        }
        globs
    }

    pub fn reference(&mut self, text: Located<String>) -> Option<Located<Reference>> {
        match text.value.parse() {
            Ok(value) => Some(Located {
                value,
                span: text.span,
            }),
            Err(problem) => {
                self.problems.add(problem, text.span);
                None
            }
        }
    }

    /// Notes keys of inputs that only those of programs have.
    pub fn only_of_programs(&mut self, action: &Action, foreign: Vec<(&'static str, Span)>) {
        if matches!(action, Action::Uses(_)) {
            for (key, span) in foreign {
                let belongs = "run";
                self.problems
                    .add(Problem::NotForThisAction { key, belongs }, span);
            }
        }
    }
}

/// Whether a path names something inside a folder: plain names, one in the other.
pub(crate) fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty()
        && !path.contains('\0')
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Checks what `as` says.
///
/// # Errors
/// Where it is no place in the stage's folder.
pub(crate) fn check_place(place: &str) -> Result<(), Problem> {
    if place == "." || is_inside(place) {
        return Ok(());
    }
    let place = place.into();
    Err(Problem::BadPlace { place })
}
