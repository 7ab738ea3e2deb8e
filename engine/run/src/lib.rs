//! Bringing a plan up to date: lookup, lease, execute, commit.
//!
//! - [`budget`]: what the machine has, and what of it stages hold.
//! - [`machine`]: what all runs on this machine share of it.
//! - [`request`]: what one stage's execution needs, written down.
//! - [`perform`]: a request carried out, from lease to commit; `command` is how its process is put together, `watch` hears what
//!   it says and how it ends, [`folder`] is where a program works, `outputs` checks what it made and `metrics` reads its figures, `earlier` finds what it may go on from.
//! - `executor`: the seam to where requests are carried out, and the loop over it; `local` is this machine.
//! - [`runner`]: a run; `state` is where each of its instances stands, and what starts next.
//! - [`deliver`]: results under names of the user's own.
//! - `points`: which points of a sweep are done.
//! - [`debug`](mod@debug): a stage at the terminal.
//! - [`check`]: stages run again beside their stored results; [`compare`] and `arrays` say how outputs differ.
//! - [`record`]: what is written down of actions and runs, and how it is read again.
//! - [`plots`]: files of a stage as charts and pictures.
//! - [`plugin`]: finding plugins.
//! - [`trial`]: a plugin tried out, rule by rule of the protocol.
//! - [`process`]: a stage's process, from its start until nothing of it is left.
//! - [`surroundings`]: what a program runs in beside its inputs.

mod arrays;
pub mod budget;
pub mod check;
mod command;
pub mod compare;
#[cfg(target_os = "linux")]
pub mod debug;
pub mod deliver;
mod earlier;
mod executor;
pub mod folder;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod local;
pub mod machine;
mod metrics;
mod outputs;
pub mod perform;
pub mod plots;
pub mod plugin;
mod points;
pub mod process;
pub mod record;
pub mod request;
pub mod runner;
mod site;
mod state;
pub mod surroundings;
pub mod trial;
mod watch;

pub use runner::{Runner, Summary};
pub use state::Options;
