//! Options of the command line, laid over a workflow.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_plan::fuzz::overlay(bytes));
