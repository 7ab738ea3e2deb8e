//! A JSON Schema of workflow files, with the parameters of the stage kinds at hand, for editors.

use serde_json::{Map, Value, json};

use crate::plugin::{Catalogue, Kind};

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
            "items": { "type": "string", "pattern": "^[^=]+$" },
            "description": "Environment variables that are passed on, and part of the key."
        }
    });
    let mut conditions: Vec<Value> = catalogue.kinds().map(condition).collect();
    conditions.push(json!({
        "if": { "required": ["run"] },
        "then": { "required": ["outputs"], "properties": { "with": false } },
        "else": { "properties": { "outputs": false } }
    }));
    let name = json!({ "pattern": "^[A-Za-z][A-Za-z0-9_-]*$" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flow workflow",
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{ "required": ["stages"] }, { "required": ["include"] }],
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
            "params": { "type": "object", "propertyNames": name, "additionalProperties": { "not": { "type": "string", "pattern": "\\$\\{" } }, "description": "Named values: ${name}." },
            "stages": {
                "type": "object",
                "propertyNames": name,
                "additionalProperties": { "$ref": "#/$defs/stage" }
            },
            "variants": {
                "type": "object",
                "description": "Named overlays: variants.GROUP.NAME.",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": { "params": { "type": "object" }, "stages": { "type": "object" } }
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
                "oneOf": [{ "required": ["uses"] }, { "required": ["run"] }],
                "allOf": conditions
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
                "description": "What is to be best: \"stage.metric\"."
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

/// What holds for stages of one kind.
fn condition(kind: &Kind) -> Value {
    let description = &kind.description;
    let roles = description.inputs.iter().map(|port| {
        let text = format!("{}: {}", port.artifact, port.summary);
        (
            port.name.clone(),
            json!({ "$ref": "#/$defs/input", "description": text }),
        )
    });
    let required: Vec<&str> = description
        .inputs
        .iter()
        .filter(|port| !port.optional)
        .map(|port| port.name.as_str())
        .collect();
    let mut then = json!({
        "properties": {
            "with": with_references(&description.parameters),
            "inputs": {
                "properties": Map::from_iter(roles),
                "required": required,
                "additionalProperties": false
            }
        }
    });
    let needed = description
        .parameters
        .get("required")
        .and_then(Value::as_array);
    let keys: Vec<&str> = [
        ("inputs", !required.is_empty()),
        ("with", needed.is_some_and(|needed| !needed.is_empty())),
    ]
    .iter()
    .filter_map(|(key, wanted)| wanted.then_some(*key))
    .collect();
    then["required"] = json!(keys);
    json!({
        "if": { "required": ["uses"], "properties": { "uses": { "const": description.name } } },
        "then": then
    })
}

/// A kind's schema in which a string with a `${…}` may stand for any value.
fn with_references(schema: &Value) -> Value {
    let Some(object) = schema.as_object() else {
        return schema.clone();
    };
    let mut object = object.clone();
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
