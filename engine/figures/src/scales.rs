//! The scales of a chart, which all its panels and layers share.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::colours;
use super::scale::Scale;
use super::spec::{Channel, Chart, Extent, Layer, Order, Row, Sort, Source, name};

/// The scales of a chart.
pub struct Scales {
    /// Horizontal places.
    pub x: Axis,
    /// Vertical places.
    pub y: Axis,
    /// Colours of names.
    pub categories: Option<Categories>,
    /// Colours of numbers.
    pub numbers: Option<Numbers>,
    /// Dashes of names.
    pub dashes: Option<Categories>,
}

/// One direction.
pub struct Axis {
    /// From values to parts of the length.
    pub scale: Scale,
    /// Pixels.
    pub length: f64,
    /// What the values are.
    pub title: Option<String>,
    /// Whether it is drawn.
    pub guide: bool,
    /// How numbers are written.
    pub format: Option<String>,
    /// Whether ticks stand at whole numbers alone.
    pub whole: bool,
    /// The size of labels.
    pub font_size: f64,
    /// Degrees by which labels are turned, where the spec says.
    pub angle: Option<f64>,
    /// The part of a band that stays free on each side of a bar.
    pub padding: f64,
}

/// Names with a colour or dash each.
pub struct Categories {
    /// What the names are.
    pub title: Option<String>,
    /// The names, in order.
    pub names: Vec<String>,
    /// Whether they are listed beside the chart.
    pub guide: bool,
    /// Colours in place of the usual ones.
    pub range: Option<Vec<String>>,
    /// The field, which colour and dash may share.
    pub field: Option<String>,
}

/// Numbers with a colour each.
pub struct Numbers {
    /// What the numbers are.
    pub title: Option<String>,
    /// The numbers of the first and of the last colour.
    pub domain: [f64; 2],
    /// Whether they are shown beside the chart.
    pub guide: bool,
    /// How they are written.
    pub format: Option<String>,
}

/// Lengths of dashes and gaps, by the place of a name.
pub const DASHES: [&[f64]; 5] = [
    &[],
    &[6.0, 3.0],
    &[2.0, 2.0],
    &[9.0, 3.0, 2.0, 3.0],
    &[12.0, 4.0],
];

impl Categories {
    /// The place of a name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    /// The colour of a name.
    pub fn colour(&self, place: usize) -> &str {
        match &self.range {
            Some(range) if !range.is_empty() => &range[place % range.len()],
            _ => colours::category(place),
        }
    }
}

impl Numbers {
    /// The colour of a number.
    pub fn colour(&self, value: f64) -> String {
        let [least, most] = self.domain;
        let part = if least < most {
            (value - least) / (most - least)
        } else {
            0.5
        };
        colours::number(part)
    }
}

/// A channel of each layer that has it, with the layer.
fn channels<'a>(
    chart: &'a Chart,
    of: impl Fn(&'a Layer) -> Option<&'a Channel>,
) -> Vec<(&'a Layer, &'a Channel)> {
    let channels = chart
        .layers
        .iter()
        .filter_map(|layer| Some((layer, of(layer)?)));
    channels.collect()
}

impl Scales {
    /// The scales that hold everything that a chart shows.
    pub fn of(chart: &Chart) -> Scales {
        let main = channels(chart, |layer| layer.color.as_ref());
        let (numbers, names): (Vec<_>, Vec<_>) = main
            .into_iter()
            .partition(|(_, channel)| channel.quantitative);
        Scales {
            x: axis(chart, true),
            y: axis(chart, false),
            categories: categories(&names),
            numbers: self::numbers(&numbers),
            dashes: categories(&channels(chart, |layer| layer.dash.as_ref())),
        }
    }
}

fn categories(channels: &[(&Layer, &Channel)]) -> Option<Categories> {
    let (_, first) = channels.first()?;
    Some(Categories {
        title: first.title.clone(),
        names: names(channels),
        guide: channels.iter().all(|(_, channel)| channel.guide),
        range: channels
            .iter()
            .find_map(|(_, channel)| channel.range.clone()),
        field: match &first.source {
            Source::Field(field) => Some(field.clone()),
            Source::Datum(_) => None,
        },
    })
}

