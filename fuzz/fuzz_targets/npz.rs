//! Arrays of NumPy by name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flow_stages_data::fuzz::npz(bytes));
