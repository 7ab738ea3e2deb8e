//! Reads specs. What one asks for beyond the part of Vega-Lite that is drawn is an error that names it: a figure that shows
//! something else than its spec says would be worse than none.

use anyhow::Result;
use serde_json::{Map, Value};

use super::spec::{Channel, Chart, Extent, Facet, Layer, Mark, Order, Row, Sort, Source, name};

/// Reads a file that the spec names.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>>;

impl Chart {
    /// Reads a spec; `read` reads the files that it names.
    ///
    /// # Errors
    /// What of it is not drawn.
    pub fn parse(spec: &Value, read: Read) -> Result<Chart, String> {
        let spec = object(spec, "the spec")?;
        refuse(spec)?;
        let rows = match spec.get("data") {
            Some(data) => self::rows(data, read)?,
            None => Vec::new(),
        };
        let mut chart = match spec.get("facet") {
            Some(facet) => {
                let inner = object(spec.get("spec").unwrap_or(&Value::Null), "its `spec`")?;
                refuse(inner)?;
                if inner.contains_key("facet") {
                    return Err("it has facets in facets".into());
                }
                let mut chart = panel(inner, rows, read)?;
                chart.facet = Some(self::facet(facet, spec)?);
                chart
            }
            None => panel(spec, rows, read)?,
        };
        for place in ["facet", "column", "row"] {
            let Some(channel) = spec
                .get("encoding")
                .and_then(|encoding| encoding.get(place))
            else {
                continue;
            };
            if chart.facet.is_some() {
                return Err("it is parted into panels by more than one field".into());
            }
            let mut facet = facet(channel, spec)?;
            match place {
                "column" => facet.columns = 0,
                "row" => facet.columns = 1,
                _ => {}
            }
            chart.facet = Some(facet);
        }
        if chart.layers.is_empty() {
            return Err("it has no mark".into());
        }
        Ok(chart)
    }
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{what} is not an object"))
}

/// What changes data, or puts charts beside each other.
fn refuse(spec: &Map<String, Value>) -> Result<(), String> {
    for name in [
        "transform",
        "repeat",
        "concat",
        "hconcat",
        "vconcat",
        "projection",
        "resolve",
    ] {
        if spec.contains_key(name) {
            return Err(format!("its `{name}` is not drawn without a browser"));
        }
    }
    Ok(())
}

fn facet(channel: &Value, spec: &Map<String, Value>) -> Result<Facet, String> {
    let field = channel.get("field").and_then(Value::as_str);
    let field = field.ok_or("its facets are not by one field")?;
    let order = channel.get("sort").and_then(Value::as_array);
    let columns = channel.get("columns").or(spec.get("columns"));
    Ok(Facet {
        field: field.into(),
        order: order.map(|order| order.iter().map(name).collect()),
        columns: columns.and_then(Value::as_u64).unwrap_or(0) as usize,
    })
}

fn panel(spec: &Map<String, Value>, rows: Vec<Row>, read: Read) -> Result<Chart, String> {
    let mut layers = Vec::new();
    let nothing = Map::new();
    collect(spec, &rows, false, &nothing, read, &mut layers)?;
    Ok(Chart {
        facet: None,
        width: extent(spec.get("width")),
        height: extent(spec.get("height")),
        layers,
    })
}

fn extent(value: Option<&Value>) -> Extent {
    match value {
        Some(Value::Object(fields)) => match fields.get("step").and_then(Value::as_f64) {
            Some(step) => Extent::Step(step.clamp(1.0, 500.0)),
            None => Extent::Auto,
        },
        Some(value) => match value.as_f64() {
            Some(pixels) => Extent::Pixels(pixels.clamp(10.0, 5000.0)),
            // "container": what a page gives it.
            None => Extent::Auto,
        },
        None => Extent::Auto,
    }
}

/// The layers of a view, which may have layers of its own. What a view says holds for its layers unless they say otherwise.
fn collect(
    spec: &Map<String, Value>,
    rows: &[Row],
    everywhere: bool,
    above: &Map<String, Value>,
    read: Read,
    into: &mut Vec<Layer>,
) -> Result<(), String> {
    let mut encoding = above.clone();
    if let Some(own) = spec.get("encoding") {
        for (name, channel) in object(own, "its encoding")? {
            encoding.insert(name.clone(), channel.clone());
        }
    }
    match (spec.get("layer"), spec.get("mark")) {
        (Some(layers), None) => {
            let layers = layers.as_array().ok_or("its `layer` is not a list")?;
            for layer in layers {
                let layer = object(layer, "a layer")?;
                refuse(layer)?;
                match layer.get("data") {
                    Some(data) => {
                        let own = self::rows(data, read)?;
                        collect(layer, &own, true, &encoding, read, into)?;
                    }
                    None => collect(layer, rows, everywhere, &encoding, read, into)?,
                }
            }
            Ok(())
        }
        (None, Some(mark)) => {
            into.push(layer(mark, &encoding, rows.to_vec(), everywhere)?);
            Ok(())
        }
        _ => Err("it has neither one mark nor layers".into()),
    }
}

