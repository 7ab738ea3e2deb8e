//! Stage plugins as programs: finding them, and running one as a process. What they offer is a [`Catalogue`], which
//! plans are made with.
//!
//! - `find`: every stage kind that the found plugins describe.
//! - `python`: what the code of a plugin in Python is; `script` tells that it is one.
//! - [`process`]: one child process in its own group, with a clean environment, watched to its end.

mod find;
pub mod process;
mod python;
mod script;

pub(crate) use python::check;

pub use find::{find, identity};
pub use flow_plan::plan::kinds::{Catalogue, Kind};
