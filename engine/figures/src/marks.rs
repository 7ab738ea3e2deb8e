//! Draws the marks of a layer in a panel.

use super::canvas::{Anchor, Canvas, Dot, Stroke, Style};
use super::colours::{self, INK, category};
use super::scale::Scale;
use super::scales::{Axis, DASHES, Scales, Stacks, is_measure, panel, stacks};
use super::spec::{Channel, Chart, Layer, Row, Sort, name};

/// A panel on the drawing: its upper left corner, and the value of its facet.
pub struct Panel<'a> {
    /// Left end.
    pub left: f64,
    /// Upper end.
    pub top: f64,
    /// The value that its rows have in the facet's field; none where there are no facets.
    pub value: Option<&'a str>,
}

/// Draws a layer.
pub fn draw(canvas: &mut Canvas, chart: &Chart, layer: &Layer, scales: &Scales, at: &Panel) {
    let marks = Marks {
        layer,
        scales,
        at,
        stacks: [true, false].map(|horizontal| stacks(chart, layer, horizontal)),
    };
    let here = |row: &Row| {
        layer.everywhere
            || at
                .value
                .is_none_or(|value| panel(chart, row).as_deref() == Some(value))
    };
    let rows: Vec<(usize, &Row)> = layer
        .rows
        .iter()
        .enumerate()
        .filter(|(_, row)| here(row))
        .collect();
    match layer.mark.sort {
        Sort::Line => marks.lines(canvas, &rows),
        Sort::Area => marks.areas(canvas, &rows),
        Sort::Point => marks.points(canvas, &rows),
        Sort::Text => marks.texts(canvas, &rows),
        Sort::Bar | Sort::Rect => marks.rects(canvas, &rows),
        Sort::Rule => marks.rules(canvas, &rows),
        Sort::Tick => marks.ticks(canvas, &rows),
    }
}

struct Marks<'a> {
    layer: &'a Layer,
    scales: &'a Scales,
    at: &'a Panel<'a>,
    /// Where bars stand on each other, horizontally and vertically.
    stacks: [Option<Stacks>; 2],
}

