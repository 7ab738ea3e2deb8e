//! A JSON Schema of workflow files, with the parameters of the stage kinds at hand, for editors.

use flow_plan::plan::kinds::{Catalogue, Kind};
use serde_json::{Map, Value, json};

/// The schema (draft 2020-12).
pub fn schema(catalogue: &Catalogue) -> Value {
    let kinds: Vec<String> = catalogue.kinds().map(Kind::short_name).collect();
    let named = json!({ "type": "string", "pattern": "^[^/]+/[^/]+$" });
    let variables = json!({
        "type": "array",
        "items": { "type": "string", "pattern": VARIABLE },
        "description": "Environment variables that are passed on; those of `secret_env` are in no key and no log."
    });
    let stage_keys = json!({
        "uses": {
            "anyOf": [{ "enum": kinds }, named],
            "description": "A stage kind; `flow stages` lists them. \"mine/train\" is the kind `train` of the plugin `mine`."
        },
        "run": {
            "description": "Any program: a list of arguments, or one string for the shell.",
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
            "description": "Outputs of a `run` stage: role and file name, a folder with `/` at its end, or a glob.",
            "minProperties": 1,
            "additionalProperties": { "type": "string", "pattern": r"^(?!/)(?!(.*/)?\.{1,2}(/|$)).+$" }
        },
        "matrix": {
            "type": "object",
            "description": "Axes: one instance for each combination of values.",
            "additionalProperties": { "$ref": "#/$defs/axis" }
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
        "frozen": { "type": "boolean", "description": "Whether its last result stands, whatever its inputs are." },
        "env": {
            "anyOf": [
                variables,
                {
                    "type": "object",
                    "propertyNames": { "pattern": VARIABLE },
                    "additionalProperties": { "type": "string" }
                }
            ],
            "description": "Environment variables: a list passes on, a table sets. Part of the key."
        },
        "secret_env": variables
    });
    let stage_keys = merged(stage_keys, program_keys());
    let mut fits: Vec<Value> = catalogue.kinds().map(fits).collect();
    fits.push(json!({
        "if": { "required": ["run"] },
        "then": { "properties": { "uses": false, "with": false } }
    }));
    fits.push(of_kinds());
    let mut needs: Vec<Value> = catalogue.kinds().filter_map(needs).collect();
    needs.push(json!({ "if": { "required": ["run"] }, "then": { "required": ["outputs"] } }));
    let name = json!({ "pattern": "^[A-Za-z][A-Za-z0-9_-]*$" });
    let params = json!({
        "type": "object",
        "propertyNames": &name,
        "description": "Named values: ${name}. They may be made of others."
    });
    let stages = json!({
        "type": "object",
        "propertyNames": &name,
        "additionalProperties": { "$ref": "#/$defs/stage" }
    });
    let by = json!({ "type": "string", "pattern": r"^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)?$" });
    let overlaid = json!({ "params": params, "stages": stages });
    let variant = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "params": params,
            "stages": stages,
            "workflow": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "seed": { "type": "integer", "minimum": 0 } }
            },
            "use": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Variants of other groups that count with it, unless others are chosen."
            },
            "replace": {
                "type": "object",
                "additionalProperties": false,
                "properties": overlaid,
                "description": "Params, and keys of stages, that are replaced whole."
            }
        }
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
                    "language": { "enum": [1, 2], "description": "2: overlays merge table by table, and an axis is known by its name in all stages." },
                    "params": { "type": "string", "pattern": r"\.([tT][oO][mM][lL]|[yY][aA]?[mM][lL]|[jJ][sS][oO][nN])$", "description": "A file of params (TOML, YAML, JSON), laid over [params]." },
                    "seed": { "type": "integer", "minimum": 0, "description": "Of every seeded stage." },
                    "root": { "type": "string", "description": "The folder that paths start from: the file's own, or one around it." },
                    "shell": shell(),
                    "isolation": isolation()
                }
            },
            "params": params,
            "stages": stages,
            "variants": {
                "type": "object",
                "description": "Named overlays: variants.GROUP.NAME.",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "default": { "anyOf": [{ "type": "string", "description": "The variant that counts where none is chosen." }, variant] },
                        "required": { "anyOf": [{ "type": "boolean", "description": "Whether one of them has to be chosen." }, variant] }
                    },
                    "additionalProperties": variant
                }
            },
            "sweep": sweep(),
            "plugins": { "type": "object", "additionalProperties": { "type": "string" } },
            "environments": environments(&name),
            "deliver": {
                "type": "object",
                "description": "Results under names of one's own: PATH = \"stage.output\". Every run puts them right.",
                "additionalProperties": { "type": "string" }
            }
        },
        "$defs": {
            "axis": axis(),
            "input": {
                "anyOf": [
                    { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]*(\\[.+=.+\\])?(\\.[A-Za-z][A-Za-z0-9_-]*)?$" },
                    {
                        "type": "object",
                        "additionalProperties": false,
                        "oneOf": [{ "required": ["from"] }, { "required": ["collect"] }, { "required": ["path"] }],
                        "dependentRequired": { "exclude": ["path"], "by": ["collect"], "allow_empty": ["collect"] },
                        "properties": {
                            "from": { "type": "string", "description": "A stage's output." },
                            "collect": {
                                "anyOf": [
                                    { "type": "string" },
                                    { "type": "array", "minItems": 1, "items": { "type": "string" } }
                                ],
                                "description": "Outputs of all instances of a stage, side by side."
                            },
                            "by": {
                                "anyOf": [by, { "type": "array", "minItems": 1, "items": by }],
                                "description": "One gather for each value of an axis, or of a column of it: `sample.group`."
                            },
                            "allow_empty": { "type": "boolean", "description": "Whether there may be nothing to gather." },
                            "path": {
                                "anyOf": [
                                    { "type": "string" },
                                    { "type": "array", "minItems": 1, "items": { "type": "string" } }
                                ],
                                "description": "Files of yours."
                            },
                            "as": {
                                "type": "string",
                                "pattern": format!(r"^(\.|{})$", &INSIDE[1..INSIDE.len() - 1]),
                                "description": "Where a program finds it: a path, `dir/` for into that folder, `.` for the stage's folder itself."
                            },
                            "exclude": { "type": "array", "items": { "type": "string" }, "description": "What folders leave out." },
                            "writable": { "type": "boolean", "description": "Whether a program gets a copy that it may write to." }
                        }
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

/// Where the values of an axis come from.
fn axis() -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let param = json!({ "type": "string", "pattern": r"^\$\{[^}]+\}$" });
    let sourced = |properties: Value, required: &[&str]| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": required
        })
    };
    let rows = json!({ "anyOf": [{ "type": "array", "items": { "type": "object" } }, param] });
    json!({
        "anyOf": [
            { "type": "array", "minItems": 1, "uniqueItems": true },
            param,
            sourced(json!({ "table": text, "key": text }), &["table", "key"]),
            sourced(json!({ "glob": text }), &["glob"]),
            sourced(json!({ "rows": rows, "key": text }), &["rows", "key"])
        ],
        "description": "Values, a table (CSV, TSV, JSON, Parquet) and the column that names its rows, a glob with names in braces, or rows."
    })
}

