//! Params that are made of others.

use std::collections::BTreeSet;

use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::template::{self, Template};
use super::tree::{Entries, find, names};

/// The params with what their references stand for, and the names that something refers to.
pub(super) fn resolve(params: &Entries, problems: &mut Problems) -> (Entries, BTreeSet<String>) {
    let mut resolver = Resolver {
        params,
        chain: Vec::new(),
        failed: BTreeSet::new(),
        found: None,
        used: BTreeSet::new(),
        looked_up: 0,
    };
    let resolved = params.iter().map(|(name, node)| {
        // What is said of a param need not be said of those that refer to it.
        let value = match resolver.failed.contains(&name.value) {
            true => Err(None),
            false => resolver.value(&name.value, node),
        };
        let value = value.unwrap_or_else(|problem| {
            if let Some(problem) = problem {
                problems.add(problem.value, problem.span);
            }
            node.clone()
        });
        (name.clone(), value)
    });
    let resolved = resolved.collect();
    (resolved, resolver.used)
}

/// More references than this are refused: each may lead to several.
const REFERENCES: usize = 100_000;

struct Resolver<'a> {
    params: &'a Entries,
    /// The params that refer to each other, outermost first.
    chain: Vec<String>,
    /// Those in which something is wrong that is said already.
    failed: BTreeSet<String>,
    /// What is wrong in a param that another refers to, at its place.
    found: Option<Box<Located<Problem>>>,
    used: BTreeSet<String>,
    /// How many references were followed.
    looked_up: usize,
}

impl Resolver<'_> {
    /// What a value stands for; what is wrong, unless that is said.
    fn value(&mut self, name: &str, node: &Node) -> Result<Node, Option<Box<Located<Problem>>>> {
        self.chain.push(name.into());
        let resolved = template::resolve(node, &mut |name| self.lookup(name));
        let resolved = resolved.map_err(|problem| {
            self.failed.extend(self.chain.iter().cloned());
            match self.found.take() {
                Some(found) => Some(found),
                None if problem.value == Problem::SaidBefore => None,
                None => Some(problem),
            }
        });
        self.chain.pop();
        resolved
    }

    fn lookup(&mut self, name: &str) -> Result<Node, Problem> {
        if let Some(at) = self.chain.iter().position(|earlier| earlier == name) {
            let mut path = self.chain[at..].to_vec();
            path.push(name.into());
            return Err(Problem::ParamCycle { path });
        }
        if self.failed.contains(name) {
            return Err(Problem::SaidBefore);
        }
        self.looked_up += 1;
        if self.looked_up > REFERENCES {
            return Err(Problem::TooManyReferences { most: REFERENCES });
        }
        self.used.extend(name.split('.').next().map(String::from));
        let params = self.params;
        let mut entries = params;
        let mut before = String::new();
        let mut parts = name.split('.');
        while let Some(part) = parts.next() {
            let unknown = |entries: &Entries| Problem::UnknownName {
                name: name.into(),
                known: names(entries)
                    .into_iter()
                    .map(|key| format!("{before}{key}"))
                    .collect(),
            };
            let node = find(entries, part).ok_or_else(|| unknown(entries))?;
            let path = format!("{before}{part}");
            let rest: Vec<&str> = parts.clone().collect();
            match &node.value {
                _ if rest.is_empty() => return self.inner(&path, node),
                NodeValue::Table(inner) => entries = inner,
                // It may stand for a table.
                NodeValue::String(text) if is_reference(text) => {
                    let mut node = self.inner(&path, node)?;
                    for part in rest {
                        let NodeValue::Table(inner) = node.value else {
                            return Err(unknown(&Entries::new()));
                        };
                        let found = find(&inner, part).cloned();
                        node = found.ok_or_else(|| unknown(&inner))?;
                    }
                    return Ok(node);
                }
                _ => return Err(unknown(&Entries::new())),
            }
            before = format!("{path}.");
        }
        Err(Problem::UnknownName {
            name: name.into(),
            known: names(params),
        })
    }

    fn inner(&mut self, name: &str, node: &Node) -> Result<Node, Problem> {
        self.value(name, node).map_err(|problem| {
            self.found = self.found.take().or(problem);
            Problem::SaidBefore
        })
    }
}

fn is_reference(text: &str) -> bool {
    Template::parse(text).is_ok_and(|template| template.names().next().is_some())
}
