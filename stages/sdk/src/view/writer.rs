//! Writes a view.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    Chart, Coordinates, FILE, Gallery, Group, Item, Picture, Points, Sheet, Table, VERSION, View,
};

/// A group of images to draw: its name, a note on it, and the row and label of each image.
pub type GroupOfRows = (String, String, Vec<(usize, String)>);

/// A view that is being written: items are added in the order in which they are shown, and [`Writer::finish`] writes
/// `view.json`.
pub struct Writer {
    folder: PathBuf,
    items: Vec<Item>,
}

impl Writer {
    /// Begins the folder at `path`.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn new(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{} can't be made", path.display()))?;
        Ok(Writer {
            folder: path.to_owned(),
            items: Vec::new(),
        })
    }

    /// Where a file of the view lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Adds any item. Files that it names have to be written into the folder.
    pub fn add(&mut self, item: Item) {
        self.items.push(item);
    }

    /// Adds a paragraph.
    pub fn text(&mut self, title: &str, text: impl Into<String>) {
        self.add(Item::Text {
            title: title.into(),
            text: text.into(),
        });
    }

    /// Adds a table; rows hold a cell for each column.
    pub fn table(&mut self, title: &str, columns: &[&str], rows: Vec<Vec<Value>>) {
        self.add(Item::Table(Table {
            title: title.into(),
            columns: columns.iter().map(|&name| name.into()).collect(),
            rows,
        }));
    }

    /// Adds a chart, by its Vega-Lite spec.
    pub fn chart(&mut self, title: &str, alt: impl Into<String>, spec: Value) {
        self.add(Item::VegaLite(Chart {
            title: title.into(),
            alt: alt.into(),
            spec,
            compare: None,
        }));
    }

    /// Adds a chart that is also laid over those of the same name of other instances of the stage.
    pub fn compared(&mut self, name: &str, title: &str, alt: impl Into<String>, spec: Value) {
        self.add(Item::VegaLite(Chart {
            title: title.into(),
            alt: alt.into(),
            spec,
            compare: Some(name.into()),
        }));
    }

    /// Adds groups of images, which stand in the file `sprite` as [`sheet`](super::sheet()) has drawn them: `groups` hold name,
    /// note, and row and label of each image, in the order in which they were drawn. Images that are not in the sheet are left out.
    pub fn gallery(
        &mut self,
        title: &str,
        alt: impl Into<String>,
        sprite: &str,
        sheet: &Sheet,
        groups: Vec<GroupOfRows>,
    ) {
        let mut at = 0..sheet.images as u32;
        let groups = groups.into_iter().map(|(name, note, images)| Group {
            name,
            note,
            images: images
                .into_iter()
                .zip(at.by_ref())
                .map(|((row, label), at)| Picture {
                    at,
                    row: Some(row as u64),
                    label,
                })
                .collect(),
        });
        let groups = groups.collect();
        self.add(Item::Gallery(Gallery {
            title: title.into(),
            alt: alt.into(),
            sprite: sprite.into(),
            size: sheet.size,
            columns: sheet.columns,
            groups,
        }));
    }

    /// Adds points, whose coordinates and colours are written to the file that the item names.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn points(&mut self, item: Points, points: &Coordinates) -> Result<()> {
        let path = self.path(&item.file);
        let text = serde_json::to_string(&rounded(points))?;
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
        self.add(Item::Points(item));
        Ok(())
    }

    /// Writes `view.json`.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn finish(self) -> Result<()> {
        let view = View {
            view: VERSION,
            items: self.items,
        };
        let path = self.folder.join(FILE);
        let text = serde_json::to_string(&view)? + "\n";
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
    }
}

/// The same points with as many digits as a screen shows: a part in some thousand of the range.
fn rounded(points: &Coordinates) -> Coordinates {
    let mut points = points.clone();
    round(points.x.iter_mut());
    round(points.y.iter_mut());
    for colour in &mut points.colour {
        if let super::Colour::Number { value, .. } = colour {
            round(value.iter_mut().flatten());
        }
    }
    points
}

/// Rounds values to the power of ten that is at most a thousandth of their range.
fn round<'a>(values: impl Iterator<Item = &'a mut f64>) {
    let values: Vec<&mut f64> = values.collect();
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in &values {
        least = least.min(**value);
        most = most.max(**value);
    }
    let range = most - least;
    if !(range > 0.0 && range.is_finite()) {
        return;
    }
    let digits = (3.0 - range.log10().floor()).clamp(-15.0, 15.0) as i32;
    for value in values {
        // Division by a power of ten gives the number that its decimals name; multiplication would leave digits behind.
        *value = match digits {
            0.. => (*value * 10f64.powi(digits)).round() / 10f64.powi(digits),
            _ => (*value / 10f64.powi(-digits)).round() * 10f64.powi(-digits),
        };
        // No -0.
        *value += 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Colour;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("view");
        let mut view = Writer::new(&path).unwrap();
        view.text("t", "x");
        view.table("rows", &["a"], vec![vec![json!(1)]]);
        view.chart("c", "a chart", json!({"mark": "bar"}));
        view.compared("loss", "c", "a chart", json!({"mark": "line"}));
        let sheet = Sheet {
            size: [8, 8],
            columns: 2,
            images: 3,
        };
        let group = |name: &str, rows: &[usize]| {
            let images = rows
                .iter()
                .map(|&row| (row, format!("row {row}")))
                .collect();
            (name.to_owned(), String::new(), images)
        };
        let groups = vec![group("one", &[5, 6]), group("two", &[7, 8])];
        view.gallery("g", "images", "s.png", &sheet, groups);
        let item = Points {
            title: "p".into(),
            alt: "points".into(),
            note: String::new(),
            file: "p.json".into(),
            class: None,
        };
        let points = Coordinates {
            row: vec![0, 1, 2],
            x: vec![0.123_456_789, -1.0, 9.876_543_21],
            y: vec![12_345.678, 0.0, 98_765.432_1],
            colour: vec![Colour::Number {
                name: "u".into(),
                value: vec![Some(0.333_333_333), None, Some(1.0)],
            }],
        };
        view.points(item, &points).unwrap();
        view.finish().unwrap();
        let view = View::parse(&fs::read(path.join(FILE)).unwrap()).unwrap();
        assert_eq!(view.items.len(), 6);
        let Item::Gallery(gallery) = &view.items[4] else {
            panic!("{view:?}")
        };
        let at: Vec<Vec<u32>> = gallery
            .groups
            .iter()
            .map(|group| group.images.iter().map(|image| image.at).collect())
            .collect();
        assert_eq!(at, [vec![0, 1], vec![2]]);
        let read = Coordinates::parse(&fs::read(path.join("p.json")).unwrap()).unwrap();
        assert_eq!(read.x, [0.12, -1.0, 9.88]);
        assert_eq!(read.y, [12_350.0, 0.0, 98_770.0]);
        let Colour::Number { value, .. } = &read.colour[0] else {
            panic!("{read:?}")
        };
        assert_eq!(value, &[Some(0.3333), None, Some(1.0)]);
    }
}
