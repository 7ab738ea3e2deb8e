//! Lays a chart out: panels beside and below each other, axes at their edges, legends at the right.

use super::canvas::{Anchor, Canvas, Stroke, Style};
use super::colours::{self, GRID, INK};
use super::marks::{self, Panel};
use super::picture::{fit, width};
use super::scale::{Scale, Tick};
use super::scales::{Axis, Categories, DASHES, Numbers, Scales, panel};
use super::spec::{Chart, Sort, Source};

const TITLE: f64 = 11.0;
const LABEL: f64 = 10.0;
/// The longest label of an axis, and of a legend.
const LONGEST: f64 = 160.0;
/// Between panels, and around all.
const GAP: f64 = 14.0;
const EDGE: f64 = 8.0;
/// Names that a legend lists.
const LISTED: usize = 40;

/// Draws a chart as SVG.
pub fn draw(chart: &Chart) -> String {
    let scales = Scales::of(chart);
    let values = panels(chart);
    let count = values.len().max(1);
    let columns = match &chart.facet {
        Some(facet) if facet.columns > 0 => facet.columns.min(count),
        _ => count,
    };
    let (x, y) = (Guide::new(&scales.x, true), Guide::new(&scales.y, false));
    let head = if chart.facet.is_some() {
        TITLE + 7.0
    } else {
        0.0
    };
    let left = EDGE + y.room().max(x.overhang);
    let top = EDGE + 4.0 + head;
    // Axes of numbers are drawn at the edge alone: panels share their scales.
    let (step_x, step_y) = (scales.x.length + GAP, scales.y.length + GAP + head);
    let mut canvas = Canvas::default();
    let lines = count.div_ceil(columns);
    for place in 0..count {
        let (column, line) = (place % columns, place / columns);
        let (left, top) = (left + column as f64 * step_x, top + line as f64 * step_y);
        let at = Panel {
            left,
            top,
            value: values.get(place).map(String::as_str),
        };
        if let Some(value) = at.value {
            let middle = left + scales.x.length / 2.0;
            let text = fit(value, TITLE, scales.x.length);
            canvas.text((middle, top - 6.0), &text, style(TITLE, Anchor::Middle));
        }
        let last_of_column = place + columns >= count;
        grid(&mut canvas, &scales, &x, &y, &at);
        // Marks at the end of an axis are seen whole.
        let around = 10.0;
        let room = [
            left - around,
            top - around,
            scales.x.length + 2.0 * around + if texts(chart) { 90.0 } else { 0.0 },
            scales.y.length + 2.0 * around,
        ];
        canvas.clipped(room, |canvas| {
            for layer in &chart.layers {
                marks::draw(canvas, chart, layer, &scales, &at);
            }
        });
        frame(&mut canvas, &scales, &at);
        if column == 0 {
            y.draw(&mut canvas, &scales.y, left, top, left - EDGE);
        }
        if last_of_column {
            x.draw(&mut canvas, &scales.x, left, top + scales.y.length, 0.0);
        }
    }
    let beyond = if texts(chart) { 60.0 } else { 0.0 };
    let right = left + columns as f64 * step_x - GAP + beyond;
    let bottom = top + lines as f64 * step_y - GAP - head;
    let (legend_right, legend_bottom) = legends(&mut canvas, chart, &scales, right + GAP, top);
    let height = (bottom + x.room()).max(legend_bottom) + EDGE;
    canvas.finish(legend_right.max(right) + EDGE, height)
}

/// Whether text stands beside bars, and may reach beyond the panel.
fn texts(chart: &Chart) -> bool {
    chart
        .layers
        .iter()
        .any(|layer| layer.mark.sort == Sort::Text && layer.mark.align < 0)
}

