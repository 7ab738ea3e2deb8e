//! What a plugin prints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_run::fuzz::events(bytes));
