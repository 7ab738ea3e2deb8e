//! A run as a Workflow Run RO-Crate: the metadata, in the terms of the Provenance Run Crate profile 0.5
//! (<https://w3id.org/ro/wfrun/provenance/0.5>) over RO-Crate 1.1.
//!
//! What is prescribed here by the profile: the workflow is the main entity, with the tools as its parts and a step for each
//! instance; the run is a `CreateAction` of the workflow, each stage one of its tool, tied to its step by a `ControlAction`;
//! the engine's own doing is an `OrganizeAction`.

mod contents;
mod graph;

use std::collections::BTreeSet;

use flow_cache::Key;
use serde_json::{Map, Value, json};

pub use contents::{Crate, Part, PartFile, Step};
use graph::{Graph, encoding, kind_of, push, reference, references, status, time, uri};

use flow_results::words::command;
use flow_run::record::Ending;
use flow_run::record::past::{PastRun, State};

const CONTEXT: &str = "https://w3id.org/ro/crate/1.1/context";
const TERMS: &str = "https://w3id.org/ro/terms/workflow-run#";
/// The profiles that the crate is of: identifier, name, version.
const PROFILES: [(&str, &str, &str); 4] = [
    (
        "https://w3id.org/ro/wfrun/process/0.5",
        "Process Run Crate",
        "0.5",
    ),
    (
        "https://w3id.org/ro/wfrun/workflow/0.5",
        "Workflow Run Crate",
        "0.5",
    ),
    (
        "https://w3id.org/ro/wfrun/provenance/0.5",
        "Provenance Run Crate",
        "0.5",
    ),
    (
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
        "Workflow RO-Crate",
        "1.0",
    ),
];
const ENGINE: &str = "#flow";
const LANGUAGE: &str = "#flow-language";

/// The content of `ro-crate-metadata.json`.
pub fn metadata(of: &Crate<'_>) -> Value {
    let mut graph = Graph::default();
    graph.describe(of);
    json!({
        "@context": [CONTEXT, {
            "sha256": format!("{TERMS}sha256"),
            "environment": format!("{TERMS}environment"),
            "resourceUsage": format!("{TERMS}resourceUsage"),
        }],
        "@graph": graph.finish(),
    })
}

impl Graph {
    fn describe(&mut self, of: &Crate<'_>) {
        let run = of.run;
        let workflow = uri(&of.workflow.path);
        self.add(
            "ro-crate-metadata.json",
            json!({
                "@type": "CreativeWork",
                "about": reference("./"),
                "conformsTo": [
                    reference("https://w3id.org/ro/crate/1.1"),
                    reference("https://w3id.org/workflowhub/workflow-ro-crate/1.0"),
                ],
            }),
        );
        let profiles: Vec<Value> = PROFILES.iter().map(|(id, _, _)| reference(id)).collect();
        self.add(
            "./",
            json!({
                "@type": "Dataset",
                "name": format!("Run {} of the workflow {}", run.id, run.head.workflow),
                "description": format!(
                    "What the run {} of the flow workflow `{}` made, what it made it from, and how: stages, parameters, \
                     versions and machines.",
                    run.id, run.head.workflow
                ),
                "datePublished": time(of.now),
                "license": "No licence is stated. Ask whoever gave you this crate before you use what is in it.",
                "conformsTo": profiles,
                "mainEntity": reference(&workflow),
                "hasPart": [],
                "mentions": [],
            }),
        );
        for (id, name, version) in PROFILES {
            self.add(
                id,
                json!({"@type": "CreativeWork", "name": name, "version": version}),
            );
        }
        self.add(
            LANGUAGE,
            json!({
                "@type": "ComputerLanguage",
                "name": "flow workflow (TOML)",
                "identifier": "flow",
                "version": run.head.flow,
            }),
        );
        self.add(
            ENGINE,
            json!({
                "@type": "SoftwareApplication",
                "name": "flow",
                "description": "Runs declarative machine-learning workflows.",
                "softwareVersion": run.head.flow,
            }),
        );
        self.part(&of.workflow);
        *self.entity(&workflow) = json!({
            "@id": workflow,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "conformsTo": reference("https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"),
            "name": run.head.workflow,
            "version": of.workflow.digest.to_string(),
            "programmingLanguage": reference(LANGUAGE),
            "input": [], "output": [], "hasPart": [], "step": [],
            "encodingFormat": "application/toml",
            "contentSize": of.workflow.files[0].size.to_string(),
            "sha256": of.workflow.files[0].sha256,
            "identifier": format!("blake3:{}", of.workflow.digest),
        });
        self.add(
            "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE",
            json!({"@type": "CreativeWork", "name": "Bioschemas ComputationalWorkflow", "version": "1.0-RELEASE"}),
        );
        for part in of.included.iter().chain(&of.parts) {
            self.part(part);
        }
        let run_action = self.run(of, &workflow);
        let mut controls = Vec::new();
        for (position, step) in of.steps.iter().enumerate() {
            controls.push(self.step(of, step, position + 1, &workflow));
        }
        self.add(
            "#engine-run",
            json!({
                "@type": "OrganizeAction",
                "name": format!("flow {} {}", run.head.flow, run.id),
                "description": "How flow brought the workflow's stages up to date.",
                "instrument": reference(ENGINE),
                "object": references(&controls),
                "result": reference(&run_action),
                "startTime": began(run).map(time),
                "endTime": ended(run).map(time),
            }),
        );
    }

