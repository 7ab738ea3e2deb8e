//! Bringing a plan up to date: key, lookup, lease, execute, commit.
//!
//! - [`key`]: what an action's key is made of; the one writer that hashing and explaining share.
//! - [`external`]: the user's files that stages read, found and hashed before anything runs.
//! - [`survey`]: what a run would do, without doing it.
//! - [`settled`]: what a run with nothing to do saw, so that the next one has even less to do.
//! - [`explain`]: which parts of a key differ from those of earlier records.
//! - [`table`]: results as a table over the points of a sweep; [`statistics`]: how sure they are; [`figures`]: of one stage.
//! - [`budget`]: what the machine has, and what of it stages hold.
//! - `execute`: one stage, from lease to commit; `command` is how its process is put together, `watch` hears what it says and
//!   how it ends, `outputs` checks what it made, `earlier` finds what it may go on from.
//! - [`log`]: what a stage prints, kept within bounds.
//! - [`runner`]: the loop over ready stages inside the budget; [`durations`] say what it starts first.
//! - `points`: which points of a sweep are done.
//! - [`event`]: everything that a run tells; views and the journal see nothing else.
//! - [`journal`]: what is kept of a run in the store; [`past`] reads it again.
//! - [`retire`]: which runs gc takes.
//! - [`provenance`]: how a result came to be, from its record back to the user's files.
//! - [`contrast`]: how two runs, or two points of a sweep, differ.
//! - [`check`]: stages run again beside their stored results; [`compare`] and `arrays` say how outputs differ.

mod arrays;
pub mod budget;
pub mod check;
mod command;
pub mod compare;
pub mod contrast;
pub mod durations;
mod earlier;
pub mod event;
mod execute;
pub mod explain;
pub mod external;
pub mod figures;
pub mod journal;
pub mod key;
pub mod log;
mod outputs;
pub mod past;
mod points;
pub mod provenance;
pub mod retire;
pub mod runner;
pub mod settled;
pub mod statistics;
pub mod survey;
pub mod table;
mod watch;

pub use event::{Event, Status};
pub use external::Externals;
pub use key::Manifest;
pub use runner::{Options, Runner, Summary};
pub use survey::{Cause, Standing, Survey};
