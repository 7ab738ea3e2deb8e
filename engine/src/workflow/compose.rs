//! One TOML tree out of the workflow file, what it includes, a params file, the chosen variants and `--set`: each wins
//! over those before it, and every value keeps the place where it was written.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::assign::{assign, in_stages};
use super::node::{self, Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::reader::{Entries, Reader};
use super::source::{Sources, Span};
use super::sweep::{self, Ground, Sweep};
use super::{Overrides, set};

/// The tree, and where the workflow file lies.
pub(super) struct Composed {
    pub root: Entries,
    pub path: PathBuf,
    /// The beginning of the workflow file, for what has no better place.
    pub top: Span,
    /// `[sweep]`, if there is one.
    pub sweep: Option<Sweep<Entries>>,
}

/// Puts the tree together; `None` where a text can't be read or is no TOML.
pub(super) fn compose(
    path: &Path,
    overrides: &Overrides,
    sources: &mut Sources,
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
        problems,
        chain: Vec::new(),
    };
    let top = composer.sources.next();
    let mut root = composer.file(path, None)?;
    if let Some(file) = &overrides.params {
        let entries = composer.params(file, &root)?;
        let params = Located {
            value: NodeValue::Table(entries),
            span: top,
        };
        let key = Located {
            value: "params".to_string(),
            span: top,
        };
        merge(&mut root, vec![(key, params)]);
    }
    let variants = take(&mut root, "variants");
    let sweep = take(&mut root, "sweep");
    composer.check_variants(variants.as_ref(), &root);
    let mut chosen = Vec::new();
    for choice in &overrides.variants {
        let span = composer.text_of("--variant", choice);
        match choice.split_once('=') {
            Some((group, name)) => {
                let value = name.to_string();
                chosen.push((group.to_string(), Located { value, span }));
            }
            None => composer.problems.add(Problem::VariantWithoutName, span),
        }
    }
    for (group, name) in &chosen {
        composer.choose(group, name, variants.as_ref(), &mut root);
    }
    let mut settings: Vec<_> = overrides
        .set
        .iter()
        .filter_map(|text| set::assignment(text, composer.sources, composer.problems))
        .collect();
    settings.sort_by_key(|(path, _)| in_stages(&path.value));
    let before = root.clone();
    for (path, value) in &settings {
        if let Err(problem) = assign(&mut root, path, value.clone()) {
            composer.problems.add(problem, path.span);
        }
    }
    let ground = Ground {
        before,
        root: &root,
        variants: variants.as_ref(),
        chosen,
        settings,
    };
    let sweep = sweep::sweep(&mut composer, sweep, &ground, overrides, top);
    Some(Composed {
        root,
        path: absolute,
        top,
        sweep,
    })
}

