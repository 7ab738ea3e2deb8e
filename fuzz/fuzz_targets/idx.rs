//! An IDX file, as MNIST is published.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_stages_data::fuzz::idx(bytes));
