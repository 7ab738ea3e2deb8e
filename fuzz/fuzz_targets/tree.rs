//! The blob of a folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_cache::fuzz::tree(bytes));
