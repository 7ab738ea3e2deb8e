//! Which instances a stage has: the natural join of the instances that it reads from, times its own matrix.
//!
//! A coordinate is an axis of some stage's matrix with a value; where axes are known by name alone, of no stage's. Two inputs
//! that come from the same axis agree on its value, so `evaluate` after `multihead` has as many instances as `multihead`,
//! and a stage that reads `multihead` twice does not get their product.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::offers::{Offer, Pick};

/// Stage and axis, with the value there; the stage is empty where axes are known by name.
pub(super) type Coordinates = BTreeMap<(String, String), Value>;

/// A point under construction: its coordinates, and what each input takes.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub coordinates: Coordinates,
    pub picks: Vec<Pick>,
}

impl Row {
    /// One without coordinates, of so many inputs.
    pub fn new(inputs: usize) -> Row {
        Row {
            coordinates: Coordinates::new(),
            picks: vec![Pick::Own; inputs],
        }
    }
}

/// More instances of one stage than this are refused.
pub(super) const LIMIT: usize = 1_000_000;

/// Joins the rows with what the input number `input` offers; `Err` tells how many rows it would be.
pub(super) fn join(rows: Vec<Row>, input: usize, offered: &[Offer]) -> Result<Vec<Row>, usize> {
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
    let mut by_value: HashMap<String, Vec<&Offer>> = HashMap::new();
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
        for (coordinates, pick) in matches(row).into_iter().flatten() {
            let mut row = row.clone();
            row.coordinates
                .extend(coordinates.iter().map(|(k, v)| (k.clone(), v.clone())));
            row.picks[input] = pick.clone();
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
    use petgraph::graph::NodeIndex;

    use super::*;

    fn offers(stage: &str, axis: &str, values: &[i64]) -> Vec<Offer> {
        values
            .iter()
            .map(|&value| {
                let key = (stage.to_string(), axis.to_string());
                let node = NodeIndex::new(value as usize);
                (BTreeMap::from([(key, value.into())]), Pick::Node(node))
            })
            .collect()
    }

    #[test]
    fn inputs_of_one_axis_agree_and_those_of_two_multiply() {
        let a = offers("a", "x", &[1, 2, 3]);
        let rows = join(vec![Row::new(2)], 0, &a).unwrap();
        let same = join(rows.clone(), 1, &a).unwrap();
        assert_eq!(same.len(), 3);
        let nodes = same.iter().map(|row| match row.picks[..] {
            [Pick::Node(a), Pick::Node(b)] => (a, b),
            _ => panic!("{row:?}"),
        });
        assert!(nodes.into_iter().all(|(a, b)| a == b));
        let product = join(rows, 1, &offers("b", "x", &[4, 5])).unwrap();
        assert_eq!(product.len(), 6);
        let names: Vec<_> = named(&product[0].coordinates).into_keys().collect();
        assert_eq!(names, ["a.x", "b.x"]);
    }

    #[test]
    fn a_product_beyond_the_limit_is_counted_and_not_made() {
        let values: Vec<i64> = (0..1500).collect();
        let rows = join(vec![Row::new(2)], 0, &offers("a", "x", &values)).unwrap();
        assert_eq!(
            join(rows, 1, &offers("b", "x", &values)).unwrap_err(),
            2_250_000
        );
    }
}
