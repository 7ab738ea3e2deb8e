//! What the store has of a plan, and what that tells: nothing here runs anything or writes.
//!
//! - [`survey`]: how each instance stands, by the same keys and lookups as a run; [`price`]: what it takes to run the rest.
//! - [`explain`]: which parts of a key differ from those of earlier records.
//! - [`table`]: results as a table over the points of a sweep; [`statistics`]: how sure they are.
//! - [`contrast`]: how two runs, or two points of a sweep, differ; [`code`]: in which code.
//! - [`words`]: words for all of it, which pages and terminals share.

pub mod code;
pub mod contrast;
pub mod explain;
pub mod price;
pub mod statistics;
pub mod survey;
pub mod table;
pub mod words;

pub use survey::{Cause, Standing, Stands, State, Survey};
