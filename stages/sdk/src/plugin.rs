//! The plugin's process: `describe` and `run KIND` over a list of stages.

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::protocol::{Description, KindDescription, PROTOCOL, Request};
use crate::{Context, Stage};

type Run = fn(Value, &Context) -> Result<()>;

/// A list of stage kinds that one executable offers.
pub struct Plugin {
    name: String,
    version: String,
    stages: Vec<(KindDescription, Run)>,
}

impl Plugin {
    /// A plugin without stages. `name` is the executable's, `version` goes into the provenance of what it makes.
    pub fn new(name: &str, version: &str) -> Self {
        Plugin {
            name: name.into(),
            version: version.into(),
            stages: Vec::new(),
        }
    }

    /// Adds a stage kind.
    pub fn stage<S: Stage>(mut self) -> Self {
        self.stages.push((describe::<S>(), run::<S>));
        self
    }

    /// What `describe` prints.
    pub fn description(&self) -> Description {
        Description {
            protocol: PROTOCOL,
            plugin: self.name.clone(),
            version: self.version.clone(),
            kinds: self.stages.iter().map(|(kind, _)| kind.clone()).collect(),
            depends: Vec::new(),
        }
    }

    /// The whole process: reads the command line, serves it, and gives the exit status.
    pub fn main(self) -> ExitCode {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            ["describe"] => {
                let text = serde_json::to_string_pretty(&self.description())
                    .expect("a description holds nothing that JSON can't");
                match writeln!(std::io::stdout(), "{text}") {
                    // Whoever closes the pipe has read enough.
                    Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                        eprintln!("{}: stdout can't be written: {error}", self.name);
                        ExitCode::FAILURE
                    }
                    _ => ExitCode::SUCCESS,
                }
            }
            ["run", kind] => self.serve(kind),
            _ => {
                eprintln!(
                    "{} {} is a plugin of flow, with the stage kinds {}.\n\n\
                     flow starts it for you: name one of these in a workflow (`uses = \"{}\"`), or read its page with\n\
                     `flow stages {}`. By hand: `{} describe` prints what it offers, and `{} run KIND` reads a request\n\
                     on stdin and runs one stage (docs/protocol.md).",
                    self.name,
                    self.version,
                    self.kinds().join(", "),
                    self.kinds()[0],
                    self.kinds()[0],
                    self.name,
                    self.name,
                );
                ExitCode::from(2)
            }
        }
    }

    fn kinds(&self) -> Vec<&str> {
        self.stages
            .iter()
            .map(|(kind, _)| kind.name.as_str())
            .collect()
    }

    fn serve(&self, kind: &str) -> ExitCode {
        let (run, request) = match self.accept(kind) {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("{}: {error:#}", self.name);
                return ExitCode::from(2);
            }
        };
        let parameters = Value::Object(request.parameters.clone());
        let context = Context::new(request, std::io::stdout());
        match catch_unwind(AssertUnwindSafe(|| run(parameters, &context))) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(error)) => {
                context.error(format!("{error:#}"));
                ExitCode::FAILURE
            }
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                context.error(format!(
                    "the stage panicked, which is a fault of {}: {text}",
                    self.name
                ));
                ExitCode::FAILURE
            }
        }
    }

    fn accept(&self, kind: &str) -> Result<(Run, Request)> {
        let Some((_, run)) = self.stages.iter().find(|(k, _)| k.name == kind) else {
            bail!("no stage kind `{kind}`; it has {}", self.kinds().join(", "));
        };
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("the request on stdin can't be read")?;
        let value: Value =
            serde_json::from_str(&text).context("the request on stdin is not JSON")?;
        // The version is looked at before the rest, which may have another form in another version.
        match value.get("protocol").and_then(Value::as_u64) {
            Some(version) if version == u64::from(PROTOCOL) => {}
            Some(version) => bail!(
                "the engine speaks protocol {version}, this plugin speaks {PROTOCOL}; install a plugin and a flow of the same release"
            ),
            None => bail!("the request on stdin names no protocol version"),
        }
        let request =
            serde_json::from_value(value).context("the request on stdin is not complete")?;
        Ok((*run, request))
    }
}

fn describe<S: Stage>() -> KindDescription {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<S>();
    KindDescription {
        name: S::NAME.into(),
        version: Some(S::VERSION),
        revisions: S::revisions(),
        summary: S::SUMMARY.into(),
        parameters: schema.into(),
        inputs: S::inputs(),
        outputs: S::outputs(),
        path_parameters: S::PATH_PARAMETERS.iter().map(|&p| p.into()).collect(),
        seeded: S::SEEDED,
        checkpoints: S::CHECKPOINTS,
        continues: S::CONTINUES.iter().map(|&p| p.into()).collect(),
        threads_parameter: S::THREADS_PARAMETER.map(String::from),
        headline: S::HEADLINE.iter().map(|&m| m.into()).collect(),
        resources: S::resources(),
    }
}

fn run<S: Stage>(parameters: Value, context: &Context) -> Result<()> {
    let stage: S = serde_json::from_value(parameters)
        .with_context(|| format!("the parameters are not those of `{}`", S::NAME))?;
    stage.run(context)
}