/// The values of the facets' field, in order; none where there are no facets.
fn panels(chart: &Chart) -> Vec<String> {
    let Some(facet) = &chart.facet else {
        return Vec::new();
    };
    let mut values: Vec<String> = Vec::new();
    for row in chart
        .layers
        .iter()
        .filter(|l| !l.everywhere)
        .flat_map(|layer| &layer.rows)
    {
        if let Some(value) = panel(chart, row)
            && !values.contains(&value)
        {
            values.push(value);
        }
    }
    match &facet.order {
        Some(order) => {
            let place = |value: &String| order.iter().position(|other| other == value);
            values.sort_by_key(|value| place(value).unwrap_or(usize::MAX));
        }
        None => values.sort(),
    }
    values
}

fn style(size: f64, anchor: Anchor) -> Style<'static> {
    Style {
        size,
        anchor,
        colour: INK,
        angle: 0.0,
    }
}

fn stroke(colour: &str) -> Stroke<'_> {
    Stroke::new(colour, 1.0)
}

/// The labels of an axis, and what room they take.
struct Guide {
    horizontal: bool,
    /// Part of the axis's length, and text.
    labels: Vec<(f64, String)>,
    angle: f64,
    size: f64,
    /// Away from the axis.
    depth: f64,
    /// To the left of the axis's begin.
    overhang: f64,
    title: Option<String>,
}

impl Guide {
    fn new(axis: &Axis, horizontal: bool) -> Guide {
        let size = axis.font_size;
        let labels = if axis.guide {
            labels(axis, horizontal)
        } else {
            Vec::new()
        };
        let widest = labels
            .iter()
            .map(|(_, text)| width(text, size))
            .fold(0.0, f64::max);
        let names = matches!(axis.scale, Scale::Band { .. });
        let step = axis.length / labels.len().max(1) as f64;
        let angle = match (horizontal && names, axis.angle) {
            (false, _) => 0.0,
            (true, _) if widest < step - 4.0 => 0.0,
            (true, Some(angle)) if angle != 0.0 => -angle.abs().clamp(0.0, 90.0),
            (true, _) => -45.0,
        };
        let (sine, cosine) = (-angle).to_radians().sin_cos();
        let depth = match (horizontal, labels.is_empty()) {
            (_, true) => 0.0,
            (true, _) => widest * sine + size * cosine + 6.0,
            (false, _) => widest + 7.0,
        };
        let overhang = labels
            .iter()
            .map(|(part, text)| match angle {
                0.0 => 0.0,
                _ => width(text, size) * cosine - part * axis.length + 4.0,
            })
            .fold(0.0, f64::max);
        Guide {
            horizontal,
            labels,
            angle,
            size,
            depth,
            overhang,
            title: axis
                .title
                .clone()
                .filter(|title| !title.is_empty() && axis.guide),
        }
    }

    /// What the axis takes, with its title.
    fn room(&self) -> f64 {
        self.depth
            + if self.title.is_some() {
                TITLE + 6.0
            } else {
                4.0
            }
    }

    /// Draws labels and title of an axis whose panel begins (below which it ends) at the point; the title of a vertical axis is
    /// `reach` away.
    fn draw(&self, canvas: &mut Canvas, axis: &Axis, left: f64, at: f64, reach: f64) {
        let length = axis.length;
        for (part, text) in &self.labels {
            if self.horizontal {
                let x = left + part * length;
                canvas.line(&[(x, at), (x, at + 3.0)], stroke(INK));
                match self.angle {
                    0.0 => {
                        let below = (x, at + 5.0 + 0.8 * self.size);
                        canvas.text(below, text, style(self.size, Anchor::Middle));
                    }
                    angle => {
                        let turned = Style {
                            angle,
                            ..style(self.size, Anchor::End)
                        };
                        canvas.text(
                            (x + 0.3 * self.size, at + 5.0 + 0.5 * self.size),
                            text,
                            turned,
                        );
                    }
                }
            } else {
                let y = at + part * length;
                canvas.line(&[(left - 3.0, y), (left, y)], stroke(INK));
                canvas.text(
                    (left - 5.0, y + 0.35 * self.size),
                    text,
                    style(self.size, Anchor::End),
                );
            }
        }
        let Some(title) = &self.title else { return };
        let title = fit(title, TITLE, (length + 60.0).max(LONGEST));
        if self.horizontal {
            let below = (left + length / 2.0, at + self.depth + TITLE + 2.0);
            canvas.text(below, &title, style(TITLE, Anchor::Middle));
        } else {
            let turned = Style {
                angle: -90.0,
                ..style(TITLE, Anchor::Middle)
            };
            canvas.text(
                (left - reach + TITLE - 1.0, at + length / 2.0),
                &title,
                turned,
            );
        }
    }
}

