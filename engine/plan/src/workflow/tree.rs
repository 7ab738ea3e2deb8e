//! A table's entries, and what is done with trees of them: finding, taking out, laying one over another.

use super::node::{Located, Node, NodeValue};

/// A table's entries.
pub(super) type Entries = Vec<(Located<String>, Node)>;

/// The value of a key.
pub(super) fn find<'n>(entries: &'n [(Located<String>, Node)], name: &str) -> Option<&'n Node> {
    entries
        .iter()
        .find(|(key, _)| key.value == name)
        .map(|(_, node)| node)
}

/// The value at a way of keys through tables.
pub(super) fn find_at<'n, 'p>(
    entries: &'n [(Located<String>, Node)],
    way: impl IntoIterator<Item = &'p str>,
) -> Option<&'n Node> {
    let mut way = way.into_iter();
    let first = find(entries, way.next()?)?;
    way.try_fold(first, |node, part| find(inside(Some(node)), part))
}

/// The entries of a value; none where it is no table, or not there.
pub(super) fn inside(node: Option<&Node>) -> &[(Located<String>, Node)] {
    match node.map(|node| &node.value) {
        Some(NodeValue::Table(entries)) => entries,
        _ => &[],
    }
}

/// The keys of a table.
pub(super) fn names(entries: &[(Located<String>, Node)]) -> Vec<String> {
    entries.iter().map(|(key, _)| key.value.clone()).collect()
}

/// The table behind a key, to change it.
pub(super) fn table_mut<'n>(entries: &'n mut Entries, name: &str) -> Option<&'n mut Entries> {
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

/// Takes a key out, with its value.
pub(super) fn take(entries: &mut Entries, name: &str) -> Option<Node> {
    let at = entries.iter().position(|(key, _)| key.value == name)?;
    Some(entries.remove(at).1)
}

/// Gives a key its value, in the place where it stands.
pub(super) fn replace(entries: &mut Entries, key: Located<String>, node: Node) {
    match entries.iter_mut().find(|(k, _)| k.value == key.value) {
        Some(entry) => *entry = (key, node),
        None => entries.push((key, node)),
    }
}

/// Lays `over` over `base`: tables merge, everything else is replaced.
pub(super) fn merge(base: &mut Entries, over: Entries) {
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
