//! Images of a data set in one file.

use std::path::Path;

use anyhow::{Context, Result};
use image::imageops::{FilterType, replace, resize};
use image::{GrayImage, ImageBuffer, Pixel, RgbImage};

use crate::dataset::Images;

/// Many small images in one PNG file, as galleries and thumbnails name it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Width and height of each.
    pub size: [u32; 2],
    /// Images in a line.
    pub columns: u32,
    /// Those of the rows that are drawn: the first ones.
    pub images: usize,
}

/// Draws the images of `rows` into a PNG file. They are made smaller where their longer side is above `longest` pixels, and
/// further, down to 16, where they would take more than `bytes` before compression; what is still too much is left out from
/// the end. They are never enlarged.
///
/// # Errors
/// Where the file can't be written.
pub fn sheet(
    path: &Path,
    images: &Images,
    rows: &[usize],
    longest: u32,
    bytes: usize,
) -> Result<Sheet> {
    let [_, channels, height, width] = images.shape();
    let depth = if channels == 1 { 1 } else { 3 };
    let whole = height.max(width).max(1);
    let afford = ((bytes / (depth * rows.len().max(1))) as f64).sqrt() as usize;
    let side = afford.clamp(16, 16.max(longest as usize)).min(whole);
    let scale = |length: usize| ((length * side + whole / 2) / whole).max(1);
    let [wide, high] = [scale(width), scale(height)];
    let drawn = rows.len().min((bytes / (depth * wide * high)).max(1));
    let columns = (1..).find(|side| side * side >= drawn).unwrap_or(1);
    let rows = &rows[..drawn];
    let size = [wide as u32, high as u32];
    let sheet = Sheet {
        size,
        columns: columns as u32,
        images: drawn,
    };
    let at = |row: usize, channel: usize, x: u32, y: u32| {
        // Of two channels the second stands for the third too.
        let channel = channel.min(channels - 1);
        images.row(row)[(channel * height + y as usize) * width + x as usize]
    };
    let (full_width, full_height) = (width as u32, height as u32);
    if depth == 1 {
        let image = |row| {
            GrayImage::from_fn(full_width, full_height, |x, y| {
                image::Luma([at(row, 0, x, y)])
            })
        };
        draw(path, &sheet, rows, image)?;
    } else {
        let image = |row| {
            RgbImage::from_fn(full_width, full_height, |x, y| {
                image::Rgb([at(row, 0, x, y), at(row, 1, x, y), at(row, 2, x, y)])
            })
        };
        draw(path, &sheet, rows, image)?;
    }
    Ok(sheet)
}

fn draw<P>(
    path: &Path,
    sheet: &Sheet,
    rows: &[usize],
    image: impl Fn(usize) -> ImageBuffer<P, Vec<u8>>,
) -> Result<()>
where
    P: Pixel<Subpixel = u8> + image::PixelWithColorType + 'static,
{
    let [wide, high] = sheet.size;
    let lines = (rows.len() as u32).div_ceil(sheet.columns).max(1);
    let mut all = ImageBuffer::<P, Vec<u8>>::new(sheet.columns * wide, lines * high);
    for (place, &row) in (0..).zip(rows) {
        let mut image = image(row);
        if image.dimensions() != (wide, high) {
            image = resize(&image, wide, high, FilterType::Triangle);
        }
        let (left, top) = (place % sheet.columns * wide, place / sheet.columns * high);
        replace(&mut all, &image, left.into(), top.into());
    }
    all.save_with_format(path, image::ImageFormat::Png)
        .with_context(|| format!("{} can't be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Dataset, Meta, Rows, Split};
    use ndarray::Array4;

    /// Images whose channel c of row r is 10 r + c everywhere.
    fn images(n: usize, [channels, height, width]: [usize; 3]) -> (tempfile::TempDir, Images) {
        let folder = tempfile::tempdir().unwrap();
        let data = Dataset {
            meta: Meta {
                name: "small".into(),
                coarse_names: vec![],
                fine_names: vec![],
                mean: vec![0.5; channels],
                std: vec![0.5; channels],
            },
            images: Array4::from_shape_fn((n, channels, height, width), |(row, c, ..)| {
                (10 * row + c) as u8
            }),
            rows: Rows {
                coarse: None,
                fine: None,
                split: vec![Split::Train; n],
            },
        };
        data.write(folder.path()).unwrap();
        let images = Images::open(folder.path(), &data.meta, &data.rows).unwrap();
        (folder, images)
    }

    #[test]
    fn rows_stand_line_after_line() {
        let (folder, images) = images(9, [3, 8, 4]);
        let path = folder.path().join("s.png");
        let sheet = sheet(&path, &images, &[8, 0, 1, 2, 3], 32, 1 << 20).unwrap();
        assert_eq!((sheet.size, sheet.columns, sheet.images), ([4, 8], 3, 5));
        let file = image::open(&path).unwrap().to_rgb8();
        assert_eq!(file.dimensions(), (12, 16));
        assert_eq!(file.get_pixel(0, 0).0, [80, 81, 82]);
        assert_eq!(file.get_pixel(7, 15).0, [30, 31, 32]);
        assert_eq!(file.get_pixel(11, 15).0, [0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_made_smaller_and_then_left_out() {
        let (folder, images) = images(10, [1, 100, 50]);
        let path = folder.path().join("s.png");
        let rows: Vec<usize> = (0..10).collect();
        let of = |longest, bytes| {
            let sheet = sheet(&path, &images, &rows, longest, bytes).unwrap();
            (sheet.size, sheet.images)
        };
        assert_eq!(of(32, 1 << 20), ([16, 32], 10));
        assert_eq!(of(200, 1 << 20), ([50, 100], 10));
        // 400 bytes an image are 20 pixels squared.
        assert_eq!(of(32, 4000), ([10, 20], 10));
        assert_eq!(of(32, 8 * 16 * 3), ([8, 16], 3));
        assert_eq!(image::open(&path).unwrap().color(), image::ColorType::L8);
    }
}
