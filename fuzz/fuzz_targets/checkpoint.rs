//! A checkpoint of PyTorch.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_stages_torch::fuzz::checkpoint(bytes));
