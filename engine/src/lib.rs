//! The engine of flow: from a workflow file to results in the store.
//!
//! One way, no back and forth: [`workflow`] turns text into a typed workflow, [`plan`] turns that into a DAG of stage
//! instances, [`run`] brings the DAG up to date, and [`view`] shows what happened. [`plugin`] knows how to find and
//! start stage plugins. The engine names no stage kind and knows nothing of machine learning.

// `println!` and `eprintln!` panic where nobody can write: `view::print` and `view::tell` don't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod plan;
pub mod plugin;
pub mod run;
pub mod view;
pub mod workflow;
