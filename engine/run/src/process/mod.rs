//! A stage's process: nothing that it started outlives it, nor flow.
//!
//! Three processes of flow's have a part in it. *flow* says what is to start, hears it and waits for it. The *spawner*
//! (`spawner`) is flow's own program, started once: it is small, so that to fork it costs little, whatever flow's memory
//! is. It forks a *supervisor* (`supervisor`) for each stage, which starts the command, measures it, ends it when flow says
//! so or is gone, and ends whatever the command leaves behind.
//!
//! - [`launch`]: what is started, as plain data; [`environment`]: its variables.
//! - `namespaces`: the supervisor's own view of the machine; `isolation`: whether this machine allows one.
//! - `wire`: what the three say to each other.
//! - `terminal`: a command in the place of flow at the terminal.
//! - `child`: flow's side of a running command; `direct`: a short one without a supervisor; [`lines`], [`mask`]: what it
//!   prints.

mod child;
mod direct;
pub mod environment;
mod isolation;
pub mod launch;
pub mod lines;
pub mod mask;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(target_os = "linux")]
mod spawner;
#[cfg(target_os = "linux")]
mod supervised;
#[cfg(target_os = "linux")]
mod supervisor;
#[cfg(target_os = "linux")]
mod system;
#[cfg(target_os = "linux")]
mod terminal;
mod wire;

pub use child::{End, Ending, Hearing, Process, Stream};
pub use direct::output;
pub use isolation::{isolation, stage_folder};
pub use launch::{Confinement, Launch, Mount};
#[cfg(target_os = "linux")]
pub use supervised::serve_if_asked;
#[cfg(target_os = "linux")]
pub use terminal::at_terminal;
pub use wire::Used;
