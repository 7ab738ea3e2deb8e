//! How problems are shown: with file, line, column, the source line and a caret. The one renderer of diagnostics.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::{Problem, Problems};
use super::source::{Sources, Span};

/// All problems of a workflow, with the texts to show them in.
#[derive(Debug)]
pub struct Report {
    sources: Sources,
    problems: Vec<(Problem, Option<Span>)>,
}

impl Report {
    /// Puts the problems into the order of the texts.
    pub fn new(sources: Sources, problems: Problems) -> Self {
        let mut problems = problems.found;
        problems.sort_by_key(|(_, span)| *span);
        Report { sources, problems }
    }

    /// The problems, in order.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().map(|(problem, _)| problem)
    }

    /// Whether something has to be mended before the workflow can run.
    pub fn has_errors(&self) -> bool {
        self.problems().any(|problem| !problem.is_warning())
    }

    /// The texts, for problems that are found later.
    pub fn into_sources(self) -> Sources {
        self.sources
    }

    /// The bytes that the caret stands under: the token that the problem is about, where it stands there as it is (a
    /// string with escapes may hold it otherwise), else the whole value.
    fn exact(&self, problem: &Problem, span: Span) -> Range<usize> {
        let range = span.range();
        let text = self.sources.text(span).get(range.clone()).unwrap_or("");
        let found = problem.token().and_then(|token| {
            let at = match problem {
                // An output stands after its stage, a variant after its group; what is never closed is the last of its kind.
                Problem::UnknownOutput { .. }
                | Problem::UnknownVariant { .. }
                | Problem::UnclosedReference => text.rfind(&token)?,
                _ => text.find(&token)?,
            };
            Some(range.start + at..range.start + at + token.len())
        });
        found.unwrap_or(range)
    }

    /// What a person reads: each problem with file, line, column, the source line and a caret.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for (problem, span) in &self.problems {
            let level = if problem.is_warning() {
                Level::WARNING
            } else {
                Level::ERROR
            };
            let message = problem.to_string();
            let title = level.primary_title(&message);
            let help = problem.help();
            let snippet =
                |span: Span| Snippet::source(self.sources.text(span)).path(self.sources.name(span));
            let mut group = match (span, problem.other()) {
                (Some(span), other) => {
                    let own = snippet(*span)
                        .annotation(AnnotationKind::Primary.span(self.exact(problem, *span)));
                    let aside = |(other, label): (Span, &'static str)| {
                        let place = AnnotationKind::Context.span(other.range());
                        (other, place.label(label))
                    };
                    match other.map(aside) {
                        Some((other, place)) if other.is_beside(*span) => {
                            title.element(own.annotation(place))
                        }
                        Some((other, place)) => {
                            title.element(own).element(snippet(other).annotation(place))
                        }
                        None => title.element(own),
                    }
                }
                (None, _) => Group::with_title(title),
            };
            if let Some(help) = &help {
                group = group.element(Level::HELP.message(help));
            }
            text += &renderer.render(&[group]).to_string();
            text += "\n\n";
        }
        text.trim_end().into()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
