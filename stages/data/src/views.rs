//! What the kinds of data sets show: sizes, a few images of each class, and thumbnails for the stages that plot points.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use flow_stage::dataset::{Images, Meta, Rows, Split};
use flow_stage::view::{self, Item, MOST_POINTS, Thumbnails, Writer, short};
use serde_json::{Value, json};

/// The longest side of an image, and the bytes of all before compression: about 5 MB as files.
const THUMBNAIL: u32 = 32;
const THUMBNAILS: usize = 7 << 20;
const EXAMPLE: u32 = 64;
const EXAMPLES: usize = 1 << 20;
/// Images of a class, and classes of which some are shown.
const OF_A_CLASS: usize = 8;
const CLASSES: usize = 100;

/// Writes the view of the data set in the folder `data`.
///
/// # Errors
/// Where something can't be read or written.
pub fn write(folder: &Path, data: &Path, meta: &Meta, rows: &Rows) -> Result<()> {
    let mut view = Writer::new(folder)?;
    let images = Images::open(data, meta, rows)?;
    view.table("Images", &SIZES, sizes(meta, rows));
    examples(&mut view, &images, meta, rows)?;
    thumbnails(&mut view, &images, rows)?;
    view.finish()
}

/// Writes the view of a data set without images.
///
/// # Errors
/// Where something can't be written.
pub fn write_sizes(folder: &Path, meta: &Meta, rows: &Rows) -> Result<()> {
    let mut view = Writer::new(folder)?;
    view.table("Rows", &SIZES, sizes(meta, rows));
    view.finish()
}

const SIZES: [&str; 6] = ["classes", "class", "train", "validation", "test", "all"];

/// A line for each class, and one for all, with the images of each split.
fn sizes(meta: &Meta, rows: &Rows) -> Vec<Vec<Value>> {
    let line = |sort: &str, name: &str, [train, validation, test]: [u64; 3]| {
        let all = train + validation + test;
        vec![
            json!(sort),
            json!(short(name, 100)),
            json!(train),
            json!(validation),
            json!(test),
            json!(all),
        ]
    };
    let mut all = [0; 3];
    for &split in &rows.split {
        all[split as usize] += 1;
    }
    let mut lines = vec![line("all", "", all)];
    for (sort, names, labels) in [
        ("coarse", &meta.coarse_names, &rows.coarse),
        ("fine", &meta.fine_names, &rows.fine),
    ] {
        let Some(labels) = labels else { continue };
        let mut counts = vec![[0; 3]; names.len()];
        for (&label, &split) in labels.iter().zip(&rows.split) {
            counts[label as usize][split as usize] += 1;
        }
        let of_class = names.iter().zip(counts);
        lines.extend(of_class.map(|(name, counts)| line(sort, name, counts)));
    }
    lines
}

/// A few training images of each class, of the finest labels that are known.
fn examples(view: &mut Writer, images: &Images, meta: &Meta, rows: &Rows) -> Result<()> {
    let (names, labels) = match (&rows.fine, &rows.coarse) {
        (Some(fine), _) => (&meta.fine_names, fine),
        (None, Some(coarse)) => (&meta.coarse_names, coarse),
        (None, None) => return Ok(()),
    };
    let mut of_class = BTreeMap::<i32, Vec<usize>>::new();
    for row in rows.of(Split::Train) {
        of_class.entry(labels[row]).or_default().push(row);
    }
    let mut groups = Vec::new();
    for (label, rows) in of_class.into_iter().take(CLASSES) {
        let drawn = view::sample(rows, OF_A_CLASS);
        let images = drawn.into_iter().map(|row| (row, String::new()));
        let name = short(&names[label as usize], 100);
        groups.push((name, String::new(), images.collect::<Vec<_>>()));
    }
    let drawn: Vec<usize> = groups
        .iter()
        .flat_map(|(.., images)| images.iter().map(|&(row, _)| row))
        .collect();
    let sheet = view::sheet(
        &view.path("examples.png"),
        images,
        &drawn,
        EXAMPLE,
        EXAMPLES,
    )?;
    let alt = match names.len() > groups.len() {
        false => "Training images of each class, drawn at random".to_owned(),
        true => format!(
            "Training images of {} of the {} classes, drawn at random",
            groups.len(),
            names.len()
        ),
    };
    view.gallery("Images of each class", alt, "examples.png", &sheet, groups);
    Ok(())
}

