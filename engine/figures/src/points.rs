//! Scatter plots of rows, one for each thing that they can be coloured by.

use flow_stage::view::{Colour, Coordinates};

use super::canvas::{Anchor, Canvas, Dot, Stroke, Style};
use super::colours::{self, GRID, INK, NONE};
use super::picture::{fit, width};
use super::scale::Scale;

/// The side of the plot.
const SIDE: f64 = 320.0;
const EDGE: f64 = 8.0;
const LABEL: f64 = 10.0;
/// Names that are listed.
const LISTED: usize = 24;

/// Draws points, coloured by one of their colours, or all alike. Both directions have one scale.
pub fn draw(points: &Coordinates, colour: Option<&Colour>) -> String {
    let mut canvas = Canvas::default();
    let places = places(points);
    canvas.line(
        &[
            (EDGE, EDGE),
            (EDGE + SIDE, EDGE),
            (EDGE + SIDE, EDGE + SIDE),
            (EDGE, EDGE + SIDE),
            (EDGE, EDGE),
        ],
        Stroke::new(GRID, 1.0),
    );
    // Few points are seen well, many must not hide each other.
    let size = (90.0 / (places.len().max(1) as f64).sqrt()).clamp(1.6, 5.0);
    let mut right = EDGE + SIDE;
    match colour {
        None => canvas.dots(&places, Dot::Round, size, colours::category(0), 0.8),
        Some(Colour::Category { name, names, value }) => {
            let of = |wanted: i32| -> Vec<(f64, f64)> {
                let all = places.iter().zip(value);
                all.filter(|(_, value)| **value == wanted)
                    .map(|(&place, _)| place)
                    .collect()
            };
            let none: Vec<(f64, f64)> = (places.iter().zip(value))
                .filter(|(_, value)| **value < 0)
                .map(|(&place, _)| place)
                .collect();
            canvas.dots(&none, Dot::Round, size, NONE, 0.8);
            for place in 0..names.len() {
                let (dot, colour) = look(place);
                canvas.dots(&of(place as i32), dot, size, colour, 0.8);
            }
            let mut entries: Vec<(Dot, &str, &str)> = (names.iter().enumerate())
                .map(|(place, name)| (look(place).0, look(place).1, name.as_str()))
                .collect();
            if !none.is_empty() {
                entries.push((Dot::Round, NONE, "none"));
            }
            right = legend(&mut canvas, name, &entries, right + 14.0);
        }
        Some(Colour::Number { name, value }) => {
            let there = value.iter().flatten();
            let least = there.clone().copied().fold(f64::INFINITY, f64::min);
            let most = there.copied().fold(f64::NEG_INFINITY, f64::max);
            // A path for each of 20 shades.
            let shade = |value: f64| match least < most {
                true => (((value - least) / (most - least) * 20.0) as usize).min(19),
                false => 10,
            };
            let mut shades = vec![Vec::new(); 20];
            let mut none = Vec::new();
            for (&place, value) in places.iter().zip(value) {
                match value {
                    Some(value) => shades[shade(*value)].push(place),
                    None => none.push(place),
                }
            }
            canvas.dots(&none, Dot::Round, size, NONE, 0.8);
            for (place, points) in shades.iter().enumerate() {
                let colour = colours::number((place as f64 + 0.5) / 20.0);
                canvas.dots(points, Dot::Round, size, &colour, 0.8);
            }
            if least <= most {
                right = graded(&mut canvas, name, [least, most], right + 14.0);
            }
        }
    }
    canvas.finish(right + EDGE, SIDE + 2.0 * EDGE)
}

/// Shape and colour of a name: colours return, shapes tell those of one colour apart.
fn look(place: usize) -> (Dot, &'static str) {
    let dots = [Dot::Round, Dot::Square, Dot::Cross];
    let dot = dots[place / colours::CATEGORIES.len() % dots.len()];
    (dot, colours::category(place))
}

fn places(points: &Coordinates) -> Vec<(f64, f64)> {
    let ends = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    };
    let ((left, right), (low, high)) = (ends(&points.x), ends(&points.y));
    let range = (right - left).max(high - low);
    let scale = if range > 0.0 && range.is_finite() {
        0.92 * SIDE / range
    } else {
        1.0
    };
    let middle = EDGE + SIDE / 2.0;
    let (x, y) = ((left + right) / 2.0, (low + high) / 2.0);
    (points.x.iter().zip(&points.y))
        .map(|(a, b)| (middle + (a - x) * scale, middle - (b - y) * scale))
        .collect()
}

fn style(anchor: Anchor) -> Style<'static> {
    Style {
        size: LABEL,
        anchor,
        colour: INK,
        angle: 0.0,
    }
}

/// Lists names from `left` on; gives where they end.
fn legend(canvas: &mut Canvas, title: &str, entries: &[(Dot, &str, &str)], left: f64) -> f64 {
    let title = fit(title, LABEL, 160.0);
    canvas.text((left, EDGE + LABEL), &title, style(Anchor::Start));
    let mut right = left + width(&title, LABEL);
    let mut y = EDGE + LABEL + 7.0;
    let shown = if entries.len() > LISTED {
        LISTED - 1
    } else {
        entries.len()
    };
    for &(dot, colour, name) in &entries[..shown] {
        canvas.dots(&[(left + 5.0, y + 4.5)], dot, 7.0, colour, 1.0);
        let name = fit(name, LABEL, 160.0);
        canvas.text((left + 14.0, y + 8.0), &name, style(Anchor::Start));
        right = right.max(left + 14.0 + width(&name, LABEL));
        y += 12.5;
    }
    if shown < entries.len() {
        let text = format!("and {} more", entries.len() - shown);
        canvas.text((left, y + 8.0), &text, style(Anchor::Start));
        right = right.max(left + width(&text, LABEL));
    }
    right
}

/// Shows a scale of numbers from `left` on; gives where it ends.
fn graded(canvas: &mut Canvas, title: &str, [least, most]: [f64; 2], left: f64) -> f64 {
    let title = fit(title, LABEL, 160.0);
    canvas.text((left, EDGE + LABEL), &title, style(Anchor::Start));
    let mut right = left + width(&title, LABEL);
    let (top, height) = (EDGE + LABEL + 12.0, 120.0);
    let shades: Vec<String> = (0..20)
        .map(|place| colours::number((f64::from(place) + 0.5) / 20.0))
        .collect();
    canvas.gradient([left, top, 12.0, height], &shades);
    let scale = Scale::numbers(least, most, false, false);
    for (value, text) in scale.ticks(5, false, None) {
        let Some(part) = scale.part(value) else {
            continue;
        };
        let y = top + (1.0 - part) * height;
        canvas.line(&[(left + 12.0, y), (left + 15.0, y)], Stroke::new(INK, 1.0));
        canvas.text((left + 18.0, y + 0.35 * LABEL), &text, style(Anchor::Start));
        right = right.max(left + 18.0 + width(&text, LABEL));
    }
    right
}
