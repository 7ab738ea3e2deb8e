//! From the text of a workflow file to a DAG of stage instances, complete and checked. Reading files is all its I/O.
//!
//! - [`workflow`]: the language: text to a typed workflow that remembers places, and every diagnostic.
//! - [`plan`]: that to a DAG, by what plugins say of their kinds.

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod plan;
pub mod workflow;
