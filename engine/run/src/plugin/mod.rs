//! Stage plugins as programs: finding them, and asking them. What they offer is a [`Catalogue`], which
//! plans are made with.
//!
//! - `find`: every stage kind that the found plugins describe.

mod find;

pub use find::{find, identity};
pub use flow_plan::plan::kinds::{Catalogue, Kind};
