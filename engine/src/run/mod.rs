//! Bringing a plan up to date: key, lookup, lease, execute, commit.
//!
//! - [`key`]: what an action's key is made of; the one writer that hashing and explaining share.
//! - [`external`]: the user's files that stages read, found and hashed before anything runs.
//! - [`survey`]: what a run would do, without doing it.
//! - [`settled`]: what a run with nothing to do saw, so that the next one has even less to do.
//! - [`explain`]: which parts of a key differ from those of earlier records.
//! - [`table`]: results as a table over the points of a sweep; [`statistics`]: how sure they are; [`figures`]: of one stage.
//! - [`budget`]: what the machine has, and what of it stages hold.
//! - [`request`]: what one stage's execution needs, written down.
//! - [`perform`]: a request carried out, from lease to commit; `command` is how its process is put together, `watch` hears what
//!   it says and how it ends, `outputs` checks what it made, `earlier` finds what it may go on from.
//! - [`log`]: what a stage prints, kept within bounds.
//! - `executor`: the seam to where requests are carried out, and the loop over it; `local` is this machine.
//! - [`runner`]: a run; `state` is where each of its instances stands, and what starts next; [`durations`] say what is first.
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
mod executor;
pub mod explain;
pub mod external;
pub mod figures;
pub mod journal;
pub mod key;
mod local;
pub mod log;
mod outputs;
pub mod past;
pub mod perform;
mod points;
pub mod provenance;
pub mod request;
pub mod retire;
pub mod runner;
pub mod settled;
mod site;
mod state;
pub mod statistics;
pub mod survey;
pub mod table;
mod watch;

pub use event::{Event, Status};
pub use external::Externals;
pub use key::Manifest;
pub use runner::{Runner, Summary};
pub use state::Options;
pub use survey::{Cause, Standing, Survey};