fn layer(
    mark: &Value,
    encoding: &Map<String, Value>,
    rows: Vec<Row>,
    everywhere: bool,
) -> Result<Layer, String> {
    let mut layer = Layer {
        mark: self::mark(mark)?,
        rows,
        everywhere,
        x: None,
        x2: None,
        y: None,
        y2: None,
        color: None,
        dash: None,
        text: None,
        detail: None,
    };
    for (name, value) in encoding {
        let place = match name.as_str() {
            "x" => &mut layer.x,
            "x2" => &mut layer.x2,
            "y" => &mut layer.y,
            "y2" => &mut layer.y2,
            "color" | "fill" | "stroke" => {
                if let Some(colour) = constant(value) {
                    layer.mark.colour = colour.as_str().map(String::from);
                    continue;
                }
                &mut layer.color
            }
            "strokeDash" => &mut layer.dash,
            "text" => &mut layer.text,
            "detail" => &mut layer.detail,
            // What only a page shows, and what parts the chart.
            "tooltip" | "href" | "url" | "description" | "key" | "facet" | "column" | "row" => {
                continue;
            }
            "opacity" | "size" | "strokeWidth" if constant(value).is_some() => {
                let number = constant(value).and_then(Value::as_f64);
                match (name.as_str(), number) {
                    ("opacity", Some(opacity)) => layer.mark.opacity = opacity.clamp(0.0, 1.0),
                    ("size", size) => layer.mark.size = size,
                    (_, width) => layer.mark.stroke_width = width,
                }
                continue;
            }
            _ => {
                return Err(format!(
                    "its channel `{name}` is not drawn without a browser"
                ));
            }
        };
        *place = Some(channel(name, value)?);
    }
    Ok(layer)
}

/// A value that is the same for all marks.
fn constant(channel: &Value) -> Option<&Value> {
    let fields = channel.as_object()?;
    fields
        .get("value")
        .filter(|_| !fields.contains_key("condition"))
}

fn channel(name: &str, value: &Value) -> Result<Channel, String> {
    let fields = object(value, &format!("its channel `{name}`"))?;
    for property in [
        "aggregate",
        "timeUnit",
        "condition",
        "impute",
        "bandPosition",
    ] {
        if fields.get(property).is_some_and(|value| !value.is_null()) {
            return Err(format!(
                "`{property}` of its channel `{name}` is not drawn without a browser"
            ));
        }
    }
    match fields.get("bin") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::String(text)) if text == "binned" => {}
        _ => {
            return Err(format!(
                "`bin` of its channel `{name}` is not drawn without a browser"
            ));
        }
    }
    match fields.get("stack") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(Value::String(text)) if text == "zero" => {}
        _ => {
            return Err(format!(
                "`stack` of its channel `{name}` is not drawn without a browser"
            ));
        }
    }
    let source = match (
        fields.get("field").and_then(Value::as_str),
        fields.get("datum"),
    ) {
        (Some(field), _) => Source::Field(unescaped(field)),
        (None, Some(datum)) => Source::Datum(datum.clone()),
        (None, None) => return Err(format!("its channel `{name}` has neither field nor datum")),
    };
    let quantitative = match fields.get("type").and_then(Value::as_str) {
        Some("quantitative") => true,
        Some("nominal" | "ordinal") => false,
        // Other ends take the scale of the first ones.
        None => matches!(&source, Source::Datum(value) if value.is_number()) || name.ends_with('2'),
        Some(other) => {
            return Err(format!(
                "its channel `{name}` is {other}, which is not drawn without a browser"
            ));
        }
    };
    let scale = fields.get("scale").and_then(Value::as_object);
    let of_scale = |property: &str| scale.and_then(|scale| scale.get(property));
    let log = match of_scale("type").and_then(Value::as_str) {
        None | Some("linear" | "band" | "point" | "ordinal") => false,
        Some("log") => true,
        Some(other) => {
            return Err(format!(
                "its channel `{name}` has a {other} scale, which is not drawn without a browser"
            ));
        }
    };
    let guide = fields.get("axis").or(fields.get("legend"));
    let of_guide = |property: &str| guide.and_then(|guide| guide.get(property));
    let title = match fields.get("title").or(of_guide("title")) {
        Some(Value::Null) => None,
        Some(title) => Some(self::name(title)),
        None => match &source {
            Source::Field(field) => Some(field.clone()),
            Source::Datum(_) => None,
        },
    };
    let strings = |value: &Value| {
        let values = value
            .as_array()?
            .iter()
            .map(|value| value.as_str().map(String::from));
        values.collect::<Option<Vec<String>>>()
    };
    Ok(Channel {
        source,
        quantitative,
        title,
        domain: of_scale("domain").and_then(Value::as_array).cloned(),
        zero: of_scale("zero").and_then(Value::as_bool),
        log,
        range: of_scale("range").and_then(strings),
        guide: !guide.is_some_and(Value::is_null),
        format: of_guide("format").and_then(Value::as_str).map(String::from),
        whole: of_guide("tickMinStep")
            .and_then(Value::as_f64)
            .is_some_and(|step| step >= 1.0),
        font_size: of_guide("labelFontSize").and_then(Value::as_f64),
        angle: of_guide("labelAngle").and_then(Value::as_f64),
        order: match fields.get("sort") {
            Some(Value::Null) => Order::Data,
            Some(Value::Array(list)) => Order::List(list.clone()),
            Some(Value::String(text)) if text == "descending" => Order::Descending,
            Some(Value::String(text)) if text == "ascending" => Order::Sorted,
            None => Order::Sorted,
            Some(_) => {
                return Err(format!(
                    "`sort` of its channel `{name}` is not drawn without a browser"
                ));
            }
        },
    })
}

