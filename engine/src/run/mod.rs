//! Bringing a plan up to date: lookup, lease, execute, commit. What is written down of it is in [`crate::record`].
//!
//! - [`survey`]: what a run would do, without doing it; [`price`]: what that takes.
//! - [`explain`]: which parts of a key differ from those of earlier records.
//! - [`table`]: results as a table over the points of a sweep; [`statistics`]: how sure they are; [`figures`]: of one stage.
//! - [`budget`]: what the machine has, and what of it stages hold.
//! - `execute`: one stage, from lease to commit; `command` is how its process is put together, `watch` hears what it says and
//!   how it ends, `outputs` checks what it made, `earlier` finds what it may go on from.
//! - [`runner`]: the loop over ready stages inside the budget.
//! - `points`: which points of a sweep are done.
//! - [`contrast`]: how two runs, or two points of a sweep, differ.
//! - [`check`]: stages run again beside their stored results; [`compare`] and `arrays` say how outputs differ.

mod arrays;
pub mod budget;
pub mod check;
mod command;
pub mod compare;
pub mod contrast;
mod earlier;
mod execute;
pub mod explain;
pub mod figures;
mod outputs;
mod points;
pub mod price;
pub mod runner;
pub mod statistics;
pub mod survey;
pub mod table;
mod watch;

use crate::record::{durations, event, external, journal, key, log};

pub use runner::{Options, Runner, Summary};
pub use survey::{Cause, Standing, Stands, State, Survey};
