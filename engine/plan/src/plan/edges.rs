//! The edges of a DAG that a picture needs.

use std::collections::BTreeSet;

/// More boxes than this are drawn with all their edges: finding the superfluous ones takes their square in memory.
const REDUCED: usize = 1000;

/// The pairs of source and reader that a picture needs, by what each box reads from; no box reads from a later one. Those that a
/// longer way leads along as well are left out.
pub fn needed(sources: &[BTreeSet<usize>]) -> Vec<(usize, usize)> {
    let mut ancestors: Vec<BTreeSet<usize>> = Vec::with_capacity(sources.len());
    if sources.len() <= REDUCED {
        for own in sources {
            let above = own.iter().filter_map(|&source| ancestors.get(source));
            let above: BTreeSet<usize> = above.flatten().copied().collect();
            ancestors.push(above.into_iter().chain(own.iter().copied()).collect());
        }
    }
    let mut edges = Vec::new();
    for (reader, own) in sources.iter().enumerate() {
        for &source in own {
            let longer = |other: &usize| {
                ancestors
                    .get(*other)
                    .is_some_and(|above| above.contains(&source))
            };
            if !own.iter().any(longer) {
                edges.push((source, reader));
            }
        }
    }
    edges
}
