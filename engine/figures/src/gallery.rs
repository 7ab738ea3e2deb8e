//! Rows of images with their names.

use std::io::Cursor;

use flow_stage::view::{Gallery, Group};
use image::{DynamicImage, GenericImageView, ImageFormat, RgbaImage};

use super::canvas::{Anchor, Canvas, Style};
use super::colours::INK;
use super::picture::{fit, width};

const NAME: f64 = 10.0;
const NOTE: f64 = 8.5;
const EDGE: f64 = 8.0;
/// The longer side of an image on the drawing.
const SIDE: f64 = 36.0;
/// Groups of one figure.
pub const GROUPS: usize = 30;

/// Draws some groups of a gallery, whose sprite this is.
///
/// # Errors
/// Where an image lies outside of the sprite.
pub fn draw(gallery: &Gallery, groups: &[Group], sprite: &DynamicImage) -> Result<String, String> {
    let [wide, high] = gallery.size;
    let scale = SIDE / f64::from(wide.max(high).max(1));
    let (width_of_one, height_of_one) = (f64::from(wide) * scale, f64::from(high) * scale);
    let names: Vec<(String, String)> = groups
        .iter()
        .map(|group| (fit(&group.name, NAME, 260.0), fit(&group.note, NOTE, 260.0)))
        .collect();
    let widest = names
        .iter()
        .map(|(name, note)| width(name, NAME).max(width(note, NOTE)))
        .fold(0.0, f64::max);
    let left = EDGE + widest + 10.0;
    let line = height_of_one.max(NAME + NOTE + 6.0) + 6.0;
    let mut canvas = Canvas::default();
    let mut most = 0;
    for (place, (group, (name, note))) in groups.iter().zip(&names).enumerate() {
        let top = EDGE + place as f64 * line;
        let style = |size: f64| Style {
            size,
            anchor: Anchor::Start,
            colour: INK,
            angle: 0.0,
        };
        canvas.text((EDGE, top + NAME + 2.0), name, style(NAME));
        if !note.is_empty() {
            canvas.text((EDGE, top + NAME + NOTE + 6.0), note, style(NOTE));
        }
        most = most.max(group.images.len());
        if group.images.is_empty() {
            continue;
        }
        let url = strip(gallery, group, sprite)?;
        let length = width_of_one * group.images.len() as f64;
        canvas.image([left, top, length, height_of_one], &url);
    }
    let right = left + width_of_one * most as f64;
    Ok(canvas.finish(right + EDGE, EDGE * 2.0 + line * groups.len() as f64))
}

/// The images of a group beside each other, as the URL of a PNG.
fn strip(gallery: &Gallery, group: &Group, sprite: &DynamicImage) -> Result<String, String> {
    let [wide, high] = gallery.size;
    let mut strip = RgbaImage::new(wide.saturating_mul(group.images.len() as u32), high);
    for (place, image) in (0..).zip(&group.images) {
        let left = u64::from(image.at % gallery.columns) * u64::from(wide);
        let top = u64::from(image.at / gallery.columns) * u64::from(high);
        let fits = left + u64::from(wide) <= u64::from(sprite.width())
            && top + u64::from(high) <= u64::from(sprite.height());
        if !fits {
            return Err(format!(
                "image {} lies outside of {}",
                image.at, gallery.sprite
            ));
        }
        let part = sprite.view(left as u32, top as u32, wide, high).to_image();
        image::imageops::replace(&mut strip, &part, (place * wide).into(), 0);
    }
    let mut bytes = Cursor::new(Vec::new());
    strip
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| error.to_string())?;
    Ok(super::url("image/png", &bytes.into_inner()))
}
