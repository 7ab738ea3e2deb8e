//! Stage plugins: finding them, what they offer, and running one as a process.
//!
//! - [`catalogue`]: every stage kind that the found plugins describe.
//! - `types`: what a parameter takes, in words.
//! - [`process`]: one child process in its own group, with a clean environment, watched to its end.

pub mod catalogue;
pub mod process;
mod types;

pub use catalogue::{Catalogue, Kind};
pub use types::type_text;
