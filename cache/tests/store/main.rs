//! The store through its public interface: what it promises, and what it does when the world misbehaves.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod concurrent;
mod damaged;
#[cfg(target_os = "linux")]
mod faults;
mod gc;
mod helpers;
mod inputs;
mod layers;
mod laying;
mod outputs;
