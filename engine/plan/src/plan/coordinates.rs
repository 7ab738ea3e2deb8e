//! Which instances a stage has: the natural join of the instances that it reads from, times its own matrix.
//!
//! A coordinate is an axis of some stage's matrix with a value. Two inputs that come from the same axis agree on its
//! value, so `evaluate` after `multihead` has as many instances as `multihead`, and a stage that reads `multihead` twice
//! does not get their product.

use std::collections::{BTreeMap, HashMap};

use petgraph::graph::NodeIndex;
use serde_json::Value;

/// Stage and axis, with the value there.
pub(super) type Coordinates = BTreeMap<(String, String), Value>;

/// A point under construction: its coordinates, and the instance that each input takes.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub coordinates: Coordinates,
    pub nodes: Vec<NodeIndex>,
}

/// More instances of one stage than this are refused.
pub(super) const LIMIT: usize = 1_000_000;

/// Joins the rows with the instances that one more input offers; `Err` tells how many rows it would be.
pub(super) fn join(
    rows: Vec<Row>,
    offered: &[(Coordinates, NodeIndex)],
) -> Result<Vec<Row>, usize> {
    let (Some(row), Some((offer, _))) = (rows.first(), offered.first()) else {
        return Ok(Vec::new());
    };
    // All rows have the same axes, and so have all offers.
    let shared: Vec<_> = offer
        .keys()
        .filter(|axis| row.coordinates.contains_key(*axis))
        .cloned()
        .collect();
    let at = |coordinates: &Coordinates| -> String {
        let values: Vec<_> = shared.iter().map(|axis| &coordinates[axis]).collect();
        format!("{values:?}")
    };
    let mut by_value: HashMap<String, Vec<&(Coordinates, NodeIndex)>> = HashMap::new();
    for offer in offered {
        by_value.entry(at(&offer.0)).or_default().push(offer);
    }
    let matches = |row: &Row| by_value.get(&at(&row.coordinates));
    let count: usize = rows
        .iter()
        .map(|row| matches(row).map_or(0, Vec::len))
        .sum();
    if count > LIMIT {
        return Err(count);
    }
    let mut joined = Vec::with_capacity(count);
    for row in &rows {
        for (coordinates, node) in matches(row).into_iter().flatten() {
            let mut row = row.clone();
            row.coordinates
                .extend(coordinates.iter().map(|(k, v)| (k.clone(), v.clone())));
            row.nodes.push(*node);
            joined.push(row);
        }
    }
    Ok(joined)
}

/// The coordinates by axis name alone; by `stage.axis` where two stages have an axis of that name.
pub(super) fn named(coordinates: &Coordinates) -> BTreeMap<String, Value> {
    let shared = |axis: &str| coordinates.keys().filter(|(_, a)| a == axis).count() > 1;
    coordinates
        .iter()
        .map(|((stage, axis), value)| {
            let name = if shared(axis) {
                format!("{stage}.{axis}")
            } else {
                axis.clone()
            };
            (name, value.clone())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(stage: &str, axis: &str, values: &[i64]) -> Vec<(Coordinates, NodeIndex)> {
        values
            .iter()
            .map(|&value| {
                let key = (stage.to_string(), axis.to_string());
                let node = NodeIndex::new(value as usize);
                (BTreeMap::from([(key, value.into())]), node)
            })
            .collect()
    }

    #[test]
    fn inputs_of_one_axis_agree_and_those_of_two_multiply() {
        let a = offers("a", "x", &[1, 2, 3]);
        let rows = join(vec![Row::default()], &a).unwrap();
        let same = join(rows.clone(), &a).unwrap();
        assert_eq!(same.len(), 3);
        assert!(same.iter().all(|row| row.nodes[0] == row.nodes[1]));
        let product = join(rows, &offers("b", "x", &[4, 5])).unwrap();
        assert_eq!(product.len(), 6);
        let names: Vec<_> = named(&product[0].coordinates).into_keys().collect();
        assert_eq!(names, ["a.x", "b.x"]);
    }

    #[test]
    fn a_product_beyond_the_limit_is_counted_and_not_made() {
        let values: Vec<i64> = (0..1500).collect();
        let rows = join(vec![Row::default()], &offers("a", "x", &values)).unwrap();
        assert_eq!(
            join(rows, &offers("b", "x", &values)).unwrap_err(),
            2_250_000
        );
    }
}
