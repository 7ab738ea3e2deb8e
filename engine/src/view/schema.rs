//! A JSON Schema of workflow files, with the parameters of the stage kinds at hand, for editors.

use flow_plan::plan::kinds::{Catalogue, Kind};
use serde_json::{Map, Value, json};

/// The schema (draft 2020-12).
pub fn schema(catalogue: &Catalogue) -> Value {
    let kinds: Vec<&str> = catalogue
        .kinds()
        .map(|kind| kind.description.name.as_str())
        .collect();
    let stage_keys = json!({
        "uses": { "enum": kinds, "description": "A stage kind; `flow stages` lists them." },
        "run": {
            "description": "Any program: a list of arguments, or one string for `sh -c`.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "minItems": 1, "items": { "type": "string" } }
            ]
        },
        "inputs": {
            "type": "object",
            "description": "Input roles and where they come from.",
            "additionalProperties": { "$ref": "#/$defs/input" }
        },
        "with": { "type": "object", "description": "Parameters of the stage kind." },
        "outputs": {
            "type": "object",
            "description": "Outputs of a `run` stage: role and file name.",
            "minProperties": 1,
            "additionalProperties": { "type": "string", "pattern": r"^(?!/)(?!(.*/)?\.{1,2}(/|$)).+$" }
        },
        "matrix": {
            "type": "object",
            "description": "Axes: one instance for each combination of values.",
            "additionalProperties": { "anyOf": [
                { "type": "array", "minItems": 1, "uniqueItems": true },
                { "type": "string", "pattern": r"^\$\{[^}]+\}$" }
            ] }
        },
        "resources": {
            "type": "object",
            "additionalProperties": false,
            "description": "What the stage asks of the machine; in no key.",
            "properties": {
                "cpus": { "type": "integer", "minimum": 0, "maximum": 4096, "description": "Threads; 0 for all." },
                "gpus": { "type": "integer", "minimum": 0, "maximum": 64, "description": "GPUs; the machine has to have them." },
                "memory": { "type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgGtTpP]i?)?[bB]?\s*$", "description": "Memory: \"16GB\"." }
            }
        },
        "timeout": { "type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*[a-zµ]+[\s,]*)+$", "description": "After that the stage is ended: \"90s\", \"2h 30m\"." },
        "retries": { "type": "integer", "minimum": 0, "maximum": 100, "description": "How often it is tried again after a failure." },
        "env": {
            "type": "array",
            "items": { "type": "string", "pattern": r"^(?!.*\$\{)[^=]+$" },
            "description": "Environment variables that are passed on, and part of the key."
        }
    });
    let mut fits: Vec<Value> = catalogue.kinds().map(fits).collect();
    fits.push(json!({
        "if": { "required": ["run"] },
        "then": { "properties": { "uses": false, "with": false } }
    }));
    fits.push(
        json!({ "if": { "required": ["uses"] }, "then": { "properties": { "outputs": false } } }),
    );
    let mut needs: Vec<Value> = catalogue.kinds().filter_map(needs).collect();
    needs.push(json!({ "if": { "required": ["run"] }, "then": { "required": ["outputs"] } }));
    let name = json!({ "pattern": "^[A-Za-z][A-Za-z0-9_-]*$" });
    let params = json!({
        "type": "object",
        "propertyNames": name,
        "additionalProperties": { "not": { "type": "string", "pattern": "\\$\\{" } },
        "description": "Named values: ${name}."
    });
    let stages = json!({
        "type": "object",
        "propertyNames": name,
        "additionalProperties": { "$ref": "#/$defs/stage" }
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flow workflow",
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{ "required": ["stages"] }, { "required": ["include"] }],
        // What a stage lacks may stand in a file that is included.
        "if": { "not": { "required": ["include"] } },
        "then": { "properties": { "stages": { "additionalProperties": { "$ref": "#/$defs/whole" } } } },
        "properties": {
            "include": { "type": "array", "items": { "type": "string" }, "description": "Files below this one." },
            "workflow": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "name": { "type": "string" },
                    "seed": { "type": "integer", "minimum": 0, "description": "Of every seeded stage." }
                }
            },
            "params": params,
            "stages": stages,
            "variants": {
                "type": "object",
                "description": "Named overlays: variants.GROUP.NAME.",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": { "params": params, "stages": stages }
                    }
                }
            },
            "sweep": sweep(),
            "plugins": { "type": "object", "additionalProperties": { "type": "string" } }
        },
        "$defs": {
            "input": {
                "anyOf": [
                    { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*(\\[.+=.+\\])?(\\.[A-Za-z][A-Za-z0-9_-]*)?$" },
                    {
                        "type": "object",
                        "additionalProperties": false,
                        "minProperties": 1,
                        "maxProperties": 1,
                        "properties": { "path": { "type": "string" }, "collect": { "type": "string" } }
                    }
                ]
            },
            "stage": {
                "type": "object",
                "additionalProperties": false,
                "properties": stage_keys,
                "allOf": fits
            },
            "whole": {
                "oneOf": [{ "required": ["uses"] }, { "required": ["run"] }],
                "allOf": needs
            }
        }
    })
}

