//! A run, and how results came to be, in words and as JSON.

use std::path::Path;

use bytesize::ByteSize;
use flow_results::words::record::{counts, from};
use flow_results::words::{command, duration, plain, short, toml};
use flow_run::record::event::{StageEnd, Status};
use flow_run::record::provenance::{Action, Source};
use flow_run::record::{PastRun, journal, log};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::layout;

/// What is known of a run, and what each of its stages came to.
pub fn run(run: &PastRun, stages: &[StageEnd]) -> String {
    let head = &run.head;
    let mut lines = vec![format!(
        "run {} of {}: {}",
        run.id,
        plain(&head.workflow),
        run.state.word()
    )];
    let mut facts: Vec<(&str, String)> = Vec::new();
    facts.extend(head.name.clone().map(|name| ("name", name)));
    facts.extend(head.note.clone().map(|note| ("note", note)));
    if let Some(end) = &run.end {
        facts.push((
            "stages",
            format!("{} in {}", counts(end), duration(end.seconds)),
        ));
    }
    facts.push(("began", local_time(&head.started)));
    facts.push((
        "on",
        machine(head.host.as_deref(), head.platform.as_deref(), &head.flow),
    ));
    facts.push(("workflow", head.path.display().to_string()));
    facts.push((
        "as it was",
        run.folder.join("workflow.toml").display().to_string(),
    ));
    facts.extend(head.again.clone().map(|run| ("made again", run)));
    facts.extend(head.commit.as_ref().map(|commit| {
        let changed = if commit.clean {
            ""
        } else {
            ", with files changed since"
        };
        ("commit", format!("{}{changed}", commit.id))
    }));
    facts.push(("called as", command(&head.command)));
    facts.push(("params", values(&head.params)));
    facts.extend(head.seed.map(|seed| ("seed", seed.to_string())));
    for (kind, used) in &head.kinds {
        let version = short(&used.version);
        facts.push(("kind", format!("{kind} {version} of {}", used.plugin)));
    }
    lines.extend(table(&facts));
    lines.push(String::new());
    let rows = stages.iter().map(|stage| {
        let outputs: Vec<String> = stage
            .outputs
            .iter()
            .map(|(role, digest)| format!("{role} {}", short(&digest.to_string())))
            .collect();
        let what = match &stage.failure {
            Some(failure) => failure.message.clone(),
            None => outputs.join(", "),
        };
        let time = match stage.status {
            Status::Ran | Status::Failed => duration(stage.seconds),
            _ => String::new(),
        };
        vec![
            stage.status.word().into(),
            plain(&stage.label()),
            time,
            plain(&what),
        ]
    });
    lines.push(layout::lines(rows, 0));
    lines.join("\n")
}

/// Why a result can or can't be made again as its run made it.
#[derive(Debug)]
pub struct Again {
    /// The command that makes it.
    pub command: Vec<String>,
    /// Whether the workflow file is another than in that run.
    pub changed: bool,
    /// Whether it is gone: then there is no such command.
    pub gone: bool,
    /// Whether the stage is frozen: then nothing makes it again.
    pub frozen: bool,
}

impl Again {
    /// A command of a workflow that is as it was.
    pub fn new(command: Vec<String>) -> Again {
        Again {
            command,
            changed: false,
            gone: false,
            frozen: false,
        }
    }

    /// The command, where it works.
    fn command(&self) -> Option<&[String]> {
        (!self.gone && !self.frozen).then_some(&self.command)
    }
}

