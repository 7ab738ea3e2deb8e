//! Figures for papers: items of views as SVG and PNG, without a browser.
//!
//! On white, in colours that people with any colour vision tell apart, text as outlines of a font that is part of flow. What a
//! chart asks for beyond the part of Vega-Lite that `docs/views.md` describes makes it no figure, and is said.
//!
//! - `spec`: that part as types; `parse`: reads it. `scale`, `scales`: from values to places and colours. `marks`, `chart`: draw.
//! - `points`, `gallery`: the other items.
//! - `canvas`: SVG. `picture`: outlines and pixels. `colours`: which.

mod canvas;
mod chart;
mod colours;
mod gallery;
mod marks;
mod parse;
mod picture;
mod points;
mod scale;
mod scales;
mod spec;
#[cfg(test)]
mod tests;

use anyhow::Result;
use base64::Engine as _;
use flow_stage::view::{Coordinates, Item};

pub use picture::Picture;

/// A figure, or why there is none.
#[derive(Debug)]
pub struct Figure {
    /// A name for its files: the item's number and words of its title, `a-z`, `0-9` and `-`.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Its files, or why it is left out.
    pub picture: Result<Picture, String>,
}

/// Draws items: a figure for each chart and image, for each colour of points, and for each 30 groups of a gallery. `read` reads
/// the files that they name. Text, tables and thumbnails are no figures.
pub fn figures(items: &[Item], read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let mut add = |title: String, alt: &str, drawing: Result<String, String>| {
            let picture = drawing.and_then(|drawing| picture::picture(&drawing, &title, alt));
            figures.push(Figure {
                name: format!("{:02}-{}", number + 1, words(&title)),
                title,
                picture,
            });
        };
        let read = |file: &str| read(file).map_err(|error| format!("{file}: {error:#}"));
        match item {
            Item::Text { .. } | Item::Table(_) | Item::Thumbnails(_) => {}
            Item::Image { title, alt, file } => {
                add(
                    title.clone(),
                    alt,
                    read(file).and_then(|bytes| image(file, bytes)),
                );
            }
            Item::VegaLite(chart) => {
                let files = |name: &str| read(name).map_err(anyhow::Error::msg);
                let parsed = spec::Chart::parse(&chart.spec, &files);
                add(
                    chart.title.clone(),
                    &chart.alt,
                    parsed.map(|chart| chart::draw(&chart)),
                );
            }
            Item::Points(item) => {
                let points = read(&item.file).and_then(|bytes| Coordinates::parse(&bytes));
                match points {
                    Err(error) => add(item.title.clone(), &item.alt, Err(error)),
                    Ok(points) if points.colour.is_empty() => {
                        add(
                            item.title.clone(),
                            &item.alt,
                            Ok(points::draw(&points, None)),
                        );
                    }
                    Ok(points) => {
                        for colour in &points.colour {
                            let title = format!("{} by {}", item.title, colour.name());
                            add(title, &item.alt, Ok(points::draw(&points, Some(colour))));
                        }
                    }
                }
            }
            Item::Gallery(item) => {
                let sprite = read(&item.sprite).and_then(|bytes| {
                    ::image::load_from_memory(&bytes)
                        .map_err(|error| format!("{}: {error}", item.sprite))
                });
                let parts = item.groups.len().div_ceil(gallery::GROUPS);
                for (part, groups) in item.groups.chunks(gallery::GROUPS).enumerate() {
                    let title = match parts {
                        1 => item.title.clone(),
                        _ => format!("{}, part {} of {parts}", item.title, part + 1),
                    };
                    let drawing = match &sprite {
                        Ok(sprite) => gallery::draw(item, groups, sprite),
                        Err(error) => Err(error.clone()),
                    };
                    add(title, &item.alt, drawing);
                }
            }
        }
    }
    figures
}

/// A picture from outside as a drawing: SVG as it is, PNG and JPEG within one.
fn image(file: &str, bytes: Vec<u8>) -> Result<String, String> {
    let guessed = ::image::guess_format(&bytes).ok();
    let sort = match guessed {
        Some(::image::ImageFormat::Png) => "image/png",
        Some(::image::ImageFormat::Jpeg) => "image/jpeg",
        _ => {
            return String::from_utf8(bytes)
                .map_err(|_| format!("{file} is neither PNG, JPEG nor SVG"));
        }
    };
    let decoded = ::image::load_from_memory(&bytes).map_err(|error| format!("{file}: {error}"))?;
    let (width, height) = (f64::from(decoded.width()), f64::from(decoded.height()));
    // As wide as a column of text, unless it is smaller.
    let scale = (320.0 / width.max(1.0)).min(1.0);
    let mut canvas = canvas::Canvas::default();
    canvas.image(
        [0.0, 0.0, width * scale, height * scale],
        &url(sort, &bytes),
    );
    Ok(canvas.finish(width * scale, height * scale))
}

/// Bytes as a URL that holds them.
fn url(sort: &str, bytes: &[u8]) -> String {
    format!(
        "data:{sort};base64,{}",
        base64::prelude::BASE64_STANDARD.encode(bytes)
    )
}

/// The first words of a title, for the name of a file.
fn words(title: &str) -> String {
    let mut name = String::new();
    for character in title.chars() {
        match character.to_ascii_lowercase() {
            letter if letter.is_ascii_alphanumeric() => name.push(letter),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
        if name.len() >= 60 {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "figure".into()
    } else {
        name.into()
    }
}