    /// A file, or a folder with its files.
    fn part(&mut self, part: &Part) {
        let id = part_id(part);
        push(self.entity("./"), "hasPart", &id);
        let whole = format!("blake3:{}", part.digest);
        if !part.folder {
            let file = &part.files[0];
            let mut entity = file_entity(&part.path, &part.name, file);
            entity["identifier"] = whole.into();
            self.add(&id, entity);
            return;
        }
        let mut files = Vec::new();
        for file in &part.files {
            let path = format!("{}/{}", part.path, file.path);
            let id = uri(&path);
            self.add(&id, file_entity(&path, &file.path, file));
            files.push(id);
        }
        self.add(
            &id,
            json!({
                "@type": "Dataset",
                "name": part.name,
                "identifier": whole,
                "hasPart": references(&files),
            }),
        );
    }

    /// The run of the whole workflow; gives its identifier.
    fn run(&mut self, of: &Crate<'_>, workflow: &str) -> String {
        let run = of.run;
        let id = format!("#run-{}", run.id);
        let (mut objects, mut results) = (Vec::new(), Vec::new());
        for (name, value) in &run.head.params {
            let parameter = format!("#param-{}", uri(name));
            self.parameter(&parameter, name, kind_of(value), workflow, "input");
            objects.push(self.value(&format!("{parameter}-value"), name, value, &parameter));
        }
        let places = |ends: fn(&Step<'_>) -> Vec<usize>| -> BTreeSet<usize> {
            of.steps.iter().flat_map(ends).collect()
        };
        let read = places(|step| step.inputs.iter().map(|(_, place)| *place).collect());
        let made = places(|step| step.outputs.iter().map(|(_, place)| *place).collect());
        for (place, part) in of.parts.iter().enumerate() {
            // What no stage made came from outside; what none reads is what the run was for.
            let (list, property) = match (made.contains(&place), read.contains(&place)) {
                (false, _) => (&mut objects, "input"),
                (true, false) => (&mut results, "output"),
                (true, true) => continue,
            };
            let part_id = part_id(part);
            list.push(part_id.clone());
            let parameter = format!("#{property}-{}", uri(&part.path));
            let additional = if part.folder { "Dataset" } else { "File" };
            self.parameter(&parameter, &part.name, additional, workflow, property);
            push(self.entity(&part_id), "exampleOfWork", &parameter);
        }
        let failed = run.state != State::Ended(Ending::Ok);
        self.add(
            &id,
            json!({
                "@type": "CreateAction",
                "name": format!("Run {} of {}", run.id, run.head.workflow),
                "description": format!("Called as: {}", command(&run.head.command)),
                "instrument": reference(workflow),
                "object": references(&objects),
                "result": references(&results),
                "startTime": began(run).map(time),
                "endTime": ended(run).map(time),
                "actionStatus": status(failed),
                "error": failed.then(|| format!("the run ended as: {}", run.state.word())),
            }),
        );
        push(self.entity("./"), "mentions", &id);
        id
    }