/// `[sweep]`. Axes may be written as tables in tables, so there is no telling more of them.
fn sweep() -> Value {
    let conditions = json!({ "type": "array", "items": { "type": "object" } });
    let needs = |key: &str| {
        json!({
            "if": { "properties": { "mode": { "const": key } }, "required": ["mode"] },
            "then": { "required": [key] }
        })
    };
    let goal = json!({ "type": "string", "pattern": r"^.+\.[A-Za-z][A-Za-z0-9_-]*$" });
    json!({
        "type": "object",
        "additionalProperties": false,
        "description": "The workflow at many points.",
        "allOf": [
            { "not": { "required": ["points", "axes"] } },
            needs("random"),
            needs("points")
        ],
        "properties": {
            "mode": {
                "enum": ["grid", "zip", "one-at-a-time", "random", "points"],
                "description": "How the values of the axes are put together."
            },
            "axes": {
                "type": "object",
                "additionalProperties": { "anyOf": [
                    { "type": "array", "minItems": 1, "uniqueItems": true },
                    { "type": "object" }
                ] },
                "description": "Params, groups of variants, stages.NAME.uses, stages.NAME.with.PARAMETER: their values."
            },
            "seeds": {
                "anyOf": [
                    { "type": "integer", "minimum": 1, "maximum": 1000 },
                    { "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "integer", "minimum": 0 } }
                ],
                "description": "Replicates: how many, or which seeds."
            },
            "goal": {
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
                "properties": { "maximise": goal, "minimise": goal },
                "description": "The figure to optimise: \"stage.metric\"."
            },
            "random": { "type": "integer", "minimum": 1, "maximum": 1_000_000, "description": "How many points of the grid are drawn." },
            "points": { "type": "array", "uniqueItems": true, "items": { "type": "object" }, "description": "The points, one by one." },
            "where": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "only": conditions, "not": conditions },
                "description": "Which points stay, and which are left out."
            }
        }
    })
}

/// What holds of a stage of one kind, whether all of it stands here or a part.
fn fits(kind: &Kind) -> Value {
    let description = &kind.description;
    let roles = description.inputs.iter().map(|port| {
        let text = format!("{}: {}", port.artifact, port.summary);
        (
            port.name.clone(),
            json!({ "$ref": "#/$defs/input", "description": text }),
        )
    });
    json!({
        "if": of(kind),
        "then": { "properties": {
            "with": with_references(&description.parameters),
            "inputs": { "properties": Map::from_iter(roles), "additionalProperties": false }
        } }
    })
}

/// What a whole stage of one kind has to have.
fn needs(kind: &Kind) -> Option<Value> {
    let description = &kind.description;
    let ports = description.inputs.iter().filter(|port| !port.optional);
    let roles: Vec<&str> = ports.map(|port| port.name.as_str()).collect();
    let mut keys = Vec::new();
    let mut parts = Map::new();
    if !roles.is_empty() {
        keys.push("inputs");
        parts.insert("inputs".into(), json!({ "required": roles }));
    }
    if let Some(needed) = needed(&description.parameters) {
        if needed.get("required").is_some() {
            keys.push("with");
        }
        parts.insert("with".into(), needed);
    }
    if parts.is_empty() {
        return None;
    }
    let then = json!({ "required": keys, "properties": parts });
    Some(json!({ "if": of(kind), "then": then }))
}

fn of(kind: &Kind) -> Value {
    json!({ "required": ["uses"], "properties": { "uses": { "const": kind.description.name } } })
}

/// Of a schema, which entries tables have to have; nothing where they need not have any.
fn needed(schema: &Value) -> Option<Value> {
    let mut needed = Map::new();
    let required = schema.get("required").and_then(Value::as_array);
    if let Some(required) = required.filter(|required| !required.is_empty()) {
        needed.insert("required".into(), json!(required));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let inner: Map<String, Value> = properties
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| Some((name.clone(), self::needed(schema)?)))
        .collect();
    if !inner.is_empty() {
        needed.insert("properties".into(), inner.into());
    }
    (!needed.is_empty()).then(|| needed.into())
}

/// A kind's schema in which a string with a `${…}` may stand for any value, and nothing has to be there.
fn with_references(schema: &Value) -> Value {
    let Some(object) = schema.as_object() else {
        return schema.clone();
    };
    let mut object = object.clone();
    object.remove("required");
    for key in ["properties", "$defs"] {
        if let Some(Value::Object(properties)) = object.get_mut(key) {
            for value in properties.values_mut() {
                let inner = with_references(value);
                let description = inner.get("description").cloned();
                *value = json!({ "anyOf": [inner, { "type": "string", "pattern": "\\$\\{" }] });
                if let Some(description) = description {
                    value["description"] = description;
                }
            }
        }
    }
    Value::Object(object)
}
