//! One TOML tree out of the workflow file, what it includes and a params file: each wins over those before it, and every
//! value keeps the place where it was written.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::assign::same_type;
use super::node::{self, Located, Node, NodeValue};
use super::overlay::lay;
use super::problem::{Problem, Problems};
use super::reader::{Reader, is_name};
use super::source::{Sources, Span};
use super::tree::{Entries, find, find_at, inside, merge, take};
use super::yaml;

/// The tree of the files, and where the workflow file lies.
pub(super) struct Composed {
    pub root: Entries,
    pub path: PathBuf,
    /// The beginning of the workflow file, for what has no better place.
    pub top: Span,
    /// Params that no `[params]` has, only a file of params.
    pub shared: BTreeSet<String>,
    /// The params before files of params were laid over them, and those that only `[workflow] params` has.
    pub declared: Entries,
    /// `[variants]`, if there are any.
    pub variants: Option<Node>,
    /// `[sweep]`, if there is one.
    pub sweep: Option<Node>,
}

/// Puts the tree together; `None` where a text can't be read or is no TOML.
pub(super) fn compose(
    path: &Path,
    params: Option<&Path>,
    sources: &mut Sources,
    changes: &mut Problems,
    problems: &mut Problems,
) -> Option<Composed> {
    let absolute = match path.canonicalize() {
        _ if sources.kept(path).is_some() => path.to_path_buf(),
        Ok(absolute) => absolute,
        Err(cause) => {
            let path = path.display().to_string();
            let cause = cause.to_string();
            problems.add_without_place(Problem::Unreadable { path, cause });
            return None;
        }
    };
    let mut composer = Composer {
        sources,
        changes,
        problems,
        shared: BTreeSet::new(),
        declared: Entries::new(),
        chain: Vec::new(),
    };
    let top = composer.sources.next();
    let mut root = composer.file(path, None)?;
    if let Some(file) = params {
        let values = composer.params(file, &root)?;
        composer.lay_params(&mut root, values, top);
    }
    let (shared, declared) = (composer.shared, composer.declared);
    Some(Composed {
        variants: take(&mut root, "variants"),
        sweep: take(&mut root, "sweep"),
        root,
        path: absolute,
        top,
        shared,
        declared,
    })
}

/// Puts the texts of files together.
struct Composer<'a> {
    sources: &'a mut Sources,
    changes: &'a mut Problems,
    problems: &'a mut Problems,
    /// Params that only files of params have.
    shared: BTreeSet<String>,
    /// The params as the workflow's files have them: of these types a file of params has to be.
    declared: Entries,
    /// The files that include each other, outermost first.
    chain: Vec<PathBuf>,
}

