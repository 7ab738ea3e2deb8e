//! A pickle, as CIFAR is published.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_stages_data::fuzz::pickle(bytes));