/// Where labels of an axis stand, and what they say. Of names that would overlap some are left out.
fn labels(axis: &Axis, horizontal: bool) -> Vec<(f64, String)> {
    match &axis.scale {
        Scale::Band { names } => {
            let step = axis.length / names.len().max(1) as f64;
            let every = ((0.95 * axis.font_size / step).ceil() as usize).max(1);
            let names = names
                .iter()
                .enumerate()
                .step_by(every)
                .filter(|(_, name)| !name.is_empty());
            let count = axis.length / step;
            names
                .map(|(place, name)| {
                    (
                        (place as f64 + 0.5) / count,
                        fit(name, axis.font_size, LONGEST),
                    )
                })
                .collect()
        }
        scale => {
            let wanted = (axis.length / if horizontal { 60.0 } else { 40.0 }).max(2.0) as usize;
            let ticks = scale.ticks(wanted, axis.whole, axis.format.as_deref());
            let part = |(value, text): Tick| {
                let part = scale.part(value)?;
                Some((if horizontal { part } else { 1.0 - part }, text))
            };
            ticks.into_iter().filter_map(part).collect()
        }
    }
}

/// Lines behind the marks, at the ticks of numbers.
fn grid(canvas: &mut Canvas, scales: &Scales, x: &Guide, y: &Guide, at: &Panel) {
    let (right, bottom) = (at.left + scales.x.length, at.top + scales.y.length);
    if !matches!(scales.x.scale, Scale::Band { .. }) {
        for (part, _) in &x.labels {
            let x = at.left + part * scales.x.length;
            canvas.line(&[(x, at.top), (x, bottom)], stroke(GRID));
        }
    }
    if !matches!(scales.y.scale, Scale::Band { .. }) {
        for (part, _) in &y.labels {
            let y = at.top + part * scales.y.length;
            canvas.line(&[(at.left, y), (right, y)], stroke(GRID));
        }
    }
}

/// The lines of both axes.
fn frame(canvas: &mut Canvas, scales: &Scales, at: &Panel) {
    let (right, bottom) = (at.left + scales.x.length, at.top + scales.y.length);
    canvas.line(
        &[(at.left, at.top), (at.left, bottom), (right, bottom)],
        stroke(INK),
    );
}

/// Draws the legends from a point downwards; gives their right and lower ends.
fn legends(canvas: &mut Canvas, chart: &Chart, scales: &Scales, left: f64, top: f64) -> (f64, f64) {
    let (mut right, mut bottom) = (0.0f64, top);
    // Colour and dash of one field are one legend.
    let fields = |scale: &Option<Categories>| scale.as_ref().and_then(|scale| scale.field.clone());
    let same = fields(&scales.categories).is_some()
        && fields(&scales.categories) == fields(&scales.dashes);
    if let Some(categories) = scales.categories.as_ref().filter(|scale| scale.guide) {
        let dashes = scales.dashes.as_ref().filter(|_| same);
        let reached = listed(canvas, chart, categories, true, dashes, left, bottom);
        right = right.max(reached.0);
        bottom = reached.1 + GAP;
    }
    if let Some(dashes) = scales.dashes.as_ref().filter(|scale| scale.guide && !same) {
        let reached = listed(canvas, chart, dashes, false, Some(dashes), left, bottom);
        right = right.max(reached.0);
        bottom = reached.1 + GAP;
    }
    if let Some(numbers) = scales.numbers.as_ref().filter(|scale| scale.guide) {
        let reached = graded(canvas, numbers, left, bottom);
        right = right.max(reached.0);
        bottom = reached.1;
    }
    (right, bottom)
}

