//! Stage plugins as programs: finding them, and asking them. What they offer is a [`Catalogue`], which
//! plans are made with.
//!
//! - `find`: every stage kind that the found plugins describe.
//! - `python`: what the code of a plugin in Python is; `script` tells that it is one.

mod find;
mod python;
mod script;

pub(crate) use python::check;

pub(crate) use find::describe;
pub use find::{find, identity};
pub use flow_plan::plan::kinds::{Catalogue, Kind};
