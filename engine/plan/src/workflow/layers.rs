//! What is laid over the tree of the files: variants, then `--set`. Each wins over those before.

use super::assign::{self, assign};
use super::choices::{self, By, Choice};
use super::node::{Located, Node, NodeValue};
use super::problem::{Problem, Problems};
use super::set::{self, Setting};
use super::source::Sources;
use super::tree::{Entries, find, find_at, inside};
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
    /// The tree of the files.
    pub files: Entries,
    /// The params that give their types to what comes from outside.
    declared: Entries,
    /// The whole tree.
    pub root: Entries,
    /// `[variants]`.
    pub variants: Option<Node>,
    /// What was laid over it.
    pub layers: Layers,
    /// The variants that count, in the order in which they were laid.
    pub choices: Vec<Choice>,
}

impl Ground {
    /// Lays variants and the choices of the command line over the tree of the files.
    pub fn new(
        files: Entries,
        declared: Entries,
        variants: Option<Node>,
        layers: Layers,
        changes: &mut Problems,
        problems: &mut Problems,
    ) -> Ground {
        variants::check(variants.as_ref(), &files, problems);
        let choices = choices::all(&layers.chosen, variants.as_ref());
        let mut root = files.clone();
        lay(&choices, variants.as_ref(), &mut root, changes, problems);
        for (path, value) in &layers.settings {
            let params = [&declared[..], inside(find(&root, "params"))];
            let typed = value
                .as_ref()
                .map(|value| (value.span, assign::same_type(params, &path.value, value)));
            if let Some((span, Err(problem))) = typed {
                // A value that no workflow can hold has no type.
                if !problems.is_noted(span) {
                    problems.add(problem, span);
                }
                continue;
            }
            match assign(&mut root, path, value.clone(), changes) {
                Err(Problem::UnknownParam { name, .. })
                    if find(inside(variants.as_ref()), &name).is_some() =>
                {
                    let value = value.as_ref().map_or("NAME".into(), |v| v.value.text());
                    problems.add(Problem::SetsGroup { group: name, value }, path.span);
                }
                Err(problem) => problems.add(problem, path.span),
                Ok(()) => {}
            }
        }
        Ground {
            files,
            declared,
            root,
            variants,
            layers,
            choices,
        }
    }

    /// Notes groups of which something has to be chosen and nothing is; those that `is_swept` have a choice at each point.
    pub fn check_required(&self, is_swept: impl Fn(&str) -> bool, problems: &mut Problems) {
        for (group, node) in inside(self.variants.as_ref()) {
            let is_chosen = self.choice(&group.value).is_some() || is_swept(&group.value);
            if let Some(required) = choices::required(node).filter(|_| !is_chosen) {
                let (group, known) = (group.value.clone(), choices::names(node));
                problems.add(Problem::NothingChosen { group, known }, required.span);
            }
        }
    }

    /// What counts of a group, if anything was chosen.
    pub fn choice(&self, group: &str) -> Option<&Choice> {
        let mut chosen = self.choices.iter().rev();
        chosen.find(|choice| choice.group == group)
    }

    /// The variants that count where others are chosen too. What the command line chooses wins.
    fn choices_with(&self, chosen: impl Iterator<Item = (String, Located<String>)>) -> Vec<Choice> {
        let mut asked = self.layers.chosen.clone();
        let fixed: Vec<String> = asked.iter().map(|(group, _)| group.clone()).collect();
        asked.extend(chosen.filter(|(group, _)| !fixed.contains(group)));
        choices::all(&asked, self.variants.as_ref())
    }

    /// The workflow's seed.
    pub fn seed(&self) -> u64 {
        self.seed_with(std::iter::empty())
    }

    /// The workflow's seed where other variants are chosen too.
    pub fn seed_with(&self, chosen: impl Iterator<Item = (String, Located<String>)>) -> u64 {
        let choices = self.choices_with(chosen);
        let variants = inside(self.variants.as_ref());
        let of_variant = |choice: &Choice| {
            let way = [&choice.group, &choice.name.value, "workflow", "seed"];
            find_at(variants, way)
        };
        let chosen = choices.iter().rev().find_map(of_variant);
        match chosen.or_else(|| find_at(&self.files, ["workflow", "seed"])) {
            Some(Located {
                value: NodeValue::Integer(seed),
                ..
            }) => seed.unsigned_abs(),
            _ => DEFAULT_SEED,
        }
    }

    /// Checks that a value for a param is of the type that it has.
    ///
    /// # Errors
    /// [`Problem::OtherType`].
    pub fn same_type(&self, path: &str, value: &Node) -> Result<(), Problem> {
        let params = [&self.declared[..], inside(find(&self.root, "params"))];
        assign::same_type(params, path, value)
    }

    /// The value at a dotted path in the tree.
    pub fn find(&self, path: &str) -> Option<&Node> {
        find_at(&self.root, path.split('.'))
    }

    /// The tree with other variants and values in it, as one point of a sweep has them, and the variants that count. What
    /// the command line chooses and sets wins there too.
    pub fn with(
        &self,
        chosen: impl Iterator<Item = (String, Located<String>)>,
        settings: impl Iterator<Item = Setting>,
        changes: &mut Problems,
        problems: &mut Problems,
    ) -> (Entries, Vec<Choice>) {
        let choices = self.choices_with(chosen);
        let mut tree = self.files.clone();
        lay(
            &choices,
            self.variants.as_ref(),
            &mut tree,
            changes,
            problems,
        );
        let mut settings: Vec<Setting> = settings
            .chain(self.layers.settings.iter().cloned())
            .collect();
        sort(&mut settings);
        for (path, value) in settings {
            match assign(&mut tree, &path, value, changes) {
                // What is taken away need not be there at every point: a variant may have no such parameter.
                Ok(()) | Err(Problem::NothingSet { .. }) => {}
                Err(problem) => problems.add(problem, path.span),
            }
        }
        (tree, choices)
    }
}

/// What is set in stages may look through a reference at a param, so params come first; what another kind takes is set
/// when the stage has it.
fn sort(settings: &mut [Setting]) {
    settings.sort_by_key(|(path, _)| assign::rank(&path.value));
}

fn lay(
    choices: &[Choice],
    variants: Option<&Node>,
    root: &mut Entries,
    changes: &mut Problems,
    problems: &mut Problems,
) {
    for Choice { group, name, by } in choices {
        let laid = variants::choose(group, &name.value, variants, root, changes);
        // What the file itself chooses was checked with it.
        if let (Err(problem), By::Asked) = (laid, by) {
            problems.add(problem, name.span);
        }
    }
}