/// Draws a legend of names.
fn listed(
    canvas: &mut Canvas,
    chart: &Chart,
    scale: &Categories,
    coloured: bool,
    dashes: Option<&Categories>,
    left: f64,
    top: f64,
) -> (f64, f64) {
    let of_field = |channel: &Option<super::spec::Channel>| {
        let field = channel.as_ref().map(|channel| &channel.source);
        matches!((field, &scale.field), (Some(Source::Field(a)), Some(b)) if a == b)
    };
    let used = |sorts: &[Sort]| {
        let mut layers = chart.layers.iter();
        layers.any(|layer| {
            sorts.contains(&layer.mark.sort) && (of_field(&layer.color) || of_field(&layer.dash))
        })
    };
    let (line, area) = (
        used(&[Sort::Line, Sort::Rule]),
        used(&[Sort::Bar, Sort::Rect, Sort::Area]),
    );
    let mut y = top;
    let mut right = left;
    if let Some(title) = scale.title.as_ref().filter(|title| !title.is_empty()) {
        let title = fit(title, LABEL, LONGEST);
        canvas.text((left, y + LABEL), &title, style(LABEL, Anchor::Start));
        right = right.max(left + width(&title, LABEL));
        y += LABEL + 7.0;
    }
    for (place, name) in scale.names.iter().take(LISTED).enumerate() {
        let colour = if coloured { scale.colour(place) } else { INK };
        let middle = y + 6.0;
        if area {
            canvas.rect([left, middle - 5.0, 12.0, 10.0], colour, 1.0);
        } else if line {
            let dash = dashes.map_or(0, |dashes| dashes.place(name).unwrap_or(0));
            let stroke = Stroke {
                dash: DASHES[dash % DASHES.len()],
                ..Stroke::new(colour, 1.75)
            };
            canvas.line(&[(left, middle), (left + 24.0, middle)], stroke);
        } else {
            canvas.dots(
                &[(left + 6.0, middle)],
                super::canvas::Dot::Round,
                7.0,
                colour,
                1.0,
            );
        }
        let begin = left + if line && !area { 29.0 } else { 17.0 };
        let text = fit(name, LABEL, LONGEST);
        canvas.text(
            (begin, middle + 0.35 * LABEL),
            &text,
            style(LABEL, Anchor::Start),
        );
        right = right.max(begin + width(&text, LABEL));
        y += 15.0;
    }
    if scale.names.len() > LISTED {
        let text = format!("and {} more", scale.names.len() - LISTED);
        canvas.text((left, y + LABEL), &text, style(LABEL, Anchor::Start));
        right = right.max(left + width(&text, LABEL));
        y += 15.0;
    }
    (right, y)
}

/// Draws a legend of numbers.
fn graded(canvas: &mut Canvas, scale: &Numbers, left: f64, top: f64) -> (f64, f64) {
    let mut y = top;
    let mut right = left + 60.0;
    if let Some(title) = scale.title.as_ref().filter(|title| !title.is_empty()) {
        let title = fit(title, LABEL, LONGEST);
        canvas.text((left, y + LABEL), &title, style(LABEL, Anchor::Start));
        right = right.max(left + width(&title, LABEL));
        y += LABEL + 9.0;
    }
    let height = 100.0;
    let shades: Vec<String> = (0..50)
        .map(|place| colours::number(f64::from(place) / 49.0))
        .collect();
    canvas.gradient([left, y, 12.0, height], &shades);
    let [least, most] = scale.domain;
    let axis = Scale::numbers(least, most, false, false);
    for (value, text) in axis.ticks(4, false, scale.format.as_deref()) {
        let Some(part) = axis.part(value) else {
            continue;
        };
        let at = y + (1.0 - part) * height;
        canvas.line(&[(left + 12.0, at), (left + 15.0, at)], stroke(INK));
        canvas.text(
            (left + 18.0, at + 0.35 * LABEL),
            &text,
            style(LABEL, Anchor::Start),
        );
        right = right.max(left + 18.0 + width(&text, LABEL));
    }
    (right, y + height)
}