impl Composer<'_> {
    /// A file with what it includes below it.
    fn file(&mut self, path: &Path, included_at: Option<Span>) -> Option<Entries> {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if let Some(at) = self.chain.iter().position(|file| *file == identity) {
            let mut files: Vec<String> = self.chain[at..].iter().map(|f| file_name(f)).collect();
            files.push(file_name(&identity));
            self.problems
                .add_at(Problem::IncludeCycle { files }, included_at);
            return None;
        }
        let mut own = self.text(path, included_at)?;
        self.chain.push(identity);
        let mut root = Entries::new();
        let include = take(&mut own, "include");
        let reader = &mut Reader {
            problems: self.problems,
        };
        let files: Vec<_> = include
            .and_then(|node| reader.array("`include`", node))
            .unwrap_or_default()
            .into_iter()
            .filter_map(|item| reader.string("a file to include", item))
            .collect();
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in files {
            let included = self.file(&folder.join(&file.value), Some(file.span));
            lay(&mut root, included.unwrap_or_default(), self.changes);
        }
        self.chain.pop();
        let named = find_at(&own, ["workflow", "params"]).cloned();
        let params = inside(find(&own, "params"));
        for (name, _) in params {
            self.shared.remove(&name.value);
        }
        merge(&mut self.declared, params.to_vec());
        lay(&mut root, own, self.changes);
        if let Some(node) = named {
            let reader = &mut Reader {
                problems: self.problems,
            };
            let file = reader.string("`params`", node)?;
            let (mut values, nulls) = self.values(&folder.join(&file.value), Some(file.span))?;
            let known = inside(find(&root, "params"));
            // No reference can mean these.
            values.retain(|(name, _)| is_name(&name.value));
            self.leave_out(&nulls, &mut values, known);
            let added = values.iter().map(|(name, _)| &name.value);
            let added = added.filter(|name| find(known, name).is_none());
            self.shared.extend(added.cloned());
            self.lay_params(&mut root, values.clone(), file.span);
            let declared = std::mem::replace(&mut self.declared, values);
            merge(&mut self.declared, declared);
        }
        Some(root)
    }

    /// A file alone.
    fn text(&mut self, path: &Path, named_at: Option<Span>) -> Option<Entries> {
        let (text, place) = self.source(path, named_at)?;
        let (root, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let message = error.message().into();
            let span = error.span().unwrap_or(0..text.len());
            self.problems
                .add(Problem::Syntax { message }, place.inside(span));
        }
        errors
            .is_empty()
            .then(|| node::table(root.get_ref(), &text, place, self.problems))
    }

    /// The text of a file, and its place.
    fn source(&mut self, path: &Path, named_at: Option<Span>) -> Option<(String, Span)> {
        let kept = self.sources.kept(path).map(String::from);
        let text = match kept.map_or_else(|| std::fs::read(path), |text| Ok(text.into())) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                let valid = error.utf8_error().valid_up_to();
                let breaks = error.as_bytes()[..valid].iter().filter(|&&b| b == b'\n');
                Problem::NotText {
                    path: path.display().to_string(),
                    line: breaks.count() + 1,
                }
            }),
            Err(cause) => Err(Problem::Unreadable {
                path: path.display().to_string(),
                cause: cause.to_string(),
            }),
        };
        match text {
            Ok(text) => {
                let source = self.sources.add_file(path, text.clone());
                let place = Span::new(source, 0..text.len());
                Some((text, place))
            }
            Err(problem) => {
                self.problems.add_at(problem, named_at);
                None
            }
        }
    }

    /// A file of params, in the form that its ending says, and the places of each `null`.
    fn values(&mut self, path: &Path, named_at: Option<Span>) -> Option<(Entries, HashSet<Span>)> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let read = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("toml") => return Some((self.text(path, named_at)?, HashSet::new())),
            Some("yaml" | "yml") => yaml::yaml,
            Some("json") => yaml::json,
            _ => {
                let path = path.display().to_string();
                self.problems
                    .add_at(Problem::UnknownForm { path }, named_at);
                return None;
            }
        };
        let (text, place) = self.source(path, named_at)?;
        // A byte order mark is no part of what is written.
        let bom = text.len() - text.trim_start_matches('\u{feff}').len();
        let values = read(&text[bom..], place.inside(bom..text.len()), self.problems)?;
        let reader = &mut Reader {
            problems: self.problems,
        };
        let entries = reader.table("a file of params", values.root);
        Some((entries, values.nulls))
    }

    /// Takes out what is `null`, as if it did not stand there. Of what is `known`, that is noted.
    fn leave_out(
        &mut self,
        nulls: &HashSet<Span>,
        entries: &mut Entries,
        known: &[(Located<String>, Node)],
    ) {
        entries.retain_mut(|(key, node)| {
            let known = find(known, &key.value);
            if nulls.contains(&node.span) {
                if known.is_some() {
                    self.no_null(nulls, node);
                }
                return false;
            }
            match &mut node.value {
                NodeValue::Table(entries) => self.leave_out(nulls, entries, inside(known)),
                _ => self.no_null(nulls, node),
            }
            true
        });
    }

    /// Notes each `null` in a value.
    fn no_null(&mut self, nulls: &HashSet<Span>, node: &Node) {
        match &node.value {
            NodeValue::Table(entries) => {
                entries
                    .iter()
                    .for_each(|(_, node)| self.no_null(nulls, node));
            }
            NodeValue::Array(items) => items.iter().for_each(|node| self.no_null(nulls, node)),
            _ if nulls.contains(&node.span) => {
                let null = Problem::UnusableValue { what: yaml::NULL };
                self.problems.add(null, node.span);
            }
            _ => {}
        }
    }

    /// Lays values over the params of a tree; they have to be of the types that these have.
    fn lay_params(&mut self, root: &mut Entries, values: Entries, place: Span) {
        for (name, value) in &values {
            let known = [&self.declared[..], inside(find(root, "params"))];
            let typed = same_type(known, &name.value, value);
            // A value that no workflow can hold has no type.
            if let Err(problem) = typed
                && !self.problems.is_noted(value.span)
            {
                self.problems.add(problem, value.span);
            }
        }
        let params = Located {
            value: NodeValue::Table(values),
            span: place,
        };
        let key = Located {
            value: "params".to_string(),
            span: place,
        };
        merge(root, vec![(key, params)]);
    }

    /// What stands in a file of params, with or without the header `[params]`. As with `--set`, all of it has to be known.
    fn params(&mut self, path: &Path, root: &Entries) -> Option<Entries> {
        let (mut entries, nulls) = self.values(path, None)?;
        let known = inside(find(root, "params"));
        let header = matches!(
            find(&entries, "params"),
            Some(Located {
                value: NodeValue::Table(_),
                ..
            })
        );
        if header && find(known, "params").is_none() {
            let params = take(&mut entries, "params");
            let reader = &mut Reader {
                problems: self.problems,
            };
            for (key, _) in &entries {
                reader.unknown(key, "a file of params", &["params"]);
            }
            entries = params.map_or_else(Entries::new, |node| reader.table("`[params]`", node));
        }
        self.known_params("", &entries, known);
        self.leave_out(&nulls, &mut entries, known);
        Some(entries)
    }

    /// Notes names of params, and of what lies in them, that the workflow does not have.
    fn known_params(&mut self, prefix: &str, entries: &Entries, known: &[(Located<String>, Node)]) {
        let name = |key: &Located<String>| format!("{prefix}{}", key.value);
        for (key, node) in entries {
            match (find(known, &key.value).map(|n| &n.value), &node.value) {
                (Some(NodeValue::Table(known)), NodeValue::Table(inner)) => {
                    self.known_params(&format!("{}.", name(key)), inner, known);
                }
                (Some(_), _) => {}
                (None, _) => {
                    let known = known.iter().map(|(key, _)| name(key)).collect();
                    let name = name(key);
                    let problem = Problem::UnknownParam { name, known };
                    self.problems.add(problem, key.span);
                }
            }
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
