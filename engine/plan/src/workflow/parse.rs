//! From a composed TOML tree to [`Workflow`]: its shape, without a look at plugins or other files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::axes::Source;
use super::node::{Node, NodeValue};
use super::overlay::acts_anew;
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::source::Span;
use super::sweep::Sweep;
use super::tree::{Entries, find_at};
use super::{Collect, DEFAULT_SEED, Isolation, Origin, Stage, Workflow, params, template};

/// What is known of a workflow beside its tree: where it lies, and what lay over it.
pub(super) struct Places {
    /// Its file.
    pub path: PathBuf,
    /// The folder that the paths of stages start from.
    pub root: PathBuf,
    /// The beginning of its file, for what has no better place.
    pub top: Span,
    /// Params that only files of params have.
    pub shared: BTreeSet<String>,
    /// The tree of the files.
    pub files: Entries,
}

/// Reads the whole tree, and those of its sweep.
pub(super) fn workflow(
    root: Entries,
    sweep: Option<Sweep<Entries>>,
    places: &Places,
    problems: &mut Problems,
) -> Workflow {
    let mut reader = Reader { problems };
    let mut workflow = reader.workflow(root, places);
    workflow.sweep = sweep.map(|sweep| sweep.map(|tree| reader.workflow(tree, places)));
    workflow
}

/// The version of the language that a file says it is written in: 1 where it says nothing.
pub(super) fn language(root: &Entries) -> i64 {
    match find_at(root, ["workflow", "language"]).map(|node| &node.value) {
        Some(NodeValue::Integer(version)) => *version,
        _ => 1,
    }
}

impl Reader<'_> {
    fn workflow(&mut self, root: Entries, places: &Places) -> Workflow {
        let stem = places.path.file_stem();
        let mut workflow = Workflow {
            name: stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            path: places.path.clone(),
            by_name: language(&root) > 1,
            seed: DEFAULT_SEED,
            params: Vec::new(),
            stages: Vec::new(),
            used: places.shared.clone(),
            incomplete: BTreeSet::new(),
            damaged_axes: BTreeSet::new(),
            plugins: Vec::new(),
            environments: Vec::new(),
            damaged_environments: BTreeSet::new(),
            deliver: Vec::new(),
            shell: None,
            isolation: Isolation::default(),
            root: places.root.clone(),
            sweep: None,
        };
        // Params first: matrices refer to them.
        let (params, rest): (Entries, Entries) =
            root.into_iter().partition(|(key, _)| key.value == "params");
        for (key, node) in params.into_iter().chain(rest) {
            match key.value.as_str() {
                "workflow" => self.head(&mut workflow, node),
                "params" => {
                    let params = self.table("`[params]`", node);
                    params.iter().for_each(|(name, _)| self.name(name));
                    let (params, used) = params::resolve(&params, self.problems);
                    workflow.params = params;
                    workflow.used.extend(used);
                }
                "stages" => {
                    for (name, node) in self.table("`[stages]`", node) {
                        self.name(&name);
                        let before = self.problems.count();
                        let label = name.value.clone();
                        let node = self.with_axes(&mut workflow, node);
                        let is_anew = acts_anew(&places.files, &label, &node);
                        let stage = self.stage(name, node);
                        workflow
                            .stages
                            .extend(stage.map(|stage| Stage { is_anew, ..stage }));
                        if self.problems.count() > before {
                            workflow.incomplete.insert(label);
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
                "environments" => self.environments(&mut workflow, node),
                "deliver" => workflow.deliver = self.deliveries(node),
                _ => self.unknown(
                    &key,
                    "the workflow",
                    &[
                        "include",
                        "workflow",
                        "params",
                        "stages",
                        "variants",
                        "sweep",
                        "plugins",
                        "environments",
                        "deliver",
                    ],
                ),
            }
        }
        if !workflow.by_name {
            self.only_by_name(&mut workflow);
        }
        if workflow.stages.is_empty() && !self.problems.has_errors() {
            self.problems.add(Problem::NoStages, places.top);
        }
        workflow
    }

    /// Notes what only files can say in which axes are known by their names, and axes without values.
    fn only_by_name(&mut self, workflow: &mut Workflow) {
        for stage in &mut workflow.stages {
            let before = self.problems.count();
            stage.matrix.retain(|axis| {
                let problem = match &axis.source {
                    Source::Listed { key: None } if axis.rows.is_empty() => Problem::EmptyAxis {
                        axis: axis.name.value.clone(),
                    },
                    Source::Listed { key: None } => return true,
                    _ => Problem::NeedsLanguage {
                        what: "an axis whose values are rows",
                    },
                };
                // Without values it would leave the stage without instances; that it has none is said.
                let is_empty = matches!(problem, Problem::EmptyAxis { .. });
                let span = if is_empty { axis.name.span } else { axis.span };
                self.problems.add(problem, span);
                false
            });
            for input in &stage.inputs {
                let Origin::Collect(collect) = &input.origin else {
                    continue;
                };
                let what = match collect {
                    Collect { by, .. } if !by.is_empty() => "`by`",
                    Collect { from, .. } if from.len() > 1 => "a list after `collect`",
                    Collect { allow_empty, .. } if *allow_empty => "`allow_empty`",
                    _ => continue,
                };
                self.problems
                    .add(Problem::NeedsLanguage { what }, collect.span);
            }
            if self.problems.count() > before {
                workflow.incomplete.insert(stage.name.value.clone());
            }
        }
    }

    /// A stage's table in which the references of its matrix are replaced by the params that they name.
    fn with_axes(&mut self, workflow: &mut Workflow, mut stage: Node) -> Node {
        let NodeValue::Table(entries) = &mut stage.value else {
            return stage;
        };
        entries.retain_mut(|(key, node)| {
            if key.value != "matrix" {
                return true;
            }
            let mut used = BTreeSet::new();
            let resolved = template::resolve(node, &mut |name| {
                used.extend(name.split('.').next().map(String::from));
                workflow.param(name).cloned()
            });
            workflow.used.extend(used);
            match resolved {
                Ok(resolved) => *node = resolved,
                Err(problem) => {
                    self.problems.add(problem.value, problem.span);
                    return false;
                }
            }
            true
        });
        stage
    }

    fn head(&mut self, workflow: &mut Workflow, node: Node) {
        for (key, node) in self.table("`[workflow]`", node) {
            match key.value.as_str() {
                "name" => {
                    if let Some(name) = self.string("`name`", node) {
                        self.no_reference("the workflow's name", &name);
                        workflow.name = name.value;
                    }
                }
                "seed" => {
                    if let Some(seed) = self.integer("`seed`", &node, 0, i64::MAX) {
                        workflow.seed = seed.unsigned_abs();
                    }
                }
                "language" => {
                    self.integer("`language`", &node, 1, 2);
                }
                // These are read where files may be looked at.
                "params" => {}
                "root" => {
                    self.string("`root`", node);
                }
                "shell" => workflow.shell = self.shell(node),
                "isolation" => workflow.isolation = self.isolation(node).unwrap_or_default(),
                _ => self.unknown(
                    &key,
                    "`[workflow]`",
                    &[
                        "name",
                        "language",
                        "seed",
                        "params",
                        "root",
                        "shell",
                        "isolation",
                    ],
                ),
            }
        }
    }
}
