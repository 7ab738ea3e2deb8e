//! What is left out where a page would be too large: a rule that is the same for everybody, and told on the page.

use std::collections::{BTreeMap, BTreeSet};

use flow_cache::Digest;
use flow_stage::view::{Colour, Coordinates, Item, splitmix64};
use serde::Serialize;

use super::document::{Document, Shown};
use super::items::without_data;
use super::page::escaped;

/// A page has fewer bytes than this.
pub const PAGE: usize = 15_000_000;
/// A scatter plot shows at least this number of points, or none.
const FEWEST: usize = 2_000;

/// Makes a document fit into a page of `room` bytes. The largest item goes first: of a scatter plot the half of the points with
/// the smallest splitmix64 of their row stays, as often as need be; anything else, and a plot of few points, is left
/// out as a whole. The facts of stages, and tables of results, always stay.
pub fn fit(document: &mut Document, room: usize) {
    let views = std::mem::take(&mut document.views);
    let files = std::mem::take(&mut document.files);
    let facts = size(document);
    document.views = views;
    document.files = files;
    let mut room = room.saturating_sub(facts);
    // What is only another look at the same charts goes before the charts.
    let compared = size(&document.compared);
    if compared > room / 4 && compared > 0 {
        document.compared.clear();
        document.told.push(
            "Charts of several instances side by side are left out: they would take too much room."
                .into(),
        );
        room += compared;
    }
    let mut costs: Vec<(usize, usize, Cost)> = Vec::new();
    for (at, view) in document.views.iter().enumerate() {
        for (place, item) in view.items.iter().enumerate() {
            costs.push((at, place, Cost::of(item)));
        }
    }
    let mut left_out: usize = 0;
    let mut sampled: BTreeSet<(usize, usize)> = BTreeSet::new();
    while total(document, &costs) > room {
        let largest = costs.iter_mut().max_by(|a, b| {
            let by_size = a.2.whole(document).cmp(&b.2.whole(document));
            // Of equal ones the last.
            by_size.then_with(|| (a.0, a.1).cmp(&(b.0, b.1)))
        });
        let Some((at, place, cost)) = largest.filter(|(.., cost)| cost.whole(document) > NOTHING)
        else {
            break;
        };
        let item = &mut document.views[*at].items[*place];
        if halve(item) {
            sampled.insert((*at, *place));
        } else {
            leave_out(
                item,
                cost.own
                    + cost
                        .files
                        .iter()
                        .filter_map(|f| document.files.get(f))
                        .map(|f| f.data.len())
                        .sum::<usize>(),
            );
            sampled.remove(&(*at, *place));
            left_out += 1;
        }
        *cost = Cost::of(item);
    }
    let used: BTreeSet<Digest> = costs
        .iter()
        .flat_map(|(.., cost)| cost.files.clone())
        .collect();
    document.files.retain(|digest, _| used.contains(digest));
    if left_out > 0 || !sampled.is_empty() {
        document.told.push(format!(
            "The page stays below {} MB: of what stages show {left_out} item(s) are left out, and {} scatter plot(s) show a \
             sample of their points; each says so in its place. The largest goes first.",
            PAGE / 1_000_000,
            sampled.len()
        ));
    }
}

/// An item of this size has only its title.
const NOTHING: usize = 2_000;

/// What an item takes, in bytes.
struct Cost {
    /// Itself.
    own: usize,
    /// Its files, which others may share.
    files: Vec<Digest>,
}

