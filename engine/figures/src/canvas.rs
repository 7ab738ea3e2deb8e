//! A drawing: SVG elements, one after the other, in pixels from the upper left corner.

use std::fmt::Write;

/// A drawing that is being made.
#[derive(Default)]
pub struct Canvas {
    body: String,
    clips: usize,
}

/// Where the given point of a text lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its begin.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// Pixels.
    pub size: f64,
    /// Where its point lies.
    pub anchor: Anchor,
    /// Its colour.
    pub colour: &'a str,
    /// Degrees, clockwise about its point.
    pub angle: f64,
}

/// How a line looks.
#[derive(Debug, Clone, Copy)]
pub struct Stroke<'a> {
    /// Its colour.
    pub colour: &'a str,
    /// Pixels.
    pub width: f64,
    /// Lengths of dashes and gaps; none for a whole line.
    pub dash: &'a [f64],
    /// From 0 to 1.
    pub opacity: f64,
}

impl<'a> Stroke<'a> {
    /// A whole line.
    pub fn new(colour: &'a str, width: f64) -> Self {
        Stroke {
            colour,
            width,
            dash: &[],
            opacity: 1.0,
        }
    }

    fn attributes(&self) -> String {
        let mut text = format!(
            "fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"",
            escape(self.colour),
            number(self.width)
        );
        if !self.dash.is_empty() {
            let lengths: Vec<String> = self.dash.iter().map(|&length| number(length)).collect();
            let _ = write!(text, " stroke-dasharray=\"{}\"", lengths.join(" "));
        }
        if self.opacity < 1.0 {
            let _ = write!(text, " stroke-opacity=\"{}\"", number(self.opacity));
        }
        text
    }
}

/// How dots look, apart from their colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dot {
    /// A disc.
    Round,
    /// A square.
    Square,
    /// A cross of two lines.
    Cross,
}

impl Canvas {
    /// A filled rectangle.
    pub fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str, opacity: f64) {
        let _ = write!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"",
            number(x),
            number(y),
            number(width),
            number(height),
            escape(fill)
        );
        if opacity < 1.0 {
            let _ = write!(self.body, " fill-opacity=\"{}\"", number(opacity));
        }
        self.body.push_str("/>\n");
    }

    /// A line through points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let _ = writeln!(
            self.body,
            "<path d=\"{}\" {} stroke-linejoin=\"round\"/>",
            through(points),
            stroke.attributes()
        );
    }

    /// A filled outline.
    pub fn shape(&mut self, points: &[(f64, f64)], fill: &str, opacity: f64) {
        let _ = writeln!(
            self.body,
            "<path d=\"{}Z\" fill=\"{}\" fill-opacity=\"{}\"/>",
            through(points),
            escape(fill),
            number(opacity)
        );
    }

    /// A circle's line.
    pub fn ring(&mut self, (x, y): (f64, f64), radius: f64, stroke: Stroke) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" {}/>",
            number(x),
            number(y),
            number(radius),
            stroke.attributes()
        );
    }

    /// Dots of one colour, `size` wide. All of them are one path of very short lines, whose ends are what is seen: thousands
    /// stay small as a file.
    pub fn dots(&mut self, points: &[(f64, f64)], dot: Dot, size: f64, colour: &str, opacity: f64) {
        if points.is_empty() {
            return;
        }
        let mut path = String::new();
        for &(x, y) in points {
            let half = size / 2.0;
            let _ = match dot {
                Dot::Cross => write!(
                    path,
                    "M{} {}l{} {}M{} {}l{} {}",
                    number(x - half),
                    number(y - half),
                    number(size),
                    number(size),
                    number(x - half),
                    number(y + half),
                    number(size),
                    number(-size)
                ),
                _ => write!(path, "M{} {}h.01", number(x), number(y)),
            };
        }
        let (width, cap) = match dot {
            Dot::Round => (size, "round"),
            Dot::Square => (size, "square"),
            Dot::Cross => (size / 3.0, "butt"),
        };
        let stroke = Stroke {
            opacity,
            ..Stroke::new(colour, width)
        };
        let _ = writeln!(
            self.body,
            "<path d=\"{path}\" {} stroke-linecap=\"{cap}\"/>",
            stroke.attributes()
        );
    }

    /// A line of text, whose baseline goes through the point.
    pub fn text(&mut self, (x, y): (f64, f64), text: &str, style: Style) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = write!(
            self.body,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{anchor}\" fill=\"{}\"",
            number(x),
            number(y),
            number(style.size),
            escape(style.colour)
        );
        if style.angle != 0.0 {
            let _ = write!(
                self.body,
                " transform=\"rotate({} {} {})\"",
                number(style.angle),
                number(x),
                number(y)
            );
        }
        let _ = writeln!(self.body, ">{}</text>", escape(text));
    }

    /// A picture whose pixels stay sharp, by the URL of its data.
    pub fn image(&mut self, [x, y, width, height]: [f64; 4], url: &str) {
        let _ = writeln!(
            self.body,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
             image-rendering=\"optimizeSpeed\" href=\"{}\"/>",
            number(x),
            number(y),
            number(width),
            number(height),
            escape(url)
        );
    }

    /// A vertical scale of colours, from the bottom to the top.
    pub fn gradient(&mut self, [x, y, width, height]: [f64; 4], colours: &[String]) {
        let part = height / colours.len() as f64;
        for (place, colour) in colours.iter().enumerate() {
            let top = y + height - part * (place + 1) as f64;
            // A little more, so that no line shows between two.
            self.rect([x, top, width, part + 0.3], colour, 1.0);
        }
    }

    /// Draws something of which only what lies in the rectangle is seen.
    pub fn clipped(&mut self, [x, y, width, height]: [f64; 4], draw: impl FnOnce(&mut Canvas)) {
        self.clips += 1;
        let id = format!("clip{}", self.clips);
        let _ = write!(
            self.body,
            "<clipPath id=\"{id}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n\
             <g clip-path=\"url(#{id})\">\n",
            number(x),
            number(y),
            number(width),
            number(height)
        );
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// The drawing as SVG, on white.
    pub fn finish(self, width: f64, height: f64) -> String {
        let [width, height] = [width, height].map(|length| number(length.ceil()));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"DejaVu Sans\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn through(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (place, &(x, y)) in points.iter().enumerate() {
        path.push(if place == 0 { 'M' } else { 'L' });
        let _ = write!(path, "{} {}", number(x), number(y));
    }
    path
}

/// A length with at most two decimals.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" | "" => "0".into(),
        _ => text.into(),
    }
}

/// Text for an XML document; what XML does not allow at all becomes a replacement character.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_text_is_text() {
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(12.345), "12.35");
        assert_eq!(number(100.0), "100");
        assert_eq!(
            escape("<a href=\"x\">&\0\n"),
            "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd} "
        );
    }
}