/// The name of a field as it is in the data: dots and brackets are written with a backslash.
fn unescaped(field: &str) -> String {
    field.replace("\\", "")
}

fn mark(value: &Value) -> Result<Mark, String> {
    let nothing = Map::new();
    let (sort, fields) = match value {
        Value::String(sort) => (sort.as_str(), &nothing),
        Value::Object(fields) => {
            let sort = fields.get("type").and_then(Value::as_str);
            (sort.ok_or("a mark has no type")?, fields)
        }
        _ => return Err("a mark is neither a name nor an object".into()),
    };
    let sort = match sort {
        "line" => Sort::Line,
        "point" | "circle" | "square" => Sort::Point,
        "bar" => Sort::Bar,
        "rect" => Sort::Rect,
        "rule" => Sort::Rule,
        "area" => Sort::Area,
        "tick" => Sort::Tick,
        "text" => Sort::Text,
        other => return Err(format!("its mark `{other}` is not drawn without a browser")),
    };
    let number = |name: &str| fields.get(name).and_then(Value::as_f64);
    let colour = ["color", "fill", "stroke"]
        .iter()
        .find_map(|name| fields.get(*name)?.as_str());
    let solid = !matches!(value.get("type").unwrap_or(value).as_str(), Some("point"));
    let default = if sort == Sort::Area { 0.7 } else { 1.0 };
    let dash = fields.get("strokeDash").and_then(Value::as_array);
    Ok(Mark {
        sort,
        colour: colour.map(String::from),
        opacity: ["opacity", "fillOpacity"]
            .iter()
            .find_map(|name| number(name))
            .unwrap_or(default)
            .clamp(0.0, 1.0),
        filled: fields
            .get("filled")
            .and_then(Value::as_bool)
            .unwrap_or(solid),
        size: number("size"),
        stroke_width: number("strokeWidth"),
        dash: dash.map_or_else(Vec::new, |dash| {
            dash.iter().filter_map(Value::as_f64).collect()
        }),
        points: fields
            .get("point")
            .is_some_and(|point| point != &Value::Bool(false)),
        align: match fields.get("align").and_then(Value::as_str) {
            Some("left") => -1,
            Some("right") => 1,
            _ => 0,
        },
        offset: ["dx", "dy"].map(|name| number(name).unwrap_or(0.0)),
        font_size: number("fontSize").unwrap_or(10.0).clamp(1.0, 100.0),
    })
}

