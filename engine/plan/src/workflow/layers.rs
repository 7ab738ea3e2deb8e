//! What the command line lays over the tree of the files: the chosen variants, then `--set`. Each wins over those before.

use super::assign::{assign, in_stages};
use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::set::{self, Setting};
use super::source::Sources;
use super::tree::{Entries, find_at};
use super::{DEFAULT_SEED, Overrides, variants};

/// The choices of the command line, as plain data.
#[derive(Default)]
pub(super) struct Layers {
    /// `--variant`: groups and names.
    pub chosen: Vec<(String, Located<String>)>,
    /// `--set`, in the order in which it is done.
    pub settings: Vec<Setting>,
}

impl Layers {
    /// Reads the options.
    pub fn read(overrides: &Overrides, sources: &mut Sources, problems: &mut Problems) -> Layers {
        let mut layers = Layers::default();
        for choice in &overrides.variants {
            let span = sources.add_option("--variant", choice);
            match choice.split_once('=') {
                Some((group, name)) => {
                    let value = name.to_string();
                    let name = Located { value, span };
                    layers.chosen.push((group.to_string(), name));
                }
                None => problems.add(Problem::VariantWithoutName, span),
            }
        }
        let settings = overrides.set.iter();
        layers.settings = settings
            .filter_map(|text| set::assignment(text, sources, problems))
            .collect();
        sort(&mut layers.settings);
        layers
    }
}

/// The tree of a workflow, and what it was made of: the ground that a sweep starts from.
pub(super) struct Ground {
    /// The tree before `--set`.
    pub before: Entries,
    /// The whole tree.
    pub root: Entries,
    /// `[variants]`.
    pub variants: Option<Node>,
    /// What was laid over it.
    pub layers: Layers,
}

impl Ground {
    /// Lays the choices of the command line over the tree of the files.
    pub fn new(
        mut root: Entries,
        variants: Option<Node>,
        layers: Layers,
        problems: &mut Problems,
    ) -> Ground {
        variants::check(variants.as_ref(), &root, problems);
        for (group, name) in &layers.chosen {
            choose(group, name, variants.as_ref(), &mut root, problems);
        }
        let before = root.clone();
        for (path, value) in &layers.settings {
            if let Err(problem) = assign(&mut root, path, value.clone()) {
                problems.add(problem, path.span);
            }
        }
        Ground {
            before,
            root,
            variants,
            layers,
        }
    }

    /// The workflow's seed.
    pub fn seed(&self) -> u64 {
        match self.find("workflow.seed").map(|node| &node.value) {
            Some(NodeValue::Integer(seed)) => seed.unsigned_abs(),
            _ => DEFAULT_SEED,
        }
    }

    /// The value at a dotted path in the tree.
    pub fn find(&self, path: &str) -> Option<&Node> {
        find_at(&self.root, path.split('.'))
    }

    /// The tree with other variants and values in it, as one point of a sweep has them. `--set` wins there too.
    pub fn with<'v>(
        &self,
        chosen: impl Iterator<Item = (&'v str, Located<String>)>,
        settings: impl Iterator<Item = Setting>,
        problems: &mut Problems,
    ) -> Entries {
        let mut tree = self.before.clone();
        for (group, name) in chosen {
            choose(group, &name, self.variants.as_ref(), &mut tree, problems);
        }
        let mut settings: Vec<Setting> = settings
            .chain(self.layers.settings.iter().cloned())
            .collect();
        sort(&mut settings);
        for (path, value) in settings {
            match assign(&mut tree, &path, value) {
                // What is taken away need not be there at every point: a variant may have no such parameter.
                Ok(()) | Err(Problem::NothingSet { .. }) => {}
                Err(problem) => problems.add(problem, path.span),
            }
        }
        tree
    }
}

/// What is set in stages may look through a reference at a param, so params come first.
fn sort(settings: &mut [Setting]) {
    settings.sort_by_key(|(path, _)| in_stages(&path.value));
}

fn choose(
    group: &str,
    name: &Located<String>,
    variants: Option<&Node>,
    root: &mut Entries,
    problems: &mut Problems,
) {
    if let Err(problem) = variants::choose(group, &name.value, variants, root) {
        problems.add(problem, name.span);
    }
}
