//! What is written down of actions and runs, and how it is read again. `run` writes it; nothing here runs anything.
//!
//! - [`key`]: what an action's key is made of; the one writer that hashing and explaining share.
//! - [`external`]: the user's files that stages read, found and hashed before anything runs.
//!   `globs` is what their globs match, [`places`] what they are to the layout of a stage's folder.
//! - [`event`]: everything that a run tells; views and the journal see nothing else. [`check`] and [`difference`] are what a
//!   check tells.
//! - [`inputs`]: which of the user's files a run read, and what they were; [`commit`]: of which commit its repository was.
//! - [`figures`]: the numbers of a stage's metrics file, as its record keeps them.
//! - [`journal`]: what is kept of a run in the store; [`head`] is what it was of, [`log`] what a stage prints, within bounds.
//! - [`past`]: earlier runs, from their folders; [`follow`] reads events as they come, [`ends`] is how far a run has come,
//!   [`replan`] makes its plan again; [`names`] are what people call runs;
//!   [`changes`] is what was given to one and not to another, [`again`] what one read, for a run that makes it again.
//! - [`retire`]: which runs gc takes.
//! - [`frozen`]: which results of earlier runs stand.
//! - [`settled`]: what a run with nothing to do saw, so that the next one has even less to do.
//! - [`upgrade`]: what a stage of an earlier version of flow may do otherwise.
//! - [`provenance`]: how a result came to be, from its record back to the user's files; [`durations`]: how long stages took.

pub mod again;
pub mod changes;
pub mod check;
pub mod commit;
pub mod difference;
pub mod durations;
pub mod ends;
pub mod event;
pub mod external;
pub mod figures;
pub mod follow;
pub mod frozen;
mod globs;
pub mod head;
pub mod inputs;
pub mod journal;
pub mod key;
pub mod log;
pub mod names;
pub mod past;
pub mod places;
pub mod provenance;
pub mod replan;
pub mod retire;
pub mod settled;
pub mod upgrade;

pub use event::{Ending, Event, Status};
pub use external::Externals;
pub use key::Manifest;
pub use past::PastRun;
