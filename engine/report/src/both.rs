//! The pages of two sides as one: what differs between them, and their charts laid over each other.

use flow_cache::Store;
use flow_stage::view::Table;

use super::document::{Document, Stage};
use super::{budget, compare, items, page};

/// One side of a comparison.
pub struct Side {
    /// Its document, that [`complete`](super::complete) has not seen yet.
    pub document: Document,
    /// Where its results lie.
    pub store: Store,
}

/// One document of both. Instances that have the same key are one; the others are called after their side.
pub fn both(title: String, a: Side, b: Side, differs: Vec<Table>) -> Document {
    let [mut whole, other] = [a, b].map(|side| {
        let mut document = side.document;
        items::fill(&mut document, &side.store);
        document
    });
    let same = |key: &Stage, stages: &[Stage]| {
        let mut all = stages.iter();
        all.position(|stage| key.key.is_some() && stage.key == key.key)
    };
    let shared: Vec<Option<usize>> = other
        .stages
        .iter()
        .map(|stage| same(stage, &whole.stages))
        .collect();
    for (place, stage) in whole.stages.iter_mut().enumerate() {
        if !shared.contains(&Some(place)) {
            stage.label = format!("A: {}", stage.label);
        }
    }
    let mut places = Vec::new();
    for (mut stage, shared) in other.stages.into_iter().zip(&shared) {
        places.push(shared.unwrap_or(whole.stages.len()));
        if shared.is_none() {
            stage.label = format!("B: {}", stage.label);
            // None stands before what it reads from.
            stage
                .sources
                .iter_mut()
                .for_each(|source| *source = places[*source]);
            whole.stages.push(stage);
        }
    }
    for mut view in other.views {
        if shared[view.stage].is_none() {
            view.stage = places[view.stage];
            whole.views.push(view);
        }
    }
    whole.files.extend(other.files);
    whole.told.extend(other.told);
    whole.workflow = title;
    (whole.run, whole.seed, whole.overrides) = (None, None, None);
    (whole.graph, whole.table) = (None, None);
    whole.figures.clear();
    whole.differs = differs;
    compare::add(&mut whole);
    let room = budget::PAGE.saturating_sub(page::frame_size(&whole));
    budget::fit(&mut whole, room);
    whole
}
