//! The engine of flow: from a workflow file to results in the store.
//!
//! One way, no back and forth: [`workflow`] turns text into a typed workflow, [`plan`] turns that into a DAG of stage
//! instances, [`run`] brings the DAG up to date, [`record`] is what is written down of that and read again, [`results`] is
//! what it tells, and [`view`] and [`report`] show it, in [`words`] and [`figures`]. [`plugin`] knows how to find and start
//! stage plugins. The engine names no stage kind and knows nothing of machine learning.

// `println!` and `eprintln!` panic where nobody can write: `view::print` and `view::tell` don't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod figures;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod plan;
pub mod plugin;
pub mod record;
pub mod report;
pub mod results;
pub mod run;
pub mod view;
pub mod words;
pub mod workflow;