fn numbers(channels: &[(&Layer, &Channel)]) -> Option<Numbers> {
    let (_, first) = channels.first()?;
    let given = channels.iter().find_map(|(_, channel)| ends(channel));
    let values = channels
        .iter()
        .flat_map(|(layer, channel)| layer.rows.iter().filter_map(|row| channel.number(row)));
    let [least, most] = range(values);
    Some(Numbers {
        title: first.title.clone(),
        domain: given.unwrap_or(if least <= most {
            [least, most]
        } else {
            [0.0, 1.0]
        }),
        guide: channels.iter().all(|(_, channel)| channel.guide),
        format: first.format.clone(),
    })
}

/// The numbers at the ends of a channel's scale, where the spec gives them.
fn ends(channel: &Channel) -> Option<[f64; 2]> {
    let domain = channel.domain.as_ref()?;
    match domain[..] {
        [ref least, ref most] => Some([least.as_f64()?, most.as_f64()?]),
        _ => None,
    }
}

fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold(
        [f64::INFINITY, f64::NEG_INFINITY],
        |[least, most], value| [least.min(value), most.max(value)],
    )
}

/// The names of channels: those that are given, or those that occur.
fn names(channels: &[(&Layer, &Channel)]) -> Vec<String> {
    if let Some(domain) = channels
        .iter()
        .find_map(|(_, channel)| channel.domain.as_ref())
    {
        return domain.iter().map(name).collect();
    }
    let mut found: Vec<Value> = Vec::new();
    for (layer, channel) in channels {
        for value in layer.rows.iter().filter_map(|row| channel.value(row)) {
            if !found.contains(value) {
                found.push(value.clone());
            }
        }
    }
    let by_value = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => name(a).cmp(&name(b)),
    };
    match channels.first().map(|(_, channel)| &channel.order) {
        Some(Order::Sorted) => found.sort_by(by_value),
        Some(Order::Descending) => found.sort_by(|a, b| by_value(b, a)),
        Some(Order::List(list)) => {
            let place = |value: &Value| list.iter().position(|other| other == value);
            found.sort_by_key(|value| place(value).unwrap_or(usize::MAX));
        }
        Some(Order::Data) | None => {}
    }
    found.iter().map(name).collect()
}

fn axis(chart: &Chart, horizontal: bool) -> Axis {
    let of = |layer: &'_ Layer| -> [Option<Channel>; 2] {
        match horizontal {
            true => [layer.x.clone(), layer.x2.clone()],
            false => [layer.y.clone(), layer.y2.clone()],
        }
    };
    let main = channels(chart, |layer| {
        if horizontal {
            layer.x.as_ref()
        } else {
            layer.y.as_ref()
        }
    });
    let extent = if horizontal {
        chart.width
    } else {
        chart.height
    };
    let named = main.iter().find(|(_, channel)| !channel.quantitative);
    let scale = match (main.is_empty(), named) {
        (true, _) => Scale::Band {
            names: vec![String::new()],
        },
        (false, Some(_)) => {
            let named: Vec<_> = main
                .iter()
                .copied()
                .filter(|(_, c)| !c.quantitative)
                .collect();
            Scale::Band {
                names: names(&named),
            }
        }
        (false, None) => {
            let log = main.iter().any(|(_, channel)| channel.log);
            match main.iter().find_map(|(_, channel)| ends(channel)) {
                Some([least, most]) => Scale::numbers(least, most, log, false),
                None => {
                    let [mut least, mut most] = extent_of(chart, horizontal, &of);
                    let zero = main
                        .iter()
                        .find_map(|(_, channel)| channel.zero)
                        .unwrap_or(true);
                    let based = main.iter().any(|(layer, _)| based(layer, horizontal));
                    if (zero || based) && !log {
                        (least, most) = (least.min(0.0), most.max(0.0));
                    }
                    match least <= most {
                        true => Scale::numbers(least, most, log, true),
                        false => Scale::numbers(0.0, 1.0, log, true),
                    }
                }
            }
        }
    };
    let bars = chart
        .layers
        .iter()
        .any(|layer| layer.mark.sort == Sort::Bar);
    let length = match (&scale, extent) {
        (_, Extent::Pixels(pixels)) => pixels,
        (Scale::Band { names }, Extent::Step(step)) => step * names.len().max(1) as f64,
        (Scale::Band { names }, Extent::Auto) => 20.0 * names.len().max(1) as f64,
        (_, _) if horizontal => 300.0,
        (_, _) => 200.0,
    };
    let first = |of: &dyn Fn(&Channel) -> bool| main.iter().any(|(_, channel)| of(channel));
    Axis {
        scale,
        length,
        title: main.iter().find_map(|(_, channel)| channel.title.clone()),
        guide: first(&|channel| channel.guide),
        format: main.iter().find_map(|(_, channel)| channel.format.clone()),
        whole: first(&|channel| channel.whole),
        font_size: main
            .iter()
            .find_map(|(_, c)| c.font_size)
            .unwrap_or(10.0)
            .clamp(5.0, 20.0),
        angle: main.iter().find_map(|(_, channel)| channel.angle),
        padding: if bars { 0.1 } else { 0.0 },
    }
}

