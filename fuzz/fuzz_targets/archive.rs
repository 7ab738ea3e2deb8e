//! A tar or zip archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_stages_data::fuzz::archive(bytes));
