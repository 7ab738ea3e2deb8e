//! A JSON-LD graph that is put together entity by entity, and how values are written in it.

use std::collections::HashMap;

use serde_json::{Value, json};

/// Entities in the order in which they were added, each identifier once.
#[derive(Default)]
pub struct Graph {
    entities: Vec<Value>,
    places: HashMap<String, usize>,
}

/// A reference to an entity.
pub fn reference(id: &str) -> Value {
    json!({ "@id": id })
}

/// References to several.
pub fn references<'a>(ids: impl IntoIterator<Item = &'a String>) -> Value {
    ids.into_iter().map(|id| reference(id)).collect()
}

/// Adds to a list property, which is made where it is not there; nothing is in it twice.
pub fn push(entity: &mut Value, property: &str, id: &str) {
    let list = &mut entity[property];
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|other| other["@id"] == id)
    {
        list.push(reference(id));
    }
}

impl Graph {
    /// Adds an entity, or gives the one that is there.
    pub fn add(&mut self, id: &str, entity: Value) -> &mut Value {
        let next = self.entities.len();
        let place = *self.places.entry(id.to_string()).or_insert(next);
        if place == next {
            let mut whole = json!({ "@id": id });
            if let (Some(whole), Value::Object(entity)) = (whole.as_object_mut(), entity) {
                whole.extend(entity.into_iter().filter(|(_, value)| !value.is_null()));
            }
            self.entities.push(whole);
        }
        &mut self.entities[place]
    }

    /// The entity of this identifier, which was added before.
    pub fn entity(&mut self, id: &str) -> &mut Value {
        self.add(id, Value::Null)
    }

    /// The entities in the order in which they were added.
    pub fn finish(self) -> Vec<Value> {
        self.entities.into_iter().map(compact).collect()
    }
}

/// As RO-Crate recommends: a list of one is written as that one, and none is left out.
fn compact(mut entity: Value) -> Value {
    if let Some(properties) = entity.as_object_mut() {
        properties.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        for (_, value) in properties.iter_mut() {
            if let Value::Array(list) = value
                && list.len() == 1
                && let Some(one) = list.pop()
            {
                *value = one;
            }
        }
    }
    entity
}

/// How an action ended, in schema.org's words.
pub fn status(failed: bool) -> &'static str {
    if failed {
        "http://schema.org/FailedActionStatus"
    } else {
        "http://schema.org/CompletedActionStatus"
    }
}

/// The data type of a parameter, in schema.org's words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        _ => "Text",
    }
}

/// The media type of a file; the array formats have none of their own.
pub fn encoding(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "json" => "application/json",
        "csv" => "text/csv",
        "toml" => "application/toml",
        "txt" | "log" | "md" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// As RO-Crate asks of times: to the millisecond, with an offset.
pub fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

/// A path as a relative URI: everything but what RFC 3986 leaves unreserved, and `/`, is escaped.
pub fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(byte.into());
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris_and_times_have_an_offset() {
        assert_eq!(uri("a b/é[x=1].npy"), "a%20b/%C3%A9%5Bx%3D1%5D.npy");
        let then = "2026-11-24T22:28:44.0138Z".parse().unwrap();
        assert_eq!(time(then), "2026-11-24T22:28:44.013+00:00");
    }
}
