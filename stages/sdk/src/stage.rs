//! The trait that a stage kind implements.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Context;
use crate::protocol::{Port, Resources, Revision};

/// A stage kind: the implementing type is its parameters.
///
/// Field docs become the parameter's page, `#[serde(default = …)]` its default, `#[schemars(range(…))]` its range.
/// Put `#[serde(deny_unknown_fields)]` on the struct, so that a misspelt parameter is refused before anything runs.
pub trait Stage: Serialize + DeserializeOwned + JsonSchema {
    /// The name that `uses` names.
    const NAME: &'static str;
    /// Raise it when the same inputs and parameters give other results.
    const VERSION: u32;
    /// One sentence.
    const SUMMARY: &'static str;
    /// Whether it draws random numbers, so that the seed is part of its key.
    const SEEDED: bool = false;
    /// Whether it goes on from its work folder after an interruption.
    const CHECKPOINTS: bool = false;
    /// The parameters that only say how long to go on; see
    /// [`KindDescription::continues`](crate::protocol::KindDescription::continues) and [`Context::earlier`].
    const CONTINUES: &'static [&'static str] = &[];
    /// The parameters that are paths of files or folders to read.
    const PATH_PARAMETERS: &'static [&'static str] = &[];
    /// The parameter that pins the number of threads; see
    /// [`KindDescription::threads_parameter`](crate::protocol::KindDescription::threads_parameter).
    const THREADS_PARAMETER: Option<&'static str> = None;
    /// The metrics that a person wants to see first.
    const HEADLINE: &'static [&'static str] = &[];

    /// Higher versions for a part of the parameters.
    fn revisions() -> Vec<Revision> {
        Vec::new()
    }
    /// Declared inputs, by role.
    fn inputs() -> Vec<Port>;
    /// Declared outputs; the first is what a bare stage name refers to.
    fn outputs() -> Vec<Port>;
    /// What it asks of the machine unless the workflow says otherwise.
    fn resources() -> Resources {
        Resources::default()
    }

    /// Computes the outputs. An error fails the stage; its text (with the chain of causes) is what the user reads.
    fn run(self, context: &Context) -> anyhow::Result<()>;
}