/// The rows of `data`.
fn rows(data: &Value, read: Read) -> Result<Vec<Row>, String> {
    if let Some(values) = data.get("values") {
        let values = values
            .as_array()
            .ok_or("its data's `values` are not a list")?;
        let rows = values.iter().map(|value| match value {
            Value::Object(row) => row.clone(),
            // A bare value is the field `data`.
            other => Map::from_iter([("data".to_owned(), other.clone())]),
        });
        return Ok(rows.collect());
    }
    let Some(url) = data.get("url").and_then(Value::as_str) else {
        return Err("its data are neither `values` nor a file".into());
    };
    let text = read(url).map_err(|error| format!("{url}: {error:#}"))?;
    if url.ends_with(".json") {
        let values: Value =
            serde_json::from_slice(&text).map_err(|error| format!("{url}: {error}"))?;
        return rows(&serde_json::json!({"values": values}), read);
    }
    let delimiter = match url.rsplit('.').next() {
        Some("csv") => b',',
        Some("tsv") => b'\t',
        _ => return Err(format!("{url} is neither .csv, .tsv nor .json")),
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(&text[..]);
    let header = reader
        .headers()
        .map_err(|error| format!("{url}: {error}"))?
        .clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("{url}: {error}"))?;
        let cells = header.iter().zip(&record).map(|(name, cell)| {
            let value = match cell.parse::<f64>() {
                _ if cell.is_empty() => Value::Null,
                Ok(number) if number.is_finite() => number.into(),
                _ => cell.into(),
            };
            (name.to_owned(), value)
        });
        rows.push(cells.collect());
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(spec: Value) -> Result<Chart, String> {
        Chart::parse(&spec, &|name| match name {
            "x.csv" => Ok(b"a,b\n1,x\n,y\n".to_vec()),
            _ => anyhow::bail!("there is no such file"),
        })
    }

    #[test]
    fn layers_take_over_what_stands_above_them() {
        let chart = parse(json!({
            "data": {"url": "x.csv"},
            "encoding": {"x": {"field": "a", "type": "quantitative"}, "color": {"field": "b", "type": "nominal"}},
            "layer": [
                {"mark": "line", "encoding": {"y": {"field": "a", "type": "quantitative", "title": "why"}}},
                {"mark": {"type": "rule", "strokeDash": [2, 2]}, "data": {"values": [{"a": 3}]},
                 "encoding": {"color": {"value": "red"}}},
            ],
        }));
        let chart = chart.unwrap();
        assert_eq!(chart.layers.len(), 2);
        assert_eq!(chart.layers[0].rows.len(), 2);
        assert_eq!(
            chart.layers[0]
                .x
                .as_ref()
                .unwrap()
                .number(&chart.layers[0].rows[0]),
            Some(1.0)
        );
        assert_eq!(
            chart.layers[0]
                .x
                .as_ref()
                .unwrap()
                .number(&chart.layers[0].rows[1]),
            None
        );
        assert_eq!(
            chart.layers[0].y.as_ref().unwrap().title.as_deref(),
            Some("why")
        );
        assert_eq!(chart.layers[1].mark.colour.as_deref(), Some("red"));
        assert_eq!(chart.layers[1].mark.dash, [2.0, 2.0]);
        assert_eq!(
            (chart.layers[1].rows.len(), chart.layers[1].everywhere),
            (1, true)
        );
    }

    #[test]
    fn what_is_not_drawn_is_named() {
        let x = json!({"field": "a", "type": "quantitative"});
        let data = json!({"values": []});
        for (spec, reason) in [
            (
                json!({"mark": "arc", "data": data, "encoding": {"x": x}}),
                "its mark `arc`",
            ),
            (
                json!({"mark": "bar", "data": data, "transform": []}),
                "its `transform`",
            ),
            (json!({"hconcat": [], "data": data}), "its `hconcat`"),
            (json!({"data": data}), "neither one mark nor layers"),
            (
                json!({"mark": "bar", "data": {"name": "d"}}),
                "neither `values` nor a file",
            ),
            (
                json!({"mark": "bar", "data": {"url": "y.csv"}}),
                "y.csv: there is no such file",
            ),
            (
                json!({"mark": "bar", "data": data, "encoding": {"x": {"field": "a", "type": "quantitative", "bin": true}}}),
                "`bin` of its channel `x`",
            ),
            (
                json!({"mark": "bar", "data": data, "encoding": {"y": {"aggregate": "count"}}}),
                "`aggregate` of its channel `y`",
            ),
            (
                json!({"mark": "bar", "data": data, "encoding": {"theta": x}}),
                "its channel `theta`",
            ),
            (
                json!({"mark": "bar", "data": data, "encoding": {"x": {"field": "t", "type": "temporal"}}}),
                "its channel `x` is temporal",
            ),
        ] {
            let error = parse(spec).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn facets_are_by_one_field() {
        let inner = json!({"mark": "bar", "encoding": {"x": {"field": "a", "type": "nominal"}}});
        let chart = parse(json!({
            "data": {"values": []}, "facet": {"field": "c", "sort": ["z", "y"]}, "columns": 2, "spec": inner,
        }));
        let facet = chart.unwrap().facet.unwrap();
        assert_eq!((facet.field.as_str(), facet.columns), ("c", 2));
        assert_eq!(facet.order.unwrap(), ["z", "y"]);
        let mut spec = inner;
        spec["data"] = json!({"values": []});
        spec["encoding"]["column"] = json!({"field": "c"});
        assert_eq!(parse(spec.clone()).unwrap().facet.unwrap().columns, 0);
        spec["encoding"]["row"] = json!({"field": "d"});
        assert!(parse(spec).unwrap_err().contains("more than one field"));
    }
}
