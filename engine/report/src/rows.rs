//! The data of charts that lie in files beside a `view.json`: read into the spec, since a page loads nothing.

use anyhow::{Context, Error, Result, bail, ensure};
use flow_run::plots::{MOST, Rows};
use serde_json::Value;

/// Puts the content of files in the place of the `url` of each `data` in a spec, wherever it stands. `read` gives the content
/// of a file by its name.
///
/// # Errors
/// Where a file is in no form that charts have, or can't be read.
pub(super) fn inline(spec: &mut Value, read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<()> {
    match spec {
        Value::Array(values) => values.iter_mut().try_for_each(|value| inline(value, read)),
        Value::Object(fields) => {
            if let Some(Value::Object(data)) = fields.get_mut("data")
                && let Some(name) = data.get("url").and_then(Value::as_str).map(String::from)
            {
                let format = data
                    .get("format")
                    .and_then(|format| format["type"].as_str());
                let values = rows(&name, format, &read(&name)?)?;
                data.remove("url");
                data.remove("format");
                data.insert("values".into(), values);
            }
            fields
                .iter_mut()
                // Rows are data, whatever they are called.
                .filter(|(name, _)| *name != "values")
                .try_for_each(|(_, value)| inline(value, read))
        }
        _ => Ok(()),
    }
}

fn rows(name: &str, format: Option<&str>, content: &[u8]) -> Result<Value> {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let rows = match format.unwrap_or(extension) {
        "json" => {
            let values: Value =
                serde_json::from_slice(content).with_context(|| format!("{name} is not JSON"))?;
            ensure!(values.is_array(), "{name} holds no list of rows");
            values
        }
        "csv" => Rows::table(name, content, b',')
            .map_err(Error::msg)?
            .objects(),
        "tsv" => Rows::table(name, content, b'\t')
            .map_err(Error::msg)?
            .objects(),
        other => bail!("{name}: data are .csv, .tsv or .json, not `{other}`"),
    };
    let count = rows.as_array().map_or(0, Vec::len);
    ensure!(
        count <= MOST,
        "{name} has {count} rows, and a chart shows {MOST} at most"
    );
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_become_values() {
        let read = |name: &str| -> Result<Vec<u8>> {
            Ok(match name {
                "a.csv" => b"x,name\n1,a\n,\"b,c\"\n".to_vec(),
                "b.json" => b"[{\"x\": 1}]".to_vec(),
                _ => bail!("{name} is not there"),
            })
        };
        let mut spec = json!({
            "data": {"url": "a.csv"},
            "layer": [{"data": {"url": "b.json", "format": {"type": "json"}}, "mark": "point"}],
        });
        inline(&mut spec, &read).unwrap();
        assert_eq!(
            spec["data"],
            json!({"values": [{"x": 1.0, "name": "a"}, {"x": null, "name": "b,c"}]})
        );
        assert_eq!(spec["layer"][0]["data"], json!({"values": [{"x": 1}]}));
        for (name, why) in [("c.csv", "not there"), ("a.xml", "not there")] {
            let error = inline(&mut json!({"data": {"url": name}}), &read).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        let mut data = json!({"data": {"values": [{"data": {"url": "c.csv"}}]}});
        inline(&mut data, &read).unwrap();
    }
}