/// Small images of training rows: what is plotted is made of these.
fn thumbnails(view: &mut Writer, images: &Images, rows: &Rows) -> Result<()> {
    let mut shown = view::sample(rows.of(Split::Train), MOST_POINTS);
    // Those that may not fit are the last ones of the sample's order.
    shown.sort_unstable_by_key(|&row| view::splitmix64(row as u64));
    let sheet = view::sheet(
        &view.path("thumbnails.png"),
        images,
        &shown,
        THUMBNAIL,
        THUMBNAILS,
    )?;
    view.add(Item::Thumbnails(Thumbnails {
        sprite: "thumbnails.png".into(),
        size: sheet.size,
        columns: sheet.columns,
        row: shown[..sheet.images]
            .iter()
            .map(|&row| row as u64)
            .collect(),
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow_stage::dataset::Dataset;
    use flow_stage::view::View;
    use ndarray::{Array1, Array4};

    /// 40 rows, of which 30 train, 4 validate and 6 test; three fine classes in turn, in two coarse ones.
    fn dataset(folder: &Path, channels: usize, size: usize, name: &str) -> Dataset {
        let fine: Array1<i32> = (0..40).map(|row| row % 3).collect();
        let data = Dataset {
            meta: Meta {
                name: "small".into(),
                coarse_names: vec![name.into(), "odd".into()],
                fine_names: vec!["a".into(), name.into(), name.into()],
                mean: vec![0.5; channels],
                std: vec![0.5; channels],
            },
            images: Array4::from_shape_fn((40, channels, size, size), |(row, ..)| row as u8),
            rows: Rows {
                coarse: Some(fine.mapv(|label| i32::from(label > 1))),
                fine: Some(fine),
                split: (0..40)
                    .map(|row| match row {
                        0..30 => Split::Train,
                        30..34 => Split::Val,
                        _ => Split::Test,
                    })
                    .collect(),
            },
        };
        data.write(folder).unwrap();
        data
    }

    fn view(channels: usize, size: usize, name: &str) -> (tempfile::TempDir, View) {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data"), folder.path().join("view"));
        let set = dataset(&data, channels, size, name);
        write(&out, &data, &set.meta, &set.rows).unwrap();
        let view = View::parse(&std::fs::read(out.join("view.json")).unwrap()).unwrap();
        (folder, view)
    }

    #[test]
    fn sizes_examples_and_thumbnails_are_shown() {
        let (folder, view) = view(1, 8, "even");
        let Item::Table(table) = &view.items[0] else {
            panic!("{view:?}")
        };
        assert_eq!(
            table.rows[0],
            json!(["all", "", 30, 4, 6, 40]).as_array().unwrap()[..]
        );
        assert_eq!(
            table.rows[2],
            json!(["coarse", "odd", 10, 1, 2, 13]).as_array().unwrap()[..]
        );
        assert_eq!(table.rows.len(), 1 + 2 + 3);
        let Item::Gallery(gallery) = &view.items[1] else {
            panic!("{view:?}")
        };
        assert_eq!(gallery.groups.len(), 3);
        assert!(gallery.groups.iter().all(|group| group.images.len() == 8));
        let Item::Thumbnails(thumbnails) = &view.items[2] else {
            panic!("{view:?}")
        };
        assert_eq!((thumbnails.size, thumbnails.columns), ([8, 8], 6));
        let sprite = image::open(folder.path().join("view/thumbnails.png")).unwrap();
        let sprite = sprite.to_luma8();
        for (at, &row) in thumbnails.row.iter().enumerate() {
            let (left, top) = (at as u32 % 6 * 8, at as u32 / 6 * 8);
            assert_eq!(u64::from(sprite.get_pixel(left + 3, top + 5).0[0]), row);
        }
        let mut rows = thumbnails.row.clone();
        rows.sort_unstable();
        assert_eq!(rows, (0..30).collect::<Vec<u64>>());
    }

    #[test]
    fn odd_names_and_large_images_are_shown_too() {
        let (folder, view) = view(3, 300, &"<b>\"\u{202e}\n".repeat(2_000));
        assert_eq!(view.items.len(), 3);
        let Item::Thumbnails(thumbnails) = &view.items[2] else {
            panic!("{view:?}")
        };
        assert_eq!((thumbnails.size, thumbnails.row.len()), ([32, 32], 30));
        let json = std::fs::metadata(folder.path().join("view/view.json")).unwrap();
        assert!(json.len() < 10_000, "{}", json.len());
    }
}
