//! The part of Vega-Lite that is drawn, as types.

use serde_json::{Map, Value};

/// Fields of a datum by name.
pub type Row = Map<String, Value>;

/// A chart: one panel, or one for each value of a field.
#[derive(Debug)]
pub struct Chart {
    /// What parts it into panels.
    pub facet: Option<Facet>,
    /// Width of a panel.
    pub width: Extent,
    /// Height of a panel.
    pub height: Extent,
    /// What is drawn, the first one at the back.
    pub layers: Vec<Layer>,
}

/// A panel for each value of a field.
#[derive(Debug)]
pub struct Facet {
    /// The field.
    pub field: String,
    /// The values in order, where given.
    pub order: Option<Vec<String>>,
    /// Panels in a line; 0 for all.
    pub columns: usize,
}

/// A length of a panel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Extent {
    /// As the scale wants it.
    Auto,
    /// Pixels.
    Pixels(f64),
    /// Pixels for each name.
    Step(f64),
}

/// Marks of one sort.
#[derive(Debug)]
pub struct Layer {
    /// How they look.
    pub mark: Mark,
    /// What they stand for.
    pub rows: Vec<Row>,
    /// Whether all panels show all rows, since the layer has data of its own.
    pub everywhere: bool,
    /// Horizontal place.
    pub x: Option<Channel>,
    /// Its other end.
    pub x2: Option<Channel>,
    /// Vertical place.
    pub y: Option<Channel>,
    /// Its other end.
    pub y2: Option<Channel>,
    /// Colour.
    pub color: Option<Channel>,
    /// Dashes of a line.
    pub dash: Option<Channel>,
    /// The text of text marks.
    pub text: Option<Channel>,
    /// What parts lines without being seen.
    pub detail: Option<Channel>,
}

/// A sort of mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A line through points.
    Line,
    /// A symbol.
    Point,
    /// A bar from zero.
    Bar,
    /// A rectangle.
    Rect,
    /// A straight line across, or between two ends.
    Rule,
    /// The area under a line.
    Area,
    /// A short line.
    Tick,
    /// Text.
    Text,
}

/// How marks look.
#[derive(Debug)]
pub struct Mark {
    /// What they are.
    pub sort: Sort,
    /// One colour for all.
    pub colour: Option<String>,
    /// From 0 to 1.
    pub opacity: f64,
    /// Whether points are discs rather than circles.
    pub filled: bool,
    /// The area of points, in square pixels.
    pub size: Option<f64>,
    /// The width of lines.
    pub stroke_width: Option<f64>,
    /// Dashes of lines.
    pub dash: Vec<f64>,
    /// Whether lines have points on them.
    pub points: bool,
    /// Where text stands: -1 to the right of its place, 0 at it, 1 to its left.
    pub align: i8,
    /// How far text is moved.
    pub offset: [f64; 2],
    /// The size of text.
    pub font_size: f64,
}

/// Where a channel's values come from, and how they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Where from.
    pub source: Source,
    /// Whether they are numbers, not names.
    pub quantitative: bool,
    /// The title of the axis or legend; none for none.
    pub title: Option<String>,
    /// The values at the ends of the scale, or all names.
    pub domain: Option<Vec<Value>>,
    /// Whether the scale of numbers has to hold 0.
    pub zero: Option<bool>,
    /// Whether the scale is logarithmic.
    pub log: bool,
    /// Colours in place of the usual ones.
    pub range: Option<Vec<String>>,
    /// Whether axis or legend is drawn.
    pub guide: bool,
    /// How numbers on the axis are written.
    pub format: Option<String>,
    /// Whether the axis has whole numbers alone.
    pub whole: bool,
    /// The size of the axis's labels.
    pub font_size: Option<f64>,
    /// Degrees by which the axis's labels are turned.
    pub angle: Option<f64>,
    /// The order of names.
    pub order: Order,
}

/// Where values come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A field of each datum.
    Field(String),
    /// One value of the scale.
    Datum(Value),
}

/// The order of names on an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// By name, numbers by size.
    Sorted,
    /// From the last name to the first.
    Descending,
    /// As they come.
    Data,
    /// These first.
    List(Vec<Value>),
}

impl Channel {
    /// Its value in a datum; none where that has none.
    pub fn value<'a>(&'a self, row: &'a Row) -> Option<&'a Value> {
        let value = match &self.source {
            Source::Field(field) => row.get(field),
            Source::Datum(value) => Some(value),
        };
        value.filter(|value| !value.is_null())
    }

    /// Its value in a datum as a number.
    pub fn number(&self, row: &Row) -> Option<f64> {
        let value = self.value(row)?;
        let number = value
            .as_f64()
            .or_else(|| value.as_str()?.trim().parse().ok());
        number.filter(|number: &f64| number.is_finite())
    }

    /// Its value in a datum as a name.
    pub fn name(&self, row: &Row) -> Option<String> {
        self.value(row).map(name)
    }
}

/// A value as a name.
pub fn name(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
