//! One `[stages.NAME]`.

use std::path::{Component, Path};
use std::time::Duration;

use bytesize::ByteSize;

use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::{Action, Origin, Reference, Resources, Stage, Template};

impl Reader<'_> {
    pub fn stage(&mut self, name: Located<String>, node: Node) -> Option<Stage> {
        let before = self.problems.count();
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
            resources: Resources::default(),
            timeout: None,
            retries: 0,
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
                "resources" => stage.resources = self.resources(node),
                "timeout" => stage.timeout = self.timeout(node),
                "retries" => {
                    stage.retries = self.count("`retries`", &node, 100).unwrap_or(0);
                }
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
                        "retries",
                        "env",
                    ],
                ),
            }
        }
        let name = stage.name.value.clone();
        let two = actions.len() > 1;
        if two {
            self.problems.add(
                Problem::TwoActions {
                    stage: name.clone(),
                },
                stage.name.span,
            );
        }
        let Some(action) = actions.pop() else {
            if self.problems.count() == before {
                self.problems
                    .add(Problem::NoAction { stage: name }, stage.name.span);
            }
            return None;
        };
        match (&action, with_key, outputs_key) {
            _ if two => {}
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
            (Action::Arguments(_) | Action::Shell(_), _, _)
                if stage.outputs.is_empty() && self.problems.count() == before =>
            {
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
                let text = Located {
                    value: text,
                    span: node.span,
                };
                self.reference(text).map(Origin::Stage)
            }
            NodeValue::Table(entries) => {
                let known = ["path", "collect"];
                let before = self.problems.count();
                let mut origin = None;
                for (key, node) in entries {
                    let text = self.string(&format!("`{}`", key.value), node);
                    match (key.value.as_str(), text) {
                        ("path", Some(text)) => origin = self.template(text).map(Origin::Path),
                        ("collect", Some(text)) => {
                            origin = self.reference(text).map(Origin::Collect);
                        }
                        ("path" | "collect", None) => {}
                        _ => self.unknown(&key, &format!("the input `{role}`"), &known),
                    }
                }
                if origin.is_none() && self.problems.count() == before {
                    let text = format!("{role} = {{}}");
                    self.problems
                        .add(Problem::MalformedReference { text }, node.span);
                }
                origin
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

    fn reference(&mut self, text: Located<String>) -> Option<Located<Reference>> {
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

    fn axis(&mut self, axis: &Located<String>, node: Node) -> Option<Vec<Node>> {
        let what = format!("the axis `{}`", axis.value);
        let values = self.array(&what, node)?;
        if values.is_empty() {
            let axis_name = axis.value.clone();
            self.problems
                .add(Problem::EmptyAxis { axis: axis_name }, axis.span);
        }
        values.iter().for_each(|value| self.plain(value));
        self.distinct(&axis.value, &values);
        // An axis without values would leave the stage without instances; that it has none is said.
        Some(values).filter(|values| !values.is_empty())
    }

    fn outputs(&mut self, node: Node) -> Vec<(Located<String>, Located<Template>)> {
        let mut outputs = Vec::new();
        let mut plain = Vec::new();
        for (role, node) in self.table("`outputs`", node) {
            self.name(&role);
            let text = self.string("an output's file name", node);
            let Some(file) = text.and_then(|text| self.template(text)) else {
                continue;
            };
            // What names refer to is known later.
            if file.value.names().next().is_none() {
                let name = file.value.plain();
                let span = file.span;
                plain.push(Located { value: name, span });
            }
            outputs.push((role, file));
        }
        check_outputs(&plain, self.problems);
        outputs
    }

    fn resources(&mut self, node: Node) -> Resources {
        let mut resources = Resources::default();
        for (key, node) in self.table("`resources`", node) {
            match key.value.as_str() {
                "cpus" => resources.cpus = self.count("`cpus`", &node, 4096),
                "gpus" => resources.gpus = self.count("`gpus`", &node, 64),
                "memory" => resources.memory = self.memory(node),
                _ => self.unknown(&key, "`resources`", &["cpus", "gpus", "memory"]),
            }
        }
        resources
    }

    fn count(&mut self, what: &'static str, node: &Node, most: i64) -> Option<u32> {
        let count = self.integer(what, node, 0, most)?;
        u32::try_from(count).ok()
    }

    fn memory(&mut self, node: Node) -> Option<u64> {
        let text = self.string("`memory`", node)?;
        let bytes = text
            .value
            .parse::<ByteSize>()
            .ok()
            .map(|size| size.as_u64());
        if bytes.is_none_or(|bytes| bytes == 0) {
            let problem = Problem::BadMemory { text: text.value };
            self.problems.add(problem, text.span);
        }
        bytes
    }

    fn timeout(&mut self, node: Node) -> Option<Duration> {
        let NodeValue::String(value) = node.value else {
            let wanted = "a length of time such as \"90s\" or \"2h 30m\"";
            self.wrong_type("`timeout`", wanted, &node.value, node.span);
            return None;
        };
        let text = Located {
            value,
            span: node.span,
        };
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
                self.no_reference("a variable's name", &name);
                names.push(name.value);
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Notes names of output files that lie outside the stage's folder, or in each other; says whether all are right.
pub(crate) fn check_outputs(files: &[Located<String>], problems: &mut Problems) -> bool {
    let mut sound = true;
    for (i, file) in files.iter().enumerate() {
        let name = || file.value.clone();
        let path = Path::new(&file.value);
        let mut parts = path.components();
        if file.value.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            problems.add(Problem::OutputEscapes { name: name() }, file.span);
            sound = false;
        }
        // One output inside another would make a file a folder.
        let mut others = files[..i].iter().map(|other| Path::new(&other.value));
        if others.any(|other| other.starts_with(path) || path.starts_with(other)) {
            problems.add(Problem::SameOutput { name: name() }, file.span);
            sound = false;
        }
    }
    sound
}
