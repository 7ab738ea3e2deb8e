//! From TOML text to [`Workflow`]: the shape of the file, without a look at plugins or other files.

use std::path::{Component, Path};
use std::time::Duration;

use toml::de::DeTable;

use super::node::{self, Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::source::{Sources, Span};
use super::{Action, DEFAULT_SEED, Origin, Reference, Stage, Template, Workflow, set};

/// A table's entries.
type Entries = Vec<(Located<String>, Node)>;

/// Reads the file and what is assigned over its params; `None` where nothing can be made of it.
pub(super) fn workflow(
    path: &Path,
    assignments: &[String],
    sources: &mut Sources,
    problems: &mut Problems,
) -> Option<Workflow> {
    let unreadable = |cause: std::io::Error| Problem::Unreadable {
        path: path.display().to_string(),
        cause: cause.to_string(),
    };
    let read = std::fs::read_to_string(path).and_then(|text| Ok((text, path.canonicalize()?)));
    let (text, absolute) = match read {
        Ok(read) => read,
        Err(error) => {
            problems.add_without_place(unreadable(error));
            return None;
        }
    };
    let source = sources.add(path.display().to_string(), text.clone());
    let (root, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        let message = error.message().into();
        let span = error.span().unwrap_or(0..text.len());
        problems.add(Problem::Syntax { message }, Span::new(source, span));
    }
    if !errors.is_empty() {
        return None;
    }
    let whole = Span::new(source, 0..text.len().min(1));
    let root = node::table(root.get_ref(), source, problems);
    let mut reader = Reader { problems };
    let mut workflow = reader.workflow(root, absolute, whole);
    for assignment in assignments {
        let Some((name, value)) = set::assignment(assignment, sources, reader.problems) else {
            continue;
        };
        reader.plain(&value);
        match workflow
            .params
            .iter_mut()
            .find(|(n, _)| n.value == name.value)
        {
            Some((_, old)) => *old = value,
            None => reader.problems.add(
                Problem::UnknownParam {
                    name: name.value,
                    known: workflow
                        .params
                        .iter()
                        .map(|(n, _)| n.value.clone())
                        .collect(),
                },
                name.span,
            ),
        }
    }
    Some(workflow)
}

struct Reader<'a> {
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn workflow(&mut self, root: Entries, path: std::path::PathBuf, whole: Span) -> Workflow {
        let mut workflow = Workflow {
            name: path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            path,
            seed: DEFAULT_SEED,
            params: Vec::new(),
            stages: Vec::new(),
            plugins: Vec::new(),
        };
        for (key, node) in root {
            match key.value.as_str() {
                "workflow" => self.head(&mut workflow, node),
                "params" => {
                    for (name, value) in self.table("`[params]`", node) {
                        self.name(&name);
                        self.plain(&value);
                        workflow.params.push((name, value));
                    }
                }
                "stages" => {
                    for (name, node) in self.table("`[stages]`", node) {
                        self.name(&name);
                        if let Some(stage) = self.stage(name, node) {
                            workflow.stages.push(stage);
                        }
                    }
                }
                "plugins" => {
                    for (name, node) in self.table("`[plugins]`", node) {
                        if let Some(path) = self.string("a plugin's path", node) {
                            workflow.plugins.push((name.value, path));
                        }
                    }
                }
                _ => self.unknown(
                    &key,
                    "the workflow",
                    &["workflow", "params", "stages", "plugins"],
                ),
            }
        }
        if workflow.stages.is_empty() && self.problems.is_empty() {
            self.problems.add(Problem::NoStages, whole);
        }
        workflow
    }

    fn head(&mut self, workflow: &mut Workflow, node: Node) {
        for (key, node) in self.table("`[workflow]`", node) {
            match key.value.as_str() {
                "name" => {
                    if let Some(name) = self.string("`name`", node) {
                        workflow.name = name.value;
                    }
                }
                "seed" => {
                    if let Some(seed) = self.integer("`seed`", &node, 0, i64::MAX) {
                        workflow.seed = seed.unsigned_abs();
                    }
                }
                _ => self.unknown(&key, "`[workflow]`", &["name", "seed"]),
            }
        }
    }

    fn stage(&mut self, name: Located<String>, node: Node) -> Option<Stage> {
        let within = format!("stage `{}`", name.value);
        let mut actions = Vec::new();
        let mut with_key = None;
        let mut outputs_key = None;
        let mut stage = Stage {
            action: Action::Uses(name.clone()),
            inputs: Vec::new(),
            with: Vec::new(),
            matrix: Vec::new(),
            outputs: Vec::new(),
            cpus: None,
            timeout: None,
            env: Vec::new(),
            name,
        };
        for (key, node) in self.table(&within, node) {
            match key.value.as_str() {
                "uses" => actions.extend(self.string("`uses`", node).map(Action::Uses)),
                "run" => actions.extend(self.command(node)),
                "inputs" => {
                    for (role, node) in self.table("`inputs`", node) {
                        self.name(&role);
                        if let Some(origin) = self.origin(&role.value, node) {
                            stage.inputs.push((role, origin));
                        }
                    }
                }
                "with" => {
                    with_key = Some(key.span);
                    stage.with = self.table("`with`", node);
                }
                "matrix" => {
                    for (axis, node) in self.table("`matrix`", node) {
                        self.name(&axis);
                        if let Some(values) = self.axis(&axis, node) {
                            stage.matrix.push((axis, values));
                        }
                    }
                }
                "outputs" => {
                    outputs_key = Some(key.span);
                    stage.outputs = self.outputs(node);
                }
                "resources" => self.resources(&mut stage, node),
                "timeout" => stage.timeout = self.timeout(node),
                "env" => stage.env = self.env(node),
                _ => self.unknown(
                    &key,
                    &within,
                    &[
                        "uses",
                        "run",
                        "inputs",
                        "with",
                        "matrix",
                        "outputs",
                        "resources",
                        "timeout",
                        "env",
                    ],
                ),
            }
        }
        let name = stage.name.value.clone();
        if actions.len() > 1 {
            self.problems.add(
                Problem::TwoActions {
                    stage: name.clone(),
                },
                stage.name.span,
            );
        }
        let Some(action) = actions.pop() else {
            if self.problems.is_empty() {
                self.problems
                    .add(Problem::NoAction { stage: name }, stage.name.span);
            }
            return None;
        };
        match (&action, with_key, outputs_key) {
            (Action::Uses(_), _, Some(span)) => {
                let problem = Problem::NotForThisAction {
                    key: "outputs",
                    belongs: "run",
                };
                self.problems.add(problem, span);
            }
            (Action::Arguments(_) | Action::Shell(_), Some(span), _) => {
                let problem = Problem::NotForThisAction {
                    key: "with",
                    belongs: "uses",
                };
                self.problems.add(problem, span);
            }
            (Action::Arguments(_) | Action::Shell(_), _, _) if stage.outputs.is_empty() => {
                self.problems
                    .add(Problem::NoOutputs { stage: name }, stage.name.span);
            }
            _ => {}
        }
        Some(Stage { action, ..stage })
    }

    fn command(&mut self, node: Node) -> Option<Action> {
        match node.value {
            NodeValue::String(text) => {
                let text = Located {
                    value: text,
                    span: node.span,
                };
                if text.value.trim().is_empty() {
                    self.problems.add(Problem::EmptyCommand, node.span);
                }
                Some(Action::Shell(self.template(text)?))
            }
            NodeValue::Array(items) => {
                if items.is_empty() {
                    self.problems.add(Problem::EmptyCommand, node.span);
                }
                let arguments = items
                    .into_iter()
                    .map(|item| {
                        self.string("an argument", item)
                            .and_then(|text| self.template(text))
                    })
                    .collect::<Option<_>>()?;
                Some(Action::Arguments(arguments))
            }
            other => {
                self.wrong_type(
                    "`run`",
                    "a list of arguments, or a string for `sh -c`",
                    &other,
                    node.span,
                );
                None
            }
        }
    }

    fn origin(&mut self, role: &str, node: Node) -> Option<Origin> {
        match node.value {
            NodeValue::String(text) => {
                let reference = reference(&text);
                if reference.is_none() {
                    self.problems
                        .add(Problem::MalformedReference { text }, node.span);
                }
                Some(Origin::Stage(Located {
                    value: reference?,
                    span: node.span,
                }))
            }
            NodeValue::Table(entries) => {
                let mut path = None;
                for (key, node) in entries {
                    match key.value.as_str() {
                        "path" => path = self.string("`path`", node).and_then(|p| self.template(p)),
                        _ => self.unknown(&key, &format!("the input `{role}`"), &["path"]),
                    }
                }
                if path.is_none() && self.problems.is_empty() {
                    let text = format!("{role} = {{ … }}");
                    self.problems
                        .add(Problem::MalformedReference { text }, node.span);
                }
                path.map(Origin::Path)
            }
            other => {
                let what = format!("the input `{role}`");
                self.wrong_type(
                    &what,
                    "a stage's name or { path = \"…\" }",
                    &other,
                    node.span,
                );
                None
            }
        }
    }

    fn axis(&mut self, axis: &Located<String>, node: Node) -> Option<Vec<Node>> {
        let what = format!("the matrix axis `{}`", axis.value);
        let values = self.array(&what, node)?;
        if values.is_empty() {
            let axis_name = axis.value.clone();
            self.problems
                .add(Problem::EmptyAxis { axis: axis_name }, axis.span);
        }
        for (i, value) in values.iter().enumerate() {
            self.plain(value);
            if values[..i]
                .iter()
                .any(|v| v.value.json() == value.value.json())
            {
                let problem = Problem::RepeatedValue {
                    axis: axis.value.clone(),
                    value: value.value.text(),
                };
                self.problems.add(problem, value.span);
            }
        }
        Some(values)
    }

    fn outputs(&mut self, node: Node) -> Vec<(Located<String>, Located<String>)> {
        let mut outputs: Vec<(Located<String>, Located<String>)> = Vec::new();
        for (role, node) in self.table("`outputs`", node) {
            self.name(&role);
            let Some(file) = self.string("an output's file name", node) else {
                continue;
            };
            let plain = Path::new(&file.value)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if file.value.is_empty() || !plain {
                let name = file.value.clone();
                self.problems
                    .add(Problem::OutputEscapes { name }, file.span);
            }
            // One output inside another would make a file a folder.
            if outputs.iter().any(|(_, other)| {
                let (a, b) = (Path::new(&other.value), Path::new(&file.value));
                a.starts_with(b) || b.starts_with(a)
            }) {
                let name = file.value.clone();
                self.problems.add(Problem::SameOutput { name }, file.span);
            }
            outputs.push((role, file));
        }
        outputs
    }

    fn resources(&mut self, stage: &mut Stage, node: Node) {
        for (key, node) in self.table("`resources`", node) {
            match key.value.as_str() {
                "cpus" => {
                    stage.cpus = self
                        .integer("`cpus`", &node, 0, 4096)
                        .and_then(|cpus| u32::try_from(cpus).ok());
                }
                _ => self.unknown(&key, "`resources`", &["cpus"]),
            }
        }
    }

    fn timeout(&mut self, node: Node) -> Option<Duration> {
        let text = self.string("`timeout`", node)?;
        let duration = text
            .value
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| !duration.is_zero());
        if duration.is_none() {
            self.problems
                .add(Problem::BadTimeout { text: text.value }, text.span);
        }
        duration
    }

    fn env(&mut self, node: Node) -> Vec<String> {
        let mut names = Vec::new();
        for item in self.array("`env`", node).unwrap_or_default() {
            if let Some(name) = self.string("a variable's name", item) {
                if name.value.is_empty() || name.value.contains(['=', '\0']) {
                    self.problems.add(
                        Problem::BadVariable {
                            name: name.value.clone(),
                        },
                        name.span,
                    );
                }
                names.push(name.value);
            }
        }
        names.sort();
        names.dedup();
        names
    }

    fn template(&mut self, text: Located<String>) -> Option<Located<Template>> {
        match Template::parse(&text.value) {
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

    /// Notes references in a value that has to be plain.
    fn plain(&mut self, node: &Node) {
        match &node.value {
            NodeValue::String(text) if text.contains("${") => {
                self.problems.add(Problem::ReferenceInParam, node.span);
            }
            NodeValue::Array(items) => items.iter().for_each(|item| self.plain(item)),
            NodeValue::Table(entries) => entries.iter().for_each(|(_, node)| self.plain(node)),
            _ => {}
        }
    }

    fn name(&mut self, name: &Located<String>) {
        if !is_name(&name.value) {
            let problem = Problem::InvalidName {
                name: name.value.clone(),
            };
            self.problems.add(problem, name.span);
        }
    }

    fn unknown(&mut self, key: &Located<String>, within: &str, known: &[&str]) {
        let problem = Problem::UnknownKey {
            key: key.value.clone(),
            within: within.into(),
            known: known.iter().map(|&k| k.into()).collect(),
        };
        self.problems.add(problem, key.span);
    }

    fn wrong_type(&mut self, what: &str, expected: &'static str, found: &NodeValue, span: Span) {
        let problem = Problem::WrongType {
            what: what.into(),
            expected,
            found: found.type_name(),
        };
        self.problems.add(problem, span);
    }

    fn table(&mut self, what: &str, node: Node) -> Entries {
        match node.value {
            NodeValue::Table(entries) => entries,
            other => {
                self.wrong_type(what, "a table", &other, node.span);
                Vec::new()
            }
        }
    }

    fn array(&mut self, what: &str, node: Node) -> Option<Vec<Node>> {
        match node.value {
            NodeValue::Array(items) => Some(items),
            other => {
                self.wrong_type(what, "a list", &other, node.span);
                None
            }
        }
    }

    fn string(&mut self, what: &str, node: Node) -> Option<Located<String>> {
        match node.value {
            NodeValue::String(value) => Some(Located {
                value,
                span: node.span,
            }),
            other => {
                self.wrong_type(what, "a string", &other, node.span);
                None
            }
        }
    }

    fn integer(&mut self, what: &'static str, node: &Node, low: i64, high: i64) -> Option<i64> {
        match node.value {
            NodeValue::Integer(found) if (low..=high).contains(&found) => Some(found),
            NodeValue::Integer(found) => {
                self.problems.add(
                    Problem::OutOfRange {
                        what,
                        low,
                        high,
                        found,
                    },
                    node.span,
                );
                None
            }
            ref other => {
                self.wrong_type(what, "an integer", other, node.span);
                None
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// `stage`, `stage.output`, `stage[axis=value,…].output`.
pub(super) fn reference(text: &str) -> Option<Reference> {
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

impl std::str::FromStr for Reference {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        reference(text).ok_or_else(|| Problem::MalformedReference { text: text.into() })
    }
}
