//! The machine, shared by all runs on it: who holds how much of its threads, memory and GPUs.
//!
//! - [`ledger`]: the tickets of all stages that run or wait, in a folder, each under a kernel lock of its holder.
//! - [`domain`]: which folder that is, and how much there is: of the machine, of a scheduler's allocation, of a cgroup, of a
//!   stage that flow runs in.
//! - [`gpus`]: the GPUs, by names that mean the same to every process.

pub mod domain;
pub mod gpus;
pub mod ledger;
