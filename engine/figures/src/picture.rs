//! From a drawing to files: text becomes outlines of a font that is part of flow, so that it looks the same everywhere.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Options, Tree, WriteOptions};
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

use super::canvas::escape;

/// DejaVu Sans 2.37; `font/LICENSE` beside it.
static FONT: &[u8] = include_bytes!("font/DejaVuSans.ttf");

static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(FONT.to_vec());
    Arc::new(fonts)
});

/// Pixels of a PNG for each pixel of the drawing: about 300 an inch.
const SCALE: f32 = 3.0;

/// A figure as files.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// SVG without text elements, scripts or links.
    pub svg: String,
    /// PNG.
    pub png: Vec<u8>,
}

/// The width of a text in pixels.
pub fn width(text: &str, size: f64) -> f64 {
    let Ok(font) = FontRef::new(FONT) else {
        return 0.0;
    };
    let (glyphs, metrics) = (
        font.charmap(),
        font.glyph_metrics(Size::new(1000.0), LocationRef::default()),
    );
    let advance = |character: char| {
        let glyph = glyphs.map(character).unwrap_or_default();
        f64::from(metrics.advance_width(glyph).unwrap_or_default())
    };
    text.chars().map(advance).sum::<f64>() * size / 1000.0
}

/// The longest beginning of a text that is at most so wide, with `…` where something is missing.
pub fn fit(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars() {
        kept.push(character);
        if width(&kept, size) + width("…", size) > most {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

/// Makes files of a drawing.
///
/// # Errors
/// Where it is no SVG, or too large to be drawn as pixels.
pub fn picture(svg: &str, title: &str, description: &str) -> Result<Picture, String> {
    let mut options = Options {
        font_family: "DejaVu Sans".into(),
        fontdb: Arc::clone(&FONTS),
        ..Options::default()
    };
    // A drawing holds its pictures; names of files or servers lead nowhere.
    options.image_href_resolver.resolve_string = Box::new(|_, _| None);
    let tree =
        Tree::from_str(svg, &options).map_err(|error| format!("it can't be drawn: {error}"))?;
    let size = tree.size().to_int_size();
    let size = size.scale_by(SCALE).ok_or("it has no size")?;
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| format!("{} x {} pixels are too many", size.width(), size.height()))?;
    resvg::render(
        &tree,
        Transform::from_scale(SCALE, SCALE),
        &mut pixels.as_mut(),
    );
    let png = pixels
        .encode_png()
        .map_err(|error| format!("it can't be written: {error}"))?;
    let text = tree.to_string(&WriteOptions {
        preserve_text: false,
        coordinates_precision: 3,
        transforms_precision: 5,
        ..WriteOptions::default()
    });
    Ok(Picture {
        svg: described(&text, title, description),
        png,
    })
}

/// The SVG with a title and a description, which are read aloud.
fn described(svg: &str, title: &str, description: &str) -> String {
    match svg.split_once('>') {
        Some((head, body)) if head.starts_with("<svg") && !head.ends_with('/') => {
            let (title, description) = (escape(title), escape(description));
            format!("{head} role=\"img\"><title>{title}</title><desc>{description}</desc>{body}")
        }
        _ => svg.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_measured_and_cut() {
        // DejaVu Sans: 1,303 of 2,048 units for a digit.
        assert!((width("11", 10.0) - 2.0 * 10.0 * 1303.0 / 2048.0).abs() < 1e-3);
        assert_eq!(fit("abc", 10.0, 100.0), "abc");
        let cut = fit(&"w".repeat(10_000), 10.0, 100.0);
        assert!(cut.ends_with("w…") && width(&cut, 10.0) <= 100.0, "{cut}");
    }

    #[test]
    fn a_drawing_becomes_outlines_and_pixels() {
        let drawing = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"20\" font-family=\"DejaVu Sans\">\
                       <text x=\"2\" y=\"15\" font-size=\"12\">Äβ</text>\
                       <image href=\"/etc/passwd\" width=\"3\" height=\"3\"/></svg>";
        let picture = picture(drawing, "a <title>", "b").unwrap();
        assert!(
            picture
                .svg
                .contains("<title>a &lt;title&gt;</title><desc>b</desc>"),
            "{}",
            picture.svg
        );
        assert!(
            picture.svg.contains("<path") && !picture.svg.contains("<text"),
            "{}",
            picture.svg
        );
        assert!(!picture.svg.contains("passwd"));
        let pixels = Pixmap::decode_png(&picture.png).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (120, 60));
        assert!(pixels.pixels().iter().any(|pixel| pixel.alpha() > 200));
        assert!(super::picture("<svg", "", "").is_err());
    }
}
