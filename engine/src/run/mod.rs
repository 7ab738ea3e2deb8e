//! Bringing a plan up to date: lookup, lease, execute, commit. What is written down of it is in [`crate::record`].
//!
//! - [`budget`]: what the machine has, and what of it stages hold.
//! - `execute`: one stage, from lease to commit; `command` is how its process is put together, `watch` hears what it says and
//!   how it ends, `outputs` checks what it made, `earlier` finds what it may go on from.
//! - [`runner`]: the loop over ready stages inside the budget.
//! - `points`: which points of a sweep are done.
//! - [`check`]: stages run again beside their stored results; [`compare`] and `arrays` say how outputs differ.

mod arrays;
pub mod budget;
pub mod check;
mod command;
pub mod compare;
mod earlier;
mod execute;
mod outputs;
mod points;
pub mod runner;
mod watch;

use crate::record::{durations, event, external, figures, journal, key, log};

pub use runner::{Options, Runner, Summary};
