//! Which variants count: those that are chosen, those that a variant chooses for other groups, and the defaults of
//! groups.

use std::collections::BTreeSet;

use super::node::{Located, Node, NodeValue};
use super::tree::{find, find_at, inside};

/// A variant that counts, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The group.
    pub group: String,
    /// The variant's name; `base` is the file as it stands.
    pub name: Located<String>,
    /// What chose it.
    pub by: By,
}

/// What chooses a variant.
#[derive(Debug, Clone, PartialEq)]
pub enum By {
    /// The command line, or a point of a sweep.
    Asked,
    /// `use` of another variant that counts: its group and name.
    Variant(String, String),
    /// `default` of its group.
    Group,
}

/// The variants that count, in the order in which they are laid: defaults of groups first, then those that were asked
/// for, each behind those that it uses. Of two of one group, the later wins.
pub(super) fn all(asked: &[(String, Located<String>)], variants: Option<&Node>) -> Vec<Choice> {
    let mut choosing = Choosing {
        variants: inside(variants),
        decided: asked.iter().map(|(group, _)| group.clone()).collect(),
        reversed: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    for (group, name) in asked.iter().rev() {
        if seen.insert(group) {
            choosing.visit(group, name, By::Asked);
        }
    }
    let groups = choosing.variants.iter().rev();
    for (group, node) in groups {
        if let Some(name) = default(node)
            && choosing.decided.insert(group.value.clone())
        {
            choosing.visit(&group.value, &name, By::Group);
        }
    }
    choosing.reversed.reverse();
    choosing.reversed
}

/// A variant, and those that it uses, of other groups than those that are `decided`.
pub(super) fn with_used(
    group: &str,
    name: &Located<String>,
    decided: BTreeSet<String>,
    variants: Option<&Node>,
) -> Vec<Choice> {
    let mut choosing = Choosing {
        variants: inside(variants),
        decided,
        reversed: Vec::new(),
    };
    choosing.visit(group, name, By::Asked);
    choosing.reversed
}

struct Choosing<'a> {
    variants: &'a [(Located<String>, Node)],
    /// Groups of which is known what counts.
    decided: BTreeSet<String>,
    /// What counts, the last first.
    reversed: Vec<Choice>,
}

impl Choosing<'_> {
    fn visit(&mut self, group: &str, name: &Located<String>, by: By) {
        self.reversed.push(Choice {
            group: group.into(),
            name: name.clone(),
            by,
        });
        let way = [group, &name.value, "use"];
        for (used, node) in inside(find_at(self.variants, way)).iter().rev() {
            if let NodeValue::String(text) = &node.value
                && self.decided.insert(used.value.clone())
            {
                let used_name = Located {
                    value: text.clone(),
                    span: node.span,
                };
                let by = By::Variant(group.into(), name.value.clone());
                self.visit(&used.value, &used_name, by);
            }
        }
    }
}

/// The variant that a group names as its default. A table of that name is a variant.
pub(super) fn default(group: &Node) -> Option<Located<String>> {
    let node = find(inside(Some(group)), "default")?;
    match &node.value {
        NodeValue::String(text) => Some(Located {
            value: text.clone(),
            span: node.span,
        }),
        _ => None,
    }
}

/// Where a group says that one of its variants has to be chosen, if it does.
pub(super) fn required(group: &Node) -> Option<&Node> {
    let node = find(inside(Some(group)), "required")?;
    (node.value == NodeValue::Boolean(true)).then_some(node)
}

/// Whether an entry of a group says something of the group, and is no variant.
pub(super) fn is_setting(name: &str, node: &Node) -> bool {
    matches!(
        (name, &node.value),
        ("default", NodeValue::String(_)) | ("required", NodeValue::Boolean(_))
    )
}

/// The names that can be chosen in a group.
pub(super) fn names(group: &Node) -> Vec<String> {
    let entries = inside(Some(group)).iter();
    let variants = entries.filter(|(name, node)| !is_setting(&name.value, node));
    let mut names: Vec<String> = variants.map(|(name, _)| name.value.clone()).collect();
    names.push("base".into());
    names
}
