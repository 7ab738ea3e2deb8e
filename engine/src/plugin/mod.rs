//! Stage plugins: finding them, what they offer, and running one as a process.
//!
//! - [`catalogue`]: every stage kind that the found plugins describe.
//! - [`process`]: one child process in its own group, with a clean environment, watched to its end.

pub mod catalogue;
pub mod process;

pub use catalogue::{Catalogue, Kind};