/// Puts trees together.
pub(super) struct Composer<'a> {
    pub sources: &'a mut Sources,
    pub problems: &'a mut Problems,
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
            merge(&mut root, included.unwrap_or_default());
        }
        self.chain.pop();
        merge(&mut root, own);
        Some(root)
    }

    /// A file alone.
    fn text(&mut self, path: &Path, included_at: Option<Span>) -> Option<Entries> {
        let kept = self.sources.kept(path).map(String::from);
        let text = match kept.map_or_else(|| std::fs::read_to_string(path), Ok) {
            Ok(text) => text,
            Err(cause) => {
                let path = path.display().to_string();
                let cause = cause.to_string();
                self.problems
                    .add_at(Problem::Unreadable { path, cause }, included_at);
                return None;
            }
        };
        let source = self.sources.add_file(path, text.clone());
        let (root, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let message = error.message().into();
            let span = error.span().unwrap_or(0..text.len());
            self.problems
                .add(Problem::Syntax { message }, Span::new(source, span));
        }
        errors.is_empty().then(|| {
            node::table(
                root.get_ref(),
                Span::new(source, 0..text.len()),
                self.problems,
            )
        })
    }

    /// What stands in a file of params, with or without the header `[params]`. As with `--set`, all of it has to be known.
    fn params(&mut self, path: &Path, root: &Entries) -> Option<Entries> {
        let mut entries = self.text(path, None)?;
        let known = match find(root, "params").map(|node| &node.value) {
            Some(NodeValue::Table(known)) => known.as_slice(),
            _ => &[],
        };
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

    /// Variants that nobody chose are checked as well: they may replace params and the keys of stages, no more.
    fn check_variants(&mut self, variants: Option<&Node>, root: &Entries) {
        let Some(variants) = variants else { return };
        for (group, node) in self.table("`[variants]`", variants) {
            for (name, node) in self.table(&format!("`variants.{}`", group.value), node) {
                let within = format!("`variants.{}.{}`", group.value, name.value);
                if name.value == "base" {
                    let name = name.value.clone();
                    self.problems.add(Problem::InvalidName { name }, node.span);
                }
                for (key, node) in self.table(&within, node) {
                    if !matches!(key.value.as_str(), "params" | "stages") {
                        let known = vec!["params".into(), "stages".into()];
                        let (key, within) = (key.clone(), within.clone());
                        self.problems.add(
                            Problem::UnknownKey {
                                key: key.value,
                                within,
                                known,
                            },
                            key.span,
                        );
                        continue;
                    }
                    let base = find(root, &key.value);
                    for (name, _) in self.table(&within, node) {
                        self.known(&key.value, name, base);
                    }
                }
            }
        }
    }

    /// The place of an option's whole text.
    pub fn text_of(&mut self, option: &str, text: &str) -> Span {
        let source = self.sources.add(option.into(), text.into());
        Span::new(source, 0..text.len())
    }

    /// What the variant names is replaced; a stage's keys one by one, each as a whole.
    pub fn choose(
        &mut self,
        group: &str,
        name: &Located<String>,
        variants: Option<&Node>,
        root: &mut Entries,
    ) {
        let (name, span) = (name.value.as_str(), name.span);
        let names = |node: Option<&Node>| -> Vec<String> {
            match node.map(|n| &n.value) {
                Some(NodeValue::Table(entries)) => {
                    entries.iter().map(|(k, _)| k.value.clone()).collect()
                }
                _ => Vec::new(),
            }
        };
        let inside = |node: Option<&Node>, name: &str| match node.map(|n| &n.value) {
            Some(NodeValue::Table(entries)) => find(entries, name).cloned(),
            _ => None,
        };
        let Some(group_node) = inside(variants, group) else {
            let known = names(variants);
            return self.problems.add(
                Problem::UnknownVariant {
                    name: group.into(),
                    known,
                },
                span,
            );
        };
        if name == "base" {
            return;
        }
        let Some(overlay) = inside(Some(&group_node), name) else {
            let mut known = names(Some(&group_node));
            known.push("base".into());
            return self.problems.add(
                Problem::UnknownVariant {
                    name: name.into(),
                    known,
                },
                span,
            );
        };
        let NodeValue::Table(overlay) = overlay.value else {
            return;
        };
        for (section, node) in overlay {
            let NodeValue::Table(entries) = node.value else {
                continue;
            };
            let Some(base) = table_mut(root, &section.value) else {
                continue;
            };
            for (name, node) in entries {
                match (section.value.as_str(), node.value) {
                    ("stages", NodeValue::Table(keys)) => {
                        if let Some(stage) = table_mut(base, &name.value) {
                            keys.into_iter()
                                .for_each(|(key, node)| replace(stage, key, node));
                        }
                    }
                    (_, value) => replace(
                        base,
                        name,
                        Located {
                            value,
                            span: node.span,
                        },
                    ),
                }
            }
        }
    }

    fn known(&mut self, section: &str, name: &Located<String>, base: Option<&Node>) {
        let known: Vec<String> = match base.map(|node| &node.value) {
            Some(NodeValue::Table(entries)) => {
                entries.iter().map(|(k, _)| k.value.clone()).collect()
            }
            _ => Vec::new(),
        };
        if !known.contains(&name.value) {
            let value = name.value.clone();
            let problem = match section {
                "stages" => Problem::UnknownStage {
                    stage: value,
                    known,
                },
                _ => Problem::UnknownParam { name: value, known },
            };
            self.problems.add(problem, name.span);
        }
    }

    fn table<'n>(&mut self, what: &str, node: &'n Node) -> &'n [(Located<String>, Node)] {
        if let NodeValue::Table(entries) = &node.value {
            return entries;
        }
        let found = node.value.type_name();
        let problem = Problem::WrongType {
            what: what.into(),
            expected: "a table",
            found,
        };
        self.problems.add(problem, node.span);
        &[]
    }
}

/// Lays `over` over `base`: tables merge, everything else is replaced.
fn merge(base: &mut Entries, over: Entries) {
    for (key, node) in over {
        match (
            base.iter_mut().find(|(k, _)| k.value == key.value),
            node.value,
        ) {
            (
                Some((
                    _,
                    Located {
                        value: NodeValue::Table(below),
                        ..
                    },
                )),
                NodeValue::Table(above),
            ) => {
                merge(below, above);
            }
            (_, value) => replace(
                base,
                key,
                Located {
                    value,
                    span: node.span,
                },
            ),
        }
    }
}

fn replace(entries: &mut Entries, key: Located<String>, node: Node) {
    match entries.iter_mut().find(|(k, _)| k.value == key.value) {
        Some(entry) => *entry = (key, node),
        None => entries.push((key, node)),
    }
}

/// The value of a key.
pub(super) fn find<'n>(entries: &'n [(Located<String>, Node)], name: &str) -> Option<&'n Node> {
    entries
        .iter()
        .find(|(key, _)| key.value == name)
        .map(|(_, node)| node)
}

fn table_mut<'n>(entries: &'n mut Entries, name: &str) -> Option<&'n mut Entries> {
    match entries.iter_mut().find(|(key, _)| key.value == name) {
        Some((
            _,
            Located {
                value: NodeValue::Table(table),
                ..
            },
        )) => Some(table),
        _ => None,
    }
}

fn take(entries: &mut Entries, name: &str) -> Option<Node> {
    let at = entries.iter().position(|(key, _)| key.value == name)?;
    Some(entries.remove(at).1)
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
