//! From a composed TOML tree to [`Workflow`]: its shape, without a look at plugins or other files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::node::{Node, NodeValue};
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::source::Span;
use super::sweep::Sweep;
use super::tree::Entries;
use super::{DEFAULT_SEED, Workflow, template};

/// Reads the whole tree, and those of its sweep. `top` is for what has no better place.
pub(super) fn workflow(
    root: Entries,
    sweep: Option<Sweep<Entries>>,
    path: PathBuf,
    top: Span,
    problems: &mut Problems,
) -> Workflow {
    let mut reader = Reader { problems };
    let mut workflow = reader.workflow(root, path, top);
    let path = workflow.path.clone();
    workflow.sweep = sweep.map(|sweep| sweep.map(|tree| reader.workflow(tree, path.clone(), top)));
    workflow
}

impl Reader<'_> {
    fn workflow(&mut self, root: Entries, path: PathBuf, top: Span) -> Workflow {
        let mut workflow = Workflow {
            name: path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            path,
            seed: DEFAULT_SEED,
            params: Vec::new(),
            stages: Vec::new(),
            used: BTreeSet::new(),
            incomplete: BTreeSet::new(),
            plugins: Vec::new(),
            sweep: None,
        };
        // Params first: matrices refer to them.
        let (params, rest): (Entries, Entries) =
            root.into_iter().partition(|(key, _)| key.value == "params");
        for (key, node) in params.into_iter().chain(rest) {
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
                        let before = self.problems.count();
                        let label = name.value.clone();
                        let node = self.with_axes(&mut workflow, node);
                        workflow.stages.extend(self.stage(name, node));
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
                _ => self.unknown(
                    &key,
                    "the workflow",
                    &[
                        "include", "workflow", "params", "stages", "variants", "sweep", "plugins",
                    ],
                ),
            }
        }
        if workflow.stages.is_empty() && self.problems.is_empty() {
            self.problems.add(Problem::NoStages, top);
        }
        workflow
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
                _ => self.unknown(&key, "`[workflow]`", &["name", "seed"]),
            }
        }
    }
}