/// A path inside a folder.
const INSIDE: &str = r"^(?!/)(?!(.*/)?\.{1,2}(/|$)).+$";
/// The name of an environment variable.
const VARIABLE: &str = r"^(?!.*\$\{)[^=]+$";

/// The keys of a stage that say what its program works in.
fn program_keys() -> Value {
    json!({
        "shell": shell(),
        "files": {
            "type": "object",
            "propertyNames": { "pattern": r"^(?!.*\$\{)(?!/)(?!(.*/)?\.{1,2}(/|$))(.*[^/])$" },
            "description": "Files that are written first: path and value; YAML, JSON or TOML by the ending."
        },
        "checkpoints": { "type": "string", "pattern": INSIDE, "description": "A folder that survives an attempt." },
        "folder": { "enum": ["own", "project"], "description": "Where it works." },
        "isolation": isolation(),
        "tools": {
            "anyOf": [
                { "type": "array", "items": { "type": "string", "minLength": 1 } },
                { "type": "object", "additionalProperties": { "type": "string", "minLength": 1 } }
            ],
            "description": "Programs whose file, or what a command of theirs prints, is part of the key."
        },
        "environment": { "type": "string", "description": "One of [environments]." },
        "plots": {
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]*$" },
            "description": "Which of its files are shown as charts and pictures.",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": false,
                "oneOf": [{ "required": ["file"] }, { "required": ["files"] }],
                "properties": {
                    "file": { "type": "string", "pattern": INSIDE, "description": "A file among its outputs: .json, .csv, .tsv, or a picture." },
                    "files": { "type": "string", "pattern": INSIDE, "description": "Several, by a glob." },
                    "x": { "type": "string", "description": "The column of the first axis, or of the true classes." },
                    "y": {
                        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
                        "description": "The columns of the second axis, or the one of the predicted classes."
                    },
                    "kind": { "enum": ["line", "confusion"], "description": "What is drawn of rows." }
                },
                "if": { "properties": { "kind": { "const": "confusion" } }, "required": ["kind"] },
                "then": { "properties": { "y": { "type": "string" } } }
            }
        }
    })
}

/// What a stage with `uses` may not have: keys, and what inputs of programs say.
fn of_kinds() -> Value {
    let mut keys = merged(json!({ "outputs": null }), program_keys());
    if let Value::Object(keys) = &mut keys {
        keys.values_mut().for_each(|key| *key = false.into());
        let input = json!({ "properties": {
            "as": false,
            "exclude": false,
            "writable": false,
            "path": { "type": "string" }
        } });
        keys.insert("inputs".into(), json!({ "additionalProperties": input }));
    }
    json!({ "if": { "required": ["uses"] }, "then": { "properties": keys } })
}

fn shell() -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "items": { "type": "string" },
        "description": "What runs a `run` string, in the place of `bash -euo pipefail`."
    })
}

fn isolation() -> Value {
    json!({
        "anyOf": [
            { "const": "required" },
            {
                "type": "object",
                "additionalProperties": false,
                "properties": { "required": { "type": "boolean" }, "network": { "type": "boolean" } }
            }
        ],
        "description": "How far programs are kept apart from the machine."
    })
}

fn environments(name: &Value) -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let kind = |properties: Value, required: &str| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": [required]
        })
    };
    let image = json!({ "type": "string", "pattern": r"^(.+@sha256:[0-9a-f]{64}|.+\.sif)$" });
    let engine = json!({ "enum": ["podman", "docker", "apptainer"] });
    json!({
        "type": "object",
        "propertyNames": name,
        "additionalProperties": { "anyOf": [
            kind(json!({ "venv": text, "lock": text }), "venv"),
            kind(json!({ "conda": text }), "conda"),
            kind(json!({ "image": image, "engine": engine }), "image")
        ] },
        "description": "What programs run in: venv, conda lock file, image by digest."
    })
}

/// Two objects as one.
fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(first), Value::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
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
    json!({ "required": ["uses"], "properties": { "uses": { "const": kind.short_name() } } })
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