/// One action: what it is, what it was made from, where and when.
pub fn action(action: &Action, runs: &Path, again: Option<&Again>) -> String {
    let record = &action.record;
    let text = |name: &str| record.provenance[name].as_str();
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(manifest) = &action.manifest {
        let version = short(&manifest.version);
        facts.push((
            "kind",
            match text("plugin") {
                Some(plugin) => format!("{} {version} of {plugin}", manifest.kind),
                None => manifest.kind.clone(),
            },
        ));
        if manifest.kind == "run" {
            let command = &manifest.parameters["command"];
            facts.push((
                "command",
                command
                    .as_str()
                    .map_or_else(|| command.to_string(), String::from),
            ));
            if let Some(named) = manifest.parameters["values"].as_object()
                && !named.is_empty()
            {
                facts.push(("values", values(named)));
            }
        } else {
            facts.push(("parameters", values(&manifest.parameters)));
        }
        facts.extend(manifest.seed.map(|seed| ("seed", seed.to_string())));
        for (name, value) in &manifest.env {
            let value = value
                .as_ref()
                .map_or("not set".into(), |v| format!("{v:?}"));
            facts.push(("variable", format!("{name} = {value}")));
        }
        facts.extend(text("environment").map(|environment| ("runs in", environment.into())));
        for (part, value) in &manifest.surroundings {
            if let Some(name) = part.strip_prefix("tool `") {
                let name = name.trim_end_matches('`');
                let said = value.lines().next().unwrap_or_default();
                facts.push(("tool", format!("{name} = {said}")));
            } else {
                facts.push(("folder", format!("{part}: {value}")));
            }
        }
    }
    for (role, sources) in &action.inputs {
        for source in sources {
            facts.push(("input", format!("{role} = {}", from(source))));
        }
    }
    for (role, output) in &record.outputs {
        let size = ByteSize(output.size);
        let digest = short(&output.digest.to_string());
        facts.push((
            "output",
            format!("{role} {digest}, {}, {size}", output.artifact),
        ));
    }
    let threads = record.provenance["threads"].as_u64();
    let mut made = format!(
        "{} in {}",
        local_time(&record.finished),
        duration(record.seconds)
    );
    if let Some(threads) = threads {
        made += &format!(
            " with {threads} thread{}",
            if threads == 1 { "" } else { "s" }
        );
    }
    facts.push((
        "made",
        format!(
            "{made} on {}",
            machine(text("host"), text("platform"), text("flow").unwrap_or("?"))
        ),
    ));
    facts.extend(used(&record.provenance["used"]).map(|used| ("used", used)));
    let with = record.provenance["facts"].as_object();
    let with = with.into_iter().flatten().filter_map(|(name, value)| {
        let value = value.as_str()?;
        Some(format!("{name} {value}"))
    });
    let with: Vec<String> = with.collect();
    if !with.is_empty() {
        facts.push(("with", with.join(", ")));
    }
    if let Some(why) = text("not_isolated") {
        facts.push(("isolation", format!("not isolated: {why}")));
    }
    facts.push(("key", record.key.to_string()));
    if let Some(run) = action.run() {
        let folder = runs.join(run);
        let gone = if folder.is_dir() {
            ""
        } else {
            ", whose folder is gone"
        };
        facts.push(("run", format!("{run}{gone}")));
        let log = journal::log(&folder, action.label());
        if log.is_file() {
            facts.push(("log", log_text(&log)));
        }
    }
    if let Some(again) = again {
        if let Some(arguments) = again.command() {
            facts.push(("again", command(arguments)));
        }
        if again.frozen {
            facts.push((
                "again",
                "it is frozen, so this result stands; delete `frozen = true` to make it again"
                    .into(),
            ));
        } else if again.gone {
            facts.push((
                "again",
                "the workflow file is gone; its run keeps a copy of it".into(),
            ));
        } else if again.changed {
            facts.push(("", "the workflow file has changed since".into()));
        }
    }
    let mut lines = vec![plain(action.label())];
    lines.extend(table(&facts));
    lines.join("\n")
}

/// One action as JSON.
pub fn action_json(action: &Action, again: Option<&Again>) -> Value {
    let inputs = action.inputs.iter().map(|(role, sources)| {
        let sources = sources.iter().map(|source| match source {
            Source::Result {
                stage,
                output,
                key,
                digest,
            } => json!({"stage": stage, "output": output, "key": key, "digest": digest}),
            Source::Path { path, digest, .. } => json!({"path": path, "digest": digest}),
            Source::Unknown { digest } => json!({"digest": digest}),
        });
        (role.clone(), sources.collect())
    });
    let record = &action.record;
    json!({
        "event": "action",
        "label": action.label(),
        "key": record.key,
        "manifest": record.manifest,
        "inputs": Map::from_iter(inputs),
        "outputs": record.outputs,
        "metrics": record.metrics,
        "provenance": record.provenance,
        "seconds": record.seconds,
        "finished": record.finished,
        "again": again.and_then(Again::command),
        "workflow_changed": again.map(|again| again.changed),
    })
}

/// Where it is, and what it lacks.
fn log_text(path: &Path) -> String {
    match log::left_out(path) {
        0 => path.display().to_string(),
        bytes => format!(
            "{} (without {} in its middle)",
            path.display(),
            ByteSize(bytes)
        ),
    }
}

fn machine(host: Option<&str>, platform: Option<&str>, flow: &str) -> String {
    let platform = platform.map_or(String::new(), |platform| format!(" ({platform})"));
    format!(
        "{}{platform}, flow {flow}",
        host.unwrap_or("an unknown machine")
    )
}

fn values(values: &Map<String, Value>) -> String {
    let values = values
        .iter()
        .map(|(name, value)| format!("{name} = {}", toml(value)));
    values.collect::<Vec<_>>().join(", ")
}

pub(super) fn local_time(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(
        |_| "?".into(),
        |time| {
            let local = time.to_zoned_datetime(TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S").to_string()
        },
    )
}

fn table(facts: &[(&str, String)]) -> Vec<String> {
    let facts = facts.iter().map(|(name, value)| match *name {
        // Commands are there to be copied.
        "again" | "called as" | "command" => {
            format!("  {name:<11} {}", plain(value)).trim_end().into()
        }
        _ => layout::fact(name, &plain(value)),
    });
    facts.collect()
}

/// What a stage used, by its record.
fn used(used: &Value) -> Option<String> {
    let bytes = |name: &str| used[name].as_u64().map(ByteSize);
    Some(format!(
        "{} of the processors, {} of memory at most, {} read, {} written",
        duration(used["cpu_seconds"].as_f64()?),
        bytes("peak_memory")?,
        bytes("bytes_read")?,
        bytes("bytes_written")?
    ))
}
