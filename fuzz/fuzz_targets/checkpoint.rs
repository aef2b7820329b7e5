//! See `holocron_fuzz::checkpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::checkpoint(data));