impl Marks<'_> {
    fn axis(&self, horizontal: bool) -> &Axis {
        if horizontal {
            &self.scales.x
        } else {
            &self.scales.y
        }
    }

    fn channels(&self, horizontal: bool) -> (Option<&Channel>, Option<&Channel>) {
        let layer = self.layer;
        match horizontal {
            true => (layer.x.as_ref(), layer.x2.as_ref()),
            false => (layer.y.as_ref(), layer.y2.as_ref()),
        }
    }

    /// The pixel of a part of an axis.
    fn pixel(&self, horizontal: bool, part: f64) -> f64 {
        match horizontal {
            true => self.at.left + part * self.scales.x.length,
            // Numbers grow upwards, names follow each other downwards.
            false => match self.scales.y.scale {
                Scale::Band { .. } => self.at.top + part * self.scales.y.length,
                _ => self.at.top + (1.0 - part) * self.scales.y.length,
            },
        }
    }

    /// Both ends of the band of a name, or twice the place of a number.
    fn ends(&self, horizontal: bool, channel: Option<&Channel>, row: &Row) -> Option<(f64, f64)> {
        let axis = self.axis(horizontal);
        match &axis.scale {
            Scale::Band { names } => {
                let place = match channel {
                    Some(channel) => {
                        let name = name(channel.value(row)?);
                        names.iter().position(|other| *other == name)?
                    }
                    None => 0,
                };
                let part = |place: f64| self.pixel(horizontal, place / names.len().max(1) as f64);
                Some((part(place as f64), part(place as f64 + 1.0)))
            }
            scale => {
                let pixel = self.pixel(horizontal, scale.part(channel?.number(row)?)?);
                Some((pixel, pixel))
            }
        }
    }

    /// The middle of where a row lies.
    fn middle(&self, horizontal: bool, row: &Row) -> Option<f64> {
        let (from, to) = self.ends(horizontal, self.channels(horizontal).0, row)?;
        Some((from + to) / 2.0)
    }

    fn place(&self, row: &Row) -> Option<(f64, f64)> {
        Some((self.middle(true, row)?, self.middle(false, row)?))
    }

    /// A row's colour.
    fn colour(&self, row: &Row) -> String {
        let Some(channel) = &self.layer.color else {
            return match (&self.layer.mark.colour, self.layer.mark.sort) {
                (Some(colour), _) => colour.clone(),
                (None, Sort::Rule | Sort::Text) => INK.into(),
                (None, _) => category(0).into(),
            };
        };
        let found = match channel.quantitative {
            true => self
                .scales
                .numbers
                .as_ref()
                .zip(channel.number(row))
                .map(|(scale, value)| scale.colour(value)),
            false => self
                .scales
                .categories
                .as_ref()
                .zip(channel.name(row))
                .and_then(|(scale, name)| Some(scale.colour(scale.place(&name)?).to_owned())),
        };
        found.unwrap_or_else(|| colours::NONE.into())
    }

    fn dash(&self, row: &Row) -> Vec<f64> {
        let place = self.layer.dash.as_ref().and_then(|channel| {
            let scale = self.scales.dashes.as_ref()?;
            scale.place(&channel.name(row)?)
        });
        match place {
            Some(place) => DASHES[place % DASHES.len()].to_vec(),
            None => self.layer.mark.dash.clone(),
        }
    }

    /// Rows of one line: those of the same colour, dash and detail, in the order of their first rows.
    fn series<'r>(&self, rows: &[(usize, &'r Row)]) -> Vec<Vec<(usize, &'r Row)>> {
        let layer = self.layer;
        let parts = [&layer.color, &layer.dash, &layer.detail];
        let key = |row: &Row| {
            parts.map(|channel| channel.as_ref().filter(|c| !c.quantitative)?.name(row))
        };
        let mut keys = Vec::new();
        let mut series: Vec<Vec<(usize, &Row)>> = Vec::new();
        for &(number, row) in rows {
            let key = key(row);
            match keys.iter().position(|other| *other == key) {
                Some(place) => series[place].push((number, row)),
                None => {
                    keys.push(key);
                    series.push(vec![(number, row)]);
                }
            }
        }
        series
    }

    fn lines(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        for series in self.series(rows) {
            let mut points: Vec<(f64, f64)> = series
                .iter()
                .filter_map(|(_, row)| self.place(row))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, first)) = series.first() else {
                continue;
            };
            let colour = self.colour(first);
            let dash = self.dash(first);
            let stroke = Stroke {
                dash: &dash,
                opacity: self.layer.mark.opacity,
                ..Stroke::new(&colour, self.layer.mark.stroke_width.unwrap_or(1.75))
            };
            if points.len() > 1 {
                canvas.line(&points, stroke);
            }
            if self.layer.mark.points || points.len() == 1 {
                canvas.dots(&points, Dot::Round, 4.0, &colour, 1.0);
            }
        }
    }

    fn areas(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        for series in self.series(rows) {
            let mut columns: Vec<(f64, f64, f64)> = series
                .iter()
                .filter_map(|&(number, row)| {
                    let (from, to) = self.span(false, number, row)?;
                    Some((self.middle(true, row)?, from, to))
                })
                .collect();
            columns.sort_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, first)) = series.first() else {
                continue;
            };
            let forth = columns.iter().map(|&(x, _, to)| (x, to));
            let back = columns.iter().rev().map(|&(x, from, _)| (x, from));
            let outline: Vec<(f64, f64)> = forth.chain(back).collect();
            if outline.len() > 2 {
                canvas.shape(&outline, &self.colour(first), self.layer.mark.opacity);
            }
        }
    }

    /// Both ends of a bar, rectangle or area in a direction.
    fn span(&self, horizontal: bool, number: usize, row: &Row) -> Option<(f64, f64)> {
        let (main, other) = self.channels(horizontal);
        let axis = self.axis(horizontal);
        if let Some(stacks) = &self.stacks[usize::from(!horizontal)] {
            let (from, to) = stacks[number]?;
            let [from, to] = [from, to].map(|value| axis.scale.part(value));
            return Some((self.pixel(horizontal, from?), self.pixel(horizontal, to?)));
        }
        let (from, to) = self.ends(horizontal, main, row)?;
        if other.is_some() {
            return Some((from, self.ends(horizontal, other, row)?.0));
        }
        match &axis.scale {
            Scale::Band { .. } => {
                let free = (to - from) * axis.padding;
                Some((from + free, to - free))
            }
            scale => {
                let sort = self.layer.mark.sort;
                if sort == Sort::Area || is_measure(self.layer, horizontal) {
                    // A logarithm has no zero: from the end of the axis.
                    let base = self.pixel(horizontal, scale.part(0.0).unwrap_or(0.0));
                    Some((base, to))
                } else {
                    // A bar at a number, on an axis without bands.
                    Some((from - 3.0, to + 3.0))
                }
            }
        }
    }

    fn rects(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        for &(number, row) in rows {
            let spans = (self.span(true, number, row), self.span(false, number, row));
            let (Some((left, right)), Some((top, bottom))) = spans else {
                continue;
            };
            let rect = [
                left.min(right),
                top.min(bottom),
                (right - left).abs(),
                (bottom - top).abs(),
            ];
            canvas.rect(rect, &self.colour(row), self.layer.mark.opacity);
        }
    }

    fn points(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        let mark = &self.layer.mark;
        let size = mark.size.unwrap_or(30.0).clamp(0.0, 10_000.0).sqrt();
        if !mark.filled {
            for (_, row) in rows {
                let Some(place) = self.place(row) else {
                    continue;
                };
                let colour = self.colour(row);
                let stroke = Stroke {
                    opacity: mark.opacity,
                    ..Stroke::new(&colour, mark.stroke_width.unwrap_or(1.5))
                };
                canvas.ring(place, size / 2.0, stroke);
            }
            return;
        }
        // One path for each colour.
        let mut colours: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for (_, row) in rows {
            let Some(place) = self.place(row) else {
                continue;
            };
            let colour = self.colour(row);
            match colours.iter_mut().find(|(other, _)| *other == colour) {
                Some((_, points)) => points.push(place),
                None => colours.push((colour, vec![place])),
            }
        }
        for (colour, points) in colours {
            canvas.dots(&points, Dot::Round, size, &colour, mark.opacity);
        }
    }

    fn rules(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        for (_, row) in rows {
            let colour = self.colour(row);
            let dash = self.dash(row);
            let stroke = Stroke {
                dash: &dash,
                opacity: self.layer.mark.opacity,
                ..Stroke::new(&colour, self.layer.mark.stroke_width.unwrap_or(1.0))
            };
            // Across the whole panel in a direction of which nothing is said.
            let span = |horizontal: bool| {
                let (main, other) = self.channels(horizontal);
                if main.is_none() {
                    return Some((self.pixel(horizontal, 0.0), self.pixel(horizontal, 1.0)));
                }
                let from = self.middle(horizontal, row)?;
                match other {
                    Some(other) => {
                        let (a, b) = self.ends(horizontal, Some(other), row)?;
                        Some((from, (a + b) / 2.0))
                    }
                    None => Some((from, from)),
                }
            };
            let (Some((left, right)), Some((top, bottom))) = (span(true), span(false)) else {
                continue;
            };
            canvas.line(&[(left, top), (right, bottom)], stroke);
        }
    }

    fn ticks(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        // Across the axis of names, or upright.
        let upright = !matches!(self.scales.x.scale, Scale::Band { .. });
        for (_, row) in rows {
            let Some((x, y)) = self.place(row) else {
                continue;
            };
            let half = match (upright, &self.scales.y.scale, &self.scales.x.scale) {
                (true, Scale::Band { names }, _) => {
                    0.35 * self.scales.y.length / names.len().max(1) as f64
                }
                (false, _, Scale::Band { names }) => {
                    0.35 * self.scales.x.length / names.len().max(1) as f64
                }
                _ => 6.0,
            };
            let line = match upright {
                true => [(x, y - half), (x, y + half)],
                false => [(x - half, y), (x + half, y)],
            };
            let colour = self.colour(row);
            let stroke = Stroke {
                opacity: self.layer.mark.opacity,
                ..Stroke::new(&colour, self.layer.mark.stroke_width.unwrap_or(1.5))
            };
            canvas.line(&line, stroke);
        }
    }

    fn texts(&self, canvas: &mut Canvas, rows: &[(usize, &Row)]) {
        let mark = &self.layer.mark;
        let Some(channel) = &self.layer.text else {
            return;
        };
        for (_, row) in rows {
            let (Some((x, y)), Some(text)) = (self.place(row), channel.name(row)) else {
                continue;
            };
            if text.is_empty() {
                continue;
            }
            let colour = self.colour(row);
            let style = Style {
                size: mark.font_size,
                anchor: match mark.align {
                    -1 => Anchor::Start,
                    1 => Anchor::End,
                    _ => Anchor::Middle,
                },
                colour: &colour,
                angle: 0.0,
            };
            // The middle of the letters at the place.
            let place = (
                x + mark.offset[0],
                y + mark.offset[1] + 0.35 * mark.font_size,
            );
            canvas.text(
                place,
                &super::picture::fit(&text, mark.font_size, 400.0),
                style,
            );
        }
    }
}
