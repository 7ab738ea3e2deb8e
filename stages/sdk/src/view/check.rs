//! Reads views and points, and says what is wrong with them.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Colour, Coordinates, FILE, Gallery, Item, Thumbnails, VERSION, View};

impl View {
    /// Reads the text of a `view.json`.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn parse(text: &[u8]) -> Result<View, String> {
        let value: Value =
            serde_json::from_slice(text).map_err(|error| format!("{FILE} is not JSON: {error}"))?;
        // The version is looked at before the rest, which may have another form in another version.
        match value.get("view").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "{FILE} has version {version}, and this flow knows {VERSION}"
                ));
            }
            None => {
                return Err(format!(
                    "{FILE} has to be an object with \"view\": {VERSION} and \"items\""
                ));
            }
        }
        let items = value.get("items").and_then(Value::as_array);
        let items = items.ok_or_else(|| format!("{FILE} has no list \"items\""))?;
        let items = items.iter().enumerate().map(|(number, item)| {
            let item = Item::deserialize(item).map_err(|error| error.to_string());
            let item = item.and_then(|item| item.check().map(|()| item));
            item.map_err(|error| format!("item {} of {FILE}: {error}", number + 1))
        });
        Ok(View {
            view: VERSION,
            items: items.collect::<Result<_, _>>()?,
        })
    }

    /// The files of the folder that the items name, each once.
    pub fn files(&self) -> BTreeSet<&str> {
        self.items.iter().flat_map(Item::files).collect()
    }
}

impl Item {
    /// What stands above it.
    pub fn title(&self) -> &str {
        match self {
            Item::Text { title, .. } | Item::Image { title, .. } => title,
            Item::Table(table) => &table.title,
            Item::VegaLite(chart) => &chart.title,
            Item::Gallery(gallery) => &gallery.title,
            Item::Points(points) => &points.title,
            Item::Thumbnails(_) => "",
        }
    }

    /// The files of the folder that it names.
    pub fn files(&self) -> Vec<&str> {
        match self {
            Item::Text { .. } | Item::Table(_) => Vec::new(),
            Item::Image { file, .. } => vec![file],
            Item::VegaLite(chart) => urls(&chart.spec),
            Item::Gallery(gallery) => vec![&gallery.sprite],
            Item::Points(points) => vec![&points.file],
            Item::Thumbnails(thumbnails) => vec![&thumbnails.sprite],
        }
    }

    /// Makes sure that it holds together, its files not looked at.
    fn check(&self) -> Result<(), String> {
        if let Some(file) = self.files().into_iter().find(|file| !inside(file)) {
            return Err(format!(
                "it names {file:?}; files are named relative to the folder, without `..`, and never by a URL"
            ));
        }
        match self {
            Item::Table(table) => {
                for (number, cells) in table.rows.iter().enumerate() {
                    if cells.len() != table.columns.len() {
                        return Err(format!(
                            "row {} has {} cell(s), and there are {} column(s)",
                            number + 1,
                            cells.len(),
                            table.columns.len()
                        ));
                    }
                    if cells.iter().any(|cell| cell.is_array() || cell.is_object()) {
                        return Err(format!(
                            "row {} holds a list or an object; a cell is a string, a number, true, false or null",
                            number + 1
                        ));
                    }
                }
                Ok(())
            }
            Item::VegaLite(chart) if !chart.spec.is_object() => {
                Err("its spec is not an object".into())
            }
            Item::Gallery(Gallery { size, columns, .. })
            | Item::Thumbnails(Thumbnails { size, columns, .. })
                if size.contains(&0) || *columns == 0 =>
            {
                Err("size and columns have to be above 0".into())
            }
            _ => Ok(()),
        }
    }
}

impl Coordinates {
    /// Reads the file of [`Points`](super::Points).
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn parse(text: &[u8]) -> Result<Coordinates, String> {
        let points: Coordinates =
            serde_json::from_slice(text).map_err(|error| format!("it holds no points: {error}"))?;
        let n = points.row.len();
        let lengths = [("x", points.x.len()), ("y", points.y.len())];
        let colours = points
            .colour
            .iter()
            .map(|colour| (colour.name(), colour.len()));
        for (name, length) in lengths.into_iter().chain(colours) {
            if length != n {
                return Err(format!(
                    "{name:?} has {length} value(s), and \"row\" has {n}"
                ));
            }
        }
        for colour in &points.colour {
            if let Colour::Category { name, names, value } = colour
                && let Some(value) = value.iter().find(|&&value| value >= names.len() as i32)
            {
                return Err(format!(
                    "{name:?} holds {value}, and there are {} names",
                    names.len()
                ));
            }
        }
        Ok(points)
    }
}