    /// A stage: its tool, step, action, and the control action that ties them; gives the last one's identifier.
    fn step(&mut self, of: &Crate<'_>, step: &Step<'_>, position: usize, workflow: &str) -> String {
        let label = step.line.label();
        let tool = self.tool(step, workflow);
        let step_id = format!("{workflow}#{}", uri(&label));
        self.add(
            &step_id,
            json!({
                "@type": "HowToStep",
                "name": label,
                "position": position.to_string(),
                "workExample": reference(&tool),
            }),
        );
        push(self.entity(workflow), "step", &step_id);
        let action_id = format!("#stage-{}", uri(&label));
        let mut objects = Vec::new();
        for (property, ends) in [("input", &step.inputs), ("output", &step.outputs)] {
            for (role, place) in ends {
                let part = &of.parts[*place];
                let parameter = format!("{tool}-{property}-{}", uri(role));
                let additional = if part.folder { "Dataset" } else { "File" };
                self.parameter(&parameter, role, additional, &tool, property);
                let id = part_id(part);
                push(self.entity(&id), "exampleOfWork", &parameter);
                if property == "input" && !objects.contains(&id) {
                    objects.push(id);
                }
            }
        }
        let manifest = step.action.and_then(|action| action.manifest.as_ref());
        let mut environment = Vec::new();
        if let Some(manifest) = manifest {
            let mut given: Map<String, Value> = manifest.parameters.clone();
            given.extend(manifest.seed.map(|seed| ("seed".to_string(), seed.into())));
            for (name, value) in &given {
                let parameter = format!("{tool}-parameter-{}", uri(name));
                self.parameter(&parameter, name, kind_of(value), &tool, "input");
                objects.push(self.value(
                    &format!("{action_id}-{}", uri(name)),
                    name,
                    value,
                    &parameter,
                ));
            }
            for (name, value) in &manifest.env {
                let parameter = format!("{tool}-variable-{}", uri(name));
                self.parameter(&parameter, name, "Text", &tool, "environment");
                let value = value.as_deref().unwrap_or_default().into();
                let id = format!("{action_id}-variable-{}", uri(name));
                environment.push(self.value(&id, name, &value, &parameter));
            }
        }
        let results: Vec<String> = step
            .outputs
            .iter()
            .map(|(_, place)| part_id(&of.parts[*place]))
            .collect();
        let usage = self.usage(step, &action_id);
        let (began, ended, description) = story(step, of.run);
        let error = step
            .line
            .failure
            .as_ref()
            .map(|failure| failure.message.clone());
        self.add(
            &action_id,
            json!({
                "@type": "CreateAction",
                "name": format!("Stage {label}"),
                "description": description,
                "identifier": step.line.key.map(|key| format!("flow-key:{}", Key(key.0))),
                "instrument": reference(&tool),
                "object": references(&objects),
                "result": references(&results),
                "startTime": began,
                "endTime": ended,
                "environment": (!environment.is_empty()).then(|| references(&environment)),
                "resourceUsage": (!usage.is_empty()).then(|| references(&usage)),
                "actionStatus": status(step.action.is_none()),
                "error": error,
            }),
        );
        push(self.entity("./"), "mentions", &action_id);
        let control = format!("#control-{}", uri(&label));
        self.add(
            &control,
            json!({
                "@type": "ControlAction",
                "name": format!("flow on {label}: {}", step.line.status.word()),
                "instrument": reference(&step_id),
                "object": reference(&action_id),
                "actionStatus": status(step.action.is_none()),
            }),
        );
        control
    }

