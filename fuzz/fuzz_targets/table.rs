//! A table that an axis of a workflow takes its values from.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_plan::fuzz::table(bytes));