/// Whether a name stays in the folder: a path of plain parts. A name with a scheme is a URL.
fn inside(name: &str) -> bool {
    !name.contains(['\\', '\0', ':'])
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What the spec of a chart loads: the `url` of each `data`, wherever it stands.
fn urls(spec: &Value) -> Vec<&str> {
    match spec {
        Value::Array(values) => values.iter().flat_map(urls).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.get("url") {
                Some(url) if name == "data" => vec![url.as_str().unwrap_or_default()],
                // Rows are data, whatever they are called.
                _ if name == "values" => Vec::new(),
                _ => urls(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(item: Value) -> String {
        let text = json!({"view": 1, "items": [item]}).to_string();
        View::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn each_sort_of_item_is_read_and_written() {
        let items = json!([
            {"type": "text", "title": "t", "text": "a\nb"},
            {"type": "table", "title": "t", "columns": ["class", "images"], "rows": [["cat", 120], ["dog", null]]},
            {"type": "image", "title": "t", "alt": "a", "file": "x.png"},
            {"type": "vega-lite", "title": "t", "alt": "a", "spec": {"mark": "bar", "data": {"url": "sub/x.csv"}}, "compare": "loss"},
            {"type": "gallery", "title": "t", "alt": "a", "sprite": "s.png", "size": [8, 8], "columns": 3,
             "groups": [{"name": "g", "note": "n", "images": [{"at": 0, "row": 812, "label": "cat"}, {"at": 1}]}]},
            {"type": "points", "title": "t", "alt": "a", "note": "n", "file": "p.json", "class": "animals"},
            {"type": "thumbnails", "sprite": "s2.png", "size": [8, 8], "columns": 3, "row": [3, 17]},
        ]);
        let value = json!({"view": 1, "items": items});
        let view = View::parse(value.to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&view).unwrap(), value);
        let files: Vec<&str> = view.files().into_iter().collect();
        assert_eq!(files, ["p.json", "s.png", "s2.png", "sub/x.csv", "x.png"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let of = |text: &str| View::parse(text.as_bytes()).unwrap_err();
        assert!(of("{").starts_with("view.json is not JSON: "));
        assert_eq!(
            of(r#"{"view": 2}"#),
            "view.json has version 2, and this flow knows 1"
        );
        assert!(of("[]").contains("\"view\": 1"), "{}", of("[]"));
        assert_eq!(of(r#"{"view": 1}"#), "view.json has no list \"items\"");
        let error = problem(json!({"type": "film", "title": "t"}));
        assert!(
            error.starts_with("item 1 of view.json: unknown variant `film`"),
            "{error}"
        );
        let table = json!({"type": "table", "title": "t", "columns": ["a"], "rows": [[1, 2]]});
        assert_eq!(
            problem(table),
            "item 1 of view.json: row 1 has 2 cell(s), and there are 1 column(s)"
        );
        let table = json!({"type": "table", "title": "t", "columns": ["a"], "rows": [[[]]]});
        assert!(problem(table).contains("row 1 holds a list"));
    }

    #[test]
    fn no_file_lies_outside_the_folder() {
        for file in [
            "../x.png",
            "/x.png",
            "a//b",
            "",
            "a/./b",
            "https://x/y.png",
            "a\\b",
        ] {
            let error = problem(json!({"type": "image", "title": "t", "alt": "a", "file": file}));
            assert!(error.contains("relative to the folder"), "{file}: {error}");
            let spec = json!({"layer": [{"data": {"url": file}}]});
            let error =
                problem(json!({"type": "vega-lite", "title": "t", "alt": "a", "spec": spec}));
            assert!(error.contains("relative to the folder"), "{file}: {error}");
        }
    }

    #[test]
    fn columns_of_points_have_one_length() {
        let parse = |value: Value| Coordinates::parse(value.to_string().as_bytes());
        let colour = json!([{"name": "label", "kind": "category", "names": ["0", "1"], "value": [1, null]},
                            {"name": "u", "kind": "number", "value": [0.5, null]}]);
        let whole = json!({"row": [3, 9], "x": [0, 1], "y": [0.5, 1], "colour": colour});
        let points = parse(whole.clone()).unwrap();
        let Colour::Category { value, .. } = &points.colour[0] else {
            panic!("{points:?}")
        };
        assert_eq!(value, &[1, -1]);
        let mut short = whole.clone();
        short["y"] = json!([1]);
        assert_eq!(
            parse(short).unwrap_err(),
            "\"y\" has 1 value(s), and \"row\" has 2"
        );
        let mut large = whole;
        large["colour"][0]["value"] = json!([2, 0]);
        assert_eq!(
            parse(large).unwrap_err(),
            "\"label\" holds 2, and there are 2 names"
        );
    }
}