    /// The kind and its plugin; for a `run` stage, its program. Gives its identifier.
    fn tool(&mut self, step: &Step<'_>, workflow: &str) -> String {
        let manifest = step.action.and_then(|action| action.manifest.as_ref());
        let plugin = step
            .action
            .and_then(|action| action.record.provenance["plugin"].as_str());
        let (id, name, version, description) = match (manifest, plugin) {
            (Some(manifest), Some(plugin)) => (
                format!("#kind-{}-{}", uri(&manifest.kind), uri(&manifest.version)),
                manifest.kind.clone(),
                manifest.version.clone(),
                format!("A stage kind of the plugin {plugin}."),
            ),
            _ => {
                let command = manifest.map(|manifest| &manifest.parameters["command"]);
                let command = command.map_or("?".into(), |c| {
                    c.as_str().map_or_else(|| c.to_string(), String::from)
                });
                (
                    format!("#program-{}", uri(&step.line.stage)),
                    step.line.stage.clone(),
                    "as in the workflow".into(),
                    format!("The program of the stage: {command}"),
                )
            }
        };
        self.add(
            &id,
            json!({
                "@type": "SoftwareApplication",
                "name": name,
                "softwareVersion": version,
                "description": description,
            }),
        );
        push(self.entity(workflow), "hasPart", &id);
        id
    }

    /// A formal parameter, listed by what has it.
    fn parameter(&mut self, id: &str, name: &str, kind: &str, of: &str, property: &str) {
        self.add(
            id,
            json!({
                "@type": "FormalParameter",
                "conformsTo": reference("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
                "name": name,
                "additionalType": kind,
            }),
        );
        push(self.entity(of), property, id);
        self.add(
            "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE",
            json!({"@type": "CreativeWork", "name": "Bioschemas FormalParameter", "version": "1.0-RELEASE"}),
        );
    }

    fn value(&mut self, id: &str, name: &str, value: &Value, parameter: &str) -> String {
        // Lists and tables are no values of this vocabulary: they stand as JSON text.
        let value = match value {
            Value::Array(_) | Value::Object(_) | Value::Null => Value::from(value.to_string()),
            scalar => scalar.clone(),
        };
        self.add(
            id,
            json!({
                "@type": "PropertyValue",
                "name": name,
                "value": value,
                "exampleOfWork": reference(parameter),
            }),
        );
        id.to_string()
    }

    /// Threads and seconds. Unit codes are those of UN/CEFACT.
    fn usage(&mut self, step: &Step<'_>, action: &str) -> Vec<String> {
        let Some(record) = step.action.map(|action| &action.record) else {
            return Vec::new();
        };
        let threads = record.provenance["threads"].as_u64();
        let facts = [
            ("threads", threads.map(Value::from), "C62"),
            ("seconds", Some(record.seconds.into()), "SEC"),
        ];
        let mut ids = Vec::new();
        for (name, value, unit) in facts {
            let Some(value) = value else { continue };
            let id = format!("{action}-usage-{name}");
            self.add(
                &id,
                json!({
                    "@type": "PropertyValue", "name": name, "propertyID": format!("flow:{name}"), "value": value,
                    "unitCode": unit,
                }),
            );
            ids.push(id);
        }
        ids
    }
}

/// When a stage began and ended, and by what it was made.
fn story(step: &Step<'_>, run: &PastRun) -> (Option<String>, Option<String>, String) {
    let Some(action) = step.action else {
        return (None, None, format!("It failed in the run {}.", run.id));
    };
    let record = &action.record;
    let text = |name: &str| record.provenance[name].as_str();
    let parse = |text: Option<&str>| text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let made_in = match action.run() {
        Some(id) if id != run.id => format!("Its result was there, made by the run {id}"),
        _ => format!("Made by the run {}", run.id),
    };
    let description = format!(
        "{made_in}, on {} ({}), by {}.",
        text("host").unwrap_or("an unknown machine"),
        text("platform").unwrap_or("an unknown platform"),
        text("plugin").unwrap_or("a program")
    );
    (
        parse(text("started")).map(time),
        parse(Some(record.finished.as_str())).map(time),
        description,
    )
}

fn began(run: &PastRun) -> Option<jiff::Timestamp> {
    run.head.started.parse().ok()
}

fn ended(run: &PastRun) -> Option<jiff::Timestamp> {
    let began = began(run)?;
    let seconds = run.end.as_ref()?.seconds;
    began
        .checked_add(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?)
        .ok()
}

fn file_entity(path: &str, name: &str, file: &PartFile) -> Value {
    json!({
        "@type": "File",
        "name": name,
        "contentSize": file.size.to_string(),
        "encodingFormat": encoding(path),
        "sha256": file.sha256,
    })
}

fn part_id(part: &Part) -> String {
    let id = uri(&part.path);
    if part.folder { id + "/" } else { id }
}
