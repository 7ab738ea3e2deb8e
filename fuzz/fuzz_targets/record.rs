//! A record in its envelope.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_cache::fuzz::record(bytes));