/// Whether a layer's marks begin at zero in this direction.
fn based(layer: &Layer, horizontal: bool) -> bool {
    let sort = layer.mark.sort;
    (sort == Sort::Bar && is_measure(layer, horizontal))
        || (sort == Sort::Area && !horizontal && layer.y2.is_none())
}

/// Whether bars reach in this direction: where the other one has names, or both have numbers and this is the vertical one.
pub fn is_measure(layer: &Layer, horizontal: bool) -> bool {
    let quantitative = |channel: &Option<Channel>| channel.as_ref().is_some_and(|c| c.quantitative);
    let (x, y) = (quantitative(&layer.x), quantitative(&layer.y));
    match horizontal {
        true => x && layer.x2.is_none() && (!y || layer.y2.is_some()),
        false => y && layer.y2.is_none(),
    }
}

/// The least and the largest number in a direction.
fn extent_of(
    chart: &Chart,
    horizontal: bool,
    of: &dyn Fn(&Layer) -> [Option<Channel>; 2],
) -> [f64; 2] {
    let mut all = Vec::new();
    for layer in &chart.layers {
        for channel in of(layer).iter().flatten() {
            all.extend(layer.rows.iter().filter_map(|row| channel.number(row)));
        }
        if let Some(stacks) = stacks(chart, layer, horizontal) {
            all.extend(
                stacks
                    .into_iter()
                    .flatten()
                    .flat_map(|(from, to)| [from, to]),
            );
        }
    }
    range(all.into_iter())
}

/// Both ends of each row's mark, where it has one.
pub type Stacks = Vec<Option<(f64, f64)>>;

/// Where bars or areas of several colours stand on each other: both ends of each row's mark, by the row's place in the layer.
/// None where they don't: in this direction, or since they are of one colour or have an other end of their own.
pub fn stacks(chart: &Chart, layer: &Layer, horizontal: bool) -> Option<Stacks> {
    let coloured = layer
        .color
        .as_ref()
        .is_some_and(|channel| !channel.quantitative);
    let stacked = match layer.mark.sort {
        Sort::Bar => coloured && is_measure(layer, horizontal),
        Sort::Area => coloured && !horizontal && layer.y2.is_none(),
        _ => false,
    };
    if !stacked {
        return None;
    }
    let (measure, other) = match horizontal {
        true => (layer.x.as_ref()?, layer.y.as_ref()),
        false => (layer.y.as_ref()?, layer.x.as_ref()),
    };
    // What lies above and below zero, at each place of each panel.
    let mut sums = BTreeMap::<(String, String), [f64; 2]>::new();
    let ends = layer.rows.iter().map(|row| {
        let value = measure.number(row)?;
        let place = other
            .and_then(|channel| channel.name(row))
            .unwrap_or_default();
        let sum = sums
            .entry((panel(chart, row).unwrap_or_default(), place))
            .or_default();
        let sum = &mut sum[usize::from(value < 0.0)];
        let from = *sum;
        *sum += value;
        Some((from, *sum))
    });
    Some(ends.collect())
}

/// The panel that a row belongs to.
pub fn panel(chart: &Chart, row: &Row) -> Option<String> {
    let facet = chart.facet.as_ref()?;
    row.get(&facet.field)
        .filter(|value| !value.is_null())
        .map(name)
}
