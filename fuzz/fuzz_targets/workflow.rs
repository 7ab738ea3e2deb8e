//! The text of a workflow.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_plan::fuzz::workflow(bytes));
