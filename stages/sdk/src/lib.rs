//! The stage protocol of flow, and the kit with which a plugin author writes stages.
//!
//! - [`protocol`]: the types that engine and plugin exchange. Types only, no I/O; the engine uses these and those of [`view`].
//! - [`Stage`]: a stage kind is a parameter struct with its declared inputs and outputs and a `run` function.
//! - [`Context`]: what a running stage is given: paths, seed, threads, progress, metrics.
//! - [`Plugin`]: the process: `describe` and `run KIND` for a list of stages.
//! - [`mod@array`] and [`dataset`]: the artifact formats. [`view`]: what a stage shows people.
//! - [`random`]: generators by seed, purpose and sample index.
//! - [`versions`]: the test that makes someone decide when the sources of a kind change.
#![cfg_attr(
    feature = "kit",
    doc = r#"
```no_run
use flow_stage::{ArtifactType, Context, Plugin, Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Multiplies an array by a factor.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// What each value is multiplied by.
    #[serde(default = "two")]
    #[schemars(range(min = 0.0))]
    factor: f32,
}

fn two() -> f32 {
    2.0
}

impl Stage for Scale {
    const NAME: &'static str = "scale";
    const VERSION: u32 = 1;
    const SUMMARY: &'static str = "Multiplies an array by a factor";
    fn inputs() -> Vec<Port> {
        vec![Port::new("features", ArtifactType::Array, "the array, [n, d]")]
    }
    fn outputs() -> Vec<Port> {
        vec![Port::new("scaled", ArtifactType::Array, "the product, [n, d]")]
    }
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let features = flow_stage::array::read_matrix(context.input("features")?)?;
        flow_stage::array::write(&context.output("scaled")?, &(features * self.factor))
    }
}

fn main() -> std::process::ExitCode {
    Plugin::new("flow-stages-scale", "0.1.0").stage::<Scale>().main()
}
```
"#
)]

#[cfg(feature = "kit")]
pub mod array;
#[cfg(feature = "kit")]
mod context;
#[cfg(feature = "kit")]
pub mod dataset;
#[cfg(feature = "kit")]
mod plugin;
pub mod protocol;
#[cfg(feature = "kit")]
pub mod random;
#[cfg(feature = "kit")]
mod stage;
#[cfg(feature = "kit")]
pub mod versions;
pub mod view;

#[cfg(feature = "kit")]
pub use context::Context;
#[cfg(feature = "kit")]
pub use plugin::Plugin;
pub use protocol::{ArtifactType, Port};
#[cfg(feature = "kit")]
pub use stage::Stage;
