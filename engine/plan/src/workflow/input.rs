//! An input of a stage: where it comes from, and where it lies in the folder of a program.

use std::path::{Component, Path};

use super::node::{Located, Node, NodeValue};
use super::problem::Problem;
use super::reader::{Reader, is_name};
use super::source::Span;
use super::{Action, Collect, Column, Input, Origin, Reference, Template};

/// What an input's table may hold.
const KEYS: [&str; 8] = [
    "from",
    "collect",
    "by",
    "allow_empty",
    "path",
    "as",
    "exclude",
    "writable",
];
/// What may stand behind the role of a gather in `${inputs.…}`, beside its outputs.
pub(crate) const OF_GATHERS: [&str; 2] = ["folder", "list"];

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
        let (mut by, mut allow_empty, mut of_gathers) = (Vec::new(), false, None);
        for (key, node) in entries {
            let at = node.span;
            match key.value.as_str() {
                "from" => {
                    let text = self.string("`from`", node);
                    let reference = text.and_then(|text| self.reference(text));
                    origins.extend(reference.map(Origin::Stage));
                }
                "collect" => {
                    let from = self.gathered(node);
                    origins.extend(from.map(|from| {
                        Origin::Collect(Collect {
                            from,
                            by: Vec::new(),
                            allow_empty: false,
                            span: at,
                        })
                    }));
                }
                "by" => {
                    of_gathers = Some(("by", key.span));
                    by = self.by(node);
                }
                "allow_empty" => {
                    of_gathers = Some(("allow_empty", key.span));
                    allow_empty = self.boolean("`allow_empty`", &node).unwrap_or(false);
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
        match (&mut origin, of_gathers) {
            (Origin::Collect(collect), _) => {
                collect.by = by;
                collect.allow_empty = allow_empty;
            }
            (_, Some((key, span))) => {
                self.problems.add(Problem::NoGather { key }, span);
                return None;
            }
            _ => {}
        }
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

    /// What is gathered: an output, or several side by side.
    fn gathered(&mut self, node: Node) -> Option<Vec<Located<Reference>>> {
        let span = node.span;
        let items = match node.value {
            NodeValue::Array(items) => items,
            value => vec![Located { value, span }],
        };
        if items.is_empty() {
            let what = "`collect`";
            self.problems.add(Problem::EmptyList { what }, span);
        }
        let from = items.into_iter().map(|item| {
            let text = self.string("`collect`", item)?;
            self.reference(text)
        });
        let from: Vec<_> = from.collect::<Option<_>>()?;
        Some(from).filter(|from| !from.is_empty())
    }

    /// `axis`, `axis.column`, or several of these.
    fn by(&mut self, node: Node) -> Vec<Located<Column>> {
        let span = node.span;
        let items = match node.value {
            NodeValue::Array(items) => items,
            value => vec![Located { value, span }],
        };
        let mut all: Vec<Located<Column>> = Vec::new();
        for item in items {
            let Some(text) = self.string("`by`", item) else {
                continue;
            };
            let (axis, column) = match text.value.split_once('.') {
                Some((axis, column)) => (axis, Some(column.to_string())),
                None => (text.value.as_str(), None),
            };
            let named = column.as_deref().unwrap_or(axis);
            let is_twice = all.iter().any(|by| by.value.name() == named);
            if !is_name(axis) || !is_name(named) || is_twice {
                let text_value = text.value.clone();
                self.problems
                    .add(Problem::BadBy { text: text_value }, text.span);
                continue;
            }
            let axis = axis.to_string();
            let value = Column { axis, column };
            all.push(Located {
                value,
                span: text.span,
            });
        }
        all
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
