//! `[deliver]`: results under names of the user's own.

use super::node::{Located, Node};
use super::reader::Reader;
use super::{Reference, Template};

/// One line of `[deliver]`.
#[derive(Debug)]
pub struct Delivery {
    /// Where it goes, relative to the workflow's root, unresolved.
    pub path: Located<Template>,
    /// What goes there.
    pub from: Located<Reference>,
}

impl Reader<'_> {
    pub fn deliveries(&mut self, node: Node) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (path, node) in self.table("`[deliver]`", node) {
            let text = self.string("what is delivered", node);
            let from = text.and_then(|text| self.reference(text));
            let path = self.template(path);
            deliveries.extend(path.zip(from).map(|(path, from)| Delivery { path, from }));
        }
        deliveries
    }
}