impl Cost {
    fn of(item: &Shown) -> Cost {
        let files = match item.left_out {
            Some(_) => Vec::new(),
            None => item.item.files(),
        };
        Cost {
            own: size(item),
            files: files.iter().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    /// With its files.
    fn whole(&self, document: &Document) -> usize {
        let files = self
            .files
            .iter()
            .filter_map(|digest| document.files.get(digest));
        self.own + files.map(|file| file.data.len()).sum::<usize>()
    }
}

/// What all items take, each file once.
fn total(document: &Document, costs: &[(usize, usize, Cost)]) -> usize {
    let mut files: BTreeMap<&Digest, usize> = BTreeMap::new();
    for digest in costs.iter().flat_map(|(.., cost)| &cost.files) {
        if let Some(file) = document.files.get(digest) {
            // The digest, the media type, and what stands around them.
            files.insert(digest, file.data.len() + 120);
        }
    }
    let own: usize = costs.iter().map(|(.., cost)| cost.own + 1).sum();
    own + files.values().sum::<usize>() + 200 * document.views.len()
}

fn size(value: &impl Serialize) -> usize {
    escaped(value).len()
}

/// Takes the half of a scatter plot's points away; `false` where it is none, or has too few.
fn halve(item: &mut Shown) -> bool {
    let Some(points) = &mut item.points else {
        return false;
    };
    let n = points.row.len();
    if n / 2 < FEWEST {
        return false;
    }
    let mut places: Vec<usize> = (0..n).collect();
    places.sort_by_key(|&place| splitmix64(points.row[place]));
    places.truncate(n / 2);
    places.sort_unstable();
    choose(points, &places);
    let before = item
        .sampled
        .as_deref()
        .and_then(|text| text.rsplit(' ').nth(1)?.parse().ok());
    let all: usize = before.unwrap_or(n);
    item.sampled = Some(format!(
        "Shown are {} points, those with the smallest splitmix64 of their row, of {all} points",
        places.len()
    ));
    true
}

fn choose(points: &mut Coordinates, places: &[usize]) {
    fn of<T: Clone>(values: &[T], places: &[usize]) -> Vec<T> {
        places.iter().map(|&place| values[place].clone()).collect()
    }
    points.row = of(&points.row, places);
    points.x = of(&points.x, places);
    points.y = of(&points.y, places);
    for colour in &mut points.colour {
        match colour {
            Colour::Category { value, .. } => *value = of(value, places),
            Colour::Number { value, .. } => *value = of(value, places),
        }
    }
}

fn leave_out(item: &mut Shown, bytes: usize) {
    let what = match item.item {
        Item::Thumbnails(_) => "The thumbnails",
        _ => "This",
    };
    item.left_out = Some(format!(
        "{what} would take {:.1} MB of the page, which stays below {} MB. `flow get` copies the stage's output out.",
        bytes as f64 / 1e6,
        PAGE / 1_000_000
    ));
    item.points = None;
    item.sampled = None;
    item.item = without_data(item.item.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{File, View};
    use flow_stage::view::{Points, Thumbnails};

    fn document(points: usize, picture: usize) -> Document {
        let digest = Digest::of_bytes(b"sheet");
        let plot = Item::Points(Points {
            title: "embedding".into(),
            alt: "a".into(),
            note: String::new(),
            file: "points.json".into(),
            class: None,
        });
        let coordinates = Coordinates {
            row: (0..points as u64).map(|row| row * 3).collect(),
            x: (0..points).map(|x| x as f64).collect(),
            y: (0..points).map(|y| y as f64).collect(),
            colour: vec![Colour::Category {
                name: "label".into(),
                names: vec!["a".into(), "b".into()],
                value: (0..points).map(|i| (i % 2) as i32).collect(),
            }],
        };
        let sheet = Item::Thumbnails(Thumbnails {
            sprite: digest.to_string(),
            size: [8, 8],
            columns: 3,
            row: vec![3, 6],
        });
        Document {
            views: vec![View {
                stage: 0,
                output: "view".into(),
                items: vec![
                    Shown {
                        points: Some(coordinates),
                        ..plot.into()
                    },
                    sheet.into(),
                ],
                problem: None,
            }],
            files: BTreeMap::from([(
                digest,
                File {
                    media: "image/png",
                    data: "x".repeat(picture),
                },
            )]),
            ..Document::default()
        }
    }

    #[test]
    fn a_small_document_stays_whole() {
        let mut small = document(100, 1000);
        let before = escaped(&small);
        fit(&mut small, 1_000_000);
        assert_eq!(escaped(&small), before);
    }

    #[test]
    fn the_largest_goes_first_and_points_are_sampled_by_their_rows() {
        let mut large = document(40_000, 300_000);
        fit(&mut large, 900_000);
        assert!(escaped(&large).len() < 900_000);
        let [plot, sheet] = &large.views[0].items[..] else {
            panic!("two items")
        };
        // The points were halved below the sheet's size, so the sheet could stay.
        let points = plot.points.as_ref().unwrap();
        assert!(sheet.left_out.is_none() && large.files.len() == 1);
        let n = points.row.len();
        assert!((FEWEST..40_000).contains(&n), "{n}");
        assert!(
            plot.sampled.as_ref().unwrap().ends_with("of 40000 points"),
            "{:?}",
            plot.sampled
        );
        let mut rows: Vec<u64> = (0..40_000).map(|row| row * 3).collect();
        rows.sort_by_key(|&row| splitmix64(row));
        rows.truncate(n);
        rows.sort_unstable();
        assert_eq!(points.row, rows);
        assert!(
            points
                .row
                .iter()
                .zip(&points.x)
                .all(|(row, x)| *row as f64 == 3.0 * x)
        );
        assert_eq!(large.told.len(), 1);
    }

    #[test]
    fn what_can_not_be_sampled_is_left_out_and_says_so() {
        let mut large = document(100, 2_000_000);
        fit(&mut large, 500_000);
        let sheet = &large.views[0].items[1];
        assert!(sheet.left_out.as_ref().unwrap().contains("2.0 MB"));
        assert!(large.files.is_empty());
        assert!(large.views[0].items[0].points.is_some());
    }
}
